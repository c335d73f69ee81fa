"""Functional derivatives, forward mode, checks: each scenario gives what it gives in PyTorch."""

from __future__ import annotations

from typing import Any

import pytest

from scenarios import Scenarios, compare, leaf

scenario = Scenarios()


def _f(x: Any, y: Any) -> Any:
    return x * y, (x.exp() + y)[:1]


@scenario
def functional_jacobian(m):
    args = m.tensor([0.1, 0.2]), m.tensor([3.0, 4.0])
    return m.autograd.functional.jacobian(_f, args)


@scenario
def functional_products(m):
    F = m.autograd.functional
    args = m.tensor([0.1, 0.2]), m.tensor([3.0, 4.0])
    vs = m.tensor([1.0, 2.0]), m.tensor([5.0])
    scalar = lambda x, y: (x * x * y).sum() + y.exp().sum()
    return (
        F.vjp(_f, args, vs),
        F.jvp(_f, args, args),
        F.hvp(scalar, args, args),
        F.vhp(scalar, args, args),
        F.hessian(scalar, args),
    )


@scenario
def functional_of_outputs_that_are_no_tensors(m):
    return m.autograd.functional.jacobian(lambda x: 1, m.ones(1))


@scenario
def functional_strict(m):
    return m.autograd.functional.jacobian(lambda x: m.ones(1), m.ones(1), strict=True)


@scenario
def func_transforms(m):
    f = lambda x: (x**3).sum()
    x = m.tensor([1.0, 2.0])
    value, pull = m.func.vjp(lambda x: {"a": x * x}, x)
    return (
        m.func.grad(f)(x),
        m.func.grad_and_value(f)(x),
        m.func.grad(lambda x: m.func.grad(f)(x).sum())(x),
        m.func.jvp(lambda x: x.sin(), (x,), (x,)),
        m.func.jacrev(lambda x: x * x)(x),
        m.func.jacfwd(lambda x: x * x)(x),
        m.func.hessian(f)(x),
        value,
        pull({"a": x}),
        m.func.grad(lambda x, y: (x * y["w"]).sum(), argnums=1)(x, {"w": x}),
        m.func.grad(lambda x: (f(x), x), has_aux=True)(x),
    )


@scenario
def func_vmap(m):
    x = m.arange(6.0).reshape(2, 3)
    return (
        m.vmap(lambda a: a * 2)(x),
        m.vmap(lambda a, b: a * b, in_dims=(1, None), out_dims=1)(x, m.ones(2)),
        m.vmap(m.vmap(lambda a: a * a))(x),
        m.vmap(m.func.grad(lambda a: (a**3).sum()))(x),
        m.vmap(lambda a: (a, a.sum()), out_dims=(1, 0))(x),
    )


@scenario
def func_vmap_of_sizes_that_differ(m):
    return m.vmap(lambda a, b: a + b)(m.ones(2), m.ones(3))


@scenario
def func_vmap_refuses_random(m):
    return m.vmap(lambda a: a + m.rand(1))(m.ones(2, 1))


@scenario
def func_vmap_with_the_same_numbers(m):
    out = m.vmap(lambda a: a + m.rand(1), randomness="same")(m.ones(2, 1))
    return (out[0] == out[1]).tolist()


@scenario
def forward_mode(m):
    fwAD = m.autograd.forward_ad
    with fwAD.dual_level():
        x = fwAD.make_dual(m.tensor([1.0, 2.0]), m.tensor([1.0, 3.0]))
        return fwAD.unpack_dual((x * x).sin()).tangent.detach()


@scenario
def forward_mode_of_a_function_with_jvp(m):
    class Scaled(m.autograd.Function):
        @staticmethod
        def forward(ctx, x, y, factor):
            ctx.save_for_forward(x, y)
            ctx.factor = factor
            return x.exp() * factor, x * y

        @staticmethod
        def jvp(ctx, dx, dy, _):
            x, y = ctx.saved_tensors
            return dx * x.exp() * ctx.factor, dx * y + x * dy

    fwAD = m.autograd.forward_ad
    with fwAD.dual_level():
        x = fwAD.make_dual(m.tensor([1.0, 2.0]), m.tensor([1.0, 3.0]))
        y = fwAD.make_dual(m.tensor([4.0, 5.0]), m.tensor([2.0, -1.0]))
        first, second = Scaled.apply(x, y, 2.0)
        return (
            fwAD.unpack_dual(first.sin()).tangent.detach(),
            fwAD.unpack_dual(second * x).tangent.detach(),
        )


@scenario
def backward_of_a_function_with_jvp_alone(m):
    class Exp(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.exp()

        @staticmethod
        def jvp(ctx, dx):
            return dx

    return Exp.apply(leaf(m, 1, 2)).sum().backward()


@scenario
def gradcheck(m):
    x = leaf(m, 0.5, 1.5, dtype="float64")
    z = m.tensor([1 + 2j, 0.5j], dtype=m.complex128, requires_grad=True)
    return (
        m.autograd.gradcheck(lambda x: (x * x).sin(), (x,)),
        m.autograd.gradcheck(lambda x: (x * x).sin(), (x,), fast_mode=True),
        m.autograd.gradcheck(lambda z: z * z, (z,)),
        m.autograd.gradgradcheck(lambda x: x**3, (x,)),
    )


@scenario
def gradcheck_finds_a_wrong_backward(m):
    class Wrong(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 3

    x = leaf(m, 0.5, 1.5, dtype="float64")
    return m.autograd.gradcheck(Wrong.apply, (x,), raise_exception=False)


@scenario
def checkpointed(m):
    from importlib import import_module

    checkpoint = import_module(f"{m.__name__}.utils.checkpoint").checkpoint
    x, w = leaf(m, 1, 2), leaf(m, 3, 4)
    for reentrant in (True, False):
        y = checkpoint(lambda x: (x * w).tanh(), x * 1, use_reentrant=reentrant)
        (y * y).sum().backward()
    return x.grad, w.grad


@scenario
def variables(m):
    v = m.autograd.Variable(m.ones(2), requires_grad=True)
    (v * v).sum().backward()
    return v.grad, isinstance(v, m.autograd.Variable)


@scenario
def mutation_of_saved_tensors(m):
    with m.autograd.graph.allow_mutation_on_saved_tensors():
        x = leaf(m, 1, 2)
        y = x * 1
        z = (y * y).sum()
        z.item()
        y.mul_(5)
        z.backward()
    return x.grad


@scenario
def anomaly_names_the_function(m):
    x = leaf(m, -1)
    with m.autograd.set_detect_anomaly(True):
        (x.sqrt() * 0).sum().backward()


@pytest.mark.parametrize("name", scenario)
def test_as_in_pytorch(name):
    compare(scenario[name])
