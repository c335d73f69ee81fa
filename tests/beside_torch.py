"""Runs one expression in both libraries; compares values, dtypes, gradients of two orders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import flambeau


def names_of(library: Any, arrays: dict[str, np.ndarray], grad: bool) -> dict[str, Any]:
    """Arrays as the library's tensors; those of floating and complex dtypes require gradients."""
    found = {}
    for name, array in arrays.items():
        t = library.from_numpy(array.copy())
        found[name] = t.requires_grad_(True) if grad and array.dtype.kind in "fc" else t
    return found


def tensors_of(library: Any, result: Any) -> list[Any]:
    """The tensors of a result, in order."""
    if isinstance(result, library.Tensor):
        return [result]
    if isinstance(result, (list, tuple)):
        return [t for r in result for t in tensors_of(library, r)]
    return []


def evaluate(
    library: Any, call: str, arrays: dict[str, np.ndarray], grad: bool, second: bool
) -> tuple[list[Any], list[Any], list[Any]]:
    """(values, gradients, second gradients) of a call written with ``torch``."""
    names = names_of(library, arrays, grad)
    result = eval(call, {"torch": library, "inf": float("inf"), "nan": float("nan"), **names})
    outs = tensors_of(library, result)
    leaves = [t for t in names.values() if t.requires_grad]
    if not any(t.requires_grad for t in outs):
        return outs, [], []

    def weighted(ts: Any) -> Any:
        total = 0
        for i, t in enumerate(ts):
            if t is None or not t.requires_grad:
                continue
            rng = np.random.default_rng(i)
            w = rng.standard_normal(tuple(t.shape))
            if t.is_complex():
                w = w + 1j * rng.standard_normal(tuple(t.shape))
            product = t * library.from_numpy(np.asarray(w)).to(t.dtype)
            total = total + (product.real if t.is_complex() else product).sum()
        return total

    kwargs = {"create_graph": second, "allow_unused": True}
    first = library.autograd.grad(weighted(outs), leaves, **kwargs)
    again: tuple = ()
    if second:
        # The squares see to it that every leaf has a gradient, of linear functions too.
        squares = sum((t.real**2 if t.is_complex() else t * t).sum() for t in leaves)
        again = library.autograd.grad(squares + weighted(first), leaves)
    return outs, list(first), list(again)


def array_of(t: Any) -> np.ndarray | None:
    return None if t is None else np.array(t.detach().resolve_conj().numpy())


def compare(
    call: str,
    arrays: dict[str, np.ndarray],
    *,
    tolerance: float = 1e-7,
    grad: bool = True,
    second: bool = True,
) -> None:
    """Fails unless a call gives the same in both libraries."""
    theirs = evaluate(torch, call, arrays, grad, second)
    ours = evaluate(flambeau, call, arrays, grad, second)
    for what, a, b in zip(("value", "gradient", "second gradient"), ours, theirs, strict=True):
        assert len(a) == len(b), f"{what}: {len(a)} tensors, not {len(b)}"
        for x, y in zip(a, b, strict=True):
            if what == "value":
                assert str(x.dtype) == str(y.dtype), what
                assert tuple(x.shape) == tuple(y.shape), what
                assert x.requires_grad == y.requires_grad, what
            p, q = array_of(x), array_of(y)
            if p is None or q is None:
                # No gradient and one of zeros are the same.
                known = p if q is None else q
                assert known is None or not known.any(), what
                continue
            np.testing.assert_allclose(p, q, rtol=tolerance, atol=tolerance, err_msg=what)


def message(library: Any, call: str) -> tuple[list[str], str]:
    """The names of the builtin errors that a call's error is, and what it says."""
    try:
        eval(call, {"torch": library})
    except Exception as e:
        return [k.__name__ for k in type(e).__mro__ if k.__module__ == "builtins"], str(e)
    raise AssertionError(f"{library.__name__}: {call} raised nothing")


def same_refusal(call: str) -> None:
    """Fails unless both libraries refuse a call by the same error, whose first line is the same."""
    kinds, text = message(torch, call)
    ours, said = message(flambeau, call)
    assert ours[0] == kinds[0]
    assert said.split("\n")[0] == text.split("\n")[0]


@pytest.fixture
def validating() -> Iterator[None]:
    """Importing `torch.compile` anywhere turns PyTorch's validation off for the whole process."""
    kind, before = torch.distributions.Distribution, torch.distributions.Distribution._validate_args
    kind.set_default_validate_args(True)
    yield
    kind.set_default_validate_args(before)
