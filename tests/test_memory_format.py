"""``channels_last``: strides as PyTorch tells them, of converted tensors and what they become."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import flambeau

MODULES = (torch, flambeau)

# Of y, 2 x 3 x 4 x 5 with its channels last, x, the same in row-major order, and weights w.
CALLS = """y y+1 y*y F.relu(y) y+x x+y y.clone() y.contiguous() y.to(m.float64) y.double()
y.detach() y.clone(memory_format=m.contiguous_format) m.empty_like(y) m.zeros_like(y)
m.full_like(y,1) m.ones_like(y,memory_format=m.contiguous_format) m.rand_like(y)
x.contiguous(memory_format=cl)
y.contiguous(memory_format=cl) m.empty(2,3,4,5,memory_format=cl) F.conv2d(y,w)
F.conv2d(x,w.to(memory_format=cl)) F.conv2d(x,w) F.max_pool2d(y,2) F.avg_pool2d(y,2)
F.adaptive_avg_pool2d(y,2) F.batch_norm(y,None,None,training=True) F.interpolate(y,scale_factor=2)
y.sigmoid() y.half() F.gelu(y) F.dropout(y,0.) m.cat([y,y],1) m.where(y>0,y,y) y.clamp(0,1) y.sum(1)
y.reshape(2,-1) y.flatten(1) -y y/2 y>0 F.softmax(y,1) F.layer_norm(y,(5,)) y.mean((2,3)) y.add_(1)
m.maximum(y,y) y**2 x.to(memory_format=m.preserve_format) y.new_empty(2,3) y.requires_grad_()
x.double().to(memory_format=cl) x.to(m.float64,memory_format=cl) y.flip(2) F.pad(y,(1,1)) y.float()
y.to(memory_format=m.contiguous_format) m.randn_like(y) y.bool() F.hardswish(y) F.group_norm(y,3)
y.view(6,4,5) x.to(memory_format=cl).sum()""".split()  # noqa: SIM905


def names(m: Any) -> dict[str, Any]:
    m.manual_seed(0)
    x = m.randn(2, 3, 4, 5)
    cl = m.channels_last
    y = x.to(memory_format=cl)
    w = m.randn(6, 3, 3, 3)
    return {"m": m, "F": m.nn.functional, "x": x, "y": y, "w": w, "cl": cl}


@pytest.mark.parametrize("call", CALLS)
def test_strides(call):
    found = []
    for m in MODULES:
        given = names(m)
        try:
            r = eval(call, given)
        except RuntimeError as error:
            found.append([type(error), "is not compatible" in str(error)])
            continue
        facts = [tuple(r.shape), r.stride(), r.is_contiguous(), str(r.dtype)]
        if r.dim() == 4:
            facts.append(r.is_contiguous(memory_format=given["cl"]))
        found.append(facts)
        if "empty" not in call:
            found[-1].append(r)
    if len(found[0]) > 2 and isinstance(found[0][-1], torch.Tensor):
        ours, theirs = found[1].pop(), found[0].pop()
        ours = torch.from_numpy(ours.detach().numpy())
        torch.testing.assert_close(ours, theirs.detach().contiguous(), rtol=1e-3, atol=1e-5)
    assert found[1] == found[0]


REFUSED = """x[0].to(memory_format=cl) x.contiguous(memory_format=m.channels_last_3d)
y.contiguous(memory_format=m.preserve_format) x[0].clone(memory_format=cl)""".split()  # noqa: SIM905


@pytest.mark.parametrize("call", REFUSED)
def test_formats_that_do_not_fit(call):
    errors = []
    for m in MODULES:
        with pytest.raises(RuntimeError) as caught:
            eval(call, names(m))
        errors.append(str(caught.value).partition("\n")[0])
    assert errors[1] == errors[0]


def test_a_network():
    found = []
    for m in MODULES:
        m.manual_seed(0)
        net = m.nn.Sequential(
            m.nn.Conv2d(3, 8, 3), m.nn.BatchNorm2d(8), m.nn.ReLU(), m.nn.MaxPool2d(2)
        )
        net = net.to(memory_format=m.channels_last)
        weight = net[0].weight
        facts: list[Any] = [weight.stride(), type(weight) is m.nn.Parameter, weight.is_leaf]
        optimizer = m.optim.SGD(net.parameters(), lr=0.1)
        x = m.randn(2, 3, 8, 8)
        for _ in range(5):
            out = net(x)
            optimizer.zero_grad()
            out.pow(2).sum().backward()
            optimizer.step()
        facts += [out.stride(), out.is_contiguous(memory_format=m.channels_last), weight.stride()]
        found.append((facts, weight.detach().sum().item()))
    assert found[1][0] == found[0][0]
    assert found[1][1] == pytest.approx(found[0][1], rel=1e-4)


def test_three_dimensions():
    found = []
    for m in MODULES:
        v = m.randn(2, 3, 4, 5, 6).to(memory_format=m.channels_last_3d)
        w = v * 2
        found.append([v.stride(), w.stride(), w.is_contiguous(memory_format=m.channels_last_3d)])
    assert found[1] == found[0]
    assert found[1][0] == (360, 1, 90, 18, 3)


def test_random_numbers_in_the_order_of_memory():
    drawn = []
    for m in MODULES:
        y = names(m)["y"]
        m.manual_seed(1)
        drawn.append(m.randn_like(y).contiguous())
    torch.testing.assert_close(torch.from_numpy(drawn[1].numpy()), drawn[0])
