"""``torch.types``: the names used in annotations."""

from __future__ import annotations

import os
from typing import IO

from flambeau.device import device
from flambeau.dtypes import dtype
from flambeau.tensor import Tensor

__all__ = ["Device", "FileLike", "Number", "Storage", "Tensor"]

Number = int | float | bool
Device = device | str | int | None
FileLike = str | os.PathLike | IO[bytes]
Storage = object

_bool = bool
_device = device
_dtype = dtype
_float = float
_int = int
_complex = complex
_size = tuple[int, ...] | list[int]
_TensorOrTensors = Tensor | tuple[Tensor, ...]
