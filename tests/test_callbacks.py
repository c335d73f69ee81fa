"""Callbacks that train, count and write: each in a training of a small model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau.trainer import Callback
from flambeau.trainer import callbacks as cb
from flambeau.trainer.callbacks.lr_finder import LRFinder
from flambeau.trainer.metrics import AUROC, Accuracy, MeanMetric, MetricCollection
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.utils.data import DataLoader
from small_training import ROWS, Memory, Net, bits, data, trainer


@pytest.fixture
def compiled():
    """Programs are compiled at their first run: the same bits, however often they ran before."""
    flambeau.use_deterministic_algorithms(True)
    yield
    flambeau.use_deterministic_algorithms(False)


# --- learning rates ---------------------------------------------------------------------------


class Scheduled(Net):
    """Two optimizers' groups, a schedule by step."""

    interval, name_given = "step", None

    def configure_optimizers(self):
        first, last = self.layers[0], self.layers[-1]
        groups = [{"params": first.parameters()}, {"params": last.parameters(), "name": "head"}]
        optimizer = flambeau.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=0.01)
        schedule = flambeau.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        config = {"scheduler": schedule, "interval": self.interval, "name": self.name_given}
        return {"optimizer": optimizer, "lr_scheduler": config}


def test_learning_rates_are_logged_as_the_schedule_changes_them():
    logger = Memory()
    monitor = cb.LearningRateMonitor(log_momentum=True, log_weight_decay=True)
    trainer(monitor, logger=logger, epochs=2).fit(Scheduled())
    logged = logger.of("lr-SGD")
    assert [s for s, _ in logged] == list(range(10))
    for i, (_, values) in enumerate(logged):
        assert values["lr-SGD/pg1"] == values["lr-SGD/head"] == pytest.approx(0.1 * 0.5**i)
        assert values["lr-SGD/pg1-momentum"] == 0.9
        assert values["lr-SGD/head-weight_decay"] == 0.01
    assert monitor.lrs["lr-SGD/head"] == [v["lr-SGD/head"] for _, v in logged]


def test_learning_rates_by_epoch_under_a_name():
    class Named(Scheduled):
        interval, name_given = "epoch", "mine"

    logger = Memory()
    run = trainer(cb.LearningRateMonitor(), logger=logger, epochs=3)
    run.fit(Named())
    assert [(s, v["mine/pg1"]) for s, v in logger.of("mine")] == [
        (0, 0.1), (5, pytest.approx(0.05)), (10, pytest.approx(0.025)),
    ]  # fmt: skip
    assert run.callback_metrics["mine/head"] == pytest.approx(0.025)
    with pytest.raises(MisconfigurationException, match="no logger"):
        trainer(cb.LearningRateMonitor()).fit(Net())
    with pytest.warns(UserWarning, match="no learning rate schedulers"):
        trainer(cb.LearningRateMonitor("step"), logger=Memory()).fit(Net())
    with pytest.raises(MisconfigurationException, match="logging_interval"):
        cb.LearningRateMonitor("batch")


def finder_of_line(losses: list[float]) -> LRFinder:
    finder = LRFinder("exponential", 1e-3, 1.0, len(losses))
    finder.results = {"lr": [finder.rate(i) for i in range(len(losses))], "loss": losses}
    return finder


def test_the_suggested_rate_is_where_the_loss_falls_fastest():
    losses = [3.0] * 12 + [2.9, 2.5, 1.5, 1.3, 1.3, 5.0]
    finder = finder_of_line(losses)
    assert finder.suggestion() == finder.results["lr"][13]
    assert finder.results["lr"][0] == pytest.approx(1e-3)
    assert finder.results["lr"][-1] == pytest.approx(1.0)
    holes = [float("nan") if i == 13 else v for i, v in enumerate(losses)]
    assert finder_of_line(holes).suggestion() == finder.results["lr"][14]
    with pytest.warns(UserWarning, match="not enough points"):
        assert finder_of_line([1.0] * 11).suggestion() is None


def test_learning_rate_finder_changes_the_rate_and_nothing_else(compiled):
    class Watched(Net):
        def __init__(self):
            super().__init__(norm=True)
            self.mean = MeanMetric()

        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            self.mean.update(loss)
            return loss

    class Look(Callback):
        def on_train_start(self, trainer, module):
            self.found = bits(module), flambeau.get_rng_state().tolist(), trainer.global_step
            self.rates = [group["lr"] for o in trainer.optimizers for group in o.param_groups]
            self.mean = module.mean.update_count
            self.grads = [p.grad for p in module.parameters()]

    plain, looked = Look(), Look()
    trainer(plain, epochs=1).fit(Watched())
    net = Watched()
    finder = cb.LearningRateFinder(min_lr=1e-4, max_lr=1.0, num_training_steps=30)
    run = trainer(finder, looked, epochs=1)
    run.fit(net)
    assert looked.found == plain.found
    assert looked.mean == 0 and looked.grads == [None] * 6
    assert 20 < len(finder.optimal_lr.results["lr"]) <= 30
    assert net.lr == finder.optimal_lr.suggestion() == net.hparams.lr
    assert looked.rates == [net.lr]
    assert run.global_step == 5 and run.max_epochs == 1 and finder in run.callbacks
    # Told not to, it changes not even the rate: the same training as without.
    kept = Watched()
    trainer(cb.LearningRateFinder(update_attr=False, num_training_steps=12), epochs=2).fit(kept)
    plain_net = Watched()
    trainer(epochs=2).fit(plain_net)
    assert kept.lr == 0.1 and bits(kept) == bits(plain_net)


def test_learning_rate_finder_stops_and_complains():
    finder = cb.LearningRateFinder(1e-3, 1e4, num_training_steps=60, early_stop_threshold=1.5)
    finder_only = cb.LearningRateFinder(attr_name="speed")
    trainer(finder, epochs=1).fit(Net())
    assert len(finder.optimal_lr.results["lr"]) < 60
    with pytest.raises(MisconfigurationException, match="speed"):
        trainer(finder_only, epochs=1).fit(Net())
    with pytest.raises(ValueError, match="mode"):
        cb.LearningRateFinder(mode="random")
    with pytest.warns(UserWarning, match="fast_dev_run"):
        trainer(finder, fast_dev_run=True).fit(Net())


def test_a_plot_of_the_losses():
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    finder = finder_of_line([3.0] * 12 + [2.9, 2.5, 1.5, 1.3])
    figure = finder.plot(suggest=True)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log" and len(axes.lines) == 2
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), finder.results["loss"])
    pyplot.close(figure)


# --- batches ----------------------------------------------------------------------------------


class Heavy(Net):
    """A model that takes batches up to a size only."""

    most = 21

    def training_step(self, batch, batch_idx):
        if len(batch[0]) > self.most:
            raise MemoryError("out of memory")
        return super().training_step(batch, batch_idx)

    def train_dataloader(self):
        return DataLoader(data(200), batch_size=self.batch_size, shuffle=True)


def test_batch_size_finder_doubles_or_searches():
    net = Heavy()
    finder = cb.BatchSizeFinder(steps_per_trial=1)
    trainer(finder, epochs=1).fit(net)
    assert net.batch_size == net.hparams.batch_size == finder.optimal_batch_size == 16
    assert net.seen[-1] == 200 % 16 and net.seen[-2] == 16
    net = Heavy()
    trainer(cb.BatchSizeFinder("binsearch", steps_per_trial=1, margin=0.0), epochs=1).fit(net)
    assert net.batch_size == 21
    net = Heavy()
    trainer(cb.BatchSizeFinder("binsearch", steps_per_trial=1, margin=0.25), epochs=1).fit(net)
    assert net.batch_size == 15
    # Never more than there are samples, nor than allowed.
    net = Net()
    trainer(cb.BatchSizeFinder(steps_per_trial=1), epochs=1).fit(net)
    assert net.batch_size == ROWS
    net = Net()
    trainer(cb.BatchSizeFinder(steps_per_trial=1, max_val=12), epochs=1).fit(net)
    assert net.batch_size == 12


def test_batch_size_finder_leaves_no_trace(compiled):
    net = Net(norm=True)
    finder = cb.BatchSizeFinder(steps_per_trial=2, init_val=4, max_val=16)
    trainer(finder, epochs=2).fit(net)
    plain = Net(norm=True, batch_size=16)
    trainer(epochs=2).fit(plain)
    assert net.batch_size == 16 and bits(net) == bits(plain)


def test_schedules_that_go_by_the_number_of_batches_see_the_new_one():
    class OneCycle(Net):
        def configure_optimizers(self):
            optimizer = super().configure_optimizers()
            self.steps = self.trainer.estimated_stepping_batches
            cycle = flambeau.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=self.steps)
            return [optimizer], [{"scheduler": cycle, "interval": "step"}]

    net = OneCycle()
    run = trainer(cb.BatchSizeFinder(steps_per_trial=1, max_val=10), epochs=3)
    run.fit(net)
    assert net.batch_size == 10 and net.steps == run.global_step == 12


def test_batch_size_finder_complains():
    class Broken(Net):
        def training_step(self, batch, batch_idx):
            raise RuntimeError("a mistake")

    net = Broken()
    with pytest.raises(RuntimeError, match="a mistake"):
        trainer(cb.BatchSizeFinder()).fit(net)
    assert net.batch_size == 8
    net = Heavy()
    net.most = 1
    with pytest.raises(MisconfigurationException, match="not even"):
        trainer(cb.BatchSizeFinder(steps_per_trial=1)).fit(net)
    assert net.batch_size == 8
    with pytest.raises(MisconfigurationException, match="passed directly"):
        trainer(cb.BatchSizeFinder()).fit(Net(), DataLoader(data(), batch_size=4))
    with pytest.raises(MisconfigurationException, match="Field rows"):
        trainer(cb.BatchSizeFinder(batch_arg_name="rows")).fit(Net())
    with pytest.raises(ValueError, match="mode"):
        cb.BatchSizeFinder("linear")


def test_gradient_accumulation_by_epoch():
    class Count(Callback):
        def __init__(self):
            self.steps = []

        def on_train_epoch_end(self, trainer, module):
            self.steps.append(trainer.global_step)

    count = Count()
    schedule = cb.GradientAccumulationScheduler({1: 2, 2: 5})
    run = trainer(schedule, count, epochs=3)
    run.fit(Net())
    # Five batches an epoch: a step each, then after 2, 4 and the last, then one.
    assert count.steps == [5, 8, 9] and run.accumulate_grad_batches == 1
    assert schedule.going_to_accumulate_grad_batches()

    class Fails(Net):
        def validation_step(self, batch, batch_idx):
            raise ZeroDivisionError

    again = cb.GradientAccumulationScheduler({0: 2})
    run = trainer(again, num_sanity_val_steps=0)
    with pytest.raises(ZeroDivisionError):
        run.fit(Fails())
    before = run.global_step
    run.fit(Net())
    assert (before, run.global_step) == (3, 3 + 3 * 2)
    with pytest.raises(TypeError, match="Empty"):
        cb.GradientAccumulationScheduler({})
    with pytest.raises(MisconfigurationException, match="Epoch"):
        cb.GradientAccumulationScheduler({-1: 2})
    with pytest.raises(MisconfigurationException, match="factor"):
        cb.GradientAccumulationScheduler({1: 0})
    with pytest.raises(ValueError, match="accumulate_grad_batches"):
        trainer(schedule, accumulate_grad_batches=2).fit(Net())


# --- weights ----------------------------------------------------------------------------------


class Ends(Callback):
    """Keeps the weights at the end of each epoch, and the rate in it."""

    def __init__(self) -> None:
        self.weights: list[dict[str, np.ndarray]] = []
        self.rates: list[float] = []

    def on_train_epoch_end(self, trainer, module):
        named = module.named_parameters()
        self.weights.append({n: p.detach().numpy().copy() for n, p in named})
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def test_stochastic_weight_averaging_takes_the_mean_of_the_last_epochs():
    ends, net = Ends(), Net(norm=True)
    swa = cb.StochasticWeightAveraging(0.01, swa_epoch_start=3, annealing_epochs=2)
    trainer(ends, swa, epochs=6).fit(net)
    for name, value in net.named_parameters():
        wanted = np.mean([weights[name] for weights in ends.weights[2:]], axis=0)
        np.testing.assert_allclose(value.detach().numpy(), wanted, rtol=1e-5, atol=1e-7)
    assert ends.rates[:2] == [0.1, 0.1] and ends.rates[-1] == pytest.approx(0.01)
    # The statistics are those of the mean's activations on the training data.
    layer, x = net.layers[0], data()[:][0]
    wanted = layer(x).mean(0).detach()
    np.testing.assert_allclose(net.layers[1].running_mean.numpy(), wanted.numpy(), rtol=1e-4)
    assert net.layers[1].momentum == 0.1


def test_weight_averaging_goes_on_from_a_checkpoint(tmp_path, compiled):
    def run(path: Any = None) -> Net:
        swa = cb.StochasticWeightAveraging(0.01, swa_epoch_start=2, annealing_epochs=3)
        keep = cb.ModelCheckpoint(tmp_path, save_top_k=-1)
        net = Net(norm=True)
        fit = trainer(swa, keep, epochs=6, enable_checkpointing=True)
        fit.fit(net, ckpt_path=path)
        return net

    whole = run()
    for epoch in (0, 3):
        (middle,) = tmp_path.glob(f"epoch={epoch}-step=*[0-9].ckpt")
        assert bits(run(middle)) == bits(whole)


def test_weight_averaging_complains():
    swa = cb.StochasticWeightAveraging
    for given in ({"swa_lrs": 0}, {"swa_lrs": []}, {"swa_lrs": [0.1, -1.0]}):
        with pytest.raises(MisconfigurationException, match="swa_lrs"):
            swa(**given)
    for start in (0, 1.5, -1):
        with pytest.raises(MisconfigurationException, match="swa_epoch_start"):
            swa(0.1, swa_epoch_start=start)
    with pytest.raises(MisconfigurationException, match="max_epochs"):
        trainer(swa(0.1), max_epochs=-1, max_steps=3).fit(Net())

    class Two(Net):
        def configure_optimizers(self):
            return [super().configure_optimizers(), super().configure_optimizers()]

        automatic_optimization = False

    with pytest.raises(MisconfigurationException, match="1 `optimizer`"):
        trainer(swa(0.1)).fit(Two())


# --- predictions, metrics ---------------------------------------------------------------------


class Writer(cb.BasePredictionWriter):
    def __init__(self, interval: str) -> None:
        super().__init__(interval)
        self.batches: list[Any] = []
        self.all: Any = None

    def write_on_batch_end(self, trainer, module, prediction, indices, batch, number, loader):
        self.batches.append((loader, number, indices, prediction.tolist()))

    def write_on_epoch_end(self, trainer, module, predictions, indices):
        self.all = predictions, indices


def test_predictions_are_written():
    net, loader = Net(), DataLoader(data(10), batch_size=4)
    wanted = [p.tolist() for p in trainer().predict(net, loader)]
    writer = Writer("batch_and_epoch")
    trainer(writer).predict(net, loader, return_predictions=False)
    places = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert writer.batches == [(0, i, places[i], wanted[i]) for i in range(3)]
    predictions, indices = writer.all
    assert [p.tolist() for p in predictions] == wanted and indices == [places]
    writer = Writer("epoch")
    shuffled = DataLoader(data(10), batch_size=5, shuffle=True)
    trainer(writer).predict(net, [loader, shuffled])
    predictions, indices = writer.all
    assert not writer.batches and [len(p) for p in predictions] == [3, 2]
    assert indices == [places, [None, None]]
    with pytest.raises(MisconfigurationException, match="write_interval"):
        Writer("never")
    with pytest.raises(NotImplementedError):
        trainer(cb.BasePredictionWriter()).predict(net, loader)


def test_metrics_are_logged_as_objects():
    class Measured(Net):
        def __init__(self):
            super().__init__()
            self.accuracy = Accuracy("multiclass", num_classes=3)
            self.several = MetricCollection(
                [Accuracy("multiclass", num_classes=3, average="macro")], prefix="val_"
            )

        def training_step(self, batch, batch_idx):
            self.accuracy(self(batch[0]), batch[1])
            self.log("accuracy", self.accuracy, on_step=True, on_epoch=True)
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch, batch_idx):
            self.several.update(self(batch[0]), batch[1])
            self.log_dict(self.several)

    class Look(Callback):
        def __init__(self):
            self.steps = []

        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            self.steps.append(float(trainer.callback_metrics["accuracy_step"]))

    look, logger, net = Look(), Memory(), Measured()
    run = trainer(look, logger=logger, epochs=2)
    run.fit(net)
    values = [m["accuracy_epoch"] for _, m in logger.of("accuracy_epoch")]
    assert values == pytest.approx([np.mean(look.steps[:5]), np.mean(look.steps[5:])])
    x, y = data(16, seed=1)[:]
    wanted = Accuracy("multiclass", num_classes=3, average="macro")(net(x), y)
    last = logger.of("val_")[-1][1]
    assert last == {"val_Accuracy": pytest.approx(float(wanted))}
    assert net.accuracy.update_count == 0


def test_metrics_go_on_from_a_checkpoint_within_an_epoch(tmp_path, compiled):
    class Measured(Net):
        def __init__(self):
            super().__init__()
            self.accuracy = Accuracy("multiclass", num_classes=3, average="macro")
            self.auroc = AUROC("multiclass", num_classes=3)

        def training_step(self, batch, batch_idx):
            with flambeau.no_grad():
                out = self(batch[0])
            for name in ("accuracy", "auroc"):
                getattr(self, name).update(out, batch[1])
                self.log(name, getattr(self, name), on_step=False, on_epoch=True)
            return super().training_step(batch, batch_idx)

    def run(path: Any = None) -> list[dict[str, Any]]:
        logger = Memory()
        keep = cb.ModelCheckpoint(tmp_path, every_n_train_steps=3, save_top_k=-1)
        fit = trainer(keep, logger=logger, epochs=2, enable_checkpointing=True)
        fit.fit(Measured(), ckpt_path=path)
        return [m for _, m in logger.of("a") if "accuracy" in m]

    whole = run()
    (middle,) = tmp_path.glob("epoch=0-step=3.ckpt")
    assert len(whole) == 2 and run(middle) == whole
