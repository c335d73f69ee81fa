"""Maps that become part of the convolution they follow: the same bits, and where not."""

from __future__ import annotations

import numpy as np
import pytest
import torch as reference

import flambeau
from flambeau.ir.primitive import PRIMITIVES as P
from flambeau.ir.reference import convolution_output_size
from flambeau.run.compiler import convolution, epilogue
from flambeau.run.compiler.target import host
from native_graphs import Built, both_ways
from own_draws import own_draw, rng  # noqa: F401  (a fixture)


def array(*shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(epilogue, "worth", lambda attached: True)


# Which kernels, image, kernels, stride, padding, dilation, groups.
CASES = {
    "tiles": ("winograd", (2, 16, 11, 13), (16, 16, 3, 3), 1, 1, 1, 1),
    "tiles of small images": ("winograd", (5, 33, 8, 7), (35, 33, 3, 3), 1, 1, 1, 1),
    "tiles, blocks of rows": ("winograd", (2, 16, 37, 20), (18, 16, 3, 3), 1, 0, 1, 1),
    "tiles of groups": ("winograd", (2, 64, 9, 9), (64, 32, 5, 5), 1, 2, 1, 2),
    "tiles of many channels": ("deep_winograd", (6, 128, 7, 6), (48, 128, 3, 3), 1, 1, 1, 1),
    "strided": ("direct", (3, 12, 13, 9), (40, 12, 3, 3), 2, 1, 1, 1),
    "one tap": ("direct", (2, 24, 5, 5), (31, 24, 1, 1), 1, 0, 1, 1),
    "one tap, wide": ("narrow", (2, 24, 7, 9), (20, 24, 1, 1), 1, 0, 1, 1),
    "groups": ("direct", (2, 24, 10, 6), (34, 12, 3, 3), 2, 1, 1, 2),
    "blocks of rows": ("direct", (1, 20, 47, 7), (46, 20, 3, 3), 1, 2, 2, 1),
    "three axes": ("direct", (2, 18, 4, 5, 6), (31, 18, 3, 2, 3), 1, 1, 1, 1),
    "one position": ("direct", (3, 20, 3, 3), (33, 20, 3, 3), 1, 0, 1, 1),
    "few channels": ("narrow", (2, 1, 15, 28), (9, 1, 3, 3), 1, 0, 1, 1),
    "each channel": ("narrow", (2, 6, 9, 21), (6, 1, 3, 3), 1, 1, 1, 6),
    "each, strided": ("narrow", (2, 6, 9, 21), (12, 1, 5, 3), 2, 2, 1, 6),
    "one axis": ("narrow", (3, 2, 50), (5, 2, 5), 1, 2, 2, 1),
    "narrow": ("narrow", (2, 3, 40, 3), (7, 3, 3, 3), 1, 1, 1, 1),
}


def how_of(case):
    _, x, _, stride, padding, dilation, groups = case
    d = len(x) - 2
    return {
        "stride": (stride,) * d,
        "padding": ((padding, padding),) * d,
        "dilation": (dilation,) * d,
        "groups": groups,
    }


def result_shape(case):
    how = how_of(case)
    del how["groups"]
    return (case[1][0], case[2][0], *convolution_output_size(case[1][2:], case[2][2:], **how))


def channels(n, case, dtype=np.float32):
    return array(1, n, *(1,) * (len(case[1]) - 2), dtype=dtype)


def bias_relu(y, b, s, r):
    return P["relu"](y + b)


def scaled_with_residual(y, b, s, r):
    return P["relu"](y * s + b + r)


def leaky(y, b, s, r):
    y = y + b
    return P["where"](P["gt"](y, 0.0), y, y * 0.01)


def along_everything(y, b, s, r):
    # By position, by sample, one for all; two results of the result's size, and the sums.
    first = P["slice"](
        r, *(0,) * r.aval.ndim, dims=tuple(range(r.aval.ndim)),
        sizes=(1, 1, *r.aval.shape[2:]), steps=(1,) * r.aval.ndim,
    )  # fmt: skip
    each = P["slice"](
        r, *(0,) * r.aval.ndim, dims=tuple(range(r.aval.ndim)),
        sizes=(r.aval.shape[0], *(1,) * (r.aval.ndim - 1)), steps=(1,) * r.aval.ndim,
    )  # fmt: skip
    z = P["clamp"](y * 0.5 + first, -1.0, 1.0)
    return z, z * each - r, y


FORMS = [bias_relu, scaled_with_residual, leaky, along_everything]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("form", FORMS)
def test_no_bit_differs(name, form, monkeypatch):
    case = CASES[name]
    used = []
    for kind in ("winograd", "deep_winograd", "direct", "narrow"):
        real = getattr(convolution, kind)
        monkeypatch.setattr(
            convolution, kind, lambda *a, k=kind, f=real: [used.append(k), f(*a)][1]
        )
    convolution._remembered.cache_clear()
    shape = result_shape(case)

    def f(x, w, b, s, r):
        return form(P["convolution"](x, w, **how_of(case)), b, s, r)

    b, s = channels(shape[1], case), channels(shape[1], case)
    built = Built(f, array(*case[1]), array(*case[2]) * 0.1, b, s, array(*shape))
    both_ways(built, monkeypatch)
    if host().lanes(4) == 16:
        assert set(used) == {case[0]}
    monkeypatch.setattr(epilogue, "worth", lambda attached: True)
    built.check(rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("form", FORMS)
def test_no_bit_differs_for_the_gradient_of_the_input(name, form, monkeypatch):
    case = CASES[name]
    how = how_of(case) | {"input_size": case[1][2:]}

    def f(g, w, b, s, r):
        return form(P["convolution_input_gradient"](g, w, **how), b, s, r)

    b, s = channels(case[1][1], case), channels(case[1][1], case)
    built = Built(f, array(*result_shape(case)), array(*case[2]) * 0.1, b, s, array(*case[1]))
    both_ways(built, monkeypatch)
    monkeypatch.setattr(epilogue, "worth", lambda attached: True)
    built.check(rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["tiles", "strided", "each channel"])
def test_double(name, monkeypatch):
    _, *rest = CASES[name]
    case = ("", *rest)
    shape = result_shape(case)

    def f(x, w, b, s, r):
        return scaled_with_residual(P["convolution"](x, w, **how_of(case)), b, s, r)

    kinds = [array(*s, dtype=np.float64) for s in (case[1], case[2])]
    vectors = [channels(shape[1], case, np.float64) for _ in range(2)]
    both_ways(Built(f, *kinds, *vectors, array(*shape, dtype=np.float64)), monkeypatch)


def test_run_time_numbers(monkeypatch):
    case = CASES["strided"]

    def f(x, w, slope):
        y = P["convolution"](x, w, **how_of(case))
        return P["where"](P["gt"](y, 0.0), y, y * slope)

    both_ways(Built(f, array(*case[1]), array(*case[2]), numbers=[0.2]), monkeypatch)


def test_two_convolutions_share_an_epilogue(monkeypatch):
    # As at a residual block with a shortcut: the last takes the sums of the other from memory.
    how = how_of(CASES["tiles"])

    def f(x, w, v, b):
        one, other = (P["convolution"](x, k, **how) for k in (w, v))
        return P["relu"](one * b + other)

    w, v = array(16, 16, 3, 3), array(16, 16, 3, 3)
    built = Built(f, array(2, 16, 11, 13), w, v, array(1, 16, 1, 1))
    both_ways(built, monkeypatch)
    monkeypatch.setattr(epilogue, "worth", lambda attached: True)
    assert [len(g.nodes) for g in built.draft().groups] == [1, 4]


def test_no_third_lies_between(always):
    how = how_of(CASES["tiles"])

    def f(x, w):
        y = P["convolution"](x, w, **how)
        return y + P["convolution"](P["exp"](y), w, **how)

    built = Built(f, array(2, 16, 6, 6) * 0.1, array(16, 16, 3, 3) * 0.1)
    (group,) = [g for g in built.draft().groups if len(g.nodes) > 1]
    assert group.nodes[0].kind == "stages"
    built.check(rtol=1e-4, atol=1e-4)


def gradient_of_a_layer(g, w, y, r):
    how = how_of(CASES["tiles"]) | {"input_size": (11, 13)}
    gated = P["gate"](P["convolution_input_gradient"](g, w, **how) + r, y)
    return gated, P["sum"](gated, dims=(0, 2, 3), keepdim=False)


def gradient_through_a_norm(g, w, y, r):
    gated, total = gradient_of_a_layer(g, w, y, r)
    other = P["sum"](gated * y, dims=(0, 2, 3), keepdim=True)
    return gated * 0.5 - y * other, total


@pytest.mark.parametrize("form", [gradient_of_a_layer, gradient_through_a_norm])
def test_a_nest_that_sums_up_leaves_its_first_maps_to_the_convolution(form, monkeypatch):
    sizes = [(2, 16, 11, 13), (16, 16, 3, 3), (2, 16, 11, 13), (2, 16, 11, 13)]
    built = Built(form, *[array(*s) * 0.3 for s in sizes])
    both_ways(built, monkeypatch)
    monkeypatch.setattr(epilogue, "worth", lambda attached: True)
    first, second = built.draft().groups
    assert [n.op for n in first.nodes] == ["convolution_input_gradient", "add", "gate"]
    assert second.dims is not None
    built.check(rtol=1e-4, atol=1e-4)


def test_maps_that_wait_for_the_convolution_elsewhere_stay(always):
    # What is added is made of the convolution's own sums, by way of another nest.
    def f(g, w, y):
        d = P["convolution_input_gradient"](g, w, **how)
        other = P["cumsum"](P["sum"](d, dims=(0, 2, 3), keepdim=True), dim=1)
        gated = P["gate"](d + other, y)
        return gated, P["sum"](gated, dims=(0, 2, 3), keepdim=False)

    how = how_of(CASES["tiles"]) | {"input_size": (11, 13)}
    sizes = [(2, 16, 11, 13), (16, 16, 3, 3), (2, 16, 11, 13)]
    built = Built(f, *[array(*s) * 0.3 for s in sizes])
    assert not built.draft().epilogues
    built.check(rtol=1e-4, atol=1e-3)


def test_what_stays_a_nest(always):
    how = how_of(CASES["tiles"])
    x, w, r = array(2, 16, 8, 8), array(16, 16, 3, 3), array(2, 16, 8, 8)
    for f in (
        # Elementary functions: no faster here than in a nest (measured with erf).
        lambda x, w, r: P["exp"](P["convolution"](x, w, **how)),
        lambda x, w, r: P["permute"](P["convolution"](x, w, **how), dims=(0, 1, 3, 2)) + r,
        lambda x, w, r: P["convolution"](x, w, **how) + P["permute"](r, dims=(0, 1, 3, 2)),
        lambda x, w, r: P["gt"](P["convolution"](x, w, **how), r),
    ):
        built = Built(f, x, w, r)
        assert not built.draft().epilogues
        built.check(rtol=1e-4, atol=1e-4)


def test_nothing_is_written_over_what_it_reads(always):
    # Overlapping blocks of channels read their operands twice: written in place by a nest.
    def f(x, w, r):
        return P["convolution"](x, w, **how_of(CASES["tiles"])) + r

    built = Built(f, array(2, 16, 8, 8), array(18, 16, 3, 3), array(2, 18, 8, 8))
    assert built.draft().epilogues
    assert built.draft().donations([(0, 2)]) == []
    assert not built.draft([(0, 2)]).epilogues
    assert built.compiled([(0, 2)]).donations == [(0, 2)]


def test_the_log_says_what_was_fused():
    def f(x, w, b):
        return P["relu"](P["convolution"](x, w, **how_of(CASES["few channels"])) + b)

    built = Built(f, array(2, 1, 15, 28), array(9, 1, 3, 3), array(1, 9, 1, 1))
    (line,) = built.draft().described
    assert line.startswith("convolution + add relu: conv_")


# ----------------------------------------------------------------------- beside PyTorch


def network(torch):
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(2, 7, 3, padding=1)
            self.second = nn.Conv2d(7, 18, 3, stride=2, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(18)
            self.third = nn.Conv2d(18, 18, 3, padding=1, groups=2)
            self.up = nn.ConvTranspose2d(18, 4, 2, stride=2)
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            x = self.relu(self.first(x))
            x = nn.functional.leaky_relu(self.norm(self.second(x)), 0.1)
            y = self.third(x)
            x = self.relu(y + x) * y.clamp(-1, 1)
            return nn.functional.hardtanh(self.up(x))

    torch.manual_seed(0)
    return Net()


def trained(torch, net, training):
    """Outputs and gradients of some steps; the last batch is shorter."""
    net.train(training)
    found = []
    for step in range(12):
        x = torch.linspace(-2, 2, 6 * 2 * 9 * 11).reshape(6, 2, 9, 11)
        x = (x * (step + 1)).sin()[: 3 if step % 6 == 5 else 6]
        if training:
            net.zero_grad()
            y = net(x)
            (y * y).mean().backward()
            found += [p.grad.detach().numpy().copy() for p in net.parameters()]
        else:
            with torch.no_grad():
                y = net(x)
        found.append(y.detach().numpy().copy())
    return found


@pytest.mark.parametrize("training", [True, False])
def test_networks_beside_pytorch(training):
    theirs, ours = network(reference), network(flambeau)
    with reference.no_grad():
        theirs.norm.running_var.mul_(3).add_(theirs.norm.running_mean + 0.5)
    state = {k: flambeau.tensor(v.numpy()) for k, v in theirs.state_dict().items()}
    ours.load_state_dict(state)
    pairs = zip(
        trained(flambeau, ours, training), trained(reference, theirs, training), strict=True
    )
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
