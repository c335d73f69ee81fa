"""Tensors from nothing: values, constants."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.functions.dims import as_shape, sizes_given
from flambeau.functions.inplace import write_out
from flambeau.functions.making import device_of, hollow, is_meta, made, to_array
from flambeau.functions.memory_order import order_of
from flambeau.ir.scalars import fitted
from flambeau.layouts import preserve_format, strided
from flambeau.record.meta import meta
from flambeau.record.storage import Storage, contiguous_strides
from flambeau.record.trace import defaults
from flambeau.run.fills import filled, zeroed
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
        base._hidden = True
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
        if device is not None:
            return data.to(device, dtype)
        return data if dtype is None or data.dtype is dtype else data.to(dtype)
    if (
        isinstance(data, np.ndarray)
        and (dtype is None or dtypes.from_numpy_dtype(data.dtype) is dtype)
        and not any(s < 0 for s in data.strides)
    ):
        t = from_numpy(data)
        return t if device is None else t.to(device)
    array, dtype = to_array(data, dtype)
    return made(array, dtype, False, device)


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
    made = _filled("empty", np.empty, size, named, out, dtype, device, requires_grad)
    return made if memory_format is None else in_order(made, order_of(made, memory_format))


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
    base._hidden = True
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


def _ones(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    return filled(shape, 1, dtype)


def _filled(
    name: str,
    make: Any,
    size: tuple,
    named: dict,
    out: Any,
    dtype: Any,
    device: Any,
    requires_grad: bool,
) -> Tensor:
    named.pop("names", None)
    shape = sizes_given(name, "size", size, named)
    _check_shape(shape)
    if out is not None and not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    dtype = dtype or (out.dtype if out is not None else defaults.dtype)
    if not isinstance(dtype, dtypes.dtype):
        raise TypeError(f"argument 'dtype' must be torch.dtype, not {type(dtype).__name__}")
    array = hollow(shape, dtype) if is_meta(device) else make(shape, dtype.numpy)
    return _placed(array, dtype, requires_grad, device, out, "empty")


def _placed(
    array: np.ndarray, dtype: dtypes.dtype, requires_grad: bool, device: Any, out: Any, name: str
) -> Tensor:
    """A tensor of new values, or ``out`` with these values."""
    if out is None:
        return made(array, dtype, requires_grad, device)
    return write_out(out, made(array, dtype, False, device), name).requires_grad_(requires_grad)


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
    return _filled("zeros", zeroed, size, named, out, dtype, device, requires_grad)


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
    return _filled("ones", _ones, size, named, out, dtype, device, requires_grad)


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
    _check_shape(shape)
    if shape or dtype is not dtypes.float16:
        fill_value = fitted(fill_value, dtype)
    with np.errstate(over="ignore"):
        array = hollow(shape, dtype) if is_meta(device) else filled(shape, fill_value, dtype.numpy)
    return _placed(array, dtype, requires_grad, device, out, "full")


def _format_like(input: Tensor, memory_format: Any) -> Any:
    return order_of(input, preserve_format if memory_format is None else memory_format)


def in_order(made: Tensor, order: tuple[int, ...] | None) -> Tensor:
    """A new tensor as one whose dimensions lie in this order in memory."""
    if order is not None:
        m = made._meta
        made._meta = meta(m.shape, m.dtype, m.requires_grad, m.leaf, order)
    return made


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
        device, shape = device_of(input, device), input._meta.shape
        array = hollow(shape, dtype) if is_meta(device) else make(shape, dtype.numpy)
        found = made(array, dtype, requires_grad, device)
        return in_order(found, _format_like(input, memory_format))

    like.__name__ = like.__qualname__ = name
    like.__doc__ = f"``{name.removesuffix('_like')}`` with the shape and dtype of ``input``."
    return like


empty_like = _like("empty_like", np.empty)


zeros_like = _like("zeros_like", zeroed)


ones_like = _like("ones_like", _ones)


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
    found = full(
        tuple(input.shape),
        fill_value,
        dtype=dtype or input.dtype,
        device=device_of(input, device),
        requires_grad=requires_grad,
    )
    return in_order(found, _format_like(input, memory_format))


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
    m = n if m is None else m
    array = zeroed((n, m), dtype.numpy)
    array.reshape(-1)[: m * m : m + 1] = 1
    return _placed(array, dtype, requires_grad, device, out, "eye")


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
            if data.dtype is not dtype and hasattr(cls, "_legacy_dtype"):
                raise TypeError(f"expected a tensor of {dtype} (got one of {data.dtype})")
            t = data.detach()
        elif isinstance(data, float) or data is None:
            raise TypeError(f"new(): data must be a sequence (got {type(data).__name__})")
        else:
            t = made(*to_array(data, dtype), False)
    elif args:
        given = ", ".join(type(a).__name__ for a in args)
        raise TypeError(
            f"new() received an invalid combination of arguments - got ({given}), expected sizes, "
            "a tensor or a sequence"
        )
    else:
        t = empty(0, dtype=dtype)
    if cls is not Tensor and not hasattr(cls, "_legacy_dtype"):
        # Nobody else has it: the class is all that differs.
        t.__class__ = cls
    return t


SAMPLES = {
    "tensor": "[1, 2]; 1.5; [[1.0, 2], [3, 4]]; [True, False]; [1, 2j]; [];"
    "[1, 2], dtype=torch.int8; np.arange(3); np.float64(2);"
    "[x[0, 0].item(), 1], dtype=torch.float64; (1, [2][0]); ![[1, 2], [3]]; !'text'; !; ![1, 'a'];"
    "!{1: 2}; ![1], dtype='float'",
    "as_tensor": "[1, 2.5]; x; x, dtype=torch.float64; np.arange(4.0); np.arange(6)[::2]; 3;"
    "i, dtype=i.dtype; !'text'; ![[1], [1, 2]]",
    "from_numpy": "np.arange(4); np.ones((2, 3), np.float32)[:, ::2]; np.zeros(());"
    "np.zeros((0, 2)); np.array([True]); np.arange(6).reshape(2, 3).T; ![1, 2];"
    "!np.arange(3)[::-1]; !np.array('a')",
    "scalar_tensor": "3; 2.5; True; 1, dtype=torch.int64; 1j, dtype=torch.complex64; !'a'; ![1]",
    "empty": "0, 3; (2, 0); 0, dtype=torch.int64; size=(0,); !-1; !2.5; !(2, 'a')",
    "empty_like": "empty; empty, dtype=torch.int32; torch.zeros(0, 2, dtype=torch.bool); !2",
    "empty_strided": "(0, 3), (3, 1); (2, 0), (1, 2); (0,), (1,), dtype=torch.float64;"
    "!(2, 3), (3,); !(2,), (-1,); !(-2,), (1,)",
    "empty_permuted": "(0, 3), (1, 0); (2, 0), (0, 1), dtype=torch.int8; !(2, 3), (0, 0);"
    "!(2, 3), (0,); !(2, 3), (0, 2)",
    "zeros": "2, 3; (2,); []; 0; 2, dtype=torch.bool; 3, dtype=torch.complex64; size=(2, 2);"
    "2, requires_grad=True; !-1; !2.5; !'a'",
    "ones": "2, 3; (2,); []; 0; 2, dtype=torch.int64; 3, dtype=torch.float16; size=(2, 2); !-1;"
    "!2.5",
    "full": "(2, 3), 1.5; (2,), 3; [], True; (2,), 1j; (2,), 3, dtype=torch.float64; (0, 2), 1;"
    "(2,), torch.tensor(4); (3,), inf; !(2,), 'a'; !(-1,), 0; !(2,), 1j, dtype=torch.float32;"
    "!2, 3",
    "full_like": "x, 2; i, 3; x, 2, dtype=torch.int64; truth, 1; c, 1 + 1j; s, nan; empty, 0; !x;"
    "!2, 3; !x, 1j",
    "zeros_like": "x; i; x, dtype=torch.int64; c; truth; s; empty; x.t(); !2",
    "ones_like": "x; i; x, dtype=torch.int64; c; truth; s; empty; x.t(); !2",
    "eye": "3; 2, 4; 4, 2, dtype=torch.int64; 0; 3, 0; 2, dtype=torch.bool; !-1; !2, -1; !2.5; !",
}
