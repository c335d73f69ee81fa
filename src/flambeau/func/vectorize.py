"""``vmap``: a function of one example, applied to a batch."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import flambeau  # upward: stacks with the public function
from flambeau.func.tree import broadcast, flatten, unflatten
from flambeau.random import get_rng_state, set_rng_state
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["functionalize", "vmap"]


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that applies ``func`` to each slice of its arguments and stacks the results.

    ``in_dims`` says which dimension of each argument is the batch (None: the whole argument goes
    to every call), ``out_dims`` where it goes in the results; both may be structures. The slices
    are computed one after the other, and recorded as one program; ``chunk_size`` changes nothing.
    ``randomness``: "error" refuses random draws in ``func``, "different" has every slice draw
    anew, "same" gives all slices the same numbers.

    Raises: ``ValueError`` for dimensions that do not fit the arguments or their sizes that differ,
    ``RuntimeError`` for random draws where they are refused.

    >>> torch.vmap(torch.dot)(torch.ones(2, 3), torch.ones(2, 3))
    tensor([3., 3.])
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(
            "Only allowed values for randomness are 'error', 'different', or 'same'. Got "
            f"{randomness}"
        )
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        values, structure = flatten(args)
        dims = _in_dims(in_dims, args, values, func)
        size = _size(values, dims)
        outs: list[list[Any]] = []
        out_structure = None
        start = get_rng_state() if randomness != "different" else None
        for i in range(size):
            if randomness == "same" and i:
                set_rng_state(start)
            given = [v if d is None else v.select(d, i) for v, d in zip(values, dims, strict=True)]
            out = func(*unflatten(given, structure), **kwargs)
            if randomness == "error" and i == 0:
                _refuse_random(start)
            leaves, out_structure = flatten(out)
            for leaf in leaves:
                if not isinstance(leaf, Tensor):
                    raise ValueError(
                        f"vmap({_name(func)}, ...): `{_name(func)}` must only return Tensors, got "
                        f"type {type(leaf)}. Did you mean to set out_dims= to None for output?"
                    )
            outs.append(leaves)
        if not outs:
            raise ValueError("vmap: a batch of size 0 has no slice to learn the results from")
        places = _out_dims(out_dims, out_structure, len(outs[0]))
        results = []
        for column, place in zip(zip(*outs, strict=True), places, strict=True):
            if place is None:
                results.append(column[0])
                continue
            ndim = column[0].dim() + 1
            if not -ndim <= place < ndim:
                raise IndexError(
                    f"Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], "
                    f"but got {place})"
                )
            results.append(flambeau.stack(list(column), place))
        return unflatten(results, out_structure)

    return wrapped


def _name(func: Any) -> str:
    return getattr(func, "__name__", repr(func))


def _refuse_random(before: Tensor | None) -> None:
    if before is not None and get_rng_state().tolist() != before.tolist():
        raise RuntimeError(
            "vmap: called random operation while in randomness error mode. Please either use the "
            "'same' or 'different' randomness flags on vmap or perform the randomness operation "
            "out of vmap"
        )


def _in_dims(in_dims: Any, args: tuple, values: list[Any], func: Any) -> list[int | None]:
    """For each value among the arguments its batch dimension."""
    head = f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>): "
    if not isinstance(in_dims, (int, tuple)):
        raise ValueError(
            f"{head}expected `in_dims` to be int or a (potentially nested) tuple matching the "
            f"structure of inputs, got: {type(in_dims)}."
        )
    if not values:
        raise ValueError(
            f"{head}got no inputs. Maybe you forgot to add inputs, or you are trying to vmap over "
            "a function with no inputs. The latter is unsupported."
        )
    try:
        dims = broadcast(in_dims, args)
    except ValueError:
        raise ValueError(
            f"{head}in_dims is not compatible with the structure of `inputs`."
        ) from None
    found = []
    for value, dim in zip(values, dims, strict=True):
        if dim is None:
            found.append(None)
            continue
        if not isinstance(dim, int):
            raise ValueError(
                f"{head}Got in_dim={dim} for an input but in_dim must be either an "
                "integer dimension or None."
            )
        if not isinstance(value, Tensor):
            raise ValueError(
                f"{head}Got in_dim={dim} for an input but the input is of type {type(value)}. We "
                "cannot vmap over non-Tensor arguments, please use None as the respective in_dim"
            )
        if not -value.dim() <= dim < value.dim():
            raise ValueError(
                f"{head}Got in_dim={dim} for some input, but that input is a Tensor of "
                f"dimensionality {value.dim()} so expected in_dim to satisfy "
                f"-{value.dim()} <= in_dim < {value.dim()}."
            )
        found.append(dim)
    return found


def _size(values: list[Any], dims: list[int | None]) -> int:
    sizes = [v.shape[d] for v, d in zip(values, dims, strict=True) if d is not None]
    if not sizes:
        raise ValueError("vmap: at least one input must be mapped over; all in_dims are None")
    if any(s != sizes[0] for s in sizes):
        raise ValueError(
            "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
            f"{sizes} for the mapped dimension"
        )
    return sizes[0]


def _out_dims(out_dims: Any, structure: Any, count: int) -> list[int | None]:
    if isinstance(out_dims, int) or out_dims is None:
        return [out_dims] * count
    if not isinstance(structure, (tuple, list, dict)):
        found = flatten(out_dims)[0]
        if len(found) == 1:
            return found
    try:
        return broadcast(out_dims, structure)
    except ValueError:
        raise ValueError(
            "vmap: out_dims is not compatible with the structure of `outputs`. out_dims has "
            f"structure {out_dims} but outputs has another"
        ) from None


def functionalize(func: Callable[..., Any], *, remove: str = "mutations") -> Callable[..., Any]:
    """``func`` without in-place operations inside: itself, as recording has taken them out.

    Writes to the arguments are still seen by the caller, as in PyTorch.
    """
    if remove not in ("mutations", "mutations_and_views"):
        raise RuntimeError(
            "functionalize(f, remove='mutations'): received invalid argument for remove=. Valid "
            "options are: remove='mutations' remove='mutations_and_views'"
        )

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return wrapped
