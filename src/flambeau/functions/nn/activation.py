"""Activations: functions of one element."""

from __future__ import annotations

import math

from flambeau.functions.checks import _need_floats, _tensors
from flambeau.functions.dims import wrap_dim
from flambeau.functions.inplace import assign
from flambeau.functions.inplace import inplace as _in_place
from flambeau.functions.nn._common import log_sigmoid, part, reshape
from flambeau.functions.precision import lowered, widened
from flambeau.functions.promotion import Number, fit
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


@function(grad="ReluBackward0", whole=True)
def _relu(input: Tensor) -> Tensor:
    if input.dtype.category == 0:
        raise RuntimeError("Boolean inputs not supported for relu")
    if input.dtype.is_complex:
        raise NotImplementedError("clamp is not supported for complex types")
    return ops.relu(input)


relu_ = _in_place(_relu)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    r"""Rectifier: :math:`\max(x, 0)`.

    >>> relu(tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return relu_(input) if inplace else _relu(input)


@function(grad="LeakyReluBackward0", whole=True)
def _leaky_relu(input: Tensor, negative_slope: Number = 0.01) -> Tensor:
    _need_floats("leaky_relu_cpu", input)
    return ops.where(ops.gt(input, 0.0), input, ops.mul(input, negative_slope))


leaky_relu_ = _in_place(_leaky_relu)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    r"""Leaky rectifier: :math:`x` where positive, else :math:`a x` with ``negative_slope`` a.

    >>> leaky_relu(tensor([-1.0, 2.0]), 0.1)
    tensor([-0.1000,  2.0000])
    """
    return (leaky_relu_ if inplace else _leaky_relu)(input, negative_slope)


def _bounded(x: Tensor, low: Number, high: Number) -> Tensor:
    """Clamped; no gradient at the bounds or outside them."""
    return ops.where(ops.le(x, low), low, ops.where(ops.ge(x, high), high, x))


@function(grad="HardtanhBackward0", whole=True)
def _hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    if input.dtype.category == 0:
        raise NotImplementedError("\"hardtanh\" not implemented for 'Bool'")
    if input.dtype.is_complex:
        raise NotImplementedError("clamp is not supported for complex types")
    if input.dtype.category == 1:
        if not input.dtype.is_signed and min_val < 0:
            raise RuntimeError("cannot do hardtanh on an unsigned type with negative limits")
        min_val, max_val = int(min_val), int(max_val)
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    return _bounded(input, min_val, max_val)


hardtanh_ = _in_place(_hardtanh)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """Clamped to [min_val, max_val]; ``ValueError`` if those are the wrong way round.

    >>> hardtanh(tensor([-2.0, 0.5]))
    tensor([-1.0000,  0.5000])
    """
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    return (hardtanh_ if inplace else _hardtanh)(input, float(min_val), float(max_val))


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    r"""Rectifier with a ceiling: :math:`\min(\max(x, 0), 6)`.

    >>> relu6(tensor([-1.0, 7.0]))
    tensor([0., 6.])
    """
    return (hardtanh_ if inplace else _hardtanh)(input, 0.0, 6.0)


def _exponential_unit(x: Tensor, alpha: Number, scale: Number, rate: Number) -> Tensor:
    """``scale x`` where positive, else ``scale alpha (exp(rate x) - 1)``."""
    below = ops.le(x, 0.0)
    # exp of what is not chosen must not overflow: its gradient would be NaN.
    low = ops.where(below, x, 0.0)
    low = ops.expm1(low if _is_one(rate) else ops.mul(low, rate))
    factor = alpha * scale
    low = low if _is_one(factor) else ops.mul(low, factor)
    return ops.where(below, low, x if _is_one(scale) else ops.mul(x, scale))


def _is_one(value: Number) -> bool:
    return type(value) in (int, float) and value == 1


@function(grad="EluBackward0")
@widened
def _elu(input: Tensor, alpha: Number = 1.0) -> Tensor:
    _need_floats("elu_cpu", input)
    return _exponential_unit(input, alpha, 1.0, 1.0)


elu_ = _in_place(_elu)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    r"""Exponential unit: :math:`x` where positive, else :math:`\alpha (e^x - 1)` [Clevert 2015].

    >>> elu(tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """
    return (elu_ if inplace else _elu)(input, alpha)


@function(grad="EluBackward0")
@widened
def _selu(input: Tensor) -> Tensor:
    _need_floats("elu_cpu", input)
    return _exponential_unit(input, _SELU_ALPHA, _SELU_SCALE, 1.0)


selu_ = _in_place(_selu)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    r"""Self-normalising ``elu``: :math:`\lambda\,\mathrm{elu}_\alpha(x)` [Klambauer 2017].

    >>> selu(tensor([1.0]))
    tensor([1.0507])
    """
    return selu_(input) if inplace else _selu(input)


@function(grad="EluBackward0")
@widened
def _celu(input: Tensor, alpha: float = 1.0) -> Tensor:
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    _need_floats("elu_cpu", input)
    return _exponential_unit(input, alpha, 1.0, 1.0 / alpha)


celu_ = _in_place(_celu)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    r"""Smooth ``elu``: :math:`x` where positive, else :math:`\alpha (e^{x / \alpha} - 1)`.

    Raises ``RuntimeError`` for ``alpha=0``.

    >>> celu(tensor([-1.0, 2.0]), 2.0)
    tensor([-0.7869,  2.0000])
    """
    return (celu_ if inplace else _celu)(input, float(alpha))


@function
@widened
def gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    r"""Gaussian unit: :math:`x \Phi(x)` [Hendrycks 2016].

    ``approximate="tanh"`` takes
    :math:`\tfrac12 x (1 + \tanh(\sqrt{2 / \pi} (x + 0.044715 x^3)))`.
    Raises ``RuntimeError`` for another ``approximate``.

    >>> gelu(tensor([1.0]))
    tensor([0.8413])
    """
    _need_floats("GeluKernelImpl", input)
    if approximate == "none":
        shifted = ops.add(ops.erf(ops.mul(input, math.sqrt(0.5))), 1.0)
    elif approximate == "tanh":
        cube = ops.mul(ops.mul(input, input), input)
        inner = ops.mul(ops.add(input, ops.mul(cube, 0.044715)), math.sqrt(2 / math.pi))
        shifted = ops.add(ops.tanh(inner), 1.0)
    else:
        raise RuntimeError("approximate argument must be either none or tanh.")
    return ops.mul(ops.mul(input, 0.5), shifted)


@function(grad="SiluBackward0")
@widened
def _silu(input: Tensor) -> Tensor:
    _need_floats("silu_cpu", input, complex_too=True)
    return ops.mul(input, ops.sigmoid(input))


silu_ = _in_place(_silu)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    r"""Swish: :math:`x\,\sigma(x)`.

    >>> silu(tensor([1.0]))
    tensor([0.7311])
    """
    return silu_(input) if inplace else _silu(input)


@function(grad="MishBackward0")
@widened
def _mish(input: Tensor) -> Tensor:
    _need_floats("mish_cpu", input)
    return ops.mul(input, ops.tanh(ops.neg(log_sigmoid(ops.neg(input)))))


mish_ = _in_place(_mish)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    r""":math:`x \tanh(\log(1 + e^x))` [Misra 2019].

    >>> mish(tensor([1.0]))
    tensor([0.8651])
    """
    return mish_(input) if inplace else _mish(input)


@function
@widened
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    r"""Smooth rectifier: :math:`\log(1 + e^{\beta x}) / \beta`; x where beta x is over threshold.

    >>> softplus(tensor([0.0, 30.0]))
    tensor([ 0.6931, 30.0000])
    """
    _need_floats("softplus_cpu", input)
    scaled = input if _is_one(beta) else ops.mul(input, float(beta))
    linear = ops.gt(scaled, float(threshold))
    bent = ops.where(linear, 0.0, scaled)
    smooth = ops.log1p(ops.exp(bent))
    return ops.where(linear, input, smooth if _is_one(beta) else ops.div(smooth, float(beta)))


@function(grad="LogSigmoidBackward0")
@widened
def logsigmoid(input: Tensor) -> Tensor:
    r""":math:`\log \sigma(x) = -\log(1 + e^{-x})`.

    >>> logsigmoid(tensor([0.0]))
    tensor([-0.6931])
    """
    _need_floats("log_sigmoid_cpu", input)
    return log_sigmoid(input)


@function(grad="DivBackward0")
def softsign(input: Tensor) -> Tensor:
    r""":math:`x / (1 + |x|)`.

    >>> softsign(tensor([1.0]))
    tensor([0.5000])
    """
    if input.dtype.category == 0:
        raise NotImplementedError("\"abs_cpu\" not implemented for 'Bool'")
    size = ops.add(ops.abs(input), 1)
    if input.dtype.category < 2:
        from flambeau.functions.arithmetic import div

        return div(input, size)
    if input.dtype.is_complex:
        size = ops.cast(size, dtype=input.dtype)
    return ops.div(input, size)


@function(grad="SubBackward0")
def tanhshrink(input: Tensor) -> Tensor:
    r""":math:`x - \tanh x`.

    >>> tanhshrink(tensor([0.0]))
    tensor([0.])
    """
    if input.dtype.category == 0:
        raise RuntimeError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying "
            "to invert a mask, use the `~` or `logical_not()` operator instead."
        )
    if input.dtype.category < 2:
        from flambeau.functions.promotion import floating

        (wide,) = floating(input)
        return ops.sub(wide, ops.tanh(wide))
    return ops.sub(input, ops.tanh(input))


@function(grad="HardsigmoidBackward0")
@widened
def _hardsigmoid(input: Tensor) -> Tensor:
    _need_floats("hardsigmoid", input)
    inside = ops.div(ops.add(input, 3.0), 6.0)
    # NaN has a value, but no gradient.
    below = ops.where(ops.le(input, -3.0), 0.0, ops.detach(input))
    return ops.where(ops.ge(input, 3.0), 1.0, ops.where(ops.gt(input, -3.0), inside, below))


hardsigmoid_ = _in_place(_hardsigmoid)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    r""":math:`\min(\max(x + 3, 0), 6) / 6`.

    >>> hardsigmoid(tensor([0.0, 4.0]))
    tensor([0.5000, 1.0000])
    """
    return hardsigmoid_(input) if inplace else _hardsigmoid(input)


@function(grad="HardswishBackward0")
@widened
def _hardswish(input: Tensor) -> Tensor:
    _need_floats("hardswish_cpu", input)
    bent = ops.lt(ops.abs(input), 3.0)
    # Far from 0 the product's gradient would be infinite.
    near = ops.where(bent, input, 0.0)
    middle = ops.div(ops.mul(near, ops.add(near, 3.0)), 6.0)
    # A negative zero, as the product gives.
    below = ops.mul(ops.detach(input), 0.0)
    return ops.where(ops.le(input, -3.0), below, ops.where(bent, middle, input))


hardswish_ = _in_place(_hardswish)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    r""":math:`x \min(\max(x + 3, 0), 6) / 6` [Howard 2019].

    >>> hardswish(tensor([1.0]))
    tensor([0.6667])
    """
    return hardswish_(input) if inplace else _hardswish(input)


@function(whole=True)
def hardshrink(input: Tensor, lambd: Number = 0.5) -> Tensor:
    r"""Zero where :math:`|x| \le \lambda`, else x.

    >>> hardshrink(tensor([0.2, -2.0]))
    tensor([ 0., -2.])
    """
    _need_floats("hardshrink_cpu", input)
    return ops.where(ops.le(ops.abs(input), lambd), 0.0, input)


@function(whole=True)
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    r"""Drawn towards zero by :math:`\lambda`. ``RuntimeError`` for a negative ``lambd``.

    >>> softshrink(tensor([0.2, -2.0]))
    tensor([ 0.0000, -1.5000])
    """
    _need_floats("softshrink_cpu", input)
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd:g}.")
    drawn = ops.sub(input, ops.mul(ops.sign(input), float(lambd)))
    return ops.where(ops.le(ops.abs(input), float(lambd)), ops.mul(ops.detach(input), 0.0), drawn)


@function(grad="ThresholdBackward0", whole=True)
def _threshold(input: Tensor, threshold: Number, value: Number) -> Tensor:
    if input.dtype.category != 1:
        _need_floats("threshold_cpu", input)
    return ops.where(ops.le(input, threshold), value, input)


_threshold_in_place = _in_place(_threshold)


def _fitted(input: Tensor, *numbers: float) -> tuple[float, ...]:
    """Numbers as the tensor's dtype has them, if that is an integer one."""
    dtype = input._meta.dtype
    return tuple(fit(n, dtype) for n in numbers) if dtype.category == 1 else numbers


@_tensors
def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """``value`` where ``x <= threshold``, else x.

    >>> threshold(tensor([0.0, 2.0]), 1.0, -1.0)
    tensor([-1.,  2.])
    """
    numbers = _fitted(input, threshold, value)
    return (_threshold_in_place if inplace else _threshold)(input, *numbers)


@_tensors
def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """In-place ``threshold``."""
    return _threshold_in_place(input, *_fitted(input, threshold, value))


@function
def glu(input: Tensor, dim: int = -1) -> Tensor:
    r"""Gated unit: :math:`a\,\sigma(b)` of the halves of a dimension [Dauphin 2016].

    Raises ``RuntimeError`` for a 0-dim tensor or an odd size.

    >>> glu(tensor([1.0, 0.0]))
    tensor([0.5000])
    """
    if not input.dim():
        raise RuntimeError("glu does not support 0-dimensional tensors")
    d = wrap_dim(dim, input.dim())
    n = input._meta.shape[d]
    _need_floats("glu_cpu", input)
    if n % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {d} is size {n}")
    return ops.mul(part(input, d, 0, n // 2), ops.sigmoid(part(input, d, n // 2, n // 2)))


@function(grad="PreluKernelBackward0", whole=True)
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """Leaky rectifier whose slope is learnt: one, or one for each entry of dimension 1.

    Raises ``RuntimeError`` if the number of slopes does not fit.

    >>> prelu(tensor([-2.0, 1.0]), tensor([0.5]))
    tensor([-1.,  1.])
    """
    input, weight = lowered(input, weight)
    if input.dtype is not weight.dtype:
        raise RuntimeError(
            f"prelu: Type promoting not supported. Got {input.dtype.name} and {weight.dtype.name}"
        )
    _need_floats("prelu_cpu", input)
    count = math.prod(weight._meta.shape)
    ndim = input.dim()
    if weight.dim() > 1:
        raise RuntimeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.dim()}"
        )
    if count != 1:
        if not ndim:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = input._meta.shape[1] if ndim > 1 else 1
        if channels != count:
            raise RuntimeError(
                f"Mismatch of parameter numbers and input channel size. Found parameter numbers "
                f"= {count} and channel size = {channels}."
            )
        weight = reshape(weight, (1, count, *(1,) * (ndim - 2)))
    else:
        weight = reshape(weight, (1,) * ndim)
    return ops.where(ops.gt(input, 0.0), input, ops.mul(input, weight))


@function(grad="RreluWithNoiseBackward0", whole=True)
def _rrelu(input: Tensor, slopes: Tensor) -> Tensor:
    return ops.mul(input, slopes)


@function(grad="RreluWithNoiseBackward1", whole=True)
def _rrelu_written(input: Tensor, slopes: Tensor) -> Tensor:
    return assign(input, ops.mul(input, slopes))


@_tensors
def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """Leaky rectifier whose slope is drawn from [lower, upper] in training, else their mean.

    >>> rrelu(tensor([-1.0, 2.0]), 0.25, 0.25)
    tensor([-0.2500,  2.0000])
    """
    if lower > upper:
        raise RuntimeError("Lower bound should be less than or equal to the upper bound")
    if not training:
        return leaky_relu(input, (float(lower) + float(upper)) / 2, inplace)
    _need_floats("rrelu_with_noise_out_cpu", input)
    import numpy as np

    from flambeau.functions.nn._common import made, value_of
    from flambeau.functions.nn.dropout import engine

    value = value_of(input)
    slopes = np.ones(value.shape, value.dtype)
    negative = np.asarray(value <= 0)
    draws = engine().uniform64(int(np.count_nonzero(negative)))
    slopes[negative] = draws * (upper - lower) + lower
    slopes_tensor = made(slopes, input._meta.dtype)
    return (_rrelu_written if inplace else _rrelu)(input, slopes_tensor)


def rrelu_(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False
) -> Tensor:
    """In-place ``rrelu``."""
    return rrelu(input, lower, upper, training, inplace=True)


SAMPLES = {
    "nn.functional.relu": "x; special; i; x * 1, inplace=True; !truth; !c",
    "nn.functional.relu_": "x * 1; special * 1; !truth",
    "nn.functional.leaky_relu": "x; special; x, 0.2; x, negative_slope=-0.5; x * 1, 0.3, True; !i",
    "nn.functional.leaky_relu_": "x * 1; x * 1, 0.2; !x * 1, -0.5, 1, 2",
    "nn.functional.hardtanh": "x; big, -3.0, 2.0; special # no-grad; i, -2, 3; x * 2, inplace=True;"
    " !truth; !x, 1.0, -1.0",
    "nn.functional.hardtanh_": "x * 2; x * 1, -0.5, 0.25; !truth",
    "nn.functional.relu6": "x; big; special # no-grad; i; x * 9, inplace=True; !truth",
    "nn.functional.elu": "x; big; special # no-second; x, alpha=0.3; x, -0.5;"
    " x * 1, alpha=2.0, inplace=True; !i",
    "nn.functional.elu_": "x * 1; x * 1, 0.5; !i",
    "nn.functional.selu": "x; big; special # no-second; empty; x * 1, inplace=True; !i",
    "nn.functional.selu_": "x * 1; special * 1 # no-second; !i",
    "nn.functional.celu": "x; big; special # no-second; x, 0.3; x * 1, alpha=2.0, inplace=True;"
    " !x, 0.0; !i",
    "nn.functional.celu_": "x * 1; x * 1, 0.5; !x * 1, 0.0",
    "nn.functional.gelu": "x; big; s; x, approximate='tanh'; big, approximate='tanh';"
    " !x, approximate='erf'; !i",
    "nn.functional.sigmoid": "x; big; i; c",
    "nn.functional.tanh": "x; big; i; c",
    "nn.functional.silu": "x; big; special; c; x * 1, inplace=True # no-grad; !i",
    "nn.functional.mish": "x; big; special; x * 1, inplace=True; !i",
    "nn.functional.softplus": "x; big; special; x, 2.0; x, beta=0.5, threshold=0.25; s; !i",
    "nn.functional.logsigmoid": "x; big; special; s; empty; !i",
    "nn.functional.softsign": "x; big; i; s; c",
    "nn.functional.tanhshrink": "x; big; s; c",
    "nn.functional.hardsigmoid": "x; big; special; x * 1, inplace=True; !i",
    "nn.functional.hardswish": "x; big; special; x * 1, True; !i",
    "nn.functional.hardshrink": "x; special # no-grad; x, 1.0; x, lambd=0; s; !i",
    "nn.functional.softshrink": "x; special # no-grad; x, 0.25; x, lambd=0.0; !x, -1.0; !i",
    "nn.functional.threshold": "x, 0.1, 20.0; special, 0.5, -1.0; i, 1, 7; x * 1, 0.0, 3.0, True;"
    " !x, 0.1",
    "nn.functional.threshold_": "x * 1, 0.1, 20.0; x * 1, -0.5, 2.0; !x * 1",
    "nn.functional.glu": "x; x, 1; x.T, dim=-2; cube, -1; !x, 0; !s; !x, 2",
    "nn.functional.prelu": "x, s; x, v; image, v; special, s # no-second; !x, u; !x, x; !i, s",
    "nn.functional.rrelu": "x; x, 0.1, 0.3; special; x, 0.1, 0.3, training=True;"
    " x * 1, training=True, inplace=True; !x, 0.5, 0.1; !i",
    "nn.functional.rrelu_": "x * 1; x * 1, 0.1, 0.3, True; !x * 1, 0.5, 0.1",
}
