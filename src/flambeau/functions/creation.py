"""Tensors from nothing: values, constants, ranges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.functions.dims import as_shape, sizes_given
from flambeau.functions.inplace import write_out
from flambeau.functions.making import made, to_array
from flambeau.ir.scalars import fitted
from flambeau.layouts import strided
from flambeau.record.meta import meta
from flambeau.record.storage import Storage, contiguous_strides
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
    if dtype is not None and not isinstance(dtype, dtypes.dtype):
        raise TypeError(
            f"tensor(): argument 'dtype' must be torch.dtype, not {type(dtype).__name__}"
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


def scalar_tensor(
    s: Any,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A number as a 0-dim tensor, of the default floating dtype unless another is asked for.

    >>> scalar_tensor(3)
    tensor(3.)
    """
    dtype = dtype or defaults.dtype
    return made(np.full((), fitted(s, dtype), dtype.numpy), dtype, requires_grad, device)


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


def empty_strided(
    size: Any,
    stride: Any,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Uninitialised memory of a shape, laid out by strides (in elements).

    Raises ``RuntimeError`` for as many strides as there are no sizes, and for negative ones.

    >>> empty_strided((2, 3), (1, 2)).stride()
    (1, 2)
    """
    shape, strides = as_shape((size,)), as_shape((stride,))
    if len(shape) != len(strides):
        raise RuntimeError(
            f"dimensionality of sizes ({len(shape)}) must match dimensionality of strides "
            f"({len(strides)})"
        )
    _check_shape(shape)
    if any(s < 0 for s in strides):
        raise RuntimeError(f"empty_strided: strides must not be negative, got {list(strides)}")
    if strides == contiguous_strides(shape):
        return empty(shape, dtype=dtype, device=device, requires_grad=requires_grad)
    reach = sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1
    base = empty(0 if 0 in shape else reach, dtype=dtype, device=device)
    base._storage.share()  # type: ignore[union-attr]
    t = object.__new__(Tensor)
    t._storage, t._spec, t._base = base._storage, (shape, strides, 0), base
    t._meta = meta(shape, base.dtype)
    return t.requires_grad_(requires_grad)


def empty_permuted(
    size: Any,
    physical_layout: Any,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Uninitialised memory of a shape, its dimensions laid out without gaps in the order given.

    Raises ``RuntimeError`` unless ``physical_layout`` is a permutation of the dimensions.

    >>> empty_permuted((2, 3), (1, 0)).stride()
    (1, 2)
    """
    shape, order = as_shape((size,)), as_shape((physical_layout,))
    if len(shape) != len(order):
        raise RuntimeError(
            "Number of dimensions in size does not match the length of the physical_layout; i.e. "
            f"len(size) = {len(shape)} is not equal to len(physical_layout) = {len(order)}"
        )
    for i, d in enumerate(order):
        if not 0 <= d < len(shape):
            raise RuntimeError(
                f"Dimension out of range (expected to be between 0 and {len(shape) - 1}, but got "
                f"{d} at index {i}).  NB: negative dims not currently supported; file an issue if "
                "you want it."
            )
    if len(set(order)) < len(order):
        raise RuntimeError("Duplicate dim not allowed")
    packed = contiguous_strides(tuple(shape[d] for d in order))
    strides = tuple(packed[order.index(d)] for d in range(len(shape)))
    return empty_strided(shape, strides, dtype=dtype, device=device, requires_grad=requires_grad)


def _nothing_held(
    name: str, size: tuple, named: dict, layout: Any, dtype: Any, requires_grad: bool
) -> Tensor:
    """Zeros in a sparse layout."""
    from flambeau import sparse  # upward: sparse tensors are made of functions

    shape = as_shape((named.pop("size"),) if "size" in named else size)
    if name == "ones":
        raise RuntimeError("full(...) is not implemented for sparse layout")
    return sparse.empty(shape, layout=layout, dtype=dtype, requires_grad=requires_grad)


def _check_shape(shape: tuple[int, ...]) -> None:
    for n in shape:
        if n < 0:
            raise RuntimeError(
                f"Trying to create tensor with negative dimension {n}: {list(shape)}"
            )


def _filled(
    make: Any, size: tuple, named: dict, out: Any, dtype: Any, device: Any, requires_grad: bool
) -> Tensor:
    named.pop("names", None)
    shape = sizes_given(make.__name__, "size", size, named)
    _check_shape(shape)
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

    Raises ``TypeError`` for a value that is no number, ``RuntimeError`` for a complex one where
    ``dtype`` is real.

    >>> full((2,), 3)
    tensor([3, 3])
    """
    if isinstance(fill_value, Tensor):
        dtype = dtype or fill_value.dtype
        fill_value = fill_value.item()
    if not isinstance(fill_value, (int, float, complex, np.number, np.bool_)):
        raise TypeError(
            "full(): argument 'fill_value' (position 2) must be Number, not "
            f"{type(fill_value).__name__}"
        )
    if dtype is None:
        dtype = out.dtype if out is not None else dtypes.of_number(fill_value, defaults.dtype)
    if isinstance(fill_value, complex) and not dtype.is_complex:
        raise RuntimeError(f"value cannot be converted to type {dtype} without overflow")
    if not isinstance(size, (tuple, list)):
        raise TypeError(
            f"full(): argument 'size' (position 1) must be tuple of ints, not {type(size).__name__}"
        )
    shape = as_shape((size,))
    if shape or dtype is not dtypes.float16:
        fill_value = fitted(fill_value, dtype)
    with np.errstate(over="ignore"):
        array = np.full(shape, fill_value, dtype.numpy)
    result = made(array, dtype, requires_grad, device)
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

    Raises ``RuntimeError`` if ``step`` is zero or points away from ``end``, or if one of them is
    complex, infinite or NaN; ``ValueError`` if ``step`` is zero once made an integer.

    >>> arange(1, 4)
    tensor([1, 2, 3])
    """
    if end is None:
        start, end = 0, start
    start, end, step = (x.item() if isinstance(x, Tensor) else x for x in (start, end, step))
    if any(isinstance(x, complex) for x in (start, end, step)):
        raise RuntimeError("value cannot be converted to type double without overflow")
    if dtype is None:
        if out is not None:
            dtype = out.dtype
        else:
            whole = all(isinstance(x, (int, np.integer)) for x in (start, end, step))
            dtype = dtypes.int64 if whole else defaults.dtype
    if not (step > 0 or step < 0):
        raise RuntimeError("step must be nonzero")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    if dtype.category == 1:
        start, end, step = int(start), int(end), int(step)
        if step == 0:
            raise ValueError("step must be nonzero")
        n = max(0, -(-(end - start) // step))
    else:
        n = max(0, math.ceil((end - start) / step))
    wide = np.float64 if dtype.category == 2 else np.int64
    array = np.arange(n, dtype=wide)
    if step != 1:
        array *= wide(step)
    if start != 0:
        array += wide(start)
    array = array.astype(dtype.numpy, copy=False)
    result = made(array, dtype, requires_grad, device)
    return result if out is None else write_out(out, result, "arange")


def _need_count(name: str, steps: Any) -> None:
    if isinstance(steps, bool) or not hasattr(steps, "__index__"):
        raise TypeError(
            f"{name}(): argument 'steps' (position 3) must be int, not {type(steps).__name__}"
        )


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
    for argument, x in (("start", start), ("end", end)):
        if not isinstance(x, (int, float, complex, np.number)):
            raise TypeError(
                f"linspace(): argument '{argument}' must be Number, not {type(x).__name__}"
            )
    _need_count("linspace", steps)
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    if dtype is None:
        dtype = defaults.dtype
        if isinstance(start, complex) or isinstance(end, complex):
            dtype = dtype.to_complex()
    # From both ends, as PyTorch does: symmetric, and exact at each.
    if dtype.category == 1:
        start, end = int(start), int(end)
        i, half = np.arange(steps), steps // 2
        step = (end - start) / (steps - 1) if steps > 1 else 0.0
        low = start + step * i[:half]
        array = np.concatenate((low, end - step * (steps - 1 - i[half:])))
    else:
        array = _even_steps(start, end, steps, dtype)
    if steps == 1:
        array = np.asarray([start])
    array = array.astype(dtype.numpy, copy=False)
    result = made(array, dtype, requires_grad, device)
    return result if out is None else write_out(out, result, "linspace")


# So many elements stay in the processor's cache from one operation to the next.
_BLOCK = 1 << 14


def _even_steps(start: Any, end: Any, steps: int, dtype: dtypes.dtype) -> np.ndarray:
    """``start + i * step`` in the first half, ``end - (steps - 1 - i) * step`` in the second."""
    number = np.dtype(dtype.numpy).type if dtype.itemsize > 2 else np.float64
    out = np.empty(steps, number)
    if not steps:
        return out
    first, last, half = number(start), number(end), steps // 2
    step = (last - first) / number(max(steps - 1, 1))
    places = np.arange(min(_BLOCK, steps), dtype=number)
    for lead in range(0, half, _BLOCK):
        part = out[lead : min(lead + _BLOCK, half)]
        np.add(places[: len(part)], number(lead), out=part)
        part *= step
        part += first
    for lead in range(half, steps, _BLOCK):
        part = out[lead : lead + _BLOCK]
        np.subtract(number(steps - 1 - lead), places[: len(part)], out=part)
        part *= step
        np.subtract(last, part, out=part)
    return out


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
    _need_count("logspace", steps)
    dtype = dtype or (out.dtype if out is not None else defaults.dtype)
    if dtype.category == 1:
        start, end = (int(x.item() if isinstance(x, Tensor) else x) for x in (start, end))
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
