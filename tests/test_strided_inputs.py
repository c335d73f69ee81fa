"""Views that a program is given are read where they lie."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau
from compiled import needs_native
from flambeau.run.compiler.program import Compiled
from flambeau.run.program import layouts_of
from own_draws import own_draw, rng  # noqa: F401  (a fixture)

BODIES = {
    "product": lambda m, x, y: x @ y,
    "elementwise": lambda m, x, y: (x * 2 + y.sum()).exp(),
    "sum": lambda m, x, y: x.sum(0) + y.sum(),
    "both": lambda m, x, y: (x @ y).relu() * x[:, :1],
    "sorted": lambda m, x, y: m.sort(x, dim=0).values + y.sum(),
    "copied": lambda m, x, y: (x.clone(), x + 1, y.clone()),
    "softmax": lambda m, x, y: m.softmax(x.float(), -1) @ y.float(),
    "moved": lambda m, x, y: x.t().reshape(-1) + y.sum(),
}
VIEWS = {
    "transposed": lambda t: t.t(),
    "columns": lambda t: t[:, 1:4],
    "steps": lambda t: t[::2],
    "expanded": lambda t: t[:1].expand(6, -1),
    "expanded columns": lambda t: t[:, :1].expand(-1, 5),
    "windows": lambda t: t.reshape(-1).unfold(0, 4, 2),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("body", BODIES)
def test_values(body, view, dtype):
    x = (rng.standard_normal((6, 8)) * 3).astype(dtype)
    shape = VIEWS[view](torch.from_numpy(x)).shape
    y = (rng.standard_normal((shape[1], 3)) * 3).astype(dtype)

    def run(m):
        view_of, other = VIEWS[view](m.tensor(x)), m.tensor(y)
        found = [BODIES[body](m, view_of, other) for _ in range(6)]
        return [r if isinstance(r, tuple) else (r,) for r in found]

    for ours, theirs in zip(run(flambeau), run(torch), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype is getattr(flambeau, str(b.dtype).removeprefix("torch."))
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=2e-5, atol=1e-5)


@needs_native
def test_nothing_is_copied(monkeypatch):
    x, y = flambeau.randn(40, 30), flambeau.randn(40, 20)
    copied = []
    again = Compiled.again
    monkeypatch.setattr(Compiled, "again", lambda self, *a: copied.append(a) or again(self, *a))
    for _ in range(6):
        (x.t() @ y)._value()
    assert not copied


def test_a_view_that_lies_otherwise_later():
    """The same path gets arrays of other strides: the code is made anew, for all of them."""
    base = flambeau.randn(12, 12)
    views = [base.t(), base[:, :12], base.t(), base.t()[::1], base.flip(0).t()]

    def body(t):
        return (t * 3 - 1).sin()

    for _ in range(4):
        for _ in range(4):
            np.testing.assert_allclose(
                body(views[0]).numpy(), np.sin(views[0].numpy() * 3 - 1), rtol=2e-5, atol=2e-6
            )
        for v in views:
            np.testing.assert_allclose(
                body(v).numpy(), np.sin(v.numpy() * 3 - 1), rtol=2e-5, atol=2e-6
            )


@pytest.mark.parametrize("rows", [4, 300])
def test_a_parameter_is_read_across_while_it_is_updated(rows):
    """An update may not be written where a view of the old values is still to be read."""
    start = rng.standard_normal((rows, 64)).astype(np.float32)
    data = rng.standard_normal((8, 64)).astype(np.float32)

    def run(m):
        w = m.nn.Parameter(m.tensor(start))
        across = w.detach().t()
        optimizer = m.optim.SGD([w], lr=0.01)
        x = m.tensor(data)
        seen = []
        for _ in range(8):
            optimizer.zero_grad()
            loss = ((x @ w.t()) ** 2).mean()
            loss.backward()
            read = (x @ across).sum() + (across * 2).sum(0).mean()
            optimizer.step()
            seen.append((read.item(), (across * 3).sum().item(), loss.item()))
        return seen

    np.testing.assert_allclose(run(flambeau), run(torch), rtol=1e-3, atol=1e-3)


def test_what_lies_in_order_has_no_layout():
    a = np.zeros((4, 5))
    assert layouts_of([a, a[1:3], 1.5, a[:, :1], a.T]) == {-4: (5, 1), -5: (1, 5)}
    assert layouts_of([a[::-1], a.astype(complex).T, np.zeros((0, 3)).T]) == {}


def test_a_gradient_by_a_reference_of_a_transposed_input():
    def run(m):
        a = m.from_numpy(np.full((4, 4), 0.5, np.float32)).t()
        e = m.zeros(0, 4, requires_grad=True)
        (e @ a.t() @ a).sum().backward()
        return e.grad.numpy()

    for _ in range(6):
        np.testing.assert_array_equal(run(flambeau), run(torch))
