"""Losses whose targets are class indices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.functions.checks import _need_floats, _need_one_dtype, _tensors
from flambeau.functions.nn._common import (
    check_reduction,
    clamp_min,
    constant,
    known,
    last_step,
    legacy_reduction,
    log_sigmoid,
    mean,
    reduced,
    reshape,
    same_dtype,
    total,
    value_of,
)
from flambeau.functions.precision import raised
from flambeau.functions.promotion import Number, cast
from flambeau.ir.rows import check_targets
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor


def _check_classes(target: Tensor, *more: dtypes.dtype) -> None:
    """Refuses a target whose dtype holds no class indices: int64, or one of ``more``."""
    if target.dtype is not dtypes.int64 and target.dtype not in more:
        from flambeau.functions.inplace import title

        raise RuntimeError(
            f"expected target dtype to be Long or Byte, but got {title(target.dtype)}"
        )


def _check_shapes(input: Tensor, target: Tensor, weight: Tensor | None) -> None:
    x, y = input._meta.shape, target._meta.shape
    rows = y[0] if y else 0
    if not x:
        raise ValueError("Expected 1 or more dimensions (got 0)")
    if len(x) > 1 and x[0] != rows:
        raise ValueError(f"Expected input batch_size ({x[0]}) to match target batch_size ({rows}).")
    _check_classes(target, dtypes.uint8)
    if len(x) <= 2:
        if len(y) > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if len(x) == 1 and rows > 1:
            raise ValueError(
                f"For 1D input, 1D target must have size 1, but got target size: {rows}"
            )
    elif (x[0], *x[2:]) != y:
        if len(x) == 4:
            raise RuntimeError(
                "only batches of spatial targets supported (3D tensors) but got targets of "
                f"dimension: {len(y)}"
                if len(y) != 3
                else f"size mismatch (got input: {list(x)}, target: {list(y)})"
            )
        raise RuntimeError(f"Expected target size {[x[0], *x[2:]]}, got {list(y)}")
    classes = x[1] if len(x) > 1 else x[0]
    if weight is not None and weight._meta.shape != (classes,):
        raise RuntimeError(
            "weight tensor should be defined either for all or no classes"
            if len(x) == 1
            else "weight tensor should be defined either for all "
            f"{classes} classes or no classes but got weight tensor of shape: "
            f"{list(weight._meta.shape)}"
        )


def _nll_body(
    x: Tensor, target: Tensor, weight: Tensor | None, reduction: str, ignore: int
) -> Tensor:
    x, weight = raised(x, weight)
    check_reduction(reduction)
    _check_shapes(x, target, weight)
    _need_floats("nll_loss_out_frame", x)
    if weight is not None:
        _need_one_dtype(x, weight)
    if x.dim() == 1 and target.dim() == 1:
        target = reshape(target, ())
    constant("nll_loss_forward" if x.dim() <= 2 else "nll_loss2d_forward", weight=weight)
    if weight is None:
        return ops.nll(x, target, reduction=reduction, ignore=ignore)
    return ops.nll(x, target, weight, reduction=reduction, ignore=ignore)


@function(grad="NllLossBackward0", whole=True)
def _nll(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, ignore_index: int
) -> Tensor:
    return _nll_body(input, target, weight, reduction, ignore_index)


@function(grad="NllLoss2DBackward0", whole=True)
def _nll_2d(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, ignore_index: int
) -> Tensor:
    return _nll_body(input, target, weight, reduction, ignore_index)


def _check_values(input: Tensor, target: Tensor, ignore_index: int) -> None:
    """A concrete target is checked at the call; a pending one when it is computed."""
    array = known(target)
    shape = input._meta.shape
    if array is not None and shape and target._meta.dtype.category == 1:
        check_targets(
            np.asarray(array, np.int64), shape[1] if len(shape) > 1 else shape[0], ignore_index
        )


@_tensors
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Minus the log-probability of the target class: :math:`-w_y x_y`.

    Shapes: ``input`` is ``(N, C, ...)`` or ``(C,)``, ``target`` ``(N, ...)`` or ``()``. The mean
    divides by the targets' weights. Raises ``IndexError`` for a target that is no class.

    >>> nll_loss(tensor([[-1.0, -2.0]]), tensor([1]))
    tensor(2.)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    if len(target._meta.shape) <= len(input._meta.shape):
        _check_values(input, target, ignore_index)
    return (_nll if input.dim() <= 2 else _nll_2d)(input, target, weight, reduction, ignore_index)


# -------------------------------------------------------------------------- cross entropy


def _cross_entropy_of_classes(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: str,
    ignore_index: int,
    label_smoothing: float = 0.0,
) -> Tensor:
    input, weight = raised(input, weight)
    axis = 1 if input.dim() > 1 else 0
    if not input.dim():
        raise IndexError("Dimension out of range (expected to be in range of [-1, 0], but got 1)")
    if input.dtype.category != 2:
        from flambeau.functions.inplace import title

        raise NotImplementedError(
            f"\"log_softmax_lastdim_kernel_impl\" not implemented for '{title(input.dtype)}'"
        )
    x = ops.log_softmax(input, dim=axis)
    loss = _nll_body(x, target, weight, reduction, ignore_index)
    if type(label_smoothing) is float and label_smoothing == 0.0:
        return loss
    classes = input._meta.shape[axis]
    if x.dim() == 1 and target.dim() == 1:
        target = reshape(target, ())
    weighed = x
    if weight is not None:
        shape = tuple(classes if d == axis else 1 for d in range(x.dim()))
        weighed = ops.mul(x, reshape(weight, shape))
    kept = ops.ne(target, ignore_index)
    smooth = ops.neg(ops.sum(weighed, dims=(axis,), keepdim=False))
    smooth = ops.where(kept, smooth, 0.0)
    if reduction == "mean":
        if weight is None:
            count = total(ops.cast(kept, dtype=x.dtype))
        else:
            safe = ops.where(kept, target, 0)
            each = ops.index(weight, safe, where=(0,))
            count = total(ops.where(kept, each, 0.0))
        smooth = ops.div(total(smooth), count)
    else:
        smooth = reduced(smooth, reduction)
    return ops.add(ops.mul(loss, 1.0 - label_smoothing), ops.mul(smooth, label_smoothing / classes))


# One formula: a loss is named after its last operation.
_cross_entropy = function(grad="NllLossBackward0")(_cross_entropy_of_classes)
_cross_entropy_2d = function(grad="NllLoss2DBackward0")(_cross_entropy_of_classes)
_cross_entropy_smoothed = function(grad="AddBackward0")(_cross_entropy_of_classes)


@function(grad="DivBackward1")
def _cross_entropy_of_probabilities(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: str,
    label_smoothing: float = 0.0,
) -> Tensor:
    input, target, weight = raised(input, target, weight)
    if target.dtype.category != 2:
        from flambeau.functions.inplace import title

        raise RuntimeError(
            "Expected floating point type for target with class probabilities, got "
            f"{title(target.dtype)}"
        )
    axis = 1 if input.dim() > 1 else 0
    shape = input._meta.shape
    classes = shape[axis]
    x, target = same_dtype(input, target)
    x = ops.log_softmax(x, dim=axis)
    if not (type(label_smoothing) is float and label_smoothing == 0.0):
        target = ops.add(ops.mul(target, 1.0 - label_smoothing), label_smoothing / classes)
    loss = ops.mul(x, target)
    if weight is not None:
        if weight._meta.shape != (classes,):
            raise RuntimeError(
                "cross_entropy: weight tensor should be defined either for all "
                f"{classes} classes or no classes but got weight tensor of shape: "
                f"{list(weight._meta.shape)}"
            )
        loss = ops.mul(
            loss, reshape(weight, tuple(classes if d == axis else 1 for d in range(x.dim())))
        )
    if reduction == "none":
        return ops.neg(ops.sum(loss, dims=(axis,), keepdim=False))
    loss = ops.neg(total(loss))
    if reduction == "sum":
        return loss
    check_reduction(reduction)
    rows = math.prod(n for d, n in enumerate(shape) if d != axis)
    return ops.mul(loss, math.nan) if rows == 0 else ops.div(loss, float(rows))


@_tensors
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    r"""Minus the log-probability that the logits x give the target: :math:`-\log p_y`.

    Shapes: ``input`` is ``(N, C, ...)`` or ``(C,)``; ``target`` holds class indices ``(N, ...)``
    or ``()``, or probabilities in the shape of ``input``. ``label_smoothing`` mixes the target
    with the uniform distribution; classes are weighed by ``weight``; targets ``ignore_index`` do
    not count. Raises ``IndexError`` for a target that is no class.

    >>> cross_entropy(tensor([[0.0, 0.0]]), tensor([1]))
    tensor(0.6931)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    if label_smoothing != 0.0 and not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if input._meta.shape == target._meta.shape:
        if ignore_index >= 0:
            raise RuntimeError("ignore_index is not supported for floating point target")
        return _cross_entropy_of_probabilities(
            input, target, weight, reduction, float(label_smoothing)
        )
    if len(target._meta.shape) <= len(input._meta.shape):
        _check_values(input, target, ignore_index)
    if label_smoothing:
        return _cross_entropy_smoothed(
            input, target, weight, reduction, ignore_index, float(label_smoothing)
        )
    f = _cross_entropy if len(input._meta.shape) <= 2 else _cross_entropy_2d
    return f(input, target, weight, reduction, ignore_index)


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Tensor:
    """``cross_entropy`` of ``linear(input, linear_weight, linear_bias)``.

    A weight ``(C, d1, ..., in)`` gives logits ``(N, C, d1, ...)``. ``options`` says how PyTorch
    cuts the work up, and changes no number.
    """
    from flambeau.functions.nn.linear import linear

    shape = linear_weight.shape
    if input.dim() not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.dim()}")
    if len(shape) > 2:
        if input.dim() < 2:
            raise RuntimeError(
                f"K-dimensional loss defined by linear_weight shape {tuple(shape)} requires "
                f"batched input, (N, {shape[-1]}), got unbatched input with shape "
                f"{tuple(input.shape)}"
            )
        linear_weight = linear_weight.reshape(-1, shape[-1])
        if linear_bias is not None:
            linear_bias = linear_bias.reshape(-1)
    logits = linear(input, linear_weight, linear_bias)
    if len(shape) > 2:
        logits = logits.reshape(*input.shape[:-1], *shape[:-1])
    return cross_entropy(
        logits,
        target,
        weight=weight,
        reduction=reduction,
        ignore_index=-100 if ignore_index is None else ignore_index,
        label_smoothing=label_smoothing,
    )


# -------------------------------------------------------------------------------- margins


@function(grad="MultiMarginLossBackward0")
def _multi_margin(
    input: Tensor, target: Tensor, p: int, margin: Number, weight: Tensor | None, reduction: str
) -> Tensor:
    input, weight = raised(input, weight)
    constant("multi_margin_loss", weight=weight)
    given = input._meta.shape
    x = reshape(input, (1, *(given or (1,)))) if len(given) < 2 else input
    rows, classes = x._meta.shape
    t = reshape(target, (rows, 1))
    chosen = ops.eq(ops.iota(shape=(rows, classes), dim=1, dtype=dtypes.int64), t)
    mine = ops.sum(ops.where(chosen, x, 0.0), dims=(1,), keepdim=True)
    loss = clamp_min(ops.add(ops.sub(x, mine), margin), 0.0)
    if p == 2:
        loss = ops.square(loss)
    if weight is not None:
        loss = ops.mul(loss, reshape(ops.index(weight, reshape(t, (rows,)), where=(0,)), (rows, 1)))
    loss = ops.where(chosen, 0.0, loss)
    loss = ops.div(ops.sum(loss, dims=(1,), keepdim=False), float(classes))
    if len(given) < 2 and (target.dim() == 0 or reduction != "none"):
        loss = reshape(loss, ())
    return reduced(loss, reduction)


@_tensors
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r""":math:`\sum_{i \ne y} \max(0, m - x_y + x_i)^p / C`, with p 1 or 2.

    >>> multi_margin_loss(tensor([[0.0, 1.0]]), tensor([1]))
    tensor(0.)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    check_reduction(reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    shape = input._meta.shape
    if len(shape) > 2 or 0 in shape[-1:]:
        raise RuntimeError(
            "Expected non-empty vector or matrix with optional 0-dim batch size, but got: "
            f"{list(shape)}"
        )
    rows, classes = shape[0] if len(shape) == 2 else 1, shape[-1] if shape else 1
    if target.dim() > 1 or target.numel() != rows:
        raise RuntimeError(
            f"inconsistent target size, expected {rows} but got {list(target.shape)}"
        )
    if weight is not None:
        if weight.dim() != 1:
            raise ValueError("weight must be one-dimensional")
        if weight.numel() != classes:
            raise RuntimeError(
                f"inconsistent weight size, expected {classes} but got {list(weight.shape)}"
            )
    _check_classes(target)
    _need_floats("multi_margin_loss_cpu_kernel", input)
    array = value_of(target)
    if array.size and not (0 <= array.min() and array.max() < classes):
        raise RuntimeError("target out of range")
    return _multi_margin(input, target, int(p), float(margin), weight, reduction)


@function(grad="MultilabelMarginLossBackward0")
def _multilabel_margin(input: Tensor, target: Tensor, reduction: str) -> Tensor:
    (input,) = raised(input)
    single = input.dim() <= 1
    classes = input._meta.shape[-1] if input.dim() else 1
    x = reshape(input, (1, classes)) if single else input
    t = reshape(target, (1, classes)) if single else target
    rows = x._meta.shape[0]
    # Labels count up to the first -1.
    ended = ops.cumsum(ops.cast(ops.lt(t, 0), dtype=dtypes.int64), dim=1)
    valid = ops.eq(ended, 0)
    safe = ops.where(valid, t, 0)
    row = ops.iota(shape=(rows, classes), dim=0, dtype=dtypes.int64)
    mine = ops.index(x, row, safe, where=(0, 1))
    zeros = ops.full(0, shape=(rows, classes), dtype=dtypes.int64)
    is_label = ops.gt(
        ops.index_put(
            zeros, ops.cast(valid, dtype=dtypes.int64), row, safe, where=(0, 1), accumulate=True
        ),
        0,
    )
    # [row, label, other class]
    gap = ops.sub(reshape(x, (rows, 1, classes)), reshape(mine, (rows, classes, 1)))
    loss = clamp_min(ops.add(gap, 1.0), 0.0)
    counts = ops.and_(
        reshape(valid, (rows, classes, 1)), ops.not_(reshape(is_label, (rows, 1, classes)))
    )
    loss = ops.sum(ops.where(counts, loss, 0.0), dims=(1, 2), keepdim=False)
    loss = ops.div(loss, float(classes))
    return reduced(reshape(loss, ()) if single else loss, reduction)


@_tensors
def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r""":math:`\sum_{j \in y} \sum_{i \notin y} \max(0, 1 - x_j + x_i) / C`.

    Each row of ``target`` lists class indices, up to the first -1.

    >>> multilabel_margin_loss(tensor([[0.1, 0.2]]), tensor([[0, -1]]))
    tensor(0.5500)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    check_reduction(reduction)
    x, y = input._meta.shape, target._meta.shape
    if len(x) > 2 or (len(x) == 2 and x[1] == 0) or (len(x) == 1 and x[0] == 0):
        raise RuntimeError(
            f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: "
            f"{list(x)}"
        )
    if (len(x) == 2 and x != y) or (len(x) < 2 and math.prod(x) != math.prod(y)):
        raise RuntimeError(f"inconsistent target size: {list(y)} for input of size: {list(x)}")
    _check_classes(target)
    _need_floats("multilabel_margin_loss_forward_out_frame", input)
    array = value_of(target)
    if array.size:
        classes = x[-1] if x else 1
        if array.min() < -1 or array.max() >= classes:
            raise RuntimeError("argument 'target' is out of range")
    return _multilabel_margin(input, target, reduction)


@function(grad=last_step("Div"))
def _multilabel_soft_margin(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str
) -> Tensor:
    x, y = same_dtype(input, target)
    yes, no = log_sigmoid(x), log_sigmoid(ops.neg(x))
    loss = ops.neg(ops.add(ops.mul(y, yes), ops.mul(ops.sub(1.0, y), no)))
    if weight is not None:
        loss = ops.mul(loss, cast(weight, loss.dtype))
    # The classes are the input's, which a target may broadcast.
    last = input.dim() - 1
    loss = ops.sum(loss, dims=(last,), keepdim=False)
    loss = ops.div(loss, float(input._meta.shape[last]))
    return mean(loss) if reduction == "mean" else reduced(loss, reduction)


@_tensors
def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Mean over classes of :math:`-(y \log \sigma(x) + (1 - y) \log \sigma(-x))`.

    >>> multilabel_soft_margin_loss(tensor([[0.0, 0.0]]), tensor([[1.0, 0.0]]))
    tensor(0.6931)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    check_reduction(reduction)
    if not input.dim():
        raise IndexError("Dimension specified as -1 but tensor has no dimensions")
    _need_floats("log_sigmoid_cpu", input)
    return _multilabel_soft_margin(input, target, weight, reduction)


SAMPLES = {
    "nn.functional.nll_loss": "x, labels; x, labels, mask + 0.5; x, labels, reduction='sum';"
    " x, labels, reduction='none', ignore_index=2; v, labels[0];"
    " image, place[:2, 0, None, None].expand(2, 6, 5);"
    " line, place[:2].repeat(1, 3)[:, :9], mask * 1.0;"
    " x, labels, mask + 1.0, ignore_index=1, reduction='mean'; !x, labels + 9; !x, u;"
    " !x, labels, u; !x, labels, v.requires_grad_(); !x, labels, reduction='nothing'; !x, place",
    "nn.functional.cross_entropy": "x, labels; x, labels, mask + 0.5;"
    " x, labels, label_smoothing=0.2; x, y.softmax(1);"
    " x, y.softmax(1), v.abs(), label_smoothing=0.1; x, labels, ignore_index=1;"
    " x, labels, mask + 0.5, ignore_index=0, label_smoothing=0.3; x, labels, reduction='none';"
    " v, labels[1]; image, image.softmax(1), reduction='sum'; line, place[:2].repeat(1, 3)[:, :9];"
    " empty, labels[:0], reduction='sum'; !x, labels + 9; !x, labels, v.requires_grad_();"
    " !x, labels, label_smoothing=1.5; !x, labels, reduction='nothing'; !x, u; !x, labels[:2]",
    "nn.functional.linear_cross_entropy": "x, m, labels; x, m, labels, linear_bias=v;"
    " x, m, labels, weight=mask + 0.5, reduction='sum';"
    " x, m, labels, ignore_index=1, label_smoothing=0.1; x, m, labels, reduction='none';"
    " x, m, y.softmax(1); !x, m, labels, reduction='nothing'; !x, tall, labels",
    "nn.functional.multi_margin_loss": "x, labels; x, labels, 2;"
    " x, labels, margin=0.3, weight=mask + 0.5; x, labels, reduction='none'; v, labels[0];"
    " x, labels, 2, 0.5, mask + 0.5, reduction='sum'; !x, labels, 3;"
    " !x, labels, weight=v.requires_grad_(); !x, labels + 9; !x, u;"
    " !x, labels, reduction='nothing'",
    "nn.functional.multilabel_margin_loss": "x, k; x, place - 1; x, place, reduction='none';"
    " v, k[0]; x, k, reduction='sum'; !x, labels; !x, u; !x, k + 9; !x, k, reduction='nothing'",
    "nn.functional.multilabel_soft_margin_loss": "x, truth.float(); x, unit; x[:, :1], unit;"
    " x, truth * 1.0, v.abs(); x, unit, reduction='none'; x, unit, reduction='sum';"
    " !x, unit, reduction='nothing'; !x, tall",
}
