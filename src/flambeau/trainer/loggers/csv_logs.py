"""CSVLogger: metrics as a table in a file."""

from __future__ import annotations

import csv
import io
import os
from typing import Any

from flambeau.trainer.loggers.directories import DirectoryLogger
from flambeau.trainer.loggers.logger import number, prefixed, rank_zero_experiment
from flambeau.trainer.utilities.rank_zero import rank_zero_only, rank_zero_warn

__all__ = ["CSVLogger", "ExperimentWriter"]


class ExperimentWriter:
    """The table of one run, ``metrics.csv``: a row for each call, a column for each metric.

    Columns are in alphabetical order, ``step`` among them. Rows are appended; when a new metric
    comes the file is written anew. Either way a reader, or a kill, finds whole rows.
    """

    NAME_METRICS_FILE = "metrics.csv"

    def __init__(self, log_dir: str | os.PathLike[str]) -> None:
        self.log_dir = os.fspath(log_dir)
        self.metrics_file_path = os.path.join(self.log_dir, self.NAME_METRICS_FILE)
        # What is not in the file yet.
        self.metrics: list[dict[str, Any]] = []
        self.metrics_keys: list[str] = []
        self.hparams: dict[str, Any] = {}
        self.rows = 0

    def log_hparams(self, params: dict[str, Any]) -> None:
        """Takes hyper-parameters."""
        self.hparams.update(params)

    def log_metrics(self, metrics_dict: dict[str, Any], step: int | None = None) -> None:
        """Takes a row; without a step, its number among those that wait is its step."""
        step = len(self.metrics) if step is None else step
        row = {name: number(value) for name, value in metrics_dict.items()}
        self.metrics.append({**row, "step": step})

    def save(self) -> None:
        """Writes the rows that wait."""
        if not self.metrics:
            return
        if not self.rows and os.path.exists(self.metrics_file_path):
            rank_zero_warn(f"the log that was in {self.metrics_file_path} is written over")
        columns = sorted({*self.metrics_keys, *(k for row in self.metrics for k in row)})
        if columns == self.metrics_keys:
            self._append(self.metrics)
        else:
            old = self.read() if self.rows else []
            self.metrics_keys = columns
            self._replace([*old, *self.metrics])
        self.rows += len(self.metrics)
        self.metrics = []

    def read(self) -> list[dict[str, str]]:
        """The rows that are in the file, those cut short by a kill left out."""
        try:
            with open(self.metrics_file_path, newline="", encoding="utf-8") as file:
                text = file.read()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind("\n") + 1]
        rows = list(csv.reader(io.StringIO(whole, newline="")))
        return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]] if rows else []

    def continue_from(self, source: str, rows: int, columns: list[str]) -> None:
        """Takes over the first ``rows`` rows of the table in ``source``."""
        self.metrics, self.metrics_keys, self.rows = [], columns, rows
        if not rows:
            if os.path.exists(self.metrics_file_path):
                os.remove(self.metrics_file_path)
            return
        kept = ExperimentWriter(source).read()[:rows]
        self.rows = len(kept)
        self._replace([{k: row.get(k, "") for k in columns} for row in kept])

    def _text(self, rows: list[dict[str, Any]]) -> list[bytes]:
        """The rows as lines of the file."""
        lines = []
        for row in rows:
            out = io.StringIO()
            writer = csv.DictWriter(out, self.metrics_keys, lineterminator="\n")
            writer.writerow(row)
            lines.append(out.getvalue().encode())
        return lines

    def _append(self, rows: list[dict[str, Any]]) -> None:
        file = os.open(self.metrics_file_path, os.O_WRONLY | os.O_APPEND)
        try:
            # A row a call: the system finishes what is shorter than a page before it kills.
            for line in self._text(rows):
                if os.write(file, line) != len(line):
                    raise OSError(f"{self.metrics_file_path}: a row was written in part")
        finally:
            os.close(file)

    def _replace(self, rows: list[dict[str, Any]]) -> None:
        os.makedirs(self.log_dir, exist_ok=True)
        header = {k: k for k in self.metrics_keys}
        part = f"{self.metrics_file_path}.{os.getpid()}"
        with open(part, "wb") as file:
            file.writelines(self._text([header, *rows]))
        os.replace(part, self.metrics_file_path)


class CSVLogger(DirectoryLogger):
    """Writes ``save_dir/name/version_N/metrics.csv`` and ``hparams.yaml``, as Lightning's does.

    Rows wait in memory until ``step + 1`` is a multiple of ``flush_logs_every_n_steps``, a
    checkpoint is written, or the run ends.

    >>> import tempfile
    >>> from flambeau.trainer.loggers import CSVLogger
    >>> logger = CSVLogger(tempfile.mkdtemp(), name="net")
    >>> logger.log_metrics({"loss": torch.tensor(0.5)}, step=3)
    >>> logger.save()
    >>> logger.experiment.read()
    [{'loss': '0.5', 'step': '3'}]
    """

    LOGGER_JOIN_CHAR = "-"

    def __init__(
        self,
        save_dir: str | os.PathLike[str],
        name: str | None = "lightning_logs",
        version: int | str | None = None,
        prefix: str = "",
        flush_logs_every_n_steps: int = 100,
    ) -> None:
        super().__init__(save_dir, name, version, prefix)
        self._flush_logs_every_n_steps = flush_logs_every_n_steps
        self._experiment: ExperimentWriter | None = None

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """The table."""
        if self._experiment is None:
            self._experiment = ExperimentWriter(self.log_dir)
        return self._experiment

    @rank_zero_only
    def log_hyperparams(self, params: Any = None, *args: Any, **kwargs: Any) -> None:
        """Keeps hyper-parameters for ``hparams.yaml``."""
        self._note_hyperparams(params)
        self.experiment.log_hparams(self.hparams)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Adds a row."""
        table = self.experiment
        table.log_metrics(prefixed(metrics, self._prefix), step)
        done = len(table.metrics) if step is None else step + 1
        if done % self._flush_logs_every_n_steps == 0:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Writes the rows that wait, and the hyper-parameters."""
        super().save()
        self.experiment.save()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Writes what waits; nothing if nothing was ever logged."""
        if self._experiment is not None:
            self.save()

    def state_dict(self) -> dict[str, Any]:
        """The rows and columns that are in the table."""
        if rank_zero_only.rank != 0:
            return {}
        table = self.experiment
        table.save()
        return {
            "log_dir": os.path.abspath(self.log_dir),
            "rows": table.rows,
            "columns": list(table.metrics_keys),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the table up as it was then: in this version's directory if it is there, else as a
        copy.
        """
        if rank_zero_only.rank != 0 or not state_dict:
            return
        table = self.experiment
        before = not table.rows and os.path.exists(table.metrics_file_path)
        source = self._source(state_dict, before)
        if source is not None:
            table.continue_from(source, state_dict["rows"], list(state_dict["columns"]))
