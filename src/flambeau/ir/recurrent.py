"""Recurrent layers over whole sequences: one primitive for all steps, and its gradient.

``kind`` is RNN_TANH, RNN_RELU, GRU [Cho et al. 2014] or LSTM [Hochreiter & Schmidhuber 1997].
Operands: the gates' input side ``(T, N, G H)`` (a product of all steps), the state's weight
``(G H, H)`` and bias ``(G H,)``, the state before ``(N, H)``, and for LSTM the cell before.
"""

from __future__ import annotations

from typing import Any

from flambeau.ir.derive import vjp
from flambeau.ir.graph import Aval, Var
from flambeau.ir.primitive import PRIMITIVES, primitive
from flambeau.ir.reference.recurrent import recurrence, recurrence_gradient

P = PRIMITIVES

__all__ = ["OPERANDS"]

# How many operands come before those that only the gradient has.
OPERANDS = {"RNN_TANH": 4, "RNN_RELU": 4, "GRU": 4, "LSTM": 5}
# Results: states, for LSTM cells; of these gradients come in.
_RESULTS = {"RNN_TANH": 1, "RNN_RELU": 1, "GRU": 1, "LSTM": 2}


def _rule(*xs: Aval, kind: str, reverse: bool) -> Aval | tuple[Aval, ...]:
    steps, batch, _ = xs[0].shape
    size = xs[3].shape[-1]
    states = Aval((steps, batch, size), xs[0].dtype)
    if kind not in ("LSTM", "GRU"):
        return states
    # What the gradient needs: LSTM's four gates; GRU's three and the new one's state side.
    saved = Aval((steps, batch, 4 * size), xs[0].dtype)
    return (states, states, saved) if kind == "LSTM" else (states, saved)


def _gradient_rule(
    *xs: Aval, kind: str, reverse: bool, given: tuple[bool, ...]
) -> tuple[Aval, ...]:
    gates, h = xs[0], xs[3]
    if kind == "LSTM":
        return gates, h, h
    return (gates, gates, h) if kind == "GRU" else (gates, h)


def _steps(x: Var, start: int, count: int) -> Var:
    """Some steps of a sequence, as rows."""
    if count != x.shape[0]:
        x = P["slice"](x, start, dims=(0,), sizes=(count,), steps=(1,))
    return P["reshape"](x, shape=(count * x.shape[1], x.shape[2]))


def _columns(x: Var, part: int, size: int) -> Var:
    return P["slice"](x, part * size, dims=(1,), sizes=(size,), steps=(1,))


def _swap(x: Var) -> Var:
    return P["permute"](x, dims=(1, 0))


def _gradient(position: int, g: Any, *xs: Var, out: Any, kind: str, reverse: bool) -> Var | None:
    """Of any operand: all come from what the steps backwards leave at the gates."""
    outs = out if isinstance(out, tuple) else (out,)
    incoming = (g if isinstance(g, tuple) else (g,))[: _RESULTS[kind]]
    given = tuple(x is not None for x in incoming)
    if not any(given):
        return None
    found = P["recurrence_gradient"](
        *xs, *outs, *[x for x in incoming if x is not None], kind=kind, reverse=reverse, given=given
    )
    of_gates, of_state = found[0], found[1] if kind == "GRU" else found[0]
    if position == 0:
        return of_gates
    if position == 2:
        return P["sum"](of_state, dims=(0, 1), keepdim=False)
    if position > 2:
        return found[(2 if kind == "GRU" else 1) + position - 3]
    # Each step's gates times the state before it: all but the first step as one product.
    steps = of_gates.shape[0]
    first = steps - 1 if reverse else 0
    total = P["matmul"](_swap(_steps(of_state, first, 1)), xs[3])
    if steps > 1:
        later, before = (0, 1) if reverse else (1, 0)
        total = total + P["matmul"](
            _swap(_steps(of_state, later, steps - 1)), _steps(outs[0], before, steps - 1)
        )
    return total


primitive(
    "recurrence",
    "a recurrent layer over all steps: states, LSTM's cells, and what the gradient needs",
    rule=_rule,
    reference=recurrence,
    variadic=_gradient,
)


# The gradient's own gradients: through the same steps written in smaller primitives.


def _spelled_out(*xs: Var, kind: str, reverse: bool) -> tuple[Var, ...]:
    """``recurrence`` step by step; the last operand is added to the state's side of the gates."""
    gates, weight, bias, h, *rest, extra = xs
    steps, batch, _ = gates.shape
    size = h.shape[-1]
    turned = _swap(weight)
    order = range(steps)[:: -1 if reverse else 1]
    c = rest[0] if rest else h
    states: dict[int, Var] = {}
    cells: dict[int, Var] = {}
    for t in order:
        a = _steps(gates, t, 1)
        b = P["matmul"](h, turned) + bias + _steps(extra, t, 1)
        if kind == "LSTM":
            i, f, g, o = [_columns(a + b, k, size) for k in range(4)]
            c = P["sigmoid"](f) * c + P["sigmoid"](i) * P["tanh"](g)
            cells[t] = c
            h = P["sigmoid"](o) * P["tanh"](c)
        elif kind == "GRU":
            (r, z, n), (rb, zb, nb) = [[_columns(x, k, size) for k in range(3)] for x in (a, b)]
            z = P["sigmoid"](z + zb)
            n = P["tanh"](n + P["sigmoid"](r + rb) * nb)
            h = (h - n) * z + n
        else:
            h = P["tanh" if kind == "RNN_TANH" else "relu"](a + b)
        states[t] = h

    def joined(values: dict[int, Var]) -> Var:
        rows = [P["reshape"](values[t], shape=(1, batch, size)) for t in range(steps)]
        return P["concat"](*rows, dim=0) if steps > 1 else rows[0]

    return (joined(states), joined(cells)) if kind == "LSTM" else (joined(states),)


def _gradient_again(
    position: int, g: Any, *xs: Var, out: Any, kind: str, reverse: bool, given: tuple[bool, ...]
) -> Var | None:
    """Derives the gradient of the spelled-out steps, and derives that.

    What the forward saved depends on the other operands, and gets nothing.
    """
    n = OPERANDS[kind]
    firsts, incoming = xs[:n], xs[len(xs) - sum(given) :]
    later = len(xs) - sum(given)
    if n <= position < later:
        return None

    def backward(*operands: Var) -> tuple[Var, ...]:
        own, rest = operands[:n], iter(operands[n:])
        zeros = P["full"](0.0, shape=own[0].shape, dtype=own[0].dtype)
        seeds = [next(rest) if there else None for there in given]
        found = vjp(lambda *ys: _spelled_out(*ys, kind=kind, reverse=reverse), [*own, zeros], seeds)
        of_gates, _, _, *of_states, of_extra = found
        return (of_gates, of_extra, *of_states) if kind == "GRU" else (of_gates, *of_states)

    found = vjp(backward, [*firsts, *incoming], g)
    return found[position if position < n else n + position - later]


primitive(
    "recurrence_gradient",
    "the gradients of recurrence: of the gates (for GRU of both sides) and of the first state",
    rule=_gradient_rule,
    reference=recurrence_gradient,
    variadic=_gradient_again,
)
