"""What distributions share: broadcasting, probabilities and logits, lazy attributes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from numbers import Number
from typing import Any

import flambeau

__all__ = [
    "broadcast_all",
    "clamp_probs",
    "lazy_property",
    "logits_to_probs",
    "probs_to_logits",
    "sum_rightmost",
    "tril_matrix_to_vec",
    "vec_to_tril_matrix",
]

euler_constant = 0.57721566490153286060


def broadcast_all(*values: Any) -> tuple[flambeau.Tensor, ...]:
    """Tensors of one shape from tensors and numbers; numbers take the tensors' dtype.

    Raises:
        ValueError: for anything else.

    >>> import flambeau as torch
    >>> torch.distributions.utils.broadcast_all(torch.zeros(2), 1.0)
    (tensor([0., 0.]), tensor([1., 1.]))
    """
    if not all(isinstance(value, (flambeau.Tensor, Number)) for value in values):
        raise ValueError(
            "Input arguments must all be instances of Number, torch.Tensor or objects "
            "implementing __torch_function__."
        )
    options: dict[str, Any] = {"dtype": flambeau.get_default_dtype()}
    for value in values:
        if isinstance(value, flambeau.Tensor):
            options = {"dtype": value.dtype, "device": value.device}
            break
    tensors = [
        value if isinstance(value, flambeau.Tensor) else flambeau.tensor(value, **options)
        for value in values
    ]
    return tuple(flambeau.broadcast_tensors(*tensors))


def all_numbers(*values: Any) -> bool:
    """Whether a distribution's parameters are all plain numbers, so that its batch has no shape."""
    return all(isinstance(value, Number) for value in values)


def standard_normal(shape: Any, dtype: Any, device: Any) -> flambeau.Tensor:
    """Draws from a standard normal distribution."""
    return flambeau.normal(
        flambeau.zeros(shape, dtype=dtype, device=device),
        flambeau.ones(shape, dtype=dtype, device=device),
    )


def sum_rightmost(value: flambeau.Tensor, dim: int) -> flambeau.Tensor:
    """Sums out the last ``dim`` dimensions."""
    if dim == 0:
        return value
    return value.reshape((*value.shape[: value.dim() - dim], -1)).sum(-1)


def logits_to_probs(logits: flambeau.Tensor, is_binary: bool = False) -> flambeau.Tensor:
    """Probabilities from log-odds (binary) or unnormalised log-probabilities."""
    if is_binary:
        return flambeau.sigmoid(logits)
    return flambeau.softmax(logits, dim=-1)


def clamp_probs(probs: flambeau.Tensor) -> flambeau.Tensor:
    """Probabilities kept an epsilon away from 0 and 1."""
    eps = flambeau.finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def probs_to_logits(probs: flambeau.Tensor, is_binary: bool = False) -> flambeau.Tensor:
    """Log-odds (binary) or log-probabilities from probabilities."""
    clamped = clamp_probs(probs)
    if is_binary:
        return flambeau.log(clamped) - flambeau.log1p(-clamped)
    return flambeau.log(clamped)


class lazy_property:
    """An attribute worked out when it is first asked for."""

    def __init__(self, wrapped: Callable[[Any], Any]) -> None:
        self.wrapped = wrapped
        functools.update_wrapper(self, wrapped)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        with flambeau.enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value


def one_of_probs_and_logits(probs: Any, logits: Any) -> None:
    """Raises ``ValueError`` unless exactly one is given."""
    if (probs is None) == (logits is None):
        raise ValueError("Either `probs` or `logits` must be specified, but not both.")


def tril_matrix_to_vec(mat: flambeau.Tensor, diag: int = 0) -> flambeau.Tensor:
    """The lower triangle of matrices as vectors, row by row.

    Raises:
        ValueError: unless ``-n <= diag < n``.
    """
    n = mat.shape[-1]
    if diag < -n or diag >= n:
        raise ValueError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    rows, columns = flambeau.tril_indices(n, n, diag)
    return mat[..., rows, columns]


def vec_to_tril_matrix(vec: flambeau.Tensor, diag: int = 0) -> flambeau.Tensor:
    """Lower triangular matrices from vectors, the inverse of :func:`tril_matrix_to_vec`.

    Raises:
        ValueError: if a vector's length is that of no triangle.
    """
    length = vec.shape[-1]
    n = -(1 + 2 * diag) + ((1 + 2 * diag) ** 2 + 8 * length + 4 * abs(diag) * (diag + 1)) ** 0.5
    n = n / 2
    eps = flambeau.finfo(vec.dtype).eps
    if not (round(n) - n) < eps and round(n) - n > -eps:
        raise ValueError(
            f"The size of last dimension is {length} which cannot be expressed as "
            "the lower triangular part of a square D x D matrix."
        )
    n = round(n)
    matrix = vec.new_zeros((*vec.shape[:-1], n, n))
    rows, columns = flambeau.tril_indices(n, n, diag)
    matrix[..., rows, columns] = vec
    return matrix
