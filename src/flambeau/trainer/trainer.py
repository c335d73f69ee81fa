"""Trainer: runs a LightningModule's training, validation, test and prediction."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flambeau
from flambeau.tensor import Tensor
from flambeau.trainer import checkpoints, defaults
from flambeau.trainer.callback import Callback, Checkpoint
from flambeau.trainer.connecting import Moments, is_overridden, with_last_checkpoints
from flambeau.trainer.evaluation import Evaluation
from flambeau.trainer.facts import Facts
from flambeau.trainer.loop import FitLoop
from flambeau.trainer.module import LightningModule
from flambeau.trainer.optimizers import LightningOptimizer, configured
from flambeau.trainer.precision import Precision
from flambeau.trainer.results import Published, Results
from flambeau.trainer.state import TrainerState, TrainerStatus
from flambeau.trainer.utilities.exceptions import MisconfigurationException

if TYPE_CHECKING:
    from flambeau.trainer.datamodule import LightningDataModule

__all__ = ["Trainer"]


class Trainer(Facts):
    """Runs a :class:`LightningModule`.

    How long: ``max_epochs`` (1000 if nothing limits the run; -1: no limit), ``max_steps``
    (optimizer steps), ``max_time`` ("DD:HH:MM:SS", a dictionary, a ``timedelta``), and at least
    ``min_epochs``, ``min_steps``. On how much: ``limit_train_batches`` and its like (a number, or a
    fraction as a float), ``overfit_batches``, ``fast_dev_run`` (one batch of everything, or so
    many). Validation: every ``val_check_interval`` of an epoch (or batches, an integer), in every
    ``check_val_every_n_epoch``-th; ``num_sanity_val_steps`` batches before training. The step:
    ``accumulate_grad_batches``, ``gradient_clip_val`` with ``gradient_clip_algorithm`` "norm" or
    "value", ``precision``. ``deterministic=True`` compiles programs at their first run: then a run
    taken up from a checkpoint gives the very bits of one that never stopped. ``detect_anomaly``
    looks at every loss and gradient before they are used.

    ``accelerator``, ``devices``, ``strategy``, ``num_nodes``, ``use_distributed_sampler`` and
    ``sync_batchnorm`` are accepted for one processor.
    ``logger``, ``callbacks``, ``enable_progress_bar``, ``enable_checkpointing`` and
    ``enable_model_summary`` say what stands beside the loop; ``default_root_dir`` where files go.

    Raises: ``MisconfigurationException`` for values that make no sense, ``TypeError`` for
    arguments of Lightning's that are not supported, with the reason.

    Reference: Lightning's ``Trainer``, whose names, defaults and order of events these are.

    >>> from flambeau.trainer import Trainer
    >>> Trainer(max_steps=3, logger=False).max_epochs
    -1
    """

    def __init__(
        self,
        *,
        accelerator: str = "auto",
        strategy: str = "auto",
        devices: Any = "auto",
        num_nodes: int = 1,
        precision: str | int | None = None,
        logger: Any = None,
        callbacks: Callback | Iterable[Callback] | None = None,
        fast_dev_run: int | bool = False,
        max_epochs: int | None = None,
        min_epochs: int | None = None,
        max_steps: int = -1,
        min_steps: int | None = None,
        max_time: str | timedelta | dict[str, int] | None = None,
        limit_train_batches: int | float | None = None,
        limit_val_batches: int | float | None = None,
        limit_test_batches: int | float | None = None,
        limit_predict_batches: int | float | None = None,
        overfit_batches: int | float = 0.0,
        val_check_interval: int | float | None = None,
        check_val_every_n_epoch: int | None = 1,
        num_sanity_val_steps: int | None = None,
        log_every_n_steps: int | None = None,
        enable_checkpointing: bool | None = None,
        enable_progress_bar: bool | None = None,
        enable_model_summary: bool | None = None,
        accumulate_grad_batches: int = 1,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
        deterministic: bool | str | None = None,
        benchmark: bool | None = None,
        inference_mode: bool = True,
        profiler: Any = None,
        detect_anomaly: bool = False,
        barebones: bool = False,
        reload_dataloaders_every_n_epochs: int = 0,
        default_root_dir: str | Path | None = None,
        enable_autolog_hparams: bool = True,
        use_distributed_sampler: bool = True,
        sync_batchnorm: bool = False,
        **unsupported: Any,
    ) -> None:
        defaults.refuse(unsupported)
        defaults.check_devices(accelerator, strategy, devices, num_nodes)
        fast = int(fast_dev_run)
        if fast < 0:
            raise MisconfigurationException(f"fast_dev_run={fast_dev_run!r} must be >= 0")
        if fast:
            # A rehearsal: everything once or so, and nothing written.
            max_epochs, max_steps, num_sanity_val_steps = 1, fast, 0
            limit_train_batches = limit_val_batches = limit_test_batches = fast
            limit_predict_batches, val_check_interval, check_val_every_n_epoch = fast, 1.0, 1
            logger, enable_checkpointing = False, False
        if barebones:
            logger, enable_checkpointing, enable_progress_bar = False, False, False
            enable_model_summary, num_sanity_val_steps, log_every_n_steps = False, 0, 0
        self.fast_dev_run = fast_dev_run
        self.barebones = barebones
        self.num_nodes = num_nodes
        self.max_epochs = defaults.epochs(max_epochs, max_steps, max_time)
        self.min_epochs = min_epochs
        self.max_steps = max_steps
        self.min_steps = min_steps
        self.limit_train_batches = defaults.limit("limit_train_batches", limit_train_batches)
        self.limit_val_batches = defaults.limit("limit_val_batches", limit_val_batches)
        self.limit_test_batches = defaults.limit("limit_test_batches", limit_test_batches)
        self.limit_predict_batches = defaults.limit("limit_predict_batches", limit_predict_batches)
        self.overfit_batches = defaults.limit("overfit_batches", overfit_batches)
        self.val_check_interval = defaults.limit("val_check_interval", val_check_interval)
        if check_val_every_n_epoch is None and isinstance(self.val_check_interval, float):
            raise MisconfigurationException(
                "`val_check_interval` should be an integer when `check_val_every_n_epoch=None`"
            )
        self.check_val_every_n_epoch = check_val_every_n_epoch
        self.num_sanity_val_steps = defaults.sanity_steps(num_sanity_val_steps)
        self.log_every_n_steps = 50 if log_every_n_steps is None else log_every_n_steps
        self.accumulate_grad_batches = defaults.positive(
            "accumulate_grad_batches", accumulate_grad_batches
        )
        self.gradient_clip_val = gradient_clip_val
        self.gradient_clip_algorithm = defaults.clip_algorithm(gradient_clip_algorithm)
        self.precision_plugin = Precision(precision)
        self.deterministic = deterministic
        self.inference_mode = inference_mode
        self.enable_autolog_hparams = enable_autolog_hparams
        self.detect_anomaly = detect_anomaly
        self.reload_dataloaders_every_n_epochs = reload_dataloaders_every_n_epochs
        self.default_root_dir = os.fspath(default_root_dir or os.getcwd())
        if deterministic:
            flambeau.use_deterministic_algorithms(True, warn_only=deterministic == "warn")

        self.state = TrainerState()
        self.should_stop = False
        self.interrupted = False
        self.ckpt_path: str | None = None
        self.optimizers: list[Any] = []
        self.wrapped_optimizers: list[LightningOptimizer] = []
        self.lr_scheduler_configs: list[Any] = []
        self.train_dataloader: Any = None
        self.val_dataloaders: Any = None
        self.test_dataloaders: Any = None
        self.predict_dataloaders: Any = None
        self.num_training_batches: int | float = math.inf
        self.val_check_batch: int | float | None = None
        self.num_val_batches: list[int | float] = []
        self.num_test_batches: list[int | float] = []
        self.num_predict_batches: list[int | float] = []
        self.datamodule: LightningDataModule | None = None
        self.published = Published()
        self._module: LightningModule | None = None
        self._results: Results | None = None
        self.fit_loop = FitLoop(self)
        self.validate_loop = Evaluation(self, "validation")
        self.test_loop = Evaluation(self, "test")
        self.predict_loop = Evaluation(self, "predict")
        self.loggers = defaults.loggers(self, logger)
        self.profiler, timing = defaults.profiler(profiler)
        self.callbacks: list[Callback] = defaults.callbacks(
            self,
            callbacks,
            checkpointing=enable_checkpointing,
            progress_bar=enable_progress_bar,
            summary=enable_model_summary,
            max_time=max_time,
            timing=timing,
        )

    # --- what one calls ---------------------------------------------------------------------

    def fit(
        self,
        model: LightningModule,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        datamodule: LightningDataModule | None = None,
        ckpt_path: str | Path | None = None,
        weights_only: bool | None = None,
    ) -> None:
        """Trains ``model`` on loaders, a data module's, or the model's own.

        ``ckpt_path``: a checkpoint to go on from, "last" or "best". Nothing in it is run, unless
        ``weights_only`` is False.

        Raises: ``MisconfigurationException`` if steps or loaders are missing;
        ``NonFiniteLossError`` if the loss becomes NaN; ``SIGTERMException`` or
        ``KeyboardInterrupt`` after a signal, when the state is saved.
        """
        given = {"train_dataloader": train_dataloaders, "val_dataloader": val_dataloaders}
        before, self.fit_loop = self.fit_loop, FitLoop(self)
        self.fit_loop.follow(before)
        self.should_stop = False
        with self._running("fit", model, given, datamodule):
            defaults.check_fit(self)
            found = checkpoints.find(self, ckpt_path, weights_only)
            if found is not None:
                self.ckpt_path = found[0]
                checkpoints.restore_module(self, found[1], fitting=True)
            self.optimizers, self.lr_scheduler_configs = configured(self.lightning_module)
            self.wrapped_optimizers = [LightningOptimizer(o, self) for o in self.optimizers]
            self.call("on_fit_start")
            self.log_hyperparameters()
            if found is not None:
                checkpoints.restore_training(self, found[1])
            found = None
            self.fit_loop.run()
            self.call("on_fit_end")

    def validate(
        self,
        model: LightningModule | None = None,
        dataloaders: Any = None,
        ckpt_path: str | Path | None = None,
        verbose: bool = True,
        datamodule: LightningDataModule | None = None,
        weights_only: bool | None = None,
    ) -> list[dict[str, float]]:
        """Runs ``validation_step`` over the validation data; returns each loader's values.

        ``verbose`` prints them. Without ``model`` it is the one that was trained, with its best
        weights if ``ckpt_path`` is "best".
        """
        given = {"val_dataloader": dataloaders}
        return self._evaluate("validate", "validation", model, given, ckpt_path, verbose,
                              datamodule, weights_only).found  # fmt: skip

    def test(
        self,
        model: LightningModule | None = None,
        dataloaders: Any = None,
        ckpt_path: str | Path | None = None,
        verbose: bool = True,
        datamodule: LightningDataModule | None = None,
        weights_only: bool | None = None,
    ) -> list[dict[str, float]]:
        """Runs ``test_step`` over the test data; returns each loader's values."""
        given = {"test_dataloader": dataloaders}
        return self._evaluate("test", "test", model, given, ckpt_path, verbose,
                              datamodule, weights_only).found  # fmt: skip

    def predict(
        self,
        model: LightningModule | None = None,
        dataloaders: Any = None,
        datamodule: LightningDataModule | None = None,
        return_predictions: bool | None = None,
        ckpt_path: str | Path | None = None,
        weights_only: bool | None = None,
    ) -> list[Any] | None:
        """Runs ``predict_step``; returns what it returns for each batch (a list for each loader, if
        there are several), or None with ``return_predictions=False``.
        """
        given = {"predict_dataloader": dataloaders}
        evaluation = self._evaluate("predict", "predict", model, given, ckpt_path, False,
                                    datamodule, weights_only)  # fmt: skip
        if return_predictions is False:
            return None
        predictions = evaluation.predictions
        return predictions[0] if len(predictions) == 1 else predictions

    def save_checkpoint(
        self, filepath: str | Path, weights_only: bool = False, storage_options: Any = None
    ) -> None:
        """Writes a checkpoint, in one step.

        Raises: ``AttributeError`` if no model was run yet.
        """
        if self._module is None:
            raise AttributeError(
                "Saving a checkpoint is only possible if a model is attached to the Trainer. Did "
                "you call `Trainer.save_checkpoint()` before calling `Trainer.{fit,validate,test,"
                "predict}`?"
            )
        checkpoints.write(checkpoints.dump(self, bool(weights_only)), filepath)

    # --- a run ------------------------------------------------------------------------------

    def _evaluate(
        self,
        fn: str,
        kind: str,
        model: LightningModule | None,
        given: dict[str, Any],
        ckpt_path: str | Path | None,
        verbose: bool,
        datamodule: LightningDataModule | None,
        weights_only: bool | None,
    ) -> Evaluation:
        model = self._module if model is None else model
        if model is None:
            raise TypeError(f"`Trainer.{fn}()` needs a model: none was given, and none was trained")
        with self._running(fn, model, given, datamodule):
            defaults.check_evaluation(self, kind)
            found = checkpoints.find(self, ckpt_path, weights_only)
            if found is not None:
                self.ckpt_path = found[0]
                checkpoints.restore_module(self, found[1], fitting=False)
            self.log_hyperparameters()
            evaluation = Evaluation(self, kind, verbose=verbose)
            setattr(self, f"{fn}_loop", evaluation)
            evaluation.found = evaluation.run()
        if evaluation.verbose:
            defaults.print_results(evaluation.found, kind)
        return evaluation

    @contextmanager
    def _running(
        self,
        fn: str,
        model: LightningModule,
        given: dict[str, Any],
        datamodule: LightningDataModule | None,
    ) -> Iterator[None]:
        """What every run begins and ends with."""
        # What `torch.compile` gives is the module in a shell.
        model = getattr(model, "_orig_mod", model)
        if not isinstance(model, LightningModule):
            raise TypeError(
                f"`model` must be a `LightningModule`, got `{type(model).__qualname__}`"
            )
        first = next(iter(given.values()))
        if datamodule is None and hasattr(first, "prepare_data"):
            given, datamodule = {}, first
        if datamodule is not None and any(v is not None for v in given.values()):
            raise MisconfigurationException(
                f"You cannot pass `{'`, `'.join(given)}` and a `datamodule` to `Trainer.{fn}`"
            )
        self._module, self.datamodule = model, datamodule
        self._given = {name: loaders for name, loaders in given.items() if loaders is not None}
        self.state = TrainerState.of(fn)
        self.interrupted = False
        model.trainer = self
        if datamodule is not None:
            datamodule.trainer = self
        own_callbacks = self.callbacks
        try:
            self.callbacks = self._with_the_modules(model)
            self.moments = Moments(self, model)
            self._prepare(fn, model)
            yield
            self.state.status = TrainerStatus.FINISHED
            for logger in self.loggers:
                logger.finalize("success")
            self.moments = Moments(self, model)
            if datamodule is not None:
                datamodule.teardown(fn)
            self.call("teardown", fn)
        except BaseException as error:
            self._stopped_by(error)
            raise
        finally:
            self.set_results(None)
            self.callbacks = own_callbacks
            self.state.stage = None

    def _prepare(self, fn: str, model: LightningModule) -> None:
        data = self.datamodule
        if data is not None:
            data.prepare_data()
        model.prepare_data()
        if data is not None:
            data.setup(fn)
        self.call("setup", fn)
        model.configure_model()
        if is_overridden("configure_sharded_model", model):
            model.configure_sharded_model()
        self.precision_plugin.convert(model)

    def _with_the_modules(self, model: LightningModule) -> list[Callback]:
        """The trainer's callbacks, with the module's in the place of those of the same class."""
        own = model.configure_callbacks()
        own = [own] if isinstance(own, Callback) else list(own or ())
        kinds = {type(callback) for callback in own}
        return with_last_checkpoints([c for c in self.callbacks if type(c) not in kinds] + own)

    def _stopped_by(self, error: BaseException) -> None:
        self.interrupted = isinstance(error, (KeyboardInterrupt, SystemExit))
        self.state.status = TrainerStatus.INTERRUPTED
        if self._module is not None:
            # Not those that a profiler times: it ends here.
            self.moments = Moments(self, self._module)
            for function in self.moments.of_callbacks("on_exception", lambda callback: True):
                function(error)
        if self.datamodule is not None:
            self.datamodule.on_exception(error)
        for logger in self.loggers:
            logger.finalize("failed")

    # --- what the loops call ----------------------------------------------------------------

    def call(self, name: str, *arguments: Any) -> None:
        """Calls the hook of all callbacks and of the module."""
        if self._results is not None:
            self._results.hook = name
        for function in self.moments[name]:
            function(*arguments)

    def call_callbacks(self, name: str, monitoring: bool) -> None:
        """Calls the hook of callbacks that look at metrics (early stopping), or of the others."""
        assert self._results is not None
        self._results.hook = name
        for function in self.moments.of_callbacks(
            name,
            lambda c: not isinstance(c, Checkpoint) and hasattr(c, "monitor") == monitoring,
        ):
            function()

    def call_module(self, name: str) -> None:
        """Calls the hook of the module."""
        assert self._results is not None
        self._results.hook = name
        for function in self.moments.of_module(name):
            function()

    def request_loader(self, name: str) -> Any:
        """The loaders of a stage: those given, else the data module's or the module's."""
        if name in self._given:
            return self._given[name]
        function = self.moments.loader(name)
        if function is None:
            raise MisconfigurationException(
                f"no data: `Trainer.{self.state.fn}` was given none, and `{name}` is not "
                "implemented"
            )
        return function()

    def has_loader(self, name: str) -> bool:
        """Whether there is any data for a stage."""
        return name in self._given or self.moments.loader(name) is not None

    def note_loaders(self, kind: str, loaders: Any, lengths: list[int | None]) -> None:
        """Keeps loaders and their lengths where users look for them."""
        short = "val" if kind == "validation" else kind
        setattr(self, f"{short}_dataloaders", loaders)
        counts = [math.inf if n is None else n for n in lengths]
        setattr(self, f"num_{short}_batches", counts)

    @property
    def enable_validation(self) -> bool:
        """Whether ``fit`` validates: there are data, a step, and batches to use."""
        module = self.lightning_module
        return (
            bool(self.limit_val_batches)
            and self.has_loader("val_dataloader")
            and is_overridden("validation_step", module)
        )

    def set_results(self, results: Results | None) -> None:
        """Where ``self.log`` writes from now on."""
        self._results = results

    def results_for_log(self) -> Results:
        """Where ``self.log`` writes. Raises ``MisconfigurationException`` outside of loops."""
        if self._results is None:
            raise MisconfigurationException(
                "You can't `self.log()` here: only within the steps and hooks of a running loop"
            )
        return self._results

    def take_old_form(self, output: Any, at_end: bool = False) -> None:
        """Logs ``log`` and ``progress_bar`` of a dictionary that a step or an end returned."""
        if not isinstance(output, dict):
            return
        shown = output.get("progress_bar") or {}
        logged = output.get("log") or {}
        given = {"on_step": not at_end, "on_epoch": at_end}
        log = self.lightning_module.log
        if at_end:
            others = {
                name: value
                for name, value in output.items()
                if name not in ("log", "progress_bar", *shown, *logged)
                and (isinstance(value, (int, float)) or _is_scalar(value))
            }
            for name, value in others.items():
                log(name, value, logger=False, batch_size=1, **given)
        for name, value in {**shown, **logged}.items():
            log(
                name,
                value,
                prog_bar=name in shown,
                logger=name in logged,
                batch_size=1,
                **given,
            )

    def manual_step(self, optimizer: Any, closure: Any, options: dict[str, Any]) -> Any:
        """A step through the optimizer that ``self.optimizers()`` gave."""
        if self.lightning_module.automatic_optimization:
            return optimizer.step(closure, **options)
        return self.fit_loop.manual_step(optimizer, closure, options)

    def manual_backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """A backward that the module asks for itself."""
        if self.lightning_module.automatic_optimization:
            raise MisconfigurationException(
                "`manual_backward` needs `automatic_optimization = False`: here the trainer calls "
                "backward itself"
            )
        loop = self.fit_loop
        if loop.before_backward:
            loop.call(loop.before_backward, "on_before_backward", loss)
        self.lightning_module.backward(loss, *args, **kwargs)
        if loop.after_backward:
            loop.call(loop.after_backward, "on_after_backward")

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Sends values to the loggers, the epoch with them."""
        if not metrics:
            return
        metrics = dict(metrics)
        step = int(metrics.pop("step", step))
        metrics.setdefault("epoch", self.current_epoch)
        self.published.logged.update(metrics)
        for logger in self.loggers:
            logger.log_metrics(metrics, step)

    def log_hyperparameters(self) -> None:
        """Sends the hyper-parameters of the module and the data module to the loggers."""
        if not self.enable_autolog_hparams:
            return
        given: dict[str, Any] = {}
        for owner in (self.datamodule, self._module):
            if owner is not None and getattr(owner, "_log_hyperparams", False):
                given |= owner.hparams_initial
        for logger in self.loggers:
            if given:
                logger.log_hyperparams(given)

    def save_last(self) -> str | None:
        """Saves to ``last`` of the checkpoint callback; None where there is none."""
        callback = self.checkpoint_callback
        if callback is None:
            return None
        path = callback.last_path({"epoch": self.current_epoch, "step": self.global_step})
        checkpoints.write(checkpoints.dump(self, rng=self.fit_loop.rng), path)
        return path

    def forget_metrics(self) -> None:
        """Forgets what the sanity check logged."""
        self.published = Published()


def _is_scalar(value: Any) -> bool:
    return isinstance(value, Tensor) and value.numel() == 1
