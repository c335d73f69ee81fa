"""The native side of small jobs done in order: the ring they lie in, asking, doing, joining."""

from __future__ import annotations

import ctypes
from functools import partial
from typing import TYPE_CHECKING

from flambeau.run.chores import chores
from flambeau.run.compiler import threads_kernels as native
from flambeau.run.compiler.emit import Function
from flambeau.run.compiler.threads import get_num_threads, pointer_of
from flambeau.run.compiler.threads_memory import aligned, set_root

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flambeau.run.compiler.emit import Kernel

__all__ = ["do_next", "has_next", "install", "kernels"]

# Words of the block: how many jobs were asked for; are done; were let go of; who is at one. From
# there on the ring: of each job the kernel, its units, the table that it is given, and the object
# that lives until it is done.
ASKED, DONE, FREED, LOCK, RING = 0, 8, 9, 16, 24
JOBS, WORDS, TABLE = 64, 8, 4
KEPT = 2 + TABLE


def _at(f: Function, block: str, word: int | str) -> str:
    return f.element(block, "i64", str(word))


def _shared(f: Function, block: str, word: int) -> str:
    return f.value(f"load atomic i64, ptr {_at(f, block, word)} acquire, align 8")


def has_next(f: Function, block: str) -> str:
    """Whether a job is not yet done (i1)."""
    return f.value(f"icmp ne i64 {_shared(f, block, ASKED)}, {_shared(f, block, DONE)}")


def do_next(name: str) -> str:
    """``i64 (block)``: does the next job if there is one and nobody is at it; whether it did."""
    f = Function(name, "ptr %block", "i64")
    lock = _at(f, "%block", LOCK)
    some = has_next(f, "%block")
    native.branch(f, some, "try", "no")
    f.label("try")
    pair = f.value(f"cmpxchg ptr {lock}, i64 0, i64 1 seq_cst seq_cst")
    native.branch(f, f.value(f"extractvalue {{ i64, i1 }} {pair}, 1"), "mine", "no")
    f.label("mine")
    # Somebody may have done it just before.
    done = _shared(f, "%block", DONE)
    more = f.value(f"icmp ne i64 {_shared(f, '%block', ASKED)}, {done}")
    native.branch(f, more, "work", "none")
    f.label("work")
    job = _job(f, done)
    function, units = f.load("ptr", job, 8), f.load("i64", _at(f, job, 1), 8)
    f.line(f"call void {function}(ptr {_at(f, job, 2)}, i64 0, i64 {units}, ptr null)")
    after = f.value(f"add i64 {done}, 1")
    f.line(f"store atomic i64 {after}, ptr {_at(f, '%block', DONE)} release, align 8")
    f.line(f"store atomic i64 0, ptr {lock} release, align 8")
    f.line("ret i64 1")
    f.label("none")
    f.line(f"store atomic i64 0, ptr {lock} release, align 8")
    native.jump(f, "no")
    f.label("no")
    return native.internal(f.finish("i64 0"))


def _job(f: Function, number: str) -> str:
    """Where job ``number`` lies."""
    place = f.value(f"mul i64 {f.value(f'urem i64 {number}, {JOBS}')}, {WORDS}")
    return f.element(_at(f, "%block", RING), "i64", place)


def _let_go(name: str) -> str:
    """``void (block, decref)``: the objects of jobs that are done; Python's lock is held."""
    f = Function(name, "ptr %block, ptr %decref")
    native.jump(f, "next")
    f.label("next")
    freed = f.load("i64", _at(f, "%block", FREED), 8)
    some = f.value(f"icmp ne i64 {freed}, {_shared(f, '%block', DONE)}")
    native.branch(f, some, "one", "over")
    f.label("one")
    kept = f.load("ptr", _at(f, _job(f, freed), KEPT), 8)
    f.store("i64", f.value(f"add i64 {freed}, 1"), _at(f, "%block", FREED), 8)
    f.line(f"call void %decref(ptr {kept})")
    native.jump(f, "next")
    f.label("over")
    return f.finish()


def _ask() -> Kernel:
    """``i64 (block, incref, decref, object, kernel, units, table...)``: 0 if there is no room."""
    words = [f"%w{k}" for k in range(KEPT)]
    given = ", ".join(f"i64 {w}" for w in words)
    f = Function("NAME", f"ptr %block, ptr %incref, ptr %decref, ptr %kept, {given}", "i64")
    f.line("call void @NAME_free(ptr %block, ptr %decref)")
    asked = _shared(f, "%block", ASKED)
    freed = f.load("i64", _at(f, "%block", FREED), 8)
    room = f.value(f"icmp slt i64 {f.value(f'sub i64 {asked}, {freed}')}, {JOBS}")
    native.branch(f, room, "room", "full")
    f.label("full")
    f.line("ret i64 0")
    f.label("room")
    f.line("call void %incref(ptr %kept)")
    job = _job(f, asked)
    for k, word in enumerate(words):
        f.store("i64", word, _at(f, job, k), 8)
    f.store("ptr", "%kept", _at(f, job, KEPT), 8)
    after = f.value(f"add i64 {asked}, 1")
    f.line(f"store atomic i64 {after}, ptr {_at(f, '%block', ASKED)} release, align 8")
    internal = native.internal(_let_go("NAME_free"))
    return native.named("\n".join([f.finish("i64 1"), internal]), "flambeau_ask")


def _join() -> Kernel:
    """``void (block, give_way)``: until nothing is left."""
    f = Function("NAME", "ptr %block, ptr %give_way")
    native.jump(f, "look")
    f.label("look")
    f.line("%turns = phi i64 [ 0, %entry ], [ %turns.next, %wait ], [ 0, %yield ], [ 0, %left ]")
    some = has_next(f, "%block")
    native.branch(f, some, "left", "over")
    f.label("left")
    did = f.value("call i64 @NAME_next(ptr %block)")
    native.branch(f, f.value(f"icmp ne i64 {did}, 0"), "look", "wait")
    f.label("wait")
    native.pause(f)
    f.line("%turns.next = add i64 %turns, 1")
    native.branch(f, f.value("icmp ult i64 %turns.next, 4096"), "look", "yield")
    f.label("yield")
    # Whoever is at it may be waiting for this processor.
    f.value("call i32 %give_way()")
    native.jump(f, "look")
    f.label("over")
    return native.named("\n".join([f.finish(), do_next("NAME_next")]), "flambeau_chores")


def kernels() -> list[Kernel]:
    """What the compiler is asked for."""
    return [_ask(), _join(), native.named(_let_go("NAME"), "flambeau_free")]


_block = aligned(8 * (RING + JOBS * WORDS))


def install(addresses: Mapping[str, int]) -> None:
    """Makes the functions known, and the ring to the pool's threads."""
    ask, join, let_go = (addresses[k.name] for k in kernels())
    block, word = _block.ctypes.data, ctypes.c_int64
    take, drop = (pointer_of(getattr(ctypes.pythonapi, n)) for n in ("Py_IncRef", "Py_DecRef"))
    # Python's lock is kept: it is what keeps two threads from asking at once.
    asking = ctypes.PYFUNCTYPE(word, word, word, word, ctypes.py_object, *[word] * KEPT)(ask)
    freeing = ctypes.PYFUNCTYPE(None, word, word)(let_go)
    joining = ctypes.CFUNCTYPE(None, word, word)(join)
    give_way = pointer_of(ctypes.CDLL(None).sched_yield)

    def joined() -> None:
        joining(block, give_way)
        freeing(block, drop)

    words = tuple([word.from_address(block + 8 * at) for at in (ASKED, DONE, LOCK)])
    chores.prepare(words, partial(asking, block, take, drop), joined, get_num_threads)
    set_root("chores", block)
