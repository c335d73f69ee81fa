"""What of a step runs behind ``optimizer.step()``: nobody sees that it does."""

import copy
import io
import os
import pickle
import threading

import numpy as np
import pytest

import flambeau as fl
from compiled import needs_native
from flambeau.nn import functional as F
from flambeau.run.tail import tail
from test_recording_cases import interrupted_at

pytestmark = needs_native
BATCH, WIDE = 64, 1024


@pytest.fixture(autouse=True)
def two_threads():
    """A worker to run tails; programs are native from their first run on."""
    before = fl.get_num_threads()
    fl.set_num_threads(2)
    fl.use_deterministic_algorithms(True)
    yield
    fl.use_deterministic_algorithms(False)
    fl.set_num_threads(before)


@pytest.fixture
def without_tail(monkeypatch):
    """A function that switches tails off."""
    return lambda: monkeypatch.setattr(tail, "enabled", False)


class Training:
    """A network whose tails last a while (milliseconds), and its data."""

    def __init__(self, kind="Adam", **options):
        fl.manual_seed(0)
        self.net = fl.nn.Sequential(
            fl.nn.Linear(512, WIDE), fl.nn.ReLU(), fl.nn.Linear(WIDE, 512), fl.nn.Linear(512, 10)
        )
        self.optimizer = getattr(fl.optim, kind)(self.net.parameters(), **options)
        self.x = fl.randn(BATCH, 512)
        self.y = fl.randint(0, 10, (BATCH,))
        self.weight = self.net[0].weight

    def step(self):
        self.optimizer.zero_grad()
        self.loss = F.cross_entropy(self.net(self.x), self.y)
        self.loss.backward()
        self.optimizer.step()
        return self.loss

    def values(self):
        state = [v for s in self.optimizer.state.values() for v in s.values()]
        return [np.array(t.detach()) for t in (*self.net.parameters(), *state, self.loss)]


def running():
    """Whether a tail may still be running."""
    return tail.given is not None


@pytest.mark.parametrize(
    ("kind", "options"),
    [("SGD", {"lr": 0.1}), ("SGD", {"lr": 0.1, "momentum": 0.9}), ("Adam", {}), ("AdamW", {})],
)
def test_it_changes_no_bit(kind, options, without_tail):
    found = []
    for off in (lambda: None, without_tail):
        off()
        training = Training(kind, **options)
        losses = []
        left = 0
        for _ in range(12):
            losses.append(training.step().item())
            left += running()
        # The first steps go the long way.
        assert left >= 8 if off is not without_tail else left == 0
        found.append((losses, training.values()))
    (losses, values), (plain_losses, plain) = found
    assert losses == plain_losses
    for a, b in zip(values, plain, strict=True):
        np.testing.assert_array_equal(a, b)


def as_array(t):
    return np.array(t.detach())


def written_by_numpy(t):
    t.weight.detach().numpy()[...] = 1
    return as_array(t.weight)


def read_by_address(t):
    import ctypes

    w = t.weight.detach()
    return np.ctypeslib.as_array(
        ctypes.cast(w.data_ptr(), ctypes.POINTER(ctypes.c_float)), (w.numel(),)
    ).copy()


def batch_written_by_numpy(t):
    # The tail's products read the batch.
    t.x.numpy()[...] = 0
    return as_array(t.weight)


def batch_zeroed(t):
    t.x.zero_()
    return as_array(t.weight)


def batch_drawn_again(t):
    t.x.normal_()
    return as_array(t.weight)


def batch_dropped(t):
    t.x = fl.randn(BATCH, 512)
    other = [fl.zeros(BATCH, 512) + i for i in range(20)]
    float(sum(o.sum() for o in other))
    return as_array(t.weight)


def saved(t):
    file = io.BytesIO()
    fl.save(t.net.state_dict(), file)
    file.seek(0)
    return as_array(fl.load(file)["0.weight"])


def read_by_a_thread(t):
    found = []
    thread = threading.Thread(target=lambda: found.append(as_array(t.weight)))
    thread.start()
    thread.join()
    return found[0]


def computed_by_a_thread(t):
    found = []
    thread = threading.Thread(target=lambda: found.append((t.weight * 2).detach().tolist()))
    thread.start()
    thread.join()
    return np.array(found[0])


def written_in_place(t):
    with fl.no_grad():
        t.weight.mul_(2).add_(1)
    return as_array(t.weight)


def initialised(t):
    fl.manual_seed(3)
    fl.nn.init.uniform_(t.weight)
    return as_array(t.weight)


def loaded(t):
    t.net.load_state_dict({k: v * 0 + 2 for k, v in t.net.state_dict().items()})
    return as_array(t.weight)


def norm_of_gradients(t):
    return np.array(fl.nn.utils.clip_grad_norm_(t.net.parameters(), 0.1))


def fewer_threads(t):
    fl.set_num_threads(1)
    found = as_array(t.weight)
    fl.set_num_threads(2)
    return found


TOUCHES = [
    written_by_numpy, read_by_address, batch_written_by_numpy, batch_zeroed, batch_drawn_again,
    batch_dropped, saved, read_by_a_thread, computed_by_a_thread, written_in_place, initialised,
    loaded, norm_of_gradients, fewer_threads,
    lambda t: as_array(t.weight),
    lambda t: as_array(t.weight.data),
    lambda t: as_array(t.weight.grad),
    lambda t: np.array(t.weight.tolist()),
    lambda t: np.array(t.weight[3].tolist()),
    lambda t: np.array(t.weight.t()[3].tolist()),
    lambda t: np.array(t.weight.sum().item()),
    lambda t: np.array(t.weight[0, 0].item()),
    lambda t: np.array(repr(t.weight)),
    lambda t: np.from_dlpack(t.weight.detach()).copy(),
    lambda t: as_array(copy.deepcopy(t.net)[0].weight),
    lambda t: as_array(pickle.loads(pickle.dumps(t.weight))),
    lambda t: as_array(t.weight.clone()),
    lambda t: as_array(fl.nn.utils.parameters_to_vector(t.net.parameters())),
    lambda t: as_array(t.optimizer.state[t.weight]["exp_avg"]),
    lambda t: as_array(t.optimizer.state_dict()["state"][0]["exp_avg_sq"]),
    lambda t: as_array(t.net(t.x)),
    lambda t: np.array(t.loss.item()),
    lambda t: np.array(fl.autograd.grad(t.net(t.x).sum(), t.weight)[0]),
]  # fmt: skip


@pytest.mark.parametrize("touch", TOUCHES, ids=lambda f: getattr(f, "__name__", None))
def test_whoever_touches_what_it_uses_waits(touch, without_tail):
    found = []
    for off in (lambda: None, without_tail):
        off()
        training = Training()
        for _ in range(5):
            training.step().item()
        assert running() == (off is not without_tail)
        first = touch(training)
        found.append((first, training.step().item(), *training.values()))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_loss_is_read_without_waiting_for_the_rest():
    training = Training()
    for _ in range(5):
        loss = training.step()
    before = tail.number
    assert running()
    assert isinstance(loss.item(), float)
    assert running()
    assert tail.number == before
    fl.cpu.synchronize()
    assert not running()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_fork_waits():
    training = Training()
    for _ in range(5):
        training.step()
    assert running()
    pid = os.fork()
    if pid == 0:
        ok = False
        try:
            ok = not running() and bool(np.isfinite(as_array(training.weight)).all())
            training.step().item()
        finally:
            os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_refused_class_is_refused_by_the_step_and_changes_nothing():
    training = Training()
    for _ in range(5):
        training.step()
    before = training.values()
    # Computed, so that only the program sees it.
    good, training.y = training.y, training.y * 0 + fl.tensor([11])
    with pytest.raises(IndexError):
        training.step().item()
    training.y = good
    training.loss = fl.zeros(())
    for a, b in zip(before[:-1], training.values()[:-1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_memory_that_others_write_is_read_before_the_step_returns(without_tail):
    found = []
    for off in (lambda: None, without_tail):
        off()
        training = Training()
        memory = training.x.numpy()
        for i in range(6):
            training.step()
            memory[...] += i
        found.append(training.values())
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_interrupted_step_was_done_once_or_not_at_all():
    w = fl.nn.Parameter(fl.zeros(64, 512))
    optimizer = fl.optim.SGD([w], lr=1.0)
    x = fl.ones(512, 700)

    def step() -> None:
        optimizer.zero_grad()
        loss = -(w @ x).mean() * 64
        loss.backward()
        optimizer.step()

    for _ in range(5):
        step()
    assert running()
    size = w.detach()[0, 0].item() / 5
    line = 1
    done = 5
    while True:
        reached = interrupted_at(line, step)
        # A block interrupted as it ends leaves its mode behind, in PyTorch as here.
        fl.set_grad_enabled(True)
        steps = np.unique(np.round(as_array(w) / size, 3))
        assert len(steps) == 1 and steps[0] in (done, done + 1), (line, steps, done)
        done = int(steps[0])
        if not reached:
            break
        line += 7
    assert line > 50
