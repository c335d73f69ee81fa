"""``nn.functional`` beside PyTorch's: values, gradients, second gradients, draws, errors."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

import flambeau
from flambeau.nn import functional as F


@dataclass(frozen=True)
class Sample:
    """One call: floating shapes become differentiable inputs, arrays are passed on."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    second: bool = True

    def __str__(self) -> str:
        shapes = [getattr(a, "shape", a) for a in self.args]
        return f"{self.name}-{shapes}-{self.kwargs}"


def s(name: str, *args: Any, second: bool = True, **kwargs: Any) -> Sample:
    return Sample(name, args, kwargs, second)


X = (3, 4)
IMAGE = (2, 4, 6, 5)
LINE = (2, 4, 9)
LABELS = np.array([0, 3, 1])
SPATIAL = np.random.default_rng(1).integers(0, 4, (2, 6, 5))
UNIT = np.random.default_rng(2).random((3, 4))
SIGNS = np.array([1.0, -1.0, 1.0])

ELEMENTWISE = (
    "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "silu", "mish", "gelu", "softplus",
    "softsign", "tanhshrink", "hardtanh", "hardswish", "hardshrink", "softshrink",
    "logsigmoid", "glu", "normalize",
)  # fmt: skip

SAMPLES = [
    *[s(name, X) for name in ELEMENTWISE],
    s("gelu", X, approximate="tanh"),
    s("leaky_relu", X, 0.2),
    s("elu", X, 0.7),
    s("celu", X, 0.7),
    s("softplus", X, 2.0, 1.0),
    s("threshold", X, 0.1, 2.0),
    s("prelu", IMAGE, (4,)),
    *[s(name, X, dim=d) for name in ("softmax", "log_softmax", "softmin") for d in (0, 1)],
    s("linear", X, (5, 4), (5,)),
    s("linear", LINE, (5, 9)),
    s("bilinear", X, (3, 2), (5, 4, 2), (5,)),
    *[s("mse_loss", X, X, reduction=r) for r in ("none", "mean", "sum")],
    s("mse_loss", X, UNIT),
    s("hardsigmoid", X, second=False),
    s("l1_loss", X, X, second=False),
    s("smooth_l1_loss", X, X, beta=0.5),
    s("huber_loss", X, X, delta=0.7),
    s("binary_cross_entropy_with_logits", X, UNIT),
    s("binary_cross_entropy_with_logits", X, UNIT, pos_weight=np.array([1.0, 2.0, 3.0, 4.0])),
    *[s("cross_entropy", X, LABELS, reduction=r) for r in ("none", "mean", "sum")],
    s("cross_entropy", X, LABELS, weight=np.array([1.0, 2.0, 3.0, 4.0])),
    s("cross_entropy", X, LABELS, ignore_index=3, label_smoothing=0.1),
    s("cross_entropy", X, UNIT),
    s("cross_entropy", IMAGE, SPATIAL, label_smoothing=0.2),
    s("nll_loss", IMAGE, SPATIAL, ignore_index=2),
    s("kl_div", X, UNIT, reduction="batchmean"),
    s("poisson_nll_loss", X, UNIT, full=True),
    s("margin_ranking_loss", (3,), (3,), SIGNS),
    s("hinge_embedding_loss", (3,), SIGNS),
    s("soft_margin_loss", (3,), SIGNS),
    s("cosine_embedding_loss", X, X, SIGNS),
    s("triplet_margin_loss", X, X, X, swap=True),
    s("multi_margin_loss", X, LABELS, second=False),
    s("multilabel_margin_loss", X, np.array([[1, -1, 0, 2], [0, 2, -1, -1], [3, 2, 1, 0]]),
      second=False),
    s("multilabel_soft_margin_loss", X, np.round(UNIT)),
    s("conv1d", LINE, (6, 2, 3), (6,), padding=1, stride=2, groups=2),
    s("conv2d", IMAGE, (3, 4, 3, 2), (3,), padding="same", dilation=2),
    s("conv2d", IMAGE, (8, 1, 3, 3), stride=2, padding=1, groups=4),
    s("conv3d", (1, 2, 3, 4, 3), (2, 2, 2, 2, 2)),
    s("conv_transpose1d", LINE, (4, 2, 3), stride=2, output_padding=1, groups=2),
    s("conv_transpose2d", IMAGE, (4, 3, 3, 2), (3,), stride=(2, 1), padding=1),
    s("max_pool1d", LINE, 3, 2, 1),
    s("max_pool2d", IMAGE, 2, 1),
    s("max_pool2d", IMAGE, 2, ceil_mode=True),
    s("avg_pool2d", IMAGE, 3, 2, 1, count_include_pad=False),
    s("lp_pool2d", IMAGE, 3.0, 2, second=False),
    s("adaptive_avg_pool2d", IMAGE, (3, 2)),
    s("adaptive_max_pool2d", IMAGE, (3, None)),
    s("layer_norm", X, (4,), (4,), (4,)),
    s("group_norm", IMAGE, 2, (4,), (4,)),
    s("instance_norm", IMAGE),
    s("rms_norm", X, (4,), (4,)),
    s("local_response_norm", IMAGE, 3),
    s("batch_norm", IMAGE, None, None, (4,), (4,), True),
    s("batch_norm", X, np.zeros(4), np.ones(4), (4,), (4,), False),
    s("scaled_dot_product_attention", (2, 3, 5, 4), (2, 3, 6, 4), (2, 3, 6, 2)),
    s("scaled_dot_product_attention", X, X, X, is_causal=True),
    s("cosine_similarity", X, X),
    s("pairwise_distance", X, X),
    s("pdist", X, second=False),
    s("interpolate", IMAGE, scale_factor=2, mode="bilinear"),
    s("interpolate", IMAGE, size=(3, 7), mode="bicubic", align_corners=True),
    s("grid_sample", IMAGE, (2, 3, 3, 2), align_corners=False),
    s("grid_sample", IMAGE, (2, 3, 3, 2), padding_mode="reflection", align_corners=True),
    s("affine_grid", (2, 2, 3), (2, 1, 3, 4), align_corners=False),
    s("unfold", IMAGE, 3, padding=1, stride=2),
    s("fold", (2, 12, 20), (6, 5), 2),
    s("pixel_shuffle", IMAGE, 2),
    s("pixel_unshuffle", (2, 1, 4, 6), 2),
    s("pad", X, (1, 2), value=3.0),
    *[s("pad", LINE, (2, 3), mode=m) for m in ("reflect", "replicate", "circular")],
]  # fmt: skip

# Arguments that look like shapes of inputs but are sizes.
_PLAIN = {
    "adaptive_avg_pool2d": (1,), "adaptive_max_pool2d": (1,), "layer_norm": (1,), "rms_norm": (1,),
    "affine_grid": (1,), "fold": (1,), "pad": (1,),
}  # fmt: skip


def arrays(sample: Sample) -> list[Any]:
    """The arguments with random arrays for shapes."""
    rng = np.random.default_rng(7)
    found: list[Any] = []
    for i, a in enumerate(sample.args):
        if isinstance(a, tuple) and i not in _PLAIN.get(sample.name, ()):
            found.append(rng.standard_normal(a))
        else:
            found.append(a)
    return found


def run(module: Any, functional: Any, sample: Sample) -> list[np.ndarray]:
    """The result, the gradients, and the gradients of a penalty on those."""
    args, leaves = [], []
    for given, a in zip(sample.args, arrays(sample), strict=True):
        if isinstance(a, np.ndarray):
            t = module.from_numpy(a.copy())
            if isinstance(given, tuple):
                t.requires_grad_()
                leaves.append(t)
            a = t
        args.append(a)
    kwargs = {
        k: module.from_numpy(v.copy()) if isinstance(v, np.ndarray) else v
        for k, v in sample.kwargs.items()
    }
    out = getattr(functional, sample.name)(*args, **kwargs)
    weight = module.from_numpy(np.random.default_rng(3).standard_normal(tuple(out.shape)))
    loss = (out * weight).sum()
    grads = module.autograd.grad(loss, leaves, create_graph=sample.second)
    found = [out, *grads]
    penalty = sum((g * g).sum() for g in grads)
    if sample.second and penalty.requires_grad:
        for leaf in leaves:
            leaf.grad = None
        penalty.backward()
        found += [
            leaf.grad if leaf.grad is not None else module.zeros_like(leaf) for leaf in leaves
        ]
    return [np.asarray(t.detach().numpy()) for t in found]


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_values_and_gradients(sample: Sample) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = run(torch, torch.nn.functional, sample)
        got = run(flambeau, F, sample)
        # On the known path, too.
        again = run(flambeau, F, sample)
    for values in (got, again):
        for ours, theirs in zip(values, expected, strict=False):
            assert ours.dtype == theirs.dtype
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8)


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
