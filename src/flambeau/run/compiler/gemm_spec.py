"""What a matrix product is asked to be, and what it is made of: plain data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from flambeau.run.compiler.emit import Function, Kernel

__all__ = ["BYTES", "Emit", "Epilogue", "Product", "cut", "named", "static_mask"]

BYTES = {"float": 4, "double": 8}


Emit = Callable[[int, str, str, str, str | None], str]


@dataclass(frozen=True)
class Epilogue:
    """What is done to the values of C before they are stored.

    ``begin(f)`` is called where a tile is ready, and gives ``emit(lanes, value, i, j, mask)``,
    which is called for each of its vectors: it gives the new one (element type as the product's)
    for row ``i`` and column ``j`` of the first lane, i64 names. Lanes run along the dimension in
    which C has stride 1: columns, or rows where ``c[1] == 1``. ``mask`` is a literal of lanes that
    exist, or None where all do. Operand ``e<k>`` is the kernel's address number k.
    """

    begin: Callable[[Function], Emit]
    operands: int = 0


@dataclass(frozen=True)
class Product:
    """``C[b, i, j] = sum_k A[b, i, k] B[b, k, j]``; strides in elements.

    ``a`` (batch, i, k), ``b`` (batch, k, j), ``c`` (batch, i, j), where one of C's last two is 1.
    """

    m: int
    n: int
    k: int
    batch: int
    a: tuple[int, int, int]
    b: tuple[int, int, int]
    c: tuple[int, int, int]
    element: str
    epilogue: Epilogue | None = None


def cut(total: int, size: int) -> int:
    """How many pieces of ``size`` cover ``total``."""
    return -(-total // size)


def static_mask(lanes: int, count: int) -> str | None:
    """A literal of the first ``count`` lanes; None for all of them."""
    if count >= lanes:
        return None
    return "<" + ", ".join(f"i1 {int(i < count)}" for i in range(lanes)) + ">"


def named(f: Function) -> Kernel:
    """The finished kernel, its name (so far ``kernel``) made from its text."""
    text = f.finish()
    name = "gemm_" + hashlib.sha256(text.encode()).hexdigest()[:16]
    return Kernel(name, text.replace("@kernel(", f"@{name}(", 1))
