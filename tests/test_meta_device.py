"""The meta device: tensors of shape and dtype without values, and modules of them."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import flambeau

MODULES = (torch, flambeau)

# Of x, a tensor of 3 x 4 on the meta device; E is m.empty(..., device="meta").
CALLS = """
x x.device x.is_meta x.is_cpu x.stride() x.numel() x.nbytes x.get_device() x.type()
x.data_ptr() x+1 x+m.tensor(2.) x@x.T x.sum() x.sum(0) x.max(0) x.argmax() x.mean()
x.softmax(1) F.relu(x) F.linear(x,E(5,4)) F.conv2d(E(1,3,8,8),E(4,3,3,3)) x.to("meta")
m.ones(2).to("meta") m.ones(2).to(device="meta",dtype=m.int8) x.clone() x.detach() x.t() x[0]
x[:,1:] x.view(-1) x.reshape(2,6) x.fill_(1) x.normal_() x.uniform_() x.zero_()
x.copy_(m.ones(3,4)) m.zeros_like(x) m.randn_like(x) m.ones(2,device="meta")
m.tensor([1.,2.],device="meta") m.rand(2,2,device="meta") m.arange(5,device="meta")
m.linspace(0,1,5,device="meta") m.full((2,),3,device="meta") m.eye(3,device="meta")
m.randint(0,3,(2,),device="meta") m.randperm(4,device="meta")
m.normal(0.,1.,(2,),device="meta") x.new_zeros(2) x.new_full((2,),1) x.new_tensor([1.])
x.new_ones(1) m.cat([x,x]) m.stack([x,x]) m.where(x>0,x,x) x.double() x==x x.dim() len(x)
x.unbind() x.split(1) x.chunk(2) x.expand(2,3,4) x.permute(1,0) x.contiguous()
x.t().contiguous() x.bernoulli() F.dropout(x) F.embedding(E(2,dtype=m.long),x)
F.cross_entropy(x,E(3,dtype=m.long)) F.layer_norm(x,(4,)) m.linalg.norm(x) m.linalg.inv(E(3,3))
m.linalg.svd(x) m.einsum("ij,kj->ik",x,x) x.sort(1) x.topk(2) x.cumsum(0)
x.gather(1,E(3,1,dtype=m.long)) x.masked_fill(x>0,1) x.requires_grad_() m.empty_like(x)
m.full_like(x,2) m.ones(2).to(x) m.zeros(2,device="meta",requires_grad=True) m.multinomial(x,2)
m.normal(x,1.) m.view_as_complex(E(3,2)) x[E(2,dtype=m.long)]
E(2,dtype=m.complex64).conj().imag x.std() x.repeat(2,1) m.triu(x) m.outer(x[0],x[0])
x.untyped_storage().nbytes() m.as_tensor([1.],device="meta")
m.as_tensor(m.ones(2),device="meta") x.argsort() x.real x.is_leaf x.element_size() x.sign_()
x.add_(1) x.mul_(m.ones(3,4)) m.scalar_tensor(1.,device="meta")
m.empty_strided((2,3),(1,2),device="meta").stride() m.zeros(3,2).t().to("meta").stride()
x.resize_(2,2) m.tril_indices(3,3,device="meta") m.hann_window(4,device="meta") m.complex(x,x)
F.scaled_dot_product_attention(E(1,2,3,4),E(1,2,3,4),E(1,2,3,4)) F.max_pool2d(E(1,2,4,4),2)
F.interpolate(E(1,2,3,4),scale_factor=2) F.batch_norm(x,None,None,training=True)
F.mse_loss(x,x) m.fft.fft(x) x.index_select(0,m.tensor([0])) x[m.tensor([0,1])] x.var(0)
x.flip(0) x.roll(1) x.scatter(1,m.zeros(3,1,dtype=m.long),1.) m.device("meta")
E(10**6,10**6)@E(10**6,10**6) copy.deepcopy(x.t()).stride()
pickle.loads(pickle.dumps(x.t())).stride() x.t()[1:].storage_offset() repr(m.nn.Parameter(x))
E(0) E(2,dtype=m.int64) x.half().dtype list(x) x.squeeze() x.diagonal()
m.isin(x,m.tensor([1,2])) m.isin(x,x[0],invert=True) m.isin(x,3) m.isin(3,x)
F.one_hot(E(3,4,dtype=m.long),5) F.one_hot(E(0,4,dtype=m.long),3)
""".split()  # noqa: SIM905


def names(m: Any, **more: Any) -> dict[str, Any]:
    def E(*shape: int, **options: Any) -> Any:
        return m.empty(*shape, device="meta", **options)

    x = E(3, 4)
    return {"m": m, "F": m.nn.functional, "E": E, "x": x, "copy": copy, "pickle": pickle, **more}


@pytest.mark.parametrize("call", CALLS)
def test_calls_give_what_pytorch_gives(call):
    found = [repr(eval(call, names(m))) for m in MODULES]
    assert found[1] == found[0]


REFUSED = """
x.item() x[0,0].item() x.tolist() x.numpy() np.asarray(x) x.cpu() x.to("cpu") bool(x[0,0])
float(x[0,0]) x+m.ones(4) m.ones(3,4)+x m.ones(3,4).copy_(x) m.allclose(x,x) x.sum().item()
m.nn.Linear(3,2,device="meta").to("cpu") m.nn.Linear(3,2,device="meta").cpu() x.view(5)
m.empty(2,device="met") m.zeros(2,dtype=m.int8,device="meta",requires_grad=True)
""".split()  # noqa: SIM905
# Where PyTorch's message is about its own dispatcher.
UNKNOWN = "x.nonzero() x[x>0] x.unique() m.equal(x,x) x.masked_select(x>0)".split()  # noqa: SIM905


@pytest.mark.parametrize("call", REFUSED)
def test_what_has_no_values_is_refused(call):
    errors = []
    for m in MODULES:
        with pytest.raises((RuntimeError, TypeError, NotImplementedError)) as caught:
            eval(call, names(m, np=np))
        errors.append((caught.type, str(caught.value).partition("\n")[0][:60]))
    assert errors[1] == errors[0]


@pytest.mark.parametrize("call", UNKNOWN)
def test_what_depends_on_values_is_refused(call):
    for m in MODULES:
        with pytest.raises(NotImplementedError):
            eval(call, names(m))


def test_history_without_values():
    found = []
    for m in MODULES:
        layer = m.nn.Linear(3, 4, device="meta")
        x = m.empty(5, 3, device="meta")
        y = layer(x)
        facts = [repr(y), repr(layer.weight), y.grad_fn.name(), y.is_leaf]
        y.sum().backward()
        facts += [repr(layer.weight.grad), repr(layer.bias.grad)]
        (layer(x) * 2).mean().backward()
        q = m.ones(3, requires_grad=True, device="meta")
        z = (q * 2).exp()
        part = q[1:]
        facts += [repr(m.autograd.grad(z.sum(), q)), repr(z.detach()), part._is_view()]
        facts += [part.storage_offset(), part.requires_grad, q.grad]
        (part.sum() + m.stack((q, q)).sum()).backward()
        facts += [repr(q.grad)]
        q.data = m.zeros(4, device="meta")
        facts += [repr(q)]
        with m.no_grad():
            facts += [layer(x).requires_grad]
        found.append(facts)
    assert found[1] == found[0]


LAYERS = """nn.LSTM(3,4,2,device=D)|E(1,5,3)|nn.TransformerEncoderLayer(8,2,16,device=D)|E(3,2,8)
nn.MultiheadAttention(8,2,device=D)|E(3,2,8),E(3,2,8),E(3,2,8)|nn.Embedding(10,4,device=D)|E(3,dtype=m.long)
nn.GRUCell(3,4,device=D)|E(5,3)|nn.ConvTranspose2d(3,4,3,device=D)|E(1,3,5,5)
nn.GroupNorm(1,3,device=D)|E(5,3)|nn.Bilinear(3,3,2,device=D)|E(5,3),E(5,3)|nn.PReLU(device=D)|E(5,3)
nn.BatchNorm2d(3,device=D)|E(2,3,4,4)|nn.Conv3d(3,2,2,device=D)|E(2,3,4,4,4)|nn.RMSNorm(3,device=D)|E(5,3)
nn.Transformer(8,2,1,1,16,device=D)|E(3,2,8),E(4,2,8)|nn.LayerNorm(3,device=D)|E(5,3)"""
PAIRS = LAYERS.replace("\n", "|").split("|")


@pytest.mark.parametrize(("layer", "args"), list(zip(PAIRS[::2], PAIRS[1::2], strict=True)))
def test_layers_without_values(layer, args):
    found = []
    for m in MODULES:
        given = names(m, nn=m.nn, D="meta")
        result = eval(f"({layer})({args})", given)
        parts = result if isinstance(result, tuple) else (result,)
        found.append([(tuple(t.shape), t.is_meta) for t in parts if isinstance(t, m.Tensor)])
    assert found[1] == found[0]


def network(m: Any) -> Any:
    return m.nn.Sequential(
        m.nn.Conv2d(3, 8, 3), m.nn.BatchNorm2d(8), m.nn.ReLU(), m.nn.Flatten(), m.nn.Linear(72, 10)
    )


def test_a_network_is_made_without_values_and_filled():
    for m in MODULES:
        before = m.get_rng_state()
        with m.device("meta"):
            net = network(m)
            made = [m.ones(2), m.rand(2, 3), m.tensor([1.0])]
        assert m.equal(before, m.get_rng_state())
        assert all(t.is_meta for t in (*net.state_dict().values(), *made))
        assert not m.ones(1).is_meta
        assert net(m.empty(2, 3, 5, 5, device="meta")).shape == (2, 10)
        other = network(m)
        with pytest.warns(UserWarning, match="which is a no-op"):
            net.load_state_dict(other.state_dict())
        assert all(t.is_meta for t in net.state_dict().values())
        assert not net.load_state_dict(other.state_dict(), assign=True).missing_keys
        assert net[0].weight.data_ptr() == other[0].weight.data_ptr()
        assert type(net[0].weight) is m.nn.Parameter and net[0].weight.requires_grad
        x = m.ones(2, 3, 5, 5)
        assert m.equal(net.eval()(x), other.eval()(x))


def test_memory_is_given_later():
    for m in MODULES:
        net = m.nn.Sequential(m.nn.Linear(3, 4, device="meta"), m.nn.BatchNorm1d(4, device="meta"))
        assert net.to_empty(device="cpu") is net
        assert not any(t.is_meta for t in net.state_dict().values())
        with m.no_grad():
            for p in net.parameters():
                p.fill_(1.0)
        net[1].reset_running_stats()
        assert net.eval()(m.ones(2, 3)).shape == (2, 4)
        skipped = m.nn.utils.skip_init(m.nn.Linear, 3, 2)
        assert not skipped.weight.is_meta and skipped.weight.shape == (2, 3)
        assert m.nn.Linear(2, 2).to("meta").weight.is_meta


def test_the_default_device():
    for m in MODULES:
        m.set_default_device("meta")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert m.get_default_device() == m.device("meta")
                assert m.zeros(2).is_meta and m.nn.Linear(2, 2).weight.is_meta
                with m.device("cpu"):
                    assert not m.zeros(2).is_meta
                assert not m.zeros(2, device="cpu").is_meta
        finally:
            m.set_default_device(None)
        assert not m.zeros(2).is_meta
