"""Writes tests/lightning_hooks.json: which hooks Lightning calls, in which order, with what.

Run it where Lightning is installed (``pip install lightning``); it is no dependency of anything
here. ``tests/test_trainer_hooks.py`` runs the same scenarios with Flambeau's trainer and compares.
"""

from __future__ import annotations

import inspect
import json
import tempfile
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "tests" / "lightning_hooks.json"

_MOMENTS = [
    "setup", "teardown", "on_fit_start", "on_fit_end", "on_train_start", "on_train_end",
    "on_train_epoch_start", "on_train_epoch_end", "on_train_batch_start", "on_train_batch_end",
    "on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step",
    "on_save_checkpoint", "on_load_checkpoint",
]  # fmt: skip
_EVALUATED = [
    f"on_{kind}_{what}"
    for kind in ("validation", "test", "predict")
    for what in ("start", "end", "epoch_start", "epoch_end", "batch_start", "batch_end")
]
CALLBACK = [
    *_MOMENTS, *_EVALUATED, "on_sanity_check_start", "on_sanity_check_end", "on_exception",
    "state_dict", "load_state_dict",
]  # fmt: skip
_LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader", "predict_dataloader")
_TRANSFERS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
MODULE = [
    *_MOMENTS, *_EVALUATED, *_LOADERS, *_TRANSFERS, "prepare_data", "configure_callbacks",
    "configure_model", "configure_optimizers", "training_step", "validation_step", "test_step",
    "predict_step", "backward", "optimizer_step", "optimizer_zero_grad", "lr_scheduler_step",
    "configure_gradient_clipping", "on_validation_model_eval", "on_validation_model_train",
    "on_validation_model_zero_grad", "on_test_model_eval", "on_test_model_train",
    "on_predict_model_eval", "on_predict_model_train",
]  # fmt: skip
DATA = [
    *_LOADERS, *_TRANSFERS, "prepare_data", "setup", "teardown", "state_dict", "load_state_dict",
    "on_exception",
]  # fmt: skip


def named(value: Any) -> str:
    """What an argument is, the same for both libraries: the type's name, keys and lengths."""
    if isinstance(value, dict):
        keys = sorted(map(str, value))
        # What else a checkpoint holds is each library's own.
        return "checkpoint" if "state_dict" in value else f"dict({', '.join(keys)})"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}({', '.join(map(named, value))})"
    if isinstance(value, str):
        # An enumeration's value is the same string.
        return repr(str(getattr(value, "value", value)))
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    name = type(value).__name__
    if name == "Tensor":
        return f"Tensor{list(value.shape)}"
    if callable(value) and not hasattr(value, "forward"):
        return "callable"
    # Lightning makes a class for each kind of optimizer that it wraps.
    name = "LightningOptimizer" if name.startswith("Lightning") else name
    return {"_MockOptimizer": "NoOptimizer"}.get(name, name)


class Record:
    """A list of calls; :meth:`watch` makes a class's methods write to it."""

    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self.calls: list[str] = []
        self.trainer: Any = None

    def watch(self, cls: type, prefix: str, names: list[str]) -> type:
        """A subclass of ``cls`` whose methods are recorded, then do what ``cls``'s do."""
        made = type(prefix, (cls,), {n: self._recorded(n, prefix) for n in names})
        return made

    def _recorded(self, name: str, prefix: str) -> Callable:
        def hook(this: Any, *args: Any, **kwargs: Any) -> Any:
            does = getattr(super(type(this), this), name)
            given = inspect.signature(does).bind(*args, **kwargs)
            self.note(f"{prefix}.{name}", given.args)
            return does(*args, **kwargs)

        hook.__name__ = name
        return hook

    def note(self, name: str, given: tuple[Any, ...]) -> None:
        """Writes down a call, and where the trainer says it is."""
        self.calls.append(f"{name}({', '.join(map(named, given))}) {self.where()}".strip())

    def where(self) -> str:
        """The trainer's epoch, step and stage, and whether gradients are recorded."""
        trainer = self.trainer
        if trainer is None or trainer.state.fn is None:
            return ""
        stage = next(
            (s for s in ("training", "sanity_checking", "validating", "testing", "predicting")
             if getattr(trainer, s)), "no stage"
        )  # fmt: skip
        grad = "grad" if self.torch.is_grad_enabled() else "no grad"
        model = trainer.lightning_module
        mode = "train" if model is None or model.training else "eval"
        last = ", last" if trainer.is_last_batch and stage == "training" else ""
        step = f"{trainer.current_epoch}, {trainer.global_step}{last}"
        return f"@ {stage} {step}; {mode}, {grad}"


def classes(torch: Any, pl: Any, record: Record) -> dict[str, type]:
    """The module, the callback and the data module that are watched."""
    nn = torch.nn

    def loader(batches: int) -> Any:
        return torch.utils.data.DataLoader(torch.ones(2 * batches, 3), batch_size=2)

    class Plain(pl.LightningModule):
        loaders = 1

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.layer(batch).square().mean()

        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
            self.log("seen", self.layer(batch).mean(), batch_size=2)

        def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
            return {"found": self.layer(batch).mean(), "size": 2}

        def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
            return self.layer(batch)

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.01)
            schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
            return {"optimizer": optimizer, "lr_scheduler": schedule}

        def train_dataloader(self) -> Any:
            return loader(3)

        def val_dataloader(self) -> Any:
            found = [loader(2) for _ in range(self.loaders)]
            return found if self.loaders > 1 else found[0]

        test_dataloader = predict_dataloader = val_dataloader

    class Data(pl.LightningDataModule):
        def train_dataloader(self) -> Any:
            return loader(2)

        def val_dataloader(self) -> Any:
            return loader(1)

    return {
        "plain": Plain,
        "module": record.watch(Plain, "module", MODULE),
        "callback": record.watch(pl.Callback, "callback", CALLBACK),
        "data": record.watch(Data, "data", DATA),
    }


def _manual(base: type) -> type:
    class Manual(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            optimizer = self.optimizers()
            optimizer.zero_grad()
            loss = self.layer(batch).square().mean()
            self.manual_backward(loss)
            optimizer.step()
            return {"loss": loss, "more": 1}

    return Manual


def _schedules(base: type, torch: Any) -> type:
    class Schedules(base):  # type: ignore[misc, valid-type]
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.01)
            steps = torch.optim.lr_scheduler.StepLR(optimizer, 1)
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
            return [optimizer], [
                {"scheduler": steps, "interval": "step", "frequency": 2},
                {"scheduler": plateau, "monitor": "seen"},
            ]

    return Schedules


def record_all(torch: Any, pl: Any, folder: Path) -> dict[str, list[str]]:
    """Every scenario's calls, by its name."""
    found: dict[str, list[str]] = {}
    quiet = {
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }

    def scenario(
        name: str,
        what: Callable[[Any, Any, dict[str, type]], Any],
        change: Callable[[type], type] | None = None,
        **options: Any,
    ) -> None:
        record = Record(torch)
        made = classes(torch, pl, record)
        if change is not None:
            made["module"] = record.watch(change(made["plain"]), "module", MODULE)
        callbacks = [made["callback"](), *options.pop("callbacks", ())]
        options.setdefault("enable_checkpointing", False)
        trainer = pl.Trainer(callbacks=callbacks, **quiet, **options)
        record.trainer = trainer
        module = made["module"]()
        try:
            what(trainer, module, made)
        except ZeroDivisionError:
            record.calls.append("raised")
        after = f"after: epoch {trainer.current_epoch}, step {trainer.global_step}"
        found[name] = [*record.calls, f"{after}, {trainer.state.status.value}"]

    def fit(trainer: Any, module: Any, made: Any) -> None:
        trainer.fit(module)

    saver = pl.callbacks.ModelCheckpoint(folder / "saved", filename="{epoch}", save_top_k=-1)
    scenario(
        "fit", fit, max_epochs=2, accumulate_grad_batches=2, gradient_clip_val=1.0,
        num_sanity_val_steps=1, callbacks=[saver], enable_checkpointing=True,
    )  # fmt: skip

    def resume(trainer: Any, module: Any, made: Any) -> None:
        trainer.fit(module, ckpt_path=str(folder / "saved" / "epoch=0.ckpt"))

    # Lightning checks sanity again; what was restored would not be what was saved.
    scenario("fit from a checkpoint", resume, max_epochs=2, accumulate_grad_batches=2,
             gradient_clip_val=1.0, num_sanity_val_steps=0)  # fmt: skip
    scenario("manual optimization", fit, _manual, max_epochs=1, num_sanity_val_steps=0)
    scenario("schedules", fit, lambda base: _schedules(base, torch), max_epochs=2,
             num_sanity_val_steps=0)  # fmt: skip
    scenario("validation within epochs", fit, max_epochs=1, val_check_interval=2,
             num_sanity_val_steps=0)  # fmt: skip

    def twice(trainer: Any, module: Any, made: Any) -> None:
        trainer.fit(module)
        trainer.fit(module)
        trainer.fit_loop.max_epochs = 2
        trainer.fit(module)

    scenario("fit again", twice, max_epochs=1, num_sanity_val_steps=0)
    scenario("max_steps", fit, max_steps=4, num_sanity_val_steps=0)
    scenario("fast_dev_run", fit, fast_dev_run=True)
    scenario("no validation", fit, max_epochs=2, limit_val_batches=0, check_val_every_n_epoch=2)

    def with_data(trainer: Any, module: Any, made: Any) -> None:
        trainer.fit(module, datamodule=made["data"]())

    scenario("fit a data module", with_data, max_epochs=1)

    def fail(base: type) -> type:
        class Fails(base):  # type: ignore[misc, valid-type]
            def training_step(self, batch: Any, batch_idx: int) -> Any:
                return 1 // (1 - batch_idx) * super().training_step(batch, batch_idx)

        return Fails

    scenario("an exception", with_data, fail, max_epochs=1, num_sanity_val_steps=0)

    def skip(base: type) -> type:
        class Skips(base):  # type: ignore[misc, valid-type]
            def on_train_batch_start(self, batch: Any, batch_idx: int) -> Any:
                return -1 if batch_idx == 1 else None

        return Skips

    scenario("-1 from on_train_batch_start", fit, skip, max_epochs=2, num_sanity_val_steps=0)

    def stop(base: type) -> type:
        class Stops(base):  # type: ignore[misc, valid-type]
            def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
                self.trainer.should_stop = batch_idx == 1

        return Stops

    scenario("should_stop", fit, stop, max_epochs=2, num_sanity_val_steps=0)

    def nothing(base: type) -> type:
        class Gives(base):  # type: ignore[misc, valid-type]
            def training_step(self, batch: Any, batch_idx: int) -> Any:
                return None if batch_idx == 1 else super().training_step(batch, batch_idx)

        return Gives

    scenario("a step that gives None", fit, nothing, max_epochs=1, limit_val_batches=0)

    def several(base: type) -> type:
        return type("Several", (base,), {"loaders": 2})

    scenario("fit with two validation loaders", fit, several, max_epochs=1, num_sanity_val_steps=0)
    scenario("overfit_batches", fit, max_epochs=2, overfit_batches=1)
    scenario("loaders anew", fit, max_epochs=3, reload_dataloaders_every_n_epochs=2,
             num_sanity_val_steps=0, limit_train_batches=1, limit_val_batches=1)  # fmt: skip
    scenario("min_steps", fit, stop, max_epochs=3, min_steps=4, num_sanity_val_steps=0)
    scenario("validation over epochs", fit, max_epochs=2, val_check_interval=4,
             check_val_every_n_epoch=None, num_sanity_val_steps=0)  # fmt: skip

    def stream(base: type) -> type:
        class Rows(torch.utils.data.IterableDataset):  # type: ignore[misc, name-defined]
            def __iter__(self) -> Any:
                return iter(torch.ones(5, 3))

        class Streams(base):  # type: ignore[misc, valid-type]
            def train_dataloader(self) -> Any:
                return torch.utils.data.DataLoader(Rows(), batch_size=2)

        return Streams

    scenario("a stream", fit, stream, max_epochs=2, num_sanity_val_steps=0, limit_val_batches=1)

    def two(base: type) -> type:
        class Two(base):  # type: ignore[misc, valid-type]
            def __init__(self) -> None:
                super().__init__()
                self.other = nn.Linear(3, 1)
                self.automatic_optimization = False

            def training_step(self, batch: Any, batch_idx: int) -> None:
                for optimizer, layer in zip(
                    self.optimizers(), (self.layer, self.other), strict=True
                ):
                    with optimizer.toggle_model():
                        optimizer.zero_grad()
                        self.manual_backward(layer(batch).square().mean())
                        self.clip_gradients(optimizer, 1.0, "norm")
                        optimizer.step()

            def configure_optimizers(self) -> Any:
                layers = (self.layer, self.other)
                return [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in layers]

        return Two

    nn = torch.nn
    scenario("two optimizers by hand", fit, two, max_epochs=1, limit_val_batches=0)

    def empty(base: type) -> type:
        return type("Empty", (base,), {"configure_optimizers": lambda self: None})

    scenario("no optimizer", fit, empty, max_epochs=1, limit_val_batches=0)
    saved = str(folder / "saved" / "epoch=0.ckpt")
    scenario("validate a checkpoint", lambda t, m, made: t.validate(m, ckpt_path=saved))
    scenario(
        "a data module from a checkpoint",
        lambda t, m, made: t.fit(m, datamodule=made["data"](), ckpt_path=saved),
        max_epochs=2, num_sanity_val_steps=0, limit_val_batches=0,
    )  # fmt: skip

    def saves(trainer: Any, module: Any, made: Any) -> None:
        data = made["data"]()
        trainer.fit(module, datamodule=data)
        trainer.save_checkpoint(str(folder / "weights.ckpt"), weights_only=True)
        trainer.save_checkpoint(str(folder / "all.ckpt"))

    scenario("save_checkpoint", saves, max_epochs=1, limit_val_batches=0)
    for fn in ("validate", "test", "predict"):
        scenario(fn, lambda t, m, made, fn=fn: getattr(t, fn)(m))
    scenario("validate with two loaders", lambda t, m, made: t.validate(m), several)
    scenario("predict with two loaders", lambda t, m, made: t.predict(m), several)
    scenario("without inference mode", lambda t, m, made: t.test(m), inference_mode=False)
    return found


def written(version: str, found: dict[str, list[str]]) -> str:
    """The text of the file: every call once, and each scenario as their numbers."""
    numbers = {call: n for n, call in enumerate(dict.fromkeys(chain.from_iterable(found.values())))}
    lines = [f'{{\n"lightning": {json.dumps(version)},\n"calls": [']
    lines.append(",\n".join(json.dumps(call) for call in numbers))
    lines.append('],\n"scenarios": {')
    lines.append(
        ",\n".join(
            f"{json.dumps(name)}: {json.dumps([numbers[call] for call in calls])}"
            for name, calls in found.items()
        )
    )
    return "\n".join([*lines, "}", "}", ""])


def read() -> dict[str, list[str]]:
    """What Lightning did: every scenario's calls, by its name."""
    found = json.loads(PAGE.read_text(encoding="utf-8"))
    calls = found["calls"]
    return {name: [calls[n] for n in numbers] for name, numbers in found["scenarios"].items()}


def main() -> None:
    """Records Lightning."""
    import lightning.pytorch as pl
    import torch

    with tempfile.TemporaryDirectory() as folder:
        found = record_all(torch, pl, Path(folder))
    PAGE.write_text(written(pl.__version__, found), encoding="utf-8")


if __name__ == "__main__":
    main()
