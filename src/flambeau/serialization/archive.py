"""The container of a ``.pt`` file: an uncompressed zip with aligned records."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import struct
import zipfile
import zlib
from typing import IO, Any

import numpy as np

ALIGNMENT = 64
MAGIC = b"PK\x03\x04"

_CHUNK = 1 << 24
_LIMIT_32 = 0xFFFFFFFF
_LIMIT_16 = 0xFFFF
_UTF8 = 1 << 11
_DATE_1980_01_01 = (0, 0x21)  # fixed, so that equal contents make equal files


class TruncatedFileError(RuntimeError, EOFError):
    """A file ends before its contents do, or its directory is damaged."""


@dataclasses.dataclass(frozen=True)
class _Record:
    name: bytes
    offset: int
    size: int
    crc: int


class ArchiveWriter:
    """Writes records one after the other: needs only ``write``, never seeks.

    The payload of every record starts at a multiple of 64 bytes (so that it can be mapped into
    memory); the gap is an extra field "FB" of its header, as in PyTorch's files. Layout: APPNOTE
    6.3.10, with its zip64 fields where 32 bits are too few.
    """

    def __init__(self, stream: IO[bytes], folder: str) -> None:
        self._stream = stream
        self._folder = folder
        self._position = 0
        self._records: list[_Record] = []

    def add(self, name: str, data: bytes | memoryview) -> None:
        """Appends the record ``folder/name``."""
        view = memoryview(data).cast("B")
        path = f"{self._folder}/{name}".encode()
        record = _Record(path, self._position, view.nbytes, zlib.crc32(view))
        large = struct.pack("<HHQQ", 1, 16, view.nbytes, view.nbytes)
        extra = large if view.nbytes >= _LIMIT_32 else b""
        start = self._position + 30 + len(path) + len(extra) + 4
        padding = -start % ALIGNMENT
        extra += struct.pack("<2sH", b"FB", padding) + b"Z" * padding
        size = min(view.nbytes, _LIMIT_32)
        self._write(
            MAGIC
            + struct.pack("<HHHHH", 45 if size == _LIMIT_32 else 20, _UTF8, 0, *_DATE_1980_01_01)
            + struct.pack("<IIIHH", record.crc, size, size, len(path), len(extra))
            + path
            + extra
        )
        self._write(view)
        self._records.append(record)

    def finish(self) -> None:
        """Appends PyTorch's closing records and the directory."""
        self.add("version", b"3\n")
        names, contents = hashlib.blake2b(digest_size=8), hashlib.blake2b(digest_size=8)
        for record in self._records:
            names.update(record.name)
            contents.update(record.crc.to_bytes(4, "little"))
        numbers = (int.from_bytes(h.digest(), "little") for h in (names, contents))
        self.add(".data/serialization_id", "".join(f"{n:020d}" for n in numbers).encode())
        start = self._position
        for record in self._records:
            self._write(_directory_entry(record))
        self._write(_directory_end(start, self._position - start, len(self._records)))

    def _write(self, data: bytes | memoryview) -> None:
        write_all(self._stream, data)
        self._position += len(data)


def _directory_entry(record: _Record) -> bytes:
    wide = [n for n in (record.size, record.size, record.offset) if n >= _LIMIT_32]
    extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
    size, offset = min(record.size, _LIMIT_32), min(record.offset, _LIMIT_32)
    version = 45 if wide else 20
    return (
        struct.pack("<4sHHHHHH", b"PK\x01\x02", version, version, _UTF8, 0, *_DATE_1980_01_01)
        + struct.pack("<IIIHHH", record.crc, size, size, len(record.name), len(extra), 0)
        + struct.pack("<HHII", 0, 0, 0, offset)
        + record.name
        + extra
    )


def _directory_end(start: int, size: int, count: int) -> bytes:
    wide = b""
    if start >= _LIMIT_32 or size >= _LIMIT_32 or count >= _LIMIT_16:
        wide = struct.pack(
            "<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, start
        ) + struct.pack("<4sIQI", b"PK\x06\x07", 0, start + size, 1)
    few = min(count, _LIMIT_16)
    return wide + struct.pack(
        "<4sHHHHIIH", b"PK\x05\x06", 0, 0, few, few, min(size, _LIMIT_32), min(start, _LIMIT_32), 0
    )


def write_all(stream: IO[bytes], data: bytes | memoryview) -> None:
    """Writes all of ``data``, though a raw stream may take less at a time."""
    view = memoryview(data)
    while view.nbytes:
        written = stream.write(view[:_CHUNK])
        step = min(view.nbytes, _CHUNK)
        view = view[written if isinstance(written, int) else step :]


class ArchiveReader:
    """Reads the records of an archive; every read is checked against the record's CRC.

    Raises ``TruncatedFileError`` if the directory cannot be found, which is what a file that was
    cut short lacks first.
    """

    def __init__(self, stream: IO[bytes], path: str | None = None) -> None:
        self._path = path
        self._stream = stream
        try:
            self._zip = zipfile.ZipFile(stream)
        except (zipfile.BadZipFile, struct.error, ValueError, EOFError) as error:
            raise TruncatedFileError(
                "failed reading zip archive: failed finding central directory. The file is cut "
                f"short or damaged ({error}). This can happen if it was not saved to the end, was "
                "transferred incompletely, or was modified after saving."
            ) from error
        self._length = stream.seek(0, os.SEEK_END)
        self._records = {}
        self._folder = None
        for info in self._zip.infolist():
            folder, _, name = info.filename.partition("/")
            self._folder = folder if self._folder is None else self._folder
            if folder == self._folder:
                self._records[name] = info

    def __contains__(self, name: str) -> bool:
        return name in self._records

    def read(self, name: str) -> bytes:
        """The contents of a record."""
        return self.read_array(name).tobytes()

    def read_array(self, name: str) -> np.ndarray:
        """The bytes of a record as a new array."""
        info = self._find(name)
        data = np.empty(info.file_size, np.uint8)
        view, filled = memoryview(data), 0
        try:
            with self._zip.open(info) as source:
                while filled < info.file_size:
                    step = source.readinto(view[filled : filled + _CHUNK])
                    if not step:
                        raise EOFError(f"{filled} of {info.file_size} bytes")
                    filled += step
        except (zipfile.BadZipFile, EOFError, zlib.error) as error:
            raise TruncatedFileError(
                f"failed reading the record {name!r}: the file is cut short or damaged ({error})"
            ) from error
        return data

    def map_array(self, name: str) -> np.ndarray:
        """The bytes of a record as a private mapping of the file: pages are read when touched."""
        info = self._find(name)
        if info.compress_type != zipfile.ZIP_STORED:
            raise RuntimeError(f"the record {name!r} is compressed and so cannot be mapped")
        if info.file_size == 0:
            return np.empty(0, np.uint8)
        self._stream.seek(info.header_offset + 26)
        lengths: tuple[int, int] = struct.unpack("<HH", self._stream.read(4))
        start = info.header_offset + 30 + sum(lengths)
        if start + info.file_size > self._length:
            raise TruncatedFileError(f"the record {name!r} reaches past the end of the file")
        return np.asarray(
            np.memmap(self._path, np.uint8, "c", offset=start, shape=(info.file_size,))
        )

    def _find(self, name: str) -> zipfile.ZipInfo:
        info: Any = self._records.get(name)
        if info is None:
            raise RuntimeError(f"the archive has no record {name!r}; it is not a whole .pt file")
        # Before memory of the size that the file claims is allocated.
        end = info.header_offset + info.compress_size
        too_big = info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size
        if end > self._length or too_big:
            raise TruncatedFileError(f"the record {name!r} reaches past the end of the file")
        return info
