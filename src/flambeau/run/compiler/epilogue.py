"""Epilogues: maps of a product's result become part of the product's kernels.

Bias and activation of a layer, an optimizer's rule on a weight's gradient: values are computed on
the vectors of a tile before those are stored, instead of in a nest that reads them back. The
operations are the nest's own, so that no bit depends on where they are done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flambeau.run.compiler.emit import vector
from flambeau.run.compiler.fuse import Group
from flambeau.run.compiler.gemm_spec import BYTES, Epilogue, Product
from flambeau.run.compiler.nest import NUMBER_MEMORY
from flambeau.run.compiler.nest_values import apply, literal, number, number_key
from flambeau.run.compiler.nodes import Number, Ref
from flambeau.run.compiler.pointwise import Lanes
from flambeau.run.compiler.views import contiguous

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from flambeau.run.compiler.emit import Function
    from flambeau.run.compiler.fuse import Fuser
    from flambeau.run.compiler.lower import Buffer
    from flambeau.run.compiler.nodes import Node
    from flambeau.run.compiler.views import View

__all__ = ["Attached", "attach"]

# The text is written out for every vector of a tile: few operations, of few instructions each.
NODES, MEMORY = 16, 8
# Operands and results of C's own size, besides C (a residual, a parameter and its new value): a
# nest goes through their memory in order, a tile does not. Measured, an epilogue wins by 2 to 7 %
# within these bounds, and loses up to 40 % beyond them (rows of one tile that share cache sets,
# memory far away, a product that takes so long that nothing is to be gained).
FULL, FULL_NODES, FULL_BYTES, FULL_DEPTH, APART = 2, 6, 1 << 20, 128, 2048
# A C of no more bytes is near whatever is done to it.
SMALL = 1 << 14
CHEAP = frozenset(
    {
        "abs", "add", "and", "cast", "ceil", "clamp", "clamp_max", "clamp_min", "copy",
        "copysign", "div", "eq", "floor", "fmax", "fmin", "gate", "ge", "gt", "isfinite",
        "isinf", "isnan", "le", "lerp", "lt", "maximum", "minimum", "mul", "ne", "neg",
        "not", "or", "reciprocal", "relu", "round", "rsqrt", "sign", "sqrt", "square",
        "sub", "trunc", "where", "xor",
    }
)  # fmt: skip


class Access(NamedTuple):
    """A value in memory: strides over C's rows and columns, in elements."""

    slot: int
    offset: int
    rows: int
    columns: int


class Attached:
    """A group of maps as the epilogue of the product whose result it reads.

    ``c`` is the slot of what the product's kernels store themselves, ``pointers`` are (slot, offset
    in bytes) of the epilogue's operands.
    """

    def __init__(
        self,
        group: Group,
        stored: Collection[int],
        replaced: Collection[int],
        buffers: Mapping[int, Buffer],
    ) -> None:
        product, *self.nodes = group.nodes
        self.spec: Product = product.plan
        self.group = group
        self.size = BYTES[self.spec.element]
        self.result = product.slot
        self.reads: dict[tuple[int, int], Access] = {}
        self.buffers = buffers
        results = [n.slot for n in self.nodes if n.slot in stored]
        # Sums of parts of k pass through C: it must not be memory that the epilogue reads.
        own = [s for s in results if s not in replaced]
        self.c = product.slot if product.slot in stored or not own else own[0]
        self.stores = [s for s in results if s != self.c]
        self.possible = (
            len(self.nodes) <= NODES
            and (product.slot in stored or bool(own))
            and all(self._fits(k, n) for k, n in enumerate(self.nodes))
            and all(buffers[s].element.memory == self.spec.element for s in results)
        )
        memory = {(a.slot, a.offset * self.size): None for a in self.reads.values()}
        memory |= {(s, 0): None for s in self.stores}
        self.possible = self.possible and len(memory) <= MEMORY
        numbers = [o for n in self.nodes for o in n.operands if o.__class__ is Number]
        memory |= {(NUMBER_MEMORY, number_key(o)): None for o in numbers}
        self.pointers = list(memory)

    def _fits(self, k: int, node: Node) -> bool:
        """Whether the node can be computed on C's vectors; notes what it reads."""
        if node.kind != "map" or node.target is not None or node.after:
            return False
        if node.op not in CHEAP and not (node.op == "pow" and "exponent" in node.attrs):
            return False
        for el in (node.compute, node.result):
            if el is None or (el.kind != "b" and el.memory != self.spec.element):
                return False
        made = self.group.made
        for j, o in enumerate(node.operands):
            if o.__class__ is not Ref:
                continue
            view = self.group.views[id(node)][j]
            if o.slot == self.result:
                if view is None or not view.is_whole(self.spec.m * self.spec.n):
                    return False
            elif o.slot not in made:
                access = None if view is None else self._access(o.slot, view)
                if access is None:
                    return False
                self.reads[k, j] = access
        return True

    @property
    def along_rows(self) -> bool:
        """Whether lanes run along C's rows: those of a single column do (`gemm._oriented`)."""
        return self.spec.n == 1 and self.spec.m > 1

    def _access(self, slot: int, view: View) -> Access | None:
        """How vectors of C's own places read a buffer; None if they cannot."""
        spec = self.spec
        over = view.reshape((spec.m, spec.n))
        if over is None or over.moving or self.buffers[slot].element.memory != spec.element:
            return None
        rows = over.strides[0] if spec.m > 1 else 0
        columns = over.strides[1] if spec.n > 1 else 0
        if (rows if self.along_rows else columns) not in (0, 1):
            return None
        return Access(slot, over.offset, rows, columns)

    @property
    def full(self) -> int:
        """How many operands and results besides C are of C's size."""
        spec = self.spec
        wide = (spec.m > 1, spec.n > 1)
        reads = {a for a in self.reads.values() if (a.rows != 0, a.columns != 0) == wide}
        return len(reads) + len(self.stores)

    def epilogue(self) -> Epilogue:
        """What the product's kernels are told."""
        return Epilogue(lambda f: Writer(f, self).write, len(self.pointers))


class Writer:
    """The epilogue while a tile's part of a kernel is written."""

    def __init__(self, f: Function, attached: Attached) -> None:
        self.f, self.a = f, attached
        self.element = attached.spec.element
        self.at = {p: f.pointer(k) for k, p in enumerate(attached.pointers)}
        self.numbers: dict[tuple[Number, str], str] = {}
        # What several vectors of the tile share.
        self.offsets: dict[tuple[object, ...], str] = {}
        self.loads: dict[tuple[object, ...], str] = {}
        single = Lanes(f, 1)
        for node in attached.nodes:
            for o in node.operands:
                if o.__class__ is Number and (o, node.compute.name) not in self.numbers:
                    p = self.at[NUMBER_MEMORY, number_key(o)]
                    raw = f.load("double" if o.kind == "f" else "i64", p, 8)
                    self.numbers[o, node.compute.name] = number(single, raw, o.kind, node.compute)

    def write(self, lanes: int, value: str, i: str, j: str, mask: str | None) -> str:
        """The vector of C at row ``i`` from column ``j``; stores what else is stored."""
        a, e = self.a, Lanes(self.f, lanes)
        values = {a.result: value}
        for k, node in enumerate(a.nodes):
            xs = []
            for n, o in enumerate(node.operands):
                if o.__class__ is Ref:
                    access = a.reads.get((k, n))
                    if access is None:
                        xs.append(values[o.slot])
                    else:
                        xs.append(self.load(e, access, i, j, mask))
                elif o.__class__ is Number:
                    one = self.numbers[o, node.compute.name]
                    xs.append(self.f.splat(lanes, node.compute.register, one))
                else:
                    xs.append(literal(e, o.value, node.compute))
            values[node.slot] = apply(e, node, xs)
        for slot in a.stores:
            place = Access(slot, 0, a.spec.n if a.spec.m > 1 else 0, 1 if a.spec.n > 1 else 0)
            self.store(e, place, values[slot], i, j, mask)
        return values[a.c]

    def place(self, a: Access, i: str, j: str) -> str:
        """Its address at a row and a column."""
        f = self.f
        key = (a.rows and i, a.rows, a.columns and j, a.columns)
        off = self.offsets.get(key)
        if off is None:
            parts = [
                at if stride == 1 else f.value(f"mul i64 {at}, {stride}")
                for at, stride in ((i, a.rows), (j, a.columns))
                if stride
            ]
            off = parts[0] if parts else "0"
            if len(parts) == 2:
                off = f.value(f"add i64 {parts[0]}, {parts[1]}")
            self.offsets[key] = off
        base = self.at[a.slot, a.offset * self.a.size]
        return base if off == "0" else f.element(base, self.element, off)

    def load(self, e: Lanes, a: Access, i: str, j: str, mask: str | None) -> str:
        f, size = self.f, self.a.size
        key = (a, a.rows and i, a.columns and j, mask, e.lanes)
        found = self.loads.get(key)
        if found is not None:
            return found
        p = self.place(a, i, j)
        if not (a.rows if self.a.along_rows else a.columns):
            found = f.splat(e.lanes, self.element, f.load(self.element, p, size))
        elif mask:
            found = f.load_masked(e.lanes, self.element, p, mask)
        else:
            found = f.load(vector(e.lanes, self.element), p, size)
        self.loads[key] = found
        return found

    def store(self, e: Lanes, a: Access, value: str, i: str, j: str, mask: str | None) -> None:
        p = self.place(a, i, j)
        if mask:
            self.f.store_masked(e.lanes, self.element, value, p, mask)
        else:
            self.f.store(vector(e.lanes, self.element), value, p, self.a.size)


def attach(
    fuser: Fuser,
    outs: Collection[int],
    replaced: Collection[int],
    buffers: Mapping[int, Buffer],
) -> dict[int, Attached]:
    """Makes maps epilogues of the products they follow; by the groups' ids.

    ``outs`` are the slots of outputs, ``replaced`` those that may be written over inputs.
    """
    found: dict[int, Attached] = {}
    readers: dict[int, list[Group]] = {}
    for group in fuser.groups.values():
        for slot in reads(group):
            readers.setdefault(slot, []).append(group)
    products = [g for g in fuser.groups.values() if g.nodes[0].plan.__class__ is Product]
    for product in reversed(products):
        slot = product.nodes[0].slot
        for group in readers.get(slot, ()):
            whole = joined(fuser, product, group)
            if whole is None:
                continue
            stored = {*readers, *outs}
            if slot not in outs and len(readers[slot]) == 1:
                stored.remove(slot)
            attached = Attached(whole, stored, replaced, buffers)
            if attached.possible and worth(attached):
                fuser.replace(product, group, whole)
                found[id(whole)] = attached
                break
    return found


def reads(group: Group) -> set[int]:
    """The slots that it takes from memory."""
    return {
        o.slot
        for n in group.nodes
        for o in n.operands
        if o.__class__ is Ref and o.slot not in group.made
    }


def joined(fuser: Fuser, product: Group, group: Group) -> Group | None:
    """Both as one, if nothing lies between; the product comes first."""
    node = product.nodes[0]
    if not group.nest or group.dims is not None or node.plan.batch != 1:
        return None
    if fuser.groups.get(group.index) is not group or fuser.between(product, group):
        return None
    whole = Group(product.index, group.space)
    whole.put(node, True, [contiguous(o.view.shape) for o in node.operands])
    for n in group.nodes:
        whole.put(n, group.level[id(n)], group.views[id(n)])
    return whole


def worth(attached: Attached) -> bool:
    """Whether the epilogue is faster than a nest after the product, by what was measured."""
    full = attached.full
    if not full:
        return True
    spec = attached.spec
    row = spec.n * BYTES[spec.element]
    return (
        full <= FULL
        and len(attached.nodes) <= FULL_NODES
        and (
            spec.m * row <= SMALL
            or (spec.k <= FULL_DEPTH and spec.m * row <= FULL_BYTES and row % APART != 0)
        )
    )
