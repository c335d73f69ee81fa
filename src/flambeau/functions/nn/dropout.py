"""Dropout: elements or channels set to zero at random."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau.functions.checks import _tensors
from flambeau.functions.inplace import assign
from flambeau.functions.inplace import title as _title
from flambeau.functions.nn._common import made
from flambeau.record.macro import function, ops
from flambeau.run.random import bernoulli
from flambeau.tensor import Tensor

_ALPHA = 1.7580993408473766


def engine() -> Any:
    """The Mersenne Twister of the default generator."""
    from flambeau.functions.random import default_generator

    return default_generator.engine


@function(grad="MulBackward0")
def _masked(input: Tensor, mask: Tensor) -> Tensor:
    return ops.mul(input, mask)


@function(grad="MulBackward0")
def _masked_written(input: Tensor, mask: Tensor) -> Tensor:
    return assign(input, ops.mul(input, mask))


@function(grad="AddBackward0")
def _scaled_masked(input: Tensor, mask: Tensor, shift: Tensor) -> Tensor:
    return ops.add(ops.mul(input, mask), shift)


@function(grad="AddBackward0")
def _scaled_masked_written(input: Tensor, mask: Tensor, shift: Tensor) -> Tensor:
    return assign(input, ops.add(ops.mul(input, mask), shift))


def _dropped(
    input: Tensor, p: float, training: bool, inplace: bool, feature: bool, alpha: bool
) -> Tensor:
    """PyTorch's four dropouts: nothing is drawn for ``p`` 0 or 1 or outside of training."""
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    m = input._meta
    if p == 0 or not training or 0 in m.shape:
        return input
    if m.dtype.category < 2:
        raise RuntimeError(
            f"result type Float can't be cast to the desired output type {_title(m.dtype)}"
        )
    masked = _masked_written if inplace else _masked
    kind = m.dtype.numpy
    if p == 1:
        return masked(input, made(np.zeros((), kind), m.dtype))
    shape = m.shape
    if feature:
        if len(shape) < 2:
            raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
        shape = (*shape[:2], *(1,) * (len(shape) - 2))
    if not alpha:
        # In the type of the input, as PyTorch divides the mask.
        on = kind.type(1) / kind.type(1 - p)
        return masked(input, made(bernoulli(engine(), shape, 1 - p, kind, on), m.dtype))
    mask = bernoulli(engine(), shape, 1 - p, kind)
    a = 1.0 / math.sqrt((_ALPHA * _ALPHA * p + 1) * (1 - p))
    shift = (mask - kind.type(1)) * kind.type(_ALPHA * a) + kind.type(_ALPHA * a * p)
    mask *= kind.type(a)
    masked = _scaled_masked_written if inplace else _scaled_masked
    return masked(input, made(mask, m.dtype), made(shift.astype(kind), m.dtype))


@_tensors
def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each element is zero with probability ``p``, else multiplied by ``1 / (1 - p)``.

    Draws from the default generator as PyTorch does, in the order of the dimensions. PyTorch goes
    by the order in memory: for an input that lies transposed there (what its attention gives with
    ``batch_first``) the same seed drops other elements. Raises ``ValueError`` unless 0 <= p <= 1.

    >>> dropout(tensor([1.0, 2.0]), training=False)
    tensor([1., 2.])
    """
    return _dropped(input, p, training, inplace, False, False)


@_tensors
def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Dropout that keeps mean 0 and variance 1 under ``selu`` [Klambauer 2017].

    >>> alpha_dropout(tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    return _dropped(input, p, training, inplace, False, True)


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """``alpha_dropout`` of whole channels.

    >>> feature_alpha_dropout(tensor([[1.0, 2.0]]))
    tensor([[1., 2.]])
    """
    return _dropped(input, p, training, inplace, True, True)


def feature_dropout(input: Tensor, p: float = 0.5, train: bool = True) -> Tensor:
    """Dropout of whole channels: entries of the first two dimensions."""
    return _dropped(input, p, train, False, True, False)


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Dropout of whole channels of ``(N, C, L)`` or ``(C, L)``.

    >>> dropout1d(tensor([[1.0, 2.0]]), training=False)
    tensor([[1., 2.]])
    """
    _check_probability(p)
    if input.dim() not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.dim()}D input. Note that "
            "dropout1d exists to do channel-wise dropout on inputs with 1 spatial dimension, a "
            "channel dimension, and an optional batch dimension (i.e. 2D or 3D inputs)."
        )
    return _unbatched(input, p, training, inplace, input.dim() == 2)


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Dropout of whole channels of ``(N, C, H, W)``.

    >>> dropout2d(tensor([[[[1.0, 2.0]]]]), training=False)
    tensor([[[[1., 2.]]]])
    """
    _check_probability(p)
    if input.dim() not in (3, 4):
        _warn_dims("dropout2d", input.dim(), 2, "3D or 4D")
    if input.dim() == 3:
        import warnings

        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D "
            "dropout behavior is desired - input is interpreted as shape (N, C, L), where C is "
            "the channel dim. This behavior will change in a future release to interpret the "
            "input as one without a batch dimension, i.e. shape (C, H, W). To maintain the 1D "
            "channel-wise dropout behavior, please switch to using dropout1d instead.",
            stacklevel=2,
        )
    return _dropped(input, p, training, inplace, True, False)


def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Dropout of whole channels of ``(N, C, D, H, W)`` or ``(C, D, H, W)``.

    >>> dropout3d(tensor([[[[[1.0, 2.0]]]]]), training=False)
    tensor([[[[[1., 2.]]]]])
    """
    _check_probability(p)
    if input.dim() not in (4, 5):
        _warn_dims("dropout3d", input.dim(), 3, "4D or 5D")
    return _unbatched(input, p, training, inplace, input.dim() != 5)


def _check_probability(p: float) -> None:
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _warn_dims(name: str, ndim: int, spatial: int, wanted: str) -> None:
    import warnings

    warnings.warn(
        f"{name}: Received a {ndim}-D input to {name}, which is deprecated and will result in an "
        "error in a future release. To retain the behavior and silence this warning, please use "
        f"dropout instead. Note that {name} exists to do channel-wise dropout on inputs with "
        f"{spatial} spatial dimensions, a channel dimension, and an optional batch dimension "
        f"(i.e. {wanted} inputs).",
        stacklevel=3,
    )


def _unbatched(input: Tensor, p: float, training: bool, inplace: bool, single: bool) -> Tensor:
    if not single:
        return _dropped(input, p, training, inplace, True, False)
    if p == 0 or not training:
        return input
    result = _dropped(input.unsqueeze(0), p, training, False, True, False).squeeze(0)
    return input.copy_(result) if inplace else result
