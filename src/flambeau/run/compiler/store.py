"""Bytes by key in the user's cache directory, kept from one process to the next.

Where: ``$FLAMBEAU_CACHE``, else ``$XDG_CACHE_HOME/flambeau``, else ``~/.cache/flambeau``. Entries
of another version of Flambeau or llvmlite, or made on another processor, lie in another folder. A
file is written under a name of its own and then renamed, so that processes need no lock; it begins
with a digest of the rest, so that a damaged one is as good as none. A directory that cannot be
written, or that others may write into, is not used.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import platform
import re
import stat
import sys
import time
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path

__all__ = ["load", "load_note", "location", "name_of", "save", "save_note"]

MAGIC = b"flambeau"
DIGEST = 16
# Above this many bytes, the entries that were not used for longest go, down to three quarters.
LIMIT = 512 << 20
# How often this process looks at the whole directory: at its first write, then every so many.
WRITES_BETWEEN_CHECKS = 256
# An entry in use gets a new date at most this often (seconds).
FRESH = 24 * 3600.0
# What writers leave behind when they are killed goes after this long (seconds).
ABANDONED = 3600.0
# The name of an entry, or of one that is being written.
_ENTRY = re.compile(r"[0-9a-f]{32}(\..*\.tmp)?")

_counter = itertools.count()
_writes = 0


def load(key: str) -> bytes | None:
    """What was saved under ``key``; None if there is nothing or it is damaged."""
    folder = location()
    if folder is None:
        return None
    path = folder / name_of(key)
    try:
        with open(path, "rb", buffering=0) as file:
            content = file.readall()
            if time.time() - os.fstat(file.fileno()).st_mtime > FRESH:
                os.utime(path)
    except OSError:
        return None
    start = len(MAGIC) + DIGEST
    data = content[start:]
    return data if content[:start] == MAGIC + _digest(data) else None


def save(key: str, data: bytes, durable: bool = False) -> None:
    """Keeps ``data`` under ``key`` if the directory takes it; ``durable``: through a power cut."""
    global _writes
    folder = location()
    if folder is None:
        return
    # Two processes, threads or forks never share a temporary name.
    name = name_of(key)
    temporary = folder / f"{name}.{os.getpid()}.{next(_counter)}.{os.urandom(4).hex()}.tmp"
    try:
        with open(temporary, "xb", buffering=0) as file:
            whole = memoryview(MAGIC + _digest(data) + data)
            while whole:
                whole = whole[file.write(whole) :]
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, folder / name)
    except OSError:
        # A full disk, a quota, a directory taken away: the cache is only a convenience.
        with suppress(OSError):
            temporary.unlink()
        return
    _writes += 1
    if _writes % WRITES_BETWEEN_CHECKS == 1:
        shrink(folder.parent)


def load_note(key: str) -> bytes | None:
    """What ``save_note`` kept."""
    return load(f"note {_sources()} {key}")


def save_note(key: str, data: bytes) -> None:
    """Keeps ``data`` for as long as Flambeau's source is the same: a conclusion of its code.

    Compiled kernels need no such care, for their keys come from their texts.
    """
    save(f"note {_sources()} {key}", data)


def name_of(key: str) -> str:
    """The name of the file for ``key``."""
    return hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


@cache
def location() -> Path | None:
    """The folder of this version and processor, made if need be; None if it cannot be used."""
    try:
        folder = _root() / _generation()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except (OSError, RuntimeError):  # RuntimeError: no home directory
        return None
    if hasattr(os, "geteuid"):
        # Code is loaded from here: nobody else may have put it there.
        if found.st_uid not in (0, os.geteuid()) or found.st_mode & stat.S_IWOTH:
            return None
    return folder if os.access(folder, os.R_OK | os.W_OK | os.X_OK) else None


def shrink(root: Path, limit: int | None = None) -> None:
    """Removes the oldest entries under ``root`` if together they are above ``limit`` bytes.

    The directory may be the user's: what is not named as entries are is left alone.
    """
    limit = LIMIT if limit is None else limit
    files = []
    now = time.time()
    for path in root.glob("*/*"):
        if _ENTRY.fullmatch(path.name) is None:
            continue
        try:
            found = path.stat()
            if path.suffix == ".tmp" and now - found.st_mtime > ABANDONED:
                path.unlink()
            else:
                files.append((found.st_mtime, found.st_size, path))
        except OSError:
            continue  # another process was quicker
    total = sum(size for _, size, _ in files)
    if total <= limit:
        return
    for _, size, path in sorted(files):
        if total <= limit * 3 // 4:
            return
        try:
            path.unlink()
        except OSError:
            continue
        total -= size


@cache
def _sources() -> str:
    """Names the state of the files that decide what is compiled."""
    package = Path(__file__).parents[2]
    found = []
    folders = [str(package / part) for part in ("run", "ir")]
    for folder in folders:
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(".py"):
                    state = entry.stat()
                    found.append((entry.path, state.st_size, state.st_mtime_ns))
                elif entry.is_dir() and entry.name != "__pycache__":
                    folders.append(entry.path)
    return hashlib.blake2b(repr(sorted(found)).encode(), digest_size=8).hexdigest()


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=DIGEST).digest()


def _root() -> Path:
    if own := os.environ.get("FLAMBEAU_CACHE"):
        return Path(own).expanduser()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "flambeau"
    return Path.home() / ".cache" / "flambeau"


def _generation() -> str:
    """Names what entries depend on, found without importing llvmlite."""
    from flambeau.version import flambeau as own  # upward: a constant, no code

    # The text of its version file: importlib.metadata would take longer than all else here.
    found = find_spec("llvmlite")
    llvmlite = "unknown"
    if found is not None and found.origin is not None:
        with suppress(OSError):
            llvmlite = Path(found.origin).with_name("_version.py").read_text()
    parts = (own, llvmlite, sys.platform, platform.machine(), _processor())
    short = hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()
    return f"{own}-{short}"


def _processor() -> str:
    """What tells this processor's code from another's."""
    try:
        with open("/proc/cpuinfo", "rb", buffering=0) as file:
            text = file.read(16384).decode(errors="replace")
    except OSError:
        return platform.processor()
    # The lines of the first core that do not change with load.
    keys = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags", "Features")
    arm = ("CPU implementer", "CPU architecture", "CPU variant", "CPU part")
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return "\n".join(value for key, _, value in lines if key.strip() in keys + arm)
