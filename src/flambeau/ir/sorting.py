"""Positions that order finds along a dimension; the values are gathered from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.ir import reference
from flambeau.ir.graph import Aval
from flambeau.ir.primitive import primitive


def _all(x: Aval, **attrs: Any) -> Aval:
    return Aval(x.shape, dtypes.int64)


def _some(x: Aval, *, dim: int, k: int = 1, **attrs: Any) -> Aval:
    return Aval((*x.shape[:dim], k, *x.shape[dim + 1 :]), dtypes.int64)


def _one(x: Aval, *, dim: int, **attrs: Any) -> Aval:
    return Aval((*x.shape[:dim], 1, *x.shape[dim + 1 :]), dtypes.int64)


def _indices(f: Any) -> Any:
    """The indices of a kernel that gives values and indices."""
    return lambda x, **attrs: f(np.asarray(x), **attrs)[1]


def _kept(f: Any) -> Any:
    return lambda x, **attrs: f(np.asarray(x), **attrs, keepdim=True)[1]


primitive(
    "argsort",
    "positions that sort along a dimension; equals keep their order if stable",
    rule=_all,
    reference=lambda x, *, dim, descending, stable=True: reference.argsort(
        np.asarray(x), dim, descending, stable
    ),
    host=True,
)
primitive(
    "argtopk",
    "positions of the k greatest (or least), best first",
    rule=_some,
    reference=_indices(reference.topk),
    host=True,
)
primitive(
    "argkth",
    "position of the k-th least (from 1)",
    rule=lambda x, *, dim, k: _one(x, dim=dim),
    reference=_kept(reference.kthvalue),
    host=True,
)
primitive(
    "argmedian",
    "position of the lower of the middle values; a NaN if there is one",
    rule=_one,
    reference=_kept(reference.median),
    host=True,
)
primitive(
    "argnanmedian",
    "position of the lower of the middle values that are not NaN",
    rule=_one,
    reference=_kept(reference.nanmedian),
    host=True,
)
primitive(
    "argmode",
    "position of the most frequent value, the least of several",
    rule=_one,
    reference=_kept(reference.mode),
    host=True,
)
primitive(
    "argcummax",
    "position of the greatest so far, the last if several",
    rule=_all,
    reference=_indices(reference.cummax),
    host=True,
)
primitive(
    "argcummin",
    "position of the least so far, the last if several",
    rule=_all,
    reference=_indices(reference.cummin),
    host=True,
)
