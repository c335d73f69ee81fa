"""Forward-mode derivatives: dual numbers, whose tangents two backward passes work out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from flambeau.autograd.functional import pushed
from flambeau.record.storage import Handle as Tensor

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual",
           "unpack_dual"]  # fmt: skip


class UnpackedDualTensor(NamedTuple):
    """A tensor's value and its tangent (None if it has none)."""

    primal: Tensor
    tangent: Tensor | None


# The dual tensors of each open level with their tangents.
_levels: list[list[tuple[Tensor, Tensor]]] = []


def enter_dual_level() -> int:
    """Opens a level of dual numbers; its number."""
    if _levels:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    _levels.append([])
    return len(_levels) - 1


def exit_dual_level(*, level: int | None = None) -> None:
    """Closes the level: its tangents are gone."""
    if not _levels or level not in (None, len(_levels) - 1):
        raise RuntimeError(
            "Trying to exit a forward AD level that was not the last one that was created. This "
            "is not supported."
        )
    _levels.pop()


class dual_level:
    """A block in which tensors may be dual.

    >>> import flambeau.autograd.forward_ad as fwAD
    >>> with fwAD.dual_level():
    ...     x = fwAD.make_dual(torch.tensor(3.0), torch.tensor(1.0))
    ...     fwAD.unpack_dual(x * x).tangent
    tensor(6.)
    """

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(
        self, kind: type | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        exit_dual_level()


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """``tensor`` with ``tangent``: what is computed from it has the derivative along it.

    The result requires grad (PyTorch's does not): its tangents come from its history, so the
    computation must not be inside ``no_grad``. Raises ``RuntimeError`` outside a ``dual_level``
    or for shapes that differ.
    """
    if not _levels:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to "
            "enter_dual_level() first."
        )
    if not (tensor.dtype.is_floating_point or tensor.dtype.is_complex):
        raise ValueError(
            f"Expected primal to be floating point or complex, but got: {tensor.dtype}"
        )
    if tangent.shape != tensor.shape:
        raise RuntimeError(
            f"Expected tangent to have the same shape as primal, but got {tangent.shape} and "
            f"{tensor.shape}"
        )
    if tensor.requires_grad:
        dual = tensor.view_as(tensor)
    else:
        dual = tensor.detach().requires_grad_()
    _levels[-1].append((dual, tangent))
    return dual


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The value of a tensor and its tangent."""
    if not _levels or not tensor.requires_grad:
        return UnpackedDualTensor(tensor, None)
    for dual, tangent in _levels[-1]:
        if dual is tensor:
            return UnpackedDualTensor(tensor.detach(), tangent)
    duals = [d for d, _ in _levels[-1]]
    tangents = [t for _, t in _levels[-1]]
    if not duals:
        return UnpackedDualTensor(tensor, None)
    create = any(t.requires_grad for t in tangents)
    found: Any = pushed((tensor,), duals, tangents, create)[0]
    return UnpackedDualTensor(tensor.detach(), found)
