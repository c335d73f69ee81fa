"""A call in either library, and all that can be seen of its result."""

from __future__ import annotations

import functools
import importlib
import math
import re
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import flambeau

LIBRARIES = (torch, flambeau)


@dataclass(frozen=True)
class Seen:
    """A tensor's values and what else can be told of it."""

    array: np.ndarray
    dtype: str
    requires_grad: bool
    layout: str


@contextmanager
def quiet() -> Iterator[None]:
    """What PyTorch warns of is no matter of these tests."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def find(library: Any, path: str) -> Any:
    """``library.path``; submodules are imported where it needs that."""
    found = library
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            if not isinstance(found, types.ModuleType):
                raise
            try:
                found = importlib.import_module(f"{found.__name__}.{part}")
            except ModuleNotFoundError:
                raise AttributeError(f"{library.__name__} has no {path}") from None
    return found


def target(library: Any, path: str) -> Callable:
    """What a name stands for; an attribute of tensors is a function of the tensor."""
    found = find(library, path)
    if path.startswith("Tensor.") and not callable(getattr(torch.Tensor, path[7:])):
        return lambda t: getattr(t, path[7:])
    return found


def namespace(library: Any, operands: Mapping[str, Any]) -> dict[str, Any]:
    """The names that a sample may use."""
    return {
        "torch": library,
        "nn": library.nn,
        "F": library.nn.functional,
        "np": np,
        "math": math,
        "inf": math.inf,
        "nan": math.nan,
        **operands,
    }


def seed(library: Any, number: int) -> None:
    """``manual_seed``; PyTorch's own looks for other devices each time."""
    seeding = torch.default_generator if library is torch else library
    seeding.manual_seed(number)


def name_of(dtype: Any) -> str:
    return str(dtype).rpartition(".")[2].rstrip("'>")


def array_of(library: Any, t: Any) -> np.ndarray:
    """A tensor's values; what NumPy has no numbers for as wider ones."""
    t = t.detach()
    if name_of(getattr(t, "layout", "strided")) != "strided":
        t = t.to_dense()
    if name_of(t.dtype) == "bfloat16":
        t = t.float()
    array = np.array(t.numpy(force=True))
    # PyTorch leaves other bytes than 0 and 1 in some.
    return array.view(np.uint8) != 0 if array.dtype == bool else array


def flat(library: Any, result: Any) -> list[Any]:
    """The tensors of a result, in order."""
    if isinstance(result, library.Tensor):
        return [result]
    if isinstance(result, Mapping):
        result = list(result.values())
    if isinstance(result, (list, tuple)):
        return [t for r in result for t in flat(library, r)]
    return []


def seen(library: Any, result: Any) -> Any:
    """A result in terms that are no library's: what two of them have alike must be equal."""
    if isinstance(result, library.Tensor):
        return Seen(
            array_of(library, result),
            name_of(result.dtype),
            bool(result.requires_grad),
            name_of(result.layout),
        )
    if isinstance(result, library.nn.Module):
        return {"": repr(result), **{k: seen(library, v) for k, v in result.state_dict().items()}}
    if result is None or isinstance(result, (bool, int, float, complex, str)):
        return result
    if isinstance(result, Mapping):
        return {str(k): seen(library, v) for k, v in result.items()}
    if isinstance(result, (list, tuple)):
        parts: list[Any] = [seen(library, r) for r in result]
        return {"": type(result).__name__.removesuffix("_out"), **dict(enumerate(parts))}
    if isinstance(result, (np.ndarray, np.generic)):
        return Seen(np.asarray(result), str(result.dtype), False, "numpy")
    if isinstance(result, types.GeneratorType) or type(result).__name__.endswith("iterator"):
        return {"": "iterator", **{str(i): seen(library, r) for i, r in enumerate(result)}}
    if isinstance(result, (types.FunctionType, types.BuiltinFunctionType, functools.partial)):
        return "a function"
    # Objects that print their address have nothing else to show.
    return re.sub(r" at 0x[0-9a-f]+", "", str(result)).replace("flambeau.", "torch.")


def differentiable(t: Any) -> bool:
    return t.requires_grad and (t.is_floating_point() or t.is_complex())


def cotangents(library: Any, tensors: Sequence[Any], seed: int) -> list[Any]:
    """Random values like these tensors, the same in both libraries."""
    rng = np.random.default_rng(seed)
    found = []
    for t in tensors:
        w = rng.standard_normal(tuple(t.shape))
        if t.is_complex():
            w = w + 1j * rng.standard_normal(tuple(t.shape))
        found.append(library.from_numpy(np.asarray(w)).to(t.dtype))
    return found


def gradients(
    library: Any, result: Any, leaves: Sequence[Any], again: bool, retain: bool | None = None
) -> tuple[list[Any], list[Any], Exception | None]:
    """Gradients of the leaves, and those of the gradients, as arrays; None where there is none.

    The third is what the second gradients raised: not every gradient can be differentiated.
    """
    outs = [t for t in flat(library, result) if differentiable(t)]
    if not outs or not leaves:
        return [], [], None
    weights = cotangents(library, outs, 1)
    first = library.autograd.grad(
        outs, leaves, weights, retain_graph=retain, create_graph=again, allow_unused=True
    )
    second: Sequence[Any] = []
    failure = None
    kept = [g for g in first if g is not None and g.requires_grad]
    if again and kept:
        try:
            weights = cotangents(library, kept, 2)
            second = library.autograd.grad(kept, leaves, weights, allow_unused=True)
        except (NotImplementedError, RuntimeError) as e:
            failure = e
    arrays = [
        [None if g is None else array_of(library, g) for g in found] for found in (first, second)
    ]
    return arrays[0], arrays[1], failure
