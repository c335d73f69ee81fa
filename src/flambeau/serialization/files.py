"""Replacing a file in one step: what was there survives until the new contents are complete."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: str) -> Iterator[IO[bytes]]:
    """A stream whose contents become the file ``path`` when the block ends without an error.

    They are written to another name in the same folder, flushed to the disk, then renamed. On
    an error (a full disk, an interrupt) the old file stays as it was and the new one is removed.

    Raises ``RuntimeError`` if the folder does not exist, as PyTorch does.
    """
    target = os.path.realpath(path)  # a link stays a link
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise RuntimeError(f"Parent directory {os.path.dirname(path) or folder} does not exist.")
    if os.path.exists(target) and not os.path.isfile(target):
        # A directory raises here; a device or a pipe has no old contents to keep.
        with open(target, "wb") as stream:
            yield stream
        return
    mode = None
    if os.path.exists(target):
        # Renaming over a file needs no right to write to it; opening it does.
        if not os.access(target, os.W_OK):
            raise PermissionError(13, "Permission denied", path)
        mode = stat.S_IMODE(os.stat(target).st_mode)
    temporary = os.path.join(folder, f".flambeau-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if mode is not None:
            os.chmod(temporary, mode)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Makes the new name last through a power failure, where folders can be opened (POSIX)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some file systems refuse to sync a folder; the file itself is on the disk
    finally:
        os.close(descriptor)
