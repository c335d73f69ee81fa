"""What the trainer logs, when; early stopping by what is logged."""

from __future__ import annotations

import math

import pytest

import flambeau as torch
from flambeau.trainer import Trainer
from flambeau.trainer.callbacks import EarlyStopping
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from training_lines import BARE, QUIET, Kept, Line, rows


class Logs(Line):
    def training_step(self, batch, batch_idx):
        self.log("each", batch_idx)
        self.log("both", batch.mean(), on_epoch=True, prog_bar=True)
        self.log("most", batch.mean(), on_step=False, on_epoch=True, reduce_fx="max")
        self.log_dict({"a": 1.0, "b": torch.tensor(2)}, logger=False)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        self.log("val", batch.mean())

    def on_train_epoch_end(self):
        self.log("end", 7.0)


def test_what_is_logged_and_when():
    logger = Kept()
    trainer = Trainer(max_epochs=2, logger=logger, log_every_n_steps=2,
                      enable_checkpointing=False, **QUIET)  # fmt: skip
    # Batches of two and one: means are weighted.
    trainer.fit(Logs(), rows(1, 2, 6, batch_size=2), rows(5, 7))
    assert logger.of("each") == [(1, 1), (3, 1)]
    assert logger.of("both_step") == [(1, 6.0), (3, 6.0)]
    assert logger.of("both_epoch") == [(1, 3.0), (3, 3.0)]
    assert logger.of("most") == [(1, 6.0), (3, 6.0)]
    assert logger.of("end") == [(1, 7.0), (3, 7.0)]
    assert logger.of("val") == [(2, 6.0), (4, 6.0)]
    assert logger.of("epoch")[0] == (1, 0) and logger.of("a") == []
    metrics = {k: v.item() for k, v in trainer.callback_metrics.items()}
    assert metrics == {
        "each": 1, "both": 3.0, "both_step": 6.0, "both_epoch": 3.0, "most": 6.0, "a": 1.0,
        "b": 2, "val": 6.0, "end": 7.0,
    }  # fmt: skip
    assert trainer.progress_bar_metrics == {"both_step": 6.0, "both_epoch": 3.0}


def test_metric_objects_are_computed_and_reset():
    class Sum:
        def __init__(self):
            self.value = 0.0

        def update(self, x):
            self.value += x

        def compute(self):
            return self.value

        def reset(self):
            self.value = 0.0

    class Module(Line):
        def __init__(self):
            super().__init__()
            self.total = Sum()

        def training_step(self, batch, batch_idx):
            self.total.update(batch.sum().item())
            self.log("total", self.total, on_step=False, on_epoch=True)
            return super().training_step(batch, batch_idx)

    trainer = Trainer(max_epochs=2, **BARE)
    trainer.fit(Module(), rows(1, 2, 3))
    assert trainer.callback_metrics["total"].item() == 6.0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("x", torch.ones(2)), ValueError),
        (("x", {"y": 1}), ValueError),
        (("x", "text"), ValueError),
        ((3, 1.0), TypeError),
        (("x", 1.0, False, None, False, False), MisconfigurationException),
        (("x", 1.0, False, None, True, True, "median"), MisconfigurationException),
    ],
)
def test_what_cannot_be_logged(arguments, error):
    class Module(Line):
        def training_step(self, batch, batch_idx):
            self.log(*arguments)
            return super().training_step(batch, batch_idx)

    with pytest.raises(error):
        Trainer(max_epochs=1, **BARE).fit(Module(), rows(1))


def test_logging_elsewhere():
    class Module(Line):
        def setup(self, stage):
            self.log("x", 1.0)

    with pytest.raises(MisconfigurationException, match=r"can't `self\.log"):
        Trainer(max_epochs=1, **BARE).fit(Module(), rows(1))
    with pytest.warns(UserWarning, match="not registered"):
        Line().log("x", 1.0)


def test_logged_values_are_those_of_their_time():
    class Module(Line):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(()))

        def training_step(self, batch, batch_idx):
            self.count += 1
            self.log("count", self.count)
            self.count += 10
            return super().training_step(batch, batch_idx)

    logger = Kept()
    Trainer(max_epochs=1, logger=logger, log_every_n_steps=1, enable_checkpointing=False,
            **QUIET).fit(Module(), rows(1, 2))  # fmt: skip
    assert logger.of("count") == [(0, 1.0), (1, 12.0)]


class Values(Line):
    """Logs given validation values, one an epoch."""

    def __init__(self, *values):
        super().__init__()
        self.values = values

    def validation_step(self, batch, batch_idx):
        self.log("v", self.values[self.current_epoch])


@pytest.mark.parametrize(
    ("values", "options", "epochs", "reason"),
    [
        ((3, 2, 2, 2, 0), dict(patience=2), 4, "did not improve"),
        ((3, 2, 1.95, 1.9, 1.85), dict(patience=2, min_delta=0.5), 4, "did not improve"),
        ((1, 2, 2, 2, 5), dict(patience=2, mode="max"), 4, "did not improve"),
        ((3, math.nan, 1), {}, 2, "not finite"),
        ((3, 2, 0.1, 1), dict(stopping_threshold=0.5), 3, "Stopping threshold"),
        ((3, 9, 1), dict(divergence_threshold=8), 2, "Divergence threshold"),
        ((3, 4, 5, 2), dict(patience=5), 4, None),
    ],
)
def test_early_stopping(values, options, epochs, reason):
    stopper = EarlyStopping("v", **options)
    trainer = Trainer(max_epochs=len(values), callbacks=stopper, num_sanity_val_steps=0, **BARE)
    trainer.fit(Values(*map(float, values)), rows(1), rows(1))
    assert trainer.current_epoch == epochs
    said = stopper.stopping_reason_message
    assert said is None if reason is None else reason in said


def test_early_stopping_waits_for_min_epochs_and_needs_its_metric():
    stopper = EarlyStopping("v", patience=1)
    trainer = Trainer(max_epochs=6, min_epochs=4, callbacks=stopper, **BARE)
    trainer.fit(Values(1.0, 1.0, 1.0, 1.0, 1.0, 1.0), rows(1), rows(1))
    assert trainer.current_epoch == 4
    with pytest.raises(RuntimeError, match="not available"):
        Trainer(max_epochs=1, callbacks=EarlyStopping("w"), **BARE).fit(
            Values(1.0), rows(1), rows(1)
        )
