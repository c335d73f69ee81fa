"""Losses of predictions against targets; those of class indices are in ``classes``."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from flambeau.functions.checks import _need_floats, _tensors
from flambeau.functions.nn._common import (
    broadcast_together,
    broadcast_warning,
    check_reduction,
    constant,
    difference,
    known,
    last_step,
    legacy_reduction,
    log_sigmoid,
    reduced,
    same_dtype,
)
from flambeau.functions.pointwise import _in_floats
from flambeau.functions.precision import raised, widened_loss
from flambeau.functions.promotion import Number, cast
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    pass


def _real(x: Tensor) -> Tensor:
    if x.dtype.category < 2:
        raise RuntimeError("value cannot be converted to type float without a floating-point input")
    return x


def _need_mean(x: Tensor) -> None:
    if x.dtype.category < 2:
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or "
            f"complex dtype. Got: {_title(x)}"
        )


def _check_weight(input: Tensor, weight: Tensor | None) -> None:
    if weight is not None and weight._meta.shape != input._meta.shape:
        raise ValueError("Weights and input must have the same size.")


def _weighted(loss: Tensor, weight: Tensor, reduction: str) -> Tensor:
    """A loss weighed by element; the mean divides by the weights."""
    loss, weight = broadcast_together(*same_dtype(loss, weight))
    loss = ops.mul(loss, weight)
    if reduction != "mean":
        return reduced(loss, reduction)
    loss, weight = _in_floats(loss), _in_floats(weight)
    dims = tuple(range(loss.dim()))
    return ops.div(
        ops.sum(loss, dims=dims, keepdim=False), ops.sum(weight, dims=dims, keepdim=False)
    )


# ------------------------------------------------------------------- distances of elements


@function(grad="MseLossBackward0")
def _mse(input: Tensor, target: Tensor, reduction: str, weight: Tensor | None = None) -> Tensor:
    input, target = raised(input, target)
    if weight is not None:
        return _weighted(ops.square(difference(input, target)), weight, reduction)
    x, y = same_dtype(input, target)
    _need_floats("mse_cpu", x)
    return reduced(ops.square(ops.sub(x, y)), reduction)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    r"""Squared distance: :math:`(x - y)^2`, reduced; warns if the shapes differ.

    >>> mse_loss(tensor([0.0, 3.0]), tensor([1.0, 1.0]))
    tensor(2.5000)
    """
    if input._meta.shape != target._meta.shape:
        broadcast_warning(input, target)
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    _check_weight(input, weight)
    return _mse(input, target, reduction, weight)


@function(grad=last_step("Abs"))
def _l1(input: Tensor, target: Tensor, reduction: str, weight: Tensor | None = None) -> Tensor:
    input, target = raised(input, target)
    distance = ops.abs(difference(input, target))
    if weight is not None:
        return _weighted(distance, weight, reduction)
    if reduction == "mean":
        _need_mean(distance)
    return reduced(distance, reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    r"""Distance: :math:`|x - y|`, reduced; warns if the shapes differ.

    >>> l1_loss(tensor([0.0, 3.0]), tensor([1.0, 1.0]))
    tensor(1.5000)
    """
    if input._meta.shape != target._meta.shape:
        broadcast_warning(input, target)
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    _check_weight(input, weight)
    return _l1(input, target, reduction, weight)


def _only(chosen: Tensor, x: Tensor) -> Tensor:
    """``x`` where chosen, else 0: no infinity is multiplied by a gradient of zero."""
    return ops.where(chosen, x, 0.0)


@function(grad="SmoothL1LossBackward0")
@widened_loss
def _smooth_l1(input: Tensor, target: Tensor, reduction: str, beta: float) -> Tensor:
    input, target = raised(input, target)
    x, y = same_dtype(input, target)
    _need_floats("smooth_l1_cpu", x)
    distance = ops.abs(ops.sub(x, y))
    close = ops.lt(distance, beta)
    near = ops.div(ops.mul(ops.square(_only(close, distance)), 0.5), beta)
    return reduced(ops.where(close, near, ops.sub(distance, 0.5 * beta)), reduction)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    r""":math:`d^2 / 2\beta` for a distance under :math:`\beta`, else :math:`d - \beta / 2`.

    Raises ``RuntimeError`` for a negative ``beta``.

    >>> smooth_l1_loss(tensor([0.0, 3.0]), tensor([0.5, 0.0]))
    tensor(1.3125)
    """
    if input._meta.shape != target._meta.shape:
        broadcast_warning(input, target)
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return _l1(input, target, reduction)
    return _smooth_l1(input, target, reduction, float(beta))


@function(grad="HuberLossBackward0")
@widened_loss
def _huber(
    input: Tensor, target: Tensor, reduction: str, delta: Number, weight: Tensor | None
) -> Tensor:
    input, target = raised(input, target)
    x, y = same_dtype(input, target)
    _need_floats("huber_cpu", x)
    if input.dtype.category < x.dtype.category:
        raise RuntimeError(
            f"result type {_title(x)} can't be cast to the desired output type {_title(input)}"
        )
    distance = ops.abs(ops.sub(x, y))
    close = ops.lt(distance, delta)
    near = ops.mul(ops.square(_only(close, distance)), 0.5)
    far = ops.mul(ops.sub(distance, 0.5 * delta), delta)
    loss = cast(ops.where(close, near, far), input.dtype)
    # Unlike the others' weighted means, this one is not divided by the sum of the weights.
    return reduced(loss if weight is None else ops.mul(*same_dtype(loss, weight)), reduction)


def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    r"""Quadratic near zero, linear in the tails [Huber 1964].

    .. math:: \tfrac12 d^2 \text{ if } |d| < \delta, \text{ else } \delta(|d| - \tfrac12\delta)

    Raises ``TypeError`` if ``delta`` is complex, ``RuntimeError`` unless it is positive.

    >>> huber_loss(tensor([0.0, 3.0]), tensor([0.5, 0.0]))
    tensor(1.3125)
    """
    if input._meta.shape != target._meta.shape:
        broadcast_warning(input, target)
    if isinstance(delta, complex):
        raise TypeError("delta must be a float or int, got: <class 'complex'>")
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    _check_weight(input, weight)
    return _huber(input, target, reduction, float(delta), weight)


# ---------------------------------------------------------------------------- likelihoods


def _check_unit_interval(array: np.ndarray) -> None:
    if array.size and not (array.min() >= 0 and array.max() <= 1):
        raise RuntimeError("all elements of input should be between 0 and 1")


@function(grad="BinaryCrossEntropyBackward0")
@widened_loss
def _bce(input: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    input, target, weight = raised(input, target, weight)
    if input.dtype is not target.dtype:
        raise RuntimeError(f"Found dtype {_title(target)} but expected {_title(input)}")
    _need_floats("binary_cross_entropy", input)
    constant("binary_cross_entropy", weight=weight)
    loss = ops.binary_cross_entropy(input, target)
    if weight is not None:
        loss = cast(ops.mul(*broadcast_together(*same_dtype(loss, weight))), loss.dtype)
    return reduced(loss, reduction)


def _title(x: Tensor) -> str:
    from flambeau.functions.inplace import title

    return title(x.dtype)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r""":math:`-(y \log x + (1 - y) \log(1 - x))`, logarithms clamped at -100.

    Raises ``ValueError`` if the shapes differ, ``RuntimeError`` for an input outside [0, 1].

    >>> binary_cross_entropy(tensor([0.5]), tensor([1.0]))
    tensor(0.6931)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    check_reduction(reduction)
    if target._meta.shape != input._meta.shape:
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size "
            f"({input.size()}) is deprecated. Please ensure they have the same size."
        )
    array = known(input)
    if array is not None:
        _check_unit_interval(array)
    return _bce(input, target, weight, reduction)


@function(grad="BinaryCrossEntropyWithLogitsBackward0")
@widened_loss
def _bce_logits(
    input: Tensor, target: Tensor, weight: Tensor | None, pos_weight: Tensor | None, reduction: str
) -> Tensor:
    input, target, weight, pos_weight = raised(input, target, weight, pos_weight)
    _need_floats("log_sigmoid_cpu", input)
    constant("binary_cross_entropy_with_logits", weight=weight, pos_weight=pos_weight)
    x, y = same_dtype(input, target)
    log = ops.neg(log_sigmoid(x))
    if pos_weight is not None:
        excess = ops.mul(*same_dtype(ops.sub(pos_weight, 1.0), y))
        log = ops.mul(*same_dtype(ops.add(excess, 1.0), log))
    loss = ops.add(*same_dtype(ops.mul(ops.sub(1.0, y), x), log))
    if weight is not None:
        loss = ops.mul(*same_dtype(loss, weight))
    return reduced(cast(loss, target.dtype), reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    r"""``binary_cross_entropy`` of :math:`\sigma(x)`, without its rounding.

    .. math:: (1 - y) x + (1 + (p - 1) y) \log(1 + e^{-x})

    p is ``pos_weight``. The result has the dtype of ``target``. Raises ``ValueError`` if the shapes
    differ, ``RuntimeError`` if ``target`` holds no floats.

    >>> binary_cross_entropy_with_logits(tensor([0.0]), tensor([1.0]))
    tensor(0.6931)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    if target._meta.shape != input._meta.shape:
        raise ValueError(
            f"Target size ({target.size()}) must be the same as input size ({input.size()})"
        )
    if target.dtype.category < 2 <= input.dtype.category:
        raise RuntimeError(
            f"result type {_title(input)} can't be cast to the desired output type {_title(target)}"
        )
    return _bce_logits(input, target, weight, pos_weight, reduction)


@function(grad=last_step("Sub"))
@widened_loss
def _kl_div(input: Tensor, target: Tensor, reduction: str, log_target: bool) -> Tensor:
    input, target = raised(input, target)
    x, y = same_dtype(input, target)
    if log_target:
        loss = ops.mul(ops.exp(y), ops.sub(y, x))
    else:
        settled = ops.eq(y, 0.0)
        # y log y, which is 0 at 0.
        entropy = ops.mul(y, ops.log(ops.where(settled, 1.0, y)))
        loss = ops.sub(entropy, ops.mul(y, x))
    if reduction == "batchmean":
        rows = loss._meta.shape[0] if loss.dim() else 1
        dims = tuple(range(loss.dim()))
        return ops.div(ops.sum(loss, dims=dims, keepdim=False), float(rows))
    return reduced(loss, reduction)


@_tensors
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    r"""Divergence of log-probabilities x from probabilities y: :math:`y (\log y - x)`.

    ``reduction="batchmean"`` divides the sum by the batch size; ``log_target`` says that the
    target is logarithms too. Raises ``RuntimeError`` for integers.

    >>> kl_div(tensor([[0.0, 0.0]]), tensor([[1.0, 1.0]]), reduction="batchmean")
    tensor(0.)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    elif reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support "
            "size.'batchmean' divides only by the batch size, and aligns with the KL div math "
            "definition.'mean' will be changed to behave the same as 'batchmean' in the next "
            "major release.",
            stacklevel=3,
        )
    if input.dtype.category < 2 or target.dtype.category < 2:
        raise RuntimeError("kl_div: Integral inputs not supported.")
    if input.dtype.is_complex or target.dtype.is_complex:
        raise RuntimeError("kl_div: Complex inputs not supported.")
    return _kl_div(input, target, reduction, log_target)


@function(grad=last_step("Sub"))
@widened_loss
def _poisson_nll(
    input: Tensor, target: Tensor, log_input: bool, full: bool, eps: Number, reduction: str
) -> Tensor:
    input, target = raised(input, target)
    if input.dtype.category == 0 and not (log_input and target.dtype.category):
        difference(input, target)
    x, y = map(_in_floats, same_dtype(input, target))
    if log_input:
        loss = ops.sub(ops.exp(x), ops.mul(y, x))
    else:
        loss = ops.sub(x, ops.mul(y, ops.log(ops.add(x, eps))))
    if full:
        # Stirling's approximation to log y!, above 1.
        large = ops.gt(y, 1.0)
        safe = ops.where(large, y, 1.0)
        stirling = ops.add(
            ops.sub(ops.mul(safe, ops.log(safe)), safe),
            ops.mul(ops.log(ops.mul(safe, 2 * math.pi)), 0.5),
        )
        loss = ops.add(loss, ops.where(large, stirling, 0.0))
    return reduced(loss, reduction)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Of a Poisson rate: :math:`e^x - y x`, or :math:`x - y \log(x + \epsilon)`.

    ``full`` adds Stirling's approximation to :math:`\log y!`.

    >>> poisson_nll_loss(tensor([0.0]), tensor([2.0]))
    tensor(1.)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    check_reduction(reduction)
    return _poisson_nll(input, target, log_input, full, float(eps), reduction)


@function(grad=last_step("Mul"))
def _gaussian_nll(
    input: Tensor, target: Tensor, var: Tensor, full: bool, eps: Number, reduction: str
) -> Tensor:
    if var.dtype.category < 2:
        raise RuntimeError(
            f"result type Float can't be cast to the desired output type {_title(var)}"
        )
    distance, var = same_dtype(difference(input, target), var)
    # Clamped without touching the gradient, as PyTorch does.
    below = ops.lt(var, eps)
    lifted = ops.sub(ops.where(below, eps, var), ops.where(below, var, var))
    var = ops.add(var, ops.detach(lifted))
    loss = ops.mul(ops.add(ops.log(var), ops.div(ops.square(distance), var)), 0.5)
    if full:
        loss = ops.add(loss, 0.5 * math.log(2 * math.pi))
    return reduced(loss, reduction)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    r"""Of a normal distribution: :math:`\tfrac12 (\log v + (x - y)^2 / v)`, v at least ``eps``.

    Raises ``ValueError`` for a negative variance or one of a wrong shape.

    >>> gaussian_nll_loss(tensor([0.0]), tensor([2.0]), tensor([1.0]))
    tensor(2.)
    """
    from flambeau.functions.casting import get_default_dtype
    from flambeau.functions.nn._common import made, value_of

    m = input._meta
    if not isinstance(var, Tensor):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        kind = m.dtype if m.dtype.category >= 2 else get_default_dtype()
        var = made(np.full(m.shape, var, kind.numpy), kind)
    shape = var._meta.shape
    if shape != m.shape:
        if m.shape[:-1] == shape:
            var = var.unsqueeze(-1)
        elif not (
            len(shape) == len(m.shape)
            and sum(a != b for a, b in zip(shape, m.shape, strict=True)) == 1
            and all(a == b or a == 1 for a, b in zip(shape, m.shape, strict=True))
        ):
            raise ValueError("var is of incorrect size")
    check_reduction(reduction)
    if (value_of(var) < 0).any():
        raise ValueError("var has negative entry/entries")
    return _gaussian_nll(input, target, var, full, float(eps), reduction)


SAMPLES = {
    "nn.functional.mse_loss": "x, y; x, y, reduction='sum'; x, y, reduction='none';"
    " x, y, weight=unit; special, special; empty, empty, reduction='sum'; s, s * 2;"
    " !x, y, reduction='nothing'; !x, u; !x, y, weight=v; !c, d",
    "nn.functional.l1_loss": "x, y; x, y, reduction='sum'; x, y, reduction='none';"
    " x, y, weight=unit; x, x; c, d; s, s * 2; !x, y, reduction='nothing'; !x, u",
    "nn.functional.smooth_l1_loss": "x, y; x, y, beta=0.3; x, y, beta=0.0; big, y, reduction='sum';"
    " x, y, reduction='none', beta=2.0; !x, y, reduction='nothing'; !x, y, beta=-1.0; !x, u",
    "nn.functional.huber_loss": "x, y; x, y, delta=0.3; x, y, reduction='sum'; big, y, 'none';"
    " x, y, weight=unit; !x, y, reduction='nothing'; !x, y, delta=0.0; !x, u",
    "nn.functional.binary_cross_entropy": "unit, truth.float(); unit, unit.flip(0);"
    " unit, unit.flip(0), mask * 2.0; unit, truth * 1.0, reduction='sum';"
    " unit, truth * 1.0, reduction='none'; unit.round(), truth * 1.0, reduction='none';"
    " !x * 9, truth * 1.0; !unit, v; !unit, unit, y.requires_grad_();"
    " !unit, unit, reduction='nothing'",
    "nn.functional.binary_cross_entropy_with_logits": "x, truth.float(); big, unit;"
    " x, unit, mask + 0.5; x, unit, pos_weight=mask + 0.5;"
    " x, unit, k / 3, reduction='sum', pos_weight=mask + 2.0; x, unit, reduction='none'; s, s * 0;"
    " !x, v; !x, unit, u; !x, unit, y.requires_grad_(); !x, unit, pos_weight=v.requires_grad_();"
    " !x, unit, reduction='nothing'",
    "nn.functional.kl_div": "x.log_softmax(1), y.softmax(1); x, unit, reduction='batchmean';"
    " x, y, reduction='sum', log_target=True; x, unit, reduction='none'; x, truth.float();"
    " x, row.exp(); !x, unit, reduction='nothing'; !x, u",
    "nn.functional.poisson_nll_loss": "x, k.float(); positive, k * 1.0, log_input=False;"
    " x, k * 1.0, full=True; positive, k * 1.0, False, True, reduction='sum';"
    " x, k * 1.0, reduction='none'; positive, k * 1.0, log_input=False, eps=0.1;"
    " !x, k * 1.0, reduction='nothing'; !x, u",
    "nn.functional.gaussian_nll_loss": "x, y, positive; x, y, positive[:, 0];"
    " x, y, positive[:, :1], True; x, y, 0.5; x, y, positive, eps=1.0, reduction='sum';"
    " x, y, positive, reduction='none'; x, row, positive; !x, y, -positive; !x, y, u.abs()[:2];"
    " !x, y, positive, reduction='nothing'",
}
