"""What a checkpoint holds, and how a run takes it up again."""

from __future__ import annotations

import os
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flambeau
from flambeau.serialization import save
from flambeau.trainer.callback import Checkpoint
from flambeau.trainer.loading import load_checkpoint
from flambeau.trainer.seeding import rng_state, set_rng
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.trainer.utilities.rank_zero import rank_zero_warn
from flambeau.trainer.version import __version__

if TYPE_CHECKING:
    from flambeau.trainer.trainer import Trainer

__all__ = ["dump", "find", "metrics_of", "restore_module", "restore_training", "write"]


def dump(trainer: Trainer, weights_only: bool = False, rng: Any = None) -> dict[str, Any]:
    """The state of a run, under Lightning's keys; what Lightning has no key for is in "flambeau".

    ``rng`` are the generators' states to keep instead of the present ones.
    """
    module, data = trainer.lightning_module, trainer.datamodule
    checkpoint: dict[str, Any] = {
        "epoch": trainer.current_epoch,
        "global_step": trainer.global_step,
        "pytorch-lightning_version": __version__,
        "state_dict": module.state_dict(),
    }
    if not weights_only:
        for logger in trainer.loggers:
            logger.save()
        checkpoint |= {
            "loops": {"fit_loop": trainer.fit_loop.state_dict()},
            "callbacks": {
                callback.state_key: state
                for callback in trainer.callbacks
                if (state := callback.state_dict())
            },
            "optimizer_states": [optimizer.state_dict() for optimizer in trainer.optimizers],
            "lr_schedulers": [
                config.scheduler.state_dict() for config in trainer.lr_scheduler_configs
            ],
            "flambeau": {
                "rng": rng_state() if rng is None else rng,
                "metrics": dict(trainer.published.callback),
                "progress_bar": dict(trainer.published.progress_bar),
                "loggers": [_state(logger) for logger in trainer.loggers],
                "gradients": trainer.fit_loop.pending_gradients(),
                "metric_objects": {
                    name: _metric_state(metric) for name, metric in metrics_of(trainer).items()
                },
            },
        }
    if module.hparams:
        checkpoint["hparams_name"] = "kwargs"
        checkpoint[module.CHECKPOINT_HYPER_PARAMS_KEY] = dict(module.hparams)
    if data is not None:
        if getattr(data, "hparams", None):
            checkpoint["datamodule_hparams_name"] = "kwargs"
            checkpoint[data.CHECKPOINT_HYPER_PARAMS_KEY] = dict(data.hparams)
        if state := data.state_dict():
            checkpoint[type(data).__qualname__] = state
    if not weights_only:
        for call in trainer.moments.of_callbacks("on_save_checkpoint", lambda callback: True):
            call(checkpoint)
    module.on_save_checkpoint(checkpoint)
    if data is not None:
        data.on_save_checkpoint(checkpoint)
    return checkpoint


def write(checkpoint: dict[str, Any], path: str | Path) -> None:
    """Writes a checkpoint in one step: a reader finds the old file or the whole new one."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    save(checkpoint, os.fspath(path))


def find(trainer: Trainer, wanted: str | Path | None, weights_only: bool | None) -> Any:
    """The contents of the checkpoint that ``ckpt_path`` means, and its path; None for none.

    "best" is the best of the trainer's checkpoint callback, "last" the newest ``last*.ckpt`` in its
    folder, or else in those of earlier runs beside it.
    """
    if wanted is None:
        return None
    if wanted == "best":
        path = getattr(trainer.checkpoint_callback, "best_model_path", "")
        if not path:
            raise ValueError(
                'ckpt_path="best": no checkpoint was saved by a `ModelCheckpoint` of this trainer'
            )
    elif wanted in ("last", "hpc"):
        path = _last(trainer)
        if path is None:
            rank_zero_warn(
                f'ckpt_path="{wanted}" is set, but there is no last checkpoint available. '
                "No checkpoint will be loaded."
            )
            return None
    else:
        path = os.fspath(wanted)
        if not os.path.exists(path):
            raise FileNotFoundError(f"Checkpoint file not found: {path}")
    return path, load_checkpoint(path, weights_only=weights_only)


def _last(trainer: Trainer) -> str | None:
    found: list[str] = []
    for callback in trainer.checkpoint_callbacks:
        folder = callback.folder(trainer)
        name = glob_safe(getattr(callback, "CHECKPOINT_NAME_LAST", "last"))
        found += glob(os.path.join(glob_safe(folder), f"{name}*.ckpt"))
        if not found:
            beside = os.path.join(glob_safe(os.path.dirname(os.path.dirname(folder))), "*")
            found += glob(os.path.join(beside, os.path.basename(folder), f"{name}*.ckpt"))
    return max(found, key=os.path.getmtime, default=None)


def glob_safe(path: str) -> str:
    """The path with the characters that mean something to ``glob`` escaped."""
    from glob import escape

    return escape(path)


# --- taking up again --------------------------------------------------------------------------


def restore_module(trainer: Trainer, checkpoint: dict[str, Any], fitting: bool) -> None:
    """The weights, the data module and the callbacks; those that write checkpoints only to go on
    training: of an older file they would learn less than they know.
    """
    module, data = trainer.lightning_module, trainer.datamodule
    if data is not None:
        data.on_load_checkpoint(checkpoint)
        if type(data).__qualname__ in checkpoint:
            data.load_state_dict(checkpoint[type(data).__qualname__])
    module.on_load_checkpoint(checkpoint)
    module.load_state_dict(checkpoint["state_dict"], strict=module.strict_loading)
    for call in trainer.moments.of_callbacks("on_load_checkpoint", lambda callback: True):
        call(checkpoint)
    states = checkpoint.get("callbacks", {})
    for callback in trainer.callbacks:
        if callback.state_key in states and (fitting or not isinstance(callback, Checkpoint)):
            callback.load_state_dict(states[callback.state_key])


def restore_training(trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """Optimizers, schedules, loggers, generators, and where the loop stood.

    Raises: ``KeyError`` if only weights were saved; ``MisconfigurationException`` if optimizers or
    schedules are not as many as the checkpoint's.
    """
    if "optimizer_states" not in checkpoint:
        raise KeyError(
            "Trying to restore optimizer state but checkpoint contains only the model. This is "
            "probably due to `ModelCheckpoint.save_weights_only` being set to `True`."
        )
    pairs = [
        ("optimizers", trainer.optimizers, checkpoint["optimizer_states"]),
        (
            "schedules",
            [config.scheduler for config in trainer.lr_scheduler_configs],
            checkpoint["lr_schedulers"],
        ),
    ]
    for what, mine, states in pairs:
        if len(mine) != len(states):
            raise MisconfigurationException(
                f"the checkpoint has the states of {len(states)} {what}, "
                f"configure_optimizers gave {len(mine)}"
            )
        for one, state in zip(mine, states, strict=True):
            one.load_state_dict(state)
    ours = checkpoint.get("flambeau")
    if ours is None:
        # Lightning's own file: it says which epoch and step, not where in the epoch.
        trainer.fit_loop.load_foreign(checkpoint["epoch"], checkpoint["global_step"])
        return
    trainer.published.callback.update(ours["metrics"])
    trainer.published.progress_bar.update(ours["progress_bar"])
    for logger, state in zip(trainer.loggers, ours["loggers"], strict=False):
        if state is not None and hasattr(logger, "load_state_dict"):
            logger.load_state_dict(state)
    kept = ours["metric_objects"]
    for name, metric in metrics_of(trainer).items():
        if name in kept:
            _set_metric_state(metric, kept[name])
    parameters = dict(trainer.lightning_module.named_parameters())
    for name, gradient in ours["gradients"].items():
        parameters[name].grad = gradient
    trainer.fit_loop.load_state_dict(checkpoint["loops"]["fit_loop"])
    trainer.fit_loop.rng = ours["rng"]


def _state(logger: Any) -> Any:
    return logger.state_dict() if hasattr(logger, "state_dict") else None


def metrics_of(trainer: Trainer) -> dict[str, Any]:
    """The metric objects of the module, by attribute: their states are part of a run's."""
    module = trainer.lightning_module
    owned = {**vars(module), **dict(module.named_modules())}
    return {
        name: value
        for name, value in owned.items()
        if value is not module
        and not name.startswith("_")
        and all(hasattr(value, part) for part in ("update", "compute", "reset"))
    }


def _metric_state(metric: Any) -> dict[str, Any]:
    """All that a metric has counted: its states, or else its attributes that are values."""
    if hasattr(metric, "metric_state"):
        return {**metric.metric_state, "_update_count": metric._update_count}
    kinds = (bool, int, float, str, list, flambeau.Tensor)
    return {name: value for name, value in vars(metric).items() if isinstance(value, kinds)}


def _set_metric_state(metric: Any, state: dict[str, Any]) -> None:
    for name, value in state.items():
        setattr(metric, name, value)


def restore_generators(trainer: Trainer) -> None:
    """The generators' states, last of all: what came before may have drawn."""
    if trainer.fit_loop.rng is not None:
        set_rng(trainer.fit_loop.rng)
        trainer.fit_loop.rng = None
