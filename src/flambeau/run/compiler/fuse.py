"""Fusion: which nodes become one loop nest.

A group is a loop nest over one *space* of axes. Some of them, the same for all its reductions, may
be reduced; a node is then *full* (a value a point) or *kept* (a value a point of the other axes).
A node joins the group of what it reads where it reads it in place, and where no path through
another group would make the two wait for each other. Values that only their group reads never
reach memory.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING

from flambeau.run.compiler.nodes import Ref
from flambeau.run.compiler.views import View, contiguous, row_major

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flambeau.run.compiler.nodes import Node

__all__ = ["Fuser", "Group", "ordered"]

# A nest with more nodes or buffers than this takes LLVM long, and runs out of registers.
NODES, BUFFERS = 96, 40
# A reduction to one value of more elements than this is not done by the nest that makes them.
SERIAL = 1 << 15


class Group:
    """A loop nest under construction (or a single node of another kind)."""

    __slots__ = ("index", "nodes", "space", "dims", "views", "level", "made", "deps", "slots")

    def __init__(self, index: int, space: tuple[int, ...]) -> None:
        self.index = index
        self.nodes: list[Node] = []
        self.space = space
        self.dims: tuple[int, ...] | None = None
        # Of each node: its operands' views over the axes of its level; full or kept.
        self.views: dict[int, list[View | None]] = {}
        self.level: dict[int, bool] = {}
        self.made: dict[int, Node] = {}
        self.deps = 0
        self.slots: set[int] = set()

    @property
    def kept(self) -> tuple[int, ...]:
        """The shape of the axes that are not reduced."""
        return kept(self.space, self.dims)

    @property
    def nest(self) -> bool:
        return self.nodes[0].kind in ("map", "reduce", "guard")

    def put(self, node: Node, level: bool, views: list[View | None]) -> None:
        """Adds a node that stands at ``level``."""
        self.nodes.append(node)
        self.views[id(node)] = views
        self.level[id(node)] = level
        self.slots.update(node.slots)
        if node.slots and node.target is None:
            self.made[node.slot] = node
            self.level[node.slot] = level and node.kind != "reduce"

    def __repr__(self) -> str:
        return f"Group({self.index}: {self.space}, over {self.dims}, {self.nodes})"


def kept(space: tuple[int, ...], dims: tuple[int, ...] | None) -> tuple[int, ...]:
    """The shape of a space's axes that are not reduced."""
    return tuple([n for d, n in enumerate(space) if d not in (dims or ())])


def spread(space: tuple[int, ...], dims: tuple[int, ...] | None) -> View:
    """A kept value, read at every point of the space."""
    strides = iter(row_major(kept(space, dims)))
    along = [0 if d in (dims or ()) else next(strides) for d in range(len(space))]
    return View(space, tuple(along))


def same_places(view: View, other: View) -> bool:
    """Whether two views of one buffer read the same elements in the same order."""
    return (
        view.offset == other.offset
        and not view.moving
        and view.shape == other.shape
        and all(
            n == 1 or s == t
            for n, s, t in zip(view.shape, view.strides, other.strides, strict=True)
        )
    )


def fit(
    group: Group, node: Node, space: tuple[int, ...], dims: tuple[int, ...] | None
) -> tuple[bool, list[View | None]] | None:
    """How the node would stand in the group over ``space``: (full or kept, views); None if not."""
    full = math.prod(space)
    size = math.prod(node.shape)
    kept_shape = kept(space, dims)
    levels = []
    if size == full:
        levels.append((True, space))
    if dims is not None and node.kind != "reduce" and size == math.prod(kept_shape):
        levels.append((False, kept_shape))
    for is_full, shape in levels:
        if node.target is not None and node.target.reshape(shape) is None:
            continue
        views: list[View | None] = []
        for o in node.operands:
            if o.__class__ is not Ref:
                views.append(None)
                continue
            view = o.view.reshape(shape)
            if view is None:
                break
            producer = group.made.get(o.slot)
            if producer is not None:
                if producer.target is not None:
                    break
                if group.level[producer.slot]:
                    if not is_full or not same_places(view, contiguous(shape)):
                        break
                elif is_full:
                    if not same_places(view, spread(space, dims)):
                        break
                elif not same_places(view, contiguous(shape)):
                    break
            elif o.slot in group.slots:
                break
            views.append(view)
        else:
            return is_full, views
    return None


class Fuser:
    """Groups of a program's nodes."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.groups: dict[int, Group] = {}
        self.writers: dict[int, list[int]] = {}
        self._count = 0
        self.order = {id(n): i for i, n in enumerate(nodes)}
        for node in nodes:
            self.add(node)

    # Dependencies: bit i of ``deps`` is group i, taken transitively.

    def reads(self, node: Node) -> Iterable[int]:
        for o in node.operands:
            if o.__class__ is Ref:
                yield from self.writers.get(o.slot, ())
        for slot in node.after:
            yield from self.writers.get(slot, ())

    def depend(self, group: Group, on: Iterable[int]) -> None:
        new = 0
        for i in on:
            if i != group.index:
                new |= (1 << i) | self.groups[i].deps
        new &= ~group.deps
        if not new:
            return
        group.deps |= new
        bit = 1 << group.index
        for other in self.groups.values():
            if other.deps & bit:
                other.deps |= new

    def put(self, group: Group, node: Node, level: bool, views: list[View | None]) -> None:
        self.depend(group, list(self.reads(node)))
        group.put(node, level, views)
        for slot in node.slots:
            writers = self.writers.setdefault(slot, [])
            if group.index not in writers:
                writers.append(group.index)

    def add(self, node: Node) -> None:
        if node.kind in ("map", "reduce", "guard") and math.prod(node.shape):
            sources: list[int] = []
            for i in self.reads(node):
                if i not in sources:
                    sources.append(i)
            after = {i for slot in node.after for i in self.writers.get(slot, ())}
            joined = None
            for i in sorted(sources, reverse=True):
                group = self.groups.get(i)
                if group is None or i in after or not group.nest:
                    continue
                if joined is not None:
                    joined = self.merge(joined, group) or joined
                elif self.join(group, node):
                    joined = group
            if joined is not None:
                return
        group = Group(self._count, node.shape)
        self._count += 1
        if node.kind == "reduce":
            group.dims = node.dims
        self.groups[group.index] = group
        views = [o.view if o.__class__ is Ref else None for o in node.operands]
        self.put(group, node, True, views)

    def blocked(self, group: Group, node: Node) -> bool:
        """Whether something that the node waits for waits for the group."""
        bit = 1 << group.index
        return any(i != group.index and self.groups[i].deps & bit for i in self.reads(node))

    def join(self, group: Group, node: Node) -> bool:
        if len(group.nodes) >= NODES or self.blocked(group, node):
            return False
        if any(slot in group.slots for slot in node.slots) and node.after:
            return False
        if len(self._buffers(group) | self._buffers_of(node)) > BUFFERS:
            return False
        if node.kind == "reduce":
            return self.join_reduction(group, node)
        found = fit(group, node, group.space, group.dims)
        if found is None:
            return False
        self.put(group, node, *found)
        return True

    def join_reduction(self, group: Group, node: Node) -> bool:
        if math.prod(kept(node.shape, node.dims)) == 1 and math.prod(node.shape) > SERIAL:
            return False
        if group.space != node.shape:
            if group.dims is not None or not self.reshaped(group, node.shape):
                return False
        if group.dims is not None and group.dims != node.dims:
            return False
        found = fit(group, node, group.space, node.dims)
        if found is None:
            return False
        group.dims = node.dims
        self.put(group, node, *found)
        return True

    def reshaped(self, group: Group, space: tuple[int, ...]) -> bool:
        """Puts a group without reductions over other axes; whether that can be."""
        if math.prod(space) != math.prod(group.space):
            return False
        views = {}
        for node in group.nodes:
            changed: list[View | None] = []
            for view in group.views[id(node)]:
                other = None if view is None else view.reshape(space)
                if view is not None and other is None:
                    return False
                changed.append(other)
            if node.target is not None and node.target.reshape(space) is None:
                return False
            views[id(node)] = changed
        group.views.update(views)
        group.space = space
        return True

    def between(self, one: Group, other: Group) -> bool:
        """Whether a third group waits for one of the two while the other waits for it."""
        a, b = 1 << one.index, 1 << other.index
        return any(
            (g.deps & a and (other.deps >> g.index) & 1)
            or (g.deps & b and (one.deps >> g.index) & 1)
            for g in self.groups.values()
            if g is not one and g is not other
        )

    def replace(self, into: Group, other: Group, whole: Group) -> None:
        """``whole``, under the first one's index, in place of the two groups it was made of."""
        a, b = 1 << into.index, 1 << other.index
        del self.groups[other.index]
        whole.deps = (into.deps | other.deps) & ~a & ~b
        self.groups[into.index] = whole
        for g in self.groups.values():
            if g.deps & b:
                g.deps = (g.deps & ~b) | a
            if g.deps & a:
                g.deps |= whole.deps
        for slot in other.slots:
            self.writers[slot] = list(
                dict.fromkeys(into.index if i == other.index else i for i in self.writers[slot])
            )

    def divide(self, into: Group, other: Group, whole: Group, rest: Group) -> None:
        """``whole`` and ``rest`` in place of two groups, some nodes of the second with the first.

        What these read waits for neither.
        """
        whole.deps, rest.deps = into.deps, other.deps
        self.groups[into.index], self.groups[other.index] = whole, rest
        moved = [n for n in whole.nodes if id(n) in other.views]
        for node in moved:
            self.writers[node.slot] = [into.index]
        for node in moved:
            self.depend(whole, list(self.reads(node)))

    def merge(self, into: Group, other: Group) -> Group | None:
        """One nest instead of two, unless a third lies between."""
        if len(into.nodes) + len(other.nodes) > NODES:
            return None
        if len(self._buffers(into) | self._buffers(other)) > BUFFERS:
            return None
        if self.between(into, other):
            return None
        dims = into.dims if into.dims is not None else other.dims
        if into.dims is not None and other.dims is not None and into.dims != other.dims:
            return None
        if into.slots & other.slots:
            return None
        nodes = sorted([*into.nodes, *other.nodes], key=lambda n: self.order[id(n)])
        if any(n.after for n in nodes):
            return None
        for space in dict.fromkeys((into.space, other.space)):
            if dims is not None and space != (into if into.dims is not None else other).space:
                continue
            whole = Group(into.index, space)
            whole.dims = dims
            for node in nodes:
                if node.kind == "reduce" and node.shape != space:
                    break
                found = fit(whole, node, space, dims)
                if found is None:
                    break
                whole.put(node, *found)
            else:
                self.replace(into, other, whole)
                return whole
        return None

    def _buffers(self, group: Group) -> set[int]:
        found = set(group.slots)
        for node in group.nodes:
            found |= self._buffers_of(node)
        return found

    @staticmethod
    def _buffers_of(node: Node) -> set[int]:
        return {o.slot for o in node.operands if o.__class__ is Ref}


def ordered(fuser: Fuser) -> list[Group]:
    """The groups in an order in which they can run."""
    groups = fuser.groups
    # A product waits for its epilogue's turn: others may still read what that overwrites.
    first = {
        i: min(fuser.order[id(n)] for n in (g.nodes if g.nest else g.nodes[1:] or g.nodes))
        for i, g in groups.items()
    }
    # Faults are found before anything else that need not come earlier.
    guards = 0
    for i, g in groups.items():
        if any(n.faults and n.kind != "host" for n in g.nodes):
            guards |= (1 << i) | g.deps
    ready: list[tuple[bool, int, int]] = []
    waiting = {i: g.deps for i, g in groups.items()}
    for i, deps in waiting.items():
        if not deps:
            heapq.heappush(ready, (not guards >> i & 1, first[i], i))
    done = 0
    order = []
    users: dict[int, list[int]] = {}
    for i, g in groups.items():
        deps, k = g.deps, 0
        while deps:
            if deps & 1:
                users.setdefault(k, []).append(i)
            deps >>= 1
            k += 1
    while ready:
        _, _, i = heapq.heappop(ready)
        order.append(groups[i])
        done |= 1 << i
        for u in users.get(i, ()):
            if waiting[u] & ~done == 0:
                if waiting[u] != -1:
                    waiting[u] = -1
                    heapq.heappush(ready, (not guards >> u & 1, first[u], u))
    if len(order) != len(groups):
        raise AssertionError("groups that wait for each other")
    return order
