"""Optimizers do what PyTorch's do: numbers, state dicts, errors, hooks, printed forms."""

import copy
import inspect
import pickle
import warnings

import numpy as np
import pytest
import torch

import flambeau

STEPS = 20

CASES = [
    ("SGD", {}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "maximize": True}),
    ("Adam", {"lr": 0.1}),
    ("Adam", {"lr": 0.1, "amsgrad": True, "weight_decay": 0.1, "betas": (0.5, 0.6)}),
    ("Adam", {"lr": 0.1, "decoupled_weight_decay": True, "weight_decay": 0.1, "maximize": True}),
    ("AdamW", {"lr": 0.1}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True}),
    ("Adamax", {"lr": 0.1, "weight_decay": 0.1}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.1}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.1, "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RMSprop", {"lr": 0.1}),
    ("RMSprop", {"lr": 0.1, "momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    ("Rprop", {"lr": 0.1}),
    ("Rprop", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (0.05, 0.2), "maximize": True}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.2}),
    ("Adadelta", {"weight_decay": 0.1}),
    ("ASGD", {"lr": 0.1, "weight_decay": 0.1, "t0": 5, "lambd": 0.01}),
    ("Adafactor", {"lr": 0.1}),
    ("Adafactor", {"lr": 0.1, "weight_decay": 0.1, "eps": (1e-30, 1e-2), "d": 1.5}),
]
SHAPES = [(3, 4), (4,), (2, 3, 2)]


def problem(module, dtype="float32", shapes=SHAPES):
    """Parameters, and a closure that computes the gradients of a loss."""
    rng = np.random.default_rng(0)
    starts = [rng.normal(size=shape) for shape in shapes]
    scales = [rng.uniform(0.2, 3.0, size=shape) for shape in shapes]
    kind = getattr(module, dtype)
    params = [module.tensor(start.tolist(), dtype=kind, requires_grad=True) for start in starts]
    factors = [module.tensor(scale.tolist(), dtype=kind) for scale in scales]

    def closure():
        for param in params:
            param.grad = None
        loss = sum((f * (p - 0.3) ** 2).sum() for f, p in zip(factors, params, strict=True))
        loss.backward()
        return loss

    return params, closure


def run(module, name, options, steps=STEPS, dtype="float32", shapes=SHAPES):
    params, closure = problem(module, dtype, shapes)
    optimizer = getattr(module.optim, name)(params, **options)
    losses = [optimizer.step(closure).item() for _ in range(steps)]
    return losses, [param.detach().double().tolist() for param in params], optimizer


def assert_same(ours, theirs, rtol=2e-5, atol=1e-6):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.array(a), np.array(b), rtol=rtol, atol=atol)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_same_numbers_as_pytorch(name, options):
    losses, params, optimizer = run(flambeau, name, options)
    expected_losses, expected_params, reference = run(torch, name, options)
    assert_same([losses], [expected_losses])
    assert_same(params, expected_params)
    assert_state_matches(optimizer.state_dict(), reference.state_dict())


@pytest.mark.parametrize(("name", "options"), CASES[::2])
def test_same_numbers_in_double(name, options):
    ours, theirs = (run(module, name, options, dtype="float64") for module in (flambeau, torch))
    assert_same(ours[1], theirs[1], rtol=1e-6, atol=1e-9)


def assert_state_matches(ours, theirs):
    assert list(ours) == list(theirs)
    assert ours["param_groups"] == theirs["param_groups"]
    assert [list(group) for group in ours["param_groups"]] == [
        list(group) for group in theirs["param_groups"]
    ]
    assert ours["state"].keys() == theirs["state"].keys()
    for key, expected in theirs["state"].items():
        state = ours["state"][key]
        assert set(state) == set(expected)
        for name, value in expected.items():
            if isinstance(value, torch.Tensor):
                assert str(state[name].dtype).split(".")[-1] == str(value.dtype).split(".")[-1]
                assert tuple(state[name].shape) == tuple(value.shape)
                np.testing.assert_allclose(
                    np.array(state[name].tolist()), value.numpy(), rtol=2e-4, atol=1e-5
                )
            else:
                assert state[name] == value


def test_muon():
    ours, theirs = (
        run(module, "Muon", {"lr": 0.1}, shapes=[(3, 4), (5, 2)]) for module in (flambeau, torch)
    )
    # The iterations run in bfloat16, whose sums depend on the order of addition.
    assert_same(ours[1], theirs[1], rtol=0.05, atol=0.05)


@pytest.mark.parametrize("line_search_fn", [None, "strong_wolfe"])
def test_lbfgs(line_search_fn):
    options = {"lr": 0.3, "max_iter": 4, "history_size": 3, "line_search_fn": line_search_fn}
    ours, theirs = (
        run(module, "LBFGS", options, steps=5, dtype="float64") for module in (flambeau, torch)
    )
    assert_same(ours[1], theirs[1], rtol=1e-7)
    assert_same([ours[0]], [theirs[0]], rtol=1e-7)
    mine = ours[2].state_dict()["state"][0]
    reference = theirs[2].state_dict()["state"][0]
    assert mine["func_evals"] == reference["func_evals"]
    assert mine["n_iter"] == reference["n_iter"]
    assert len(mine["old_dirs"]) == len(reference["old_dirs"])


@pytest.mark.parametrize("line_search_fn", [None, "strong_wolfe"])
def test_lbfgs_on_rosenbrock(line_search_fn):
    def minimise(module):
        point = module.tensor([-1.2, 1.0], dtype=module.float64, requires_grad=True)
        optimizer = module.optim.LBFGS(
            [point], lr=0.02 if line_search_fn is None else 1, line_search_fn=line_search_fn
        )

        def closure():
            optimizer.zero_grad()
            x, y = point[0], point[1]
            loss = (1 - x) ** 2 + 100 * (y - x * x) ** 2
            loss.backward()
            return loss

        losses = [optimizer.step(closure).item() for _ in range(4)]
        return losses, point.tolist(), optimizer.state_dict()["state"][0]["func_evals"]

    ours, theirs = minimise(flambeau), minimise(torch)
    assert_same(ours[:2], theirs[:2], rtol=1e-6, atol=1e-8)
    assert ours[2] == theirs[2]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_state_dict_goes_both_ways(name, options):
    """Ten steps here, the state moved to PyTorch and ten steps there, and the other way round."""
    _, expected, _ = run(torch, name, options)
    for first, second in ((flambeau, torch), (torch, flambeau)):
        _, params, optimizer = run(first, name, options, steps=10)
        state = converted(optimizer.state_dict(), second)
        new_params, closure = problem(second)
        with second.no_grad():
            for new, old in zip(new_params, params, strict=True):
                new.copy_(second.tensor(old))
        other = getattr(second.optim, name)(new_params, **options)
        other.load_state_dict(state)
        for _ in range(10):
            other.step(closure)
        assert_same([p.tolist() for p in new_params], expected)


def converted(value, module):
    """The same structure with tensors of another module."""
    if isinstance(value, dict):
        return {key: converted(entry, module) for key, entry in value.items()}
    if isinstance(value, (torch.Tensor, flambeau.Tensor)):
        dtype = getattr(module, str(value.dtype).split(".")[-1])
        return module.tensor(value.tolist(), dtype=dtype)
    return value


NAMES = sorted({name for name, _ in CASES} | {"LBFGS", "Muon", "SparseAdam"})


@pytest.mark.parametrize("name", NAMES)
def test_signature_and_repr(name):
    ours, theirs = (getattr(module.optim, name) for module in (flambeau, torch))
    described = [
        [(p.name, p.kind, p.default) for p in inspect.signature(cls.__init__).parameters.values()]
        for cls in (ours, theirs)
    ]
    assert described[0] == described[1]
    optimizers = [
        cls([module.ones(2, 2, requires_grad=True)])
        for cls, module in ((ours, flambeau), (theirs, torch))
    ]
    assert repr(optimizers[0]) == repr(optimizers[1])
    assert optimizers[0].defaults == optimizers[1].defaults
    assert list(optimizers[0].defaults) == list(optimizers[1].defaults)


BAD = {
    "lr": -1.0,
    "momentum": -1.0,
    "weight_decay": -1.0,
    "betas": (0.9, 1.5),
    "eps": -1.0,
    "alpha": -1.0,
    "rho": 2.0,
    "lr_decay": -1.0,
    "initial_accumulator_value": -1.0,
    "etas": (1.5, 1.2),
    "momentum_decay": -1.0,
    "beta2_decay": 1.0,
    "d": 0.5,
    "adjust_lr_fn": "x",
}


def outcome(function):
    """The type and message of the exception raised, or None; and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            function()
            raised = None
        except Exception as error:
            raised = (error_base(error), str(error))
    return raised, [str(warning.message) for warning in caught]


def error_base(error):
    return next(c.__name__ for c in type(error).__mro__ if c.__module__ == "builtins")


@pytest.mark.parametrize("name", NAMES)
def test_bad_options(name):
    parameters = inspect.signature(getattr(torch.optim, name).__init__).parameters
    bad = [(key, value) for key, value in BAD.items() if key in parameters]
    if name == "Adafactor":
        bad = [(key, (-1.0, 1.0) if key == "eps" else value) for key, value in bad]
    if "fused" in parameters:
        bad.append(("fused", True))
    for key, value in bad:
        extra = {"differentiable": True} if key == "fused" else {}
        options = {key: value, **extra}
        assert build_outcome(flambeau, name, options) == build_outcome(torch, name, options)


def build_outcome(module, name, options):
    param = module.ones(2, 2, requires_grad=True)
    return outcome(lambda: getattr(module.optim, name)([param], **options))


BAD_PARAMS = [
    lambda m, w: m.optim.SGD(w, lr=0.1),
    lambda m, w: m.optim.SGD([], lr=0.1),
    lambda m, w: m.optim.SGD(["a"], lr=0.1),
    lambda m, w: m.optim.SGD(3, lr=0.1),
    lambda m, w: m.optim.SGD([{"params": {w}}], lr=0.1),
    lambda m, w: m.optim.SGD([w * 2], lr=0.1),
    lambda m, w: m.optim.SGD([w, w], lr=0.1),
    lambda m, w: m.optim.SGD([{"params": [w]}, {"params": [w]}], lr=0.1),
    lambda m, w: m.optim.SGD({"params": [w]}, lr=0.1),
    lambda m, w: m.optim.SGD([{"x": [w]}], lr=0.1),
    lambda m, w: m.optim.SGD([("a", w), m.ones(1)], lr=0.1),
    lambda m, w: m.optim.SGD([{"params": [("a", w)]}, {"params": [m.ones(1)]}], lr=0.1),
    lambda m, w: m.optim.SGD([w], lr=0.1).add_param_group([w]),
    lambda m, w: m.optim.SGD([w], lr=0.1, nesterov=True),
    lambda m, w: m.optim.SGD([w], lr=m.tensor([0.1, 0.2])),
    lambda m, w: m.optim.Adam([w], lr=m.tensor(0.1), foreach=True),
    lambda m, w: m.optim.Adam([w], betas=(m.tensor(0.9), 0.99)),
    lambda m, w: m.optim.Muon([m.ones(2, requires_grad=True)]),
    lambda m, w: m.optim.LBFGS([{"params": [w]}, {"params": [m.ones(1)]}]),
    lambda m, w: m.optim.SGD([w]).load_state_dict(m.optim.SGD([w, m.ones(1)]).state_dict()),
    lambda m, w: m.optim.SGD([w]).load_state_dict(
        m.optim.SGD([{"params": [w]}, {"params": [m.ones(1)]}]).state_dict()
    ),
]


@pytest.mark.parametrize("build", BAD_PARAMS)
def test_bad_parameters(build):
    ours, theirs = (
        outcome(lambda m=module: build(m, m.ones(2, requires_grad=True)))
        for module in (flambeau, torch)
    )
    if theirs[0] is not None:
        own_type = flambeau.ones(1).type()
        theirs = ((theirs[0][0], theirs[0][1].replace("torch.FloatTensor", own_type)), theirs[1])
    assert ours == theirs


def test_groups_have_their_own_options():
    def run_groups(module):
        a, b = (module.ones(2, requires_grad=True) for _ in range(2))
        optimizer = module.optim.SGD([{"params": a, "lr": 0.5}], lr=0.1, momentum=0.5)
        optimizer.add_param_group({"params": [b], "momentum": 0.0})
        for _ in range(3):
            optimizer.zero_grad()
            (a * a + b * b).sum().backward()
            optimizer.step()
        return [a.tolist(), b.tolist()], repr(optimizer)

    ours, theirs = run_groups(flambeau), run_groups(torch)
    assert_same(ours[0], theirs[0])
    assert ours[1] == theirs[1]


def test_named_parameters():
    def names(module):
        a, b = (module.ones(2, requires_grad=True) for _ in range(2))
        named = module.optim.SGD([("a", a), ("b", b)], lr=0.1)
        plain = module.optim.SGD([a, b], lr=0.3)
        state = named.state_dict()
        named.load_state_dict(plain.state_dict())
        return state, named.state_dict(), repr(named)

    assert names(flambeau) == names(torch)


def test_zero_grad():
    w = flambeau.ones(2, requires_grad=True)
    optimizer = flambeau.optim.SGD([w])
    (w * w).sum().backward()
    grad = w.grad
    optimizer.zero_grad(set_to_none=False)
    assert w.grad is grad
    assert grad.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert w.grad is None


def test_learning_rate_as_a_tensor():
    for name in ("SGD", "Adam", "Adagrad", "ASGD"):
        results = [
            run(module, name, {"lr": module.tensor(0.1)}, steps=5) for module in (flambeau, torch)
        ]
        assert_same(results[0][1], results[1][1])


def test_hooks_are_called_in_order():
    calls = []
    w = flambeau.ones(2, requires_grad=True)
    optimizer = flambeau.optim.SGD([w])
    first = optimizer.register_step_pre_hook(lambda *args: calls.append("pre"))
    optimizer.register_step_post_hook(lambda *args: calls.append("post"))
    optimizer.register_state_dict_pre_hook(lambda opt: calls.append("saving"))
    optimizer.register_state_dict_post_hook(lambda opt, state: {**state, "extra": 1})
    optimizer.register_load_state_dict_pre_hook(lambda opt, state: calls.append("loading"))
    optimizer.register_load_state_dict_post_hook(lambda opt: calls.append("loaded"))
    from flambeau.optim.optimizer import register_optimizer_step_pre_hook

    everywhere = register_optimizer_step_pre_hook(lambda *args: calls.append("any"))
    optimizer.step()
    everywhere.remove()
    first.remove()
    optimizer.step()
    state = optimizer.state_dict()
    assert state.pop("extra") == 1
    optimizer.load_state_dict(state)
    assert calls == ["any", "pre", "post", "post", "saving", "loading", "loaded"]


def test_a_hook_may_replace_the_arguments():
    w = flambeau.ones(2, requires_grad=True)
    optimizer = flambeau.optim.SGD([w])
    optimizer.register_step_pre_hook(lambda opt, args, kwargs: ((lambda: 7.0,), {}))
    assert optimizer.step() == 7.0
    optimizer.register_step_pre_hook(lambda *args: 3)
    with pytest.raises(RuntimeError, match="must return None or a tuple"):
        optimizer.step()


def test_an_optimizer_written_by_a_user():
    """As tutorials write it: a step of one's own over ``param_groups``."""

    def build(module):
        class Signs(module.optim.Optimizer):
            def __init__(self, params, lr=0.1):
                super().__init__(params, {"lr": lr})

            @module.no_grad()
            def step(self, closure=None):
                loss = None
                if closure is not None:
                    with module.enable_grad():
                        loss = closure()
                for group in self.param_groups:
                    for param in group["params"]:
                        if param.grad is None:
                            continue
                        state = self.state[param]
                        state["count"] = state.get("count", 0) + 1
                        param.add_(param.grad.sign(), alpha=-group["lr"] / state["count"])
                return loss

        params, closure = problem(module)
        optimizer = Signs(params)
        calls = []
        optimizer.register_step_post_hook(lambda *args: calls.append(1))
        for _ in range(5):
            optimizer.step(closure)
        assert len(calls) == 5
        return [param.tolist() for param in params]

    assert_same(build(flambeau), build(torch))


def test_deepcopy_and_pickle_keep_state():
    params, closure = problem(flambeau)
    optimizer = flambeau.optim.Adam(params, lr=0.1)
    for _ in range(3):
        optimizer.step(closure)
    for twin in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert repr(twin) == repr(optimizer)
        ours, theirs = optimizer.state_dict()["state"], twin.state_dict()["state"]
        assert_same(
            [ours[key]["exp_avg"].tolist() for key in ours],
            [theirs[key]["exp_avg"].tolist() for key in theirs],
        )
        assert twin.param_groups[0]["params"][0] is not params[0]
        twin.step()


def test_old_state_counts_steps_in_plain_numbers():
    params, closure = problem(flambeau)
    optimizer = flambeau.optim.Adam(params)
    optimizer.step(closure)
    state = optimizer.state_dict()
    for entry in state["state"].values():
        entry["step"] = 1
    del state["param_groups"][0]["decoupled_weight_decay"]
    optimizer.load_state_dict(state)
    assert optimizer.state[params[0]]["step"].dtype == flambeau.float32
    optimizer.step(closure)
    assert float(optimizer.state[params[0]]["step"]) == 2.0


def test_a_parameter_without_gradient_is_left_alone():
    a, b = (flambeau.ones(2, requires_grad=True) for _ in range(2))
    optimizer = flambeau.optim.Adam([a, b])
    (a * 2).sum().backward()
    optimizer.step()
    assert b.tolist() == [1.0, 1.0]
    assert b not in optimizer.state


def test_step_of_the_base_class_is_not_implemented():
    class Empty(flambeau.optim.Optimizer):
        pass

    with pytest.raises(NotImplementedError):
        Empty([flambeau.ones(1, requires_grad=True)], {}).step()
