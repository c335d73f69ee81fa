"""The text of the builtin function that runs a program: ``launch.py`` says what it does."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from flambeau.run.compiler.emit import Function, Kernel
from flambeau.run.compiler.launch_objects import CONTIGUOUS_ALIGNED, layout
from flambeau.run.compiler.threads_kernels import (
    address,
    branch,
    internal,
    job_functions,
    jump,
    named,
    read,
    try_lock,
)
from flambeau.run.compiler.threads_memory import TAIL_DONE, TAIL_RUNS, WORD

__all__ = ["AT", "FAULTY", "LEFT", "OBJECTS", "PYTHON", "driver"]

# What a launch gives when a kernel noted a fault: the steps after it were not run.
FAULTY = 1 << 40
# What it gives when the pool goes on with the steps from word 15 on (``run/tail.py``).
LEFT = 1 << 41

# Addresses of Python's that the driver uses: words of ROOT from "python" on.
PYTHON = (
    "PyEval_SaveThread",
    "PyEval_RestoreThread",
    "PyFloat_AsDouble",
    "PyLong_AsLongLong",
    "PyErr_Occurred",
    "PyErr_SetString",
    "PyErr_NoMemory",
    "PyLong_FromLongLong",
    "PyObject_CallNoArgs",
    "Py_DecRef",
    "PyMem_RawMalloc",
    "PyMem_RawFree",
)
OBJECTS: dict[str, Any] = {
    "float": float,
    "list": list,
    "tuple": tuple,
    "ndarray": np.ndarray,
    "ValueError": ValueError,
}
AT = {name: WORD["python"] + 8 * i for i, name in enumerate((*PYTHON, *OBJECTS, "message"))}


class _Driver:
    """The driver's text, part by part."""

    def __init__(self) -> None:
        self.at = layout()
        self.f = Function("NAME", "ptr %self, ptr %args, i64 %count", "ptr")

    def python(self, name: str, returns: str, *arguments: str) -> str:
        function = read(self.f, "%root", AT[name], "ptr")
        given = f"call {returns} {function}({', '.join(arguments)})"
        if returns == "void":
            self.f.line(given)
            return ""
        return self.f.value(given)

    def field(self, word: int, ty: str = "i64") -> str:
        return read(self.f, "%desc", 8 * word, ty)

    def text(self) -> str:
        f = self.f
        f.line(f"%desc = load ptr, ptr {address(f, '%self', self.at.data)}, align 8")
        f.line(f"%root = load ptr, ptr {address(f, '%desc', 8 * 13)}, align 8")
        # What the fourth argument says is that there is one.
        f.line("%later.asked = icmp eq i64 %count, 4")
        lists = f.value(f"sub i64 %count, {f.value('zext i1 %later.asked to i64')}")
        branch(f, f.value(f"icmp eq i64 {lists}, 3"), "counted", "misused")
        f.label("misused")
        self.python(
            "PyErr_SetString",
            "void",
            f"ptr {read(f, '%root', AT['ValueError'], 'ptr')}",
            f"ptr {read(f, '%root', AT['message'], 'ptr')}",
        )
        f.line("ret ptr null")
        f.label("counted")
        self.begin()
        self.arguments()
        self.numbers()
        self.take()
        self.arrays("inputs", 2, "1", "1")
        self.arrays("outs", 4, "-1", "-1")
        self.store_numbers()
        self.run()
        answer = self.leave()
        helpers = [internal(try_lock("NAME_lock")), *job_functions("NAME")]
        helpers += [self.items(), self.number(), steps_function(), tail_function()]
        return "\n".join([f.finish(f"ptr {answer}"), *helpers])

    def begin(self) -> None:
        """Starts the pool's threads where that is due."""
        f = self.f
        pending = read(f, "%root", WORD["pending"])
        branch(f, f.value(f"icmp eq i64 {pending}, 0"), "ready", "start")
        f.label("start")
        callback = read(f, "%root", WORD["begin"], "ptr")
        result = self.python("PyObject_CallNoArgs", "ptr", f"ptr {callback}")
        branch(f, f.value(f"icmp eq ptr {result}, null"), "not.started", "started")
        f.label("not.started")
        f.line("ret ptr null")
        f.label("started")
        self.python("Py_DecRef", "void", f"ptr {result}")
        jump(f, "ready")
        f.label("ready")

    def arguments(self) -> None:
        """Where the items of the three lists lie."""
        f = self.f
        for position, (name, word) in enumerate((("inputs", 2), ("outs", 4), ("numbers", 6))):
            given = read(f, "%args", 8 * position, "ptr")
            # Numbers are picked by index, so their list may be longer.
            exact = "i1 false" if name == "numbers" else "i1 true"
            f.line(
                f"%{name} = call ptr @NAME_items(ptr %root, ptr {given}, "
                f"i64 {self.field(word)}, {exact})"
            )
            missing = f.value(f"icmp eq ptr %{name}, null")
            branch(f, missing, "misused", f"with.{name}")
            f.label(f"with.{name}")
        # Where the list of numbers ends: no index may reach it.
        given = read(f, "%args", 16, "ptr")
        f.line(f"%numbers.size = load i64, ptr {address(f, given, self.at.size)}, align 8")

    def take(self) -> None:
        """Waits for another thread's run of this program; takes the pool if it is free."""
        f = self.f
        busy = address(f, "%desc", 8 * 12)
        epoch = read(f, "%root", WORD["epoch"])
        jump(f, "try")
        f.label("try")
        held = f.value(f"load atomic i64, ptr {busy} seq_cst, align 8")
        branch(f, f.value(f"icmp eq i64 {held}, {epoch}"), "others", "mine")
        f.label("others")
        state = self.python("PyEval_SaveThread", "ptr")
        nap = address(f, "%root", WORD["nap"])
        f.value(f"call i32 {read(f, '%root', WORD['nanosleep'], 'ptr')}(ptr {nap}, ptr null)")
        self.python("PyEval_RestoreThread", "void", f"ptr {state}")
        jump(f, "try")
        f.label("mine")
        pair = f.value(f"cmpxchg ptr {busy}, i64 {held}, i64 {epoch} seq_cst seq_cst")
        branch(f, f.value(f"extractvalue {{ i64, i1 }} {pair}, 1"), "taken", "try")
        f.label("taken")
        f.line("%pool = call i64 @NAME_lock(ptr %root)")
        f.line("%has.pool = trunc i64 %pool to i1")
        branch(f, "%has.pool", "lent", "own")
        f.label("lent")
        lent = read(f, "%root", WORD["scratch"], "ptr")
        jump(f, "settled")
        f.label("own")
        # Another thread's launch has the pool and its scratch memory.
        size = f.value(f"add i64 {read(f, '%root', WORD['scratch_bytes'])}, 64")
        own = self.python("PyMem_RawMalloc", "ptr", f"i64 {size}")
        up = f.value(f"add i64 {f.value(f'ptrtoint ptr {own} to i64')}, 63")
        up = f.value(f"inttoptr i64 {f.value(f'and i64 {up}, -64')} to ptr")
        branch(f, f.value(f"icmp eq ptr {own}, null"), "no.memory", "owned")
        f.label("no.memory")
        f.line(f"store atomic i64 0, ptr {busy} seq_cst, align 8")
        self.python("PyErr_NoMemory", "ptr")
        f.line("ret ptr null")
        f.label("owned")
        jump(f, "settled")
        f.label("settled")
        f.line(f"%scratch = phi ptr [ {lent}, %lent ], [ {up}, %owned ]")
        f.line(f"%own.memory = phi ptr [ null, %lent ], [ {own}, %owned ]")
        f.line(f"%table = load ptr, ptr {address(f, '%desc', 8 * 9)}, align 8")
        # Gathered here: how each early end went.
        self.ends: list[tuple[str, str]] = []

    def arrays(self, name: str, word: int, first: str, step: str) -> None:
        """Their memory's addresses into the table; the first bad one ends it with its code."""
        f = self.f
        count, slots = self.field(word), self.field(word + 1, "ptr")
        kind = read(f, "%root", AT["ndarray"], "ptr")
        with f.loop("0", count) as loop:
            item = f.load("ptr", f.element(f"%{name}", "ptr", loop.index), 8)
            is_array = f.value(f"icmp eq ptr {read(f, item, self.at.kind, 'ptr')}, {kind}")
            branch(f, is_array, f"array.{name}", f"bad.{name}")
            f.label(f"array.{name}")
            flags = f.value(f"load i32, ptr {address(f, item, self.at.flags)}, align 4")
            flags = f.value(f"and i32 {flags}, {CONTIGUOUS_ALIGNED}")
            is_plain = f.value(f"icmp eq i32 {flags}, {CONTIGUOUS_ALIGNED}")
            branch(f, is_plain, f"plain.{name}", f"bad.{name}")
            f.label(f"bad.{name}")
            code = f.value(f"add i64 {first}, {f.value(f'mul i64 {step}, {loop.index}')}")
            self.ends.append((code, f"bad.{name}"))
            jump(f, "end")
            f.label(f"plain.{name}")
            slot = f.load("i64", f.element(slots, "i64", loop.index), 8)
            memory = read(f, item, self.at.data, "ptr")
            f.store("ptr", memory, f.element("%table", "ptr", slot), 8)

    def numbers(self) -> None:
        """Converts them on the stack: while nothing is taken, for Python code may run here."""
        f = self.f
        count, pairs = self.field(6), self.field(7, "ptr")
        f.line(f"%converted = alloca i64, i64 {count}, align 8")
        with f.loop("0", count) as loop:
            pair = f.element(pairs, "{ i64, i64 }", loop.index)
            index = f.load("i64", pair, 8)
            branch(f, f.value(f"icmp ult i64 {index}, %numbers.size"), "known", "misused")
            f.label("known")
            item = f.load("ptr", f.element("%numbers", "ptr", index), 8)
            kind = read(f, pair, 8)
            place = f.element("%converted", "i64", loop.index)
            went = f.value(f"call i1 @NAME_number(ptr %root, ptr {item}, i64 {kind}, ptr {place})")
            branch(f, went, "stored", "refused")
            f.label("refused")
            f.line("ret ptr null")
            f.label("stored")

    def store_numbers(self) -> None:
        f = self.f
        count, places = self.field(6), self.field(8, "ptr")
        with f.loop("0", count) as loop:
            value = f.load("i64", f.element("%converted", "i64", loop.index), 8)
            f.store("i64", value, f.element(places, "i64", loop.index), 8)

    def run(self) -> None:
        f = self.f
        release = f.value(f"icmp ne i64 {self.field(11)}, 0")
        branch(f, release, "release", "keep")
        f.label("release")
        saved = self.python("PyEval_SaveThread", "ptr")
        jump(f, "steps")
        f.label("keep")
        jump(f, "steps")
        f.label("steps")
        f.line(f"%state = phi ptr [ {saved}, %release ], [ null, %keep ]")
        workers = f.value(f"icmp ne i64 {read(f, '%root', WORD['workers'])}, 0")
        shared = f.value(f"and i1 {workers}, %has.pool")
        count, kept = self.field(0), self.field(15)
        # A tail needs a worker to run it.
        later = f.value(f"and i1 %later.asked, {shared}")
        later = f.value(f"and i1 {later}, {f.value(f'icmp slt i64 {kept}, {count}')}")
        front = f.value(f"select i1 {later}, i64 {kept}, i64 {count}")
        wrong = f.value(
            f"call i64 @NAME_steps(ptr %root, ptr %desc, i64 0, i64 {front}, ptr %scratch, "
            f"i1 {shared}, i64 0)"
        )
        branch(f, f.value(f"icmp eq i64 {wrong}, 0"), "sound", "faulty")
        f.label("faulty")
        self.ends.append((str(FAULTY), "faulty"))
        jump(f, "end")
        f.label("sound")
        branch(f, later, "leave.tail", "whole")
        f.label("leave.tail")
        at = address(f, "%root", WORD["tail"])
        f.line(f"store atomic i64 {TAIL_RUNS}, ptr {at} release, align 8")
        f.line("call void @NAME_begin(ptr %root, ptr @NAME_tail, ptr %desc, i64 1, i64 1, i64 1)")
        branch(f, f.value("icmp eq ptr %state, null"), "left", "left.restore")
        f.label("left.restore")
        self.python("PyEval_RestoreThread", "void", "ptr %state")
        jump(f, "left")
        f.label("left")
        f.line(f"ret ptr {self.python('PyLong_FromLongLong', 'ptr', f'i64 {LEFT}')}")
        f.label("whole")
        finish(f)
        self.ends.append(("0", "whole"))
        jump(f, "end")

    def leave(self) -> str:
        """Gives everything back; the answer is the code of how it ended."""
        f = self.f
        f.label("end")
        codes = ", ".join(f"[ {code}, %{label} ]" for code, label in self.ends)
        states = ", ".join(
            f"[ {'%state' if label in ('whole', 'faulty') else 'null'}, %{label} ]"
            for _, label in self.ends
        )
        f.line(f"%code = phi i64 {codes}")
        f.line(f"%to.restore = phi ptr {states}")
        branch(f, "%has.pool", "give.pool", "free.own")
        f.label("give.pool")
        lock = address(f, "%root", WORD["lock"])
        f.line(f"store atomic i64 0, ptr {lock} release, align 8")
        jump(f, "given")
        f.label("free.own")
        self.python("PyMem_RawFree", "void", "ptr %own.memory")
        jump(f, "given")
        f.label("given")
        branch(f, f.value("icmp eq ptr %to.restore, null"), "with.gil", "restore")
        f.label("restore")
        self.python("PyEval_RestoreThread", "void", "ptr %to.restore")
        jump(f, "with.gil")
        f.label("with.gil")
        busy = address(f, "%desc", 8 * 12)
        f.line(f"store atomic i64 0, ptr {busy} release, align 8")
        return self.python("PyLong_FromLongLong", "ptr", "i64 %code")

    def items(self) -> str:
        """``ptr (root, sequence, count, exact)``: its first item; NULL if it is another thing."""
        f = Function("NAME_items", "ptr %root, ptr %given, i64 %count, i1 %exact", "ptr")
        kind = read(f, "%given", self.at.kind, "ptr")
        size = read(f, "%given", self.at.size)
        same = f.value(f"icmp eq i64 {size}, %count")
        fits = f.value(f"select i1 %exact, i1 {same}, i1 true")
        is_list = f.value(f"icmp eq ptr {kind}, {read(f, '%root', AT['list'], 'ptr')}")
        is_tuple = f.value(f"icmp eq ptr {kind}, {read(f, '%root', AT['tuple'], 'ptr')}")
        # Neither of them: what is loaded as items is not looked at.
        is_either = f.value(f"or i1 {is_list}, {is_tuple}")
        fits = f.value(f"and i1 {fits}, {is_either}")
        branch(f, fits, "fits", "wrong")
        f.label("wrong")
        f.line("ret ptr null")
        f.label("fits")
        inside = address(f, "%given", self.at.tuple_items)
        outside = read(f, "%given", self.at.list_items, "ptr")
        # An empty list has no items to point at.
        none = f.value(f"icmp eq i64 {size}, 0")
        outside = f.value(f"select i1 {none}, ptr %given, ptr {outside}")
        return internal(
            f.finish(f"ptr {f.value(f'select i1 {is_list}, ptr {outside}, ptr {inside}')}")
        )

    def number(self) -> str:
        """``i1 (root, item, kind, place)``: stores a number; false with Python's error set."""
        at = layout()
        f = self.f = Function("NAME_number", "ptr %root, ptr %item, i64 %kind, ptr %place", "i1")
        kind = read(f, "%item", at.kind, "ptr")
        is_float = f.value(f"icmp eq ptr {kind}, {read(f, '%root', AT['float'], 'ptr')}")
        to_float = f.value("icmp eq i64 %kind, 0")
        branch(f, f.value(f"and i1 {is_float}, {to_float}"), "quick", "slow")
        f.label("quick")
        f.store("i64", read(f, "%item", at.number), "%place", 8)
        f.line("ret i1 true")
        f.label("slow")
        branch(f, to_float, "float", "int")
        f.label("float")
        real = self.python("PyFloat_AsDouble", "double", "ptr %item")
        f.store("double", real, "%place", 8)
        branch(f, f.value(f"fcmp oeq double {real}, -1.0"), "doubt", "good")
        f.label("int")
        whole = self.python("PyLong_AsLongLong", "i64", "ptr %item")
        f.store("i64", whole, "%place", 8)
        branch(f, f.value(f"icmp eq i64 {whole}, -1"), "doubt", "good")
        f.label("doubt")
        error = self.python("PyErr_Occurred", "ptr")
        branch(f, f.value(f"icmp eq ptr {error}, null"), "good", "bad")
        f.label("bad")
        f.line("ret i1 false")
        f.label("good")
        return internal(f.finish("i1 true"))


def steps_function() -> str:
    """``i64 (root, desc, first, last, scratch, shared, floor)``: runs steps; FAULTY or 0.

    ``shared``: the pool is ours; ``floor``: how many of its threads this one counts for.
    """
    f = Function(
        "NAME_steps",
        "ptr %root, ptr %desc, i64 %first, i64 %last, ptr %scratch, i1 %shared, i64 %floor",
        "i64",
    )
    table, steps, fault = (read(f, "%desc", 8 * word, "ptr") for word in (9, 1, 14))
    with f.loop("%first", "%last") as loop:
        step = f.element(steps, "[8 x i64]", loop.index)
        function, own = read(f, step, 0, "ptr"), read(f, step, 24, "ptr")
        slots, offsets = read(f, step, 16, "ptr"), read(f, step, 48, "ptr")
        with f.loop("0", read(f, step, 8)) as inner:
            slot = f.load("i64", f.element(slots, "i64", inner.index), 8)
            pointer = f.load("ptr", f.element(table, "ptr", slot), 8)
            more = f.load("i64", f.element(offsets, "i64", inner.index), 8)
            pointer = f.element(pointer, "i8", more)
            f.store("ptr", pointer, f.element(own, "ptr", inner.index), 8)
        units, chunk, quiet = (read(f, step, offset) for offset in (32, 40, 56))
        several = f.value(f"icmp sgt i64 {units}, {chunk}")
        branch(f, f.value(f"and i1 {several}, %shared"), "together", "alone")
        f.label("together")
        f.line(
            f"call void @NAME_parallel(ptr %root, ptr {function}, ptr {own}, i64 {units}, "
            f"i64 {chunk}, ptr %scratch, i64 {quiet}, i64 %floor)"
        )
        jump(f, "next")
        f.label("alone")
        f.line(f"call void {function}(ptr {own}, i64 0, i64 {units}, ptr %scratch)")
        jump(f, "next")
        f.label("next")
        branch(f, f.value(f"icmp eq ptr {fault}, null"), "sound", "look")
        f.label("look")
        branch(f, f.value(f"icmp eq i64 {f.load('i64', fault, 8)}, 0"), "sound", "faulty")
        f.label("faulty")
        f.line(f"ret i64 {FAULTY}")
        f.label("sound")
    return internal(f.finish("i64 0"))


def tail_function() -> str:
    """``void (desc, 0, 1, scratch)``: the steps that a call left, as a job of the pool."""
    f = Function("NAME_tail", "ptr %desc, i64 %start, i64 %stop, ptr %scratch")
    f.line(f"%root = load ptr, ptr {address(f, '%desc', 8 * 13)}, align 8")
    # Its own job is over as one to take part in: those of its steps are.
    f.line("call void @NAME_close(ptr %root, i64 1)")
    # None of these can refuse a value: such steps were run before.
    f.value(
        f"call i64 @NAME_steps(ptr %root, ptr %desc, i64 {read(f, '%desc', 8 * 15)}, "
        f"i64 {read(f, '%desc', 0)}, ptr %scratch, i1 true, i64 1)"
    )
    finish(f)
    busy = address(f, "%desc", 8 * 12)
    f.line(f"store atomic i64 0, ptr {busy} release, align 8")
    at = address(f, "%root", WORD["tail"])
    f.line(f"store atomic i64 {TAIL_DONE}, ptr {at} release, align 8")
    return internal(f.finish())


def finish(f: Function) -> None:
    """Counts the run as done."""
    counter = read(f, "%desc", 8 * 10, "ptr")
    raised = f.value(f"add i64 {f.load('i64', counter, 8)}, 1")
    f.store("i64", raised, counter, 8)


@cache
def driver() -> Kernel:
    """``PyObject *(self, args, count)``: what every program's function runs."""
    return named(_Driver().text(), "flambeau_launch")
