"""flambeau.profiler: what ran when, within what, for which line; looking changes nothing."""

from __future__ import annotations

import gzip
import json
import sys
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import flambeau
from compiled import needs_native
from flambeau import nn
from flambeau.ir.flops import products
from flambeau.nn import functional as F
from flambeau.profiler import (
    ProfilerAction,
    ProfilerActivity,
    kineto_available,
    profile,
    record_function,
    schedule,
    supported_activities,
    tensorboard_trace_handler,
    watch,
)
from flambeau.profiler.events import EventList, FunctionEvent
from flambeau.run import tier
from flambeau.run.compiler.program import Compiled
from flambeau.run.program import Program


def make_step(seed: int = 0):
    """A training step on data of its own; returns (step, parameters)."""
    flambeau.manual_seed(seed)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = flambeau.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    x, y = flambeau.randn(12, 8), flambeau.randint(0, 3, (12,))

    def step() -> float:
        optimizer.zero_grad()
        out = net(x)
        loss = F.cross_entropy(out, y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, list(net.parameters())


def kinds(events: EventList) -> set[str]:
    return {event.kind for event in events}


@needs_native
def test_programs_and_their_kernels():
    step, _ = make_step()
    with profile() as first:
        step()
    ran = "kernel" if tier.chosen() == "compile" else "primitive"
    assert kinds(first.events()) >= {"program", ran}
    for _ in range(5):
        step()
    with profile(with_flops=True) as prof:
        with record_function("training"):
            step()
        step()
    assert kinds(prof.events()) == {"user_annotation", "program", "kernel"}
    kernels = [e for e in prof.events() if e.kind == "kernel"]
    assert any(e.name.startswith("matmul: ") for e in kernels)
    assert any("relu" in e.name for e in kernels)
    for kernel in kernels:
        parent = kernel.cpu_parent
        assert parent is not None and parent.kind == "program" and "compiled" in parent.name
        assert parent.start <= kernel.start <= kernel.end <= parent.end
        assert kernel.stack == parent.stack and kernel.stack[0].split(": ")[1] == "step"
    by_name = {e.key: e for e in prof.key_averages()}
    training = by_name["training"]
    assert training.count == 1
    assert training.cpu_time_total > training.self_cpu_time_total >= 0
    (program,) = (e for e in by_name.values() if e.kind == "program")
    # Two products forward, three backward: none is needed of the inputs.
    assert program.count == 2
    assert program.flops > 2 * (2 * 12 * (8 * 16 * 2 + 16 * 3 * 3))
    whole = sum(e.self_cpu_time_total for e in prof.events())
    roots = sum(e.cpu_time_total for e in prof.events() if e.cpu_parent is None)
    assert whole == pytest.approx(roots)


def test_nothing_is_changed_by_looking():
    def run(looking: bool) -> list[bytes]:
        step, parameters = make_step()
        for i in range(8):
            if looking and i in (0, 2, 4, 5):
                with profile(with_flops=True, record_shapes=True):
                    step()
            else:
                step()
        return [p.detach().numpy().tobytes() for p in parameters]

    assert run(True) == run(False)


def test_only_while_a_profile_is_open():
    before = Program.__call__, Program.interpret, Compiled.__call__, Compiled.write
    with profile(), profile():
        assert Program.__call__ is not before[0]
    assert (Program.__call__, Program.interpret, Compiled.__call__, Compiled.write) == before
    with pytest.raises(ZeroDivisionError), profile(with_stack=True):
        raise ZeroDivisionError
    assert (Program.__call__, Program.interpret, Compiled.__call__, Compiled.write) == before
    assert not watch._listeners


@needs_native
def test_references_between_native_calls():
    x = flambeau.randn(2, 4, 4)

    def run():
        flambeau.linalg.eigvalsh(x * 2).exp().sum().item()

    for _ in range(6):
        run()
    with profile(record_shapes=True) as prof:
        run()
    (program,) = (e for e in prof.events() if e.kind == "program")
    assert "compiled" in program.name
    found = [(e.kind, e.name.split(" ")[0]) for e in program.cpu_children]
    assert found == [("kernel", "mul"), ("primitive", "eigvalsh"), ("kernel", "exp")]
    assert program.cpu_children[1].input_shapes == ((2, 4, 4),)


def test_a_fault_in_a_kernel_is_told_as_ever():
    weight, target = flambeau.randn(4, 3, requires_grad=True), flambeau.tensor([0, 1, 2, 0])
    for _ in range(6):
        F.cross_entropy(weight, target).item()
    with profile(), pytest.raises(IndexError, match="out of bounds"):
        F.cross_entropy(weight, flambeau.tensor([0, 1, 7, 0])).item()
    assert F.cross_entropy(weight, target).item() > 0


def test_lines_have_the_time_of_what_they_recorded():
    big, small = flambeau.randn(300, 300), flambeau.randn(2)

    def work():
        a = big @ big
        b = small + small
        return a.sum() + b.sum()

    tracer = sys.gettrace()
    with profile(with_stack=True) as prof:
        for _ in range(3):
            work()
    assert sys.gettrace() is tracer
    first = work.__code__.co_firstlineno
    lines = {e.key: e for e in prof.lines() if e.key.endswith(": work")}
    assert {int(k.split("(")[-1].split(")")[0]) for k in lines} == {
        first,
        first + 1,
        first + 2,
        first + 3,
    }
    assert all(e.count >= 3 for e in lines.values())
    matmuls = [e for e in prof.events() if e.name.startswith("matmul")]
    assert len(matmuls) == 3
    assert all(f"({first + 1}): work" in e.stack[0] for e in matmuls)
    # Lines are no part of the sums.
    assert not [e for e in prof.key_averages() if e.kind == "line"]


def test_a_step_by_lines_gives_the_same_numbers():
    step, _ = make_step()
    plain = [step() for _ in range(3)]
    step, _ = make_step()
    with profile(with_stack=True):
        looked_at = [step() for _ in range(3)]
    np.testing.assert_allclose(looked_at, plain, rtol=1e-5)


@pytest.mark.skipif(tier.chosen() == "compile", reason="primitives are named, not kernels")
def test_tables_and_groups():
    with profile(record_shapes=True, with_flops=True) as prof:
        for n in (2, 3, 3):
            (flambeau.ones(n, n) @ flambeau.ones(n, n)).sum().item()
    averages = prof.key_averages()
    by_shape = prof.key_averages(group_by_input_shape=True)
    (product,) = (e for e in averages if e.key == "matmul")
    assert product.count == 3
    assert {e.input_shapes: e.count for e in by_shape if e.key == "matmul"} == {
        ((2, 2), (2, 2)): 1,
        ((3, 3), (3, 3)): 2,
    }
    table = by_shape.table(sort_by="count", row_limit=4, header="mine")
    lines = table.splitlines()
    assert lines[0] == "mine" and lines[2].split("  ")[0].strip() == "Name"
    assert "Input Shapes" in lines[2] and "Total FLOPs" in lines[2]
    assert len(lines) == 1 + 3 + 4 + 1 + 1
    assert "[[3, 3], [3, 3]]" in table or "[3, 3], [3, 3]" in table
    assert len(averages.table(row_limit=-1).splitlines()) == 3 + len(averages) + 1 + 1
    with pytest.raises(AttributeError):
        averages.table(sort_by="beauty")
    assert averages.self_cpu_time_total == pytest.approx(prof.events().self_cpu_time_total)
    stacks = prof.key_averages(group_by_stack_n=1)
    assert all(": test_tables_and_groups" in e.stack[0] for e in stacks if e.kind == "program")
    assert prof.events().total_average().count == len(prof.events())


def test_shapes_of_self_time():
    a, b = FunctionEvent("a", 0.0, 10.0), FunctionEvent("b", 2.0, 5.0)
    c, d = FunctionEvent("c", 3.0, 4.0), FunctionEvent("d", 3.0, 4.0, thread=1)
    events = EventList([c, a, b, d])
    events.link()
    assert a.self_cpu_time_total == 7 and b.self_cpu_time_total == 2
    assert c.cpu_parent is b and d.cpu_parent is None
    assert events.self_cpu_time_total == 11


def test_chrome_trace(tmp_path):
    step, _ = make_step()
    with profile(with_stack=True, with_flops=True) as prof, record_function("mine"):
        step()
    prof.add_metadata("batch", "12")
    prof.export_chrome_trace(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text())
    assert trace["metadata"] == {"batch": "12"}
    events = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    assert {e["cat"] for e in events} >= {"user_annotation", "program", "line"}
    (mine,) = (e for e in events if e["name"] == "mine")
    for e in events:
        assert e["dur"] >= 0 and isinstance(e["tid"], int)
        if e["cat"] == "program":
            assert mine["ts"] <= e["ts"] and e["ts"] + e["dur"] <= mine["ts"] + mine["dur"]
    prof.export_chrome_trace(tmp_path / "trace.json.gz")
    with gzip.open(tmp_path / "trace.json.gz", "rt") as file:
        assert json.load(file) == trace
    prof.export_stacks(tmp_path / "stacks")
    place, value = (tmp_path / "stacks").read_text().splitlines()[0].rsplit(" ", 1)
    assert int(value) > 0 and "test_profiler.py(" in place
    handler = tensorboard_trace_handler(str(tmp_path / "runs"), "me", use_gzip=True)
    handler(prof)
    (file,) = (tmp_path / "runs").iterdir()
    assert file.name.startswith("me.") and file.name.endswith(".pt.trace.json.gz")


@pytest.mark.parametrize(
    "how",
    [
        dict(wait=1, warmup=1, active=2),
        dict(wait=0, warmup=1, active=1, repeat=2),
        dict(wait=2, warmup=1, active=3, repeat=1, skip_first=3),
        dict(wait=2, warmup=1, active=1, skip_first=2, skip_first_wait=1),
    ],
)
def test_schedules_are_those_of_pytorch(how):
    ours, theirs = schedule(**how), torch.profiler.schedule(**how)
    assert [ours(i).name for i in range(30)] == [theirs(i).name for i in range(30)]
    with pytest.raises(AssertionError):
        schedule(wait=-1, warmup=1, active=1)
    with pytest.warns(UserWarning, match="won't be using warmup"):
        schedule(wait=0, warmup=0, active=1)
    with pytest.raises(AssertionError):
        ours(-1)


def test_steps_of_a_schedule():
    step, _ = make_step()
    ready: list[list[str]] = []

    def note(prof: profile) -> None:
        ready.append([e.name for e in prof.events() if e.name.startswith("ProfilerStep")])

    with profile(schedule=schedule(wait=1, warmup=1, active=2), on_trace_ready=note) as prof:
        for _ in range(10):
            step()
            prof.step()
    assert ready[:2] == [["ProfilerStep#2", "ProfilerStep#3"], ["ProfilerStep#6", "ProfilerStep#7"]]
    assert prof.step_num == 10 and prof.current_action is ProfilerAction.NONE
    accumulated = profile(schedule=schedule(wait=0, warmup=1, active=1), acc_events=True)
    accumulated.start()
    for _ in range(5):
        step()
        accumulated.step()
    accumulated.stop()
    names = [e.name for e in accumulated.events() if e.name.startswith("ProfilerStep")]
    assert names == ["ProfilerStep#1", "ProfilerStep#3", "ProfilerStep#5"]
    with pytest.raises(AssertionError, match="initialized"):
        profile().events()


def test_other_threads_have_lanes_of_their_own():
    def work():
        with record_function("beside"):
            flambeau.ones(3).sum().item()

    with profile() as prof:
        with record_function("here"):
            flambeau.ones(3).sum().item()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    threads = {e.name: e.thread for e in prof.events() if e.is_user_annotation}
    assert threads["here"] != threads["beside"]


def test_activities():
    assert supported_activities() == {ProfilerActivity.CPU} and not kineto_available()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, with_modules=True):
        flambeau.ones(2).sum().item()


CASES = {
    "linear": (lambda n: n.Linear(7, 5), (3, 7)),
    "convolution": (lambda n: n.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 9, 9)),
    "transposed": (lambda n: n.ConvTranspose2d(4, 6, 3, stride=2), (2, 4, 5, 5)),
    "attention": (lambda n: n.TransformerEncoderLayer(8, 2, 16, batch_first=True), (2, 5, 8)),
    "several": (
        lambda n: n.Sequential(n.Conv1d(3, 4, 3), n.ReLU(), n.Flatten(), n.Linear(24, 2)),
        (2, 3, 8),
    ),
}


def counted(compute: Any) -> dict[str, set[int]]:
    """The products of the primitives that ``compute`` runs, all together under "all"."""
    found: dict[str, set[int]] = {"all": {0}}

    class Count(watch.Listener):
        def program(self, program, start, end):
            for entry in program.entries:
                found.setdefault(entry.prim.name, set()).add(products(entry))
                found["all"] = {products(entry) + n for n in found["all"]}

    count = Count()
    watch.listen(count)
    try:
        compute()
    finally:
        watch.unlisten(count)
    return found


@pytest.mark.parametrize("name", CASES)
def test_products_are_counted_as_pytorch_does(name):
    make, shape = CASES[name]
    ours, theirs, x = make(nn), make(torch.nn), np.ones(shape, np.float32)
    with FlopCounterMode(display=False) as mode:
        theirs(torch.tensor(x))
    found = counted(lambda: ours(flambeau.tensor(x)).sum().item())
    assert found["all"] == {mode.get_total_flops()}


def test_products_of_attention():
    shapes = (2, 3, 5, 8), (2, 3, 7, 8), (2, 3, 7, 4)
    x = [flambeau.ones(s, requires_grad=True) for s in shapes]

    def compute() -> None:
        out = F.scaled_dot_product_attention(*x)
        (out * out).sum().backward()
        assert x[0].grad.sum().item() == pytest.approx(0, abs=1e-4)

    forward, scores = 2 * (2 * 3) * 5 * 7 * (8 + 4), 2 * (2 * 3) * 5 * 7 * 8
    found = counted(compute)
    assert found["attention"] == {forward}
    # Two products for each, and the scores again.
    assert found["attention_gradient"] == {2 * forward + scores}
