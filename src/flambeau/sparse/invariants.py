"""Whether indices and values make a valid sparse tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.sparse import places

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flambeau.tensor import Tensor

__all__ = ["check_sparse_tensor_invariants"]


class check_sparse_tensor_invariants:
    """Turns the checks of new sparse tensors on or off; they are off at first.

    A context manager, a decorator, or the class methods ``enable``, ``disable``, ``is_enabled``.
    The argument ``check_invariants`` of a constructor goes before.

    >>> with torch.sparse.check_sparse_tensor_invariants():
    ...     torch.sparse_coo_tensor([[5]], [1.0], (2,))
    Traceback (most recent call last):
    RuntimeError: size is inconsistent with indices: for dim 0, size is 2 but found index 5
    """

    _enabled = False

    @staticmethod
    def is_enabled() -> bool:
        """Whether new sparse tensors are checked."""
        return check_sparse_tensor_invariants._enabled

    @staticmethod
    def enable() -> None:
        """Has new sparse tensors checked."""
        check_sparse_tensor_invariants._enabled = True

    @staticmethod
    def disable() -> None:
        """Has new sparse tensors not checked."""
        check_sparse_tensor_invariants._enabled = False

    def __init__(self, enable: bool = True) -> None:
        self.state = enable
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(self.is_enabled())
        check_sparse_tensor_invariants._enabled = self.state

    def __exit__(self, *exc: object) -> None:
        check_sparse_tensor_invariants._enabled = self._before.pop()

    def __call__(self, f: Callable) -> Callable:
        import functools

        @functools.wraps(f)
        def checked(*args: Any, **kwargs: Any) -> Any:
            with type(self)(self.state):
                return f(*args, **kwargs)

        return checked


def wanted(check: bool | None) -> bool:
    """Whether a constructor is to check."""
    return check_sparse_tensor_invariants.is_enabled() if check is None else check


def check_coo(indices: Tensor, values: Tensor, shape: Sequence[int], coalesced: Any) -> None:
    """Raises ``RuntimeError`` for indices that are no places of a tensor of this shape."""
    array = places.array_of(indices)
    if array.size:
        for dim, (row, size) in enumerate(zip(array, shape, strict=False)):
            low, high = int(row.min()), int(row.max())
            _require(low >= 0, f"found negative index {low} for dim {dim}")
            _require(
                high < size,
                "size is inconsistent with indices: for dim "
                f"{dim}, size is {size} but found index {high}",
            )
    if coalesced:
        keys = places.flat(array, tuple(shape)[: len(array)])
        _require(
            places.in_order(keys),
            "cannot set is_coalesced to true if indices correspond to uncoalesced COO tensor",
        )


def check_compressed(
    names: tuple[str, str],
    starts: np.ndarray,
    plain: np.ndarray,
    counts: tuple[int, int],
    limit: str,
) -> None:
    """Raises ``RuntimeError`` unless rows begin where they can, and columns exist and grow."""
    compressed_name, plain_name = names
    rows, columns = counts
    nnz = plain.shape[-1]
    for s, p in zip(starts.reshape(-1, rows + 1), plain.reshape(-1, nnz), strict=True):
        _require(s[0] == 0, f"`{compressed_name}[..., 0] == 0` is not satisfied.")
        _require(s[-1] == nnz, f"`{compressed_name}[..., -1] == nnz` is not satisfied.")
        steps = np.diff(s)
        _require(
            bool(((steps >= 0) & (steps <= columns)).all()),
            f"`0 <= {compressed_name}[..., 1:] - {compressed_name}[..., :-1] <= "
            f"{limit}` is not satisfied.",
        )
        _require(
            bool(((p >= 0) & (p < columns)).all()),
            f"`0 <= {plain_name} < {limit}` is not satisfied.",
        )
        _require(
            places.in_order(places.expanded(s) * columns + p),
            f"`{plain_name}[..., {compressed_name}[..., i - 1]:{compressed_name}[..., i]] for all "
            f"i = 1, ..., {'ncols' if limit == 'nrows' else 'nrows'} are sorted and distinct "
            "along the last dimension values` is not satisfied.",
        )


def _require(holds: Any, message: str) -> None:
    if not holds:
        raise RuntimeError(message)
