"""From text to addresses: one thread compiles, loads, and keeps what it made on disk.

llvmlite has one global lock, so a second thread's call would wait for a whole compilation. Hence
one worker owns it: it imports it, calls it, and nobody else does; it does so only where something
must be compiled. Code is never unloaded.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from flambeau.run.compiler import elf, store
from flambeau.run.compiler.emit import Kernel
from flambeau.run.compiler.store import load_note as _load_note
from flambeau.run.compiler.target import Target, host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = [
    "CompilerError",
    "Stats",
    "Ticket",
    "find",
    "load_note",
    "present",
    "request",
    "save_later",
    "save_note",
    "standing",
    "stats",
    "target",
]


class CompilerError(RuntimeError):
    """LLVM refused a kernel's text, or could not load what it made."""


@dataclass
class Stats:
    """What this process did: kernels compiled and loaded from disk, and the seconds it took."""

    compiled: int = 0
    loaded_from_disk: int = 0
    compile_seconds: float = 0.0
    load_seconds: float = 0.0


class Ticket:
    """Work the compiler's thread does: kernels that will have addresses."""

    # Whether it was asked for when Python was exiting already: ``wait`` raises.
    refused = False

    def __init__(self, work: Callable[[], Any] | None, result: Any = None) -> None:
        self._work = work
        self._result = result
        self._error: BaseException | None = None
        self._finished = threading.Event()
        if work is None:
            self._finished.set()

    def done(self) -> bool:
        """Whether the work was done: ``wait`` returns, or raises what it raised, at once."""
        if self._finished.is_set():
            return not self.refused
        _worker.start()  # after a fork, there is none until somebody asks
        return False

    def wait(self) -> Any:
        """What the work gave: kernels' addresses by name. Raises what the compiler raised."""
        if not self.done():
            _worker.hurry(self)
            self._finished.wait()
        if self._error is not None:
            raise self._error
        return self._result

    def _run(self) -> None:
        try:
            assert self._work is not None
            self._result = self._work()
        except BaseException as error:  # whoever waits must hear of it
            self._error = error
        self._work = None
        self._finished.set()

    def _refuse(self) -> None:
        self.refused = True
        self._error = CompilerError("Python is exiting: nothing is compiled any more")
        self._finished.set()


# Bytes of text from which on a module takes no more kernels.
MODULE = 1 << 17
stats = Stats()
# Name to address of all code in memory; entries are only ever added.
loaded: dict[str, int] = {}
# Notes that the worker has yet to write.
_notes: dict[str, bytes] = {}


def request(kernels: Sequence[Kernel]) -> Ticket:
    """Asks for ``kernels``: from memory, else from disk, else compiled together as one module.

    A name stands for its text: kernels of equal names are the same.
    """
    known = loaded_all([k.name for k in kernels])
    if known is not None:
        return Ticket(None, known)
    wanted = list(kernels)
    return _worker.submit(Ticket(lambda: _addresses(wanted)))


def defer(work: Callable[[], Any]) -> Ticket:
    """Asks the compiler's thread to do ``work``, which may call ``addresses``."""
    return _worker.submit(Ticket(work))


def addresses(kernels: Sequence[Kernel]) -> dict[str, int]:
    """The kernels' addresses; only for work that the compiler's thread does."""
    known = loaded_all([k.name for k in kernels])
    return known if known is not None else _addresses(list(kernels))


def find(names: Sequence[str]) -> Ticket:
    """Asks for the kernels among ``names`` that are in memory or on disk; others are left out."""
    known = loaded_all(names)
    if known is not None:
        return Ticket(None, known)
    wanted = list(names)
    return _worker.submit(Ticket(lambda: _find(wanted)))


def present(names: Sequence[str]) -> dict[str, int] | None:
    """The kernels' addresses if all are in memory or on disk; only for the compiler's thread."""
    _load(names)
    return loaded_all(names)


def standing(key: str, make: Callable[[], list[Kernel]]) -> Ticket:
    """Asks for kernels that are the same in every process, a list of addresses in their order.

    Their texts are made only if they are not cached: ``key`` says all that these depend on.
    """
    return _worker.submit(Ticket(lambda: _standing(key, make)))


def target() -> Target:
    """This machine, as ``target.host`` says; LLVM is asked (by the worker) once a machine."""
    global _target
    if _target is None:
        note = load_note(_TARGET_NOTE)
        if note is not None:
            _target = Target(**json.loads(note))
        else:
            if threading.current_thread() is _worker.thread:
                _target = _noted_host()
            else:
                ticket = _worker.submit(Ticket(lambda: {"target": _noted_host()}))
                _target = ticket.wait()["target"]
    return _target


_target: Target | None = None
# Another set of fields is another note.
_TARGET_NOTE = f"target {' '.join(Target.__dataclass_fields__)}"


def load_note(key: str) -> bytes | None:
    """What ``save_note`` kept under ``key``, in this process or an earlier one, or None."""
    pending = _notes.get(key)
    return _load_note(key) if pending is None else pending


def save_note(key: str, data: bytes) -> None:
    """Keeps ``data`` on disk on the terms of compiled code; the worker writes it, soon."""
    _notes[key] = data
    _worker.submit(Ticket(lambda: _write_note(key)), needed=True)


def save_later(key: str, data: bytes) -> None:
    """``save_note`` from the compiler's thread, when nothing waits for it."""
    _worker.later.append(lambda: store.save_note(key, data))


def loaded_all(names: Iterable[str]) -> dict[str, int] | None:
    found = {}
    for name in names:
        address = loaded.get(name)
        if address is None:
            return None
        found[name] = address
    return found


# What follows runs on the worker.


def _write_note(key: str) -> None:
    data = _notes.get(key)
    if data is None:
        return
    store.save_note(key, data)
    if _notes.get(key) is data:
        del _notes[key]


def _noted_host() -> Target:
    found = host()
    store.save_note(_TARGET_NOTE, json.dumps(found.__dict__).encode())
    return found


def _find(names: list[str]) -> dict[str, int]:
    _load(names)
    return {n: loaded[n] for n in names if n in loaded}


def _addresses(kernels: list[Kernel]) -> dict[str, int]:
    """Loads what is on disk and compiles the rest."""
    _load([k.name for k in kernels])
    rest = {k.name: k for k in kernels if k.name not in loaded}
    for part in _modules(list(rest.values())):
        _llvm().compile(part)
    return {k.name: loaded[k.name] for k in kernels}


def _modules(kernels: list[Kernel]) -> Iterator[list[Kernel]]:
    """Kernels to be compiled together: LLVM holds a whole module in memory, many times its text."""
    part: list[Kernel] = []
    size = 0
    for kernel in kernels:
        part.append(kernel)
        size += len(kernel.text)
        if size > MODULE:
            yield part
            part, size = [], 0
    if part:
        yield part


def _standing(key: str, make: Callable[[], list[Kernel]]) -> list[int]:
    noted = load_note(key)
    names = noted.decode().split() if noted else []
    found = present(names) if names else None
    if found is None:
        kernels = make()
        names = [k.name for k in kernels]
        found = _addresses(kernels)
        save_later(key, " ".join(names).encode())
    return [found[n] for n in names]


def _load(names: Iterable[str]) -> None:
    """Loads the objects on disk that hold ``names``, as far as there are any."""
    begun = time.perf_counter()
    for name in names:
        if name in loaded:
            continue
        index = store.load(f"kernel {name}")
        entry = index and store.load(f"object {index.decode()}")
        if not entry:
            continue
        header, _, image = entry.partition(b"\n")
        described = json.loads(header)
        # The folder already tells processors apart, as well as can be done without LLVM.
        if _compiler is not None and described["made_by"] != _compiler.made_by:
            continue
        if name not in described["names"]:
            continue
        try:
            _link(image, described["names"])
        except CompilerError:
            continue  # it is compiled anew, and written over
        stats.loaded_from_disk += len(described["names"])
    stats.load_seconds += time.perf_counter() - begun


def _link(image: bytes, names: list[str]) -> None:
    """Puts an object into memory and notes the addresses of ``names``."""
    found = None
    if elf.available():
        try:
            found = elf.load(image)
        except elf.Unsupported:
            pass  # LLVM's linker takes everything
    if found is None:
        found = _llvm().link(image, names)
    missing = [n for n in names if n not in found]
    if missing:
        raise CompilerError(f"no function {', '.join(missing)}")
    for name in names:
        loaded.setdefault(name, found[name])


class Compiler:
    """LLVM's objects: a target machine, and a linker for what ``elf`` does not load."""

    def __init__(self) -> None:
        import llvmlite.binding as llvm

        self.llvm = llvm
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        # Addresses are written as they are wanted: rewriting them doubles the time to compile.
        llvm.set_option("", "-disable-lsr")
        target = host()
        self.machine = llvm.Target.from_triple(target.triple).create_target_machine(
            cpu=target.cpu, features=target.features, opt=2, reloc="pic", codemodel="small"
        )
        self.libraries: list[Any] = []
        version = ".".join(map(str, llvm.llvm_version_info))
        self.made_by = f"{version} {target.triple} {target.cpu} {target.features}"

    @cached_property
    def jit(self) -> Any:
        jit = self.llvm.create_lljit_compiler(self.machine, use_jit_link=True, suppress_errors=True)
        # Whatever runs at exit may still be running its code.
        jit._owned = False
        return jit

    def compile(self, kernels: list[Kernel]) -> None:
        """Compiles ``kernels`` as one module; one by one if LLVM does not take them together."""
        begun = time.perf_counter()
        names = [k.name for k in kernels]
        failure = ""
        try:
            image = self.emit(merged([k.text for k in kernels]))
            _link(image, names)
        except RuntimeError as error:
            failure = str(error)
        if failure:
            # Raised out here: LLVM's error has frames that hold its objects, which would die on the
            # thread of whoever catches it.
            if len(kernels) == 1:
                raise CompilerError(f"{names[0]}: {failure}")
            for kernel in kernels:
                self.compile([kernel])
            return
        stats.compile_seconds += time.perf_counter() - begun
        stats.compiled += len(kernels)
        _worker.later.append(lambda: self.keep(image, names))

    def emit(self, text: str) -> bytes:
        module = self.llvm.parse_assembly(text)
        module.verify()
        return self.machine.emit_object(module)

    def link(self, image: bytes, names: list[str]) -> dict[str, int]:
        """Loads an object through LLVM; the addresses of ``names``."""
        builder = self.llvm.JITLibraryBuilder().add_object_img(image).add_current_process()
        for name in names:
            builder.export_symbol(name)
        try:
            library = builder.link(self.jit, f"flambeau{len(self.libraries)}")
        except RuntimeError as error:
            self.libraries.append(None)  # the name is spent
            raise CompilerError(f"cannot load {', '.join(names)}: {error}") from None
        library._owned = False
        self.libraries.append(library)
        return {name: library[name] for name in names}

    def keep(self, image: bytes, names: list[str]) -> None:
        """Writes an object and the index entries that lead to it."""
        header = json.dumps({"made_by": self.made_by, "names": names}).encode()
        key = store.name_of(f"{self.made_by} {' '.join(names)}")
        store.save(f"object {key}", header + b"\n" + image, durable=True)
        for name in names:
            store.save(f"kernel {name}", key.encode())


def merged(texts: Iterable[str]) -> str:
    """One module of several texts; what each declares, or defines alike outside functions, once."""
    shared: dict[str, None] = {}
    bodies: list[str] = []
    for text in texts:
        for line in text.splitlines():
            if line.startswith(("declare ", "@", "attributes ")):
                shared[line] = None
            else:
                bodies.append(line)
    return "\n".join([*shared, *bodies, ""])


_compiler: Compiler | None = None


def _llvm() -> Compiler:
    global _compiler
    if _compiler is None:
        _compiler = Compiler()
    return _compiler


# How long this thread may keep Python's lock while another waits for it (seconds). The loop that
# trains asks for it after each NumPy call, and would get it back after 5 ms each time.
TURN = 0.0003


@contextmanager
def patient() -> Iterator[None]:
    """Within, another thread does not wait long for Python's lock."""
    before = sys.getswitchinterval()
    if before > TURN:
        sys.setswitchinterval(TURN)
    mine = sys.getswitchinterval()
    try:
        yield
    finally:
        if sys.getswitchinterval() == mine:
            sys.setswitchinterval(before)


@dataclass
class Worker:
    """The thread, and what waits for it."""

    queue: deque[tuple[Ticket, bool]] = field(default_factory=deque)
    # Writing to disk: when no ticket waits.
    later: deque[Callable[[], None]] = field(default_factory=deque)
    wake: threading.Condition = field(default_factory=threading.Condition)
    # Held while LLVM may be in a state that a forked child could not go on from.
    working: threading.Lock = field(default_factory=threading.Lock)
    thread: threading.Thread | None = None
    stopping: bool = False
    # Whether the first of the queue is being worked on.
    begun: bool = False

    def submit(self, ticket: Ticket, needed: bool = False) -> Ticket:
        """Queues ``ticket``; what is ``needed`` is done even if Python is exiting."""
        if threading.current_thread() is self.thread:
            ticket._run()  # it would wait for itself
            return ticket
        with self.wake:
            if self.stopping:
                if needed:
                    ticket._run()
                else:
                    ticket._refuse()
                return ticket
            self.queue.append((ticket, needed))
            self.wake.notify()
        self.start()
        return ticket

    def hurry(self, ticket: Ticket) -> None:
        """Somebody waits for ``ticket``: it is the next."""
        with self.wake:
            queue, first = self.queue, int(self.begun)
            place = next((i for i, (t, _) in enumerate(queue) if t is ticket), 0)
            if place > first:
                # They change places at once: an interrupt must not lose one of them.
                queue[first], queue[place] = queue[place], queue[first]
            # The interrupt of whoever asked may have come before it was told.
            self.wake.notify()

    def start(self) -> None:
        if self.thread is not None:
            return
        with self.wake:
            if self.thread is None and not self.stopping:
                self.thread = threading.Thread(
                    target=self.loop, name="flambeau-compiler", daemon=True
                )
                self.thread.start()

    def loop(self) -> None:
        while True:
            with self.wake:
                while not (self.queue or self.later or self.stopping):
                    self.wake.wait()
                if self.stopping and not self.queue and not self.later:
                    return
            with self.working, patient():
                self.turn()

    def turn(self) -> None:
        """One ticket, or one write."""
        with self.wake:
            self.begun = bool(self.queue)
            ticket, needed = self.queue[0] if self.queue else (None, False)
        if ticket is not None:
            # It leaves the queue when it is done: a child that was forked before redoes it.
            if self.stopping and not needed:
                ticket._refuse()
            else:
                ticket._run()
            with self.wake:
                self.queue.popleft()
                self.begun = False
        else:
            self.later.popleft()()

    def stop(self) -> None:
        """At exit: no thread may be inside LLVM when its library is taken down."""
        with self.wake:
            self.stopping = True
            self.wake.notify()
            thread = self.thread
        if thread is not None:
            thread.join()

    def after_fork(self) -> None:
        """In the child: no thread, new locks, the same work to do."""
        self.wake = threading.Condition()
        self.working = threading.Lock()
        self.thread = None
        self.begun = False
        for ticket, _ in self.queue:
            ticket._finished = threading.Event()


_worker = Worker()


def _after_fork_in_parent() -> None:
    _worker.working.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _worker.working.acquire(),
        after_in_parent=_after_fork_in_parent,
        after_in_child=lambda: _worker.after_fork(),
    )
atexit.register(_worker.stop)
