"""Parametrizations, normalised weights, fusion of batch norm: the same numbers as PyTorch's."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import flambeau
from test_optim import outcome

LIBRARIES = (flambeau, torch)


def plain(value: Any) -> Any:
    """Tensors as arrays, dictionaries and sequences of tensors the same way."""
    if isinstance(value, (flambeau.Tensor, torch.Tensor)):
        return np.array(value.detach().tolist()), str(value.dtype).split(".")[-1]
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


def same(ours: Any, theirs: Any, **tolerances: Any) -> None:
    if isinstance(ours, np.ndarray):
        np.testing.assert_allclose(ours, theirs, **{"rtol": 1e-4, "atol": 1e-5, **tolerances})
    elif isinstance(ours, dict):
        assert list(ours) == list(theirs)
        for key in ours:
            same(ours[key], theirs[key], **tolerances)
    elif isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs)
        for mine, reference in zip(ours, theirs, strict=True):
            same(mine, reference, **tolerances)
    else:
        assert ours == theirs


def agree(run: Any, **tolerances: Any) -> None:
    """Whether both libraries give the same from the same seed."""
    results = []
    for m in LIBRARIES:
        m.manual_seed(0)
        results.append(plain(run(m)))
    same(*results, **tolerances)


def refuse_alike(run: Any) -> None:
    """Whether both libraries refuse with the same type of error, and the same words."""
    ours, theirs = (outcome(lambda m=m: run(m)) for m in LIBRARIES)
    assert theirs[0] is not None
    assert str(ours).replace("flambeau", "torch") == str(theirs)


def symmetric(m: Any, inverse: bool = False) -> Any:
    class Symmetric(m.nn.Module):
        def forward(self, X):
            return X.triu() + X.triu(1).mT

    class Both(Symmetric):
        def right_inverse(self, A):
            return A.triu()

    return (Both if inverse else Symmetric)()


def trained(m: Any, layer: Any, x: Any, steps: int = 3) -> list:
    """Losses of a few steps of descent, and the state dict after them."""
    optimizer = m.optim.SGD(layer.parameters(), lr=0.1)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (layer(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss)
    return [losses, dict(layer.state_dict())]


# --- parametrize --------------------------------------------------------------------------------


@pytest.mark.parametrize("inverse", [False, True])
def test_a_parametrized_layer_trains_as_pytorchs(inverse):
    def run(m):
        P = m.nn.utils.parametrize
        layer = P.register_parametrization(m.nn.Linear(3, 3), "weight", symmetric(m, inverse))
        before = layer.weight
        results = [repr(layer), type(layer).__name__, before, trained(m, layer, m.randn(4, 3))]
        assert m.equal(layer.weight, layer.weight.mT)
        if inverse:
            layer.weight = m.ones(3, 3)
        results += [layer.weight, P.is_parametrized(layer), P.is_parametrized(layer, "bias")]
        results.append(P.type_before_parametrizations(layer).__name__)
        P.remove_parametrizations(layer, "weight", leave_parametrized=not inverse)
        return [*results, repr(layer), dict(layer.state_dict()), type(layer).__name__]

    agree(run)


def test_parametrizations_in_a_row():
    def run(m):
        P = m.nn.utils.parametrize

        class Exponential(m.nn.Module):
            def forward(self, X):
                return m.matrix_exp(X)

        class Skew(m.nn.Module):
            def forward(self, X):
                A = X.triu(1)
                return A - A.mT

        layer = m.nn.Linear(3, 3)
        P.register_parametrization(layer, "weight", Skew())
        P.register_parametrization(layer, "weight", Exponential())
        P.register_parametrization(layer, "bias", m.nn.Tanh())
        results = [repr(layer), layer.weight, layer.bias, trained(m, layer, m.randn(4, 3))]
        P.remove_parametrizations(layer, "bias")
        return [*results, repr(layer), [name for name, _ in layer.named_parameters()]]

    agree(run)


def test_a_buffer_and_several_originals():
    def run(m):
        P = m.nn.utils.parametrize

        class Product(m.nn.Module):
            def forward(self, a, b):
                return a @ b

            def right_inverse(self, W):
                return W[:, :1].clone(), W[:1].clone()

        layer = m.nn.Linear(3, 4)
        layer.register_buffer("count", m.ones(2))
        P.register_parametrization(layer, "count", m.nn.Sigmoid())
        P.register_parametrization(layer, "weight", Product())
        results = [repr(layer), layer.count, trained(m, layer, m.randn(4, 3))]
        layer.weight = m.ones(4, 3)
        results.append(layer.weight)
        P.remove_parametrizations(layer, "weight")
        return [*results, dict(layer.state_dict()), layer.weight.requires_grad]

    agree(run)


def test_parameters_stay_the_objects_that_an_optimizer_knows():
    layer = flambeau.nn.Linear(3, 3)
    weight = layer.weight
    P = flambeau.nn.utils.parametrize
    P.register_parametrization(layer, "weight", symmetric(flambeau, inverse=True))
    assert layer.parametrizations.weight.original is weight
    P.remove_parametrizations(layer, "weight")
    assert layer.weight is weight


def test_cached_computes_once():
    P = flambeau.nn.utils.parametrize
    calls = []

    class Counted(flambeau.nn.Module):
        def forward(self, X):
            calls.append(1)
            return 2 * X

    layer = P.register_parametrization(flambeau.nn.Linear(1, 1), "weight", Counted(), unsafe=True)
    calls.clear()
    with P.cached(), P.cached():
        assert layer.weight is layer.weight
    assert len(calls) == 1
    assert layer.weight is not layer.weight


def test_copies_are_independent():
    P = flambeau.nn.utils.parametrize
    layer = flambeau.nn.utils.parametrizations.weight_norm(flambeau.nn.Linear(2, 2))
    twin = copy.deepcopy(layer)
    assert type(twin) is type(layer)
    with flambeau.no_grad():
        twin.parametrizations.weight.original0.mul_(2)
    assert flambeau.allclose(twin.weight, 2 * layer.weight)
    P.remove_parametrizations(twin, "weight")
    assert P.is_parametrized(layer, "weight")
    assert repr(twin) == "Linear(in_features=2, out_features=2, bias=True)"
    assert flambeau.allclose(twin.weight, 2 * layer.weight)


def test_parametrizations_are_not_pickled():
    refuse_alike(lambda m: pickle.dumps(m.nn.utils.parametrizations.weight_norm(m.nn.Linear(1, 1))))


def test_transfer():
    def run(m):
        P = m.nn.utils.parametrize
        source = m.nn.utils.parametrizations.weight_norm(m.nn.Linear(2, 3))
        P.register_parametrization(source, "bias", m.nn.Tanh())
        goal = m.nn.Linear(2, 3)
        P.transfer_parametrizations_and_params(source, goal, "weight")
        results = [repr(goal), goal.weight, goal.bias]
        P.transfer_parametrizations_and_params(source, goal, "bias")
        shared = source.parametrizations.bias.original is goal.parametrizations.bias.original
        return [*results, repr(goal), goal.bias, shared]

    agree(run)


class _Shrinks:
    def __new__(cls, m):
        class Shrinks(m.nn.Module):
            def forward(self, X):
                return X[:1]

        return Shrinks()


def _changes_dtype(m):
    class Doubles(m.nn.Module):
        def forward(self, X):
            return X.double()

    return Doubles()


REFUSED = [
    lambda m, P: P.register_parametrization(m.nn.Linear(2, 2), "nothing", m.nn.Tanh()),
    lambda m, P: P.register_parametrization(m.nn.Linear(2, 2), "weight", _Shrinks(m)),
    lambda m, P: P.register_parametrization(m.nn.Linear(2, 2), "weight", _changes_dtype(m)),
    lambda m, P: P.remove_parametrizations(m.nn.Linear(2, 2), "weight"),
    lambda m, P: P.remove_parametrizations(
        m.nn.utils.parametrizations.weight_norm(m.nn.Linear(2, 2)), "weight", False
    ),
    lambda m, P: setattr(
        P.register_parametrization(m.nn.Linear(2, 2), "weight", symmetric(m)), "weight", m.eye(2)
    ),
    lambda m, P: P.ParametrizationList([], m.ones(1)),
    lambda m, P: m.nn.utils.parametrizations.spectral_norm(m.nn.Linear(2, 2), "nothing"),
    lambda m, P: m.nn.utils.parametrizations.spectral_norm(m.nn.Linear(2, 2), dim=3),
    lambda m, P: m.nn.utils.parametrizations.spectral_norm(m.nn.Linear(2, 2), n_power_iterations=0),
    lambda m, P: m.nn.utils.parametrizations.orthogonal(m.nn.Linear(2, 2), "nothing"),
    lambda m, P: m.nn.utils.parametrizations.orthogonal(m.nn.Linear(2, 2), "bias"),
    lambda m, P: m.nn.utils.parametrizations.orthogonal(m.nn.Linear(2, 2), "weight", "given"),
    lambda m, P: setattr(
        m.nn.utils.parametrizations.orthogonal(m.nn.Linear(2, 2), use_trivialization=False),
        "weight",
        m.eye(2),
    ),
]


@pytest.mark.parametrize("build", REFUSED)
def test_refusals(build):
    refuse_alike(lambda m: build(m, m.nn.utils.parametrize))


# --- parametrizations ---------------------------------------------------------------------------

LAYERS = {
    "Linear": (lambda m: m.nn.Linear(4, 3), (5, 4)),
    "Linear-wide": (lambda m: m.nn.Linear(3, 4), (5, 3)),
    "Linear-square": (lambda m: m.nn.Linear(3, 3), (5, 3)),
    "Conv2d": (lambda m: m.nn.Conv2d(2, 3, 3), (2, 2, 5, 5)),
    "ConvTranspose2d": (lambda m: m.nn.ConvTranspose2d(2, 3, 3), (2, 2, 4, 4)),
}
NORMS = {
    "weight": lambda m, layer: m.nn.utils.parametrizations.weight_norm(layer),
    "weight-1": lambda m, layer: m.nn.utils.parametrizations.weight_norm(layer, dim=1),
    "weight-all": lambda m, layer: m.nn.utils.parametrizations.weight_norm(layer, dim=None),
    "spectral": lambda m, layer: m.nn.utils.parametrizations.spectral_norm(layer),
    "spectral-3": lambda m, layer: m.nn.utils.parametrizations.spectral_norm(
        layer, n_power_iterations=3, dim=-1
    ),
    "older-weight": lambda m, layer: m.nn.utils.weight_norm(layer),
    "older-weight-all": lambda m, layer: m.nn.utils.weight_norm(layer, dim=None),
    "older-spectral": lambda m, layer: m.nn.utils.spectral_norm(layer, n_power_iterations=2),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm` is deprecated:FutureWarning")
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", LAYERS)
def test_normalised_weights_train_as_pytorchs(name, norm):
    build, shape = LAYERS[name]

    def run(m):
        layer = NORMS[norm](m, build(m))
        results = [repr(layer), list(dict(layer.named_parameters()))]
        results += trained(m, layer, m.randn(shape))
        layer.eval()
        return [*results, layer(m.ones(shape)), layer(m.ones(shape)), layer.weight]

    agree(run)


@pytest.mark.parametrize("orthogonal_map", [None, "matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("trivial", [True, False])
@pytest.mark.parametrize("name", ["Linear", "Linear-wide", "Linear-square"])
def test_orthogonal(name, trivial, orthogonal_map):
    build, shape = LAYERS[name]

    def run(m):
        layer = m.nn.utils.parametrizations.orthogonal(
            build(m), orthogonal_map=orthogonal_map, use_trivialization=trivial
        )
        results = [repr(layer), layer.weight, *trained(m, layer, m.randn(shape))]
        Q = layer.weight.detach()
        Q = Q if Q.size(0) >= Q.size(1) else Q.mT
        assert m.allclose(Q.mT @ Q, m.eye(Q.size(1)), atol=1e-5)
        if trivial:
            layer.weight = m.nn.init.orthogonal_(m.empty_like(layer.weight))
            results.append(layer.weight)
        return results

    agree(run, rtol=1e-3, atol=1e-4)


def test_unitary():
    def run(m):
        layer = m.nn.Module()
        layer.weight = m.nn.Parameter(m.randn(3, 3, dtype=m.complex64))
        m.nn.utils.parametrizations.orthogonal(layer)
        return [m.view_as_real(layer.weight.detach())]

    agree(run)


@pytest.mark.filterwarnings("ignore:.*weight_norm` is deprecated:FutureWarning")
@pytest.mark.parametrize("norm", NORMS)
def test_state_dicts_are_interchangeable(norm):
    build, shape = LAYERS["Conv2d"]
    theirs = NORMS[norm](torch, build(torch))
    theirs(torch.ones(shape))
    ours = NORMS[norm](flambeau, build(flambeau))
    file = io.BytesIO()
    torch.save(theirs.state_dict(), file)
    file.seek(0)
    ours.load_state_dict(flambeau.load(file))
    theirs.eval()
    ours.eval()
    expected = theirs(torch.ones(shape)).detach().numpy()
    np.testing.assert_allclose(
        ours(flambeau.ones(shape)).detach().numpy(), expected, rtol=1e-4, atol=1e-5
    )
    file = io.BytesIO()
    flambeau.save(ours.state_dict(), file)
    file.seek(0)
    loaded = torch.load(file)
    assert loaded._metadata == theirs.state_dict()._metadata
    again = NORMS[norm](torch, build(torch))
    again.load_state_dict(loaded)
    again.eval()
    np.testing.assert_allclose(
        again(torch.ones(shape)).detach().numpy(), expected, rtol=1e-4, atol=1e-5
    )


def test_weight_norm_loads_what_the_older_form_saved():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        older = flambeau.nn.utils.weight_norm(flambeau.nn.Linear(2, 3))
    newer = flambeau.nn.utils.parametrizations.weight_norm(flambeau.nn.Linear(2, 3))
    newer.load_state_dict(older.state_dict())
    assert flambeau.allclose(newer.weight, older.weight)


def test_spectral_norm_loads_state_dicts_without_a_version():
    def run(m):
        norm = m.nn.utils.spectral_norm(m.nn.Linear(2, 3))
        norm(m.ones(1, 2))
        state = norm.state_dict()
        del state["weight_v"], state._metadata[""]["spectral_norm"]
        state["weight"] = norm.weight.detach()
        fresh = m.nn.utils.spectral_norm(m.nn.Linear(2, 3))
        fresh.load_state_dict(state)
        fresh.eval()
        return [fresh(m.ones(1, 2)), dict(fresh.state_dict())]

    agree(run)


@pytest.mark.filterwarnings("ignore:.*weight_norm` is deprecated:FutureWarning")
@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm"])
def test_older_norms_are_removed(kind):
    def run(m):
        u = m.nn.utils
        layer = getattr(u, kind)(m.nn.Linear(3, 2))
        layer(m.ones(1, 3))
        getattr(u, f"remove_{kind}")(layer)
        assert not layer._forward_pre_hooks
        return [repr(layer), layer(m.ones(1, 3)), dict(layer.state_dict())]

    agree(run)
    refuse_alike(lambda m: getattr(m.nn.utils, f"remove_{kind}")(m.nn.Linear(3, 2)))
    refuse_alike(lambda m: getattr(m.nn.utils, kind)(getattr(m.nn.utils, kind)(m.nn.Linear(3, 2))))


# --- the rest -----------------------------------------------------------------------------------

FUSED = {
    "conv": (lambda m: m.nn.Conv2d(2, 3, 3), lambda m: m.nn.BatchNorm2d(3), (2, 2, 5, 5)),
    "conv-no-bias": (
        lambda m: m.nn.Conv2d(2, 3, 3, bias=False),
        lambda m: m.nn.BatchNorm2d(3, affine=False),
        (2, 2, 5, 5),
    ),
    "transposed": (
        lambda m: m.nn.ConvTranspose1d(2, 3, 3), lambda m: m.nn.BatchNorm1d(3), (2, 2, 5)
    ),
    "linear": (lambda m: m.nn.Linear(2, 3), lambda m: m.nn.BatchNorm1d(3), (5, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", FUSED)
def test_fused_batch_norm(name):
    build, norm, shape = FUSED[name]

    def run(m):
        layer, bn = build(m), norm(m)
        for _ in range(3):
            bn(layer(m.randn(shape)))
        layer.eval()
        bn.eval()
        if name == "linear":
            fused = m.nn.utils.fuse_linear_bn_eval(layer, bn)
        else:
            fused = m.nn.utils.fuse_conv_bn_eval(layer, bn, transpose=name == "transposed")
        x = m.randn(shape)
        assert m.allclose(fused(x), bn(layer(x)), atol=1e-5)
        wanted = [(n, p.requires_grad) for n, p in fused.named_parameters()]
        return [repr(fused), dict(fused.state_dict()), wanted]

    agree(run)
    refuse_alike(
        lambda m: getattr(m.nn.utils, f"fuse_{'linear' if name == 'linear' else 'conv'}_bn_eval")(
            build(m), norm(m)
        )
    )


def test_skip_init():
    def run(m):
        state = m.get_rng_state()
        layer = m.nn.utils.skip_init(m.nn.Conv1d, 2, 3, 1, bias=False)
        assert m.equal(state, m.get_rng_state())
        return [repr(layer), [(n, tuple(p.shape)) for n, p in layer.named_parameters()]]

    agree(run)
    refuse_alike(lambda m: m.nn.utils.skip_init(m.nn.ReLU))
    ours = outcome(lambda: flambeau.nn.utils.skip_init(len))
    assert ours == outcome(lambda: torch.nn.utils.skip_init(len))


def test_memory_formats_change_no_number():
    def run(m):
        net = m.nn.Sequential(m.nn.Conv2d(2, 3, 3), m.nn.Conv3d(1, 1, 1))
        net = m.nn.utils.convert_conv2d_weight_memory_format(net, m.channels_last)
        net = m.nn.utils.convert_conv3d_weight_memory_format(net, m.channels_last_3d)
        return [dict(net.state_dict())]

    agree(run)
