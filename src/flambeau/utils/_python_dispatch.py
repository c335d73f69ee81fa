"""``torch.utils._python_dispatch``: modes that carry library calls out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.functions import dispatching, overriding

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TorchDispatchMode", "return_and_correct_aliasing"]


class TorchDispatchMode:
    """A block in which ``__torch_dispatch__`` of this object carries library calls out.

    It is asked about calls of public functions, each as an operator of ``torch.ops.aten``; see
    ``functions/dispatching.py`` for what PyTorch does otherwise. Inside of it, calls go to the
    next mode further out.

    >>> from flambeau.utils._python_dispatch import TorchDispatchMode
    >>> class Names(TorchDispatchMode):
    ...     def __torch_dispatch__(self, func, types, args=(), kwargs=None):
    ...         print(func)
    ...         return func(*args, **(kwargs or {}))
    >>> x = torch.ones(2)
    >>> with Names():
    ...     _ = (x + 1).exp().sum(0)
    aten.add.Tensor
    aten.exp.default
    aten.sum.dim_IntList
    """

    def __init__(self, _dispatch_key: Any = None) -> None:
        pass

    def __torch_dispatch__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """What becomes of the call ``func(*args, **kwargs)``; ``types`` carry calls out, too."""
        raise NotImplementedError

    def __enter__(self) -> Any:
        overriding.install()
        dispatching.state.modes.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        dispatching.state.modes.pop()


def return_and_correct_aliasing(func: Any, args: Any, kwargs: Any, out: Any) -> Any:
    """``out``, or the argument that an operator in place wrote to."""
    return args[0] if func.overloadpacket.__name__.endswith("_") else out
