"""The kernel that fills memory with one value, and its native calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.run.compiler import code, launch
from flambeau.run.compiler.convolution_blocks import Code

if TYPE_CHECKING:
    from flambeau.run.compiler.emit import Kernel

# What is stored at once, of any dtype: elements of up to so many bytes.
LINE = 64
_LINES = "<16 x i32>"
# Bytes that a thread fills at a time, about 3 microseconds.
_CHUNK = 1 << 18


def kernel() -> Kernel:
    """Units are lines from the first whole one on, but those at the end.

    Addresses: a line of the value, the memory, how many bytes it has. The first and the last lines
    are stored wherever memory begins and ends: elements divide a line, so that all lines are alike.
    """
    f = Code()
    value = f.load(_LINES, f.pointer(0), 4)
    out, size = f.pointer(1), f.load("i64", f.pointer(2), 8)
    at = f.value(f"ptrtoint ptr {out} to i64")
    gap = f.value(f"and i64 {f.value(f'sub i64 0, {at}')}, {LINE - 1}")
    first = f.byte(out, gap)
    with f.loop("%begin", "%end") as line:
        f.store(_LINES, value, f.along(first, (line.index, LINE)), LINE)
    with f.when(f.value("icmp eq i64 %begin, 0")):
        f.store(_LINES, value, out, 1)
        for lines in (1, 2):
            f.store(_LINES, value, f.byte(out, f.sub(size, lines * LINE)), 1)
    return f.kernel(prefix="fill")


def asked() -> code.Ticket:
    """Asks for the kernel and for what launches it."""

    def work() -> int:
        launch.load()
        made = kernel()
        return code.addresses([made])[made.name]

    return code.defer(work)


def function(address: int, size: int) -> Any:
    """``launch([line], [memory], [size])`` for memory of at least four lines."""
    if size < 4 * LINE:
        raise ValueError(f"{size} bytes are too few to be filled by lines")
    step = launch.Step(address, (0, 1, 2), size // LINE - 1, _CHUNK // LINE)
    table = np.zeros(3, np.int64)
    made = launch.assemble(
        [step], table, [0], [1], [(0, launch.INT, 2)], release=size > 1 << 24
    )  # fmt: skip
    return made.call
