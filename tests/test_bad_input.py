"""What a user gets wrong: the exception PyTorch raises, its message, and that nothing breaks."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

import flambeau

pytestmark = pytest.mark.filterwarnings("ignore")


def matrix(m: Any, *shape: int) -> Any:
    return m.arange(float(math.prod(shape))).reshape(shape)


# A call that fails, and what its message has to name: what was given, what was wanted.
CASES: dict[str, tuple[Callable[[Any, Any], Any], tuple[str, ...]]] = {
    # Shapes
    "matmul": (lambda m, x: x @ x, ("2x3", "mat1 and mat2")),
    "mm of a vector": (lambda m, x: m.mm(x, x[0]), ("matrix",)),
    "bmm": (lambda m, x: m.bmm(x[None], x[None]), ("1, 3",)),
    "mv": (lambda m, x: m.mv(x, m.ones(2)), ("2x3", "vec (2)")),
    "dot": (lambda m, x: m.dot(m.ones(2), m.ones(3)), ("[2]", "[3]")),
    "matmul of a scalar": (lambda m, x: m.tensor(1.0) @ x, ("0D", "2D")),
    "matmul of stacks": (lambda m, x: m.ones(2, 3, 4) @ m.ones(3, 4, 5), ("(2)", "(3)")),
    "addmm": (lambda m, x: m.addmm(x, x, x.T), ("2, 3", "2, 2")),
    "linear": (lambda m, x: m.nn.Linear(784, 10)(m.ones(64, 100)), ("64x100", "784x10")),
    "linear of a batch": (lambda m, x: m.nn.Linear(4, 2)(m.ones(2, 5, 3)), ("10x3", "4x2")),
    "linear bias": (lambda m, x: m.nn.functional.linear(x, x, m.ones(5)), ("5", "2")),
    "conv channels": (
        lambda m, x: m.nn.Conv2d(3, 8, 3)(m.ones(1, 1, 8, 8)),
        ("[8, 3, 3, 3]", "3 channels", "1 channels"),
    ),
    "conv dimensions": (lambda m, x: m.nn.Conv2d(1, 1, 3)(m.ones(8, 8)), ("[8, 8]", "4D")),
    "conv kernel too large": (
        lambda m, x: m.nn.Conv2d(1, 1, 5)(m.ones(1, 1, 3, 3)),
        ("3 x 3", "5 x 5"),
    ),
    "conv groups": (lambda m, x: m.nn.Conv2d(3, 4, 1, groups=2), ("in_channels", "groups")),
    "transposed conv channels": (
        lambda m, x: m.nn.ConvTranspose2d(3, 1, 2)(m.ones(1, 2, 4, 4)),
        ("3 channels", "2 channels"),
    ),
    "pool": (lambda m, x: m.nn.MaxPool2d(4)(m.ones(1, 1, 2, 2)), ("0", "small")),
    "pool padding": (lambda m, x: m.nn.MaxPool2d(2, padding=2)(m.ones(1, 1, 4, 4)), ("pad",)),
    "batch norm channels": (lambda m, x: m.nn.BatchNorm2d(4)(m.ones(2, 3, 2, 2)), ("4", "3")),
    "batch norm dimensions": (lambda m, x: m.nn.BatchNorm2d(3)(m.ones(2, 3)), ("4D", "2D")),
    "batch norm of one row": (lambda m, x: m.nn.BatchNorm1d(3)(m.ones(1, 3)), ("[1, 3]",)),
    "layer norm": (lambda m, x: m.nn.LayerNorm(4)(x), ("[4]", "[2, 3]")),
    "group norm": (lambda m, x: m.nn.GroupNorm(2, 3), ("num_channels", "num_groups")),
    "lstm features": (lambda m, x: m.nn.LSTM(4, 2)(m.ones(5, 1, 3)), ("4", "3")),
    "lstm state": (
        lambda m, x: m.nn.LSTM(3, 2)(m.ones(5, 1, 3), (m.ones(1, 1, 3), m.ones(1, 1, 3))),
        ("(1, 1, 2)", "[1, 1, 3]"),
    ),
    "attention width": (lambda m, x: m.nn.MultiheadAttention(8, 3), ("embed_dim", "num_heads")),
    "broadcast": (lambda m, x: x + m.ones(2), ("(3)", "(2)", "dimension 1")),
    "broadcast in place": (lambda m, x: m.ones(3).add_(x), ("[3]", "[2, 3]")),
    "comparison": (lambda m, x: x == m.ones(4), ("(3)", "(4)")),
    "where": (lambda m, x: m.where(x > 0, x, m.ones(4)), ("(3)", "(4)")),
    "cat sizes": (lambda m, x: m.cat([x, m.ones(2, 4)]), ("3", "4", "tensor number 1")),
    "cat dimensions": (lambda m, x: m.cat([x, m.ones(2, 4, 1)]), ("2", "3")),
    "cat of nothing": (lambda m, x: m.cat([]), ("non-empty",)),
    "stack": (lambda m, x: m.stack([x, m.ones(2)]), ("[2, 3]", "[2]")),
    "view": (lambda m, x: x.view(4), ("[4]", "6")),
    "view of a transpose": (lambda m, x: x.T.view(6), ("reshape",)),
    "view with two unknowns": (lambda m, x: x.view(-1, -1), ("one dimension",)),
    "reshape": (lambda m, x: x.reshape(4, -1), ("[4, -1]", "6")),
    "expand": (lambda m, x: x.expand(2, 4), ("(4)", "(3)")),
    "squeeze": (lambda m, x: x.squeeze(2), ("[-2, 1]", "2")),
    "permute": (lambda m, x: x.permute(0, 0), ("permute",)),
    "permute length": (lambda m, x: x.permute(0), ("2", "1")),
    "transpose": (lambda m, x: x.transpose(0, 2), ("[-2, 1]", "2")),
    "split": (lambda m, x: x.split([1, 2]), ("[1, 2]", "2")),
    "chunk": (lambda m, x: x.chunk(0), ("chunks", "0")),
    "t of a volume": (lambda m, x: m.ones(1, 1, 1).t(), ("3D",)),
    "einsum": (lambda m, x: m.einsum("ij,jk->ik", x, x), ("einsum", "3", "2")),
    "einsum letters": (lambda m, x: m.einsum("ijk->i", x), ("einsum",)),
    "mse target": (lambda m, x: m.nn.functional.mse_loss(x, m.ones(4)), ("(3)", "(4)")),
    "cross entropy batch": (
        lambda m, x: m.nn.functional.cross_entropy(x, m.tensor([0, 1, 2])),
        ("2", "3"),
    ),
    "bce sizes": (
        lambda m, x: m.nn.functional.binary_cross_entropy(m.ones(2), m.ones(3)),
        ("[2]", "[3]"),
    ),
    "bce with logits sizes": (
        lambda m, x: m.nn.functional.binary_cross_entropy_with_logits(m.ones(2), m.ones(3)),
        ("[2]", "[3]"),
    ),
    "item of many": (lambda m, x: x.item(), ("6 elements",)),
    "truth of many": (lambda m, x: bool(x), ("more than one value",)),
    "assignment": (lambda m, x: x.__setitem__(0, m.ones(2)), ("3", "2")),
    "copy": (lambda m, x: x.copy_(m.ones(4)), ("(3)", "(4)")),
    "inverse": (lambda m, x: m.linalg.inv(x), ("square", "2", "3")),
    "singular": (lambda m, x: m.linalg.inv(m.zeros(2, 2)), ("singular",)),
    "not positive": (lambda m, x: m.linalg.cholesky(-m.eye(2)), ("positive-definite",)),
    # Dtypes
    "float index": (lambda m, x: x[m.tensor([0.0])], ("long",)),
    "float embedding": (lambda m, x: m.nn.Embedding(4, 2)(m.ones(2)), ("Float", "Long")),
    "float labels": (
        lambda m, x: m.nn.functional.cross_entropy(x, m.tensor([0.0, 1.0])),
        ("Long", "Float"),
    ),
    "int labels": (
        lambda m, x: m.nn.functional.cross_entropy(x, m.tensor([0, 1], dtype=m.int32)),
        ("Long", "Int"),
    ),
    "int loss target of bce": (
        lambda m, x: m.nn.functional.binary_cross_entropy(m.ones(2), m.tensor([0, 1])),
        ("Long", "Float"),
    ),
    "mixed matmul": (lambda m, x: x @ m.ones(3, 1, dtype=m.float64), ("float", "double")),
    "Long into Linear": (
        lambda m, x: m.nn.Linear(3, 1)(m.ones(2, 3, dtype=m.int64)),
        ("Long", "Float"),
    ),
    "double into Linear": (
        lambda m, x: m.nn.Linear(3, 1)(m.ones(2, 3, dtype=m.float64)),
        ("Double", "Float"),
    ),
    "uint8 into Conv2d": (
        lambda m, x: m.nn.Conv2d(1, 1, 1)(m.ones(1, 1, 2, 2, dtype=m.uint8)),
        ("unsigned char", "float"),
    ),
    "mean of integers": (lambda m, x: m.ones(2, dtype=m.int64).mean(), ("Long", "floating")),
    "softmax of integers": (lambda m, x: m.ones(2, dtype=m.int64).softmax(0), ("Long",)),
    "requires_grad of integers": (
        lambda m, x: m.tensor([1], requires_grad=True),
        ("floating point",),
    ),
    "in-place cast": (lambda m, x: m.ones(2, dtype=m.int64).add_(0.5), ("Float", "Long")),
    "bool minus": (lambda m, x: (x > 0) - (x > 1), ("bool",)),
    "float and": (lambda m, x: x & x, ("Float",)),
    "gather dtype": (lambda m, x: x.gather(1, m.zeros(2, 1)), ("int64",)),
    "mask dtype": (lambda m, x: x.masked_fill(x, 0.0), ("bool",)),
    "randint dtype": (lambda m, x: m.randn(2, dtype=m.int64), ("Long",)),
    # Devices
    "cuda": (lambda m, x: x.to("cuda"), ()),
    "cuda tensor": (lambda m, x: m.ones(2, device="cuda"), ()),
    "cuda method": (lambda m, x: x.cuda(), ()),
    "cuda module": (lambda m, x: m.nn.Linear(1, 1).to("cuda"), ()),
    "unknown device": (lambda m, x: x.to("gpu"), ("gpu",)),
    "unknown device object": (lambda m, x: m.device("quantum"), ("quantum",)),
    "bad ordinal": (lambda m, x: m.device("cuda:x"), ("cuda:x",)),
    # Indices
    "index": (lambda m, x: x[2], ("2", "dimension 0", "size 2")),
    "negative index": (lambda m, x: x[:, -4], ("-4", "dimension 1", "size 3")),
    "too many indices": (lambda m, x: x[0, 0, 0], ("too many", "2")),
    "tensor index": (lambda m, x: x[m.tensor([5])], ("5", "dimension 0", "size 2")),
    "mask size": (lambda m, x: x[m.tensor([True, False, True])], ("[3]", "[2, 3]")),
    "index shapes": (lambda m, x: x[m.tensor([0, 1]), m.tensor([0, 1, 2])], ("[2]", "[3]")),
    "negative step": (lambda m, x: x[::-1], ("step",)),
    "index of a scalar": (lambda m, x: m.tensor(1.0)[0], ("0-dim",)),
    "dim": (lambda m, x: x.sum(2), ("[-2, 1]", "2")),
    "dim twice": (lambda m, x: x.sum((0, 0)), ("0",)),
    "embedding": (lambda m, x: m.nn.Embedding(4, 2)(m.tensor([4])), ("out of range",)),
    "label": (lambda m, x: m.nn.functional.cross_entropy(x, m.tensor([0, 3])), ("3", "bounds")),
    "negative label": (
        lambda m, x: m.nn.functional.nll_loss(x, m.tensor([0, -1])),
        ("-1", "bounds"),
    ),
    "gather": (lambda m, x: x.gather(1, m.tensor([[3]])), ("3", "dimension 1", "size 3")),
    "scatter": (lambda m, x: x.scatter(1, m.tensor([[3]]), 1.0), ("3", "dimension 1")),
    "index_select": (lambda m, x: x.index_select(0, m.tensor([2])), ("2", "dimension 0", "size 2")),
    "select": (lambda m, x: x.select(1, 3), ("3",)),
    "narrow": (lambda m, x: x.narrow(1, 2, 2), ("2", "3")),
    "one hot": (lambda m, x: m.nn.functional.one_hot(m.tensor([3]), 3), ("num_classes",)),
    "topk": (lambda m, x: x.topk(4), ("k",)),
    "unbind": (lambda m, x: x.unbind(2), ("[-2, 1]", "2")),
    # Types
    "string plus": (lambda m, x: x + "1", ()),
    "None plus": (lambda m, x: x + None, ()),
    "relu of None": (lambda m, x: m.relu(None), ("NoneType",)),
    "relu of a string": (lambda m, x: m.relu("1"), ("str",)),
    "relu of a list": (lambda m, x: m.nn.functional.relu([1.0]), ("list",)),
    "matmul of a list": (lambda m, x: m.matmul(x, [1.0]), ("list",)),
    "Linear of an array": (lambda m, x: m.nn.Linear(3, 1)(x.numpy()), ("ndarray",)),
    "tensor of a string": (lambda m, x: m.tensor("abc"), ("str",)),
    "tensor of None": (lambda m, x: m.tensor([None]), ("NoneType",)),
    "ragged": (lambda m, x: m.tensor([[1.0], [1.0, 2.0]]), ("1", "2", "dim 1")),
    "float size": (lambda m, x: m.zeros(2.0), ("float",)),
    "string size": (lambda m, x: m.zeros("2"), ("str",)),
    "unknown option": (lambda m, x: m.ones(2, colour="red"), ("colour",)),
    "unknown method": (lambda m, x: x.no_such_method(), ("no_such_method",)),
    "missing argument": (lambda m, x: m.matmul(x), ("matmul", "other")),
    "cat of a tensor": (lambda m, x: m.cat(x), ("Tensor",)),
    "cat of numbers": (lambda m, x: m.cat([1, 2]), ("int",)),
    "bad dtype": (lambda m, x: m.ones(2, dtype="float32"), ("str",)),
    "reshape to a float": (lambda m, x: x.reshape(2.0, 3), ("float",)),
    "index by a string": (lambda m, x: x["a"], ()),
    "from_numpy of a list": (lambda m, x: m.from_numpy([1.0]), ("list",)),
    "linspace": (lambda m, x: m.linspace(0, 1, -1), ("non-negative",)),
    # Sizes and options
    "negative size": (lambda m, x: m.zeros(-1), ("-1", "negative")),
    "negative Linear": (lambda m, x: m.nn.Linear(-1, 2), ("-1", "negative")),
    "arange bounds": (lambda m, x: m.arange(3, 1), ("bound", "step")),
    "arange step": (lambda m, x: m.arange(0, 3, 0), ("step",)),
    "reduction": (lambda m, x: m.nn.functional.mse_loss(x, x, reduction="avg"), ("avg",)),
    "reduction of cross entropy": (
        lambda m, x: m.nn.functional.cross_entropy(x, m.tensor([0, 1]), reduction="avg"),
        ("avg",),
    ),
    "dropout": (lambda m, x: m.nn.Dropout(1.5), ("1.5", "between 0 and 1")),
    "padding mode": (lambda m, x: m.nn.functional.pad(x, (1, 1), mode="mirror"), ()),
    "rounding mode": (lambda m, x: m.div(x, 2, rounding_mode="up"), ("up", "floor")),
    "learning rate": (lambda m, x: m.optim.SGD([m.ones(1)], lr=-1.0), ("-1.0", "learning rate")),
    "no parameters": (lambda m, x: m.optim.SGD([], lr=0.1), ("empty",)),
    "a tensor for parameters": (lambda m, x: m.optim.SGD(m.ones(1), lr=0.1), ("iterable",)),
    "a module for parameters": (lambda m, x: m.optim.Adam(m.nn.Linear(1, 1)), ()),
    "betas": (lambda m, x: m.optim.Adam([m.ones(1)], betas=(1.0, 0.9)), ("1.0", "beta")),
    "batch size": (lambda m, x: m.utils.data.DataLoader([1], batch_size=0), ("batch_size", "0")),
    "manual_seed": (lambda m, x: m.manual_seed("a"), ()),
    "multinomial": (lambda m, x: m.multinomial(m.tensor([0.5, 0.5]), 3), ("n_sample",)),
    "normal": (lambda m, x: m.normal(0.0, -1.0, (2,)), ("std", "-1")),
    "bernoulli": (lambda m, x: m.bernoulli(m.tensor([2.0])), ("p_in",)),
    # Modules
    "no forward": (lambda m, x: m.nn.Module()(x), ("forward",)),
    "ModuleList called": (lambda m, x: m.nn.ModuleList()(x), ("forward",)),
    "Sequential of a function": (lambda m, x: m.nn.Sequential(len), ("Module",)),
    "unknown attribute": (lambda m, x: m.nn.Linear(1, 1).scale, ("Linear", "scale")),
    "state_dict keys": (
        lambda m, x: m.nn.Linear(1, 1).load_state_dict({"weigth": m.ones(1, 1)}),
        ("Missing", "weight", "bias", "Unexpected", "weigth"),
    ),
    "state_dict sizes": (
        lambda m, x: m.nn.Linear(2, 1, bias=False).load_state_dict({"weight": m.ones(1, 3)}),
        ("size mismatch", "weight", "[1, 3]", "[1, 2]"),
    ),
    "parameter of a list": (
        lambda m, x: setattr(m.nn.Linear(1, 1), "weight", [1.0]),
        ("weight", "list"),
    ),
    "before init": (
        lambda m, x: setattr(object.__new__(m.nn.Module), "a", m.nn.Linear(1, 1)),
        ("__init__",),
    ),
    # Backward
    "backward of a constant": (lambda m, x: x.sum().backward(), ("does not require grad",)),
    "backward of many": (
        lambda m, x: (x.requires_grad_() * 2).backward(),
        ("scalar",),
    ),
    "backward twice": (lambda m, x: twice(x.clone().requires_grad_()), ("second time",)),
    "gradient shape": (
        lambda m, x: (x.clone().requires_grad_() * 2).backward(m.ones(2)),
        ("[2]", "[2, 3]"),
    ),
    "in place on a leaf": (
        lambda m, x: m.ones(1, requires_grad=True).add_(1),
        ("leaf", "in-place"),
    ),
    "a saved value changed": (lambda m, x: changed(m), ("inplace operation", "clone()")),
    "numpy with grad": (
        lambda m, x: m.ones(1, requires_grad=True).numpy(),
        ("detach()", "requires grad"),
    ),
    "requires_grad of a result": (
        lambda m, x: setattr(m.ones(1, requires_grad=True) * 2, "requires_grad", False),
        ("leaf",),
    ),
    "grad of an unused input": (
        lambda m, x: m.autograd.grad(
            m.ones(1, requires_grad=True).sum(), m.ones(1, requires_grad=True)
        ),
        ("not have been used", "allow_unused"),
    ),
    "grad assigned": (lambda m, x: setattr(x, "grad", m.ones(2)), ("size",)),
    "step without closure": (lambda m, x: m.optim.LBFGS([m.ones(1)]).step(), ("closure",)),
}


def twice(x: Any) -> None:
    loss = (x * x).sum()
    loss.backward()
    loss.backward()


def changed(m: Any) -> None:
    x = m.ones(2, requires_grad=True)
    y = x.exp()
    y.add_(1)
    y.sum().backward()


def failure(call: Callable[[Any, Any], Any], m: Any, x: Any) -> BaseException | None:
    try:
        call(m, x)
    except Exception as error:  # which one it is, is what is compared
        return error
    return None


@pytest.mark.parametrize("name", CASES)
def test_the_error_is_pytorchs_and_nothing_is_broken(name: str) -> None:
    call, named = CASES[name]
    theirs = failure(call, torch, matrix(torch, 2, 3))
    x = matrix(flambeau, 2, 3)
    pending = x + 1
    ours = failure(call, flambeau, x)
    assert theirs is not None, name
    assert ours is not None, f"{name}: PyTorch raises {theirs!r}"
    assert isinstance(ours, kind(theirs)), f"{ours!r} but PyTorch {theirs!r}"
    for part in named:
        assert part in str(ours), f"{part!r} is not in {ours!s}"
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert pending.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert (pending * 2 + x.detach()).sum().item() == 57


def kind(error: BaseException) -> type:
    """PyTorch's own exceptions have counterparts of the same name."""
    found = type(error)
    if found.__module__.partition(".")[0] in ("builtins",):
        return found
    return next((k for k in found.__mro__ if k.__module__ == "builtins"), Exception)


def training(m: Any) -> Callable[[], float]:
    """A step of training, to be run again and again; gives the loss."""
    m.manual_seed(0)
    net = m.nn.Sequential(m.nn.Linear(3, 4), m.nn.Tanh(), m.nn.Linear(4, 2))
    optimizer = m.optim.Adam(net.parameters(), lr=0.01)
    x, labels = m.randn(8, 3), m.tensor([0, 1] * 4)

    def step() -> float:
        optimizer.zero_grad()
        loss = m.nn.functional.cross_entropy(net(x), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    step.net = net  # type: ignore[attr-defined]
    return step


BETWEEN = [
    "matmul", "Long into Linear", "label", "embedding", "broadcast in place", "backward twice",
    "a saved value changed", "singular", "float index", "state_dict sizes", "cuda", "item of many",
]  # fmt: skip


@pytest.fixture
def one_tier():
    """Bits are compared: no step may be interpreted in one loop and compiled in the other."""
    flambeau.use_deterministic_algorithms(True)
    yield
    flambeau.use_deterministic_algorithms(False)


def test_training_goes_on_as_if_nothing_had_been_tried(one_tier) -> None:
    undisturbed = training(flambeau)
    expected = [undisturbed() for _ in range(len(BETWEEN))]
    step = training(flambeau)
    losses = []
    for name in BETWEEN:
        losses.append(step())
        assert failure(CASES[name][0], flambeau, matrix(flambeau, 2, 3)) is not None
    assert losses == expected


def test_a_failing_batch_in_the_middle_of_a_step(one_tier) -> None:
    undisturbed = training(flambeau)
    expected = [undisturbed() for _ in range(6)]
    step = training(flambeau)
    net = step.net  # type: ignore[attr-defined]
    losses = []
    for i in range(6):
        if i in (1, 4):
            hidden = net[0](flambeau.ones(2, 3))
            with pytest.raises(RuntimeError, match="2x4 and 3x4"):
                net[0](hidden)
            with pytest.raises(IndexError, match="bounds"):
                flambeau.nn.functional.cross_entropy(net[2](hidden), flambeau.tensor([0, 7]))
            with pytest.raises(RuntimeError):
                net[2](hidden).backward()
            assert hidden.shape == (2, 4) and math.isfinite(hidden.sum().item())
        losses.append(step())
    assert losses == expected


# What is no error: NaN and infinity go through.
NAN = {
    "input": lambda m: m.nn.functional.mse_loss(m.tensor([math.nan, 1.0]), m.ones(2)),
    "target": lambda m: m.nn.functional.mse_loss(m.ones(2), m.tensor([math.nan, 1.0])),
    "logits": lambda m: m.nn.functional.cross_entropy(m.tensor([[math.nan, 1.0]]), m.tensor([0])),
    "bce with logits": lambda m: m.nn.functional.binary_cross_entropy_with_logits(
        m.tensor([math.nan]), m.ones(1)
    ),
    "l1": lambda m: m.nn.functional.l1_loss(m.tensor([math.nan]), m.ones(1)),
    "all ignored": lambda m: m.nn.functional.cross_entropy(m.ones(1, 2), m.tensor([-100])),
    "infinity": lambda m: m.tensor([math.inf]) - m.tensor([math.inf]),
    "mean of nothing": lambda m: m.ones(0).mean(),
    "root": lambda m: m.tensor([-1.0]).sqrt(),
    "division": lambda m: m.zeros(1) / 0,
    "normalised zeros": lambda m: m.zeros(1) / m.zeros(1).norm(),
    "max": lambda m: m.tensor([math.nan, 1.0]).max(),
    "softmax": lambda m: m.tensor([math.nan, 1.0]).softmax(0).sum(),
    "layer norm": lambda m: m.nn.LayerNorm(2)(m.tensor([math.nan, 1.0])).sum(),
    "conv": lambda m: m.nn.functional.conv1d(m.tensor([[[math.nan, 1.0]]]), m.ones(1, 1, 1)).sum(),
}


@pytest.mark.parametrize("name", NAN)
def test_nan_is_a_value(name: str) -> None:
    assert math.isnan(NAN[name](torch).item())
    assert math.isnan(NAN[name](flambeau).item())


def test_a_nan_label_spoils_its_gradient_only() -> None:
    results = []
    for m in (flambeau, torch):
        x = m.ones(3, requires_grad=True)
        loss = m.nn.functional.mse_loss(x, m.tensor([0.0, math.nan, 2.0]), reduction="sum")
        loss.backward()
        results.append((math.isnan(loss.item()), [str(v) for v in x.grad.tolist()]))
    assert results[0] == results[1] == (True, ["2.0", "nan", "-2.0"])


def test_messages_are_one_line_without_addresses() -> None:
    """What a user reads names nothing of the recorder's."""
    for name, (call, _) in CASES.items():
        error = failure(call, flambeau, matrix(flambeau, 2, 3))
        assert not re.search(r"0x[0-9a-f]{6}|Aval\(|_meta|<recorder", str(error)), (
            f"{name}: {error}"
        )
