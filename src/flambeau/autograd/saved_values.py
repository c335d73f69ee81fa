"""``grad_fn._saved_self`` and the like: operands and results that backward of a step reads."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from flambeau.autograd.replaying import as_saved
from flambeau.autograd.values import concrete
from flambeau.dtypes import from_numpy_dtype
from flambeau.record.builder import new_tensor
from flambeau.record.meta import Meta, meta
from flambeau.record.segment import TWICE, Segment
from flambeau.record.trace import Trace

__all__ = ["NAMES", "saved_value"]

RESULT = -1
# What is saved, by the step's name: an operand, and the one whose gradient reads it (None: all).
_OF_SELF: dict[str, tuple[int, int | None]] = {"self": (0, None)}
_OF_RESULT: dict[str, tuple[int, int | None]] = {"result": (RESULT, None)}
_OF_BOTH: dict[str, tuple[int, int | None]] = {"self": (0, 1), "other": (1, 0)}
NAMES: dict[str, dict[str, tuple[int, int | None]]] = {
    **{
        f"{name}Backward0": _OF_SELF
        for name in (
            "Abs", "Acos", "Asin", "Atan", "Cos", "Cosh", "Gelu", "Log", "Log1P",
            "Log10", "Log2", "Silu", "Sin", "Sinh", "Softplus", "Square", "Erf", "Lgamma",
        )
    },
    **{
        f"{name}Backward0": _OF_RESULT
        for name in (
            "Exp", "Exp2", "Expm1", "LogSoftmax", "Reciprocal", "Relu", "Rsqrt", "Sigmoid",
            "Softmax", "Sqrt", "Tan", "Tanh",
        )
    },
    "MulBackward0": _OF_BOTH,
    "DivBackward0": {"self": (0, 1), "other": (1, None)},
    "MmBackward0": {"self": (0, 1), "mat2": (1, 0)},
    "BmmBackward0": {"self": (0, 1), "mat2": (1, 0)},
    "MvBackward0": {"self": (0, 1), "vec": (1, 0)},
    "DotBackward0": {"self": (0, 1), "tensor": (1, 0)},
    "AddmmBackward0": {"mat1": (1, 2), "mat2": (2, 1)},
    "PowBackward0": {"self": (0, None), "exponent": (1, None)},
    "MaximumBackward0": {"self": (0, None), "other": (1, None)},
    "MinimumBackward0": {"self": (0, None), "other": (1, None)},
}  # fmt: skip


def saved_value(label: str, unit: Any, slot: int, step: Any, name: str) -> Any:
    """What a step that ``label`` names saved as ``name``; None where no gradient reads it.

    Raises ``RuntimeError`` once it was let go, ``AttributeError`` for what it does not save.
    """
    known = NAMES.get(label, {})
    if step is None or name not in known:
        raise AttributeError(f"{label!r} object has no attribute '_saved_{name}'")
    if unit.freed if isinstance(unit, Segment) else slot in unit.node.freed:
        raise RuntimeError(TWICE)
    at, reader = known[name]
    if at == RESULT:
        return _tensor(unit, slot)
    given = operands(unit, step)
    if reader is not None and not _wants(unit, given[reader]):
        return None
    found = given[at]
    if isinstance(found, int):
        return _tensor(unit, found)
    value = found[0]
    if name == "exponent":
        return value
    array = np.asarray(value)
    return concrete(array, from_numpy_dtype(array.dtype))


def operands(unit: Any, step: Any) -> list[Any]:
    """The operands of a call, in order: slots of tensors, numbers in tuples of one."""
    found: list[Any] = []
    bound, number = step.parent.n_inputs, step.parent.n_numbers
    for part in step.key[1:]:
        if isinstance(part, Meta):
            bound += 1
            found.append(-bound)
        elif part is float or part is int:
            found.append((unit.numbers[number],))
            number += 1
        elif part.__class__ is tuple and part[:1] == ("f",):
            found.append(struct.unpack("d", part[1]))
        elif part.__class__ is int or (part.__class__ is tuple and len(part) == 1):
            found.append(part)
    return found


def _wants(unit: Any, operand: Any) -> bool:
    """Whether there is a gradient of an operand."""
    if not isinstance(operand, int):
        return False
    if operand < 0:
        return unit.inputs[-1 - operand]._meta.requires_grad
    steps = unit.node.path()
    return any(e.grad for step in steps for e in step.entries if operand in e.outputs)


def _tensor(unit: Any, slot: int) -> Any:
    if slot < 0:
        return unit.inputs[-1 - slot]
    if isinstance(unit, Trace):
        aval = next(
            a
            for step in unit.node.path()
            for e in step.entries
            for s, a in zip(e.outputs, e.out_avals, strict=True)
            if s == slot
        )
        t = new_tensor(unit, slot, meta(aval.shape, aval.dtype, True, False))
        unit.hold(t)
        return t
    if unit.saved.get(slot) is None:
        raise RuntimeError(
            "This value is no longer there: the program that computed it kept others for backward."
        )
    return as_saved(unit, slot)
