"""Paths that repeat, or never do: programs, nodes, memory stay bounded."""

from __future__ import annotations

import gc
import os
import random
import threading
import weakref

import numpy as np
import pytest

import flambeau as fl
from flambeau.nn import functional as F
from flambeau.record.stats import stats
from flambeau.record.trace import cells, open_, trie
from growth import nodes_made, programs_made


def small_net():
    fl.manual_seed(0)
    net = fl.nn.Sequential(fl.nn.Linear(4, 8), fl.nn.ReLU(), fl.nn.Linear(8, 1))
    return net, fl.optim.SGD(net.parameters(), lr=0.01)


@pytest.mark.parametrize("every", [1, 100, None])
def test_a_loss_read_sometimes_or_never_is_one_program(every):
    net, optimizer = small_net()
    x, y = fl.randn(16, 4), fl.randn(16, 1)

    def step(i):
        loss = ((net(x) - y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if every and i % every == 0:
            loss.item()

    assert programs_made(step, warm=102, then=300) == 0


def test_slices_of_an_epoch_do_not_grow_the_trie():
    net, optimizer = small_net()
    data = fl.randn(1024, 4)

    def step(i):
        start = (i * 16) % 1024
        loss = net(data[start : start + 16]).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    assert nodes_made(step, warm=5, then=100) == 0


def test_positions_of_pending_tensors_do_not_grow_the_trie():
    cache = fl.zeros(4, 64)

    def step(i):
        key = fl.ones(4) * 2.0
        cache[:, i % 64] = key
        (cache * 1.0)[:, i % 64].sum().item()

    assert nodes_made(step, warm=5, then=50) == 0


def test_prefixes_of_a_table_keep_the_trie_bounded():
    table = fl.randn(64, 8)

    def step(i):
        t = 1 + i % 60
        (table[:t] * 2).sum().item()

    assert nodes_made(step, warm=130, then=200) == 0


def test_episodes_of_random_length_share_their_backward():
    fl.manual_seed(0)
    policy = fl.nn.Linear(4, 2)
    rng = random.Random(0)

    def episode(length):
        total = []
        for _ in range(length):
            p = F.softmax(policy(fl.randn(4)), dim=0)
            action = int(p[0].item() < rng.random())
            total.append(fl.log(p[action]))
        loss = -fl.stack(total).sum()
        policy.zero_grad()
        loss.backward()
        return loss.item()

    for length in range(3, 31):
        for _ in range(3):
            episode(length)
    before = len({id(s) for s in _specs()})
    for _ in range(40):
        episode(rng.randint(3, 30))
    assert len({id(s) for s in _specs()}) == before


def _specs():
    found = []
    stack = list(trie.roots.values())
    while stack:
        node = stack.pop()
        stack.extend(node.edges.values())
        found += [p.spec for p in node.plans.values() if p.spec is not None]
    return found


def test_a_random_branch_each_time_step():
    fl.manual_seed(0)
    cell = fl.nn.Linear(4, 4)
    rng = random.Random(1)
    losses = []
    for _ in range(20):
        h = fl.zeros(4)
        for _ in range(6):
            h = fl.tanh(cell(h)) if rng.random() < 0.5 else h * 0.5 + 1
        loss = (h * h).sum()
        cell.zero_grad()
        loss.backward()
        losses.append(loss.item())
    assert all(np.isfinite(losses))


def test_a_tensor_kept_at_random_iterations_changes_no_number():
    def run(keep: bool) -> list[float]:
        net, optimizer = small_net()
        x, y = fl.randn(16, 4), fl.randn(16, 1)
        rng = random.Random(0)
        kept, losses = [], []
        for _ in range(50):
            out = net(x)
            loss = ((out - y) ** 2).mean()
            if keep and rng.random() < 0.3:
                kept.append(out)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    # One tier throughout: otherwise the second loop runs natively from its first step.
    fl.use_deterministic_algorithms(True)
    try:
        assert run(True) == run(False)
    finally:
        fl.use_deterministic_algorithms(False)


def test_two_threads_use_each_others_pending_tensors():
    made: dict[str, fl.Tensor] = {}
    errors = []
    barrier = threading.Barrier(2, timeout=30)

    def work(me: str, other: str) -> None:
        try:
            for i in range(50):
                made[me] = fl.full((3,), float(i)) * 2 + 1
                barrier.wait()
                value = (made[other] + 1).tolist()
                assert value == [2.0 * i + 2] * 3
                barrier.wait()
        except Exception as e:
            errors.append(e)
            barrier.abort()

    threads = [threading.Thread(target=work, args=pair) for pair in (("a", "b"), ("b", "a"))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors


def test_recording_is_as_before_when_another_thread_is_over():
    thread = threading.Thread(target=lambda: (fl.ones(3) * 2).tolist())
    thread.start()
    thread.join()
    (fl.ones(3) * 2).tolist()
    assert len(cells) == 1
    assert not open_.trace.special


def test_many_distinct_paths_stay_bounded(monkeypatch):
    from flambeau.record import trace

    monkeypatch.setattr(trace, "NODES", 2_000)
    hot = fl.ones(3)

    def hot_step():
        ((hot * 2 + 1) * hot).sum().item()

    for i in range(3_000):
        ((fl.ones(1 + i % 997) * 2).sum() + (i % 7) * fl.ones(1 + i % 13)).sum().item()
        if i % 50 == 0:
            hot_step()
    before = stats.misses
    hot_step()
    assert stats.misses == before
    assert trie.count <= 2_500


def test_dead_tensors_are_freed():
    x = fl.ones(1000, requires_grad=True)
    y = x * 2
    z = (y * y).sum()
    z.item()
    segment = weakref.ref(z._hist[0])
    z.backward()
    del y, z
    gc.collect()
    assert segment() is None


def test_a_hundred_thousand_chained_operations_differentiate():
    x = fl.ones(1, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y * 1.0
    y.backward()
    assert x.grad.item() == 1


def test_explain_names_the_call_that_was_new(capsys):
    a, b = fl.ones(3), fl.ones(3)
    (a * b).sum().item()
    (a * fl.ones(5)[:3].clone()).sum().item()
    (fl.ones(5) * fl.ones(5)).sum().item()
    fl.trace.explain()
    printed = capsys.readouterr().out
    assert "last new call: " in printed
    assert "float32[5]" in printed or "followed" in printed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_forked_child_goes_on():
    x = fl.ones(3) * 2
    pid = os.fork()
    if pid == 0:
        ok = (x + 1).tolist() == [3, 3, 3]
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_dropped_view_does_not_keep_its_base(monkeypatch):
    from flambeau.record import plans

    outs = []

    class Spy(plans.Program):
        def __init__(self, entries, slots, *rest):
            outs.append(len(slots))
            super().__init__(entries, slots, *rest)

    monkeypatch.setattr(plans, "Program", Spy)
    array = np.arange(17 * 3, dtype=np.float32).reshape(17, 3)
    x = fl.tensor(array)
    hidden = x.cos()
    last = hidden.transpose(0, 1)[:, -1]
    total = last.sum()
    del hidden, last
    outs.clear()
    assert total.item() == pytest.approx(float(np.cos(array[-1]).sum()), rel=1e-4)
    assert outs == [1]
    # While somebody has the view, the base is there for both.
    hidden = x.sin()
    last = hidden[1:]
    del hidden
    outs.clear()
    np.testing.assert_allclose(last.tolist(), np.sin(array[1:]), rtol=1e-5)
    last.zero_()
    assert outs and last.sum().item() == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_leaf_on_memory_that_numpy_gave_up_is_bound_once(dtype):
    x = fl.from_numpy(np.array([1.0, 2.0], dtype)).requires_grad_()
    (x * (x + 1)).sum().backward()
    assert x.grad.tolist() == [3.0, 5.0]


def test_what_an_error_does_not_reach_keeps_its_dtype():
    w = fl.full((3,), 2.0, dtype=fl.bfloat16)
    for _ in range(6):
        refused = fl.nn.functional.binary_cross_entropy(fl.tensor([2.0]) * 1, fl.tensor([1.0]))
        # A bfloat16 array and a number make a float32 array in NumPy.
        w.mul_(0.5)
        with pytest.raises(RuntimeError, match="between 0 and 1"):
            refused.item()
        assert w._storage.array.dtype.itemsize == 2
    assert w.tolist() == [2 / 64] * 3
