"""Layers that join or split dimensions."""

from __future__ import annotations

from typing import Any

from flambeau.nn.module import Module
from flambeau.tensor import Tensor

__all__ = ["Flatten", "Unflatten"]


class Flatten(Module):
    """Joins the dimensions from ``start_dim`` to ``end_dim``; by default all but the first.

    >>> torch.nn.Flatten()(torch.zeros(32, 1, 5, 5)).shape
    torch.Size([32, 25])
    """

    __constants__ = ["start_dim", "end_dim"]
    start_dim: int
    end_dim: int

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits dimension ``dim`` into ``unflattened_size``.

    Raises: ``TypeError`` unless the sizes are a tuple or list of ints.

    >>> torch.nn.Unflatten(1, (2, 5, 5))(torch.zeros(32, 50)).shape
    torch.Size([32, 2, 5, 5])
    """

    __constants__ = ["dim", "unflattened_size"]
    dim: int | str
    unflattened_size: Any

    def __init__(self, dim: int | str, unflattened_size: Any) -> None:
        super().__init__()
        if isinstance(dim, int):
            _check_sizes(unflattened_size)
        elif isinstance(dim, str):
            _check_named_sizes(unflattened_size)
        else:
            raise TypeError("invalid argument type for dim parameter")
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


def _check_sizes(sizes: Any) -> None:
    if not isinstance(sizes, (tuple, list)):
        raise TypeError(
            f"unflattened_size must be a tuple of ints, but found type {type(sizes).__name__}"
        )
    for i, size in enumerate(sizes):
        if not isinstance(size, int):
            raise TypeError(
                "unflattened_size must be tuple of ints, but found element of type "
                f"{type(size).__name__} at pos {i}"
            )


def _check_named_sizes(sizes: Any) -> None:
    if not isinstance(sizes, tuple):
        raise TypeError(
            f"unflattened_size must be a tuple of tuples, but found type {type(sizes).__name__}"
        )
    for i, pair in enumerate(sizes):
        if not isinstance(pair, tuple):
            raise TypeError(
                "unflattened_size must be tuple of tuples, but found element of type "
                f"{type(pair).__name__} at pos {i}"
            )


SAMPLES = {
    "nn.Flatten": "| image; 0 | x; 1, 2 | image; start_dim=-2 | cube; | v[:, None]; !3 | x;"
    " !2, 1 | image",
    "nn.Unflatten": "1, (2, 2) | x; -1, (3, -1) | line;"
    " dim=1, unflattened_size=torch.Size([4, 1]) | x; !1, (3, 2) | x; !1, 4; !'c', (2, 2) | x;"
    " !4, (2, 2) | x",
}
