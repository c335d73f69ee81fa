"""Compiled pointwise rules beyond arithmetic: the numbers PyTorch has, edge cases included."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import flambeau
from flambeau.ir.reference import gamma

EDGES = [
    0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 2.5, -2.5, 3.0, -7.0, 1e-45, -1e-45, 1e-38, 3.4e38, -3.4e38,
    1e30, 16777216.0, 1e10, math.inf, -math.inf, math.nan,
]  # fmt: skip


def pairs() -> tuple[np.ndarray, np.ndarray]:
    """Every edge with every other, and random numbers of all sizes."""
    g = np.random.default_rng(0)
    x, y = (m.reshape(-1) for m in np.meshgrid(EDGES, EDGES))
    more = g.standard_normal((2, 4000)) * 10.0 ** g.uniform(-30, 30, (2, 4000))
    near = g.standard_normal((2, 4000)) * 100
    return tuple(
        np.concatenate(parts).astype(np.float32) for parts in zip((x, y), more, near, strict=True)
    )


def compiled(name: str, *operands: np.ndarray | int) -> np.ndarray:
    """The result once a program has been compiled."""
    given = [x if isinstance(x, int) else flambeau.from_numpy(x) for x in operands]
    call = getattr(flambeau, name, None) or getattr(flambeau.special, name)
    for _ in range(5):
        found = call(*given).numpy()
    return found


@pytest.mark.filterwarnings("ignore:(invalid value|divide by zero|overflow):RuntimeWarning")
@pytest.mark.parametrize(
    "name",
    ["fmod", "remainder", "floor_divide", "nextafter", "hypot", "maximum", "minimum", "fmax",
     "fmin", "copysign", "eq", "ne", "lt", "le", "gt", "ge"],
)  # fmt: skip
def test_functions_of_two_numbers(name: str) -> None:
    x, y = pairs()
    # One by one: PyTorch's vectors give NaN where a quotient overflows, its scalars the remainder.
    operands = zip(torch.from_numpy(x), torch.from_numpy(y), strict=True)
    expected = np.array([getattr(torch, name)(a, b).item() for a, b in operands], np.float32)
    found = compiled(name, x, y)
    if name == "hypot":
        np.testing.assert_allclose(found, expected, rtol=3e-7, atol=2e-45)
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore:(invalid value|divide by zero|overflow):RuntimeWarning")
@pytest.mark.parametrize("name", ["fmod", "remainder", "floor_divide", "hypot"])
def test_functions_of_two_doubles(name: str) -> None:
    """Of all sizes, subnormal ones too; remainders are exact however long the quotient."""
    edges = [*EDGES, 5e-324, -1.5e-323, 1e-308, 2.3e-308, 1e308, 1.7976931348623157e308, 2.0**53]
    g = np.random.default_rng(0)
    x, y = (m.reshape(-1) for m in np.meshgrid(edges, edges))
    a, b = 10.0 ** g.uniform(-323, 308, (2, 1500)) * g.choice([-1, 1], (2, 1500))
    near, ones = g.standard_normal((2, 1500))
    x = np.concatenate([x, a, a, near, ones * np.round(100 * near)])
    y = np.concatenate([y, b, a * 10.0 ** g.uniform(-20, 3, 1500), ones, ones])
    found = compiled(name, x, y)
    operands = zip(torch.from_numpy(x), torch.from_numpy(y), strict=True)
    theirs = np.array([getattr(torch, name)(p, q).item() for p, q in operands])
    if name == "hypot":
        np.testing.assert_allclose(found, theirs, rtol=3e-16, atol=5e-324)
    else:
        np.testing.assert_array_equal(found, theirs)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, -0.5, -1.0, -1.5, -2.0])
def test_powers(power: float) -> None:
    """Those with a rule of their own, and their neighbours."""
    x = np.concatenate([np.linspace(-3, 3, 25), [0.0, -0.0, math.inf, -math.inf, math.nan, 70.0]])
    x = x.astype(np.float32)
    for number in (power, int(power)) if power == int(power) else (power,):
        expected = (torch.from_numpy(x) ** number).numpy()
        for _ in range(5):
            found = flambeau.from_numpy(x) ** number
            np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64"]


@pytest.mark.parametrize("target", DTYPES)
@pytest.mark.parametrize("source", DTYPES)
def test_casts(source: str, target: str) -> None:
    if source.startswith("float"):
        x = np.array([0.0, 1.0, 2.5, 100.0, -0.5 if target == "uint8" else -100.0], source)
    else:
        low, high = (0, 1) if source == "bool" else (np.iinfo(source).min, np.iinfo(source).max)
        x = np.array([low, high, high // 2, high // 2 + 1, 0, 1], source)
    x = np.tile(x, 5)
    given = torch.from_numpy(x)
    kind = getattr(torch, target)
    expected = given.to(kind).numpy(), (given != 0).to(kind).numpy()
    for _ in range(5):
        given, kind = flambeau.from_numpy(x), getattr(flambeau, target)
        # One program: both are read when they are there.
        found = given.to(kind), (given != 0).to(kind)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours.numpy(), theirs)


@pytest.mark.parametrize("name", ["bitwise_left_shift", "bitwise_right_shift"])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int8, np.uint8])
def test_shifts(name: str, dtype: type) -> None:
    g = np.random.default_rng(0)
    x = g.integers(0 if dtype is np.uint8 else -100, 100, 999).astype(dtype)
    y = g.integers(0, np.iinfo(dtype).bits, 999).astype(dtype)
    expected = getattr(torch, name)(torch.from_numpy(x), torch.from_numpy(y)).numpy()
    np.testing.assert_array_equal(compiled(name, x, y), expected)


@pytest.mark.filterwarnings("ignore:(invalid value|divide by zero|overflow):RuntimeWarning")
@pytest.mark.parametrize(
    "name",
    ["lgamma", "digamma", "trigamma", "erfinv", "ndtr", "ndtri", "log_ndtr", "erfcx"],
)
def test_special_functions(name: str) -> None:
    """Within a few units of the last place of what float64 gives."""
    g = np.random.default_rng(0)
    parts = [
        EDGES,
        g.standard_normal(5000),
        g.uniform(-40, 40, 5000),
        10.0 ** g.uniform(-30, 30, 500),
    ]
    x = np.concatenate([*parts, 1 - 10.0 ** g.uniform(-8, 0, 500), g.random(3000)]).astype(
        np.float32
    )
    if name == "trigamma":
        # At its poles PyTorch squares the sine of a rounded multiple of pi.
        x = x[(x > 0) | (x != np.round(x))]
        found = [flambeau.special.polygamma(1, flambeau.from_numpy(x)).numpy() for _ in range(5)][
            -1
        ]
        oracle = torch.special.polygamma(1, torch.from_numpy(x).double())
    elif name == "ndtr":
        # PyTorch's own is 0 in the tail.
        found = compiled(name, x)
        oracle = torch.special.erfc(torch.from_numpy(x).double() * -math.sqrt(0.5)) / 2
    else:
        found = compiled(name, x)
        oracle = getattr(torch.special, {"lgamma": "gammaln"}.get(name, name))(
            torch.from_numpy(x).double()
        )
    expected = oracle.numpy().astype(np.float32)
    np.testing.assert_allclose(found, expected, rtol=5e-7, atol=2e-45)


@pytest.mark.filterwarnings("ignore:(invalid value|divide by zero|overflow):RuntimeWarning")
@pytest.mark.parametrize("order", [0, 1, 2, 3, 7, 15, 16])
def test_derivatives_of_digamma(order: int) -> None:
    """Those of every kernel, and the first that has none, beside PyTorch's in float64."""
    g = np.random.default_rng(0)
    parts = [EDGES, g.standard_normal(3000), g.uniform(-20, 40, 2000), 7 + g.random(50) * 2]
    x = np.concatenate([*parts, 10.0 ** g.uniform(-5, 5, 500)]).astype(np.float32)
    if order == 1:
        # At its poles PyTorch squares the sine of a rounded multiple of pi.
        x = x[(x > 0) | (x != np.round(x))]
    if order > 1:
        # There PyTorch has NaN, not the limit.
        x = x[x != math.inf]
    found = compiled("polygamma", order, x)
    oracle = torch.special.polygamma(order, torch.from_numpy(x).double()).numpy()
    # Above a pole PyTorch loses what its sum of few terms cancels.
    usual = (x > 0) | (x == np.round(x)) | np.isnan(x)
    expected = oracle.astype(np.float32)
    np.testing.assert_allclose(found[usual], expected[usual], rtol=5e-7, atol=2e-45)
    reference = gamma.polygamma64(x.astype(np.float64), order).astype(np.float32)
    finite = np.isfinite(x)
    np.testing.assert_allclose(found[finite], reference[finite], rtol=2e-7, atol=2e-45)


@pytest.mark.filterwarnings("ignore:(invalid value|divide by zero|overflow):RuntimeWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_entropies_and_log_odds(dtype: str) -> None:
    g = np.random.default_rng(0)
    x = np.concatenate([EDGES, g.random(2000), 1 - 10.0 ** g.uniform(-7, -1, 300)])
    x = x[abs(x) < 1e4] if dtype == "float16" else x
    given = torch.from_numpy(x).to(getattr(torch, dtype))
    for call in (
        lambda m, a: m.special.entr(a),
        lambda m, a: m.logit(a),
        # 1 - eps is a number of 16 bits, too: PyTorch rounds it to one.
        lambda m, a: m.logit(a, 2**-6),
        lambda m, a: m.logit(a, eps=0.25),
    ):
        ours = flambeau.from_numpy(given.double().numpy()).to(getattr(flambeau, dtype))
        for _ in range(5):
            found = call(flambeau, ours).double().numpy()
        units = {"float32": 5e-7, "float64": 1e-15, "float16": 1e-3, "bfloat16": 8e-3}[dtype]
        theirs = call(torch, given).double().numpy()
        # PyTorch rounds the odds to 16 bits on its way.
        atol = units / 8 if dtype.startswith("float") and dtype != "float16" else 2 * units
        np.testing.assert_allclose(found, theirs, rtol=units, atol=atol)
