"""SpikeDetection: stops training when the loss jumps."""

from __future__ import annotations

import json
import os
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flambeau.trainer.callback import Callback

if TYPE_CHECKING:
    from flambeau.trainer.module import LightningModule
    from flambeau.trainer.trainer import Trainer

__all__ = ["SpikeDetection", "TrainingSpikeException"]


class TrainingSpikeException(RuntimeError):
    """The loss of the batch ``batch_idx`` jumped."""

    def __init__(self, batch_idx: int) -> None:
        super().__init__(f"Training spike detected in batch {batch_idx}")
        self.batch_idx = batch_idx


class SpikeDetection(Callback):
    """Stops with ``TrainingSpikeException`` when the loss jumps away from its recent mean.

    It jumps if it got worse than at the step before, and its distance from the mean over the last
    ``window`` steps is at least ``atol`` and at least ``rtol`` times that mean (None: no such
    condition). The numbers of the batch and the one before it, which may have led to it, are added
    to ``skip_batches.json`` in the folder ``exclude_batches_path`` (by default the present one), so
    that a new run can leave them out.

    Args:
        mode: "min" if less loss is better, or "max".
        warmup: the first batch that may be a spike.
        finite_only: accepted: training stops at NaN and infinite losses in any case.

    Reference: Lightning's callback of this name.

    >>> from flambeau.trainer.callbacks import SpikeDetection
    >>> spikes = SpikeDetection(window=3, rtol=1.0)
    >>> [spikes.is_spike(loss) for loss in (1.0, 1.2, 1.1, 2.5)]
    [False, False, False, True]
    """

    def __init__(
        self,
        mode: Literal["min", "max"] = "min",
        window: int = 10,
        warmup: int = 1,
        atol: float | None = None,
        rtol: float | None = 2.0,
        exclude_batches_path: str | Path | None = None,
        finite_only: bool = True,
    ) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"Invalid mode. Has to be min or max, found {mode}")
        self.mode = mode
        self.warmup = warmup
        self.atol = atol
        self.rtol = rtol
        self.exclude_batches_path = exclude_batches_path
        self.finite_only = finite_only
        self.bad_batches: list[int] = []
        self._losses: deque[float] = deque(maxlen=window)

    def is_spike(self, loss: float) -> bool:
        """Whether a loss jumped; one that did not is among those the next is compared with."""
        spike = bool(self._losses) and self._jumped(loss)
        if not spike:
            self._losses.append(loss)
        return spike

    def _jumped(self, loss: float) -> bool:
        worse = loss - self._losses[-1]
        if (worse if self.mode == "min" else -worse) <= 0:
            return False
        mean = sum(self._losses) / len(self._losses)
        distance = abs(loss - mean)
        return (self.atol is None or distance >= abs(self.atol)) and (
            self.rtol is None or distance >= abs(self.rtol * mean)
        )

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Looks at the loss."""
        if "loss" not in outputs:
            return
        loss = float(outputs["loss"])
        if batch_idx < self.warmup:
            self._losses.append(loss)
        elif self.is_spike(loss):
            self.bad_batches += [batch_idx - 1, batch_idx]
            folder = os.fspath(self.exclude_batches_path or os.getcwd())
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, "skip_batches.json"), "w", encoding="utf-8") as file:
                json.dump(self.bad_batches, file, indent=4)
            raise TrainingSpikeException(batch_idx)

    def state_dict(self) -> dict[str, Any]:
        """The recent losses, and the batches that were left out."""
        return {"losses": list(self._losses), "bad_batches": list(self.bad_batches)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with the recent losses."""
        self._losses.extend(state_dict["losses"])
        self.bad_batches = list(state_dict["bad_batches"])
