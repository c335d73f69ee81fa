"""The trie of recorded paths, and the open trace that walks it."""

from __future__ import annotations

import itertools
import threading
import weakref
from typing import TYPE_CHECKING, Any

from flambeau.dtypes import float32
from flambeau.ir.graph import NUMBERS

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry, Var
    from flambeau.record.meta import Meta
    from flambeau.record.storage import Storage

# Longest path, in primitives: what nobody reads is flushed here.
LENGTH = 2_000
# Most nodes the tries may hold together; past it, the paths least recently flushed are dropped.
NODES = 20_000


class Node:
    """A place in the trie, with what the edge that leads here does."""

    __slots__ = (
        "edges", "parent", "key", "entries", "n_slots", "n_inputs", "n_numbers", "length",
        "slot", "meta", "simple", "template", "fresh", "effects", "name", "plans", "freed",
        "overwritten", "cut", "stamp", "memo", "new_inputs", "state", "misses", "site",
        "wholes", "limits",
    )  # fmt: skip

    def __init__(self, parent: Node | None, key: Any, state: Ambient) -> None:
        self.edges: dict[Any, Node] = {}
        self.parent = parent
        self.key = key
        self.state = state
        self.entries: tuple[Entry, ...] = ()
        self.n_slots = parent.n_slots if parent else 0
        self.n_inputs = parent.n_inputs if parent else 0
        self.n_numbers = parent.n_numbers if parent else 0
        self.length = parent.length if parent else 0
        # What the call gives back: one fresh tensor (``simple``), or a template to fill.
        self.slot = 0
        self.meta: Meta | None = None
        self.simple = False
        self.template: Any = None
        self.fresh: tuple[tuple[int, Meta], ...] = ()
        self.effects: tuple = ()
        self.name = ""
        self.plans: dict[Any, Any] = {}
        # Slots whose history a backward on this path has spent, and that writes have replaced.
        self.freed: frozenset[int] = parent.freed if parent else frozenset()
        self.overwritten: frozenset[int] = parent.overwritten if parent else frozenset()
        self.cut = False
        self.stamp = 0
        self.memo: dict[Any, Any] | None = None
        # Metas of the inputs that this edge bound.
        self.new_inputs: tuple[Meta, ...] = ()
        self.misses = 0
        # Where in the user's code this step was first met: (file, line).
        self.site: tuple[str, int] | None = None
        # Slots whose gradient is one function of several operands (``builder.whole``).
        self.wholes: dict[int, tuple[Var, ...]] = {}
        # Run-time numbers that a dtype must hold: (index, least, greatest, dtype).
        self.limits: tuple[tuple[int, Any, Any, Any], ...] = ()

    def path(self) -> list[Node]:
        """The nodes from the root's child to here."""
        found = []
        node: Node | None = self
        while node is not None and node.parent is not None:
            found.append(node)
            node = node.parent
        found.reverse()
        return found

    def path_entries(self) -> list[Entry]:
        return [e for node in self.path() for e in node.entries]

    def path_wholes(self) -> dict[int, tuple[Var, ...]]:
        """The ``wholes`` of all edges up to here."""
        return {s: operands for node in self.path() for s, operands in node.wholes.items()}

    def input_metas(self) -> list[Meta]:
        """Metas of the path's inputs, in order of binding."""
        return [m for node in self.path() for m in node.new_inputs]


class Ambient:
    """The state that functions depend on without being told: part of the root's key."""

    __slots__ = ("grad", "default", "extra", "turned")
    _made: dict[tuple, Ambient] = {}

    def __init__(self, grad: bool, default: Any, extra: Any) -> None:
        self.grad = grad
        self.default = default
        self.extra = extra
        # The same state with the other grad mode, once it was asked for.
        self.turned: Ambient | None = None

    def turn(self) -> Ambient:
        self.turned = Ambient.of(not self.grad, self.default, self.extra)
        return self.turned

    @classmethod
    def of(cls, grad: bool, default: Any, extra: Any) -> Ambient:
        key = (grad, default, extra)
        found = cls._made.get(key)
        if found is None:
            found = cls._made[key] = cls(grad, default, extra)
        return found


class Trie:
    """All paths, by the ambient state they begin in; bounded."""

    def __init__(self) -> None:
        self.roots: dict[Ambient, Node] = {}
        self.count = 0
        self.clock = itertools.count(1)
        self.evictions = 0
        self.lock = threading.Lock()

    def root(self, state: Ambient) -> Node:
        found = self.roots.get(state)
        if found is None:
            found = self.roots[state] = Node(None, None, state)
        return found

    def grown(self) -> None:
        """Counts a new node and drops old paths when there are too many."""
        self.count += 1
        if self.count > NODES:
            with self.lock:
                if self.count > NODES:
                    self.evict()

    def evict(self) -> None:
        """Keeps the paths whose flush is among the recent half; forgets the others."""
        ends = []
        stack = list(self.roots.values())
        while stack:
            node = stack.pop()
            stack.extend(list(node.edges.values()))
            if node.plans:
                ends.append(node)
        ends.sort(key=lambda n: n.stamp, reverse=True)
        keep: set[Node] = set()
        for end in ends:
            if len(keep) > NODES // 2:
                break
            node = end
            while node is not None and node not in keep:
                keep.add(node)
                node = node.parent
        stack = list(self.roots.values())
        while stack:
            node = stack.pop()
            node.edges = {k: n for k, n in list(node.edges.items()) if n in keep}
            stack.extend(node.edges.values())
        self.count = len(keep)
        self.evictions += 1


trie = Trie()


class Trace:
    """What one thread has recorded since its last flush.

    ``inputs`` are the concrete values bound so far, in order (slot ``-1 - i``), ``numbers`` the
    run-time numbers (slot ``NUMBERS - i``), ``live`` the tensors made, ``pending`` the storages
    that wait for a new value.
    """

    __slots__ = (
        "root", "node", "inputs", "numbers", "live", "pending", "special", "builder", "cut",
        "state", "hooks", "snapshots", "closed", "missed", "error", "marks",
        "__weakref__",
    )  # fmt: skip

    def __init__(self, state: Ambient, special: bool = False) -> None:
        self.state = state
        root = trie.roots.get(state)
        self.root = self.node = root if root is not None else trie.root(state)
        self.inputs: list[Any] = []
        self.numbers: list[Any] = []
        self.live: list[Any] = []
        self.pending: list[Storage] = []
        self.special = special
        self.builder: Any = None
        self.cut = False
        self.hooks: dict[int, list] | None = None
        self.snapshots: dict[int, Any] | None = None
        self.closed = False
        self.missed = 0
        # Why the values that waited for it will never come.
        self.error: Exception | None = None
        # Places in ``live``, with their slots, that the path alone does not tell of.
        self.marks: list[tuple[int, int]] = []

    def hold(self, t: Any) -> None:
        """Keeps a value of the trace that no edge of its path has made a tensor of."""
        self.marks.append((len(self.live), t._slot))
        self.live.append(t)

    def forget(self) -> None:
        """Lets go of everything; tensors may still name this trace as the one that bound them."""
        self.closed = True
        # The owner finds out at its next call, whoever closed it.
        self.special = True
        self.inputs = self.numbers = self.live = self.pending = ()  # type: ignore[assignment]
        self.hooks = self.snapshots = None

    def number(self, value: Any) -> type:
        """Notes a run-time number; its type is its key."""
        self.numbers.append(value)
        return value.__class__


def number_slot(index: int) -> int:
    return NUMBERS - index


class _Defaults:
    """Process-wide defaults that the ambient state starts from."""

    dtype: Any = float32


defaults = _Defaults()

# Held while recording once several threads do (their traces are then ``special``).
LOCK = threading.RLock()


class Cell(list):
    """Holds the open trace of one thread, and lives as long as the thread."""

    __slots__ = ("__weakref__",)


# The cell of each thread.
cells: list[weakref.ref[Cell]] = []


class Open(threading.local):
    """The open trace of the current thread, with the state it records under."""

    def __init__(self) -> None:
        self.state = Ambient.of(True, defaults.dtype, None)
        with LOCK:
            for other in cells:
                if (cell := other()) is not None:
                    cell[0].special = True
            self.trace = Trace(self.state, bool(cells))
            self.cell = Cell([self.trace])
            cells.append(weakref.ref(self.cell, cells.remove))


open_ = Open()
# What is told of every call that was recorded (anomaly detection); traces are then ``special``.
watch: list[Any] = []


def is_special() -> bool:
    """Whether calls must be told of or made under the lock."""
    return len(cells) > 1 or bool(watch)


def renew(tr: Trace) -> None:
    """Closes a trace; its thread goes on with a fresh one."""
    if tr is open_.trace:
        open_.trace = open_.cell[0] = Trace(open_.state, is_special())
    tr.forget()


def set_state(**changes: Any) -> None:
    """Changes the ambient state: an edge of its own when something is recorded already."""
    old = open_.state
    new = Ambient.of(
        changes.get("grad", old.grad),
        changes.get("default", old.default),
        changes.get("extra", old.extra),
    )
    if new is not old:
        enter(new)


def set_grad(on: bool) -> bool:
    """Has history recorded or not; whether it was."""
    old = open_.state
    was = old.grad
    if was is not on:
        enter(old.turned or old.turn())
    return was


def enter(new: Ambient) -> None:
    """Goes on in another ambient state."""
    tr = open_.trace
    if tr.closed:
        renew(tr)
        tr = open_.trace
    node = tr.node
    begins = node is tr.root and not tr.inputs
    if begins:
        found = trie.root(new)
    else:
        found = node.edges.get(new)
        if found is None:
            found = node.edges[new] = Node(node, new, new)
            trie.grown()
    # Nothing that an interrupt could come between: calls are over.
    if begins:
        tr.root = found
    tr.node = found
    tr.state = new
    open_.state = new
