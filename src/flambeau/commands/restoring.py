"""What ``eval`` and ``predict`` share: a module out of a checkpoint, with messages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from flambeau.commands.outcome import NO_SENSE, CommandError
from flambeau.commands.typed import typer

if TYPE_CHECKING:
    from flambeau.trainer.recipes.restored import Restored

__all__ = ["Checkpoint", "Data", "DataModule", "Module", "restored"]

Checkpoint = Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="or a run's folder")]
Module = Annotated[
    str | None,
    typer.Option(metavar="PATH.py:Module", help="its class, if it is not one of Flambeau's own"),
]
DataModule = Annotated[
    str | None, typer.Option(metavar="PATH.py:DataModule", help="the class of its data")
]
Data = Annotated[Path | None, typer.Option(metavar="DIR", help="where the data are")]


def checkpoint_file(path: Path) -> Path:
    """The checkpoint that a path means: the file, or the best of a run's folder.

    Raises: ``CommandError`` if there is none.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise CommandError(f"{path}: there is no such checkpoint")
    found = list((path / "checkpoints").glob("*.ckpt"))
    if not found:
        raise CommandError(f"{path}: there is no checkpoint in {path / 'checkpoints'}")
    # The name of the best has its epoch; `last` is what is left to go on from.
    best = [p for p in found if not p.name.startswith("last")] or found
    return max(best, key=lambda p: p.stat().st_mtime)


def restored(path: Path, module: str | None, datamodule: str | None, data: Path | None) -> Restored:
    """The module in a checkpoint. Raises ``CommandError`` saying what is wrong."""
    from flambeau.trainer.recipes.restored import restore
    from flambeau.trainer.recipes.settings import SettingError
    from flambeau.trainer.recipes.targets import TargetError

    try:
        return restore(checkpoint_file(path), module, datamodule, data)
    except (TargetError, SettingError) as error:
        raise CommandError(str(error), NO_SENSE) from None
