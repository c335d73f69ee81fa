"""``x[...]`` and ``x[...] = y`` against PyTorch, over random indices, views and histories."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flambeau
from flambeau.record.trace import trie

QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
SHAPES = st.lists(st.integers(0, 4), min_size=0, max_size=4).map(tuple)


class Pick:
    """An advanced index as a list or array, made a tensor for each library."""

    def __init__(self, array: np.ndarray, kind: str) -> None:
        self.array, self.kind = array, kind

    def of(self, lib: Any) -> Any:
        if self.kind == "list":
            return self.array.tolist()
        if self.kind == "numpy":
            return self.array
        return lib.tensor(self.array.tolist(), dtype=getattr(lib, str(self.array.dtype)))

    def __repr__(self) -> str:
        return f"{self.kind}({self.array.tolist()})"


@st.composite
def indices(draw: Any, shape: tuple[int, ...]) -> tuple:
    """An index for a tensor of ``shape``, valid but for rare excursions."""
    items: list[Any] = []
    common = draw(st.sampled_from([(), (1,), (2,), (3,), (2, 3)]))
    d = 0
    ellipsis = False
    while d < len(shape):
        n = shape[d]
        kind = draw(
            st.sampled_from(
                ["int", "slice", "slice", "full", "none", "advanced", "mask", "...", "end"]
            )
        )
        if kind == "end":
            break
        if kind == "none":
            if len(items) < 6:
                items.append(None)
            continue
        if kind == "...":
            if not ellipsis:
                ellipsis = True
                items.append(Ellipsis)
                d += draw(st.integers(0, 1))
            continue
        if kind == "int":
            items.append(draw(st.integers(-n, n - 1)) if n else slice(None))
        elif kind == "full":
            items.append(slice(None))
        elif kind == "slice":
            bound = st.none() | st.integers(-n - 2, n + 2)
            items.append(slice(draw(bound), draw(bound), draw(st.sampled_from([None, 1, 2, 3]))))
        elif kind == "mask":
            width = draw(st.integers(1, min(2, len(shape) - d)))
            size = shape[d : d + width]
            bits = draw(
                st.lists(st.booleans(), min_size=int(np.prod(size)), max_size=int(np.prod(size)))
            )
            items.append(Pick(np.array(bits, bool).reshape(size), "tensor"))
            d += width - 1
        else:
            size = draw(st.sampled_from([common, tuple(1 for _ in common)]))
            if n == 0:
                size = (0,)
            count = int(np.prod(size))
            values = draw(st.lists(st.integers(-n, max(n - 1, 0)), min_size=count, max_size=count))
            array = np.array(values, np.int64).reshape(size)
            items.append(
                Pick(
                    array,
                    draw(st.sampled_from(["tensor", "tensor", "numpy", "list"]))
                    if size
                    else "tensor",
                )
            )
        d += 1
    return tuple(items)


def index_of(index: tuple, lib: Any) -> Any:
    found = tuple(i.of(lib) if isinstance(i, Pick) else i for i in index)
    return found[0] if len(found) == 1 and not isinstance(found[0], list) else found


def values(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(1, np.prod(shape, dtype=int) + 1, dtype=np.float32).reshape(shape)


def outcome(f: Any) -> tuple[Any, Exception | None]:
    try:
        return f(), None
    except Exception as e:
        return None, e


def agree(f: Any, t: Any) -> bool:
    """Compares two outcomes; whether they were results."""
    (ours, error), (theirs, expected) = outcome(f), outcome(t)
    if expected is not None:
        assert error is not None, f"accepted what torch refuses: {expected}"
        assert isinstance(error, type(expected)), (repr(error), repr(expected))
        return False
    assert error is None, f"refused: {error!r}"
    same(ours, theirs)
    return True


def same(ours: Any, theirs: Any) -> None:
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert str(ours.dtype) == str(theirs.dtype)
    assert ours.requires_grad == theirs.requires_grad
    np.testing.assert_array_equal(ours.detach().numpy(), theirs.detach().numpy())


CASES = SHAPES.flatmap(lambda s: st.tuples(st.just(s), indices(s)))


@QUICK
@given(CASES, st.sampled_from(["plain", "pending", "leaf", "history"]))
def test_read(case: tuple, state: str) -> None:
    shape, index = case
    found = []
    for lib in (flambeau, torch):
        x = lib.tensor(values(shape).tolist(), dtype=lib.float32).reshape(shape)
        if state in ("leaf", "history"):
            x.requires_grad_()
        y = x * 2 if state in ("pending", "history") else x
        found.append((lib, x, y))
    (_, x, y), (_, u, v) = found
    ok = agree(lambda: y[index_of(index, flambeau)], lambda: v[index_of(index, torch)])
    if not ok or state not in ("leaf", "history"):
        return
    for lib, a, b in found:
        picked = b[index_of(index, lib)]
        weights = lib.arange(1, picked.numel() + 1, dtype=lib.float32).reshape(picked.shape)
        (picked * weights).sum().backward()
        _ = a
    same(x.grad, u.grad)


@QUICK
@given(
    CASES,
    st.sampled_from(["plain", "pending", "history", "view", "view of history", "pending view"]),
    st.sampled_from(["number", "tensor", "broadcast", "grad", "expanded"]),
)
def test_write(case: tuple, state: str, given: str) -> None:
    shape, index = case
    results = []
    for lib in (flambeau, torch):
        results.append(outcome(lambda lib=lib: write(lib, shape, index, state, given)))
    (ours, error), (theirs, expected) = results
    if expected is not None:
        assert error is not None, f"accepted what torch refuses: {expected}"
        assert isinstance(error, type(expected)), (repr(error), repr(expected))
        return
    assert error is None, f"refused: {error!r}"
    for a, b in zip(ours, theirs, strict=True):
        if a is None and b is not None:
            # A history that was written over in full: no gradient, where torch has zeros.
            assert not b.any()
        elif a is not None:
            same(a, b)


def write(lib: Any, shape: tuple, index: tuple, state: str, given: str) -> list[Any]:
    """Writes to a tensor, perhaps through a view; everything that could see it."""
    leaf = lib.tensor(values(shape).tolist(), dtype=lib.float32).reshape(shape)
    if "history" in state:
        leaf.requires_grad_()
    base = leaf * 2 if state in ("pending", "pending view", "history", "view of history") else leaf
    if "view" in state:
        base = base.reshape(shape) if base is leaf else base
        whole, target = base, base.unsqueeze(0)[0]
    else:
        whole = target = base
    alias = whole.reshape(-1)
    picked = target[index_of(index, lib)]
    size = tuple(picked.shape)
    source = None
    if given == "number":
        value: Any = 7.5
    elif given == "broadcast":
        value = lib.tensor([9.0])
    else:
        source = lib.tensor((values(size) * 10).tolist(), dtype=lib.float32).reshape(size)
        if given == "grad":
            source.requires_grad_()
        value = source * 1 if given == "grad" else source
        if given == "expanded":
            value = value.unsqueeze(0)
    unique = (
        len(
            np.unique(
                np.arange(int(np.prod(shape, dtype=int))).reshape(shape)[index_of(index, np_index)]
            )
        )
        == picked.numel()
    )
    if not unique:
        # Which of several writes to one place stays is not defined.
        value = 7.5
    target[index_of(index, lib)] = value
    seen = [whole, target, alias]
    if whole.requires_grad:
        weights = lib.arange(1, whole.numel() + 1, dtype=lib.float32).reshape(whole.shape)
        (whole * weights).sum().backward()
        seen += [leaf.grad, source.grad if source is not None else None]
    return seen


class np_index:
    """NumPy as a library of index tensors."""

    bool, int64 = np.bool_, np.int64

    @staticmethod
    def tensor(data: Any, dtype: Any) -> np.ndarray:
        return np.array(data, dtype)


@pytest.mark.parametrize(
    "index",
    [5, -5, (0, 4), (0, 0, 0), [3], ([0], [9]), (slice(None), [7]), "a", 1.5, (..., ...),
     slice(None, None, -1), (None, 9), [True, False], ([0, 1], [0, 1, 2]), np.array([4]), 2**40],
)  # fmt: skip
@pytest.mark.parametrize("writing", [False, True])
def test_errors(index: Any, writing: bool) -> None:
    def attempt(lib: Any) -> Any:
        x = lib.zeros(3, 4)
        if writing:
            x[index] = 1.0
            return x
        return x[index]

    agree(lambda: attempt(flambeau), lambda: attempt(torch))


def test_views_share() -> None:
    for lib in (flambeau, torch):
        x = lib.zeros(4, 4)
        y = x[1:3]
        z = y[:, ::2]
        z[0, 1] = 5.0
        x[2] += 1.0
        y[1, 1] = 9.0
        assert x.tolist() == [[0] * 4, [0, 0, 5, 0], [1, 9, 1, 1], [0] * 4]
        assert z.tolist() == [[0, 5], [1, 1]]


def test_iteration() -> None:
    for lib in (flambeau, torch):
        x = lib.arange(6).reshape(3, 2)
        rows = list(x)
        rows[0][0] = 9
        assert len(x) == 3
        assert x[0, 0].item() == 9
        assert [r.tolist() for r in rows] == [[9, 1], [2, 3], [4, 5]]
        assert 9 in x
        a, b, c = x
        assert (a + b + c).tolist() == [15, 9]
        for bad in (len, iter):
            with pytest.raises(TypeError):
                bad(lib.tensor(1))


@pytest.mark.parametrize("pending", [False, True])
def test_changing_places_are_one_path(pending: bool) -> None:
    x = flambeau.zeros(40, 8)
    buffer = flambeau.zeros(4, 40)

    def turn(i: int) -> float:
        y = x * 1 if pending else x
        total = y[i].sum() + y[i : i + 4].sum() + y[i, 3] + y[i : i + 2, 1].sum()
        buffer[:, i] = total
        buffer[1, i] = i
        y[i] = 1.0
        y[i : i + 2] += 1.0
        return float(total + buffer[:, i].sum())

    for i in range(3):
        turn(i)
    before = trie.count
    for i in range(3, 30):
        turn(i)
    assert trie.count == before
