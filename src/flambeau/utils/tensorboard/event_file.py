"""Event files: protocol buffers framed as records, which TensorBoard reads while they grow."""

from __future__ import annotations

import itertools
import os
import re
import socket
import struct
import threading
import time
import weakref
from typing import Any

from flambeau.utils.tensorboard._package import part, proto

__all__ = ["FileWriter", "RecordWriter"]

_NAME = re.compile(r"events\.out\.tfevents\.(\d{10,})\.")
_counter = itertools.count()


class RecordWriter:
    """Writes byte strings to ``path`` as records: length, data, and a CRC of each.

    ``tensorboardX`` opens the path, so ``s3://`` and ``gs://`` work where their packages are there.
    Format: https://www.tensorflow.org/tutorials/load_data/tfrecord
    """

    def __init__(self, path: str) -> None:
        records = part("record_writer")
        self.path = str(path)
        self._crc = records.masked_crc32c
        self._file = records.open_file(self.path)

    def write(self, data: bytes) -> None:
        """Appends one record."""
        length = struct.pack("<Q", len(data))
        self._file.write(
            length
            + struct.pack("<I", self._crc(length))
            + data
            + struct.pack("<I", self._crc(data))
        )

    def flush(self) -> None:
        """Hands everything to the operating system: a reader sees it, a kill cannot take it."""
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return bool(self._file.closed)


class _EventFile:
    """One file with the events that wait to be written to it.

    The writer holds this, and so does the thread: a writer that nobody holds any more ends both.
    """

    def __init__(self, log_dir: str, max_queue: int, flush_secs: float, suffix: str) -> None:
        part("record_writer").directory_check(log_dir)
        self.path = os.path.join(log_dir, _file_name(log_dir) + suffix)
        self.max_queue = max_queue
        self.flush_secs = flush_secs
        self.waiting: list[bytes] = []
        self.lock = threading.Lock()
        self.wake = threading.Event()
        self.closed = False
        self.process = os.getpid()
        self.thread: threading.Thread | None = None
        self.records = RecordWriter(self.path)

    def add(self, data: bytes) -> None:
        # A forked child writes nothing: the file is its parent's, who may even hold the lock.
        if self.closed or self.process != os.getpid():
            return
        with self.lock:
            self.waiting.append(data)
            if len(self.waiting) >= self.max_queue:
                self._write()
            elif self.thread is None:
                self.thread = threading.Thread(target=self._keep_writing, daemon=True)
                self.thread.start()

    def flush(self) -> None:
        if self.process != os.getpid():
            return
        with self.lock:
            self._write()

    def _write(self) -> None:
        if self.closed:
            return
        for data in self.waiting:
            self.records.write(data)
        self.waiting.clear()
        self.records.flush()

    def _keep_writing(self) -> None:
        """Writes what waits every ``flush_secs``, so that a slow script's curves are seen."""
        while not self.wake.wait(self.flush_secs):
            with self.lock:
                if self.waiting:
                    self._write()

    def close(self) -> None:
        if self.process != os.getpid():
            return
        with self.lock:
            self._write()
            self.closed = True
            self.records.close()
        self.wake.set()


class FileWriter:
    """Writes events to a new event file in ``log_dir``.

    Up to ``max_queue`` events wait in memory, for at most ``flush_secs`` seconds; :meth:`flush`
    writes them now. The end of the script, or of the writer, writes them too; a kill loses them.

    Raises: ``MissingExtraError`` if ``tensorboardX`` is not installed.

    >>> import tempfile
    >>> from flambeau.utils.tensorboard.summary import scalar
    >>> writer = FileWriter(tempfile.mkdtemp())
    >>> writer.add_summary(scalar("loss", 0.5), global_step=1)
    >>> writer.close()
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        max_queue: int = 10,
        flush_secs: float = 120,
        filename_suffix: str = "",
    ) -> None:
        self._log_dir = os.fspath(log_dir)
        self._options = (max_queue, flush_secs, filename_suffix)
        self._events = proto("event")
        # The greatest step of an event so far.
        self.last_step = -1
        self._open()

    def _open(self) -> None:
        self._file = _EventFile(self._log_dir, *self._options)
        self._closing = weakref.finalize(self, self._file.close)
        self.add_event(self._events.Event(file_version="brain.Event:2"))

    def get_logdir(self) -> str:
        """The directory of the event file."""
        return self._log_dir

    def add_event(self, event: Any, step: int | None = None, walltime: float | None = None) -> None:
        """Adds an ``Event``; ``walltime`` is in seconds since the epoch (default: now)."""
        event.wall_time = time.time() if walltime is None else walltime
        if step is not None:
            event.step = int(step)
        self.last_step = max(self.last_step, event.step)
        self._file.add(event.SerializeToString())

    def add_summary(
        self, summary: Any, global_step: int | None = None, walltime: float | None = None
    ) -> None:
        """Adds a ``Summary`` as an event."""
        self.add_event(self._events.Event(summary=summary), global_step, walltime)

    def add_graph(self, graph: Any, walltime: float | None = None) -> None:
        """Adds a ``GraphDef`` (or a pair of it and run metadata, which is not written)."""
        graph = graph[0] if isinstance(graph, tuple) else graph
        self.add_event(self._events.Event(graph_def=graph.SerializeToString()), None, walltime)

    def add_onnx_graph(self, graph: Any, walltime: float | None = None) -> None:
        """Adds a ``GraphDef``."""
        self.add_graph(graph, walltime)

    def flush(self) -> None:
        """Writes what waits; afterwards a reader sees it, and a kill cannot take it."""
        self._file.flush()

    def close(self) -> None:
        """Writes what waits and closes the file; events added later are lost."""
        self._closing()

    def reopen(self) -> None:
        """After :meth:`close`: goes on in a new file of the same directory."""
        if self._file.closed:
            self._open()


def _file_name(log_dir: str) -> str:
    """A new event file's name: TensorBoard reads a directory's files in the order of their names,
    so the second in it is later than that of every file already there.
    """
    second = int(time.time())
    try:
        names = os.listdir(log_dir)
    except OSError:  # a directory of an object store
        names = []
    for match in filter(None, map(_NAME.match, names)):
        second = max(second, int(match[1]) + 1)
    return (
        f"events.out.tfevents.{second:010d}.{socket.gethostname()}.{os.getpid()}.{next(_counter)}"
    )
