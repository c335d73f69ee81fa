"""The Mersenne Twister in vector code, for many draws at once: the same numbers, much faster.

Works on the state of NumPy's generator in place, so that draws made here and there follow one
another. Asked for when a large draw is made; until LLVM has compiled it NumPy goes on drawing.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.run import tier
from flambeau.run.chores import chores

if TYPE_CHECKING:
    from flambeau.run.compiler.emit import Kernel
    from flambeau.run.compiler.target import Target
    from flambeau.run.random.engine import MersenneTwister

__all__ = ["LARGE", "Given", "bernoulli", "box_muller", "mask", "random32", "shuffled", "uniform32"]

# Fewer draws than this are left to NumPy: calls take 3 us here, 7 there.
LARGE = 1 << 6
# This many draws take NumPy as long as the worker takes to make the code.
WORTH_IT = 1 << 20
# Fewer truth values than this (10 us) are drawn at once even if another thread could do it: the
# generator's state goes from cache to cache.
AHEAD = 1 << 15


class Given(ctypes.Structure):
    """What a kernel is given: two addresses, a limit and what stands for one.

    The generator's lock guards it.
    """

    _fields_ = [
        ("state", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("limit", ctypes.c_int64),
        ("on", ctypes.c_float),
    ]
    address: int

    @classmethod
    def of(cls, bits: np.random.MT19937) -> Given:
        """For draws from NumPy's generator, in place."""
        made = cls(state=bits.ctypes.state_address)
        made.address = ctypes.addressof(made)
        return made


@cache
def kernels(target: Target) -> dict[str, Kernel]:
    """All six, for a processor."""
    from .native_normal import box_muller
    from .native_shuffle import shuffle
    from .native_twister import bernoulli, numbers

    lanes = max(4, target.lanes(4))
    made = {kind: numbers(kind, lanes) for kind in ("draws", "uniform")}
    made |= {kind: bernoulli(kind, lanes) for kind in ("floats", "bytes")}
    return {**made, "normal": box_muller(), "shuffle": shuffle()}


_ticket: Any = None
_functions: dict[str, Any] | None = None
_addresses: dict[str, int] = {}
_drawn = 0


def _ready(n: int) -> dict[str, Any] | None:
    """The native functions, if they are there; asks for them once they are worth it."""
    global _ticket, _functions, _drawn
    if _functions is not None or tier.chosen() == "interpret":
        return _functions
    if _ticket is None:
        _drawn += n
        if _drawn < WORTH_IT and tier.chosen() != "compile":
            return None
    from flambeau.run.compiler import code

    if _ticket is None:
        _ticket = code.defer(lambda: _compile(code))
    if not _ticket.done():
        return None
    _functions = _ticket.wait()
    return _functions


def _compile(code: Any) -> dict[str, Any]:
    from flambeau.run.compiler import chores as small_jobs

    made = kernels(code.target())
    found = code.addresses([*made.values(), *small_jobs.kernels()])
    small_jobs.install(found)
    _addresses.update({kind: found[k.name] for kind, k in made.items()})
    prototype = ctypes.CFUNCTYPE(
        None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p
    )
    return {kind: prototype(found[k.name]) for kind, k in made.items()}


def _fill(
    kind: str, engine: MersenneTwister, out: np.ndarray, limit: int = 0, on: float = 0.0
) -> bool:
    """Fills ``out``; False where native code is not there (yet)."""
    functions = _functions or _ready(out.size)
    if functions is None:
        return False
    with engine.lock:
        engine.settle()
        if out.size:
            engine._fresh = False
        given = engine._given
        given.out, given.limit, given.on = out.ctypes.data, limit, on
        functions[kind](given.address, 0, out.size, None)
    return True


def random32(engine: MersenneTwister, n: int) -> np.ndarray | None:
    """The next ``n`` draws as uint32; None where native code is not there (yet)."""
    out = np.empty(n, np.uint32)
    return out if _fill("draws", engine, out) else None


def uniform32(engine: MersenneTwister, n: int) -> np.ndarray | None:
    """``n`` float32 in [0, 1); None where native code is not there (yet)."""
    out = np.empty(n, np.float32)
    return out if _fill("uniform", engine, out) else None


def bernoulli(engine: MersenneTwister, n: int, limit: int, on: float) -> np.ndarray | None:
    """``on`` where the low 53 bits of a 64-bit draw are below ``limit``, else 0, as float32."""
    out = np.empty(n, np.float32)
    return out if _fill("floats", engine, out, limit, on) else None


def mask(engine: MersenneTwister, shape: int | tuple[int, ...], limit: int) -> np.ndarray | None:
    """Whether the low 53 bits of a 64-bit draw are below ``limit``, for each place of a shape."""
    out = np.empty(shape, np.bool_)
    return out if _fill("bytes", engine, out, limit) else None


def mask_ahead(
    engine: MersenneTwister, shape: int | tuple[int, ...], limit: int
) -> np.ndarray | None:
    """``mask``, which another thread may still be drawing: join ``chores`` before it is read.

    None where that is nothing to gain.
    """
    if _functions is None or chores.threads() == 1:
        return None
    out = np.empty(shape, np.bool_)
    size = out.size
    if size < AHEAD:
        return None
    with engine.lock:
        engine._fresh = False
        state, at = engine._given.state, out.ctypes.data
        chores.ask((out, engine._bits), _addresses["bytes"], size, state, at, limit, 0)
    return out


def box_muller(uniform: np.ndarray, mean: float, std: float) -> bool:
    """Makes contiguous float32 uniform numbers, a multiple of sixteen, into normal ones, in place.

    False where native code is not there (yet).
    """
    functions = _ready(uniform.size)
    if functions is None:
        return False
    given = np.array([mean, std], np.float32)
    table = np.array([uniform.ctypes.data, given.ctypes.data], np.int64)
    functions["normal"](table.ctypes.data, 0, uniform.size // 16, None)
    return True


def shuffled(draws: np.ndarray, n: int) -> np.ndarray | None:
    """0 … n - 1 after element i was swapped with ``i + draws[i] % (n - i)``, for each i in order.

    None where native code is not there (yet).
    """
    functions = _ready(n)
    if functions is None:
        return None
    order = np.arange(n, dtype=np.int64)
    table = np.array([draws.ctypes.data, order.ctypes.data], np.int64)
    functions["shuffle"](table.ctypes.data, 0, n - 1, None)
    return order
