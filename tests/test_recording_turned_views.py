"""``conj`` and the negatives it makes are views: read turned, written through turned."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import flambeau
from test_recording_complex_views import both, fill, look, scale, whole

VALUES = [[1 + 2j, -0.5j, 3.0], [0.5 - 1j, 2j, -1.0]]

# A complex tensor ``z`` of library ``m``.
SOURCES: dict[str, Callable] = {
    "data": lambda m: fresh(m),
    "computed": lambda m: fresh(m) * 1,
    "part": lambda m: fresh(m)[:, 1:],
    "transposed": lambda m: fresh(m).t(),
    "a conjugate": lambda m: fresh(m).conj(),
    "with history": lambda m: fresh(m).requires_grad_() * (1 + 1j),
    "a conjugate with history": lambda m: (fresh(m).requires_grad_() * (1 + 1j)).conj(),
    "under no_grad": lambda m: quiet(m),
}
VIEWS: dict[str, Callable] = {
    "conj": lambda m, z: z.conj(),
    "twice": lambda m, z: z.conj().conj(),
    "imag": lambda m, z: z.conj().imag,
    "real": lambda m, z: z.conj().real,
    "row": lambda m, z: m.conj(z)[1],
    "of a row": lambda m, z: z[1].conj()[1:],
    "imag row": lambda m, z: z.conj().imag[0],
    "adjoint": lambda m, z: z.mH,
    "detached": lambda m, z: z.conj().detach(),
    "strided": lambda m, z: z.conj().as_strided((2,), (2,), 1),
    "expanded": lambda m, z: z[:1].conj().expand(2, -1, -1)[1],
    "negative": lambda m, z: m._neg_view(z.real),
    "negative twice": lambda m, z: m._neg_view(z.conj().imag),
}


def fresh(m: Any) -> Any:
    return m.tensor(VALUES, dtype=m.complex128)


def quiet(m: Any) -> Any:
    z = fresh(m).requires_grad_()
    with m.no_grad():
        return z * (1 + 1j)


def place(m: Any, z: Any, v: Any) -> None:
    v[0] = -1.5
    v.copy_(v.clone() * 2)


def real_sum(m: Any, v: Any) -> Any:
    found = v.sin().sum()
    return m.real(found) if v.is_complex() else found


@pytest.mark.parametrize("write", [look, both, place])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("source", SOURCES)
def test_writes_reach_the_other(source, view, write):
    found = []
    for m in (torch, flambeau):
        z = SOURCES[source](m)
        v = VIEWS[view](m, z)
        before = v.tolist()
        write(m, z, v)
        facts = [v.is_conj(), v.is_neg(), v.requires_grad, v.storage_offset(), v.stride()]
        facts += [str(v.dtype), tuple(v.shape), v.is_contiguous()]
        found.append((facts, [before, z.tolist(), v.tolist(), (v + 1).tolist()]))
        if v.requires_grad:
            (real_sum(m, v) + (z * z.conj()).real.sum()).backward()
    assert found[0][0] == found[1][0]
    for want, got in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(got, want, 1e-12)


@pytest.mark.parametrize("write", [fill, scale, whole, place])
@pytest.mark.parametrize("view", [v for v in VIEWS if v != "detached"])
def test_gradients_of_what_was_written_through(view, write):
    found = []
    for m in (torch, flambeau):
        w = fresh(m).requires_grad_()
        z = (w * (1 + 1j)).conj()
        v = VIEWS[view](m, z)
        write(m, z, v)
        (real_sum(m, v * v) + (z * z.conj()).real.sum()).backward()
        found.append(w.grad.tolist())
    np.testing.assert_allclose(found[1], found[0], 1e-12)


FACTS: dict[str, Callable] = {
    "is_conj": lambda m, x: [
        x.conj().is_conj(), x.conj().conj().is_conj(), x.conj()[0].is_conj(),
        x.conj().t().is_conj(), x.mH.is_conj(), x.H.is_conj(), x.adjoint().is_conj(),
        x.conj().expand(2, 2, 3).is_conj(), x.conj().unbind()[0].is_conj(),
        x.conj().detach().is_conj(), x.conj().contiguous().is_conj(), x.conj().view(6).is_conj(),
        x.conj().reshape(3, 2).is_conj(), x.conj().clone().is_conj(), (x.conj() + 1).is_conj(),
        x.conj().resolve_conj().is_conj(), x.conj_physical().is_conj(),
        m.empty_like(x.conj()).is_conj(), x.conj().conj_physical_().is_conj(),
        m.is_conj(x.conj()), x.conj().squeeze().is_conj(), x.conj().real.is_conj(),
    ],
    "is_neg": lambda m, x: [
        x.conj().imag.is_neg(), x.conj().imag[0].is_neg(), x.imag.is_neg(), x.conj().real.is_neg(),
        x.conj().imag.t().is_neg(), x.conj().imag.clone().is_neg(), x.conj().imag.conj().is_neg(),
        x.conj().imag.resolve_neg().is_neg(), x.conj().conj().imag.is_neg(),
        x[0].conj().imag.is_neg(),
        m.is_neg(x.conj().imag), x.conj().imag.real.is_neg(), m._neg_view(x.real).is_neg(),
        m._neg_view(x.conj().imag).is_neg(), x.mH.imag.is_neg(), x.conj().imag.detach().is_neg(),
    ],
    "memory": lambda m, x: [
        x.conj().data_ptr() == x.data_ptr(), x.conj().imag.data_ptr() - x.data_ptr(),
        x.conj()[1].data_ptr() - x.data_ptr(), x.conj()._is_view(), x.conj()._base is x,
        x.conj().conj()._base is x, x.conj_physical()._is_view(), x.real.conj()._base is x,
        x.conj().detach()._is_view(), x.conj().imag._is_view(), x.conj()[0]._is_view(),
        x.conj().resolve_conj().data_ptr() == x.data_ptr(), x.resolve_conj() is x,
        x.resolve_neg() is x, x.real.resolve_neg()._base is x,
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", FACTS)
def test_facts_about_turned_views(name):
    assert FACTS[name](flambeau, fresh(flambeau)) == FACTS[name](torch, fresh(torch))


REFUSED = {
    "view_as_real": lambda m, z: m.view_as_real(z.conj()),
    "view": lambda m, z: z.conj().view(m.float64),
    "view of a negative": lambda m, z: z.conj().imag.view(m.int64),
    "dlpack": lambda m, z: z.conj().__dlpack__(),
    "of no tensor": lambda m, z: m.conj(2j),
    "write to a leaf": lambda m, z: z.requires_grad_().conj().mul_(2),
    "write to an expanded one": lambda m, z: z[:1].conj().expand(3, -1).mul_(2),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_turned_view_refuses(name):
    errors = []
    for m in (torch, flambeau):
        with pytest.raises((RuntimeError, BufferError, TypeError)) as caught:
            REFUSED[name](m, fresh(m))
        errors.append((caught.type, str(caught.value).partition(":")[0]))
    assert errors[1] == errors[0]


def test_arrays_have_the_values():
    """PyTorch gives them with ``force=True`` only."""
    for m, options in ((torch, {"force": True}), (flambeau, {}), (flambeau, {"force": True})):
        z = fresh(m)
        a = z.conj().numpy(**options)
        assert a.tolist() == np.conj(VALUES).tolist()
        assert z.conj().imag.numpy(**options).tolist() == (-np.imag(VALUES)).tolist()
        a[...] = 0
        assert z.tolist() == VALUES
    assert np.asarray(fresh(flambeau).conj()).tolist() == np.conj(VALUES).tolist()


def test_turned_views_are_copied_and_saved():
    for m in (torch, flambeau):
        z = fresh(m)
        for v in (z.conj(), z[1].conj(), z.conj().imag):
            assert copy.deepcopy(v).tolist() == v.tolist()
        file = io.BytesIO()
        m.save(z.conj(), file)
        file.seek(0)
        assert m.load(file).tolist() == z.conj().tolist()


def test_gradients_are_conjugated_once():
    for m in (torch, flambeau):
        z = fresh(m).requires_grad_()
        (z.conj() * (2 + 1j)).real.sum().backward()
        (z.conj().imag * 3).sum().backward()
        assert z.grad.tolist() == [[2 - 2j] * 3] * 2
        assert z.conj().grad_fn.name() == "ConjBackward0"


def test_a_conjugated_gradient_takes_more():
    for m in (torch, flambeau):
        z = fresh(m).requires_grad_()
        g = m.ones(2, 3, dtype=m.complex128) * 1j
        z.grad = g.conj()
        (z * (1 + 1j)).real.sum().backward()
        assert z.grad.tolist() == [[1 - 2j] * 3] * 2
        assert g.tolist() == [[1 + 2j] * 3] * 2


def test_large_conjugates_in_programs():
    want = []
    for m in (torch, flambeau):
        x = m.arange(20000, dtype=m.float64).reshape(100, 200) * (0.01 + 0.02j)
        c, found = x.conj(), []
        for _ in range(5):
            y = c * x + c.sum()
            c.mul_(0.5)
            found += [y.sum().item(), (c + 1).abs().sum().item(), (c @ x.mT).sum().item()]
            x.add_(1j)
        want.append([*found, *c[3, :5].tolist()])
    np.testing.assert_allclose(want[1], want[0], 1e-10)


def test_a_conjugate_is_resized():
    for m in (torch, flambeau):
        c = fresh(m).conj()
        want = c.reshape(-1)[:4].tolist()
        c.resize_(2, 2)
        assert c.is_conj() and c.flatten().tolist() == want


def test_random_numbers_written_through_a_conjugate():
    z = flambeau.zeros(4, dtype=flambeau.complex64)
    v = z.conj().imag
    flambeau.manual_seed(1)
    v.uniform_()
    flambeau.manual_seed(1)
    drawn = flambeau.rand(4)
    assert v.tolist() == drawn.tolist()
    assert z.imag.tolist() == (-drawn).tolist()
