"""What the tests of files share: saving to memory with either library, and comparing."""

from __future__ import annotations

import io

import ml_dtypes
import numpy as np
import torch

import flambeau
from flambeau.serialization import bridge

FORMATS = [True, False]


def written(obj: object, **options: object) -> io.BytesIO:
    buffer = io.BytesIO()
    flambeau.save(obj, buffer, **options)
    buffer.seek(0)
    return buffer


def written_by_torch(obj: object, **options: object) -> io.BytesIO:
    buffer = io.BytesIO()
    torch.save(obj, buffer, **options)
    buffer.seek(0)
    return buffer


def values(tensor: object) -> np.ndarray:
    """A tensor's values, of whichever of the two libraries."""
    if isinstance(tensor, torch.Tensor):
        plain = tensor.detach().resolve_conj().resolve_neg()
        if plain.dtype is torch.bfloat16:
            return plain.float().numpy().astype(ml_dtypes.bfloat16)
        return plain.numpy()
    parts = bridge.take_apart(tensor)
    steps = [n * parts.flat.itemsize for n in parts.stride]
    return np.lib.stride_tricks.as_strided(parts.flat[parts.offset :], parts.shape, steps)


def same(a: object, b: object) -> bool:
    x, y = values(a), values(b)
    kinds = str(a.dtype).rpartition(".")[2] == str(b.dtype).rpartition(".")[2]
    layout = tuple(a.shape) == tuple(b.shape) and tuple(a.stride()) == tuple(b.stride())
    grads = bool(a.requires_grad) == bool(b.requires_grad)
    return kinds and layout and grads and x.dtype == y.dtype and x.tobytes() == y.tobytes()
