"""Writes to memory that the call reads, or that holds several elements: refused as in PyTorch."""

from __future__ import annotations

import warnings

import pytest
import torch

import flambeau

LIBRARIES = (torch, flambeau)

# Of x: six numbers in a row, given or computed; m is the library.
READING = """
x[1:].add_(x[:-1]) x[:-1].add_(x[1:]) x.add_(x) x.add_(x[:]) x.add_(x[0]) x.mul_(x[2])
x[:4].view(2,2).add_(x[:4].view(2,2).t()) x[1:].copy_(x[:-1]) x[::2].add_(x[1::2])
x[1:].addcmul_(x[:-1],x[:-1]) x[1:].lerp_(x[:-1],.5) x[1:].index_add_(0,m.arange(5),x[:-1])
x.index_add_(0,m.arange(6),x) x.index_copy_(0,m.arange(6),x) x[1:].scatter_(0,m.arange(5),x[:-1])
x[1:].scatter_add_(0,m.arange(5),x[:-1]) x[1:].index_put_((m.arange(5),),x[:-1])
x[1:].put_(m.arange(5),x[:-1]) x[1:].clamp_(min=x[:-1]) x[1:].logical_and_(x[:-1])
x[:4].view(2,2).add_(x[:2]) x[:4].view(2,2).add_(x[2:4]) x[0:2].add_(x[2:4]) x[1:].fill_(x[0])
x.fill_(x[0]) x[1:].atan2_(x[:-1]) x[1:].lt_(x[:-1]) x.__setitem__(slice(0,2),x[1:3])
x.__setitem__(slice(1,3),x[2]) x.__setitem__(slice(None),x[:1]) x.__setitem__(x>2,x[2])
x.__setitem__(m.tensor([1]),x[2]) x.__setitem__(1,x[2]) x.__setitem__(slice(1,3),x[3:5])
x.masked_fill_(x>2,x[2]) x.index_fill_(0,m.tensor([1]),x[2]) x.copy_(x.detach())
x.add_(x.detach()) x[:2].addcdiv_(x[2:4],x[4:]) x[:3].copy_(x[2:5]) x[:3].copy_(x[2].expand(3))
x[:4].view(2,2)[:,0].copy_(x[:4].view(2,2)[:,1]) x[:4].view(2,2).sub_(x[:4].view(2,2)[1])
x.copy_(x.roll(1)) x.lerp_(x[0],.5) x.pow_(x[2]) x.__imul__(x[2]) x.__itruediv__(x[2])
m.exp(x[:-1],out=x[1:]) m.cumsum(x[:-1],0,out=x[1:]) m.maximum(x[:3],x[1:4],out=x[:3])
m.gather(x[:-1],0,m.arange(5),out=x[1:]) m.where(x>2,x,x[0],out=x)
""".split()  # noqa: SIM905

REPEATED = """
x[:1].expand(3).add_(1) x[:1].expand(3).zero_() x[:1].expand(3).fill_(2) x[:1].expand(1).add_(1)
x[:1].expand(3).copy_(m.ones(3)) x[:1].expand(3).exp_() x[:1].expand(3).normal_()
x.view(2,3)[:,:1].expand(2,3).zero_() m.nn.init.constant_(x.view(2,3)[:1].expand(2,3),4.)
x[:1].expand(3).scatter_(0,m.tensor([0]),5.) m.add(m.ones(3),1,out=x[:1].expand(3))
x[:1].expand(3).index_add_(0,m.tensor([0]),m.ones(1)) m.relu_(x[:1].expand(3))
x[:1].view(1,1)[:,:0].expand(2,0).tan_() x[:1].view(1,1)[:,:0].expand(2,0).add_(1)
m.add(m.ones(2,0),1,out=x[:1].view(1,1)[:,:0].expand(2,0))
""".split()  # noqa: SIM905


def outcome(m, call: str, computed: bool) -> object:
    x = m.arange(6.0)
    if computed:
        x = x * 1
    try:
        eval(call, {"m": m, "x": x})
    except RuntimeError as error:
        return str(error), x.tolist()
    return x.tolist()


@pytest.mark.parametrize("computed", [False, True], ids=["given", "computed"])
@pytest.mark.parametrize("call", READING + REPEATED)
def test_writes_are_made_or_refused(call, computed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's, of what it will refuse one day.
        m = [outcome(m, call, computed) for m in LIBRARIES]
    assert m[1] == m[0]


def test_a_refused_write_leaves_its_trace_sound():
    for m in LIBRARIES:
        x = m.arange(4.0, requires_grad=True)
        y = x * 2
        z = y[1:]
        for _ in range(6):
            with pytest.raises(RuntimeError, match="written-to tensor refer to a single memory"):
                z.add_(y[:-1])
        z.add_(1)
        y.pow(2).sum().backward()
        assert x.grad.tolist() == [0.0, 12.0, 20.0, 28.0]


PARTS = {
    "index_put": lambda m, s: s.unfold(0, 3, 1).index_put_((m.tensor([0, 4]),), s[8].clone()),
    "setitem": lambda m, s: s.unfold(0, 4, 2).__setitem__(1, 3),
    "index_fill": lambda m, s: s.as_strided((3, 4), (2, 1)).index_fill_(1, m.tensor([3]), 7),
    "masked_fill": lambda m, s: s.unfold(0, 3, 1).masked_fill_(s.unfold(0, 3, 1) == 5, 0),
    "scatter": lambda m, s: s.unfold(0, 3, 1).scatter_(1, m.tensor([[1]]), 11),
}


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("dtype", ["float32", "int64", "complex64", "float64", "bool"])
def test_what_a_write_leaves_of_a_view_is_not_written_over_the_rest(name, dtype):
    """Windows that share elements. Of 16 bits PyTorch's scatter_ writes to a copy that is lost."""
    for _ in range(5):
        found = []
        for m in (flambeau, torch):
            s = m.arange(9).to(getattr(m, dtype))
            PARTS[name](m, s)
            found.append(s.tolist())
        assert found[0] == found[1]
