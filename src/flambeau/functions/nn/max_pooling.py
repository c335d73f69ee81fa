"""The greatest of windows, which goes back to its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau import dtypes
from flambeau.functions.checks import _need_floats, _tensors
from flambeau.functions.nn._common import ntuple
from flambeau.functions.nn._windows import (
    _check_adaptive,
    _check_output,
    _check_rank,
    _is_absent,
    _output_size,
)
from flambeau.record.macro import function, ops

if TYPE_CHECKING:
    from flambeau.tensor import Tensor


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
    _need_floats("max_pool1d_impl", input)
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


SAMPLES = {
    "nn.functional.max_pool1d": "line, 2; line, 3, 2, 1; line, 2, dilation=2, ceil_mode=True;"
    " line, 3, return_indices=True; line[0], (2,), stride=(1,); !i[None], 2; !line, 2, padding=2;"
    " !line, 0; !x, 5; !v, 1; !line, 2, 0",
    "nn.functional.max_pool2d": "image, 2; image, (3, 2), 1, (1, 0); image, 2, 2, 1, 2, True;"
    " image, 3, return_indices=True; image[0], 2, (2, 1); i[None], 2; !image, 2, padding=2;"
    " !image, 7; !x, 2; !image, (2, 2, 2)",
    "nn.functional.max_pool3d": "volume, 2; volume, (2, 1, 3), 1, (1, 0, 1);"
    " volume, 2, 1, 1, 2, ceil_mode=True; volume, 2, return_indices=True; volume[0], 2; !volume, 5;"
    " !x, 2; !volume, 2, padding=3",
    "nn.functional.max_pool1d_with_indices": "line, 2; line, 3, 2, 1, ceil_mode=True; !line, 0",
    "nn.functional.max_pool2d_with_indices": "image, 2; image, (3, 2), 1, (1, 0); !image, 7",
    "nn.functional.max_pool3d_with_indices": "volume, 2; volume, 2, 1, 1, 2; !volume, 5",
    "nn.functional.adaptive_max_pool1d": "line, 4; line, 2, return_indices=True; line[0], (3,);"
    " line, 1; !line, (2, 2); !line, -1; !v, 2",
    "nn.functional.adaptive_max_pool2d": "image, 3; image, (4, None);"
    " image, (2, 3), return_indices=True; image[0], (1, 7); !image, (2, 2, 2); !x, 2; !image, -1",
    "nn.functional.adaptive_max_pool3d": "volume, 2; volume, (None, 1, 3), return_indices=True;"
    " volume[0], (5, 2, 2); !volume, (2, 2); !x, 2",
    "nn.functional.adaptive_max_pool1d_with_indices": "line, 4; !line, (2, 2)",
    "nn.functional.adaptive_max_pool2d_with_indices": "image, 3; image, (4, None); !x, 2",
    "nn.functional.adaptive_max_pool3d_with_indices": "volume, 2; volume, (3, 1, 2); !x, 2",
    "nn.functional.max_unpool1d": "*F.max_pool1d(line, 3, return_indices=True), 3;"
    " *F.max_pool1d(line, 2, return_indices=True), 2, output_size=(9,);"
    " *F.max_pool1d(line[0], 2, 3, return_indices=True), 2, 3; !line, place, 2;"
    " !x, i, 2, output_size=(30,)",
    "nn.functional.max_unpool2d": "*F.max_pool2d(image, (2, 1), return_indices=True), (2, 1);"
    " *F.max_pool2d(image, (3, 2), return_indices=True), (3, 2), output_size=(6, 5);"
    " *F.max_pool2d(image, 2, 2, 1, return_indices=True), 2, 2, 1, (6, 5); !image, i, 2;"
    " !*F.max_pool2d(image, 2, return_indices=True), 2, output_size=(9, 9)",
    "nn.functional.max_unpool3d": "*F.max_pool3d(volume, (2, 3, 5), return_indices=True), (2, 3,"
    " 5); *F.max_pool3d(volume, (2, 1, 2), return_indices=True), (2, 1, 2), output_size=(4, 3, 5);"
    " !volume, i, 2",
}
