"""``x.view(dtype)`` is the same memory read otherwise: writes to one show in the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau

LIBRARIES = (torch, flambeau)
DTYPES = ("uint8", "int16", "float16", "bfloat16", "int32", "float32", "int64", "float64",
          "complex64")  # fmt: skip


def same(program):
    """Runs a program with both; its lists of numbers agree."""
    wanted, found = [program(t) for t in LIBRARIES]
    assert found == wanted


@pytest.mark.parametrize("old", DTYPES)
@pytest.mark.parametrize("new", DTYPES)
def test_writes_to_one_show_in_the_other(old, new):
    def program(t):
        x = t.arange(32).reshape(2, 16).to(getattr(t, old))
        y = x.view(getattr(t, new))
        facts = [tuple(y.shape), y.stride(), y.storage_offset(), y.data_ptr() == x.data_ptr()]
        x[1] = 3
        after = y.tolist()
        y[0] = 1
        return [facts, after, x.tolist(), y.tolist()]

    same(program)


def test_pending_writes_are_seen():
    def program(t):
        x = t.arange(6, dtype=t.float32) * 2
        bits = x.view(t.int32)
        x += 1
        first = bits.tolist()
        bits ^= 1 << 31
        second = x.tolist()
        x.mul_(2).view(t.int32)[0] = 0
        return [first, second, x.tolist(), bits.tolist()]

    same(program)


def test_views_of_views():
    def program(t):
        x = t.arange(24, dtype=t.int32).reshape(4, 6)
        part = x[1:3, 2:6].view(t.int16)
        part[0, ::2] += 5
        turned = part.t()[1:3]
        turned.zero_()
        back = part.view(t.int32)
        back[-1, -1] = 7
        wide = x.view(t.int64)
        wide[3].fill_(1)
        strided = part.as_strided((2, 2), (1, 2), 1)
        strided.fill_(2)
        part.reshape(-1)[3] = 9
        return [x.tolist(), part.tolist(), back.tolist(), part.storage_offset(), part.stride()]

    same(program)


def test_parts_of_complex_memory():
    def program(t):
        x = t.tensor([1 + 2j, 3 - 4j])
        reals = t.view_as_real(x).view(t.int32)
        reals[0, 0] = 0
        z = t.arange(4, dtype=t.float32).view(t.complex64)
        z.real[1] = 9
        z.imag.mul_(2)
        return [x.tolist(), z.tolist()]

    same(program)


def test_made_of_pairs_it_shares_their_memory():
    def program(t):
        pairs = t.arange(8, dtype=t.float64).reshape(2, 2, 2)
        z = t.view_as_complex(pairs)
        z[0, 0] = 5j
        pairs[1] += 1
        return [pairs.tolist(), z.tolist()]

    same(program)


def test_it_has_no_history_and_writes_to_a_leafs_memory():
    for t in LIBRARIES:
        x = t.ones(3, requires_grad=True)
        bits = x.view(t.int32)
        assert not bits.requires_grad
        bits[0] = 0
        assert x.tolist() == [0.0, 1.0, 1.0]
        (x * x).sum().backward()
        assert x.grad.tolist() == [0.0, 2.0, 2.0]


def test_numpy_and_copies_see_the_elements_of_the_view():
    import copy
    import io

    x = flambeau.arange(4, dtype=flambeau.float32)
    bits = x.view(flambeau.int32)
    bits.numpy()[1] = 0
    assert x.tolist() == [0.0, 0.0, 2.0, 3.0]
    own = copy.deepcopy(bits)
    assert own.dtype is flambeau.int32
    assert own.tolist() == bits.tolist()
    file = io.BytesIO()
    flambeau.save(bits, file)
    file.seek(0)
    assert flambeau.load(file).tolist() == bits.tolist()
    assert bits.untyped_storage().nbytes() == 16
    assert np.shares_memory(bits.numpy(), x.numpy())


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t.ones(3).view(t.float64),
        lambda t: t.ones(()).view(t.int8),
        lambda t: t.ones(4)[1:3].view(t.float64),
        lambda t: t.ones(2, 4).t().view(t.int8),
        lambda t: t.ones(3, 3)[:, :2].view(t.float64),
        lambda t: t.ones(3, 1).expand(3, 4).view(t.int16),
    ],
)
def test_what_does_not_fit_is_refused_in_pytorchs_words(view):
    with pytest.raises(RuntimeError) as wanted:
        view(torch)
    with pytest.raises(RuntimeError) as found:
        view(flambeau)
    assert str(found.value) == str(wanted.value)


def test_inside_a_loop_it_compiles():
    x = flambeau.arange(1000, dtype=flambeau.float32)
    bits = x.view(flambeau.int32)
    for i in range(8):
        x += 1
        bits &= ~1
        assert int(bits[0]) % 2 == 0, i
        assert float(x[999]) == 999 + i + 1
