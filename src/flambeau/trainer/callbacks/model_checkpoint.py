"""ModelCheckpoint: writes checkpoints at intervals, and keeps the best of them."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flambeau
from flambeau.trainer.callback import Checkpoint
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.trainer.utilities.rank_zero import rank_zero_info, rank_zero_warn

if TYPE_CHECKING:
    from flambeau.trainer.module import LightningModule
    from flambeau.trainer.trainer import Trainer

__all__ = ["ModelCheckpoint"]


class ModelCheckpoint(Checkpoint):
    """Writes checkpoints at intervals, and keeps the best of them.

    Args:
        dirpath: the folder; by default ``checkpoints`` in the logger's folder of this run.
        filename: a template such as ``"{epoch}-{val_loss:.2f}"``, by default ``"{epoch}-{step}"``;
            names are put before the values (``epoch=3-val_loss=0.12``) if
            ``auto_insert_metric_name``.
        monitor: the metric that says which are best; without it the newest is.
        mode: "min" or "max": whether less or more is better.
        save_top_k: how many to keep; -1: all, 0: none.
        save_last: also writes ``last.ckpt`` each time; "link": as a link to the newest.
        save_on_exception: also saves when training stops for an exception.
        save_weights_only: without what is needed to go on training.
        every_n_train_steps, every_n_epochs, train_time_interval: when; by default each epoch.
        save_on_train_epoch_end: at the end of training epochs, not of validations.
        enable_version_counter: a name that is taken gets ``-v1``, ``-v2``, … appended.
        verbose: says what was written.

    ``best_model_path``, ``best_model_score``, ``last_model_path`` and ``best_k_models`` say what
    there is. Files are written in one step: at every moment each is whole.

    Raises: ``MisconfigurationException`` for values that make no sense or exclude each other.

    >>> from flambeau.trainer.callbacks import ModelCheckpoint
    >>> saver = ModelCheckpoint("runs", filename="{epoch:02d}-{val_loss:.2f}", monitor="val_loss")
    >>> saver.format_checkpoint_name({"epoch": 3, "val_loss": 0.1234})
    'runs/epoch=03-val_loss=0.12.ckpt'
    """

    CHECKPOINT_JOIN_CHAR = "-"
    CHECKPOINT_EQUALS_CHAR = "="
    CHECKPOINT_NAME_LAST = "last"
    FILE_EXTENSION = ".ckpt"
    STARTING_VERSION = 1

    def __init__(
        self,
        dirpath: str | Path | None = None,
        filename: str | None = None,
        monitor: str | None = None,
        verbose: bool = False,
        save_last: bool | str | None = None,
        save_top_k: int = 1,
        save_on_exception: bool = False,
        save_weights_only: bool = False,
        mode: str = "min",
        auto_insert_metric_name: bool = True,
        every_n_train_steps: int | None = None,
        train_time_interval: timedelta | None = None,
        every_n_epochs: int | None = None,
        save_on_train_epoch_end: bool | None = None,
        enable_version_counter: bool = True,
    ) -> None:
        super().__init__()
        self.dirpath = os.path.realpath(dirpath) if dirpath is not None else None
        # As it was given, for names that are shown.
        self._shown = os.fspath(dirpath) if dirpath is not None else ""
        self.filename = filename
        self.monitor = monitor
        self.verbose = verbose
        self.save_last = save_last
        self.save_top_k = save_top_k
        self.save_on_exception = save_on_exception
        self.save_weights_only = save_weights_only
        self.mode = mode
        self.auto_insert_metric_name = auto_insert_metric_name
        self._save_on_train_epoch_end = save_on_train_epoch_end
        self._enable_version_counter = enable_version_counter
        given = (every_n_train_steps, every_n_epochs, train_time_interval)
        if all(x is None for x in given):
            every_n_epochs = 1
        self._every_n_train_steps = every_n_train_steps or 0
        self._every_n_epochs = every_n_epochs or 0
        self._train_time_interval = train_time_interval
        self._check(given)
        self.current_score: float | None = None
        self.best_k_models: dict[str, float] = {}
        self.kth_best_model_path = ""
        self.best_model_path = ""
        self.last_model_path = ""
        self._best_score: float | None = None
        self._last_step_saved = -1
        self._last_saved = ""
        self._last_time = time.monotonic()
        # Files that a run which was stopped had written after this checkpoint are written again.
        self._resumed = False

    def _check(self, given: tuple[Any, ...]) -> None:
        if self.mode not in ("min", "max"):
            raise MisconfigurationException(f"`mode` can be min, max but got {self.mode}")
        if self.save_top_k < -1:
            raise MisconfigurationException(
                f"Invalid value for save_top_k={self.save_top_k}. Must be >= -1"
            )
        if self._every_n_train_steps < 0 or self._every_n_epochs < 0:
            raise MisconfigurationException(
                "every_n_train_steps and every_n_epochs must be >= 0, got "
                f"{self._every_n_train_steps} and {self._every_n_epochs}"
            )
        if sum(bool(x) for x in given) > 1:
            raise MisconfigurationException(
                "Combination of parameters every_n_train_steps, every_n_epochs and "
                "train_time_interval should be mutually exclusive."
            )
        if self.monitor is None and self.save_top_k not in (-1, 0, 1):
            raise MisconfigurationException(
                f"ModelCheckpoint(save_top_k={self.save_top_k}, monitor=None) is not a valid "
                "configuration. No quantity for top_k to track."
            )
        if self.save_last not in (None, True, False, "link"):
            raise MisconfigurationException(
                f'save_last must be True, False or "link", got {self.save_last!r}'
            )

    @property
    def state_key(self) -> str:
        """The class, with what and when it saves."""
        return self._generate_state_key(
            monitor=self.monitor,
            mode=self.mode,
            every_n_train_steps=self._every_n_train_steps,
            every_n_epochs=self._every_n_epochs,
            train_time_interval=self._train_time_interval,
        )

    @property
    def best_model_score(self) -> flambeau.Tensor | None:
        """The monitored value of the best; None before there is one."""
        return None if self._best_score is None else flambeau.tensor(self._best_score)

    @property
    def kth_value(self) -> float | None:
        """The monitored value of the worst that is kept."""
        return self.best_k_models.get(self.kth_best_model_path)

    @property
    def every_n_epochs(self) -> int | None:
        """How many epochs lie between two checkpoints."""
        return self._every_n_epochs

    # --- when -------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Finds the folder."""
        if stage == "fit":
            self.dirpath = self.folder(trainer)
            self._shown = self._shown or self.dirpath

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._last_time = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Saves, every so many steps or minutes."""
        every, interval = self._every_n_train_steps, self._train_time_interval
        due = every > 0 and trainer.global_step % every == 0
        if interval is not None:
            now = time.monotonic()
            if now - self._last_time >= interval.total_seconds():
                due, self._last_time = True, now
        if due and self._may_save(trainer):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves, at the end of training epochs."""
        if self._may_save(trainer) and self._at_epoch_end(trainer):
            self._save(trainer, top=self._epoch_due(trainer))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves, at the end of validations."""
        if self._may_save(trainer) and not self._at_epoch_end(trainer):
            self._save(trainer, top=self._epoch_due(trainer))

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Saves what there is beside the best, if that is wanted."""
        if self.save_on_exception and self._may_save(trainer):
            metrics = dict(trainer.latest().callback)
            metrics["epoch"], metrics["step"] = trainer.current_epoch, trainer.global_step
            self._write(trainer, self._free_path(metrics))

    def _epoch_due(self, trainer: Trainer) -> bool:
        every = self._every_n_epochs
        return every >= 1 and (trainer.current_epoch + 1) % every == 0

    def _at_epoch_end(self, trainer: Trainer) -> bool:
        if self._save_on_train_epoch_end is not None:
            return self._save_on_train_epoch_end
        if trainer.check_val_every_n_epoch != 1:
            # An epoch without validation has no value to compare by.
            return False
        return not trainer.enable_validation or trainer.val_check_interval == 1.0

    def _may_save(self, trainer: Trainer) -> bool:
        return (
            not trainer.fast_dev_run
            and trainer.state.fn == "fit"
            and not trainer.sanity_checking
            and self._last_step_saved != trainer.global_step
        )

    # --- what -------------------------------------------------------------------------------

    def folder(self, trainer: Trainer) -> str:
        """Where the checkpoints of this run go."""
        if self.dirpath is not None:
            return self.dirpath
        logger = trainer.logger
        if logger is not None and getattr(logger, "log_dir", None):
            return os.path.join(os.path.realpath(logger.log_dir), "checkpoints")
        if logger is not None and getattr(logger, "save_dir", None):
            version = logger.version
            version = version if isinstance(version, str) else f"version_{version}"
            parts = (os.path.realpath(logger.save_dir), str(logger.name), version, "checkpoints")
            return os.path.join(*parts)
        return os.path.join(os.path.realpath(trainer.default_root_dir), "checkpoints")

    def _save(self, trainer: Trainer, top: bool = True) -> None:
        metrics = dict(trainer.latest().callback)
        metrics["epoch"], metrics["step"] = trainer.current_epoch, trainer.global_step
        if top and self.save_top_k != 0:
            if self.monitor is None:
                self._save_newest(trainer, metrics)
            elif self.monitor in metrics:
                self._save_if_best(trainer, metrics)
            else:
                message = (
                    f"`ModelCheckpoint(monitor={self.monitor!r})` could not find the monitored key "
                    f"in the returned metrics: {list(metrics)}. HINT: Did you call "
                    f"`log({self.monitor!r}, value)` in the `LightningModule`?"
                )
                if trainer.published.callback:
                    raise MisconfigurationException(message)
                rank_zero_warn(message)
        if self.save_last:
            self._save_last(trainer, metrics)

    def _save_newest(self, trainer: Trainer, metrics: dict[str, float]) -> None:
        path = self._free_path(metrics)
        before, self.best_model_path = self.best_model_path, path
        if self.save_top_k == -1:
            self.best_k_models[path] = float(metrics["step"])
        self._write(trainer, path)
        if self.save_top_k == 1 and before and before != path:
            self._remove(before)

    def _save_if_best(self, trainer: Trainer, metrics: dict[str, float]) -> None:
        value = float(metrics[self.monitor or ""])
        self.current_score = value
        # A NaN is worse than everything.
        rank = value if not math.isnan(value) else math.inf * (1 if self.mode == "min" else -1)
        full = self.save_top_k != -1 and len(self.best_k_models) >= self.save_top_k
        if full and not self._better(rank, self.best_k_models[self.kth_best_model_path]):
            if self.verbose:
                rank_zero_info(
                    f"Epoch {trainer.current_epoch}, global step {trainer.global_step}: "
                    f"{self.monitor!r} was not in top {self.save_top_k}"
                )
            return
        gone = self.kth_best_model_path if full else ""
        path = self._free_path(metrics, gone)
        self.best_k_models.pop(gone, None)
        self.best_k_models[path] = rank
        pick_best, pick_worst = (min, max) if self.mode == "min" else (max, min)
        scores = self.best_k_models
        self.kth_best_model_path = pick_worst(scores, key=scores.__getitem__)
        self.best_model_path = pick_best(scores, key=scores.__getitem__)
        self._best_score = scores[self.best_model_path]
        if self.verbose:
            rank_zero_info(
                f"Epoch {trainer.current_epoch}, global step {trainer.global_step}: "
                f"{self.monitor!r} reached {value:0.5f} (best {self._best_score:0.5f}), saving "
                f"model to {path!r} as top {self.save_top_k}"
            )
        self._write(trainer, path)
        if gone and gone != path:
            self._remove(gone)

    def check_monitor_top_k(self, trainer: Trainer, current: Any = None) -> bool:
        """Whether ``current`` is among the best ``save_top_k`` values so far."""
        if current is None:
            return False
        if self.save_top_k == -1 or len(self.best_k_models) < self.save_top_k:
            return True
        return self._better(float(current), self.best_k_models[self.kth_best_model_path])

    def _better(self, value: float, than: float) -> bool:
        return value < than if self.mode == "min" else value > than

    def _save_last(self, trainer: Trainer, metrics: dict[str, float]) -> None:
        before, path = self.last_model_path, self.last_path(metrics)
        self.last_model_path = path
        newest = self._last_saved
        if self.save_last == "link" and newest and os.path.exists(newest) and newest != path:
            _link(newest, path)
        else:
            self._write(trainer, path)
        if before and before != path:
            self._remove(before)

    def last_path(self, metrics: dict[str, float]) -> str:
        """Where ``last`` goes; one that an earlier run left is not written over."""
        name = self.CHECKPOINT_NAME_LAST
        path = self._path(name, metrics)
        version = self.STARTING_VERSION
        while (
            self._enable_version_counter
            and not self._resumed
            and os.path.lexists(path)
            and path != self.last_model_path
        ):
            path = self._path(f"{name}-v{version}", metrics)
            version += 1
        return path

    def _free_path(self, metrics: dict[str, float], gone: str = "") -> str:
        path = self._path(self.filename, metrics)
        if not self._enable_version_counter:
            return path
        base, version = path.removesuffix(self.FILE_EXTENSION), self.STARTING_VERSION
        while self._taken(path) and path != gone:
            path = f"{base}-v{version}{self.FILE_EXTENSION}"
            version += 1
        return path

    def file_exists(self, filepath: str | Path, trainer: Trainer) -> bool:
        """Whether there is such a file."""
        return os.path.exists(filepath)

    def to_yaml(self, filepath: str | Path | None = None) -> None:
        """Writes the paths of the best with their values, to ``best_k_models.yaml`` by default."""
        path = Path(filepath or os.path.join(self.dirpath or "", "best_k_models.yaml"))
        lines = [f"{json.dumps(k)}: {v!r}\n" for k, v in self.best_k_models.items()]
        path.write_text("".join(lines) or "{}\n", encoding="utf-8")

    def _taken(self, path: str) -> bool:
        if self._resumed:
            return path in self.best_k_models or path == self.best_model_path
        return os.path.lexists(path)

    def _write(self, trainer: Trainer, path: str) -> None:
        self._last_step_saved = trainer.global_step
        if path != self.last_model_path:
            self._last_saved = path
        trainer.save_checkpoint(path, self.save_weights_only)

    def _remove(self, path: str) -> None:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)

    # --- names ------------------------------------------------------------------------------

    def format_checkpoint_name(
        self, metrics: dict[str, Any], filename: str | None = None, ver: int | None = None
    ) -> str:
        """The path that the template gives with these values; missing ones are 0."""
        name = self._format(filename or self.filename, metrics)
        if ver is not None:
            name += f"{self.CHECKPOINT_JOIN_CHAR}v{ver}"
        return os.path.join(self._shown, name + self.FILE_EXTENSION)

    def _path(self, template: str | None, metrics: dict[str, float]) -> str:
        name = self._format(template, metrics) + self.FILE_EXTENSION
        return os.path.join(self.dirpath or "", name)

    def _format(self, template: str | None, metrics: dict[str, Any]) -> str:
        template = template or "{epoch}" + self.CHECKPOINT_JOIN_CHAR + "{step}"

        def filled(found: re.Match[str]) -> str:
            name, form = found[1], found[2] or ""
            value = metrics.get(name, 0)
            value = value.item() if hasattr(value, "item") else value
            text = format(value, form[1:])
            return f"{name}{self.CHECKPOINT_EQUALS_CHAR}{text}" if named else text

        named = self.auto_insert_metric_name
        return re.sub(r"\{([^{}:]+)(:[^{}]*)?\}", filled, template)

    # --- its own state ----------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Which checkpoints there are."""
        return {
            "monitor": self.monitor,
            "best_model_score": self.best_model_score,
            "best_model_path": self.best_model_path,
            "current_score": self.current_score,
            "dirpath": self.dirpath,
            "best_k_models": dict(self.best_k_models),
            "kth_best_model_path": self.kth_best_model_path,
            "kth_value": self.kth_value,
            "last_model_path": self.last_model_path,
            "best_score": self._best_score,
            "last_step_saved": self._last_step_saved,
            "last_saved": self._last_saved,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with the checkpoints of a run in the same folder; of another, knows the best."""
        if self.dirpath not in (None, state_dict["dirpath"]):
            rank_zero_warn(
                f"The dirpath has changed from {state_dict['dirpath']!r} to {self.dirpath!r}, "
                "therefore `best_model_score`, `kth_best_model_path`, `kth_value`, "
                "`last_model_path` and `best_k_models` won't be reloaded. Only `best_model_path` "
                "will be reloaded."
            )
        else:
            self.best_k_models = dict(state_dict["best_k_models"])
            self.kth_best_model_path = state_dict["kth_best_model_path"]
            self.last_model_path = state_dict.get("last_model_path", "")
            score = state_dict["best_model_score"]
            score = score.item() if hasattr(score, "item") else score
            self._best_score = state_dict.get("best_score", score)
            self.current_score = state_dict.get("current_score")
            self._last_saved = state_dict.get("last_saved", "")
            self._last_step_saved = state_dict.get("last_step_saved", -1)
            self._resumed = True
        self.best_model_path = state_dict["best_model_path"]


def _link(target: str, path: str) -> None:
    """Makes ``path`` a link to ``target``, in one step."""
    temporary = f"{path}.{os.getpid()}.tmp"
    os.symlink(os.path.relpath(target, os.path.dirname(path)), temporary)
    os.replace(temporary, path)
