"""``flambeau train``: a bundled recipe, or a LightningModule in a file."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any

from flambeau.commands import typed
from flambeau.commands.outcome import NO_SENSE, CommandError
from flambeau.commands.typed import typer

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Trains; returns the exit status."""
    return typed.run("train", _train, arguments)


def _train(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="digits, mnist, cifar10 or PATH.py:Module")
    ],
    config: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="settings, in sections")
    ] = None,
    assign: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="one setting, such as model.lr=0.001"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="of weights, order and shifts")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="the same as --set trainer.max_epochs=…")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="the same as --set data.batch_size=…")
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(parser=typed.positive_number, metavar="NUMBER", help="the learning rate"),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="where the data are, or are put")
    ] = None,
    datamodule: Annotated[
        str | None, typer.Option(metavar="PATH.py:DataModule", help="the data of PATH.py:Module")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="the run's folder, by default runs/NAME")
    ] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="CKPT|last", help="go on from a checkpoint")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="check everything, train one batch, write nothing")
    ] = False,
) -> None:
    """Trains TARGET, and writes a run's folder: checkpoints, metrics.csv, predictions.

    digits alone, with --seed, --epochs, --batch-size, --lr and --out FILE.pt at most, is the
    demonstration: it writes one file. --dry-run lists all settings.
    """
    given: dict[str, Any] = {
        "seed": seed,
        "trainer.max_epochs": epochs,
        "data.batch_size": batch_size,
        "model.lr": lr,
        "data.folder": str(data) if data is not None else None,
    }
    general = config or assign or resume or dry_run or data or datamodule
    if target == "digits" and not general and (out is None or out.suffix == ".pt"):
        _demonstration(seed, epochs, batch_size, lr, out)
        return
    _run(target, datamodule, config, assign or [], given, out, resume, dry_run)


def _demonstration(
    seed: int | None, epochs: int | None, batch_size: int | None, lr: float | None, out: Path | None
) -> None:
    from flambeau.trainer import digits

    given = {
        "seed": seed,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "out": str(out) if out is not None else None,
    }
    digits.train(digits.Recipe(**{k: v for k, v in given.items() if v is not None}))


def _run(
    name: str,
    datamodule: str | None,
    config: Path | None,
    assigned: list[str],
    options: dict[str, Any],
    out: Path | None,
    resume: str | None,
    dry_run: bool,
) -> None:
    from flambeau.trainer.recipes import runs
    from flambeau.trainer.recipes.settings import (
        Given,
        SettingError,
        from_text,
        read_yaml,
        resolve,
    )
    from flambeau.trainer.recipes.targets import TargetError, check_settings, find_target

    try:
        target = find_target(name, datamodule)
        folder, checkpoint = _places(target.folder, out, resume)
        given = _of_checkpoint(checkpoint, target.name)
        given += read_yaml(config) if config is not None else []
        given += [from_text(text, "--set") for text in assigned]
        given += [
            Given(key, value, _OPTIONS[key]) for key, value in options.items() if value is not None
        ]
        settings = resolve(target.schema(runs.TrainerSettings), given)
        check_settings(runs.with_monitor(target, settings))
    except (TargetError, SettingError) as error:
        raise CommandError(str(error), NO_SENSE) from None
    except OSError as error:
        if config is None or error.filename != str(config):
            raise
        raise CommandError(f"--config {config}: {error.strerror}", NO_SENSE) from None
    if dry_run:
        _show(settings)
        runs.rehearse(target, settings)
        print(f"nothing was written; a run would go to {folder}")
        return
    runs.train(target, settings, folder, checkpoint)


_OPTIONS = {
    "seed": "--seed",
    "trainer.max_epochs": "--epochs",
    "data.batch_size": "--batch-size",
    "model.lr": "--lr",
    "data.folder": "--data",
}


def _places(name: str, out: Path | None, resume: str | None) -> tuple[Path, Path | None]:
    """The run's folder, and the checkpoint to go on from."""
    from flambeau.trainer.recipes.runs import last_checkpoint

    if resume is None:
        folder = out or _free(Path("runs") / name)
        if (folder / "run.json").exists():
            raise CommandError(
                f"{folder} has a run already: --resume last goes on with it, another --out begins "
                "a new one",
                NO_SENSE,
            )
        if folder.exists() and not folder.is_dir():
            raise CommandError(f"--out {folder} is a file; a folder was expected", NO_SENSE)
        return folder, None
    if resume != "last":
        path = Path(resume)
        if not path.is_file():
            raise CommandError(f"--resume {resume}: there is no such checkpoint", NO_SENSE)
        inside = path.parent.name == "checkpoints" and (path.parents[1] / "run.json").exists()
        return out or (path.parents[1] if inside else _free(Path("runs") / name)), path
    folder = out or _newest(Path("runs"), name)
    found = last_checkpoint(folder)
    if found is None:
        raise CommandError(f"--resume last: {folder / 'checkpoints'} has no last*.ckpt", NO_SENSE)
    return folder, found


def _free(folder: Path) -> Path:
    """The folder, or the first of folder-2, folder-3, … that is not there."""
    number, found = 1, folder
    while found.exists():
        number += 1
        found = folder.with_name(f"{folder.name}-{number}")
    return found


def _newest(parent: Path, name: str) -> Path:
    pattern = re.compile(rf"{re.escape(name)}(-\d+)?")
    runs = [p.parent for p in parent.glob("*/run.json") if pattern.fullmatch(p.parent.name)]
    return max(runs, key=lambda p: (p / "run.json").stat().st_mtime, default=parent / name)


def _of_checkpoint(path: Path | None, target: str) -> list[Any]:
    """The settings that a checkpoint was trained with."""
    if path is None:
        return []
    from flambeau.trainer.loading import load_checkpoint
    from flambeau.trainer.recipes.runs import RECORD
    from flambeau.trainer.recipes.settings import Given

    record = load_checkpoint(path).get(RECORD)
    if record is None:
        return []
    if record["target"] != target:
        raise CommandError(
            f"--resume {path}: that is a checkpoint of {record['target']}, not of {target}",
            NO_SENSE,
        )
    return [Given(key, value, str(path)) for key, value in record["settings"].items()]


def _show(settings: dict[str, Any]) -> None:
    """Prints settings as a file for ``--config``."""
    from flambeau.utils.extras import require

    yaml = require("yaml", "train", "showing settings")
    yaml.safe_dump(settings, sys.stdout, sort_keys=False)
