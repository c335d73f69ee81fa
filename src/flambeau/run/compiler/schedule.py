"""What a compiled program is made of, as plain data: kernels by name, their order, their memory."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.dtypes import DTYPES, from_numpy_dtype
from flambeau.run.compiler.nodes import Literal, Number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flambeau.run.compiler.nodes import Node

__all__ = ["Run", "Schedule", "Step", "Unkept", "function_name", "packed", "unpacked"]


class Unkept(Exception):
    """It holds what cannot be written to disk."""


@dataclass(frozen=True)
class Step:
    """One kernel's run: its name, (place in the table, offset in bytes) of what it works on."""

    kernel: str
    pointers: tuple[tuple[int, int], ...]
    units: int
    chunk: int


@dataclass
class Run:
    """Consecutive native steps between calls of references."""

    steps: list[Step]

    @property
    def is_long(self) -> bool:
        """Whether other Python threads should run meanwhile."""
        return any(s.units > s.chunk for s in self.steps)


@dataclass
class Schedule:
    """A program planned. Places are positions in its table of addresses: inputs are the first."""

    inputs: int
    places: int
    # By output: its slot, its place, shape, dtype; those that are run-time numbers, with the index.
    out_slots: list[int]
    out_places: list[int]
    out_shapes: list[tuple[tuple[int, ...], np.dtype]]
    number_outs: list[tuple[int, int]]
    parts: list[Run | Node]
    # Arrays of fixed content, by slot, and their places.
    constants: dict[int, np.ndarray]
    constant_places: dict[int, int]
    # Where temporaries lie in the arena, by slot, and their places.
    offsets: dict[int, int]
    offset_places: dict[int, int]
    arena_bytes: int
    scratch: int
    # Where kernels note a fault; whether any may.
    fault: int
    may_fault: bool
    # Run-time numbers: index, kind (f or i), place; how many are given, what is computed of them.
    numbers: list[tuple[int, str, int]]
    given: int
    prelude: list[tuple[Callable[..., Any], list[Any]]]
    # Inputs that are not contiguous: index, strides in bytes.
    laid: list[tuple[int, tuple[int, ...]]]
    # (output, input) of one storage: all, and those that may be written where they are read.
    candidates: list[tuple[int, int]]
    donations: list[tuple[int, int]]
    # What a call waits for if the rest may run behind it (``run/tail.py``): steps, and outputs.
    kept: int | None
    early: list[int]
    # A line of ``FLAMBEAU_LOG=program`` for each step and call of a reference.
    described: list[str]

    @property
    def kernels(self) -> list[str]:
        """The names of its kernels, each once."""
        runs = [p for p in self.parts if isinstance(p, Run)]
        return list(dict.fromkeys(s.kernel for r in runs for s in r.steps))

    def kinds(self, numbers: Sequence[Any]) -> list[str]:
        """The types of what is computed from run-time numbers alone.

        Plans depend on these, and they depend on values: ``2 ** -1`` is no integer.
        """
        values = list(numbers[: self.given])
        for op, operands in self.prelude:
            values.append(
                op(*[values[o.index] if isinstance(o, Number) else o.value for o in operands])
            )
        return [type(v).__name__ for v in values[self.given :]]


# Fields that are written as they are.
_PLAIN = (
    "inputs", "places", "out_slots", "out_places", "number_outs", "arena_bytes", "scratch", "fault",
    "may_fault", "numbers", "given", "laid", "candidates", "donations", "kept", "early",
    "described",
)  # fmt: skip
# Those of them that hold pairs and triples.
_TUPLES = ("number_outs", "numbers", "laid", "candidates", "donations")


def packed(schedule: Schedule, numbers: Sequence[Any]) -> bytes:
    """The schedule as bytes; ``numbers`` are those it was planned with. Raises ``Unkept``."""
    head: dict[str, Any] = {name: getattr(schedule, name) for name in _PLAIN}
    head["kinds"] = schedule.kinds(numbers)
    head["outs"] = [(shape, from_numpy_dtype(d).name) for shape, d in schedule.out_shapes]
    head["parts"] = [_packed_run(p) for p in schedule.parts]
    head["prelude"] = [
        (function_name(op), [_packed_operand(o) for o in operands])
        for op, operands in schedule.prelude
    ]
    head["offsets"] = [(s, at, schedule.offset_places[s]) for s, at in schedule.offsets.items()]
    arrays = schedule.constants
    head["constants"] = [
        (s, schedule.constant_places[s], from_numpy_dtype(a.dtype).name, a.shape)
        for s, a in arrays.items()
    ]
    data = b"".join(a.tobytes() for a in arrays.values())
    return json.dumps(head, separators=(",", ":")).encode() + b"\n" + data


def unpacked(data: bytes, numbers: Sequence[Any]) -> Schedule | None:
    """What ``packed`` wrote; None if it was planned for numbers of other types."""
    text, _, rest = data.partition(b"\n")
    head = json.loads(text)
    fields = {name: head[name] for name in _PLAIN}
    fields |= {name: [tuple(x) for x in head[name]] for name in _TUPLES}
    constants, at = {}, 0
    for slot, _, name, shape in head["constants"]:
        dtype = DTYPES[name].numpy
        count = math.prod(shape)
        # Copied: what kernels read must be aligned, and stays.
        constants[slot] = np.frombuffer(rest, dtype, count, at).reshape(shape).copy()
        at += count * dtype.itemsize
    found = Schedule(
        **fields | {"laid": [(i, tuple(strides)) for i, strides in head["laid"]]},
        out_shapes=[(tuple(shape), DTYPES[name].numpy) for shape, name in head["outs"]],
        parts=[
            Run([Step(k, tuple((a, b) for a, b in p), units, chunk) for k, p, units, chunk in run])
            for run in head["parts"]
        ],
        prelude=[
            (function_of(name), [_operand(o) for o in operands])
            for name, operands in head["prelude"]
        ],
        constants=constants,
        constant_places={slot: place for slot, place, _, _ in head["constants"]},
        offsets={slot: offset for slot, offset, _ in head["offsets"]},
        offset_places={slot: place for slot, _, place in head["offsets"]},
    )
    return found if found.kinds(numbers) == head["kinds"] else None


def _packed_run(part: Run | Node) -> list[Any]:
    if not isinstance(part, Run):
        raise Unkept("a call of a reference")
    return [(s.kernel, s.pointers, s.units, s.chunk) for s in part.steps]


def _packed_operand(operand: Number | Literal) -> list[Any]:
    if isinstance(operand, Number):
        return ["number", operand.index, operand.kind]
    if type(operand.value) not in (int, float, bool):
        raise Unkept("a literal of another kind")
    return ["literal", operand.value]


def _operand(given: Sequence[Any]) -> Number | Literal:
    kind, *values = given
    return Number(*values) if kind == "number" else Literal(*values)


def function_name(function: Any) -> str:
    """Where a function is found: ``module:name``. Raises ``Unkept`` if it is not found there."""
    name = f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', '')}"
    try:
        if function_of(name) is function:
            return name
    except (AttributeError, ImportError, ValueError):
        pass
    raise Unkept(f"the function {function!r}")


def function_of(name: str) -> Callable[..., Any]:
    """The function of a name that ``function_name`` gave."""
    module, _, path = name.partition(":")
    found: Any = import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found
