"""The tensors that samples name: the same values in both libraries, new ones for each sample."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Any

import ml_dtypes
import numpy as np

# Shapes of operands of normal values.
NORMAL = {
    "x": (3, 4), "y": (3, 4), "z": (3, 4),
    "row": (1, 4), "column": (3, 1), "v": (4,), "w": (4,), "u": (3,), "s": (), "one": (1,),
    "tall": (5, 3), "wide": (3, 5), "cube": (2, 3, 4), "empty": (0, 4),
    "line": (2, 4, 9), "image": (2, 4, 6, 5), "volume": (1, 2, 4, 3, 5),
    "sequence": (5, 2, 4),
}  # fmt: skip
# Bounds of integers (the upper one is left out) and their shapes.
INTEGERS = {
    "i": (-5, 6, (3, 4)), "j": (-5, 6, (3, 4)), "k": (0, 4, (3, 4)), "place": (0, 3, (3, 4)),
    "labels": (0, 4, (3,)), "counts": (0, 5, (6,)), "tokens": (0, 10, (2, 5)),
}  # fmt: skip
COMPLEX = {"c": (3, 4), "d": (3, 4), "cv": (4,)}


# Others, by what makes them of a generator.
OTHERS: dict[str, Callable[[np.random.Generator], Any]] = {
    # Well conditioned: far from singular, eigenvalues and singular values apart.
    "m": lambda rng: 0.5 * rng.standard_normal((4, 4)) + np.diag([2.0, -3.0, 4.0, 5.5]),
    "batch": lambda rng: 0.5 * rng.standard_normal((2, 4, 4)) + np.diag([2.0, -3.0, 4.0, 5.5]),
    "cm": lambda rng: _complex(rng, (4, 4)) + 3 * np.eye(4),
    "spd": lambda rng: _positive_definite(rng.standard_normal((4, 4))),
    "spds": lambda rng: _positive_definite(rng.standard_normal((2, 4, 4))),
    "unit": lambda rng: rng.uniform(0.1, 0.9, (3, 4)),
    "positive": lambda rng: rng.uniform(0.5, 3, (3, 4)),
    "big": lambda rng: rng.uniform(-50, 50, (3, 4)),
    "special": lambda rng: [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5],
    "small": lambda rng: rng.integers(0, 256, (3, 4), np.uint8),
    "truth": lambda rng: rng.random((3, 4)) < 0.5,
    "other_truth": lambda rng: rng.random((3, 4)) < 0.5,
    "mask": lambda rng: [True, False, True, True],
    "signs": lambda rng: [1.0, -1.0, 1.0],
    "sorted": lambda rng: np.sort(rng.standard_normal(6)),
    "half": lambda rng: rng.standard_normal((3, 4)),
}


def _complex(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def _positive_definite(a: np.ndarray) -> np.ndarray:
    return a @ np.swapaxes(a, -1, -2) + np.diag([1.0, 2.0, 3.0, 4.0])


def _arrays() -> dict[str, np.ndarray]:
    makers = dict(OTHERS)
    for name, shape in NORMAL.items():
        makers[name] = lambda rng, shape=shape: rng.standard_normal(shape)
    for name, bounds in INTEGERS.items():
        makers[name] = lambda rng, bounds=bounds: rng.integers(*bounds)
    for name, shape in COMPLEX.items():
        makers[name] = lambda rng, shape=shape: _complex(rng, shape)
    # A generator for each name: an operand more changes no other.
    return {
        name: _single(np.asarray(make(np.random.default_rng(zlib.crc32(name.encode())))))
        for name, make in makers.items()
    }


def _single(a: np.ndarray) -> np.ndarray:
    return a.astype({"f": np.float32, "c": np.complex64}.get(a.dtype.kind, a.dtype))


ARRAYS = _arrays()
# NumPy has no such numbers: operands of these names are converted.
HALVES = {"half": "bfloat16"}


def _whole(a: np.ndarray) -> np.ndarray:
    return np.rint(2 * np.nan_to_num(a, posinf=9, neginf=-9)).astype(np.int64)


# Floating-point operands as those of another dtype: (array, the dtype's name where NumPy lacks it).
DTYPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "float64": lambda a: a.astype(np.float64),
    "bfloat16": lambda a: a,
    "int64": _whole,
    "bool": lambda a: a > 0,
    "complex64": lambda a: (a + 1j * a[..., ::-1] if a.ndim else a + 0.5j).astype(np.complex64),
}


def _rounded(a: np.ndarray) -> np.ndarray:
    """The numbers of a 16-bit operand, in 64 bits."""
    return a.astype(ml_dtypes.bfloat16).astype(np.float64)


def _contiguous(library: Any, a: np.ndarray) -> Any:
    return library.from_numpy(a.copy())


def transposed(library: Any, a: np.ndarray) -> Any:
    """A tensor whose memory lies the other way round."""
    axes = tuple(reversed(range(a.ndim)))
    return library.from_numpy(a.transpose(axes).copy()).permute(axes)


def spread(library: Any, a: np.ndarray) -> Any:
    """A tensor that is every second element of a larger one, from the second on."""
    if a.ndim == 0:
        return library.from_numpy(np.stack([a * 0, a]))[1]
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1] + 1), a.dtype)
    wide[..., 1::2] = a
    return library.from_numpy(wide)[..., 1::2]


LAYOUTS: dict[str, Callable[[Any, np.ndarray], Any]] = {
    "contiguous": _contiguous,
    "transposed": transposed,
    "spread": spread,
}


def build(
    library: Any,
    names: Iterable[str],
    *,
    dtype: str | None = None,
    layout: str = "contiguous",
    grad: bool = False,
) -> dict[str, Any]:
    """The operands of these names; ``dtype`` is that of those that are floating otherwise.

    ``dtype="exact"``: float64, of the values that 16-bit operands have.
    """
    found = {}
    for name in names:
        array, to = ARRAYS[name], HALVES.get(name)
        if dtype == "exact" and array.dtype.kind == "f":
            array, to = _rounded(array), None
        elif dtype is not None and array.dtype.kind == "f" and to is None:
            array, to = DTYPES[dtype](array), "bfloat16" if dtype == "bfloat16" else None
        t = LAYOUTS[layout](library, np.asarray(array))
        if to is not None:
            t = t.to(getattr(library, to))
        if grad and (t.is_floating_point() or t.is_complex()):
            t = t.detach().requires_grad_()
        found[name] = t
    return found
