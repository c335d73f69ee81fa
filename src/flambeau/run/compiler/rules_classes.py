"""The negative logarithm of a class's probability: the choice of a class, taken apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau import dtypes
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.lower import Lowering, Refused, lowering, scalar
from flambeau.run.compiler.nodes import Literal, Ref
from flambeau.run.compiler.places_vectors import class_of_rows
from flambeau.run.compiler.rules import values
from flambeau.run.compiler.stages import Plan
from flambeau.run.compiler.views import View

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.nodes import Operand


class Classes:
    """Which class each target means, spread along dimension 1 of the scores."""

    def __init__(
        self, low: Lowering, e: Entry, shape: tuple[int, ...], target: Operand, weight: tuple
    ) -> None:
        self.low, self.shape = low, shape
        self.axis = 1 if len(shape) > 1 else 0
        self.el = element(e.out_avals[0].dtype)
        if self.el.kind != "f" or self.el.size == 2 or 0 in shape or target.__class__ is not Ref:
            raise Refused("such scores")
        self.index = element(e.in_avals[1].dtype)
        self.truth = element(dtypes.bool_)
        self.ignore = Literal(e.attrs["ignore"])
        classes = shape[self.axis]
        rows = tuple([n for d, n in enumerate(shape) if d != self.axis])
        self.target = Ref(target.slot, target.view.reshape(rows) or target.view)
        if self.target.view.shape != rows:
            raise Refused("a target laid out otherwise")
        self.kept = self.choose("ne", self.target, self.ignore)
        low_end = self.choose("lt", self.target, Literal(0))
        high_end = self.choose("ge", self.target, Literal(classes))
        outside = low.map("or", [low_end, high_end], rows, self.truth)
        low.guard(low.map("and", [outside, self.kept], rows, self.truth))
        self.rows = rows
        line = low.places(classes, e.in_avals[1].dtype.numpy)
        strides = tuple([1 if d == self.axis else 0 for d in range(len(shape))])
        places = Ref(line.slot, View(shape, strides))
        self.along = Ref(self.target.slot, self._along(self.target.view))
        hit = low.map("eq", [places, self.along], shape, self.index, self.truth)
        # An ignored target may still be some class's number.
        stays = self.choose("ne", self.along, self.ignore, shape)
        self.hit = low.map("and", [hit, stays], shape, self.truth)
        self.weight = None
        if weight:
            if weight[0].__class__ is not Ref:
                raise Refused("weights that are numbers")
            self.weight = Ref(
                weight[0].slot,
                View(
                    shape,
                    tuple([weight[0].view.strides[0] if s else 0 for s in strides]),
                    weight[0].view.offset,
                    weight[0].view.moving,
                ),
            )

    def _along(self, view: View) -> View:
        a = self.axis
        return View(
            (*view.shape[:a], self.shape[a], *view.shape[a:]),
            (*view.strides[:a], 0, *view.strides[a:]),
            view.offset,
            view.moving,
        )

    def choose(self, op: str, x: Ref, y: Any, shape: tuple[int, ...] | None = None) -> Ref:
        return self.low.map(op, [x, y], shape or x.view.shape, self.index, self.truth)

    def count(self) -> Operand:
        """The sum of the weights of targets that count."""
        low = self.low
        if self.weight is None:
            ones = low.map("cast", [self.kept], self.rows, self.truth, self.el)
        else:
            ones = low.map("where", [self.hit, self.weight, Literal(0.0)], self.shape, self.el)
        return low.reduce("sum", ones, tuple(range(len(ones.view.shape))), self.el)


@lowering("nll")
def _nll(low: Lowering, e: Entry, x: Operand, target: Operand, *weight: Operand) -> Ref:
    c = Classes(low, e, e.in_avals[0].shape, target, weight)
    x = values(low, x, c.shape, c.el)
    if e.attrs["reduction"] != "none" and c.weight is None and x.slot < 0 and len(c.shape) == 2:
        # Scores that nothing here computes: only the wanted ones are read.
        return _reduced(low, e, c, _picked(low, x, c))
    each = x if c.weight is None else low.map("mul", [x, c.weight], c.shape, c.el)
    chosen = low.map("where", [c.hit, each, Literal(0.0)], c.shape, c.el)
    if e.attrs["reduction"] == "none":
        picked = low.reduce("sum", chosen, (c.axis,), c.el)
        return low.map("neg", [picked], picked.view.shape, c.el)
    return _reduced(low, e, c, low.reduce("sum", chosen, (c.axis,), c.el))


def _picked(low: Lowering, x: Ref, c: Classes) -> Ref:
    rows, n = c.shape
    stage = class_of_rows(rows, n, c.el, c.index, c.ignore.value)
    given = [low.dense(x, c.shape, c.el), low.dense(c.target, c.rows, c.index)]
    return low.stages("class", Plan((stage,)), given, [c.rows], [c.el])[0]


def _reduced(low: Lowering, e: Entry, c: Classes, rows: Ref) -> Ref:
    """The sum or the mean of losses from the scores of the targets."""
    total = low.reduce("sum", rows, tuple(range(len(c.rows))), c.el)
    total = low.map("neg", [total], (), c.el)
    if e.attrs["reduction"] == "mean":
        total = low.map("div", [total, c.count()], (), c.el)
    return total


@lowering("nll_gradient")
def _nll_gradient(low: Lowering, e: Entry, g: Operand, target: Operand, *weight: Operand) -> Ref:
    shape = e.attrs["shape"]
    c = Classes(low, e, shape, target, weight)
    value = low.map("neg", [scalar(low, g, c.el)], e.in_avals[0].shape, c.el)
    if e.attrs["reduction"] == "mean":
        value = low.map("div", [value, c.count()], (), c.el)
    if e.attrs["reduction"] == "none" and value.view.shape == c.rows:
        value = Ref(value.slot, c._along(value.view))
    if c.weight is not None:
        value = low.map("mul", [value, c.weight], shape, c.el)
    return low.map("where", [c.hit, value, Literal(0.0)], shape, c.el)
