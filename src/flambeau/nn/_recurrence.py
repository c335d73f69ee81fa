"""The steps of recurrent layers, and the loops that run them over sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import flambeau  # upward: functions by their public names, when called
from flambeau.nn import functional as F
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor

State = tuple[Tensor, ...]


class Weights(NamedTuple):
    """The parameters of one layer in one direction."""

    ih: Tensor
    hh: Tensor
    bias_ih: Tensor | None
    bias_hh: Tensor | None
    hr: Tensor | None = None


# From W_ih x + b_ih, the state before and the weights to the state after; a state's first part is
# the step's output.
Step = Callable[[Tensor, State, Weights], State]


def rnn_tanh_step(gates: Tensor, state: State, weights: Weights) -> State:
    """One step of an Elman network."""
    return (flambeau.tanh(gates + F.linear(state[0], weights.hh, weights.bias_hh)),)


def rnn_relu_step(gates: Tensor, state: State, weights: Weights) -> State:
    """One step of an Elman network with rectified states."""
    return (flambeau.relu(gates + F.linear(state[0], weights.hh, weights.bias_hh)),)


def gru_step(gates: Tensor, state: State, weights: Weights) -> State:
    """One step of gated recurrent units."""
    (h,) = state
    reset_x, update_x, new_x = gates.chunk(3, -1)
    reset_h, update_h, new_h = F.linear(h, weights.hh, weights.bias_hh).chunk(3, -1)
    reset = flambeau.sigmoid(reset_h + reset_x)
    update = flambeau.sigmoid(update_h + update_x)
    new = flambeau.tanh(new_x + reset * new_h)
    return ((h - new) * update + new,)


def lstm_step(gates: Tensor, state: State, weights: Weights) -> State:
    """One step of long short-term memory."""
    h, c = state
    both = gates + F.linear(h, weights.hh, weights.bias_hh)
    i, f, g, o = both.chunk(4, -1)
    c = flambeau.sigmoid(f) * c + flambeau.sigmoid(i) * flambeau.tanh(g)
    h = flambeau.sigmoid(o) * flambeau.tanh(c)
    return (h if weights.hr is None else F.linear(h, weights.hr), c)


STEPS: dict[str, Step] = {
    "RNN_TANH": rnn_tanh_step,
    "RNN_RELU": rnn_relu_step,
    "GRU": gru_step,
    "LSTM": lstm_step,
}
_NAMES = {step: name for name, step in STEPS.items()}


def run_padded(
    step: Step, sequence: Tensor, state: State, weights: Weights, reverse: bool
) -> tuple[Tensor, State]:
    """Runs over (L, N, features): the outputs of all steps and the last state."""
    if sequence.size(0) == 0:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    output, *last = _whole(_NAMES[step], reverse, sequence, list(state), list(weights))
    return output, tuple(last)


@function
def _whole(
    kind: str, reverse: bool, sequence: Tensor, state: list[Tensor], weights: list[Tensor]
) -> tuple[Tensor, ...]:
    """A layer in one direction over all its steps, as one edge."""
    step, given, at = STEPS[kind], Weights(*weights), tuple(state)
    # One large product for all steps: only the recurrent part has to wait for the step before.
    wide = sequence.dtype in (flambeau.float32, flambeau.float64)
    if given.hr is None and wide and all(x.dtype is sequence.dtype for x in (*at, *given[:2])):
        found = _recurrence(kind, reverse, sequence, at, given)
        last = 0 if reverse else sequence.size(0) - 1
        return (found[0], *[x.select(0, last) for x in found[: len(at)]])
    gates = F.linear(sequence, given.ih, given.bias_ih)
    outputs = []
    gates = gates.unbind(0)
    for gate in reversed(gates) if reverse else gates:
        at = step(gate, at, given)
        outputs.append(at[0])
    if reverse:
        outputs.reverse()
    return (flambeau.stack(outputs), *at)


def _recurrence(
    kind: str, reverse: bool, sequence: Tensor, state: State, weights: Weights
) -> tuple[Tensor, ...]:
    """The states of all steps, as one primitive; for LSTM also the cells."""
    of_input, bias = weights.bias_ih, weights.bias_hh
    if of_input is None or bias is None:
        bias = ops.full(0.0, shape=(weights.hh.size(0),), dtype=sequence.dtype)
    elif kind != "GRU":
        # Both are added to the same sum: here once for all steps.
        of_input, bias = None, of_input + bias
    gates = F.linear(sequence, weights.ih, of_input)
    found = ops.recurrence(gates, weights.hh, bias, *state, kind=kind, reverse=reverse)
    return found if isinstance(found, tuple) else (found,)


def run_packed(
    step: Step,
    data: Tensor,
    batch_sizes: list[int],
    state: State,
    weights: Weights,
    reverse: bool,
) -> tuple[Tensor, State]:
    """Runs over packed data, where each step has the sequences that are at least that long."""
    gates = F.linear(data, weights.ih, weights.bias_ih).split(batch_sizes)
    run = _packed_backward if reverse else _packed_forward
    outputs, state = run(step, gates, batch_sizes, state, weights)
    return flambeau.cat(outputs), state


def _packed_forward(
    step: Step,
    gates: tuple[Tensor, ...],
    batch_sizes: list[int],
    state: State,
    weights: Weights,
) -> tuple[list[Tensor], State]:
    outputs: list[Tensor] = []
    ended: list[State] = []
    size = batch_sizes[0]
    for gate, batch in zip(gates, batch_sizes):
        if batch < size:
            ended.append(tuple(part[batch:size] for part in state))
            state = tuple(part[:batch] for part in state)
            size = batch
        state = step(gate, state, weights)
        outputs.append(state[0])
    ended.append(state)
    # The shortest sequences, which end first, are the last of the batch.
    ended.reverse()
    return outputs, tuple(flambeau.cat(parts) for parts in zip(*ended))


def _packed_backward(
    step: Step,
    gates: tuple[Tensor, ...],
    batch_sizes: list[int],
    state: State,
    weights: Weights,
) -> tuple[list[Tensor], State]:
    outputs: list[Tensor] = []
    size = batch_sizes[-1]
    start, state = state, tuple(part[:size] for part in state)
    for gate, batch in zip(reversed(gates), reversed(batch_sizes)):
        if batch > size:
            joining = (part[size:batch] for part in start)
            state = tuple(flambeau.cat(pair) for pair in zip(state, joining))
            size = batch
        state = step(gate, state, weights)
        outputs.append(state[0])
    outputs.reverse()
    return outputs, state
