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


def typename(obj: object) -> str:
    """The qualified name of an object's type; of a tensor, the legacy name of its dtype.

    >>> torch.typename(torch.ones(1))
    'torch.FloatTensor'
    """
    if isinstance(obj, Tensor):
        return obj.type()
    qualified = getattr(obj, "__qualname__", None)
    owner = obj if qualified is not None else type(obj)
    module = getattr(owner, "__module__", "") or ""
    name = qualified or type(obj).__qualname__
    if module in ("", "builtins", "__builtin__"):
        return name
    # Our own types go by the names that PyTorch's have.
    package, dot, rest = module.partition(".")
    return f"{'torch' if package == 'flambeau' else package}{dot}{rest}.{name}"


SAMPLES = {
    "typename": "x; i; half; 3; 'a'; None; [x]; x.detach().double()",
}
