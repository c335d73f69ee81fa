"""Profiler: the base of what times actions of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["PassThroughProfiler", "Profiler"]


class Profiler:
    """Base class: a subclass has ``start(action_name)``, ``stop(action_name)`` and ``summary()``.

    ``describe()`` prints the summary, or writes it to ``dirpath/[stage-]filename.txt``.

    Reference: Lightning's ``Profiler``.

    >>> from flambeau.trainer.profilers import SimpleProfiler
    >>> profiler = SimpleProfiler()
    >>> with profiler.profile("load"):
    ...     pass
    >>> [action for action, *_ in profiler.rows()]
    ['load']
    """

    def __init__(
        self, dirpath: str | os.PathLike[str] | None = None, filename: str | None = None
    ) -> None:
        self.dirpath = None if dirpath is None else os.fspath(dirpath)
        self.filename = filename
        self._stage: str | None = None
        self._local_rank: int | None = None

    @property
    def local_rank(self) -> int:
        """The number of the process on its machine; 0 before a run."""
        return self._local_rank or 0

    def start(self, action_name: str) -> None:
        """An action begins."""
        raise NotImplementedError(f"{type(self).__name__} has no `start`")

    def stop(self, action_name: str) -> None:
        """An action ends."""
        raise NotImplementedError(f"{type(self).__name__} has no `stop`")

    def summary(self) -> str:
        """What was found, as text."""
        return ""

    @contextmanager
    def profile(self, action_name: str) -> Iterator[str]:
        """Times a block."""
        self.start(action_name)
        try:
            yield action_name
        finally:
            self.stop(action_name)

    def setup(
        self,
        stage: str,
        local_rank: int | None = None,
        log_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        """A run begins."""
        self._stage, self._local_rank = stage, local_rank
        if self.dirpath is None and log_dir is not None:
            self.dirpath = os.fspath(log_dir)

    def teardown(self, stage: str | None) -> None:
        """A run has ended."""

    def path(self, extension: str = ".txt") -> str | None:
        """Where the summary goes; None if it is printed."""
        if self.filename is None:
            return None
        name = "-".join(filter(None, [self._stage, self.filename])) + extension
        return os.path.join(self.dirpath or "", name)

    def describe(self) -> None:
        """Prints the summary, or writes it."""
        text, path = self.summary(), self.path()
        if not text:
            return
        if path is None:
            print(text, flush=True)
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")

    def __getstate__(self) -> dict[str, Any]:
        return dict(vars(self))


class PassThroughProfiler(Profiler):
    """Times nothing.

    >>> from flambeau.trainer.profilers import PassThroughProfiler
    >>> PassThroughProfiler().summary()
    ''
    """

    def start(self, action_name: str) -> None:
        """Nothing."""

    def stop(self, action_name: str) -> None:
        """Nothing."""
