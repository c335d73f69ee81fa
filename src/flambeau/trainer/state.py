"""What a trainer is doing, and how its last run ended."""

from __future__ import annotations

import dataclasses
from enum import StrEnum

__all__ = ["STAGES", "RunningStage", "TrainerFn", "TrainerState", "TrainerStatus"]


class TrainerStatus(StrEnum):
    """How far a run is."""

    INITIALIZING = "initializing"
    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"


class TrainerFn(StrEnum):
    """What was called."""

    FITTING = "fit"
    VALIDATING = "validate"
    TESTING = "test"
    PREDICTING = "predict"


class RunningStage(StrEnum):
    """Which loop runs."""

    TRAINING = "train"
    SANITY_CHECKING = "sanity_check"
    VALIDATING = "validate"
    TESTING = "test"
    PREDICTING = "predict"

    @property
    def evaluating(self) -> bool:
        """Whether it is a validation or a test."""
        return self in (self.VALIDATING, self.TESTING, self.SANITY_CHECKING)


# The stage that a call begins with, and that of each kind of evaluation.
STAGES = {
    "fit": RunningStage.TRAINING,
    "validate": RunningStage.VALIDATING,
    "validation": RunningStage.VALIDATING,
    "test": RunningStage.TESTING,
    "predict": RunningStage.PREDICTING,
}


@dataclasses.dataclass
class TrainerState:
    """What a trainer is doing."""

    status: TrainerStatus = TrainerStatus.INITIALIZING
    fn: TrainerFn | None = None
    stage: RunningStage | None = None

    @classmethod
    def of(cls, fn: str) -> TrainerState:
        """The state at the beginning of a run."""
        return cls(TrainerStatus.RUNNING, TrainerFn(fn), STAGES[fn])

    @property
    def finished(self) -> bool:
        """Whether the run went to its end."""
        return self.status is TrainerStatus.FINISHED

    @property
    def stopped(self) -> bool:
        """Whether no run is going on."""
        return self.status in (TrainerStatus.FINISHED, TrainerStatus.INTERRUPTED)
