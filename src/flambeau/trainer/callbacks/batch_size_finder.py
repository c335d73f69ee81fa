"""BatchSizeFinder: the largest batch that fits into memory, from some trials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from flambeau.trainer.callback import Callback
from flambeau.trainer.callbacks.device_stats_monitor import memory_available, memory_used
from flambeau.trainer.rehearsal import (
    Rehearsal,
    attribute_owner,
    configure_again,
    get_attribute,
    set_attribute,
)
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.trainer.utilities.rank_zero import rank_zero_info, rank_zero_warn

if TYPE_CHECKING:
    from flambeau.trainer.module import LightningModule
    from flambeau.trainer.trainer import Trainer

__all__ = ["BatchSizeFinder"]


class _Memory(Callback):
    """Notes the most memory in use after a step."""

    def __init__(self) -> None:
        self.most = 0

    def on_train_batch_end(self, *_: Any) -> None:
        self.most = max(self.most, memory_used())


class BatchSizeFinder(Callback):
    """Tries larger and larger batches before training, and takes the largest that fits.

    Args:
        mode: "power" doubles until memory is exhausted; "binsearch" then looks between the last
            two.
        steps_per_trial: how many training steps a trial has.
        init_val, max_val: the first size, and the largest.
        max_trials: how many trials at most.
        batch_arg_name: the attribute of the module, the data module or their ``hparams`` that
            ``train_dataloader()`` makes its batches by.
        margin: "binsearch" takes so large a share off.

    Memory is exhausted if a step raises ``MemoryError`` or says "out of memory", and before it is:
    if twice what a trial took is not to be had, since systems that hand out more memory than there
    is kill the process instead. A size is never larger than the data set. ``optimal_batch_size``
    is the result; training begins from exactly the state that it would have begun from without
    trials.

    Raises: ``MisconfigurationException`` without the attribute, or if the loaders were given to
    ``fit``; ``ValueError`` for another mode.

    Reference: Lightning's callback of this name.

    >>> from flambeau.trainer.callbacks import BatchSizeFinder
    >>> finder = BatchSizeFinder(mode="binsearch", max_val=512)
    """

    SUPPORTED_MODES = ("power", "binsearch")

    def __init__(
        self,
        mode: Literal["power", "binsearch"] = "power",
        steps_per_trial: int = 3,
        init_val: int = 2,
        max_trials: int = 25,
        batch_arg_name: str = "batch_size",
        margin: float = 0.05,
        max_val: int = 8192,
    ) -> None:
        if mode not in self.SUPPORTED_MODES:
            raise ValueError(f"`mode` should be one of {self.SUPPORTED_MODES}.")
        if not 0 <= margin < 1:
            raise ValueError(f"`margin` should be between 0 and 1. Found {margin}")
        self._mode = mode
        self._steps_per_trial = steps_per_trial
        self._init_val = init_val
        self._max_trials = max_trials
        self._batch_arg_name = batch_arg_name
        self._margin = margin
        self._max_val = max_val
        self.optimal_batch_size: int | None = init_val
        self._trials = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Runs the trials."""
        self.scale_batch_size(trainer, pl_module)

    def scale_batch_size(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The trials; afterwards the attribute is set."""
        if trainer.fast_dev_run:
            rank_zero_warn("Skipping batch size scaler since `fast_dev_run` is enabled.")
            return
        name = self._batch_arg_name
        owner = attribute_owner(trainer, name)
        if owner is None:
            raise MisconfigurationException(
                f"Field {name} not found in `model`, `datamodule`, nor their `hparams` attributes."
            )
        if "train_dataloader" in trainer._given:
            raise MisconfigurationException(
                "The batch scaling feature cannot be used with dataloaders passed directly to "
                "`.fit()`. Please disable the feature or incorporate the dataloader into the model."
            )
        before = get_attribute(owner, name)
        self._trials = 0
        try:
            found = self._search(trainer, owner)
        except BaseException:
            set_attribute(owner, name, before)
            raise
        if found is None:
            set_attribute(owner, name, before)
            raise MisconfigurationException(
                f"BatchSizeFinder: not even a batch of {self._init_val} fits into memory"
            )
        self.optimal_batch_size = found
        set_attribute(owner, name, found)
        # Schedules may go by the number of batches.
        configure_again(trainer)
        rank_zero_info(f"Finished batch size finder, will continue with full run, {name}={found}")

    def _search(self, trainer: Trainer, owner: Any) -> int | None:
        """The largest size that fits; None if none does."""
        size, good, bad, limit = self._init_val, None, None, self._max_val
        while self._trials < self._max_trials:
            size = min(size, limit)
            fits, room, samples = self._fits(trainer, owner, size)
            if samples is not None:
                limit = min(limit, samples)
                size = min(size, limit)
            if fits:
                good = size
            else:
                bad = size
            if good == limit or (bad is not None and self._mode == "power"):
                break
            if bad is None:
                if not room:
                    break
                size *= 2
                continue
            low = good or 0
            if bad - low <= 1:
                break
            size = (low + bad) // 2
        if good is not None and bad is not None and self._mode == "binsearch":
            good = max(1, int(good * (1 - self._margin)))
        return good

    def _fits(self, trainer: Trainer, owner: Any, size: int) -> tuple[bool, bool, int | None]:
        """Whether a size fits, whether twice as much would, and how many samples there are."""
        self._trials += 1
        set_attribute(owner, self._batch_arg_name, size)
        rehearsal, memory = Rehearsal(trainer), _Memory()
        samples = None
        before = memory_used()
        with rehearsal.apart():
            try:
                rehearsal.run(self._steps_per_trial, memory)
            except (MemoryError, RuntimeError) as error:
                if not _is_exhausted(error):
                    raise
                return False, False, None
            finally:
                data = getattr(trainer.fit_loop.loader, "dataset", None)
                if hasattr(data, "__len__"):
                    samples = len(data)
        free = memory_available()
        room = free is None or 2 * max(memory.most - before, 0) < free
        rank_zero_info(f"Batch size {size} succeeded")
        return True, room, samples


def _is_exhausted(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate" in text
