"""What a new tensor is made from: device checks, and Python data as an array of the right dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.device import device as Device
from flambeau.ir.scalars import fitted
from flambeau.record.absent import absent, is_absent
from flambeau.record.meta import meta
from flambeau.record.trace import defaults
from flambeau.tensor import Tensor, concrete


def check_device(device: Any) -> None:
    """Refuses devices that this machine lacks."""
    if device is None:
        return
    d = device if isinstance(device, Device) else Device(device)
    if d.type == "cuda":
        raise AssertionError("Torch not compiled with CUDA enabled")
    if d.type not in ("cpu", "meta"):
        raise RuntimeError(f"PyTorch is not linked with support for {d.type} devices")


# Where tensors are made when no device is named: None, or one that is no other than the CPU.
default_device: list[Any] = [None]


def is_meta(device: Any) -> bool:
    """Whether a tensor made on this device (None: where none is named) has no values."""
    if device is None:
        device = default_device[0]
        if device is None:
            return False
    return (device if isinstance(device, Device) else Device(device)).type == "meta"


def hollow(shape: tuple[int, ...], dtype: dtypes.dtype) -> np.ndarray:
    """An array of this shape that takes no memory, to make a tensor without values of."""
    return np.broadcast_to(np.zeros((), dtype.numpy), shape)


def device_of(t: Tensor, device: Any) -> Any:
    """The device to make a tensor on that is to be like ``t``, unless ``device`` is named."""
    if device is not None:
        return device
    return t.device if is_absent(t) or default_device[0] is not None else None


def made(array: np.ndarray, dtype: dtypes.dtype, requires_grad: bool, device: Any = None) -> Tensor:
    """A fresh tensor on an array that is its own; without values on the meta device."""
    if device is None:
        device = default_device[0]
    if device is not None:
        check_device(device)
        if is_meta(device):
            if requires_grad and dtype.category < 2:
                raise RuntimeError(
                    "Only Tensors of floating point and complex dtype can require gradients"
                )
            return absent(meta(array.shape, dtype, requires_grad))
    if requires_grad and dtype.category < 2:
        raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
    return concrete(array, dtype, requires_grad)


def _python_dtype(data: Any) -> dtypes.dtype | None:
    """The dtype of nested sequences of Python numbers; None for NumPy to decide."""
    kinds = set()
    stack = [data]
    while stack:
        x = stack.pop()
        if isinstance(x, (list, tuple)):
            stack.extend(x)
        elif isinstance(x, Tensor):
            kinds.add(x.dtype)
        elif isinstance(x, (np.ndarray, np.generic)):
            kinds.add(dtypes.from_numpy_dtype(x.dtype))
        elif isinstance(x, (bool, int, float, complex)):
            kinds.add(dtypes.of_number(x, defaults.dtype))
        elif hasattr(x, "__index__"):
            kinds.add(dtypes.int64)
        elif hasattr(x, "__float__"):
            kinds.add(defaults.dtype)
        else:
            name = type(x).__name__
            if isinstance(x, str):
                raise TypeError(f"new(): invalid data type '{name}'")
            raise RuntimeError(f"Could not infer dtype of {name}")
    return dtypes.promote_all(kinds) if kinds else defaults.dtype


def to_array(data: Any, dtype: dtypes.dtype | None) -> tuple[np.ndarray, dtypes.dtype]:
    """A private array with the values of ``data``."""
    if isinstance(data, Tensor):
        array = data._value()._array()
        dtype = dtype or data.dtype
    elif isinstance(data, (np.ndarray, np.generic)):
        array = np.asarray(data)
        dtype = dtype or dtypes.from_numpy_dtype(array.dtype)
    elif isinstance(data, (bool, int, float, complex)):
        dtype = dtype or dtypes.of_number(data, defaults.dtype)
        array = np.asarray(data)
    elif isinstance(data, (list, tuple, range)):
        data = list(data) if isinstance(data, range) else data
        dtype = dtype or _python_dtype(data)
        array = _nested(data, dtype)
    elif hasattr(data, "__array__") or hasattr(data, "__array_interface__"):
        array = np.asarray(data)
        dtype = dtype or dtypes.from_numpy_dtype(array.dtype)
    elif isinstance(data, (str, dict)) or data is None:
        raise (
            TypeError(f"new(): invalid data type '{type(data).__name__}'")
            if isinstance(data, str)
            else RuntimeError(f"Could not infer dtype of {type(data).__name__}")
        )
    elif hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        return to_array([data[i] for i in range(len(data))], dtype)
    else:
        raise RuntimeError(f"Could not infer dtype of {type(data).__name__}")
    if dtype is dtypes.bool_ and array.dtype.kind != "b":
        return np.array(array != 0), dtype
    if array.dtype.kind == "c" and not dtype.is_complex:
        raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow")
    if array.dtype.kind == "f" and dtype.category == 1 and array.size:
        if isinstance(data, (float, list, tuple)):
            for value in (array.min(), array.max()):
                fitted(float(value), dtype)
        return np.array(np.trunc(array).astype(dtype.numpy), order="C"), dtype
    if (
        array.dtype.kind in "iu"
        and dtype.category == 1
        and array.size
        and isinstance(data, (int, list, tuple))
    ):
        info = np.iinfo(dtype.numpy)
        # Negative numbers wrap around in unsigned dtypes.
        if array.min() < (info.min or -info.max) or array.max() > info.max:
            raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow")
    return np.array(array.astype(dtype.numpy, copy=True), order="C"), dtype


def _nested(data: Any, dtype: dtypes.dtype) -> np.ndarray:
    """An array of nested sequences, checked for raggedness."""
    shape = []
    x = data
    while isinstance(x, (list, tuple)):
        shape.append(len(x))
        if not x:
            break
        x = x[0]
    if isinstance(x, (Tensor, np.ndarray)) and getattr(x, "ndim", 0):
        parts = [to_array(y, None)[0] for y in _flat(data, len(shape))]
        for p in parts:
            if p.shape != parts[0].shape:
                raise ValueError(
                    f"expected sequence of length {len(parts[0])} at dim {len(shape)} "
                    f"(got {len(p)})"
                )
        return np.stack(parts).reshape((*shape, *parts[0].shape)).astype(dtype.numpy)
    stack = [(data, 0)]
    while stack:
        y, depth = stack.pop()
        if depth < len(shape):
            if not isinstance(y, (list, tuple)):
                raise TypeError(f"not a sequence: {type(y).__name__}")
            if len(y) != shape[depth]:
                raise ValueError(
                    f"expected sequence of length {shape[depth]} at dim {depth} (got {len(y)})"
                )
            if depth + 1 < len(shape):
                stack.extend((z, depth + 1) for z in y)
            else:
                for z in y:
                    if isinstance(z, (list, tuple)):
                        raise TypeError(f"must be real number, not {type(z).__name__}")
    if isinstance(x, Tensor) or _has_tensor(data):
        flat = [z.item() if isinstance(z, Tensor) else z for z in _flat(data, len(shape))]
        return np.array(flat).reshape(shape)
    if 0 in shape:
        return np.empty(shape, dtype.numpy)
    kind = None
    if dtype.category == 2:
        kind = np.float64
    elif dtype.category == 3:
        kind = np.complex128
    try:
        return np.array(data, dtype=kind)
    except (TypeError, ValueError) as e:
        raise TypeError(str(e)) from None


def _has_tensor(data: Any) -> bool:
    stack = [data]
    while stack:
        x = stack.pop()
        if isinstance(x, (list, tuple)):
            stack.extend(x)
        elif isinstance(x, Tensor):
            return True
    return False


def _flat(data: Any, depth: int) -> list[Any]:
    for _ in range(depth - 1):
        data = [y for x in data for y in x]
    return list(data)
