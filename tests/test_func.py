"""``torch.func``: the same derivatives, batches and errors as PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau
from test_nn_utils import agree, refuse_alike


def net(m):
    return m.nn.Sequential(m.nn.Linear(3, 4), m.nn.Tanh(), m.nn.Linear(4, 2))


def arrays(m):
    rng = np.random.default_rng(0)
    return [m.tensor(rng.standard_normal(s).astype(np.float32)) for s in ((5, 3), (3,), (3, 5))]


# --- derivatives ----------------------------------------------------------------------------------

DERIVATIVES = {
    "grad": lambda m, f, x, v: f.grad(lambda a: (a.sin() * v).sum())(x),
    "grad-of-both": lambda m, f, x, v: f.grad(lambda a, b: (a.sin() * b).sum(), (0, 1))(x, v),
    "grad-aux": lambda m, f, x, v: f.grad(lambda a: ((a * a).sum(), a + 1), has_aux=True)(x),
    "grad-tree": lambda m, f, x, v: f.grad(lambda d: (d["a"] * d["b"][0]).sum())(
        {"a": x, "b": (v,)}
    ),
    "grad-second": lambda m, f, x, v: f.grad(lambda a: f.grad(lambda b: (b**3).sum())(a).sum())(x),
    "grad-and-value": lambda m, f, x, v: f.grad_and_value(lambda a: (a.exp() * v).sum())(x),
    "vjp": lambda m, f, x, v: f.vjp(lambda a, b: a @ b, x, v)[1](m.ones(5)),
    "vjp-several": lambda m, f, x, v: f.vjp(lambda a: (a.sin(), a.sum()), x)[1](
        (m.ones(5, 3), m.tensor(2.0))
    ),
    "vjp-aux": lambda m, f, x, v: f.vjp(lambda a: (a.sin(), a.sum()), x, has_aux=True)[2],
    "jvp": lambda m, f, x, v: f.jvp(lambda a, b: a @ b, (x, v), (x * 2, v + 1)),
    "jvp-aux": lambda m, f, x, v: f.jvp(lambda a: (a.sin(), a * 2), (x,), (x,), has_aux=True),
    "linearize": lambda m, f, x, v: f.linearize(lambda a: a.sin() * v, x)[1](x.cos()),
    "jacrev": lambda m, f, x, v: f.jacrev(lambda a: a.sin().cumsum(0))(v),
    "jacfwd": lambda m, f, x, v: f.jacfwd(lambda a: a.sin().cumsum(0))(v),
    "jacrev-chunks": lambda m, f, x, v: f.jacrev(lambda a: (x @ a).tanh(), chunk_size=2)(v),
    "jacrev-tree": lambda m, f, x, v: f.jacrev(lambda a, b: {"p": x @ a, "q": a * b}, (0, 1))(v, v),
    "jacrev-aux": lambda m, f, x, v: f.jacrev(lambda a: (a * a, a.sum()), has_aux=True)(v),
    "jacfwd-aux": lambda m, f, x, v: f.jacfwd(lambda a: (a * a, a.sum()), has_aux=True)(v),
    "hessian": lambda m, f, x, v: f.hessian(lambda a: (x @ a).exp().sum())(v),
    "hessian-vector": lambda m, f, x, v: f.jvp(
        f.grad(lambda a: (x @ a).exp().sum()), (v,), (v * 2,)
    )[1],
}  # fmt: skip


@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives(name):
    def run(m):
        x, v, _ = arrays(m)
        return [DERIVATIVES[name](m, m.func, x, v)]

    agree(run)


def test_backward_goes_through():
    def run(m):
        x, v, _ = arrays(m)
        v.requires_grad_()
        m.func.grad(lambda a: (a.sin() * v).sum())(x).pow(2).sum().backward()
        return [v.grad]

    agree(run)


# --- vmap -----------------------------------------------------------------------------------------

MAPS = {
    "dot": lambda m, x, v, y: m.vmap(m.dot, in_dims=(0, None))(x, v),
    "in-dims": lambda m, x, v, y: m.vmap(lambda a, b: a * b, in_dims=(0, 1))(x, y),
    "out-dims": lambda m, x, v, y: m.vmap(lambda a: a.outer(v), out_dims=1)(x),
    "out-dims-several": lambda m, x, v, y: m.vmap(
        lambda a: (a.sin(), {"s": a.sum()}), out_dims=(1, 0)
    )(x),
    "negative": lambda m, x, v, y: m.vmap(lambda a: a * 2, in_dims=-1, out_dims=-1)(x),
    "tree": lambda m, x, v, y: m.vmap(lambda d: d["x"] @ d["v"], in_dims=({"x": 0, "v": None},))(
        {"x": x, "v": v}
    ),
    "nested": lambda m, x, v, y: m.vmap(m.vmap(m.sub, (None, 0)), (0, None))(v, y[:, 0]),
    "chunks": lambda m, x, v, y: m.vmap(lambda a: a.softmax(0), chunk_size=2)(x),
    "keywords": lambda m, x, v, y: m.vmap(lambda a, *, k: a * k)(x, k=v),
    "number": lambda m, x, v, y: m.vmap(lambda a, n: a**n, in_dims=(0, None))(x, 3),
    "unbatched-result": lambda m, x, v, y: m.vmap(lambda a: v, out_dims=0)(x),
    "same": lambda m, x, v, y: m.vmap(lambda a: a + m.randn(3), randomness="same")(x),
    "per-sample-gradients": lambda m, x, v, y: m.vmap(
        m.func.grad(lambda w, a: (w * a).sum().sin()), in_dims=(None, 0)
    )(v, x),
    "jacobians": lambda m, x, v, y: m.vmap(m.func.jacrev(lambda a: a.sin().cumsum(0)))(x),
    "hessians": lambda m, x, v, y: m.vmap(m.func.hessian(lambda a: (a**3).prod()))(x),
    "vjps": lambda m, x, v, y: m.vmap(m.func.vjp(lambda a: x @ a, v)[1])(m.eye(5)),
}  # fmt: skip


@pytest.mark.parametrize("name", MAPS)
def test_vmap(name):
    agree(lambda m: [MAPS[name](m, *arrays(m))])


def test_different_random_numbers():
    def run(m):
        out = m.vmap(lambda a: a + m.rand(4), randomness="different")(m.zeros(6))
        return [out.shape == (6, 4), len({tuple(row.tolist()) for row in out})]

    agree(run)


REFUSED = [
    lambda m: m.vmap(m.sin, randomness="any")(m.ones(2)),
    lambda m: m.vmap(m.sin, chunk_size=0)(m.ones(2)),
    lambda m: m.vmap(lambda a: a + m.randn(1))(m.ones(2)),
    lambda m: m.func.grad(lambda a: a * 2)(m.ones(2)),
    lambda m: m.func.grad(lambda a: a.sum(), argnums=1)(m.ones(2)),
    lambda m: m.func.functional_call(m.nn.Linear(1, 1), {"weight": m.ones(1, 1)}, m.ones(1, 1),
                                     strict=True),
    lambda m: m.func.functional_call(m.nn.Linear(1, 1), {"other": m.ones(1, 1)}, m.ones(1, 1),
                                     strict=True),
    lambda m: m.func.functional_call(m.nn.Sequential(), {"0.weight": m.ones(1)}, m.ones(1, 1)),
    lambda m: m.func.functional_call(m.nn.Linear(1, 1), [{"bias": m.ones(1)}] * 2, m.ones(1, 1)),
    lambda m: m.func.functional_call(m.nn.Linear(1, 1), 3, m.ones(1, 1)),
    lambda m: m.func.functional_call(m.nn.Linear(1, 1), [3], m.ones(1, 1)),
    lambda m: m.func.stack_module_state([]),
]  # fmt: skip


@pytest.mark.parametrize("build", REFUSED)
def test_refusals(build):
    ours, theirs = (refused(lambda m=m: build(m)) for m in (flambeau, torch))
    assert ours == theirs


def refused(function):
    with pytest.raises(Exception) as caught:
        function()
    return caught.type.__name__


# --- modules --------------------------------------------------------------------------------------


def test_an_ensemble():
    def run(m):
        models = [net(m) for _ in range(3)]
        params, buffers = m.func.stack_module_state(models)

        def one(p, b, x):
            return m.func.functional_call(models[0], (p, b), (x,))

        x = m.randn(3, 7, 3)
        return [
            params,
            m.vmap(one)(params, buffers, x),
            m.vmap(one, in_dims=(0, 0, None))(params, buffers, x[0]),
            params["0.weight"].requires_grad,
        ]

    agree(run)


def test_per_sample_gradients_of_a_network():
    def run(m):
        model = net(m)
        params = {k: v.detach() for k, v in model.named_parameters()}

        def loss(p, x, y):
            out = m.func.functional_call(model, p, (x.unsqueeze(0),))
            return m.nn.functional.cross_entropy(out, y.unsqueeze(0))

        x, y = m.randn(6, 3), m.tensor([0, 1, 1, 0, 1, 0])
        each = m.vmap(m.func.grad(loss), in_dims=(None, 0, 0))(params, x, y)
        return [each, m.func.hessian(loss)(params, x[0], y[0])["2.bias"]["0.weight"]]

    agree(run)


def test_functional_call():
    def run(m):
        tied = net(m)
        tied[2] = m.nn.Linear(4, 2)
        model = m.nn.Sequential(tied, tied)
        x = m.ones(1, 3)
        out = m.func.functional_call(
            tied, {"0.weight": m.ones(4, 3)}, args=None, kwargs={"input": x}
        )
        bn = m.nn.BatchNorm1d(3)
        state = {k: v.clone() for k, v in bn.named_buffers()}
        m.func.functional_call(bn, state, m.arange(6.0).view(2, 3))
        with pytest.raises(ValueError, match="tied"):
            m.func.functional_call(
                model, {"0.0.bias": m.ones(4), "1.0.bias": m.zeros(4)}, m.ones(1, 3)
            )
        return [out, state, dict(bn.named_buffers()), tied(x)]

    agree(run)


def test_replacing_batch_norm():
    def run(m):
        model = m.nn.Sequential(m.nn.Linear(3, 4), m.nn.Sequential(m.nn.BatchNorm1d(4)))
        assert m.func.replace_all_batch_norm_modules_(model) is model
        return [model(m.arange(6.0).view(2, 3)), list(model.state_dict()), repr(model)]

    agree(run)


# --- rearrange ------------------------------------------------------------------------------------

PATTERNS = [
    ("a b c -> c a b", {}),
    ("a b c -> a (c b)", {}),
    ("a b (c1 c2) -> (a c1) b c2", {"c1": 2}),
    ("a (b1 b2) (c1 c2) -> a (b2 c1) (b1 c2)", {"b1": 3, "c2": 2}),
    ("a ... -> ... a", {}),
    ("... -> (...)", {}),
    ("... c -> (c ...)", {}),
    ("a b c -> () a b 1 c", {}),
    ("a b c", {}),
    ("a b -> b a", {}),
    ("a b c -> a b", {}),
    ("a b c -> a b c d", {}),
    ("a b a -> a b", {}),
    ("a b (c (d e)) -> a", {}),
    ("a b c -> c (b ...)", {}),
    ("a b c -> c b a", {"z": 1}),
    ("a 2b c -> a c", {}),
    ("_a b c -> b c", {}),
]


@pytest.mark.parametrize(("pattern", "lengths"), PATTERNS)
def test_rearrange(pattern, lengths):
    def run(m):
        return m.func.rearrange(m.arange(24.0).view(2, 3, 4), pattern, **lengths)

    try:
        expected = run(torch)
    except ValueError:
        refuse_alike(run)
    else:
        np.testing.assert_array_equal(run(flambeau).numpy(), expected.numpy())


def test_rearrange_refuses_sizes_that_do_not_fit():
    x = flambeau.zeros(2, 3, 4)
    for pattern, lengths in [("a b (c d) -> a b c d", {"c": 3}), ("a b c -> c b a", {"a": 5}),
                             ("a b (c d) -> a b c d", {}), ("1 b c -> b c", {})]:  # fmt: skip
        with pytest.raises(RuntimeError):
            flambeau.func.rearrange(x, pattern, **lengths)
    rows = flambeau.func.rearrange([flambeau.ones(2), flambeau.zeros(2)], "n c -> c n")
    assert rows.tolist() == [[1.0, 0.0], [1.0, 0.0]]
