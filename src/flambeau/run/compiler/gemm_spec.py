"""What a matrix product is asked to be, and what it is made of: plain data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from flambeau.run.compiler.emit import Function, Kernel
from flambeau.run.compiler.stages import Epilogue

__all__ = ["BYTES", "Product", "cut", "named", "static_mask"]

BYTES = {"float": 4, "double": 8}


@dataclass(frozen=True)
class Product:
    """``C[b, i, j] = sum_k A[b, i, k] B[b, k, j]``; strides in elements.

    ``a`` (batch, i, k), ``b`` (batch, k, j), ``c`` (batch, i, j), where one of C's last two is 1.
    The places of an epilogue are (i, j).
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

    @property
    def result(self) -> tuple[int, ...]:
        """The axes over which an epilogue's operands lie."""
        return self.m, self.n


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
    return Kernel(name, text.replace("@kernel(", f"@{name}(", 1), sizes=f.sizes)
