"""``torch.testing``: comparing tensors, and making them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from flambeau.device import device
from flambeau.dtypes import dtype
from flambeau.functions.creation import empty
from flambeau.functions.random import randint
from flambeau.tensor import Tensor

__all__ = ["assert_allclose", "assert_close", "make_tensor"]

# rtol and atol by dtype; integers and booleans must be equal.
_TOLERANCES = {
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
    "complex64": (1.3e-6, 1e-5),
    "complex128": (1e-7, 1e-7),
}


@dataclass(frozen=True)
class _Rules:
    rtol: float | None
    atol: float | None
    equal_nan: bool
    check_device: bool
    check_dtype: bool
    check_layout: bool
    check_stride: bool
    allow_subclasses: bool
    place: tuple[Any, ...] = ()

    def tolerances(self, *names: str) -> tuple[float, float]:
        if self.rtol is not None and self.atol is not None:
            return self.rtol, self.atol
        known = [_TOLERANCES.get(name, (0.0, 0.0)) for name in names]
        return max(r for r, _ in known), max(a for _, a in known)


class _Mismatch(Exception):
    """What is different, and where in a nested structure."""

    def __init__(self, message: str, rules: _Rules) -> None:
        place = "".join(f"[{key!r}]" for key in rules.place)
        super().__init__(message + (f"\n\nThe failure occurred for item {place}" if place else ""))


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    r"""Checks that tensors or numbers are close, also inside sequences and mappings.

    .. math:: |actual - expected| \le atol + rtol \cdot |expected|

    The tolerances follow from the dtype (1.3e-6 and 1e-5 for float32) unless both are given.

    Raises: ``AssertionError`` saying what differs and where; ``ValueError`` for one tolerance
    without the other; ``TypeError`` for values that cannot be compared.

    >>> torch.testing.assert_close(tensor([1.0, 2.0]), tensor([1.0, 2.0 + 1e-6]))
    """
    if (rtol is None) is not (atol is None):
        absent = "atol" if atol is None else "rtol"
        raise ValueError(
            f"Both 'rtol' and 'atol' must be either specified or omitted, but got no {absent}."
        )
    rules = _Rules(
        rtol,
        atol,
        equal_nan,
        check_device,
        check_dtype,
        check_layout,
        check_stride,
        allow_subclasses,
    )
    try:
        _compare(actual, expected, rules)
    except _Mismatch as mismatch:
        text = str(mismatch)
        if msg is not None:
            text = msg(text) if callable(msg) else msg
        raise AssertionError(text) from None


def assert_allclose(
    actual: Any,
    expected: Any,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = True,
    msg: str = "",
) -> None:
    """The older form of :func:`assert_close`, which compares across dtypes and devices."""
    warnings.warn(
        "`torch.testing.assert_allclose()` is deprecated since 1.12. Please use "
        "`torch.testing.assert_close()` instead.",
        FutureWarning,
        stacklevel=2,
    )
    actual = actual if isinstance(actual, Tensor) else _tensor(actual)
    expected = expected if isinstance(expected, Tensor) else _tensor(expected, actual.dtype)
    if rtol is None and atol is None:
        pairs = [_TOLERANCES.get(t.dtype.name, (0.0, 0.0)) for t in (actual, expected)]
        rtol, atol = max(r for r, _ in pairs), max(a for _, a in pairs)
    assert_close(
        actual,
        expected,
        rtol=rtol,
        atol=atol,
        equal_nan=equal_nan,
        check_device=True,
        check_dtype=False,
        check_stride=False,
        msg=msg or None,
    )


def _tensor(value: Any, dtype: dtype | None = None) -> Tensor:
    from flambeau.functions.creation import tensor

    return tensor(value, dtype=dtype)


def _compare(actual: Any, expected: Any, rules: _Rules) -> None:
    if isinstance(actual, Tensor) and isinstance(expected, Tensor):
        related = isinstance(actual, type(expected)) or isinstance(expected, type(actual))
        if not (related if rules.allow_subclasses else type(actual) is type(expected)):
            _refuse(actual, expected)
        _compare_tensors(actual, expected, rules)
    elif isinstance(actual, np.ndarray | np.generic) and isinstance(
        expected, np.ndarray | np.generic
    ):
        _compare_tensors(_tensor(actual), _tensor(expected), rules)
    elif isinstance(actual, bool) and isinstance(expected, bool):
        if actual is not expected:
            raise _Mismatch(f"Booleans mismatch: {actual} is not {expected}", rules)
    elif _is_number(actual) and _is_number(expected):
        if type(actual) is not type(expected) and rules.check_dtype:
            raise _Mismatch(
                f"The (d)types do not match: {type(actual)} != {type(expected)}.", rules
            )
        names = (_NUMBERS[type(actual)], _NUMBERS[type(expected)])
        _compare_scalars(actual, expected, rules, *rules.tolerances(*names))
    elif actual is None and expected is None:
        return
    elif _is_sequence(actual) and _is_sequence(expected):
        if len(actual) != len(expected):
            raise _Mismatch(
                f"The length of the sequences mismatch: {len(actual)} != {len(expected)}", rules
            )
        for index, (one, other) in enumerate(zip(actual, expected)):
            _compare(one, other, replace(rules, place=(*rules.place, index)))
    elif isinstance(actual, Mapping) and isinstance(expected, Mapping):
        _compare_keys(actual, expected, rules)
        for key in actual:
            _compare(actual[key], expected[key], replace(rules, place=(*rules.place, key)))
    else:
        _refuse(actual, expected)


def _refuse(actual: Any, expected: Any) -> None:
    raise TypeError(
        f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}."
    )


_NUMBERS = {int: "int64", float: "float64", complex: "complex128", bool: "bool"}


def _is_number(value: Any) -> bool:
    return type(value) in _NUMBERS


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _compare_keys(actual: Mapping, expected: Mapping, rules: _Rules) -> None:
    missing = [key for key in expected if key not in actual]
    additional = [key for key in actual if key not in expected]
    if missing or additional:
        raise _Mismatch(
            "The keys of the mappings do not match:\n"
            f"Missing keys in the actual mapping: {sorted(missing, key=repr)}\n"
            f"Additional keys in the actual mapping: {sorted(additional, key=repr)}",
            rules,
        )


def _compare_tensors(actual: Tensor, expected: Tensor, rules: _Rules) -> None:
    for name, wanted in (
        ("shape", True),
        ("device", rules.check_device),
        ("dtype", rules.check_dtype),
        ("stride()", rules.check_stride),
    ):
        ours, theirs = (_attribute(value, name) for value in (actual, expected))
        if wanted and ours != theirs:
            raise _Mismatch(
                f"The values for attribute '{name}' do not match: {ours} != {theirs}.", rules
            )
    if actual.layout is not expected.layout and rules.check_layout:
        raise _Mismatch(
            "The values for attribute 'layout' do not match: "
            f"{actual.layout} != {expected.layout}.",
            rules,
        )
    actual, expected = (value.to_dense() for value in (actual, expected))
    rtol, atol = rules.tolerances(actual.dtype.name, expected.dtype.name)
    a, b = (_exact(value) for value in (actual, expected))
    if a.ndim == 0:
        _compare_scalars(a.item(), b.item(), rules, rtol, atol)
        return
    close = np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=rules.equal_nan)
    if close.all():
        return
    raise _Mismatch(_describe(a, b, ~close, rtol, atol), rules)


def _attribute(value: Tensor, name: str) -> Any:
    return value.stride() if name == "stride()" else getattr(value, name)


def _exact(value: Tensor) -> np.ndarray:
    """The values in a NumPy type that subtracts them without overflow."""
    array = np.asarray(value.detach().numpy())
    if value.dtype.is_complex:
        return array
    if value.dtype.is_floating_point:
        # Single precision stays, so that the differences print as PyTorch's.
        return array if value.dtype.itemsize >= 4 else array.astype(np.float32)
    return array.astype(np.int64)


def _describe(a: np.ndarray, b: np.ndarray, wrong: np.ndarray, rtol: float, atol: float) -> str:
    with np.errstate(all="ignore"):
        absolute = np.abs(a - b)
        relative = absolute / np.abs(b)
    if absolute.dtype.kind in "iu":
        relative = relative.astype(np.float32)  # the default type, as a quotient of integers has
    # Elements that match count as no difference, also where both are infinite or NaN.
    absolute[~wrong], relative[~wrong] = 0.0, 0.0
    close = "close" if rtol or atol else "equal"
    limits = [f" (up to {limit} allowed)" if rtol or atol else "" for limit in (atol, rtol)]
    lines = [
        f"Tensor-likes are not {close}!",
        "",
        f"Mismatched elements: {wrong.sum()} / {wrong.size} ({wrong.mean():.1%})",
        _greatest("absolute", absolute) + limits[0],
        _greatest("relative", relative) + limits[1],
    ]
    return "\n".join(lines)


def _greatest(name: str, differences: np.ndarray) -> str:
    flat = int(np.argmax(differences))
    place = tuple(int(i) for i in np.unravel_index(flat, differences.shape))
    return f"Greatest {name} difference: {differences.flat[flat].item()} at index {place}"


def _compare_scalars(actual: Any, expected: Any, rules: _Rules, rtol: float, atol: float) -> None:
    difference = abs(actual - expected)
    if actual == expected or (rules.equal_nan and actual != actual and expected != expected):
        return
    if math.isfinite(difference) and difference <= atol + rtol * abs(expected):
        return
    close = "close" if rtol or atol else "equal"
    relative = difference / abs(expected) if expected != 0 else float("inf")
    allowed = [f" (up to {limit} allowed)" if rtol or atol else "" for limit in (atol, rtol)]
    raise _Mismatch(
        f"Scalars are not {close}!\n\nExpected {expected} but got {actual}.\n"
        f"Absolute difference: {difference}{allowed[0]}\n"
        f"Relative difference: {relative}{allowed[1]}",
        rules,
    )


def make_tensor(
    *shape: int | Sequence[int],
    dtype: dtype,
    device: str | device,
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """A tensor of random values, uniform in [low, high).

    By default the range is [-9, 9) for floating and complex types, [-9, 10) for signed integers,
    [0, 10) for uint8 and [0, 2) for bool. ``exclude_zero`` moves zeros to the smallest positive
    number; ``noncontiguous`` gives every second element of a larger tensor.

    Raises: ``ValueError`` if ``low`` is not below ``high``.
    """
    sizes = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    floating = dtype.is_floating_point or dtype.is_complex
    default_low, default_high = _range(dtype)
    low = default_low if low is None else low
    high = default_high if high is None else high
    if low >= high:
        raise ValueError(f"`low` must be less than `high`, but got {low} >= {high}")
    spread = noncontiguous and math.prod(sizes) > 1
    drawn = (*sizes[:-1], 2 * sizes[-1]) if spread else sizes
    if floating:
        real = dtype.to_real() if dtype.is_complex else dtype
        parts = (*drawn, 2) if dtype.is_complex else drawn
        values = empty(parts, dtype=real, device=device).uniform_(low, high)
        if dtype.is_complex:
            from flambeau.functions.complex import view_as_complex

            values = view_as_complex(values)
    else:
        if not dtype.is_signed:
            low = max(low, 0)
        values = randint(math.floor(low), math.ceil(high), drawn, device=device).to(dtype)
    if spread:
        values = values[..., 1::2]
    if exclude_zero:
        smallest = float(np.finfo(np.float32).tiny) if floating else 1
        values[values == 0] = smallest
    return values.detach().requires_grad_(requires_grad) if requires_grad else values


def _range(dtype: dtype) -> tuple[float, float]:
    if dtype.is_floating_point or dtype.is_complex:
        return -9.0, 9.0
    if dtype.name == "bool":
        return 0, 2
    return (-9, 10) if dtype.is_signed else (0, 10)
