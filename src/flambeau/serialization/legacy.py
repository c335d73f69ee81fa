"""The layout of ``.pt`` files from before PyTorch 1.6: pickles in a row, then the storages."""

from __future__ import annotations

import dataclasses
import pickle
import struct
import sys
from typing import IO, TYPE_CHECKING

from .archive import TruncatedFileError, write_all

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from .rebuild import LoadedStorage

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001


@dataclasses.dataclass(frozen=True)
class SavedStorage:
    """The bytes of a storage, under the key by which the pickle names it."""

    key: str
    itemsize: int
    raw: np.ndarray


def write(stream: IO[bytes], pickled: bytes, storages: list[SavedStorage]) -> None:
    """Writes a pickle whose storages are named by keys, and each key's bytes."""
    _check_byte_order()
    system = {
        "protocol_version": PROTOCOL_VERSION,
        "little_endian": sys.byteorder == "little",
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    for head in (MAGIC_NUMBER, PROTOCOL_VERSION, system):
        write_all(stream, pickle.dumps(head, protocol=2))
    write_all(stream, pickled)
    write_all(stream, pickle.dumps([storage.key for storage in storages], protocol=2))
    for storage in storages:
        write_all(stream, struct.pack("=q", storage.raw.nbytes // storage.itemsize))
        write_all(stream, memoryview(storage.raw))


class PickleStream:
    """A stream for unpicklers that says so when it ends early, and is read no further than asked.

    What an unpickler does at an unexpected end depends on the opcode; and one that sees ``peek``
    reads ahead, past the pickle it is asked for.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes."""
        data = self._stream.read(size)
        if len(data) < size:
            raise TruncatedFileError("the file is cut short, within its pickle")
        return data

    def readline(self) -> bytes:
        """A whole line."""
        line = self._stream.readline()
        if not line.endswith(b"\n"):
            raise TruncatedFileError("the file is cut short, within its pickle")
        return line


def read_head(unpickle: Callable[[], object]) -> None:
    """Checks the three pickles a file starts with."""
    _check_byte_order()
    if unpickle() != MAGIC_NUMBER:
        raise RuntimeError("Invalid magic number; corrupt file?")
    version = unpickle()
    if version != PROTOCOL_VERSION:
        raise RuntimeError(f"Invalid protocol version: {version}")
    unpickle()  # the writer's system; PyTorch reads it and does nothing with it


def read_storages(stream: IO[bytes], keys: object, storages: dict[str, LoadedStorage]) -> None:
    """Fills the storages that the pickle named, in the order the file holds them."""
    if not isinstance(keys, list) or set(storages) != set(keys):
        raise RuntimeError("corrupt file: the storages it names are not those it holds")
    for key in keys:
        storage = storages[key]
        head = stream.read(8)
        if len(head) < 8:
            raise TruncatedFileError("the file is cut short: a storage is missing")
        (count,) = struct.unpack("<q", head)
        if count * storage.kind.itemsize != storage.raw.nbytes:
            raise RuntimeError(f"corrupt file: storage {key} has {count} elements, not as named")
        data = stream.read(storage.raw.nbytes)
        if len(data) < storage.raw.nbytes:
            raise TruncatedFileError("the file is cut short: a storage is incomplete")
        storage.fill(data)


def _check_byte_order() -> None:
    if sys.byteorder != "little":
        raise RuntimeError(
            "the format from before PyTorch 1.6 is little-endian; this machine is not"
        )
