"""Recurrent layers: all steps in one kernel, a product of small tiles and its gates in each.

Sequences do not depend on each other, so a unit of work is a block of the batch, from the first
step to the last: threads never wait for one another. In a step, tiles of a few rows by a vector of
each gate are summed up along the state; the gates' functions are applied while they are near
[Appleyard, Kocisky & Blunsom 2016]. Weights are first laid out in the order in which they are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flambeau.run.compiler.convolution_blocks import Code, Lanes
from flambeau.run.compiler.sizes import later
from flambeau.run.compiler.stages import Plan, Stage
from flambeau.run.compiler.vector_math import FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.ir.graph import Aval
    from flambeau.run.compiler.target import Target

__all__ = ["PLANS", "recurrence", "recurrence_gradient"]

GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "GRU": 3, "LSTM": 4}
# Bytes of weights that a core keeps near: with more, fewer blocks read them.
NEAR = 1 << 19
# Sums that a tile keeps in registers.
TILE = 16


def cut(n: int, by: int) -> int:
    return -(-n // by)


@dataclass(frozen=True)
class Shape:
    """A layer's sizes, and how its work is cut."""

    kind: str
    reverse: bool
    steps: int
    batch: int
    size: int
    lanes: Lanes
    rows: int
    vectors: int
    block: int

    @classmethod
    def of(
        cls, attrs: dict[str, Any], avals: Sequence[Aval], target: Target, forward: bool
    ) -> Shape | None:
        gates, h = avals[0], avals[3]
        if any(a.dtype is not gates.dtype or 0 in a.shape for a in avals):
            return None
        lanes = Lanes.of(gates, target)
        if lanes is None or gates.ndim != 3:
            return None
        kind, (steps, batch, _), size = attrs["kind"], gates.shape, h.shape[-1]
        lanes = lanes.at_most(size)
        vectors = GATES[kind]
        if not forward:
            columns = cut(size, lanes.count)
            vectors = min((4, 3, 2, 1), key=lambda v: cut(columns, v) * (v + 0.5))
        rows = max(1, min(8, TILE // vectors, (target.registers - 1 - vectors) // vectors))
        if batch.__class__ is int:
            rows = min(rows, batch)
        blocks = 8 if GATES[kind] * size * size * lanes.size <= NEAR else 4
        block = later(lambda n: rows * max(1, cut(cut(n, rows), blocks)), batch)
        return cls(kind, attrs["reverse"], steps, batch, size, lanes, rows, vectors, block)

    @property
    def gates(self) -> int:
        return GATES[self.kind]

    @property
    def units(self) -> int:
        return cut(self.batch, self.block)

    @property
    def vectors_done(self) -> int:
        """Multiply-adds of vectors in all."""
        columns = cut(self.size, self.lanes.count)
        return self.steps * self.batch * self.gates * self.size * columns

    def chunk(self) -> int:
        # A core does 3000 a microsecond; about 10 are worth another thread.
        return later(lambda units, n: units if n < 30_000 else 1, self.units, self.vectors_done)


class Writer:
    """A kernel over blocks of the batch while it is written."""

    def __init__(self, s: Shape, sequences: Sequence[str]) -> None:
        self.s = s
        self.f = Code()
        self.n = s.lanes
        self.at = {name: self.f.pointer(i) for i, name in enumerate(sequences)}
        # Sequences with something for each gate are so many states wide.
        self.row_bytes = s.size * self.n.size
        self.zero = "zeroinitializer"

    def function(self, name: str, x: str) -> str:
        return FUNCTIONS[name](self.f, self.n.count, self.n.element, x)

    def op(self, name: str, x: str, y: str) -> str:
        return self.f.value(f"{name} {self.n.type} {x}, {y}")

    def add(self, x: str, y: str) -> str:
        return self.op("fadd", x, y)

    def sub(self, x: str, y: str) -> str:
        return self.op("fsub", x, y)

    def mul(self, x: str, y: str) -> str:
        return self.op("fmul", x, y)

    def one_less(self, x: str) -> str:
        return self.sub(self.f.literal(self.n.count, self.n.element, 1.0), x)

    def choose(self, condition: str, x: str, y: str) -> str:
        return self.f.value(f"select i1 {condition}, {self.n.type} {x}, {self.n.type} {y}")

    def time(self, step: str) -> str:
        """Where in the sequence a step is."""
        return self.f.sub(str(self.s.steps - 1), step) if self.s.reverse else step

    def part(self, name: str, t: str, width: int) -> str:
        """One step of a sequence ``width`` states wide."""
        return self.f.along(self.at[name], (t, self.s.batch * width * self.row_bytes))

    def either(self, condition: str, a: str, b: str) -> str:
        return self.f.value(f"select i1 {condition}, ptr {a}, ptr {b}")

    def get(self, pointer: str, left: str | None) -> str:
        """A vector of a row, of which ``left`` elements remain (None: enough)."""
        f, n = self.f, self.n
        if left is None:
            return f.load(n.type, pointer, n.size)
        return f.load_masked(n.count, n.element, pointer, f.mask(n.count, left))

    def put(self, value: str, pointer: str, left: str | None) -> None:
        f, n = self.f, self.n
        if left is None:
            f.store(n.type, value, pointer, n.size)
        else:
            f.store_masked(n.count, n.element, value, pointer, f.mask(n.count, left))

    def product(self, source: str, width: int, first: str, last: str, panel: str, k: str) -> None:
        """Rows from ``first`` times a panel of weights, left in the scratch memory.

        Rows past ``last`` are that one again.
        """
        f, n, s = self.f, self.n, self.s
        rows = [
            f.along(source, (f.least(f.add(first, i), last), width * self.row_bytes))
            for i in range(s.rows)
        ]
        sums = [("ptr", panel)] + [(n.type, self.zero)] * (s.rows * s.vectors)
        with f.loop("0", k, carried=sums) as loop:
            at, *totals = loop.carried
            weights = [f.load(n.type, f.byte(at, v * n.bytes), n.size) for v in range(s.vectors)]
            following = []
            for i, row in enumerate(rows):
                x = f.broadcast(n, f.along(row, (loop.index, n.size)))
                for v in range(s.vectors):
                    following.append(f.fma(n.type, x, weights[v], totals[i * s.vectors + v]))
            loop.carry(f.byte(at, s.vectors * n.bytes), *following)
        for i, total in enumerate(loop.result[1:]):
            f.store(n.type, total, f.byte("%scratch", i * n.bytes), n.size)

    def kernel(self) -> Any:
        return self.f.kernel(self.s.rows * self.s.vectors * self.n.bytes, "rnn")


def _packed(s: Shape, rows: int, transposed: bool) -> Stage:
    """The weights in panels: for each block of columns, row by row, its vectors; zeros after them.

    ``transposed``: a panel has one vector of columns of each gate, its rows run along the state.
    """
    f, n = Code(), s.lanes
    weight, out = f.pointer(0), f.pointer(1)
    width = 1 if transposed else s.vectors
    panels = cut(s.size, n.count * width)
    with f.loop("%begin", "%end") as unit:
        panel, row = f.split(unit.index, rows)
        to = f.along(out, (unit.index, s.vectors * n.bytes))
        for v in range(s.vectors):
            with f.loop("0", str(n.count)) as lane:
                column = f.add(f.mul(panel, n.count * width), lane.index)
                if not transposed:
                    column = f.add(column, v * n.count)
                into = f.along(to, (f.add(lane.index, v * n.count), n.size))
                f.store(n.element, f.literal(1, n.element, 0.0), into, n.size)
                with f.only(column, s.size, panels * n.count * width):
                    if transposed:
                        # Row k of the panel is column k of the gate's weights.
                        start = f.add(f.mul(column, s.size), v * s.size * s.size)
                        source = f.along(weight, (f.add(start, row), n.size))
                    else:
                        source = f.along(weight, (f.add(f.mul(row, s.size), column), n.size))
                    f.store(n.element, f.load(n.element, source, n.size), into, n.size)
    units = panels * rows
    chunk = units if units * s.vectors * n.count < 30_000 else max(1, units // 16)
    return Stage(f.kernel(prefix="rnn"), ("1", "w"), units, chunk)


def recurrence(
    attrs: dict[str, Any], in_avals: Sequence[Aval], out_avals: Sequence[Aval], target: Target
) -> Plan | None:
    """All steps forward."""
    s = Shape.of(attrs, in_avals, target, True)
    if s is None:
        return None
    names = {"gates": "0", "bias": "2", "h0": "3"}
    if s.kind == "LSTM":
        names |= {"c0": "4", "states": "out0", "cells": "out1", "saved": "out2", "weights": "w"}
    elif s.kind == "GRU":
        names |= {"states": "out0", "saved": "out1", "weights": "w"}
    else:
        names |= {"states": "out0", "weights": "w"}
    w = Writer(s, list(names))
    f, n = w.f, s.lanes
    tiles = cut(s.size, n.count)
    panel_bytes = s.size * s.gates * n.bytes
    with f.loop("%begin", "%end") as unit, f.loop("0", str(s.steps)) as step:
        start = f.mul(unit.index, s.block)
        stop = f.least(f.add(start, s.block), s.batch)
        last = f.sub(stop, 1)
        first_step = f.value(f"icmp eq i64 {step.index}, 0")
        t, before = w.time(step.index), w.time(f.sub(step.index, 1))
        state = w.either(first_step, w.at["h0"], w.part("states", before, 1))
        cell = ""
        if s.kind == "LSTM":
            cell = w.either(first_step, w.at["c0"], w.part("cells", before, 1))
        with f.loop("0", str(tiles)) as tile:
            column = f.mul(tile.index, n.count)
            panel = f.along(w.at["weights"], (tile.index, panel_bytes))
            left = f.sub(str(s.size), column) if s.size % n.count else None
            with f.loop(start, stop, str(s.rows)) as first:
                w.product(state, 1, first.index, last, panel, str(s.size))
                end = f.least(f.add(first.index, s.rows), stop)
                with f.loop(first.index, end) as row:
                    sums = f.along("%scratch", (f.sub(row.index, first.index), s.gates * n.bytes))
                    _forward(w, t, row.index, column, left, sums, state, cell)
    stages = (
        _packed(s, s.size, True),
        Stage(w.kernel(), tuple(names.values()), s.units, s.chunk()),
    )
    return Plan(stages, tiles * panel_bytes)


def _forward(
    w: Writer, t: str, row: str, column: str, left: str | None, sums: str, state: str, cell: str
) -> None:
    """The gates of one row, a vector of each."""
    f, n, s = w.f, w.n, w.s
    gate_bytes = s.size * n.size

    def across(pointer: str, width: int) -> str:
        return f.along(pointer, (row, width * w.row_bytes), (column, n.size))

    gates = across(w.part("gates", t, s.gates), s.gates)
    biases = f.along(w.at["bias"], (column, n.size))
    a, b = [], []
    for g in range(s.gates):
        total = f.load(n.type, f.byte(sums, g * n.bytes), n.size)
        b.append(w.add(total, w.get(f.byte(biases, g * gate_bytes), left)))
        a.append(w.get(f.byte(gates, g * gate_bytes), left))
    saved = []
    if s.kind == "LSTM":
        i, o = (w.function("sigmoid", w.add(a[k], b[k])) for k in (0, 3))
        forget = w.function("sigmoid", w.add(a[1], b[1]))
        new = w.function("tanh", w.add(a[2], b[2]))
        c = w.add(w.mul(forget, w.get(across(cell, 1), left)), w.mul(i, new))
        w.put(c, across(w.part("cells", t, 1), 1), left)
        h = w.mul(o, w.function("tanh", c))
        saved = [i, forget, new, o]
    elif s.kind == "GRU":
        r, z = (w.function("sigmoid", w.add(b[k], a[k])) for k in (0, 1))
        new = w.function("tanh", w.add(a[2], w.mul(r, b[2])))
        h = w.add(w.mul(w.sub(w.get(across(state, 1), left), new), z), new)
        saved = [r, z, new, b[2]]
    elif s.kind == "RNN_TANH":
        h = w.function("tanh", w.add(a[0], b[0]))
    else:
        total = w.add(a[0], b[0])
        below = f.value(f"fcmp olt {n.type} {total}, {w.zero}")
        h = f.value(f"select <{n.count} x i1> {below}, {n.type} {w.zero}, {n.type} {total}")
    if saved:
        at = across(w.part("saved", t, 4), 4)
        for k, x in enumerate(saved):
            w.put(x, f.byte(at, k * gate_bytes), left)
    w.put(h, across(w.part("states", t, 1), 1), left)


def recurrence_gradient(
    attrs: dict[str, Any], in_avals: Sequence[Aval], out_avals: Sequence[Aval], target: Target
) -> Plan | None:
    """All steps backward: what reaches a step's gates, then by them the state before."""
    s = Shape.of(attrs, in_avals, target, False)
    if s is None:
        return None
    given = attrs["given"]
    names = {"h0": "3"}
    operands = iter(range(4, len(in_avals)))
    if s.kind == "LSTM":
        names["c0"] = str(next(operands))
    names["states"] = str(next(operands))
    if s.kind == "LSTM":
        names["cells"] = str(next(operands))
    if s.kind in ("LSTM", "GRU"):
        names["saved"] = str(next(operands))
    if given[0]:
        names["of_states"] = str(next(operands))
    if s.kind == "LSTM" and given[1]:
        names["of_cells"] = str(next(operands))
    outs = {"LSTM": ("of_gates", "dh", "dc"), "GRU": ("of_gates", "inner", "dh")}
    names |= {name: f"out{k}" for k, name in enumerate(outs.get(s.kind, ("of_gates", "dh")))}
    names["weights"] = "w"
    w = Writer(s, list(names))
    f, n = w.f, s.lanes
    inner = "inner" if s.kind == "GRU" else "of_gates"
    depth = s.gates * s.size
    width = s.vectors * n.count
    panels = cut(s.size, width)
    panel_bytes = depth * s.vectors * n.bytes
    # One step more than there are: the last of all gives the first state's gradient.
    with f.loop("%begin", "%end") as unit, f.loop("0", str(s.steps + 1)) as back:
        start = f.mul(unit.index, s.block)
        stop = f.least(f.add(start, s.block), s.batch)
        last = f.sub(stop, 1)
        step = f.sub(str(s.steps - 1), back.index)
        newest = f.value(f"icmp eq i64 {back.index}, 0")
        done = f.value(f"icmp eq i64 {back.index}, {s.steps}")
        oldest = f.value(f"icmp eq i64 {step}, 0")
        t, before, after = w.time(step), w.time(f.sub(step, 1)), w.time(f.add(step, 1))
        k = f.value(f"select i1 {newest}, i64 0, i64 {depth}")
        cell = state = ""
        if s.kind == "LSTM":
            cell = w.either(oldest, w.at["c0"], w.part("cells", before, 1))
        if s.kind == "GRU":
            state = w.either(oldest, w.at["h0"], w.part("states", before, 1))
        source = w.part(inner, after, s.gates)
        with f.loop("0", str(panels)) as tile:
            panel = f.along(w.at["weights"], (tile.index, panel_bytes))
            with f.loop(start, stop, str(s.rows)) as first:
                w.product(source, s.gates, first.index, last, panel, k)
                end = f.least(f.add(first.index, s.rows), stop)
                with f.loop(first.index, end) as row, f.loop("0", str(s.vectors)) as v:
                    column = f.add(f.mul(tile.index, width), f.mul(v.index, n.count))
                    left = f.sub(str(s.size), column) if s.size % width else None
                    if left is not None:
                        left = f.call("llvm.smax.i64", "i64", ("i64", left), ("i64", "0"))
                    at = f.add(f.mul(f.sub(row.index, first.index), s.vectors), v.index)
                    dh = f.load(n.type, f.along("%scratch", (at, n.bytes)), n.size)
                    own = f.along(w.at["dh"], (row.index, w.row_bytes), (column, n.size))
                    if s.kind == "GRU":
                        # What went round the gates.
                        dh = w.add(dh, w.choose(newest, w.zero, w.get(own, left)))
                    with f.when(done):
                        w.put(dh, own, left)
                    more = f.value(f"xor i1 {done}, true")
                    with f.when(more):
                        _backward(w, t, row.index, column, left, dh, newest, state, cell)
    stages = (
        _packed(s, depth, False),
        Stage(w.kernel(), tuple(names.values()), s.units, s.chunk()),
    )
    return Plan(stages, panels * panel_bytes)


def _backward(
    w: Writer, t: str, row: str, column: str, left: str | None, dh: str, newest: str, state: str,
    cell: str,
) -> None:  # fmt: skip
    """The gradients of one row's gates, a vector of each."""
    f, n, s = w.f, w.n, w.s
    gate_bytes = s.size * n.size

    def across(pointer: str, width: int) -> str:
        return f.along(pointer, (row, width * w.row_bytes), (column, n.size))

    def whole(name: str) -> str:
        return f.along(w.at[name], (row, w.row_bytes), (column, n.size))

    if "of_states" in w.at:
        dh = w.add(dh, w.get(across(w.part("of_states", t, 1), 1), left))
    saved = []
    if "saved" in w.at:
        at = across(w.part("saved", t, 4), 4)
        saved = [w.get(f.byte(at, k * gate_bytes), left) for k in range(4)]
    inner = []
    if s.kind == "LSTM":
        i, forget, new, o = saved
        dc = w.choose(newest, w.zero, w.get(whole("dc"), left))
        if "of_cells" in w.at:
            dc = w.add(dc, w.get(across(w.part("of_cells", t, 1), 1), left))
        tanh = w.function("tanh", w.get(across(w.part("cells", t, 1), 1), left))
        dc = w.add(dc, w.mul(w.mul(dh, o), w.one_less(w.mul(tanh, tanh))))
        c = w.get(across(cell, 1), left)
        parts = [
            w.mul(w.mul(dc, new), w.mul(i, w.one_less(i))),
            w.mul(w.mul(dc, c), w.mul(forget, w.one_less(forget))),
            w.mul(w.mul(dc, i), w.one_less(w.mul(new, new))),
            w.mul(w.mul(dh, tanh), w.mul(o, w.one_less(o))),
        ]
        w.put(w.mul(dc, forget), whole("dc"), left)
    elif s.kind == "GRU":
        r, z, new, part = saved
        h = w.get(across(state, 1), left)
        dn = w.mul(w.mul(dh, w.one_less(z)), w.one_less(w.mul(new, new)))
        dz = w.mul(w.mul(dh, w.sub(h, new)), w.mul(z, w.one_less(z)))
        dr = w.mul(w.mul(dn, part), w.mul(r, w.one_less(r)))
        parts = [dr, dz, dn]
        inner = [dr, dz, w.mul(dn, r)]
        w.put(w.mul(dh, z), whole("dh"), left)
    else:
        h = w.get(across(w.part("states", t, 1), 1), left)
        if s.kind == "RNN_TANH":
            parts = [w.mul(dh, w.one_less(w.mul(h, h)))]
        else:
            above = f.value(f"fcmp ogt {n.type} {h}, {w.zero}")
            parts = [f.value(f"select <{n.count} x i1> {above}, {n.type} {dh}, {n.type} {w.zero}")]
    for name, values in (("of_gates", parts), ("inner", inner)):
        if values:
            to = across(w.part(name, t, s.gates), s.gates)
            for k, x in enumerate(values):
                w.put(x, f.byte(to, k * gate_bytes), left)


PLANS = {"recurrence": recurrence, "recurrence_gradient": recurrence_gradient}
