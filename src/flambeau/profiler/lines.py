"""Time by line of the user's code: what each line recorded is computed before the next begins."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable
from time import perf_counter
from types import FrameType
from typing import Any

import flambeau
from flambeau.autograd.profiler import settle

__all__ = ["LineWatch", "caller", "is_users"]

_PACKAGE = os.path.dirname(os.path.abspath(flambeau.__file__)) + os.sep
_OTHERS = tuple(
    os.path.abspath(path) + os.sep
    for path in {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib")}
    if path
)
_TYPED = ("<stdin>", "<ipython", "<doctest")
_known: dict[str, bool] = {}


def is_users(filename: str) -> bool:
    """Whether a file is the user's: not the library's, Python's or an installed package's."""
    found = _known.get(filename)
    if found is None:
        path = os.path.abspath(filename)
        inside = path.startswith(_PACKAGE) or path.startswith(_OTHERS)
        # Generated code is nobody's; what was typed in is.
        made = filename.startswith("<") and not filename.startswith(_TYPED)
        found = _known[filename] = not inside and not made
    return found


def caller(frame: FrameType | None) -> tuple[str, ...]:
    """The user's lines on the stack, innermost first: ``file(line): function``."""
    found = []
    while frame is not None:
        if is_users(frame.f_code.co_filename):
            found.append(described(frame))
        frame = frame.f_back
    return tuple(found)


def described(frame: FrameType) -> str:
    """A frame's place."""
    code = frame.f_code
    return f"{code.co_filename}({frame.f_lineno}): {code.co_name}"


class LineWatch:
    """Tells ``note(place, start, end)`` for each stretch of time that a line took by itself.

    Between two lines everything recorded is computed. That costs fusion across lines, and makes
    times their lines' own; results agree to rounding.
    """

    def __init__(self, note: Callable[[str, float, float], None]) -> None:
        self.note = note
        self.at: str | None = None
        self.since = 0.0
        self._before: Any = None
        self._outer: list[tuple[FrameType, Any]] = []

    def start(self, frame: FrameType | None) -> None:
        """Begins, with the frames that are open already."""
        self._before = sys.gettrace()
        while frame is not None:
            if is_users(frame.f_code.co_filename):
                self._outer.append((frame, frame.f_trace))
                frame.f_trace = self._local
                if self.at is None:
                    self.at = described(frame)
            frame = frame.f_back
        self.since = perf_counter()
        sys.settrace(self._global)

    def stop(self) -> None:
        """Ends; the last line's time counts until now."""
        sys.settrace(self._before)
        for frame, before in self._outer:
            frame.f_trace = before
        self._outer.clear()
        self._turn(None)

    def _turn(self, to: str | None) -> None:
        """The line changes."""
        settle()
        now = perf_counter()
        if self.at is not None:
            self.note(self.at, self.since, now)
        self.at, self.since = to, perf_counter()

    def _global(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not is_users(frame.f_code.co_filename):
            return None
        self._turn(described(frame))
        return self._local

    def _local(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self._turn(described(frame))
        elif event == "return":
            outer = frame.f_back
            while outer is not None and not is_users(outer.f_code.co_filename):
                outer = outer.f_back
            self._turn(None if outer is None else described(outer))
        return self._local
