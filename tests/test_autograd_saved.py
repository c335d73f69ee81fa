"""What is saved for backward: hooks on it, ``grad_fn``'s ``_saved_*``, notes on nodes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch

import flambeau

MODULES = (torch, flambeau)


def test_hooks_on_built_in_operations():
    found = []
    for m in MODULES:
        log: list[Any] = []
        a = m.ones(2, requires_grad=True)
        b = m.ones(2, requires_grad=True) * 2

        def pack(x: Any) -> Any:
            log.append(("pack", repr(x)))  # noqa: B023
            return x.detach().tolist()

        def unpack(x: Any) -> Any:
            log.append(("unpack", x))  # noqa: B023
            return m.tensor(x)  # noqa: B023

        with m.autograd.graph.saved_tensors_hooks(pack, unpack):
            y = a * b
        packed = sorted(log)
        y.sum().backward()
        found.append([packed, sorted(log), a.grad.tolist()])
    assert found[1] == found[0]


def test_values_kept_elsewhere():
    """What hooks keep takes the place of the values: backward reads nothing else."""
    grads = []
    for m in MODULES:
        files: list[io.BytesIO] = []

        def pack(x: Any) -> int:
            files.append(io.BytesIO())  # noqa: B023
            m.save(x.detach(), files[-1])  # noqa: B023
            return len(files) - 1  # noqa: B023

        def unpack(i: int) -> Any:
            files[i].seek(0)  # noqa: B023
            return m.load(files[i])  # noqa: B023

        m.manual_seed(0)
        net = m.nn.Sequential(m.nn.Linear(3, 8), m.nn.Tanh(), m.nn.Linear(8, 2))
        x = m.arange(12.0).reshape(4, 3)
        with m.autograd.graph.saved_tensors_hooks(pack, unpack):
            loss = net(x).pow(2).sum()
            net(x)
        assert len(files) >= 3
        loss.backward(retain_graph=True)
        loss.backward()
        grads.append([p.grad.tolist() for p in net.parameters()])
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()
    for ours, theirs in zip(grads[1], grads[0], strict=True):
        torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs))


def test_hooks_change_what_backward_reads():
    for m in MODULES:
        a = m.tensor([3.0], requires_grad=True)
        with m.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x * 10):
            y = a * a
        y.backward()
        assert a.grad.tolist() == [60.0]


def test_a_backward_within_the_block():
    for m in MODULES:
        a = m.tensor([3.0], requires_grad=True)
        count: list[int] = []
        with m.autograd.graph.saved_tensors_hooks(lambda x: (count.append(1), x)[1], lambda x: x):  # noqa: B023
            a.exp().sin().backward()
        # Ours keeps what both steps read once.
        assert len(count) == (2 if m is torch else 1)
        a.grad = None
        with m.autograd.graph.save_on_cpu():
            (a * a).backward()
        assert a.grad.tolist() == [6.0]


def test_blocks_within_blocks():
    for m in MODULES:
        log: list[str] = []
        a = m.tensor([3.0], requires_grad=True)

        def hooks(name: str, m: Any = m) -> Any:
            return m.autograd.graph.saved_tensors_hooks(
                lambda x: (log.append(name), x)[1],  # noqa: B023
                lambda x: x,
            )

        with hooks("outer"):
            y = a.exp()
            with hooks("inner"):
                z = y.sin()
            w = z.cos()
        w.backward()
        assert sorted(log) == ["inner", "outer", "outer"], m.__name__
        assert a.grad is not None


def test_second_gradients_through_packed_values():
    for m in MODULES:
        a = m.tensor([2.0], requires_grad=True)
        with m.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x):
            y = a * a * a
        (g,) = m.autograd.grad(y, a, create_graph=True)
        assert m.autograd.grad(g, a)[0].tolist() == [12.0]


def test_refused_hooks():
    for m in MODULES:
        a = m.tensor([2.0], requires_grad=True)
        with m.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: 3):
            y = a * a
        with pytest.raises(TypeError, match="unpack_hook expected to be a Tensor"):
            y.backward()
        refusing = m.autograd.graph.disable_saved_tensors_hooks("not here")
        with refusing, pytest.raises(RuntimeError, match="not here"):
            m.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x).__enter__()


def test_hooks_run_without_history():
    """As backward does, unless it is to be differentiated itself."""
    found = []
    for m in MODULES:
        log: list[bool] = []
        a = m.tensor([2.0], requires_grad=True)

        def noted(x: Any) -> Any:
            log.append(m.is_grad_enabled())  # noqa: B023
            return x * 2 / 2

        with m.autograd.graph.saved_tensors_hooks(noted, noted):
            y = a * a
        m.autograd.grad(y, a, retain_graph=True)
        m.autograd.grad(y, a, create_graph=True)
        found.append(sorted(set(log[:2])) + [log[-1]])
    assert found[1] == found[0] == [False, True]


@pytest.mark.parametrize("runs", [1, 6])  # interpreted, compiled
def test_what_hooks_give_fits(runs):
    """Native code reads as many numbers as were saved, of that dtype."""
    found = []
    for m in MODULES:
        a = m.tensor([1.0, 2.0, 3.0], requires_grad=True)
        ways = (lambda x: x, lambda x: x.double(), lambda x: x.mean(), lambda x: x.detach()[:2])
        for way in ways:
            for _ in range(runs):
                with m.autograd.graph.saved_tensors_hooks(lambda x: x, way):
                    y = a * a * 1.5
                try:
                    found.append(m.autograd.grad(y.sum(), a)[0].tolist())
                except RuntimeError as error:
                    found.append("size" in str(error))
    count = len(found) // 2
    assert found[count:] == found[:count]


def test_hooks_write_to_nothing():
    for m in MODULES:
        a = m.tensor([2.0], requires_grad=True)
        block = m.autograd.graph.saved_tensors_hooks(lambda x: x.mul_(2), lambda x: x)
        with pytest.raises(RuntimeError, match="modifying its input in place"), block:
            _kept = a * a


SAVED = """(a*b).self (a*b).other (a*a).self (a/b).other (a/b).self a.sigmoid().result a.sin().self
(M@M).mat2 m.mm(M,M).self (M@b).vec m.addmm(M,M,M).mat1 (a**3).exponent (a**2.5).exponent
a.relu().result a.tanh().result (a*2).other a.softmax(0).result a.log().self a.sqrt().result
a.pow(2).self a.exp().result (M@m.ones(3,3)).self""".split()  # noqa: SIM905


@pytest.mark.parametrize("case", SAVED)
@pytest.mark.parametrize("computed", [False, True])
def test_saved_values_of_nodes(case, computed):
    call, _, name = case.rpartition(".")
    found = []
    for m in MODULES:
        a = m.tensor([1.0, 2.0, 3.0], requires_grad=True)
        b, M = m.tensor([2.0, 2.0, 2.0]), m.ones(3, 3, requires_grad=True)
        y = eval(call, {"m": m, "a": a, "b": b, "M": M})
        if computed:
            y.sum().item()
        saved = getattr(y.grad_fn, f"_saved_{name}")
        assert f"_saved_{name}" in dir(y.grad_fn)
        value = saved.tolist() if isinstance(saved, m.Tensor) else saved
        found.append([any(saved is x for x in (a, b, M)), y.grad_fn.name(), value])
    assert found[1][:2] == found[0][:2]
    assert (found[1][2] is None) is (found[0][2] is None)
    if found[0][2] is not None:
        np.testing.assert_allclose(found[1][2], found[0][2], 1e-6)


def test_saved_values_that_are_gone():
    for m in MODULES:
        a = m.ones(2, requires_grad=True)
        y = (a * a).exp()
        node = y.grad_fn
        y.sum().backward()
        with pytest.raises(RuntimeError, match="second time"):
            node._saved_result
        with pytest.raises(AttributeError):
            node._saved_nothing


def test_notes_on_nodes():
    for m in MODULES:
        a = m.ones(2, requires_grad=True)
        y = a.exp() + a
        y.grad_fn.metadata["seen"] = 1
        y.sum().item()
        y.grad_fn.next_functions[0][0].metadata["exp"] = 2
        assert y.grad_fn.metadata == {"seen": 1}
        assert y.grad_fn.next_functions[0][0].metadata == {"exp": 2}
        leaf = y.grad_fn.next_functions[1][0]
        leaf.metadata["leaf"] = 3
        assert y.grad_fn.next_functions[1][0].metadata == {"leaf": 3}
        assert isinstance(y.grad_fn, m.autograd.graph.Node)


NAMES = """a.t() a.view(3,1) a.transpose(0,0) a.permute(0) 1-a a-1 2**a a**2 a@a M@M M@a a@M
a.sum() a.mean() a[0] a[:1] a.clone() a.expand(3,3) a/2 -a m.cat([a,a]) a.max() a.max(0)[0]
F.softmax(a,0) F.mse_loss(a,a*2) a.double() a.cumsum(0) a.gather(0,m.tensor([0])) a[a>0] a.dot(a)
m.where(a>0,a,a) a.prod() a.std() a.norm() F.relu(a) F.gelu(a) a.unbind()[0]
a.logsumexp(0)""".split()  # noqa: SIM905


@pytest.mark.parametrize("call", NAMES)
def test_names_of_nodes(call):
    found = []
    for m in MODULES:
        a, M = m.ones(3, requires_grad=True), m.ones(3, 3, requires_grad=True)
        found.append(eval(call, {"m": m, "F": m.nn.functional, "a": a, "M": M}).grad_fn.name())
    assert found[1] == found[0]
