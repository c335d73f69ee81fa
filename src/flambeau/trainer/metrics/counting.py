"""Adding to counts at places, recorded: the places are known to be in range, and are not read."""

from __future__ import annotations

from flambeau import Tensor, long
from flambeau.ir import scattering  # noqa: F401  (declares the primitive)
from flambeau.record.macro import function, ops

__all__ = ["tallied"]


@function
def _tallied(counts: Tensor, place: Tensor, which: Tensor) -> Tensor:
    return ops.scatter_add(counts, place, which, dim=0)


def tallied(counts: Tensor, place: Tensor, which: Tensor) -> Tensor:
    """``counts`` with one more at each of ``place`` (in its elements' order) where ``which`` says.

    >>> tallied(torch.zeros(2, 2, dtype=torch.long), tensor([3, 1, 3]), tensor([True, True, False]))
    tensor([[0, 1],
            [0, 1]])
    """
    if not place.numel():
        return counts
    flat = _tallied(counts.reshape(-1), place.reshape(-1), which.reshape(-1).to(long))
    return flat.reshape(counts.shape)
