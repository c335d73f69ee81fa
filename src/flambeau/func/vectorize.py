"""``vmap``: a function of one example, applied to a batch."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import flambeau  # upward: stacks with the public function
from flambeau.func.examples import Example, Looked
from flambeau.func.tree import broadcast, flatten, unflatten
from flambeau.random import get_rng_state, set_rng_state
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["debug_unwrap", "functionalize", "vmap"]


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
    to every call), ``out_dims`` where it goes in the results; both may be structures. ``func`` is
    called once, on an example; what it records is applied to the whole batch, primitive by
    primitive. If it looks at values it is called for each slice instead. ``chunk_size``: so many
    slices at a time. ``randomness``: "error" refuses random draws in ``func``, "different" has
    every slice draw anew, "same" gives all slices the same numbers.

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
        if chunk_size is None or size <= chunk_size:
            run = _Run(func, kwargs, structure, out_dims, randomness)
            columns, places = run(values, dims, size)
            return unflatten(_placed(columns, places), run.out_structure)
        parts: list[list[Any]] = []
        for start in range(0, size, chunk_size):
            count = min(chunk_size, size - start)
            given = [
                v if d is None else v.narrow(d, start, count)
                for v, d in zip(values, dims, strict=True)
            ]
            run = _Run(func, kwargs, structure, out_dims, randomness)
            columns, places = run(given, dims, count)
            parts.append(columns)
        joined = [
            c[0] if place is None else flambeau.cat(list(c))
            for c, place in zip(zip(*parts, strict=True), places, strict=True)
        ]
        return unflatten(_placed(joined, places), run.out_structure)

    return wrapped


class _Run:
    """One call of a vectorised function: its results, each with the batch first."""

    def __init__(
        self, func: Any, kwargs: dict[str, Any], structure: Any, out_dims: Any, randomness: str
    ) -> None:
        self.func = func
        self.kwargs = kwargs
        self.structure = structure
        self.out_dims = out_dims
        self.randomness = randomness
        self.out_structure: Any = None

    def __call__(
        self, values: list[Any], dims: list[int | None], size: int
    ) -> tuple[list[Tensor], list[int | None]]:
        start = get_rng_state()
        try:
            return self._at_once(values, dims, size, start)
        except Looked:
            if not size:
                raise RuntimeError(
                    "vmap: the function asks for values of its examples, of which there are none"
                ) from None
            set_rng_state(start)
            return self._one_by_one(values, dims, size, start)

    def _called(self, given: list[Any]) -> list[Tensor]:
        out = self.func(*unflatten(given, self.structure), **self.kwargs)
        leaves, self.out_structure = flatten(out)
        name = _name(self.func)
        for leaf in leaves:
            if not isinstance(leaf, Tensor):
                raise ValueError(
                    f"vmap({name}, ...): `{name}` must only return Tensors, got "
                    f"type {type(leaf)}. Did you mean to set out_dims= to None for output?"
                )
        return leaves

    def _places(self, count: int) -> list[int | None]:
        return _out_dims(self.out_dims, self.out_structure, count)

    def _at_once(
        self, values: list[Any], dims: list[int | None], size: int, start: Tensor
    ) -> tuple[list[Tensor], list[int | None]]:
        """The function recorded on one example, the record applied to all."""
        batches = [
            v if d % v.dim() == 0 else v.movedim(d, 0)
            for v, d in zip(values, dims, strict=True)
            if d is not None
        ]
        one = Example(batches, size)
        stand_ins = iter(one.stand_ins)
        given = [v if d is None else next(stand_ins) for v, d in zip(values, dims, strict=True)]
        leaves = self._called(given)
        if self.randomness == "error":
            _refuse_random(start)
        elif self.randomness == "different" and _has_drawn(start):
            raise Looked
        places = self._places(len(leaves))
        results = []
        for leaf, found, place in zip(leaves, one.batched(leaves), places, strict=True):
            if place is None:
                if found is not None:
                    name = _name(self.func)
                    raise ValueError(
                        f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim "
                        "is None"
                    )
                results.append(leaf)
            else:
                results.append(leaf.expand(size, *leaf.shape) if found is None else found)
        return results, places

    def _one_by_one(
        self, values: list[Any], dims: list[int | None], size: int, start: Tensor
    ) -> tuple[list[Tensor], list[int | None]]:
        """Each example alone: for functions that look at values, or draw numbers for each."""
        outs: list[list[Tensor]] = []
        for i in range(size):
            if self.randomness == "same":
                set_rng_state(start)
            given = [v if d is None else v.select(d, i) for v, d in zip(values, dims, strict=True)]
            outs.append(self._called(given))
            if self.randomness == "error" and i == 0:
                _refuse_random(start)
        places = self._places(len(outs[0]))
        columns = [
            column[0] if place is None else flambeau.stack(list(column))
            for column, place in zip(zip(*outs, strict=True), places, strict=True)
        ]
        return columns, places


def _placed(columns: list[Tensor], places: list[int | None]) -> list[Tensor]:
    """The batch dimension of each result where it is wanted."""
    results = []
    for column, place in zip(columns, places, strict=True):
        if place is None:
            results.append(column)
            continue
        ndim = column.dim()
        if not -ndim <= place < ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], "
                f"but got {place})"
            )
        results.append(column.movedim(0, place) if place % ndim else column)
    return results


def _name(func: Any) -> str:
    return getattr(func, "__name__", repr(func))


def _has_drawn(before: Tensor) -> bool:
    return bool((get_rng_state().numpy() != before.numpy()).any())


def _refuse_random(before: Tensor) -> None:
    if _has_drawn(before):
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


def debug_unwrap(tensor: Tensor, *, recurse: bool = True) -> Tensor:
    """The tensor itself: inside ``vmap`` and ``grad`` there are no wrapped tensors here."""
    return tensor


# Calls that the tests make in PyTorch too: `tests/generated/`. What follows `|` is what the result
# is called with.
SAMPLES = {
    "func.vmap": (
        "torch.sin | x; lambda a, b: a @ b | x, y; lambda a, b: a @ b, (0, None) | x, w; "
        "lambda a, b: a * b, (1, 0), out_dims=1 | x, v; "
        "lambda a: (a.sum(), a * 2), out_dims=(0, 1) | x; lambda a: a['p'] * 2 | {'p': x}; "
        "lambda a: a.sort().values, chunk_size=2 | x; torch.vmap(torch.dot) | cube, cube; "
        "lambda a: a + torch.rand(4), randomness='same' | x; "
        "torch.func.grad(lambda a: (a ** 2).sum()) | x; !torch.sin, 2 | x; "
        "!lambda a, b: a * b | x, v; !lambda a: torch.rand(2) | x; !lambda a: 2.0 | x"
    ),
    "vmap": (
        "torch.sin | x; lambda a, b: a * b, (0, None) | x, w; "
        "torch.exp, in_dims=1, out_dims=1 | x; lambda a: a.sum(), chunk_size=2 | x; "
        "!torch.sin, 2 | x"
    ),
    "func.functionalize": (
        "lambda a: (a * 1).add_(1) | x; lambda a: a.t()[0] * 2, remove='mutations_and_views' | x; "
        "!lambda a: a, remove='nothing' | x"
    ),
    "func.debug_unwrap": "x; i",
}
