"""``__torch_dispatch__`` by modes and by classes, ``torch.ops.aten``, and trees of values."""

from __future__ import annotations

import importlib
from collections import OrderedDict, defaultdict, deque, namedtuple

import pytest
import torch
import torch.utils._python_dispatch
import torch.utils._pytree

import flambeau

LIBRARIES = (torch, flambeau)
Pair = namedtuple("Pair", "a b")


def module(m, name: str):
    return importlib.import_module(f"{m.__name__}.{name}")


def logging(m, log: list):
    class Log(module(m, "utils._python_dispatch").TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            log.append((str(func), func.__name__, func.name(), str(func.overloadpacket), len(args)))
            return func(*args, **(kwargs or {}))

    return Log()


CALLS = """
x+1 x-x 1-x x*2 x/2 x**2 x**x 2**x x==1 x==x x<1 m.relu(x) x.sum() x.sum(1) x.mean() x.mean(0)
x.max() x.max(1) m.maximum(x,x) m.mm(x,x.t()) x.exp_() x.mul_(2) m.sigmoid(x) x.transpose(0,1)
x.view(3,2) m.cat([x,x]) m.stack([x,x]) x.clone() m.where(x>0,x,x) m.ones(2) x.any() x.fill_(2)
x.masked_fill(x>0,1.) x.cumsum(0) 2/x 2%x 2//x
m.add(x,x,out=y) x.prod() x.all(1) x.squeeze(0) x.lerp(x,.5) x.bitwise_not()
""".split()  # noqa: SIM905


@pytest.mark.parametrize("call", CALLS)
def test_a_mode_sees_the_operators(call):
    found = []
    for m in LIBRARIES:
        log: list[tuple] = []
        x, y = m.ones(2, 3), m.zeros(2, 3)
        if "bitwise" in call:
            x = x.int()
        with logging(m, log):
            value = eval(call, {"m": m, "x": x, "y": y})
        log.append(repr(value))
        found.append(log)
    assert found[1] == found[0]


def test_modes_are_nested():
    for m in LIBRARIES:
        outer: list[tuple] = []
        inner: list[tuple] = []
        x = m.ones(2)
        with logging(m, outer), logging(m, inner):
            x.add(1)
        x.add(1)
        assert [len(outer), len(inner)] == [1, 1]


def wrapping(m, log: list):
    tree_map = module(m, "utils._pytree").tree_map

    class Wrapped(m.Tensor):
        @staticmethod
        def __new__(cls, held):
            return m.Tensor._make_wrapper_subclass(
                cls, held.size(), strides=held.stride(), dtype=held.dtype, device=held.device
            )

        def __init__(self, held):
            self.held = held

        def __repr__(self):
            return f"Wrapped({self.held})"

        __torch_function__ = module(m, "_C")._disabled_torch_function_impl

        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            log.append((str(func), [t.__name__ for t in types]))
            args, kwargs = tree_map(lambda v: getattr(v, "held", v), (args, kwargs or {}))
            made = func(*args, **kwargs)
            return tree_map(lambda v: cls(v) if isinstance(v, m.Tensor) else v, made)

    return Wrapped


def test_a_class_carries_out_what_is_done_with_what_it_wraps():
    found = []
    for m in LIBRARIES:
        log: list[tuple] = []
        kind = wrapping(m, log)
        a = kind(m.arange(3.0))
        values = [a + 1, a.sum(), m.stack([a, a]), a.exp().add(a), a.max(0)[1], 2 * a, a.view(3, 1)]
        assert all(type(v) is kind for v in values)
        facts = (tuple(a.shape), str(a.dtype), str(a.device), a.dim(), isinstance(a, m.Tensor))
        found.append((log, [repr(v) for v in values], facts))
    assert found[1] == found[0]


def test_no_answer_is_an_error():
    for m in LIBRARIES:

        class Silent(m.Tensor):
            @classmethod
            def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
                return NotImplemented

        with pytest.raises(TypeError, match="__torch_dispatch__"):
            m.Tensor._make_subclass(Silent, m.ones(2)).add(1)


def test_gradients_of_wrappers_are_refused():
    kind = wrapping(flambeau, [])
    with pytest.raises(NotImplementedError, match="cannot require grad"):
        flambeau.Tensor._make_wrapper_subclass(kind, (2,), requires_grad=True)
    with pytest.raises(RuntimeError, match="must define __torch_dispatch__"):
        flambeau.Tensor._make_wrapper_subclass(flambeau.Tensor, (2,))


def test_operators_by_name():
    found = []
    for m in LIBRARIES:
        x = m.tensor([[1.0, 2.0], [3.0, 4.0]])
        aten = m.ops.aten
        found.append([
            repr(aten.add.Tensor(x, x)), repr(aten.mm(x, x)), repr(aten.relu.default(-x)),
            repr(aten.view.default(x, [4])), repr(aten.sum.dim_IntList(x, [0])),
            repr(aten.add.Tensor), repr(aten.mm), str(aten.add.Tensor), aten.add.Tensor.namespace,
            aten.add.Tensor is aten.add.Tensor, aten.add.Tensor.overloadpacket is aten.add,
        ])  # fmt: skip
        with pytest.raises(AttributeError):
            _ = aten.no_such_operator
    assert found[1] == found[0]


def test_trees_of_values():
    trees = [
        1, [1, (2, None)], {"a": 1, "b": [2, {}]}, OrderedDict(x=1, y=(2,)), Pair(1, [2]),
        deque([1]),
        defaultdict(list, a=[1]), (), {1: "a"}, {2, 3},
    ]  # fmt: skip
    found = []
    for m in LIBRARIES:
        t = module(m, "utils._pytree")
        results = []
        for tree in trees:
            leaves, spec = t.tree_flatten(tree)
            results += [leaves, t.tree_unflatten(leaves, spec), spec.num_leaves]
            results += [t.tree_map(repr, tree), t.tree_leaves(tree), spec == t.tree_structure(tree)]
        results.append(t.tree_map(lambda x, y: x + y, [1, (2,)], [10, (20,)]))
        results.append(t.tree_map_only(int, lambda x: -x, [1, "a", (2.0, 3)]))
        results.append(t.tree_map_only((int, str), str, [1, "a", 2.0]))
        results.append([t.tree_all(bool, [1, [0]]), t.tree_any(bool, [0, [1]])])
        results.append(t.tree_leaves([1, (2, 3)], is_leaf=lambda x: isinstance(x, tuple)))
        for bad in (lambda t=t: t.tree_unflatten([1], t.tree_structure([1, 2])),
                    lambda t=t: t.tree_map(max, [1, 2], [1])):  # fmt: skip
            with pytest.raises(ValueError):
                bad()
        found.append(results)
    assert found[1] == found[0]
    with pytest.raises(ValueError, match="already registered"):
        module(flambeau, "utils._pytree").register_pytree_node(list, list, list)


def test_containers_of_ones_own():
    for m in LIBRARIES:
        t = module(m, "utils._pytree")

        class Box:
            def __init__(self, x):
                self.x = x

        t.register_pytree_node(Box, lambda b: ([b.x], None), lambda parts, _: Box(*parts))
        assert t.tree_map(lambda x: x + 1, [Box(1), 2])[0].x == 2


def test_a_wrong_call_under_a_mode_is_refused_as_without():
    for m in LIBRARIES:
        log: list[tuple] = []
        with logging(m, log), pytest.raises(TypeError):
            m.pow(m.ones(2))
        assert (m.ones(2) + 1).tolist() == [2.0, 2.0]
