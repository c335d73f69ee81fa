"""SIGTERM and Ctrl-C while training: noted, so that the loop can save before it stops."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from flambeau.trainer.utilities.exceptions import SIGTERMException

__all__ = ["Signals"]


class Signals:
    """Within ``with``, the first SIGTERM or Ctrl-C is noted in ``received``.

    A second one acts at once. Outside the main thread, where Python lets no handlers be set,
    signals act as they did before.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            # None: a handler that was not set from Python stays.
            if handler is not None:
                signal.signal(number, handler)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise self.exception(number)
        self.received = number

    @staticmethod
    def exception(number: int) -> BaseException:
        """What the signal ends the run with."""
        return KeyboardInterrupt() if number == signal.SIGINT else SIGTERMException(143)
