"""Calls that PyTorch refuses are refused with its type of exception, whatever the argument."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import flambeau

pytestmark = pytest.mark.filterwarnings("ignore")

LOSSES = """
F.cross_entropy(o(4, 5), z(5))
F.cross_entropy(o(4, 5), o(5, dtype=m.int32))
F.cross_entropy(o(5), o(4, dtype=m.long))
F.cross_entropy(o(()), o(4, dtype=m.long))
F.cross_entropy(o(2, 3, dtype=m.complex64), z(2, dtype=m.long))
F.nll_loss(o(4, 5, 3), z(()))
F.nll_loss(o(()), z(4))
F.binary_cross_entropy_with_logits(o(4), o(4, dtype=m.long))
F.kl_div(o(4), o(4, dtype=m.long))
F.soft_margin_loss(o(5), o(4, 5))
F.multilabel_soft_margin_loss(o(()), o(4))
F.multilabel_margin_loss(o(4, 5), z(4, 5))
F.multi_margin_loss(o(4, 5), z(4))
F.huber_loss(o(2), o(2), delta=1j)
F.linear_cross_entropy(o(4, 3), o(5, 3), z(5))
F.linear_cross_entropy(o(2, 3, 3), o(2, 3), z(3, 2))
"""

LAYERS = """
m.nn.HuberLoss(delta=1j)
m.nn.HuberLoss(delta="a")
m.nn.Hardtanh(1, -1)
m.nn.RNN(3, 5, bias=1)
m.nn.GRU(3, 5, batch_first="yes")
m.nn.LSTM(0, 5)
m.nn.LSTM(-1, 5)
m.nn.RNN(3.0, 5)
m.nn.BatchNorm1d(3, eps=-1.0)(o(2, 3))
m.nn.BatchNorm1d(3, eps=0.0)(o(2, 3))
m.nn.BatchNorm2d(3, eps=-1.0).eval()(o(2, 3, 4, 4))
F.normalize(o(2, 2, dtype=m.long))
F.normalize(o(()), dim=2)
F.softmax(o(2, 3, dtype=m.complex64), 0)
F.log_softmax(o(2, dtype=m.complex64), 0)
F.batch_norm(o(2, 3, dtype=m.double), z(3), o(3))
F.batch_norm(o(2, 3), None, None, o(3, dtype=m.long), z(3), training=True)
F.layer_norm(o(2, 3, dtype=m.double), (3,), o(3), z(3))
F.layer_norm(o(2, 3), (3.0,))
F.group_norm(o(2, 4), 2, o(4, dtype=m.double))
F.instance_norm(o(2, 3, 4), weight=o(3, dtype=m.double))
m.nn.LayerNorm(3)(o(2, 3, dtype=m.double))
F.linear(o(2, 3), o(4, 3), o(4, dtype=m.long))
F.nll_loss(o(2, 3), z(2, dtype=m.long), o(3, dtype=m.double))
F.ctc_loss(o(5, 2, 3), o(3, 2, dtype=m.long), m.tensor([5, 5]), m.tensor([2, 2]))
F.ctc_loss(o(5, 1, 3), o(1, 2, dtype=m.long), m.tensor([5.0]), m.tensor([2]))
F.avg_pool2d(o(1, 1, 4, 4), (1.5, 1.5))
F.adaptive_avg_pool2d(o(1, 4, 4), (1.5, 2))
F.adaptive_avg_pool1d(o(2), 2)
F.adaptive_avg_pool2d(o(2, 2), (2, 2))
F.adaptive_avg_pool2d(o(2, 2), 2)
F.adaptive_max_pool2d(o(2, 2, 2), (2, 2, 2))
F.adaptive_max_pool3d(o(2, 2, 2), (2, 2, 2))
F.fractional_max_pool2d(o(1, 4, 5, 5), 2, output_size=2, _random_samples=o(1, 2, 2))
F.fractional_max_pool2d(o(2, 4, 5, 5), 2, output_size=2, _random_samples=o(1, 4, 2))
F.fractional_max_pool3d(o(1, 4, 5, 5, 5), 2, output_size=2, _random_samples=o(1, 4, 2))
F.fractional_max_pool2d(o(1, 4, 5, 5), 2, output_size=2, _random_samples=o(4, 2))
F.fractional_max_pool2d(o(1, 4, 5, 5), 2, output_size=-1)
"""

SHAPES = """
m.as_strided(o(4), (-7,), (1,))
m.as_strided(o(4), (2,), (-1,))
m.as_strided(o(4), (2,), (1, 1))
m.as_strided(o(4), (1.5,), (1,))
m.narrow_copy(o(2, 3), 2, 0, 0)
m.unbind(o(()))
m.hsplit(o(4), "abc")
m.vsplit(o(4, 4), 1.5)
m.tensor_split(o(4), (1.5,))
m.chunk(o(4), 1.5)
m.split(o(4), 1.5)
m.select(o(4), 0, 1.5)
m.narrow(o(4), 0, 0, 1.5)
o(4).unfold(0, 1, 1.5)
m.flatten(o(2, 3), 1.5)
m.transpose(o(2, 3), 0, 1.5)
m.squeeze(o(2, 3), 1.5)
m.cumsum(o(2, 3), 1.5)
m.sum(o(2, 3), 1.5)
m.tril(o(2, 3), 1.5)
m.repeat_interleave(o(2), 1.5)
o(2).view()
o(2).reshape()
o(2).permute()
o(()).expand()
o(2).repeat()
o(2).flip()
o(2).tile()
m.renorm(o(2, 2, dtype=m.long), 2, 0, 1.0)
m.histogram(o(5, dtype=m.double), m.tensor([0.0, 1.0]))
o(2).sum_to_size()
m.reshape(o(2), (2,), nonsense=1)
m.permute(o(2), (0,), nonsense=1)
m.flip(o(2), (0,), nonsense=1)
o(2).repeat(2, nonsense=1)
m.permute(o(()), (0,))
m.flatten([1, 2])
m.reshape("a", (1,))
m.gather(o(2), 0, None)
m.zeros_like(3)
m.allclose(1, 2)
"""

MAKING = """
m.zeros()
o(2).new_zeros()
m.empty()
m.rand()
m.randn()
m.full(3, 1.0)
m.full((2,), None)
m.full((2,), 1j, dtype=m.float32)
m.full_like(o(2), 1j)
o(2).new_full((2,), None)
m.arange(0, 64, 0.5, dtype=m.int64)
m.arange(float("inf"))
m.arange(0, float("nan"))
m.arange(0, 5, float("nan"))
m.arange(1j)
m.linspace(None, 1, 3)
m.logspace(None, 1, 3)
m.randint(2.0, (2,))
m.randperm(2.0)
m.normal(o(2, dtype=m.long), o(2))
m.tensor([1, 2], dtype="a")
"""

NUMBERS = """
m.addbmm(o(2, 2), o(1, 2, 2), o(1, 2, 2, dtype=m.long))
m.baddbmm(o(1, 2, 2), o(1, 2, 2), o(1, 2, 2, dtype=m.double))
m.addmm(o(2, 2), o(2, 2), o(2, 2), alpha=1j)
m.addmv(o(2), o(2, 2), o(2), beta=1j)
m.addr(o(2, 2), o(2), o(2), alpha=1j)
m.addcmul(o(2), o(2), o(2), value=1j)
m.addcdiv(o(2), o(2), o(2), value=1j)
m.add(o(2), o(2), alpha=1j)
m.cross(o(2, 3), o(2, 3, dtype=m.long))
m.cross(o(2, 3, dtype=m.bool), o(2, 3, dtype=m.bool))
m.linalg.cross(o(2, 3), o(2, 3, dtype=m.double))
m.cdist(o(2, 3), o(2, 3, dtype=m.double))
m.cholesky_solve(o(2, 1), o(2, 2, dtype=m.double))
m.cholesky_solve(o(1, 1), o(0, 0))
m.linalg.lu_solve(o(2, 2), o(2, dtype=m.int32), o(2, 1, dtype=m.double))
m.triangular_solve(o(2, 2), o(2, 2, dtype=m.double))
o(2, dtype=m.complex64) < o(2)
o(2) >= o(2, dtype=m.complex64)
m.fmod(o(2, dtype=m.complex64), o(2))
m.remainder(o(2, dtype=m.complex64), 2)
m.floor_divide(o(2, dtype=m.complex64), 2)
m.aminmax(o(2, dtype=m.complex64))
o(2, dtype=m.complex64).max()
o(2, dtype=m.complex64).min()
m.median(o(2, dtype=m.complex64))
m.nanmedian(o(2, dtype=m.bool))
m.median(o(2, dtype=m.bool), 0)
m.mode(o(2, dtype=m.complex64))
m.nanmean(o(2, dtype=m.complex64))
m.unique(o(2, dtype=m.complex64))
m.unique_consecutive(o(2, dtype=m.complex64))
m.argmax(o(2, dtype=m.bool))
m.kthvalue(o(2, dtype=m.bool), 1)
m.kthvalue(o(2), 1.5)
m.topk(o(2), 1.5)
m.histc(o(2, dtype=m.long))
m.histc(o(2, dtype=m.complex64))
m.bincount(o(2, dtype=m.bool))
m.bincount(o(2, dtype=m.complex64))
m.trapezoid(o(2, dtype=m.bool))
m.gradient(o(3, dtype=m.bool))
m.histogramdd(o(5, 6), [1] * 5)
m.histogramdd(o(5, 6), [o(2)] * 5)
m.histogramdd(o(5), [1] * 5)
m.histogramdd(o(5, 2), [1, 1], range=(0, 1))
m.histogramdd(o(5, 2), [1, 1], range=(1, 0, 0, 1))
m.histogramdd(o(5, 2), [1, 1], weight=o(3))
m.histogramdd(o(5, 2), [o(2, 1)] * 2)
m.histogramdd(o(5, 2, dtype=m.long), [1, 1])
"""


# x is a tensor of the dtype: (1, 2, 8, 8), v: (4,).
OF_DTYPES = """
F.avg_pool2d(x, 2)
F.avg_pool3d(x, 2)
F.lp_pool2d(x, 2, 2)
F.max_pool2d(x, 2)
F.adaptive_avg_pool2d(x, 2)
F.adaptive_avg_pool2d(x, 1)
F.adaptive_max_pool2d(x, 2)
F.fractional_max_pool2d(x, 2, output_size=2)
F.interpolate(x, scale_factor=2)
F.interpolate(x, scale_factor=2, mode="bilinear")
F.interpolate(x, scale_factor=2, mode="bicubic")
F.interpolate(x[0], scale_factor=2, mode="linear")
F.batch_norm(x, None, None, training=True)
F.batch_norm(x, z(2), o(2))
F.instance_norm(x)
F.layer_norm(x, (8,))
F.group_norm(x, 2)
F.rms_norm(x, (8,))
F.local_response_norm(x, 2)
F.unfold(x, 2)
F.fold(o(1, 4, 9, dtype=x.dtype), (4, 4), 2)
F.dropout(v)
F.dropout(v, training=False)
F.dropout2d(x)
F.alpha_dropout(v)
F.relu(v)
F.relu6(v)
F.hardtanh(v, 0, 1)
F.leaky_relu(v)
F.elu(v)
F.gelu(v)
F.silu(v)
F.mish(v)
F.softplus(v)
F.logsigmoid(v)
F.softsign(v)
F.tanhshrink(v)
F.hardswish(v)
F.hardsigmoid(v)
F.softshrink(v)
F.glu(v)
F.prelu(v, v[:1])
F.rrelu(v, training=True)
F.threshold(v, 0, 1)
F.softmax(v, 0)
F.mse_loss(v, v)
F.mse_loss(v, o(4))
F.smooth_l1_loss(v, v)
F.huber_loss(v, v)
F.huber_loss(v, o(4))
F.huber_loss(o(4), v)
F.l1_loss(v, v)
F.l1_loss(v, v, reduction="sum")
F.kl_div(v, v)
F.binary_cross_entropy(v, v)
F.binary_cross_entropy_with_logits(v, o(4))
F.binary_cross_entropy_with_logits(o(4), v)
F.hinge_embedding_loss(v, o(4))
F.soft_margin_loss(v, o(4))
F.multilabel_soft_margin_loss(v, o(4))
F.nll_loss(o(2, 4, dtype=x.dtype), o(2, dtype=m.long))
F.cross_entropy(o(2, 4, dtype=x.dtype), o(2, dtype=m.long))
F.multi_margin_loss(o(2, 4, dtype=x.dtype), o(2, dtype=m.long))
F.multilabel_margin_loss(o(2, 4, dtype=x.dtype), o(2, 4, dtype=m.long))
"""


def outcome(code: str, m: Any, **more: Any) -> Any:
    """What a piece of code raises; None if nothing."""
    names = {"m": m, "F": m.nn.functional, "o": m.ones, "z": m.zeros, **more}
    try:
        repr(eval(code, names))
    except Exception as error:
        return error
    return None


CALLS = "".join((LOSSES, LAYERS, SHAPES, MAKING, NUMBERS)).split("\n")


@pytest.mark.parametrize("code", [c for c in CALLS if c])
def test_a_wrong_call_raises_what_torch_raises(code):
    theirs, ours = outcome(code, torch), outcome(code, flambeau)
    assert theirs is not None
    assert isinstance(ours, type(theirs)), repr(ours)
    # And nothing of it is left behind.
    assert (flambeau.ones(2) + 1).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool", "complex64"])
@pytest.mark.parametrize("code", [c for c in OF_DTYPES.split("\n") if c])
def test_dtypes_that_torch_refuses_are_refused_and_no_others(code, dtype):
    theirs, ours = (
        outcome(
            code,
            m,
            x=m.ones(1, 2, 8, 8, dtype=getattr(m, dtype)),
            v=m.ones(4, dtype=getattr(m, dtype)),
        )
        for m in (torch, flambeau)
    )
    assert isinstance(ours, type(theirs)), repr(ours)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_binary_cross_entropy_with_logits_has_the_dtype_of_its_target(dtype):
    def loss(m: Any) -> Any:
        x = m.tensor([0.5, -1.5], dtype=m.float32)
        target = m.tensor([0.25, 1.0], dtype=getattr(m, dtype))
        return m.nn.functional.binary_cross_entropy_with_logits(x, target)

    ours, theirs = loss(flambeau), loss(torch)
    assert str(ours.dtype) == str(theirs.dtype)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-3)


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_fractional_pooling_takes_the_first_samples(rows):
    def pooled(m: Any) -> list:
        x = m.arange(500.0).sin().reshape(4, 5, 5, 5)
        samples = m.linspace(0, 0.9, rows * 12).reshape(rows, 4, 3)
        pool = m.nn.FractionalMaxPool3d(2, output_size=2, _random_samples=samples)
        return pool(x).flatten().tolist()

    assert pooled(flambeau) == pytest.approx(pooled(torch))


def test_negative_numbers_wrap_around_in_unsigned_dtypes():
    assert flambeau.tensor([-1, -255], dtype=flambeau.uint8).tolist() == [255, 1]
    assert torch.tensor([-1, -255], dtype=torch.uint8).tolist() == [255, 1]
    assert isinstance(
        outcome("m.tensor(-256, dtype=m.uint8)", flambeau),
        type(outcome("m.tensor(-256, dtype=m.uint8)", torch)),
    )


@pytest.mark.parametrize(
    "code",
    [
        "m.topk(o(2, 3), 0)",
        "m.topk(m.tensor(2.0), 0)",
        "m.topk(o(0), 0)",
        "m.normal(z(2), m.zeros(2, dtype=m.long))",
        "m.normal(z(2), m.zeros(2, dtype=m.float64))",
        "F.dropout3d(o(3), 1.0)",
    ],
)
def test_what_torch_takes_is_taken(code):
    results = []
    for m in (torch, flambeau):
        found = eval(code, {"m": m, "F": m.nn.functional, "o": m.ones, "z": m.zeros})
        parts = [found] if isinstance(found, m.Tensor) else list(found)
        results.append([(t.tolist(), str(t.dtype), tuple(t.shape)) for t in parts])
    assert results[0] == results[1]


OF_OTHER_KINDS = """
m.add(o(2), None)
m.mul(o(2), None)
m.lt(o(2), None)
m.pow(o(2), None)
m.xlogy(o(2), None)
m.copysign(o(2), None)
o(2).mul_(None)
m.result_type(o(2), None)
m.fill(o(2), "a")
m.fill(o(2), [1])
m.nan_to_num(o(2), [1])
m.isin(o(2), None)
m.isin(o(2), [1])
F.hardshrink(o(2), (1,))
F.hardshrink(o(2), None)
o(2, 2).tile(o(2, 2))
o(2).expand(o(2))
o(o(2))
m.qr(o(2, 2), o(2, 2))
m.svd(o(2, 2), o(2, 2))
m.linalg.lu(o(2, 2), pivot=o(2, 2))
m.linalg.vector_norm(o(2, 2), o(1))
m.linalg.svd(o(2, 2), o(()))
F.hinge_embedding_loss(o(2), 1)
"""


@pytest.mark.parametrize("code", [c for c in OF_OTHER_KINDS.split("\n") if c])
def test_an_argument_of_another_kind_is_refused_by_the_call(code):
    """Not when the result is looked at."""
    for m in (torch, flambeau):
        with pytest.raises(TypeError):
            eval(code, {"m": m, "F": m.nn.functional, "o": m.ones})
