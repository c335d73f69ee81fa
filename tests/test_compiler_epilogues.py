"""Maps that become part of the product they follow: the same bits, in place, and where not."""

from __future__ import annotations

import numpy as np
import pytest

from flambeau import dtypes
from flambeau.ir.primitive import PRIMITIVES as P
from flambeau.run.compiler import epilogue
from native_graphs import Built, both_ways
from own_draws import own_draw, rng  # noqa: F401  (a fixture)


def array(*shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


def turned(x):
    return P["permute"](x, dims=(1, 0))


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(epilogue, "worth", lambda attached: True)


def bias_relu(x, w, b, r):
    return P["relu"](P["matmul"](x, w) + b)


def bias_along_rows(x, w, b, r):
    return P["matmul"](x, w) * P["slice"](r, 0, dims=(1,), sizes=(1,), steps=(1,)) + 1.0


def residual(x, w, b, r):
    s = P["matmul"](x, w)
    return s + r, P["clamp"](s, -1.0, 1.0)


def through_conditions(x, w, b, r):
    s = P["matmul"](x, w)
    above = P["gt"](s, r)
    return P["where"](above, s, P["pow"](r, 2)) + P["cast"](above, dtype=b.aval.dtype)


def with_its_result(x, w, b, r):
    s = P["matmul"](x, w)
    return P["maximum"](s + b, s * 0.1), s


FORMS = [bias_relu, bias_along_rows, residual, through_conditions, with_its_result]
SHAPES = [
    (5, 7, 9),
    (33, 47, 70),
    (70, 70, 700),  # k in blocks
    (200, 40, 700),
    (8, 50, 39001),  # k in parts
    (1, 77, 33),
    (77, 1, 33),
    (1, 1, 5),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_no_bit_differs(form, shape, monkeypatch):
    m, n, k = shape
    x, w, b, r = array(m, k), array(k, n), array(n), array(m, n)
    both_ways(Built(form, x, w, b, r), monkeypatch)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(5, 7, 9), (60, 33, 600), (3, 40, 70), (200, 90, 70)])
@pytest.mark.parametrize("kinds", ["nt", "tn"])
def test_no_bit_differs_for_transposed_operands(form, shape, kinds, monkeypatch):
    m, n, k = shape
    x = array(m, k) if kinds[0] == "n" else array(k, m)
    w = array(k, n) if kinds[1] == "n" else array(n, k)

    def f(x, w, b, r):
        return form(turned(x) if kinds[0] == "t" else x, turned(w) if kinds[1] == "t" else w, b, r)

    both_ways(Built(f, x, w, array(n), array(m, n)), monkeypatch)


@pytest.mark.parametrize("form", FORMS)
def test_double(form, monkeypatch):
    given = [array(*s, dtype=np.float64) for s in ((19, 600), (600, 21), (21,), (19, 21))]
    both_ways(Built(form, *given), monkeypatch)


def test_against_the_references(always):
    for form in FORMS:
        built = Built(form, array(33, 70), array(70, 47), array(47), array(33, 47))
        assert built.draft().epilogues
        built.check(rtol=1e-4, atol=1e-4)


def test_a_batch_with_shared_weights_is_one_product(monkeypatch):
    def f(x, w, b):
        return P["relu"](P["matmul"](x, w) + b)

    both_ways(Built(f, array(3, 5, 20), array(20, 18), array(18)), monkeypatch)


def test_operands_from_the_middle_of_a_buffer(monkeypatch):
    def f(x, w, b):
        part = P["slice"](b, 7, dims=(0,), sizes=(18,), steps=(1,))
        return P["matmul"](x, w) + part

    both_ways(Built(f, array(5, 20), array(20, 18), array(40)), monkeypatch)


def test_run_time_numbers(monkeypatch):
    def f(x, w, p, lr, scale):
        return p - P["matmul"](x, w) * lr, P["matmul"](x, w) * scale

    x, w, p = array(5, 20), array(20, 18), array(5, 18)
    both_ways(Built(f, x, w, p, numbers=[0.1, 3.0]), monkeypatch)


# --------------------------------------------------------------------- writing in place


def sgd(g, x, p):
    d = P["matmul"](turned(g), x)
    return d, p - d * 0.1


def momentum(g, x, p, v):
    d = P["matmul"](turned(g), x)
    v = v * 0.9 + d
    return p - v * 0.1, v, d


@pytest.mark.parametrize(("n", "m", "k"), [(5, 9, 8), (40, 70, 700), (8, 50, 39001), (30, 130, 64)])
def test_a_parameter_is_updated_where_it_is(n, m, k, monkeypatch):
    # k in one block, in several, in parts.
    built = Built(sgd, array(k, n), array(k, m), array(n, m))
    both_ways(built, monkeypatch, [(1, 2)], [(1, 2)])
    built = Built(momentum, *built.inputs, array(n, m))
    both_ways(built, monkeypatch, [(0, 2), (1, 3)], [(0, 2), (1, 3)])


def test_sums_of_parts_never_lie_in_what_the_epilogue_reads(always):
    # Nothing but memory that is to be overwritten for them: the update stays a nest.
    x = [array(700, 40), array(700, 70), array(40, 70)]
    built = Built(lambda *a: sgd(*a)[1], *x)
    assert not built.draft([(0, 2)]).epilogues
    assert built.compiled([(0, 2)]).donations == [(0, 2)]
    # Planned without knowing that, it is not written in place.
    draft = built.draft()
    assert draft.epilogues
    assert draft.donations([(0, 2)]) == []
    # One of two results that nothing is read from will do.
    two = Built(lambda g, x, p: (P["abs"](sgd(g, x, p)[0]), sgd(g, x, p)[1]), *x)
    assert two.draft([(1, 2)]).epilogues
    assert two.compiled([(1, 2)]).donations == [(1, 2)]


def test_a_product_does_not_overwrite_its_own_operand(always):
    def f(p, x):
        d = P["matmul"](p, x)
        return p - d, d

    built = Built(f, array(24, 24), array(24, 24))
    assert built.draft([(0, 0)]).epilogues
    assert built.compiled([(0, 0)]).donations == []


def test_a_parameter_read_by_a_later_product_keeps_its_place(always):
    # The gradient of the layer below reads the old weight: the update waits for it.
    def f(g, x, p):
        d = P["matmul"](turned(g), x)
        below = P["matmul"](g, p)
        return p - d * 0.1, below, d

    built = Built(f, array(8, 20), array(8, 30), array(20, 30))
    assert built.draft([(0, 2)]).epilogues
    assert built.compiled([(0, 2)]).donations == [(0, 2)]


# ----------------------------------------------------------------------- where there is none


def test_reductions_stay_nests(always):
    def f(g, w, y):
        gated = P["gate"](P["matmul"](g, w), y)
        return gated, P["sum"](gated, dims=(0,), keepdim=False)

    built = Built(f, array(9, 20), array(20, 18), array(9, 18))
    assert not built.draft().epilogues
    rows = Built(lambda x, w: P["softmax"](P["matmul"](x, w), dim=1), array(9, 20), array(20, 18))
    assert not rows.draft().epilogues


def test_what_no_vector_of_the_product_can_read_stays_a_nest(always):
    x, w, r = array(18, 20), array(20, 18), array(18, 18)
    for f in (
        lambda x, w, r: turned(P["matmul"](x, w)) + r,
        lambda x, w, r: P["matmul"](x, w) + turned(r),
        lambda x, w, r: P["flip"](P["matmul"](x, w), dims=(0,)) * 2.0,
        lambda x, w, r: P["exp"](P["matmul"](x, w)),
        lambda x, w, r: P["gt"](P["matmul"](x, w), r),
    ):
        built = Built(f, x, w, r)
        assert not built.draft().epilogues
        built.check(rtol=1e-4, atol=1e-4)
    half = [a.astype(dtypes.bfloat16.numpy) for a in (x, w, r)]
    assert not Built(lambda x, w, r: P["matmul"](x, w) + r, *half).draft().epilogues


def test_no_third_lies_between(always):
    # What is added waits for the product: as one they would wait for each other.
    def f(x, w):
        s = P["matmul"](x, w)
        return s + P["matmul"](P["exp"](s), w)

    built = Built(f, array(18, 18) * 0.1, array(18, 18) * 0.1)
    (group,) = [g for g in built.draft().groups if len(g.nodes) > 1]
    assert group.nodes[0].kind == "stages"
    built.check(rtol=1e-4, atol=1e-4)


def test_two_products_share_an_epilogue(monkeypatch):
    def f(x, w, v):
        return P["relu"](P["matmul"](x, w) + P["matmul"](x, v))

    built = Built(f, array(18, 20), array(20, 30), array(20, 30))
    both_ways(built, monkeypatch)
    assert len(built.draft().groups) == 3  # `both_ways` leaves epilogues off


def test_what_was_measured_decides():
    def drafted(f, *inputs):
        return bool(Built(f, *inputs).draft().epilogues)

    assert drafted(lambda *a: bias_relu(*a, None), array(64, 200), array(200, 512), array(512))
    assert drafted(sgd, array(32, 128), array(32, 784), array(128, 784))
    # Rows of a tile that share cache sets; more memory than is near; a long product.
    assert not drafted(sgd, array(32, 128), array(32, 1024), array(128, 1024))
    assert not drafted(sgd, array(32, 600), array(32, 784), array(600, 784))
    assert not drafted(sgd, array(400, 128), array(400, 784), array(128, 784))


def test_the_log_says_what_was_fused():
    built = Built(bias_relu, array(9, 20), array(20, 18), array(18), array(1))
    (line,) = built.draft().described
    assert line.startswith("matmul + add relu: gemm_")
