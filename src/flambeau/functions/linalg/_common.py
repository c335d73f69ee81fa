"""What functions of linear algebra share: checks of shapes and dtypes, transposes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import flambeau.ir.linalg
import flambeau.ir.numeric
import flambeau.ir.scattering
import flambeau.ir.spectral
import flambeau.ir.statistics  # noqa: F401  (declares primitives)
from flambeau.dtypes import bool_ as _bool
from flambeau.dtypes import int64
from flambeau.functions.checks import _refuse
from flambeau.functions.inplace import title
from flambeau.functions.promotion import cast
from flambeau.record.macro import ops

if TYPE_CHECKING:
    from flambeau.tensor import Tensor


def matrix(x: Tensor, name: str, what: str = "A") -> tuple[int, ...]:
    """The shape of (stacked) matrices; ``RuntimeError`` unless floating and at least 2-dim."""
    if x.dim() < 2:
        raise RuntimeError(f"{name}: The input tensor {what} must have at least 2 dimensions.")
    floating(x, name)
    return x._meta.shape


def need_kernel(kernel: str, x: Tensor) -> None:
    """``NotImplementedError`` for integral matrices, which a kernel of floating ones is given."""
    if x.dim() > 1 and x.dtype.category < 2:
        _refuse(kernel, x.dtype)


def floating(x: Tensor, name: str) -> None:
    """``RuntimeError`` unless the dtype is floating or complex of 32 bits or more a part."""
    if x.dtype.category < 2:
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {title(x.dtype)}"
        )
    if x.dtype.itemsize == 2:
        raise RuntimeError(f"{name}: Low precision dtypes not supported. Got {title(x.dtype)}")


def square(x: Tensor, name: str, what: str = "A") -> tuple[int, ...]:
    """The shape of (stacked) square matrices; ``RuntimeError`` if they are not."""
    shape = matrix(x, name, what)
    if shape[-1] != shape[-2]:
        raise RuntimeError(
            f"{name}: {what} must be batches of square matrices, but they are {shape[-2]} by "
            f"{shape[-1]} matrices"
        )
    return shape


def reshape(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``x`` in another shape, inside a body."""
    return x if x._meta.shape == tuple(shape) else ops.reshape(x, shape=tuple(shape))


def spread(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``x`` broadcast, inside a body."""
    return x if x._meta.shape == tuple(shape) else ops.broadcast(x, shape=tuple(shape))


def mt(x: Tensor) -> Tensor:
    """The last two dimensions exchanged."""
    n = x.dim()
    return ops.permute(x, dims=(*range(n - 2), n - 1, n - 2))


def mh(x: Tensor) -> Tensor:
    """The conjugate transpose."""
    return mt(ops.conj(x)) if x.dtype.is_complex else mt(x)


def column(v: Tensor) -> Tensor:
    """Vectors as matrices of one column."""
    return ops.reshape(v, shape=(*v._meta.shape, 1))


def triangle(x: Tensor, upper: bool, k: int = 0) -> Tensor:
    """The upper or lower triangle, from the k-th diagonal; zeros elsewhere."""
    n, m = x._meta.shape[-2:]
    rows = ops.add(ops.iota(shape=(n, m), dim=0, dtype=int64), k)
    columns = ops.iota(shape=(n, m), dim=1, dtype=int64)
    return ops.where((ops.le if upper else ops.ge)(rows, columns), x, 0.0)


def eye(n: int, m: int, like: Tensor) -> Tensor:
    """Ones on the diagonal."""
    rows = ops.iota(shape=(n, m), dim=0, dtype=int64)
    return cast(ops.eq(rows, ops.iota(shape=(n, m), dim=1, dtype=int64)), like.dtype)


def part(x: Tensor, dim: int, start: int, size: int) -> Tensor:
    """``size`` positions of a dimension from ``start``."""
    return ops.slice(x, start, dims=(dim % x.dim(),), sizes=(size,), steps=(1,))


def is_vector(a: Tensor, b: Tensor) -> bool:
    """Whether the right-hand sides ``b`` are vectors, one to each matrix of ``a``."""
    return b.dim() == 1 or (a.dim() - 1 == b.dim() and b._meta.shape == a._meta.shape[:-1])


def with_history(x: Tensor, of: Tensor) -> Tensor:
    """A constant result of a function of ``of``: its gradient is zero, but there is one."""
    total = ops.sum(of, dims=tuple(range(of.dim())), keepdim=False)
    return ops.where(ops.full(False, shape=(), dtype=_bool), total, x)


def eigenvalues(x: Tensor, upper: bool = False) -> Tensor:
    """Of Hermitian matrices; with the eigenvectors where a gradient will ask for those."""
    if x._meta.requires_grad:
        return ops.eigh(x, upper=upper)[0]
    return ops.eigvalsh(x, upper=upper)


def singular_values(x: Tensor) -> Tensor:
    """Descending; with the vectors where a gradient will ask for those."""
    return ops.svd(x, full_matrices=False)[1] if x._meta.requires_grad else ops.svdvals(x)
