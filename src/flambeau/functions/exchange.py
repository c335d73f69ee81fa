"""Tensors from other libraries' memory: arrays, DLPack, the buffer protocol."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.dtypes import dtype
from flambeau.functions.creation import as_tensor, from_numpy, tensor
from flambeau.record.trace import defaults
from flambeau.tensor import Tensor


def asarray(
    obj: Any,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool | None = None,
) -> Tensor:
    """``obj`` as a tensor, on its memory where that is possible and ``copy`` is not True.

    ``obj``: a tensor, an array, an object with ``__dlpack__`` or the buffer protocol, whose bytes
    are read as ``dtype`` (by default the default dtype), a number or nested sequences. Without
    ``requires_grad`` a tensor keeps its history.

    Raises ``ValueError`` with ``copy=False`` where memory cannot be shared.

    >>> import array
    >>> asarray(array.array("f", [1.0, 2.0]))
    tensor([1., 2.])
    """
    if isinstance(obj, np.generic) and copy is False:
        raise RuntimeError(
            "can't alias NumPy scalars. Either remove copy=False or transform it in a ndarray. "
        )
    if isinstance(obj, Tensor):
        t = obj
    elif isinstance(obj, np.ndarray):
        t = tensor(obj) if copy else as_tensor(obj)
    elif hasattr(obj, "__dlpack__"):
        t = from_dlpack(obj)
    elif isinstance(obj, np.generic) or not _has_buffer(obj):
        if copy is False:
            raise ValueError("can't alias arbitrary sequence into a tensor.")
        t = tensor(obj, dtype=dtype, device=device)
    else:
        t = frombuffer(obj, dtype=defaults.dtype if dtype is None else dtype)
    if dtype is not None and t.dtype is not dtype:
        if copy is False:
            raise ValueError(
                f"can't alias tensor with dtype {t.dtype} into dtype {dtype}: the elements differ."
            )
        t = t.to(dtype)
    elif copy and (isinstance(obj, Tensor) or not isinstance(obj, np.ndarray)):
        t = t.clone()
    if device is not None:
        t = t.to(device)
    if requires_grad is None:
        return t
    if t.requires_grad and not requires_grad:
        return t.requires_grad_(False) if obj is t and t.is_leaf else t.detach()
    return t.requires_grad_() if requires_grad and not t.requires_grad else t


def _has_buffer(obj: Any) -> bool:
    try:
        memoryview(obj)
    except TypeError:
        return False
    return True


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
        if type(ext_tensor).__name__ != "PyCapsule":
            raise RuntimeError(
                "from_dlpack received an invalid capsule: expected an object with __dlpack__ or a "
                f"DLPack capsule, got {type(ext_tensor).__name__}"
            )
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
    if not isinstance(filename, str):
        raise TypeError(
            "from_file(): argument 'filename' (position 1) must be str, not "
            f"{type(filename).__name__}"
        )
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
    try:
        view = memoryview(buffer)
    except TypeError:
        raise ValueError("object does not implement Python buffer protocol.") from None
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


SAMPLES = {
    "asarray": "[1, 2.5]; x; x, dtype=torch.float64; np.ones(3), copy=True; x, copy=True; 3j;"
    "[1.0], requires_grad=True; bytearray(8), dtype=torch.int16; np.arange(6.0)[::2];"
    "memoryview(np.arange(3.0)), dtype=torch.float64; x, requires_grad=False; x * 2, copy=True;"
    "x, dtype=torch.float64, requires_grad=True; np.float32(3); bytearray(b'abcd'), copy=True;"
    "![1, 2], copy=False; !np.float32(3), copy=False; !x, dtype=torch.float64, copy=False;"
    "!bytearray(5), dtype=torch.int16; !'text'",
    "from_dlpack": "np.arange(4); x.detach(); i; np.ones((2, 3), np.float32)[:, ::2]; ![1, 2]; !3",
    "from_file": "!'/nowhere', size=3; !3",
    "frombuffer": "bytearray(8), dtype=torch.int32; bytearray(b'abcd'), dtype=torch.uint8, count=2;"
    "bytearray(b'abcdef'), dtype=torch.int8, offset=3; !bytearray(7), dtype=torch.int32;"
    "!bytearray(0), dtype=torch.uint8; !bytearray(4), dtype=torch.uint8, count=9;"
    "!3, dtype=torch.int8",
    "to_dlpack": "!2",
}
