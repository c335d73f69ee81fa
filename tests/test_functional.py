"""``nn.functional`` beside PyTorch's: what samples do not show of draws, statistics, errors."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import flambeau
from flambeau.nn import functional as F


def test_running_statistics_move_in_place() -> None:
    x = np.random.default_rng(0).standard_normal((5, 3, 2)).astype(np.float32)
    rows = []
    for module, functional in ((torch, torch.nn.functional), (flambeau, F)):
        mean, var = module.zeros(3), module.ones(3)
        for momentum in (0.1, 0.5):
            y = functional.batch_norm(
                module.from_numpy(x), mean, var, training=True, momentum=momentum
            )
        assert not mean.requires_grad
        rows.append([np.array(t.numpy()) for t in (y, mean, var)])
    for theirs, ours in zip(*rows, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


DRAWS = [
    ("dropout", (4, 5), {"p": 0.3}),
    ("dropout2d", (4, 5, 2, 2), {"p": 0.3}),
    ("alpha_dropout", (4, 5), {"p": 0.3, "training": True}),
    ("feature_alpha_dropout", (4, 5, 2), {"p": 0.3, "training": True}),
    ("rrelu", (4, 5), {"training": True}),
    ("gumbel_softmax", (4, 5), {}),
    ("fractional_max_pool2d", (2, 3, 8, 8), {"kernel_size": 2, "output_size": 3}),
]


@pytest.mark.parametrize(("name", "shape", "kwargs"), DRAWS, ids=[d[0] for d in DRAWS])
def test_same_seed_same_draws(name: str, shape: tuple, kwargs: dict[str, Any]) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    found = []
    for module, functional in ((torch, torch.nn.functional), (flambeau, F)):
        module.manual_seed(3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            y = getattr(functional, name)(module.from_numpy(x), **kwargs)
        # Nothing more and nothing less is drawn.
        found.append((y.numpy(), module.rand(2).numpy()))
    for theirs, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_no_dropout_draws_nothing() -> None:
    x = flambeau.ones(3)
    flambeau.manual_seed(0)
    first = flambeau.rand(1).item()
    flambeau.manual_seed(0)
    assert F.dropout(x, 0.0) is x
    assert F.dropout(x, 0.5, training=False) is x
    assert flambeau.rand(1).item() == first


ERRORS = [
    ("cross_entropy", (np.zeros((2, 3)), np.array([0, 5])), IndexError, "Target 5 is out"),
    ("nll_loss", (np.zeros((2, 3)), np.array([0, -1])), IndexError, "Target -1 is out"),
    ("embedding", (np.array([4]), np.zeros((4, 2))), IndexError, "index out of range in self"),
    ("binary_cross_entropy", (np.array([1.5]), np.array([1.0])), RuntimeError, "between 0 and 1"),
    ("linear", (np.zeros((2, 3)), np.zeros((5, 4))), RuntimeError, "cannot be multiplied"),
    ("conv2d", (np.zeros((1, 3, 4, 4)), np.zeros((2, 2, 1, 1))), RuntimeError, "channels"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "error", "words"), ERRORS, ids=[e[0] for e in ERRORS])
def test_wrong_values_are_refused(
    name: str, given: tuple[np.ndarray, ...], error: type, words: str
) -> None:
    for module, functional in ((torch, torch.nn.functional), (flambeau, F)):
        with pytest.raises(error, match=words):
            getattr(functional, name)(*[module.from_numpy(a) for a in given])


def test_a_broadcast_target_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="Using a target size"):
        F.mse_loss(flambeau.zeros(3, 1), flambeau.zeros(3))


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_images_of_bytes_are_resized_to_the_bit(
    mode: str, align_corners: bool, antialias: bool
) -> None:
    for shape, size in (((1, 3, 4, 5), (8, 10)), ((2, 3, 8, 8), (3, 5)), ((1, 5, 6, 6), (4, 9))):
        images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
        ours, theirs = (
            module.nn.functional.interpolate(
                module.from_numpy(images.copy()),
                size=size,
                mode=mode,
                align_corners=align_corners,
                antialias=antialias,
            ).numpy()
            for module in (flambeau, torch)
        )
        np.testing.assert_array_equal(ours, theirs)
