"""WandbLogger: metrics at Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flambeau.trainer.loggers.hyperparameters import flattened, plain
from flambeau.trainer.loggers.logger import Logger, number, prefixed, rank_zero_experiment
from flambeau.trainer.loggers.packages import checkpoints_of, installed
from flambeau.trainer.utilities.rank_zero import rank_zero_only

if TYPE_CHECKING:
    from flambeau.nn import Module
    from flambeau.trainer.callback import Checkpoint

__all__ = ["WandbLogger"]

_STEP = "trainer/global_step"


class WandbLogger(Logger):
    """Logs to a run of Weights & Biases through the package ``wandb``.

    ``version`` or ``id`` goes on with a run, ``offline`` keeps it on this machine, ``experiment``
    is a run made already; ``log_model`` sends checkpoints (True: at the end, "all": each one when
    it is written); further arguments are those of ``wandb.init``. After a resumption the run goes
    on as well; a value cannot be taken back, so steps that are made a second time are there twice,
    with the same values.

    Raises: ``ModuleNotFoundError`` saying what to install if ``wandb`` is not there.
    """

    LOGGER_JOIN_CHAR = "-"

    def __init__(
        self,
        name: str | None = None,
        save_dir: str | os.PathLike[str] = ".",
        version: str | None = None,
        offline: bool = False,
        dir: str | os.PathLike[str] | None = None,
        id: str | None = None,
        anonymous: bool | None = None,
        project: str | None = None,
        log_model: str | bool = False,
        experiment: Any = None,
        prefix: str = "",
        checkpoint_name: str | None = None,
        add_file_policy: str = "mutable",
        **kwargs: Any,
    ) -> None:
        self._wandb = installed("wandb", "WandbLogger")
        self._offline = offline
        self._log_model = log_model
        self._prefix = prefix
        self._experiment = experiment
        self._given = experiment is not None or bool(version or id)
        self._axis = False
        self._logged_times: dict[str, float] = {}
        self._checkpoint_callback: Any = None
        self._checkpoint_name = checkpoint_name
        # The package's own default needs no word: older versions do not know the argument.
        self._add_file = {} if add_file_policy == "mutable" else {"policy": add_file_policy}
        folder = os.fspath(save_dir if dir is None else dir)
        self._save_dir = folder
        self._options: dict[str, Any] = {
            "name": name,
            "project": project or os.environ.get("WANDB_PROJECT", "lightning_logs"),
            "dir": folder,
            "id": version or id,
            "resume": "allow",
            "anonymous": "allow" if anonymous else None,
            **kwargs,
        }
        if offline:
            self._options["mode"] = "offline"

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run of ``wandb``; it begins at the first use."""
        if self._experiment is None:
            if self._wandb.run is not None and self._options["id"] is None:
                # A run that the script began itself.
                self._experiment = self._wandb.run
            else:
                os.makedirs(self._save_dir, exist_ok=True)
                self._experiment = self._wandb.init(**self._options)
        run = self._experiment
        if not self._axis:
            self._axis = True
            run.define_metric(_STEP)
            run.define_metric("*", step_metric=_STEP, step_sync=True)
        return run

    @property
    def name(self) -> str | None:
        """The project."""
        return self._options["project"]

    @property
    def version(self) -> str | None:
        """The run's id; None before the run began, if none was given."""
        return self._options["id"] if self._experiment is None else self._experiment.id

    @property
    def save_dir(self) -> str:
        """Where ``wandb`` keeps its files."""
        return self._save_dir

    def watch(
        self, model: Module, log: str | None = "gradients", log_freq: int = 100, **kwargs: Any
    ) -> None:
        """Has ``wandb`` log histograms of gradients or parameters."""
        self.experiment.watch(model, log=log, log_freq=log_freq, **kwargs)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Adds to the run's configuration."""
        self.experiment.config.update(flattened(plain(params)), allow_val_change=True)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Logs numbers over the trainer's steps."""
        row = {name: number(v) for name, v in prefixed(metrics, self._prefix).items()}
        self.experiment.log(row if step is None else {**row, _STEP: step})

    def log_text(
        self,
        key: str,
        columns: list[str] | None = None,
        data: list[list[Any]] | None = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        """Logs a table of texts."""
        self.log_table(key, columns, data, dataframe, step)

    @rank_zero_only
    def log_table(
        self,
        key: str,
        columns: list[str] | None = None,
        data: list[list[Any]] | None = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        """Logs a table."""
        table = self._wandb.Table(columns=columns, data=data, dataframe=dataframe)
        self._log_objects({key: table}, step)

    @rank_zero_only
    def log_image(
        self, key: str, images: Sequence[Any], step: int | None = None, **kwargs: Any
    ) -> None:
        """Logs pictures; further arguments are lists with a value for each of them."""
        self._log_media("Image", key, images, step, kwargs)

    @rank_zero_only
    def log_audio(
        self, key: str, audios: Sequence[Any], step: int | None = None, **kwargs: Any
    ) -> None:
        """Logs sounds; further arguments are lists with a value for each of them."""
        self._log_media("Audio", key, audios, step, kwargs)

    @rank_zero_only
    def log_video(
        self, key: str, videos: Sequence[Any], step: int | None = None, **kwargs: Any
    ) -> None:
        """Logs videos; further arguments are lists with a value for each of them."""
        self._log_media("Video", key, videos, step, kwargs)

    def _log_media(
        self, kind: str, key: str, values: Sequence[Any], step: int | None, options: dict[str, Any]
    ) -> None:
        if not isinstance(values, list):
            raise TypeError(f'Expected a list as "{kind.lower()}s", found {type(values)}')
        for name, each in options.items():
            if len(each) != len(values):
                raise ValueError(
                    f"Expected {len(values)} items but only found {len(each)} for {name}"
                )
        make = getattr(self._wandb, kind)
        made = [
            make(value, **{name: each[i] for name, each in options.items()})
            for i, value in enumerate(values)
        ]
        self._log_objects({key: made}, step)

    def _log_objects(self, row: dict[str, Any], step: int | None) -> None:
        row = prefixed(row, self._prefix)
        self.experiment.log(row if step is None else {**row, _STEP: step})

    # --- checkpoints ------------------------------------------------------------------------

    def after_save_checkpoint(self, checkpoint_callback: Checkpoint) -> None:
        """With ``log_model="all"`` sends the checkpoint; with True at the end."""
        if self._log_model == "all":
            self._send_checkpoints(checkpoint_callback)
        elif self._log_model is True:
            self._checkpoint_callback = checkpoint_callback

    @rank_zero_only
    def _send_checkpoints(self, callback: Any) -> None:
        for modified, path, score, aliases in checkpoints_of(callback, self._logged_times):
            run = self.experiment
            artifact = self._wandb.Artifact(
                name=self._checkpoint_name or f"model-{run.id}",
                type="model",
                metadata={"score": number(score), "original_filename": Path(path).name},
            )
            artifact.add_file(path, name="model.ckpt", **self._add_file)
            run.log_artifact(artifact, aliases=aliases)
            self._logged_times[path] = modified

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Sends checkpoints that wait, if the run succeeded; the run of ``wandb`` stays open."""
        if status == "success" and self._checkpoint_callback is not None:
            self._send_checkpoints(self._checkpoint_callback)

    def state_dict(self) -> dict[str, Any]:
        """The run's id."""
        if rank_zero_only.rank != 0:
            return {}
        return {"id": self.experiment.id}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with the run, unless this logger was told which run it is; one that was begun
        meanwhile is ended.
        """
        wanted = state_dict.get("id")
        if wanted is None or self._given or wanted == self.version:
            return
        if self._experiment is not None:
            self._experiment.finish()
        self._experiment, self._axis = None, False
        self._options["id"] = wanted
