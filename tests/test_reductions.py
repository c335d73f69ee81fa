"""Reductions, statistics, sorting and scans beside PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau
from beside_torch import compare, same_refusal

RNG = np.random.default_rng(0)
ARRAYS = {
    "x": RNG.permutation(24).reshape(2, 3, 4) / 5 - 2.1,
    "y": RNG.standard_normal((2, 3, 4)),
    "z": np.array([[1.0, 0.0, 2.0, 0.0], [3.0, -1.0, 0.5, 2.0]]),
    "v": RNG.standard_normal(4),
    "w": RNG.standard_normal(3),
    "s": np.array(1.5),
    "m": np.array([[1.0, np.nan, 3.0], [-2.0, 0.5, np.nan]]),
    "c": RNG.standard_normal((2, 3)) + 1j * RNG.standard_normal((2, 3)),
    "ties": np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 1.0]]),
    "a": RNG.standard_normal((3, 4)),
    "b": RNG.standard_normal((4, 5)),
    "t": RNG.standard_normal((2, 3, 4)),
    "u": RNG.standard_normal((2, 4, 5)),
    "i": np.array([[3, 1, 2], [1, 1, 0]]),
    "p": np.array([True, False, True]),
    "e": np.zeros((0, 3)),
}
CALLS = """
x.sum(); x.sum(1); x.sum((0, 2), keepdim=True); x.sum(dim=-1, dtype=torch.float64); i.sum(); p.sum()
x.sum(axis=1, keepdims=True); e.sum(0); e.sum(); s.sum(); c.sum(0); i.sum(1, dtype=torch.float32)
x.mean(); x.mean(1); x.mean((0, 1)); x.mean(-1, True); c.mean(1); e.mean(); x.mean(axis=0)
x.prod(); x.prod(1); z.prod(1); z.prod(); i.prod(); x.prod(0, keepdim=True); c.prod(1)
x.max(); x.max(1); x.max(2, keepdim=True); torch.max(x, y); torch.max(x, other=y); ties.max()
x.min(); x.min(1); x.min(0, True); torch.min(x, y); ties.min(); s.max(0); i.max(1); p.max()
ties.amax(1); ties.amin(0); ties.amax(); x.amax((0, 2)); x.amin((0, 2), keepdim=True)
x.aminmax(dim=1); x.aminmax(); x.argmax(); x.argmax(1); x.argmin(2, keepdim=True); s.argmax()
p.all(); p.any(); (x > 0).all(1); (x > 0).any((0, 2)); x.any(); i.all(1, keepdim=True)
x.std(); x.std(1); x.std(1, False); x.std(False); x.std((0, 2), correction=0)
x.std(-1, keepdim=True)
x.var(); x.var(1); x.var(1, unbiased=False); x.var((0, 1), correction=2); c.var(1)
torch.std_mean(x, 1); torch.var_mean(x); torch.var_mean(x, 1, correction=0)
x.norm(); x.norm(1); x.norm(3, dim=1); x.norm(inf); x.norm(-inf, 0); x.norm(0); x.norm(2.5)
x.norm(dim=(0, 2)); x.norm(p="fro", dim=1, keepdim=True); c.norm(); a.norm("nuc"); c.norm(3)
m.nansum(); m.nansum(1); m.nanmean(); m.nanmean(0); m.nanmedian(); m.nanmedian(1)
x.logsumexp(1); x.logsumexp((0, 2), keepdim=True); i.logsumexp(0); (x * inf).logsumexp(0)
x.median(); x.median(1); ties.median(1); x.median(2, keepdim=True); i.mode(); ties.mode(1)
x.quantile(0.3); x.quantile(torch.tensor([0.1, 0.8], dtype=torch.float64), dim=1)
x.quantile(0.5, dim=2, keepdim=True, interpolation="lower"); m.nanquantile(0.4, dim=1)
x.quantile(0.4, interpolation="midpoint"); x.quantile(0.4, interpolation="nearest")
x.cumsum(1); i.cumsum(0); p.cumsum(0); x.cumprod(2); z.cumprod(1); x.cumsum(0, dtype=torch.float64)
x.cummax(1); x.cummin(2); y.logcumsumexp(1); s.cumsum(0); x.cumsum(axis=1)
x.sort(1); x.sort(2, descending=True); x.argsort(1); x.argsort(0, True); torch.msort(x); s.sort()
x.topk(2); x.topk(2, dim=1, largest=False); x.kthvalue(2); x.kthvalue(2, 1, keepdim=True)
i.unique(); i.unique(return_inverse=True, return_counts=True); i.unique(dim=0)
i.flatten().unique_consecutive(return_counts=True); torch.bincount(i.flatten(), minlength=6)
torch.histc(y, 5, -1, 1); torch.histogram(y.detach(), 4)
torch.histogram(y.detach(), 3, range=(-1.0, 1.0))
torch.histogram(v.detach(), torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64), density=True)
torch.count_nonzero(z, 1); i.count_nonzero(); torch.isin(i, torch.tensor([1, 3]))
torch.dist(x, y, 3)
a.mm(b); torch.mv(a, v); torch.dot(v, v + 1); t.bmm(u); torch.vdot(c[0], c[1])
torch.addmm(w[:, None], a, b, beta=0.5, alpha=2); torch.addmm(w[:, None], a, b, beta=0)
torch.addmv(w, a, v, alpha=3); torch.addr(a, w, v, beta=2); torch.addbmm(w[:, None], t, u)
torch.baddbmm(w[:, None], t, u, alpha=0.5); torch.addmm(i[:, :1], i, i.T[:, :1], beta=2)
"""
CASES = [c.strip() for line in CALLS.strip().splitlines() for c in line.split(";")]


def used(call: str) -> dict[str, np.ndarray]:
    import re

    return {n: a for n, a in ARRAYS.items() if re.search(rf"(?<![\w.\"]){n}(?![\w\"])", call)}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("call", CASES)
def test_agrees_with_torch(call: str) -> None:
    second = "nuc" not in call
    compare(call, used(call), second=second)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    "call",
    [
        "sum()",
        "mean(1)",
        "prod(0)",
        "norm()",
        "std(1)",
        "var()",
        "logsumexp(0)",
        "cumsum(1)",
        "amax(1)",
    ],
)
def test_16_bit_types_are_computed_in_32(dtype: str, call: str) -> None:
    x = np.linspace(-3, 3, 24, dtype=np.float32).reshape(4, 6)
    found = []
    for library in (torch, flambeau):
        y = eval(f"x.{call}", {"x": library.from_numpy(x.copy()).to(getattr(library, dtype))})
        assert str(y.dtype).endswith(dtype)
        found.append(y.to(library.float32).numpy())
    np.testing.assert_allclose(found[1], found[0], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    "call",
    [
        "torch.zeros(0).max()", "torch.zeros(0, 3).max(0)", "torch.zeros(0).argmax()",
        "torch.zeros(0, 2).argmin(0)", "torch.ones(2, dtype=torch.int64).mean()",
        "torch.ones(2, 3).sum(5)", "torch.ones(2).sum((0, 0))", "torch.ones(3).topk(4)",
        "torch.ones(3).kthvalue(4)", "torch.ones(2, dtype=torch.int64).std()",
        "torch.ones(3).quantile(2.5)", "torch.ones(3).cumsum()", "torch.zeros(0).amax()",
        "torch.zeros(0, 2).median(0)", "torch.mm(torch.ones(2, 3), torch.ones(2, 3))",
        "torch.mm(torch.ones(2), torch.ones(2, 3))", "torch.dot(torch.ones(2), torch.ones(3))",
        "torch.bmm(torch.ones(2, 3, 1), torch.ones(2, 3, 1))",
        "torch.addmm(torch.ones(4), torch.ones(2, 3), torch.ones(3, 3))",
        "torch.mv(torch.ones(2, 3), torch.ones(2))", "torch.bincount(torch.tensor([-1]))",
        "torch.mm(torch.ones(2, 2), torch.ones(2, 2, dtype=torch.float64))",
        "torch.equal(torch.ones(2), 1)", "torch.ones(2).histc(0)",
        "torch.max(2, torch.ones(2))",
    ],
)  # fmt: skip
def test_errors_are_torchs(call: str) -> None:
    same_refusal(call)


def test_named_results_print_and_unpack() -> None:
    x = [[1.0, 5.0], [4.0, 2.0]]
    assert repr(flambeau.tensor(x).max(1)) == repr(torch.tensor(x).max(1))
    values, indices = flambeau.tensor(x).sort()
    assert values.tolist() == [[1, 5], [2, 4]] and indices.tolist() == [[0, 1], [1, 0]]
    out = flambeau.zeros(2), flambeau.zeros(2, dtype=flambeau.int64)
    found = flambeau.max(flambeau.tensor(x), 1, out=out)
    assert out[0].tolist() == [5, 4] and found.indices is out[1]


@pytest.mark.parametrize("call", ["sum()", "sum(0)", "mean()", "mean(0)", "max()", "max(0)[0]",
                                  "prod()", "std()", "norm()", "cumsum(0)", "median()", "amax()",
                                  "sort()[0]", "logsumexp(0)", "topk(1)[0]"])  # fmt: skip
def test_grad_fn_names(call: str) -> None:
    def name(library: object) -> str:
        x = library.ones(2, 2, requires_grad=True)  # type: ignore[attr-defined]
        return eval(f"x.{call}.grad_fn.name()", {"x": x})

    assert name(flambeau) == name(torch)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "bfloat16", "float32"])
@pytest.mark.parametrize("shape", [(15,), (40,), (1300,), (3, 50, 4), (40000,)])
def test_equals_are_where_torch_has_them(shape, dtype):
    """Lengths on either side of PyTorch's thresholds; few values, so that most have equals."""
    found = []
    for module in (torch, flambeau):
        x = np.random.default_rng(3).integers(0, 2 if dtype == "bool" else 30, shape)
        x = module.from_numpy(x).to(getattr(module, dtype))
        n = shape[-1] if len(shape) == 1 else shape[1]
        dim = 0 if len(shape) == 1 else 1
        answers = [x.sort(dim), x.sort(dim, descending=True), x.sort(dim=dim, stable=True)]
        answers += [(x.argsort(dim),), (module.msort(x),), x.mode(dim)]
        if dtype != "bool":
            answers += [x.kthvalue(n // 2, dim), x.median(dim), x.nanmedian(dim)]
            for k in (1, n // 3, max(1, n // 100), n):
                answers += [x.topk(k, dim), x.topk(k, dim, largest=False)]
                answers += [x.topk(k, dim, sorted=False)]
        found.append([t.to(module.float64).numpy() for a in answers for t in a])
    for i, (ours, theirs) in enumerate(zip(*found, strict=True)):
        np.testing.assert_array_equal(ours, theirs, err_msg=str(i))


def test_sorting_does_the_same_in_python_and_natively():
    from flambeau.ir.reference import equals, introsort
    from flambeau.run.compiler import loops

    rows = np.random.default_rng(0).integers(0, 9, (4, 600))
    rows[1] = np.r_[np.arange(0, 600, 2), np.arange(599, 0, -2)]  # where heaps take over
    for task, count in ((0, 0), (1, 5), (1, 300), (2, 300), (3, 77)):
        keys, places = rows.reshape(-1).tolist(), list(range(600)) * 4
        introsort.order_rows(keys, places, 4, 600, task, count)
        assert equals.arranged(rows, task, count).reshape(-1).tolist() == places
    assert set(loops.translated(introsort, "")) >= {"sort", "top", "select"}


@pytest.mark.parametrize("bits", [32, 64])
def test_sorting_by_vectors_takes_the_steps_of_python(bits):
    """All lengths up to some blocks: of windows that are whole, cut short, and meet."""
    from flambeau.ir.reference import introsort
    from flambeau.run.compiler import loops, sorting_steps

    g = np.random.default_rng(bits)
    quick = sorting_steps.quicker(bits)
    run = loops.native(introsort, "order_rows", 2, 4, quick, bits)
    kind = np.int32 if bits == 32 else np.int64
    for size in range(2, 290):
        row = g.integers(0, g.choice([2, 5, 30, 1000]), size)
        row[0] = g.choice([0, np.iinfo(kind).max, np.iinfo(kind).min])
        for task, count in ((0, 0), (3, size // 3), (2, max(1, size // 2))):
            keys, places = row.tolist(), list(range(size))
            introsort.order_rows(keys, places, 1, size, task, count)
            native = row.astype(kind), np.arange(size, dtype=kind)
            run(*(a.ctypes.data for a in native), 1, size, task, count)
            assert native[0].tolist() == keys
            assert native[1].tolist() == places


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "int8", "uint8", "bool"])
def test_distinct_integers(dtype):
    """Of a narrow range, of a wide one, and of all that the type has."""
    g = np.random.default_rng(0)
    for low, high, n in [
        (0, 1, 1), (-5, 5, 300), (-128, 128, 400), (0, 2, 50), (10**12, 10**12 + 50, 200),
        (-(10**9), 10**9, 300), (-(2**62), 2**62, 40),
    ]:  # fmt: skip
        x = torch.from_numpy(g.integers(low, high, n)).to(getattr(torch, dtype)).reshape(-1, 1)
        for name in ("unique", "unique_consecutive"):
            for options in ({}, {"return_inverse": True, "return_counts": True}, {"dim": 0}):
                theirs = getattr(torch, name)(x, **options)
                ours = getattr(flambeau, name)(flambeau.from_numpy(x.numpy().copy()), **options)
                if not isinstance(theirs, tuple):
                    theirs, ours = (theirs,), (ours,)
                for a, b in zip(ours, theirs, strict=True):
                    assert a.numpy().dtype == b.numpy().dtype
                    np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("first", [0.0, -0.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_the_zero_among_distinct_elements_is_the_first(first, dtype):
    from flambeau.ir import reference

    x = np.array([2, np.nan, first, -first, 1, first, np.inf, np.nan, -3, 2] * 40, dtype)
    values = reference.distinct(x)
    np.testing.assert_array_equal(values, reference.unique(x)[0])
    assert np.signbit(values[1]) == np.signbit(first)
    assert values.dtype == dtype


@pytest.mark.parametrize("name", ["unique", "unique_consecutive"])
@pytest.mark.parametrize("options", [{}, {"return_counts": True}, {"dim": 0}])
def test_distinct_elements_have_no_gradient(name, options):
    said = []
    for module in (torch, flambeau):
        x = module.tensor([[1.0], [1.0], [2.0]], requires_grad=True)
        found = getattr(module, name)(x, **options)
        with pytest.raises(NotImplementedError) as error:
            (found[0] if isinstance(found, tuple) else found).sum().backward()
        said.append(str(error.value))
    assert said[0].rstrip(".") == said[1].rstrip(".")


def test_what_cannot_be_a_native_loop_is_refused():
    import types

    from flambeau.run.compiler import loops

    with pytest.raises(TypeError, match="no native code for"):
        loops.translated(types, "")


@pytest.mark.parametrize("dim", [0, 1, (0, 1), (0, 2), 2])
@pytest.mark.parametrize("computed", [False, True], ids=["in memory", "computed"])
def test_equal_values_deviate_by_exactly_nothing(dim, computed):
    """PyTorch's way (Welford) gives 0; from a rounded mean it would be about 1e-8."""
    x = flambeau.full((37, 11, 129), 0.1)

    def spread():
        y = (x * 3.0).exp() if computed else x
        return flambeau.std(y, dim), flambeau.var(y, dim)

    # The fifth run is native code.
    for _ in range(5):
        deviation, variance = spread()
        assert float(deviation.abs().max()) == 0.0
        assert float(variance.abs().max()) == 0.0


def test_deviation_far_from_zero_is_as_near_as_pytorch():
    values = np.random.default_rng(0).standard_normal((64, 500)).astype(np.float32) + 1e4
    wanted = values.astype(np.float64).std(1, ddof=1)
    torch_off = np.abs(torch.from_numpy(values).std(1).numpy() - wanted).max()
    x = flambeau.from_numpy(values)
    for _ in range(5):
        off = np.abs(flambeau.std(x, 1).numpy() - wanted).max()
        assert off <= torch_off * 4


def test_equal_sees_writes_that_are_recorded():
    for lib in (flambeau, torch):
        w, x = lib.zeros(3), lib.ones(3)
        w.copy_(x)
        assert lib.equal(w, x)
        x.add_(1)
        assert not lib.equal(w, x)
