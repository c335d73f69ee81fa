"""Functions of views that give copies: ``view_copy`` and its kin."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from flambeau.dtypes import dtype, of_type
from flambeau.functions import slicing, striding, transposing, views
from flambeau.functions.checks import _need_tensor
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
    input: Any,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
    *,
    out: Any = None,
) -> Any:
    """Every ``step``-th position of a dimension from ``start`` to ``end``, as a copy.

    >>> slice_copy(arange(4), 0, 1, 4, 2)
    tensor([1, 3])
    """
    from flambeau.functions.dims import wrap_dim

    _need_tensor("slice_copy", input)
    d = wrap_dim(dim, input.dim())
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    first, last, step = slice(start, end, step).indices(input.shape[d])
    count = max(0, -(-(last - first) // step))
    made = slicing.sliced(input, (d,), (first if count else 0,), (count,), (step,)).clone()
    return made if out is None else write_out(out, made, "slice_copy")


def _sizes(input: Any, split_sizes: Any, dim: int = 0) -> Any:
    return slicing.split(input, list(split_sizes), dim)


def _narrow(input: Any, dim: int, start: Any, length: int) -> Any:
    if input.dim() and dim >= input.dim():
        raise RuntimeError(f"narrow_copy: dim {dim} is beyond the last of {input.dim()} dimensions")
    return slicing.narrow(input, dim, start, length)


def _view(input: Any, *shape: Any) -> Any:
    sizes = shape[0] if len(shape) == 1 else shape
    kind = of_type(sizes)
    return views.view(input, kind) if isinstance(kind, dtype) else views.reshape(input, sizes)


_view.__name__ = "view"
_sizes.__name__ = "split_with_sizes"
_narrow.__name__ = "narrow"

as_strided_copy = _copying(striding.as_strided)
expand_copy = _copying(views.expand)
narrow_copy = _copying(_narrow)
permute_copy = _copying(transposing.permute)
select_copy = _copying(slicing.select)
split_copy = _copying(slicing.split)
split_with_sizes_copy = _copying(_sizes)
squeeze_copy = _copying(views.squeeze)
t_copy = _copying(transposing.t)
transpose_copy = _copying(transposing.transpose)
unbind_copy = _copying(slicing.unbind)
unfold_copy = _copying(striding.unfold)
unsqueeze_copy = _copying(views.unsqueeze)
view_copy = _copying(_view)


def _alias(input: Any) -> Any:
    _need_tensor("alias_copy", input)
    return views.view(input, tuple(input.shape)) if input.is_contiguous() else input[...]


_alias.__name__ = "alias"
alias_copy = _copying(_alias)


SAMPLES = {
    "alias_copy": "x; i; c; x.t(); !2",
    "as_strided_copy": "x, (2, 3), (4, 1); x, (3,), (5,), 1; i, (2, 2, 2), (1, 1, 1); x, (), ();"
    "!x, (2, 3), (4,); !x, (2,), (-1,); !x, (9, 9), (9, 1)",
    "expand_copy": "row, (3, 4); u[:, None], (-1, 4); s, (2, 2); v, (3, 4); !x, (3, 5); !x, (4,)",
    "narrow_copy": "x, 1, 1, 2; x, 0, -2, 2 # no-grad; i, -1, 0, 4; x, 0, 1, 0; !x, 1, 3, 2;"
    "!x, 2, 0, 1",
    "permute_copy": "cube, (2, 0, 1); x, (-1, 0); s, (); !x, (0, 0); !x, (0,); !x, (0, 2)",
    "select_copy": "x, 0, 1; x, -1, -1; i, 1, 0; !x, 0, 3; !x, 2, 0; !s, 0, 0",
    "slice_copy": "x; x, 1, 1, 3; x, 0, -2; x, 1, 0, 4, 3; v, 0, 3, 1; !x, 2; !x, 0, 0, 1, 0",
    "split_copy": "x, 2; x, 3, 1; i, 2, -1; !x, -1; !x, 2, 2",
    "split_with_sizes_copy": "x, [1, 2]; x, (1, 3), 1; x, [0, 4], -1; !x, [1, 1]; !x, [-1, 4]",
    "squeeze_copy": "row; row, 0; column, -1; x, 0; x[None, :, None], (0, 2); s; !x, 2",
    "t_copy": "x; v; s; i; !cube",
    "transpose_copy": "x, 0, 1; cube, 0, -1; v, 0, 0; !x, 0, 2; !x",
    "unbind_copy": "x; x, 1; i, -1; !s; !x, 2",
    "unfold_copy": "x, 1, 2, 1; v, 0, 3, 1; x, -1, 2, 2; x, 0, 3, 5; !x, 1, 5, 1; !x, 1, 2, 0",
    "unsqueeze_copy": "x, 0; x, -1; s, 0; x, 2; !x, 3",
    "view_copy": "x, (4, 3); x, (-1,); x, (2, -1, 2); x, torch.int32; !x, (5, 5); !x, (-1, -1)",
}
