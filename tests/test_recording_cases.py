"""Cases that break designs like this one: aliasing, mutation, shared memory, interrupts."""

from __future__ import annotations

import gc
import linecache
import os
import sys

import numpy as np
import pytest

import flambeau as fl
from flambeau.nn import functional as F
from flambeau.record.trace import open_
from flambeau.run.compiler import code
from growth import programs_made


def test_a_pending_product_keeps_what_numpy_memory_held():
    a = np.ones(3)
    y = fl.from_numpy(a) * 2
    a[:] = 0
    assert y.tolist() == [2.0, 2.0, 2.0]


def test_a_large_shared_array_is_read_at_the_call():
    a = np.ones(100_000)
    y = fl.from_numpy(a) * 2
    a[:] = 0
    assert y.sum().item() == 200_000


def test_an_exported_array_sees_later_writes():
    w = fl.zeros(3)
    n = w.numpy()
    w.add_(1)
    assert n.tolist() == [1, 1, 1]
    n[0] = 5
    assert (w * 1).tolist() == [5, 1, 1]


def test_an_exported_view_sees_later_writes():
    w = fl.zeros(2, 3)
    n = w[1].numpy()
    w.mul_(0).add_(2)
    assert n.tolist() == [2, 2, 2]


def test_two_shared_arrays_that_read_each_other():
    a, b = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    x, y = fl.from_numpy(a), fl.from_numpy(b)
    t = x * 1.0
    x.copy_(y)
    y.copy_(t)
    assert a.tolist() == [3, 4]
    assert b.tolist() == [1, 2]


def test_gradients_do_not_share_memory():
    x = fl.tensor([1.0], requires_grad=True)
    y = fl.tensor([2.0], requires_grad=True)
    z = x + y
    z.sum().backward()
    x.grad.numpy()[0] = 9
    assert y.grad.item() == 1
    assert x.grad.item() == 9


def test_storage_becomes_private_again_when_the_array_is_gone():
    w = fl.zeros(3)
    n = w.numpy()
    assert w._storage.held_elsewhere()
    del n
    assert not w._storage.held_elsewhere()


def test_dropout_probability_may_begin_at_zero():
    x = fl.ones(1000)
    for p in (0.0, 0.0, 0.0, 0.1, 0.5):
        fl.manual_seed(0)
        y = F.dropout(x, p)
        assert abs((y == 0).float().mean().item() - p) < 0.06


def test_weight_decay_may_begin_at_zero():
    w = fl.nn.Parameter(fl.ones(2))
    optimizer = fl.optim.SGD([w], lr=0.1)
    for decay in (0, 0, 0, 1e-1):
        optimizer.param_groups[0]["weight_decay"] = decay
        w.grad = fl.zeros(2)
        optimizer.step()
    assert w.tolist() == pytest.approx([0.99, 0.99])


def test_full_tells_integers_from_floats():
    assert fl.full((2,), 1).dtype is fl.int64
    assert fl.full((2,), 1.0).dtype is fl.float32
    assert fl.full((2,), True).dtype is fl.bool


@pytest.mark.parametrize("values", [(1, True, 1.0), (0.0, -0.0), (2, 2.0)])
def test_equal_numbers_of_other_types_are_other_calls(values):
    for v in (*values, *reversed(values)):
        x = fl.tensor([1, 2])
        got = x * v
        want = np.array([1, 2]) * v
        assert got.dtype is (fl.float32 if isinstance(v, float) else fl.int64)
        assert got.tolist() == want.tolist()
        assert np.signbit(got.numpy()).tolist() == np.signbit(want).tolist()


def test_a_learning_rate_is_a_run_time_number():
    w = fl.nn.Parameter(fl.ones(2))
    optimizer = fl.optim.SGD([w], lr=0.1)

    def step(i):
        optimizer.param_groups[0]["lr"] = 0.1 / (i + 1)
        (w * w).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    assert programs_made(step, warm=4, then=50) == 0


def test_swap_by_copies():
    a, b = fl.tensor([1.0]), fl.tensor([2.0])
    t = a * 1.0
    a.copy_(b)
    b.copy_(t)
    assert (a.item(), b.item()) == (2.0, 1.0)


def test_an_error_at_cholesky_leaves_its_input_to_be_mended():
    k = fl.tensor([[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(RuntimeError):
        fl.linalg.cholesky(k)
    k += 4 * fl.eye(2)
    factor = fl.linalg.cholesky(k)
    assert (factor @ factor.T).numpy() == pytest.approx(k.numpy(), rel=1e-5)


def test_accumulation_keeps_the_gradient_object():
    p = fl.tensor([1.0, 2.0], requires_grad=True)
    (p * p).sum().backward()
    g = p.grad
    (p * p).sum().backward()
    assert g is p.grad
    assert g.tolist() == [4, 8]


@pytest.mark.parametrize("before_backward", [True, False])
def test_a_detached_alias_zeroed(before_backward):
    x = fl.tensor([1.0, 2.0], requires_grad=True)
    y = x + 1  # addition saves nothing: PyTorch allows the write, too
    loss = y.sum()
    d = y.detach()
    if before_backward:
        d.zero_()
        loss.backward()
    else:
        loss.backward()
        d.zero_()
    assert y.tolist() == [0, 0]
    assert x.grad.tolist() == [1, 1]


def test_a_detached_alias_of_a_saved_value_may_not_be_zeroed():
    x = fl.tensor([1.0, 2.0], requires_grad=True)
    y = x.exp()
    loss = (y * y).sum()
    loss.item()
    y.detach().zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("read_first", [True, False])
@pytest.mark.parametrize(
    "alias",
    [
        lambda t: t[1],
        lambda t: t[:, 1:],
        lambda t: t.T,
        lambda t: t.view(-1),
        lambda t: t.narrow(0, 1, 1),
        lambda t: t.unfold(1, 2, 1),
        lambda t: t.chunk(2)[1],
        lambda t: t.detach(),
        lambda t: t.data,
        lambda t: t.transpose(0, 1)[1:],
        lambda t: t.unsqueeze(0).squeeze(0)[0, ::2],
        lambda t: t.diagonal(),
    ],
)
def test_writes_through_an_alias_are_seen_by_all(alias, read_first):
    want = np.arange(6.0).reshape(2, 3)
    for base in (fl.arange(6.0).view(2, 3), fl.arange(6.0).view(2, 3) * 1.0):
        other = base.view(3, 2)
        seen = alias(base)
        if read_first:
            seen.tolist()
        expected = want.copy()
        view = base.numpy() if not base.requires_grad else None
        del view
        seen.mul_(10)
        check = fl.tensor(expected)
        alias(check).mul_(10)
        assert base.tolist() == check.tolist()
        assert other.tolist() == check.reshape(3, 2).tolist()
        base.add_(1)
        assert seen.tolist() == (alias(check) + 1).tolist()


def test_expanded_tensors_alias():
    t = fl.zeros(3)
    e = t.expand(2, 3)
    t.add_(1)
    assert e.tolist() == [[1, 1, 1], [1, 1, 1]]


def test_gradients_through_a_written_view():
    x = fl.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 2
    y[1:] *= x[1:]
    y.sum().backward()
    assert x.grad.tolist() == [2, 8, 12]


PACKAGE = os.path.dirname(fl.__file__) + os.sep
WRITTEN = ("<recorder of ", "<program>")


def interrupted_at(line: int, body, files: tuple[str, ...] = (PACKAGE, *WRITTEN)) -> bool:
    """Runs ``body`` with Ctrl-C at the given line of Flambeau's code; whether it came so far."""
    count = 0

    def trace(frame, event, arg):
        nonlocal count
        # By folder, not by name: an environment's own path may have "flambeau" in it.
        if not frame.f_code.co_filename.startswith(files):
            return None
        if event == "line":
            # The line by which a block lets go of its lock, or a line without a call: no signal
            # comes there.
            text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
            count += not text.startswith(("with LOCK", "try:", "except ", "finally:"))
            if count == line:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    # An exception in what the collector calls would be swallowed: it would reach no step.
    gc.disable()
    sys.settrace(trace)
    try:
        body()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
        gc.enable()
    return False


def test_what_an_interrupted_call_had_bound_is_in_nobody_s_way():
    """Neither where a step is tried the quick way first nor where a call begins again."""
    record = os.path.join(PACKAGE, "record") + os.sep
    files = tuple(record + name for name in ("update.py", "builder.py", "calls.py", "single.py"))
    a, b = fl.full((3,), 2.0), fl.full((3,), 5.0)
    assert (a / b).tolist() == pytest.approx([0.4] * 3)
    w = fl.nn.Parameter(fl.zeros(3))
    optimizer = fl.optim.SGD([w], lr=1.0, momentum=0.5)

    def body() -> None:
        # The first step by this rate is not taken the quick way.
        w.grad = fl.ones(3)
        optimizer.step()
        # A view of data that is bound again, a leaf that its trace has rebound.
        view = w.detach()[1:]
        with fl.no_grad():
            w.add_(1.0)
            (view * w[1:]).sum().exp()
        (w * 2).sum().backward()

    line = 1
    while True:
        optimizer.param_groups[0]["lr"] = float(line)
        came = interrupted_at(line, body, files)
        fl.set_grad_enabled(True)
        tr = open_.trace
        assert len(tr.inputs) == tr.node.n_inputs and len(tr.numbers) == tr.node.n_numbers, line
        assert (a / b).tolist() == pytest.approx([0.4] * 3), line
        if not came:
            break
        line += 1
    assert line > 100


def test_an_interrupted_view_shares_memory_or_is_not_there():
    record = os.path.join(PACKAGE, "record") + os.sep
    files = tuple(record + name for name in ("alias.py", "storage.py", "writes.py"))
    data = fl.arange(4.0)
    w = fl.ones(4, requires_grad=True)

    def body() -> None:
        x = w * 2
        pairs.append((x, x[1:]))
        pairs[-1][1].mul_(2.5).sin_()
        x.detach().add_(1)
        pairs.append((data, data[1:]))
        pairs[-1][1].mul_(0.5)
        pairs.append((data * 3, None))
        data.add_(1)

    line = 1
    while True:
        pairs: list = []
        came = interrupted_at(line, body, files)
        values = [(x.tolist(), None if view is None else view.tolist()) for x, view in pairs]
        assert all(view in (None, x[1:]) for x, view in values), line
        assert (data * w).tolist() == data.tolist(), line
        if not came:
            break
        line += 1
    assert line > 100


def test_an_interrupted_wait_loses_no_work_of_the_compiler_s():
    line = 1
    while True:
        worker = code.Worker()
        tickets = [code.Ticket(list) for _ in range(4)]
        worker.queue.extend((t, False) for t in tickets)
        came = interrupted_at(line, lambda: worker.hurry(tickets[2]), (code.__file__,))  # noqa: B023
        assert {t for t, _ in worker.queue} == set(tickets), line
        if not came:
            break
        line += 1
    assert line > 5 and worker.queue[0][0] is tickets[2]


def test_an_interrupted_step_was_done_once_or_not_at_all():
    w1 = fl.nn.Parameter(fl.zeros(4))
    w2 = fl.nn.Parameter(fl.zeros(4))
    optimizer = fl.optim.SGD([w1, w2], lr=1.0)

    def step() -> None:
        loss = -(w1.sum() + w2.sum())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for _ in range(4):
        step()
    line = 1
    while True:
        before = w1.tolist()
        came = interrupted_at(line, step)
        # A block interrupted as it ends leaves its mode behind, in PyTorch as here.
        fl.set_grad_enabled(True)
        # Read through an operation: what the interrupted step had recorded is flushed with it.
        after = (w1 * 1).tolist()
        assert after == w2.tolist(), line
        assert after in (before, [v + 1 for v in before]), line
        if not came:
            break
        line += 1
    assert line > 100
    step()
    assert w1.tolist() == w2.tolist() == [v + 1 for v in after]
