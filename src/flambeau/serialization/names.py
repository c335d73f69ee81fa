"""The names that PyTorch's pickles use, for things that here are called otherwise."""

from __future__ import annotations

import dataclasses
import importlib
import pickle

from .. import dtypes
from .bridge import root


@dataclasses.dataclass(frozen=True)
class TorchName:
    """A global to be written under PyTorch's name, without a PyTorch to look it up in."""

    module: str
    name: str

    def __call__(self, *args: object) -> object:
        """Never called: ``pickle`` insists that what rebuilds an object can be."""
        raise TypeError(f"{self.module}.{self.name} is only a name here")


@dataclasses.dataclass(frozen=True)
class StorageType:
    """A storage class of PyTorch's; ``dtype`` is ``None`` for the one that holds plain bytes."""

    torch_name: TorchName
    dtype: dtypes.dtype | None

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return 1 if self.dtype is None else self.dtype.itemsize


UNTYPED = StorageType(TorchName("torch.storage", "UntypedStorage"), None)

_STORAGE_NAMES = {
    "BoolStorage": dtypes.bool_,
    "ByteStorage": dtypes.uint8,
    "CharStorage": dtypes.int8,
    "ShortStorage": dtypes.int16,
    "IntStorage": dtypes.int32,
    "LongStorage": dtypes.int64,
    "HalfStorage": dtypes.float16,
    "BFloat16Storage": dtypes.bfloat16,
    "FloatStorage": dtypes.float32,
    "DoubleStorage": dtypes.float64,
    "ComplexFloatStorage": dtypes.complex64,
    "ComplexDoubleStorage": dtypes.complex128,
}

_STORAGE_TYPES = [StorageType(TorchName("torch", n), d) for n, d in _STORAGE_NAMES.items()]
_TYPE_OF = {kind.dtype: kind for kind in _STORAGE_TYPES}

# What a file may name that is plain data: no part of it can be called.
CONSTANTS: dict[tuple[str, str], object] = {
    **{(t.torch_name.module, t.torch_name.name): t for t in (*_STORAGE_TYPES, UNTYPED)},
    **{("torch", name): kind for name, kind in dtypes.DTYPES.items()},
}


def storage_type(dtype: dtypes.dtype) -> StorageType:
    """The storage class of a type; PyTorch's later types (uint16, ...) have only ``UNTYPED``."""
    return _TYPE_OF.get(dtype, UNTYPED)


def counterpart(module: str, name: str) -> object:
    """What Flambeau calls ``torch``'s ``module.name``.

    The same path under ``flambeau``, or the same name in the nearest enclosing package, since
    PyTorch pickles its classes under private modules (``torch.nn.modules.linear.Linear``).

    Raises ``pickle.UnpicklingError`` if there is none.
    """
    package = root().__name__
    path = [package, *module.split(".")[1:]]
    while path:
        found = _attribute(".".join(path), name)
        if found is not None:
            return found
        path.pop()
    raise pickle.UnpicklingError(f"the file needs {module}.{name}, which Flambeau does not have")


def _attribute(module: str, name: str) -> object | None:
    try:
        found: object = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module + ".").startswith(error.name + "."):
            return None
        raise
    for part in name.split("."):
        found = getattr(found, part, None)
    return found
