"""What each name of Lightning's module, data module, callbacks and utilities does here.

tools/lightning_coverage.py says which names are supported: each has a check below, or is one of the
hooks of test_trainer_hooks.py. The names of ``Trainer`` are in test_trainer_names_trainer.py.
"""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.errors import NotSupportedError
from flambeau.trainer import (
    Callback,
    LightningDataModule,
    LightningModule,
    Trainer,
    seed_everything,
    utilities,
)
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.utils.data import DataLoader

HERE = Path(__file__).parent
QUIET = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
CHECKS = {}


def checks(*names):
    """Says which names a function tries."""

    def note(function):
        CHECKS.update(dict.fromkeys(" ".join(names).split(), function))
        return function

    return note


def of_module(*names):
    return checks(*(f"LightningModule.{name}" for name in " ".join(names).split()))


class Net(LightningModule):
    """A line through the origin."""

    def __init__(self, rate=0.1, size=3):
        super().__init__()
        self.save_hyperparameters()
        self.layer = nn.Linear(size, 1, bias=False)

    def forward(self, x):
        return self.layer(x)

    def training_step(self, batch, batch_idx):
        return self(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.rate)

    def train_dataloader(self):
        return DataLoader(torch.ones(4, 3), batch_size=2)


def fitted(module, **options):
    trainer = Trainer(**{"max_epochs": 1, **QUIET, **options})
    trainer.fit(module)
    return trainer


# --- LightningModule ----------------------------------------------------------------------------


@of_module(
    "trainer current_epoch global_step global_rank local_rank logger loggers print log log_dict"
)
def _the_module_knows_where_it_is(tmp_path, capsys):
    seen = []

    class Looks(Net):
        def training_step(self, batch, batch_idx):
            seen.append((self.current_epoch, self.global_step, self.global_rank, self.local_rank))
            loss = super().training_step(batch, batch_idx)
            self.log("one", 1.5, on_epoch=True)
            self.log_dict({"two": torch.tensor(2.0), "three": 3})
            if batch_idx == 0:
                self.print("said", sep="")
            return loss

    from flambeau.trainer.loggers import CSVLogger

    module, logger = Looks(), CSVLogger(tmp_path)
    with pytest.raises(RuntimeError, match="not attached"):
        _ = module.trainer
    assert (module.logger, module.loggers, module.current_epoch) == (None, [], 0)
    trainer = fitted(module, max_epochs=2, logger=[logger])
    assert seen == [(0, 0, 0, 0), (0, 1, 0, 0), (1, 2, 0, 0), (1, 3, 0, 0)]
    assert module.trainer is trainer and module.logger is logger and module.loggers == [logger]
    assert capsys.readouterr().out.count("said\n") == 2
    found = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert found == {"one": 1.5, "one_step": 1.5, "one_epoch": 1.5, "two": 2.0, "three": 3.0}


@of_module("device dtype on_gpu fabric device_mesh all_gather")
def _one_processor():
    module = Net()
    assert module.device == torch.device("cpu") and module.dtype == torch.float32
    assert module.double().dtype == torch.float64
    assert not module.on_gpu and module.fabric is None and module.device_mesh is None
    assert module.all_gather({"a": 1}) == {"a": 1}


@of_module("forward example_input_array to_torchscript")
def _calls_and_exports():
    module = Net().train()
    with torch.no_grad():
        module.layer.weight.fill_(2.0)
    assert module(torch.ones(1, 3)).item() == 6.0 == module.forward(torch.ones(1, 3)).item()
    with pytest.raises(ValueError, match="example_input"):
        module.to_torchscript(method="trace")
    module.example_input_array = torch.ones(1, 3)
    traced = module.to_torchscript(method="trace")
    assert traced(torch.ones(2, 3)).flatten().tolist() == [6.0, 6.0] and module.training
    assert module.to_torchscript()(torch.ones(1, 3)).item() == 6.0
    with pytest.raises(ValueError, match="script"):
        module.to_torchscript(method="other")


def test_exports_that_are_not_there_say_so(tmp_path):
    module = Net()
    with pytest.raises(NotSupportedError, match="ONNX"):
        module.to_onnx(tmp_path / "net.onnx", torch.ones(1, 3))
    with pytest.raises(NotSupportedError, match="TensorRT"):
        module.to_tensorrt()
    with pytest.raises(NotSupportedError):
        module.to_torchscript(tmp_path / "net.pt")


@of_module("freeze unfreeze")
def _freezing():
    module = Net()
    module.freeze()
    assert not module.training and not module.layer.weight.requires_grad
    module.unfreeze()
    assert module.training and module.layer.weight.requires_grad


@of_module(
    "hparams hparams_initial save_hyperparameters remove_ignored_hparams "
    "CHECKPOINT_HYPER_PARAMS_KEY CHECKPOINT_HYPER_PARAMS_NAME CHECKPOINT_HYPER_PARAMS_TYPE "
    "load_from_checkpoint strict_loading"
)
def _hyper_parameters(tmp_path):
    class Wider(Net):
        def __init__(self, rate=0.2, size=3, more="x"):
            super().__init__(rate, size)
            self.save_hyperparameters(ignore=["size"])

    assert dict(Wider().hparams) == {"rate": 0.2, "more": "x"}
    module = Net(rate=0.5)
    module.hparams.rate = 0.25
    assert dict(module.hparams_initial) == {"rate": 0.5, "size": 3}
    module.remove_ignored_hparams(["size"])
    assert dict(module.hparams) == {"rate": 0.25}
    path = tmp_path / "net.ckpt"
    fitted(module).save_checkpoint(path)
    kept = torch.load(path, weights_only=True)
    assert kept[module.CHECKPOINT_HYPER_PARAMS_KEY] == {"rate": 0.25}
    assert kept[module.CHECKPOINT_HYPER_PARAMS_NAME] == "kwargs"
    # It would name a class of containers; a dictionary needs none.
    assert module.CHECKPOINT_HYPER_PARAMS_TYPE == "hparams_type" not in kept
    again = Net.load_from_checkpoint(path)
    assert again.hparams.rate == 0.25 and torch.equal(again.layer.weight, module.layer.weight)

    class More(Net):
        def __init__(self, rate=0.1):
            super().__init__(rate)
            self.other = nn.Linear(1, 1)

    with pytest.raises(RuntimeError, match="other"):
        More.load_from_checkpoint(path)
    assert torch.equal(
        More.load_from_checkpoint(path, strict=False).layer.weight, again.layer.weight
    )
    More.strict_loading = False
    assert torch.equal(More.load_from_checkpoint(path).layer.weight, again.layer.weight)


@of_module(
    "optimizers lr_schedulers automatic_optimization manual_backward toggle_optimizer "
    "untoggle_optimizer toggled_optimizer clip_gradients"
)
def _by_hand():
    class Hand(Net):
        def __init__(self):
            super().__init__()
            self.other = nn.Linear(3, 1)
            self.automatic_optimization = False
            self.seen = []

        def training_step(self, batch, batch_idx):
            mine, theirs = self.optimizers()
            self.toggle_optimizer(mine)
            assert [p.requires_grad for p in self.parameters()] == [True, False, False]
            loss = (self.layer(batch) + self.other(batch)).square().mean()
            mine.zero_grad()
            self.manual_backward(loss)
            self.clip_gradients(mine, 1e-3, "norm")
            self.seen.append(self.layer.weight.grad.norm().item())
            mine.step()
            self.untoggle_optimizer(mine)
            with self.toggled_optimizer(theirs):
                assert [p.requires_grad for p in self.parameters()] == [False, True, True]
            assert all(p.requires_grad for p in self.parameters())
            self.lr_schedulers().step()

        def configure_optimizers(self):
            mine = torch.optim.SGD(self.layer.parameters(), lr=1.0)
            theirs = torch.optim.SGD(self.other.parameters(), lr=1.0)
            return [mine, theirs], [torch.optim.lr_scheduler.StepLR(mine, 1, gamma=0.5)]

    module = Hand()
    trainer = fitted(module)
    np.testing.assert_allclose(module.seen, [1e-3, 1e-3], rtol=1e-4)
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.25 and module.global_step == 2
    plain = Net()
    fitted(plain)
    assert plain.automatic_optimization and plain.lr_schedulers() is None
    with pytest.raises(MisconfigurationException, match="automatic_optimization"):
        plain.manual_backward(torch.tensor(1.0))


@of_module("configure_sharded_model")
def _an_old_name_is_called():
    class Old(Net):
        def configure_sharded_model(self):
            self.more = nn.Linear(3, 3)

    module = Old()
    fitted(module)
    assert isinstance(module.more, nn.Linear)


# --- Callback, LightningDataModule --------------------------------------------------------------


class Counts(Callback):
    def __init__(self, what="a"):
        self.what, self.batches = what, 0

    @property
    def state_key(self):
        return self._generate_state_key(what=self.what)

    def on_train_batch_end(self, *_):
        self.batches += 1

    def state_dict(self):
        return {"batches": self.batches}

    def load_state_dict(self, state_dict):
        self.batches = state_dict["batches"]


@checks("Callback.state_key Callback.state_dict Callback.load_state_dict")
def _states_of_callbacks(tmp_path):
    trainer = fitted(Net(), callbacks=[Counts("a"), Counts("b")])
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    kept = torch.load(tmp_path / "run.ckpt", weights_only=True)["callbacks"]
    assert kept == {f"Counts{{'what': {w!r}}}": {"batches": 2} for w in "ab"}
    assert Callback().state_key == "Callback"
    again = Counts("b")
    more = Trainer(max_epochs=2, callbacks=[again], **QUIET)
    more.fit(Net(), ckpt_path=tmp_path / "run.ckpt")
    assert again.batches == 4


class Rows(LightningDataModule):
    def __init__(self, count=4):
        super().__init__()
        self.save_hyperparameters()
        self.passes = 0

    def loader(self):
        return DataLoader(torch.ones(self.hparams.count, 3), batch_size=2)

    train_dataloader = test_dataloader = predict_dataloader = loader

    def state_dict(self):
        return {"passes": self.passes + 1}

    def load_state_dict(self, state_dict):
        self.passes = state_dict["passes"]


def of_data(*names):
    return checks(*(f"LightningDataModule.{name}" for name in " ".join(names).split()))


@of_data(
    "hparams hparams_initial save_hyperparameters remove_ignored_hparams load_from_checkpoint "
    "state_dict load_state_dict CHECKPOINT_HYPER_PARAMS_KEY CHECKPOINT_HYPER_PARAMS_NAME "
    "CHECKPOINT_HYPER_PARAMS_TYPE"
)
def _data_in_checkpoints(tmp_path):
    data, path = Rows(count=6), tmp_path / "run.ckpt"
    trainer = Trainer(max_epochs=1, **QUIET)
    trainer.fit(Net(), datamodule=data)
    assert trainer.global_step == 3
    trainer.save_checkpoint(path)
    kept = torch.load(path, weights_only=True)
    assert kept[data.CHECKPOINT_HYPER_PARAMS_KEY] == {"count": 6} and kept["Rows"] == {"passes": 1}
    assert kept[data.CHECKPOINT_HYPER_PARAMS_NAME] == "kwargs"
    assert data.CHECKPOINT_HYPER_PARAMS_TYPE == "datamodule_hparams_type" not in kept
    assert Rows.load_from_checkpoint(path).hparams.count == 6
    again = Rows()
    Trainer(max_epochs=2, **QUIET).fit(Net(), datamodule=again, ckpt_path=path)
    assert again.passes == 1
    again.remove_ignored_hparams(["count"])
    assert not again.hparams and dict(again.hparams_initial) == {"count": 4}


@of_data("from_datasets name test_dataloader predict_dataloader")
def _loaders_of_data():
    class Tests(Net):
        def test_step(self, batch, batch_idx):
            self.log("size", float(len(batch)), batch_size=1)

    rows = torch.ones(5, 3)
    data = LightningDataModule.from_datasets(rows, test_dataset=rows, predict_dataset=rows,
                                             batch_size=3)  # fmt: skip
    trainer = Trainer(max_epochs=1, **QUIET)
    trainer.fit(Tests(), datamodule=data)
    assert trainer.global_step == 2 and data.name is None and trainer.datamodule is data
    assert trainer.test(datamodule=data, verbose=False) == [{"size": 2.5}]
    assert [len(p) for p in trainer.predict(datamodule=data)] == [3, 2]
    with pytest.raises(MisconfigurationException, match="no data"):
        trainer.validate(type("V", (Tests,), {"validation_step": Tests.test_step})(),
                         datamodule=data)  # fmt: skip


# --- utilities, and the package -----------------------------------------------------------------


def of_utilities(*names):
    return checks(*(f"utilities.{name}" for name in " ".join(names).split()))


@of_utilities("AttributeDict")
def _attributes():
    found = utilities.AttributeDict(rate=0.1)
    found.width = 3
    assert (found["width"], found.rate) == (3, 0.1)
    with pytest.raises(AttributeError, match="missing"):
        _ = found.missing


@of_utilities("CombinedLoader")
def _combined_loaders():
    short, long = DataLoader(range(3), batch_size=2), DataLoader(range(9), batch_size=3)

    def batches(mode, loaders=None):
        loader = utilities.CombinedLoader(loaders or {"a": short, "b": long}, mode)
        found = [
            (b if isinstance(b, torch.Tensor) else [None if x is None else x.tolist()
                                                   for x in b.values()], i, n)
            for b, i, n in loader
        ]  # fmt: skip
        assert len(found) == len(loader)
        return found

    first, second = [[0, 1], [0, 1, 2]], [[2], [3, 4, 5]]
    assert batches("min_size") == [(first, 0, 0), (second, 1, 0)]
    assert batches("max_size_cycle")[2] == ([[0, 1], [6, 7, 8]], 2, 0)
    assert batches("max_size")[2] == ([None, [6, 7, 8]], 2, 0)
    assert [(i, n) for _, i, n in batches("sequential")] == [(0, 0), (1, 0), (0, 1), (1, 1), (2, 1)]
    loader = utilities.CombinedLoader([short, long], "sequential")
    loader.limits = [1, 2]
    assert len(loader) == len(list(loader)) == 3
    loader.flattened = [long, long]
    assert loader.iterables == [long, long] and loader.sampler == [long.sampler] * 2
    with pytest.raises(ValueError, match="Unsupported mode"):
        utilities.CombinedLoader([short], "shortest")


def test_collections_of_loaders_train_and_validate():
    seen = []

    class Sees(Net):
        def training_step(self, batch, batch_idx):
            seen.append([len(part) for part in batch.values()])
            return super().training_step(batch["b"].float().reshape(-1, 1).expand(-1, 3), 0)

        def validation_step(self, batch, batch_idx, dataloader_idx):
            seen.append((dataloader_idx, batch_idx))

    loaders = {"a": DataLoader(range(3), batch_size=2), "b": DataLoader(range(9), batch_size=3)}
    trainer = Trainer(max_epochs=1, num_sanity_val_steps=0, **QUIET)
    trainer.fit(Sees(), loaders, loaders)
    assert seen == [[2, 3], [1, 3], [2, 3], (0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    assert trainer.train_dataloader is loaders and trainer.num_val_batches == [2, 3]


@of_utilities("GradClipAlgorithmType LightningEnum")
def _enumerations():
    kind = utilities.GradClipAlgorithmType
    assert kind.NORM == "Norm" and kind("value") is kind.VALUE and len({kind.NORM, "norm"}) == 1
    assert kind.from_str("norm") is kind.NORM and issubclass(kind, utilities.LightningEnum)
    with pytest.raises(ValueError, match="Invalid match"):
        kind.from_str("sum")
    module = Net(rate=1.0)
    before = module.layer.weight.detach().clone()
    fitted(module, gradient_clip_val=1e-4, gradient_clip_algorithm=kind.VALUE, max_steps=1)
    change = (module.layer.weight.detach() - before).abs()
    np.testing.assert_allclose(change.numpy(), 1e-4, rtol=1e-2)


@of_utilities("disable_possible_user_warnings")
def _possible_warnings():
    module = type("V", (Net,), {"validation_step": lambda self, batch, batch_idx: None})()
    with warnings.catch_warnings():
        utilities.disable_possible_user_warnings()
        fitted(module)
    with pytest.warns(utilities.PossibleUserWarning, match="val_dataloader"):
        fitted(module)


@of_utilities("find_shared_parameters set_shared_parameters")
def _shared_parameters():
    def pair():
        return nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))

    one, other = pair(), pair()
    one[1].weight = one[0].weight
    names = utilities.find_shared_parameters(one)
    assert names == [["0.weight", "1.weight"]] and utilities.find_shared_parameters(other) == []
    assert utilities.set_shared_parameters(other, names)[1].weight is other[0].weight


@of_utilities("grad_norm")
def _norms():
    module = Net()
    module.layer.weight.grad = torch.tensor([[3.0, 0.0, 4.0]])
    found = utilities.grad_norm(module, 2)
    assert found == {"grad_2.0_norm/layer.weight": 5.0, "grad_2.0_norm_total": 5.0}


@of_utilities("is_picklable is_shared_filesystem suggested_max_num_workers")
def _the_machine(tmp_path):
    assert utilities.is_picklable({"a": [1]}) and not utilities.is_picklable(lambda: 1)
    assert utilities.is_shared_filesystem(None, tmp_path)
    with pytest.raises(FileNotFoundError):
        utilities.is_shared_filesystem(None, tmp_path / "gone")
    assert utilities.suggested_max_num_workers(10_000) == 1
    with pytest.raises(ValueError, match="local_world_size"):
        utilities.suggested_max_num_workers(0)


@of_utilities("measure_flops")
def _operations():
    # What Lightning counts for the same.
    net, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.ones(2, 3)
    assert utilities.measure_flops(net, lambda: net(x)) == 80
    assert utilities.measure_flops(net, lambda: net(x), torch.Tensor.sum) == 192


@of_utilities("move_data_to_device")
def _moved():
    batch = {"x": [torch.ones(2)], "y": "text"}
    moved = utilities.move_data_to_device(batch, torch.device("cpu"))
    assert moved["y"] == "text" and moved["x"][0].tolist() == [1.0, 1.0]


@of_utilities("rank_zero_deprecation rank_zero_info rank_zero_only rank_zero_warn")
def _only_the_first_process(monkeypatch, caplog):
    called = []
    first = utilities.rank_zero_only(called.append)
    first(0)
    with pytest.warns(UserWarning, match="careful"):
        utilities.rank_zero_warn("careful")
    with pytest.warns(DeprecationWarning, match="old"):
        utilities.rank_zero_deprecation("old")
    with caplog.at_level("INFO"):
        utilities.rank_zero_info("hello")
    monkeypatch.setattr(utilities.rank_zero_only, "rank", 1)
    first(1)
    utilities.rank_zero_warn("silent")
    assert called == [0] and [record.message for record in caplog.records] == ["hello"]


@checks("lightning.pytorch.seed_everything")
def _seeds():
    assert seed_everything(3) == 3
    first = torch.rand(2), np.random.rand()
    seed_everything(3)
    assert torch.equal(torch.rand(2), first[0]) and np.random.rand() == first[1]


# The classes themselves are what everything here is made of.
checks("lightning.pytorch.Callback", "callbacks.Callback")(_states_of_callbacks)
checks("lightning.pytorch.LightningDataModule")(_loaders_of_data)
checks("lightning.pytorch.LightningModule")(_the_module_knows_where_it_is)
checks("lightning.pytorch.Trainer")(_by_hand)


# --- the whole ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_name(name, request):
    check = CHECKS[name]
    wanted = check.__code__.co_varnames[: check.__code__.co_argcount]
    check(**{fixture: request.getfixturevalue(fixture) for fixture in wanted})


def coverage():
    path = HERE.parent / "tools" / "lightning_coverage.py"
    spec = importlib.util.spec_from_file_location("lightning_coverage", path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def test_every_supported_name_is_tried():
    recorded = json.loads((HERE / "lightning_hooks.json").read_text(encoding="utf-8"))
    hooks = {call.partition("(")[0] for call in recorded["calls"]}
    owners = {"LightningModule": "module", "Callback": "callback", "LightningDataModule": "data"}
    mine = (*owners, "utilities", "lightning")
    wanted = {
        name
        for name in coverage().supported()
        if name.partition(".")[0] in mine and "(" not in name
        and f"{owners.get(name.partition('.')[0])}.{name.rpartition('.')[2]}" not in hooks
    }  # fmt: skip
    assert wanted - set(CHECKS) == set()


def test_nineteen_in_twenty_names_are_there():
    tool = coverage()
    lacking = [name for name, why in tool.missing().items() if why not in tool.FOREIGN]
    for package in ("LightningModule", "Trainer", "Callback", "callbacks", "loggers"):
        of_it = [name for (section, _), name in tool.everything()
                 if section.partition(".")[0].removesuffix("()") == package]  # fmt: skip
        assert len([n for n in lacking if n in of_it]) <= 0.05 * len(of_it)


def test_the_page_is_up_to_date():
    tool = coverage()
    assert tool.PAGE.read_text(encoding="utf-8") == tool.page()
