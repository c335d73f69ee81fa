"""Windows of signal processing, by their older names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.functions.making import made
from flambeau.record.trace import defaults
from flambeau.tensor import Tensor


def _line(name: str, length: int, periodic: bool, formula: Any) -> np.ndarray:
    """A window of ``formula(positions, last position)``; a periodic one lacks its last value."""
    if length < 0:
        raise RuntimeError(
            f"{name} requires non-negative window_length, got window_length={length}"
        )
    if length <= 1:
        return np.ones(length)
    count = length + 1 if periodic else length
    return formula(np.arange(count, dtype=np.float64), count - 1)[:length]


def _made(
    array: np.ndarray, name: str, dtype: Any, layout: Any, device: Any, requires_grad: bool
) -> Tensor:
    dtype = dtype or defaults.dtype
    if dtype.category != 2:
        raise RuntimeError(
            f"{name} expects floating point dtypes, got: TensorOptions(dtype={dtype})"
        )
    return made(array.astype(dtype.numpy), dtype, requires_grad, device)


def _cosines(weights: tuple[float, ...]) -> Any:
    """sum of (-1)^k a_k cos(2 pi k n / N)."""
    return lambda n, last: sum(
        (-1) ** k * a * np.cos(2 * math.pi * k * n / last) for k, a in enumerate(weights)
    )


def hann_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    r"""Hann's window: :math:`\frac12 (1 - \cos(2 \pi n / N))`.

    >>> hann_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    line = _line("hann_window", window_length, periodic, _cosines((0.5, 0.5)))
    return _made(line, "hann_window", dtype, layout, device, requires_grad)


def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    r"""Hamming's window: :math:`\alpha - \beta \cos(2 \pi n / N)`.

    >>> hamming_window(4)
    tensor([0.0800, 0.5400, 1.0000, 0.5400])
    """
    line = _line("hamming_window", window_length, periodic, _cosines((alpha, beta)))
    return _made(line, "hamming_window", dtype, layout, device, requires_grad)


def blackman_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    r"""Blackman's window: :math:`0.42 - 0.5 \cos(2 \pi n / N) + 0.08 \cos(4 \pi n / N)`.

    >>> blackman_window(4).round(decimals=4).abs()
    tensor([0.0000, 0.3400, 1.0000, 0.3400])
    """
    line = _line("blackman_window", window_length, periodic, _cosines((0.42, 0.5, 0.08)))
    return _made(line, "blackman_window", dtype, layout, device, requires_grad)


def bartlett_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    r"""Bartlett's triangle: :math:`1 - |2 n / N - 1|`.

    >>> bartlett_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    line = _line(
        "bartlett_window", window_length, periodic, lambda n, last: 1 - np.abs(2 * n / last - 1)
    )
    return _made(line, "bartlett_window", dtype, layout, device, requires_grad)


def _kaiser(beta: float) -> Any:
    return lambda n, last: (
        np.i0(beta * np.sqrt(np.maximum(1 - (2 * n / last - 1) ** 2, 0))) / np.i0(beta)
    )


def kaiser_window(
    window_length: int,
    periodic: bool = True,
    beta: float = 12.0,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    r"""Kaiser's window: :math:`I_0(\beta \sqrt{1 - (2 n / N - 1)^2}) / I_0(\beta)`.

    >>> kaiser_window(4)[2]
    tensor(1.)
    """
    line = _line("kaiser_window", window_length, periodic, _kaiser(beta))
    return _made(line, "kaiser_window", dtype, layout, device, requires_grad)


# Calls that the tests make in PyTorch too: `tests/generated/`.
SAMPLES = {
    "hann_window": "5; 6, False; 1; 0; 4, dtype=torch.float64; 4, requires_grad=True; !-1",
    "hamming_window": "5; 6, False; 6, True, 0.4; 6, False, 0.4, 0.3; 0; 1; 4, dtype=torch.float64;"
    "!-1",
    "blackman_window": "5; 6, False; 1; 0; 4, dtype=torch.float64; !-1; !4, dtype=torch.int64",
    "bartlett_window": "5; 6, False; 1; 0; 4, dtype=torch.float64; !-1",
    "kaiser_window": "5; 6, False; 6, True, 3.0; 6, False, beta=20.0; 0; 1; 4, dtype=torch.float64;"
    "!-1",
}
