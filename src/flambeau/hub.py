"""``torch.hub``: the folder of downloaded weights; repositories of code are not fetched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NoReturn

from flambeau.errors import NotSupportedError

__all__ = ["get_dir", "help", "list", "load", "set_dir"]

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
