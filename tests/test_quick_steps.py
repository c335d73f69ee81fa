"""Steps of an optimizer that repeat take a short way: whatever changes between them must show."""

import copy

import numpy as np
import pytest
import torch

import flambeau as fl


def pair(kind: str, **options):
    """The same small network with its optimizer, here and in PyTorch."""
    made = []
    rng = np.random.RandomState(0)
    weights = [rng.randn(*s).astype("f") for s in ((4, 3), (4,), (2, 4), (2,))]
    data = rng.randn(5, 3).astype("f"), rng.randn(5, 2).astype("f")
    for T in (fl, torch):
        net = T.nn.Sequential(T.nn.Linear(3, 4), T.nn.Tanh(), T.nn.Linear(4, 2))
        with T.no_grad():
            for p, w in zip(net.parameters(), weights, strict=True):
                p.copy_(T.tensor(w))
        optimizer = getattr(T.optim, kind)(net.parameters(), **options)
        x, y = map(T.tensor, data)
        made.append((T, net, optimizer, x, y))
    return made


def step(T, net, optimizer, x, y):
    loss = T.nn.functional.mse_loss(net(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def values(net):
    return [p.detach().numpy().copy() for p in net.parameters()]


def same(made):
    for a, b in zip(*[values(net) for _, net, *_ in made], strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


KINDS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("Adam", {"lr": 0.01}),
    ("NAdam", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01}),
]


def new_rate(T, net, optimizer):
    optimizer.param_groups[0]["lr"] = 0.03


def rate_as_tensor(T, net, optimizer):
    optimizer.param_groups[0]["lr"] = T.tensor(0.02)


def frozen(T, net, optimizer):
    net[0].weight.requires_grad_(False)


def other_state(T, net, optimizer):
    for state in optimizer.state.values():
        for name, v in state.items():
            if name != "step":
                state[name] = T.ones_like(v) * 0.5


def forgotten(T, net, optimizer):
    optimizer.state.clear()


def loaded(T, net, optimizer):
    state = copy.deepcopy(optimizer.state_dict())
    state["param_groups"][0]["lr"] = 0.004
    optimizer.load_state_dict(state)


def grown(T, net, optimizer):
    net[2].bias = T.nn.Parameter(T.zeros(2))
    optimizer.add_param_group({"params": [net[2].bias], "lr": 0.05})


def counter(T, net, optimizer):
    for i, state in enumerate(optimizer.state.values()):
        if "step" in state:
            state["step"] += i


def scaled(T, net, optimizer):
    with T.no_grad():
        net[0].bias.mul_(0.5)


def hooked(T, net, optimizer):
    def halve(optimizer, args, kwargs):
        for p in net.parameters():
            if p.grad is not None:
                p.grad.mul_(0.5)

    optimizer.register_step_pre_hook(halve)


CHANGES = [
    new_rate, rate_as_tensor, frozen, other_state, forgotten, loaded, grown, counter, scaled,
    hooked,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_what_changes_between_steps_shows(kind, options, change):
    if change in (other_state, forgotten) and kind == "NAdam":
        pytest.skip("its state holds the product of the momenta")
    made = pair(kind, **options)
    for T, net, optimizer, x, y in made:
        for _ in range(8):
            step(T, net, optimizer, x, y)
        change(T, net, optimizer)
        for _ in range(8):
            step(T, net, optimizer, x, y)
    same(made)
    for (_, _, a, *_), (_, _, b, *_) in [made]:
        for s, t in zip(a.state.values(), b.state.values(), strict=True):
            if "step" in t:
                assert float(s["step"]) == float(t["step"])


def test_momentum_that_comes_later():
    made = pair("SGD", lr=0.1)
    for T, net, optimizer, x, y in made:
        for i in range(16):
            if i == 8:
                optimizer.param_groups[0]["momentum"] = 0.9
            step(T, net, optimizer, x, y)
    same(made)


def test_values_that_are_kept_stay():
    # The memory of outputs is used again only when nobody holds it.
    _, net, optimizer, x, y = pair("Adam", lr=0.01)[0]
    kept = []
    for _ in range(12):
        out = net(x)
        loss = fl.nn.functional.mse_loss(out, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        grads = [p.grad for p in net.parameters()]
        kept.append((out, loss, grads, [t.detach().numpy().copy() for t in (out, loss, *grads)]))
        arrays = [g.numpy() for g in grads]
        kept[-1][3].extend(a.copy() for a in arrays)
        kept[-1] = (*kept[-1], arrays)
    for out, loss, grads, copies, arrays in kept:
        now = [t.detach().numpy() for t in (out, loss, *grads)] + arrays
        assert all(np.array_equal(a, b) for a, b in zip(now, copies, strict=True))


def test_a_parameter_seen_from_outside_follows_its_steps():
    _, net, optimizer, x, y = pair("SGD", lr=0.1)[0]
    for _ in range(6):
        step(fl, net, optimizer, x, y)
    seen = net[0].weight.detach().numpy()
    alias = net[0].weight.detach()
    before = seen.copy()
    for _ in range(6):
        step(fl, net, optimizer, x, y)
    assert np.array_equal(seen, net[0].weight.detach().numpy())
    assert np.array_equal(alias.numpy(), seen) and not np.array_equal(before, seen)


def test_versions_count_steps():
    for T, net, optimizer, x, y in pair("SGD", lr=0.1):
        versions = []
        for _ in range(8):
            step(T, net, optimizer, x, y)
            versions.append(net[0].weight._version)
        assert np.diff(versions).tolist() == [1] * 7
        assert net[0].weight.grad._version == 0


def test_a_backward_after_the_step_is_refused():
    w = fl.nn.Parameter(fl.linspace(1, 2, 8))
    optimizer = fl.optim.SGD([w], lr=0.1)
    for _ in range(8):
        kept, loss = (w * w * w).sum(), (w * w).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            kept.backward()
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()


def test_gradients_that_accumulate_and_those_that_begin_anew():
    made = pair("SGD", lr=0.05)
    for T, net, optimizer, x, y in made:
        for i in range(20):
            if i % 3 != 1:
                optimizer.zero_grad(set_to_none=i % 2 == 0)
            T.nn.functional.mse_loss(net(x), y).backward()
            if i % 5 == 4:
                net[0].weight.grad = None
            optimizer.step()
    same(made)


def test_batch_norm_beside_the_step():
    made = []
    for T in (fl, torch):
        T.manual_seed(0)
        net = T.nn.Sequential(T.nn.Linear(3, 4), T.nn.BatchNorm1d(4), T.nn.Linear(4, 2))
        with T.no_grad():
            for i, p in enumerate(net.parameters()):
                p.copy_(T.linspace(-1 - i, 1, p.numel()).reshape(p.shape))
        x = T.linspace(-1, 1, 15).reshape(5, 3) ** 2
        optimizer = T.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
        made.append((T, net, optimizer, x, T.zeros(5, 2)))
    for T, net, optimizer, x, y in made:
        for _ in range(10):
            step(T, net, optimizer, x, y)
    a, b = (net[1].running_mean.numpy() for _, net, *_ in made)
    np.testing.assert_allclose(a, b, rtol=1e-4)
