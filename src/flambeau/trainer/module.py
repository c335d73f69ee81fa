"""LightningModule: a network together with how it is trained, validated and tested."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from flambeau import nn
from flambeau.trainer.export import Exports
from flambeau.trainer.hooks import ModelHooks
from flambeau.trainer.hparams import HyperparametersMixin
from flambeau.trainer.loading import load_module
from flambeau.trainer.optimizers import LightningOptimizer

if TYPE_CHECKING:
    from flambeau import Tensor
    from flambeau.optim import Optimizer
    from flambeau.trainer.trainer import Trainer

__all__ = ["LightningModule"]


class LightningModule(ModelHooks, HyperparametersMixin, Exports, nn.Module):
    """A network together with how it is trained, validated and tested.

    A subclass writes ``training_step``, ``configure_optimizers`` and, as it needs them,
    ``forward``, the other steps, the loaders, and hooks. It is an ordinary ``nn.Module`` otherwise.

    Reference: Lightning's ``LightningModule``, the same names and arguments. The older form works
    as well: steps that return ``{"loss": …, "log": {…}, "progress_bar": {…}}`` and
    ``training_epoch_end``, ``validation_epoch_end``, ``test_epoch_end`` (or ``training_end`` …)
    with what all steps returned.

    >>> from flambeau.trainer import LightningModule, Trainer
    >>> class Line(LightningModule):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.layer = nn.Linear(1, 1)
    ...     def training_step(self, batch, batch_idx):
    ...         x, y = batch
    ...         return F.mse_loss(self.layer(x), y)
    ...     def configure_optimizers(self):
    ...         return optim.SGD(self.parameters(), lr=0.1)
    >>> line, x = Line(), torch.linspace(-1, 1, 8).reshape(8, 1)
    >>> data = torch.utils.data.DataLoader(list(zip(x, 3 * x)), batch_size=4)
    >>> quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False,
    ...              enable_model_summary=False)
    >>> Trainer(max_epochs=60, **quiet).fit(line, data)
    >>> round(line.layer.weight.item(), 1)
    3.0
    """

    CHECKPOINT_HYPER_PARAMS_KEY = "hyper_parameters"
    CHECKPOINT_HYPER_PARAMS_NAME = "hparams_name"
    CHECKPOINT_HYPER_PARAMS_TYPE = "hparams_type"

    automatic_optimization: bool = True
    """Whether the trainer calls ``zero_grad``, ``backward`` and ``step``, or the module does."""

    example_input_array: Any = None
    """An input of ``forward``, for summaries, exports and pictures of the graph."""

    strict_loading: bool = True
    """Whether weights in a checkpoint must be those the module has."""

    _trainer: Trainer | None = None

    # --- the steps --------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What calling the module computes."""
        return super().forward(*args, **kwargs)

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """The loss of ``(batch, batch_idx)``, or a dictionary with ``loss``; None skips the batch.

        Raises: ``MisconfigurationException`` from ``fit`` if a module lacks it.
        """
        raise NotImplementedError("`training_step` must be implemented to be used with `fit`")

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        """What to do with ``(batch, batch_idx)`` of the validation data; logs, usually."""
        raise NotImplementedError("`validation_step` must be implemented to validate")

    def test_step(self, *args: Any, **kwargs: Any) -> Any:
        """What to do with ``(batch, batch_idx)`` of the test data; logs, usually."""
        raise NotImplementedError("`test_step` must be implemented to be used with `test`")

    def predict_step(self, *args: Any, **kwargs: Any) -> Any:
        """The prediction for ``(batch, batch_idx)``: by default ``self(batch)``."""
        return self(args[0] if args else kwargs["batch"])

    def configure_optimizers(self) -> Any:
        """The optimizers and schedules: see :func:`flambeau.trainer.optimizers.configured`."""
        raise NotImplementedError(
            "`configure_optimizers` must be implemented to be used with `fit`"
        )

    # --- where it is ------------------------------------------------------------------------

    @property
    def trainer(self) -> Trainer:
        """The trainer that runs the module. Raises ``RuntimeError`` if none does."""
        if self._trainer is None:
            raise RuntimeError(f"{type(self).__qualname__} is not attached to a `Trainer`.")
        return self._trainer

    @trainer.setter
    def trainer(self, trainer: Trainer | None) -> None:
        # Not a submodule, not in the state dict, and not copied with it.
        self.__dict__["_trainer"] = trainer

    @property
    def current_epoch(self) -> int:
        """The number of the epoch, from 0."""
        return self._trainer.current_epoch if self._trainer is not None else 0

    @property
    def global_step(self) -> int:
        """How many optimizer steps were taken, over all epochs."""
        return self._trainer.global_step if self._trainer is not None else 0

    @property
    def global_rank(self) -> int:
        """The number of the process among all."""
        return self._trainer.global_rank if self._trainer is not None else 0

    @property
    def local_rank(self) -> int:
        """The number of the process on its machine."""
        return self._trainer.local_rank if self._trainer is not None else 0

    @property
    def on_gpu(self) -> bool:
        """Whether the parameters are on a GPU."""
        return self.device.type == "cuda"

    @property
    def device(self) -> Any:
        """Where the first parameter or buffer is; the CPU if there are none."""
        from flambeau.device import device

        for tensor in (*self.parameters(), *self.buffers()):
            return tensor.device
        return device("cpu")

    @property
    def dtype(self) -> Any:
        """The dtype of the first parameter."""
        import flambeau

        return next((p.dtype for p in self.parameters()), flambeau.get_default_dtype())

    @property
    def logger(self) -> Any:
        """The first logger, or None."""
        return self._trainer.logger if self._trainer is not None else None

    @property
    def loggers(self) -> list[Any]:
        """All loggers."""
        return self._trainer.loggers if self._trainer is not None else []

    @property
    def fabric(self) -> None:
        """None: there is no Fabric here."""
        return None

    @property
    def device_mesh(self) -> None:
        """None: parameters are in one place."""
        return None

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Prints, in the first process only, and not through the progress bar."""
        if self._trainer is not None:
            self._trainer.print(*args, **kwargs)
        else:
            print(*args, **kwargs)

    # --- logging ----------------------------------------------------------------------------

    def log(
        self,
        name: str,
        value: Any,
        prog_bar: bool = False,
        logger: bool | None = None,
        on_step: bool | None = None,
        on_epoch: bool | None = None,
        reduce_fx: str | Callable = "mean",
        enable_graph: bool = False,
        sync_dist: bool = False,
        sync_dist_group: Any = None,
        add_dataloader_idx: bool = True,
        batch_size: int | None = None,
        metric_attribute: str | None = None,
        rank_zero_only: bool = False,
    ) -> None:
        """Logs a number, a tensor of one element, or a metric object under a name.

        Args:
            prog_bar: shows it in the progress bar.
            logger: sends it to the loggers (the default).
            on_step: logs the value of each step; the default in ``training_step``.
            on_epoch: logs what the values of an epoch reduce to; the default elsewhere.
            reduce_fx: "mean" (weighted by ``batch_size``), "sum", "min" or "max".
            batch_size: by default the first dimension of the first tensor in the batch.
            add_dataloader_idx: appends ``/dataloader_idx_{i}`` if there are several loaders.

        ``enable_graph``, ``sync_dist``, ``sync_dist_group``, ``metric_attribute`` and
        ``rank_zero_only`` are for several processes and for metrics of other libraries: with one
        process they change nothing.

        Raises: ``MisconfigurationException`` where nothing can be logged, or if the same name was
        logged with other options; ``ValueError`` if the value is no number.
        """
        trainer = self._trainer
        if trainer is None:
            warnings.warn(
                "You are trying to `self.log()` but the `self.trainer` reference is not registered "
                "on the model yet. This is most likely because the model hasn't been passed to the "
                "`Trainer`",
                stacklevel=2,
            )
            return
        trainer.results_for_log().log(
            name,
            value,
            (prog_bar, logger is not False, on_step, on_epoch, reduce_fx),
            batch_size,
            add_dataloader_idx,
        )

    def log_dict(self, dictionary: Mapping[str, Any], *args: Any, **kwargs: Any) -> None:
        """:meth:`log` of each entry, with the same options."""
        for name, value in dictionary.items():
            self.log(name, value, *args, **kwargs)

    # --- optimization -----------------------------------------------------------------------

    def optimizers(self, use_pl_optimizer: bool = True) -> Any:
        """The optimizer, or the list of them if there are several."""
        found: list[Any] = list(self.trainer.optimizers)
        if use_pl_optimizer:
            found = self.trainer.wrapped_optimizers
        return found[0] if len(found) == 1 else found

    def lr_schedulers(self) -> Any:
        """The schedule, the list of them if there are several, or None."""
        found = [config.scheduler for config in self.trainer.lr_scheduler_configs]
        return None if not found else found[0] if len(found) == 1 else found

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Computes the gradients of the loss."""
        loss.backward(*args, **kwargs)

    def manual_backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """``backward`` where ``automatic_optimization`` is False.

        Raises: ``MisconfigurationException`` where it is True.
        """
        self.trainer.manual_backward(loss, *args, **kwargs)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Takes a step; ``optimizer_closure`` computes loss and gradients and must be called."""
        optimizer.step(closure=optimizer_closure)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        """Forgets the gradients before a backward."""
        optimizer.zero_grad()

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Steps a schedule; ``metric`` is what it monitors, or None."""
        if metric is None:
            scheduler.step()
        else:
            scheduler.step(metric)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips the gradients as the trainer was told to; called before every step."""
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def clip_gradients(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips the gradients of an optimizer's parameters, by "norm" (default) or "value"."""
        if gradient_clip_val is None:
            gradient_clip_val = self.trainer.gradient_clip_val
        if gradient_clip_algorithm is None:
            gradient_clip_algorithm = self.trainer.gradient_clip_algorithm or "norm"
        if not gradient_clip_val:
            return
        params = [p for group in optimizer.param_groups for p in group["params"]]
        if gradient_clip_algorithm == "value":
            nn.utils.clip_grad_value_(params, gradient_clip_val)
        elif gradient_clip_algorithm == "norm":
            nn.utils.clip_grad_norm_(params, gradient_clip_val)
        else:
            raise ValueError(
                'gradient_clip_algorithm must be "norm" or "value", got '
                f"{gradient_clip_algorithm!r}"
            )

    def toggle_optimizer(self, optimizer: Optimizer | LightningOptimizer) -> None:
        """Only the parameters of this optimizer require gradients until it is untoggled."""
        mine = {id(p) for group in optimizer.param_groups for p in group["params"]}
        others = {
            p
            for other in self.trainer.optimizers
            for group in other.param_groups
            for p in group["params"]
            if id(p) not in mine
        }
        self.__dict__["_toggled"] = [(p, p.requires_grad) for p in others]
        for p in others:
            p.requires_grad_(False)

    def untoggle_optimizer(self, optimizer: Optimizer | LightningOptimizer) -> None:
        """Takes back :meth:`toggle_optimizer`."""
        for p, required in self.__dict__.pop("_toggled", ()):
            p.requires_grad_(required)

    @contextmanager
    def toggled_optimizer(self, optimizer: Optimizer | LightningOptimizer) -> Iterator[None]:
        """Within, only the parameters of this optimizer require gradients."""
        self.toggle_optimizer(optimizer)
        try:
            yield
        finally:
            self.untoggle_optimizer(optimizer)

    # --- saving, freezing -------------------------------------------------------------------

    def freeze(self) -> None:
        """No parameter requires a gradient, and the module is in evaluation mode."""
        self.requires_grad_(False)
        self.eval()

    def unfreeze(self) -> None:
        """All parameters require gradients, and the module is in training mode."""
        self.requires_grad_(True)
        self.train()

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: str | Path | IO[bytes],
        map_location: Any = None,
        hparams_file: str | Path | None = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """The module in a checkpoint, made with the hyper-parameters that are kept there.

        ``kwargs`` are arguments of ``__init__`` that are not kept, or replace those that are;
        ``hparams_file`` (``.yaml``) has further ones. With ``strict``, the weights must be those
        of the module. ``weights_only=False`` unpickles any object: **the file can then run code**.

        Raises: ``RuntimeError`` if the weights do not fit; ``TypeError`` if an argument is missing.
        """
        return load_module(
            cls, checkpoint_path, map_location, hparams_file, strict, weights_only, kwargs
        )

    def __getstate__(self) -> dict[str, Any]:
        # A copy of the module is nobody's yet.
        return {k: v for k, v in self.__dict__.items() if k not in ("_trainer", "_toggled")}

    def all_gather(self, data: Any, group: Any = None, sync_grads: bool = False) -> Any:
        """What all processes have: with one process, ``data`` itself."""
        return data
