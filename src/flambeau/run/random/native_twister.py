"""The Mersenne Twister as vector code: new words in blocks, tempered as they are used.

A kernel copies the state into memory of its own, in line with the cache, and goes on from there:
words follow one another in a stretch of some blocks, so that the recurrence is one loop without
edges, whose vectors are stored and read back whole. At the end it leaves the last block and the
place in it, as NumPy's generator has them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from flambeau.run.compiler.emit import Function, Kernel

__all__ = ["bernoulli", "numbers"]

_WORDS, _SHIFT = 624, 397
# Blocks that are twisted before their words are used: they stay in the first cache.
_BLOCKS = 6


def _literal(f: Function, lanes: int, v: int) -> str:
    return f.literal(lanes, "i32", v - (1 << 32) if v >> 31 else v)


def _twist(f: Function, words: str, lanes: int, count: str) -> None:
    """``count`` blocks more behind the first in ``words``.

    Word i comes of the words i - 624, i - 623 and i - 227. Measured for a million pairs with
    vectors of 16 (microseconds): 137; with the second put together in memory, not in registers,
    168; the third in registers 150; the constant masked by arithmetic 148.
    """
    ty = f"<{lanes} x i32>"

    def load(at: str, align: int) -> str:
        return f.load(ty, f.element(words, "i32", at), align)

    def lit(v: int) -> str:
        return _literal(f, lanes, v)

    end = f.value(f"mul i64 {count}, {_WORDS}")
    with f.loop("0", end, str(lanes), carried=[(ty, load("0", 4 * lanes))]) as loop:
        (near,) = loop.carried
        following = load(f.value(f"add i64 {loop.index}, {lanes}"), 4 * lanes)
        loop.carry(following)
        places = ", ".join(f"i32 {i + 1}" for i in range(lanes))
        after = f.value(f"shufflevector {ty} {near}, {ty} {following}, <{lanes} x i32> <{places}>")
        far = load(f.value(f"add i64 {loop.index}, {_SHIFT}"), 4)
        high = f.value(f"and {ty} {near}, {lit(0x80000000)}")
        low = f.value(f"and {ty} {after}, {lit(0x7FFFFFFF)}")
        both = f.value(f"or {ty} {high}, {low}")
        half = f.value(f"lshr {ty} {both}, {lit(1)}")
        plain = f.value(f"xor {ty} {far}, {half}")
        turned = f.value(f"xor {ty} {plain}, {lit(0x9908B0DF)}")
        odd = f.value(f"and {ty} {after}, {lit(1)}")
        is_odd = f.value(f"icmp ne {ty} {odd}, zeroinitializer")
        new = f.value(f"select <{lanes} x i1> {is_odd}, {ty} {turned}, {ty} {plain}")
        there = f.element(words, "i32", f.value(f"add i64 {loop.index}, {_WORDS}"))
        f.store(ty, new, there, 4 * lanes)


def _temper(f: Function, lanes: int, y: str) -> str:
    """What is drawn, of words of the state."""
    ty = f"<{lanes} x i32>"
    y = f.value(f"xor {ty} {y}, {f.value(f'lshr {ty} {y}, {_literal(f, lanes, 11)}')}")
    for shift, mask in ((7, 0x9D2C5680), (15, 0xEFC60000)):
        up = f.value(f"shl {ty} {y}, {_literal(f, lanes, shift)}")
        y = f.value(f"xor {ty} {y}, {f.value(f'and {ty} {up}, {_literal(f, lanes, mask)}')}")
    return f.value(f"xor {ty} {y}, {f.value(f'lshr {ty} {y}, {_literal(f, lanes, 18)}')}")


def _copy(f: Function, lanes: int, source: str, target: str) -> None:
    """A block of words."""
    ty = f"<{lanes} x i32>"
    with f.loop("0", str(_WORDS), str(lanes)) as loop:
        word = f.load(ty, f.element(source, "i32", loop.index), 4)
        f.store(ty, word, f.element(target, "i32", loop.index), 4)


def _kernel(
    f: Function, hint: str, lanes: int, each: int, use: Callable[[str, str, str], None]
) -> Kernel:
    """Draws for as many numbers as there are units, ``each`` words a number.

    Address 0 is the state. ``use(words, first, count)`` writes code that makes ``count`` numbers,
    from number ``first`` on, of the words at ``words``, which are yet to be tempered; up to
    2 * ``lanes`` words more than wanted may be read. Begins again in ``f``, where its own
    addresses are at hand already.
    """
    from flambeau.run.compiler.emit import Kernel

    state = f.pointer(0)
    memory = (_BLOCKS + 1) * _WORDS + 4 * lanes
    words = f.value(f"alloca [{memory} x i32], align 64")
    place = f.element(state, "i32", str(_WORDS))
    _copy(f, lanes, state, words)
    begun = f.value(f"sext i32 {f.load('i32', place, 4)} to i64")
    wanted = f.value("sub i64 %end, %begin")
    # Each round begins with what is left of one block, and twists as many as it may need.
    given = [("i64", "0"), ("i64", begun), ("i64", str(_WORDS)), ("i1", "true")]
    # The last round's block is not moved to the front: that is for the next one to do.
    with f.loop("0", str((1 << 63) - 1), carried=given, while_last=True) as loop:
        made, at, filled, _ = loop.carried
        last = f.value(f"sub i64 {filled}, {_WORDS}")
        with f.when(f.value(f"icmp ne i64 {last}, 0")):
            _copy(f, lanes, f.element(words, "i32", last), words)
        at = f.value(f"sub i64 {at}, {last}")
        left = f.value(f"sub i64 {wanted}, {made}")
        here = f.value(f"sub i64 {_WORDS}, {at}")
        missing = f.value(f"sub i64 {f.value(f'mul i64 {left}, {each}')}, {here}")
        blocks = f.value(f"sdiv i64 {f.value(f'add i64 {missing}, {_WORDS - 1}')}, {_WORDS}")
        blocks = f.call("llvm.smax.i64", "i64", ("i64", blocks), ("i64", "0"))
        blocks = f.call("llvm.smin.i64", "i64", ("i64", blocks), ("i64", str(_BLOCKS)))
        _twist(f, words, lanes, blocks)
        filled = f.value(f"mul i64 {f.value(f'add i64 {blocks}, 1')}, {_WORDS}")
        whole = f.value(f"sdiv i64 {f.value(f'sub i64 {filled}, {at}')}, {each}")
        now = f.call("llvm.smin.i64", "i64", ("i64", left), ("i64", whole))
        first = f.value(f"add i64 %begin, {made}")
        use(f.element(words, "i32", at), first, now)
        made = f.value(f"add i64 {made}, {now}")
        at = f.value(f"add i64 {at}, {f.value(f'mul i64 {now}, {each}')}")
        more = f.value(f"icmp slt i64 {made}, {wanted}")
        loop.carry(made, at, filled, more)
    _, at, filled, _ = loop.result
    last = f.value(f"sub i64 {filled}, {_WORDS}")
    _copy(f, lanes, f.element(words, "i32", last), state)
    at = f.value(f"sub i64 {at}, {last}")
    f.store("i32", f.value(f"trunc i64 {at} to i32"), place, 4)
    text = f.finish()
    name = f"{hint}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return Kernel(name, text.replace("NAME", name))


def numbers(kind: str, lanes: int) -> Kernel:
    """Fills ``out`` (address 1) from the state (address 0)."""
    from flambeau.run.compiler.emit import Function

    f = Function("NAME")
    out = f.pointer(1)
    ty = f"<{lanes} x i32>"

    def use(words: str, first: str, count: str) -> None:
        target = f.element(out, "i32", first)

        def step(at: str, mask: str | None) -> None:
            y = _temper(f, lanes, f.load(ty, f.element(words, "i32", at), 4))
            if kind == "uniform":
                y = f.value(f"and {ty} {y}, {f.literal(lanes, 'i32', 0xFFFFFF)}")
                y = f.value(f"sitofp {ty} {y} to <{lanes} x float>")
                scale = f.literal(lanes, "float", 2.0**-24)
                y = f.value(f"fmul <{lanes} x float> {y}, {scale}")
                y = f.value(f"bitcast <{lanes} x float> {y} to {ty}")
            _store(f, lanes, "i32", y, f.element(target, "i32", at), mask)

        _vectors(f, lanes, count, step)

    return _kernel(f, f"twister_{kind}", lanes, 1, use)


def bernoulli(kind: str, lanes: int) -> Kernel:
    """Fills ``out`` (address 1): ones where the low 53 bits of a pair of draws are below a limit.

    Behind the addresses are the limit, and for floats what stands for one. The first draw of a
    pair is the high half: it alone is tempered, unless it is the limit's own (once in 2 million
    numbers).
    """
    from flambeau.run.compiler.emit import Function

    f = Function("NAME")
    out, given = f.pointer(1), f.element("%p", "i64", "2")
    limit = f.load("i64", given, 8)
    ty, ones = f"<{lanes} x i32>", f"<{lanes} x i1>"
    element = "float" if kind == "floats" else "i8"
    on = f.literal(lanes, "i8", 1)
    if kind == "floats":
        on = f.splat(lanes, "float", f.load("float", f.element(given, "i64", "1"), 4))

    def part(shift: int) -> str:
        moved = f.value(f"lshr i64 {limit}, {shift}")
        return f.splat(lanes, "i32", f.value(f"trunc i64 {moved} to i32"))

    high_limit, low_limit = part(32), part(0)

    def use(words: str, first: str, count: str) -> None:
        target = f.element(out, element, first)

        def step(at: str, mask: str | None) -> None:
            word = f.element(words, "i64", at)
            pairs = [f.load(ty, word, 4), f.load(ty, f.element(word, "i32", str(lanes)), 4)]

            def half(which: int) -> str:
                places = ", ".join(f"i32 {2 * i + which}" for i in range(lanes))
                places = f"<{lanes} x i32> <{places}>"
                y = f.value(f"shufflevector {ty} {pairs[0]}, {ty} {pairs[1]}, {places}")
                return _temper(f, lanes, y)

            def put(below: str) -> None:
                vector = f"<{lanes} x {element}>"
                y = f.value(f"select {ones} {below}, {vector} {on}, {vector} zeroinitializer")
                _store(f, lanes, element, y, f.element(target, element, at), mask)

            high = f.value(f"and {ty} {half(0)}, {f.literal(lanes, 'i32', 0x1FFFFF)}")
            below = f.value(f"icmp ult {ty} {high}, {high_limit}")
            put(below)
            same = f.value(f"icmp eq {ty} {high}, {high_limit}")
            some = f.value(f"bitcast {ones} {same} to i{lanes}")
            with f.when(f.value(f"icmp ne i{lanes} {some}, 0")):
                less = f.value(f"icmp ult {ty} {half(1)}, {low_limit}")
                put(f.value(f"or {ones} {below}, {f.value(f'and {ones} {same}, {less}')}"))

        _vectors(f, lanes, count, step)

    return _kernel(f, f"twister_{kind}", lanes, 2, use)


def _vectors(f: Function, lanes: int, count: str, step: Callable[[str, str | None], None]) -> None:
    """``step(at, mask)`` for each vector of ``count`` numbers; the last one is masked."""
    with f.loop("0", count, str(lanes), while_room=True) as loop:
        step(loop.index, None)
    left = f.value(f"sub i64 {count}, {loop.index}")
    with f.when(f.value(f"icmp sgt i64 {left}, 0")):
        step(loop.index, f.mask(lanes, left))


def _store(f: Function, lanes: int, element: str, value: str, place: str, mask: str | None) -> None:
    if mask is None:
        f.store(f"<{lanes} x {element}>", value, place, 1)
    else:
        f.store_masked(lanes, element, value, place, mask)
