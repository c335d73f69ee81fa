"""From primitives to nodes: views become index arithmetic, composites are taken apart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flambeau import dtypes
from flambeau.ir.graph import NUMBERS, Aval, Const
from flambeau.run.compiler import pointwise
from flambeau.run.compiler.elements import element, known
from flambeau.run.compiler.nodes import Literal, Node, Number, Operand, Ref
from flambeau.run.compiler.sizes import Size, has_size, plain
from flambeau.run.compiler.views import View, contiguous, row_major

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.sizes import Sizes

__all__ = ["Buffer", "Lowering", "Refused", "Unsized", "lowering", "scalar", "sized"]

# A reduction to few elements is cut in as many parts as are worth a thread each.
SPLIT = 1 << 15
# What has kernels, or becomes nodes, whose sizes may be known only when they run; all that is
# pointwise, too. The kernels of others are planned for each program.
_SIZED = """
    reshape permute broadcast flip slice detach clone rebase shared_gradient tied full iota cast
    concat unslice sum amax amin any all prod softmax log_softmax softmax_gradient
    log_softmax_gradient standardize standardize_gradient where matmul embedding
    embedding_gradient nll nll_gradient attention attention_gradient
    recurrence recurrence_gradient convolution convolution_input_gradient
    convolution_weight_gradient pad binary_cross_entropy dropout var std vector_norm argmax
    argmin logsumexp cumsum cumprod fmod remainder floor_divide trunc_divide hypot nextafter
    igamma igammac erfcx ndtr log_ndtr erfinv ndtri lgamma digamma trigamma polygamma logit
    i0 i0e i1 i1e bessel_j0 bessel_j1 bessel_y0 bessel_y1
    max_pool avg_pool avg_pool_gradient adaptive_avg_pool adaptive_avg_pool_gradient
    adaptive_max_pool plane_add plane_take gather scatter scatter_add scatter_reduce index
    index_put
"""
SIZED = frozenset(_SIZED.split())
# Of the others, those whose kernels may refuse values.
_FAULTING = """
    gather scatter scatter_add scatter_reduce index index_put index_select index_add
"""
FAULTING = frozenset(_FAULTING.split())


# Where PyTorch does not round a number to the 16-bit type of the elements beside it.
EXACT = frozenset({"mul", "div", "lerp"})


class Refused(Exception):
    """No kernel for this case of a primitive: its reference is called."""


class Unsized(Exception):
    """No kernel of run-time sizes for this case: it is planned for each program."""


class Buffer:
    """Memory of a program: ``size`` elements; ``array`` where its content is fixed.

    ``make``, of a program among others whose sizes differ: what gives the content for each, a
    function of sizes, or the number of a literal array of the entries.
    """

    __slots__ = ("size", "element", "array", "make")

    def __init__(self, size: int, el: Element, array: np.ndarray | None = None) -> None:
        self.size = size
        self.element = el
        self.array = array
        self.make: tuple[Callable[..., np.ndarray], tuple[int, ...]] | int | None = None

    @property
    def bytes(self) -> int:
        return self.size * self.element.size


class Literals(NamedTuple):
    """The ``number``-th literal array of entries that differ in such from program to program."""

    number: int
    shape: tuple[int, ...]
    array: np.ndarray


class Varying:
    """A literal float of entries that differ in it from program to program: the ``number``-th."""

    def __init__(self, number: int, value: float) -> None:
        self.number, self.value = number, value

    def __call__(self) -> float:
        return self.value


LOWER: dict[str, Callable[..., Any]] = {}
# What to do with complex numbers, which are pairs in memory.
PAIRS: dict[str, Callable[..., Any]] = {}


def lowering(names: str, pairs: bool = False) -> Callable:
    """Registers how a primitive is lowered: ``f(lowering, entry, *operands)`` gives operands.

    ``pairs``: where complex numbers are among operands or results; most have but a reference.
    """
    table = PAIRS if pairs else LOWER

    def add(f: Callable) -> Callable:
        for name in names.split():
            table[name] = f
        return f

    return add


class Lowering:
    """Nodes under construction.

    ``env`` gives each slot of the entries its operand; buffers are numbered on from there.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        outs: Sequence[int],
        samples: Sequence[Any],
        layouts: Mapping[int, tuple[int, ...]] | None = None,
        sizes: Sizes | None = None,
    ) -> None:
        self.samples = list(samples)
        # Those among shapes, if the plan is for programs of several sizes.
        self.sizes = sizes
        # Strides, in elements, of inputs that are not contiguous.
        self.layouts = layouts or {}
        # Arithmetic of run-time numbers, done before each run: (function, operands).
        self.prelude: list[tuple[Any, list[Any]]] = []
        self.nodes: list[Node] = []
        self.buffers: dict[int, Buffer] = {}
        self.env: dict[int, Operand] = {}
        self.numbers: set[Number] = set()
        self.guards: list[Node] = []
        # Right operands of products that lie across, how often they were read, their copies.
        self.read_across: dict[Ref, int] = {}
        self.copies: dict[Ref, Ref] = {}
        self.host_reasons: list[tuple[str, str]] = []
        # Complex values that are real ones, by their slots.
        self.reals: dict[int, Ref] = {}
        self._next = 1 + max((s for e in entries for s in e.outputs), default=-1)
        self._consts: dict[int, int] = {}
        self._keep: list[Any] = []
        self._extents: dict[int, np.ndarray] = {}
        self._varying: dict[int, Number] = {}
        self.avals: dict[int, Aval] = {}
        for e in entries:
            for i, a in zip(e.inputs, e.in_avals, strict=True):
                if type(i) is int:
                    self.avals[i] = a
            self.avals.update(zip(e.outputs, e.out_avals, strict=True))

    # Making nodes

    def fresh(self, size: int, el: Element) -> int:
        slot = self._next
        self._next += 1
        self.buffers[slot] = Buffer(size, el)
        return slot

    def constant(self, array: np.ndarray) -> Ref:
        """A buffer with fixed content."""
        found = self._consts.get(id(array))
        if found is None:
            el = element_or_raw(Aval(array.shape, dtypes.from_numpy_dtype(array.dtype)))
            found = self.fresh(array.size, el)
            self.buffers[found].array = np.ascontiguousarray(array)
            self._consts[id(array)] = found
            self._keep.append(array)
        return Ref(found, contiguous(array.shape))

    def made(
        self, make: Callable[..., np.ndarray] | int, given: tuple[int, ...], array: np.ndarray,
        shape: tuple[int, ...],
    ) -> Ref:  # fmt: skip
        """A buffer whose content is fixed, but another one for programs of other sizes."""
        el = element_or_raw(Aval((), dtypes.from_numpy_dtype(array.dtype)))
        slot = self.fresh(math.prod(shape), el)
        buffer = self.buffers[slot]
        buffer.array = np.ascontiguousarray(array)
        buffer.make = make if isinstance(make, int) else (make, given)
        return Ref(slot, contiguous(shape))

    def places(self, n: int, dtype: Any = np.int64) -> Ref:
        """0, 1, 2... in memory."""
        if n.__class__ is Size:
            array = np.arange(plain(n)).astype(dtype)
            return self.made(lambda n: np.arange(n).astype(dtype), (n,), array, (n,))
        return self.constant(np.arange(n).astype(dtype))

    def extent(self, n: int) -> Ref:
        """A count in memory, for kernels that are the same whatever it is.

        Ragged batches have another one each time.
        """
        if n.__class__ is Size:
            return self.made(_counted, (n,), _counted(plain(n)), (1,))
        array = self._extents.get(n)
        if array is None:
            array = self._extents[n] = np.array([n], np.int64)
        return self.constant(array)

    def number(self, index: int, kind: str) -> Number:
        """A run-time number, read as ``kind``: f or i."""
        if isinstance(self.samples[index], complex) or (
            kind == "i" and not isinstance(self.samples[index], int)
        ):
            raise Refused("a number of another kind")
        found = Number(index, kind)
        self.numbers.add(found)
        return found

    def compute_number(self, e: Entry) -> Number:
        """Arithmetic on run-time numbers alone: Python does it."""
        given = [self.operand(e, k) for k in range(len(e.inputs))]
        op = e.attrs["op"]
        sample = op(*[self.samples[x.index] if x.__class__ is Number else x.value for x in given])
        self.prelude.append((op, given))
        self.samples.append(sample)
        return Number(len(self.samples) - 1, "?")

    def map(
        self,
        op: str,
        operands: Sequence[Any],
        shape: tuple[int, ...],
        compute: Element,
        result: Element | None = None,
        attrs: dict[str, Any] | None = None,
        target: tuple[int, View] | None = None,
    ) -> Ref:
        """``op`` element by element; operands are broadcast to ``shape``."""
        given = [
            Ref(o.slot, o.view.broadcast(shape)) if o.__class__ is Ref else o for o in operands
        ]
        result = result or compute
        if target is None:
            slot, view = self.fresh(math.prod(shape), result), None
        else:
            slot, view = target
        node = Node("map", op, given, shape, compute, result, slot, attrs, target=view)
        self.nodes.append(node)
        return Ref(slot, contiguous(shape) if view is None else view)

    def reduce(self, op: str, x: Ref, dims: Sequence[int], el: Element) -> Ref:
        """Combines over ``dims``, which are gone from the result's shape."""
        shape = x.view.shape
        dims = tuple(sorted(d % len(shape) for d in dims)) if shape else ()
        kept = tuple([n for d, n in enumerate(shape) if d not in dims])
        total = math.prod(shape)
        out = math.prod(kept)
        if not dims:
            return x
        if not total:
            neutral = {"sum": 0, "prod": 1, "amax": 0, "amin": 1}[op]
            return self.map("copy", [Literal(neutral)], kept, el)
        if total.__class__ is int and out < 8 and total >= SPLIT:
            parts = _parts(total // out)
            if parts > 1:
                order = (*[d for d in range(len(shape)) if d not in dims], *dims)
                view = x.view.permute(order).reshape((*kept, parts, total // out // parts))
                if view is not None:
                    first = self.reduce(op, Ref(x.slot, view), (len(kept) + 1,), el)
                    return self.reduce(op, first, (len(kept),), el)
        slot = self.fresh(out, el)
        self.nodes.append(Node("reduce", op, [x], shape, el, el, slot, dims=dims))
        return Ref(slot, contiguous(kept))

    def guard(self, condition: Ref) -> None:
        """The program fails, before it writes anything of its inputs, where this is true."""
        el = element(dtypes.bool_)
        node = Node("guard", "guard", [condition], condition.view.shape, el, el, -1)
        node.slots = ()
        self.nodes.append(node)
        self.guards.append(node)

    def stages(
        self, name: str, plan: Any, operands: Sequence[Ref], outs: Sequence[tuple[int, ...]],
        els: Sequence[Element], faults: bool = False,
    ) -> list[Ref]:  # fmt: skip
        """Kernels of their own, on whole buffers; ``faults``: they may refuse values."""
        slots = [self.fresh(math.prod(s), el) for s, el in zip(outs, els, strict=True)]
        node = Node("stages", name, list(operands), outs[0], None, None, slots[0])
        node.slots = tuple(slots)
        node.plan = plan
        if faults:
            node.attrs["faults"] = True
            self.guards.append(node)
        self.nodes.append(node)
        return [Ref(slot, contiguous(s)) for slot, s in zip(slots, outs, strict=True)]

    def copied(self, x: Operand, shape: tuple[int, ...], el: Element) -> Ref:
        """The value in memory of its own, in row-major order."""
        from flambeau.run.compiler.interleaving import interleaved

        found = interleaved(self, x, el) if x.__class__ is Ref else None
        return self.map("copy", [x], shape, el) if found is None else found

    def dense(self, x: Operand, shape: tuple[int, ...], el: Element) -> Ref:
        """The value in memory, in row-major order (perhaps from an offset)."""
        if x.__class__ is not Ref:
            return self.map("copy", [x], shape, el)
        view = x.view
        if view.moving or view._replace(offset=0) != view._replace(
            offset=0, strides=row_major(view.shape)
        ):
            dense = view.reshape((view.size,))
            if dense is None or dense.moving or dense.strides != (1,):
                return self.copied(x, shape, el)
            return Ref(x.slot, View(shape, row_major(shape), view.offset))
        return x

    # Entries

    def run(self, entries: Sequence[Entry]) -> None:
        """Lowers all of them."""
        for e in entries:
            if e.prim.name == "number":
                self.env[e.outputs[0]] = self.compute_number(e)
                continue
            mark = (len(self.nodes), len(self.guards))
            try:
                if all(a.dtype is None or known(a.dtype) for a in (*e.in_avals, *e.out_avals)):
                    rule = LOWER.get(e.prim.name)
                else:
                    rule = PAIRS.get(e.prim.name)
                    if rule is None:
                        raise Refused("no kernels for this dtype")
                if rule is None:
                    if e.prim.name not in pointwise.RULES:
                        raise Refused("no kernel")
                    rule = _pointwise
                elif self.sizes is not None and e.prim.name not in SIZED and sized(e):
                    rule = _later
                result = rule(self, e, *[self.operand(e, k) for k in range(len(e.inputs))])
            except Unsized:
                del self.nodes[mark[0] :]
                del self.guards[mark[1] :]
                result = _later(self, e)
            except Refused as why:
                del self.nodes[mark[0] :]
                del self.guards[mark[1] :]
                result = self.host(e, str(why))
            results = result if isinstance(result, list) else [result]
            for slot, aval, value in zip(e.outputs, e.out_avals, results, strict=True):
                if value.__class__ is Ref and value.view.shape != aval.shape:
                    view = value.view.reshape(aval.shape)
                    if view is None:
                        copy = self.dense(value, value.view.shape, element(aval.dtype))
                        view = contiguous(aval.shape)._replace(offset=copy.view.offset)
                        value = Ref(copy.slot, view)
                    else:
                        value = Ref(value.slot, view)
                self.env[slot] = value

    def operand(self, e: Entry, k: int) -> Operand:
        """The k-th operand of an entry."""
        i, aval = e.inputs[k], e.in_avals[k]
        if i.__class__ is Const:
            v = i.value
            if v.__class__ is Varying:
                return self.varying(v)
            if v.__class__ is Literals:
                return self.made(v.number, (), v.array, v.shape)
            if isinstance(v, (np.ndarray, np.generic)):
                if not v.size:
                    return Ref(self.constant(np.zeros(1, v.dtype)).slot, contiguous(v.shape))
                if v.size == 1:
                    return Literal(v.item())
                return self.constant(v)
            return Literal(v)
        if i <= NUMBERS:
            return Number(NUMBERS - i, "?")
        found = self.env.get(i)
        if found is None:
            found = self.given(i, aval)
        return found

    def varying(self, value: Varying) -> Number:
        """As a run-time number, which each program makes up itself."""
        found = self._varying.get(value.number)
        if found is None:
            self.prelude.append((value, []))
            self.samples.append(value.value)
            found = self._varying[value.number] = Number(len(self.samples) - 1, "?")
        return found

    def given(self, slot: int, aval: Aval) -> Ref:
        """An input of the program, as it lies in memory."""
        view, size = contiguous(aval.shape), math.prod(aval.shape)
        strides = self.layouts.get(slot)
        if strides is not None:
            view = View(aval.shape, strides)
            size = 1 + sum((n - 1) * s for n, s in zip(aval.shape, strides, strict=True))
        self.buffers[slot] = Buffer(size, element_or_raw(aval))
        found = self.env[slot] = Ref(slot, view)
        return found

    def host(self, e: Entry, why: str) -> list[Ref]:
        """Calls the reference; what it reads is laid out in memory first."""
        self.host_reasons.append((e.prim.name, why))
        return self.opaque(e, "host")

    def opaque(self, e: Entry, kind: str) -> list[Ref]:
        """A node that is the entry itself, on values in memory."""
        operands: list[Any] = []
        for k, (i, aval) in enumerate(zip(e.inputs, e.in_avals, strict=True)):
            if i.__class__ is Const:
                operands.append(Literal(i.value))
                continue
            if aval.dtype is None:
                operands.append(self.operand(e, k))
                continue
            if i not in self.env and i < 0 and i not in self.layouts:
                operands.append(self.given(i, aval))
                continue
            x = self.operand(e, k)
            operands.append(self.dense(x, aval.shape, element_or_raw(aval)))
        slots = [self.fresh(math.prod(a.shape), element_or_raw(a)) for a in e.out_avals]
        node = Node(kind, e.prim.name, operands, e.out_avals[0].shape, None, None, slots[0])
        node.slots = tuple(slots)
        node.entry = e
        self.nodes.append(node)
        return [Ref(s, contiguous(a.shape)) for s, a in zip(slots, e.out_avals, strict=True)]


def sized(e: Entry) -> bool:
    """Whether shapes or attributes have sizes among them."""
    avals = (*e.in_avals, *e.out_avals)
    return any(has_size(a.shape) for a in avals) or has_size(e.attrs)


def _later(low: Lowering, e: Entry, *xs: Operand) -> list[Ref]:
    """Kernels that are planned for each program."""
    found = low.opaque(e, "later")
    if e.prim.name in FAULTING or e.prim.raises:
        low.nodes[-1].attrs["faults"] = True
        low.guards.append(low.nodes[-1])
    return found


def _counted(n: int) -> np.ndarray:
    return np.array([n], np.int64)


def element_or_raw(aval: Aval) -> Element:
    """The element, also of dtypes that only references know: those are only moved."""
    from flambeau.run.compiler.elements import Element

    if known(aval.dtype):
        return element(aval.dtype)
    size = np.dtype(aval.dtype.numpy).itemsize
    return Element(aval.dtype.name, f"i{8 * size}", f"i{8 * size}", size, "x")


def _parts(n: int) -> int:
    """How many equal parts a long reduction is cut into; 1 for none."""
    best = 1
    for p in range(2, 257):
        if n % p == 0 and n // p >= 256:
            best = p
    return best


def _pointwise(low: Lowering, e: Entry, *xs: Operand) -> Ref:
    """A primitive with a rule: one node."""
    name, out = e.prim.name, e.out_avals[0]
    kinds = {a.dtype for a in e.in_avals if a.dtype is not None}
    if len(kinds) != 1:
        raise Refused("operands of several dtypes")
    compute = element(kinds.pop())
    if not pointwise.supports(name, compute.kind):
        raise Refused(f"no rule for {compute.name}")
    attrs = dict(e.attrs)
    operands = list(xs)
    if name == "pow":
        exponent = xs[1]
        if exponent.__class__ is Literal and exponent.value in (2, 0.5, -0.5, 1, -1, 3):
            attrs = {"exponent": exponent.value}
            operands = operands[:1]
    if attrs and name != "pow":
        raise Refused("attributes")
    if name in EXACT and compute.kind == "f" and compute.size == 2:
        beside = [o for o, a in zip(xs, e.in_avals, strict=True) if a.dtype is None]
        if beside and all(o.__class__ is Ref for o in xs if not any(o is b for b in beside)):
            compute = element(dtypes.float32)
    return low.map(
        name, [scalar(low, o, compute) for o in operands], out.shape, compute,
        element(out.dtype), attrs,
    )  # fmt: skip


def scalar(low: Lowering, o: Operand, compute: Element) -> Operand:
    """A number as operand of a computation on ``compute``."""
    if o.__class__ is Literal:
        if isinstance(o.value, complex) or (compute.kind != "f" and isinstance(o.value, float)):
            raise Refused("a number of another kind")
        if compute.kind in "iu" and not -(1 << 63) <= int(o.value) < 1 << 64:
            raise Refused("a number out of range")
        return o
    if o.__class__ is Number:
        return low.number(o.index, "f" if compute.kind == "f" else "i")
    return o
