"""Methods that convert: ``x.to(...)``, ``x.float()``, ``x.cpu()``, ``x.new_zeros(...)``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dtypes
from flambeau.device import device as Device
from flambeau.functions import creation, making
from flambeau.functions.casting import _clone, clone, laid_out
from flambeau.functions.checks import _need_tensor
from flambeau.functions.geometry import _laid_out
from flambeau.functions.inplace import title
from flambeau.functions.memory_order import order_of
from flambeau.layouts import preserve_format
from flambeau.record.absent import NO_DATA, is_absent
from flambeau.record.macro import function, ops
from flambeau.record.trace import defaults
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

_NAMES = {
    title(d): d
    for d in dtypes.DTYPES.values()
    if d.name not in ("uint16", "uint32", "uint64", "complex64", "complex128")
}


@function(grad="ToCopyBackward0")
def _converted(input: Tensor, dtype: dtypes.dtype) -> Tensor:
    return ops.cast(input, dtype=dtype)


def _on(place: Any) -> None:
    """Refuses devices that are none of this machine, as a build of PyTorch without them does."""
    d = place if isinstance(place, Device) else Device(place)
    if d.type == "cuda":
        raise AssertionError("Torch not compiled with CUDA enabled")
    if d.type not in ("cpu", "meta"):
        raise RuntimeError(f"PyTorch is not linked with support for {d.type} devices")


def _moved(self: Tensor, dtype: dtypes.dtype | None, copy: bool) -> Tensor:
    if dtype is not None and dtype is not self._meta.dtype:
        return _converted(self, dtype)
    return _clone(self) if copy else self


def to(
    self: Tensor,
    *args: Any,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    other: Tensor | None = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """The tensor in another dtype or on another device; itself if nothing changes.

    ``to(dtype)``, ``to(device, dtype)`` or ``to(other)``; ``copy`` makes a copy in any case.
    Raises ``AssertionError`` for a CUDA device.

    >>> tensor([1, 2]).to(float32)
    tensor([1., 2.])
    """
    rest = list(map(dtypes.of_type, args))
    dtype = dtypes.of_type(dtype)
    if rest:
        first = rest[0]
        if isinstance(first, dtypes.dtype):
            dtype = rest.pop(0)
        elif isinstance(first, Tensor):
            other = rest.pop(0)
        elif first is None or isinstance(first, (str, int, Device)):
            device = rest.pop(0)
            if rest and (rest[0] is None or isinstance(rest[0], dtypes.dtype)):
                dtype = rest.pop(0) or dtype
        else:
            raise TypeError(
                "to() received an invalid combination of arguments - got "
                f"({', '.join(type(a).__name__ for a in args)})"
            )
    if len(rest) > 2 or not all(isinstance(flag, bool) for flag in rest):
        raise TypeError("to() received an invalid combination of arguments")
    if len(rest) == 2:
        copy = bool(rest[1])
    if device is not None:
        _on(device)
    if other is not None:
        dtype = dtype or other._meta.dtype
        device = other.device
    if memory_format is not None:
        order_of(self, memory_format)
    if device is not None and making.is_meta(device) is not is_absent(self):
        if is_absent(self):
            raise NotImplementedError(NO_DATA)
        return _emptied(self, dtype or self._meta.dtype)
    return _formatted(_moved(self, dtype, copy), memory_format)


def _formatted(made: Tensor, memory_format: Any) -> Tensor:
    """A converted tensor in a memory format; itself if it lies so."""
    if memory_format is None or memory_format is preserve_format:
        return made
    if made.is_contiguous(memory_format):
        return made
    return laid_out(made, memory_format)


def _emptied(self: Tensor, dtype: dtypes.dtype) -> Tensor:
    """A tensor on the meta device of the shape and strides of ``self``."""
    m = self._meta
    return creation.empty_strided(m.shape, self.stride(), dtype=dtype, device="meta")


def _named(kind: str) -> dtypes.dtype:
    """The dtype of a name such as "torch.DoubleTensor"."""
    name = kind.removeprefix("torch.").removeprefix("flambeau.")
    if name.startswith("cuda."):
        raise AssertionError("Torch not compiled with CUDA enabled")
    if name == "Tensor":
        return defaults.dtype
    found = _NAMES.get(name.removesuffix("Tensor")) if name.endswith("Tensor") else None
    if found is None:
        raise ValueError(f"invalid type: '{kind}'")
    return found


def type(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The name of the tensor's type, or the tensor in the type given.

    >>> tensor([1.0]).type()
    'torch.FloatTensor'
    """
    if dtype is None:
        place = "meta." if is_absent(self) else ""
        return f"torch.{place}{title(self._meta.dtype)}Tensor"
    if isinstance(dtype, str):
        dtype = _named(dtype)
    elif not isinstance(dtype, dtypes.dtype):
        found = getattr(dtype, "dtype", None)
        if not isinstance(found, dtypes.dtype):
            raise RuntimeError("invalid type object")
        dtype = found
    return _moved(self, dtype, False)


def type_as(self: Tensor, other: Tensor) -> Tensor:
    """The tensor in the dtype of another."""
    _need_tensor("type_as", other, "other")
    return _moved(self, other._meta.dtype, False)


def _to_dtype(name: str, dtype: dtypes.dtype) -> Callable:
    def convert(self: Tensor, memory_format: Any = None) -> Tensor:
        return _formatted(_moved(self, dtype, False), memory_format)

    convert.__name__ = convert.__qualname__ = name
    convert.__doc__ = f"The tensor as {dtype}; itself if it is."
    return convert


def cpu(self: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor itself: it is on the CPU. ``NotImplementedError`` if it has no values."""
    if is_absent(self):
        raise NotImplementedError(NO_DATA)
    return self


def cuda(
    self: Tensor, device: Any = None, non_blocking: bool = False, memory_format: Any = None
) -> Tensor:
    """``AssertionError``: computation is on the CPU here."""
    raise AssertionError("Torch not compiled with CUDA enabled")


def contiguous(self: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor itself if its elements lie in row-major order, else a copy where they do."""
    if memory_format is preserve_format and not self.is_contiguous():
        raise RuntimeError("preserve memory format is unsupported by the contiguous operator")
    if memory_format is not None:
        order_of(self, memory_format)
    if self.is_contiguous(memory_format):
        return self
    if self._meta.order is not None or order_of(self, memory_format) is not None:
        return laid_out(self, memory_format)
    laid = _laid_out(self)
    return clone(self) if laid is None else laid


# ----------------------------------------------------------------------------- like this one


def _new(name: str) -> Callable:
    def new(
        self: Tensor,
        *size: Any,
        dtype: dtypes.dtype | None = None,
        device: Any = None,
        requires_grad: bool = False,
        layout: Any = None,
        pin_memory: bool = False,
        **named: Any,
    ) -> Tensor:
        make = getattr(creation, name)
        place = making.device_of(self, device)
        return make(
            *size, dtype=dtype or self.dtype, device=place, requires_grad=requires_grad, **named
        )

    new.__name__ = new.__qualname__ = f"new_{name}"
    new.__doc__ = f"``{name}`` with the dtype of this tensor."
    return new


def new_full(
    self: Tensor,
    size: Any,
    fill_value: Any,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """``full`` with the dtype of this tensor."""
    place = making.device_of(self, device)
    return creation.full(
        size, fill_value, dtype=dtype or self.dtype, device=place, requires_grad=requires_grad
    )


def new_tensor(
    self: Tensor,
    data: Any,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor of ``data`` with the dtype of this one."""
    place = making.device_of(self, device)
    return creation.tensor(
        data, dtype=dtype or self.dtype, device=place, requires_grad=requires_grad
    )


def new(self: Tensor, *args: Any, device: Any = None) -> Tensor:
    """A tensor of this one's dtype: of a shape, of data, or empty."""
    if not args:
        return creation.empty(0, dtype=self.dtype)
    if len(args) == 1 and not isinstance(args[0], (int, Tensor)) and hasattr(args[0], "__len__"):
        from flambeau.tensor import Size

        if not isinstance(args[0], Size):
            return creation.tensor(args[0], dtype=self.dtype)
    return creation.empty(*args, dtype=self.dtype)


def new_empty_strided(
    self: Tensor,
    size: Any,
    stride: Any,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Uninitialised memory of a shape and strides, of this tensor's dtype."""
    place = making.device_of(self, device)
    return creation.empty_strided(
        size, stride, dtype=dtype or self.dtype, device=place, requires_grad=requires_grad
    )


# ---------------------------------------------------------------------- a Python function on all


def _writable(self: Tensor, name: str) -> None:
    if self.requires_grad:
        raise RuntimeError(
            f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}() "
            "instead."
        )


def apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Replaces each element by what a Python function makes of it; gives the tensor back."""
    _writable(self, "apply_")
    values = self._value()._array()
    flat = [callable(v) for v in values.reshape(-1).tolist()]
    new = np.array(flat, values.dtype).reshape(values.shape)
    return self.copy_(making.made(new, self.dtype, False))


def map_(self: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Replaces each element by a Python function of it and that of another tensor."""
    _writable(self, "map_")
    _need_tensor("map_", tensor, "other")
    if self.dtype is not tensor.dtype:
        raise TypeError(f"map_: expected {self.dtype} for 'tensor', got {tensor.dtype}")
    values = self._value()._array()
    others = np.broadcast_to(tensor._value()._array(), values.shape)
    pairs = zip(values.reshape(-1).tolist(), others.reshape(-1).tolist(), strict=True)
    new = np.array([callable(a, b) for a, b in pairs], values.dtype).reshape(values.shape)
    return self.copy_(making.made(new, self.dtype, False))


METHODS: dict[str, Callable] = {
    "to": to,
    "type": type,
    "type_as": type_as,
    "cpu": cpu,
    "cuda": cuda,
    "contiguous": contiguous,
    "new": new,
    "new_tensor": new_tensor,
    "new_full": new_full,
    "new_zeros": _new("zeros"),
    "new_ones": _new("ones"),
    "new_empty": _new("empty"),
    "new_empty_strided": new_empty_strided,
    "apply_": apply_,
    "map_": map_,
    **{
        name: _to_dtype(name, dtype)
        for name, dtype in (
            ("double", dtypes.float64),
            ("float", dtypes.float32),
            ("half", dtypes.float16),
            ("bfloat16", dtypes.bfloat16),
            ("long", dtypes.int64),
            ("int", dtypes.int32),
            ("short", dtypes.int16),
            ("char", dtypes.int8),
            ("byte", dtypes.uint8),
            ("bool", dtypes.bool_),
            ("cfloat", dtypes.complex64),
            ("cdouble", dtypes.complex128),
        )
    },
}


SAMPLES = {
    "Tensor.to": "x, torch.float64; x, torch.int64; i, 'cpu'; x, 'cpu', torch.float16; x, i; x, x;"
    "x, dtype=torch.complex64; x, torch.float32, copy=True; c, torch.complex128; x, float;"
    "!x, 'nowhere'; !x, x, x; !x, torch.int64, 'cpu'",
    "Tensor.type": "x; i; half; x, torch.float64; x, 'torch.IntTensor'; x, torch.DoubleTensor;"
    "!x, 'torch.NoTensor'",
    "Tensor.type_as": "x, i; i, x; x, y; x, c; !x, 1",
    "Tensor.cpu": "x; i",
    "Tensor.cuda": "!x; !i",
    "Tensor.contiguous": "x; x.t(); x[:, ::2]; s; image, memory_format=torch.contiguous_format",
    "Tensor.new": "x, 0; i, 2, 0; x; x, [1, 2]; x, [[1.5], [2.5]]",
    "Tensor.new_tensor": "x, [1, 2]; i, [1.5, 2.5]; x, 3; x, [1], dtype=torch.int32; !x; !x, 'a'",
    "Tensor.new_full": "x, (2, 3), 1.5; i, (2,), 2; i, (2,), 1, dtype=torch.float64; x, (), 3;"
    "!x, (2,); !x, (-1,), 0",
    "Tensor.new_zeros": "x, 2, 3; i, (2,); x, (), dtype=torch.bool; x, 0; !x, -1; !x, 1.5",
    "Tensor.new_ones": "x, 2, 3; i, (2,); x, (), dtype=torch.bool; x, 0; !x, -1; !x, 1.5",
    "Tensor.new_empty": "x, 0, 3; i, (0,); x, (2, 0), dtype=torch.bool; !x, -1; !x, 1.5",
    "Tensor.new_empty_strided": "x, (0, 3), (3, 1); i, (2, 0), (1, 2), dtype=torch.float64;"
    "!x, (2, 3), (3,); !x, (2,), (-1,)",
    "Tensor.apply_": "torch.arange(4.0), lambda a: 2 * a + 1; i, abs; truth, lambda a: not a;!x, 2",
    "Tensor.map_": "torch.zeros(3, 4), y.detach(), lambda a, b: a + 2 * b; i, j, max;"
    "!i, torch.zeros(3, 4), max; !i, 2, max",
    "Tensor.double": "x; i; half; truth",
    "Tensor.float": "x; i; c.real; half; x.double()",
    "Tensor.half": "x; i; half; big.double()",
    "Tensor.bfloat16": "x; i; big.double()",
    "Tensor.long": "x; big; truth; small",
    "Tensor.int": "x; big; i; truth",
    "Tensor.short": "x; big; i; truth",
    "Tensor.char": "x; big; i; truth",
    "Tensor.byte": "positive; small; place; truth",
    "Tensor.bool": "x; i; special; c; small",
    "Tensor.cfloat": "x; i; c; c.to(torch.complex128)",
    "Tensor.cdouble": "x; i; c; truth",
}
