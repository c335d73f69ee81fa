"""Discrete Fourier transforms: the functions of ``flambeau.fft``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

import flambeau.ir.fft  # noqa: F401  (declares primitives)
from flambeau import dtypes
from flambeau.functions import dims as _dims
from flambeau.functions.inplace import title as _title
from flambeau.functions.inplace import write_out as _write_out
from flambeau.functions.making import made as _made
from flambeau.functions.promotion import cast as _cast
from flambeau.record.macro import function, ops
from flambeau.record.trace import defaults
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Sizes = Sequence[int] | None

_NORMS = ("forward", "backward", "ortho")


def _scale(norm: str | None, sizes: Sequence[int], inverse: bool) -> float:
    """The factor of a transform in a norm mode."""
    norm = norm or "backward"
    if norm not in _NORMS:
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    n = math.prod(sizes)
    if norm == "ortho":
        return 1 / math.sqrt(n)
    return 1 / n if (norm == "backward") == inverse else 1.0


def _floating(x: Tensor, complex_wanted: bool) -> Tensor:
    dtype = x.dtype
    if dtype.category < 2:
        dtype = defaults.dtype
    if dtype.itemsize == 2:
        raise RuntimeError(f"Unsupported dtype {_title(dtype)}")
    return _cast(x, dtype.to_complex() if complex_wanted else dtype)


def _resized(x: Tensor, dim: int, n: int) -> Tensor:
    """Cut or filled with zeros to ``n`` positions."""
    size = x._meta.shape[dim]
    if n < size:
        return ops.slice(x, 0, dims=(dim,), sizes=(n,), steps=(1,))
    if n > size:
        pads = tuple((0, n - size if d == dim else 0) for d in range(x.dim()))
        return ops.pad(x, 0, pads=pads)
    return x


def _places(x: Tensor, s: Any, dim: Any, half: bool = False) -> tuple[tuple[int, ...], list[int]]:
    """Dimensions, and the sizes of the transform along them (the last of a half spectrum: of the
    whole one)."""
    shape = x._meta.shape
    ndim = len(shape)
    if isinstance(s, int):
        s = (s,)
    if isinstance(dim, int):
        dim = (dim,)
    if dim is None:
        if s is None:
            dims = tuple(range(ndim))
        else:
            if len(s) > ndim:
                raise RuntimeError(
                    f"Got shape with {len(s)} values but input tensor only has {ndim} dimensions."
                )
            dims = tuple(range(ndim - len(s), ndim))
    else:
        if s is not None and len(s) != len(dim):
            raise RuntimeError("When given, dim and shape arguments must have the same length")
        dims = tuple(_dims.wrap_dim(d, ndim, scalar=False) for d in dim)
        if len(set(dims)) != len(dims):
            raise RuntimeError("FFT dims must be unique")
    if not dims and half:
        raise RuntimeError("must transform at least one axis")
    sizes = [shape[d] for d in dims]
    if half:
        sizes[-1] = 2 * (sizes[-1] - 1)
    if s is not None:
        sizes = [n if w == -1 else w for w, n in zip(s, sizes, strict=True)]
    for n in sizes:
        if n < 1:
            raise RuntimeError(f"Invalid number of data points ({n}) specified")
    return dims, sizes


def _c2c(x: Tensor, s: Any, dim: Any, norm: str | None, inverse: bool) -> Tensor:
    x = _floating(x, True)
    dims, sizes = _places(x, s, dim)
    for d, n in zip(dims, sizes, strict=True):
        x = _resized(x, d, n)
    return ops.fft(x, dims=dims, inverse=inverse, scale=_scale(norm, sizes, inverse))


def _r2c(x: Tensor, s: Any, dim: Any, norm: str | None, inverse: bool, name: str) -> Tensor:
    if x.dtype.is_complex:
        raise RuntimeError(f"{name} expects a real input tensor, but got {_title(x.dtype)}")
    x = _floating(x, False)
    dims, sizes = _places(x, s, dim)
    if not dims:
        raise RuntimeError(f"{name} must transform at least one axis")
    for d, n in zip(dims, sizes, strict=True):
        x = _resized(x, d, n)
    y = ops.rfft(x, dims=dims, scale=_scale(norm, sizes, inverse))
    return ops.conj(y) if inverse else y


def _c2r(x: Tensor, s: Any, dim: Any, norm: str | None, inverse: bool, name: str) -> Tensor:
    x = _floating(x, True)
    dims, sizes = _places(x, s, dim, half=True)
    for d, n in zip(dims[:-1], sizes, strict=False):
        x = _resized(x, d, n)
    x = _resized(x, dims[-1], sizes[-1] // 2 + 1)
    x = x if inverse else ops.conj(x)
    return ops.irfft(x, dims=dims, n=sizes[-1], scale=_scale(norm, sizes, inverse))


@function(grad="FftC2CBackward0")
def _to_complex(input: Tensor, s: Any, dim: Any, norm: Any, inverse: bool) -> Tensor:
    return _c2c(input, s, dim, norm, inverse)


@function(grad="FftR2CBackward0")
def _half(input: Tensor, s: Any, dim: Any, norm: Any, inverse: bool, name: str) -> Tensor:
    return _r2c(input, s, dim, norm, inverse, name)


@function(grad="FftC2RBackward0")
def _whole(input: Tensor, s: Any, dim: Any, norm: Any, inverse: bool, name: str) -> Tensor:
    return _c2r(input, s, dim, norm, inverse, name)


def _kinds(name: str) -> tuple[Callable, tuple]:
    """The recorded function behind a transform, and its last arguments."""
    stem = name.rstrip("2n")
    inverse = stem in ("ifft", "irfft", "ihfft")
    if stem in ("fft", "ifft"):
        return _to_complex, (inverse,)
    return (_half if stem in ("rfft", "ihfft") else _whole), (inverse, name)


_MEANING = {
    "fft": "The discrete Fourier transform, :math:`y_k = \\sum_j x_j e^{-2 \\pi i jk / n}`",
    "ifft": "The inverse Fourier transform, :math:`x_j = \\frac1n \\sum_k y_k e^{2 \\pi i jk / n}`",
    "rfft": "The Fourier transform of real values, of which the first half is kept",
    "irfft": "The inverse of ``rfft``: real values from the first half of their transform",
    "hfft": "The real transform of a Hermitian signal given by its first half",
    "ihfft": "The inverse of ``hfft``: the first half of the transform of real values",
}
_TAIL = """{meaning}.

    Cut or zero-padded to {sizes}. ``norm`` is "backward" (1/n on the inverse), "forward" or
    "ortho" (1/sqrt(n)). Raises ``RuntimeError`` for a size below 1.

    >>> {name}(torch.ones{shape}).shape
    torch.Size({result})
    """


def _one(name: str) -> Callable:
    f, last = _kinds(name)

    def transform(
        input: Tensor,
        n: int | None = None,
        dim: int = -1,
        norm: str | None = None,
        *,
        out: Tensor | None = None,
        axis: int | None = None,
    ) -> Tensor:
        dim = dim if axis is None else axis
        size = None if n is None else (_dims.as_int(n, "n"),)
        return f(input, size, (dim,), norm, *last, out=out)

    return _titled(transform, name, name, "``n`` positions along ``dim``", "(4)")


def _two(name: str) -> Callable:
    f, last = _kinds(name)

    def transform(
        input: Tensor,
        s: Sizes = None,
        dim: Sequence[int] = (-2, -1),
        norm: str | None = None,
        *,
        out: Tensor | None = None,
    ) -> Tensor:
        return f(input, _tuple(s), _tuple(dim), norm, *last, out=out)

    return _titled(transform, name, name[:-1], "sizes ``s`` along two dimensions", "(4, 4)")


def _many(name: str) -> Callable:
    f, last = _kinds(name)

    def transform(
        input: Tensor,
        s: Sizes = None,
        dim: Sizes = None,
        norm: str | None = None,
        *,
        out: Tensor | None = None,
    ) -> Tensor:
        return f(input, _tuple(s), _tuple(dim), norm, *last, out=out)

    return _titled(transform, name, name[:-1], "sizes ``s`` along dimensions (all)", "(4, 4)")


def _tuple(x: Any) -> Any:
    if isinstance(x, (list, tuple)):
        return tuple(x)
    return None if x is None else _dims.as_int(x, "dim")


def _titled(f: Any, name: str, stem: str, sizes: str, shape: str) -> Callable:
    last = {"rfft": 3, "ihfft": 3, "irfft": 6, "hfft": 6}.get(stem, 4)
    result = [4] * (shape.count("4") - 1) + [last]
    f.__name__ = f.__qualname__ = name
    f.__doc__ = _TAIL.format(
        meaning=_MEANING[stem], sizes=sizes, name=name, shape=shape, result=result
    )
    return f


fft, ifft, rfft, irfft, hfft, ihfft = map(_one, ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"))
fft2, ifft2, rfft2, irfft2, hfft2, ihfft2 = map(
    _two, ("fft2", "ifft2", "rfft2", "irfft2", "hfft2", "ihfft2")
)
fftn, ifftn, rfftn, irfftn, hfftn, ihfftn = map(
    _many, ("fftn", "ifftn", "rfftn", "irfftn", "hfftn", "ihfftn")
)


def _need_count(n: Any, name: str) -> None:
    if not isinstance(n, (int, np.integer)):
        given = type(n).__name__
        raise TypeError(f"{name}(): argument 'n' (position 1) must be int, not {given}")


def _over(order: np.ndarray, length: float) -> np.ndarray:
    with np.errstate(all="ignore"):
        return order * (1.0 / np.float64(length))


def _frequencies(
    array: np.ndarray, dtype: Any, device: Any, requires_grad: bool, out: Any, name: str
) -> Tensor:
    dtype = dtypes.of_type(dtype) or (defaults.dtype if out is None else out.dtype)
    if dtype.category < 2:
        raise RuntimeError(
            f"{name.removeprefix('fft_')} requires a floating point or complex dtype"
        )
    made = _made(array.astype(dtype.numpy), dtype, requires_grad, device)
    return made if out is None else _write_out(out, made, name)


def fftfreq(
    n: int,
    d: float = 1.0,
    *,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The frequencies of ``fft`` of samples ``d`` apart: 0, 1, ..., -1 over n d.

    >>> fftfreq(4)
    tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
    """
    _need_count(n, "fft_fftfreq")
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    order = np.concatenate([np.arange((n + 1) // 2), np.arange(-(n // 2), 0)])
    return _frequencies(_over(order, n * d), dtype, device, requires_grad, out, "fft_fftfreq")


def rfftfreq(
    n: int,
    d: float = 1.0,
    *,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The frequencies of ``rfft`` of samples ``d`` apart.

    >>> rfftfreq(4)
    tensor([0.0000, 0.2500, 0.5000])
    """
    _need_count(n, "fft_rfftfreq")
    order = np.arange(n // 2 + 1)
    return _frequencies(_over(order, n * d), dtype, device, requires_grad, out, "fft_rfftfreq")


def _rolled(x: Tensor, dim: Any, back: bool) -> Tensor:
    shape = x._meta.shape
    # One that is named twice is moved twice.
    for d in dim if isinstance(dim, (tuple, list)) and dim else _dims.wrap_dims(dim, len(shape)):
        d = _dims.wrap_dim(d, len(shape))
        n = shape[d]
        first = n // 2 if back else n - n // 2
        if 0 < first < n:
            head = ops.slice(x, 0, dims=(d,), sizes=(first,), steps=(1,))
            tail = ops.slice(x, first, dims=(d,), sizes=(n - first,), steps=(1,))
            x = ops.concat(tail, head, dim=d)
    return ops.reshape(x, shape=shape)


@function(grad="RollBackward0")
def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The frequency 0 moved to the middle.

    >>> fftshift(tensor([0, 1, -2, -1]))
    tensor([-2, -1,  0,  1])
    """
    return _rolled(input, dim, False)


@function(grad="RollBackward0")
def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The inverse of ``fftshift``.

    >>> ifftshift(tensor([-2, -1, 0, 1]))
    tensor([ 0,  1, -2, -1])
    """
    return _rolled(input, dim, True)


# Calls that the tests make in PyTorch too: `tests/generated/`.
SAMPLES = {
    "fft.fft": "x; c; x, 6; x, 3, 0; c, norm='ortho'; i; cube, dim=1, norm='forward'; !s; !x, 0",
    "fft.ifft": "x; c; c, 6; c, 3, 0; c, norm='ortho'; i; !s; !x, dim=2; !x, norm='no'",
    "fft.fft2": "x; c; cube, (3, 5); cube, dim=(0, 2); c, norm='ortho'; !v",
    "fft.ifft2": "x; c; cube, (3, 5); cube, dim=(0, 2); c, norm='forward'; !v",
    "fft.fftn": "x; c; cube; cube, (2, 5); cube, dim=(0, 2); c, norm='ortho'; !x, (2, 2), (0, 0)",
    "fft.ifftn": "x; c; cube; cube, (2, 5); cube, dim=(0, 2); c, norm='ortho'; !x, dim=(0, 3)",
    "fft.rfft": "x; x, 6; x, 3, 0; line; line, norm='ortho'; i; truth; !c",
    "fft.irfft": "c; c, 5; c, 4, 0; c, norm='ortho'; x; !c, 0",
    "fft.rfft2": "x; cube, (3, 5); cube, dim=(0, 2); x, norm='forward'; !c; !v",
    "fft.irfft2": "c; c, (3, 5); c, dim=(1, 0); c, norm='forward'; !cv",
    "fft.rfftn": "x; cube; cube, (2, 5); cube, dim=(0, 2); x, norm='ortho'; !c",
    "fft.irfftn": "c; c, (3, 5); c, dim=(1, 0); c, norm='ortho'; !c, dim=(0, 0)",
    "fft.hfft": "c; c, 5; c, 4, 0; c, norm='ortho'; x; !c, 0",
    "fft.ihfft": "x; x, 6; x, 3, 0; x, norm='ortho'; i; !c",
    "fft.hfft2": "c; c, (3, 5); c, dim=(1, 0); c, norm='forward'",
    "fft.ihfft2": "x; cube, (3, 5); cube, dim=(0, 2); x, norm='forward'; !c",
    "fft.hfftn": "c; c, (3, 5); c, dim=(1, 0); c, norm='ortho'",
    "fft.ihfftn": "x; cube; cube, (2, 5); cube, dim=(0, 2); x, norm='ortho'; !c",
    "fft.fftfreq": "5; 6, 0.5; 4, dtype=torch.float64; 1; 0; 3, 0.0; !0.5; !-1",
    "fft.rfftfreq": "5; 6, 0.5; 4, dtype=torch.float64; 1; 0; 3, 0.0; !0.5",
    "fft.fftshift": "x; x, 0; cube, (0, 2); i; empty; x, (0, -2); !x, 2",
    "fft.ifftshift": "x; x, 0; cube, (0, 2); i; empty; x, (0, -2); !x, 2",
}
