"""Watches programs run: what is there while a profile is open, and costs nothing otherwise.

The classes of programs get other methods while somebody listens, and their own back afterwards.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from flambeau.ir.graph import Entry
from flambeau.run import interpreter
from flambeau.run.program import Program

__all__ = ["Listener", "listen", "unlisten"]


class Listener:
    """Who wants to know of runs. ``detail``: also of the kernels and primitives within them."""

    detail = False

    def program(self, program: Program, start: float, end: float) -> None:
        """A program was run, by the interpreter or as native code (``program.native``)."""

    def kernel(self, name: str, kind: str, start: float, end: float, entry: Entry | None) -> None:
        """Within a program: a "kernel" of native code, or the reference of a "primitive"."""


_listeners: list[Listener] = []
_own: dict[tuple[type, str], Callable] = {}
_state = threading.local()
# While a program is run kernel by kernel, what describes its native call is changed.
_lock = threading.RLock()


def listen(listener: Listener) -> None:
    """From now on the listener is told."""
    if not _listeners:
        _install()
    _listeners.append(listener)


def unlisten(listener: Listener) -> None:
    """No longer."""
    _listeners.remove(listener)
    if not _listeners:
        for (owner, name), function in _own.items():
            setattr(owner, name, function)
        _own.clear()


def _install() -> None:
    from flambeau.run.compiler.program import Compiled

    for owner, name, function in (
        (Program, "__call__", _call),
        (Program, "interpret", _interpret),
        (Compiled, "__call__", _compiled_call),
        (Compiled, "write", _compiled_write),
        (Compiled, "call_host", _call_host),
    ):
        _own[owner, name] = getattr(owner, name)
        setattr(owner, name, function)


def _detailed() -> bool:
    return any(listener.detail for listener in _listeners)


def _call(self: Program, *args: Any) -> Any:
    run = _own[Program, "__call__"]
    if getattr(_state, "inside", False):
        # It began as another tier.
        return run(self, *args)
    _state.inside = True
    start = perf_counter()
    try:
        return run(self, *args)
    finally:
        _state.inside = False
        _tell(self, start, perf_counter())


def _tell(program: Program, start: float, end: float) -> None:
    for listener in tuple(_listeners):
        listener.program(program, start, end)


def _note(name: str, kind: str, start: float, end: float, entry: Entry | None = None) -> None:
    for listener in tuple(_listeners):
        if listener.detail:
            listener.kernel(name, kind, start, end, entry)


# --- the interpreter --------------------------------------------------------------------------


class _Timed:
    """A primitive whose reference is timed."""

    __slots__ = ("entry", "name", "of")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.of = entry.prim.reference
        self.name = entry.prim.name

    def reference(self, *args: Any, **attrs: Any) -> Any:
        start = perf_counter()
        result = self.of(*args, **attrs)
        _note(self.name, "primitive", start, perf_counter(), self.entry)
        return result


def _timed(entry: Entry) -> Entry:
    return Entry(
        _Timed(entry),  # type: ignore[arg-type]
        entry.inputs,
        entry.outputs,
        entry.attrs,
        entry.in_avals,
        entry.out_avals,
        entry.grad,
    )


def _interpret(self: Program, inputs: Sequence[Any], numbers: Sequence[Any]) -> list[Any]:
    if not _detailed():
        return _own[Program, "interpret"](self, inputs, numbers)
    with np.errstate(all="ignore"):
        return interpreter.walk([_timed(e) for e in self.entries], self.outs, inputs, numbers)


# --- native code ------------------------------------------------------------------------------


def _compiled_call(self: Any, *args: Any) -> Any:
    if not _detailed():
        return _own[type(self), "__call__"](self, *args)
    with _lock, _KernelByKernel(self):
        return _own[type(self), "__call__"](self, *args)


def _compiled_write(self: Any, *args: Any) -> Any:
    run = _own[type(self), "write"]
    # Without a tail: the call takes as long as the program.
    args = (*args[:2], False)
    start = perf_counter()
    try:
        if not _detailed():
            return run(self, *args)
        with _lock, _KernelByKernel(self):
            return run(self, *args)
    finally:
        if not getattr(_state, "inside", False):
            _tell(self, start, perf_counter())


def _call_host(self: Any, node: Any, *args: Any) -> None:
    start = perf_counter()
    _own[type(self), "call_host"](self, node, *args)
    _note(node.entry.prim.name, "primitive", start, perf_counter(), node.entry)


class _Part:
    """A native call of a program, made kernel by kernel."""

    def __init__(self, launch: Any, names: list[str]) -> None:
        self.launch = launch
        self.names = names

    def call(self, inputs: Any, outs: Any, numbers: Any) -> int:
        # The words that the function goes by: how many kernels, and where they are described.
        words = self.launch.call.__self__
        count, first = int(words[0]), int(words[1])
        if count != len(self.names) or count == 0:
            return self.launch.call(inputs, outs, numbers)
        went = 0
        try:
            words[0] = 1
            for k, name in enumerate(self.names):
                words[1] = first + 64 * k
                start = perf_counter()
                went = self.launch.call(inputs, outs, numbers)
                end = perf_counter()
                if went:
                    return went
                _note(name, "kernel", start, end)
                if k + 1 < count:
                    # It is not finished: only the last kernel counts as the end of a run.
                    self.launch.done[0] -= 1
        finally:
            words[0], words[1] = count, first
        return went


class _KernelByKernel:
    """Within, a program's native calls are timed kernel by kernel."""

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled

    def __enter__(self) -> None:
        compiled = self.compiled
        self.before = compiled.parts, compiled.single
        lines = iter(compiled.schedule.described)
        parts: list[Any] = []
        for given, part in zip(compiled.schedule.parts, compiled.parts, strict=True):
            if not hasattr(given, "steps"):
                parts.append(part)
                next(lines)
                continue
            names = [kernel_name(line) for _, line in zip(given.steps, lines, strict=False)]
            parts.append(_Part(part, names))
        compiled.parts = parts
        if compiled.single is not None:
            compiled.single = parts[0].call

    def __exit__(self, *exc: object) -> None:
        self.compiled.parts, self.compiled.single = self.before


def kernel_name(line: str) -> str:
    """What a kernel does, from its line in the program's description.

    >>> kernel_name("nest [64, 10], reduced over (1,): mul sum (2 operations, 1 stored) nest_1")
    'mul sum [64, 10], reduced over (1,)'
    >>> kernel_name("matmul: gemm_8x8, 4 units")
    'matmul: gemm_8x8'
    """
    head, _, rest = line.partition(": ")
    if head.startswith("nest "):
        return f"{rest.partition(' (')[0]} {head.removeprefix('nest ')}"
    return line.rpartition(", ")[0] or line
