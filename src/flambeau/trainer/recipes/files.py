"""The original files of MNIST and CIFAR-10: found in a folder, downloaded, read."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "CIFAR10_CLASSES",
    "DataError",
    "Source",
    "fetch",
    "read_cifar10",
    "read_idx",
    "read_mnist",
]

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
Images = tuple[np.ndarray, np.ndarray]
"""Images of shape (n, channels, height, width), uint8, and labels of shape (n,), int64."""

_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_TIMEOUT = 20.0


class DataError(ValueError):
    """Data that are not there, or not what they should be; the message says what to do."""


class Source(NamedTuple):
    """A file on the network: its name, where it is, and the SHA-256 of its contents."""

    name: str
    urls: tuple[str, ...]
    sha256: str


def _mnist(name: str, sha256: str) -> Source:
    hosts = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    return Source(name, tuple(host + name for host in hosts), sha256)


MNIST = {
    "train": (
        _mnist(
            "train-images-idx3-ubyte.gz",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        _mnist(
            "train-labels-idx1-ubyte.gz",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
    ),
    "test": (
        _mnist(
            "t10k-images-idx3-ubyte.gz",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        _mnist(
            "t10k-labels-idx1-ubyte.gz",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
}
CIFAR10 = Source(
    "cifar-10-binary.tar.gz",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)


# --- downloads --------------------------------------------------------------------------------


def fetch(
    source: Source,
    folder: Path,
    others: Iterable[Source] = (),
    say: Callable[[str], None] = print,
) -> Path:
    """Downloads a file into ``folder``; what it holds is compared with the checksum.

    Raises: ``DataError`` if no address answers, or what came is not the file: it says which files
    to put where, ``others`` that are needed among them.
    """
    faults = []
    for url in source.urls:
        say(f"downloading {url}")
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:
                content = answer.read()
        except (urllib.error.URLError, OSError, ValueError) as error:
            faults.append(f"{url}: {getattr(error, 'reason', error)}")
            continue
        if hashlib.sha256(content).hexdigest() != source.sha256:
            faults.append(f"{url}: what came ({len(content)} bytes) does not have the checksum")
            continue
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{source.name}.{os.getpid()}"
        part.write_bytes(content)
        part.replace(folder / source.name)
        return folder / source.name
    raise DataError(
        f"{source.name} is not in {folder}, and could not be downloaded:\n  "
        + "\n  ".join(faults)
        + f"\nPut into {folder} yourself:\n  "
        + "\n  ".join(f"{one.name}  (sha256 {one.sha256})" for one in (source, *others))
    )


def _found(folder: Path, source: Source) -> Path | None:
    """Where a file is: in the folder or where torchvision puts it, compressed or not."""
    for place in (folder, folder / "MNIST" / "raw"):
        for name in (source.name, source.name.removesuffix(".gz")):
            if (place / name).is_file():
                return place / name
    return None


# --- MNIST ------------------------------------------------------------------------------------


def read_mnist(folder: str | Path, split: str) -> Images:
    """The images and labels of MNIST's ``split``, "train" or "test", from its four files.

    They are looked for in ``folder`` and in ``folder/MNIST/raw``, compressed or not; what is
    missing is downloaded to ``folder``.

    Raises: ``DataError`` if they are not to be had, or damaged.
    """
    folder = Path(folder)
    places = {source: _found(folder, source) for sources in MNIST.values() for source in sources}
    arrays = []
    for source in MNIST[split]:
        others = [one for one, path in places.items() if path is None and one != source]
        arrays.append(read_idx(places[source] or fetch(source, folder, others)))
    images, labels = arrays
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise DataError(
            f"{folder}: {images.shape} images and {labels.shape} labels do not belong together"
        )
    return images[:, None], labels.astype(np.int64)


def read_idx(path: str | Path) -> np.ndarray:
    """The array in a file of the format IDX (LeCun), compressed with gzip or not.

    Raises: ``DataError`` if it is none, or cut short.
    """
    content = Path(path).read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError) as error:
            raise DataError(
                f"{path}: damaged ({error}); delete it to have it loaded anew"
            ) from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES:
        raise DataError(f"{path}: no file of the format IDX")
    dims = content[3]
    start = 4 + 4 * dims
    if len(content) < start:
        raise DataError(f"{path}: cut short within its header")
    shape = struct.unpack(f">{dims}I", content[4:start])
    kind = np.dtype(_IDX_TYPES[content[2]])
    wanted = int(np.prod(shape)) * kind.itemsize
    if len(content) - start != wanted:
        raise DataError(
            f"{path}: {wanted} bytes were expected for the shape {shape}, {len(content) - start} "
            "are there"
        )
    array = np.frombuffer(content, kind, offset=start).reshape(shape)
    return array.astype(kind.newbyteorder("="))


# --- CIFAR-10 ---------------------------------------------------------------------------------


def read_cifar10(folder: str | Path, split: str) -> Images:
    """The images and labels of CIFAR-10's ``split``, "train" or "test".

    Read are, whichever is in ``folder``: ``cifar-10-batches-bin`` or ``cifar-10-binary.tar.gz``
    (rows of a label and 3072 bytes), ``cifar-10-batches-py`` or ``cifar-10-python.tar.gz``
    (pickles: read without running anything of them). Otherwise the binary version is downloaded.

    Raises: ``DataError`` if they are not to be had, or damaged.
    """
    folder = Path(folder)
    numbers = range(1, 6)
    binary = [f"data_batch_{i}.bin" for i in numbers] if split == "train" else ["test_batch.bin"]
    pickled = [f"data_batch_{i}" for i in numbers] if split == "train" else ["test_batch"]
    parts: list[Images]
    if (found := _contents(folder, "cifar-10-batches-bin", CIFAR10.name, binary)) is not None:
        parts = [_binary_batch(*one) for one in found]
    elif (
        found := _contents(folder, "cifar-10-batches-py", "cifar-10-python.tar.gz", pickled)
    ) is not None:
        parts = [_pickled_batch(*one) for one in found]
    else:
        fetch(CIFAR10, folder)
        found = _contents(folder, "cifar-10-batches-bin", CIFAR10.name, binary)
        assert found is not None
        parts = [_binary_batch(*one) for one in found]
    return np.concatenate([images for images, _ in parts]), np.concatenate([y for _, y in parts])


def _contents(
    folder: Path, inner: str, archive: str, names: list[str]
) -> list[tuple[str, bytes]] | None:
    """(path, contents) of files in a folder or an archive; None if neither is there."""
    for place in (folder / inner, folder):
        if (place / names[0]).is_file():
            missing = [name for name in names if not (place / name).is_file()]
            if missing:
                raise DataError(f"{place} has {names[0]}, but not {', '.join(missing)}")
            return [(str(place / name), (place / name).read_bytes()) for name in names]
    path = folder / archive
    if not path.is_file():
        return None
    try:
        with tarfile.open(path) as tar:
            found = []
            for name in names:
                member = tar.extractfile(f"{inner}/{name}")
                if member is None:
                    raise DataError(f"{path}: {inner}/{name} is no file")
                found.append((f"{path}:{name}", member.read()))
            return found
    except (tarfile.TarError, KeyError, EOFError, OSError) as error:
        raise DataError(f"{path}: damaged ({error}); delete it to have it loaded anew") from None


def _binary_batch(path: str, content: bytes) -> Images:
    row = 1 + 3 * 32 * 32
    if not content or len(content) % row:
        raise DataError(f"{path}: {len(content)} bytes are not rows of {row}")
    rows = np.frombuffer(content, np.uint8).reshape(-1, row)
    return _images(path, rows[:, 1:], rows[:, 0])


def _pickled_batch(path: str, content: bytes) -> Images:
    try:
        batch = _Arrays(io.BytesIO(content), encoding="bytes").load()
        pixels, labels = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"])
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: no batch of CIFAR-10 ({error})") from None
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), 3072):
        raise DataError(f"{path}: {pixels.dtype} of shape {pixels.shape} is no batch of CIFAR-10")
    return _images(path, pixels, labels)


def _images(path: str, pixels: np.ndarray, labels: np.ndarray) -> Images:
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) <= 9:
        raise DataError(f"{path}: labels from {labels.min()} to {labels.max()}, 0 to 9 expected")
    return pixels.reshape(-1, 3, 32, 32), labels.astype(np.int64)


class _Arrays(pickle.Unpickler):
    """Reads pickles of NumPy arrays, and nothing else: no other name is looked up."""

    _ALLOWED = {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> Any:
        """The parts that an array's pickle is made of."""
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in it")
        if name == "_reconstruct":
            return np.ndarray(0).__reduce__()[0]
        return super().find_class(module, name)
