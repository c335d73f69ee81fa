"""StochasticWeightAveraging: the mean of the weights over the last epochs."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import flambeau
from flambeau.optim.swa_utils import SWALR, AveragedModel
from flambeau.trainer.callback import Callback
from flambeau.trainer.evaluation import Mover
from flambeau.trainer.optimizers import Schedule
from flambeau.trainer.results import Results
from flambeau.trainer.utilities.combined_loader import batches_of
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.trainer.utilities.rank_zero import rank_zero_info, rank_zero_warn

if TYPE_CHECKING:
    from flambeau.trainer.module import LightningModule
    from flambeau.trainer.trainer import Trainer

__all__ = ["StochasticWeightAveraging"]


class StochasticWeightAveraging(Callback):
    """Averages the weights at the ends of the last epochs [Izmailov et al. 2018].

    From ``swa_epoch_start`` on the learning rate goes to ``swa_lrs`` in ``annealing_epochs`` epochs
    and stays there. When training is over the module gets the mean of its weights, and the running
    statistics of batch normalisation are taken anew with them, by ``training_step`` on the training
    data.

    Args:
        swa_lrs: the learning rate, or one for each group.
        swa_epoch_start: the first epoch (from 1), or a fraction of ``max_epochs``.
        annealing_epochs, annealing_strategy: how long, and along a "cos" or "linear" curve.
        avg_fn: ``avg_fn(average, weight, count)``; the plain mean by default.
        device: where the mean is kept.

    Raises: ``MisconfigurationException`` for arguments out of range, no ``max_epochs``, several
    optimizers or schedules.

    >>> from flambeau.trainer.callbacks import StochasticWeightAveraging
    >>> swa = StochasticWeightAveraging(swa_lrs=1e-2)
    """

    def __init__(
        self,
        swa_lrs: float | list[float],
        swa_epoch_start: int | float = 0.8,
        annealing_epochs: int = 10,
        annealing_strategy: Literal["cos", "linear"] = "cos",
        avg_fn: Callable[[Any, Any, Any], Any] | None = None,
        device: Any = None,
    ) -> None:
        whole = isinstance(swa_epoch_start, int) and swa_epoch_start >= 1
        if not whole and not (isinstance(swa_epoch_start, float) and 0 <= swa_epoch_start <= 1):
            raise MisconfigurationException(
                "swa_epoch_start should be a >0 integer or a float between 0 and 1."
            )
        rates = swa_lrs if isinstance(swa_lrs, list) else [swa_lrs]
        if not rates or not all(isinstance(rate, float) and rate > 0 for rate in rates):
            raise MisconfigurationException(
                "The `swa_lrs` should a positive float, or a list of positive floats"
            )
        if avg_fn is not None and not callable(avg_fn):
            raise MisconfigurationException("The `avg_fn` should be callable.")
        self._start = swa_epoch_start
        self._rates = swa_lrs
        self._annealing_epochs = annealing_epochs
        self._annealing_strategy = annealing_strategy
        self._avg_fn = avg_fn
        self._device = device
        self._average: AveragedModel | None = None
        self._last_epoch = -1
        self._loaded: dict[str, Any] | None = None

    def swa_start(self, trainer: Trainer) -> int:
        """The first epoch, from 0, that is averaged."""
        start = self._start
        if isinstance(start, float):
            start = int(trainer.max_epochs * start)
        return max(start - 1, 0)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks; a run that is resumed in the middle gets its schedule, before states come."""
        if trainer.max_epochs < 0:
            raise MisconfigurationException(
                "SWA needs `Trainer(max_epochs=...)` to know when to begin"
            )
        if len(trainer.optimizers) != 1:
            raise MisconfigurationException("SWA currently works with 1 `optimizer`.")
        if len(trainer.lr_scheduler_configs) > 1:
            raise MisconfigurationException(
                "SWA currently not supported for more than 1 `lr_scheduler`."
            )
        self._average, self._last_epoch = None, -1
        if self._loaded is not None:
            state, self._loaded = self._loaded, None
            self._begin(trainer, pl_module)
            assert self._average is not None
            self._average.load_state_dict(state["average"])
            self._last_epoch = state["last_epoch"]

    def _begin(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on the rate is SWA's, and there is a mean."""
        self._average = AveragedModel(pl_module, device=self._device, avg_fn=self._avg_fn)
        self._average.requires_grad_(False)
        schedule = SWALR(
            trainer.optimizers[0],
            swa_lr=self._rates,
            anneal_epochs=self._annealing_epochs,
            anneal_strategy=self._annealing_strategy,
        )
        if trainer.lr_scheduler_configs:
            rank_zero_info(
                f"Swapping scheduler `{type(trainer.lr_scheduler_configs[0].scheduler).__name__}` "
                "for `SWALR`"
            )
        trainer.lr_scheduler_configs[:] = [Schedule(schedule, interval="epoch")]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins, in its epoch."""
        if self._average is None and trainer.current_epoch >= self.swa_start(trainer):
            self._begin(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the weights in."""
        if self._average is not None and trainer.current_epoch > self._last_epoch:
            self._average.update_parameters(pl_module)
            self._last_epoch = trainer.current_epoch

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gives the module the mean, and batch normalisation its statistics."""
        average = self._average
        if average is None or not int(average.n_averaged):
            rank_zero_warn("SWA: training ended before any weights were averaged")
            return
        with flambeau.no_grad():
            for mine, mean in zip(pl_module.parameters(), average.module.parameters(), strict=True):
                mine.copy_(mean)
        self._refresh_statistics(trainer, pl_module)

    def _refresh_statistics(self, trainer: Trainer, pl_module: LightningModule) -> None:
        layers = {
            layer: layer.momentum
            for layer in pl_module.modules()
            if hasattr(layer, "reset_running_stats")
            and getattr(layer, "running_mean", None) is not None
        }
        if not layers:
            return
        modes = [(m, m.training) for m in pl_module.modules()]
        pl_module.train()
        for layer in layers:
            layer.reset_running_stats()
            # The plain mean over batches.
            layer.momentum = None
        mover, loop = Mover(trainer), trainer.fit_loop
        results, output = trainer._results, loop.output
        # What the steps log here is nobody's.
        trainer.set_results(Results())
        limit = None if math.isinf(trainer.num_training_batches) else trainer.num_training_batches
        try:
            with flambeau.no_grad():
                for index, batch in enumerate(islice(batches_of(loop.loader), limit)):
                    loop.forward(mover(batch, 0) if mover.needed else batch, index)
        finally:
            trainer.set_results(results)
            loop.window.clear()
            loop.output = output
            for layer, momentum in layers.items():
                layer.momentum = momentum
            for module, mode in modes:
                module.training = mode

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """What an evaluation loaded is not for the next training."""
        self._loaded = None

    def state_dict(self) -> dict[str, Any]:
        """The mean so far."""
        if self._average is None:
            return {}
        return {"last_epoch": self._last_epoch, "average": self._average.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps the mean for when the run begins."""
        self._loaded = state_dict
