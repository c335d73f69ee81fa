"""The Mersenne Twister in vector code, for many draws at once: the same numbers, much faster.

Works on the state of NumPy's generator in place, so that draws made here and there follow one
another. Asked for when a large draw is made; until LLVM has compiled it NumPy goes on drawing.
"""

from __future__ import annotations

import ctypes
import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.run import tier

if TYPE_CHECKING:
    from flambeau.run.compiler.emit import Function, Kernel
    from flambeau.run.compiler.target import Target
    from flambeau.run.random.engine import MersenneTwister

__all__ = ["LARGE", "bernoulli", "box_muller", "random32", "shuffled", "uniform32"]

# Fewer draws than this are left to NumPy.
LARGE = 1 << 13
# This many draws take NumPy as long as the worker takes to make the code.
WORTH_IT = 1 << 20

_WORDS, _SHIFT = 624, 397
# Draws tempered before they are made into what was asked for; even, so that pairs stay together.
_BLOCK = 2048


def _twist(f: Function, key: str, lanes: int, first: int, last: int, other: int) -> None:
    """New words ``first`` to ``last``: of each, the next and the one ``other`` further on."""
    ty = f"<{lanes} x i32>"

    def lit(v: int) -> str:
        return f.literal(lanes, "i32", v - (1 << 32) if v >> 31 else v)

    def part(at: str, mask: str | None) -> None:
        def load(shift: int) -> str:
            place = at if not shift else f.value(f"add i64 {at}, {shift}")
            p = f.element(key, "i32", place)
            return f.load(ty, p, 4) if mask is None else f.load_masked(lanes, "i32", p, mask)

        high = f.value(f"and {ty} {load(0)}, {lit(0x80000000)}")
        low = f.value(f"and {ty} {load(1)}, {lit(0x7FFFFFFF)}")
        both = f.value(f"or {ty} {high}, {low}")
        odd = f.value(f"and {ty} {both}, {lit(1)}")
        turned = f.value(f"sub {ty} zeroinitializer, {odd}")
        turned = f.value(f"and {ty} {turned}, {lit(0x9908B0DF)}")
        half = f.value(f"lshr {ty} {both}, {lit(1)}")
        new = f.value(f"xor {ty} {f.value(f'xor {ty} {load(other)}, {half}')}, {turned}")
        p = f.element(key, "i32", at)
        if mask is None:
            f.store(ty, new, p, 4)
        else:
            f.store_masked(lanes, "i32", new, p, mask)

    whole = first + (last - first) // lanes * lanes
    with f.loop(str(first), str(whole), str(lanes)) as loop:
        part(loop.index, None)
    if whole < last:
        part(str(whole), f.mask(lanes, str(last - whole)))


def _temper(f: Function, ty: str, lanes: int, y: str) -> str:
    def lit(v: int) -> str:
        return f.literal(lanes, "i32", v - (1 << 32) if v >> 31 else v)

    y = f.value(f"xor {ty} {y}, {f.value(f'lshr {ty} {y}, {lit(11)}')}")
    for shift, mask in ((7, 0x9D2C5680), (15, 0xEFC60000)):
        up = f.value(f"shl {ty} {y}, {lit(shift)}")
        y = f.value(f"xor {ty} {y}, {f.value(f'and {ty} {up}, {lit(mask)}')}")
    return f.value(f"xor {ty} {y}, {f.value(f'lshr {ty} {y}, {lit(18)}')}")


def _draws(lanes: int) -> str:
    """``void (state, out, count)``: the next draws of 32 bits."""
    from flambeau.run.compiler.emit import Function

    f = Function("NAME_draws", "ptr %state, ptr %out, i64 %count")
    f.head = f.head.replace("define void", "define internal void")
    ty = f"<{lanes} x i32>"
    position = f.element("%state", "i32", str(_WORDS))
    done = f.value("alloca i64, align 8")
    f.store("i64", "0", done, 8)
    # At most this many times a block of words begins.
    rounds = f.value(f"udiv i64 %count, {_WORDS}")
    rounds = f.value(f"add i64 {rounds}, 2")
    with f.loop("0", rounds):
        at = f.value(f"sext i32 {f.load('i32', position, 4)} to i64")
        with f.when(f.value(f"icmp eq i64 {at}, {_WORDS}")):
            _twist(f, "%state", lanes, 0, _WORDS - _SHIFT, _SHIFT)
            _twist(f, "%state", lanes, _WORDS - _SHIFT, _WORDS - 1, _SHIFT - _WORDS)
            # The last word's next is the first.
            last, first = f.element("%state", "i32", str(_WORDS - 1)), "%state"
            high = f.value(f"and i32 {f.load('i32', last, 4)}, -2147483648")
            low = f.value(f"and i32 {f.load('i32', first, 4)}, 2147483647")
            both = f.value(f"or i32 {high}, {low}")
            odd = f.value(f"sub i32 0, {f.value(f'and i32 {both}, 1')}")
            turned = f.value(f"and i32 {odd}, {0x9908B0DF - (1 << 32)}")
            far = f.load("i32", f.element("%state", "i32", str(_SHIFT - 1)), 4)
            new = f.value(f"xor i32 {far}, {f.value(f'lshr i32 {both}, 1')}")
            f.store("i32", f.value(f"xor i32 {new}, {turned}"), last, 4)
            f.store("i32", "0", position, 4)
        at = f.value(f"sext i32 {f.load('i32', position, 4)} to i64")
        made = f.load("i64", done, 8)
        left = f.value(f"sub i64 %count, {made}")
        here = f.value(f"sub i64 {_WORDS}, {at}")
        fewer = f.value(f"icmp slt i64 {left}, {here}")
        now = f.value(f"select i1 {fewer}, i64 {left}, i64 {here}")
        source = f.element("%state", "i32", at)
        target = f.element("%out", "i32", made)
        with f.loop("0", now, str(lanes), while_room=True) as loop:
            y = f.load(ty, f.element(source, "i32", loop.index), 4)
            f.store(ty, _temper(f, ty, lanes, y), f.element(target, "i32", loop.index), 4)
        rest = f.value(f"sub i64 {now}, {loop.index}")
        mask = f.mask(lanes, rest)
        y = f.load_masked(lanes, "i32", f.element(source, "i32", loop.index), mask)
        place = f.element(target, "i32", loop.index)
        f.store_masked(lanes, "i32", _temper(f, ty, lanes, y), place, mask)
        moved = f.value(f"add i64 {at}, {now}")
        f.store("i32", f.value(f"trunc i64 {moved} to i32"), position, 4)
        f.store("i64", f.value(f"add i64 {made}, {now}"), done, 8)
    return f.finish()


def _named(parts: list[str], hint: str) -> Kernel:
    from flambeau.run.compiler.emit import Kernel

    text = "\n".join(parts)
    name = f"{hint}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    declared = sorted({x for x in text.split("\n") if x.startswith("declare")})
    body = [x for x in text.split("\n") if not x.startswith("declare")]
    return Kernel(name, "\n".join([*declared, *body]).replace("NAME", name))


def _made(
    f: Function, kind: str, half: int, now: str, buffer: str, target: str, given: tuple[str, str]
) -> None:
    """Makes ``now`` numbers from the draws in ``buffer``, ``half`` at a time."""
    limit, on = given
    with f.loop("0", now, str(half)) as loop:
        mask = f.mask(half, f.value(f"sub i64 {now}, {loop.index}"))
        place = f.element(target, "float", loop.index)
        if kind == "uniform":
            x = f.load(f"<{half} x i32>", f.element(buffer, "i32", loop.index), 4)
            x = f.value(f"and <{half} x i32> {x}, {f.literal(half, 'i32', 0xFFFFFF)}")
            y = f.value(f"sitofp <{half} x i32> {x} to <{half} x float>")
            scale = f.literal(half, "float", 2.0**-24)
            y = f.value(f"fmul <{half} x float> {y}, {scale}")
        else:
            # The first draw of a pair is the high half.
            x = f.load(f"<{half} x i64>", f.element(buffer, "i64", loop.index), 4)
            up = f.value(f"shl <{half} x i64> {x}, {f.literal(half, 'i64', 32)}")
            down = f.value(f"lshr <{half} x i64> {x}, {f.literal(half, 'i64', 32)}")
            x = f.value(f"or <{half} x i64> {up}, {down}")
            x = f.value(f"and <{half} x i64> {x}, {f.literal(half, 'i64', (1 << 53) - 1)}")
            below = f.value(f"icmp ult <{half} x i64> {x}, {f.splat(half, 'i64', limit)}")
            one = f.splat(half, "float", on)
            y = f.value(
                f"select <{half} x i1> {below}, <{half} x float> {one}, "
                f"<{half} x float> zeroinitializer"
            )
        f.store_masked(half, "float", y, place, mask)


def _blocks(kind: str, lanes: int) -> Kernel:
    """Fills ``out`` (address 1) from the state (address 0); address 2 holds two parameters."""
    from flambeau.run.compiler.emit import Function

    f = Function("NAME")
    state, out, given = (f.pointer(i) for i in range(3))
    each = 2 if kind == "bernoulli" else 1
    step = _BLOCK // each
    buffer = f.value(f"alloca [{_BLOCK + 64} x i32], align 64")
    limit = f.load("i64", given, 8)
    on = f.load("float", f.element(given, "i64", "1"), 4)
    with f.loop("%begin", "%end", str(step)) as block:
        left = f.value(f"sub i64 %end, {block.index}")
        fewer = f.value(f"icmp slt i64 {left}, {step}")
        now = f.value(f"select i1 {fewer}, i64 {left}, i64 {step}")
        target = f.element(out, "i32", block.index)
        if kind == "draws":
            f.line(f"call void @NAME_draws(ptr {state}, ptr {target}, i64 {now})")
        else:
            words = now if each == 1 else f.value(f"shl i64 {now}, 1")
            f.line(f"call void @NAME_draws(ptr {state}, ptr {buffer}, i64 {words})")
            _made(f, kind, lanes // each, now, buffer, target, (limit, on))
    return _named([f.finish(), _draws(lanes)], f"twister_{kind}")


@cache
def kernels(target: Target) -> dict[str, Kernel]:
    """All five, for a processor."""
    from .native_normal import box_muller
    from .native_shuffle import shuffle

    lanes = max(4, target.lanes(4))
    made = {kind: _blocks(kind, lanes) for kind in ("draws", "uniform", "bernoulli")}
    return {**made, "normal": box_muller(), "shuffle": shuffle()}


_ticket: Any = None
_functions: dict[str, Any] | None = None
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
    made = kernels(code.target())
    found = code.addresses(list(made.values()))
    prototype = ctypes.CFUNCTYPE(
        None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p
    )
    return {kind: prototype(found[k.name]) for kind, k in made.items()}


def _fill(
    kind: str, engine: MersenneTwister, out: np.ndarray, limit: int = 0, on: float = 0.0
) -> bool:
    """Fills ``out``; False where native code is not there (yet)."""
    functions = _ready(out.size)
    if functions is None:
        return False
    given = np.zeros(2, np.int64)
    given[0] = limit
    given[1:].view(np.float32)[0] = on
    with engine.lock:
        if out.size:
            engine._fresh = False
        state = engine._bits.ctypes.state_address
        table = np.array([state, out.ctypes.data, given.ctypes.data], np.int64)
        functions[kind](table.ctypes.data, 0, out.size, None)
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
    return out if _fill("bernoulli", engine, out, limit, on) else None


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
