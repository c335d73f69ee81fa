"""Tensors from other libraries' memory: DLPack and the buffer protocol."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from flambeau.dtypes import dtype
from flambeau.functions.creation import from_numpy
from flambeau.record.trace import defaults
from flambeau.tensor import Tensor


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor on the memory of an object with ``__dlpack__``, or of a DLPack capsule's owner.

    Raises ``BufferError`` for memory that is not on the CPU.

    >>> import numpy as np
    >>> from_dlpack(np.ones(2))
    tensor([1., 1.], dtype=torch.float64)
    """
    if isinstance(ext_tensor, Tensor):
        return ext_tensor.clone() if copy else ext_tensor.detach()
    if not hasattr(ext_tensor, "__dlpack__"):
        ext_tensor = _Capsule(ext_tensor)
    array = np.from_dlpack(ext_tensor)
    if copy:
        return from_numpy(array.copy())
    if not array.flags.writeable:
        array = _writeable(array)
    return from_numpy(array)


def from_file(
    filename: str,
    shared: bool | None = None,
    size: int | None = 0,
    *,
    dtype: dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool | None = False,
    requires_grad: bool = False,
) -> Tensor:
    """The first ``size`` elements of a file, mapped: what is written reaches it if ``shared``.

    A shared file is made, or made longer, where it must be. Raises ``RuntimeError`` for one that
    is too short otherwise, or that cannot be opened.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = file.write(bytes([1, 2, 3])), file.flush()
    ...     x = from_file(file.name, size=2, dtype=uint8)
    >>> x
    tensor([1, 2], dtype=torch.uint8)
    """
    kind = dtype or defaults.dtype
    count = size or 0
    if not count:
        return from_numpy(np.empty(0, kind.numpy)).requires_grad_(requires_grad)
    wanted = count * kind.itemsize
    try:
        if shared and (not os.path.exists(filename) or os.path.getsize(filename) < wanted):
            with open(filename, "ab") as file:
                file.truncate(wanted)
        found = os.path.getsize(filename)
        if found < wanted:
            raise RuntimeError(
                f"file <{filename}> has a size of {found} bytes, of which {wanted} are wanted"
            )
        mapped = np.memmap(filename, np.uint8, "r+" if shared else "c", shape=(wanted,))
    except OSError as error:
        raise RuntimeError(f"unable to open file <{filename}>: {error}") from error
    bits = from_numpy(np.asarray(mapped))
    made = bits if kind is bits.dtype else bits.view(kind)
    return made.requires_grad_(requires_grad)


class _Capsule:
    """A bare DLPack capsule, as older producers hand it over."""

    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __dlpack__(self, **options: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


def _writeable(array: np.ndarray) -> np.ndarray:
    """The same memory through a writeable array: DLPack memory is the importer's to write."""
    interface = dict(array.__array_interface__)
    interface["data"] = (interface["data"][0], False)
    holder = type("_Memory", (), {"__array_interface__": interface, "owner": array})()
    return np.asarray(holder)


def frombuffer(
    buffer: Any,
    *,
    dtype: dtype,
    count: int = -1,
    offset: int = 0,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor on the memory of a buffer.

    Raises ``ValueError`` if the buffer is too short or not a whole number of elements.

    >>> frombuffer(bytearray(b"\\x01\\x02"), dtype=torch.uint8)
    tensor([1, 2], dtype=torch.uint8)
    """
    view = memoryview(buffer)
    length = view.nbytes - offset
    if view.nbytes == 0 or count == 0:
        raise ValueError(f"both buffer length ({view.nbytes}) and count ({count}) must not be 0")
    if not 0 <= offset < view.nbytes:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length "
            f"({view.nbytes} bytes) minus 1"
        )
    size = dtype.itemsize
    if count < 0:
        if length % size:
            raise ValueError(
                f"buffer length ({length} bytes) after offset ({offset} bytes) must be a multiple "
                f"of element size ({size})"
            )
        count = length // size
    if count * size > length:
        raise ValueError(
            f"requested buffer length ({count} * {size} bytes) after offset ({offset} bytes) must "
            f"not be greater than actual buffer length ({view.nbytes} bytes)"
        )
    array = np.frombuffer(buffer, np.uint8, count * size, offset).view(dtype.numpy)
    t = from_numpy(array)
    return t.requires_grad_() if requires_grad else t


def to_dlpack(tensor: Tensor) -> Any:
    """A DLPack capsule of a tensor's memory."""
    return tensor.__dlpack__()
