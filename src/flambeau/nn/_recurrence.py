"""The steps of recurrent layers, and the loops that run them over sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import flambeau  # upward: functions by their public names, when called
from flambeau.functions.precision import wide
from flambeau.nn import functional as F
from flambeau.nn._packing import Padded, Places, places_of
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
    if kind == "LSTM" and _is_narrow(sequence, at, given):
        # Gates, cells and states are rounded once: PyTorch's kernel keeps the first two wide, too.
        (whole,) = wide(sequence)
        found = _recurrence(kind, reverse, whole, wide(*at), Weights(*wide(*weights)))
        found = tuple(x.to(sequence.dtype) for x in found[:2])
        last = 0 if reverse else sequence.size(0) - 1
        return (found[0], *[x.select(0, last) for x in found])
    if _is_one_primitive(sequence, at, given):
        found = _recurrence(kind, reverse, sequence, at, given)
        if kind == "LSTM" and flambeau.is_autocast_enabled("cpu"):
            found = tuple(x.to(flambeau.get_autocast_dtype("cpu")) for x in found[:2])
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


def takes_all_steps(step: Step, data: Tensor, state: State, weights: Weights) -> bool:
    """Whether sequences that have ended may go on: states are bounded, and one primitive's."""
    return step is not rnn_relu_step and _is_one_primitive(data, state, weights)


def _is_one_primitive(sequence: Tensor, state: State, weights: Weights) -> bool:
    """Whether a layer's steps are the primitive's: 32- or 64-bit throughout, without projection.

    Under autocast, products of 16-bit numbers are added up in 32 bits, and so is all else.
    """
    given = (sequence, *state, *weights[:2])
    if weights.hr is not None:
        return False
    if flambeau.is_autocast_enabled("cpu"):
        low = flambeau.get_autocast_dtype("cpu")
        return weights.hh.dtype is flambeau.float32 and all(
            x.dtype in (flambeau.float32, low) for x in given
        )
    wide = sequence.dtype in (flambeau.float32, flambeau.float64)
    return wide and all(x.dtype is sequence.dtype for x in given)


def _is_narrow(sequence: Tensor, state: State, weights: Weights) -> bool:
    """Whether all is of 16 bits, without projection: no matter of autocast's."""
    given = (sequence, *state, *[w for w in weights if w is not None])
    return (
        weights.hr is None
        and not flambeau.is_autocast_enabled("cpu")
        and all(x.dtype is sequence.dtype and x.dtype.itemsize == 2 for x in given)
    )


def run_all_steps(
    step: Step, padded: Padded, state: State, weights: Weights, reverse: bool
) -> tuple[Padded, State]:
    """Runs over packed data that is laid out as all steps of all sequences."""
    value, places = padded
    size = value.size(2)
    if reverse:
        value = value.reshape(-1, size).index_select(0, places.turned).reshape(value.shape)
    turned = places.turned if reverse else None
    output, last = _to_the_end(step, value, turned, places, state, weights)
    return Padded(output.reshape(places.steps, places.count, -1), places), last


def _to_the_end(
    step: Step,
    sequence: Tensor,
    chosen: Tensor | None,
    places: Places,
    state: State,
    weights: Weights,
) -> tuple[Tensor, State]:
    """All steps of all sequences: the ``chosen`` ones' outputs, each sequence's last state.

    Steps after a sequence's end get no gradient.
    """
    output, *last = _whole_packed(
        _NAMES[step], sequence, chosen, places.last, list(state), list(weights)
    )
    return output, tuple(last)


@function
def _whole_packed(
    kind: str,
    sequence: Tensor,
    chosen: Tensor | None,
    last: Tensor,
    state: list[Tensor],
    weights: list[Tensor],
) -> tuple[Tensor, ...]:
    found = _recurrence(kind, False, sequence, tuple(state), Weights(*weights))
    flat = [x.reshape(-1, x.size(2)) for x in found[: len(state)]]
    output = flat[0] if chosen is None else flat[0].index_select(0, chosen)
    return (output, *[x.index_select(0, last) for x in flat])


def _recurrence(
    kind: str, reverse: bool, sequence: Tensor, state: State, weights: Weights
) -> tuple[Tensor, ...]:
    """The states of all steps, as one primitive; for LSTM also the cells."""
    of_input, bias, hidden = weights.bias_ih, weights.bias_hh, weights.hh
    dtype = hidden.dtype
    if of_input is None or bias is None:
        bias = ops.full(0.0, shape=(hidden.size(0),), dtype=dtype)
    elif kind != "GRU":
        # Both are added to the same sum: here once for all steps.
        of_input, bias = None, of_input + bias
    gates = F.linear(sequence, weights.ih, of_input)
    mixed = flambeau.is_autocast_enabled("cpu")
    if mixed:
        low = flambeau.get_autocast_dtype("cpu")
        hidden, bias = (x.to(low).to(dtype) for x in (hidden, bias))
        gates, state = gates.to(dtype), tuple(x.to(dtype) for x in state)
    found = ops.recurrence(gates, hidden, bias, *state, kind=kind, reverse=reverse)
    found = found if isinstance(found, tuple) else (found,)
    # An Elman network's states are products; the others' are mixed with the state before.
    return tuple(x.to(low) for x in found) if mixed and kind.startswith("RNN") else found


def run_packed(
    step: Step,
    data: Tensor,
    batch_sizes: list[int],
    state: State,
    weights: Weights,
    reverse: bool,
) -> tuple[Tensor, State]:
    """Runs over packed data, where each step has the sequences that are at least that long."""
    places = places_of(tuple(batch_sizes))
    if places.worth and takes_all_steps(step, data, state, weights):
        into, out = places.into[reverse], places.out[reverse]
        sequence = data.index_select(0, into).reshape(places.steps, -1, data.size(1))
        return _to_the_end(step, sequence, out, places, state, weights)
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
