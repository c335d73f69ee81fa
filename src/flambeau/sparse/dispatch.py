"""Which function takes a library call that met a sparse tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.layouts import strided
from flambeau.sparse.tensor import SparseTensor

if TYPE_CHECKING:
    from collections.abc import Callable

# By the name of the library's function, which may be an inner one such as ``_sum_all``.
TABLE: dict[str, Callable] = {}


def operation(*names: str, method: bool = True) -> Callable:
    """A decorator: the function is what calls of these names do with sparse tensors.

    With ``method`` the names are methods of sparse tensors, too.
    """

    def enter(f: Callable) -> Callable:
        for name in names:
            TABLE[name] = f
            if method and not name.startswith("_"):
                setattr(SparseTensor, name, f)
        return f

    return enter


def call(name: str, args: tuple, kwargs: dict[str, Any], met: SparseTensor) -> Any:
    """Does a library call, one of whose arguments is the sparse tensor ``met``."""
    f = TABLE.get(name)
    if f is None:
        # Inner functions are named after what they do: ``_max_all``.
        inner = name.startswith("_")
        met.refuse(name[1:].removesuffix("_all").removesuffix("_dims") if inner else name)
    return f(*args, **kwargs)


def is_sparse(value: Any) -> bool:
    """Whether a value is a tensor of one of the sparse layouts."""
    return isinstance(value, SparseTensor)


def layout_name(tensor: Any) -> str:
    """What PyTorch's errors call a tensor's layout."""
    if is_sparse(tensor):
        return tensor._kind
    return "Strided" if tensor.layout is strided else str(tensor.layout)
