"""The vectorised elementary functions: accuracy, special values, lanes, targets."""

from __future__ import annotations

import ctypes
import math
import re
import zlib
from functools import cache
from typing import TYPE_CHECKING, Any

import llvmlite.binding as llvm
import mpmath
import numpy as np
import pytest
import scipy.special
import torch

from flambeau.run.compiler.emit import Function, vector
from flambeau.run.compiler.vector_math import FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

TWO = ("atan2", "logaddexp", "logaddexp2", "pow", "xlog1py", "xlogy")
ONE = tuple(name for name in FUNCTIONS if name not in TWO)
ELEMENTS = {"float": np.float32, "double": np.float64}
SPECIALS = [0.0, 1.0, 0.5, 1.5, 2.0, 3.0, 10.0, 1e3, 2.0**24 + 2, 1e30, math.inf]
SPECIALS = [*SPECIALS, *(-x for x in SPECIALS), math.nan]
_alive: list[Any] = []


def text(name: str, element: str, lanes: int) -> str:
    """A kernel: the function of each element of arrays."""
    f = Function("kernel")
    ty = vector(lanes, element)
    pointers = [f.pointer(i) for i in range(3 if name in TWO else 2)]
    with f.loop("%begin", "%end", str(lanes)) as loop:
        *given, out = (f.element(p, element, loop.index) for p in pointers)
        operands = [f.load(ty, p) for p in given]
        f.store(ty, FUNCTIONS[name](f, lanes, element, *operands), out)
    return f.finish()


@cache
def compiled(name: str, element: str, lanes: int) -> Callable[..., None]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(text(name, element, lanes))
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=2,
        codemodel="jitdefault",
    )
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    _alive.append(engine)
    number = ctypes.c_int64
    prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p, number, number, ctypes.c_void_p)
    return prototype(engine.get_function_address("kernel"))


def run(name: str, element: str, *given: NDArray[Any], lanes: int | None = None) -> NDArray[Any]:
    """The function, element by element, in vectors of 64 bytes unless told otherwise."""
    dtype = ELEMENTS[element]
    lanes = lanes or 64 // np.dtype(dtype).itemsize
    size = len(given[0])
    arrays = [np.concatenate([x, np.ones(-size % lanes, dtype)]).astype(dtype) for x in given]
    arrays.append(np.empty_like(arrays[0]))
    table = (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
    compiled(name, element, lanes)(ctypes.addressof(table), 0, len(arrays[0]), None)
    return arrays[-1][:size]


def numbers(element: str, count: int, name: str) -> NDArray[Any]:
    """Evenly spaced over all bit patterns, and as many near 1 and 0 and of common sizes."""
    dtype = ELEMENTS[element]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    integer, bits = (np.uint32, 32) if element == "float" else (np.uint64, 64)
    step = 2**bits // count
    places = np.arange(count, dtype=integer) * integer(step)
    every = (places + rng.integers(0, step, count, dtype=integer)).view(dtype)
    every[np.isnan(every)] = math.nan  # NumPy warns of casts of signalling ones
    normal = rng.normal(size=count).astype(dtype)
    scales = np.array([1, 1, 10, 100, 1e-3], dtype)[rng.integers(0, 5, count)]
    near_one = 1 + normal[: count // 4] * dtype(1e-3)
    return np.concatenate([np.array(SPECIALS, dtype), every, normal * scales, near_one])


def pairs(element: str, count: int, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """All pairs of special values, random ones, and such as have powers of middling size."""
    dtype = ELEMENTS[element]
    rng = np.random.default_rng(zlib.crc32(name.encode()) + 1)
    x, y = (a.ravel() for a in np.meshgrid(np.array(SPECIALS, dtype), np.array(SPECIALS, dtype)))
    bases = np.exp(rng.normal(size=count) * 3).astype(dtype)
    bases[::5] = 1 + rng.normal(size=len(bases[::5])) * 1e-2
    exponents = (rng.normal(size=count) * 10.0 ** rng.integers(0, 4, count)).astype(dtype)
    exponents[::3] = np.round(exponents[::3])
    bases[::6] *= -1
    every = numbers(element, count, name)
    return (
        np.concatenate([x, every, bases]),
        np.concatenate([y, rng.permutation(every), exponents]),
    )


def errors(found: NDArray[Any], wanted: NDArray[Any]) -> NDArray[Any]:
    """In units of the last place of what was wanted; an infinity is as the number after the last.

    ``wanted`` is of a wider type, or holds numbers already rounded.
    """
    limits, wide = np.finfo(found.dtype), wanted.dtype.type
    beyond = np.ldexp(wide(1), limits.maxexp) if wide != found.dtype else wide(math.inf)
    with np.errstate(all="ignore"):
        rounded = np.abs(wanted.astype(found.dtype))
        unit = np.spacing(np.minimum(rounded, limits.max)).astype(wide)
        value = np.clip(found.astype(wide), -beyond, beyond)
        error = np.abs(value - np.clip(wanted, -beyond, beyond)) / unit
        error = np.where(found == wanted, 0, error)
    nan = np.isnan(wanted)
    return np.where(nan | np.isnan(found), np.where(nan == np.isnan(found), 0, math.inf), error)


def worst(name: str, found: NDArray[Any], wanted: NDArray[Any], *given: NDArray[Any]) -> None:
    """Fails with the worst case where that is off by more than 4 units."""
    error = errors(found, wanted)
    if name in ("logaddexp", "logaddexp2"):
        # terms that cancel: in units of the greater argument, or of 1
        with np.errstate(all="ignore"):
            size = np.abs(np.maximum(*given)).astype(found.dtype)
            unit = np.spacing(np.where(np.isfinite(size), np.maximum(size, 1), 1))
            relaxed = np.abs(found - wanted) / unit
        error = np.where(
            np.isfinite(found) & np.isfinite(wanted), np.minimum(error, relaxed), error
        )
    at = int(np.argmax(error))
    case = [float(x[at]) for x in given]
    assert error[at] <= 4, f"{name}{case}: {found[at]!r}, not {wanted[at]!r}: {error[at]} ulp"


NUMPY: dict[str, Callable[..., NDArray[Any]]] = {
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "atanh": np.arctanh,
    "erf": scipy.special.erf,
    "erfc": scipy.special.erfc,
    "pow": np.power,
    "reciprocal": lambda x: 1 / x,
    "rsqrt": lambda x: 1 / np.sqrt(np.where(x == 0, np.copysign(0, x), x)),
    "sigmoid": scipy.special.expit,
    "softplus": lambda x: np.logaddexp(x, 0),
    "xlog1py": lambda x, y: np.where((x == 0) & ~np.isnan(y), 0, x * np.log1p(y)),
    "xlogy": lambda x, y: np.where((x == 0) & ~np.isnan(y), 0, x * np.log(y)),
}


def in_numpy(name: str, *given: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(all="ignore"):
        return np.asarray((NUMPY.get(name) or getattr(np, name))(*given))


@pytest.mark.parametrize("name", ONE)
def test_singles(name: str) -> None:
    x = numbers("float", 2**18 + 1, name)
    worst(name, run(name, "float", x), in_numpy(name, x.astype(np.float64)), x)


@pytest.mark.parametrize("name", TWO)
def test_singles_of_two(name: str) -> None:
    x, y = pairs("float", 2**16 + 1, name)
    wanted = in_numpy(name, x.astype(np.float64), y.astype(np.float64))
    worst(name, run(name, "float", x, y), wanted, x, y)


MPMATH: dict[str, Callable[..., Any]] = {
    "log2": lambda x: mpmath.log(x) / mpmath.log(2),
    "logaddexp": lambda x, y: max(x, y) + mpmath.log1p(mpmath.exp(-abs(x - y))),
    "logaddexp2": lambda x, y: max(x, y) + mpmath.log1p(2 ** -abs(x - y)) / mpmath.log(2),
    "exp2": lambda x: mpmath.mpf(2) ** x,
    "pow": lambda x, y: x**y,
    "reciprocal": lambda x: 1 / x,
    "rsqrt": lambda x: 1 / mpmath.sqrt(x),
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "xlog1py": lambda x, y: x * mpmath.log1p(y) if x else x,
    "xlogy": lambda x, y: x * mpmath.log(y) if x else x,
}


def exact_error(found: float, wanted: Any) -> float:
    """|found - wanted| in units of the last place of a double, wanted being of any precision."""
    if abs(wanted) >= mpmath.mpf(2) ** 1024:
        return 0 if found == math.copysign(math.inf, wanted) else math.inf
    unit = math.ulp(float(wanted))
    value = mpmath.mpf(2) ** 1024 if math.isinf(found) else mpmath.mpf(abs(found))
    same = found == 0 or (found < 0) == (wanted < 0)
    return float(abs((value if same else -value) - abs(wanted)) / unit)


EXPONENTIALS = (
    "cosh",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "sigmoid",
    "sinh",
    "softplus",
    "tanh",
)


def within_reach(name: str, at: list[float]) -> bool:
    """Whether mpmath can tell: where the result's exponent has few digits."""
    if name in EXPONENTIALS:
        return abs(at[0]) < 1e4
    if name in ("logaddexp", "logaddexp2"):
        return abs(at[0] - at[1]) < 1e4
    if name == "pow":
        return at[0] != 0 and abs(at[1] * math.log2(abs(at[0]))) < 1e5
    if name == "atan2":  # whose zeros have signs
        return 0 not in at
    return True


def true_value(name: str, at: list[float]) -> Any:
    """Of mpmath, None at a pole; the caller sets the precision."""
    function = MPMATH.get(name) or getattr(mpmath, name)
    try:
        value = function(*map(mpmath.mpf, at))
    except (ZeroDivisionError, ValueError):
        return None
    return value if isinstance(value, mpmath.mpc) or mpmath.isfinite(value) else None


@pytest.mark.parametrize("name", FUNCTIONS)
def test_doubles(name: str) -> None:
    given = pairs("double", 200, name) if name in TWO else (numbers("double", 300, name),)
    results = run(name, "double", *given).tolist()
    tried = 0
    for result, *at in zip(results, *(x.tolist() for x in given), strict=True):
        if not all(map(math.isfinite, at)) or not within_reach(name, at):
            continue
        # a period's share of 2**1023 is told by its last bits
        with mpmath.workprec(1400 if name in ("sin", "cos", "tan") else 300):
            wanted = true_value(name, at)
            if wanted is None:
                continue
            tried += 1
            if isinstance(wanted, mpmath.mpc):
                assert math.isnan(result), (name, at, result)
                continue
            error = exact_error(result, wanted)
            if name.startswith("logadd"):
                unit = math.ulp(max(1.0, *map(abs, at)))
                error = min(error, float(abs(result - wanted) / unit))
        assert error <= 4, f"{name}{at}: {result!r}, not {wanted}: {error} ulp"
    assert tried > 150


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values_are_those_of_torch(name: str, element: str) -> None:
    dtype = ELEMENTS[element]
    limits = np.finfo(dtype)
    values = np.array([*SPECIALS, limits.max, -limits.max, limits.tiny, -limits.tiny], dtype)
    given = [values]
    if name in TWO:
        given = [a.ravel() for a in np.meshgrid(values, values)]
    tensors = [torch.from_numpy(x) for x in given]
    functions = {"softplus": torch.nn.functional.softplus, "xlog1py": torch.special.xlog1py}
    wanted = (functions.get(name) or getattr(torch, name))(*tensors).numpy()
    found = run(name, element, *given)
    for result, other, *at in zip(found, wanted, *given, strict=True):
        for special in (np.isnan, np.isinf):
            assert special(result) == special(other), (name, at, result, other)
        if np.isinf(result) or (result == 0 and other == 0):
            assert np.signbit(result) == np.signbit(other), (name, at, result, other)


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_lanes_change_no_bit(name: str, element: str) -> None:
    given = pairs(element, 500, name) if name in TWO else (numbers(element, 2000, name),)
    integer = np.uint32 if element == "float" else np.uint64
    results = []
    for lanes in (1, 8, 16):
        result = run(name, element, *given, lanes=lanes)
        result[np.isnan(result)] = math.nan
        results.append(result.view(integer))
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_powers_of_two_are_exact() -> None:
    whole = np.arange(-149, 128).astype(np.float32)
    powers = np.ldexp(np.float32(1), whole.astype(np.int32)).astype(np.float32)
    assert np.array_equal(run("exp2", "float", whole), powers)
    assert np.array_equal(run("log2", "float", powers), whole)
    assert np.array_equal(run("pow", "float", np.full_like(whole, 2), whole), powers)


TARGETS = [
    ("aarch64-linux-gnu", "", "+neon", 16),
    ("x86_64-unknown-linux-gnu", "haswell", "", 16),
    ("x86_64-unknown-linux-gnu", "haswell", "", 32),
    ("x86_64-unknown-linux-gnu", "x86-64-v4", "", 64),
]


@pytest.mark.parametrize(("triple", "cpu", "features", "size"), TARGETS)
def test_other_processors_need_no_library(triple: str, cpu: str, features: str, size: int) -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(triple)
    machine = target.create_target_machine(cpu=cpu, features=features, opt=2)
    for element, dtype in ELEMENTS.items():
        for name in FUNCTIONS:
            lanes = size // np.dtype(dtype).itemsize
            module = llvm.parse_assembly(text(name, element, lanes))
            module.triple = triple
            assembly = machine.emit_assembly(module)
            assert not re.search(r"(?m)^\s+(call|blr?\s)", assembly), (name, element)
            assert machine.emit_object(module)
