"""The training loop: epochs of batches, with validations between them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flambeau.tensor import Tensor
from flambeau.trainer import checkpoints
from flambeau.trainer.connecting import positional
from flambeau.trainer.data import EpochBatches, in_order, limited, parts_of
from flambeau.trainer.evaluation import Evaluation, Mover
from flambeau.trainer.nonfinite import non_finite_gradient, non_finite_loss
from flambeau.trainer.optimizers import step_schedules
from flambeau.trainer.position import Position
from flambeau.trainer.results import Results
from flambeau.trainer.seeding import rng_state
from flambeau.trainer.signals import Signals
from flambeau.trainer.utilities.combined_loader import combined
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.trainer.utilities.rank_zero import rank_zero_warn

if TYPE_CHECKING:
    from flambeau.optim import Optimizer
    from flambeau.trainer.trainer import Trainer

__all__ = ["FitLoop"]

# More than there are callbacks: all of a moment's are done.
_ALL = 1_000_000


class Interrupted(Exception):
    """A signal was noted; all that was begun is done."""


class FitLoop(Position):
    """One call of ``fit``. Read :meth:`run` first."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.epoch = self.global_step = self.logged_step = self.total_batches = 0
        self.length = None
        self.results = Results()
        self.batches: EpochBatches | None = None
        self.batch_idx = -1
        self.is_last_batch = False
        self.validation: Evaluation | None = None
        # The moment that is over but for the callbacks that write checkpoints, and which of
        # these is at work.
        self.moment: tuple[str, int] = ("", _ALL)
        self.resumed: dict[str, Any] | None = None
        # The generators' states to go on from, or to save instead of the present ones.
        self.rng: Any = None
        # (loss, batch, index) since the last optimizer step.
        self.window: list[tuple[Any, Any, int]] = []
        self.epoch_outputs: list[Any] = []
        self.loader: Any = None
        self.output: Any = None
        self._skip_rest = False

    # --- the loop ---------------------------------------------------------------------------

    def run(self) -> None:
        """Trains until an epoch, a step, the time or a callback ends it."""
        with Signals() as self.signals:
            try:
                self.connect()
                self.load()
                if self.finished and not self.restarting:
                    return
                self.begin()
                while self.batches is not None or not self.finished:
                    if self.batches is None:
                        self.begin_epoch()
                    if not self.finished_within_epoch:
                        for index, batch, last in self.batches:
                            self.train_batch(batch, index, last)
                            self.after_batch(index, last)
                            if self.finished_within_epoch:
                                break
                    self.end_epoch()
            except Interrupted:
                self.save_and_stop()
        self.end()

    def after_batch(self, index: int, last: bool) -> None:
        """Validates where that is due, and heeds signals at the end of optimizer steps."""
        if self.validation_due(index, last):
            self.validate()
        if self.signals.received is not None and not self.window:
            raise Interrupted

    def connect(self) -> None:
        """Finds out what is called when."""
        trainer = self.trainer
        trainer.set_results(self.results)
        moments = trainer.moments
        self.batch_starts = moments["on_train_batch_start"]
        self.batch_ends = moments["on_train_batch_end"]
        self.checkpoint_ends = moments.of_checkpoints("on_train_batch_end")
        self.before_zero_grad = moments["on_before_zero_grad"]
        self.before_backward = moments["on_before_backward"]
        self.after_backward = moments["on_after_backward"]
        self.before_step = moments["on_before_optimizer_step"]
        module = trainer.lightning_module
        self.step = moments.own("training_step")
        self.gives = positional(self.step, 3)
        self.several = _steps_by_index(self.step)
        if module.automatic_optimization and len(trainer.optimizers) > 1 and not self.several:
            raise MisconfigurationException(
                "Training with multiple optimizers is only supported with manual optimization. Set "
                "`self.automatic_optimization = False`, then access your optimizers in "
                "`training_step` with `opt1, opt2, ... = self.optimizers()` (or let it take "
                "`optimizer_idx`, as in Lightning 1)."
            )
        self.mover = Mover(trainer)
        self.clips = bool(trainer.gradient_clip_val) or moments.own("configure_gradient_clipping")
        self.own_optimizer_step = moments.own("optimizer_step")
        self.own_zero_grad = moments.own("optimizer_zero_grad")
        self.own_backward = moments.own("backward")
        self.epoch_end_of_outputs = moments.own("training_epoch_end")

    def load(self) -> None:
        """Asks for the data, and tries the validation with a little of them."""
        trainer = self.trainer
        if trainer.enable_validation:
            self.validation = Evaluation(trainer, "validation", within_fit=True)
        if self.resumed is None:
            self.sanity_check()
        self.load_data()
        if self.resumed is not None and self.resumed["moment"][0] == "on_train_epoch_end":
            # Hooks see the epoch that comes.
            self.epoch += 1
        if self.finished and not self.restarting:
            return
        if self.validation is not None and self.validates_in_this_epoch:
            trainer.validating = True
            self.validation.load_data()
            trainer.training = True

    def begin(self) -> None:
        """Starts, and takes up a checkpoint's position."""
        trainer = self.trainer
        trainer.lightning_module.train()
        trainer.set_results(self.results)
        trainer.call("on_train_start")
        if self.resumed is not None:
            self.take_up(self.resumed)

    def load_data(self) -> None:
        """Asks for the training loader."""
        trainer = self.trainer
        self.loader = combined(trainer.request_loader("train_dataloader"))
        if trainer.overfit_batches:
            self.loader = in_order(self.loader)
            limit, name = trainer.overfit_batches, "overfit_batches"
        else:
            limit, name = trainer.limit_train_batches, "limit_train_batches"
        self.length = limited(self.loader, limit, name)
        trainer.train_dataloader = getattr(self.loader, "iterables", self.loader)
        trainer.num_training_batches = math.inf if self.length is None else self.length
        if self.length == 0:
            rank_zero_warn("`Trainer.fit` stopped: `training_dataloader` has no batches.")
        self.validate_every = self.validation_interval()
        trainer.val_check_batch = self.validate_every or trainer.num_training_batches

    def validation_interval(self) -> int | None:
        """After how many batches to validate; None: at the end of the epoch."""
        given = self.trainer.val_check_interval
        if isinstance(given, int):
            within = self.trainer.check_val_every_n_epoch is not None
            if within and self.length is not None and given > self.length:
                raise ValueError(
                    f"`val_check_interval` ({given}) must be at most the number of the "
                    f"training batches ({self.length}). To disable validation set "
                    "`limit_val_batches` to 0.0 instead. If you want to validate based on the "
                    "total training batches, set `check_val_every_n_epoch=None`."
                )
            return given
        if self.length is None:
            if given != 1.0:
                raise MisconfigurationException(
                    "When using an IterableDataset for `train_dataloader`, "
                    "`Trainer(val_check_interval)` must be `1.0` or an int. An int k specifies "
                    "checking validation every k training batches."
                )
            return None
        return None if given == 1.0 else max(1, int(self.length * given))

    # --- an epoch ---------------------------------------------------------------------------

    def begin_epoch(self) -> None:
        """Calls the hooks, and begins a pass over the data."""
        trainer = self.trainer
        every = trainer.reload_dataloaders_every_n_epochs
        if every and self.epoch and self.epoch % every == 0:
            self.load_data()
        for part in parts_of(self.loader):
            if hasattr(part, "set_epoch"):
                part.set_epoch(self.epoch)
        self._skip_rest = False
        trainer.call("on_train_epoch_start")
        self.batches = EpochBatches(self.loader, self.length)

    def end_epoch(self) -> None:
        """Reduces what was logged, calls the hooks, steps schedules that look at metrics."""
        trainer = self.trainer
        self.results.collect()
        trainer.call_callbacks("on_train_epoch_end", monitoring=False)
        self.results.hook = "on_train_epoch_end"
        if self.epoch_end_of_outputs:
            outputs, self.epoch_outputs = self.epoch_outputs, []
            trainer.take_old_form(self.epoch_end_of_outputs(outputs), at_end=True)
        trainer.call_module("on_train_epoch_end")
        self.results.collect()
        trainer.published.take_steps(self.results)
        for_loggers = trainer.published.take_epoch(self.results)
        trainer.call_callbacks("on_train_epoch_end", monitoring=True)
        self.step_schedules("epoch", plateau=True)
        trainer.log_metrics(for_loggers, self.logged_step - 1)
        self.results.end_epoch()
        self.batches = None
        self.write_checkpoints("on_train_epoch_end")
        self.epoch += 1
        self.moment = "", _ALL

    # --- a batch ----------------------------------------------------------------------------

    def train_batch(self, batch: Any, index: int, last: bool) -> None:
        """One batch: forward, backward and, at the end of an accumulation, the step."""
        trainer, results = self.trainer, self.results
        self.batch_idx, self.is_last_batch = index, last
        if self.mover.needed:
            batch = self.mover(batch, 0)
        results.batch, results.batch_size = batch, None
        if self.batch_starts:
            results.hook = "on_train_batch_start"
            if any([start(batch, index) == -1 for start in self.batch_starts]):
                self._skip_rest = self.is_last_batch = True
                self.step_schedules("epoch", plateau=False)
                return
        every = trainer.accumulate_grad_batches
        stepping = every == 1 or last or (index + 1) % every == 0
        stepped_before = self.global_step
        if not trainer.lightning_module.automatic_optimization:
            self.forward(batch, index)
            stepping = self.global_step > stepped_before
        elif self.several:
            for number, optimizer in enumerate(trainer.optimizers):
                trainer.lightning_module.toggle_optimizer(optimizer)
                self.optimize(optimizer, batch, index, stepping, number)
                trainer.lightning_module.untoggle_optimizer(optimizer)
        else:
            optimizer = trainer.optimizers[0] if trainer.optimizers else None
            self.optimize(optimizer, batch, index, stepping)
        if stepping:
            results.collect()
            self.check_losses()
        self.total_batches += 1
        if trainer.lr_scheduler_configs:
            if stepping:
                self.step_schedules("step", plateau=False)
            if last:
                self.step_schedules("epoch", plateau=False)
        if self.batch_ends or self.epoch_end_of_outputs:
            self.call_batch_ends(batch, index)
        if stepping:
            self.log_step()
        if self.checkpoint_ends:
            self.write_checkpoints("on_train_batch_end", _as_output(self.output), batch, index)
        self.moment = "on_train_batch_end", _ALL

    def optimize(
        self,
        optimizer: Optimizer | None,
        batch: Any,
        index: int,
        stepping: bool,
        number: int | None = None,
    ) -> None:
        """Gradients of a batch and, if ``stepping``, the optimizer's step with them."""
        trainer = self.trainer
        module = trainer.lightning_module
        every = trainer.accumulate_grad_batches
        begins = every == 1 or index % every == 0

        def closure() -> Any:
            loss = self.forward(batch, index, number)
            if begins and optimizer is not None:
                if self.before_zero_grad:
                    self.call(self.before_zero_grad, "on_before_zero_grad", optimizer)
                if self.own_zero_grad:
                    module.optimizer_zero_grad(self.epoch, index, optimizer)
                else:
                    optimizer.zero_grad()
            if loss is not None:
                if trainer.detect_anomaly:
                    self.check_losses(updated=False)
                self.backward(loss / every if every > 1 else loss)
                if trainer.detect_anomaly:
                    error = non_finite_gradient(module, self.place(index))
                    if error is not None:
                        raise error
            return loss

        if optimizer is None or not stepping:
            closure()
            return

        def closure_and_clip() -> Any:
            loss = closure()
            self.before_optimizer_step(optimizer)
            return loss

        if self.own_optimizer_step:
            self.results.hook = "optimizer_step"
            wrapped = trainer.wrapped_optimizers[number or 0]
            module.optimizer_step(self.epoch, index, wrapped, closure_and_clip)
        else:
            optimizer.step(closure_and_clip)
        self.global_step += 1

    def forward(self, batch: Any, index: int, number: int | None = None) -> Tensor | None:
        """The loss of a batch; None if the step gave none."""
        self.results.hook = "training_step"
        arguments = (batch, index) if self.gives > 1 else (batch,)
        if number is not None:
            arguments = (*arguments, number)
        if self.trainer.precision_plugin.plain:
            output = self.step(*arguments)
        else:
            with self.trainer.precision_plugin.context():
                output = self.step(*arguments)
        self.output = output
        if isinstance(output, Tensor):
            loss = output
        elif output is None:
            loss = None
        elif isinstance(output, dict):
            loss = output.get("loss")
            if "loss" not in output and self.trainer.lightning_module.automatic_optimization:
                raise MisconfigurationException(
                    "In automatic_optimization, when `training_step` returns a dict, the 'loss' "
                    "key needs to be present"
                )
            if "log" in output or "progress_bar" in output:
                self.trainer.take_old_form(output)
        else:
            raise MisconfigurationException(
                "In automatic optimization, `training_step` must return a Tensor, a dict, or None "
                f"(where the step will be skipped); got {type(output).__name__}"
            )
        if loss is not None:
            self.window.append((loss, batch, index))
        return loss

    def backward(self, loss: Tensor) -> None:
        """The gradients, between their hooks."""
        if self.before_backward:
            self.call(self.before_backward, "on_before_backward", loss)
        if self.own_backward:
            self.trainer.lightning_module.backward(loss)
        else:
            loss.backward()
        if self.after_backward:
            self.call(self.after_backward, "on_after_backward")

    def before_optimizer_step(self, optimizer: Optimizer) -> None:
        """What comes between the gradients and their use."""
        if self.before_step:
            self.call(self.before_step, "on_before_optimizer_step", optimizer)
        if self.clips:
            trainer = self.trainer
            trainer.lightning_module.configure_gradient_clipping(
                optimizer,
                gradient_clip_val=trainer.gradient_clip_val,
                gradient_clip_algorithm=trainer.gradient_clip_algorithm,
            )

    def manual_step(self, optimizer: Optimizer, closure: Callable | None, options: Any) -> Any:
        """A step that the module asks for itself (``automatic_optimization=False``)."""
        if self.before_step:
            self.call(self.before_step, "on_before_optimizer_step", optimizer)
        result = optimizer.step(closure, **options) if closure else optimizer.step(**options)
        self.global_step += 1
        return result

    def call(self, functions: list[Callable], hook: str, *arguments: Any) -> None:
        """Calls hooks within a step; what they log is theirs."""
        before, self.results.hook = self.results.hook, hook
        for function in functions:
            function(*arguments)
        self.results.hook = before

    def call_batch_ends(self, batch: Any, index: int) -> None:
        """Hands the step's output to who wants it, free of history."""
        output = _as_output(self.output)
        if self.epoch_end_of_outputs:
            self.epoch_outputs.append(output)
        self.call(self.batch_ends, "on_train_batch_end", output, batch, index)
        self.results.hook = ""

    # --- after a step -----------------------------------------------------------------------

    def check_losses(self, updated: bool = True) -> None:
        """Stops at a loss that is NaN or infinite; reading it costs nothing once it is computed."""
        module = self.trainer.lightning_module
        for loss, batch, index in self.window:
            value = loss.item()
            if not math.isfinite(value):
                self.trainer.set_results(Results())
                error = non_finite_loss(
                    module,
                    lambda batch=batch, index=index: self.forward(batch, index),
                    value,
                    batch,
                    self.place(index),
                    updated,
                )
                self.window.clear()
                raise error
        if updated:
            self.window.clear()

    def log_step(self) -> None:
        """Sends the values of the step to the loggers, every ``log_every_n_steps``."""
        trainer = self.trainer
        every = trainer.log_every_n_steps
        self.results.collect()
        self.logged_step += 1
        if trainer.loggers and ((every and self.logged_step % every == 0) or trainer.should_stop):
            trainer.log_metrics(
                {n: v for n, v, entry in self.results.step_metrics() if entry.logger},
                self.logged_step - 1,
            )

    def step_schedules(self, interval: str, plateau: bool) -> None:
        """Steps the schedules whose turn it is."""
        if self.trainer.lightning_module.automatic_optimization:
            count = (self.batch_idx if interval == "step" else self.epoch) + 1
            step_schedules(self.trainer, interval, count, plateau)

    # --- validation -------------------------------------------------------------------------

    def validation_due(self, index: int, last: bool) -> bool:
        """Whether a validation follows this batch."""
        trainer = self.trainer
        if self.validation is None:
            return False
        if not self.validates_in_this_epoch:
            return False
        if trainer.should_stop and self.may_stop:
            return True
        if self.validate_every is None:
            return last
        seen = self.total_batches if trainer.check_val_every_n_epoch is None else index + 1
        return seen % self.validate_every == 0

    def validate(self) -> None:
        """A validation within training."""
        # A signal within it takes the generators back to where they are now.
        self.rng = rng_state()
        trainer = self.trainer
        trainer.validating = True
        if not self.window:
            trainer.lightning_module.on_validation_model_zero_grad()
        assert self.validation is not None
        self.validation.run()
        self.rng = None
        trainer.training = True
        trainer.set_results(self.results)
        self.step_schedules("step", plateau=True)
        self.write_checkpoints("on_validation_end")

    def heed_signals_within_validation(self) -> None:
        """Called after each validation batch: stops with the state before the validation."""
        if self.signals.received is not None and not self.window:
            raise Interrupted

    def sanity_check(self) -> None:
        """A few validation batches, so that their errors come before an hour of training."""
        trainer = self.trainer
        if self.validation is None or not trainer.num_sanity_val_steps:
            return
        trainer.sanity_checking = True
        generators = rng_state()
        trainer.call("on_sanity_check_start")
        self.validation.run(most=trainer.num_sanity_val_steps)
        trainer.call("on_sanity_check_end")
        trainer.forget_metrics()
        checkpoints.set_rng(generators)
        trainer.training = True

    # --- checkpoints ------------------------------------------------------------------------

    def write_checkpoints(self, moment: str, *arguments: Any, after: int = -1) -> None:
        """Calls the callbacks that write checkpoints; all else of the moment is done."""
        for number, function in enumerate(self.trainer.moments.of_checkpoints(moment)):
            if number > after:
                self.moment = moment, number
                function(*arguments)
        self.moment = moment, _ALL

    def state_dict(self) -> dict[str, Any]:
        """Where the loop stands: enough to draw the same batches and go on behind this one."""
        return {
            "epoch": self.epoch,
            "global_step": self.global_step,
            "logged_step": self.logged_step,
            "total_batches": self.total_batches,
            "batch_idx": self.batch_idx,
            "is_last_batch": self.is_last_batch,
            "moment": list(self.moment),
            "batches": self.batches.position if self.batches is not None else None,
            "results": self.results.state_dict(checkpoints.metrics_of(self.trainer)),
            "outputs": self.epoch_outputs,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` returned, when :meth:`run` begins."""
        self.resumed = state
        for name in ("epoch", "global_step", "logged_step", "total_batches", "batch_idx"):
            setattr(self, name, state[name])
        self.is_last_batch = state["is_last_batch"]
        self.epoch_outputs = state["outputs"]
        self.results.load_state_dict(state["results"], checkpoints.metrics_of(self.trainer))

    def load_foreign(self, epoch: int, global_step: int) -> None:
        """Goes on after an epoch whose position within the data is not known."""
        self.epoch, self.global_step, self.logged_step = epoch + 1, global_step, global_step

    def take_up(self, state: dict[str, Any]) -> None:
        """Goes on where the checkpoint was written: what followed there follows here."""
        moment, number = state["moment"]
        if state["batches"] is not None:
            self.batches = EpochBatches(self.loader, self.length, state["batches"])
        checkpoints.restore_generators(self.trainer)
        arguments = (None, None, self.batch_idx) if moment == "on_train_batch_end" else ()
        self.epoch = state["epoch"]
        self.write_checkpoints(moment, *arguments, after=number)
        if moment == "on_train_epoch_end":
            self.epoch += 1
        elif moment == "on_train_batch_end" and self.batches is not None and self.batches.taken:
            if self.validation_due(self.batch_idx, self.is_last_batch):
                self.validate()
        self.resumed = None

    def pending_gradients(self) -> dict[str, Tensor]:
        """The gradients of an accumulation that has not stepped yet."""
        if not self.window:
            return {}
        parameters = self.trainer.lightning_module.named_parameters()
        return {name: p.grad for name, p in parameters if p.grad is not None}

    def save_and_stop(self) -> None:
        """Saves to ``last``, then ends the run with the signal's exception."""
        received = self.signals.received
        assert received is not None
        path = self.trainer.save_last()
        if path:
            print(f'saved {path}: fit(…, ckpt_path="{path}") goes on from there', flush=True)
        raise Signals.exception(received)

    def end(self) -> None:
        """Training is over."""
        self.trainer.call("on_train_end")
        self.write_checkpoints("on_train_end")


def _as_output(output: Any) -> Any:
    """A step's output as hooks get it: a dictionary, its tensors without history."""
    if output is None:
        return {}
    if isinstance(output, Tensor):
        return {"loss": output.detach()}
    return {k: v.detach() if isinstance(v, Tensor) else v for k, v in output.items()}


def _steps_by_index(step: Callable) -> bool:
    return "optimizer_idx" in inspect.signature(step).parameters
