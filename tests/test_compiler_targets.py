"""What training needs is all native code, and that code is written for other processors too."""

from __future__ import annotations

import llvmlite.binding as llvm
import pytest

import flambeau
from compiled import needs_native
from flambeau.bench.workloads import WORKLOADS, stepper
from flambeau.record import flush, trace
from flambeau.run.compiler import code, planning
from flambeau.run.compiler import compile as compiling
from flambeau.run.compiler.draft import Draft
from flambeau.run.compiler.target import Target

pytestmark = needs_native
NAMES = [w.name for w in WORKLOADS]
TARGETS = {
    "AVX-512": Target("x86_64-unknown-linux-gnu", "skylake-avx512", "", 512, 32),
    "AVX2": Target("x86_64-unknown-linux-gnu", "haswell", "", 256, 16),
    "NEON": Target("aarch64-unknown-linux-gnu", "neoverse-n1", "", 128, 32),
}


def other_dtypes(mod):
    """Elements of every kind, through maps, reductions, products and tables."""
    for dtype in (mod.float64, mod.float16, mod.bfloat16):
        x = (mod.arange(70).reshape(7, 10) / 70).to(dtype).requires_grad_()
        y = mod.softmax(x @ x.T, 1) + x.exp().mean() + mod.layer_norm(x, (10,)).sum(1)
        y.sum().backward()
        x.grad.tolist()
    i = mod.arange(30).reshape(5, 6)
    table = mod.ones(40, 9, requires_grad=True)
    mod.nn.functional.embedding(i, table).square().sum().backward()
    (i.cumsum(0) * 3 + i.to(mod.int8).abs() - i.argmax(1, keepdim=True)).tolist()
    table.grad.tolist()


def captured(run):
    """The drafts' arguments of all programs that ``run`` has compiled."""
    found = []
    original = planning.Draft
    kept = compiling.kept_schedule

    def spy(*arguments):
        found.append(arguments)
        return original(*arguments)

    # What other tests have compiled already would not be compiled again.
    flush.flush(trace.open_.trace)
    trace.trie.roots.clear()
    trace.trie.count = 0
    trace.renew(trace.open_.trace)
    planning.Draft = spy
    # Nor would be planned what is on disk.
    compiling.kept_schedule = lambda key, numbers: None
    flambeau.use_deterministic_algorithms(True)
    try:
        run()
    finally:
        planning.Draft = original
        compiling.kept_schedule = kept
        flambeau.use_deterministic_algorithms(False)
    assert found
    return found


@pytest.fixture(scope="module")
def workloads():
    """What each workload of ``flambeau bench`` has compiled, by name."""
    found = {}

    def train(workload):
        step = stepper(workload, flambeau, workload.shortened(2).arrays())
        for i in (0, 1, 0):
            step(i)

    for workload in WORKLOADS:
        found[workload.name] = captured(lambda w=workload: train(w))
    found["dtypes"] = captured(lambda: other_dtypes(flambeau))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_no_workload_calls_a_reference(workloads, name):
    for arguments in workloads[name]:
        assert Draft(*arguments).low.host_reasons == []


@pytest.mark.parametrize("name", TARGETS)
def test_kernels_assemble(workloads, name, monkeypatch):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = TARGETS[name]
    machine = llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2
    )
    monkeypatch.setattr(code, "target", lambda: target)
    names = ("cnn", "lstm", "transformer", "mlp", "dtypes")
    drafts = [arguments for name in names for arguments in workloads[name]]
    kernels = {}
    for arguments in drafts:
        kernels |= Draft(*arguments).kernels
    assert len(kernels) > 100
    for kernel in kernels.values():
        module = llvm.parse_assembly(kernel.text)
        module.triple = target.triple
        module.verify()
        assert machine.emit_object(module)
