"""Pooling: the greatest, the mean or the norm of windows, plain, adaptive and fractional."""

from __future__ import annotations

import math
from typing import Any

from flambeau import dtypes
from flambeau.functions.checks import _need_floats, _tensors
from flambeau.functions.dims import as_int
from flambeau.functions.nn._common import ntuple
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor


def _check_rank(input: Tensor, d: int, name: str) -> None:
    shape = input._meta.shape
    if len(shape) not in (d + 1, d + 2):
        wanted = {1: "2D or 3D", 2: "3D or 4D", 3: "4D or 5D"}[d]
        raise RuntimeError(
            f"{name}: Expected {wanted} (batch mode) tensor with optional 0 dim batch size for "
            f"input, but got: {list(shape)}"
            if d == 1
            else f"non-empty {wanted} (batch mode) tensor expected for input"
        )
    if 0 in shape[1 if len(shape) == d + 2 else 0 :]:
        raise RuntimeError(
            f"{name}(): Expected {'3D or 4D' if d == 2 else '4D or 5D'} tensor with optional 0 "
            f"dim batch size for input, but got: {list(shape)}"
        )


def _is_absent(stride: Any) -> bool:
    """Whether no stride was given: it is then the kernel's size."""
    return stride is None or (isinstance(stride, (tuple, list)) and not stride)


def _check_output(size: tuple[int, ...], input: tuple[int, ...], d: int) -> None:
    if any(n < 1 for n in size):
        raise RuntimeError(
            f"Given input size: ({'x'.join(map(str, input[-d - 1 :]))}). Calculated output size: "
            f"({'x'.join(map(str, (input[-d - 1], *size)))}). Output size is too small"
        )


# -------------------------------------------------------------------------------- maxima


def _max_body(
    input: Tensor,
    kernel_size: tuple,
    stride: tuple,
    padding: tuple,
    dilation: tuple,
    ceil_mode: bool,
) -> tuple[Tensor, Tensor]:
    d = len(kernel_size)
    name = f"max_pool{d}d"
    _check_rank(input, d, name)
    if any(k <= 0 for k in kernel_size):
        raise RuntimeError(
            "kernel size should be greater than zero, but got "
            + " ".join(f"{k}" for k in kernel_size)
        )
    if any(s <= 0 for s in stride):
        raise RuntimeError(
            "stride should be greater than zero, but got " + " ".join(f"{s}" for s in stride)
        )
    if any(n <= 0 for n in dilation):
        raise RuntimeError(
            "dilation should be greater than zero, but got " + " ".join(f"{n}" for n in dilation)
        )
    if input.dtype.category != 1:
        _need_floats(f"max_pool{d if d == 3 else 2}d", input)
    values, indices = ops.max_pool(
        input,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
    )
    _check_output(values._meta.shape[-d:], input._meta.shape, d)
    return values, indices


@function(grad="SqueezeBackward1", whole=True)
def _max_pool1d(input: Tensor, k: tuple, s: tuple, p: tuple, n: tuple, ceil_mode: bool) -> Tensor:
    return _max_body(input, k, s, p, n, ceil_mode)[0]


@function(grad="MaxPool2DWithIndicesBackward0", whole=True)
def _max_pool2d(input: Tensor, k: tuple, s: tuple, p: tuple, n: tuple, ceil_mode: bool) -> Tensor:
    return _max_body(input, k, s, p, n, ceil_mode)[0]


@function(grad="MaxPool3DWithIndicesBackward0", whole=True)
def _max_pool3d(input: Tensor, k: tuple, s: tuple, p: tuple, n: tuple, ceil_mode: bool) -> Tensor:
    return _max_body(input, k, s, p, n, ceil_mode)[0]


@function(grad="MaxPool2DWithIndicesBackward0", whole=True)
def _max_pool_indices(
    input: Tensor, k: tuple, s: tuple, p: tuple, n: tuple, ceil_mode: bool
) -> tuple:
    return _max_body(input, k, s, p, n, ceil_mode)


_MAX = {1: _max_pool1d, 2: _max_pool2d, 3: _max_pool3d}


def _max_pool(
    d: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    if kernel_size.__class__ is int and stride is None:
        k = s = (kernel_size,) * d
    else:
        k = ntuple(kernel_size, d, "kernel_size")
        s = k if _is_absent(stride) else ntuple(stride, d, "stride")
    f = _max_pool_indices if return_indices else _MAX[d]
    p, n = ntuple(padding, d, "padding"), ntuple(dilation, d, "dilation")
    return f(input, k, s, p, n, ceil_mode)


@_tensors
def max_pool1d(
    input: Tensor,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The greatest element of each window of ``(N, C, L)`` or ``(C, L)``.

    ``stride`` defaults to the kernel's size; ``return_indices`` also gives where the elements
    were, for ``max_unpool1d``.

    >>> max_pool1d(tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
    tensor([[3., 2.]])
    """
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@_tensors
def max_pool2d(
    input: Tensor,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The greatest element of each window of ``(N, C, H, W)`` or ``(C, H, W)``; see ``max_pool1d``.

    >>> max_pool2d(tensor([[[1.0, 3.0], [2.0, 0.0]]]), 2)
    tensor([[[3.]]])
    """
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@_tensors
def max_pool3d(
    input: Tensor,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The greatest element of each window of ``(N, C, D, H, W)``; see ``max_pool1d``.

    >>> max_pool3d(tensor([[[[1.0, 3.0], [2.0, 0.0]]]]), (1, 2, 2))
    tensor([[[[3.]]]])
    """
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _with_indices(d: int) -> Any:
    def f(
        input: Tensor,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] | None = None,
        padding: int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> tuple[Tensor, Tensor]:
        return _max_pool(d, input, kernel_size, stride, padding, dilation, ceil_mode, True)

    f.__name__ = f.__qualname__ = f"max_pool{d}d_with_indices"
    f.__doc__ = f"``max_pool{d}d`` with ``return_indices=True``."
    return f


max_pool1d_with_indices, max_pool2d_with_indices, max_pool3d_with_indices = map(
    _with_indices, (1, 2, 3)
)


def _output_size(value: Any, d: int, shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    """An adaptive output size, with None for the size of the input."""
    if isinstance(value, (tuple, list)):
        if d > 1 and len(shape) <= len(value):
            raise ValueError(f"Input dimension should be at least {len(value) + 1}")
        if len(value) != d:
            raise RuntimeError(
                f"{name}: output_size must be {d}"
                if d > 1
                else f"{name}() argument 'output_size' should contain one int (got {len(value)})"
            )
    else:
        value = (value,) * d
    return tuple(
        shape[len(shape) - d + i] if n is None else as_int(n, "output_size")
        for i, n in enumerate(value)
    )


def _check_adaptive(input: Tensor, size: tuple[int, ...], name: str) -> None:
    d, shape = len(size), input._meta.shape
    if len(shape) not in (d + 1, d + 2):
        wanted = f"{d + 1} to {d + 2} dimensions, but got {len(shape)}-dimensional tensor"
        if d > 1:
            colon = ":" * name.startswith("adaptive_max")
            wanted = f"{d + 1}D or {d + 2}D tensor, but got{colon} {list(shape)}"
        raise RuntimeError(f"{name}(): Expected {wanted}")
    for at, n in enumerate(shape[len(shape) - d :], len(shape) - d):
        if n == 0:
            raise RuntimeError(
                f"{name}(): Expected input to have non-zero size for non-batch dimensions, but "
                f"input has sizes {list(shape)} with dimension {at} being empty"
            )
    if any(n < 0 for n in size):
        raise RuntimeError(
            f"elements of output_size must be greater than or equal to 0 but received {set(size)}"
        )


@function(grad="AdaptiveMaxPool2DBackward0", whole=True)
def _adaptive_max(input: Tensor, size: tuple, name: str) -> tuple:
    _check_adaptive(input, size, name)
    _need_floats(name, input)
    return ops.adaptive_max_pool(input, output_size=size)


def _adaptive_max_pool(d: int, input: Tensor, output_size: Any, indices: bool) -> Any:
    name = f"adaptive_max_pool{d}d"
    found = _adaptive_max(input, _output_size(output_size, d, input._meta.shape, name), name)
    return found if indices else found[0]


@_tensors
def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The maxima of windows that share ``L`` out among ``output_size``; None keeps a size.

    >>> adaptive_max_pool1d(tensor([[1.0, 3.0, 2.0, 0.0]]), 1)
    tensor([[3.]])
    """
    return _adaptive_max_pool(1, input, output_size, return_indices)


@_tensors
def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The maxima of windows that share an image out among ``output_size``."""
    return _adaptive_max_pool(2, input, output_size, return_indices)


@_tensors
def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The maxima of windows that share a volume out among ``output_size``."""
    return _adaptive_max_pool(3, input, output_size, return_indices)


@_tensors
def adaptive_max_pool1d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """``adaptive_max_pool1d`` with ``return_indices=True``."""
    return _adaptive_max_pool(1, input, output_size, True)


@_tensors
def adaptive_max_pool2d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """``adaptive_max_pool2d`` with ``return_indices=True``."""
    return _adaptive_max_pool(2, input, output_size, True)


@_tensors
def adaptive_max_pool3d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """``adaptive_max_pool3d`` with ``return_indices=True``."""
    return _adaptive_max_pool(3, input, output_size, True)


# ----------------------------------------------------------------------------- unpooling


@function(grad="MaxUnpool2DBackward0")
def _unpool(input: Tensor, indices: Tensor, size: tuple) -> Tensor:
    if indices.dtype is not dtypes.int64:
        raise RuntimeError(
            f"elements in indices should be type int64 but got: {indices.dtype.name}"
        )
    if indices._meta.shape != input._meta.shape:
        raise RuntimeError(
            f"Expected shape of indices to be same as that of the input tensor "
            f"({list(input._meta.shape)}) but got indices tensor with shape: "
            f"{list(indices._meta.shape)}"
        )
    return ops.plane_put(input, indices, output_size=size)


def _max_unpool(
    d: int,
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    output_size: Any,
) -> Tensor:
    k = ntuple(kernel_size, d, "kernel_size")
    s = k if stride is None else ntuple(stride, d, "stride")
    p = ntuple(padding, d, "padding")
    if input.dim() not in (d + 1, d + 2):
        raise RuntimeError(
            f"Input to max_unpooling{d}d should be a {d + 1}d or {d + 2}d Tensor, but got: "
            f"{input.dim()} dims"
        )
    default = tuple(
        (n - 1) * step - 2 * pad + size
        for n, step, pad, size in zip(input._meta.shape[-d:], s, p, k, strict=True)
    )
    if output_size is None:
        size = default
    else:
        size = tuple(output_size)
        if len(size) == d + 2:
            size = size[2:]
        if len(size) != d:
            raise ValueError(
                f"output_size should be a sequence containing {d} or {d + 2} elements, but it has "
                f"a length of '{len(size)}'"
            )
        for i in range(d):
            low, high = default[i] - s[i], default[i] + s[i]
            if not low < size[i] < high:
                raise ValueError(
                    f"invalid output_size '{list(size)}' (dim {i} must be between {low} and {high})"
                )
    return _unpool(input, indices, size)


@_tensors
def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    output_size: Any = None,
) -> Tensor:
    """Puts the results of ``max_pool1d`` back where they came from, among zeros.

    >>> max_unpool1d(tensor([[3.0]]), tensor([[1]]), 2)
    tensor([[0., 3.]])
    """
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


@_tensors
def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    output_size: Any = None,
) -> Tensor:
    """Puts the results of ``max_pool2d`` back where they came from; see ``max_unpool1d``."""
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


@_tensors
def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    output_size: Any = None,
) -> Tensor:
    """Puts the results of ``max_pool3d`` back where they came from; see ``max_unpool1d``."""
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)


# ---------------------------------------------------------------------------------- means


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
) -> Tensor:
    k = ntuple(kernel_size, d, "kernel_size")
    s = k if _is_absent(stride) else ntuple(stride, d, "stride")
    f = _avg_line if d == 1 else _avg
    return f(input, k, s, ntuple(padding, d, "padding"), ceil_mode, count_include_pad, divisor)


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
) -> Tensor:
    """The mean of each window of an image; ``divisor_override`` divides instead of the count.

    >>> avg_pool2d(tensor([[[1.0, 3.0], [5.0, 7.0]]]), 2)
    tensor([[[4.]]])
    """
    return _avg_pool(
        2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


@_tensors
def avg_pool3d(
    input: Tensor,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of a volume; see ``avg_pool2d``."""
    return _avg_pool(
        3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


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
def _lp(input: Tensor, p: float, kernel_size: tuple, stride: tuple, ceil_mode: bool) -> Tensor:
    if input.dtype.category == 0:
        input = ops.cast(input, dtype=dtypes.int64)
    powers = input if p == 1 else ops.pow(input, int(p) if p.is_integer() else p)
    mean = _avg(powers, kernel_size, stride, (0,) * len(kernel_size), ceil_mode, True, None)
    size = ops.mul(ops.mul(ops.sign(mean), ops.relu(ops.abs(mean))), math.prod(kernel_size))
    return size if p == 1 else ops.pow(size, 1.0 / p)


def _lp_pool(
    d: int, input: Tensor, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool
) -> Tensor:
    k = ntuple(kernel_size, d, "kernel_size")
    s = k if stride is None else ntuple(stride, d, "stride")
    return _lp(input, float(norm_type), k, s, ceil_mode)


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
