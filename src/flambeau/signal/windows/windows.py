"""Window functions of ``M`` points; symmetric, or (``sym=False``) one period of a longer one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dtypes
from flambeau.functions.making import made
from flambeau.functions.windows import _cosines, _kaiser
from flambeau.record.trace import defaults

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flambeau.tensor import Tensor


def _window(
    name: str, formula: Any, M: int, sym: bool, dtype: Any, layout: Any, device: Any,
    requires_grad: bool,
) -> Tensor:  # fmt: skip
    """``formula(positions, number of points)`` at M points."""
    from flambeau.layouts import strided

    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if layout is not None and layout is not strided:
        raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
    dtype = dtype or defaults.dtype
    if dtype not in (dtypes.float32, dtypes.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype}")
    if M <= 1:
        line = np.ones(M)
    else:
        count = M if sym else M + 1
        line = formula(np.arange(count, dtype=np.float64), count)[:M]
    return made(line.astype(dtype.numpy), dtype, requires_grad, device)


def _last(formula: Any) -> Any:
    """A formula of positions and the last position."""
    return lambda n, count: formula(n, count - 1)


def bartlett(
    M: int,
    *,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    r"""Bartlett's triangle: :math:`1 - |2 n / (M - 1) - 1|`.

    Raises ``ValueError`` for a negative length, or a dtype that is not float32 or float64.

    >>> bartlett(5, sym=True).shape
    torch.Size([5])
    """
    return _window(
        "bartlett",
        _last(lambda n, last: 1 - np.abs(2 * n / last - 1)),
        M,
        sym,
        dtype,
        layout,
        device,
        requires_grad,
    )


def blackman(
    M: int,
    *,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    r"""Blackman's window: :math:`0.42 - 0.5 \cos(2 \pi n / (M - 1)) + 0.08 \cos(4 \pi n / (M -
    1))`.

    Raises ``ValueError`` for a negative length, or a dtype that is not float32 or float64.

    >>> blackman(5, sym=True).shape
    torch.Size([5])
    """
    return _window(
        "blackman", _last(_cosines((0.42, 0.5, 0.08))), M, sym, dtype, layout, device, requires_grad
    )


def cosine(
    M: int,
    *,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    r"""Half a period of a sine: :math:`\sin(\pi (n + \frac12) / M)`.

    Raises ``ValueError`` for a negative length, or a dtype that is not float32 or float64.

    >>> cosine(5, sym=True).shape
    torch.Size([5])
    """
    return _window(
        "cosine",
        lambda n, count: np.sin(math.pi * (n + 0.5) / count),
        M,
        sym,
        dtype,
        layout,
        device,
        requires_grad,
    )


def exponential(
    M: int,
    *,
    center: float | None = None,
    tau: float = 1.0,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    r"""Exponential decay from the center: :math:`e^{-|n - c| / \tau}`.

    Raises ``ValueError`` for a negative length, or a dtype that is not float32 or float64.

    >>> exponential(5, sym=True).shape
    torch.Size([5])
    """
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")

    def formula(n: np.ndarray, count: int) -> np.ndarray:
        return np.exp(-np.abs(n - ((count - 1) / 2 if center is None else center)) / tau)

    return _window("exponential", formula, M, sym, dtype, layout, device, requires_grad)


def gaussian(
    M: int,
    *,
    std: float = 1.0,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    r"""A bell: :math:`e^{-\frac12 ((n - (M - 1) / 2) / \sigma)^2}`.

    Raises ``ValueError`` for a negative length, or a dtype that is not float32 or float64.

    >>> gaussian(5, sym=True).shape
    torch.Size([5])
    """
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")
    return _window(
        "gaussian",
        _last(lambda n, last: np.exp(-0.5 * ((n - last / 2) / std) ** 2)),
        M,
        sym,
        dtype,
        layout,
        device,
        requires_grad,
    )


def general_cosine(
    M: int,
    *,
    a: Iterable,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    r"""A sum of cosines: :math:`\sum_k (-1)^k a_k \cos(2 \pi k n / (M - 1))`.

    Raises ``ValueError`` for a negative length, or a dtype that is not float32 or float64.

    >>> general_cosine(5, a=[0.5, 0.5], sym=True).shape
    torch.Size([5])
    """
    weights = tuple(a)
    if not weights:
        raise ValueError("Coefficients cannot be empty")
    return _window(
        "general_cosine", _last(_cosines(weights)), M, sym, dtype, layout, device, requires_grad
    )


def general_hamming(
    M: int,
    *,
    alpha: float = 0.54,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    r"""A raised cosine: :math:`\alpha - (1 - \alpha) \cos(2 \pi n / (M - 1))`.

    Raises ``ValueError`` for a negative length, or a dtype that is not float32 or float64.

    >>> general_hamming(5, sym=True).shape
    torch.Size([5])
    """
    return _window(
        "general_cosine",
        _last(_cosines((alpha, 1.0 - alpha))),
        M,
        sym,
        dtype,
        layout,
        device,
        requires_grad,
    )


def hamming(
    M: int,
    *,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    r"""Hamming's window: :math:`0.54 - 0.46 \cos(2 \pi n / (M - 1))`.

    Raises ``ValueError`` for a negative length, or a dtype that is not float32 or float64.

    >>> hamming(5, sym=True).shape
    torch.Size([5])
    """
    return _window(
        "general_cosine",
        _last(_cosines((0.54, 0.46))),
        M,
        sym,
        dtype,
        layout,
        device,
        requires_grad,
    )


def hann(
    M: int,
    *,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    r"""Hann's window: :math:`\frac12 (1 - \cos(2 \pi n / (M - 1)))`.

    Raises ``ValueError`` for a negative length, or a dtype that is not float32 or float64.

    >>> hann(5, sym=True).shape
    torch.Size([5])
    """
    return _window(
        "general_cosine", _last(_cosines((0.5, 0.5))), M, sym, dtype, layout, device, requires_grad
    )


def kaiser(
    M: int,
    *,
    beta: float = 12.0,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    r"""Kaiser's window: :math:`I_0(\beta \sqrt{1 - (2 n / (M - 1) - 1)^2}) / I_0(\beta)`.

    Raises ``ValueError`` for a negative length, or a dtype that is not float32 or float64.

    >>> kaiser(5, sym=True).shape
    torch.Size([5])
    """
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")
    return _window("kaiser", _last(_kaiser(beta)), M, sym, dtype, layout, device, requires_grad)


def nuttall(
    M: int,
    *,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    r"""Nuttall's minimal window of four cosines.

    Raises ``ValueError`` for a negative length, or a dtype that is not float32 or float64.

    >>> nuttall(5, sym=True).shape
    torch.Size([5])
    """
    return _window(
        "general_cosine",
        _last(_cosines((0.3635819, 0.4891775, 0.1365995, 0.0106411))),
        M,
        sym,
        dtype,
        layout,
        device,
        requires_grad,
    )


# Calls that the tests make in PyTorch too: `tests/generated/`.
SAMPLES = {
    "signal.windows.bartlett": "5; 6, sym=False; 1; 0; 4, dtype=torch.float64; !-1",
    "signal.windows.blackman": "5; 6, sym=False; 1; 0; 4, dtype=torch.float64; !-1",
    "signal.windows.cosine": "5; 6, sym=False; 1; 0; 4, dtype=torch.float64; !-1",
    "signal.windows.exponential": (
        "5; 6, tau=0.7; 6, center=1.5, sym=False; 1; 0; !5, tau=0; !5, center=1.0"
    ),
    "signal.windows.gaussian": "5; 6, std=0.7; 6, sym=False; 1; 0; !5, std=0",
    "signal.windows.general_cosine": (
        "5, a=[0.5, 0.3, 0.2]; 6, a=(0.4, 0.6), sym=False; 1, a=[1.0]; !5, a=[]"
    ),
    "signal.windows.general_hamming": "5; 6, alpha=0.4; 6, sym=False; 1; 0; !-1",
    "signal.windows.hamming": "5; 6, sym=False; 1; 0; 4, requires_grad=True; !-1",
    "signal.windows.hann": "5; 6, sym=False; 1; 0; 4, dtype=torch.float64; !4, dtype=torch.int64",
    "signal.windows.kaiser": "5; 6, beta=3.0; 6, sym=False; 1; 0; !5, beta=-1",
    "signal.windows.nuttall": "5; 6, sym=False; 1; 0; 4, dtype=torch.float64; !-1",
}
