"""The mean or the norm of windows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from flambeau import dtypes
from flambeau.functions.checks import _need_floats, _tensors
from flambeau.functions.dims import wrap_dim
from flambeau.functions.nn._common import ntuple
from flambeau.functions.nn._windows import (
    _check_adaptive,
    _check_output,
    _check_rank,
    _is_absent,
    _output_size,
)
from flambeau.functions.pointwise import _in_floats
from flambeau.record.macro import function, ops

if TYPE_CHECKING:
    from flambeau.tensor import Tensor


@function(grad="AvgPool2DBackward0", whole=True)
def _avg(
    input: Tensor,
    kernel_size: tuple,
    stride: tuple,
    padding: tuple,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Tensor:
    d = len(kernel_size)
    if d == 2:
        # PyTorch's looks at the dimension of the channels first.
        wrap_dim(-3, input.dim())
    _check_rank(input, d, f"avg_pool{d}d")
    _need_floats("avg_pool3d_out_frame" if d == 3 else "avg_pool2d", input, also=(dtypes.int64,))
    if any(k <= 0 for k in kernel_size):
        raise RuntimeError(
            "kernel size should be greater than zero, but got "
            + " ".join(f"{k}" for k in kernel_size)
        )
    if any(s <= 0 for s in stride):
        raise RuntimeError(
            "stride should be greater than zero, but got " + " ".join(f"{s}" for s in stride)
        )
    if divisor == 0:
        raise RuntimeError("divisor must be not zero")
    y = ops.avg_pool(
        input,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        divisor_override=divisor,
    )
    _check_output(y._meta.shape[-d:], input._meta.shape, d)
    return y


@function(grad="SqueezeBackward1", whole=True)
def _avg_line(
    input: Tensor, k: tuple, s: tuple, p: tuple, ceil_mode: bool, include: bool, divisor: None
) -> Tensor:
    return _avg(input, k, s, p, ceil_mode, include, divisor)


def _avg_pool(
    d: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None = None,
    **more: Tensor | None,
) -> Tensor:
    k = ntuple(kernel_size, d, "kernel_size")
    s = k if _is_absent(stride) else ntuple(stride, d, "stride")
    f = _avg_line if d == 1 else _avg
    return f(
        input, k, s, ntuple(padding, d, "padding"), ceil_mode, count_include_pad, divisor, **more
    )


@_tensors
def avg_pool1d(
    input: Tensor,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of ``(N, C, L)`` or ``(C, L)``.

    ``count_include_pad`` says whether padding counts as elements.

    >>> avg_pool1d(tensor([[1.0, 3.0, 5.0]]), 2, 1)
    tensor([[2., 4.]])
    """
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


@_tensors
def avg_pool2d(
    input: Tensor,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """The mean of each window of an image; ``divisor_override`` divides instead of the count.

    >>> avg_pool2d(tensor([[[1.0, 3.0], [5.0, 7.0]]]), 2)
    tensor([[[4.]]])
    """
    more = {} if out is None else {"out": out}
    given = (input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool(2, *given, **more)


@_tensors
def avg_pool3d(
    input: Tensor,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """The mean of each window of a volume; see ``avg_pool2d``."""
    more = {} if out is None else {"out": out}
    given = (input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool(3, *given, **more)


@function(grad="AdaptiveAvgPool2DBackward0", whole=True)
def _adaptive_avg(input: Tensor, size: tuple, name: str) -> Tensor:
    _check_adaptive(input, size, name)
    _need_floats(name, input)
    return ops.adaptive_avg_pool(input, output_size=size)


@function(grad="MeanBackward1")
def _adaptive_avg_to_one(input: Tensor, size: tuple, name: str) -> Tensor:
    _check_adaptive(input, size, name)
    _need_floats(name, input, complex_too=True)
    return ops.adaptive_avg_pool(input, output_size=size)


def _adaptive_avg_pool(d: int, input: Tensor, output_size: Any) -> Tensor:
    name = f"adaptive_avg_pool{d}d"
    size = _output_size(output_size, d, input._meta.shape, name)
    return (_adaptive_avg_to_one if size == (1,) * d else _adaptive_avg)(input, size, name)


@_tensors
def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """The means of windows that share ``L`` out among ``output_size``; None keeps a size.

    >>> adaptive_avg_pool1d(tensor([[1.0, 3.0]]), 1)
    tensor([[2.]])
    """
    return _adaptive_avg_pool(1, input, output_size)


@_tensors
def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The means of windows that share an image out among ``output_size``.

    >>> adaptive_avg_pool2d(tensor([[[1.0, 3.0]]]), 1)
    tensor([[[2.]]])
    """
    return _adaptive_avg_pool(2, input, output_size)


@_tensors
def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """The means of windows that share a volume out among ``output_size``."""
    return _adaptive_avg_pool(3, input, output_size)


@function(grad="PowBackward0")
def _lp(
    input: Tensor, p: float, exact: bool, kernel_size: tuple, stride: tuple, ceil_mode: bool
) -> Tensor:
    """``exact``: an integer p leaves integers what they are, and so their means."""
    if not exact:
        input = _in_floats(input)
    elif input.dtype.category == 0:
        input = ops.cast(input, dtype=dtypes.int64)
    powers = input if p == 1 else ops.pow(input, int(p) if p.is_integer() else p)
    mean = _avg(powers, kernel_size, stride, (0,) * len(kernel_size), ceil_mode, True, None)
    size = ops.mul(ops.mul(ops.sign(mean), ops.relu(ops.abs(mean))), math.prod(kernel_size))
    size = _in_floats(size)
    return size if p == 1 else ops.pow(size, 1.0 / p)


def _lp_pool(
    d: int, input: Tensor, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool
) -> Tensor:
    k = ntuple(kernel_size, d, "kernel_size")
    s = k if stride is None else ntuple(stride, d, "stride")
    return _lp(input, float(norm_type), isinstance(norm_type, int), k, s, ceil_mode)


def lp_pool1d(
    input: Tensor,
    norm_type: float,
    kernel_size: int,
    stride: int | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    r"""The p-norm of each window: :math:`(\sum x^p)^{1/p}`.

    >>> lp_pool1d(tensor([[3.0, 4.0]]), 2, 2)
    tensor([[5.]])
    """
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Tensor,
    norm_type: float,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The p-norm of each window of an image; see ``lp_pool1d``."""
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Tensor,
    norm_type: float,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The p-norm of each window of a volume; see ``lp_pool1d``."""
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


SAMPLES = {
    "nn.functional.avg_pool1d": "line, 2; line, 3, 2, 1; line, 3, 2, 1, True, False;"
    " line[0], (4,), (1,); !line, 2, padding=2; !line, 0; !line, 10; !v, 2",
    "nn.functional.avg_pool2d": "image, 2; image, (3, 2), 1, (1, 0); image, 3, 2, 1, True, False;"
    " image, 2, divisor_override=3; image[0], 2, (2, 1); !image, 2, padding=2; !image, 7; !x, 2;"
    " i[None], 2; !image, 2, divisor_override=0",
    "nn.functional.avg_pool3d": "volume, 2; volume, (2, 1, 3), 1, (1, 0, 1);"
    " volume, 2, 2, 1, True, False; volume, 2, divisor_override=5; volume[0], 2; !volume, 5; !x, 2;"
    " !volume, 2, padding=3",
    "nn.functional.adaptive_avg_pool1d": "line, 4; line[0], (3,); line, 1; x[None], 7;"
    " !line, (2, 2); !line, -1; !v, 2",
    "nn.functional.adaptive_avg_pool2d": "image, 3; image, (4, None); image[0], (1, 7); image, 1;"
    " !image, (2, 2, 2); !x, 2; !i[None], 2",
    "nn.functional.adaptive_avg_pool3d": "volume, 2; volume, (None, 1, 3); volume[0], (5, 2, 2);"
    " volume, 1; !volume, (2, 2); !x, 2",
    "nn.functional.lp_pool1d": "line.abs(), 2, 3; line, 1, 2, 1;"
    " line.abs(), 3.0, 2, ceil_mode=True; line[0].abs(), 2, 2; !line, 2, 0; !v, 2, 2",
    "nn.functional.lp_pool2d": "image.abs(), 2, 3; image, 1, (2, 3), 1;"
    " image.abs(), 3.0, 2, ceil_mode=True; !image, 2, 7; !v, 2, 2",
    "nn.functional.lp_pool3d": "volume.abs(), 2, 2; volume, 1, (2, 3, 1), 1;"
    " volume.abs(), 3.0, 2, ceil_mode=True; !volume, 2, 7; !v, 2, 2",
}
