"""Printing gives PyTorch's text, character for character."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import _tensor_str as oracle_options

from flambeau import dtypes, printing

NAMES = sorted(dtypes.DTYPES)


@pytest.fixture(autouse=True)
def _default_options():
    yield
    printing.set_printoptions(profile="default")
    torch.set_printoptions(profile="default")


def oracle(array: np.ndarray) -> torch.Tensor:
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.astype(np.float32)).bfloat16()
    return torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape))


def ours(array: np.ndarray, **options: object) -> str:
    return printing.format_tensor(array, dtypes.from_numpy_dtype(array.dtype), **options)


def check(array: np.ndarray) -> None:
    assert ours(array) == repr(oracle(array))


def make(name: str, shape: tuple[int, ...], style: str, seed: int) -> np.ndarray:
    """An array of one type whose numbers call for one of the printed forms."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    if style == "whole":
        x = np.round(x * 10)
    elif style == "large":
        x = np.round(x * 10.0 ** rng.integers(1, 12))
    elif style == "wide":
        x = x * 10.0 ** rng.integers(-9, 9, shape)
    elif style == "small":
        x = x * 10.0 ** -rng.integers(1, 8)
    elif style == "sparse":
        x = np.where(rng.random(shape) < 0.5, 0.0, x)
    elif style == "special":
        x = rng.choice([0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -2.0, 0.5], shape)
    elif style == "edge":
        x = rng.choice([1e8, 1.0, 1000.0, 1001.0, 1e-4, 9.9e-5, 0.99999, 99999.99995], shape)
    kind = dtypes.DTYPES[name]
    if kind.is_complex:
        parts = np.asarray(x), np.roll(np.asarray(x), 1)
        x = np.empty(shape, np.complex128)
        x.real, x.imag = parts
    elif name == "bool":
        return np.asarray(x > 0)
    elif not kind.is_floating_point:
        bounds = np.iinfo(kind.numpy)
        narrow = style != "large"
        low, high = (max(-20, bounds.min), 100) if narrow else (bounds.min, bounds.max)
        return rng.integers(low, high, shape, dtype=kind.numpy, endpoint=True)
    with np.errstate(all="ignore"):
        return np.asarray(x).astype(kind.numpy)


STYLES = ["plain", "whole", "large", "wide", "small", "sparse", "special", "edge"]
SHAPES = [(), (1,), (5,), (30,), (2, 3), (3, 1, 2), (2, 2, 2, 2), (4, 40), (1200,), (30, 40),
          (2, 600), (7, 3, 60), (1, 1001), (0,), (0, 3), (2, 0, 1)]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_type_and_form(name, shape):
    for number, style in enumerate(STYLES):
        check(make(name, shape, style, number))


shapes = st.lists(st.integers(0, 9), max_size=5).map(tuple)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(NAMES), shapes, st.sampled_from(STYLES), st.integers(0, 2**32),
    st.integers(0, 8), st.integers(0, 60), st.integers(0, 4), st.integers(10, 130),
    st.sampled_from([None, True, False]),
)  # fmt: skip
def test_every_option(name, shape, style, seed, precision, threshold, edge, width, sci_mode):
    options = {
        "precision": precision, "threshold": threshold, "edgeitems": edge, "linewidth": width,
        "sci_mode": sci_mode,
    }  # fmt: skip
    with printing.printoptions(**options), oracle_options.printoptions(**options):
        check(make(name, shape, style, seed))


floats = st.floats(width=32) | st.integers(-(10**9), 10**9).map(float)


@settings(max_examples=300, deadline=None)
@given(st.lists(floats, max_size=20), st.sampled_from(["float64", "float32", "complex64"]))
def test_any_numbers(values, name):
    with np.errstate(all="ignore"):
        check(np.array(values).astype(dtypes.DTYPES[name].numpy))


@pytest.mark.parametrize("size", [1, 3, 7, 8, 9, 10, 1001])
@pytest.mark.parametrize("name", ["float32", "float64", "float16", "bfloat16"])
def test_requires_grad_and_grad_fn_wrap(size, name):
    array = make(name, (size,), "plain", size)
    leaf = oracle(array).requires_grad_()
    assert ours(array, requires_grad=True) == repr(leaf)
    doubled = leaf.clone()
    assert ours(array, requires_grad=True, grad_fn_name="CloneBackward0") == repr(doubled)


def test_parameter_and_subclass():
    array = np.ones((2, 3), np.float32)
    expected = repr(torch.nn.Parameter(oracle(array)))
    assert ours(array, requires_grad=True, is_parameter=True) == expected

    class Longer(torch.Tensor):
        pass

    for size in (3, 30):
        array = np.arange(size, dtype=np.float32) / 7
        assert ours(array, class_name="Longer") == repr(oracle(array).as_subclass(Longer))


def test_meta_device():
    text = printing.format_tensor(None, dtypes.float32, shape=(2, 3), device="meta")
    assert text == repr(torch.empty(2, 3, device="meta"))
    text = printing.format_tensor(None, dtypes.int64, shape=(4,), device="meta")
    assert text == repr(torch.empty(4, dtype=torch.int64, device="meta"))


def test_another_device_is_named():
    assert ours(np.ones(1, np.float32), device="cuda:0") == "tensor([1.], device='cuda:0')"


@pytest.mark.parametrize("default", ["float64", "float32", "float16", "bfloat16"])
def test_default_dtype_is_not_named(default):
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, default))
    try:
        for name in NAMES:
            for shape in [(2,), (0,), (0, 2), ()]:
                array = make(name, shape, "plain", 3)
                text = ours(array, default_dtype=dtypes.DTYPES[default])
                assert text == repr(oracle(array))
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("profile", ["default", "short", "full", "unknown"])
def test_profiles(profile):
    printing.set_printoptions(precision=7)
    oracle_options.set_printoptions(precision=7)
    printing.set_printoptions(profile=profile, edgeitems=5)
    oracle_options.set_printoptions(profile=profile, edgeitems=5)
    assert printing.get_printoptions() == oracle_options.get_printoptions()
    check(make("float32", (30, 40), "plain", 0))


def test_sci_mode_is_reset_by_every_call():
    printing.set_printoptions(sci_mode=True)
    printing.set_printoptions(precision=3)
    assert printing.get_printoptions()["sci_mode"] is None


def test_options_return_after_an_error():
    before = printing.get_printoptions()
    with pytest.raises(KeyError), printing.printoptions(precision=1, sci_mode=False):
        raise KeyError
    assert printing.get_printoptions() == before


def test_unknown_option_is_refused():
    with pytest.raises(TypeError):
        printing.set_printoptions(digits=3)


def test_views_and_strides():
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    for view in (base.T, base[::2], base[:, ::-1], np.broadcast_to(base[0], (3, 6))):
        check(view)


def test_a_large_tensor_is_summarised_without_formatting_it():
    """Strings are made for the edges only, so this is quick."""
    array = np.broadcast_to(np.float32(1.5), (10**6, 10**6))
    assert ours(array).count("1.5000") == 36
