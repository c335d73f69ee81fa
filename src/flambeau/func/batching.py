"""Batching rules: for each primitive, how it is applied to a batch of operands at once.

A batched value has its batch as dimension 0, before the dimensions that the recorded example has.
A rule gets the batch and the entry; it gives the primitive's results with the batch in front.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.ir.graph import Const
from flambeau.record.single import apply, ops

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.ir.graph import Aval, Entry
    from flambeau.tensor import Tensor

__all__ = ["Batch", "Operand"]


class Operand:
    """An operand of an entry: a tensor or a number, and whether it has the batch in front."""

    __slots__ = ("value", "aval", "batched")

    def __init__(self, value: Any, aval: Aval, batched: bool) -> None:
        self.value = value
        self.aval = aval
        self.batched = batched

    @property
    def is_number(self) -> bool:
        return self.aval.dtype is None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return self.aval.shape


class Batch:
    """One entry with its operands, while its rule runs."""

    def __init__(self, size: int, entry: Entry, operands: Sequence[Operand]) -> None:
        self.size = size
        self.entry = entry
        self.operands = list(operands)

    @property
    def attrs(self) -> dict[str, Any]:
        return self.entry.attrs

    def __iter__(self) -> Any:
        return iter(self.operands)

    def __getitem__(self, i: int) -> Operand:
        return self.operands[i]

    def run(self, *values: Any, **changed: Any) -> Any:
        """The primitive itself, some attributes changed."""
        return apply(self.entry.prim, *values, **{**self.attrs, **changed})

    def aligned(self, x: Operand, ndim: int) -> Any:
        """A value that broadcasts beside others of ``ndim`` dimensions an example."""
        if not x.batched or len(x.shape) >= ndim:
            return x.value
        ones = (1,) * (ndim - len(x.shape))
        return ops.reshape(x.value, shape=(self.size, *ones, *x.shape))

    def full(self, x: Operand) -> Any:
        """A value with the batch in front, repeated if it had none; numbers stay."""
        if x.batched or x.is_number:
            return x.value
        return ops.broadcast(x.value, shape=(self.size, *x.shape))

    def fulls(self) -> list[Any]:
        return [self.full(x) for x in self]

    def results(self) -> tuple[Any, ...]:
        """What the entry gives for the whole batch."""
        rule = RULES.get(self.entry.prim.name, one_by_one)
        found = rule(self)
        found = found if isinstance(found, tuple) else (found,)
        for x, aval in zip(found, self.entry.out_avals, strict=True):
            if tuple(x._meta.shape) != (self.size, *aval.shape):
                raise AssertionError(
                    f"the batching rule of {self.entry.prim.name} gave {tuple(x._meta.shape)} "
                    f"for {self.size} of {aval.shape}"
                )
        return found


Rule = Callable[[Batch], Any]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    def enter(f: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, f))
        return f

    return enter


def one_by_one(b: Batch) -> Any:
    """Any primitive: each example alone, the results stacked."""
    if b.size == 0:
        outs = tuple(ops.full(0, shape=(0, *a.shape), dtype=a.dtype) for a in b.entry.out_avals)
        return outs
    columns: list[list[Tensor]] = [[] for _ in b.entry.out_avals]
    for i in range(b.size):
        given = [example(x.value, i, x.shape) if x.batched else x.value for x in b]
        found = b.run(*given)
        for column, x in zip(columns, found if isinstance(found, tuple) else (found,), strict=True):
            column.append(ops.reshape(x, shape=(1, *x._meta.shape)))
    return tuple(ops.concat(*c, dim=0) for c in columns)


def example(x: Tensor, i: int, shape: tuple[int, ...]) -> Tensor:
    """The ``i``-th of a batch."""
    return ops.reshape(ops.slice(x, i, dims=(0,), sizes=(1,), steps=(1,)), shape=shape)


# ------------------------------------------------------------------------------ pointwise


@rule(
    "abs", "acos", "acosh", "add", "airy_ai", "and", "asin", "asinh", "atan", "atan2",
    "atanh", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "binary_cross_entropy", "cast",
    "ceil", "clamp", "clamp_max", "clamp_min", "clone", "complex", "conj", "copysign", "cos",
    "cosh", "detach", "digamma", "div", "dropout", "entr", "eq", "erf", "erfc", "erfcx", "erfinv",
    "exp", "exp2", "expm1", "floor", "floor_divide", "fmax", "fmin", "fmod", "frexp", "gate",
    "gcd", "ge", "gt", "heaviside", "hypot", "i0", "i0e", "i1", "i1e", "igamma", "igammac", "imag",
    "isfinite", "isinf", "isnan", "lcm", "le", "lerp", "lgamma", "log", "log10", "log1p", "log2",
    "log_ndtr", "logaddexp", "logaddexp2", "logit", "lt", "maximum", "minimum", "mul", "ndtr",
    "ndtri", "ne", "neg", "nextafter", "not", "or", "polygamma", "pow", "real", "reciprocal",
    "relu", "remainder", "round", "round_decimals", "rsqrt", "sgn", "shift_left", "shift_right",
    "sigmoid", "sign", "signbit", "sin", "sinc", "sinh", "sqrt", "square", "sub", "tan", "tanh",
    "trunc",
    "trunc_divide", "where", "xlog1py", "xlogy", "xor", "zeta",
)  # fmt: skip
def pointwise(b: Batch) -> Any:
    ndim = max(len(x.shape) for x in b)
    return b.run(*[b.aligned(x, ndim) for x in b])


@rule("rebase", "shared_gradient", "tied", "dirichlet_draw", "standard_gamma_draw")
def alike(b: Batch) -> Any:
    """All operands have the same shape, or are numbers."""
    return b.run(*b.fulls())


# ------------------------------------------------------------------ along some dimensions


def shifted(dims: Sequence[int]) -> tuple[int, ...]:
    """Dimensions of an example as those of a batch; those counted from the end stay."""
    return tuple(d + 1 if d >= 0 else d for d in dims)


@rule(
    "all", "amax", "amin", "any", "fft", "flip", "irfft", "logsumexp", "prod", "rfft",
    "standardize", "standardize_gradient", "std", "sum", "var", "vector_norm", "xor_of_bits",
)  # fmt: skip
def over_dims(b: Batch) -> Any:
    return b.run(*b.fulls(), dims=shifted(b.attrs["dims"]))


@rule(
    "argcummax", "argcummin", "argkth", "argmax", "argmedian", "argmin", "argmode", "argnanmedian",
    "argsort", "argtopk", "cumprod", "cumsum", "gather", "log_softmax", "log_softmax_gradient",
    "logcumsumexp", "scatter", "scatter_add", "scatter_reduce", "softmax", "softmax_gradient",
)  # fmt: skip
def along_dim(b: Batch) -> Any:
    if any(not x.is_number and not x.shape for x in b):
        # PyTorch lets numbers have a dimension 0 or -1 of size 1.
        return scalars(b)
    (dim,) = shifted((b.attrs["dim"],))
    return b.run(*b.fulls(), dim=dim)


def scalars(b: Batch) -> Any:
    """An example without dimensions is one with a dimension of size 1."""
    given = []
    for x in b:
        value = b.full(x)
        if not x.is_number and not x.shape:
            value = ops.reshape(value, shape=(b.size, 1))
        given.append(value)
    found = b.run(*given, dim=1)
    outs = found if isinstance(found, tuple) else (found,)
    return tuple(
        ops.reshape(x, shape=(b.size, *a.shape))
        for x, a in zip(outs, b.entry.out_avals, strict=True)
    )


@rule("concat")
def concat(b: Batch) -> Any:
    return b.run(*b.fulls(), dim=shifted((b.attrs["dim"],))[0])


# ---------------------------------------------------------------------------------- shapes


@rule("reshape")
def reshape(b: Batch) -> Any:
    return b.run(b[0].value, shape=(b.size, *b.attrs["shape"]))


@rule("broadcast")
def broadcast(b: Batch) -> Any:
    shape = b.attrs["shape"]
    return b.run(b.aligned(b[0], len(shape)), shape=(b.size, *shape))


@rule("permute")
def permute(b: Batch) -> Any:
    return b.run(b[0].value, dims=(0, *shifted(b.attrs["dims"])))


@rule("slice")
def slice_(b: Batch) -> Any:
    if any(x.batched for x in b.operands[1:]):
        return one_by_one(b)
    return b.run(*[x.value for x in b], dims=shifted(b.attrs["dims"]))


@rule("unslice")
def unslice(b: Batch) -> Any:
    shape = (b.size, *b.attrs["shape"])
    return b.run(*[x.value for x in b], dims=shifted(b.attrs["dims"]), shape=shape)


@rule("pad")
def pad(b: Batch) -> Any:
    if b[1].batched:
        return one_by_one(b)
    return b.run(b[0].value, b[1].value, pads=((0, 0), *b.attrs["pads"]))


def strides_of(b: Batch, base: tuple[int, ...]) -> dict[str, Any]:
    """Examples of shape ``base`` lie one behind another."""
    return {
        "shape": (b.size, *b.attrs["shape"]),
        "strides": (math.prod(base), *b.attrs["strides"]),
    }


@rule("as_strided")
def as_strided(b: Batch) -> Any:
    return b.run(*b.fulls(), **strides_of(b, b[0].shape))


@rule("write_strided")
def write_strided(b: Batch) -> Any:
    return b.run(*b.fulls(), **strides_of(b, b[0].shape))


@rule("unstrided")
def unstrided(b: Batch) -> Any:
    base = b.attrs["base"]
    return b.run(*b.fulls(), base=(b.size, *base), **strides_of(b, base))


# ------------------------------------------------------------------------------- matrices


@rule("matmul")
def matmul(b: Batch) -> Any:
    x, y = b
    if not y.batched and len(y.shape) == 2 and len(x.shape) >= 2:
        # Rows of all examples together: one product of two matrices.
        rows = ops.reshape(x.value, shape=(b.size * math.prod(x.shape[:-1]), x.shape[-1]))
        return ops.reshape(ops.matmul(rows, y.value), shape=(b.size, *x.shape[:-1], y.shape[-1]))
    ndim = max(len(x.shape), len(y.shape))
    return b.run(b.aligned(x, ndim), b.aligned(y, ndim))


@rule(
    "cholesky_solve", "cofactor", "complex_to_pairs", "det", "eig", "ldl", "ldl_solve", "lu",
    "matrix_exp", "pairs_to_complex", "pivots_to_order", "qr", "slogdet", "svd", "eigh",
    "eigvalsh", "svdvals",
)  # fmt: skip
def stacks(b: Batch) -> Any:
    """Primitives of the last dimensions, whatever lies before them."""
    return b.run(*b.fulls())


@rule("attention", "attention_gradient")
def attention(b: Batch) -> Any:
    ndim = max(len(x.shape) for x in b.operands[:3])
    mask = b.operands[4:] if b.entry.prim.name == "attention" else []
    masks = [b.aligned(x, ndim) for x in mask]
    if b.entry.prim.name == "attention":
        return b.run(*[b.full(x) for x in b.operands[:4]], *masks)
    return one_by_one(b)


# -------------------------------------------------------------------------------- indices


@rule("index")
def index(b: Batch) -> Any:
    x, *indices = b
    where = b.attrs["where"]
    if not any(i.batched for i in indices):
        if all(n - m == 1 for m, n in pairwise(where)):
            return b.run(x.value, *[i.value for i in indices], where=shifted(where))
        return one_by_one(b)
    ndim = max(len(i.shape) for i in indices)
    given = [b.aligned(i, ndim) for i in indices]
    if x.batched:
        # The dimensions of the indices come first where another lies between those they index.
        found = b.run(x.value, rows(b, ndim), *given, where=(0, *shifted(where)))
        first = all(n - m == 1 for m, n in pairwise((-1, *where)))
    else:
        found = b.run(x.value, *given, where=where)
        first = where[0] == 0 or any(n - m != 1 for m, n in pairwise(where))
        if first:
            return found
    if first:
        return found
    return placed(b, found, ndim, where, x.batched)


def placed(b: Batch, found: Any, ndim: int, where: tuple[int, ...], in_front: bool) -> Any:
    """The indices' dimensions, the batch first of them, to where an example has them."""
    adjacent = all(n - m == 1 for m, n in pairwise(where))
    at = where[0] if adjacent else 0
    total = found._meta.shape
    if in_front:
        # batch, indices, rest: the rest's first part goes before the indices.
        order = [0, *range(1 + ndim, 1 + ndim + at), *range(1, 1 + ndim)]
        order += range(1 + ndim + at, len(total))
    else:
        # rest's first part, batch, indices, rest: the batch goes to the front.
        order = [at, *range(at), *range(at + 1, len(total))]
    return ops.permute(found, dims=tuple(order))


def rows(b: Batch, ndim: int) -> Any:
    """The number of each example, to index beside indices of ``ndim`` dimensions."""
    from flambeau.dtypes import int64

    return ops.iota(shape=(b.size, *(1,) * ndim), dim=0, dtype=int64)


@rule("index_put")
def index_put(b: Batch) -> Any:
    base, value, *indices = b
    where = b.attrs["where"]
    adjacent = all(n - m == 1 for m, n in pairwise(where))
    ndim = max(len(i.shape) for i in indices)
    if not adjacent or where[0] != 0:
        return one_by_one(b)
    # An example's result has the indices' dimensions first, as the batch's then has.
    result = ndim + len(base.shape) - len(where)
    given = [b.aligned(i, ndim) for i in indices]
    written = b.aligned(value, result) if value.batched else value.value
    return b.run(b.full(base), written, rows(b, ndim), *given, where=(0, *shifted(where)))


@rule("embedding")
def embedding(b: Batch) -> Any:
    weight, places = b
    if not weight.batched:
        return b.run(weight.value, places.value)
    n = weight.shape[0]
    table = ops.reshape(weight.value, shape=(b.size * n, *weight.shape[1:]))
    if b.attrs["padding"] is not None and b.attrs["padding"] >= 0:
        return one_by_one(b)
    return b.run(table, apart(b, places, n))


def apart(b: Batch, places: Operand, n: int) -> Any:
    """Places in tables of ``n`` rows, as places in all those tables one behind another."""
    starts = ops.mul(rows(b, len(places.shape)), n)
    return ops.add(b.full(places), starts)


@rule("embedding_gradient")
def embedding_gradient(b: Batch) -> Any:
    g, places = b
    if b.attrs["padding"] is not None and b.attrs["padding"] >= 0:
        return one_by_one(b)
    n = b.attrs["rows"]
    found = b.run(b.full(g), apart(b, places, n), rows=b.size * n)
    return ops.reshape(found, shape=(b.size, n, *found._meta.shape[1:]))


@rule("searchsorted")
def searchsorted(b: Batch) -> Any:
    edges, values = b[0], b[1]
    if len(b.operands) > 2 or (edges.batched and len(edges.shape) != len(values.shape)):
        return one_by_one(b)
    if not edges.batched and len(edges.shape) == 1:
        return b.run(edges.value, values.value)
    return b.run(*b.fulls())


# ------------------------------------------------------------------- batches of their own


def merged(x: Any, size: int, shape: tuple[int, ...]) -> Any:
    """The batch laid out along an example's first dimension."""
    return ops.reshape(x, shape=(size * shape[0], *shape[1:]))


def parted(x: Any, size: int, shape: tuple[int, ...]) -> Any:
    """The reverse, to examples of ``shape``."""
    return ops.reshape(x, shape=(size, *shape))


@rule(
    "adaptive_avg_pool", "adaptive_avg_pool_gradient", "adaptive_max_pool", "avg_pool",
    "avg_pool_gradient", "border", "border_gradient", "interpolate", "interpolate_gradient",
    "max_pool", "patches", "plane_add", "plane_put", "plane_take", "unpatches",
)  # fmt: skip
def images(b: Batch) -> Any:
    """Primitives of (N, C, *spatial): the batch is more of N."""
    given = [x.value if x.is_number else merged(b.full(x), b.size, x.shape) for x in b]
    found = b.run(*given)
    outs = found if isinstance(found, tuple) else (found,)
    return tuple(parted(x, b.size, a.shape) for x, a in zip(outs, b.entry.out_avals, strict=True))


def side_by_side(x: Any, size: int, shape: tuple[int, ...]) -> Any:
    """(B, N, C, *spatial) to (N, B C, *spatial)."""
    n, c, *rest = shape
    order = (1, 0, *range(2, len(shape) + 1))
    return ops.reshape(ops.permute(x, dims=order), shape=(n, size * c, *rest))


def stacked_again(x: Any, size: int, shape: tuple[int, ...]) -> Any:
    """(N, B C, *spatial) to (B, N, C, *spatial)."""
    n, c, *rest = shape
    parts = ops.reshape(x, shape=(n, size, c, *rest))
    return ops.permute(parts, dims=(1, 0, *range(2, len(shape) + 1)))


@rule("convolution", "convolution_input_gradient")
def convolution(b: Batch) -> Any:
    x, w = b
    (out,) = b.entry.out_avals
    if not w.batched:
        return parted(b.run(merged(x.value, b.size, x.shape), w.value), b.size, out.shape)
    # Kernels of their own: each example is a group of channels.
    images_ = side_by_side(b.full(x), b.size, x.shape)
    kernels = merged(w.value, b.size, w.shape)
    found = b.run(images_, kernels, groups=b.size * b.attrs["groups"])
    return stacked_again(found, b.size, out.shape)


@rule("convolution_weight_gradient")
def convolution_weight_gradient(b: Batch) -> Any:
    g, x = (side_by_side(b.full(o), b.size, o.shape) for o in b)
    found = b.run(g, x, groups=b.size * b.attrs["groups"])
    return parted(found, b.size, b.entry.out_avals[0].shape)


# --------------------------------------------------------------------------------- classes


@rule("nll")
def nll(b: Batch) -> Any:
    x, target, *weight = b
    if weight or not len(x.shape):
        return one_by_one(b)
    each = losses(b, x, target)
    if b.attrs["reduction"] == "none":
        return each
    total = summed(each)
    if b.attrs["reduction"] == "sum" or not target.shape:
        return total
    return ops.div(total, counted(b, target, x.aval.dtype))


def losses(b: Batch, x: Operand, target: Operand) -> Any:
    """The loss of every target."""
    shape = target.shape
    if len(x.shape) == 1:
        found = b.run(b.full(x), b.full(target), reduction="none")
    else:
        values = merged(b.full(x), b.size, x.shape)
        found = b.run(values, merged(b.full(target), b.size, shape), reduction="none")
    return ops.reshape(found, shape=(b.size, *shape))


def summed(x: Any) -> Any:
    dims = tuple(range(1, len(x._meta.shape)))
    return ops.sum(x, dims=dims, keepdim=False) if dims else x


def counted(b: Batch, target: Operand, dtype: Any) -> Any:
    """How many targets of each example count."""
    return summed(ops.cast(ops.ne(b.full(target), b.attrs["ignore"]), dtype=dtype))


@rule("nll_gradient")
def nll_gradient(b: Batch) -> Any:
    g, target, *weight = b
    shape = b.attrs["shape"]
    if weight or not shape:
        return one_by_one(b)
    upstream = b.full(g)
    if b.attrs["reduction"] != "none":
        if b.attrs["reduction"] == "mean" and target.shape:
            upstream = ops.div(upstream, counted(b, target, g.aval.dtype))
        ones = (1,) * len(target.shape)
        upstream = ops.reshape(upstream, shape=(b.size, *ones))
        upstream = ops.broadcast(upstream, shape=(b.size, *target.shape))
    if len(shape) == 1:
        return b.run(upstream, b.full(target), reduction="none", shape=(b.size, *shape))
    found = b.run(
        merged(upstream, b.size, target.shape),
        merged(b.full(target), b.size, target.shape),
        reduction="none",
        shape=(b.size * shape[0], *shape[1:]),
    )
    return parted(found, b.size, shape)


def constant(value: Const, aval: Aval) -> Any:
    """A literal operand as a rule can use it."""
    from flambeau.tensor import concrete

    if isinstance(value.value, np.ndarray) and aval.dtype is not None:
        return concrete(value.value, aval.dtype)
    return value.value
