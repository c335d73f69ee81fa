"""A rehearsal: some training steps before training, after which everything is as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from flambeau.trainer.callback import Callback
from flambeau.trainer.connecting import Moments
from flambeau.trainer.data import own_generators
from flambeau.trainer.loop import FitLoop
from flambeau.trainer.metrics.metric import Metric
from flambeau.trainer.optimizers import LightningOptimizer, configured
from flambeau.trainer.results import Published
from flambeau.trainer.seeding import rng_state, set_rng
from flambeau.trainer.utilities.combined_loader import combined

if TYPE_CHECKING:
    from flambeau.trainer.trainer import Trainer

__all__ = [
    "Rehearsal",
    "attribute_owner",
    "configure_again",
    "get_attribute",
    "set_attribute",
]

# What a rehearsal sets on the trainer. ``state`` and the module are the run's.
_SETTINGS = (
    "callbacks", "loggers", "moments", "fit_loop", "optimizers", "wrapped_optimizers",
    "lr_scheduler_configs", "published", "should_stop", "max_steps", "max_epochs", "min_steps",
    "min_epochs", "limit_val_batches", "num_sanity_val_steps", "train_dataloader",
    "num_training_batches", "fast_dev_run", "_results",
)  # fmt: skip


class Rehearsal:
    """Trains for some steps within ``fit``, without loggers and other callbacks.

    Afterwards parameters, buffers, metrics, generators (the loader's own among them) and the
    trainer are what they were, to the bit, and gradients are gone; what hooks of the module wrote
    to other attributes stays.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Within, anything may be done to the module and the trainer."""
        trainer = self.trainer
        module = trainer.lightning_module
        settings = {name: getattr(trainer, name) for name in _SETTINGS}
        weights = {name: value.clone() for name, value in _tensors(module).items()}
        metrics = [(m, deepcopy(vars(m))) for m in module.modules() if isinstance(m, Metric)]
        modes = [(m, m.training) for m in module.modules()]
        own_generators = [(g, g.get_state()) for g in _generators(trainer)]
        states = rng_state()
        try:
            yield
        finally:
            for name, value in settings.items():
                setattr(trainer, name, value)
            module.zero_grad()
            for name, value in _tensors(module).items():
                # A tensor that a hook made is not known; it stays.
                if name in weights:
                    value.data.copy_(weights[name])
            for metric, state in metrics:
                vars(metric).clear()
                vars(metric).update(state)
            for part, mode in modes:
                part.training = mode
            set_rng(states)
            for generator, state in own_generators:
                generator.set_state(state)

    def run(self, steps: int, *callbacks: Callback, schedules: Any = None) -> None:
        """Trains for ``steps`` steps with fresh optimizers; use within :meth:`apart`.

        ``schedules(optimizers)`` gives the schedules to use instead of the module's.
        """
        trainer = self.trainer
        module = trainer.lightning_module
        trainer.callbacks, trainer.loggers = list(callbacks), []
        trainer.published, trainer.should_stop = Published(), False
        trainer.max_steps, trainer.max_epochs, trainer.min_steps = steps, -1, None
        trainer.limit_val_batches, trainer.num_sanity_val_steps = 0, 0
        trainer.fast_dev_run = False
        trainer.optimizers, trainer.lr_scheduler_configs = configured(module)
        if schedules is not None:
            trainer.lr_scheduler_configs = schedules(trainer.optimizers)
        trainer.wrapped_optimizers = [LightningOptimizer(o, trainer) for o in trainer.optimizers]
        trainer.moments = Moments(trainer, module)
        trainer.fit_loop = FitLoop(trainer)
        trainer.fit_loop.run()


def configure_again(trainer: Trainer) -> None:
    """Makes optimizers and schedules anew: what they are made by has changed."""
    trainer.fit_loop.loader = None
    trainer.optimizers, trainer.lr_scheduler_configs = configured(trainer.lightning_module)
    trainer.wrapped_optimizers = [LightningOptimizer(o, trainer) for o in trainer.optimizers]


def _tensors(module: Any) -> dict[str, Any]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _generators(trainer: Trainer) -> list[Any]:
    """Generators that the training loader draws from, besides the common one."""
    loader = trainer._given.get("train_dataloader")
    return own_generators(combined(loader))


def attribute_owner(trainer: Trainer, name: str) -> Any:
    """Who has the attribute ``name``: the module, the data module, or one's hyper-parameters."""
    for owner in (trainer.lightning_module, trainer.datamodule):
        if owner is None:
            continue
        if hasattr(owner, name):
            return owner
        hparams = getattr(owner, "hparams", None)
        if hparams is not None and name in hparams:
            return hparams
    return None


def get_attribute(owner: Any, name: str) -> Any:
    """The attribute, or the item of a dictionary."""
    return owner[name] if isinstance(owner, dict) else getattr(owner, name)


def set_attribute(owner: Any, name: str, value: Any) -> None:
    """Sets the attribute, or the item of a dictionary; hyper-parameters of that name follow."""
    if isinstance(owner, dict):
        owner[name] = value
        return
    setattr(owner, name, value)
    hparams = getattr(owner, "hparams", None)
    if hparams is not None and name in hparams:
        hparams[name] = value
