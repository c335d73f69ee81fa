"""Scenarios that are run in PyTorch and here, and their outcomes compared."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import flambeau


class Scenarios(dict):
    """Functions of the package, by name; used as a decorator it adds one."""

    def __call__(self, f: Callable) -> Callable:
        self[f.__name__] = f
        return f


def plain(x: Any) -> Any:
    """A result as Python data, the same for both frameworks."""
    if hasattr(x, "detach"):
        return ("tensor", tuple(x.shape), str(x.dtype), x.requires_grad, x.detach().tolist())
    if isinstance(x, (tuple, list)):
        return [plain(y) for y in x]
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    return x


def outcome(f: Callable, m: Any) -> tuple:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return "gives", plain(f(m))
        except Exception as e:
            return "raises", e


def close(a: Any, b: Any) -> None:
    assert type(a) is type(b), (a, b)
    if isinstance(a, (tuple, list)):
        assert len(a) == len(b), (a, b)
        for x, y in zip(a, b, strict=True):
            close(x, y)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for k in a:
            close(a[k], b[k])
    elif isinstance(a, float):
        np.testing.assert_allclose(a, b, 1e-5, 1e-6)
    else:
        assert a == b


def leaf(m: Any, *values: float, dtype: str = "float32") -> Any:
    return m.tensor(list(values), dtype=getattr(m, dtype), requires_grad=True)


def compare(f: Callable) -> None:
    """Runs a scenario in both; it has to give, or raise, the same."""
    kind, want = outcome(f, torch)
    got_kind, got = outcome(f, flambeau)
    if got_kind == "raises" and kind != "raises":
        raise got
    assert got_kind == kind, (got, want)
    if kind == "raises":
        assert isinstance(got, type(want)), (got, want)
        assert str(want)[:24].lower() == str(got)[:24].lower() or str(want)[:24] in str(got)
    else:
        close(got, want)
