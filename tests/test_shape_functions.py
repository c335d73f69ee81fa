"""Functions that move, select and combine values, against PyTorch: values, dtypes, gradients."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import flambeau

# Each is evaluated with L the library, x(...) a differentiable tensor of a shape, i(...) integers.
CALLS = """
L.cat([x(2, 3), x(1, 3)])
L.cat([x(2, 3), x(2, 1)], -1)
L.cat([L.zeros(0), x(2, 3)], 1)
L.cat([x(2), i(1, 2)])
L.cat([i(1, 2), L.tensor([True])])
L.concat((x(2), x(3)), dim=0)
L.concatenate([x(2, 2), x(2, 2)], axis=1)
L.stack([x(2, 3), x(2, 3)], 1)
L.stack([x(), x()], -1)
L.hstack([x(), x(2)])
L.vstack([x(3), x(2, 3)])
L.dstack([x(3), x(1, 3)])
L.column_stack([x(3), x(3, 2)])
L.block_diag(x(2, 3), x(2), x())
L.cartesian_prod(x(2), x(3))
L.combinations(x(4), 2)
L.combinations(x(3), 2, True)
L.meshgrid(x(2), x(3), indexing="ij")
L.meshgrid(x(2), x(3), x(), indexing="xy")
L.broadcast_tensors(x(2, 1), x(3))
L.atleast_1d(x())
L.atleast_2d(x(3), x())
L.atleast_3d([x(2), x(2, 3)])
x(2, 3).repeat(2, 1, 3)
x(2).tile((2, 2))
L.tile(x(2, 2, 1), (2,))
L.repeat_interleave(x(2, 3), 2)
L.repeat_interleave(x(2, 3), 2, dim=0)
x(2, 3).repeat_interleave(i(2, 0, 1), dim=1)
L.repeat_interleave(i(2, 0, 1))
L.roll(x(3, 4), 5)
L.roll(x(3, 4), (1, -2), (0, 1))
L.rot90(x(2, 3, 2), 1, [0, 2])
L.rot90(x(2, 3), -1)
x(2, 3).flip(0, -1)
L.flip(x(2, 3), dims=[1])
L.fliplr(x(2, 3))
L.flipud(x(2))
x(5, 2).tensor_split(3)
L.tensor_split(x(5), (1, -1))
L.tensor_split(x(5), i(2, 4))
L.hsplit(x(2, 4), 2)
L.vsplit(x(4, 1), [1, 3])
L.dsplit(x(1, 1, 4), 2)
x(5).split_with_sizes([2, 3])
L.unsafe_split(x(5), 2)
L.unsafe_chunk(x(5), 2)
x(5).chunk(3)
x(2, 3).unbind(1)
x(2, 6).unflatten(1, (2, -1))
L.ravel(x(2, 3).t())
L.movedim(x(2, 3, 4), (0, 1), (-1, 0))
L.diag(x(3), 1)
L.diag(x(3, 4), -1)
L.diagflat(x(2, 2), -1)
L.diag_embed(x(2, 3), 1, 0, 2)
L.tril(x(3, 4), 1)
x(2, 3, 3).triu(-1)
L.tril_indices(3, 4, 1)
L.triu_indices(4, 3, -1, dtype=L.int32)
L.trace(x(3, 4))
L.trace(i((1, 2), (3, 4)))
L.vander(x(3).detach(), 4)
L.vander(i(3, 2), 3, increasing=True)
L.kron(x(2, 2), x(3))
L.view_copy(x(2, 3), (3, 2))
L.unfold_copy(x(5), 0, 2, 2)
L.diagonal_scatter(x(3, 4), x(3), 1)
L.select_scatter(x(2, 3), x(2), 1, -1)
L.slice_scatter(x(5, 2), x(2, 2), 0, 1, 5, 2)
L.unravel_index(i(5, 0), (2, 3))
L.gather(x(3, 4), 1, i((0, 3), (2, 2)))
L.gather(x(), 0, i(0, 0))
L.take_along_dim(x(2, 3), i((2,), (-1,)), 1)
L.scatter(x(3, 4), 0, i((0, 2), (1, 1)), x(2, 2))
x(3).scatter(0, i(0, 2), 1.5)
L.scatter(x(3).detach(), 0, i(0, 2), x(2).detach(), reduce="multiply")
L.scatter_add(x(3), 0, i(1, 1, 2), x(3))
L.scatter_reduce(x(3), 0, i(1, 1, 2), x(3), "prod", include_self=False)
L.scatter_reduce(x(3), 0, i(1, 1, 2), x(3), "mean")
L.scatter_reduce(x(3), 0, i(1, 1, 2), x(3), "amax")
L.index_select(x(3, 4), 1, i(3, 0, 3))
L.index_select(x(), 0, i(0))
L.index_add(x(3, 2), 0, i(2, 2), x(2, 2), alpha=2)
L.index_copy(x(3, 2), 1, i(1, 0), x(3, 2))
L.index_fill(x(3, 2), 0, i(2, 2, 0), x())
L.index_fill(x(3, 2), 0, i(2), 7)
L.index_reduce(x(3, 2), 0, i(2, 0), x(2, 2), "amin")
L.index_put(x(3, 2), (i(2, 0),), x(2, 2))
L.index_put(x(3, 2), (i(2, 2), i(1, 1)), x(2), accumulate=True)
L.index_put(x(3, 2), [L.tensor([True, False, True])], x())
L.take(x(3, 2), i((5, -1), (0, 0)))
L.put(x(3, 2), i(5, 0), x(2))
L.put(x(3, 2), i(5, 5), x(2), accumulate=True)
L.masked_fill(x(3, 2), L.tensor([True, False]), x())
x(3).masked_fill(L.tensor([True, False, True]), -1)
L.masked_select(x(3, 2), L.tensor([True, False]))
L.masked_scatter(x(3), L.tensor([True, False, True]), x(5))
L.where(L.tensor([True, False]), x(2), x(1))
L.where(L.tensor([True, False]), 1, 2.5)
L.where(L.tensor([0, 3, 4]))
x(2).where(L.tensor([True, False]), 0)
L.nonzero(i((0, 1), (2, 0)))
L.nonzero(i((0, 1), (2, 0)), as_tuple=True)
L.nonzero(i(3)[0])
L.argwhere(i((0, 1), (2, 0)))
L.searchsorted(i((1, 3, 5), (2, 4, 6)), i((3, 6), (4, 7)), right=True)
L.searchsorted(i(1, 3, 5), 4, out_int32=True)
L.searchsorted(i(1, 2, 3), x(4))
L.bucketize(x(4), L.tensor([0.5, 1.0, 1.5]))
L.einsum("ij,jk->ik", x(2, 3), x(3, 4))
L.einsum("bij,bjk", x(2, 2, 3), x(2, 3, 4))
L.einsum("ii->i", x(3, 3))
L.einsum("ii", x(3, 3))
L.einsum("...i,...i->...", x(2, 3), x(3))
L.einsum("i,j,k->kji", x(2), x(3), x(4))
L.einsum("ij,ij,jk->ik", x(2, 3), x(2, 3), x(3, 2))
L.einsum("ij,j->", x(2, 3), x(1))
L.einsum("...ij->...ji", x(2, 3, 4))
L.einsum(x(2, 3), [0, 1], x(3, 4), [1, 2], [2, 0])
L.einsum(x(2, 3), [..., 1], x(3), [1])
L.tensordot(x(2, 3, 4), x(4, 3), dims=([2, 1], [0, 1]))
L.tensordot(x(2, 3), x(3, 2), 1)
L.inner(x(2, 3), x(4, 3))
L.outer(x(2), x(3))
L.ger(x(2), i(1, 2))
L.cross(x(3, 2), x(3, 2))
L.cross(x(2, 3), x(2, 3), dim=1)
L.diff(x(2, 4), 2)
L.diff(x(4), prepend=x(1), append=x(2))
L.gradient(x(3, 4), spacing=2.0, dim=1, edge_order=2)
L.gradient(x(4), spacing=(L.tensor([0.0, 1.0, 3.0, 4.5]),), edge_order=2)
L.trapezoid(x(2, 4), dx=0.5)
L.trapz(x(4), x(4))
L.cumulative_trapezoid(x(2, 4), x(4))
L.cov(x(3, 5), correction=0)
L.cov(x(2, 3), fweights=i(1, 2, 3), aweights=L.tensor([0.5, 1.0, 2.0]))
L.corrcoef(x(3, 5))
L.renorm(x(3, 4), 2, 0, 1.0)
""".strip().splitlines()

REFUSED = """
L.cat([])
L.cat([x(2), x()])
L.cat([x(2, 2), x(3, 3)])
L.stack([x(2), x(3)])
L.meshgrid(x(2, 2), indexing="ij")
L.meshgrid(x(2), indexing="zz")
L.broadcast_shapes((2,), (3,))
x(2).repeat(-1)
x(2, 2).repeat(2)
L.roll(x(2), (1, 2), 0)
L.rot90(x(2, 2), 1, (0, 0))
L.flip(x(2), (0, 0))
L.hsplit(x(3), 2)
L.diag(x(2, 2, 2))
L.trace(x(3))
L.tril(x(3))
L.gather(x(3), 0, i(3))
L.gather(x(3), 0, i(-1))
L.gather(x(3, 3), 0, i(0))
x(3).scatter(0, i(5), 1.0)
x(3).scatter(0, i(0), i(1))
x(3).scatter(0, i(0), 1.0, reduce="sum")
L.scatter_reduce(x(3), 0, i(0), x(1), "add")
L.index_select(x(3), 0, i(7))
L.index_select(x(3), 0, i((0,), (1,)))
L.index_add(x(3), 0, i(0), x(2))
L.index_copy(x(3), 0, i(4), x(1))
L.index_fill(x(3), 0, i(4), 0)
L.take(x(3), i(3))
L.put(x(3), i(0), x(2))
L.masked_fill(x(3), i(1, 0, 1), 0)
L.masked_select(x(3), i(1, 0, 1))
L.masked_scatter(x(3), L.tensor([True] * 3), x(2))
L.where(i(1), 1.0, 2.0)
L.searchsorted(i((1, 2), (3, 4)), i(1))
L.searchsorted(i(1, 2), i(1), right=True, side="left")
L.einsum("ij,jk->ik", x(2, 3), x(4, 4))
L.einsum("ij", x(2))
L.einsum("i,j", x(2))
L.einsum("i->ii", x(2))
L.einsum("i->z", x(2))
L.einsum("i#->i", x(2, 2))
L.tensordot(x(2, 3), x(2, 3), 1)
L.inner(x(2), x(3))
L.outer(x(2, 2), x(3))
L.cross(x(2), x(2))
L.diff(x())
L.cov(x(2, 2, 2))
L.renorm(x(3), 2, 0, 1.0)
L.unravel_index(x(2), (2, 2))
x(4).resize_(2)
x(4).t_().add_(1)
L.combinations(x(2, 2))
""".strip().splitlines()


def run(lib: Any, text: str) -> tuple[Any, list[Any]]:
    """A call's result and the differentiable tensors it was given."""
    made: list[Any] = []
    rng = np.random.default_rng(0)

    def x(*shape: int) -> Any:
        t = lib.tensor(rng.uniform(0.2, 2.0, shape).astype(np.float32).tolist())
        made.append(t.reshape(shape).requires_grad_())
        return made[-1]

    def i(*values: Any) -> Any:
        return lib.tensor(list(values))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return eval(text, {"L": lib, "x": x, "i": i}), made


def flat(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]


def compare(a: Any, b: Any) -> None:
    assert tuple(a.shape) == tuple(b.shape)
    assert str(a.dtype) == str(b.dtype)
    np.testing.assert_allclose(
        a.detach().numpy(), b.detach().numpy(), rtol=2e-5, atol=1e-5, equal_nan=True
    )


@pytest.mark.parametrize("text", CALLS)
def test_call(text: str) -> None:
    (ours, mine), (theirs, given) = run(flambeau, text), run(torch, text)
    for side in (flat(ours), flat(theirs)):
        assert len(side) == len(flat(theirs))
    for a, b in zip(flat(ours), flat(theirs), strict=True):
        compare(a, b)
        assert a.requires_grad == b.requires_grad
    for lib, outs in ((flambeau, flat(ours)), (torch, flat(theirs))):
        total = sum(
            (o * lib.arange(1, o.numel() + 1, dtype=lib.float32).reshape(o.shape)).sum()
            for o in outs
            if o.requires_grad
        )
        if isinstance(total, lib.Tensor):
            total.backward()
    for a, b in zip(mine, given, strict=True):
        assert (a.grad is None) == (b.grad is None)
        if b.grad is not None:
            compare(a.grad, b.grad)


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    with pytest.raises(Exception) as expected:
        run(torch, text)
    with pytest.raises(type(expected.value)):
        run(flambeau, text)


@pytest.mark.parametrize(
    "text",
    ["t.unsqueeze_(0)", "t.t_()", "t.transpose_(0, 1)", "t.unsqueeze_(1).squeeze_()",
     "t.swapaxes_(0, 1).unsqueeze_(-1)"],
)  # fmt: skip
@pytest.mark.parametrize("state", ["plain", "pending", "bound", "history", "aliased"])
def test_shape_in_place(text: str, state: str) -> None:
    """The tensor itself changes shape: its aliases, its gradient and what was computed stay."""
    seen = []
    for lib in (flambeau, torch):
        leaf = lib.arange(6, dtype=lib.float32).reshape(2, 3)
        if state == "history":
            leaf.requires_grad_()
        t = leaf.clone() if state == "plain" else leaf * 2
        if state == "bound":
            float(t.sum())
        before = t + 1 if state == "bound" else t * 3
        other = t[0] if state == "aliased" else t.sum()
        result = eval(text, {"t": t})
        assert result is t
        t.mul_(2)
        after = t + 1
        if state == "history":
            (after * after).sum().backward()
        seen.append((tuple(t.shape), t, before, other, after, leaf.grad))
    for a, b in zip(*seen, strict=True):
        if isinstance(b, torch.Tensor):
            compare(a, b)
        else:
            assert a == b


def test_resize_and_set() -> None:
    for lib in (flambeau, torch):
        t = lib.arange(6)
        u = t + 1
        v = t[:4]
        v.resize_(2, 2)
        v[0, 0] = 9
        assert t[0].item() == 9
        t.resize_(3)
        assert t.tolist() == [9, 1, 2]
        assert u.tolist() == [1, 2, 3, 4, 5, 6]
        t.resize_as_(lib.zeros(1, 2))
        assert t.tolist() == [[9, 1]]
        w = lib.zeros(1, dtype=lib.int64)
        w.set_(u)
        w[0] = 5
        assert u[0].item() == 5
        w.set_(u, 1, (2, 2), (2, 1))
        assert w.tolist() == [[2, 3], [4, 5]]


def test_in_place_forms() -> None:
    seen = []
    for lib in (flambeau, torch):
        t = lib.arange(6, dtype=lib.float32)
        at = lib.tensor([0, 2])
        view = t[1:5]
        view.index_fill_(0, at, -1.0)
        t.scatter_(0, at, 3.0)
        t.scatter_add_(0, at, lib.ones(2))
        t.index_add_(0, at, lib.ones(2), alpha=2)
        t.index_copy_(0, at, lib.tensor([7.0, 8.0]))
        t.index_put_((at,), lib.ones(2), accumulate=True)
        t.put_(at, lib.tensor([1.5, 2.5]), accumulate=True)
        t.masked_fill_(t > 9, 0.5)
        t.masked_scatter_(t < 1, lib.tensor([20.0, 30.0, 40.0, 50.0]))
        t.scatter_reduce_(0, at, lib.tensor([100.0, -5.0]), "amax")
        m = t.reshape(2, 3)
        m.tril_()
        seen.append((t, view, m))
    for a, b in zip(*seen, strict=True):
        compare(a, b)


def test_meshgrid_warns() -> None:
    with pytest.warns(UserWarning, match="indexing"):
        flambeau.meshgrid(flambeau.arange(2))


INTEGERS = """
torch.einsum("ij->", x); torch.einsum("ij->i", x); torch.einsum("ij->ji", x)
torch.einsum("ij,jk->ik", x, x.T); torch.einsum("ij,kl->ik", x, x); torch.einsum("ij->j", x[:1])
torch.einsum("ii->", x[:2, :2]); torch.einsum("ij,ij->ij", x, x)
torch.trapezoid(x); torch.trapezoid(x, dx=2); torch.trapezoid(x, x); torch.trapezoid(x, dx=0.3)
torch.cumulative_trapezoid(x); torch.cumulative_trapezoid(x, x); torch.trapezoid(x, x.float())
torch.unravel_index(x % 20, (4, 5)); torch.trapezoid(x, dim=0)
""".replace("\n", ";").split(";")


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64"])
@pytest.mark.parametrize("call", [c.strip() for c in INTEGERS if c.strip()])
def test_narrow_integers_promote_and_wrap_as_torchs(call, dtype):
    given = np.array([[3, 50, 5, 100], [7, 90, 120, 1]])
    found = []
    for module in (torch, flambeau):
        made = eval(
            call, {"torch": module, "x": module.from_numpy(given).to(getattr(module, dtype))}
        )
        made = made if isinstance(made, tuple) else (made,)
        found.append([(str(t.dtype), t.numpy()) for t in made])
    for (theirs, a), (ours, b) in zip(*found, strict=True):
        assert ours == theirs
        np.testing.assert_allclose(b, a, rtol=1e-6)


def test_complex_numbers_of_a_pending_value_share_its_memory():
    def run(m):
        x = m.ones(3, 2) * 2
        c = m.view_as_complex(x)
        c.mul_(3)
        x.add_(1)
        return x.numpy(), c.numpy()

    for _ in range(5):
        for ours, theirs in zip(run(flambeau), run(torch), strict=True):
            np.testing.assert_array_equal(ours, theirs)
