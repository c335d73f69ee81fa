"""The trainer: order of hooks, optimizers, limits, accumulation, clipping."""

from __future__ import annotations

import pytest

import flambeau as torch
import flambeau.nn.functional as F
from flambeau import nn
from flambeau.trainer import Callback, LightningDataModule, LightningModule, Trainer
from flambeau.trainer.callbacks import LambdaCallback, ModelCheckpoint, Timer
from flambeau.trainer.demos.boring_classes import (
    BoringDataModule,
    BoringModel,
    ManualOptimBoringModel,
    RandomDataset,
    RandomIterableDataset,
)
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.utils.data import DataLoader
from training_lines import BARE, QUIET, Line, rows

HOOKS = [
    name
    for name in dir(LightningModule)
    if name.startswith("on_") and name not in ("on_gpu", "on_validation_model_zero_grad")
]


def recording(base, called):
    """A class whose every hook notes its name."""

    def noting(name):
        def hook(self, *args, **kwargs):
            called.append(name)
            if name.startswith(("on_before_batch", "on_after_batch")):
                return args[0]
            return getattr(super(made, self), name)(*args, **kwargs)

        return hook

    extra = ["prepare_data", "setup", "teardown", "configure_optimizers", "training_step"]
    extra += ["validation_step", "optimizer_step", "optimizer_zero_grad", "backward"]
    extra += ["configure_gradient_clipping", "lr_scheduler_step", "configure_callbacks"]
    made = type("Recording", (base,), {n: noting(n) for n in (*HOOKS, *extra)})
    return made


def test_hooks_are_called_in_lightnings_order():
    called = []
    module = recording(BoringModel, called)()
    Trainer(max_epochs=1, limit_train_batches=2, limit_val_batches=1, num_sanity_val_steps=0,
            **BARE).fit(module)  # fmt: skip
    transfer = ["on_before_batch_transfer", "on_after_batch_transfer"]
    batch = [
        *transfer, "on_train_batch_start", "optimizer_step", "training_step",
        "on_before_zero_grad", "optimizer_zero_grad", "on_before_backward", "backward",
        "on_after_backward", "on_before_optimizer_step", "configure_gradient_clipping",
    ]  # fmt: skip
    validation = [
        "on_validation_model_eval", "on_validation_start", "on_validation_epoch_start", *transfer,
        "on_validation_batch_start", "validation_step", "on_validation_batch_end",
        "on_validation_epoch_end", "on_validation_end", "on_validation_model_train",
    ]  # fmt: skip
    assert called == [
        "configure_callbacks", "prepare_data", "setup", "configure_optimizers", "on_fit_start",
        "on_train_start", "on_train_epoch_start",
        *batch, "on_train_batch_end",
        *batch, "lr_scheduler_step", "on_train_batch_end",
        *validation,
        "on_train_epoch_end", "on_train_end", "on_fit_end", "teardown",
    ]  # fmt: skip


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_hooks_of_an_evaluation(stage):
    called = []
    module = recording(BoringModel, called)()
    getattr(Trainer(**{f"limit_{stage[:3] if stage == 'validate' else stage}_batches": 1},
                    **BARE), stage)(module)  # fmt: skip
    name = {"validate": "validation"}.get(stage, stage)
    step = [] if stage != "validate" else ["validation_step"]
    trained = [] if stage == "predict" else [f"on_{name}_model_train"]
    assert called == [
        "configure_callbacks", "prepare_data", "setup", f"on_{name}_model_eval", f"on_{name}_start",
        f"on_{name}_epoch_start", "on_before_batch_transfer", "on_after_batch_transfer",
        f"on_{name}_batch_start", *step, f"on_{name}_batch_end", f"on_{name}_epoch_end",
        f"on_{name}_end", *trained, "teardown",
    ]  # fmt: skip


def test_callbacks_come_before_the_module_and_checkpoints_last(tmp_path):
    called = []

    class Noting(Callback):
        def __init__(self, who):
            self.who = who

        def on_train_epoch_end(self, trainer, module):
            called.append(self.who)

    class Saving(ModelCheckpoint):
        def on_train_epoch_end(self, trainer, module):
            called.append("checkpoint")
            super().on_train_epoch_end(trainer, module)

    class Module(Line):
        def on_train_epoch_end(self):
            called.append("module")

    trainer = Trainer(
        max_epochs=1, logger=False, callbacks=[Saving(tmp_path), Noting("a"), Noting("b")], **QUIET
    )
    trainer.fit(Module(), rows(1))
    assert called == ["a", "b", "module", "checkpoint"]
    assert trainer.checkpoint_callback.best_model_path.endswith("epoch=0-step=1.ckpt")


def test_minus_one_from_on_train_batch_start_skips_the_epoch():
    class Skips(Line):
        def on_train_batch_start(self, batch, batch_idx):
            return -1 if batch_idx == 1 else None

    trainer = Trainer(max_epochs=2, **BARE)
    trainer.fit(Skips(), rows(1, 2, 3))
    assert trainer.global_step == 2


def forms(module):
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    step = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    each = {"scheduler": step, "interval": "step"}
    every_other = {"scheduler": step, "interval": "step", "frequency": 2}
    return {
        "optimizer": (optimizer, 1.0),
        "list": ([optimizer], 1.0),
        "tuple": ((optimizer,), 1.0),
        "two lists": (([optimizer], [step]), 0.25),
        "dict": ({"optimizer": optimizer}, 1.0),
        "dict with a schedule": ({"optimizer": optimizer, "lr_scheduler": step}, 0.25),
        "dict with a dict": ({"optimizer": optimizer, "lr_scheduler": each}, 1 / 64),
        "frequency": ({"optimizer": optimizer, "lr_scheduler": every_other}, 0.25),
        "list of dicts": ([{"optimizer": optimizer, "lr_scheduler": each}], 1 / 64),
    }


@pytest.mark.parametrize("form", list(forms(Line())))
def test_forms_of_configure_optimizers(form):
    class Module(Line):
        def configure_optimizers(self):
            given, self.expected = forms(self)[form]
            return given

    module = Module()
    trainer = Trainer(max_epochs=2, **BARE)
    trainer.fit(module, rows(1, 2, 3))
    assert trainer.optimizers[0].param_groups[0]["lr"] == module.expected
    assert trainer.global_step == 6


def test_no_optimizer_is_a_warning():
    class Module(Line):
        def configure_optimizers(self):
            return None

    module = Module()
    with pytest.warns(UserWarning, match="returned `None`"):
        Trainer(max_epochs=1, **BARE).fit(module, rows(1, 2))
    assert module.weight.item() == 1


def test_a_plateau_schedule_follows_its_metric():
    class Module(Line):
        def validation_step(self, batch, batch_idx):
            self.log("flat", 1.0)

        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
            schedule = {"scheduler": plateau, "monitor": self.monitor}
            return {"optimizer": optimizer, "lr_scheduler": schedule}

    module = Module()
    module.monitor = "flat"
    trainer = Trainer(max_epochs=3, **BARE)
    trainer.fit(module, rows(1), rows(1))
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.01)
    module.monitor = "missing"
    with pytest.raises(MisconfigurationException, match="missing which is not available"):
        Trainer(max_epochs=1, **BARE).fit(module, rows(1), rows(1))


@pytest.mark.parametrize("given", [7, {"lr_scheduler": 1}, [1, 2]])
def test_other_forms_are_refused(given):
    class Module(Line):
        def configure_optimizers(self):
            return given

    with pytest.raises(MisconfigurationException, match="configur"):
        Trainer(max_epochs=1, **BARE).fit(Module(), rows(1))


class Regression(LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.mse_loss(self.net(x), y)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.05)


def regression_data(batch_size):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(24, 3, generator=generator)
    data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True))
    return DataLoader(data, batch_size=batch_size)


def test_training_is_what_a_loop_by_hand_does():
    module, by_hand = Regression(), Regression()
    Trainer(max_epochs=3, **BARE).fit(module, regression_data(6))
    optimizer = by_hand.configure_optimizers()
    for _ in range(3):
        for x, y in regression_data(6):
            loss = F.mse_loss(by_hand.net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for p, q in zip(module.parameters(), by_hand.parameters(), strict=True):
        # Not the same bits: by then its programs are compiled from the start.
        torch.testing.assert_close(p, q)


def test_accumulation_is_a_larger_batch():
    small, large = Regression(), Regression()
    trainer = Trainer(max_epochs=3, accumulate_grad_batches=3, **BARE)
    trainer.fit(small, regression_data(4))
    Trainer(max_epochs=3, **BARE).fit(large, regression_data(12))
    assert trainer.global_step == 6
    for p, q in zip(small.parameters(), large.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_the_last_batch_ends_an_accumulation():
    trainer = Trainer(max_epochs=1, accumulate_grad_batches=2, **BARE)
    module = Line(lr=1.0)
    trainer.fit(module, rows(2, 4, 6))
    # (2 + 4) / 2, then 6 / 2
    assert (trainer.global_step, module.weight.item()) == (2, 1 - 3 - 3)
    streamed = Line(lr=1.0)
    Trainer(max_epochs=1, accumulate_grad_batches=2, **BARE).fit(streamed, iter_of(2, 4, 6))
    assert streamed.weight.item() == module.weight.item()


class iter_of:
    """Batches that come without a length."""

    def __init__(self, *values):
        self.values = values

    def __iter__(self):
        return iter([torch.tensor([[float(v)]]) for v in self.values])


@pytest.mark.parametrize(("algorithm", "moved"), [("norm", 0.5), ("value", 0.5)])
def test_gradients_are_clipped(algorithm, moved):
    module = Line(lr=1.0)
    Trainer(max_epochs=1, gradient_clip_val=0.5, gradient_clip_algorithm=algorithm,
            **BARE).fit(module, rows(4))  # fmt: skip
    assert module.weight.item() == pytest.approx(1 - moved, abs=1e-5)


def test_own_clipping_and_optimizer_step_are_used():
    class Module(Line):
        def configure_gradient_clipping(
            self, optimizer, gradient_clip_val, gradient_clip_algorithm
        ):
            assert gradient_clip_val is None
            self.clip_gradients(optimizer, 0.25, "value")

        def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):
            optimizer.step(closure=optimizer_closure)
            self.seen = (epoch, batch_idx, optimizer.param_groups[0]["lr"])

    module = Module(lr=1.0)
    Trainer(max_epochs=1, **BARE).fit(module, rows(4))
    assert (module.weight.item(), module.seen) == (0.75, (0, 0, 1.0))


def test_a_step_may_give_nothing():
    class Module(Line):
        def training_step(self, batch, batch_idx):
            return None if batch_idx == 0 else super().training_step(batch, batch_idx)

    module = Module(lr=1.0)
    Trainer(max_epochs=1, **BARE).fit(module, rows(5, 2))
    assert module.weight.item() == -1


def test_manual_optimization():
    trainer = Trainer(max_epochs=1, limit_train_batches=4, limit_val_batches=0, **BARE)
    module = ManualOptimBoringModel()
    before = module.layer.weight.detach().clone()
    trainer.fit(module)
    assert trainer.global_step == 4
    assert not torch.equal(before, module.layer.weight)


def test_two_optimizers_by_hand_and_by_index():
    class Two(LightningModule):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))

        def configure_optimizers(self):
            return torch.optim.SGD([self.a], lr=1.0), torch.optim.SGD([self.b], lr=2.0)

    class ByHand(Two):
        automatic_optimization = False

        def training_step(self, batch, batch_idx):
            for optimizer in self.optimizers():
                with optimizer.toggle_model():
                    loss = (self.a * self.b * batch).mean()
                    optimizer.zero_grad()
                    self.manual_backward(loss)
                    optimizer.step()

    class ByIndex(Two):
        def training_step(self, batch, batch_idx, optimizer_idx):
            assert (self.a.requires_grad, self.b.requires_grad)[optimizer_idx]
            assert not (self.a.requires_grad and self.b.requires_grad)
            return (self.a * self.b * batch).mean()

    for kind in (ByHand, ByIndex):
        module, trainer = kind(), Trainer(max_epochs=1, **BARE)
        trainer.fit(module, rows(0.5))
        # a: 1 - 0.5; b: 1 - 2 (0.5 * 0.5)
        assert (module.a.item(), module.b.item(), trainer.global_step) == (0.5, 0.5, 2)

    class Neither(Two):
        def training_step(self, batch, batch_idx):
            return self.a

    with pytest.raises(MisconfigurationException, match="multiple optimizers"):
        Trainer(max_epochs=1, **BARE).fit(Neither(), rows(0.5))


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("64-true", torch.float64), ("bf16-true", torch.bfloat16), ("bf16-mixed", torch.bfloat16)],
)
def test_precision(precision, dtype):
    class Module(BoringModel):
        def training_step(self, batch, batch_idx):
            self.seen = self(batch).dtype
            return super().training_step(batch, batch_idx)

    module = Module()
    Trainer(max_steps=2, precision=precision, limit_val_batches=0, **BARE).fit(module)
    assert module.seen is dtype
    assert module.layer.weight.dtype is (torch.float32 if "mixed" in precision else dtype)
    assert torch.get_default_dtype() is torch.float32


@pytest.mark.parametrize(
    ("given", "steps", "epochs"),
    [
        (dict(max_epochs=2), 20, 2),
        (dict(max_steps=7), 7, 1),
        (dict(max_epochs=3, limit_train_batches=4), 12, 3),
        (dict(max_epochs=1, limit_train_batches=0.5), 5, 1),
        (dict(max_epochs=-1, max_steps=12), 12, 2),
        (dict(fast_dev_run=True), 1, 1),
        (dict(fast_dev_run=3), 3, 1),
        (dict(max_epochs=2, overfit_batches=2), 4, 2),
        (dict(max_epochs=0), 0, 0),
    ],
)
def test_limits(given, steps, epochs):
    trainer = Trainer(**{**BARE, **given})
    trainer.fit(Line(), rows(*range(10)))
    assert (trainer.global_step, trainer.current_epoch) == (steps, epochs)
    assert trainer.state.finished


def test_time_ends_training():
    timer = Timer(duration=dict(milliseconds=200))
    trainer = Trainer(max_epochs=-1, callbacks=timer, **BARE)
    trainer.fit(Line(), rows(*range(10)))
    assert trainer.should_stop and timer.time_elapsed() >= 0.2
    trainer = Trainer(max_time="00:00:00:01", max_epochs=1, **BARE)
    assert any(isinstance(c, Timer) for c in trainer.callbacks)


class Validates(Line):
    def __init__(self):
        super().__init__()
        self.at, self.batches = [], 0

    def on_validation_start(self):
        if not self.trainer.sanity_checking:
            self.at.append(self.trainer.fit_loop.total_batches)

    def validation_step(self, batch, batch_idx):
        self.batches += 1
        self.log("val", batch.mean())


@pytest.mark.parametrize(
    ("given", "at"),
    [
        ({}, [10, 20]),
        (dict(val_check_interval=0.5), [5, 10, 15, 20]),
        (dict(val_check_interval=4), [4, 8, 14, 18]),
        (dict(val_check_interval=4, check_val_every_n_epoch=None), [4, 8, 12, 16, 20]),
        (dict(check_val_every_n_epoch=2), [20]),
        (dict(limit_val_batches=0), []),
    ],
)
def test_when_validation_runs(given, at):
    module = Validates()
    Trainer(max_epochs=2, **given, **BARE).fit(module, rows(*range(10)), rows(1, 2, 3))
    assert module.at == at


def test_the_sanity_check_leaves_no_trace():
    module = Validates()
    seen = []
    note = LambdaCallback(
        on_sanity_check_end=lambda t, m: seen.append((t.sanity_checking, m.batches))
    )
    trainer = Trainer(max_epochs=0, callbacks=note, num_sanity_val_steps=2, **BARE)
    before = torch.get_rng_state()
    trainer.fit(module, rows(1), rows(1, 2, 3))
    assert trainer.callback_metrics == {} and seen == [(True, 2)]
    assert torch.equal(before, torch.get_rng_state())


def test_several_loaders_and_a_data_module():
    class Module(Validates):
        def validation_step(self, batch, batch_idx, dataloader_idx):
            self.log("val", batch.mean())

    found = Trainer(**BARE).validate(Module(), [rows(1, 3), rows(5)], verbose=False)
    assert found == [{"val/dataloader_idx_0": 2.0}, {"val/dataloader_idx_1": 5.0}]
    trainer = Trainer(fast_dev_run=2, **QUIET)
    trainer.fit(BoringModel(), datamodule=BoringDataModule())
    assert trainer.global_step == 2
    made = LightningDataModule.from_datasets(RandomDataset(32, 6), batch_size=2)
    trainer = Trainer(max_epochs=1, limit_val_batches=0, **BARE)
    trainer.fit(BoringModel(), made)
    assert trainer.global_step == 3


def test_predictions_are_returned():
    module = BoringModel()
    data = DataLoader(RandomDataset(32, 5), batch_size=2)
    found = Trainer(**BARE).predict(module, data)
    assert [p.shape for p in found] == [(2, 2), (2, 2), (1, 2)]
    torch.testing.assert_close(found[0], module(next(iter(data))))
    assert Trainer(**BARE).predict(module, data, return_predictions=False) is None


def test_evaluation_keeps_modes_and_takes_no_gradients():
    class Module(BoringModel):
        def validation_step(self, batch, batch_idx):
            assert not self.training and not torch.is_grad_enabled()

    module = Module()
    module.layer.eval()
    module.train(True)
    module.layer.eval()
    Trainer(**BARE).validate(module)
    assert module.training and not module.layer.training


def test_streams_train_too():
    trainer = Trainer(max_epochs=2, **BARE)
    trainer.fit(BoringModel(), DataLoader(RandomIterableDataset(32, 5), batch_size=2))
    assert trainer.global_step == 6


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        (dict(plugins=["x"]), TypeError, "no plugins"),
        (dict(what=1), TypeError, "no trainer has an argument"),
        (dict(auto_lr_find=True), TypeError, "LearningRateFinder"),
        (dict(devices=2), MisconfigurationException, "one device"),
        (dict(accelerator="gpu"), MisconfigurationException, "gpu"),
        (dict(strategy="ddp"), MisconfigurationException, "ddp"),
        (dict(precision="8"), MisconfigurationException, "32-true"),
        (dict(limit_train_batches=1.5), MisconfigurationException, "limit_train_batches"),
        (dict(max_epochs=-2), MisconfigurationException, "max_epochs"),
        (dict(accumulate_grad_batches=0), MisconfigurationException, "accumulate"),
        (dict(gradient_clip_algorithm="x"), MisconfigurationException, "algorithm"),
    ],
)
def test_arguments_that_are_refused(given, error, says):
    with pytest.raises(error, match=says):
        Trainer(**given, logger=False)


def test_what_is_missing_is_said():
    with pytest.raises(MisconfigurationException, match="training_step"):
        Trainer(**BARE).fit(LightningModule(), rows(1))
    with pytest.raises(MisconfigurationException, match="train_dataloader"):
        Trainer(**BARE).fit(Line())
    with pytest.raises(TypeError, match="LightningModule"):
        Trainer(**BARE).fit(nn.Linear(1, 1), rows(1))
    with pytest.raises(MisconfigurationException, match="test_step"):
        Trainer(**BARE).test(Line(), rows(1))
