"""Views of data made again are the views that would have been made: shape, memory, history."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau

CALLS = [
    lambda a: a.reshape(-1), lambda a: a.reshape(6, 4), lambda a: a.reshape((2, 12)),
    lambda a: a.view(3, 8), lambda a: a.view(-1, 2), lambda a: a.permute(1, 0),
    lambda a: a.permute((0, 1)), lambda a: a.transpose(0, -1), lambda a: a.t(),
    lambda a: a.movedim(0, 1), lambda a: a.expand(2, -1, -1), lambda a: a.unsqueeze(1),
    lambda a: a.unsqueeze(-1).squeeze(), lambda a: a.flatten(), lambda a: a.unflatten(1, (2, 3)),
    lambda a: a.narrow(1, 2, 3), lambda a: a.split(3, 1), lambda a: a.split((1, 5), 1),
    lambda a: a.chunk(3, 1), lambda a: a.unbind(), lambda a: a.diagonal(), lambda a: a.diagonal(1),
    lambda a: a.unfold(1, 3, 2), lambda a: a.swapaxes(0, 1), lambda a: a.tensor_split(4, 1),
    lambda a: a.ravel(), lambda a: a[1], lambda a: a[-1], lambda a: a[1:3], lambda a: a[:, ::2],
    lambda a: a[:, None], lambda a: a[None, ..., 2], lambda a: a[2, 3], lambda a: a[..., 1:],
    lambda a: a[:], lambda a: a[()], lambda a: a[1:, None, 2:5], lambda a: a[2][1:],
    lambda a: a.t()[1:3].t()[1], lambda a: a[1:].reshape(2, 9)[:, 3:].t(),
    lambda a: a[-3:-1], lambda a: a[:-9], lambda a: a[3:1], lambda a: a.t()[1:4][:2],
    lambda a: a.select(1, -2), lambda a: a[1:9][1:],
]  # fmt: skip


def parts(found):
    return list(found) if isinstance(found, (tuple, list)) else [found]


@pytest.mark.parametrize("which", range(len(CALLS)))
def test_the_second_time_is_as_the_first(which):
    call = CALLS[which]
    for trial in range(3):
        ours = flambeau.arange(24.0).reshape(4, 6)
        theirs = torch.arange(24.0).reshape(4, 6)
        for a, b in zip(parts(call(ours)), parts(call(theirs)), strict=True):
            assert tuple(a.shape) == tuple(b.shape)
            assert tuple(a.stride()) == tuple(b.stride())
            assert a.storage_offset() == b.storage_offset()
            assert a.tolist() == b.tolist()
            # It shares memory, unless several of its elements are one.
            if 0 not in b.stride() and len(set(b.reshape(-1).tolist())) == b.numel():
                a.mul_(-1)
                b.mul_(-1)
        assert ours.tolist() == theirs.tolist()
        ours.add_(1.0)
        assert [v.tolist() for v in parts(call(ours))] == [
            v.tolist() for v in parts(call(theirs + 1))
        ], trial


@pytest.mark.parametrize("which", range(len(CALLS)))
def test_history_is_recorded_after_data_was_viewed(which):
    call = CALLS[which]
    array = np.random.default_rng(0).standard_normal((4, 6))
    for _ in range(2):
        call(flambeau.from_numpy(array.copy()))
    gradients = []
    for m in (flambeau, torch):
        a = m.from_numpy(array.copy()).requires_grad_()
        sum((v**2).sum() for v in parts(call(a))).backward()
        gradients.append(a.grad.tolist())
    assert gradients[0] == gradients[1]


def test_a_write_with_history_reaches_a_remembered_view():
    for m in (flambeau, torch):
        base, w = m.zeros(4, 6), m.ones(6, requires_grad=True)
        for _ in range(2):
            view = base.reshape(2, 12)
        base[1] = 2 * w
        assert view.requires_grad
        view.sum().backward()
        assert w.grad.tolist() == [2.0] * 6


def test_equal_arguments_that_mean_something_else():
    x = flambeau.arange(24.0).reshape(4, 6)
    for _ in range(2):
        assert tuple(x.narrow(0, 1, 2).shape) == (2, 6)
        assert tuple(x[1, 1:].shape) == (5,)
    with pytest.raises(TypeError):
        x.narrow(0, 1.0, 2)
    with pytest.raises(TypeError):
        x.reshape(4.0, 6)
    # True is a mask, not the position 1.
    assert tuple(x[True, 1:].shape) == (1, 3, 6)
    assert tuple(x[1, 1:].shape) == (5,)
    assert tuple(flambeau.reshape(input=x, shape=(6, 4)).shape) == (6, 4)
    assert tuple(flambeau.split(tensor=x, split_size_or_sections=2)[1].shape) == (2, 6)


def test_inside_a_subclass_and_without_gradients():
    class Named(flambeau.Tensor):
        pass

    p = flambeau.nn.Parameter(flambeau.arange(6.0))
    for _ in range(2):
        with flambeau.no_grad():
            view = p.reshape(2, 3)
        assert not view.requires_grad
        assert p.reshape(2, 3).requires_grad


def test_the_address_of_a_view():
    x = flambeau.arange(24.0).reshape(4, 6)
    assert x[1].data_ptr() - x.data_ptr() == 24
    assert x[:, 2:].data_ptr() - x.data_ptr() == 8
    assert x.numpy().ctypes.data == x.data_ptr()
    x.data_ptr()
    x[1:][0].add_(1)
    assert x[1, 0].item() == 7.0


def test_a_diagonal_of_data_is_a_copy():
    for m in (flambeau, torch):
        a = m.arange(12.0).reshape(3, 4)
        copies = [m.diag(a), m.diag(a, 1), m.diag(a.t(), -2), m.diag(a[1:]), m.diag(a, 9)]
        a.zero_()
        assert [c.tolist() for c in copies] == [[0, 5, 10], [1, 6, 11], [2, 7], [4, 9], []]
        a.requires_grad_()
        m.diag(a).sum().backward()
        assert a.grad.tolist() == m.eye(3, 4).tolist()


def test_grad_modes_nest_and_come_back():
    for m in (flambeau, torch):
        off, on = m.no_grad(), m.enable_grad()
        seen = []
        with off:
            seen.append(m.is_grad_enabled())
            with m.enable_grad(), m.no_grad():
                seen.append(m.is_grad_enabled())
            with on:
                seen.append(m.is_grad_enabled())
                with m.set_grad_enabled(False):
                    seen.append(m.is_grad_enabled())
                seen.append(m.is_grad_enabled())
            seen.append(m.is_grad_enabled())
        seen.append(m.is_grad_enabled())
        try:
            with off:
                raise ValueError
        except ValueError:
            seen.append(m.is_grad_enabled())
        assert seen == [False, False, True, False, True, False, True, True]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.complex64])
def test_addresses_are_where_the_elements_lie(dtype):
    whole = np.zeros((6, 8), dtype)
    a = flambeau.from_numpy(whole)
    assert a.data_ptr() == whole.ctypes.data
    assert a[2:, 3].data_ptr() == whole[2:, 3].ctypes.data
    assert (a + 1)[1:].data_ptr() % np.dtype(dtype).itemsize == 0
    assert a[:0].data_ptr() == 0 == flambeau.empty(0, 3).data_ptr()


def test_one_grad_mode_entered_inside_itself_comes_back():
    off = flambeau.no_grad()
    with off, flambeau.enable_grad(), off, off:
        assert not flambeau.is_grad_enabled()
    assert flambeau.is_grad_enabled()
