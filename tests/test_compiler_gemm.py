"""Matrix products of the compiler, against NumPy in double precision."""

from __future__ import annotations

import ctypes
import mmap
import sys
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.run.compiler.gemm import Epilogue, Product, product
from flambeau.run.compiler.target import host
from native_plans import compiled, lent

DTYPES = {"float": np.float32, "double": np.float64}


def fenced(nbytes):
    """Memory whose end is the end of a page that nothing can be read behind."""
    if not sys.platform.startswith("linux"):
        return lent(nbytes)
    page = mmap.PAGESIZE
    pages = -(-nbytes // page)
    room = mmap.mmap(-1, (pages + 1) * page)
    memory = np.frombuffer(room, np.uint8)
    assert (
        ctypes.CDLL(None).mprotect(ctypes.c_void_p(memory.ctypes.data + pages * page), page, 0) == 0
    )
    return memory[pages * page - nbytes : pages * page]


class Case:
    """A product with memory for it; C lies between marks."""

    def __init__(self, spec, seed=0, epilogue=(), target=None):
        self.spec = spec
        self.dtype = dtype = DTYPES[spec.element]
        rng = np.random.default_rng(seed)
        b, m, n, k = spec.batch, spec.m, spec.n, spec.k
        self.memory = {}
        self.a = self.operand("a", (b, m, k), spec.a, rng)
        self.b = self.operand("b", (b, k, n), spec.b, rng)
        size = sum((e - 1) * s for e, s in zip((b, m, n), spec.c, strict=True)) + 1
        self.room = lent((size + 128) * dtype().itemsize).view(dtype)
        self.c = self.strided(self.room[64:], (b, m, n), spec.c)
        self.memory["c"] = self.room[64:]
        for i, array in enumerate(epilogue):
            self.memory[f"e{i}"] = array
        self.plan = product(spec, target or host())

    def operand(self, name, shape, strides, rng):
        size = 1 + sum((e - 1) * s for e, s in zip(shape, strides, strict=True))
        if 0 in shape:
            size = 0
        memory = fenced(size * self.dtype().itemsize).view(self.dtype)
        memory[:] = rng.standard_normal(size)
        self.memory[name] = memory
        return self.strided(memory, shape, strides)

    def strided(self, memory, shape, strides):
        size = memory.itemsize
        if 0 in shape:
            return np.empty(shape, memory.dtype)
        return np.lib.stride_tricks.as_strided(memory, shape, [s * size for s in strides])

    def run(self, cuts=()):
        """C after all stages, each in ranges that end at fractions ``cuts`` of its units."""
        self.room[:] = np.nan
        workspace = lent(self.plan.workspace + 64, 0xFF)  # every byte set is NaN
        memory = dict(self.memory, w=workspace)
        for stage in self.plan.stages:
            scratch = lent(stage.kernel.scratch + 64, 0xFF)
            table = (ctypes.c_void_p * len(stage.operands))(
                *[memory[o].ctypes.data for o in stage.operands]
            )
            ends = sorted({int(c * stage.units) for c in cuts} | {0, stage.units})
            for begin, end in reversed(list(pairwise(ends))):
                compiled(stage.kernel)(ctypes.addressof(table), begin, end, scratch.ctypes.data)
        assert (workspace[self.plan.workspace :] == 0xFF).all()
        return self.c.copy()

    def check(self, finish=lambda c: c):
        out = self.run()
        want = finish(self.a.astype(np.float64) @ self.b.astype(np.float64))
        size = np.abs(self.a).astype(np.float64) @ np.abs(self.b).astype(np.float64)
        bound = np.finfo(self.dtype).eps * (size * (4 + self.spec.k**0.5) + 4 * np.abs(want))
        assert (np.abs(out - want) <= bound + 1e-300).all()
        # Nothing but C is written: NaN's bits are where they were.
        self.c[:] = np.nan
        assert np.isnan(self.room).all()
        assert out.tobytes() == self.run((0.1, 0.35, 0.5, 0.81)).tobytes()
        assert out.tobytes() == self.run(np.linspace(0, 1, 64)).tobytes()


def plain(m, n, k, kinds="nn", batch=1, element="float", epilogue=None):
    """Operands that are contiguous ("n") or the transposes of such ("t")."""
    a = (m * k, k, 1) if kinds[0] == "n" else (m * k, 1, m)
    b = (k * n, n, 1) if kinds[1] == "n" else (k * n, 1, k)
    return Product(m, n, k, batch, a, b, (m * n, n, 1), element, epilogue)


SHAPES = [
    (32, 128, 784),
    (128, 784, 32),
    (64, 100, 1000),
    (64, 256, 28),
    (64, 256, 64),
    (100, 10, 1),
    (100, 1, 10),
    (1, 1, 1),
    (1, 1000, 100),
    (1, 70, 600),
    (4, 500, 300),
    (209, 100, 130),
    (300, 1, 209),
    (1, 300, 209),
    (13, 47, 17),
    (200, 270, 520),
    (150, 530, 300),
    (3, 5, 4000),
]


@pytest.mark.parametrize("kinds", ["nn", "nt", "tn", "tt"])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape, kinds):
    Case(plain(*shape, kinds)).check()


@pytest.mark.parametrize("kinds", ["nn", "nt", "tn", "tt"])
@pytest.mark.parametrize("shape", [(20, 30, 40), (1, 77, 33), (200, 170, 400)])
def test_double(shape, kinds):
    Case(plain(*shape, kinds, element="double")).check()


@pytest.mark.parametrize("bits", [128, 256])
@pytest.mark.parametrize("kinds", ["nn", "nt", "tn", "tt"])
@pytest.mark.parametrize("shape", [(20, 30, 40), (1, 77, 33), (200, 170, 70), (3, 20, 90)])
def test_narrower_vectors(shape, kinds, bits):
    target = replace(host(), bits=bits, registers=16)
    Case(plain(*shape, kinds), target=target).check()
    Case(plain(*shape, kinds, element="double"), target=target).check()


@pytest.mark.parametrize("kinds", ["nn", "nt", "tn", "tt"])
def test_batches(kinds):
    Case(plain(16, 64, 64, kinds, batch=5)).check()
    Case(plain(150, 40, 70, kinds, batch=3)).check()


def test_a_shared_operand_has_batch_stride_zero():
    Case(Product(5, 9, 7, 4, (35, 7, 1), (0, 9, 1), (45, 9, 1), "float")).check()
    Case(Product(5, 9, 7, 4, (0, 7, 1), (63, 9, 1), (45, 9, 1), "float")).check()


def test_c_contiguous_along_its_columns():
    Case(Product(33, 20, 50, 2, (1650, 50, 1), (1000, 20, 1), (660, 1, 33), "float")).check()


def test_c_with_gaps_keeps_what_lies_between():
    Case(Product(20, 40, 30, 2, (600, 30, 1), (1200, 40, 1), (2000, 50, 1), "float")).check()
    Case(Product(20, 1, 30, 1, (600, 30, 1), (30, 1, 1), (60, 3, 1), "float")).check()


def test_c_must_be_contiguous_somewhere():
    with pytest.raises(ValueError, match="stride 1"):
        product(Product(4, 4, 4, 1, (16, 4, 1), (16, 4, 1), (32, 8, 2), "float"), host())


@pytest.mark.parametrize(("m", "n", "k"), [(1, 40, 20000), (5, 20, 60001), (8, 50, 39001)])
@pytest.mark.parametrize("kinds", ["nn", "nt"])
def test_a_long_k_is_summed_in_parts(m, n, k, kinds):
    case = Case(plain(m, n, k, kinds))
    assert len(case.plan.stages) == 2
    assert case.plan.stages[0].units >= 4
    case.check()


@pytest.mark.parametrize("kinds", ["nn", "nt", "tn", "tt"])
@pytest.mark.parametrize("m", [1, 5, 200])
def test_nothing_to_sum_gives_zeros(m, kinds):
    assert (Case(plain(m, 20, 0, kinds)).run() == 0).all()


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((0, 0, 1), (0, 40, 1)),
        ((0, 50, 0), (0, 40, 1)),
        ((0, 50, 1), (0, 0, 1)),
        ((0, 50, 1), (0, 1, 0)),
        ((0, 0, 0), (0, 0, 0)),
    ],
)
def test_operands_expanded_by_strides_of_zero(a, b):
    Case(Product(30, 40, 50, 1, a, b, (0, 40, 1), "float")).check()


@pytest.mark.parametrize("kinds", ["nn", "nt", "tn", "tt"])
@pytest.mark.parametrize("axis", [0, 1])
def test_operands_flipped_by_negative_strides(kinds, axis):
    straight = plain(30, 40, 50, kinds)
    case = Case(straight)
    flipped = []
    for name, array, strides in (("a", case.a, straight.a), ("b", case.b, straight.b)):
        view = np.flip(array, axis + 1)
        case.memory[name] = view  # its address is that of the first element in the new order
        flipped.append((view, tuple(-s if i == axis + 1 else s for i, s in enumerate(strides))))
    (case.a, a), (case.b, b) = flipped
    case.spec = replace(straight, a=a, b=b)
    case.plan = product(case.spec, host())
    case.check()


@pytest.mark.parametrize("shape", [(0, 4, 4), (4, 0, 4)])
def test_an_empty_c_needs_no_stage(shape):
    assert product(plain(*shape), host()).stages == ()


def test_another_number_of_rows_uses_the_same_kernels():
    names = {product(plain(m, 128, 784, "nn"), host()).stages[0].kernel.name for m in (32, 64, 128)}
    assert len(names) == 1


def bias_relu(bias_along_columns, lanes_along_columns):
    def emit(f, lanes, value, at, mask):
        i, j = at
        ty = f"<{lanes} x float>" if lanes > 1 else "float"
        at = f.element(f.pointer(0), "float", j if bias_along_columns else i)
        if bias_along_columns == lanes_along_columns:
            bias = f.load_masked(lanes, "float", at, mask) if mask else f.load(ty, at, 4)
        else:
            bias = f.splat(lanes, "float", f.load("float", at, 4))
        total = f.value(f"fadd {ty} {value}, {bias}")
        zero = f.literal(lanes, "float", 0.0)
        return f.call(
            f"llvm.maxnum.v{lanes}f32" if lanes > 1 else "llvm.maxnum.f32",
            ty,
            (ty, total),
            (ty, zero),
        )

    return Epilogue(lambda f: partial(emit, f), 1)


@pytest.mark.parametrize(
    ("shape", "kinds"),
    [
        ((32, 100, 200), "nt"),
        ((60, 100, 50), "nn"),
        ((200, 300, 700), "nn"),
        ((7, 30, 20001), "nn"),
    ],
)
@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("turned", [False, True])
def test_epilogue(shape, kinds, columns, turned):
    m, n, k = shape
    spec = plain(m, n, k, kinds, epilogue=bias_relu(columns, not turned))
    if turned:
        spec = Product(
            n, m, k, 1, (0, *spec.b[:0:-1]), (0, *spec.a[:0:-1]), (0, 1, n), "float", spec.epilogue
        )
    bias = fenced(4 * (spec.n if columns else spec.m)).view(np.float32)
    bias[:] = np.random.default_rng(1).standard_normal(bias.size)
    shift = bias if columns else bias[:, None]
    Case(spec, epilogue=[bias]).check(lambda c: np.maximum(c + shift, 0))


@st.composite
def specs(draw):
    m, n, k = (draw(st.integers(1, 70)) for _ in range(3))
    batch = draw(st.integers(1, 3))

    def strides(rows, columns, contiguous):
        order = draw(st.booleans())
        inner = 1 if contiguous else draw(st.integers(1, 3))
        extent, other = (columns, rows) if order else (rows, columns)
        outer = extent * inner + draw(st.integers(0, 5))
        whole = other * outer + draw(st.integers(0, 5))
        return whole, *((outer, inner) if order else (inner, outer))

    a, b = strides(m, k, False), strides(k, n, False)
    if draw(st.booleans()):
        b = (0, *b[1:])
    element = draw(st.sampled_from(["float", "double"]))
    return Product(m, n, k, batch, a, b, strides(m, n, True), element)


@settings(max_examples=60, deadline=None)
@given(specs())
def test_any_strides(spec):
    Case(spec).check()
