"""WeightAveraging: a running mean of the weights, which validations and the end of training use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flambeau
from flambeau.optim.swa_utils import AveragedModel, get_ema_avg_fn
from flambeau.trainer.callback import Callback
from flambeau.trainer.utilities.rank_zero import rank_zero_warn

if TYPE_CHECKING:
    from flambeau.trainer.module import LightningModule
    from flambeau.trainer.trainer import Trainer

__all__ = ["EMAWeightAveraging", "WeightAveraging"]


class WeightAveraging(Callback):
    r"""Keeps a mean of the weights over training steps, by default the plain one.

    .. math:: \bar w_n = \bar w_{n-1} + \frac{w_n - \bar w_{n-1}}{n}

    Validations run with the mean, and the module has it when training is over. Checkpoints hold
    it as the module's weights, and those of the run as ``current_model_state`` for going on.

    Args:
        device: where the mean is kept.
        use_buffers: whether buffers are averaged too.
        kwargs: for :class:`~flambeau.optim.swa_utils.AveragedModel`, such as ``avg_fn``.

    A subclass says in :meth:`should_update` after which steps and epochs weights are taken in.

    Reference: Lightning's callback of this name.

    >>> from flambeau.trainer.callbacks import WeightAveraging
    >>> class Late(WeightAveraging):
    ...     def should_update(self, step_idx=None, epoch_idx=None):
    ...         return step_idx is not None and step_idx >= 100
    """

    def __init__(self, device: Any = None, use_buffers: bool = True, **kwargs: Any) -> None:
        self._device = device
        self._use_buffers = use_buffers
        self._kwargs = kwargs
        self._average: AveragedModel | None = None
        # How many optimizer steps there were when weights were last taken in.
        self._latest_step = 0
        self._swapped = False

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Whether to take in the weights after a step or an epoch, numbered from 0: each step."""
        return step_idx is not None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begins the mean."""
        if stage == "fit":
            pl_module.configure_model()
            self._average = AveragedModel(
                pl_module, device=self._device, use_buffers=self._use_buffers, **self._kwargs
            )
            self._average.requires_grad_(False)
            self._latest_step, self._swapped = trainer.global_step, False

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Takes the weights in, after a step."""
        steps = trainer.global_step
        if steps > self._latest_step and self.should_update(step_idx=steps - 1):
            self._update(pl_module)
            self._latest_step = steps

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the weights in, after an epoch."""
        if self.should_update(epoch_idx=trainer.current_epoch):
            self._update(pl_module)

    def _update(self, module: LightningModule) -> None:
        assert self._average is not None
        self._average.update_parameters(module)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A validation within training uses the mean."""
        if self._average is not None and trainer.state.fn == "fit":
            self._swap(pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training goes on with its own weights."""
        if self._swapped:
            self._swap(pl_module)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """A run that stops within a validation leaves its own weights."""
        if self._swapped:
            self._swap(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gives the module the mean."""
        assert self._average is not None
        with flambeau.no_grad():
            for mine, mean in self._pairs(pl_module):
                mine.copy_(mean)

    def _pairs(self, module: LightningModule) -> list[tuple[Any, Any]]:
        """Each tensor of the module with its mean; buffers too, which are the latest at least."""
        assert self._average is not None
        average = self._average.module
        own = [*module.parameters(), *module.buffers()]
        return list(zip(own, [*average.parameters(), *average.buffers()], strict=True))

    def _swap(self, module: LightningModule) -> None:
        with flambeau.no_grad():
            for mine, mean in self._pairs(module):
                kept = mine.clone()
                mine.copy_(mean)
                mean.copy_(kept)
        self._swapped = not self._swapped

    # --- checkpoints ------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The step at which weights were last taken in."""
        return {"latest_update_step": self._latest_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from that step."""
        self._latest_step = state_dict["latest_update_step"]

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Makes the mean the weights of the checkpoint, and keeps those of the run beside it."""
        if self._average is None:
            rank_zero_warn(
                "You're using the WeightAveraging callback, but saving a checkpoint outside of "
                "`fit`: it has no average."
            )
            return
        inside = self._average.state_dict()
        average = {k.removeprefix("module."): v for k, v in inside.items() if k != "n_averaged"}
        current, average = (
            checkpoint["state_dict"],
            {k: average[k] for k in checkpoint["state_dict"]},
        )
        if self._swapped:
            current, average = average, current
        checkpoint["current_model_state"], checkpoint["state_dict"] = current, average
        checkpoint["averaging_state"] = {"n_averaged": inside["n_averaged"]}

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Takes back the mean and the weights of the run; of another run's checkpoint, neither.

        Evaluations use the mean, which the checkpoint has as its weights.
        """
        if self._average is None or trainer.state.fn != "fit":
            return
        if "current_model_state" not in checkpoint:
            rank_zero_warn(
                "The checkpoint was not written with WeightAveraging: averaging starts with the "
                "loaded weights."
            )
            self._average.module.load_state_dict(checkpoint["state_dict"])
            return
        average = {f"module.{name}": value for name, value in checkpoint["state_dict"].items()}
        self._average.load_state_dict(average | checkpoint["averaging_state"])
        pl_module.load_state_dict(checkpoint["current_model_state"])


class EMAWeightAveraging(WeightAveraging):
    r"""Keeps an exponential mean of the weights [Polyak, Juditsky 1992; Tarvainen, Valpola 2017].

    .. math:: \bar w_n = \beta\, \bar w_{n-1} + (1 - \beta)\, w_n

    Args:
        decay: :math:`\beta`.
        update_every_n_steps: weights are taken in after steps with such numbers (from 0).
        update_starting_at_step: the first step of which they are.
        update_starting_at_epoch: also at the end of each epoch, from this one on.

    >>> from flambeau.trainer.callbacks import EMAWeightAveraging
    >>> ema = EMAWeightAveraging(decay=0.99, update_every_n_steps=3, update_starting_at_step=2)
    >>> [step for step in range(8) if ema.should_update(step_idx=step)]
    [3, 6]
    """

    def __init__(
        self,
        device: Any = None,
        use_buffers: bool = True,
        decay: float = 0.999,
        update_every_n_steps: int = 1,
        update_starting_at_step: int | None = None,
        update_starting_at_epoch: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(device, use_buffers, avg_fn=get_ema_avg_fn(decay), **kwargs)
        self.update_every_n_steps = update_every_n_steps
        self.update_starting_at_step = update_starting_at_step
        self.update_starting_at_epoch = update_starting_at_epoch

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Whether to take in the weights after a step or an epoch."""
        if step_idx is not None:
            first, every = self.update_starting_at_step or 0, self.update_every_n_steps
            return every > 0 and step_idx >= first and step_idx % every == 0
        first_epoch = self.update_starting_at_epoch
        return epoch_idx is not None and first_epoch is not None and epoch_idx >= first_epoch
