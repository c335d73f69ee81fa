"""The standard's Fourier transforms: PyTorch's, with ``axes`` for ``dim``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flambeau.fft
from flambeau import Tensor
from flambeau.fft import fftfreq, rfftfreq

__all__ = [
    "fft",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "ifft",
    "ifftn",
    "ifftshift",
    "ihfft",
    "irfft",
    "irfftn",
    "rfft",
    "rfftfreq",
    "rfftn",
]


def _along_one(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @functools.wraps(f)
    def transform(
        x: Tensor,
        /,
        *,
        n: int | None = None,
        axis: int = -1,
        norm: str = "backward",
        **options: Any,
    ) -> Tensor:
        return f(x, n, axis, norm, **options)

    return transform


def _along_several(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @functools.wraps(f)
    def transform(
        x: Tensor,
        /,
        *,
        s: Sequence[int] | None = None,
        axes: Sequence[int] | None = None,
        norm: str = "backward",
        **options: Any,
    ) -> Tensor:
        return f(x, s, axes, norm, **options)

    return transform


def _shift(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @functools.wraps(f)
    def shift(x: Tensor, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
        return f(x, axes)

    return shift


fft, ifft = _along_one(flambeau.fft.fft), _along_one(flambeau.fft.ifft)
rfft, irfft = _along_one(flambeau.fft.rfft), _along_one(flambeau.fft.irfft)
hfft, ihfft = _along_one(flambeau.fft.hfft), _along_one(flambeau.fft.ihfft)
fftn, ifftn = _along_several(flambeau.fft.fftn), _along_several(flambeau.fft.ifftn)
rfftn, irfftn = _along_several(flambeau.fft.rfftn), _along_several(flambeau.fft.irfftn)
fftshift, ifftshift = _shift(flambeau.fft.fftshift), _shift(flambeau.fft.ifftshift)
