"""The trainer's arguments: what is left open, and what makes no sense."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flambeau.trainer.callback import Callback, Checkpoint
from flambeau.trainer.connecting import is_overridden, own_function, with_last_checkpoints
from flambeau.trainer.module import LightningModule
from flambeau.trainer.profilers.profiler import PassThroughProfiler, Profiler
from flambeau.trainer.utilities.checks import PossibleUserWarning
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.trainer.utilities.rank_zero import rank_zero_info, rank_zero_warn

if TYPE_CHECKING:
    from flambeau.trainer.trainer import Trainer

# Lightning's arguments that are not supported, and why.
_UNSUPPORTED = {
    "plugins": "there are no plugins: precision, devices and checkpoints have one way each",
    "model_registry": "it is a remote service",
    "gpus": "removed from Lightning: use devices",
    "resume_from_checkpoint": "removed from Lightning: use fit(ckpt_path=...)",
    "auto_lr_find": "removed from Lightning: use the LearningRateFinder callback",
    "auto_scale_batch_size": "removed from Lightning: use the BatchSizeFinder callback",
    "stochastic_weight_avg": "removed from Lightning: use the StochasticWeightAveraging callback",
    "progress_bar_refresh_rate": "removed from Lightning: use the progress bar's refresh_rate",
    "checkpoint_callback": "removed from Lightning: use enable_checkpointing",
    "weights_summary": "removed from Lightning: use enable_model_summary",
}
_CPUS = ("auto", "cpu")
_STRATEGIES = ("auto", "single_device")


def refuse(given: dict[str, Any]) -> None:
    """Raises ``TypeError`` for arguments that are not supported; their defaults pass."""
    for name, value in given.items():
        if name in ("plugins", "model_registry") and value is None:
            continue
        reason = _UNSUPPORTED.get(name, "no trainer has an argument of that name")
        raise TypeError(f"Trainer({name}={value!r}) is not supported: {reason}")


def check_devices(accelerator: Any, strategy: Any, devices: Any, num_nodes: Any) -> None:
    """Raises ``MisconfigurationException`` for anything but one processor."""
    if accelerator not in _CPUS:
        raise MisconfigurationException(
            f"Trainer(accelerator={accelerator!r}): there is none here; use 'cpu' or 'auto'"
        )
    if strategy not in _STRATEGIES:
        raise MisconfigurationException(
            f"Trainer(strategy={strategy!r}): training is in one process; use 'auto'"
        )
    if devices not in ("auto", 1, "1", None, -1, "-1") and devices != [0]:
        raise MisconfigurationException(
            f"Trainer(devices={devices!r}): training is on one device; use 1 or 'auto'"
        )
    if num_nodes != 1:
        raise MisconfigurationException(f"Trainer(num_nodes={num_nodes!r}): there is one machine")


def epochs(max_epochs: int | None, max_steps: int, max_time: Any) -> int:
    """The number of epochs; -1: no limit.

    >>> epochs(None, -1, None), epochs(None, 10, None), epochs(3, 10, None)
    (1000, -1, 3)
    """
    if max_steps < -1:
        raise MisconfigurationException(
            f"`max_steps` must be a non-negative integer or -1 (infinite steps). You passed in "
            f"{max_steps}."
        )
    if max_epochs is None:
        if max_steps == -1 and max_time is None:
            rank_zero_info(
                "`max_epochs` was not set. Setting it to 1000 epochs. To train without an epoch "
                "limit, set `max_epochs=-1`."
            )
            return 1000
        return -1
    if max_epochs < -1:
        raise MisconfigurationException(
            f"`max_epochs` must be a non-negative integer or -1. You passed in {max_epochs}."
        )
    return max_epochs


def limit(name: str, given: int | float | None) -> int | float:
    """A number of batches or a fraction of them; everything if it is None.

    Raises: ``MisconfigurationException`` unless it is an integer from 0 or a float in [0, 1].
    """
    if given is None:
        return 1.0
    whole = isinstance(given, int) and given >= 0
    if not whole and not (isinstance(given, float) and 0.0 <= given <= 1.0):
        raise MisconfigurationException(
            f"You have passed invalid value {given} for {name}, it has to be in [0.0, 1.0] or an "
            "int."
        )
    return given


def sanity_steps(given: int | None) -> int | float:
    """How many validation batches before training; infinitely many for -1."""
    if given is None:
        return 2
    if not isinstance(given, int) or given < -1:
        raise MisconfigurationException(
            f"`num_sanity_val_steps` must be >= -1, got {given!r} (-1: all batches)"
        )
    return float("inf") if given == -1 else given


def positive(name: str, given: int) -> int:
    """``given``. Raises ``MisconfigurationException`` unless it is a positive integer."""
    if not isinstance(given, int) or given < 1:
        raise MisconfigurationException(f"`{name}` should be an int >= 1, got {given!r}")
    return given


def clip_algorithm(given: str | None) -> str | None:
    """``given``, or its value if it is an enumeration's."""
    given = getattr(given, "value", given)
    if given not in (None, "norm", "value"):
        raise MisconfigurationException(
            f"`gradient_clip_algorithm` {given} is invalid. Allowed algorithms: ['value', 'norm']"
        )
    return given


def loggers(trainer: Trainer, given: Any) -> list[Any]:
    """The loggers: those given; TensorBoard's or, without tensorboardX, CSV files by default."""
    if given is False:
        return []
    if given is None or given is True:
        module = importlib.import_module("flambeau.trainer.loggers")
        kind = "TensorBoardLogger" if importlib.util.find_spec("tensorboardX") else "CSVLogger"
        return [getattr(module, kind)(trainer.default_root_dir, name="lightning_logs")]
    return list(given) if isinstance(given, Iterable) else [given]


def profiler(given: Any) -> tuple[Profiler, Callback | None]:
    """The profiler, which does nothing by default, and the callback that uses it.

    Raises: ``MisconfigurationException`` for anything but a profiler or the name of one.
    """
    from flambeau.trainer import callbacks as known

    if given is None:
        return PassThroughProfiler(), None
    if not isinstance(given, (str, Profiler)):
        raise MisconfigurationException(
            f"Trainer(profiler={given!r}): must be a name or a `Profiler`"
        )
    try:
        callback = known.Profiler(given)
    except ValueError as error:
        raise MisconfigurationException(f"Trainer(profiler={given!r}): {error}") from None
    return callback.profiler, callback


def callbacks(
    trainer: Trainer,
    given: Callback | Iterable[Callback] | None,
    checkpointing: bool | None,
    progress_bar: bool | None,
    summary: bool | None,
    max_time: Any,
    timing: Callback | None,
) -> list[Callback]:
    """The callbacks: those given, and the usual ones that were not."""
    from flambeau.trainer import callbacks as known

    mine = [given] if isinstance(given, Callback) else list(given or ())
    for callback in mine:
        if not isinstance(callback, Callback):
            raise TypeError(f"`callbacks` should hold callbacks, got {type(callback).__qualname__}")
    has_checkpoint = any(isinstance(c, Checkpoint) for c in mine)
    if has_checkpoint and checkpointing is False:
        raise MisconfigurationException(
            "Trainer was configured with `enable_checkpointing=False` but found `ModelCheckpoint` "
            "in callbacks list."
        )
    if summary is not False and not any(isinstance(c, known.ModelSummary) for c in mine):
        mine.append(known.RichModelSummary())
    has_bar = any(isinstance(c, known.ProgressBar) for c in mine)
    if progress_bar is not False and not has_bar:
        mine.append(known.RichProgressBar())
    if progress_bar is False and has_bar:
        raise MisconfigurationException(
            "Trainer was configured with `enable_progress_bar=False` but found a progress bar in "
            "callbacks list."
        )
    if timing is not None:
        mine.append(timing)
    if max_time is not None:
        mine.append(known.Timer(duration=max_time, interval="step"))
    if not has_checkpoint and checkpointing is not False:
        mine.append(known.ModelCheckpoint())
    keys = [c.state_key for c in mine if is_overridden("state_dict", c, Callback)]
    for key in keys:
        if keys.count(key) > 1:
            raise RuntimeError(
                f"Found more than one stateful callback of type `{key}`. In the current "
                "configuration, this callback does not support being saved alongside other "
                "instances of the same type. Please consult its documentation to learn about "
                "valid settings for the callback state to be checkpointable. HINT: The "
                "`callback.state_key` must be unique among all callbacks in the Trainer."
            )
    return with_last_checkpoints(mine)


def check_fit(trainer: Trainer) -> None:
    """Raises ``MisconfigurationException`` if the module cannot be trained."""
    module = trainer.lightning_module
    for name in ("training_step", "configure_optimizers"):
        if own_function(module, name, LightningModule) is None:
            raise MisconfigurationException(
                f"No `{name}()` method defined to run `Trainer.fit`: write one in "
                f"{type(module).__qualname__}."
            )
    if not trainer.has_loader("train_dataloader"):
        raise MisconfigurationException(
            "An invalid dataloader was passed to `Trainer.fit(train_dataloaders=...)`: none was "
            "given, and `train_dataloader()` is not implemented."
        )
    if trainer.has_loader("val_dataloader") and not is_overridden("validation_step", module):
        rank_zero_warn("You passed in a `val_dataloader` but have no `validation_step`. "
                       "Skipping val loop.")  # fmt: skip
    if is_overridden("validation_step", module) and not trainer.has_loader("val_dataloader"):
        rank_zero_warn(
            "You defined a `validation_step` but have no `val_dataloader`. Skipping val loop.",
            category=PossibleUserWarning,
        )
    manual = not module.automatic_optimization
    if manual and (trainer.gradient_clip_val or trainer.accumulate_grad_batches != 1):
        raise MisconfigurationException(
            "Automatic gradient clipping and accumulation are not supported for manual "
            "optimization. Call `self.clip_gradients` and count batches in `training_step`, and "
            "remove `Trainer(gradient_clip_val=, accumulate_grad_batches=)`."
        )


def check_evaluation(trainer: Trainer, kind: str) -> None:
    """Raises ``MisconfigurationException`` if the module cannot be evaluated."""
    module = trainer.lightning_module
    if kind != "predict" and not is_overridden(f"{kind}_step", module):
        raise MisconfigurationException(
            f"No `{kind}_step()` method defined to run `Trainer.{trainer.state.fn.value}`."
        )


def print_results(found: list[dict[str, float]], kind: str) -> None:
    """Prints the values of an evaluation, a column for each loader."""
    if not any(found):
        return
    names = list(dict.fromkeys(name for values in found for name in values))
    width = max(map(len, names))
    heads = [f"DataLoader {i}" for i in range(len(found))]
    print(f"{kind + ' metric':>{width}}  " + "  ".join(f"{head:>14}" for head in heads))
    for name in names:
        cells = [f"{v[name]:>14.6g}" if name in v else " " * 14 for v in found]
        print(f"{name:>{width}}  " + "  ".join(cells))
