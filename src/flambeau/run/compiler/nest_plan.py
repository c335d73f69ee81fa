"""A group as its nest sees it: the axes that matter, and where each value lies over them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from flambeau.run.compiler.elements import Element
from flambeau.run.compiler.nodes import Literal, Number, Ref
from flambeau.run.compiler.sizes import Size, has_size
from flambeau.run.compiler.views import View, contiguous

if TYPE_CHECKING:
    from flambeau.run.compiler.fuse import Group
    from flambeau.run.compiler.lower import Buffer
    from flambeau.run.compiler.target import Target

__all__ = ["Access", "Plan"]


class Access(NamedTuple):
    """Where a value lies: strides over the nest's axes."""

    slot: int
    offset: int
    strides: tuple[int, ...]
    moving: tuple[tuple[int, int], ...]
    element: Element


# Operations of a nest whose values of four vectors fit in registers.
FEW = 6


class Plan:
    """A group with its axes cut down to what matters, and every access over them."""

    def __init__(
        self, group: Group, stored: set[int], buffers: dict[int, Buffer], target: Target
    ) -> None:
        self.group = group
        self.stored = stored
        self.buffers = buffers
        dims = group.dims or ()
        space = group.space
        self.reads: dict[tuple[int, int], Access] = {}
        self.writes: dict[int, Access] = {}
        raw: list[Access] = []
        kept_axes = [d for d in range(len(space)) if d not in dims]

        def wide(view: View, is_full: bool) -> tuple[int, ...]:
            if is_full:
                return view.strides
            strides = dict(zip(kept_axes, view.strides, strict=True))
            return tuple([strides.get(d, 0) for d in range(len(space))])

        for k, node in enumerate(group.nodes):
            is_full = group.level[id(node)]
            for j, o in enumerate(node.operands):
                if o.__class__ is Ref and o.slot not in group.made:
                    view = group.views[id(node)][j]
                    el = buffers[o.slot].element
                    access = Access(o.slot, view.offset, wide(view, is_full), view.moving, el)
                    self.reads[k, j] = access
                    raw.append(access)
            if not node.slots:
                continue
            shape = space if is_full and node.kind != "reduce" else group.kept
            level = is_full and node.kind != "reduce"
            if node.target is not None:
                view = node.target.reshape(shape)
                if view is None:
                    raise AssertionError("a part of a buffer that does not fit its group")
                self.writes[k] = Access(
                    node.slot, view.offset, wide(view, level), view.moving, node.result
                )
                raw.append(self.writes[k])
            elif node.slot in stored:
                view = contiguous(shape)
                self.writes[k] = Access(node.slot, 0, wide(view, level), (), node.result)
                raw.append(self.writes[k])
        self._collapse(space, dims, raw)
        self.varies = (
            has_size(self.axes)
            or any(
                has_size((a.offset, a.strides, a.moving))
                for a in (*self.reads.values(), *self.writes.values())
            )
            or any(
                o.__class__ is Literal and o.value.__class__ is Size
                for n in group.nodes
                for o in n.operands
            )
        )
        sizes = {el.size for a in raw for el in (a.element,)}
        each = 8 if sizes == {8} else 4
        if not self.reduced and target.bits == 512:
            each = min(each, self._narrowest(sizes))
        self.lanes = target.lanes(each) * self._vectors_a_unit(target)

    def _narrowest(self, sizes: set[int]) -> int:
        """The widest element that a map of small integers has, in memory or registers.

        Without reductions, and with AVX-512: others have no masks for so many lanes.
        """
        made = {el for n in self.group.nodes for el in (n.compute, n.result) if el is not None}
        if any(el.kind == "f" for el in made) or any(n.kind != "map" for n in self.group.nodes):
            return 4
        return max(sizes | {el.size for el in made})

    def _vectors_a_unit(self, target: Target) -> int:
        """How many vectors of columns go down the rows together.

        One touches 64 bytes of each row, which is far from what memory gives; many would leave too
        few units for the threads, and want too many registers.
        """
        last = len(self.axes) - 1
        if not self.reduced or last in self.reduced or len(self.group.nodes) > FEW:
            return 1
        if self.axes[last].__class__ is Size:
            return 1
        columns = self.axes[last] // target.lanes(4)
        return next((n for n in (4, 2) if columns >= 8 * n), 1)

    def _collapse(self, space: tuple[int, ...], dims: tuple[int, ...], raw: list[Access]) -> None:
        """Axes of size 1 go; neighbours that all accesses see as one become one."""
        groups: list[list[int]] = []
        for d, n in enumerate(space):
            if n == 1:
                continue
            if groups and (groups[-1][-1] in dims) == (d in dims):
                last = groups[-1][-1]
                if all(a.strides[last] == a.strides[d] * n for a in raw):
                    groups[-1].append(d)
                    continue
            groups.append([d])
        if dims and not any(g[0] in dims for g in groups):
            # All that is reduced has size 1: one such axis stays, outermost.
            groups.insert(0, [dims[0]])
        if not groups and space:
            groups = [[0]]
        self.axes = tuple([math.prod(space[d] for d in g) for g in groups]) or (1,)
        self.reduced = tuple([k for k, g in enumerate(groups) if g[0] in dims])
        inner = [g[-1] for g in groups]

        def cut(a: Access) -> Access:
            return a._replace(strides=tuple([a.strides[d] for d in inner]) or (0,))

        self.reads = {k: cut(a) for k, a in self.reads.items()}
        self.writes = {k: cut(a) for k, a in self.writes.items()}

    def spec(self) -> tuple:
        """All that the code depends on; slots are renamed in order of their use."""
        names: dict[Any, int] = {}

        def name(slot: Any) -> int:
            return names.setdefault(slot, len(names))

        def place(a: Access) -> tuple:
            return (
                name((a.slot, a.offset)), a.strides,
                tuple([(name(("index", i)), s) for i, s in a.moving]),
                a.element.name,
            )  # fmt: skip

        rows = []
        made = {n.slot: k for k, n in enumerate(self.group.nodes) if n.target is None and n.slots}
        for k, node in enumerate(self.group.nodes):
            operands: list[Any] = []
            for j, o in enumerate(node.operands):
                if o.__class__ is Ref:
                    read = self.reads.get((k, j))
                    operands.append(("made", made[o.slot]) if read is None else place(read))
                elif o.__class__ is Number:
                    operands.append(("number", o.kind, name(o)))
                else:
                    operands.append(("literal", repr(o.value), o.value.__class__.__name__))
            write = self.writes.get(k)
            rows.append(
                (
                    node.kind, node.op, tuple(operands), tuple(sorted(node.attrs.items())),
                    node.compute.name, node.result.name, self.group.level[id(node)],
                    None if write is None else place(write),
                )
            )  # fmt: skip
        flat = not self.reduced and len(self.axes) == 1
        # The outermost extent is the range of units: it is no part of the code.
        any_extent = flat or not self._needs_first()
        axes = (("any", self.axes[0] == 1) if any_extent else self.axes[0], *self.axes[1:])
        return (tuple(rows), axes, self.reduced, self.lanes)

    def _needs_first(self) -> bool:
        """Whether the code has the first axis's extent in it."""
        return 0 in self.reduced or len(self.axes) == 1
