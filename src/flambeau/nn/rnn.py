"""Recurrent layers: whole sequences, several layers, one or both directions."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Callable
from typing import Any

import flambeau  # upward: functions by their public names, when called
from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn._packing import Padded
from flambeau.nn._recurrence import (
    STEPS,
    Weights,
    run_all_steps,
    run_packed,
    run_padded,
    takes_all_steps,
)
from flambeau.nn.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.nn.utils.rnn import PackedSequence
from flambeau.tensor import Tensor

__all__ = ["GRU", "LSTM", "RNN", "RNNBase"]

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


class RNNBase(Module):
    """What RNN, LSTM and GRU share: the parameters, the checks and the walk over layers."""

    __constants__ = [
        "mode",
        "input_size",
        "hidden_size",
        "num_layers",
        "bias",
        "batch_first",
        "dropout",
        "bidirectional",
        "proj_size",
    ]
    __jit_unused_properties__ = ["all_weights"]
    mode: str
    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    batch_first: bool
    dropout: float
    bidirectional: bool
    proj_size: int

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        _check_sizes(input_size, bias, batch_first)
        _check_options(hidden_size, num_layers, dropout, proj_size)
        if mode not in _GATES:
            raise ValueError("Unrecognized RNN mode: " + mode)
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._all_weights: list[list[str]] = []
        output_size = proj_size or hidden_size
        rows = _GATES[mode] * hidden_size
        for layer in range(num_layers):
            columns = input_size if layer == 0 else output_size * self._directions
            for suffix in ("", "_reverse")[: self._directions]:
                shapes: dict[str, tuple[int, ...]] = {
                    f"weight_ih_l{layer}{suffix}": (rows, columns),
                    f"weight_hh_l{layer}{suffix}": (rows, output_size),
                }
                if bias:
                    shapes[f"bias_ih_l{layer}{suffix}"] = (rows,)
                    shapes[f"bias_hh_l{layer}{suffix}"] = (rows,)
                if proj_size > 0:
                    shapes[f"weight_hr_l{layer}{suffix}"] = (proj_size, hidden_size)
                for name, shape in shapes.items():
                    value = flambeau.empty(shape, device=device, dtype=dtype)
                    self.register_parameter(name, Parameter(value))
                self._all_weights.append(list(shapes))
        self.reset_parameters()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Tensor]:
        return [getattr(self, name) for name in self._flat_weights_names]

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def reset_parameters(self) -> None:
        """Draws all parameters anew from U(-k, k), k = 1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Does nothing: a matter of cuDNN's memory layout."""

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        defaults = {
            "proj_size": 0,
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0,
            "bidirectional": False,
        }
        for name, default in defaults.items():
            value = getattr(self, name)
            if value != default:
                text += f", {name}={value}"
        return text

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        """Raises if ``input`` has a wrong dtype, number of dimensions or number of features."""
        dtype = getattr(self, self._all_weights[0][0]).dtype
        if input.dtype != dtype and not flambeau.is_autocast_enabled("cpu"):
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({dtype}). "
                f"Convert input: input.to({dtype}), or convert model: model.to({input.dtype})"
            )
        wanted = 3 if batch_sizes is None else 2
        if input.dim() != wanted:
            raise RuntimeError(f"input must have {wanted} dimensions, got {input.dim()}")
        if input.size(-1) != self.input_size:
            raise RuntimeError(
                "input.size(-1) must be equal to input_size. "
                f"Expected {self.input_size}, got {input.size(-1)}"
            )

    def get_expected_hidden_size(
        self, input: Tensor, batch_sizes: Tensor | None
    ) -> tuple[int, int, int]:
        """The shape that a hidden state for ``input`` has."""
        if batch_sizes is not None:
            batch = int(batch_sizes[0])
        else:
            batch = input.size(0) if self.batch_first else input.size(1)
        return self.num_layers * self._directions, batch, self.proj_size or self.hidden_size

    def check_hidden_size(
        self,
        hx: Tensor,
        expected_hidden_size: tuple[int, int, int],
        msg: str = "Expected hidden size {}, got {}",
    ) -> None:
        """Raises if ``hx`` has another shape."""
        if tuple(hx.shape) != tuple(expected_hidden_size):
            raise RuntimeError(msg.format(expected_hidden_size, list(hx.shape)))

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Raises if the input or the hidden state does not fit the layer."""
        self.check_input(input, batch_sizes)
        expected = self.get_expected_hidden_size(input, batch_sizes)
        self.check_hidden_size(hidden, expected)

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """``hx`` with its batch in another order."""
        return hx if permutation is None else hx.index_select(1, permutation)

    def _states(self, hx: Any) -> tuple[Tensor, ...]:
        """The parts of a hidden state: one, or two for an LSTM."""
        return (hx,)

    def _zero_states(self, input: Tensor, batch: int) -> Any:
        layers = self.num_layers * self._directions
        size = self.proj_size or self.hidden_size
        return input.new_zeros(layers, batch, size)

    def _together(self, states: list[tuple[Tensor, ...]]) -> Any:
        """The hidden state of all layers from that of each."""
        return flambeau.stack([state[0] for state in states])

    def _check_dims(self, input: Tensor, hx: Any) -> None:
        if input.dim() not in (2, 3):
            kind = self.__class__.__name__
            raise ValueError(
                f"{kind}: Expected input to be 2D or 3D, got {input.dim()}D "
                f"{'tensor ' if kind == 'RNN' else ''}instead"
            )
        if hx is not None and hx.dim() != input.dim():
            form = "batched" if input.dim() == 3 else "unbatched"
            raise RuntimeError(
                f"For {form} {input.dim()}-D input, hx should also be {input.dim()}-D "
                f"but got {hx.dim()}-D tensor"
            )

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        self._check_dims(input, hx)
        batched = input.dim() == 3
        if not batched:
            input = input.unsqueeze(0 if self.batch_first else 1)
            if hx is not None:
                hx = self._each(hx, lambda state: state.unsqueeze(1))
        if hx is None:
            hx = self._zero_states(input, input.size(0 if self.batch_first else 1))
        self.check_forward_args(input, hx, None)
        sequence = input.transpose(0, 1) if self.batch_first else input
        output, hidden = self._layers(sequence, hx, None)
        if self.batch_first:
            output = output.transpose(0, 1)
        if not batched:
            output = output.squeeze(0 if self.batch_first else 1)
            hidden = self._each(hidden, lambda state: state.squeeze(1))
        return output, hidden

    def _forward_packed(self, packed: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        _, batch_sizes, sorted_indices, unsorted_indices = tuple.__iter__(packed)
        given = packed._padded
        data = packed.data if given is None else given.value.reshape(-1, given.value.size(-1))
        if hx is None:
            hx = self._zero_states(data, int(batch_sizes[0]))
        else:
            # The caller's states are in the order in which the sequences were packed.
            hx = self.permute_hidden(hx, sorted_indices)
        self.check_forward_args(data, hx, batch_sizes)
        if given is not None and self._takes_all_steps(data, hx):
            padded, hidden = self._layers(given, hx, None)
            result = PackedSequence._of(padded, batch_sizes, sorted_indices, unsorted_indices)
        else:
            output, hidden = self._layers(packed.data, hx, batch_sizes.tolist())
            result = PackedSequence(output, batch_sizes, sorted_indices, unsorted_indices)
        return result, self.permute_hidden(hidden, unsorted_indices)

    def _takes_all_steps(self, data: Tensor, hx: Any) -> bool:
        """Whether packed sequences may run to the end of the longest.

        Where there is dropout they may not: masks are drawn for the packed elements.
        """
        if self.training and self.dropout > 0 and self.num_layers > 1:
            return False
        step, states = STEPS[self.mode], self._states(hx)
        return all(takes_all_steps(step, data, states, self._weights(k)) for k in self._indices())

    def _indices(self) -> range:
        return range(self.num_layers * self._directions)

    def _each(self, hx: Any, change: Callable[[Tensor], Tensor]) -> Any:
        return change(hx)

    def _layers(self, sequence: Any, hx: Any, batch_sizes: list[int] | None) -> tuple[Any, Any]:
        step = STEPS[self.mode]
        states = self._states(hx)
        last: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(self._directions):
                index = layer * self._directions + direction
                weights = self._weights(index)
                state = tuple(part[index] for part in states)
                reverse = direction == 1
                if isinstance(sequence, Padded):
                    output, state = run_all_steps(step, sequence, state, weights, reverse)
                elif batch_sizes is None:
                    output, state = run_padded(step, sequence, state, weights, reverse)
                else:
                    output, state = run_packed(step, sequence, batch_sizes, state, weights, reverse)
                outputs.append(output)
                last.append(state)
            sequence = _side_by_side(outputs) if len(outputs) > 1 else outputs[0]
            if self.dropout > 0 and self.training and layer < self.num_layers - 1:
                sequence = F.dropout(sequence, self.dropout, self.training)
        return sequence, self._together(last)

    def _weights(self, index: int) -> Weights:
        values = [getattr(self, name) for name in self._all_weights[index]]
        projection = values.pop() if self.proj_size > 0 else None
        ih, hh, bias_ih, bias_hh = values if self.bias else (*values, None, None)
        return Weights(ih, hh, bias_ih, bias_hh, projection)


def _side_by_side(outputs: list[Any]) -> Any:
    if isinstance(outputs[0], Padded):
        return Padded(flambeau.cat([x.value for x in outputs], -1), outputs[0].places)
    return flambeau.cat(outputs, -1)


def _check_sizes(input_size: int, bias: bool, batch_first: bool) -> None:
    for name, value, kind in (
        ("input_size", input_size, int),
        ("bias", bias, bool),
        ("batch_first", batch_first, bool),
    ):
        if not isinstance(value, kind):
            raise TypeError(
                f"{name} should be of type {kind.__name__}, got: {type(value).__name__}"
            )
    if input_size <= 0:
        raise ValueError("input_size must be greater than zero")


def _check_options(hidden_size: int, num_layers: int, dropout: float, proj_size: int) -> None:
    if (
        not isinstance(dropout, numbers.Number)
        or isinstance(dropout, bool)
        or not 0 <= dropout <= 1
    ):
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an "
            "element being zeroed"
        )
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout "
            f"expects num_layers greater than 1, but got dropout={dropout} and "
            f"num_layers={num_layers}",
            stacklevel=4,
        )
    if not isinstance(hidden_size, int):
        raise TypeError(f"hidden_size should be of type int, got: {type(hidden_size).__name__}")
    if hidden_size <= 0:
        raise ValueError("hidden_size must be greater than zero")
    if num_layers <= 0:
        raise ValueError("num_layers must be greater than zero")
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")


class RNN(RNNBase):
    r"""The Elman network :math:`h_t = \tanh(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh})`.

    ``nonlinearity`` is "tanh" or "relu".

    Shapes: input (L, N, input_size) ((N, L, ...) with ``batch_first``, (L, ...) unbatched) or a
    ``PackedSequence``; state (layers × directions, N, hidden_size); output
    (L, N, directions × hidden_size).
    Raises: ``ValueError`` for an unknown nonlinearity.

    >>> output, hidden = torch.nn.RNN(10, 20, 2)(torch.zeros(5, 3, 10))
    >>> output.shape, hidden.shape
    (torch.Size([5, 3, 20]), torch.Size([2, 3, 20]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:
            nonlinearity, args = args[3], args[:3] + args[4:]
        else:
            nonlinearity = kwargs.pop("nonlinearity", "tanh")
        modes = {"tanh": "RNN_TANH", "relu": "RNN_RELU"}
        if nonlinearity not in modes:
            raise ValueError(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        super().__init__(modes[nonlinearity], *args, **kwargs)
        self.nonlinearity = nonlinearity


class GRU(RNNBase):
    r"""Gated recurrent units [Cho et al. 2014].

    .. math::
        r_t = \sigma(W_{ir} x_t + b_{ir} + W_{hr} h_{t-1} + b_{hr}) \\
        z_t = \sigma(W_{iz} x_t + b_{iz} + W_{hz} h_{t-1} + b_{hz}) \\
        n_t = \tanh(W_{in} x_t + b_{in} + r_t (W_{hn} h_{t-1} + b_{hn})) \\
        h_t = (1 - z_t) n_t + z_t h_{t-1}

    Shapes: as ``RNN``.

    >>> output, hidden = torch.nn.GRU(10, 20, bidirectional=True)(torch.zeros(5, 3, 10))
    >>> output.shape, hidden.shape
    (torch.Size([5, 3, 40]), torch.Size([2, 3, 20]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)


class LSTM(RNNBase):
    r"""Long short-term memory [Hochreiter & Schmidhuber 1997].

    .. math::
        i, f, o = \sigma(W_{\cdot} [x_t, h_{t-1}] + b_\cdot), \quad
        g = \tanh(W_g [x_t, h_{t-1}] + b_g) \\
        c_t = f c_{t-1} + i g, \quad h_t = o \tanh(c_t)

    With ``proj_size`` the output is :math:`W_{hr} h_t` [Sak et al. 2014].

    Shapes: as ``RNN``, with a pair of states (h, c).

    >>> output, (h, c) = torch.nn.LSTM(10, 20, 2)(torch.zeros(5, 3, 10))
    >>> output.shape, h.shape, c.shape
    (torch.Size([5, 3, 20]), torch.Size([2, 3, 20]), torch.Size([2, 3, 20]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)

    def get_expected_cell_size(
        self, input: Tensor, batch_sizes: Tensor | None
    ) -> tuple[int, int, int]:
        """The shape that a cell state for ``input`` has."""
        layers, batch, _ = self.get_expected_hidden_size(input, batch_sizes)
        return layers, batch, self.hidden_size

    def check_forward_args(
        self, input: Tensor, hidden: tuple[Tensor, Tensor], batch_sizes: Tensor | None
    ) -> None:
        self.check_input(input, batch_sizes)
        self.check_hidden_size(
            hidden[0],
            self.get_expected_hidden_size(input, batch_sizes),
            "Expected hidden[0] size {}, got {}",
        )
        self.check_hidden_size(
            hidden[1],
            self.get_expected_cell_size(input, batch_sizes),
            "Expected hidden[1] size {}, got {}",
        )

    def permute_hidden(
        self, hx: tuple[Tensor, Tensor], permutation: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if permutation is None:
            return hx
        return hx[0].index_select(1, permutation), hx[1].index_select(1, permutation)

    def _states(self, hx: Any) -> tuple[Tensor, ...]:
        return tuple(hx)

    def _zero_states(self, input: Tensor, batch: int) -> Any:
        layers = self.num_layers * self._directions
        return (
            input.new_zeros(layers, batch, self.proj_size or self.hidden_size),
            input.new_zeros(layers, batch, self.hidden_size),
        )

    def _together(self, states: list[tuple[Tensor, ...]]) -> Any:
        return tuple(flambeau.stack(parts) for parts in zip(*states))

    def _each(self, hx: Any, change: Callable[[Tensor], Tensor]) -> Any:
        return tuple(change(state) for state in hx)

    def _check_dims(self, input: Tensor, hx: Any) -> None:
        if input.dim() not in (2, 3):
            raise ValueError(f"LSTM: Expected input to be 2D or 3D, got {input.dim()}D instead")
        if hx is None:
            return
        if any(state.dim() != input.dim() for state in hx):
            form = "batched" if input.dim() == 3 else "unbatched"
            raise RuntimeError(
                f"For {form} {input.dim()}-D input, hx and cx should also be {input.dim()}-D "
                f"but got ({hx[0].dim()}-D, {hx[1].dim()}-D) tensors"
            )


SAMPLES = {
    "nn.RNNBase": "'GRU', 4, 3; 'RNN_TANH', 4, 3, 2, bidirectional=True; 'LSTM', 4, 3, proj_size=2;"
    " !'CELL', 4, 3; !'GRU', 4, 0",
    "nn.RNN": "4, 3 | sequence; 4, 3, 2, 'relu' | sequence, cube[:, :2, :3].contiguous();"
    " 4, 3, bidirectional=True, batch_first=True | sequence; 4, 3, bias=False | x;"
    " 4, 3, 2, dropout=0.25 | sequence; 4, 3 | nn.utils.rnn.pack_padded_sequence(sequence, [5, 3]);"
    " !4, 3, nonlinearity='sigmoid'; !4, 3 | line; !4, 3 | sequence, cube; !3, 3 | sequence",
    "nn.GRU": "4, 3 | sequence; 4, 3, 2 | sequence, cube[:, :2, :3].contiguous();"
    " 4, 3, bidirectional=True, batch_first=True | sequence; 4, 3, bias=False | x;"
    " 4, 3 | nn.utils.rnn.pack_padded_sequence(sequence, [2, 4], enforce_sorted=False);"
    " 4, 3, 2, dropout=0.25 | sequence; !4, 3, dropout=1.5; !4, 3 | v; !4, 3 | sequence, cube;"
    " !3, 3 | sequence",
    "nn.LSTM": "4, 3 | sequence;"
    " 4, 3, 2 | sequence, (cube[:, :2, :3].contiguous(), cube[:, :2, 1:].tanh());"
    " 4, 3, bidirectional=True, batch_first=True | sequence; 4, 3, bias=False | x;"
    " 4, 3, proj_size=2, bidirectional=True | sequence;"
    " 4, 3 | nn.utils.rnn.pack_padded_sequence(sequence, [5, 3]); 4, 3, 2, dropout=0.25 | sequence;"
    " !4, 3, proj_size=3; !4, 3 | v; !4, 3 | sequence, (cube, cube); !4, 3 | sequence, cube;"
    " !3, 3 | sequence",
}
