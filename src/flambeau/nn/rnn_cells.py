"""Recurrent cells: one step of a recurrent layer."""

from __future__ import annotations

import math
from typing import Any

import flambeau  # upward: functions by their public names, when called
from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn._recurrence import STEPS, State, Weights
from flambeau.nn.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.tensor import Tensor

__all__ = ["GRUCell", "LSTMCell", "RNNCell", "RNNCellBase"]


class RNNCellBase(Module):
    """What the cells share: the parameters, their initialisation and the printed form."""

    __constants__ = ["input_size", "hidden_size", "bias"]
    input_size: int
    hidden_size: int
    bias: bool
    weight_ih: Tensor
    weight_hh: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        kwargs = {"device": device, "dtype": dtype}
        self.weight_ih = Parameter(flambeau.empty((rows, input_size), **kwargs))
        self.weight_hh = Parameter(flambeau.empty((rows, hidden_size), **kwargs))
        if bias:
            self.bias_ih = Parameter(flambeau.empty(rows, **kwargs))
            self.bias_hh = Parameter(flambeau.empty(rows, **kwargs))
        else:
            self.register_parameter("bias_ih", None)
            self.register_parameter("bias_hh", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all parameters anew from U(-k, k), k = 1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        nonlinearity = getattr(self, "nonlinearity", "tanh")
        if nonlinearity != "tanh":
            text += f", nonlinearity={nonlinearity}"
        return text

    def _check(self, input: Tensor, hx: Any) -> None:
        name = self.__class__.__name__
        if input.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        states = hx if isinstance(hx, (tuple, list)) else (() if hx is None else (hx,))
        for i, state in enumerate(states):
            if state.dim() not in (1, 2):
                which = f"hx[{i}]" if len(states) > 1 else "hidden"
                raise ValueError(
                    f"{name}: Expected {which} to be 1D or 2D, got {state.dim()}D instead"
                )

    def _step(self, mode: str, input: Tensor, state: State) -> State:
        """The state after ``input``; both have a batch dimension or neither has one."""
        batched = input.dim() == 2
        if not batched:
            input = input.unsqueeze(0)
            state = tuple(part.unsqueeze(0) for part in state)
        self._check_sizes(input, state)
        weights = Weights(self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        gates = F.linear(input, weights.ih, weights.bias_ih)
        state = STEPS[mode](gates, state, weights)
        return state if batched else tuple(part.squeeze(0) for part in state)

    def _check_sizes(self, input: Tensor, state: State) -> None:
        if input.size(1) != self.input_size:
            raise RuntimeError(
                f"input has inconsistent input_size: got {input.size(1)} expected {self.input_size}"
            )
        for i, part in enumerate(state):
            if part.size(0) != input.size(0):
                raise RuntimeError(
                    f"Input batch size {input.size(0)} doesn't match hidden{i} batch size "
                    f"{part.size(0)}"
                )
            if part.size(1) != self.hidden_size:
                raise RuntimeError(
                    f"hidden{i} has inconsistent hidden_size: got {part.size(1)}, "
                    f"expected {self.hidden_size}"
                )

    def _zeros(self, input: Tensor) -> Tensor:
        return input.new_zeros(*input.shape[:-1], self.hidden_size)


class RNNCell(RNNCellBase):
    r"""One step :math:`h' = \tanh(W_{ih} x + b_{ih} + W_{hh} h + b_{hh})`.

    ``nonlinearity`` is "tanh" or "relu".

    Shapes: (N, input_size) and (N, hidden_size) to (N, hidden_size), or without N.

    >>> torch.nn.RNNCell(10, 20)(torch.zeros(3, 10)).shape
    torch.Size([3, 20])
    """

    __constants__ = [*RNNCellBase.__constants__, "nonlinearity"]
    nonlinearity: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        modes = {"tanh": "RNN_TANH", "relu": "RNN_RELU"}
        self._check(input, hx)
        if self.nonlinearity not in modes:
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        state = (self._zeros(input) if hx is None else hx,)
        return self._step(modes[self.nonlinearity], input, state)[0]


class LSTMCell(RNNCellBase):
    """One step of an ``LSTM``: the new (h, c).

    Shapes: (N, input_size) and a pair of (N, hidden_size) to such a pair, or without N.

    >>> h, c = torch.nn.LSTMCell(10, 20)(torch.zeros(3, 10))
    >>> h.shape, c.shape
    (torch.Size([3, 20]), torch.Size([3, 20]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        self._check(input, hx)
        if hx is None:
            zeros = self._zeros(input)
            hx = (zeros, zeros)
        return self._step("LSTM", input, tuple(hx))


class GRUCell(RNNCellBase):
    """One step of a ``GRU``.

    Shapes: (N, input_size) and (N, hidden_size) to (N, hidden_size), or without N.

    >>> torch.nn.GRUCell(10, 20)(torch.zeros(3, 10)).shape
    torch.Size([3, 20])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        self._check(input, hx)
        state = (self._zeros(input) if hx is None else hx,)
        return self._step("GRU", input, state)[0]


SAMPLES = {
    "nn.RNNCellBase": "4, 3, True, 2; 4, 3, bias=False, num_chunks=4; !4",
    "nn.RNNCell": "4, 3 | x; 4, 3, nonlinearity='relu' | x, m[:3, :3]; 4, 3, bias=False | v;"
    " !4, 3, nonlinearity='elu' | x; !3, 3 | x; !4, 3 | x, m; !4, 3 | cube",
    "nn.LSTMCell": "4, 3 | x; 4, 3 | x, (m[:3, :3], spd[1:, 1:]); 4, 3, bias=False | v; !3, 3 | x;"
    " !4, 3 | x, (m, m); !4, 3 | cube",
    "nn.GRUCell": "4, 3 | x; 4, 3 | x, m[:3, :3]; 4, 3, bias=False | v; !3, 3 | x; !4, 3 | x, m;"
    " !4, 3 | cube",
}
