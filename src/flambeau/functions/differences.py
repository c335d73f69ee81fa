"""Differences and areas along a dimension, and how variables vary together."""

from __future__ import annotations

import warnings
from typing import Any

from flambeau import dtypes
from flambeau.functions.dims import wrap_dim, wrap_dims
from flambeau.functions.promotion import Number, cast, floating, promoted, result_type
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor


def _part(x: Tensor, dim: int, start: int, stop: int) -> Tensor:
    """Positions ``start`` to ``stop`` of a dimension, inside a body."""
    return ops.slice(x, start, dims=(dim,), sizes=(stop - start,), steps=(1,))


@function
def diff(
    input: Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """Differences of neighbours along a dimension, taken ``n`` times.

    >>> diff(tensor([1, 3, 2]))
    tensor([ 2, -1])
    """
    if input.dim() < 1:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    d = wrap_dim(dim, input.dim())
    parts = [t for t in (prepend, input, append) if t is not None]
    for t in parts:
        if t.dim() != input.dim():
            raise RuntimeError("diff expects prepend or append to be the same dimension as input")
        for k, (a, b) in enumerate(zip(t._meta.shape, input._meta.shape, strict=True)):
            if k != d and a != b:
                raise RuntimeError(
                    "diff expects the shape of tensor to prepend or append to match that of input "
                    "except along the differencing dimension; "
                    f"input.size({k}) = {b}, but got tensor.size({k}) = {a}"
                )
    x = input
    if n == 0:
        return ops.clone(x)
    if len(parts) > 1:
        dtype = result_type(*parts)
        x = ops.concat(*[cast(t, dtype) for t in parts], dim=d)
    size = x._meta.shape[d]
    if n >= size:
        return _part(x, d, 0, 0)
    for _ in range(n):
        size = x._meta.shape[d]
        late, early = _part(x, d, 1, size), _part(x, d, 0, size - 1)
        x = ops.xor(late, early) if x.dtype is dtypes.bool_ else ops.sub(late, early)
    return x


# --------------------------------------------------------------------------------- gradient


@function
def _slope(input: Tensor, dim: int, spacing: Number, edge_order: int) -> Tensor:
    """Central differences at even spacing."""
    n = input._meta.shape[dim]
    (x,) = floating(input)
    twice = ops.mul(ops.full(spacing, shape=(), dtype=x.dtype), 2)
    inside = ops.div(ops.sub(_part(x, dim, 2, n), _part(x, dim, 0, n - 2)), twice)
    ends = []
    for near, middle, far, sign in ((0, 1, 2, 1), (n - 1, n - 2, n - 3, -1)):
        a, b = _part(x, dim, near, near + 1), _part(x, dim, middle, middle + 1)
        if edge_order == 1:
            rise = ops.div(ops.sub(b, a), ops.div(twice, 2))
        else:
            c = _part(x, dim, far, far + 1)
            # The parabola through the three outermost points.
            total = ops.sub(ops.sub(ops.mul(b, 4), ops.mul(a, 3)), c)
            rise = ops.div(total, twice)
        ends.append(rise if sign > 0 else ops.neg(rise))
    return ops.concat(ends[0], inside, ends[1], dim=dim)


@function
def _slope_at(input: Tensor, coordinates: Tensor, dim: int, edge_order: int) -> Tensor:
    """Differences at given coordinates, of second order in uneven steps."""
    n = input._meta.shape[dim]
    x, at = floating(input, coordinates)
    line = tuple(-1 if d == dim else 1 for d in range(x.dim()))
    step = ops.sub(_part(at, 0, 1, n), _part(at, 0, 0, n - 1))

    def shaped(t: Tensor) -> Tensor:
        return ops.reshape(t, shape=tuple(t.numel() if k < 0 else 1 for k in line))

    rise = ops.sub(_part(x, dim, 1, n), _part(x, dim, 0, n - 1))
    slopes = ops.div(rise, shaped(step))
    before, after = shaped(_part(step, 0, 0, n - 2)), shaped(_part(step, 0, 1, n - 1))
    first, second = _part(slopes, dim, 0, n - 2), _part(slopes, dim, 1, n - 1)
    both = ops.add(before, after)
    inside = ops.div(ops.add(ops.mul(first, after), ops.mul(second, before)), both)
    left, right = _part(slopes, dim, 0, 1), _part(slopes, dim, n - 2, n - 1)
    if edge_order == 2:

        def bent(near: Tensor, next_: Tensor, h: Tensor, k: Tensor) -> Tensor:
            """The slope at the end of the parabola through three points."""
            turn = ops.div(ops.sub(next_, near), ops.add(h, k))
            return ops.sub(near, ops.mul(turn, h))

        h0, h1 = (shaped(_part(step, 0, i, i + 1)) for i in (0, 1))
        k0, k1 = (shaped(_part(step, 0, i, i + 1)) for i in (n - 2, n - 3))
        left, right = (
            bent(left, _part(slopes, dim, 1, 2), h0, h1),
            bent(right, _part(slopes, dim, n - 3, n - 2), k0, k1),
        )
    return ops.concat(left, inside, right, dim=dim)


def gradient(
    input: Tensor,
    *,
    spacing: Any = 1,
    dim: Any = None,
    edge_order: int = 1,
) -> tuple[Tensor, ...]:
    """Estimates of the derivative along dimensions from the samples of a function.

    ``spacing`` is the step, a step a dimension, or the coordinates (1-dim tensors) a dimension.
    ``edge_order`` 1 or 2 is the order at both ends.

    >>> gradient(tensor([1.0, 2.0, 4.0]))
    (tensor([1.0000, 1.5000, 2.0000]),)
    """
    at_points = isinstance(spacing, (tuple, list)) and isinstance(spacing[0], Tensor)
    if input.dtype is dtypes.bool_ and not (at_points and edge_order == 2):
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
            "`logical_xor()` operator instead."
        )
    if spacing is None:
        spacing = 1
    number = isinstance(spacing, (int, float, complex)) and not isinstance(spacing, Tensor)
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    dims = wrap_dims(dim, input.dim())
    steps = (
        [spacing] * len(dims)
        if number
        else [spacing]
        if isinstance(spacing, Tensor)
        else list(spacing)
    )
    if len(steps) != len(dims):
        raise RuntimeError(
            "torch.gradient expected spacing to be unspecified, a scalar, or it's spacing and dim "
            f"arguments to have the same length, but got a spacing argument of length {len(steps)} "
            f"and a dim argument of length {len(dims)}."
        )
    found = []
    for d, step in zip(dims, steps, strict=True):
        n = input._meta.shape[d]
        if n < edge_order + 1:
            raise RuntimeError(
                "torch.gradient expected each dimension size to be at least edge_order+1"
            )
        if isinstance(step, Tensor) and step.dim():
            if step.dim() != 1 or step.numel() != n:
                raise RuntimeError(
                    "torch.gradient expected each element of spacing to have the same length as "
                    f"the corresponding dimension, but got {list(step.shape)} for size {n}"
                )
            found.append(_slope_at(input, step, d, edge_order))
        else:
            found.append(
                _slope(input, d, step.item() if isinstance(step, Tensor) else step, edge_order)
            )
    return tuple(found)


# ------------------------------------------------------------------------------------ areas


@function
def _areas(y: Tensor, x: Tensor | None, dx: Number, dim: int, running: bool) -> Tensor:
    n = y._meta.shape[dim]
    if not n or (n == 1 and running):
        shape = list(y._meta.shape)
        if running:
            return _part(floating(y)[0], dim, 0, 0)
        del shape[dim]
        return ops.full(0, shape=tuple(shape), dtype=y.dtype)
    if x is None and not running:
        # Integers add up in int64; only the two ends wrap.
        ends = ops.add(_part(y, dim, 0, 1), _part(y, dim, n - 1, n))
        ends = ops.reshape(ends, shape=tuple(m for d, m in enumerate(y._meta.shape) if d != dim))
        total, ends = floating(_total(y, dim), ends)
        return ops.mul(ops.sub(total, ops.mul(ends, 0.5)), dx)
    heights = ops.add(_part(y, dim, 1, n), _part(y, dim, 0, n - 1))
    if x is None:
        (heights,) = floating(heights)
        return ops.mul(ops.cumsum(ops.mul(heights, dx), dim=dim), 0.5)
    if x.dim() == 1:
        shape = tuple(x.numel() if d == dim else 1 for d in range(y.dim()))
        if x.numel() != n:
            raise RuntimeError("trapezoid: There must be one `x` value for each sample point")
        x, at = ops.reshape(x, shape=shape), dim
    else:
        # Missing leading dimensions broadcast.
        shape = (1,) * (y.dim() - x.dim()) + x._meta.shape
        x = ops.reshape(x, shape=shape)
        at = dim + x.dim() - y.dim()
    m = x._meta.shape[at]
    step = ops.sub(_part(x, at, 1, m), _part(x, at, 0, m - 1)) if m > 1 else x
    if m == 1:
        step = ops.full(0, shape=(), dtype=x.dtype)
    # Products of integers wrap, their sums are made in int64.
    pieces = ops.mul(*promoted(heights, step))
    if running:
        if pieces.dtype.category < 2:
            pieces = cast(pieces, dtypes.int64)
        (total,) = floating(ops.cumsum(pieces, dim=dim))
    else:
        (total,) = floating(_total(pieces, dim))
    return ops.mul(total, 0.5)


def _total(x: Tensor, dim: int) -> Tensor:
    if x.dtype.category < 2:
        x = cast(x, dtypes.int64)
    return ops.sum(x, dims=(dim,), keepdim=False)


def _area(y: Tensor, x: Any, dx: Any, dim: int, running: bool) -> Tensor:
    if x is not None and not isinstance(x, Tensor):
        x, dx = None, x
    if y.dtype is dtypes.bool_ or (x is not None and x.dtype is dtypes.bool_):
        name = "cumulative_trapezoid" if running else "trapezoid"
        raise RuntimeError(
            f"{name}: received a bool input for {'`y`' if x is None else '`x` or `y`'}, but bool "
            "is not supported"
        )
    if y.dim() == 0:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    return _areas(y, x, dx, wrap_dim(dim, y.dim()), running)


def trapezoid(y: Tensor, x: Any = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """The area under samples by the trapezoidal rule, at coordinates ``x`` or steps ``dx``.

    >>> trapezoid(tensor([1.0, 5.0, 10.0]))
    tensor(10.5000)
    """
    if x is not None and dx is not None:
        raise TypeError("trapezoid() received an invalid combination of arguments")
    return _area(y, x, 1 if dx is None else dx, dim, False)


def trapz(y: Tensor, x: Any = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """``trapezoid``."""
    return trapezoid(y, x, dx=dx, dim=dim)


def cumulative_trapezoid(y: Tensor, x: Any = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """Running areas by the trapezoidal rule.

    >>> cumulative_trapezoid(tensor([1.0, 5.0, 10.0]))
    tensor([ 3.0000, 10.5000])
    """
    if x is not None and dx is not None:
        raise TypeError("cumulative_trapezoid() received an invalid combination of arguments")
    return _area(y, x, 1 if dx is None else dx, dim, True)


# ------------------------------------------------------------------------------- covariance


@function
def _cov(
    input: Tensor, correction: int, fweights: Tensor | None, aweights: Tensor | None
) -> Tensor:
    x = input if input.dim() == 2 else ops.reshape(input, shape=(1, input.numel()))
    (x,) = floating(x)
    if aweights is not None:
        x = cast(x, dtypes.promote(x.dtype, aweights.dtype))
    weight = None
    for w in (fweights, aweights):
        if w is not None:
            weight = w if weight is None else ops.mul(*promoted(weight, w))
    count = x._meta.shape[1]
    real = x.dtype.to_real()
    if weight is None:
        total: Any = ops.full(count, shape=(), dtype=real)
        mean = ops.div(ops.sum(x, dims=(1,), keepdim=True), cast(total, x.dtype))
    else:
        total = cast(ops.sum(weight, dims=(0,), keepdim=False), real)
        weight = cast(weight, real)
        sums = ops.sum(ops.mul(x, cast(weight, x.dtype)), dims=(1,), keepdim=True)
        mean = ops.div(sums, cast(total, x.dtype))
    if aweights is not None and correction:
        square = ops.mul(*promoted(weight, cast(aweights, real)))
        loss = ops.div(ops.sum(square, dims=(0,), keepdim=False), total)
        norm = ops.sub(total, ops.mul(loss, correction))
    else:
        norm = ops.sub(total, correction)
    norm = ops.clamp_min(norm, 0)
    centred = ops.sub(x, mean)
    right = centred if weight is None else ops.mul(centred, cast(weight, x.dtype))
    if x.dtype.is_complex:
        right = ops.conj(right)
    made = ops.div(ops.matmul(centred, ops.permute(right, dims=(1, 0))), cast(norm, x.dtype))
    return made if made.numel() != 1 else ops.reshape(made, shape=())


def cov(
    input: Tensor,
    *,
    correction: int = 1,
    fweights: Tensor | None = None,
    aweights: Tensor | None = None,
) -> Tensor:
    """The covariances of variables (rows) over observations (columns).

    ``correction`` is taken from the number of observations; ``fweights`` are counts and
    ``aweights`` weights of observations.

    >>> cov(tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    if input.dim() > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with "
            f"{input.dim()} dimensions"
        )
    if input.dtype is dtypes.bool_:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    count = input._meta.shape[1] if input.dim() == 2 else input.numel()
    for name, w, integral in (("fweights", fweights, True), ("aweights", aweights, False)):
        if w is None:
            continue
        if w.dim() > 1:
            raise RuntimeError(
                f"cov(): expected {name} to have one or fewer dimensions but got {name} with "
                f"{w.dim()} dimensions"
            )
        if integral and w.dtype.category != 1:
            raise RuntimeError(
                f"cov(): expected {name} to have integral dtype but got {name} with "
                f"{_name(w)} dtype"
            )
        if not integral and w.dtype.category != 2:
            raise RuntimeError(
                f"cov(): expected {name} to have floating point dtype but got {name} with "
                f"{_name(w)} dtype"
            )
        if w.numel() != count:
            raise RuntimeError(
                f"cov(): expected {name} to have the same numel as there are observations in the "
                f"input but got {w.numel()} != {count}"
            )
        if w.numel() and (w._value()._array() < 0).any():
            raise RuntimeError(f"cov(): {name} cannot be negative")
    if count - correction <= 0 and fweights is None and aweights is None:
        warnings.warn("cov(): degrees of freedom is <= 0", UserWarning, stacklevel=2)
    shape = (1,) if not input.dim() else None
    flat = [w.reshape(1) if w is not None and not w.dim() else w for w in (fweights, aweights)]
    return _cov(input.reshape(shape) if shape else input, correction, *flat)


def _name(t: Tensor) -> str:
    from flambeau.functions.inplace import title

    return title(t.dtype)


@function
def _correlation(c: Tensor) -> Tensor:
    if c.dim() == 0:
        return ops.div(c, c)
    n = c._meta.shape[0]
    variance = ops.as_strided(c, 0, shape=(n,), strides=(n + 1,))
    if c.dtype.is_complex:
        variance = ops.real(variance)
    deviation = cast(ops.sqrt(variance), c.dtype)
    made = ops.div(
        ops.div(c, ops.reshape(deviation, shape=(n, 1))), ops.reshape(deviation, shape=(1, n))
    )
    if c.dtype.is_complex:
        re, im = (ops.clamp_max(ops.clamp_min(f(made), -1), 1) for f in (ops.real, ops.imag))
        return ops.complex(re, im)
    return ops.clamp_max(ops.clamp_min(made, -1), 1)


def corrcoef(input: Tensor) -> Tensor:
    """Pearson's correlations of variables (rows) over observations (columns).

    >>> corrcoef(tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    if input.dim() > 2:
        raise RuntimeError(
            "corrcoef(): expected input to have two or fewer dimensions but got an input with "
            f"{input.dim()} dimensions"
        )
    return _correlation(cov(input))


SAMPLES = {
    "diff": "x; x, 2; x, 1, 0; i; truth; v, prepend=s[None]; x, append=column; x, 0; v, 5;"
    "x, dim=-2; x, 1, 0, row, row; !s; !x, -1; !x, 1, 2; !x, prepend=v; !x, append=row",
    "gradient": "v; x; x, dim=1; x, dim=(0, 1), spacing=0.5; x, spacing=[1.0, 2.0];"
    "cube, dim=2, edge_order=2; v, spacing=(torch.tensor([0.0, 1.0, 3.0, 4.5]),); i; c, dim=0;"
    "v, spacing=(torch.tensor([0.0, 1.0, 3.0, 4.5]),), edge_order=2; !x, edge_order=3;"
    "!x, spacing=[1.0]; !row; !x, dim=2",
    "trapezoid": "v; x; x, dim=0; x, dx=0.5; x, y; x, torch.tensor([0.0, 1.0, 2.5, 3.0]); i; i, j;"
    "empty; i[:, :0]; x, y, dim=0; column; !s; !truth; !x, u; !x, dim=2; !x, y, dx=1",
    "trapz": "v; x, dim=0; x, dx=0.5; x, y; i; !s; !truth; !x, u",
    "cumulative_trapezoid": "v; x; x, dim=0; x, dx=0.5; x, y;"
    "x, torch.tensor([0.0, 1.0, 2.5, 3.0]); i; i, j; column; !s; !truth; !x, u; !x, dim=2;"
    "!x, y, dx=1",
    "cov": "x; v; tall; i; c; x, correction=0; x, fweights=torch.tensor([1, 2, 0, 1]);"
    "x, aweights=unit[0]; x, fweights=torch.tensor([1, 2, 0, 1]), aweights=unit[0], correction=2;"
    "!cube; !truth; !x, fweights=v; !x, aweights=labels; !x, aweights=u; !x, aweights=-unit[0]",
    "corrcoef": "x; v; tall; i; c; s; !cube; !truth",
}
