"""Epilogues: maps of a product's or convolution's result become part of its kernels.

Bias and activation of a layer, an optimizer's rule on a weight's gradient: values are computed on
the vectors of a tile before those are stored (products), or while a block of the result is in the
cache (convolutions), instead of in a nest that reads them back from memory. The operations are the
nest's own, so that no bit depends on where they are done.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

from flambeau.run.compiler.convolution import Convolution
from flambeau.run.compiler.emit import vector
from flambeau.run.compiler.fuse import Group
from flambeau.run.compiler.gemm_spec import BYTES, Product
from flambeau.run.compiler.nest_memory import NUMBER_MEMORY
from flambeau.run.compiler.nest_values import apply, literal, number, number_key, zero
from flambeau.run.compiler.nodes import Number, Ref
from flambeau.run.compiler.pointwise import Lanes
from flambeau.run.compiler.sizes import has_size
from flambeau.run.compiler.stages import Emit, Epilogue
from flambeau.run.compiler.views import contiguous, row_major

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from flambeau.run.compiler.emit import Function
    from flambeau.run.compiler.fuse import Fuser
    from flambeau.run.compiler.lower import Buffer
    from flambeau.run.compiler.nodes import Node
    from flambeau.run.compiler.views import View

__all__ = ["Attached", "attach"]

# Few operations, of few instructions each: a product's are written out for every vector of a tile,
# and with elementary functions a convolution's take as long as a nest.
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
        "copysign", "div", "dropout", "eq", "floor", "fmax", "fmin", "gate", "ge", "gt", "isfinite",
        "isinf", "isnan", "le", "lerp", "lt", "maximum", "minimum", "mul", "ne", "neg",
        "not", "or", "reciprocal", "relu", "round", "rsqrt", "sign", "sqrt", "square",
        "sub", "trunc", "where", "xor",
    }
)  # fmt: skip


class Access(NamedTuple):
    """A value in memory: strides over the result's axes, in elements of ``memory``'s type."""

    slot: int
    offset: int
    strides: tuple[int, ...]
    memory: str
    size: int

    @property
    def pointer(self) -> tuple[int, int]:
        """Slot and offset in bytes."""
        return self.slot, self.offset * self.size


class Attached:
    """A group of maps as the epilogue of the product or convolution whose result it reads.

    ``c`` is the slot of what the kernels store themselves, ``pointers`` are (slot, offset in bytes)
    of the epilogue's operands.
    """

    def __init__(
        self,
        group: Group,
        stored: Collection[int],
        replaced: Collection[int],
        buffers: Mapping[int, Buffer],
    ) -> None:
        product, *self.nodes = group.nodes
        self.spec: Product | Convolution = product.plan
        self.shape = self.spec.result
        last = len(self.shape) - 1
        # Lanes run along the rows of a single column (`gemm._oriented`).
        single = self.spec.__class__ is Product and self.shape[1] == 1 < self.shape[0]
        self.along = 0 if single else last
        self.group = group
        self.size = BYTES[self.spec.element]
        self.result = product.slot
        self.reads: dict[tuple[int, int], Access] = {}
        self.buffers = buffers
        results = [n.slot for n in self.nodes if n.slot in stored]
        # Sums pass through C: it must not be memory that the epilogue reads.
        own = [s for s in results if s not in replaced]
        self.c = product.slot if product.slot in stored or not own else own[0]
        self.stores = [s for s in results if s != self.c]
        self.possible = (
            len(self.nodes) <= NODES
            and (product.slot in stored or bool(own))
            # A convolution's channels may be done twice: it reads its operands again.
            and (self.spec.__class__ is Product or own == results)
            and all(self._fits(k, n) for k, n in enumerate(self.nodes))
            and all(buffers[s].element.memory == self.spec.element for s in results)
        )
        memory = {a.pointer: None for a in self.reads.values()}
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
                if view is None or not view.is_whole(prod(self.shape)):
                    return False
            elif o.slot not in made:
                access = None if view is None else self._access(o.slot, view)
                if access is None:
                    return False
                self.reads[k, j] = access
        return True

    def _access(self, slot: int, view: View) -> Access | None:
        """How vectors of the result's own places read a buffer; None if they cannot."""
        over = view.reshape(self.shape)
        el = self.buffers[slot].element
        if over is None or over.moving or (el.memory != self.spec.element and el.kind != "b"):
            return None
        access = self.over(slot, over.offset, over.strides)._replace(memory=el.memory, size=el.size)
        return access if access.strides[self.along] in (0, 1) else None

    def over(self, slot: int, offset: int, strides: tuple[int, ...]) -> Access:
        """A value over the result's axes, without strides that nothing steps along."""
        used = [s if n > 1 else 0 for n, s in zip(self.shape, strides, strict=True)]
        return Access(slot, offset, tuple(used), self.spec.element, self.size)

    @property
    def full(self) -> int:
        """How many operands and results besides C are of C's size."""
        wide = [n > 1 for n in self.shape]
        reads = {a for a in self.reads.values() if [s != 0 for s in a.strides] == wide}
        return len(reads) + len(self.stores)

    def epilogue(self) -> Epilogue:
        """What the kernels are told."""

        def begin(f: Function, lanes: int = 0, lead: tuple[str, ...] = ()) -> Emit:
            writer = Writer(f, self)
            if lanes:
                writer.lead(lanes, lead)
            return writer.write

        return Epilogue(begin, len(self.pointers))


class Writer:
    """The epilogue while a tile's part of a kernel is written."""

    def __init__(self, f: Function, attached: Attached) -> None:
        self.f, self.a = f, attached
        self.element = attached.spec.element
        self.at = {p: f.pointer(k) for k, p in enumerate(attached.pointers)}
        self.numbers: dict[tuple[Number, str], str] = {}
        # Short runs far apart are nothing the processor foresees: the next one is asked for.
        self.ahead = False
        # What several vectors of the tile share.
        self.rows: dict[tuple[object, ...], str] = {}
        self.loads: dict[tuple[object, ...], str] = {}
        single = Lanes(f, 1)
        for node in attached.nodes:
            for o in node.operands:
                if o.__class__ is Number and (o, node.compute.name) not in self.numbers:
                    p = self.at[NUMBER_MEMORY, number_key(o)]
                    raw = f.load("double" if o.kind == "f" else "i64", p, 8)
                    self.numbers[o, node.compute.name] = number(single, raw, o.kind, node.compute)

    @property
    def results(self) -> list[Access]:
        """Where values besides C are stored."""
        strides = row_major(self.a.shape)
        return [self.a.over(slot, 0, strides) for slot in self.a.stores]

    def lead(self, lanes: int, lead: tuple[str, ...]) -> None:
        """Loads what is the same along the last axis, and addresses for what is not."""
        self.ahead = True
        e = Lanes(self.f, lanes)
        for access in (*self.a.reads.values(), *self.results):
            if access.strides[-1]:
                self.row(access, lead)
            else:
                self.load(e, access, (*lead, "0"), None)

    def write(self, lanes: int, value: str, at: tuple[str, ...], mask: str | None) -> str:
        """The vector of C from the place ``at``; stores what else is stored."""
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
                        xs.append(self.load(e, access, at, mask))
                elif o.__class__ is Number:
                    one = self.numbers[o, node.compute.name]
                    xs.append(self.f.splat(lanes, node.compute.register, one))
                else:
                    xs.append(literal(e, o.value, node.compute))
            values[node.slot] = apply(e, node, xs)
        for access in self.results:
            self.store(e, access, values[access.slot], at, mask)
        return values[a.c]

    def row(self, a: Access, lead: tuple[str, ...]) -> str:
        """The address of what lies at the places that begin with ``lead``."""
        f = self.f
        used = tuple(i if stride else "" for i, stride in zip(lead, a.strides, strict=False))
        found = self.rows.get((a, used))
        if found is None:
            found = self.at[a.pointer]
            for i, stride in zip(lead, a.strides, strict=False):
                if stride:
                    steps = i if stride == 1 else f.value(f"mul i64 {i}, {stride}")
                    found = f.element(found, a.memory, steps)
            self.rows[a, used] = found
        return found

    def place(self, a: Access, at: tuple[str, ...]) -> str:
        """Its address at a place."""
        f, stride = self.f, a.strides[-1]
        row = self.row(a, at[:-1])
        if not stride:
            return row
        steps = at[-1] if stride == 1 else f.value(f"mul i64 {at[-1]}, {stride}")
        return f.element(row, a.memory, steps)

    def load(self, e: Lanes, a: Access, at: tuple[str, ...], mask: str | None) -> str:
        f, ty, size = self.f, a.memory, a.size
        along = a.strides[self.a.along]
        used = tuple(i if stride else "" for i, stride in zip(at, a.strides, strict=True))
        key = (a, used, mask if along else None, e.lanes)
        found = self.loads.get(key)
        if found is not None:
            return found
        p = self.place(a, at)
        if not along:
            found = f.splat(e.lanes, ty, f.load(ty, p, size))
        elif mask:
            found = f.load_masked(e.lanes, ty, p, mask)
        else:
            found = f.load(vector(e.lanes, ty), p, size)
        if ty != self.element:
            found = f.value(f"icmp ne {e.type(ty)} {found}, {zero(e, ty)}")
        if self.ahead and along and a.strides[-2]:
            f.prefetch(f.element(p, ty, str(a.strides[-2])))
        self.loads[key] = found
        return found

    def store(self, e: Lanes, a: Access, value: str, at: tuple[str, ...], mask: str | None) -> None:
        p = self.place(a, at)
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
    """Makes maps epilogues of the products and convolutions they follow; by the groups' ids.

    ``outs`` are the slots of outputs, ``replaced`` those that may be written over inputs.
    """
    found: dict[int, Attached] = {}
    readers: dict[int, list[Group]] = {}
    for group in fuser.groups.values():
        for slot in reads(group):
            readers.setdefault(slot, []).append(group)
    kinds = (Product, Convolution)
    products = [g for g in fuser.groups.values() if g.nodes[0].plan.__class__ in kinds]
    for product in reversed(products):
        slot = product.nodes[0].slot
        for group in readers.get(slot, ()):
            stored = {*readers, *outs}
            if slot not in outs and len(readers[slot]) == 1:
                stored.remove(slot)
            rest: Group | None = None
            whole = joined(fuser, product, group)
            if whole is None and slot not in stored:
                whole, rest = divided(fuser, product, group, stored)
            if whole is None:
                continue
            if rest is not None:
                stored.add(whole.nodes[-1].slot)
            attached = Attached(whole, stored, replaced, buffers)
            if attached.possible and worth(attached):
                if rest is None:
                    fuser.replace(product, group, whole)
                else:
                    fuser.divide(product, group, whole, rest)
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
    if not group.nest or group.dims is not None:
        return None
    if node.plan.__class__ is Product and node.plan.batch != 1:
        return None
    if fuser.groups.get(group.index) is not group or fuser.between(product, group):
        return None
    whole = Group(product.index, group.space)
    whole.put(node, True, [contiguous(o.view.shape) for o in node.operands])
    for n in group.nodes:
        whole.put(n, group.level[id(n)], group.views[id(n)])
    return whole


def divided(
    fuser: Fuser, product: Group, group: Group, stored: Collection[int]
) -> tuple[Group | None, Group | None]:
    """A convolution with the maps that a nest with reductions begins with, and what is left of it.

    Those are one after the other (the sum with another gradient, the activation's gradient): the
    nest then reads one value instead of what they are made of.
    """
    node = product.nodes[0]
    nest = group.nest and group.dims is not None and fuser.groups.get(group.index) is group
    if not nest or node.plan.__class__ is not Convolution:
        return None, None
    users: dict[int, list[Node]] = {}
    for n in group.nodes:
        for slot in {o.slot for o in n.operands if o.__class__ is Ref}:
            users.setdefault(slot, []).append(n)
    moved: list[Node] = []
    slot = node.slot
    while slot not in stored and len(users.get(slot, ())) == 1:
        (n,) = users[slot]
        others = {o.slot for o in n.operands if o.__class__ is Ref} - {slot}
        before = {i for s in others for i in fuser.writers.get(s, ())}
        if (
            n.kind != "map"
            or not group.level[id(n)]
            or n.target is not None
            or not others.isdisjoint(group.made)
            or any(i == product.index or waits(fuser, i, product) for i in before)
        ):
            break
        moved.append(n)
        slot = n.slot
    if not moved or slot not in users:
        return None, None
    whole, rest = Group(product.index, group.space), Group(group.index, group.space)
    rest.dims = group.dims
    whole.put(node, True, [contiguous(o.view.shape) for o in node.operands])
    for n in group.nodes:
        into = whole if any(n is m for m in moved) else rest
        into.put(n, group.level[id(n)], group.views[id(n)])
    return whole, rest


def waits(fuser: Fuser, index: int, on: Group) -> bool:
    """Whether a group waits for another."""
    return bool(fuser.groups[index].deps >> on.index & 1)


def worth(attached: Attached) -> bool:
    """Whether the epilogue is faster than a nest after the product, by what was measured."""
    full, spec = attached.full, attached.spec
    if not full or spec.__class__ is not Product:
        return True
    if has_size(spec.result):
        return False
    row = spec.n * BYTES[spec.element]
    return (
        full <= FULL
        and len(attached.nodes) <= FULL_NODES
        and (
            spec.m * row <= SMALL
            or (spec.k <= FULL_DEPTH and spec.m * row <= FULL_BYTES and row % APART != 0)
        )
    )
