"""Loggers that keep files: ``save_dir/name/version_N``."""

from __future__ import annotations

import os
import re
import shutil
from typing import Any

from flambeau.trainer.loggers.hyperparameters import plain, write_yaml
from flambeau.trainer.loggers.logger import Logger
from flambeau.trainer.utilities.rank_zero import rank_zero_only, rank_zero_warn

__all__ = ["DirectoryLogger"]


class DirectoryLogger(Logger):
    """A logger with a directory for each version, and the hyper-parameters in ``hparams.yaml``.

    Without a ``version`` it is one more than the greatest that is there. ``load_state_dict`` then
    leaves the log it goes on from as it is, and copies it to the new version up to the checkpoint;
    with the version of that log, the log itself is cut.
    """

    NAME_HPARAMS_FILE = "hparams.yaml"

    def __init__(
        self,
        save_dir: str | os.PathLike[str],
        name: str | None = "lightning_logs",
        version: int | str | None = None,
        prefix: str = "",
    ) -> None:
        self._save_dir = os.fspath(save_dir)
        self._name = name or ""
        self._version = version
        self._prefix = prefix
        self.hparams: dict[str, Any] = {}
        self._written: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """The directory of all versions, below ``save_dir``."""
        return self._name

    @property
    def version(self) -> int | str:
        """The version; by default one more than the greatest there is."""
        if self._version is None:
            self._version = self._next_version()
        return self._version

    @property
    def save_dir(self) -> str:
        """The directory that all runs are below."""
        return self._save_dir

    @property
    def root_dir(self) -> str:
        """The directory of all versions."""
        return os.path.join(self.save_dir, self.name)

    @property
    def log_dir(self) -> str:
        """The directory of this version."""
        version = self.version
        folder = version if isinstance(version, str) else f"version_{version}"
        return os.path.join(self.root_dir, folder)

    def _next_version(self) -> int:
        try:
            names = os.listdir(self.root_dir)
        except FileNotFoundError:
            return 0
        taken = [int(m[1]) for m in (re.fullmatch(r"version_(\d+)", n) for n in names) if m]
        return max(taken, default=-1) + 1

    @rank_zero_only
    def save(self) -> None:
        """Writes the hyper-parameters, and what waits."""
        if self._written == self.hparams or not (self.hparams or os.path.isdir(self.log_dir)):
            return
        os.makedirs(self.log_dir, exist_ok=True)
        write_yaml(os.path.join(self.log_dir, self.NAME_HPARAMS_FILE), self.hparams)
        self._written = dict(self.hparams)

    def _note_hyperparams(self, params: Any) -> None:
        self.hparams.update(plain(params))

    # --- resumption -------------------------------------------------------------------------

    def _source(self, state: dict[str, Any], exists: bool) -> str | None:
        """Where the log is that a checkpoint speaks of; None if it is gone.

        ``exists``: this logger's own directory has a log of before.
        """
        before = state["log_dir"]
        own = os.path.abspath(self.log_dir)
        if before == own and exists:
            return own
        if os.path.isdir(before):
            if not exists:
                return before
            rank_zero_warn(
                f"{own} has the log of another run than the checkpoint, whose log is in {before}: "
                "what is logged now is added to it."
            )
            return None
        if exists:
            # The directory of all runs was moved since.
            return own
        rank_zero_warn(
            f"the log of the run that goes on, {before}, is not there: this one begins in the "
            "middle."
        )
        return None


def copy_beginning(source: str, target: str, size: int) -> None:
    """Makes ``target`` the first ``size`` bytes of ``source``, in one step."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    part = f"{target}.{os.getpid()}"
    with open(source, "rb") as old, open(part, "wb") as new:
        shutil.copyfileobj(old, new)
        new.truncate(min(size, new.tell()))
    os.replace(part, target)
