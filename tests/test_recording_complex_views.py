"""``real``, ``imag`` and ``view_as_real`` are views of complex memory: writes go both ways."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import flambeau

VALUES = [[1 + 2j, -0.5j, 3.0], [0.5 - 1j, 2j, -1.0]]


def fresh(m: Any) -> Any:
    return m.tensor(VALUES, dtype=m.complex128)


def computed(m: Any) -> Any:
    return fresh(m) * 1


def part(m: Any) -> Any:
    return fresh(m)[:, 1:]


def turned(m: Any) -> Any:
    return fresh(m).t()


def wanting(m: Any) -> Any:
    return fresh(m).requires_grad_() * (1 + 1j)


def quiet(m: Any) -> Any:
    z = fresh(m).requires_grad_()
    with m.no_grad():
        return z * (1 + 1j)


SOURCES = [fresh, computed, part, turned, wanting, quiet]


def real(m: Any, z: Any) -> Any:
    return z.real


def imag(m: Any, z: Any) -> Any:
    return z.imag


def pairs(m: Any, z: Any) -> Any:
    return m.view_as_real(z)


def row(m: Any, z: Any) -> Any:
    return m.imag(z)[0]


def column(m: Any, z: Any) -> Any:
    return m.view_as_real(z)[:, 1, 0]


def half(m: Any, z: Any) -> Any:
    return z[1].real[1:]


def detached(m: Any, z: Any) -> Any:
    return z.real.detach()


def strided(m: Any, z: Any) -> Any:
    return m.view_as_real(z).as_strided((2,), (2,), 1)


VIEWS = [real, imag, pairs, row, column, half, detached, strided]


def fill(m: Any, z: Any, v: Any) -> None:
    v.fill_(7.0)


def scale(m: Any, z: Any, v: Any) -> None:
    v.mul_(3.0)
    v.add_(1.0)


def look(m: Any, z: Any, v: Any) -> None:
    v.mul_(3.0)
    z.tolist()
    v.sub_(2.0)


def whole(m: Any, z: Any, v: Any) -> None:
    z.mul_(2j)


def both(m: Any, z: Any, v: Any) -> None:
    z.mul_(2j)
    v.mul_(0.5)
    z.add_(1 + 1j)


def through_numpy(m: Any, z: Any, v: Any) -> None:
    v.detach().numpy()[...] = 5.0


WRITES = [fill, scale, look, whole, both, through_numpy]


def run(m: Any, source: Callable, view: Callable, write: Callable) -> list:
    z = source(m)
    v = view(m, z)
    write(m, z, v)
    found = [z.detach().tolist(), v.detach().tolist(), list(v.shape), list(v.stride())]
    found += [str(v.dtype), v.requires_grad, v.storage_offset(), v.is_contiguous()]
    if v.requires_grad and write is not through_numpy:
        (v.sin().sum() + (z * z.conj()).real.sum()).backward()
    return found


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("source", SOURCES)
def test_writes_reach_the_other(source, view, write):
    want, got = run(torch, source, view, write), run(flambeau, source, view, write)
    for g, w in zip(got, want, strict=True):
        if isinstance(w, list):
            np.testing.assert_allclose(g, w, 1e-12)
        else:
            assert g == w


def _gradient(m: Any, view: Callable, write: Callable) -> list:
    w = fresh(m).requires_grad_()
    z = w * (1 + 1j)
    v = view(m, z)
    write(m, z, v)
    ((v * v).sum() + (z * z.conj()).real.sum()).backward()
    return w.grad.tolist()


@pytest.mark.parametrize("write", [fill, scale, look, whole, both])
@pytest.mark.parametrize("view", [real, imag, pairs, row, column, half])
def test_gradients_of_what_was_written_through(view, write):
    want = _gradient(torch, view, write)
    np.testing.assert_allclose(_gradient(flambeau, view, write), want, 1e-12)


def test_a_part_of_a_leaf_is_not_written():
    for m in (torch, flambeau):
        z = fresh(m).requires_grad_()
        with pytest.raises(RuntimeError, match="a view of a leaf Variable"):
            z.real.mul_(2.0)
        with m.no_grad():
            z.imag.zero_()
        assert z.tolist() == np.array(VALUES).real.astype(complex).tolist()


def test_a_part_can_be_copied_and_saved():
    z = fresh(flambeau)
    for v in (z.imag, flambeau.view_as_real(z)):
        assert copy.deepcopy(v).tolist() == v.tolist()
        file = io.BytesIO()
        flambeau.save({"z": z, "v": v}, file)
        file.seek(0)
        found = flambeau.load(file)
        assert found["v"].tolist() == v.tolist()
        assert found["z"].tolist() == z.tolist()


def test_setting_a_part():
    for m in (torch, flambeau):
        z = fresh(m)
        v = z.real
        z.imag = 4.0
        z.real = m.zeros(2, 3, dtype=m.float64)
        assert z.tolist() == [[4j] * 3] * 2
        assert v.tolist() == [[0.0] * 3] * 2
