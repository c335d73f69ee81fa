"""Functions of views that give copies: ``view_copy`` and its kin."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from flambeau.functions import views
from flambeau.functions.inplace import write_out

if TYPE_CHECKING:
    from collections.abc import Callable


def _copying(f: Callable) -> Callable:
    name = f.__name__ + "_copy"

    @functools.wraps(f)
    def copy(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        made = f(*args, **kwargs)
        result = tuple(t.clone() for t in made) if isinstance(made, tuple) else made.clone()
        if out is None:
            return result
        if isinstance(result, tuple):
            return [write_out(o, r, name) for o, r in zip(out, result, strict=True)] and None
        return write_out(out, result, name)

    copy.__name__ = copy.__qualname__ = name
    copy.__module__ = __name__
    copy.__doc__ = f"``{f.__name__}`` as a copy: it shares no memory with its input."
    return copy


def slice_copy(
    input: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Any:
    """Every ``step``-th position of a dimension from ``start`` to ``end``, as a copy.

    >>> slice_copy(arange(4), 0, 1, 4, 2)
    tensor([1, 3])
    """
    from flambeau.functions.dims import wrap_dim

    d = wrap_dim(dim, input.dim())
    first, last, step = slice(start, end, step).indices(input.shape[d])
    count = max(0, -(-(last - first) // step))
    return views.sliced(input, (d,), (first if count else 0,), (count,), (step,)).clone()


def _sizes(input: Any, split_sizes: Any, dim: int = 0) -> Any:
    return views.split(input, list(split_sizes), dim)


def _narrow(input: Any, dim: int, start: Any, length: int) -> Any:
    if input.dim() and dim >= input.dim():
        raise RuntimeError(f"narrow_copy: dim {dim} is beyond the last of {input.dim()} dimensions")
    return views.narrow(input, dim, start, length)


_sizes.__name__ = "split_with_sizes"
_narrow.__name__ = "narrow"

as_strided_copy = _copying(views.as_strided)
expand_copy = _copying(views.expand)
narrow_copy = _copying(_narrow)
permute_copy = _copying(views.permute)
select_copy = _copying(views.select)
split_copy = _copying(views.split)
split_with_sizes_copy = _copying(_sizes)
squeeze_copy = _copying(views.squeeze)
t_copy = _copying(views.t)
transpose_copy = _copying(views.transpose)
unbind_copy = _copying(views.unbind)
unfold_copy = _copying(views.unfold)
unsqueeze_copy = _copying(views.unsqueeze)
view_copy = _copying(views.view)


def _alias(input: Any) -> Any:
    return views.view(input, tuple(input.shape)) if input.is_contiguous() else input[...]


_alias.__name__ = "alias"
alias_copy = _copying(_alias)
