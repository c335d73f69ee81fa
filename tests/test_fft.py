"""Fourier transforms and windows beside PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau
from beside_torch import compare, same_refusal

RNG = np.random.default_rng(5)
X = RNG.standard_normal((3, 4, 5))
ARRAYS = {"x": X, "c": X + 1j * RNG.standard_normal(X.shape)}
NAMES = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
ARGUMENTS = {
    "": ("", "n=7", "n=3, dim=1", "dim=0, norm='ortho'", "norm='forward'"),
    "2": ("", "s=(3, 6)", "dim=(0, 1), norm='ortho'"),
    "n": ("", "s=(3, 6)", "dim=(0, 2)", "s=(2, 5, 8), norm='forward'"),
}
CASES = [
    f"torch.fft.{name}{kind}({'x' if name in ('rfft', 'ihfft') else 'c'}, {arguments})"
    for name in NAMES
    for kind, choices in ARGUMENTS.items()
    for arguments in choices
]
CASES += [
    "torch.fft.fft(x)", "torch.fft.irfft(x)", "torch.fft.fftshift(x)", "torch.fft.fftshift(x, 1)",
    "torch.fft.ifftshift(c, (0, 2))", "torch.fft.fftfreq(5, 0.5)", "torch.fft.rfftfreq(6)",
    "torch.stft(x[0], 4, return_complex=True)", "torch.stft(c[0], 4, hop_length=1)",
    "torch.stft(x[0, 0], 4, 2, center=False, return_complex=True)",
    "torch.view_as_complex(torch.stft(x[0], 4, 1, 3, torch.hann_window(3, dtype=torch.float64),"
    " normalized=True, return_complex=False))",
    "torch.stft(x[0], 4, onesided=False, pad_mode='constant', return_complex=True)",
    "torch.istft(torch.stft(x[0], 4, 1, return_complex=True), 4, 1, window=torch.ones(4).double())",
    "torch.istft(torch.stft(x[0], 4, 2, return_complex=True), 4, 2, length=4)",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("call", CASES)
def test_agrees_with_torch(call: str) -> None:
    compare(call, {n: a for n, a in ARRAYS.items() if f"({n}" in call}, tolerance=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_stays_single(name: str) -> None:
    x = X.astype(np.float32)
    mine = getattr(flambeau.fft, name)(flambeau.from_numpy(x))
    want = getattr(torch.fft, name)(torch.from_numpy(x))
    assert str(mine.dtype) == str(want.dtype)
    np.testing.assert_allclose(mine.numpy(), want.resolve_conj().numpy(), rtol=1e-5, atol=1e-5)


WINDOWS = [
    f"torch.{name}_window({arguments})"
    for name in ("hann", "hamming", "blackman", "bartlett", "kaiser")
    for arguments in ("6", "6, False", "1", "0", "5, dtype=torch.float64")
] + [
    f"torch.signal.windows.{name}(7, {extra}sym={sym})"
    for sym in (True, False)
    for name, extra in (
        ("bartlett", ""), ("blackman", ""), ("cosine", ""), ("exponential", "tau=2.0, "),
        ("gaussian", "std=0.7, "), ("general_cosine", "a=[0.4, 0.3, 0.2], "),
        ("general_hamming", "alpha=0.6, "), ("hamming", ""), ("hann", ""), ("kaiser", "beta=5.0, "),
        ("nuttall", ""),
    )
]  # fmt: skip


@pytest.mark.parametrize("call", WINDOWS)
def test_windows(call: str) -> None:
    compare(call, {}, tolerance=1e-6)


@pytest.mark.parametrize(
    "call",
    [
        "torch.fft.fft(torch.ones(3), 0)", "torch.fft.fft(torch.ones(3), norm='other')",
        "torch.fft.rfft(torch.ones(3, dtype=torch.complex64))", "torch.stft(torch.ones(8), 4)",
        "torch.fft.fftn(torch.ones(3), s=(1, 2))", "torch.fft.fftn(torch.ones(3, 3), dim=(0, 0))",
        "torch.signal.windows.hann(-1)", "torch.signal.windows.hann(3, dtype=torch.int64)",
        "torch.istft(torch.ones(3, 4), 4)",
    ],
)  # fmt: skip
def test_errors_are_torchs(call: str) -> None:
    same_refusal(call)


def test_a_window_of_more_bits_decides_how_frames_are_computed():
    def run(m):
        x = m.arange(24.0).cos().to(m.bfloat16).requires_grad_()
        y = m.stft(x, 6, 2, 4, m.hann_window(4), return_complex=True)
        y.abs().sum().backward()
        return y.detach().numpy(), x.grad.float().numpy()

    for _ in range(5):
        (ours, gradient), (theirs, expected) = run(flambeau), run(torch)
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
        np.testing.assert_allclose(gradient, expected, atol=0.05)
