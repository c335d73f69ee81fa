"""``spawn``: several processes that run one function, watched until all are done."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import time
import traceback
from collections.abc import Callable
from typing import Any

__all__ = [
    "ProcessContext",
    "ProcessException",
    "ProcessExitedException",
    "ProcessRaisedException",
    "spawn",
    "start_processes",
]


class ProcessException(Exception):
    """A worker of :func:`spawn` failed."""

    def __init__(self, msg: str, error_index: int, pid: int | None) -> None:
        super().__init__(msg)
        self.msg = msg
        self.error_index = error_index
        self.pid = pid


class ProcessRaisedException(ProcessException):
    """A worker raised; the message holds its traceback."""


class ProcessExitedException(ProcessException):
    """A worker ended with a status other than 0, or by a signal."""

    def __init__(
        self,
        msg: str,
        error_index: int,
        error_pid: int | None,
        exit_code: int | None,
        signal_name: str | None = None,
    ) -> None:
        super().__init__(msg, error_index, error_pid)
        self.exit_code = exit_code
        self.signal_name = signal_name


def _work(function: Callable, index: int, arguments: tuple, errors: Any) -> None:
    try:
        function(index, *arguments)
    except KeyboardInterrupt:
        pass  # the parent was interrupted as well, and says so
    except Exception:
        errors.put(traceback.format_exc())
        raise SystemExit(1) from None


class ProcessContext:
    """The processes of one :func:`spawn`."""

    def __init__(self, processes: list[Any], errors: list[Any]) -> None:
        self.processes = processes
        self.error_queues = errors

    def pids(self) -> list[int | None]:
        """The process numbers."""
        return [process.pid for process in self.processes]

    def join(self, timeout: float | None = None) -> bool:
        """Waits for the workers, at most ``timeout`` seconds; whether all are done.

        Raises: ``ProcessRaisedException`` or ``ProcessExitedException`` for the first worker that
        failed; the others are terminated.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            for index, process in enumerate(self.processes):
                if process.exitcode not in (None, 0):
                    self._fail(index)
            running = [process for process in self.processes if process.exitcode is None]
            if not running:
                return True
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            multiprocessing.connection.wait([process.sentinel for process in running], left)
            for process in running:
                process.join(0)

    def _fail(self, index: int) -> None:
        for process in self.processes:
            if process.is_alive():
                process.terminate()
            process.join()
        failed = self.processes[index]
        queue = self.error_queues[index]
        if queue.empty():
            raise ProcessExitedException(
                f"process {index} terminated with exit code {failed.exitcode}",
                index,
                failed.pid,
                failed.exitcode,
            )
        raise ProcessRaisedException(
            f"\n\n-- Process {index} terminated with the following error:\n{queue.get()}",
            index,
            failed.pid,
        )


def start_processes(
    fn: Callable,
    args: tuple = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """Runs ``fn(i, *args)`` in ``nprocs`` processes, i from 0; see :meth:`ProcessContext.join`."""
    context: Any = multiprocessing.get_context(start_method)
    errors = [context.SimpleQueue() for _ in range(nprocs)]
    processes = [
        context.Process(target=_work, args=(fn, index, args, errors[index]), daemon=daemon)
        for index in range(nprocs)
    ]
    for process in processes:
        process.start()
    started = ProcessContext(processes, errors)
    if not join:
        return started
    started.join()
    return None


def spawn(
    fn: Callable,
    args: tuple = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """:func:`start_processes`, which by default starts fresh interpreters."""
    return start_processes(fn, args, nprocs, join, daemon, start_method)
