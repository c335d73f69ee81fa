"""``torch.hub``: downloads of weights and their folder; repositories of code are not fetched."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlparse
from urllib.request import Request, urlopen

from flambeau.errors import NotSupportedError
from flambeau.serialization import load as load_file

__all__ = [
    "download_url_to_file",
    "get_dir",
    "help",
    "list",
    "load",
    "load_state_dict_from_url",
    "set_dir",
]

_chosen: str | None = None


def get_dir() -> str:
    """Where downloads go: ``set_dir``'s folder, else ``$TORCH_HOME/hub``, else the user's cache."""
    if _chosen is not None:
        return _chosen
    home = os.environ.get("TORCH_HOME")
    if home is None:
        home = str(Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "torch")
    return str(Path(home).expanduser() / "hub")


def set_dir(d: str | os.PathLike) -> None:
    """Chooses where downloads go."""
    global _chosen
    _chosen = str(Path(d).expanduser())


def download_url_to_file(
    url: str, dst: str | os.PathLike, hash_prefix: str | None = None, progress: bool = True
) -> None:
    """Downloads into a file, which is there only when it is complete.

    Args:
        hash_prefix: how the file's SHA-256, in hexadecimal, begins.
        progress: says on stderr, at the end, how much was downloaded.
    Raises: ``RuntimeError`` for another hash; ``OSError`` if the address cannot be read.
    """
    goal = Path(dst).expanduser()
    digest, size = hashlib.sha256(), 0
    # Beside the goal, so that the file's new name is all that is left to give it.
    handle, part = tempfile.mkstemp(dir=goal.parent, suffix=".partial")
    try:
        with (
            os.fdopen(handle, "wb") as file,
            urlopen(Request(url, headers={"User-Agent": "flambeau.hub"})) as answer,
        ):
            while chunk := answer.read(1 << 17):
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        found = digest.hexdigest()
        if hash_prefix is not None and not found.startswith(hash_prefix):
            raise RuntimeError(
                f'invalid hash value (expected "{hash_prefix}", got "{found[: len(hash_prefix)]}")'
            )
        Path(part).replace(goal)
    finally:
        Path(part).unlink(missing_ok=True)
    if progress:
        sys.stderr.write(f"{goal.name}: {size / 2**20:.1f} MB\n")


def load_state_dict_from_url(
    url: str,
    model_dir: str | os.PathLike | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = True,
) -> dict[str, Any]:
    """What the file at an address holds; it is downloaded once, into the folder of checkpoints.

    Args:
        model_dir: another folder than ``get_dir()/checkpoints``.
        check_hash: checks the SHA-256 that the name ends with: ``name-<8 digits or more>.ext``.
        file_name: the file's name, if it is not the address's last part.
        weights_only: refuses what is not made of tensors and plain values. PyTorch's default is
            off: then **the file can run any code**.
    Raises: ``UnsafeGlobalError`` for what is refused; ``RuntimeError`` for another hash;
        ``OSError`` if the address cannot be read.
    """
    folder = Path(model_dir) if model_dir is not None else Path(get_dir()) / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    name = file_name or Path(urlparse(url).path).name
    path = folder / name
    if not path.exists():
        sys.stderr.write(f'Downloading: "{url}" to {path}\n')
        ending = re.search(r"-([a-f0-9]{8,})\.", name) if check_hash else None
        download_url_to_file(url, path, ending[1] if ending else None, progress=progress)
    return load_file(path, map_location=map_location, weights_only=weights_only)


def _refuse(name: str) -> NoReturn:
    raise NotSupportedError(
        f"torch.hub.{name}: Flambeau does not run code from repositories it downloads; install the "
        "package that defines the model, and load its weights with load_state_dict"
    )


def load(repo_or_dir: str, model: str, *arguments: Any, **options: Any) -> NoReturn:
    """Raises: ``NotSupportedError``: it would run downloaded code."""
    _refuse("load")


def list(github: str, *arguments: Any, **options: Any) -> NoReturn:
    """Raises: ``NotSupportedError``: it would run downloaded code."""
    _refuse("list")


def help(github: str, model: str, *arguments: Any, **options: Any) -> NoReturn:
    """Raises: ``NotSupportedError``: it would run downloaded code."""
    _refuse("help")
