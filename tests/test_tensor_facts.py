"""Facts about tensors that PyTorch tells: conjugate bits, dtypes of gradients, mapped files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau

LIBRARIES = (torch, flambeau)


def test_conjugates_say_so():
    found = []
    for t in LIBRARIES:
        x = t.tensor([[1 + 2j, 3 - 1j]])
        y = x.conj()
        tensors = [x, y, y.conj(), y.resolve_conj(), y.clone(), y * 1, y.imag, y.real, x.mH, x.H,
                   x.adjoint(), t.conj_physical(x), t.conj_physical(y), y.imag.resolve_neg(),
                   t.ones(2).conj()]  # fmt: skip
        found.append([(z.is_conj(), z.is_neg(), z.tolist()) for z in tensors])
    assert found[0] == found[1]
    x = flambeau.tensor([1j])
    assert x.resolve_conj() is x
    assert x.resolve_neg() is x


def test_the_dtype_of_gradients():
    for t in LIBRARIES:
        x = t.tensor([1.0, 2.0], requires_grad=True)
        assert x.grad_dtype is t.float32
        x.grad_dtype = t.float16
        (x * x).sum().backward()
        assert x.grad.dtype is t.float16
        (x * x).sum().backward()
        assert x.grad.tolist() == [4.0, 8.0]
        with pytest.raises(RuntimeError, match="already a gradient"):
            x.grad_dtype = t.float32
        x.grad = None
        x.grad_dtype = None
        assert x.grad_dtype is None
        x.grad = t.ones(2, dtype=t.float64)
        x.grad = None
        x.grad_dtype = t.float32
        (x * x).sum().backward()
        assert x.grad.dtype is t.float32
        with pytest.raises(RuntimeError, match="attempting to assign a gradient with dtype"):
            x.grad = t.ones(2, dtype=t.float64)
        with pytest.raises(RuntimeError, match="only be accessed on leaf"):
            (x * 2).grad_dtype
        with pytest.raises(RuntimeError, match="only be set on leaf"):
            (x * 2).grad_dtype = t.float16
        with pytest.raises(RuntimeError, match=r"must be a torch\.dtype or None"):
            x.grad_dtype = 3


@pytest.mark.parametrize("shared", [False, True])
def test_mapped_files(tmp_path, shared):
    path = tmp_path / "numbers"
    for t in LIBRARIES:
        np.arange(6, dtype=np.float64).tofile(path)
        x = t.from_file(str(path), shared=shared, size=4, dtype=t.float64)
        assert x.tolist() == [0.0, 1.0, 2.0, 3.0]
        x[1] = 9
        assert x.sum().item() == 14.0
        assert (np.fromfile(path)[1] == 9) == shared
        with pytest.raises(RuntimeError):
            t.from_file(str(tmp_path / "none"), shared=False, size=4)


def test_what_is_a_storage():
    x = flambeau.tensor([1])
    assert flambeau.is_storage(x.untyped_storage())
    assert not flambeau.is_storage(x)


def test_new_storages():
    assert flambeau.TypedStorage(5, dtype=flambeau.int64).nbytes() == 40
    assert flambeau.UntypedStorage(3).nbytes() == 3
    assert flambeau.is_storage(flambeau.TypedStorage(5, dtype=flambeau.float32))


def test_sizes_hold_integers():
    given = ((1, 2), [], [True], range(3), {1: 2}, [np.int64(3)], ["a"], [1.0], [None], "ab",
             [np.float32(3)], 3)  # fmt: skip
    found = []
    for t in LIBRARIES:
        outcomes: list[object] = []
        for sizes in (*given, t.tensor([1, 2]), [t.tensor(3)]):
            try:
                outcomes.append(repr(t.Size(sizes)))
            except TypeError as error:
                outcomes.append(str(error))
        found.append(outcomes)
    assert found[1] == found[0]


def test_sums_and_products_of_sizes():
    calls = ("s + (4,)", "(4,) + s", "s * 2", "2 * s", "s[1:]", "s + s", "s + ('a',)", "('a',) + s",
             "s + [4]", "[4] + s", "s * 1.5")  # fmt: skip
    found = []
    for t in LIBRARIES:
        outcomes = []
        for call in calls:
            try:
                made = eval(call, {"s": t.ones(2, 3).shape})
                outcomes.append((made, type(made) is t.Size))
            except TypeError:
                outcomes.append(TypeError)
        found.append(outcomes)
    assert found[1] == found[0]


def test_clip_goes_by_its_own_name():
    for t in LIBRARIES:
        names = (t.clip, t.Tensor.clip, t.clip_, t.Tensor.clip_, t.clamp)
        assert [f.__name__ for f in names] == ["clip", "clip", "clip_", "clip_", "clamp"]
