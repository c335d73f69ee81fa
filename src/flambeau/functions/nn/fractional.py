"""Fractional max pooling: windows that begin at pseudo-random places."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.functions.checks import _need_floats
from flambeau.functions.dims import wrap_dim
from flambeau.functions.nn._common import made, ntuple, reshape
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor


@function(grad="FractionalMaxPool2DBackward0", whole=True)
def _fractional(input: Tensor, samples: Tensor, kernel: tuple, size: tuple) -> tuple:
    d = len(kernel)
    _need_floats(f"fractional_max_pool{d}d_out_frame", input)
    shape = input._meta.shape
    if len(shape) == d + 2:
        return ops.fractional_max_pool(input, samples, kernel_size=kernel, output_size=size)
    found = ops.fractional_max_pool(
        reshape(input, (1, *shape)), samples, kernel_size=kernel, output_size=size
    )
    return tuple(reshape(t, t._meta.shape[1:]) for t in found)


def _fractional_max_pool(
    d: int,
    input: Tensor,
    kernel_size: Any,
    output_size: Any,
    output_ratio: Any,
    samples: Tensor | None,
) -> tuple[Tensor, Tensor]:
    name = f"fractional_max_pool{d}d"
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    shape = input._meta.shape
    wrap_dim(-d - 1, len(shape))
    if len(shape) not in (d + 1, d + 2):
        raise RuntimeError(
            f"{name}(): Expected {d + 1}D or {d + 2}D tensor, but got: {list(shape)}"
        )
    if output_size is None:
        if len(output_ratio) > d:
            raise ValueError(f"{name} requires output_ratio to be a tuple of {d}")
        size = tuple(int(shape[a - d] * output_ratio[a]) for a in range(d))
    else:
        size = ntuple(output_size, d, "output_size")
    kernel = ntuple(kernel_size, d, "kernel_size")
    for axis, (n, k, o) in enumerate(zip(shape[-d:], kernel, size, strict=True)):
        # PyTorch wants one more of volumes.
        if o + k - 1 > n - (d == 3):
            what = ("height", "width") if d == 2 else ("time", "height", "width")
            raise RuntimeError(
                f"{name}(): pool {what[axis]} {k} too large relative to input {what[axis]} {n}"
            )
    if any(o < 0 for o in size) or any(k < 1 for k in kernel):
        raise RuntimeError(
            f"{name}(): kernel_size must be positive, and output_size must not be negative, but "
            f"got {list(kernel)} and {list(size)}"
        )
    batch, channels = shape[0] if len(shape) == d + 2 else 1, shape[-d - 1]
    if samples is None:
        from flambeau.functions.nn.dropout import engine
        from flambeau.run.random import uniform

        kind = input._meta.dtype
        drawn = (batch, channels, d)
        samples = made(uniform(engine(), drawn, 0.0, 1.0, np.dtype(kind.numpy)), kind)
    _check_samples(samples, input.dtype, batch, channels, d)
    return _fractional(input, samples[:batch], kernel, size)


def _check_samples(samples: Tensor, dtype: Any, batch: int, channels: int, d: int) -> None:
    if samples.dtype is not dtype:
        raise RuntimeError("Expect _random_samples to have the same dtype as input")
    if samples.dim() != 3:
        raise RuntimeError(f"Expect _random_samples to have 3 dimensions, got {samples.dim()}")
    rows, columns, last = samples.shape
    if rows < batch:
        raise RuntimeError("Expect _random_samples.size(0) no less then input batch size.")
    if columns != channels:
        raise RuntimeError("Expect _random_samples.size(1) equals to input channel size.")
    if last != d:
        raise RuntimeError(f"Expect _random_samples.size(2) equals to {d}; got {last}.")


def fractional_max_pool2d_with_indices(
    input: Tensor,
    kernel_size: int | tuple[int, ...],
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """``fractional_max_pool2d`` with ``return_indices=True``."""
    return _fractional_max_pool(2, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool3d_with_indices(
    input: Tensor,
    kernel_size: int | tuple[int, ...],
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """``fractional_max_pool3d`` with ``return_indices=True``."""
    return _fractional_max_pool(3, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: int | tuple[int, ...],
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The maxima of windows that begin at pseudo-random places [Graham 2014].

    The result has ``output_size``, or ``output_ratio`` of the input's.
    """
    found = _fractional_max_pool(2, input, kernel_size, output_size, output_ratio, _random_samples)
    return found if return_indices else found[0]


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: int | tuple[int, ...],
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """``fractional_max_pool2d`` of volumes."""
    found = _fractional_max_pool(3, input, kernel_size, output_size, output_ratio, _random_samples)
    return found if return_indices else found[0]


SAMPLES = {
    "nn.functional.fractional_max_pool2d": "image, 2, (3, 2);"
    " image, (3, 2), output_ratio=(0.5, 0.7); image, 2, 3, return_indices=True; image[0], 2, 3;"
    " image, 2, (3, 2), _random_samples=unit.detach().repeat(2, 1)[:4].reshape(2, 4, 2); !image, 2;"
    " !image, 9, 3; !x, 2, 2; !image, 2, output_ratio=2.0; !image, 2, output_ratio=(2, 2)",
    "nn.functional.fractional_max_pool3d": "volume, 2, (2, 1, 3);"
    " volume, (1, 2, 2), output_ratio=(0.5, 0.5, 0.5); volume, 2, (2, 1, 2), return_indices=True;"
    " volume[0], 2, (2, 1, 2); !volume, 2; !volume, 9, 2; !x, 2, 2",
    "nn.functional.fractional_max_pool2d_with_indices": "image, 2, (3, 2);"
    " image[0], 2, output_ratio=(0.5, 0.5); !image, 2",
    "nn.functional.fractional_max_pool3d_with_indices": "volume, 2, (2, 1, 3);"
    " volume, (1, 2, 2), (2, 1, 3); !volume, 2",
}
