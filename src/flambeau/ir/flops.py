"""How many floating-point operations a primitive takes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry

__all__ = ["flops", "products"]

# What only moves, makes or converts values.
_MOVES = frozenset(
    {"as_strided", "border", "border_gradient", "broadcast", "cast", "checked", "clone",
     "complex", "complex_to_pairs", "concat", "conj", "detach", "embedding", "flip", "full",
     "gate", "gather", "imag", "index", "index_put", "iota", "number", "pad", "pair_rows",
     "pairs_to_complex", "patches", "permute", "pivots_to_order", "plane_put", "plane_take",
     "real", "rebase", "reshape", "scatter", "shared_gradient", "slice", "unpatches",
     "unslice", "unstrided", "where", "write_strided"}
)  # fmt: skip


def products(entry: Entry) -> int:
    """Multiplications and additions of products: matrices, convolutions, attention, recurrent
    layers.

    What PyTorch's ``FlopCounterMode`` counts: two for each pair of numbers multiplied.
    """
    name, ins, outs = entry.prim.name, entry.in_avals, entry.out_avals
    if name == "matmul":
        return 2 * math.prod(outs[0].shape) * ins[0].shape[-1]
    if name == "convolution":
        return 2 * math.prod(outs[0].shape) * math.prod(ins[1].shape[1:])
    if name == "convolution_input_gradient":
        return 2 * math.prod(ins[0].shape) * math.prod(ins[1].shape[1:])
    if name == "convolution_weight_gradient":
        return 2 * math.prod(ins[0].shape) * math.prod(outs[0].shape[1:])
    if name == "attention":
        # Queries times keys, and weights times values.
        rows, keys, values = math.prod(outs[1].shape), ins[1].shape, ins[2].shape
        return 2 * rows * keys[-2] * (keys[-1] + values[-1])
    if name == "attention_gradient":
        # The scores again, and two products for each of the two.
        rows, keys, values = math.prod(ins[0].shape[:-1]), ins[2].shape, ins[3].shape
        return 2 * rows * keys[-2] * (3 * keys[-1] + 2 * values[-1])
    if name in ("recurrence", "recurrence_gradient"):
        # The state times its weight, at every step.
        steps, batch = ins[0].shape[:2]
        return 2 * steps * batch * math.prod(ins[1].shape)
    return 0


def flops(entry: Entry) -> int:
    """:func:`products`, or one for each element that any other computation reads or makes,
    whichever are more; nothing for moving values.
    """
    if entry.prim.name in _MOVES:
        return 0
    made = sum(math.prod(a.shape) for a in entry.out_avals if a.dtype is not None)
    read = max((math.prod(a.shape) for a in entry.in_avals if a.dtype is not None), default=0)
    return products(entry) or max(made, read)
