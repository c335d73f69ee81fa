"""The compiled side of the pool: how threads wait for a job, share it out, and end it."""

from __future__ import annotations

import hashlib
import platform

from flambeau.run.compiler.emit import Function, Kernel
from flambeau.run.compiler.threads_memory import TAIL_DONE, TAIL_RUNS, WORD

__all__ = ["internal", "job_functions", "kernels", "named", "try_lock"]


def address(f: Function, base: str, offset: int) -> str:
    return f.value(f"getelementptr i8, ptr {base}, i64 {offset}")


def read(f: Function, base: str, offset: int, ty: str = "i64") -> str:
    return f.value(f"load {ty}, ptr {address(f, base, offset)}, align 8")


def read_shared(f: Function, name: str, order: str = "seq_cst") -> str:
    """A word of ROOT that other threads write."""
    at = address(f, "%root", WORD[name])
    return f.value(f"load atomic i64, ptr {at} {order}, align 8")


def add_shared(f: Function, name: str, amount: str, order: str = "seq_cst") -> str:
    """Adds to a word of ROOT; gives what it was."""
    at = address(f, "%root", WORD[name])
    return f.value(f"atomicrmw add ptr {at}, i64 {amount} {order}")


def branch(f: Function, condition: str, then: str, otherwise: str) -> None:
    f.line(f"br i1 {condition}, label %{then}, label %{otherwise}")


def jump(f: Function, to: str) -> None:
    f.line(f"br label %{to}")


def pause(f: Function) -> None:
    """Tells the processor that this is a waiting loop."""
    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        f.declared.add("declare void @llvm.x86.sse2.pause()")
        f.line("call void @llvm.x86.sse2.pause()")
    elif machine in ("aarch64", "arm64"):
        f.declared.add("declare void @llvm.aarch64.hint(i32)")
        f.line("call void @llvm.aarch64.hint(i32 1)")


def take_chunks(
    f: Function,
    leave: str,
    function: str,
    pointers: str,
    units: str,
    chunk: str,
    scratch: str,
    back: str,
) -> None:
    """Runs chunks of the job until there are none; goes on at the label ``leave``.

    ``back`` (i64): 0 takes the first that is left, 1 the last: so that of weights, their gradients
    and an optimizer's state each of two threads has the same half in its cache in every step. The
    counter's halves say how many were taken at either end.
    """
    most = f.value(f"add i64 {units}, {f.value(f'sub i64 {chunk}, 1')}")
    chunks = f.value(f"udiv i64 {most}, {chunk}")
    from_back = f.value(f"icmp ne i64 {back}, 0")
    one = f.value(f"select i1 {from_back}, i64 {1 << 32}, i64 1")
    jump(f, "take")
    f.label("take")
    taken = add_shared(f, "next", one, "monotonic")
    low, high = f.value(f"and i64 {taken}, {(1 << 32) - 1}"), f.value(f"lshr i64 {taken}, 32")
    over = f.value(f"icmp sge i64 {f.value(f'add i64 {low}, {high}')}, {chunks}")
    branch(f, over, leave, "got")
    f.label("got")
    mirrored = f.value(f"sub i64 {f.value(f'sub i64 {chunks}, 1')}, {high}")
    place = f.value(f"select i1 {from_back}, i64 {mirrored}, i64 {low}")
    start = f.value(f"mul i64 {place}, {chunk}")
    stop = f.value(f"add i64 {start}, {chunk}")
    last = f.value(f"icmp sgt i64 {stop}, {units}")
    stop = f.value(f"select i1 {last}, i64 {units}, i64 {stop}")
    f.line(f"call void {function}(ptr {pointers}, i64 {start}, i64 {stop}, ptr {scratch})")
    jump(f, "take")


def named(text: str, hint: str) -> Kernel:
    """The kernel of ``text``, whose NAME becomes one that says what it holds."""
    name = f"{hint}_{hashlib.blake2b(text.encode(), digest_size=10).hexdigest()}"
    return Kernel(name, text.replace("NAME", name))


def wait_loop() -> Kernel:
    """``void (ptr root, i64 index)``: a worker's life, until ``stop``."""
    from flambeau.run.compiler.chores import do_next, has_next

    f = Function("NAME", "ptr %root, i64 %index")
    watch, alone = (read(f, "%root", WORD[n]) for n in ("watch", "watch_alone"))
    give_way = read(f, "%root", WORD["yield"], "ptr")
    futex = read(f, "%root", WORD["futex"])
    has_futex = f.value(f"icmp ne i64 {futex}, 0")
    jump(f, "idle")

    f.label("idle")
    f.line(
        "%seen = phi i64 [ 0, %entry ], [ %seen, %awake ], [ %joined, %leave ], [ %seen, %chore ]"
    )
    jump(f, "watch")
    f.label("watch")
    f.line("%turns = phi i64 [ 0, %idle ], [ %turns.next, %still ]")
    stop = read_shared(f, "stop", "monotonic")
    branch(f, f.value(f"icmp ne i64 {stop}, 0"), "stopped", "look")
    f.label("look")
    now = read_shared(f, "generation", "acquire")
    branch(f, is_news(f, now), "join", "spare")
    f.label("spare")
    ring = read(f, "%root", WORD["chores"], "ptr")
    branch(f, f.value(f"icmp eq ptr {ring}, null"), "on", "ring")
    f.label("ring")
    branch(f, has_next(f, ring), "chore", "on")
    f.label("chore")
    did = f.value(f"call i64 @NAME_next(ptr {ring})")
    branch(f, f.value(f"icmp ne i64 {did}, 0"), "idle", "on")
    f.label("on")
    pause(f)
    f.line("%turns.next = add i64 %turns, 1")
    some = f.value(f"icmp eq i64 {f.value('and i64 %turns, 63')}, 63")
    late = f.value(f"icmp ugt i64 %turns, {alone}")
    branch(f, f.value(f"and i1 {some}, {late}"), "others", "still")
    f.label("others")
    f.value(f"call i32 {give_way}()")
    jump(f, "still")
    f.label("still")
    branch(f, f.value(f"icmp ult i64 %turns.next, {watch}"), "watch", "tire")

    # Counted as a sleeper before the last look: whoever publishes after it sees the sleeper.
    f.label("tire")
    add_shared(f, "sleepers", "1")
    last = read_shared(f, "generation")
    stop = read_shared(f, "stop")
    go = f.value(f"or i1 {is_news(f, last)}, {f.value(f'icmp ne i64 {stop}, 0')}")
    branch(f, go, "awake", "sleep")
    f.label("sleep")
    branch(f, has_futex, "futex", "nap")
    f.label("futex")
    syscall = read(f, "%root", WORD["syscall"], "ptr")
    word = f.value(f"trunc i64 {last} to i32")
    f.value(f"call i64 (i64, ...) {syscall}(i64 {futex}, ptr %root, i32 128, i32 {word}, ptr null)")
    jump(f, "awake")
    f.label("nap")
    sleep = read(f, "%root", WORD["nanosleep"], "ptr")
    f.value(f"call i32 {sleep}(ptr {address(f, '%root', WORD['nap'])}, ptr null)")
    jump(f, "awake")
    f.label("awake")
    add_shared(f, "sleepers", "-1")
    jump(f, "idle")

    f.label("join")
    scratch = f.element(address(f, "%root", WORD["scratch"]), "ptr", "%index")
    take_part(f, f.load("ptr", scratch, 8), f.value("and i64 %index, 1"))
    jump(f, "idle")
    f.label("stopped")
    return named("\n".join([f.finish(), do_next("NAME_next")]), "flambeau_wait")


def is_news(f: Function, generation: str) -> str:
    """Whether a job is open that this worker has not seen."""
    is_open = f.value(f"trunc i64 {generation} to i1")
    return f.value(f"and i1 {is_open}, {f.value(f'icmp ne i64 {generation}, %seen')}")


def take_part(f: Function, scratch: str, back: str) -> None:
    """Joins the job that is open, if it still is; ``%joined`` is its number. Ends in ``leave``."""
    add_shared(f, "active", "1")
    at = address(f, "%root", WORD["generation"])
    f.line(f"%joined = load atomic i64, ptr {at} seq_cst, align 8")
    branch(f, f.value("trunc i64 %joined to i1"), "work", "leave")
    f.label("work")
    function = read(f, "%root", WORD["function"], "ptr")
    pointers = read(f, "%root", WORD["pointers"], "ptr")
    units, chunk = (read(f, "%root", WORD[n]) for n in ("units", "chunk"))
    take_chunks(f, "leave", function, pointers, units, chunk, scratch, back)
    f.label("leave")
    add_shared(f, "active", "-1", "release")


def job_functions(name: str) -> list[str]:
    """What a launch calls; the pool must be its own.

    - ``void {name}_begin(root, function, pointers, units, chunk, wake)``: publishes a job; wakes
      so many sleepers
    - ``void {name}_close(root, floor)``: ends it; waits until no more than ``floor`` are at it,
      as ``{name}_drain`` does
    - ``void {name}_parallel(root, function, pointers, units, chunk, scratch, quiet, floor)``: a
      whole job. ``quiet``: only workers that are awake take part; ``floor``: how many of those
      that count as active the caller is
    """
    return [
        internal(f) for f in (_begin_job(name), _close_job(name), _drain(name), _parallel(name))
    ]


def _begin_job(name: str) -> str:
    f = Function(
        f"{name}_begin",
        "ptr %root, ptr %function, ptr %pointers, i64 %units, i64 %chunk, i64 %wake",
    )
    for field, ty in (("function", "ptr"), ("pointers", "ptr"), ("units", "i64"), ("chunk", "i64")):
        f.store(ty, f"%{field}", address(f, "%root", WORD[field]), 8)
    f.store("i64", "0", address(f, "%root", WORD["next"]), 8)
    add_shared(f, "generation", "1")
    sleepers = read_shared(f, "sleepers")
    futex = read(f, "%root", WORD["futex"])
    asleep = f.value(f"icmp ne i64 {sleepers}, 0")
    has_futex = f.value(f"icmp ne i64 {futex}, 0")
    can_wake = f.value(f"and i1 {asleep}, {has_futex}")
    is_loud = f.value("icmp ne i64 %wake, 0")
    branch(f, f.value(f"and i1 {can_wake}, {is_loud}"), "rouse", "begun")
    f.label("rouse")
    fewer = f.value(f"icmp slt i64 %wake, {sleepers}")
    count = f.value(f"select i1 {fewer}, i64 %wake, i64 {sleepers}")
    count = f.value(f"trunc i64 {count} to i32")
    syscall = read(f, "%root", WORD["syscall"], "ptr")
    f.value(f"call i64 (i64, ...) {syscall}(i64 {futex}, ptr %root, i32 129, i32 {count})")
    jump(f, "begun")
    f.label("begun")
    return f.finish()


def _close_job(name: str) -> str:
    f = Function(f"{name}_close", "ptr %root, i64 %floor")
    add_shared(f, "generation", "1")
    f.line(f"call void @{name}_drain(ptr %root, i64 %floor)")
    return f.finish()


def _drain(name: str) -> str:
    f = Function(f"{name}_drain", "ptr %root, i64 %floor")
    jump(f, "wait")
    f.label("wait")
    f.line("%turns = phi i64 [ 0, %entry ], [ %turns.next, %again ], [ 0, %yield ]")
    active = read_shared(f, "active")
    branch(f, f.value(f"icmp sgt i64 {active}, %floor"), "busy", "over")
    f.label("busy")
    pause(f)
    f.line("%turns.next = add i64 %turns, 1")
    branch(f, f.value("icmp ult i64 %turns.next, 4096"), "again", "yield")
    f.label("again")
    jump(f, "wait")
    f.label("yield")
    # The worker that is missing may be waiting for this processor.
    f.value(f"call i32 {read(f, '%root', WORD['yield'], 'ptr')}()")
    jump(f, "wait")
    f.label("over")
    return f.finish()


def _parallel(name: str) -> str:
    f = Function(
        f"{name}_parallel",
        "ptr %root, ptr %function, ptr %pointers, i64 %units, i64 %chunk, ptr %scratch, "
        "i64 %quiet, i64 %floor",
    )
    # No more than there are chunks beside the caller's own.
    chunks = f.value(f"sdiv i64 {f.value('sub i64 %units, 1')}, %chunk")
    is_quiet = f.value("icmp ne i64 %quiet, 0")
    wake = f.value(f"select i1 {is_quiet}, i64 0, i64 {chunks}")
    f.line(
        f"call void @{name}_begin(ptr %root, ptr %function, ptr %pointers, i64 %units, "
        f"i64 %chunk, i64 {wake})"
    )
    take_chunks(f, "close", "%function", "%pointers", "%units", "%chunk", "%scratch", "%floor")
    f.label("close")
    f.line(f"call void @{name}_close(ptr %root, i64 %floor)")
    return f.finish()


def join_function() -> Kernel:
    """``void (root)``: helps with a tail until it is done, and gives its pool back."""
    f = Function("NAME", "ptr %root")
    scratch = read(f, "%root", WORD["scratch"], "ptr")
    jump(f, "look")
    f.label("look")
    f.line(
        "%seen = phi i64 [ 0, %entry ], [ %seen, %again ], [ %seen, %yield ], [ %joined, %left ]"
    )
    f.line("%turn = phi i64 [ 0, %entry ], [ %turn.next, %again ], [ 0, %yield ], [ 0, %left ]")
    state = read_shared(f, "tail", "acquire")
    branch(f, f.value(f"icmp eq i64 {state}, {TAIL_RUNS}"), "running", "ended")
    f.label("running")
    now = read_shared(f, "generation", "acquire")
    branch(f, is_news(f, now), "join", "still")
    f.label("still")
    pause(f)
    f.line("%turn.next = add i64 %turn, 1")
    branch(f, f.value("icmp ult i64 %turn.next, 4096"), "again", "yield")
    f.label("again")
    jump(f, "look")
    f.label("yield")
    f.value(f"call i32 {read(f, '%root', WORD['yield'], 'ptr')}()")
    jump(f, "look")
    f.label("join")
    take_part(f, scratch, "0")
    jump(f, "left")
    f.label("left")
    jump(f, "look")
    f.label("ended")
    branch(f, f.value(f"icmp eq i64 {state}, {TAIL_DONE}"), "done", "none")
    f.label("none")
    f.line("ret void")
    f.label("done")
    f.line("call void @NAME_drain(ptr %root, i64 0)")
    for word in ("tail", "lock"):
        at = address(f, "%root", WORD[word])
        f.line(f"store atomic i64 0, ptr {at} release, align 8")
    return named("\n".join([f.finish(), internal(_drain("NAME"))]), "flambeau_join")


def internal(text: str) -> str:
    return text.replace("define ", "define internal ", 1)


def try_lock(name: str) -> str:
    """``i64 (root)``: takes the pool, 1, or 0 if it is taken."""
    f = Function(name, "ptr %root", "i64")
    # Locks count as held if they hold this process's number: a fork frees them in the child.
    epoch = read(f, "%root", WORD["epoch"])
    held = read_shared(f, "lock")
    branch(f, f.value(f"icmp eq i64 {held}, {epoch}"), "no", "try")
    f.label("no")
    f.line("ret i64 0")
    f.label("try")
    at = address(f, "%root", WORD["lock"])
    pair = f.value(f"cmpxchg ptr {at}, i64 {held}, i64 {epoch} seq_cst seq_cst")
    got = f.value(f"extractvalue {{ i64, i1 }} {pair}, 1")
    return f.finish(f"i64 {f.value(f'zext i1 {got} to i64')}")


def lock_function() -> Kernel:
    """``try_lock`` for Python."""
    return named(try_lock("NAME"), "flambeau_lock")


def watch_function() -> Kernel:
    """``void (i64 turns)``: so many turns of waiting, to learn how long they take."""
    f = Function("NAME", "i64 %turns")
    with f.loop("0", "%turns"):
        pause(f)
    return named(f.finish(), "flambeau_watch")


def kernels() -> list[Kernel]:
    """What the pool needs of the compiler."""
    return [wait_loop(), lock_function(), watch_function(), join_function()]
