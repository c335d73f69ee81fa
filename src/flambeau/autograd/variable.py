"""``Variable``, the name that tensors with a gradient had before PyTorch 0.4."""

from __future__ import annotations

from typing import Any

from flambeau.record.storage import Handle as Tensor


class _VariableMeta(type):
    """Has ``isinstance(x, Variable)`` hold for tensors."""

    def __instancecheck__(cls, other: Any) -> bool:
        return isinstance(other, Tensor)


class Variable(metaclass=_VariableMeta):
    """``Variable(x)`` is a tensor on the memory of ``x``, which requires grad if it should.

    >>> torch.autograd.Variable(torch.tensor([1.0]), requires_grad=True)
    tensor([1.], requires_grad=True)
    """

    def __new__(  # type: ignore[misc]
        cls, data: Tensor, requires_grad: bool = False, volatile: bool = False
    ) -> Tensor:
        return data.detach().requires_grad_(requires_grad)
