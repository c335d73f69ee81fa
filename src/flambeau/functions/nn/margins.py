"""Losses with a margin: rankings, embeddings, triplets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.functions.checks import _need_tensor, _tensors
from flambeau.functions.nn._common import (
    broadcast_together,
    check_reduction,
    clamp_min,
    constant,
    difference,
    last_step,
    legacy_reduction,
    reduced,
    same_dtype,
)
from flambeau.functions.nn.loss import _need_mean
from flambeau.functions.pointwise import _in_floats
from flambeau.functions.precision import raised
from flambeau.functions.promotion import Number, cast
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable


def _reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    check_reduction(reduction)
    return reduction


@function(grad=last_step("Add"))
def _cosine_embedding(
    input1: Tensor, input2: Tensor, target: Tensor, margin: Number, reduction: str
) -> Tensor:
    input1, input2 = raised(input1, input2)
    x, y = map(_in_floats, same_dtype(input1, input2))
    x, y = broadcast_together(x, y)
    dims = (x.dim() - 1,)

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return ops.sum(ops.mul(a, b), dims=dims, keepdim=False)

    eps = 1e-12
    sizes = ops.mul(ops.add(dot(x, x), eps), ops.add(dot(y, y), eps))
    cosine = ops.div(dot(x, y), ops.sqrt(sizes))
    apart = clamp_min(ops.sub(cosine, margin), 0.0)
    loss = ops.where(
        ops.eq(target, 1),
        ops.sub(1.0, cosine),
        ops.where(ops.eq(target, -1), apart, 0.0),
    )
    return reduced(loss, reduction)


@_tensors
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r""":math:`1 - \cos(x, y)` for targets 1, :math:`\max(0, \cos(x, y) - m)` for targets -1.

    >>> cosine_embedding_loss(tensor([[1.0, 0.0]]), tensor([[0.0, 1.0]]), tensor([1]))
    tensor(1.)
    """
    reduction = _reduction(size_average, reduce, reduction)
    if target.dim() not in (0, 1):
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    ndim = target.dim() + 1
    if (target.dim() == 0 or input1.dim() != 2) and (input1.dim(), input2.dim()) != (ndim, ndim):
        raise RuntimeError(
            f"{target.dim()}D target tensor expects {ndim}D input tensors, but found inputs with "
            f"sizes {list(input1.shape)} and {list(input2.shape)}."
        )
    return _cosine_embedding(input1, input2, target, float(margin), reduction)


@function(grad=last_step("ClampMin"))
def _margin_ranking(
    input1: Tensor, input2: Tensor, target: Tensor, margin: Number, reduction: str
) -> Tensor:
    input1, input2, target = raised(input1, input2, target)
    gap, t = same_dtype(difference(input1, input2), target)
    loss = ops.add(_in_floats(ops.mul(ops.neg(t), gap)), margin)
    return reduced(clamp_min(loss, 0), reduction)


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r""":math:`\max(0, -t (x - y) + m)`, with t 1 where x should rank higher, else -1.

    >>> margin_ranking_loss(tensor([1.0]), tensor([3.0]), tensor([1.0]))
    tensor(2.)
    """
    reduction = _reduction(size_average, reduce, reduction)
    if not input1.dim() == input2.dim() == target.dim():
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.size()}, input2: {input2.size()}, target: {target.size()} "
        )
    return _margin_ranking(input1, input2, target, margin, reduction)


@function(grad=last_step("Add"))
def _hinge_embedding(input: Tensor, target: Tensor, margin: Number, reduction: str) -> Tensor:
    input, target = raised(input, target)
    if input.dtype.is_complex:
        raise NotImplementedError("clamp is not supported for complex types")
    if reduction == "mean":
        _need_mean(input)
    # In the input's dtype, as PyTorch has it.
    margin = ops.full(margin, shape=(), dtype=input.dtype)
    apart = clamp_min(difference(margin, input), 0.0)
    loss = ops.add(
        ops.where(ops.ne(target, 1), apart, 0.0), ops.where(ops.ne(target, -1), input, 0.0)
    )
    return reduced(loss, reduction)


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""x for targets 1, :math:`\max(0, m - x)` for targets -1.

    >>> hinge_embedding_loss(tensor([0.5, 0.5]), tensor([1.0, -1.0]))
    tensor(0.5000)
    """
    _need_tensor("hinge_embedding_loss", target, "target", 2)
    reduction = _reduction(size_average, reduce, reduction)
    return _hinge_embedding(input, target, float(margin), reduction)


@function(grad="SoftMarginLossBackward0")
def _soft_margin(input: Tensor, target: Tensor, reduction: str) -> Tensor:
    input, target = raised(input, target)
    constant("soft_margin_loss", target=target)
    x, y = same_dtype(input, target)
    product = ops.mul(y, x)
    if input.dtype.category < 2 or product.dtype.category > input.dtype.category:
        raise RuntimeError(
            f"soft_margin_loss: the result cannot be cast to the dtype of the input, {input.dtype}"
        )
    if product._meta.shape != input._meta.shape:
        raise RuntimeError(
            f"output with shape {list(input._meta.shape)} doesn't match the broadcast shape "
            f"{list(product._meta.shape)}"
        )
    return reduced(cast(ops.log1p(ops.exp(ops.neg(product))), input.dtype), reduction)


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r""":math:`\log(1 + e^{-y x})` for targets 1 or -1.

    >>> soft_margin_loss(tensor([0.0]), tensor([1.0]))
    tensor(0.6931)
    """
    return _soft_margin(input, target, _reduction(size_average, reduce, reduction))


@function(grad=last_step("ClampMin"))
def _triplet(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: Number,
    p: float,
    eps: Number,
    swap: bool,
    reduction: str,
) -> Tensor:
    anchor, positive, negative = raised(anchor, positive, negative)
    from flambeau.functions.nn.distance import pairwise_distance

    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = ops.minimum(far, pairwise_distance(positive, negative, p, eps))
    return reduced(clamp_min(ops.sub(ops.add(near, margin), far), 0.0), reduction)


@_tensors
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r""":math:`\max(0, d(a, p) - d(a, n) + m)` with distances of norm ``p``.

    ``swap`` takes the distance of positive and negative where that is less [Balntas 2016].

    >>> x = tensor([[0.0, 0.0]])
    >>> triplet_margin_loss(x, x, x)
    tensor(1.)
    """
    reduction = _reduction(size_average, reduce, reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    a, q, n = anchor.dim(), positive.dim(), negative.dim()
    if not a == q == n:
        raise RuntimeError(
            f"The anchor, positive, and negative tensors are expected to have the same number of "
            f"dimensions, but got: anchor {a}D, positive {q}D, and negative {n}D inputs"
        )
    return _triplet(
        anchor, positive, negative, float(margin), float(p), float(eps), swap, reduction
    )


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """``triplet_margin_loss`` with a distance of your own.

    >>> x = tensor([[0.0, 0.0]])
    >>> triplet_margin_with_distance_loss(x, x, x)
    tensor(1.)
    """
    from flambeau.functions.nn.distance import pairwise_distance

    check_reduction(reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    distance: Any = distance_function or pairwise_distance
    a, q, n = anchor.dim(), positive.dim(), negative.dim()
    if not a == q == n:
        raise RuntimeError(
            f"The anchor, positive, and negative tensors are expected to have the same number of "
            f"dimensions, but got: anchor {a}D, positive {q}D, and negative {n}D inputs"
        )
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = _smaller(far, distance(positive, negative))
    return _hinge(near, far, float(margin), reduction)


@function(grad="MinimumBackward0")
def _smaller(x: Tensor, y: Tensor) -> Tensor:
    return ops.minimum(x, y)


@function(grad=last_step("ClampMin"))
def _hinge(near: Tensor, far: Tensor, margin: Number, reduction: str) -> Tensor:
    near, far = map(_in_floats, same_dtype(near, far))
    return reduced(clamp_min(ops.sub(ops.add(near, margin), far), 0.0), reduction)


SAMPLES = {
    "nn.functional.cosine_embedding_loss": "x, y, signs; x, y, signs, margin=0.5;"
    " x, y, signs, reduction='none'; x, y, signs, 0.2, reduction='sum'; v, w, signs[0];"
    " x, x, -signs; !x, y, v; !x, tall, signs; !x, y, signs, reduction='nothing';"
    " !cube, cube, signs",
    "nn.functional.margin_ranking_loss": "x, y, x.sign(); u, u * 0.5, signs, 0.3;"
    " x, y, signs[:, None]; x, y, y.sign(), reduction='none';"
    " x, y, x.sign(), margin=1, reduction='sum'; !x, y, signs;"
    " !x, y, x.sign(), reduction='nothing'",
    "nn.functional.hinge_embedding_loss": "x, y.sign(); x, y.sign(), 0.3;"
    " u, signs, reduction='none'; x, y.sign(), margin=2.0, reduction='sum'; x, i; !x, signs;"
    " !x, y.sign(), reduction='nothing'",
    "nn.functional.soft_margin_loss": "x, i.sign(); big, i; x, y.detach(), reduction='none';"
    " x, truth * 2.0 - 1, reduction='sum'; !x, y.requires_grad_(); !x, signs;"
    " !x, y, reduction='nothing'",
    "nn.functional.triplet_margin_loss": "x, y, z; x, y, z, margin=0.3, p=1.0; x, y, z, swap=True;"
    " x, y, z, reduction='none', eps=0.1; x, y * w, z * v, 2.0, inf, reduction='sum'; v, w, v * 2;"
    " x, row, y; !x, y, z, reduction='nothing'; !x, y, u; !x, y, z, margin=-1.0; !x, v, z",
    "nn.functional.triplet_margin_with_distance_loss": "x, y, z; x, y, z, swap=True, margin=0.5;"
    " x, y, z, distance_function=lambda a, b: (a - b).abs().sum(1);"
    " x, y, z, reduction='none', distance_function=F.pairwise_distance;"
    " !x, y, z, reduction='nothing'; !x, y, z, margin=0.0; !x, y, u",
}
