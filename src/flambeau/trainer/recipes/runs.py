"""A run of ``flambeau train``: the trainer that settings describe, and the folder it fills.

The folder holds ``run.json`` (target, command, versions, how it ended), ``config.yaml`` (all
settings: a ``--config`` that repeats the run), ``metrics.csv``, ``hparams.yaml``, ``checkpoints/``
and, for classifiers, ``predictions.npz``.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from flambeau.trainer.callback import Callback
from flambeau.trainer.callbacks import EarlyStopping, ModelCheckpoint
from flambeau.trainer.loggers import CSVLogger, TensorBoardLogger
from flambeau.trainer.loggers.hyperparameters import write_yaml
from flambeau.trainer.recipes.environment import environment, versions
from flambeau.trainer.recipes.predictions import NoClassifierError, predictions
from flambeau.trainer.recipes.settings import Range
from flambeau.trainer.recipes.summary import layers_of
from flambeau.trainer.recipes.targets import Target, check_settings
from flambeau.trainer.seeding import seed_everything
from flambeau.trainer.trainer import Trainer

__all__ = ["RECORD", "TrainerSettings", "last_checkpoint", "rehearse", "train", "with_monitor"]

RECORD = "flambeau_run"
"""The key of a checkpoint that says which target and settings it is of."""

Limit = Annotated[int, Range(least=1)] | Annotated[float, Range(above=0, most=1)] | None


@dataclass(frozen=True)
class TrainerSettings:
    """The section ``trainer`` of the settings; most are arguments of :class:`Trainer`.

    ``monitor`` (with ``mode``) says which checkpoint is the best, and what ``patience`` epochs
    without improvement stop. ``tensorboard`` writes event files as well.
    """

    max_epochs: Annotated[int, Range(least=1)] = 10
    max_steps: Annotated[int, Range(least=-1)] = -1
    max_time: str | None = None
    precision: Literal["32-true", "64-true", "bf16-true", "16-true", "bf16-mixed", "16-mixed"] = (
        "32-true"
    )
    accumulate_grad_batches: Annotated[int, Range(least=1)] = 1
    gradient_clip_val: Annotated[float, Range(above=0)] | None = None
    limit_train_batches: Limit = None
    limit_val_batches: Limit = None
    log_every_n_steps: Annotated[int, Range(least=1)] = 20
    checkpoint_every_n_steps: Annotated[int, Range(least=1)] | None = None
    monitor: str | None = None
    mode: Literal["min", "max"] = "min"
    patience: Annotated[int, Range(least=1)] | None = None
    deterministic: bool = True
    detect_anomaly: bool = False
    tensorboard: bool = False


# Those that are arguments of the trainer, under the same name.
_PASSED_ON = (
    "max_epochs", "max_steps", "max_time", "precision", "accumulate_grad_batches",
    "gradient_clip_val", "limit_train_batches", "limit_val_batches", "log_every_n_steps",
    "deterministic", "detect_anomaly",
)  # fmt: skip


class _Lines(Callback):
    """Says what there is to train, and a line an epoch."""

    # Callbacks with a monitor are called when the epoch's values are there.
    monitor = "every metric"

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.began = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Says how much data there are, and how many parameters."""
        parts = []
        for name, noun in (("train", "to learn from"), ("validation", "held out")):
            images = getattr(trainer.datamodule, name, None)
            if images is not None and hasattr(images, "__len__"):
                parts.append(f"{len(images)} {noun}")
        count = sum(p.numel() for p in pl_module.parameters())
        self.say("; ".join([*([", ".join(parts)] if parts else []), f"{count} parameters"]))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Starts the clock."""
        self.began = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Says what the epoch came to."""
        values = trainer.latest().callback
        shown = [
            f"{name} {value:.4f}"
            for name, value in values.items()
            if not name.endswith(("_step", "_epoch")) and name != "lr"
        ]
        of = f"/{trainer.max_epochs}" if trainer.max_epochs != -1 else ""
        width = len(of) - 1
        seconds = time.perf_counter() - self.began
        head = f"epoch {trainer.current_epoch + 1:>{max(width, 1)}}{of}"
        trainer.print("  ".join([head, *shown, f"{seconds:.2f} s"]), flush=True)


class _Record(Callback):
    """Writes into each checkpoint which target and settings it is of."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.record = dict(record)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict) -> None:
        """Adds the record."""
        checkpoint[RECORD] = self.record


def _trainer(
    target: Target, settings: Mapping[str, Any], folder: Path, say: Callable[[str], None]
) -> Trainer:
    chosen = settings["trainer"]
    monitor = chosen["monitor"] or target.monitor
    callbacks: list[Callback] = [
        _Lines(say),
        _Record(_record(target, settings)),
        ModelCheckpoint(
            folder / "checkpoints",
            monitor=monitor,
            mode=chosen["mode"],
            save_last=True,
            # The folder is this run's alone: `last` is one file.
            enable_version_counter=False,
        ),
    ]
    if chosen["checkpoint_every_n_steps"] is not None:
        callbacks.append(
            ModelCheckpoint(
                folder / "checkpoints",
                every_n_train_steps=chosen["checkpoint_every_n_steps"],
                save_top_k=0,
                save_last=True,
                enable_version_counter=False,
            )
        )
    if chosen["patience"] is not None:
        callbacks.append(
            EarlyStopping(monitor, patience=chosen["patience"], mode=chosen["mode"], verbose=True)
        )
    loggers: list[Any] = [CSVLogger(folder, name="", version="", flush_logs_every_n_steps=20)]
    if chosen["tensorboard"]:
        loggers.append(TensorBoardLogger(folder, name="", version=""))
    return Trainer(
        **{name: chosen[name] for name in _PASSED_ON},
        logger=loggers,
        callbacks=callbacks,
        enable_model_summary=False,
        enable_progress_bar=sys.stdout.isatty(),
        default_root_dir=folder,
    )


def _record(target: Target, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "target": target.name,
        "datamodule": target.datamodule,
        "settings": _plain(settings),
        "classes": list(getattr(target.data, "classes", ())),
        "shape": list(getattr(target.data, "shape", ())),
        "versions": versions(),
    }


def _plain(value: Any) -> Any:
    """Nothing but what JSON, YAML and a checkpoint hold."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


# --- what one calls ---------------------------------------------------------------------------


def train(
    target: Target,
    settings: Mapping[str, Any],
    folder: Path,
    resume: Path | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Trains, and fills the folder; returns the contents of its ``run.json``.

    ``resume``: a checkpoint to go on from. After a signal the state is saved and the signal's
    exception raised, with the command that goes on.

    Raises: ``SettingError`` for settings that exclude each other, and whatever the module raises.
    """
    check_settings(with_monitor(target, settings))
    started = time.time()
    seed_everything(settings["seed"])
    module, data = target.make(settings)
    folder.mkdir(parents=True, exist_ok=True)
    trainer = _trainer(target, settings, folder, say)
    run = {
        **_record(target, settings),
        "seed": settings["seed"],
        "started": datetime.fromtimestamp(started).astimezone().isoformat(timespec="seconds"),
        "resumed_from": str(resume) if resume is not None else None,
        "environment": environment(),
        "layers": layers_of(module),
    }
    write_yaml(str(folder / "config.yaml"), _plain(settings))
    _write_record(folder, run, "running", started, trainer)
    try:
        trainer.fit(module, datamodule=data, ckpt_path=resume)
        _write_predictions(trainer, module, folder, run, say)
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt | SystemExit)
        _write_record(folder, run, "interrupted" if stopped else "failed", started, trainer)
        last = last_checkpoint(folder)
        if last is None and not (folder / "metrics.csv").exists():
            _forget(folder)
        if isinstance(error, KeyboardInterrupt) and last is not None:
            raise KeyboardInterrupt(
                f"saved {last}\n"
                f"flambeau train {_again(target)} --out {folder} --resume last   goes on from there"
            ) from None
        raise
    return _write_record(folder, run, "finished", started, trainer)


def rehearse(
    target: Target, settings: Mapping[str, Any], say: Callable[[str], None] = print
) -> None:
    """One batch of training and of validation, with nothing written."""
    check_settings(with_monitor(target, settings))
    seed_everything(settings["seed"])
    module, data = target.make(settings)
    trainer = Trainer(
        fast_dev_run=1,
        precision=settings["trainer"]["precision"],
        callbacks=[_Lines(say)],
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(module, datamodule=data)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest ``last*.ckpt`` of a run's folder."""
    found = (folder / "checkpoints").glob("last*.ckpt")
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def _again(target: Target) -> str:
    """The arguments that name a target."""
    if target.built_in:
        return target.name
    more = f" --datamodule {os.path.relpath(target.datamodule)}" if target.datamodule else ""
    return os.path.relpath(target.name) + more


def _forget(folder: Path) -> None:
    """Removes the traces of a run that never began."""
    for name in ("run.json", "config.yaml", "hparams.yaml"):
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        # There is something of somebody else's in it.
        folder.rmdir()


def with_monitor(target: Target, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, with the metric that the target monitors unless they name one."""
    chosen = settings["trainer"]
    return {**settings, "trainer": {**chosen, "monitor": chosen["monitor"] or target.monitor}}


def _write_record(
    folder: Path, run: dict[str, Any], status: str, started: float, trainer: Trainer
) -> dict[str, Any]:
    record = {
        **run,
        "status": status,
        "seconds": round(time.time() - started, 3),
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "metrics": {k: float(v) for k, v in trainer.published.callback.items()},
    }
    best = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if best:
        record["best_checkpoint"] = os.path.relpath(best, folder)
    part = folder / f"run.json.{os.getpid()}"
    part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    part.replace(folder / "run.json")
    return record


def _write_predictions(
    trainer: Trainer, module: Any, folder: Path, run: dict[str, Any], say: Callable[[str], None]
) -> None:
    """What the best weights make of the validation set, for the report."""
    from flambeau.trainer.loading import load_checkpoint

    best = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if best and os.path.exists(best):
        module.load_state_dict(load_checkpoint(best)["state_dict"], strict=module.strict_loading)
    try:
        found = predictions(module, trainer.val_dataloaders)
    except NoClassifierError as error:
        run["no_predictions"] = str(error)
        return
    found.save(folder / "predictions.npz")
    run["validation_accuracy"] = found.accuracy
    say(f"saved {folder}")
    say(f"validation accuracy {found.accuracy:.2%} ({len(found.targets)} held out)")
