"""Storages and tensors, rebuilt from what a pickle says of them."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import dtypes, layouts
from ..device import device
from . import bridge
from .names import StorageType

if TYPE_CHECKING:
    from collections.abc import Callable

State = dict[str, object]


class LoadedStorage:
    """The memory that tensors of a file share; what a callable ``map_location`` is given."""

    def __init__(
        self, kind: StorageType, raw: np.ndarray, location: str, swapped: bool = False
    ) -> None:
        self.kind = kind
        self.raw = raw
        self.location = location
        self._swapped = swapped
        self._typed: dict[str, np.ndarray] = {}
        self._waiting: list[Callable[[], None]] | None = None

    def flat(self, dtype: dtypes.dtype) -> np.ndarray:
        """The elements: one array for each type, the same one at every call."""
        found = self._typed.get(dtype.name)
        if found is None:
            raw = self.raw
            if raw.ctypes.data % dtype.itemsize:
                raw = raw.copy()  # a mapped file that does not align its records
            # Over a buffer, not over an array: views of the result then have it as their base, by
            # which tensors that share it are told.
            found = (
                np.frombuffer(memoryview(raw), dtype.numpy) if raw.size else raw.view(dtype.numpy)
            )
            self._typed[dtype.name] = found
            if self._swapped:
                part = dtype.itemsize // 2 if dtype.is_complex else dtype.itemsize
                raw.view(f"u{part}").byteswap(inplace=True)
        return found

    def await_contents(self) -> None:
        """Says that the bytes are not there yet: the old format has them at its end."""
        self._waiting = []

    def fill(self, data: bytes) -> None:
        """Gives a storage that awaits its contents what it awaits."""
        self.raw[:] = np.frombuffer(data, np.uint8)
        waiting, self._waiting = self._waiting or [], None
        for action in waiting:
            action()

    def when_filled(self, action: Callable[[], None]) -> None:
        """Runs ``action`` once the bytes are there: now, as a rule."""
        if self._waiting is None:
            action()
        else:
            self._waiting.append(action)

    def cpu(self) -> LoadedStorage:
        """This storage: it is in main memory."""
        return self

    def cuda(self, device: object = None, non_blocking: bool = False) -> LoadedStorage:
        """Refused: storages are loaded into main memory."""
        raise RuntimeError("load puts storages into main memory; move the tensors afterwards")

    def nbytes(self) -> int:
        """The size in bytes."""
        return self.raw.nbytes


def rebuild_tensor(
    storage: LoadedStorage, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
) -> object:
    """A strided tensor over a typed storage (``torch._utils._rebuild_tensor``)."""
    return rebuild_tensor_v2(storage, offset, size, stride, False, None)


def rebuild_tensor_v2(
    storage: LoadedStorage,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    requires_grad: bool,
    backward_hooks: object,
    metadata: State | None = None,
    cls: type | None = None,
) -> object:
    """The same, with its gradient's flag and pending conjugation or negation."""
    if not isinstance(storage, LoadedStorage) or storage.kind.dtype is None:
        raise pickle.UnpicklingError("corrupt file: a tensor without a typed storage")
    return _strided(storage, storage.kind.dtype, offset, size, stride, requires_grad, metadata, cls)


def rebuild_tensor_v3(
    storage: LoadedStorage,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    requires_grad: bool,
    backward_hooks: object,
    dtype: dtypes.dtype,
    metadata: State | None = None,
    cls: type | None = None,
) -> object:
    """The same, over a storage of plain bytes."""
    if not isinstance(storage, LoadedStorage) or not isinstance(dtype, dtypes.dtype):
        raise pickle.UnpicklingError("corrupt file: a tensor without a storage or a type")
    return _strided(storage, dtype, offset, size, stride, requires_grad, metadata, cls)


def _strided(
    storage: LoadedStorage,
    dtype: dtypes.dtype,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    requires_grad: bool,
    metadata: State | None,
    cls: type | None,
) -> object:
    flat = storage.flat(dtype)
    _check_bounds(flat, offset, size, stride)
    if metadata and (metadata.get("conj") or metadata.get("neg")):
        # PyTorch marks the view; here the values are worked out, in memory of their own.
        steps = [n * flat.itemsize for n in stride]
        view = np.lib.stride_tricks.as_strided(flat[offset:], size, steps, writeable=False)
        result = np.empty(size, flat.dtype)

        def work_out() -> None:
            values = np.conj(view) if metadata.get("conj") else view
            result[...] = -values if metadata.get("neg") else values

        storage.when_filled(work_out)
        flat, offset = result.reshape(-1), 0
        stride = tuple(n // flat.itemsize for n in result.strides)
    return bridge.build(flat, offset, tuple(size), tuple(stride), bool(requires_grad), cls)


def _check_bounds(flat: np.ndarray, offset: int, size: object, stride: object) -> None:
    """Refuses a view that would reach outside its storage: the file is not to be trusted."""
    pair = isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride)
    if not pair or any(type(n) is not int or n < 0 for n in (offset, *size, *stride)):
        raise RuntimeError(
            f"corrupt file: a tensor with size {size}, stride {stride} and offset {offset}"
        )
    needed = 0
    if 0 not in size:
        needed = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1
    if needed > flat.size:
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {offset}, and "
            f"itemsize {flat.itemsize} requiring a storage size of {needed * flat.itemsize} are "
            f"out of bounds for storage of size {flat.nbytes}"
        )


def rebuild_parameter(data: object, requires_grad: bool, backward_hooks: object) -> object:
    """A parameter of a module."""
    if not isinstance(data, bridge.tensor_type()):
        raise pickle.UnpicklingError("corrupt file: a parameter without a tensor")
    return bridge.parameter_type()(data, bool(requires_grad))


def rebuild_parameter_with_state(
    data: object, requires_grad: bool, backward_hooks: object, state: object
) -> object:
    """A parameter with the attributes a user set on it."""
    parameter = rebuild_parameter(data, requires_grad, backward_hooks)
    _set_state(parameter, state)
    return parameter


def rebuild_from_type(
    rebuild: object, cls: type, arguments: tuple[object, ...], state: object
) -> object:
    """A tensor of a subclass, or with attributes of its own."""
    if rebuild not in _REBUILDERS or not isinstance(cls, type):
        raise pickle.UnpicklingError("corrupt file: a tensor subclass rebuilt in an unknown way")
    if not issubclass(cls, bridge.tensor_type()):
        raise pickle.UnpicklingError(f"corrupt file: {cls.__name__} is not a kind of tensor")
    tensor = rebuild(*arguments, cls=cls)
    _set_state(tensor, state)
    return tensor


_REBUILDERS = (rebuild_tensor_v2, rebuild_tensor_v3)


def _set_state(tensor: object, state: object) -> None:
    """Sets a user's attributes; what the class itself defines is not for a file to replace."""
    internal = bridge.internal_names()
    parts = state if isinstance(state, tuple) else (state,)
    for part in parts:
        if not part:
            continue
        if not isinstance(part, dict):
            raise pickle.UnpicklingError("corrupt file: a tensor's attributes are not a dictionary")
        for name, value in part.items():
            if name in internal or not isinstance(name, str) or hasattr(type(tensor), name):
                raise pickle.UnpicklingError(f"the file sets the tensor attribute {name!r}")
            setattr(tensor, name, value)


def encode(text: str, encoding: str) -> bytes:
    """How protocol 2 spells ``bytes``: the only use of ``_codecs.encode`` in a pickle of data."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"the file asks for the codec {encoding!r}")
    return text.encode("latin1")


def empty_bytes() -> bytes:
    """How protocol 2 spells ``b""``."""
    return b""


def get_layout(name: str) -> object:
    """A layout of tensors by its name, such as ``torch.sparse_coo``."""
    found = _LAYOUTS.get(name.removeprefix("torch."))
    if found is None:
        raise pickle.UnpicklingError(f"the file asks for the layout {name}, which is not supported")
    return found


_LAYOUTS = {
    each._name: each
    for each in (
        layouts.strided,
        layouts.sparse_coo,
        layouts.sparse_csr,
        layouts.sparse_csc,
        layouts.sparse_bsr,
        layouts.sparse_bsc,
    )
}


def rebuild_sparse(layout: layouts.layout, parts: tuple[Any, ...]) -> object:
    """A sparse tensor of its indices, values and size (``torch._utils._rebuild_sparse_tensor``)."""
    from ..sparse import rebuild

    return rebuild(layout, parts)


def functions() -> dict[tuple[str, str], object]:
    """What a file of plain data may call: a closed list, by the names PyTorch gives them."""
    return {
        ("torch._utils", "_rebuild_tensor"): rebuild_tensor,
        ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor_v2,
        ("torch._utils", "_rebuild_tensor_v3"): rebuild_tensor_v3,
        ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
        ("torch._utils", "_rebuild_parameter_with_state"): rebuild_parameter_with_state,
        ("torch._tensor", "_rebuild_from_type_v2"): rebuild_from_type,
        ("torch._utils", "_rebuild_sparse_tensor"): rebuild_sparse,
        ("torch.serialization", "_get_layout"): get_layout,
        ("torch", "device"): device,
        ("torch", "Size"): bridge.size_type(),
        ("_codecs", "encode"): encode,
        ("builtins", "bytes"): empty_bytes,
    }


def types() -> dict[tuple[str, str], object]:
    """The tensor classes a file may name."""
    return {
        ("torch", "Tensor"): bridge.tensor_type(),
        ("torch.nn.parameter", "Parameter"): bridge.parameter_type(),
    }
