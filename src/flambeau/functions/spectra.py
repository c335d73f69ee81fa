"""Short-time Fourier transforms."""

from __future__ import annotations

from typing import Any

import numpy as np

import flambeau.ir.fft  # noqa: F401  (declares primitives)
from flambeau.functions.promotion import cast as _cast
from flambeau.functions.promotion import promoted as _promoted
from flambeau.record.builder import whole
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor


def _padded(x: Tensor, pad: int, mode: str) -> Tensor:
    """(B, L) with ``pad`` more on both sides."""
    n = x._meta.shape[1]

    def part(start: int, size: int) -> Tensor:
        return ops.slice(x, start, dims=(1,), sizes=(size,), steps=(1,))

    if not pad:
        return x
    if mode == "constant":
        return ops.pad(x, 0.0, pads=((0, 0), (pad, pad)))
    if mode == "replicate":
        shape = (x._meta.shape[0], pad)
        left, right = (
            ops.broadcast(part(0, 1), shape=shape),
            ops.broadcast(part(n - 1, 1), shape=shape),
        )
    elif mode == "circular":
        left, right = part(n - pad, pad), part(0, pad)
    elif mode == "reflect":
        if pad >= n:
            raise RuntimeError(
                "Argument #4: Padding size should be less than the corresponding input dimension, "
                f"but got: padding ({pad}, {pad}) at dimension 2 of input "
                f"{[1, *x._meta.shape]}"
            )
        left = ops.flip(part(1, pad), dims=(1,))
        right = ops.flip(part(n - 1 - pad, pad), dims=(1,))
    else:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    joined = ops.concat(left, x, right, dim=1)
    return joined if mode == "circular" else whole(joined, x)


def _window(window: Tensor | None, win_length: int, n_fft: int, dtype: Any) -> Tensor | None:
    """The window centred in ``n_fft`` positions; None stands for ones everywhere."""
    if window is None:
        if win_length == n_fft:
            return None
        window = ops.full(1.0, shape=(win_length,), dtype=dtype)
    left = (n_fft - win_length) // 2
    if win_length < n_fft:
        window = ops.pad(window, 0.0, pads=((left, n_fft - win_length - left),))
    return window


@function(grad="TransposeBackward0")
def _stft(
    input: Tensor,
    window: Tensor | None,
    n_fft: int,
    hop: int,
    win_length: int,
    pad: int,
    mode: str,
    normalized: bool,
    onesided: bool,
) -> Tensor:
    shape = input._meta.shape
    x = input if len(shape) == 2 else ops.reshape(input, shape=(1, *shape))
    if pad:
        x = _padded(x, pad, mode)
    batch, length = x._meta.shape
    count = 1 + (length - n_fft) // hop
    frames = ops.as_strided(x, 0, shape=(batch, count, n_fft), strides=(length, hop, 1))
    w = _window(window, win_length, n_fft, x.dtype)
    if w is not None:
        frames = ops.mul(*_promoted(frames, w))
    scale = n_fft**-0.5 if normalized else 1.0
    if onesided:
        y = ops.rfft(frames, dims=(2,), scale=scale)
    else:
        y = ops.fft(_cast(frames, frames.dtype.to_complex()), dims=(2,), inverse=False, scale=scale)
    y = ops.permute(y, dims=(0, 2, 1))
    return y if len(shape) == 2 else ops.reshape(y, shape=y._meta.shape[1:])


@function(grad="ViewAsRealBackward0")
def _pairs(input: Tensor) -> Tensor:
    """Complex numbers as pairs in a last dimension."""
    shape = (*input._meta.shape, 1)
    re, im = ops.reshape(ops.real(input), shape=shape), ops.reshape(ops.imag(input), shape=shape)
    return ops.concat(re, im, dim=len(shape) - 1)


def stft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Tensor:
    """Fourier transforms of overlapping windows: (*, L) to (*, frequencies, frames).

    Windows of ``win_length`` (``n_fft``) start ``hop_length`` (``n_fft // 4``) apart; ``center``
    pads so that the t-th is around position t * hop. Real input gives half of the frequencies
    unless ``onesided`` is False. Raises ``RuntimeError`` for sizes that do not fit.

    >>> stft(torch.ones(16), 4, return_complex=True).shape
    torch.Size([3, 17])
    """
    hop = n_fft // 4 if hop_length is None else hop_length
    win_length = n_fft if win_length is None else win_length
    description = (
        f"stft({input.dtype}{list(input.shape)}, n_fft={n_fft}, hop_length={hop}, "
        f"win_length={win_length}, window="
        + ("None" if window is None else f"{window.dtype}{{{list(window.shape)}}}")
        + f", normalized={int(normalized)}, onesided={onesided}, return_complex={return_complex}) "
    )
    complex_in = input.dtype.is_complex or (window is not None and window.dtype.is_complex)
    if return_complex is None:
        if not complex_in:
            raise RuntimeError(
                "stft requires the return_complex parameter be given for real inputs, and will "
                "further require that return_complex=True in a future PyTorch release."
            )
        return_complex = True
    if input.dtype.category < 2:
        raise RuntimeError(f"{description}: expected a tensor of floating point or complex values")
    if input.dim() not in (1, 2):
        raise RuntimeError(f"{description}: expected a 1D or 2D tensor")
    pad = n_fft // 2 if center else 0
    length = input.shape[-1] + 2 * pad
    if n_fft <= 0 or n_fft > length:
        raise RuntimeError(f"{description}: expected 0 < n_fft < {length}, but got n_fft={n_fft}")
    if hop <= 0:
        raise RuntimeError(f"{description}: expected hop_length > 0, but got hop_length={hop}")
    if not 0 < win_length <= n_fft:
        raise RuntimeError(
            f"{description}: expected 0 < win_length <= n_fft, but got win_length={win_length}"
        )
    if window is not None and tuple(window.shape) != (win_length,):
        raise RuntimeError(
            f"{description}: expected a 1D window tensor of size equal to win_length={win_length}, "
            f"but got window with size {list(window.shape)}"
        )
    if onesided is None:
        onesided = not complex_in
    if onesided and complex_in:
        raise RuntimeError(
            f"{description}: Cannot have onesided output if window or input is complex"
        )
    y = _stft(input, window, n_fft, hop, win_length, pad, pad_mode, normalized, onesided)
    return y if return_complex else _pairs(y)


@function(grad="DivBackward0")
def _istft(
    input: Tensor,
    window: Tensor | None,
    n_fft: int,
    hop: int,
    win_length: int,
    start: int,
    size: int,
    normalized: bool,
    onesided: bool,
    complex_out: bool,
) -> Tensor:
    shape = input._meta.shape
    y = input if len(shape) == 3 else ops.reshape(input, shape=(1, *shape))
    y = ops.permute(y, dims=(0, 2, 1))
    batch, count = y._meta.shape[:2]
    scale = n_fft**-0.5 if normalized else 1 / n_fft
    if complex_out:
        frames = ops.fft(y, dims=(2,), inverse=True, scale=scale)
    else:
        if not onesided:
            half = n_fft // 2 + 1
            y = ops.slice(y, 0, dims=(2,), sizes=(half,), steps=(1,))
        frames = ops.irfft(y, dims=(2,), n=n_fft, scale=scale)
    w = _window(window, win_length, n_fft, input.dtype.to_real())
    if w is None:
        w = ops.full(1.0, shape=(n_fft,), dtype=input.dtype.to_real())
    w = _cast(w, frames.dtype)
    length = n_fft + hop * (count - 1)
    total = ops.unstrided(
        ops.mul(frames, w), 0,
        shape=(batch, count, n_fft), strides=(length, hop, 1), base=(batch, length),
    )  # fmt: skip
    weight = ops.unstrided(
        ops.broadcast(ops.mul(w, w), shape=(1, count, n_fft)), 0,
        shape=(1, count, n_fft), strides=(length, hop, 1), base=(1, length),
    )  # fmt: skip
    kept = min(size, length - start)
    total = ops.slice(total, start, dims=(1,), sizes=(kept,), steps=(1,))
    weight = ops.slice(weight, start, dims=(1,), sizes=(kept,), steps=(1,))
    out = ops.div(total, weight)
    if kept < size:
        out = ops.pad(out, 0.0, pads=((0, 0), (0, size - kept)))
    return out if len(shape) == 3 else ops.reshape(out, shape=(size,))


def istft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """The inverse of ``stft`` by overlapping addition: least squares [Griffin and Lim 1984].

    Raises ``RuntimeError`` if the windows leave a position without weight.

    >>> istft(stft(torch.ones(16), 4, return_complex=True), 4).shape
    torch.Size([16])
    """
    hop = n_fft // 4 if hop_length is None else hop_length
    win_length = n_fft if win_length is None else win_length
    description = (
        f"istft({input.dtype}{list(input.shape)}, n_fft={n_fft}, hop_length={hop}, "
        f"win_length={win_length}, window="
        + ("None" if window is None else f"{window.dtype}{{{list(window.shape)}}}")
        + f", center={int(center)}, normalized={int(normalized)}, onesided={onesided}, "
        f"length={length}, return_complex={int(return_complex)}) "
    )
    if not input.dtype.is_complex:
        raise RuntimeError(
            "istft requires a complex-valued input tensor matching the output from stft with "
            "return_complex=True."
        )
    if input.dim() not in (2, 3) or 0 in input.shape:
        raise RuntimeError(
            f"{description}: expected a tensor with 2 or 3 dimensions, but got {input.dim()}"
        )
    half = n_fft // 2 + 1
    if onesided is None:
        onesided = input.shape[-2] != n_fft
    wanted = half if onesided else n_fft
    if input.shape[-2] != wanted:
        raise RuntimeError(
            f"{description}: expected the frequency dimension (3rd to the last) of the input "
            f"tensor to match n_fft {'/ 2 + 1 ' if onesided else ''}when "
            f"onesided={'True' if onesided else 'False'}, but got {input.shape[-2]}"
        )
    if not 0 < hop <= win_length:
        raise RuntimeError(f"{description}: expected 0 < hop_length <= win_length")
    if not 0 < win_length <= n_fft:
        raise RuntimeError(f"{description}: expected 0 < win_length <= n_fft")
    if window is not None and tuple(window.shape) != (win_length,):
        raise RuntimeError(
            f"{description}: Invalid window shape. window has to be 1D and length of `win_length`"
        )
    if return_complex and onesided:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    if not return_complex and window is not None and window.dtype.is_complex:
        raise RuntimeError("Complex windows are incompatible with return_complex=False")
    count = input.shape[-1]
    whole = n_fft + hop * (count - 1)
    start = n_fft // 2 if center else 0
    size = length if length is not None else whole - (2 * start if center else 0)
    _check_overlap(window, n_fft, hop, win_length, count, start, min(size, whole - start))
    return _istft(
        input, window, n_fft, hop, win_length, start, size, normalized, onesided, return_complex
    )


def _check_overlap(
    window: Tensor | None, n_fft: int, hop: int, win_length: int, count: int, start: int, kept: int
) -> None:
    w = np.zeros(n_fft)
    left = (n_fft - win_length) // 2
    w[left : left + win_length] = (
        1.0 if window is None else np.abs(window.detach()._value()._array()) ** 2
    )
    total = np.zeros(n_fft + hop * (count - 1))
    for t in range(count):
        total[t * hop : t * hop + n_fft] += w
    low = np.abs(total[start : start + kept]).min(initial=np.inf)
    if not low > 1e-11:
        raise RuntimeError(f"window overlap add min: {low:g}")


# Calls that the tests make in PyTorch too: `tests/generated/`.
SAMPLES = {
    "stft": "line[0], 4, return_complex=True; line[0], 6, 2, return_complex=True;"
    "line[0], 6, 2, 4, torch.hann_window(4), return_complex=True;"
    "line[0], 4, center=False, return_complex=True; line[0], 4, return_complex=False;"
    "line[0], 4, pad_mode='constant', normalized=True, return_complex=True;"
    "line[0], 4, onesided=False, return_complex=True; c, 4, return_complex=True;"
    "line[0, 0], 4, pad_mode='replicate', return_complex=True; !line[0], 4; !line, 4;"
    "!line[0], 40, return_complex=True; !line[0], 4, 0, return_complex=True",
    "istft": "c, 4; c, 4, 2; c, 4, 1, 3, torch.ones(3); c, 4, 1, normalized=True;"
    "c, 4, 1, length=5; cm, 4, onesided=False; cm, 4, onesided=False, return_complex=True; !c, 6;"
    "!x, 4; !c, 4, 5; !c, 4, 1, center=False, window=torch.hann_window(4)",
}
