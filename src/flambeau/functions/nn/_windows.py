"""What functions of windows check of their arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.functions.dims import as_int

if TYPE_CHECKING:
    from flambeau.tensor import Tensor


def _check_rank(input: Tensor, d: int, name: str) -> None:
    shape = input._meta.shape
    if len(shape) not in (d + 1, d + 2):
        wanted = {1: "2D or 3D", 2: "3D or 4D", 3: "4D or 5D"}[d]
        raise RuntimeError(
            f"{name}: Expected {wanted} (batch mode) tensor with optional 0 dim batch size for "
            f"input, but got: {list(shape)}"
            if d == 1
            else f"non-empty {wanted} (batch mode) tensor expected for input"
        )
    if 0 in shape[1 if len(shape) == d + 2 else 0 :]:
        raise RuntimeError(
            f"{name}(): Expected {'3D or 4D' if d == 2 else '4D or 5D'} tensor with optional 0 "
            f"dim batch size for input, but got: {list(shape)}"
        )


def _is_absent(stride: Any) -> bool:
    """Whether no stride was given: it is then the kernel's size."""
    return stride is None or (isinstance(stride, (tuple, list)) and not stride)


def _check_output(size: tuple[int, ...], input: tuple[int, ...], d: int) -> None:
    if any(n < 1 for n in size):
        raise RuntimeError(
            f"Given input size: ({'x'.join(map(str, input[-d - 1 :]))}). Calculated output size: "
            f"({'x'.join(map(str, (input[-d - 1], *size)))}). Output size is too small"
        )


def _output_size(value: Any, d: int, shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    """An adaptive output size, with None for the size of the input."""
    if isinstance(value, (tuple, list)):
        if d > 1 and len(shape) <= len(value):
            raise ValueError(f"Input dimension should be at least {len(value) + 1}")
        if len(value) != d:
            raise RuntimeError(
                f"{name}: output_size must be {d}"
                if d > 1
                else f"{name}() argument 'output_size' should contain one int (got {len(value)})"
            )
    else:
        value = (value,) * d
    return tuple(
        shape[len(shape) - d + i] if n is None else as_int(n, "output_size")
        for i, n in enumerate(value)
    )


def _check_adaptive(input: Tensor, size: tuple[int, ...], name: str) -> None:
    d, shape = len(size), input._meta.shape
    if len(shape) not in (d + 1, d + 2):
        wanted = f"{d + 1} to {d + 2} dimensions, but got {len(shape)}-dimensional tensor"
        if d > 1:
            colon = ":" * name.startswith("adaptive_max")
            wanted = f"{d + 1}D or {d + 2}D tensor, but got{colon} {list(shape)}"
        raise RuntimeError(f"{name}(): Expected {wanted}")
    for at, n in enumerate(shape[len(shape) - d :], len(shape) - d):
        if n == 0:
            raise RuntimeError(
                f"{name}(): Expected input to have non-zero size for non-batch dimensions, but "
                f"input has sizes {list(shape)} with dimension {at} being empty"
            )
    if any(n < 0 for n in size):
        raise RuntimeError(
            f"elements of output_size must be greater than or equal to 0 but received {set(size)}"
        )
