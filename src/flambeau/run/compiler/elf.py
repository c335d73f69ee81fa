"""Loads an object file that LLVM made, without LLVM: code, constants, and a few relocations.

Importing llvmlite takes longer than loading all the kernels of a large program, and a process that
finds its kernels on disk needs nothing else of it. Source of the formulas: System V Application
Binary Interface, AMD64 Architecture Processor Supplement, version 1.0, section 4.4.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import struct
import sys
from functools import cache
from typing import NamedTuple

__all__ = ["Unsupported", "available", "load"]


class Unsupported(Exception):
    """An object that needs a complete linker."""


class Section(NamedTuple):
    """Elf64_Shdr."""

    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry: int


class Symbol(NamedTuple):
    """Elf64_Sym."""

    name: int
    info: int
    other: int
    section: int
    value: int
    size: int


_HEADER = struct.Struct("<4sBB10xHH20xQ10xHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QIIq")
_RELOCATABLE, _X86_64 = 1, 62
_PROGBITS, _SYMTAB, _RELA, _UNWIND = 1, 2, 4, 0x70000001
_WRITE, _ALLOC, _TLS = 1, 2, 0x400
_UNDEFINED = 0
_ABSOLUTE_64, _RELATIVE_32, _CALL_32, _SLOT_32 = 1, 2, 4, (9, 41, 42)
# jmp *2(%rip), two bytes never run, the address: a call reaches any distance through it.
_STUB = struct.Struct("<6s2xQ")
_JUMP = bytes.fromhex("ff2502000000")


def available() -> bool:
    """Whether this system's objects are of the kind that is known here."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


def load(image: bytes) -> dict[str, int]:
    """Puts an object into memory, to stay; gives its functions' addresses by name.

    Raises ``Unsupported`` for what code of ours does not contain: writable data, thread-local data,
    other relocations.
    """
    sections = _sections(image)
    places, size = _places(sections)
    table = next((s for s in sections if s.type == _SYMTAB), None)
    if table is None:
        raise Unsupported("no symbols")
    strings = sections[table.link].offset
    symbols = [
        Symbol(*fields)
        for fields in _SYMBOL.iter_unpack(image[table.offset : table.offset + table.size])
    ]

    def name_of(symbol: Symbol) -> str:
        start = strings + symbol.name
        return image[start : image.index(0, start)].decode()

    outside = [i for i, s in enumerate(symbols) if s.section == _UNDEFINED and s.name]
    stubs = {i: size + _STUB.size * k for k, i in enumerate(outside)}
    size += _STUB.size * len(outside)
    memory = bytearray(size)
    for index, place in places.items():
        section = sections[index]
        memory[place : place + section.size] = image[section.offset : section.offset + section.size]
    for i in outside:
        _STUB.pack_into(memory, stubs[i], _JUMP, _function(name_of(symbols[i])))
    base = _reserve(size)

    def place_of(i: int) -> int:
        symbol = symbols[i]
        if symbol.section in places:
            return places[symbol.section] + symbol.value
        raise Unsupported(f"symbol in section {symbol.section}")

    for section in sections:
        if section.type == _RELA and section.info in places:
            entries = image[section.offset : section.offset + section.size]
            for offset, kind, i, addend in _RELOCATION.iter_unpack(entries):
                at = places[section.info] + offset
                if kind in (_RELATIVE_32, _CALL_32):
                    target = stubs[i] if i in stubs else place_of(i)
                    if i in stubs and kind != _CALL_32:
                        raise Unsupported("data of another library")
                    struct.pack_into("<i", memory, at, target + addend - at)
                elif kind in _SLOT_32 and i in stubs:
                    struct.pack_into("<i", memory, at, stubs[i] + 8 + addend - at)
                elif kind == _ABSOLUTE_64 and i not in stubs:
                    struct.pack_into("<q", memory, at, base + place_of(i) + addend)
                else:
                    raise Unsupported(f"relocation {kind}")
    _settle(base, memory)
    return {
        name_of(s): base + places[s.section] + s.value
        for s in symbols
        if s.info >> 4 and s.section in places
    }


def _sections(image: bytes) -> list[Section]:
    try:
        magic, bits, order, kind, machine, at, each, count, _ = _HEADER.unpack_from(image)
        expected = (b"\x7fELF", 2, 1, _RELOCATABLE, _X86_64, _SECTION.size)
        if (magic, bits, order, kind, machine, each) != expected:
            raise Unsupported("not an object file of this processor")
        table = image[at : at + each * count]
        return [Section(*fields) for fields in _SECTION.iter_unpack(table)]
    except struct.error as error:
        raise Unsupported(str(error)) from None


def _places(sections: list[Section]) -> tuple[dict[int, int], int]:
    """Where each section that is needed at run time goes, and the size of all."""
    places: dict[int, int] = {}
    size = 0
    for index, section in enumerate(sections):
        if not section.flags & _ALLOC or not section.size or section.type == _UNWIND:
            continue
        if section.type != _PROGBITS or section.flags & (_WRITE | _TLS):
            raise Unsupported(f"a section of type {section.type}, flags {section.flags:#x}")
        # Code begins at cache lines, so that loops lie as they would after any other loader.
        align = max(section.align, 64)
        if align > mmap.PAGESIZE:
            raise Unsupported(f"alignment {align}")
        places[index] = size = -(-size // align) * align
        size += section.size
    return places, -(-size // 16) * 16


@cache
def _libc() -> ctypes.CDLL:
    """The running process's symbols."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_long,
    ]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return libc


def _function(name: str) -> int:
    try:
        found = ctypes.cast(_libc()[name], ctypes.c_void_p).value
    except AttributeError:
        found = None
    if found is None:
        raise Unsupported(f"no function {name}")
    return found


def _reserve(size: int) -> int:
    """Memory that no Python object owns: code may run until the process is gone."""
    writable = mmap.PROT_READ | mmap.PROT_WRITE
    anonymous = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    base = _libc().mmap(None, size, writable, anonymous, -1, 0)
    if base in (None, ctypes.c_void_p(-1).value):
        raise Unsupported("no memory")
    return base


def _settle(base: int, memory: bytearray) -> None:
    """Copies the code there and makes it code; it is never both writable and executable."""
    ctypes.memmove(base, bytes(memory), len(memory))
    if _libc().mprotect(base, len(memory), mmap.PROT_READ | mmap.PROT_EXEC):
        raise Unsupported("this system does not let memory become code")
