"""Loops without training: validation, test, prediction."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import flambeau
from flambeau.trainer.connecting import own_function, positional
from flambeau.trainer.data import as_list, limited
from flambeau.trainer.hooks import DataHooks
from flambeau.trainer.module import LightningModule
from flambeau.trainer.results import Results
from flambeau.trainer.state import STAGES
from flambeau.trainer.utilities.combined_loader import batches_of

if TYPE_CHECKING:
    from flambeau.trainer.trainer import Trainer

__all__ = ["Evaluation", "Mover"]

# Kind: (step, loaders, limit, what the hooks' names begin with).
_KINDS = {
    "validation": ("validation_step", "val_dataloader", "limit_val_batches", "on_validation"),
    "test": ("test_step", "test_dataloader", "limit_test_batches", "on_test"),
    "predict": ("predict_step", "predict_dataloader", "limit_predict_batches", "on_predict"),
}


class Mover:
    """Takes batches to the device, through the module's or data module's hooks if they have any."""

    def __init__(self, trainer: Trainer) -> None:
        module, data = trainer.lightning_module, trainer.datamodule
        self._precision = trainer.precision_plugin
        self._device = trainer.root_device
        self._parts = []
        for name in (
            "on_before_batch_transfer",
            "transfer_batch_to_device",
            "on_after_batch_transfer",
        ):
            own = own_function(data, name, DataHooks) if data is not None else None
            own = own or own_function(module, name, LightningModule)
            if own is not None:
                self._parts.append((name, own))
        self.needed = bool(self._parts) or not self._precision.plain

    def __call__(self, batch: Any, dataloader_idx: int) -> Any:
        batch = self._precision.batch(batch)
        for name, own in self._parts:
            if name == "transfer_batch_to_device":
                batch = own(batch, self._device, dataloader_idx)
            else:
                batch = own(batch, dataloader_idx)
        return batch


class Evaluation:
    """One kind of evaluation; read :meth:`run`."""

    def __init__(
        self, trainer: Trainer, kind: str, within_fit: bool = False, verbose: bool = True
    ) -> None:
        self.trainer = trainer
        self.kind = kind
        self.within_fit = within_fit
        # Whether the values are printed.
        self.verbose = verbose
        self.step_name, self.loader_name, self.limit_name, self.prefix = _KINDS[kind]
        self.results = Results()
        # Batches so far, over all runs: the step of what is logged at each batch.
        self.count = 0
        self.predictions: list[Any] | None = None
        self.loaders: list[Any] | None = None
        self.lengths: list[int | None] = []
        # The epoch of the training loop in which the loaders were made.
        self.loaded_at = 0

    def connect(self) -> None:
        """Finds out what is called; what hooks want depends on how many loaders there are."""
        trainer, moments = self.trainer, self.trainer.moments
        self.step = moments.own(self.step_name) or getattr(trainer.lightning_module, self.step_name)
        ends = f"{self.kind}_epoch_end"
        self.end_of_outputs = moments.own(ends) if self.kind != "predict" else None
        self.mover = Mover(trainer)
        self.batch_starts = self.numbered(moments[f"{self.prefix}_batch_start"], 3)
        self.batch_ends = self.numbered(moments[f"{self.prefix}_batch_end"], 4)
        ((_, numbered),) = self.numbered([self.step], 3)
        self.gives = positional(self.step, 3 if numbered else 2)

    def load_data(self) -> None:
        """Asks for the loaders, and how much of each is used; again if the trainer wants so."""
        trainer = self.trainer
        every, epoch = trainer.reload_dataloaders_every_n_epochs, trainer.current_epoch
        stale = self.within_fit and every and epoch - self.loaded_at >= every
        if self.loaders is not None and not stale:
            return
        self.loaded_at = epoch
        given = trainer.request_loader(self.loader_name)
        self.loaders = as_list(given)
        limit, name = getattr(trainer, self.limit_name), self.limit_name
        if trainer.overfit_batches and self.kind == "validation":
            limit, name = trainer.overfit_batches, "overfit_batches"
        self.lengths = [limited(loader, limit, name) for loader in self.loaders]
        trainer.note_loaders(self.kind, getattr(given, "iterables", given), self.lengths)
        self.connect()

    def run(self, most: float = math.inf) -> list[dict[str, float]]:
        """All batches, in evaluation mode; returns each loader's values.

        ``most`` limits the batches of each loader: the sanity check before training.
        """
        trainer, results = self.trainer, self.results
        trainer.set_results(results)
        results.end_epoch()
        with self.evaluating():
            trainer.call(f"{self.prefix}_start")
            trainer.call(f"{self.prefix}_epoch_start")
            outputs = [self.run_loader(number, most) for number in range(len(self.loaders))]
            results.dataloader_idx = None
            results.new_batch(None)
            trainer.call_callbacks(f"{self.prefix}_epoch_end", monitoring=False)
            if self.end_of_outputs is not None:
                results.hook = f"{self.prefix}_epoch_end"
                given = outputs[0] if len(outputs) == 1 else outputs
                trainer.take_old_form(self.end_of_outputs(given), at_end=True)
            trainer.call_module(f"{self.prefix}_epoch_end")
            trainer.call_callbacks(f"{self.prefix}_epoch_end", monitoring=True)
            results.collect()
            for_loggers = trainer.published.take_epoch(results)
            if for_loggers and not trainer.sanity_checking:
                trainer.log_metrics(for_loggers, trainer.fit_loop.logged_step)
            found = self.by_loader()
            trainer.set_results(None)
            trainer.call(f"{self.prefix}_end")
        results.end_epoch()
        if self.kind == "predict":
            self.predictions = outputs
        return found

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode and no gradients; afterwards every submodule's mode is what it was."""
        trainer, module = self.trainer, self.trainer.lightning_module
        stage = trainer.state.stage
        if not trainer.sanity_checking:
            trainer.state.stage = STAGES[self.kind]
        mode = flambeau.inference_mode if trainer.inference_mode else flambeau.no_grad
        with mode():
            self.load_data()
            modes = [(m, m.training) for m in module.modules()]
            getattr(module, f"{self.prefix}_model_eval")()
            try:
                yield
            finally:
                # A prediction has no such hook.
                own = None if self.kind == "predict" else f"{self.prefix}_model_train"
                if own is not None and trainer.moments.own(own) is not None:
                    getattr(module, own)()
                else:
                    for part, training in modes:
                        part.training = training
                trainer.state.stage = stage

    def run_loader(self, number: int, most: float) -> list[Any]:
        """The batches of one loader; returns what the steps returned, if anybody wants it."""
        trainer, results = self.trainer, self.results
        several = len(self.loaders) > 1
        results.dataloader_idx = number if several else None
        kept: list[Any] = []
        keep = self.kind == "predict" or self.end_of_outputs is not None
        limit = self.lengths[number]
        most = most if limit is None else min(most, limit)
        if not most:
            return kept
        for index, batch in enumerate(batches_of(self.loaders[number])):
            if self.mover.needed:
                batch = self.mover(batch, number)
            results.new_batch(batch)
            if self.batch_starts:
                self.call(self.batch_starts, "batch_start", batch, index, number)
            output = self.evaluate(batch, index, number)
            if keep:
                kept.append(output)
            if self.batch_ends:
                self.call(self.batch_ends, "batch_end", output, batch, index, number)
            results.collect()
            self.log_batch()
            if self.within_fit and not trainer.sanity_checking:
                trainer.fit_loop.heed_signals_within_validation()
            if index + 1 >= most:
                break
        return kept

    def evaluate(self, batch: Any, index: int, number: int) -> Any:
        """What the step returns for a batch."""
        self.results.hook = f"{self.kind}_step"
        with self.trainer.precision_plugin.context():
            return self.step(*(batch, index, number)[: self.gives])

    def call(self, functions: list[tuple[Any, bool]], name: str, *arguments: Any) -> None:
        """Calls the hooks of a batch; the loader's number is given where there are several loaders,
        or where the hook cannot do without.
        """
        self.results.hook = f"{self.prefix}_{name}"
        for function, numbered in functions:
            function(*(arguments if numbered else arguments[:-1]))

    def numbered(self, functions: list[Any], count: int) -> list[tuple[Any, bool]]:
        """The functions, and whether each gets the loader's number."""
        several = len(self.loaders) > 1
        return [(function, several or _required(function, count)) for function in functions]

    def log_batch(self) -> None:
        """Sends what is logged at every step to the loggers, under the number of the batch."""
        trainer = self.trainer
        values = {n: v for n, v, entry in self.results.step_metrics() if entry.logger}
        if values and not trainer.sanity_checking:
            trainer.log_metrics(values, self.count)
        self.count += 1

    # --- Lightning's names ------------------------------------------------------------------

    @property
    def num_dataloaders(self) -> int:
        """How many loaders there are; 0 before they are made."""
        return len(self.loaders or ())

    @property
    def max_batches(self) -> list[int | float]:
        """How many batches of each loader are used."""
        return [math.inf if n is None else n for n in self.lengths]

    @property
    def inference_mode(self) -> bool:
        """Whether it is in inference mode, not only without gradients."""
        return self.trainer.inference_mode

    @inference_mode.setter
    def inference_mode(self, value: bool) -> None:
        self.trainer.inference_mode = value

    def by_loader(self) -> list[dict[str, float]]:
        """The epoch's values, each with its loader's; those of no loader with the first's."""
        found: list[dict[str, float]] = [{} for _ in self.loaders]
        for (_, _, where), entry in self.results.entries.items():
            if entry.on_epoch and (value := entry.value) is not None:
                name = entry.name + ("_epoch" if entry.on_step else "")
                if found:
                    found[where or 0][name] = value
        return found


def _required(function: Any, count: int) -> bool:
    """Whether a function cannot be called with fewer than ``count`` arguments."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in plain and p.default is p.empty for p in parameters) >= count
