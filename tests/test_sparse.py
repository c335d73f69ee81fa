"""Sparse tensors: what they print, compute and raise, beside PyTorch."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import flambeau

# PyTorch says that its compressed layouts are new, and that nobody asked for checks.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Sparse (CSR|CSC|BSR|BSC) tensor support"),
    pytest.mark.filterwarnings("ignore:Sparse invariant checks"),
]

LIBRARIES = (torch, flambeau)
CHECKED = {"check_invariants": True}


def names(lib: Any) -> dict[str, Any]:
    """What expressions are written in."""
    at = lib.tensor([[0, 1, 1], [2, 0, 2]])
    values = lib.tensor([3.0, 4.0, 5.0])
    matrix = lib.tensor([[0, 1.0, 0], [0, 2, 0], [3, 0, 0]])
    return {
        "torch": lib,
        "at": at,
        "v": values,
        "s": lib.sparse_coo_tensor(at, values, (2, 3)),
        "twice": lib.sparse_coo_tensor([[1, 0, 1], [0, 2, 0]], [1.0, 2.0, 3.0], (2, 3)),
        "hybrid": lib.sparse_coo_tensor([[2, 0]], [[1.0, 2.0], [3.0, 4.0]], (3, 2)),
        "e": matrix.to_sparse(),
        "c": matrix.to_sparse_csr(),
        "m": matrix,
        "blocks": lib.arange(16.0).reshape(4, 4),
        "leaf": lambda: lib.sparse_coo_tensor(at, values.clone(), (2, 3)).requires_grad_(),
        "checked": CHECKED,
    }


def shown(lib: Any, expression: str) -> tuple[str, str]:
    """What an expression gives, as text; or the class of its error."""
    try:
        return "value", repr(eval(expression, names(lib)))
    except Exception as error:
        # Flambeau's own errors are subclasses.
        kinds = [k.__name__ for k in type(error).__mro__ if k.__module__ == "builtins"]
        return "error", kinds[0]


VALUES = """
s | s.coalesce() | twice.coalesce() | s.is_coalesced() | e.is_coalesced() | hybrid | c | leaf()
s._indices() | s._values() | e.indices() | e.values() | s._nnz() | s.sparse_dim()
hybrid.dense_dim() | s.shape | s.layout | s.dtype | s.is_sparse | c.is_sparse | c.is_sparse_csr
m.is_sparse | s.type() | len(s) | s.dim() | s.numel() | s.is_leaf | s.requires_grad
torch.zeros(2, 3).to_sparse() | torch.zeros(2, 0, 3).to_sparse() | s.to_dense() | m.to_dense() is m
torch.sparse_coo_tensor((2, 3)) | torch.sparse_coo_tensor(size=(2, 3), dtype=torch.int64)
torch.sparse_coo_tensor([[0, 1], [1, 1]], [1, 2]).shape | torch.sparse_coo_tensor([[0]], [1 + 2j])
torch.sparse_coo_tensor([[0, 1]], torch.ones(2, 2, dtype=torch.float64), (4, 2))
torch.sparse_coo_tensor([[0]], torch.tensor([True]), (2,)).to_dense()
torch.sparse_coo_tensor(torch.arange(40).repeat(2, 1), torch.arange(40), (50, 50))
torch.arange(2400.0).reshape(60, 40).to_sparse()
torch.arange(1800.0).reshape(60, 30).to_sparse_csr()
torch.zeros(2, 3, layout=torch.sparse_coo) | torch.zeros(2, 3, layout=torch.sparse_csr)
torch.zeros_like(s) | torch.empty_like(e) | s.clone() | s.detach() | s.bool() | s.to(torch.float64)
m.to_sparse(1) | m.to_sparse(layout=torch.sparse_csr) | m.sparse_dim() | m.dense_dim()
m.sparse_mask(torch.eye(3).to_sparse()) | e.sparse_mask(torch.eye(3).to_sparse())
-s | abs(s) | s * 2 | 2 * s | s / 2 | s // 2 | s**2 | s + s | s - s | e + torch.eye(3).to_sparse()
torch.add(e, torch.eye(3).to_sparse(), alpha=2) | twice + s | m + e | m - e | m * e | e * m | e * e
e * torch.tensor(2.0) | e * torch.ones(3, 1) | torch.eye(3).to_sparse() * e | s * 0
hybrid * torch.ones(3, 2) | hybrid + hybrid | torch.div(e, 2, rounding_mode="floor")
torch.zeros(2, 3).add_(s, alpha=3) | torch.zeros(3, 2).add_(hybrid) | torch.ones(2, 3).sub_(twice)
s.clone().add_(twice) | s.clone().mul_(2) | s.clone().zero_() | s.clone().neg_() | e.clone().sin_()
torch.sin(twice) | twice.sqrt() | twice.abs() | torch.relu(-s) | s.tanh() | e.isnan() | s.sign()
s.sum() | s.sum(0) | torch.sparse.sum(s) | torch.sparse.sum(s, 0) | torch.sparse.sum(s, (0, 1))
torch.sparse.sum(hybrid, 0) | torch.sparse.sum(hybrid, 1) | torch.sparse.sum(hybrid, (0, 1))
torch.sparse.sum(twice, 1, dtype=torch.float64) | s.norm() | s.any() | c.sum()
c.sum(0, keepdim=True)
torch.sparse.softmax(s, 1) | torch.sparse.log_softmax(s, 0) | torch.sparse.softmax(hybrid, 0)
torch.sparse.softmax(hybrid, 1) | torch.sparse.softmax(s, 1, dtype=torch.float64)
s.t() | s.transpose(0, 1) | torch.transpose(s, 0, 1) | s.permute(1, 0) | hybrid.unsqueeze(2)
s.unsqueeze(0) | s.unsqueeze(-1) | s[0] | s[0, 2] | s[0, 1] | s[None] | s[:, 2] | s[..., 0]
hybrid[0] | hybrid[:, 1] | list(s) | s.select(0, 1) | twice.index_select(0, torch.tensor([1, 1, 0]))
torch.index_select(hybrid, 1, torch.tensor([1])) | s.narrow_copy(1, 1, 2) | s.unbind()
torch.cat([s, twice]) | torch.cat([s, s], 1) | torch.cat([hybrid, hybrid], 1)
torch.stack([s, twice])
s @ torch.ones(3, 2) | torch.mm(s, torch.ones(3, 2)) | torch.sparse.mm(s, s.t())
torch.ones(2, 2) @ s
s @ torch.ones(3) | torch.ones(2) @ s | torch.mv(s, torch.ones(3)) | torch.sparse.mm(m, e)
torch.sparse.addmm(m, e, m, beta=2, alpha=3) | torch.addmm(m, e, m) | torch.mm(twice, torch.eye(3))
torch.bmm(torch.stack([e, e]), torch.ones(2, 3, 2)) | torch.hspmm(e, m) | torch.smm(s, m)
torch.sspaddmm(e, e, m)
c * 2 | c + c | c @ torch.ones(3, 1) | c @ m | torch.sparse.mm(c, m) | c.t() | torch.sin(c) | c[0]
c[2, 0]
c.crow_indices() | c.col_indices() | c.values() | c.sparse_dim() | c.dense_dim() | c._nnz()
c.layout
c.to_dense() | c.to_sparse() | c.to_sparse_csc() | c.to_sparse_csc().to_sparse_csr()
m.to_sparse_csc()
c.to_sparse_csc().ccol_indices() | c.to_sparse_csc().row_indices() | c.to_sparse_csc() @ m
blocks.to_sparse_bsr((2, 2)) | blocks.to_sparse_bsc((2, 1)) | blocks.to_sparse_bsr((2, 2)) @ blocks
blocks.to_sparse_bsr((1, 2)).to_dense()
torch.arange(1, 13.0).reshape(2, 2, 3).to_sparse_csr()
torch.ones(2, 2, 3).to_sparse_csr(dense_dim=1)
torch.ones(2, 2, 3).to_sparse_csr().to_dense()
torch.sparse_csr_tensor([0, 1, 2], [0, 1], [1.0, 2.0])
torch.sparse_csc_tensor([0, 1, 2], [0, 1], [1.0, 2.0], (3, 2)).to_dense()
torch.sparse_bsr_tensor([0, 1], [1], torch.ones(1, 2, 2), (2, 4)).to_dense()
torch.sparse_compressed_tensor([0, 1, 2], [0, 1], [1, 2], (2, 2), layout=torch.sparse_csc)
torch.sparse.mm(c, m, "mean") | torch.sparse.mm(c, m, "amax") | torch.sparse.mm(c, m, "sum")
torch.sparse.sampled_addmm(c, m, m) | torch.sparse.sampled_addmm(c, m, m, beta=0.5, alpha=2.0)
torch.sparse.spdiags(torch.arange(9.0).reshape(3, 3), torch.tensor([0, -1, 1]), (3, 3)).to_dense()
torch.sparse.spdiags(torch.ones(3), torch.tensor([1]), (3, 4), torch.sparse_csr)
torch.sparse.check_sparse_tensor_invariants.is_enabled() | c.requires_grad_()
"""

ERRORS = """
s.indices() | v.indices() | v.values() | v.crow_indices() | v._nnz() | v._indices() | v.coalesce()
v.is_coalesced() | c.ccol_indices() | c.indices() | c.coalesce() | c._indices()
s.view(6) | s.reshape(6) | s.flatten() | s.numpy() | s.untyped_storage() | s.data_ptr()
s.tolist() | s[:1]
torch.exp(s) | s.cos() | s == s | s > 0 | s + 1 | 1 + s | s + torch.ones(2, 3) | s / s | s.mean()
s.max() | bool(s) | s.item() | s.fill_(1) | torch.ones_like(s) | e * torch.ones(2) | s + e
torch.ones(2, layout=torch.sparse_coo) | torch.mm(e, torch.ones(2, 2)) | torch.mm(e.double(), m)
torch.sparse_coo_tensor([[0, -1]], [1.0, 2]) | torch.sparse_coo_tensor([[0, 1]], [1.0, 2, 3])
torch.sparse_coo_tensor([[0, 1]], [1.0, 2], (2, 3)) | torch.cat([s, torch.ones(2, 3)])
torch.sparse_coo_tensor([[0, 5]], [1.0, 2], (2,), **checked) | m.to_sparse(5)
torch.sparse_coo_tensor([[0, 0]], [1.0, 2], (2,), is_coalesced=True, **checked)
torch.sparse_csr_tensor([0, 1, 3], [0, 1], [1.0, 2.0], **checked)
torch.sparse_csr_tensor([1, 1, 2], [0, 1], [1.0, 2.0], **checked)
torch.sparse_csr_tensor([0, 1, 2], [0, 5], [1.0, 2.0], (2, 2), **checked)
torch.sparse_csr_tensor([0, 2, 2], [1, 0], [1.0, 2.0], (2, 2), **checked)
torch.sparse_csr_tensor([0, 3, 2], [1, 0], [1.0, 2.0], (2, 2), **checked)
torch.sparse_csr_tensor([0, 1, 2], [0, 1], [1.0, 2.0], (3, 3), **checked)
m.to_sparse_bsr((2, 2)) | torch.sparse.mm(e, m, "mean")
torch.sparse.sampled_addmm(e, m, m) | torch.sparse.sampled_addmm(c, m, torch.ones(2, 3))
s.select(0, 5) | s.transpose(0, 3) | hybrid.transpose(0, 1) | m.sparse_mask(m)
leaf().add_(s) | s.__dlpack__() | torch.zeros(2, 3).copy_(s) | (leaf() * 2).backward()
"""


def listed(text: str) -> list[str]:
    return [e.strip() for line in text.strip().splitlines() for e in line.split(" | ")]


@pytest.mark.parametrize("expression", listed(VALUES))
def test_what_is_shown(expression):
    kind, text = shown(flambeau, expression)
    assert (kind, text) == shown(torch, expression)
    assert kind == "value"


@pytest.mark.parametrize("expression", listed(ERRORS))
def test_what_is_refused(expression):
    kind, text = shown(flambeau, expression)
    assert (kind, text) == shown(torch, expression)
    assert kind == "error"


def test_the_messages_of_refusals():
    for expression, message in {
        "s.indices()": "Cannot get indices on an uncoalesced tensor",
        "torch.exp(s)": "Could not run 'aten::exp' with arguments from the 'SparseCPU' backend",
        "s.numpy()": "can't convert Sparse layout tensor to numpy",
        "s + 1": "add\\(sparse, dense\\) is not supported. Use add\\(dense, sparse\\) instead",
    }.items():
        for lib in LIBRARIES:
            with pytest.raises(Exception, match=message):
                eval(expression, names(lib))


# Losses of a sparse leaf ``a``, of which the gradient is again sparse.
LOSSES = """
(a.to_dense() * d).sum() | (torch.sparse.mm(a, w) ** 2).sum() | torch.sparse.sum(a * 2)
(a.coalesce().values() * v).sum() | torch.sparse.softmax(a, 1).to_dense()[0].sum()
(torch.sparse.sum(a, 0).to_dense() ** 2).sum() | (a * d).to_dense().sum()
torch.sparse.mm(torch.sparse.mm(a, a.detach().t()), torch.ones(2, 1)).sum()
(a + a).to_dense().sum() | (a * 3).to_dense().sum()
"""


@pytest.mark.parametrize("loss", listed(LOSSES))
def test_the_gradient_of_a_sparse_leaf_has_its_pattern(loss):
    found = []
    for lib in LIBRARIES:
        space = names(lib)
        space |= {
            "a": space["leaf"](),
            "d": lib.arange(6.0).reshape(2, 3),
            "w": lib.arange(6.0).reshape(3, 2),
        }
        eval(loss, space).backward()
        grad = space["a"].grad
        assert grad.is_sparse
        found.append(grad.coalesce().to_dense().tolist())
    assert np.allclose(*found)


@pytest.mark.parametrize(
    "result",
    [
        "torch.sparse.mm(s, x)",
        "s @ x",
        "torch.sparse.mm(s.to_sparse_csr(), x)",
        "x.t() + s",
        "(x.to_sparse() * 2).to_dense()",
        "torch.sparse.mm(x.to_sparse(), s.to_dense())",
        "x.to_sparse_csr().to_dense() * 3",
        "torch.sparse_coo_tensor(at, x[:, 0], (2, 3)).to_dense()",
        "torch.sparse.sampled_addmm(s.to_sparse_csr(), x.t(), x @ x.t()).to_dense()",
    ],
)
def test_gradients_of_strided_operands(result):
    found = []
    for lib in LIBRARIES:
        x = lib.arange(1.0, 7.0).reshape(3, 2).requires_grad_()
        out = eval(result, names(lib) | {"x": x})
        (out * lib.arange(float(out.numel())).reshape(out.shape)).sum().backward()
        found.append(x.grad.tolist())
    assert np.allclose(*found)


def test_second_derivatives_pass_through_the_values():
    # PyTorch has no second derivative of ``to_dense``.
    v = flambeau.tensor([1.0, 2.0], requires_grad=True)
    dense = flambeau.sparse_coo_tensor([[0, 1], [1, 0]], v, (2, 2)).to_dense()
    (first,) = flambeau.autograd.grad((dense**3).sum(), v, create_graph=True)
    (second,) = flambeau.autograd.grad(first.sum(), v)
    assert second.tolist() == [6.0, 12.0]


def test_gradients_of_a_sparse_leaf_accumulate_and_are_zeroed():
    for lib in LIBRARIES:
        a = names(lib)["leaf"]()
        for _ in range(2):
            a.to_dense().sum().backward()
        assert a.grad.to_dense().tolist() == [[0, 0, 2], [2, 0, 2]]
        a.grad.zero_()
        a.to_dense().sum().backward()
        assert a.grad.to_dense().tolist() == [[0, 0, 1], [1, 0, 1]]
        a.grad = None
        assert a.grad is None


def test_a_sparse_root_takes_a_sparse_gradient():
    found = []
    for lib in LIBRARIES:
        v = lib.tensor([3.0, 4.0, 5.0], requires_grad=True)
        y = lib.sparse_coo_tensor(lib.tensor([[0, 1, 1], [2, 0, 2]]), v, (2, 3), is_coalesced=True)
        (y * 2).backward(lib.sparse_coo_tensor([[0, 1, 1], [2, 0, 2]], [1.0, 2.0, 3.0], (2, 3)))
        found.append(v.grad.tolist())
    assert found[0] == found[1]


def table(lib: Any, **options: Any) -> Any:
    weight = lib.arange(10.0).reshape(5, 2)
    return lib.nn.Embedding(5, 2, sparse=True, _weight=weight, **options)


@pytest.mark.parametrize("options", [{}, {"padding_idx": 1}], ids=["plain", "padding"])
def test_embedding_gives_a_sparse_gradient(options):
    found = []
    for lib in LIBRARIES:
        e = table(lib, **options)
        weights = lib.arange(8.0).reshape(2, 2, 2)
        (e(lib.tensor([[1, 3], [1, 0]])) * weights).sum().backward()
        first = repr(e.weight.grad)
        e(lib.tensor([2, 1])).sum().backward()
        assert e.weight.grad.is_sparse
        found.append((first, repr(e.weight.grad.coalesce())))
    assert found[0] == found[1]


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("options", [{}, {"padding_idx": 1}], ids=["plain", "padding"])
def test_embedding_bag_gives_a_sparse_gradient(mode, options):
    found = []
    for lib in LIBRARIES:
        weight = lib.arange(10.0).reshape(5, 2)
        bag = lib.nn.EmbeddingBag(5, 2, sparse=True, mode=mode, _weight=weight, **options)
        out = bag(lib.tensor([1, 3, 1, 0]), lib.tensor([0, 3]))
        (out * lib.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
        assert bag.weight.grad.is_sparse
        found.append((repr(out.detach()), bag.weight.grad.to_dense().tolist()))
    assert found[0] == found[1]


def test_a_sparse_and_a_strided_gradient_add_up():
    found = []
    for lib in LIBRARIES:
        e = table(lib)
        (e(lib.tensor([1, 1])) + e.weight[:2]).sum().backward()
        found.append(repr(e.weight.grad))
    assert found[0] == found[1]


def test_a_sparse_gradient_goes_on_through_what_made_the_table():
    found = []
    for lib in LIBRARIES:
        w = lib.arange(10.0).reshape(5, 2).requires_grad_()
        rows = lib.nn.functional.embedding(lib.tensor([1, 3, 1]), w, sparse=True)
        (rows * 2).sum().backward()
        found.append(w.grad.to_dense().tolist())
    assert found[0] == found[1]
    doubled = flambeau.ones(3, 2, requires_grad=True)
    table_of_it = doubled * 2
    flambeau.nn.functional.embedding(
        flambeau.tensor([0, 0]), table_of_it, sparse=True
    ).sum().backward()
    assert doubled.grad.tolist() == [[4.0, 4.0], [0.0, 0.0], [0.0, 0.0]]


def test_scaling_by_frequency_is_refused_in_the_backward():
    for lib in LIBRARIES:
        out = table(lib, scale_grad_by_freq=True)(lib.tensor([1, 1]))
        with pytest.raises(RuntimeError, match="scale_grad_by_freq not supported with sparse"):
            out.sum().backward()


TAKING = [
    ("SGD", {}),
    ("SGD", {"maximize": True}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.1, "maximize": True}),
    ("SparseAdam", {}),
    ("SparseAdam", {"maximize": True, "betas": (0.5, 0.9)}),
]


def trained(lib: Any, name: str, options: dict[str, Any], steps: int = 4) -> tuple[Any, Any]:
    e = table(lib)
    optimizer = getattr(lib.optim, name)(e.parameters(), lr=0.1, **options)
    for k in range(steps):
        optimizer.zero_grad()
        (e(lib.tensor([1, 3, 1, k])) ** 2).sum().backward()
        optimizer.step()
    return e.weight.tolist(), optimizer


@pytest.mark.parametrize(("name", "options"), TAKING)
def test_optimizers_that_take_sparse_gradients(name, options):
    expected, theirs = trained(torch, name, options)
    weight, ours = trained(flambeau, name, options)
    assert np.allclose(weight, expected, atol=1e-5)
    for key, value in theirs.state_dict()["state"].get(0, {}).items():
        found = ours.state_dict()["state"][0][key]
        if isinstance(value, torch.Tensor):
            assert found.is_sparse == value.is_sparse
            assert np.allclose(found.to_dense().tolist(), value.to_dense().tolist(), atol=1e-4)
        else:
            assert found == value


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Adam", {}), ("AdamW", {}), ("RMSprop", {}), ("Adadelta", {}), ("Adamax", {}),
        ("ASGD", {}), ("NAdam", {}), ("RAdam", {}), ("Rprop", {}), ("Adafactor", {}), ("Muon", {}),
        ("SGD", {"weight_decay": 0.1}), ("Adagrad", {"weight_decay": 0.1}),
    ],
)  # fmt: skip
def test_optimizers_that_refuse_sparse_gradients(name, options):
    said = []
    for lib in LIBRARIES:
        with pytest.raises((RuntimeError, NotImplementedError)) as refusal:
            trained(lib, name, options, 1)
        said.append(str(refusal.value))
    if "Could not run" not in said[0] and "add(sparse, dense)" not in said[0]:
        assert said[0] == said[1]


def test_a_leaf_on_memory_of_a_view_remains_a_leaf_when_written():
    for lib in LIBRARIES:
        w = lib.nn.Parameter(lib.arange(4.0).reshape(2, 2))
        with lib.no_grad():
            w.add_(lib.sparse_coo_tensor([[0], [1]], [1.0], (2, 2)))
            w.add_(1)
        assert w.is_leaf
        assert w.requires_grad
        assert w.tolist() == [[1.0, 3.0], [3.0, 4.0]]


def samples(lib: Any) -> dict[str, Any]:
    space = names(lib)
    return {
        "coo": space["s"],
        "coalesced": space["e"],
        "hybrid": space["hybrid"],
        "csr": space["c"],
        "csc": space["c"].to_sparse_csc(),
        "bsr": space["blocks"].to_sparse_bsr((2, 2)),
        "empty": lib.zeros(2, 3).to_sparse(),
        "layout": lib.sparse_coo,
    }


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize(("writer", "reader"), [(torch, flambeau), (flambeau, torch)])
def test_files_pass_between_the_libraries(writer, reader, archive):
    file = io.BytesIO()
    writer.save(samples(writer), file, _use_new_zipfile_serialization=archive)
    file.seek(0)
    loaded = reader.load(file)
    for name, value in samples(reader).items():
        assert repr(loaded[name]) == repr(value)
    assert loaded["coalesced"].is_coalesced()
    assert not loaded["coo"].is_coalesced()


def test_pickles_and_copies():
    for lib in LIBRARIES:
        for name, value in samples(lib).items():
            if name != "layout":
                assert repr(pickle.loads(pickle.dumps(value))) == repr(value)
                # PyTorch does not copy compressed tensors.
                if value.layout is lib.sparse_coo or lib is flambeau:
                    assert repr(copy.deepcopy(value)) == repr(value)
        leaf = names(lib)["leaf"]()
        twin = copy.deepcopy(leaf)
        assert twin.requires_grad
        twin.detach().mul_(2)
        assert leaf.detach().to_dense().tolist() == [[0, 0, 3], [4, 0, 5]]


def test_checks_are_turned_on_for_a_block():
    check = flambeau.sparse.check_sparse_tensor_invariants
    with check(), pytest.raises(RuntimeError, match="size is inconsistent with indices"):
        flambeau.sparse_coo_tensor([[5]], [1.0], (2,))
    assert not check.is_enabled()


def test_large_products_agree():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((40, 30)) * (rng.random((40, 30)) < 0.1)
    b = rng.standard_normal((30, 20)) * (rng.random((30, 20)) < 0.2)
    left, right = (flambeau.from_numpy(x).to_sparse() for x in (a, b))
    product = flambeau.sparse.mm(left, right)
    assert product.is_coalesced()
    assert np.allclose(product.to_dense().numpy(), a @ b)
    theirs = torch.sparse.mm(torch.from_numpy(a).to_sparse(), torch.from_numpy(b).to_sparse())
    assert np.array_equal(product.indices().numpy(), theirs.coalesce().indices().numpy())
