"""``torch.ops``: the library's functions under the names of PyTorch's operators."""

from __future__ import annotations

from typing import Any

from flambeau.functions import dispatching, overriding
from flambeau.functions.dispatching import OperatorFamily
from flambeau.tensor import Tensor

__all__ = ["aten"]


class _Namespace:
    """``torch.ops.aten``: operators that a function or a method of the same name stands for.

    >>> torch.ops.aten.add.Tensor(tensor([1.0]), tensor([2.0]))
    tensor([3.])
    >>> print(torch.ops.aten.mm.default)
    aten.mm.default
    """

    def __getattr__(self, name: str) -> OperatorFamily:
        if name.startswith("__"):
            raise AttributeError(name)
        for place in (*overriding.namespaces(), Tensor):
            target = vars(place).get(name)
            if callable(target):
                return dispatching.family(name, target)
        raise AttributeError(
            f"'_OpNamespace' 'aten' object has no attribute '{name}': Flambeau has no function of "
            "this name"
        )

    def __repr__(self) -> str:
        return "<torch.ops.aten>"


aten = _Namespace()


def __getattr__(name: str) -> Any:
    raise AttributeError(f"'_Ops' object has no attribute '{name}': Flambeau has torch.ops.aten")
