"""Attention lowered: operands as they lie in memory, kernels for their shapes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from flambeau import dtypes
from flambeau.run.compiler import code
from flambeau.run.compiler.attention_backward import backward, parts_of
from flambeau.run.compiler.attention_forward import forward
from flambeau.run.compiler.attention_tiles import Mask, Problem, Side
from flambeau.run.compiler.convolution_blocks import Lanes
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.lower import Lowering, Refused, Unsized, lowering
from flambeau.run.compiler.nodes import Literal, Ref
from flambeau.run.compiler.rules import values
from flambeau.run.compiler.stages import Plan, Stage
from flambeau.run.compiler.views import View, contiguous, row_major

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flambeau.ir.graph import Aval, Entry
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.nodes import Operand

__all__: list[str] = []

Shape = tuple[int, ...]


class Operands:
    """Operands gathered for a kernel: values in memory, each with its view of the whole problem."""

    def __init__(self, low: Lowering, e: Entry, stack: Shape, scores: Shape, el: Element) -> None:
        self.low, self.e, self.stack, self.scores, self.el = low, e, stack, scores, el
        self.refs: list[Ref] = []
        self.views: dict[str, View] = {}
        self.rounded: Element | None = None

    def take(self, name: str, position: int, x: Operand) -> None:
        """Rows of numbers: read where they are if each row's follow each other."""
        aval = self.e.in_avals[position]
        x = self.computed(x, aval)
        self.add(name, self.adjacent(x), aval.shape[-2:])

    def adjacent(self, x: Ref) -> Ref:
        """With the elements of its last dimension one after the other."""
        view = x.view
        if view.moving or (view.shape[-1] > 1 and view.strides[-1] != 1):
            return self.low.map("copy", [x], view.shape, self.el)
        return x

    def computed(self, x: Operand, aval: Aval) -> Ref:
        """In the element type computed with."""
        own = element(aval.dtype)
        if own is self.el:
            return values(self.low, x, aval.shape, own)
        if own.kind == "b":
            hidden = [x, Literal(0.0), Literal(-math.inf)]
            return self.low.map("where", hidden, aval.shape, self.el)
        return self.low.map("cast", [x], aval.shape, own, self.el)

    def add(self, name: str, x: Ref, rows: Shape) -> None:
        self.refs.append(x)
        self.views[name] = x.view.broadcast((*self.stack, *rows))

    def rows(self, name: str, position: int, x: Operand) -> None:
        """A number for each row."""
        aval = self.e.in_avals[position]
        x = self.adjacent(values(self.low, x, aval.shape, self.el))
        self.add(name, x, aval.shape[-1:])

    def mask(self, position: int, x: Operand, fits: Callable[[int, int], bool]) -> None:
        """Numbers to add to scores, whose strides along queries and keys must fit a kernel."""
        aval = self.e.in_avals[position]
        x = self.computed(x, aval)
        whole = (*self.stack, *self.scores)
        if x.view.moving or not fits(*x.view.broadcast(whole).strides[-2:]):
            x = self.low.map("copy", [x], aval.shape, self.el)
        self.add("mask", x, self.scores)


def _natural(view: View, last: int) -> View:
    """A view of a fresh buffer whose dimensions lie as those of ``view``, the last innermost."""
    shape = (*view.shape[:-1], last)
    order = sorted(range(len(shape) - 1), key=lambda d: -view.strides[d])
    if any(s <= 0 and n > 1 for s, n in zip(view.strides, view.shape, strict=True)):
        return contiguous(shape)
    order.append(len(shape) - 1)
    steps = row_major(tuple([shape[d] for d in order]))
    strides = [0] * len(shape)
    for d, step in zip(order, steps, strict=True):
        strides[d] = step
    return View(shape, tuple(strides))


def _merged(stack: Shape, views: dict[str, View]) -> tuple[Shape, dict[str, Shape]]:
    """Stacked dimensions that all views step along alike are one."""
    sizes: list[int] = []
    steps: list[tuple[int, ...]] = []
    for d, n in enumerate(stack):
        step = tuple([v.strides[d] for v in views.values()])
        if n == 1:
            continue
        if sizes and all(a == n * b for a, b in zip(steps[-1], step, strict=True)):
            sizes[-1] *= n
            steps[-1] = step
        else:
            sizes.append(n)
            steps.append(step)
    if not sizes:
        return (1,), dict.fromkeys(views, (0,))
    return tuple(sizes), {name: tuple([s[i] for s in steps]) for i, name in enumerate(views)}


def _problem(given: Operands, views: dict[str, View], causal: bool) -> Problem:
    """``views`` are of whole stacks, operands and results."""
    target = code.target()
    stack, steps = _merged(given.stack, views)
    sides = {
        name: Side(steps[name], view.strides[len(given.stack)]) for name, view in views.items()
    }
    q, k, v = (views[name].shape for name in "qkv")
    mask = None
    if "mask" in views:
        mask = Mask(steps["mask"], *views["mask"].strides[-2:])
    el = given.el
    n = Lanes(el.memory, el.size, target.lanes(el.size))
    sizes = q[-2], k[-2], q[-1], v[-1]
    return Problem(n, target.registers, stack, *sizes, causal, sides, mask, given.rounded)


def _shared(p: Problem) -> Problem:
    """A query of each head of a group that shares its keys: as many queries of one head."""
    steps = {name: side.stack[-1] for name, side in p.sides.items()}
    if p.queries > 1 or p.causal or steps["k"] or steps["v"] or steps["lse"] != 1:
        return p
    if p.mask and steps["mask"] not in (0, 1) and p.mask.key != 1:
        return p
    sides = {
        name: Side(side.stack[:-1] or (0,), side.row if name in "kv" else steps[name])
        for name, side in p.sides.items()
    }
    mask = p.mask and replace(p.mask, stack=sides["mask"].stack, query=steps["mask"])
    return replace(p, stack=p.stack[:-1] or (1,), queries=p.stack[-1], sides=sides, mask=mask)


def _begin(
    low: Lowering, e: Entry, q: int, operands: Sequence[tuple[str, int, Operand]]
) -> Operands:
    """Checks that there are kernels; takes queries, keys, values, from position ``q``."""
    avals = e.in_avals[q : q + 3]
    dtype = avals[0].dtype
    el = element(dtypes.float32 if dtype.itemsize == 2 else dtype)
    if el.kind != "f" or any(a.dtype is not dtype for a in avals):
        raise Refused("attention of these dtypes")
    if any(0 in a.shape for a in avals):
        raise Refused("attention of nothing")
    stack = e.out_avals[0].shape[:-2] if q == 0 else e.in_avals[0].shape[:-2]
    if e.attrs["causal"] and len(e.in_avals) > q + (4 if q == 0 else 6):
        raise Refused("a mask besides causality")
    given = Operands(low, e, stack, (avals[0].shape[-2], avals[1].shape[-2]), el)
    if e.attrs.get("rounded"):
        given.rounded = element(dtype)
    for name, position, x in operands:
        given.take(name, position, x)
    return given


@lowering("attention")
def _attention(
    low: Lowering, e: Entry, q: Operand, k: Operand, v: Operand, scale: Operand, *mask: Operand
) -> list[Ref]:
    given = _begin(low, e, 0, [("q", 0, q), ("k", 1, k), ("v", 2, v)])
    el, (out, lse) = given.el, e.out_avals
    given.refs.append(values(low, scale, (1,), el))
    if mask:
        given.mask(4, mask[0], lambda query, key: query in (0, 1) or key == 1)
    views = dict(given.views)
    views["out"] = _natural(views["q"], out.shape[-1])
    views["lse"] = contiguous(lse.shape)
    problem = _shared(_problem(given, views, e.attrs["causal"]))
    if problem.queries.__class__ is int:
        problem = replace(problem, n=problem.n.at_most(problem.queries))
    elif problem.mask is not None and not (
        problem.mask.query.__class__ is int and problem.mask.query in (0, 1)
    ):
        raise Unsized
    stage = forward(problem)
    found = low.stages(
        "attention",
        Plan((_named(stage, "out", "lse"),)),
        given.refs,
        [out.shape, lse.shape],
        [el, el],
    )
    result = Ref(found[0].slot, views["out"])
    narrow = element(out.dtype)
    if narrow is not el:
        result = low.map("cast", [result], out.shape, el, narrow)
    return [result, found[1]]


def _named(stage: Stage, *results: str) -> Stage:
    """Operands by number, in the order in which they were gathered; results by theirs."""
    given = [name for name in stage.operands if name not in results]
    names = {name: str(i) for i, name in enumerate(given)}
    names |= {name: f"out{i}" for i, name in enumerate(results)}
    return replace(stage, operands=tuple(names[o] for o in stage.operands))


@lowering("attention_gradient")
def _attention_gradient(
    low: Lowering,
    e: Entry,
    g: Operand,
    q: Operand,
    k: Operand,
    v: Operand,
    lse: Operand,
    delta: Operand,
    scale: Operand,
    *mask: Operand,
) -> list[Ref]:
    given = _begin(low, e, 1, [("g", 0, g), ("q", 1, q), ("k", 2, k), ("v", 3, v)])
    el = given.el
    for name, position, x in (("lse", 4, lse), ("delta", 5, delta)):
        given.rows(name, position, x)
    given.refs.append(values(low, scale, (1,), el))
    if mask:
        given.mask(7, mask[0], lambda query, key: key in (0, 1))
    stack = given.stack
    parts = parts_of(math.prod(stack), given.scores[1])
    views = dict(given.views)
    for name in "qkv":
        views["d" + name] = _natural(views[name], views[name].shape[-1])
    problem = _problem(given, views, e.attrs["causal"])
    if problem.keys.__class__ is int:
        problem = replace(problem, n=problem.n.at_most(problem.keys))
    stage = backward(problem, parts)
    made = [views["d" + name] for name in "qkv"]
    shapes = [m.shape for m in made]
    if parts > 1:
        shapes[0] = (parts, made[0].size)
    plan = Plan((_named(stage, "dq", "dk", "dv"),))
    found = low.stages("attention_gradient", plan, given.refs, shapes, [el] * 3)
    if parts > 1:
        found[0] = low.reduce("sum", found[0], (0,), el)
    results = []
    for ref, view, aval in zip(found, made, e.out_avals, strict=True):
        x = Ref(ref.slot, view)
        lead = len(view.shape) - len(aval.shape)
        own = (1,) * lead + aval.shape
        dims = [d for d, n in enumerate(view.shape) if own[d] != n]
        if dims:
            x = low.reduce("sum", x, dims, el)
            kept = x.view.reshape(aval.shape)
            assert kept is not None
            x = Ref(x.slot, kept)
        if element(aval.dtype) is not el:
            x = low.map("cast", [x], x.view.shape, el, element(aval.dtype))
        results.append(x)
    return results
