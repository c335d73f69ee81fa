"""One native call a program: a builtin function whose machine code is ours.

``launch(inputs, outs, numbers)`` finds the arrays' memory, writes every kernel's table of addresses
and runs the kernels in order, in a few hundred nanoseconds; ctypes alone would take longer for one
kernel. What it does is described by 16 words, ``desc``, which are the function's ``self``:

==  ==========================================================================
0   number of steps
1   address of the steps, 8 words each: function, number of pointers, address of
    their slots in the table, address of the kernel's own table (filled here), units, chunk,
    address of bytes to add to each pointer, quiet (nonzero: wake no thread for it)
2   number of inputs
3   address of their slots in the table
4   number of outs
5   address of their slots in the table
6   number of run-time numbers
7   address of pairs: index in the list ``numbers``, kind (0 float64, 1 int64)
8   address where they are stored, 8 bytes each
9   address of the table: addresses of everything; constants and buffers are there already
10  address of a counter, raised after the last step
11  nonzero: other Python threads may run during the steps
12  taken (this module's)
13  address of ``threads.ROOT`` (this module's)
14  address of a word that kernels set on a fault, looked at after each step; 0: there is none
15  how many steps a call with a fourth argument runs; it leaves the others to the pool
==  ==========================================================================
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.run import counters
from flambeau.run.compiler import code, threads, threads_kernels
from flambeau.run.compiler.launch_driver import AT, FAULTY, LEFT, OBJECTS, PYTHON, driver
from flambeau.run.compiler.launch_objects import layout
from flambeau.run.compiler.threads import pointer_of
from flambeau.run.compiler.threads_memory import ROOT, ROOT_ADDRESS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flambeau.run.compiler.emit import Kernel

__all__ = [
    "DESC_WORDS",
    "FAULTY",
    "FLOAT",
    "INT",
    "LEFT",
    "Launch",
    "Step",
    "assemble",
    "kernels",
    "make",
]
DESC_WORDS = 16
FLOAT, INT = 0, 1
_METH_FASTCALL = 0x80
_MESSAGE = b"launch(inputs, outs, numbers): not the lists this program was made for"


@cache
def _driver() -> int:
    """The address of the driver's code."""
    (found,) = code.standing(f"launch {layout()}", lambda: [driver()]).wait()
    return found


def load() -> None:
    """Finds all that a launch needs of the compiler, on whose thread the caller is."""
    _driver()
    threads.load()


def kernels() -> list[Kernel]:
    """What launching needs of the compiler: to be asked for along with the first program's."""
    return [driver(), *threads_kernels.kernels()]


class _Method(ctypes.Structure):
    """PyMethodDef."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


class _Desc(np.ndarray):
    """``desc`` as ``self`` of the function, with what it points to."""

    keep: object = None


@cache
def _method() -> _Method:
    """The definition that all functions share; fills ROOT in."""
    found = _driver()
    threads.prepare()
    for name in PYTHON:
        ROOT[AT[name] // 8] = pointer_of(getattr(ctypes.pythonapi, name))
    for name, thing in OBJECTS.items():
        ROOT[AT[name] // 8] = id(thing)
    ROOT[AT["message"] // 8] = ctypes.cast(_MESSAGE, ctypes.c_void_p).value
    return _Method(b"launch", found, _METH_FASTCALL, None)


# A prototype of our own: attributes of ctypes.pythonapi's would be everybody's.
_new_function = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.POINTER(_Method), ctypes.py_object, ctypes.c_void_p
)(("PyCFunction_NewEx", ctypes.pythonapi))


def make(desc: np.ndarray, keep: object = None) -> Callable[[Any, Any, Any], int]:
    """The function ``launch(inputs, outs, numbers)`` that ``desc`` describes.

    ``inputs`` and ``outs`` are lists or tuples of arrays, ``numbers`` one of Python numbers. It
    gives 0, or 1 + the index of an input that is not a plain C-contiguous, aligned array, or -1 -
    the index of such an out; then nothing was run. ``keep`` is what lives as long as the function:
    all that ``desc`` points to.
    """
    if desc.dtype != np.int64 or desc.shape != (DESC_WORDS,) or not desc.flags.c_contiguous:
        raise ValueError(f"desc must be {DESC_WORDS} words of int64")
    method = _method()
    desc[12], desc[13] = 0, ROOT_ADDRESS
    self = desc.view(_Desc)
    self.keep = keep
    return _new_function(ctypes.byref(method), self, None)


@dataclass(frozen=True)
class Step:
    """One kernel's run: its address, the table's slots it works on, units of work, chunk.

    ``quiet``: too short (below some 100 microseconds) to be worth waking threads for.
    """

    function: int
    slots: tuple[int, ...]
    units: int
    chunk: int
    offsets: tuple[int, ...] | None = None
    quiet: bool = False


@dataclass(frozen=True)
class Launch:
    """A program that can be called, and the words one may read: ``done`` counts its runs."""

    call: Callable[[Any, Any, Any], int]
    done: np.ndarray
    table: np.ndarray
    numbers: np.ndarray


def assemble(
    steps: Iterable[Step],
    table: np.ndarray,
    inputs: Iterable[int],
    outs: Iterable[int],
    numbers: Iterable[tuple[int, int, int]] = (),
    release: bool = False,
    keep: object = None,
    fault: int = 0,
    kept: int | None = None,
) -> Launch:
    """Writes ``desc`` and what it points to, and makes the function.

    ``table`` (int64) holds the addresses of constants and buffers; ``inputs`` and ``outs`` are the
    slots that each call fills; ``numbers`` are (index in the call's list, ``FLOAT`` or ``INT``,
    slot): that slot gets the address of where the number is stored. ``kept``: how many steps a call
    with a fourth argument runs before it returns.
    """
    parts: list[np.ndarray] = [table]

    def words(values: Iterable[int]) -> np.ndarray:
        parts.append(np.array([*values], np.int64))
        return parts[-1]

    steps = tuple(steps)
    records = words([0] * (8 * len(steps))).reshape(-1, 8)
    for record, step in zip(records, steps):
        slots, own = words(step.slots), words([0] * len(step.slots))
        at = (slots.ctypes.data, own.ctypes.data)
        offsets = words(step.offsets or [0] * len(step.slots))
        record[:6] = (step.function, len(step.slots), *at, step.units, step.chunk)
        record[6:] = (offsets.ctypes.data, step.quiet)
    into, out_of, numbers = words(inputs), words(outs), tuple(numbers)
    pairs = words(x for index, kind, _ in numbers for x in (index, kind))
    stored = words([0] * len(numbers))
    for position, (_, _, slot) in enumerate(numbers):
        table[slot] = stored.ctypes.data + 8 * position
    done = counters.counter()
    desc = np.zeros(DESC_WORDS, np.int64)
    desc[:12] = (
        len(steps),
        records.ctypes.data,
        into.size,
        into.ctypes.data,
        out_of.size,
        out_of.ctypes.data,
        len(numbers),
        pairs.ctypes.data,
        stored.ctypes.data,
        table.ctypes.data,
        done.ctypes.data,
        int(release),
    )
    desc[14] = fault
    desc[15] = len(steps) if kept is None else kept
    return Launch(make(desc, (parts, keep, done)), done, table, stored)
