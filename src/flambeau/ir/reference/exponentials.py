"""Exponentials of matrices: by Taylor's polynomial in single precision, by Padé's in double."""

from __future__ import annotations

import math

import numpy as np

# Coefficients of the diagonal Padé approximants of exp, and the 1-norms up to which they hold in
# double precision [Higham 2005].
_PADE = (
    (1.495585217958292e-2, (120.0, 60.0, 12.0, 1.0)),
    (2.539398330063230e-1, (30240.0, 15120.0, 3360.0, 420.0, 30.0, 1.0)),
    (
        9.504178996162932e-1,
        (17297280.0, 8648640.0, 1995840.0, 277200.0, 25200.0, 1512.0, 56.0, 1.0),
    ),
    (
        5.371920351148152,
        (
            64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0,
            129060195264000.0, 10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0,
            40840800.0, 960960.0, 16380.0, 182.0, 1.0,
        ),
    ),
)  # fmt: skip


# Degrees of Taylor's polynomial, and the 1-norms up to which it leaves out less than single
# precision holds: 1.4 ** 13 / 13! is below 2 ** -24 exp(-1.4), 2.8 ** 19 / 19! likewise.
_TAYLOR = ((12, 1.4), (18, 2.8))


def matrix_exp(x: np.ndarray) -> np.ndarray:
    """Exponentials of square matrices, by scaling and squaring [Higham 2005].

    >>> matrix_exp(np.array([[0.0, 1.0], [0.0, 0.0]]))
    array([[1., 1.],
           [0., 1.]])
    """
    if not x.size:
        return x.copy()
    if x.dtype == np.float16:
        with np.errstate(over="ignore"):
            return matrix_exp(x.astype(np.float32)).astype(np.float16)
    if x.real.dtype == np.float32:
        return _taylor(x.reshape(-1, *x.shape[-2:])).reshape(x.shape)
    out = np.empty_like(x)
    for at in np.ndindex(x.shape[:-2]):
        out[at] = _pade(x[at])
    return out


def _norm(x: np.ndarray) -> np.ndarray:
    return np.abs(x).sum(-2).max(-1)


def _taylor(x: np.ndarray) -> np.ndarray:
    """Of a stack, all together, after Paterson and Stockmeyer (SIAM J. Comput. 2, 1973)."""
    size = _norm(x)
    finite = np.isfinite(size)
    degree, limit = _TAYLOR[bool((size[finite] > _TAYLOR[0][1]).any())]
    squarings = np.zeros(len(x), np.int64)
    large = finite & (size > limit)
    squarings[large] = np.ceil(np.log2(size[large] / limit)).astype(np.int64)
    one = x.real.dtype.type
    a = x * (one(2.0) ** -squarings.astype(one))[:, None, None]
    square = a @ a
    cube = square @ a
    diagonal = np.arange(x.shape[-1])

    def part(k: int) -> np.ndarray:
        """Terms k to k + 2, divided by a ** k."""
        weights = [one(1 / math.factorial(k + i)) for i in range(3)]
        found = a * weights[1]
        found += square * weights[2]
        found[:, diagonal, diagonal] += weights[0]
        return found

    found = cube * one(1 / math.factorial(degree))
    found += part(degree - 3)
    for k in range(degree - 6, -1, -3):
        found = cube @ found
        found += part(k)
    for i in range(int(squarings.max(initial=0))):
        more = squarings > i
        if more.all():
            found = found @ found
        else:
            found[more] = found[more] @ found[more]
    found[~finite] = np.nan
    return found


def _pade(a: np.ndarray) -> np.ndarray:
    size = _norm(a)
    if not np.isfinite(size):
        return np.full_like(a, np.nan)
    last, b = _PADE[-1]
    b = next((weights for limit, weights in _PADE if size <= limit), b)
    squarings = max(0, int(np.ceil(np.log2(size / last)))) if size > last else 0
    a = a / 2.0**squarings
    eye = np.eye(len(a), dtype=a.dtype)
    square = a @ a
    even, odd, power = b[0] * eye, b[1] * eye, eye
    for i in range(2, len(b), 2):
        power = power @ square
        even = even + b[i] * power
        odd = odd + b[i + 1] * power
    odd = a @ odd
    found = np.linalg.solve(even - odd, even + odd)
    for _ in range(squarings):
        found = found @ found
    return found
