"""``load``: what ``save`` or PyTorch wrote, without running what the file does not need."""

from __future__ import annotations

import io
import os
import pickle
import sys
from contextlib import nullcontext
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ..device import device
from . import legacy
from .allowed import RestrictedUnpickler, full_unpickler, unpickle
from .archive import MAGIC, ArchiveReader, TruncatedFileError
from .names import StorageType
from .rebuild import LoadedStorage

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    MapLocation = (
        Callable[[LoadedStorage, str], LoadedStorage | None] | device | str | dict[str, str] | None
    )


def load(
    f: str | os.PathLike[str] | IO[bytes],
    map_location: MapLocation = None,
    pickle_module: ModuleType | None = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Reads an object that ``save`` or ``torch.save`` wrote, in either of their formats.

    With ``weights_only=True``, the default, a file can hold tensors, parameters, state dicts,
    containers, numbers, strings, dtypes, devices and sizes, and what ``add_safe_globals`` allows.
    Anything else raises, and nothing of the file is run. ``weights_only=False`` unpickles in full:
    **the file can then run any code**; names of ``torch`` are resolved to Flambeau's, so whole
    modules and optimizers load.

    ``map_location``: where storages go: a device, a dictionary from the file's location to
    another, or a function of the storage and its location that returns the storage, or ``None``
    for the default. ``mmap``: map the file into memory (privately) rather than read it; needs a
    path. ``pickle_module``, and further keywords such as ``encoding``, go to the unpickler.

    Raises: ``UnsafeGlobalError`` (a ``pickle.UnpicklingError``) naming what was refused;
    ``TruncatedFileError`` (a ``RuntimeError``) if the file ends early; ``FileNotFoundError``;
    ``RuntimeError`` if it is no such file, or its tensors are elsewhere than this machine can
    put them.

    >>> import flambeau as torch, io
    >>> file = io.BytesIO()
    >>> torch.save(torch.arange(3), file)
    >>> _ = file.seek(0)
    >>> torch.load(file, map_location="cpu")
    tensor([0, 1, 2])
    """
    if weights_only is None:
        weights_only = pickle_module is None
    if weights_only and pickle_module is not None:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    path = os.fspath(f) if isinstance(f, (str, os.PathLike)) else None
    if mmap and path is None:
        raise ValueError("f must be a file path in order to use the mmap argument")
    if path is None:
        _check_seekable(f)
    kind = RestrictedUnpickler if weights_only else full_unpickler(pickle_module or pickle)
    options = {"encoding": "utf-8"} | pickle_load_args
    relocate = _relocator(map_location)
    with open(path, "rb") if path is not None else nullcontext(f) as stream:  # type: ignore
        start = stream.tell()
        magic = stream.read(len(MAGIC))
        stream.seek(start)
        if not magic:
            raise TruncatedFileError("the file is empty")
        if magic == MAGIC:
            return _load_archive(stream, path if mmap else None, kind, options, relocate)
        if mmap:
            raise RuntimeError(
                "mmap can only be used with files saved with "
                "`torch.save(_use_new_zipfile_serialization=True), please torch.save your "
                "checkpoint with this option in order to use mmap."
            )
        return _load_legacy(stream, kind, options, relocate)


def _load_archive(
    stream: IO[bytes],
    mapped_path: str | None,
    kind: Callable[..., Any],
    options: dict[str, Any],
    relocate: Callable[[LoadedStorage], LoadedStorage],
) -> object:
    archive = ArchiveReader(stream, mapped_path)
    if "constants.pkl" in archive:
        raise RuntimeError(
            "this is a TorchScript archive, a program rather than data: load cannot read it. Save "
            "the state_dict() of the model with PyTorch instead."
        )
    order = archive.read("byteorder") if "byteorder" in archive else b"little"
    if order not in (b"little", b"big"):
        raise ValueError(f"Unknown endianness type: {order.decode(errors='replace')}")
    swapped = order.decode() != sys.byteorder
    read = archive.map_array if mapped_path is not None else archive.read_array
    loaded: dict[str, LoadedStorage] = {}

    def persistent(pid: object) -> LoadedStorage:
        storage_kind, key, location, count, _ = _parse(pid)
        if key not in loaded:
            raw, size = read(f"data/{key}"), count * storage_kind.itemsize
            if raw.size < size:
                raise TruncatedFileError(
                    f"storage {key} holds {raw.size} bytes where {size} are needed"
                )
            loaded[key] = relocate(LoadedStorage(storage_kind, raw[:size], location, swapped))
        return _same_kind(loaded[key], storage_kind, key)

    return unpickle(kind(io.BytesIO(archive.read("data.pkl")), persistent, **options))


def _load_legacy(
    stream: IO[bytes],
    kind: Callable[..., Any],
    options: dict[str, Any],
    relocate: Callable[[LoadedStorage], LoadedStorage],
) -> object:
    start = stream.tell()
    length = stream.seek(0, os.SEEK_END)
    stream.seek(start)
    loaded: dict[str, LoadedStorage] = {}
    moved: dict[object, LoadedStorage] = {}

    pickles = legacy.PickleStream(stream)

    def head() -> object:
        return unpickle(RestrictedUnpickler(pickles, _no_storage, encoding="utf-8"))

    try:
        legacy.read_head(head)
    except (pickle.UnpicklingError, ValueError, TypeError) as error:
        raise RuntimeError(f"this is not a file that torch.save wrote: {error}") from error

    def persistent(pid: object) -> LoadedStorage:
        storage_kind, key, location, count, view = _parse(pid)
        if key not in loaded:
            size = count * storage_kind.itemsize
            if size > length:
                raise TruncatedFileError(
                    f"the file is cut short: storage {key} needs {size} bytes of {length}"
                )
            loaded[key] = LoadedStorage(storage_kind, np.empty(size, np.uint8), location)
            loaded[key].await_contents()
            moved[key] = relocate(loaded[key])
        storage = _same_kind(moved[key], storage_kind, key)
        if view is None:
            return storage
        name, offset, count = view
        if (key, name) not in moved:
            low, high = (n * storage_kind.itemsize for n in (offset, offset + count))
            part = LoadedStorage(storage_kind, storage.raw[low:high], location)
            moved[key, name] = part
        return moved[key, name]

    result = unpickle(kind(pickles, persistent, **options))
    legacy.read_storages(stream, head(), loaded)
    return result


def _no_storage(pid: object) -> LoadedStorage:
    raise pickle.UnpicklingError("corrupt file: a storage where there is none")


def _parse(pid: object) -> tuple[StorageType, str, str, int, Any]:
    """The fields by which a pickle refers to a storage: type, key, location, count, view."""
    well_formed = (
        isinstance(pid, tuple)
        and len(pid) in (5, 6)
        and pid[0] == "storage"
        and isinstance(pid[1], StorageType)
        and isinstance(pid[2], str)
        and isinstance(pid[3], str)
        and type(pid[4]) is int
        and pid[4] >= 0
    )
    view = pid[5] if well_formed and len(pid) == 6 else None
    if view is not None:
        well_formed = isinstance(view, tuple) and len(view) == 3
        well_formed = well_formed and all(type(n) is int and n >= 0 for n in view[1:])
    if not well_formed:
        raise pickle.UnpicklingError(f"corrupt file: {pid!r} does not name a storage")
    return (*pid[1:5], view)


def _same_kind(storage: LoadedStorage, kind: StorageType, key: str) -> LoadedStorage:
    if storage.kind is not kind:
        raise pickle.UnpicklingError(f"corrupt file: storage {key} is named as two types")
    return storage


def _check_seekable(f: Any) -> None:
    for name in ("seek", "tell", "read"):
        if not hasattr(f, name):
            raise AttributeError(
                f"'{type(f).__name__}' object has no attribute '{name}'. You can only torch.load "
                "from a file that is seekable. Please pre-load the data into a buffer like "
                "io.BytesIO and try to load from it instead."
            )
    try:
        f.seek(f.tell())
    except OSError as error:  # a pipe, or ``io.UnsupportedOperation``
        raise io.UnsupportedOperation(
            f"{error}. You can only torch.load from a file that is seekable. Please pre-load the "
            "data into a buffer like io.BytesIO and try to load from it instead."
        ) from error


def _relocator(map_location: MapLocation) -> Callable[[LoadedStorage], LoadedStorage]:
    if map_location is None:
        return lambda storage: _place(storage, storage.location)
    if isinstance(map_location, dict):
        places = map_location
        return lambda storage: _place(storage, places.get(storage.location, storage.location))
    if isinstance(map_location, (str, device)):
        return lambda storage: _place(storage, map_location)
    if not callable(map_location):
        raise TypeError(
            "map_location should be a device, a string, a dictionary or a function, not "
            f"{type(map_location).__name__}"
        )
    return lambda storage: _placed_by(map_location, storage)


def _placed_by(function: Callable[..., object], storage: LoadedStorage) -> LoadedStorage:
    result = function(storage, storage.location)
    if result is None:
        return _place(storage, storage.location)
    if not isinstance(result, LoadedStorage):
        raise TypeError(f"map_location returned a {type(result).__name__}, not the storage")
    return result


def _place(storage: LoadedStorage, location: object) -> LoadedStorage:
    kind = str(location).partition(":")[0]
    if kind == "cpu":
        return storage
    if kind == "cuda":
        raise RuntimeError(
            "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is "
            "False. If you are running on a CPU-only machine, please use torch.load with "
            "map_location=torch.device('cpu') to map your storages to the CPU."
        )
    raise RuntimeError(
        f"don't know how to restore data location of a storage (tagged with {location})"
    )
