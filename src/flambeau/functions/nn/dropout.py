"""Dropout: elements or channels set to zero at random."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

import flambeau.ir.dropout  # noqa: F401  (declares primitives)
from flambeau.dtypes import bool_
from flambeau.functions.checks import _tensors
from flambeau.functions.inplace import assign
from flambeau.functions.inplace import title as _title
from flambeau.functions.memory_order import memory_order, restored
from flambeau.functions.nn._common import made
from flambeau.record.absent import is_absent
from flambeau.record.macro import function, ops
from flambeau.record.storage import Storage
from flambeau.run.chores import chores
from flambeau.run.random import chosen_ahead, not_implemented
from flambeau.tensor import Tensor, concrete

_ALPHA = 1.7580993408473766


def engine() -> Any:
    """The Mersenne Twister of the default generator."""
    from flambeau.functions.random import default_generator

    return default_generator.engine


@function(grad="MulBackward0")
def _zeroed(input: Tensor, zero: Tensor) -> Tensor:
    return ops.mul(input, zero)


@function(grad="MulBackward0")
def _zeroed_written(input: Tensor, zero: Tensor) -> Tensor:
    return assign(input, ops.mul(input, zero))


@function(grad="MulBackward0")
def _masked(input: Tensor, kept: Tensor, scale: float) -> Tensor:
    return ops.dropout(input, kept, scale)


@function(grad="MulBackward0")
def _masked_written(input: Tensor, kept: Tensor, scale: float) -> Tensor:
    return assign(input, ops.dropout(input, kept, scale))


def _shifted(input: Tensor, kept: Tensor, scale: float, above: float, below: float) -> Tensor:
    """Dropout that adds a number where values are kept, another elsewhere."""
    dtype = input._meta.dtype
    shift = ops.where(kept, ops.full(above, shape=(), dtype=dtype), below)
    return ops.add(ops.dropout(input, kept, scale), shift)


@function(grad="AddBackward0")
def _shifted_masked(
    input: Tensor, kept: Tensor, scale: float, above: float, below: float
) -> Tensor:
    return _shifted(input, kept, scale, above, below)


@function(grad="AddBackward0")
def _shifted_masked_written(
    input: Tensor, kept: Tensor, scale: float, above: float, below: float
) -> Tensor:
    return assign(input, _shifted(input, kept, scale, above, below))


@lru_cache(256)
def _scale(kind: np.dtype, p: float) -> float:
    """What is kept is multiplied by: a division of the input's type, 16 bits' by way of 32."""
    wide = np.float64 if kind == np.float64 else np.float32
    return float(kind.type(wide(1) / wide(1 - p)))


@lru_cache(256)
def _affine(kind: np.dtype, p: float) -> tuple[float, float, float]:
    """Alpha dropout's factor, and what it adds to what is kept and to what is dropped."""
    a = 1.0 / math.sqrt((_ALPHA * _ALPHA * p + 1) * (1 - p))
    above = kind.type(_ALPHA * a * p)
    return float(kind.type(a)), float(above), float(kind.type(-1) * kind.type(_ALPHA * a) + above)


class _Drawn(Storage):
    """Truth values that another thread may still be drawing; programs wait by themselves."""

    @property
    def array(self) -> Any:
        if chores.waiting:
            chores.join()
        return Storage.array.fget(self)

    @array.setter
    def array(self, value: np.ndarray | None) -> None:
        self.memory = value


def _drawn(shape: tuple[int, ...], p: float) -> Tensor:
    """True with probability ``p``."""
    array = chosen_ahead(engine(), shape, p)
    kept = concrete(array, bool_)
    if chores.waiting:
        kept._storage = _Drawn(array)
    return kept


@function
def _turned(kept: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Its dimensions where the input has them: part of the program that reads it."""
    return ops.permute(kept, dims=dims)


def _dropped(
    input: Tensor, p: float, training: bool, inplace: bool, feature: bool, alpha: bool
) -> Tensor:
    """PyTorch's four dropouts: nothing is drawn for ``p`` 0 or 1 or outside of training."""
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    m = input._meta
    if p == 0 or not training or 0 in m.shape:
        return input
    kind = m.dtype.numpy
    if p == 1:
        zeroed = _zeroed_written if inplace else _zeroed
        return zeroed(input, made(np.zeros((), kind), m.dtype))
    if m.dtype.category < 2:
        raise RuntimeError(
            f"result type Float can't be cast to the desired output type {_title(m.dtype)}"
        )
    if kind.kind == "c":
        raise not_implemented("bernoulli_scalar_cpu_", kind)
    shape = m.shape
    if feature:
        if len(shape) < 2:
            raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
        shape = (*shape[:2], *(1,) * (len(shape) - 2))
    if is_absent(input):
        # On the meta device nothing is drawn.
        kept = concrete(np.zeros((), np.bool_), bool_)
    elif feature or (order := memory_order(input)) is None:
        kept = _drawn(shape, 1 - p)
    else:
        kept = _turned(_drawn(tuple([shape[d] for d in order]), 1 - p), restored(order))
    if alpha:
        shifted = _shifted_masked_written if inplace else _shifted_masked
        return shifted(input, kept, *_affine(kind, p))
    masked = _masked_written if inplace else _masked
    return masked(input, kept, _scale(kind, p))


@_tensors
def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each element is zero with probability ``p``, else multiplied by ``1 / (1 - p)``.

    Draws from the default generator as PyTorch does, in the order in which elements lie in memory,
    that is also for transposed views. Results of other functions are contiguous here, while
    PyTorch's keep the order of their operands: for ``dropout(relu(x.T))`` the same seed drops other
    elements. Raises ``ValueError`` unless 0 <= p <= 1.

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
