"""Pruning chooses and keeps what PyTorch's does, from the same seed."""

from __future__ import annotations

import pytest

import flambeau
from test_nn_utils import agree, refuse_alike, trained


def prune(m):
    if m is flambeau:
        return flambeau.nn.utils.prune
    import torch.nn.utils.prune

    return torch.nn.utils.prune


def conv(m):
    return m.nn.Conv2d(4, 6, 2)


ONE = {
    "identity": lambda m, p, layer: p.identity(layer, "weight"),
    "random": lambda m, p, layer: p.random_unstructured(layer, "weight", 0.3),
    "random-count": lambda m, p, layer: p.random_unstructured(layer, "bias", 2),
    "l1": lambda m, p, layer: p.l1_unstructured(layer, "weight", 0.4),
    "l1-none": lambda m, p, layer: p.l1_unstructured(layer, "weight", 0),
    "l1-all": lambda m, p, layer: p.l1_unstructured(layer, "weight", 1.0),
    "l1-scores": lambda m, p, layer: p.l1_unstructured(
        layer, "weight", 5, importance_scores=m.rand(6, 4, 2, 2)
    ),
    "random-structured": lambda m, p, layer: p.random_structured(layer, "weight", 2, dim=1),
    "random-structured-last": lambda m, p, layer: p.random_structured(layer, "weight", 0.5, -1),
    "ln": lambda m, p, layer: p.ln_structured(layer, "weight", 0.5, n=2, dim=0),
    "ln-infinite": lambda m, p, layer: p.ln_structured(
        layer, "weight", 1, n=float("-inf"), dim=1
    ),
    "ln-none": lambda m, p, layer: p.ln_structured(layer, "weight", 0, n=1, dim=1),
    "mask": lambda m, p, layer: p.custom_from_mask(
        layer, "bias", m.tensor([1, 0, 1, 1, 0, 0])
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE)
def test_one_method(name):
    def run(m):
        p = prune(m)
        layer = conv(m)
        assert ONE[name](m, p, layer) is layer
        assert p.is_pruned(layer)
        kept = dict(layer.named_buffers())
        results = [repr(layer), kept, list(dict(layer.named_parameters()))]
        results += trained(m, layer, m.randn(2, 4, 5, 5))
        pruned = "bias" if "bias_mask" in kept else "weight"
        p.remove(layer, pruned)
        assert not p.is_pruned(layer)
        return [*results, dict(layer.state_dict()), layer(m.ones(2, 4, 5, 5))]

    agree(run)


def test_methods_in_a_row():
    def run(m):
        p = prune(m)
        layer = conv(m)
        masks = []
        for name in ("random-structured", "l1", "ln", "random", "l1-scores"):
            ONE[name](m, p, layer)
            masks.append(layer.weight_mask)
        (container,) = layer._forward_pre_hooks.values()
        kinds = [type(method).__name__ for method in container]
        ONE["mask"](m, p, layer)
        results = [masks, kinds, len(container), type(container[0]).__name__]
        results += trained(m, layer, m.randn(2, 4, 5, 5))
        p.remove(layer, "weight")
        return [*results, dict(layer.state_dict())]

    agree(run)


@pytest.mark.parametrize("scored", [False, True])
def test_globally(scored):
    def run(m):
        p = prune(m)
        net = m.nn.Sequential(m.nn.Linear(5, 4), m.nn.ReLU(), m.nn.Linear(4, 3))
        p.l1_unstructured(net[0], "weight", 3)
        which = [(net[0], "weight"), (net[2], "weight"), (net[2], "bias")]
        scores = {(net[2], "weight"): m.ones(3, 4)} if scored else None
        p.global_unstructured(which, p.L1Unstructured, importance_scores=scores, amount=0.5)
        p.global_unstructured(which, pruning_method=p.RandomUnstructured, amount=2)
        return [dict(net.state_dict()), p.is_pruned(net), net(m.ones(1, 5))]

    agree(run)


def test_a_method_of_ones_own():
    def run(m):
        p = prune(m)

        class EveryOther(p.BasePruningMethod):
            PRUNING_TYPE = "unstructured"

            def compute_mask(self, t, default_mask):
                mask = default_mask.clone()
                mask.view(-1)[::2] = 0
                return mask

        layer = m.nn.Linear(3, 2)
        EveryOther.apply(layer, "bias")
        EveryOther.apply(layer, "weight")
        EveryOther.apply(layer, "weight")
        return [layer.bias, layer.weight, layer(m.ones(1, 3))]

    agree(run)


def test_without_a_module():
    def run(m):
        p = prune(m)
        t = m.randn(4, 3)
        mask = m.ones(4, 3)
        mask[0] = 0
        return [
            p.L1Unstructured(0.5).prune(t),
            p.LnStructured(2, 1, dim=0).prune(t, default_mask=mask),
            p.RandomStructured(1).prune(t),
            p.L1Unstructured(3).prune(t, importance_scores=-t.exp()),
        ]

    agree(run)


def test_a_refused_pruning_leaves_the_module():
    layer = flambeau.nn.Linear(2, 2)
    weight = layer.weight
    with pytest.raises(ValueError, match="amount=5 should be smaller"):
        flambeau.nn.utils.prune.l1_unstructured(layer, "weight", 5)
    assert layer.weight is weight
    assert list(layer.state_dict()) == ["bias", "weight"]


REFUSED = [
    lambda m, p: p.l1_unstructured(conv(m), "weight", -1),
    lambda m, p: p.l1_unstructured(conv(m), "weight", 1.5),
    lambda m, p: p.l1_unstructured(conv(m), "weight", "half"),
    lambda m, p: p.l1_unstructured(conv(m), "weight", 1000),
    lambda m, p: p.l1_unstructured(conv(m), "nothing", 1),
    lambda m, p: p.random_structured(conv(m), "bias", 1, 0),
    lambda m, p: p.random_structured(conv(m), "weight", 1, 4),
    lambda m, p: p.ln_structured(conv(m), "weight", 7, 2, 0),
    lambda m, p: p.remove(conv(m), "weight"),
    lambda m, p: p.global_unstructured(3, p.L1Unstructured),
    lambda m, p: p.global_unstructured([(conv(m), "weight")], p.LnStructured, amount=1, n=2),
    lambda m, p: p.global_unstructured(
        [(conv(m), "weight")], p.L1Unstructured, importance_scores=[], amount=1
    ),
    lambda m, p: p.PruningContainer().add_pruning_method(3),
    lambda m, p: p.custom_from_mask(conv(m), "weight", m.ones(2)),
]  # fmt: skip


@pytest.mark.parametrize("build", REFUSED)
def test_refusals(build):
    refuse_alike(lambda m: build(m, prune(m)))
