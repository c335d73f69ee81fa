"""Views with the dimensions in another order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.functions.dims import sizes_given, wrap_dim
from flambeau.functions.geometry import _remembered
from flambeau.ir.primitive import PRIMITIVES
from flambeau.record import alias

if TYPE_CHECKING:
    from flambeau.tensor import Tensor

P = PRIMITIVES


@_remembered
def permute(input: Tensor, *dims: Any, **kwargs: Any) -> Tensor:
    """The dimensions in another order.

    >>> permute(zeros(2, 3), (1, 0)).shape
    torch.Size([3, 2])
    """
    order = sizes_given("permute", "dims", dims, kwargs)
    if len(order) != input.dim():
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the "
            f"length of the desired ordering of dimensions i.e. input.dim() = {input.dim()} is "
            f"not equal to len(dims) = {len(order)}"
        )
    order = tuple(wrap_dim(d, input.dim()) for d in order)
    if len(set(order)) != len(order):
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return _ordered(input, order, "PermuteBackward0")


def _ordered(input: Tensor, order: tuple[int, ...], grad: str) -> Tensor:
    shape, strides, offset = alias.spec_of(input)
    spec = (tuple(shape[d] for d in order), tuple(strides[d] for d in order), offset)
    return alias.view(input, spec, P["permute"], dims=order, grad=grad)


@_remembered
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged.

    >>> transpose(zeros(2, 3), 0, 1).shape
    torch.Size([3, 2])
    """
    n = input.dim()
    a, b = wrap_dim(dim0, n), wrap_dim(dim1, n)
    order = list(range(n))
    if n:
        order[a], order[b] = b, a
    return _ordered(input, tuple(order), "TransposeBackward0")


@_remembered
def t(input: Tensor) -> Tensor:
    """A matrix transposed; vectors and scalars as they are. ``RuntimeError`` past 2 dimensions.

    >>> t(zeros(2, 3)).shape
    torch.Size([3, 2])
    """
    if input.dim() > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.dim()}D")
    return _ordered(input, tuple(reversed(range(input.dim()))), "TBackward0")


@_remembered
def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Dimensions moved to other places, the others kept in order.

    >>> movedim(zeros(2, 3, 4), 0, -1).shape
    torch.Size([3, 4, 2])
    """
    n = input.dim()
    one = isinstance(source, int)
    src = [wrap_dim(d, n) for d in ([source] if one else source)]
    dst = [wrap_dim(d, n) for d in ([destination] if one else destination)]
    if len(src) != len(dst):
        raise RuntimeError(
            "movedim: Invalid source or destination dims: source (" + f"{src} dims) should "
            f"contain the same number of dims as destination ({dst} dims)"
        )
    for name, dims in (("source", src), ("destination", dst)):
        if len(set(dims)) != len(dims):
            raise RuntimeError(f"movedim: repeated dim in `{name}` ({dims})")
    rest = iter(d for d in range(n) if d not in src)
    place = dict(zip(dst, src, strict=True))
    return permute(input, [place[i] if i in place else next(rest) for i in range(n)])


@_remembered
def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """``transpose``."""
    return transpose(input, axis0, axis1)


@_remembered
def swapdims(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """``transpose``."""
    return transpose(input, dim0, dim1)


moveaxis = movedim


def adjoint(input: Tensor) -> Tensor:
    """The last two dimensions exchanged and conjugated."""
    if input.dim() < 2:
        raise RuntimeError(
            f"tensor.adjoint() is only supported on matrices or batches of matrices. Got "
            f"{input.dim()}-D tensor."
        )
    swapped = transpose(input, -2, -1)
    return alias.turn(swapped, "conj", "ConjBackward0") if input.is_complex() else swapped


SAMPLES = {
    "adjoint": "x; c; batch; i; !v",
    "moveaxis": "cube, 0, 2; cube, (0, 1), (1, 0); cube, -1, 0; x, 0, 1; i, 1, 0; s, (), ();"
    "!x, 0, 2; !cube, (0, 1), (0,); !cube, (0, 0), (1, 2)",
    "movedim": "cube, 0, 2; cube, (0, 1), (1, 0); cube, -1, 0; x, 0, 1; !x, 0, 2;"
    "!cube, (0, 1), (0,); !cube, (0, 0), (1, 2)",
    "permute": "cube, (2, 0, 1); x, (-1, 0); s, (); i, [1, 0]; empty, (1, 0); !x, (0, 0); !x, (0,);"
    "!x, (0, 2)",
    "swapaxes": "x, 0, 1; cube, 0, -1; v, 0, 0; s, 0, -1; !x, 0, 2; !x, 0",
    "swapdims": "x, 0, 1; cube, 0, -1; !x, 0, 2",
    "t": "x; v; s; i; empty; !cube",
    "transpose": "x, 0, 1; cube, 0, -1; v, 0, 0; i, -1, -2; s, 0, 0; !x, 0, 2; !x, 0; !x, 'a', 'b'",
    "Tensor.swapaxes_": "i, 0, 1; torch.zeros(2, 3, 4), 0, -1; !i, 0, 2",
    "Tensor.swapdims_": "i, 0, 1; torch.zeros(2, 3, 4), 0, -1; !i, 0, 2",
    "Tensor.t_": "i; labels; !torch.zeros(1, 1, 1)",
    "Tensor.transpose_": "i, 0, 1; torch.zeros(2, 3, 4), 0, -1; !i, 0, 2",
}
