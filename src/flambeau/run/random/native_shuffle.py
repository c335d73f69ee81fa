"""Fisher and Yates' shuffle as a native loop."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flambeau.run.compiler.emit import Kernel


def shuffle() -> Kernel:
    """Swaps each of n numbers (address 1, int64) with a later one, in order.

    Element i goes to where ``i + draw % (n - i)`` stands; the draws, n - 1 of 32 bits, are at
    address 0. The range of units is 0 to n - 1.
    """
    from flambeau.run.compiler.emit import Function, Kernel

    f = Function("NAME")
    draws, order = f.pointer(0), f.pointer(1)
    with f.loop("%begin", "%end") as loop:
        draw = f.load("i32", f.element(draws, "i32", loop.index), 4)
        # n is one more than the last unit; it has no more than 32 bits.
        left = f.value(f"sub i64 %end, {loop.index}")
        room = f.value(f"trunc i64 {f.value(f'add i64 {left}, 1')} to i32")
        rest = f.value(f"zext i32 {f.value(f'urem i32 {draw}, {room}')} to i64")
        here = f.element(order, "i64", loop.index)
        there = f.element(order, "i64", f.value(f"add i64 {loop.index}, {rest}"))
        a, b = f.load("i64", here, 8), f.load("i64", there, 8)
        f.store("i64", b, here, 8)
        f.store("i64", a, there, 8)
    text = f.finish()
    name = f"shuffle_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return Kernel(name, text.replace("NAME", name))
