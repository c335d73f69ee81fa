"""Python's operators on sparse tensors, and the package's functions that take them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import flambeau
from flambeau.functions import overriding
from flambeau.functions.methods import operator
from flambeau.sparse import arithmetic, products, shapes
from flambeau.sparse.dispatch import TABLE, call, is_sparse, operation
from flambeau.sparse.tensor import SparseTensor

if TYPE_CHECKING:
    from collections.abc import Callable

_BINARY = {
    "add": arithmetic.add,
    "sub": arithmetic.sub,
    "mul": arithmetic.mul,
    "truediv": arithmetic.div,
    "floordiv": arithmetic.floor_divide,
    "pow": arithmetic.pow,
    "matmul": products.matmul,
}
_INPLACE = {
    "add": arithmetic.add_,
    "sub": arithmetic.sub_,
    "mul": TABLE["mul_"],
    "truediv": TABLE["div_"],
    "floordiv": TABLE["floor_divide_"],
    "pow": TABLE["pow_"],
}

# Functions of the package that look at their arguments before they record anything.
_LOOKING = (
    "any", "cat", "concat", "concatenate", "index_select", "narrow", "narrow_copy",
    "norm", "permute", "select", "squeeze", "stack", "swapaxes", "swapdims", "t", "transpose",
    "unbind", "unsqueeze", "zeros_like", "empty_like", "ones_like",
    "full_like", "clone",
)  # fmt: skip


@operation("zeros_like", "empty_like", method=False)
def zeros_like(input: Any, *, dtype: Any = None, layout: Any = None, device: Any = None,
               requires_grad: bool = False, memory_format: Any = None,
               pin_memory: bool = False) -> Any:  # fmt: skip
    """A tensor of the same size and layout that holds nothing."""
    if layout is flambeau.strided:
        return flambeau.zeros(input.shape, dtype=dtype or input.dtype, requires_grad=requires_grad)
    made = arithmetic.zero_(input.detach().clone())
    if dtype is not None:
        made = made.to(dtype)  # type: ignore[attr-defined]
    return made.requires_grad_(requires_grad)


def _full_like(input: Any, *args: Any, **kwargs: Any) -> Any:
    if kwargs.get("layout") is flambeau.strided:
        return flambeau.full(input.shape, *args, **{"dtype": input.dtype, **kwargs})
    return input.refuse("fill_.Scalar")


def _ones_like(input: Any, **kwargs: Any) -> Any:
    return _full_like(input, 1, **kwargs)


operation("full_like", method=False)(_full_like)
operation("ones_like", method=False)(_ones_like)


def _guarded(f: Callable, name: str) -> Callable:
    @functools.wraps(f)
    def called(*args: Any, **kwargs: Any) -> Any:
        first = args[0] if args else next(iter(kwargs.values()), None)
        for met in first if isinstance(first, (list, tuple)) else (first,):
            if is_sparse(met):
                return call(name, args, kwargs, met)
        return f(*args, **kwargs)

    return called


def install() -> None:
    """Puts operators on sparse tensors, and before the functions that look at their arguments
    themselves the question whether they are sparse: done when the first sparse tensor is made.
    """
    for name, f in _BINARY.items():
        setattr(SparseTensor, f"__{name}__", operator(f))
        setattr(SparseTensor, f"__r{name}__", operator(f, reflected=True))
    for name, f in _INPLACE.items():
        setattr(SparseTensor, f"__i{name}__", operator(f))
    for name in ("neg", "pos", "abs"):
        long = {"pos": "positive"}.get(name, name)
        setattr(SparseTensor, f"__{name}__", TABLE[long])
    SparseTensor.__getitem__ = shapes.getitem  # type: ignore[attr-defined]
    for name in _LOOKING:
        if name in TABLE:
            setattr(flambeau, name, _guarded(getattr(flambeau, name), name))
    overriding.renewed()
