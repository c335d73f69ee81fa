"""Learning rate schedules give PyTorch's rates, momenta, state dicts, errors and warnings."""

import inspect
import warnings

import numpy as np
import pytest
import torch

import flambeau
from test_optim import outcome

STEPS = 20


def optimizer(module, groups=1, kind="SGD", lr=0.1, **options):
    if kind == "SGD":
        options.setdefault("momentum", 0.9)
    return getattr(module.optim, kind)(
        [
            {"params": [module.ones(2, requires_grad=True)], "lr": lr * (index + 1)}
            for index in range(groups)
        ],
        **options,
    )


def sequential(m, o):
    s = m.optim.lr_scheduler
    return s.SequentialLR(
        o, [s.ConstantLR(o), s.ExponentialLR(o, 0.9), s.CosineAnnealingLR(o, 6)], [3, 9]
    )


def chained(m, o):
    s = m.optim.lr_scheduler
    return s.ChainedScheduler([s.LinearLR(o), s.ExponentialLR(o, 0.9)])


def simple(name, **options):
    build = lambda m, o: getattr(m.optim.lr_scheduler, name)(o, **options)
    build.__name__ = f"{name}-{'-'.join(options)}"
    return build


BUILDS = [
    simple("LambdaLR", lr_lambda=lambda epoch: 0.9**epoch),
    simple("MultiplicativeLR", lr_lambda=lambda epoch: 0.95),
    simple("StepLR", step_size=3),
    simple("StepLR", step_size=4, gamma=0.5),
    simple("MultiStepLR", milestones=[2, 5, 5, 11]),
    simple("ConstantLR"),
    simple("ConstantLR", factor=0.5, total_iters=3),
    simple("LinearLR"),
    simple("LinearLR", start_factor=1.0, end_factor=0.1, total_iters=8),
    simple("ExponentialLR", gamma=0.9),
    simple("CosineAnnealingLR", T_max=5),
    simple("CosineAnnealingLR", T_max=30, eta_min=0.01),
    simple("PolynomialLR"),
    simple("PolynomialLR", total_iters=12, power=2.0),
    simple("CosineAnnealingWarmRestarts", T_0=4),
    simple("CosineAnnealingWarmRestarts", T_0=3, T_mult=2, eta_min=0.01),
    simple("CyclicLR", base_lr=0.1, max_lr=1.0, step_size_up=3),
    simple("CyclicLR", base_lr=0.1, max_lr=1.0, step_size_up=3, step_size_down=5),
    simple("CyclicLR", base_lr=0.1, max_lr=1.0, step_size_up=3, mode="triangular2"),
    simple("CyclicLR", base_lr=0.1, max_lr=1.0, step_size_up=3, mode="exp_range", gamma=0.9),
    simple("CyclicLR", base_lr=0.1, max_lr=1.0, step_size_up=3, scale_fn=lambda x: 0.8**x),
    simple("OneCycleLR", max_lr=1.0, total_steps=25),
    simple("OneCycleLR", max_lr=1.0, epochs=5, steps_per_epoch=5, three_phase=True),
    simple("OneCycleLR", max_lr=1.0, total_steps=22, anneal_strategy="linear", pct_start=0.1),
    sequential,
    chained,
    lambda m, o: m.optim.swa_utils.SWALR(o, 0.05),
    lambda m, o: m.optim.swa_utils.SWALR(o, 0.05, anneal_epochs=0, anneal_strategy="linear"),
]


def follow(module, build, kind="SGD", steps=STEPS, saved_at=None, **options):
    """Rates and momenta of every epoch; with ``saved_at``, goes on from there in new objects."""
    opt = optimizer(module, groups=2, kind=kind, **options)
    scheduler = build(module, opt)
    seen = []
    for epoch in range(steps):
        seen.append([float(lr) for lr in scheduler.get_last_lr()])
        for group in opt.param_groups:
            seen[-1].append(float(group["lr"]))
            seen[-1].append(group["betas"][0] if kind == "Adam" else group.get("momentum"))
        opt.step()
        scheduler.step()
        if epoch == saved_at:
            saved, saved_opt = scheduler.state_dict(), opt.state_dict()
            opt = optimizer(module, groups=2, kind=kind, **options)
            scheduler = build(module, opt)
            opt.load_state_dict(saved_opt)
            scheduler.load_state_dict(saved)
    return np.array(seen, dtype=float), scheduler


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_same_rates_as_pytorch(build, kind):
    ours, scheduler = follow(flambeau, build, kind)
    theirs, reference = follow(torch, build, kind)
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-15)
    mine, expected = plain(scheduler.state_dict()), plain(reference.state_dict())
    assert mine.keys() == expected.keys()
    for key in expected:
        assert mine[key] == pytest.approx(expected[key]) if is_number(expected[key]) else True


def plain(state):
    return {key: value for key, value in state.items() if key != "_schedulers"}


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@pytest.mark.parametrize("build", BUILDS)
def test_resumes_from_a_state_dict(build):
    ours, _ = follow(flambeau, build)
    resumed, _ = follow(flambeau, build, saved_at=7)
    np.testing.assert_allclose(resumed, ours, rtol=1e-10)


@pytest.mark.parametrize("build", [b for b in BUILDS if getattr(b, "__name__", "")[:6] != "Cyclic"])
def test_rates_held_in_tensors(build):
    ours, theirs = (
        follow(module, build, "Adam", steps=6, lr=module.tensor(0.1))[0]
        for module in (flambeau, torch)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize(
    "build",
    [
        lambda m, o: m.optim.lr_scheduler.StepLR(o, 3, last_epoch=3),
        lambda m, o: m.optim.lr_scheduler.MultiStepLR(o, [4, 6], last_epoch=3),
        lambda m, o: m.optim.lr_scheduler.ExponentialLR(o, 0.9, last_epoch=3),
        lambda m, o: m.optim.lr_scheduler.ConstantLR(o, last_epoch=3),
        lambda m, o: m.optim.lr_scheduler.LinearLR(o, last_epoch=3),
        lambda m, o: m.optim.lr_scheduler.CosineAnnealingLR(o, 6, last_epoch=3),
        lambda m, o: m.optim.lr_scheduler.PolynomialLR(o, 7, last_epoch=3),
        lambda m, o: m.optim.lr_scheduler.LambdaLR(o, lambda e: 0.9**e, last_epoch=3),
        lambda m, o: m.optim.lr_scheduler.MultiplicativeLR(o, lambda e: 0.9, last_epoch=3),
        lambda m, o: m.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 4, last_epoch=3),
    ],
)
def test_resumes_from_an_epoch(build):
    def rates(module):
        opt = optimizer(module)
        opt.param_groups[0].update(lr=0.05, initial_lr=0.1)
        scheduler = build(module, opt)
        seen = [scheduler.get_last_lr()[0]]
        for _ in range(6):
            opt.step()
            scheduler.step()
            seen.append(scheduler.get_last_lr()[0])
        return seen

    np.testing.assert_allclose(rates(flambeau), rates(torch), rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_plateau(mode, threshold_mode):
    metrics = np.random.default_rng(0).normal(size=60) + 2

    def rates(module):
        opt = optimizer(module, groups=2)
        scheduler = module.optim.lr_scheduler.ReduceLROnPlateau(
            opt,
            mode=mode,
            factor=0.5,
            patience=2,
            threshold=0.1,
            threshold_mode=threshold_mode,
            cooldown=3,
            min_lr=[0.01, 0.03],
        )
        seen = []
        for metric in metrics:
            opt.step()
            scheduler.step(metric)
            seen.append(list(scheduler.get_last_lr()))
        return seen, scheduler.state_dict()

    ours, theirs = rates(flambeau), rates(torch)
    assert ours == theirs


@pytest.mark.parametrize("epoch", [0, 1, 3, 7, 12])
@pytest.mark.parametrize("build", [b for b in BUILDS if b not in (sequential, chained)])
def test_going_to_a_given_epoch(build, epoch):
    def rates(module):
        opt = optimizer(module)
        scheduler = build(module, opt)
        opt.step()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            scheduler.step(epoch)
        return scheduler.get_last_lr(), [str(w.message) for w in caught]

    ours, theirs = rates(flambeau), rates(torch)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-10)
    assert ours[1] == theirs[1]


BAD = [
    lambda s, m, o: s.StepLR(3, 3),
    lambda s, m, o: s.StepLR(o, 3, last_epoch=3),
    lambda s, m, o: s.LambdaLR(o, [lambda e: 1]),
    lambda s, m, o: s.MultiplicativeLR(o, [lambda e: 1]),
    lambda s, m, o: s.ConstantLR(o, factor=2.0),
    lambda s, m, o: s.LinearLR(o, start_factor=0),
    lambda s, m, o: s.LinearLR(o, end_factor=2),
    lambda s, m, o: s.SequentialLR(o, [], []),
    lambda s, m, o: s.SequentialLR(o, [s.ConstantLR(o)], [1]),
    lambda s, m, o: s.SequentialLR(o, [s.ConstantLR(o), s.ConstantLR(optimizer(m))], [1]),
    lambda s, m, o: s.SequentialLR(o, [s.ConstantLR(o), s.ReduceLROnPlateau(o)], [1]),
    lambda s, m, o: s.ChainedScheduler([]),
    lambda s, m, o: s.ChainedScheduler([s.ConstantLR(o), s.ConstantLR(optimizer(m))]),
    lambda s, m, o: s.ChainedScheduler([s.ConstantLR(o), s.ReduceLROnPlateau(o)]),
    lambda s, m, o: s.ReduceLROnPlateau(o, factor=1.0),
    lambda s, m, o: s.ReduceLROnPlateau(o, mode="x"),
    lambda s, m, o: s.ReduceLROnPlateau(o, threshold_mode="x"),
    lambda s, m, o: s.ReduceLROnPlateau(o, min_lr=[1.0]),
    lambda s, m, o: s.ReduceLROnPlateau(o).step(),
    lambda s, m, o: s.CyclicLR(o, 0.1, 1.0, mode="x"),
    lambda s, m, o: s.CyclicLR(optimizer(m, kind="Adagrad"), 0.1, 1.0),
    lambda s, m, o: s.CyclicLR(o, [0.1], 1.0),
    lambda s, m, o: s.CyclicLR(o, 0.1, [1.0]),
    lambda s, m, o: s.CosineAnnealingWarmRestarts(o, 0),
    lambda s, m, o: s.CosineAnnealingWarmRestarts(o, 1, 0),
    lambda s, m, o: s.CosineAnnealingWarmRestarts(o, 1).step(-1),
    lambda s, m, o: s.OneCycleLR(o, 1.0),
    lambda s, m, o: s.OneCycleLR(o, 1.0, total_steps=-1),
    lambda s, m, o: s.OneCycleLR(o, 1.0, epochs=-1, steps_per_epoch=2),
    lambda s, m, o: s.OneCycleLR(o, 1.0, epochs=1, steps_per_epoch=-2),
    lambda s, m, o: s.OneCycleLR(o, 1.0, 10, pct_start=2.0),
    lambda s, m, o: s.OneCycleLR(o, 1.0, 10, anneal_strategy="x"),
    lambda s, m, o: s.OneCycleLR(optimizer(m, kind="Adagrad"), 1.0, 10),
    lambda s, m, o: s.OneCycleLR(o, [1.0], 10),
    lambda s, m, o: m.optim.swa_utils.SWALR(o, 0.1, anneal_strategy="x"),
    lambda s, m, o: m.optim.swa_utils.SWALR(o, 0.1, anneal_epochs=-1),
    lambda s, m, o: m.optim.swa_utils.SWALR(o, [0.1]),
    lambda s, m, o: m.optim.swa_utils.get_ema_avg_fn(2.0),
    # warnings
    lambda s, m, o: s.StepLR(o, 3).step(),
    lambda s, m, o: s.StepLR(o, 3).get_lr(),
    lambda s, m, o: setattr_and_step(s, o),
]


def setattr_and_step(schedules, opt):
    scheduler = schedules.StepLR(opt, 3)
    opt.step = lambda: None
    scheduler.step()


@pytest.mark.parametrize("build", BAD)
def test_errors_and_warnings(build):
    ours, theirs = (
        outcome(lambda m=module: build(m.optim.lr_scheduler, m, optimizer(m, groups=2)))
        for module in (flambeau, torch)
    )
    assert ours == theirs
    assert ours[0] is not None or ours[1]


def test_one_cycle_ends():
    def steps(module):
        opt = optimizer(module)
        scheduler = module.optim.lr_scheduler.OneCycleLR(opt, 1.0, 3)
        for _ in range(5):
            opt.step()
            scheduler.step()

    assert outcome(lambda: steps(flambeau)) == outcome(lambda: steps(torch))


def test_signatures():
    for name in torch.optim.lr_scheduler.__all__:
        ours, theirs = (
            inspect.signature(getattr(module.optim.lr_scheduler, name).__init__).parameters
            for module in (flambeau, torch)
        )
        assert [(p.name, p.kind, p.default) for p in ours.values()] == [
            (p.name, p.kind, p.default) for p in theirs.values()
        ]


def test_a_schedule_written_by_a_user():
    class Halving(flambeau.optim.lr_scheduler.LRScheduler):
        def get_lr(self):
            return [base / 2**self.last_epoch for base in self.base_lrs]

    opt = optimizer(flambeau)
    scheduler = Halving(opt)
    opt.step()
    scheduler.step()
    assert scheduler.get_last_lr() == [0.05]


class TestAveragedModel:
    def models(self, module):
        module.manual_seed(0)
        model = module.nn.Sequential(module.nn.Linear(3, 4), module.nn.BatchNorm1d(4))
        with module.no_grad():
            for index, param in enumerate(model.parameters()):
                param.fill_(0.1 * (index + 1))
        return model

    @pytest.mark.parametrize("use_buffers", [False, True])
    @pytest.mark.parametrize("which", ["default", "ema", "ema_multi", "swa_multi"])
    def test_averages(self, use_buffers, which):
        if use_buffers and which == "swa_multi":
            pytest.skip("PyTorch cannot divide the integer buffer of BatchNorm")

        def run(module):
            utils = module.optim.swa_utils
            options = {
                "default": {},
                "ema": {"avg_fn": utils.get_ema_avg_fn(0.9)},
                "ema_multi": {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.9)},
                "swa_multi": {"multi_avg_fn": utils.get_swa_multi_avg_fn()},
            }[which]
            model = self.models(module)
            average = utils.AveragedModel(model, use_buffers=use_buffers, **options)
            for step in range(4):
                with module.no_grad():
                    for param in model.parameters():
                        param.add_(0.1 * step)
                model(module.tensor([[1.0, 2.0, 3.0], [0.5 * step, 1.0, 0.0]]))
                average.update_parameters(model)
            return {key: value.tolist() for key, value in average.state_dict().items()}

        ours, theirs = run(flambeau), run(torch)
        assert list(ours) == list(theirs)
        for key in theirs:
            np.testing.assert_allclose(ours[key], theirs[key], rtol=1e-5)

    def test_update_bn(self):
        def run(module):
            model = self.models(module)
            batches = [
                (module.tensor([[1.0, 2.0, 3.0], [k, 1.0, 0.0]]), module.ones(2))
                for k in (0.0, 1.0, 5.0)
            ]
            module.optim.swa_utils.update_bn(batches, model)
            assert model[1].momentum == 0.1
            return model[1].running_mean.tolist(), model[1].running_var.tolist()

        np.testing.assert_allclose(run(flambeau), run(torch), rtol=1e-5)
