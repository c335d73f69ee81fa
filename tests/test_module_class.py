"""Module: registration, calls, hooks, state and printing are those of PyTorch."""

from __future__ import annotations

import copy
import io
import pickle
from collections import OrderedDict

import pytest
import torch

import flambeau
from flambeau.nn.parameter import Parameter

LIBRARIES = (torch, flambeau)


def plain(value, lib):
    """A result as plain data, so that those of both libraries compare."""
    if isinstance(value, lib.Tensor):
        return type(value).__name__, str(value.dtype), value.requires_grad, value.tolist()
    if isinstance(value, dict):
        return {k: plain(v, lib) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v, lib) for v in value]
    if isinstance(value, lib.nn.Module):
        return repr(value)
    return value


def own_words(text):
    return text.replace("flambeau.tensor.Tensor", "torch.Tensor").replace("flambeau.", "torch.")


def agree(body):
    """Runs ``body(lib)`` with both libraries and compares results, or errors and their text."""
    outcomes = []
    for lib in LIBRARIES:
        lib.manual_seed(0)
        try:
            outcomes.append(plain(body(lib), lib))
        except Exception as e:
            outcomes.append((type(e).__name__, own_words(str(e))))
    assert outcomes[0] == outcomes[1]


def scale(lib, n=2):
    """y = x * w + b with a buffer that counts calls."""

    class Scale(lib.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = lib.nn.Parameter(lib.arange(1.0, n + 1))
            self.b = lib.nn.Parameter(lib.zeros(n))
            self.register_buffer("calls", lib.zeros((), dtype=lib.int64))
            self.register_buffer("scratch", lib.ones(1), persistent=False)

        def forward(self, x, shift=0.0):
            return x * self.w + self.b + shift

        def extra_repr(self):
            return f"n={n}"

    return Scale()


def net(lib):
    class Net(lib.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = scale(lib)
            self.rest = lib.nn.Sequential(OrderedDict(a=scale(lib), b=scale(lib)))
            self.shared = self.first
            self.none = None

        def forward(self, x):
            return self.rest(self.first(x))

    return Net()


def bare(lib):
    class Bare(lib.nn.Module):
        def __init__(self, **values):
            for name, value in values.items():
                setattr(self, name, value)

    return Bare


CASES = {
    "names": lambda lib: [n for n, _ in net(lib).named_parameters()],
    "names twice": lambda lib: [n for n, _ in net(lib).named_parameters(remove_duplicate=False)],
    "own names": lambda lib: [n for n, _ in scale(lib).named_parameters("p", recurse=False)],
    "buffers": lambda lib: [n for n, _ in net(lib).named_buffers()],
    "modules": lambda lib: [n for n, _ in net(lib).named_modules()],
    "modules twice": lambda lib: [n for n, _ in net(lib).named_modules(remove_duplicate=False)],
    "children": lambda lib: [n for n, _ in net(lib).named_children()],
    "repr": lambda lib: repr(net(lib)),
    "state": lambda lib: net(lib).state_dict(prefix="net."),
    "metadata": lambda lib: dict(net(lib).state_dict()._metadata),
    "submodule": lambda lib: net(lib).get_submodule("rest.b"),
    "no submodule": lambda lib: net(lib).get_submodule("rest.c"),
    "not a submodule": lambda lib: net(lib).get_submodule("rest.b.w"),
    "parameter": lambda lib: net(lib).get_parameter("rest.b.w"),
    "no parameter": lambda lib: net(lib).get_parameter("rest.b.calls"),
    "buffer": lambda lib: net(lib).get_buffer("rest.b.calls"),
    "no buffer": lambda lib: net(lib).get_buffer("rest.b.w"),
    "attribute": lambda lib: scale(lib).missing,
    "wrong parameter": lambda lib: setattr(scale(lib), "w", lib.ones(2)),
    "wrong parameter 2": lambda lib: setattr(scale(lib), "w", 3),
    "wrong buffer": lambda lib: setattr(scale(lib), "calls", 3),
    "wrong child": lambda lib: setattr(net(lib), "first", 3),
    "register string": lambda lib: lib.nn.Module().register_parameter("a", "b"),
    "register dot": lambda lib: lib.nn.Module().register_parameter("a.b", None),
    "register empty": lambda lib: lib.nn.Module().register_parameter("", None),
    "register twice": lambda lib: scale(lib).register_parameter("forward", None),
    "register number": lambda lib: scale(lib).register_parameter(1, None),
    "buffer dot": lambda lib: lib.nn.Module().register_buffer("a.b", None),
    "buffer twice": lambda lib: scale(lib).register_buffer("w", None),
    "buffer string": lambda lib: scale(lib).register_buffer("new", "x"),
    "module dot": lambda lib: lib.nn.Module().add_module("a.b", None),
    "module twice": lambda lib: scale(lib).add_module("w", None),
    "module string": lambda lib: scale(lib).add_module("x", "y"),
    "early parameter": lambda lib: bare(lib)(p=lib.nn.Parameter(lib.ones(1))),
    "early module": lambda lib: bare(lib)(p=lib.nn.Module()),
    "early buffer": lambda lib: bare(lib)().register_buffer("b", None),
    "forward": lambda lib: lib.nn.Module()(1),
    "arguments": lambda lib: lib.nn.Module(1),
    "keywords": lambda lib: lib.nn.Module(a=1),
    "double": lambda lib: net(lib).double().state_dict(),
    "half": lambda lib: scale(lib).to(lib.float16).state_dict(),
    "to int": lambda lib: scale(lib).to(lib.int32),
    "mode": lambda lib: [m.training for m in net(lib).eval().modules()],
    "bad mode": lambda lib: scale(lib).train("yes"),
    "frozen": lambda lib: [p.requires_grad for p in net(lib).requires_grad_(False).parameters()],
    "dir": lambda lib: [n for n in dir(scale(lib)) if n in ("w", "b", "calls", "training")],
    "unexpected": lambda lib: scale(lib).load_state_dict({"w": lib.ones(2), "z": lib.ones(1)}),
    "sizes": lambda lib: scale(lib).load_state_dict(scale(lib, 3).state_dict()),
    "no dict": lambda lib: scale(lib).load_state_dict([]),
    "lenient": lambda lib: repr(scale(lib).load_state_dict({"q": lib.ones(1)}, strict=False)),
    "matched": lambda lib: repr(net(lib).load_state_dict(net(lib).state_dict())),
    "parameter repr": lambda lib: repr(lib.nn.Parameter(lib.ones(2))),
    "parameter result": lambda lib: type(lib.nn.Parameter(lib.ones(2)) * 2).__name__,
    "frozen parameter": lambda lib: repr(lib.nn.Parameter(lib.ones(2), requires_grad=False)),
    "int parameter": lambda lib: lib.nn.Parameter(lib.ones(2, dtype=lib.int64)),
    "parameter copy": lambda lib: copy.deepcopy(lib.nn.Parameter(lib.ones(2))),
    "parameter pickle": lambda lib: pickle.loads(pickle.dumps(lib.nn.Parameter(lib.ones(2)))),
    "shared memory": lambda lib: (lambda t: (lib.nn.Parameter(t).data.add_(1), t))(lib.ones(2)),
    "sequential": lambda lib: lib.nn.Sequential(scale(lib), scale(lib, 3))[0:1],
    "sequential ops": lambda lib: (
        (lib.nn.Sequential(scale(lib)) + lib.nn.Sequential(scale(lib))) * 2
    ),
    "sequential far": lambda lib: lib.nn.Sequential(scale(lib))[1],
    "insert": lambda lib: lib.nn.Sequential(scale(lib)).insert(0, scale(lib, 3)),
    "pop": lambda lib: (lambda s: (s.pop(0), s))(lib.nn.Sequential(scale(lib), scale(lib, 3))),
    "append": lambda lib: lib.nn.Sequential().append(scale(lib)).extend([scale(lib, 3)]),
    "list": lambda lib: lib.nn.ModuleList([scale(lib), scale(lib), scale(lib, 3)]),
    "list slice": lambda lib: lib.nn.ModuleList([scale(lib), scale(lib, 3)])[-1:],
    "list extend": lambda lib: lib.nn.ModuleList().extend(3),
    "dict": lambda lib: lib.nn.ModuleDict({"a": scale(lib), "b": scale(lib, 3)}),
    "dict update": lambda lib: lib.nn.ModuleDict().update(3),
    "dict pairs": lambda lib: lib.nn.ModuleDict([["a", scale(lib), 3]]),
    "parameters": lambda lib: lib.nn.ParameterList([lib.ones(2), lib.ones(2, 3)]),
    "parameters slice": lambda lib: lib.nn.ParameterList([lib.ones(2), lib.ones(1)])[1:],
    "parameters extend": lambda lib: lib.nn.ParameterList(lib.ones(2)),
    "parameter dict": lambda lib: lib.nn.ParameterDict({"a": lib.ones(2), "b": lib.ones(2, 3)}),
    "parameter dict or": lambda lib: (
        lib.nn.ParameterDict({"a": lib.ones(2)}) | lib.nn.ParameterDict({"b": lib.ones(1)})
    ),
    "parameter dict item": lambda lib: lib.nn.ParameterDict({"a": lib.ones(2)}).popitem(),
    "dict called": lambda lib: lib.nn.ParameterDict()(1),
}


@pytest.mark.parametrize("body", CASES.values(), ids=CASES)
def test_as_torch(body):
    agree(body)


@pytest.mark.parametrize("lib", LIBRARIES, ids=["torch", "flambeau"])
def test_registries_may_be_changed_directly(lib):
    m = scale(lib)
    p = lib.nn.Parameter(lib.ones(2))
    m._parameters["w"] = p
    assert m.w is p
    del m._parameters["w"]
    assert not hasattr(m, "w")
    m._parameters = OrderedDict(q=p)
    assert m.q is p and not hasattr(m, "b")
    m._buffers["calls"] = None
    assert m.calls is None
    m.calls = lib.ones(1)
    assert m._buffers["calls"] is m.calls
    del m.calls
    assert "calls" not in m._buffers
    m.q = None
    assert list(m._parameters) == ["q"] and m.q is None
    # A name can change its kind.
    m.x = 1
    m.x = p
    assert m._parameters["x"] is p
    m.x = None
    m.y = scale(lib)
    m.y = p
    assert "y" in m._parameters and "y" not in m._modules


@pytest.mark.parametrize("how", ["deepcopy", "copy", "pickle"])
def test_copies(how):
    m = net(flambeau)
    m.first.w.grad = flambeau.ones(2)
    if how == "pickle":
        return  # A local class does not pickle; containers below do.
    twin = getattr(copy, how)(m)
    assert (twin.first is m.first) == (how == "copy")
    assert twin.first is twin.shared
    assert type(twin.first.w) is Parameter
    with flambeau.no_grad():
        twin.first.w.zero_()
    assert m.first.w.tolist() == ([0.0, 0.0] if how == "copy" else [1.0, 2.0])
    if how == "deepcopy":
        new = flambeau.nn.Parameter(flambeau.ones(2))
        twin.first._parameters["w"] = new
        assert twin.first.w is new and m.first.w is not new


def test_pickle():
    m = flambeau.nn.ParameterList([flambeau.ones(2)])
    twin = pickle.load(io.BytesIO(pickle.dumps(m)))
    assert twin[0].tolist() == [1.0, 1.0] and type(twin[0]) is Parameter


def test_assign():
    def body(lib):
        m, given = scale(lib), scale(lib).state_dict()
        m.load_state_dict(given, assign=True)
        given["w"].zero_()
        return m.w, m.calls

    agree(body)


def test_zero_grad():
    def body(lib):
        m = scale(lib)
        m(lib.ones(2)).sum().backward()
        before = [p.grad.tolist() for p in m.parameters()]
        m.zero_grad(set_to_none=False)
        zeros = [p.grad.tolist() for p in m.parameters()]
        m.zero_grad()
        return before, zeros, [p.grad for p in m.parameters()]

    agree(body)


def test_hooks_run_in_order():
    def body(lib):
        log = []
        m = scale(lib)

        def note(name, value=None):
            return lambda *args: (log.append((name, len(args))), value)[1]

        m.register_forward_pre_hook(note("pre"))
        m.register_forward_pre_hook(lambda m, args: (args[0] + 1,), prepend=True)
        m.register_forward_pre_hook(lambda m, a, k: (a, {"shift": 10.0}), with_kwargs=True)
        m.register_forward_hook(note("post"))
        m.register_forward_hook(note("first"), prepend=True)
        m.register_forward_hook(lambda m, a, k, out: out * 2 + k["shift"], with_kwargs=True)
        handle = m.register_forward_hook(note("gone"))
        handle.remove()
        out = m(lib.ones(2))
        return log, out.tolist()

    agree(body)


def test_always_called_hooks():
    def body(lib):
        log = []
        m = lib.nn.Module()
        m.register_forward_hook(lambda m, a, out: log.append(out), always_call=True)
        try:
            m(1)
        except NotImplementedError:
            log.append("raised")
        return log

    agree(body)


def test_backward_hooks():
    def body(lib):
        log = []
        m = scale(lib)
        m.register_full_backward_pre_hook(lambda m, g: (g[0] * 2,))

        def hook(m, grad_input, grad_output):
            log.append((grad_input[0].tolist(), grad_output[0].tolist()))
            return (grad_input[0] * 10,)

        m.register_full_backward_hook(hook)
        x = lib.ones(2, requires_grad=True)
        (m(x) * 3).sum().backward()
        return log, x.grad, m.w.grad

    agree(body)


@pytest.mark.filterwarnings("ignore:Full backward hook")
def test_backward_hook_without_input_gradient():
    def body(lib):
        log = []
        m = scale(lib)
        m.register_full_backward_hook(lambda m, gi, go: log.append((gi, go[0].tolist())))
        m(lib.ones(2)).sum().backward()
        return log, m.w.grad

    agree(body)


def test_hooks_for_all_modules():
    def body(lib):
        log = []
        module = lib.nn.modules.module
        handles = [
            module.register_module_forward_hook(lambda m, a, o: log.append(type(m).__name__)),
            module.register_module_forward_pre_hook(lambda m, a: log.append("pre")),
            module.register_module_parameter_registration_hook(lambda m, name, p: log.append(name)),
        ]
        net(lib)(lib.ones(2))
        for handle in handles:
            handle.remove()
        net(lib)(lib.ones(2))
        return log

    agree(body)


def test_state_hooks():
    def body(lib):
        log = []
        m = net(lib)
        m.register_state_dict_pre_hook(lambda m, prefix, keep: log.append((prefix, keep)))
        m.first.register_state_dict_post_hook(lambda m, s, prefix, meta: log.append((prefix, meta)))
        m.rest.a.register_load_state_dict_pre_hook(
            lambda m, s, prefix, *rest: log.append((prefix, sorted(s)))
        )
        m.register_load_state_dict_post_hook(lambda m, keys: keys.missing_keys.clear())
        state = m.state_dict()
        del state["first.w"]
        m.load_state_dict(state)
        return log

    agree(body)


def test_extra_state():
    def body(lib):
        class Extra(lib.nn.Module):
            value = 1

            def get_extra_state(self):
                return self.value

            def set_extra_state(self, state):
                self.value = state

        m, other = Extra(), Extra()
        other.value = 5
        m.load_state_dict(other.state_dict())
        return m.value, m.state_dict(), m.load_state_dict({})

    agree(body)


INITS = {
    "uniform": lambda i, t: i.uniform_(t, -1, 2),
    "normal": lambda i, t: i.normal_(t, 1, 2),
    "trunc": lambda i, t: i.trunc_normal_(t, 0.0, 1.0, -1.0, 2.0),
    "trunc tail": lambda i, t: i.trunc_normal_(t, 0.0, 1.0, 1.5, 2.0),
    "constant": lambda i, t: i.constant_(t, 3),
    "eye": lambda i, t: i.eye_(t),
    "xavier uniform": lambda i, t: i.xavier_uniform_(t, i.calculate_gain("relu")),
    "xavier normal": lambda i, t: i.xavier_normal_(t),
    "kaiming uniform": lambda i, t: i.kaiming_uniform_(t, a=5**0.5),
    "kaiming normal": lambda i, t: i.kaiming_normal_(t, mode="fan_out", nonlinearity="relu"),
    "sparse": lambda i, t: i.sparse_(t, 0.4),
    "bad mode": lambda i, t: i.kaiming_normal_(t, mode="fan"),
    "bad gain": lambda i, t: i.calculate_gain("what"),
    "one dimension": lambda i, t: i.xavier_normal_(t[0]),
    "dirac": lambda i, t: i.dirac_(t.reshape(4, 5, 1)),
}


@pytest.mark.parametrize("fill", INITS.values(), ids=INITS)
def test_init(fill):
    agree(lambda lib: fill(lib.nn.init, lib.zeros(4, 5)))


def test_orthogonal():
    torch.manual_seed(0), flambeau.manual_seed(0)
    for shape in ((3, 5), (5, 3)):
        want = torch.nn.init.orthogonal_(torch.empty(shape), gain=2)
        got = flambeau.nn.init.orthogonal_(flambeau.empty(*shape), gain=2)
        torch.testing.assert_close(torch.tensor(got.tolist()), want, rtol=1e-5, atol=1e-6)


UTILS = {
    "norm": lambda lib, u, p: (u.clip_grad_norm_(p, 1.0), [q.grad for q in p]),
    "no clip": lambda lib, u, p: (u.clip_grad_norm_(p, 100.0), [q.grad for q in p]),
    "inf norm": lambda lib, u, p: (u.clip_grad_norm_(p, 1.0, float("inf")), [q.grad for q in p]),
    "value": lambda lib, u, p: (u.clip_grad_value_(p, 2.0), [q.grad for q in p]),
    "nothing": lambda lib, u, p: u.clip_grad_norm_([], 1.0),
    "nonfinite": lambda lib, u, p: u.get_total_norm(
        [lib.tensor([float("inf")])], error_if_nonfinite=True
    ),
    "vector": lambda lib, u, p: u.parameters_to_vector(p),
    "back": lambda lib, u, p: (u.vector_to_parameters(lib.arange(5.0), p), p),
    "pad": lambda lib, u, p: u.rnn.pad_sequence([lib.ones(2, 2), lib.ones(1, 2)], padding_value=7),
    "pad left": lambda lib, u, p: u.rnn.pad_sequence(
        [lib.ones(1), lib.ones(3)], True, padding_side="left"
    ),
    "pack": lambda lib, u, p: tuple(u.rnn.pack_sequence([lib.ones(3), lib.zeros(1)])),
    "pack unsorted": lambda lib, u, p: tuple(
        u.rnn.pack_sequence([lib.ones(1), lib.zeros(3)], enforce_sorted=False)
    ),
    "pack wrongly": lambda lib, u, p: u.rnn.pack_sequence([lib.ones(1), lib.zeros(3)]),
    "pack zero": lambda lib, u, p: u.rnn.pack_padded_sequence(lib.ones(2, 2), [2, 0]),
    "unpack": lambda lib, u, p: u.rnn.unpack_sequence(
        u.rnn.pack_sequence([lib.ones(1), lib.arange(3.0)], enforce_sorted=False)
    ),
    "pad packed": lambda lib, u, p: u.rnn.pad_packed_sequence(
        u.rnn.pack_sequence([lib.ones(3), lib.ones(2)]), True, -1.0, 4
    ),
    "pad short": lambda lib, u, p: u.rnn.pad_packed_sequence(
        u.rnn.pack_sequence([lib.ones(3)]), total_length=2
    ),
}


@pytest.mark.parametrize("body", UTILS.values(), ids=UTILS)
def test_utils(body):
    def run(lib):
        params = [lib.nn.Parameter(lib.ones(2)), lib.nn.Parameter(lib.ones(3))]
        params[0].grad = lib.tensor([3.0, 4.0])
        params[1].grad = lib.tensor([0.0, -12.0, 0.0])
        return body(lib, lib.nn.utils, params)

    agree(run)


def test_functional_call():
    for lib, call in (
        (torch, torch.func.functional_call),
        (flambeau, flambeau.func.functional_call),
    ):
        m = scale(lib)
        w = lib.full((2,), 5.0, requires_grad=True)
        out = call(m, {"w": w}, (lib.ones(2),))
        out.sum().backward()
        assert out.tolist() == [5.0, 5.0] and w.grad.tolist() == [1.0, 1.0]
        assert m.w.tolist() == [1.0, 2.0] and m.w.grad is None
        with pytest.raises(RuntimeError, match="Missing key"):
            call(m, {"w": w}, (lib.ones(2),), strict=True)
