"""A function for ``run.compiler.loops``, which takes all that a module defines."""

from __future__ import annotations


def numbers(n: int, limit: int) -> int:
    """Variables that are set on some ways only, ``break`` out of two loops, nested conditions."""
    total = 0
    i = 0
    while i < n:
        j = 0
        step = 1
        while True:
            if j > i and total > limit:
                break
            if j * j > i:
                step = 2
                if total % 3 == 0:
                    step = step + j
                break
            j = j + 1
            total = total + j * step
        if i % 2 == 0:
            extra = step
        else:
            extra = 0 - step
        if total > limit:
            return total * 100 + i
        total = total + extra
        i = i + 1
    return total
