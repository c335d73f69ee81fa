"""MLFlowLogger: metrics on an MLflow server or in its files."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flambeau.trainer.loggers.hyperparameters import flattened, plain
from flambeau.trainer.loggers.logger import Logger, number, prefixed, rank_zero_experiment
from flambeau.trainer.loggers.packages import checkpoints_of, installed
from flambeau.trainer.utilities.rank_zero import rank_zero_only, rank_zero_warn

if TYPE_CHECKING:
    from flambeau.trainer.callback import Checkpoint

__all__ = ["MLFlowLogger"]

# What the server takes: length of a parameter's value, parameters a call.
_VALUE = 250
_PARAMS = 100
_STATUS = {"success": "FINISHED", "failed": "FAILED", "finished": "FINISHED", "aborted": "KILLED"}


class MLFlowLogger(Logger):
    """Logs to the MLflow experiment ``experiment_name`` through ``mlflow``'s client.

    ``tracking_uri`` is a server or ``file:…``, by default the environment's
    ``MLFLOW_TRACKING_URI``, else ``save_dir``. ``run_id`` goes on with a run; ``log_model`` sends
    checkpoints (True: at the end, "all": each one when it is written). After a resumption the run
    goes on as well; MLflow cannot take a value back, so steps that are made a second time are
    there twice, with the same values.

    Raises: ``ModuleNotFoundError`` saying what to install if ``mlflow`` is not there.
    """

    LOGGER_JOIN_CHAR = "-"

    def __init__(
        self,
        experiment_name: str = "lightning_logs",
        run_name: str | None = None,
        tracking_uri: str | None = None,
        tags: Mapping[str, Any] | None = None,
        save_dir: str | None = "./mlruns",
        log_model: bool | str = False,
        prefix: str = "",
        artifact_location: str | None = None,
        run_id: str | None = None,
        checkpoint_path_prefix: str = "",
        synchronous: bool | None = None,
    ) -> None:
        self._mlflow = installed("mlflow", "MLFlowLogger")
        uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        self._tracking_uri = uri or f"file:{save_dir}"
        self._experiment_name = experiment_name
        self._experiment_id: str | None = None
        self._run_name = run_name
        self._run_id = run_id
        self._tags = dict(tags or {})
        self._log_model = log_model
        self._logged_times: dict[str, float] = {}
        self._checkpoint_callback: Any = None
        self._prefix = prefix
        self._artifact_location = artifact_location
        self._checkpoint_path_prefix = checkpoint_path_prefix
        self._client = self._mlflow.tracking.MlflowClient(self._tracking_uri)
        self._opened = False
        # Whether a call waits until the server has it; the package's own default if it is None.
        self._waits = {} if synchronous is None else {"synchronous": synchronous}

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The ``MlflowClient``; the run is there from the first use."""
        if not self._opened:
            self._opened = True
            if self._run_id is None:
                self._create_run()
            else:
                run = self._client.get_run(self._run_id)
                self._experiment_id = run.info.experiment_id
        return self._client

    def _create_run(self) -> None:
        found = self._client.get_experiment_by_name(self._experiment_name)
        self._experiment_id = (
            self._client.create_experiment(
                name=self._experiment_name, artifact_location=self._artifact_location
            )
            if found is None
            else found.experiment_id
        )
        tags = dict(self._tags)
        if self._run_name is not None:
            tags.setdefault("mlflow.runName", self._run_name)
        run = self._client.create_run(experiment_id=self._experiment_id, tags=tags)
        self._run_id = run.info.run_id

    @property
    def run_id(self) -> str | None:
        """The run's id."""
        _ = self.experiment
        return self._run_id

    @property
    def experiment_id(self) -> str | None:
        """The experiment's id."""
        _ = self.experiment
        return self._experiment_id

    @property
    def name(self) -> str | None:
        """The experiment's id."""
        return self.experiment_id

    @property
    def version(self) -> str | None:
        """The run's id."""
        return self.run_id

    @property
    def save_dir(self) -> str | None:
        """Where MLflow's files are; None on a server."""
        kept_here = self._tracking_uri.startswith("file:")
        return self._tracking_uri.removeprefix("file:") if kept_here else None

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Logs numbers; strings are left out with a warning, characters that MLflow does not take
        in names become spaces.
        """
        entity = self._mlflow.entities.Metric
        now = int(time.time() * 1000)
        found = []
        for name, given in prefixed(metrics, self._prefix).items():
            if isinstance(given, str):
                rank_zero_warn(f"Discarding metric with string value {name}={given}.")
                continue
            allowed = re.sub(r"[^a-zA-Z0-9_/. -]+", " ", name)
            if allowed != name:
                rank_zero_warn(f"MLflow does not take the name {name!r}: it becomes {allowed!r}.")
            found.append(entity(key=allowed, value=number(given), timestamp=now, step=step or 0))
        client = self.experiment
        client.log_batch(run_id=self._run_id, metrics=found, **self._waits)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Logs parameters, cut to the 250 characters that MLflow takes."""
        client = self.experiment
        entity = self._mlflow.entities.Param
        found = [
            entity(key=name, value=str(value)[:_VALUE])
            for name, value in flattened(plain(params)).items()
        ]
        for i in range(0, len(found), _PARAMS):
            client.log_batch(run_id=self._run_id, params=found[i : i + _PARAMS], **self._waits)

    def after_save_checkpoint(self, checkpoint_callback: Checkpoint) -> None:
        """With ``log_model="all"`` sends the checkpoint; with True at the end."""
        if self._log_model == "all":
            self._send_checkpoints(checkpoint_callback)
        elif self._log_model is True:
            self._checkpoint_callback = checkpoint_callback

    @rank_zero_only
    def _send_checkpoints(self, callback: Any) -> None:
        for modified, path, _, aliases in checkpoints_of(callback, self._logged_times):
            stem = Path(path).stem
            folder = os.path.join(self._checkpoint_path_prefix, "model", "checkpoints", stem)
            client = self.experiment
            client.log_artifact(self._run_id, path, folder)
            client.set_tag(self._run_id, f"checkpoint.{stem}", ",".join(aliases))
            self._logged_times[path] = modified

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Sends checkpoints that wait, ends the run; nothing if nothing was ever logged."""
        if not self._opened:
            return
        if self._checkpoint_callback is not None:
            self._send_checkpoints(self._checkpoint_callback)
        if self._client.get_run(self._run_id):
            self._client.set_terminated(self._run_id, _STATUS.get(status, "FINISHED"))

    def state_dict(self) -> dict[str, Any]:
        """The run's id."""
        return {"run_id": self.run_id} if rank_zero_only.rank == 0 else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with the run; the one that was opened meanwhile, if any, is ended."""
        wanted = state_dict.get("run_id")
        if wanted is None or wanted == self._run_id:
            return
        if self._opened:
            self._client.set_terminated(self._run_id, "KILLED")
        self._run_id, self._opened = wanted, False
