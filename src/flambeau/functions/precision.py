"""The precision that functions compute in: ``autocast``'s, and float32 inside for 16 bits."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from flambeau import dtypes
from flambeau.functions.promotion import cast
from flambeau.record.trace import open_
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

_CAST = (dtypes.float32, dtypes.bfloat16, dtypes.float16)


def _to(target: dtypes.dtype, values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        cast(x, target) if isinstance(x, Tensor) and x.dtype in _CAST else x for x in values
    )


def lowered(*values: Any) -> tuple[Any, ...]:
    """Inside ``autocast``, tensors in its dtype: what products and convolutions begin with.

    Double precision and integers stay as they are, and so does everything outside ``autocast``.
    """
    target = open_.state.extra
    return values if target is None else _to(target, values)


def raised(*values: Any) -> tuple[Any, ...]:
    """Inside ``autocast``, tensors in float32: what losses begin with."""
    return values if open_.state.extra is None else _to(dtypes.float32, values)


def wide(*values: Any) -> tuple[Any, ...]:
    """Tensors of 16 bits in float32, others as they are."""
    return tuple(
        cast(x, dtypes.float32) if isinstance(x, Tensor) and x.dtype in _CAST[1:] else x
        for x in values
    )


def widened(body: Callable, *, raises: bool = False) -> Callable:
    """A body that computes in float32 where its tensors have 16 bits, and rounds its result once.

    So PyTorch's kernels do it. The gradients go the same way, and are rounded once, too.
    ``raises``: what ``autocast`` raises to float32 stays that.
    """

    @functools.wraps(body)
    def wide(*args: Any, **kwargs: Any) -> Any:
        given = (*args, *kwargs.values())
        kinds = {x.dtype for x in given if isinstance(x, Tensor) and x.dtype.category >= 2}
        if len(kinds) != 1 or (kind := kinds.pop()).itemsize != 2:
            return body(*args, **kwargs)
        if raises and open_.state.extra is not None:
            return body(*args, **kwargs)
        args = _to(dtypes.float32, args)
        kwargs = dict(zip(kwargs, _to(dtypes.float32, tuple(kwargs.values())), strict=True))
        return cast(body(*args, **kwargs), kind)

    wide.signature_of = body  # type: ignore[attr-defined]
    return wide


def widened_loss(body: Callable) -> Callable:
    """``widened`` for a loss, whose result is float32 inside ``autocast``."""
    return widened(body, raises=True)
