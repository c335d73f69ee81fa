"""What is to be shown, as NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.dtypes import bfloat16
from flambeau.tensor import Tensor

__all__ = ["make_np", "to_pixels"]


def make_np(x: Any) -> np.ndarray:
    """A tensor (pending, requiring a gradient, bfloat16), an array or a number, as an array.

    bfloat16 becomes float32, which holds all of its values.

    Raises: ``NotImplementedError`` for anything else.

    >>> make_np(tensor([1.0, 2.0], requires_grad=True))
    array([1., 2.], dtype=float32)
    """
    if isinstance(x, np.ndarray):
        return x.astype(np.float32) if x.dtype.name == "bfloat16" else x
    if np.isscalar(x):
        return np.array([x])
    if isinstance(x, Tensor):
        x = x.detach().cpu()
        return (x.float() if x.dtype is bfloat16 else x).numpy()
    raise NotImplementedError(
        f"Got {type(x)}, but a number, a NumPy array or a tensor is expected."
    )


def to_pixels(array: np.ndarray) -> np.ndarray:
    """Bytes of an image: uint8 as it is, everything else from [0, 1], clipped."""
    if array.dtype == np.uint8:
        return array
    return (array.astype(np.float32) * 255).clip(0, 255).astype(np.uint8)
