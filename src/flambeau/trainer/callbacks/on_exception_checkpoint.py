"""OnExceptionCheckpoint: saves when a run stops for an exception."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flambeau.trainer.callback import Checkpoint

if TYPE_CHECKING:
    from flambeau.trainer.trainer import Trainer

__all__ = ["OnExceptionCheckpoint"]


class OnExceptionCheckpoint(Checkpoint):
    """Saves to ``dirpath/filename.ckpt`` when training stops for an exception.

    Raises: ``ValueError`` if ``filename`` is empty.

    Reference: Lightning's callback of this name.

    >>> from flambeau.trainer.callbacks import OnExceptionCheckpoint
    >>> OnExceptionCheckpoint("runs").ckpt_path
    'runs/on_exception.ckpt'
    """

    FILE_EXTENSION = ".ckpt"

    def __init__(self, dirpath: str | Path, filename: str = "on_exception") -> None:
        if not filename:
            raise ValueError("The filename cannot be empty")
        self.dirpath = dirpath
        self.filename = filename

    @property
    def ckpt_path(self) -> str:
        """The file."""
        return os.path.join(self.dirpath, self.filename + self.FILE_EXTENSION)

    def on_exception(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """Saves."""
        trainer.save_checkpoint(self.ckpt_path)
