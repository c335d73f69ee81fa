"""What PyTorch says of the mistakes that are made most: shapes, indices, dtypes, numbers."""

from __future__ import annotations

import pytest
import torch

import flambeau

LIBRARIES = (torch, flambeau)

# Of a, a 2 x 3 tensor of ones; m is the library, F its nn.functional.
CALLS = """
a+m.ones(4,5)
m.ones(2,3,4)+m.ones(3,3,5)
m.maximum(a,m.ones(4,5))
m.where(a>0,a,m.ones(4,5))
m.broadcast_tensors(a,m.ones(4,5))
a.add_(m.ones(4,5))
a.lerp(m.ones(4,5),.5)
a.addcmul(a,m.ones(4,5))
a*m.ones(2)
a.pow(m.ones(4,5))
m.logaddexp(a,m.ones(4,5))
a.expand(4,5)
a.expand(3)
a.copy_(m.ones(2))
a.__setitem__(0,m.ones(2))
a.__setitem__(slice(None),m.ones(4,5))
a.__setitem__(0,m.ones(2,2,2))
a.__setitem__((slice(None),0),m.ones(3))
a.__setitem__(a>0,m.ones(4))
a.__setitem__(m.tensor([0]),m.ones(4))
a@m.ones(4,5)
int(a)
float(a)
complex(a)
int(m.ones(0))
range(a)
a.item()
bool(m.ones(0))
m.ones(2,-1)
m.empty(-1)
m.full((-1,),2)
a.bool()-a.bool()
a.bool()-True
True-a.bool()
a-a.bool()
1-a.bool()
m.Tensor(1.5)
m.Tensor(None)
m.ones(2,out=3)
m.zeros(2,out="a")
F.cross_entropy(a,m.tensor([0.,1.]))
F.nll_loss(a,m.tensor([0,1],dtype=m.int32))
m.nn.GRU(2,3)(m.ones(2,2,2,2))
m.ones(2).half()@m.ones(2)
m.ones(2,2)@m.ones(2,2).double()
m.ones(1,2,2)@m.ones(1,2,2).double()
m.nn.Linear(3,2)(a.double())
m.nn.Conv2d(1,1,2)(m.ones(1,1,3,3).double())
m.nn.Conv2d(1,1,2)(m.ones(1,1,3,3).long())
m.nn.Conv2d(1,1,2,bias=False)(m.ones(1,1,3,3).double())
m.nn.ConvTranspose2d(1,1,2)(m.ones(1,1,3,3).double())
F.conv2d(m.ones(1,1,3,3),m.ones(1,1,2,2),m.ones(1).double())
m.nn.RNN(2,3)(m.ones(2,2,2,2))
""".split()  # noqa: SIM905
# Those of which PyTorch's text is about its own overloads or backends.
TYPES = """
m.Tensor(2,"a") m.Tensor(2,1.5) m.Tensor(2,[1]) m.Tensor((1,2),(3,)) m.FloatTensor(a.long())
m.LongTensor(a) m.Generator("cuda") a.__setitem__(0,"a") m.where(a>0,a,"b")
""".split()  # noqa: SIM905


def error(m, call: str) -> BaseException:
    with pytest.raises((RuntimeError, TypeError, ValueError, IndexError)) as caught:
        eval(call, {"m": m, "F": m.nn.functional, "a": m.ones(2, 3)})
    return caught.value


@pytest.mark.parametrize("call", CALLS)
def test_the_message_is_pytorchs(call):
    want, found = [error(m, call) for m in LIBRARIES]
    assert isinstance(found, type(want))
    assert str(found) == str(want)


@pytest.mark.parametrize("call", TYPES)
def test_the_type_is_pytorchs(call):
    want, found = [error(m, call) for m in LIBRARIES]
    assert isinstance(found, type(want))


def test_user_functions_are_applied_not_called():
    for m in LIBRARIES:

        class Same(m.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x

        with pytest.warns(DeprecationWarning, match="should not be instantiated"):
            made = Same()
        with pytest.raises(RuntimeError, match="Legacy autograd function"):
            made(m.ones(1))


def test_the_node_of_a_user_function_says_where_it_is_from():
    found = []
    for m in LIBRARIES:

        class Twice(m.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

            @staticmethod
            def backward(ctx, g):
                return g * 2

        node = Twice.apply(m.ones(1, requires_grad=True)).grad_fn
        found.append(repr(node).partition(" object")[0])
    assert found[1] == found[0]


def test_hooks_print_as_pytorchs():
    found = [repr(m.nn.Linear(1, 1)._forward_hooks) for m in LIBRARIES]
    assert found[1] == found[0]
