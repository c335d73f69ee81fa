"""``save``: an object and the tensors in it, as a file that PyTorch reads too."""

from __future__ import annotations

import codecs
import dataclasses
import io
import os
import pickle
import sys
from collections import OrderedDict
from contextlib import nullcontext
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from .. import dtypes
from ..device import device
from ..layouts import layout
from . import bridge, legacy
from .archive import ALIGNMENT, ArchiveWriter
from .files import replacing
from .legacy import SavedStorage
from .names import UNTYPED, StorageType, TorchName, storage_type

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import ModuleType

DEFAULT_PROTOCOL = 2

_REBUILD_TENSOR = TorchName("torch._utils", "_rebuild_tensor_v2")
_REBUILD_TENSOR_OF_TYPE = TorchName("torch._utils", "_rebuild_tensor_v3")
_REBUILD_PARAMETER = TorchName("torch._utils", "_rebuild_parameter")
_REBUILD_PARAMETER_WITH_STATE = TorchName("torch._utils", "_rebuild_parameter_with_state")
_REBUILD_SUBCLASS = TorchName("torch._tensor", "_rebuild_from_type_v2")
_REBUILD_SPARSE = TorchName("torch._utils", "_rebuild_sparse_tensor")
_GET_LAYOUT = TorchName("torch.serialization", "_get_layout")
_TENSOR = TorchName("torch", "Tensor")
_PARAMETER = TorchName("torch.nn.parameter", "Parameter")
_SIZE = TorchName("torch", "Size")
_DEVICE = TorchName("torch", "device")


def save(
    obj: object,
    f: str | os.PathLike[str] | IO[bytes],
    pickle_module: ModuleType = pickle,
    pickle_protocol: int = DEFAULT_PROTOCOL,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
) -> None:
    """Writes ``obj`` to a file in PyTorch's format, which ``torch.load`` reads.

    ``obj`` is anything that can be pickled: a tensor, a state dict, containers and numbers. Each
    storage is written once, whole: tensors that share memory still do when loaded, and views
    keep their strides. ``f`` is a path, or an object with ``write``. A path is replaced in one
    step: when saving fails, the file that was there is untouched.

    ``pickle_module`` must offer a ``Pickler`` written in Python, as ``pickle`` and ``dill`` do.
    ``_use_new_zipfile_serialization=False`` writes the format from before PyTorch 1.6.

    Raises: ``AttributeError`` if ``f`` is neither, ``RuntimeError`` if the folder does not exist
    or one storage is seen as two types, ``OSError`` if the disk is full.

    >>> import flambeau as torch, io
    >>> file = io.BytesIO()
    >>> torch.save({"weight": torch.ones(2)}, file)
    >>> _ = file.seek(0)
    >>> torch.load(file)
    {'weight': tensor([1., 1.])}
    """
    is_path = isinstance(f, (str, os.PathLike))
    if not is_path and not hasattr(f, "write"):
        raise AttributeError(
            "expected 'f' to be string, path, or a file-like object with a 'write' attribute"
        )
    # All of the pickling comes before the file is touched: an object that cannot be pickled, or
    # a gradient that cannot be computed, leaves no file.
    content = _pickle(obj, pickle_module, pickle_protocol, _use_new_zipfile_serialization)
    path = os.fspath(f) if is_path else None
    opened: AbstractContextManager[Any] = replacing(path) if path is not None else nullcontext(f)
    with opened as stream:
        if _use_new_zipfile_serialization:
            folder = os.path.splitext(os.path.basename(path))[0] if path is not None else "archive"
            _write_archive(ArchiveWriter(stream, folder), content, not _disable_byteorder_record)
        else:
            legacy.write(stream, content.pickled, content.storages)


@dataclasses.dataclass(frozen=True)
class _Content:
    pickled: bytes
    storages: list[SavedStorage]


def _write_archive(archive: ArchiveWriter, content: _Content, byteorder: bool) -> None:
    archive.add("data.pkl", content.pickled)
    archive.add(".format_version", b"1")
    archive.add(".storage_alignment", str(ALIGNMENT).encode())
    if byteorder:
        archive.add("byteorder", sys.byteorder.encode())
    for storage in content.storages:
        archive.add(f"data/{storage.key}", memoryview(storage.raw))
    archive.finish()


def _pickle(obj: object, module: ModuleType, protocol: int, is_archive: bool) -> _Content:
    buffer = io.BytesIO()
    pickler = _pickler_class(module)(buffer, protocol)
    pickler.storages = _Storages(is_archive)
    pickler.reduce_tensor = _TensorReducer(pickler.storages)
    pickler.dump(obj)
    return _Content(buffer.getvalue(), pickler.storages.contents())


@dataclasses.dataclass(frozen=True, eq=False)
class _StorageReference:
    """Stands for a storage inside the pickle; its bytes are a record of their own."""

    key: str
    kind: StorageType
    location: str
    owner: object  # held, so that its identity is not taken by another while pickling
    flat: np.ndarray


class _Storages:
    """The storages met so far, numbered in the order they were met."""

    def __init__(self, is_archive: bool) -> None:
        self._by_owner: dict[int, _StorageReference] = {}
        # The older format has a field more, for storages that are views of others.
        self._id_tail: tuple[None, ...] = () if is_archive else (None,)

    def refer(self, parts: bridge.Parts) -> _StorageReference:
        known = self._by_owner.get(id(parts.owner))
        kind = storage_type(parts.dtype)
        if known is None:
            key = str(len(self._by_owner))
            flat = np.ascontiguousarray(parts.flat)
            known = _StorageReference(key, kind, parts.location, parts.owner, flat)
            self._by_owner[id(parts.owner)] = known
        elif known.flat.dtype != parts.flat.dtype:
            raise RuntimeError(
                "Cannot save multiple tensors or storages that view the same data as different "
                "types"
            )
        return known

    def persistent_id(self, reference: _StorageReference) -> tuple[object, ...]:
        kind, flat = reference.kind, reference.flat
        count = flat.nbytes if kind is UNTYPED else flat.size
        name = kind.torch_name
        return ("storage", name, reference.key, reference.location, count, *self._id_tail)

    def contents(self) -> list[SavedStorage]:
        """What is to be written after the pickle."""
        references = self._by_owner.values()
        return [SavedStorage(r.key, r.kind.itemsize, r.flat.view(np.uint8)) for r in references]


class _TensorReducer:
    """Says how a tensor is rebuilt, in the terms of PyTorch's pickles."""

    def __init__(self, storages: _Storages) -> None:
        self._storages = storages
        self._tensor = bridge.tensor_type()
        self._parameter = bridge.parameter_type()

    def __call__(self, obj: object) -> tuple[object, tuple[object, ...]] | None:
        """A function's name and its arguments; ``None`` if ``obj`` is no tensor."""
        if isinstance(obj, _ParameterData):
            return self._values(obj.parameter, requires_grad=False)
        if not isinstance(obj, self._tensor):
            return None
        if obj._is_sparse_layout:  # type: ignore[attr-defined]
            return _REBUILD_SPARSE, obj._saved_parts()  # type: ignore[attr-defined]
        if self._reduces_itself(type(obj)):
            return None
        state = bridge.user_state(obj)
        if isinstance(obj, self._parameter):
            arguments = (_ParameterData(obj), bool(obj.requires_grad), OrderedDict())
            if state:
                return _REBUILD_PARAMETER_WITH_STATE, (*arguments, state)
            return _REBUILD_PARAMETER, arguments
        rebuild, arguments = self._values(obj)
        if type(obj) is self._tensor and not state:
            return rebuild, arguments
        return _REBUILD_SUBCLASS, (rebuild, type(obj), arguments, state)

    def _reduces_itself(self, cls: type) -> bool:
        """Whether a subclass of the user's says on its own how it is pickled."""
        ours = (self._tensor.__reduce_ex__, self._parameter.__reduce_ex__)
        plain = (self._tensor.__reduce__, self._parameter.__reduce__)
        return cls.__reduce_ex__ not in ours or cls.__reduce__ not in plain

    def _values(
        self, tensor: object, requires_grad: bool | None = None
    ) -> tuple[TorchName, tuple[object, ...]]:
        parts = bridge.take_apart(tensor)
        storage = self._storages.refer(parts)
        grad = parts.requires_grad if requires_grad is None else requires_grad
        arguments = (storage, parts.offset, parts.shape, parts.stride, grad, OrderedDict())
        if storage.kind is UNTYPED:
            return _REBUILD_TENSOR_OF_TYPE, (*arguments, parts.dtype)
        return _REBUILD_TENSOR, arguments


@dataclasses.dataclass(frozen=True, eq=False)
class _ParameterData:
    """The plain tensor under a parameter, which PyTorch pickles inside it."""

    parameter: object


def _pickler_class(module: ModuleType) -> Callable[..., Any]:
    """A pickler on top of the module's own that writes PyTorch's names.

    The one written in C looks every name up in ``sys.modules`` before writing it, and PyTorch is
    not there; the one written in Python lets a subclass write names.
    """
    base = getattr(module, "_Pickler", None) or getattr(module, "Pickler", None)
    if base is None or not issubclass(base, pickle._Pickler):
        raise TypeError(
            f"save: pickle_module {getattr(module, '__name__', module)!r} has no Pickler that is "
            "written in Python; use pickle or dill"
        )
    own_names = {bridge.tensor_type(): _TENSOR, bridge.parameter_type(): _PARAMETER}
    size = bridge.size_type()

    class Pickler(base):  # type: ignore[valid-type]  # the caller's pickle module's
        storages: _Storages
        reduce_tensor: _TensorReducer

        def persistent_id(self, obj: object) -> object:
            if isinstance(obj, _StorageReference):
                return self.storages.persistent_id(obj)
            return None

        def reducer_override(self, obj: object) -> object:
            if isinstance(obj, (TorchName, dtypes.dtype)):
                return ""  # a global: ``save_global`` knows its name
            if type(obj) is bytes and not obj and self.proto < 3:
                # ``pickle`` would name ``bytes`` itself, which PyTorch refuses to load.
                return codecs.encode, ("", "latin1")
            if isinstance(obj, size):
                return _SIZE, (tuple(obj),)
            if isinstance(obj, device):
                return _DEVICE, (obj.type,) if obj.index is None else (obj.type, obj.index)
            if type(obj) is layout:
                return _GET_LAYOUT, (repr(obj),)
            return self.reduce_tensor(obj) or NotImplemented

        def save_global(self, obj: object, name: str | None = None) -> None:
            written = TorchName("torch", obj.name) if isinstance(obj, dtypes.dtype) else obj
            if isinstance(written, type):
                written = own_names.get(written, written)
            if not isinstance(written, TorchName):
                super().save_global(obj, name)
                return
            if self.proto >= 4:
                self.save(written.module)
                self.save(written.name)
                self.write(pickle.STACK_GLOBAL)
            else:
                self.write(pickle.GLOBAL + f"{written.module}\n{written.name}\n".encode())
            self.memoize(obj)

    return Pickler
