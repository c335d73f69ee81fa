"""Tensors from nothing: values, constants, ranges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.functions.dims import as_shape
from flambeau.functions.inplace import write_out
from flambeau.functions.making import made, to_array
from flambeau.layouts import strided
from flambeau.record.meta import meta
from flambeau.record.storage import Storage
from flambeau.record.trace import defaults
from flambeau.tensor import Tensor, concrete


def tensor(
    data: Any,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor with a copy of ``data``: numbers, nested sequences, arrays.

    The dtype follows from the data: the default floating dtype for Python floats, int64, bool.
    Raises ``ValueError`` for ragged sequences.

    >>> tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    """
    if isinstance(data, Tensor):
        import warnings

        warnings.warn(
            "To copy construct from a tensor, it is recommended to use "
            "sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone().requires_grad_(True), rather than "
            "torch.tensor(sourceTensor).",
            UserWarning,
            stacklevel=2,
        )
    array, dtype = to_array(data, dtype)
    return made(array, dtype, requires_grad, device)


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor on the memory of an array: each sees what is written to the other.

    Raises ``TypeError`` for dtypes without a counterpart and ``ValueError`` for negative strides.

    >>> import numpy as np
    >>> from_numpy(np.ones(2))
    tensor([1., 1.], dtype=torch.float64)
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    dtype = dtypes.from_numpy_dtype(ndarray.dtype)
    if any(s < 0 for s in ndarray.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative "
            "strides are not currently supported. (You can probably work around this by making a "
            "copy of your array with array.copy().) "
        )
    if not ndarray.dtype.isnative:
        raise ValueError(
            "given numpy array has byte order different from the native byte order. Conversion "
            "between byte orders is currently not supported."
        )
    t = object.__new__(Tensor)
    t._meta = meta(ndarray.shape, dtype)
    if ndarray.flags.c_contiguous:
        storage = Storage(ndarray.view())
    else:
        owner, offset, strides = _flat_owner(ndarray)
        storage = Storage(owner)
        storage.share()
        t._spec = (ndarray.shape, strides, offset)
        base = concrete(owner, dtype)
        base._storage = storage
        t._base = base
    storage.foreign = True
    storage.plain = False
    t._storage = storage
    return t


def _flat_owner(a: np.ndarray) -> tuple[np.ndarray, int, tuple[int, ...]]:
    """A flat view of the memory that a strided array spans, the array's place in it."""
    size = a.dtype.itemsize
    if any(s % size for s in a.strides):
        raise ValueError("given numpy array strides not a multiple of the element byte size")
    strides = tuple(s // size for s in a.strides)
    span = 1 + sum((n - 1) * s for n, s in zip(a.shape, strides, strict=True)) if a.size else 0
    flat = np.lib.stride_tricks.as_strided(a, (span,), (size,))
    return flat, 0, strides


def as_tensor(data: Any, dtype: dtypes.dtype | None = None, device: Any = None) -> Tensor:
    """``data`` as a tensor, without a copy where the memory can be shared.

    >>> as_tensor([1, 2])
    tensor([1, 2])
    """
    if isinstance(data, Tensor):
        return data if dtype is None or data.dtype is dtype else data.to(dtype)
    if (
        isinstance(data, np.ndarray)
        and (dtype is None or dtypes.from_numpy_dtype(data.dtype) is dtype)
        and not any(s < 0 for s in data.strides)
    ):
        return from_numpy(data)
    array, dtype = to_array(data, dtype)
    return made(array, dtype, False, device)


def asarray(
    obj: Any,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """``obj`` as a tensor: shares memory unless ``copy`` or a change of dtype forbids it."""
    if copy:
        t = made(*to_array(obj, dtype), False, device)
    else:
        t = as_tensor(obj, dtype, device)
        if copy is False and not (
            isinstance(obj, (Tensor, np.ndarray))
            and t.dtype
            is (obj.dtype if isinstance(obj, Tensor) else dtypes.from_numpy_dtype(obj.dtype))
        ):
            raise ValueError("can't alias arbitrary sequence into a tensor.")
    if t.requires_grad and not requires_grad and not isinstance(obj, Tensor):
        t = t.detach()
    return t.requires_grad_() if requires_grad else t


scalar_tensor = tensor


def empty(
    *size: Any,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    memory_format: Any = None,
    **named: Any,
) -> Tensor:
    """Uninitialised memory of a shape.

    >>> empty(2, 3).shape
    torch.Size([2, 3])
    """
    if layout is not None and layout is not strided:
        return _nothing_held("empty", size, named, layout, dtype, requires_grad)
    return _filled(np.empty, size, named, out, dtype, device, requires_grad)


def _nothing_held(
    name: str, size: tuple, named: dict, layout: Any, dtype: Any, requires_grad: bool
) -> Tensor:
    """Zeros in a sparse layout."""
    from flambeau import sparse  # upward: sparse tensors are made of functions

    shape = as_shape((named.pop("size"),) if "size" in named else size)
    if name == "ones":
        raise RuntimeError("full(...) is not implemented for sparse layout")
    return sparse.empty(shape, layout=layout, dtype=dtype, requires_grad=requires_grad)


def _filled(
    make: Any, size: tuple, named: dict, out: Any, dtype: Any, device: Any, requires_grad: bool
) -> Tensor:
    if "size" in named:
        size = (named.pop("size"),)
    named.pop("names", None)
    if named:
        raise TypeError(f"got an unexpected keyword argument '{next(iter(named))}'")
    shape = as_shape(size)
    for n in shape:
        if n < 0:
            raise RuntimeError(
                f"Trying to create tensor with negative dimension {n}: {list(shape)}"
            )
    dtype = dtype or (out.dtype if out is not None else defaults.dtype)
    if not isinstance(dtype, dtypes.dtype):
        raise TypeError(f"argument 'dtype' must be torch.dtype, not {type(dtype).__name__}")
    result = made(make(shape, dtype.numpy), dtype, requires_grad, device)
    return result if out is None else write_out(out, result, "empty")


def zeros(
    *size: Any,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    **named: Any,
) -> Tensor:
    """Zeros of a shape.

    >>> zeros(2)
    tensor([0., 0.])
    """
    if layout is not None and layout is not strided:
        return _nothing_held("zeros", size, named, layout, dtype, requires_grad)
    return _filled(np.zeros, size, named, out, dtype, device, requires_grad)


def ones(
    *size: Any,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    **named: Any,
) -> Tensor:
    """Ones of a shape.

    >>> ones(2)
    tensor([1., 1.])
    """
    if layout is not None and layout is not strided:
        return _nothing_held("ones", size, named, layout, dtype, requires_grad)
    return _filled(np.ones, size, named, out, dtype, device, requires_grad)


def full(
    size: Any,
    fill_value: Any,
    *,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """One value everywhere; the dtype follows from it unless given.

    >>> full((2,), 3)
    tensor([3, 3])
    """
    if isinstance(fill_value, Tensor):
        dtype = dtype or fill_value.dtype
        fill_value = fill_value.item()
    if dtype is None:
        dtype = out.dtype if out is not None else dtypes.of_number(fill_value, defaults.dtype)
    shape = as_shape((size,))
    result = made(np.full(shape, fill_value, dtype.numpy), dtype, requires_grad, device)
    return result if out is None else write_out(out, result, "full")


def _like(name: str, make: Any) -> Any:
    def like(
        input: Tensor,
        *,
        dtype: dtypes.dtype | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
        memory_format: Any = None,
    ) -> Tensor:
        dtype = dtype or input.dtype
        return made(make(input._meta.shape, dtype.numpy), dtype, requires_grad, device)

    like.__name__ = like.__qualname__ = name
    like.__doc__ = f"``{name.removesuffix('_like')}`` with the shape and dtype of ``input``."
    return like


empty_like = _like("empty_like", np.empty)
zeros_like = _like("zeros_like", np.zeros)
ones_like = _like("ones_like", np.ones)


def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """``full`` with the shape and dtype of ``input``."""
    return full(
        tuple(input.shape),
        fill_value,
        dtype=dtype or input.dtype,
        device=device,
        requires_grad=requires_grad,
    )


def arange(
    start: Any = 0,
    end: Any = None,
    step: Any = 1,
    *,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """``start``, ``start + step``, … below ``end``; int64 for integers.

    Raises ``RuntimeError`` if ``step`` is zero or points away from ``end``.

    >>> arange(1, 4)
    tensor([1, 2, 3])
    """
    if end is None:
        start, end = 0, start
    start, end, step = (x.item() if isinstance(x, Tensor) else x for x in (start, end, step))
    if dtype is None:
        if out is not None:
            dtype = out.dtype
        else:
            whole = all(isinstance(x, (int, np.integer)) for x in (start, end, step))
            dtype = dtypes.int64 if whole else defaults.dtype
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    if dtype.category == 1:
        start, end, step = int(start), int(end), int(step)
        n = max(0, -(-(end - start) // step))
    else:
        n = max(0, math.ceil((end - start) / step))
    wide = np.float64 if dtype.category == 2 else np.int64
    array = (np.arange(n, dtype=wide) * wide(step) + wide(start)).astype(dtype.numpy)
    result = made(array, dtype, requires_grad, device)
    return result if out is None else write_out(out, result, "arange")


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """``steps`` values evenly spaced from ``start`` to ``end``, both included.

    >>> linspace(0, 1, 3)
    tensor([0.0000, 0.5000, 1.0000])
    """
    start, end = (x.item() if isinstance(x, Tensor) else x for x in (start, end))
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    if dtype is None:
        dtype = defaults.dtype
        if isinstance(start, complex) or isinstance(end, complex):
            dtype = dtype.to_complex()
    kind = dtype.numpy if dtype.category >= 2 and dtype.itemsize > 2 else np.float64
    number = kind.type if isinstance(kind, np.dtype) else kind
    i = np.arange(steps)
    if dtype.category == 1:
        step = (end - start) / (steps - 1) if steps > 1 else 0.0
        low, high = start + step * i, end - step * (steps - 1 - i)
    else:
        step = (number(end) - number(start)) / number(max(steps - 1, 1))
        j = i.astype(number)
        low, high = number(start) + step * j, number(end) - step * (number(steps - 1) - j)
    # From both ends, as PyTorch does: symmetric, and exact at each.
    array = np.where(i < steps // 2, low, high) if steps != 1 else np.asarray([start])
    result = made(np.array(array.astype(dtype.numpy)), dtype, requires_grad, device)
    return result if out is None else write_out(out, result, "linspace")


def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """``base`` to the powers of ``linspace(start, end, steps)``.

    >>> logspace(0, 2, 3)
    tensor([  1.,  10., 100.])
    """
    dtype = dtype or (out.dtype if out is not None else defaults.dtype)
    powers = linspace(
        start, end, steps, dtype=dtypes.complex128 if dtype.is_complex else dtypes.float64
    )._array()
    array = np.power(base, powers)
    result = made(np.array(array.astype(dtype.numpy)), dtype, requires_grad, device)
    return result if out is None else write_out(out, result, "logspace")


def eye(
    n: int,
    m: int | None = None,
    *,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Ones on the diagonal, zeros elsewhere.

    >>> eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    for what, size in (("n", n), ("m", 0 if m is None else m)):
        if size < 0:
            raise RuntimeError(f"{what} must be greater or equal to 0, got {size}")
    dtype = dtype or (out.dtype if out is not None else defaults.dtype)
    result = made(np.eye(n, m, dtype=dtype.numpy), dtype, requires_grad, device)
    return result if out is None else write_out(out, result, "eye")


def legacy_constructor(cls: type, *args: Any, device: Any = None, **kwargs: Any) -> Tensor:
    """``Tensor(2, 3)`` is uninitialised, ``Tensor([1, 2])`` holds values: the default dtype."""
    dtype = kwargs.pop("dtype", None) or getattr(cls, "_legacy_dtype", None) or defaults.dtype
    if args and all(isinstance(a, int) and not isinstance(a, bool) for a in args):
        t = empty(*args, dtype=dtype)
    elif len(args) == 1 and type(args[0]).__name__ == "Size":
        t = empty(tuple(args[0]), dtype=dtype)
    elif len(args) == 1:
        data = args[0]
        if isinstance(data, Tensor):
            t = data.detach() if data.dtype is dtype else data.detach().to(dtype)
        else:
            t = made(*to_array(data, dtype), False)
    else:
        t = empty(0, dtype=dtype)
    return t
