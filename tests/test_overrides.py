"""``__torch_function__`` of subclasses and other classes, modes, and ``torch.overrides``."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

import flambeau
import flambeau.overrides
import flambeau.sparse

MODULES = {"torch": torch, "flambeau": flambeau}


def classes(m: Any) -> dict[str, Any]:
    """Subclasses of the tensors of a library: plain, of a plain one, unrelated, keeping notes."""

    class First(m.Tensor):
        pass

    class Second(First):
        pass

    class Other(m.Tensor):
        pass

    class Noted(m.Tensor):
        @staticmethod
        def __new__(cls, x, note=None):
            return super().__new__(cls, x)

        def __init__(self, x, note=None):
            self.note = note

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            found = super().__torch_function__(func, types, args, kwargs)
            if isinstance(found, cls):
                found.note = next((a.note for a in args if hasattr(a, "note")), None)
            return found

    return {"First": First, "Second": Second, "Other": Other, "Noted": Noted}


CALLS = """x+y y+x 1-x x*2 2/x x//2 x**2 2**x x@y.T -x abs(x) x==y x<y ~(x>0) x%2 x.add(1) x.add_(1)
m.add(x,1) m.sum(x) x.sum(0) m.cat([x,y]) m.stack((y,x)) x[0] x[x>0] x.T x.mT x.data x.view(-1)
x.reshape(3,2) x.t() x.to(m.float64) x.float() x.clone() x.detach() x.contiguous() x.unbind()
list(x) x.max() x.max(0) x.split(1) F.relu(x) F.linear(x,y) F.softmax(x,0) F.mse_loss(x,y)
m.where(x>0,x,y) m.ones_like(x) x.new_zeros(2) x.new_tensor([1.]) m.randn_like(x)
m.einsum("ij,ij->i",x,y) m.matmul(y,x.T) x.requires_grad_() x.type_as(y) x.cpu() m.linalg.norm(x)
m.fft.fft(x) m.special.expit(x) m.as_tensor(x) m.broadcast_tensors(y,x) m.unique(x) m.topk(x,1)
x.expand(2,2,3) m.meshgrid(x[0],y[0],indexing="ij") m.nn.Linear(3,2)(x) y.copy_(x) x.copy_(y)
F.conv2d(x[None,None],y[None,None,:1,:1]) m.nn.Parameter(x) x.numpy() x.tolist() x.shape x.size()
x.dtype x.grad x.numel() bool(x[0,0]) len(x) m.allclose(x,y) m.equal(x,y) m.is_tensor(x)
m.nn.init.zeros_(x) m.add(y,1,out=x) copy.copy(x) F.dropout(x,0.5)
F.cross_entropy(x,m.tensor([0,1])) m.tensor([1.]) m.nn.ReLU()(x) x.real x.mean((0,1)) repr(x)
x.sum().backward() x.unsqueeze(0) m.zeros(2,3)+x m.tril(x)
x.gather(1,m.tensor([[0],[1]]))""".split()  # noqa: SIM905


def kinds(found: Any) -> Any:
    """The classes in a result, by name."""
    if isinstance(found, (tuple, list)):
        return type(found).__name__, [kinds(x) for x in found]
    return type(found).__name__


@pytest.mark.parametrize("call", CALLS)
def test_results_of_subclasses(call):
    found = []
    for m in MODULES.values():
        x, y = m.ones(2, 3).as_subclass(classes(m)["First"]), m.ones(2, 3)
        if "backward" in call:
            x.requires_grad_()
        names = {"m": m, "F": m.nn.functional, "x": x, "y": y, "copy": copy}
        found.append([kinds(eval(call, names)), type(y).__name__])
    assert found[1] == found[0]


# Names of the functions that a subclass is asked about.
ASKED = """x+1 1+x m.add(x,1) x.sum(0) F.relu(x) x[0] x==y ~(x>0) 1-x 2/x 2**x x//2 x&x m.cat([x,y])
x.shape x.T x.data F.linear(x,y) len(x) bool(x[0,0]) x.clone() m.ones_like(x)
x.to(m.int8) x.view(-1) y.copy_(x) m.where(x>0,x,y) x.numpy() x.add_(1) x.size(0)
m.nn.Linear(3,2)(x) x.type() x.__setitem__(0,1) x.backward""".split()  # noqa: SIM905


@pytest.mark.parametrize("call", ASKED)
def test_what_a_class_is_asked(call):
    found = []
    for m in MODULES.values():
        asked: list[Any] = []

        class Asked(m.Tensor):
            @classmethod
            def __torch_function__(cls, func, types, args=(), kwargs=None):
                asked.append((func.__name__, [t.__name__ for t in types], len(args)))  # noqa: B023
                return super().__torch_function__(func, types, args, kwargs)

        x = m.ones(2, 3).as_subclass(Asked)
        if "&" in call:
            x = x > 0
        asked.clear()
        eval(call, {"m": m, "F": m.nn.functional, "x": x, "y": m.ones(2, 3)})
        found.append(list(asked))
    assert found[1] == found[0]


def duck(m: Any) -> Any:
    """A class that is no tensor and knows two functions."""
    known: dict[Any, Callable] = {}

    class Diagonal:
        def __init__(self, n: int, value: float) -> None:
            self.n, self.value = n, value

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            if func not in known or not all(issubclass(t, (m.Tensor, Diagonal)) for t in types):
                return NotImplemented
            return known[func](*args, **(kwargs or {}))

    known[m.mean] = lambda x: x.value / x.n
    known[m.add] = lambda a, b: Diagonal(a.n, a.value + b.value)
    known[m.nn.functional.relu] = lambda x, inplace=False: "relu"
    return Diagonal


REFUSED = ["m.mul(d, 3)", "m.exp(d)", "m.cat([d, d])", "m.flatten(d)", "m.ones(2) * d", "F.elu(d)"]


def test_other_classes():
    for m in MODULES.values():
        kind = duck(m)
        d = kind(5, 2.0)
        assert m.mean(d) == 0.4
        assert m.add(d, d).value == 4
        assert m.nn.functional.relu(d) == "relu"
        assert m.overrides.is_tensor_like(d)


@pytest.mark.parametrize("call", REFUSED)
def test_calls_that_another_class_refuses(call):
    errors = []
    for m in MODULES.values():
        with pytest.raises(TypeError) as caught:
            eval(call, {"m": m, "F": m.nn.functional, "d": duck(m)(5, 2.0)})
        errors.append(str(caught.value))
    assert errors[1] == errors[0]


def test_the_class_that_knows_more_wins():
    found = []
    for m in MODULES.values():
        kind = classes(m)
        first, second, other = (
            m.ones(2).as_subclass(kind[k]) for k in ("First", "Second", "Other")
        )
        made = [first + second, second + first, m.ones(2) + second, first + first]
        with pytest.raises(TypeError, match="unsupported operand") as caught:
            first + other
        with pytest.raises(TypeError, match=r"dispatch failed for 'torch\.add'"):
            m.add(first, other)
        found.append([[type(x).__name__ for x in made], str(caught.value)])
    assert found[1] == found[0]


def test_attributes_of_subclasses():
    for m in MODULES.values():
        noted = classes(m)["Noted"]
        x = noted([[1.0, 2.0], [3.0, 4.0]], note="a")
        assert type(x) is noted and x.tolist() == [[1.0, 2.0], [3.0, 4.0]]
        assert (x + 1).note == m.mul(m.ones(2), x).note == x.sum(0).note == x.T.note == "a"
        assert repr(x.sum()) == "Noted(10.)"


def test_history_of_subclasses():
    found = []
    for m in MODULES.values():
        First = classes(m)["First"]
        x = m.ones(2, requires_grad=True)
        s = x.as_subclass(First)
        (s * 3).sum().backward()
        leaf = m.ones(2).as_subclass(First).requires_grad_()
        (leaf * leaf).sum().backward()
        weight = m.nn.Parameter(m.ones(2).as_subclass(First))
        made = m.Tensor._make_subclass(First, m.ones(2), True)
        found.append(
            [
                repr(s), s.is_leaf, s.grad_fn.name(), x.grad.tolist(), type(x.grad) is m.Tensor,
                leaf.grad.tolist(), type(leaf.grad) is m.Tensor, repr(leaf), repr(weight),
                type(weight) is First, isinstance(weight, m.nn.Parameter), repr(made),
                made.is_leaf,
            ]
        )  # fmt: skip
    assert found[1] == found[0]


class Pickled(flambeau.Tensor):
    pass


def test_a_subclass_is_pickled():
    x = flambeau.ones(2).as_subclass(Pickled)
    assert type(pickle.loads(pickle.dumps(x))) is Pickled
    assert type(copy.deepcopy(x)) is Pickled


def test_parameters_are_no_subclass_in_this_sense():
    for m in MODULES.values():

        class Weight(m.nn.Parameter):
            pass

        w = Weight(m.ones(2))
        assert type(w) is Weight and type(w * 2) is m.Tensor
        assert not m.overrides.has_torch_function((w,))


def test_memory_is_shared():
    for m in MODULES.values():
        x = m.zeros(2)
        s = x.as_subclass(classes(m)["First"])
        x[0] = 5
        s[1] = 7
        assert s.tolist() == x.tolist() == [5, 7]
        with pytest.raises(TypeError, match="does not inherit from Tensor"):
            x.as_subclass(int)


def test_modes():
    found = []
    for m in MODULES.values():
        log: list[str] = []

        class Log(m.overrides.TorchFunctionMode):
            def __torch_function__(self, func, types, args=(), kwargs=None):
                log.append(func.__name__)  # noqa: B023
                return func(*args, **(kwargs or {}))

        class Zeros(m.overrides.TorchFunctionMode):
            def __torch_function__(self, func, types, args=(), kwargs=None):
                f = m.zeros if func is m.ones else func  # noqa: B023
                return f(*args, **(kwargs or {}))

        layer = m.nn.Linear(2, 2)
        with Log():
            x = m.ones(2)
            y = x.exp() + 1
            m.nn.functional.relu(y)
            m.rand(3)
            m.tensor([1.0])
            y.shape
            layer(x)
            x += 1
            x[0] = 3
        with Log(), Zeros():
            a = m.ones(2)
        with Zeros(), Log():
            b = m.ones(2)
        assert m.ones(1).item() == 1
        found.append([log, a.tolist(), b.tolist()])
    assert found[1] == found[0]


def test_switches():
    for m in MODULES.values():
        First = classes(m)["First"]
        x = m.ones(2).as_subclass(First)
        with m._C.DisableTorchFunctionSubclass():
            assert type(x + 1) is m.Tensor
            assert not m.overrides.has_torch_function((x,))
        assert type(x + 1) is First
        assert m.overrides.has_torch_function((x,)) and m.overrides.has_torch_function_unary(x)
        assert not m.overrides.has_torch_function_variadic(m.ones(1), 2)

        class Never(m.Tensor):
            __torch_function__ = m._C._disabled_torch_function_impl

        assert type(m.ones(2).as_subclass(Never) + 1) is m.Tensor


def test_functions_of_ones_own():
    for m in MODULES.values():

        @m.overrides.wrap_torch_function(lambda a, scale=1: (a,))
        def scaled(a, scale=1):
            return a * scale

        class Five:
            @classmethod
            def __torch_function__(cls, func, types, args=(), kwargs=None):
                return 5, func is scaled, kwargs

        assert scaled(Five(), scale=2) == (5, True, {"scale": 2})
        assert scaled(m.ones(1), 3).item() == 3
        x = Five()
        assert m.overrides.handle_torch_function(m.add, (x,), x, 1)[0] == 5


def test_names_of_what_can_be_taken_over():
    assert flambeau.lobpcg is not None
    known = flambeau.overrides.get_overridable_functions()
    theirs = torch.overrides.get_overridable_functions()
    for ours, other in ((flambeau, torch), (flambeau.nn.functional, torch.nn.functional)):
        for f in theirs[other]:
            mine = getattr(ours, f.__name__, None)
            # The others are no functions of tensors, or of sparse ones.
            if inspect.isfunction(mine) and mine.__module__.startswith(
                ("flambeau.functions", "flambeau.nn")
            ):
                assert mine in known[ours], f.__name__
    resolve = flambeau.overrides.resolve_name
    assert resolve(flambeau.add) == "torch.add"
    assert resolve(flambeau.nn.functional.relu) == "torch.nn.functional.relu"
    assert resolve(flambeau.linalg.inv) == "torch.linalg.inv"
    assert resolve(flambeau.Tensor.new_zeros) == "torch.Tensor.new_zeros"
    assert resolve(print) is None
    assert flambeau.is_tensor in flambeau.overrides.get_ignored_functions()
    assert flambeau.overrides.get_testing_overrides()[flambeau.add](1, 2) == -1
    with pytest.raises(TypeError):
        flambeau.overrides.get_testing_overrides()[flambeau.exp]()


def test_ordinary_programs_are_not_asked():
    """Neither the package nor its modules define a class that takes calls over."""
    code = (
        "import flambeau, flambeau.sparse, flambeau.trainer, flambeau.distributions, flambeau.nn\n"
        "from flambeau.functions import overriding\n"
        "assert not overriding.installed['done']\n"
        "x = flambeau.nn.Parameter(flambeau.ones(2)) + 1\n"
        "assert not overriding.installed['done']\n"
        "class A(flambeau.Tensor): pass\n"
        "assert overriding.installed['done']\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
