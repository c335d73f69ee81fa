"""Softmax, its relatives, and unit vectors."""

from __future__ import annotations

import warnings

import flambeau.ir.statistics  # noqa: F401  (declares primitives)
from flambeau.functions.arithmetic import neg
from flambeau.functions.checks import _need_floats
from flambeau.functions.dims import wrap_dim
from flambeau.functions.promotion import Number
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor


def _softmax_dim(name: str, ndim: int) -> int:
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include "
        "dim=X as an argument.",
        stacklevel=3,
    )
    return 0 if ndim in (0, 1, 3) else 1


@function(grad="SoftmaxBackward0")
def _softmax(input: Tensor, dim: int, dtype: object = None) -> Tensor:
    d = wrap_dim(dim, input.dim())
    if dtype is not None and dtype is not input.dtype:
        input = ops.cast(input, dtype=dtype)
    _need_floats("softmax_kernel_impl", input)
    return ops.softmax(input, dim=d)


@function(grad="LogSoftmaxBackward0")
def _log_softmax(input: Tensor, dim: int, dtype: object = None) -> Tensor:
    d = wrap_dim(dim, input.dim())
    if dtype is not None and dtype is not input.dtype:
        input = ops.cast(input, dtype=dtype)
    _need_floats("log_softmax_lastdim_kernel_impl", input)
    return ops.log_softmax(input, dim=d)


@function(grad="SoftmaxBackward0")
def _softmin(input: Tensor, dim: int, dtype: object = None) -> Tensor:
    return _softmax(neg(input), dim, dtype)


def _wanted(third: object, dtype: object) -> object:
    """``torch.softmax`` and the method take the dtype where ``F.softmax`` has its stack level."""
    return dtype if third is None or isinstance(third, int) else third


def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: object = None
) -> Tensor:
    r""":math:`e^{x_i} / \sum_j e^{x_j}` along a dimension, computed in ``dtype`` if given.

    >>> softmax(tensor([0.0, 0.0]), 0)
    tensor([0.5000, 0.5000])
    """
    if dim is None:
        dim = _softmax_dim("softmax", input.dim())
    return _softmax(input, dim, _wanted(_stacklevel, dtype))


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: object = None
) -> Tensor:
    r""":math:`x_i - \log \sum_j e^{x_j}` along a dimension, computed in ``dtype`` if given.

    >>> log_softmax(tensor([0.0, 0.0]), 0)
    tensor([-0.6931, -0.6931])
    """
    if dim is None:
        dim = _softmax_dim("log_softmax", input.dim())
    return _log_softmax(input, dim, _wanted(_stacklevel, dtype))


def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: object = None
) -> Tensor:
    """``softmax`` of the negatives.

    >>> softmin(tensor([0.0, 0.0]), 0)
    tensor([0.5000, 0.5000])
    """
    if dim is None:
        dim = _softmax_dim("softmin", input.dim())
    return _softmin(input, dim, dtype)


@function(grad="SoftmaxBackward0")
def _gumbel(logits: Tensor, noise: Tensor, tau: Number, dim: int) -> Tensor:
    return ops.softmax(ops.div(ops.add(logits, noise), tau), dim=wrap_dim(dim, logits.dim()))


@function(grad="AddBackward0")
def _straight_through(soft: Tensor, dim: int) -> Tensor:
    from flambeau import dtypes

    d = wrap_dim(dim, soft.dim())
    best = ops.argmax(soft, dim=d, keepdim=True)
    at = ops.iota(shape=soft._meta.shape, dim=d, dtype=dtypes.int64)
    hard = ops.cast(ops.eq(at, best), dtype=soft.dtype)
    return ops.add(ops.sub(hard, ops.detach(soft)), soft)


def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """A sample of the relaxed categorical distribution [Jang 2016].

    ``hard`` gives one-hot vectors with the gradient of the relaxed ones.
    """
    import numpy as np

    from flambeau.functions.nn._common import made
    from flambeau.functions.nn.dropout import engine
    from flambeau.run.random import exponential

    dtype = logits._meta.dtype
    noise = exponential(engine(), logits._meta.shape, 1.0, dtype.numpy)
    with np.errstate(divide="ignore"):
        noise = (-np.log(noise)).astype(dtype.numpy)
    soft = _gumbel(logits, made(noise, dtype), float(tau), dim)
    return _straight_through(soft, dim) if hard else soft


@function(grad="DivBackward0")
def _normalize(input: Tensor, p: float, dim: object, eps: Number) -> Tensor:
    dims = dim if isinstance(dim, tuple) else (dim,)
    if input.dtype.category < 2:
        from flambeau.functions.inplace import title

        raise RuntimeError(
            "linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
            f"{title(input.dtype)}"
        )
    dims = tuple(wrap_dim(d, input.dim()) for d in dims)[: input.dim()]
    size = ops.vector_norm(input, dims=dims, keepdim=True, p=float(p))
    size = ops.where(ops.lt(size, eps), eps, size)
    if input.dtype.is_complex:
        size = ops.cast(size, dtype=input.dtype)
    return ops.div(input, size)


def normalize(
    input: Tensor,
    p: float = 2.0,
    dim: int | tuple[int, ...] | None = 1,
    eps: float = 1e-12,
    out: Tensor | None = None,
) -> Tensor:
    r""":math:`x / \max(\lVert x \rVert_p, \epsilon)` along dimensions, or (None) over all.

    >>> normalize(tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """
    if dim is None:
        dim = tuple(range(input.dim()))
    dim = tuple(dim) if isinstance(dim, (tuple, list)) else dim
    return _normalize(input, float(p), dim, float(eps), out=out)


SAMPLES = {
    "nn.functional.softmax": "x, 0; x, dim=-1; big, 1; special, 0; s, 0; empty, 1;"
    " i, 0, dtype=torch.float32; half, 1, dtype=torch.float32; cube, 1; !x, 2; !i, 0",
    "nn.functional.log_softmax": "x, 0; x, dim=-1; big, 1; special, 0; s, 0; empty, 1;"
    " i, 1, dtype=torch.float64; cube, 1; !x, -3; !truth, 0",
    "nn.functional.softmin": "x, 0; x, dim=-1; big, 1; s, 0; x, 1, dtype=torch.float64; !x, 2",
    "nn.functional.gumbel_softmax": "x; x, tau=0.5, dim=0; x, hard=True; x, 2.0, True, dim=-2;"
    " !x, dim=2; !i",
    "nn.functional.normalize": "x; x, 1; x, 3.0, 0; x, p=inf, dim=-1; x, dim=(0, 1);"
    " cube, 2.0, (0, 2); x * 0, eps=0.5; big, p=1, dim=0; !x, dim=2; !i",
}
