"""Products of vectors and matrices, and sums of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.functions import dims as _dims
from flambeau.functions import promotion as _promotion
from flambeau.functions.checks import _need_real
from flambeau.functions.inplace import inplace
from flambeau.functions.precision import lowered
from flambeau.functions.precision import wide as _wide
from flambeau.functions.promotion import Number
from flambeau.record.builder import Num
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable


def _c_name(x: Tensor) -> str:
    from flambeau.functions.arithmetic import _c_name

    return _c_name(x)


def _same_dtype(x: Tensor, y: Tensor) -> None:
    if x.dtype is not y.dtype:
        raise RuntimeError(
            f"expected m1 and m2 to have the same dtype, but got: {_c_name(x)} != {_c_name(y)}"
        )


def _matrices(x: Tensor, y: Tensor) -> None:
    a, b = x._meta.shape, y._meta.shape
    if a[1] != b[0]:
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({a[0]}x{a[1]} and {b[0]}x{b[1]})"
        )


def _product(x: Tensor, y: Tensor) -> Tensor:
    _same_dtype(x, y)
    _matrices(x, y)
    return ops.matmul(x, y)


@function
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    r"""Product of two matrices: :math:`(n, m) \times (m, p) \to (n, p)`.

    >>> mm(tensor([[1.0, 2.0]]), tensor([[3.0], [4.0]]))
    tensor([[11.]])
    """
    input, mat2 = lowered(input, mat2)
    if input.dim() != 2:
        raise RuntimeError("self must be a matrix")
    if mat2.dim() != 2:
        raise RuntimeError("mat2 must be a matrix")
    return _product(input, mat2)


def _stacks(x: Tensor, y: Tensor, name: str) -> None:
    a, b = x._meta.shape, y._meta.shape
    for position, shape in (("batch1", a), ("batch2", b)):
        if len(shape) < 3 and name != "bmm":
            _dims.wrap_dim(2, len(shape))
        if len(shape) != 3:
            raise RuntimeError(f"{position} must be a 3D tensor")
    if a[0] != b[0] or a[2] != b[1]:
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{a[0]}, {a[2]}] but "
            f"got: [{b[0]}, {b[1]}]."
        )
    _same_dtype(x, y)


@function
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    r"""Products of stacked matrices: :math:`(b, n, m) \times (b, m, p) \to (b, n, p)`.

    >>> bmm(torch.ones(2, 1, 3), torch.ones(2, 3, 1)).shape
    torch.Size([2, 1, 1])
    """
    input, mat2 = lowered(input, mat2)
    _stacks(input, mat2, "bmm")
    return ops.matmul(input, mat2)


def _times_vector(x: Tensor, vec: Tensor) -> Tensor:
    if x.dim() != 2 or vec.dim() != 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got 1, {x.dim()}, {vec.dim()}")
    a, b = x._meta.shape, vec._meta.shape
    if a[1] != b[0]:
        raise RuntimeError(f"size mismatch, got input ({a[0]}), mat ({a[0]}x{a[1]}), vec ({b[0]})")
    _same_dtype(x, vec)
    y = ops.matmul(x, ops.reshape(vec, shape=(b[0], 1)))
    return ops.reshape(y, shape=(a[0],))


@function
def mv(input: Tensor, vec: Tensor) -> Tensor:
    r"""Matrix times vector: :math:`(n, m) \times (m) \to (n)`.

    >>> mv(tensor([[1.0, 2.0]]), tensor([3.0, 4.0]))
    tensor([11.])
    """
    return _times_vector(input, vec)


def _dotted(input: Tensor, other: Tensor, conjugate: bool, name: str) -> Tensor:
    if input.dim() != 1 or other.dim() != 1:
        raise RuntimeError(
            f"1D tensors expected, but got {input.dim()}D and {other.dim()}D tensors"
        )
    if input.dtype is not other.dtype:
        raise RuntimeError(
            f"{name} : expected both vectors to have same dtype, but found "
            f"{_c_title(input)} and {_c_title(other)}"
        )
    n, m = input._meta.shape[0], other._meta.shape[0]
    if n != m:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{n}] and src [{m}] to have the same "
            f"number of elements, but got {n} and {m} elements respectively"
        )
    x = ops.conj(input) if conjugate and input.dtype.is_complex else input
    y = ops.matmul(ops.reshape(x, shape=(1, n)), ops.reshape(other, shape=(n, 1)))
    return ops.reshape(y, shape=())


def _c_title(x: Tensor) -> str:
    from flambeau.functions.inplace import title

    return title(x.dtype)


@function
def _dot(input: Tensor, other: Tensor) -> Tensor:
    return _dotted(input, other, False, "dot")


def dot(
    input: Tensor, tensor: Tensor | None = None, *, other: Any = None, out: Any = None
) -> Tensor:
    r"""Product of two vectors: :math:`\sum_i x_i y_i`.

    >>> dot(tensor([1.0, 2.0]), tensor([3.0, 4.0]))
    tensor(11.)
    """
    return _dot(input, tensor if other is None else other, out=out)


@function
def vdot(input: Tensor, other: Tensor) -> Tensor:
    r"""Product of two vectors, the first conjugated: :math:`\sum_i \bar x_i y_i`.

    >>> vdot(tensor([1.0, 2.0]), tensor([3.0, 4.0]))
    tensor(11.)
    """
    return _dotted(input, other, True, "vdot")


def _scaled(x: Tensor, factor: Any, name: str, strict: bool) -> Tensor:
    if x.dtype.category < 2 and isinstance(factor, (float, Num)):
        kind = factor.type if isinstance(factor, Num) else float
        if strict and kind is float:
            raise RuntimeError(
                f"For integral input tensors, argument {name} must not be a floating point number."
            )
        factor = int(factor) if kind is float else factor
    if not isinstance(factor, Num) and factor == 1:
        return x
    if x.dtype.category == 0:
        return x if factor else ops.and_(x, False)
    return ops.mul(x, factor)


def _check_fits(given: tuple[int, ...], target: tuple[int, ...]) -> None:
    if len(given) > len(target):
        raise RuntimeError(
            f"expand: the number of sizes provided ({len(target)}) must be greater or equal to the "
            f"number of dimensions in the tensor ({len(given)})"
        )
    for i, n in enumerate(given, len(target) - len(given)):
        if n not in (1, target[i]):
            raise RuntimeError(
                f"The expanded size of the tensor ({target[i]}) must match the existing size ({n}) "
                f"at non-singleton dimension {i}.  Target sizes: {list(target)}.  Tensor sizes: "
                f"{list(given)}"
            )


def _plus(input: Tensor, product: Tensor, beta: Any, alpha: Any, strict: bool = False) -> Tensor:
    """beta * input + alpha * product; with beta 0 the input is not looked at.

    Floating factors of integral matrices are cut to integers, or refused where ``strict``.
    """
    _check_fits(input._meta.shape, product._meta.shape)
    if input.dtype is not product.dtype:
        raise RuntimeError(
            f"self and mat2 must have the same dtype, but got {_c_title(input)} and "
            f"{_c_title(product)}"
        )
    _need_real(input.dtype, beta, alpha)
    product = _scaled(product, alpha, "alpha", strict)
    # Looked at, so that it is an attribute and never a run-time number.
    if beta == 0:
        return product
    x = _scaled(input, beta, "beta", strict)
    return ops.or_(x, product) if x.dtype.category == 0 else ops.add(x, product)


def _plus_product(
    input: Tensor, a: Tensor, b: Tensor, product: Callable, beta: Any, alpha: Any
) -> Tensor:
    """``_plus`` of a product: of 16 bits rounded once, at the end."""
    kind = a.dtype
    if kind.category == 2 and kind.itemsize == 2 and input.dtype is b.dtype is kind:
        input, a, b = _wide(input, a, b)
        return ops.cast(_plus(input, product(a, b), beta, alpha), dtype=kind)
    return _plus(input, product(a, b), beta, alpha)


@function
def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: Number = 1
) -> Tensor:
    r"""A matrix plus a product: :math:`\beta x + \alpha A B`, ``input`` broadcast.

    >>> addmm(tensor([1.0]), tensor([[1.0, 2.0]]), tensor([[3.0], [4.0]]))
    tensor([[12.]])
    """
    input, mat1, mat2 = lowered(input, mat1, mat2)
    for name, m in (("mat1", mat1), ("mat2", mat2)):
        if m.dim() != 2:
            raise RuntimeError(f"{name} must be a matrix, got {m.dim()}-D tensor")
    return _plus_product(input, mat1, mat2, _product, beta, alpha)


@function
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: Number = 1) -> Tensor:
    r"""A vector plus a matrix times a vector: :math:`\beta x + \alpha A v`.

    >>> addmv(tensor([1.0]), tensor([[1.0, 2.0]]), tensor([3.0, 4.0]))
    tensor([12.])
    """
    return _plus_product(input, mat, vec, _times_vector, beta, alpha)


@function
def addr(
    input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: Number = 1
) -> Tensor:
    r"""A matrix plus an outer product: :math:`\beta x + \alpha u v^\top`.

    >>> addr(torch.zeros(2, 2), tensor([1.0, 2.0]), tensor([3.0, 4.0]))
    tensor([[3., 4.],
            [6., 8.]])
    """
    for name, v in (("vec1", vec1), ("vec2", vec2)):
        if v.dim() != 1:
            raise RuntimeError(f"addr: Expected 1-D argument {name}, but got {v.dim()}-D")
    x, u, v = _promotion.promoted(input, vec1, vec2)
    column = ops.reshape(u, shape=(*u._meta.shape, 1))
    outer = ops.and_(column, v) if x.dtype.category == 0 else ops.mul(column, v)
    return _plus(x, outer, beta, alpha, strict=True)


@function
def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: Number = 1
) -> Tensor:
    r"""A matrix plus the sum of products: :math:`\beta x + \alpha \sum_b A_b B_b`.

    >>> addbmm(torch.zeros(1, 1), torch.ones(2, 1, 3), torch.ones(2, 3, 1))
    tensor([[6.]])
    """
    input, batch1, batch2 = lowered(input, batch1, batch2)
    _stacks(batch1, batch2, "addbmm")
    product = ops.sum(ops.matmul(batch1, batch2), dims=(0,), keepdim=False)
    return _plus(input, product, beta, alpha)


@function
def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: Number = 1
) -> Tensor:
    r"""Matrices plus products: :math:`\beta x_b + \alpha A_b B_b`.

    >>> baddbmm(torch.zeros(1), torch.ones(2, 1, 3), torch.ones(2, 3, 1)).shape
    torch.Size([2, 1, 1])
    """
    input, batch1, batch2 = lowered(input, batch1, batch2)
    _stacks(batch1, batch2, "baddbmm")
    return _plus_product(input, batch1, batch2, ops.matmul, beta, alpha)


addmm_, addmv_, addr_, addbmm_, baddbmm_ = map(inplace, (addmm, addmv, addr, addbmm, baddbmm))


SAMPLES = {
    "mm": "x, m; m, spd; x, y.t(); i, k.t(); c, cm; empty, m; empty.t(), empty; half, half.t();"
    "!x, y; !x, v; !v, m; !x, i.t(); !x, batch",
    "bmm": "batch, spds; cube, batch; cube, cube.mT; i[None], k.t()[None]; batch[:0], batch[:0];"
    "c[None], cm[None]; !cube, cube; !x, m; !batch, batch[:1]; !batch, batch.double()",
    "mv": "x, v; m, w; i, k[0]; c, cv; empty, v; half, half[0] # no-second; !x, u; !v, v; !x, m;"
    "!x, i[0]",
    "dot": "v, w; i[0], j[0]; cv, cv; v[:0], w[:0]; half[0], half[1]; u, signs; !v, u; !x, v;"
    "!v, s; !v, i[0]; !v, 2.0",
    "vdot": "v, w; i[0], j[0]; cv, c[0]; v[:0], w[:0]; !v, u; !x, v; !v, i[0]",
    "addmm": "y, x, m; row, x, m; s, x, m; y, x, m, beta=0.5, alpha=2; y, x, m, beta=0;"
    "i, k, i.t()[:, :1] * j[0]; c, c, cm, alpha=1j; x * nan, x, m, beta=0; empty, empty, m;"
    "!x, x, y; !u, x, m; !x, i, m; i, i, k.t() @ k, beta=0.5; !x, v, m",
    "addmv": "u, x, v; s, x, v; v, m, w, beta=0.5, alpha=2; u, x, v, beta=0; labels, i, k[0];"
    "cv, cm, c[0]; u * nan, x, v, beta=0; !v, x, v; !u, x, u; !u, v, v; !u, x, i[0]",
    "addr": "x, u, v; row, u, v; s, u, v; x, u, v, beta=0.5, alpha=2; x, u, v, beta=0;"
    "i, labels, k[0]; d, c[:, 0], cv; !x, v, u; !x, x, v; !u, u, v; !i, labels, k[0], alpha=0.5",
    "addbmm": "m, batch, spds; m, batch, spds, beta=0.5, alpha=2; m, batch, spds, beta=0;"
    "x, cube, batch; j, i[None], k[None, :, :].mT @ k; m * nan, batch, batch, beta=0; !m, batch, x;"
    "!x, batch, batch; !m, batch, batch[:1]; !m, i[None], j.t()[None]",
    "baddbmm": "spds, batch, batch; m, batch, spds; spds, batch, batch, beta=0.5, alpha=2;"
    "row, cube, batch; s, cube, batch; spds, batch, batch, beta=0;"
    "j[None], i[None], (k.t() @ k)[None]; batch * nan, batch, spds, beta=0; !batch, batch, x;"
    "!u, batch, batch; !batch, batch, batch[:1]",
}
