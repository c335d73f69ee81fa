"""Packed sequences through recurrent layers: lengths are data, and padding is never looked at."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

import flambeau
from flambeau.record.stats import stats

LAYERS = {
    "LSTM": lambda nn: nn.LSTM(3, 5),
    "GRU": lambda nn: nn.GRU(3, 5),
    "tanh": lambda nn: nn.RNN(3, 5),
    "relu": lambda nn: nn.RNN(3, 5, nonlinearity="relu"),
    "no bias": lambda nn: nn.LSTM(3, 5, bias=False),
    "both ways": lambda nn: nn.LSTM(3, 5, bidirectional=True),
    "deep": lambda nn: nn.GRU(3, 5, num_layers=2, bidirectional=True),
    "dropout": lambda nn: nn.LSTM(3, 5, num_layers=2, dropout=0.5),
    "projected": lambda nn: nn.LSTM(3, 5, proj_size=2),
    "batch first": lambda nn: nn.GRU(3, 5, batch_first=True),
}
LENGTHS = {"ragged": [4, 1, 6, 4], "equal": [3, 3], "one": [5], "long": [40, 1, 1, 1, 1, 1, 2]}


def close(a, b, tolerance=2e-6):
    np.testing.assert_allclose(
        np.array(a.tolist()), np.array(b.tolist()), rtol=tolerance, atol=tolerance
    )


def run(mod, layer, lengths, x, train=True):
    """What a loss on output and states gives, and all gradients."""
    mod.manual_seed(0)
    net = LAYERS[layer](mod.nn)
    net.train(train)
    x = mod.tensor(x, requires_grad=True)
    batch_first = net.batch_first
    given = x if batch_first else x.transpose(0, 1)
    packed = mod.nn.utils.rnn.pack_padded_sequence(
        given, mod.tensor(lengths), batch_first, enforce_sorted=False
    )
    output, state = net(packed)
    states = state if isinstance(state, tuple) else (state,)
    padded, found = mod.nn.utils.rnn.pad_packed_sequence(output, batch_first, -0.25, 41)
    loss = padded.square().mean() + sum(s.square().mean() * k for k, s in enumerate(states, 2))
    loss.backward()
    grads = [x.grad, *[p.grad for p in net.parameters()]]
    return [padded, found, output.data, *states, *grads]


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("layer", LAYERS)
def test_values_and_gradients(layer, lengths):
    lengths = LENGTHS[lengths]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((len(lengths), max(lengths) + 1, 3)).astype(np.float32)
    # Whatever padding is, PyTorch does not look at it.
    for row, n in zip(x, lengths, strict=True):
        row[n:] = np.nan
    for ours, theirs in zip(
        run(flambeau, layer, lengths, x), run(torch, layer, lengths, x), strict=True
    ):
        close(ours, theirs)


@pytest.mark.parametrize("layer", ["LSTM", "GRU", "both ways", "deep", "tanh"])
def test_other_lengths_are_the_same_path(layer):
    rng = np.random.default_rng(1)

    def step(lengths):
        x = rng.standard_normal((4, 8, 3)).astype(np.float32)
        flambeau.manual_seed(0)
        net = LAYERS[layer](flambeau.nn)
        packed = flambeau.nn.utils.rnn.pack_padded_sequence(
            flambeau.tensor(x), lengths, batch_first=True, enforce_sorted=False
        )
        output, state = net(packed)
        state = state[0] if isinstance(state, tuple) else state
        total = flambeau.nn.utils.rnn.pad_packed_sequence(output)[0].sum() + state.sum()
        total.backward()
        return total.item()

    step([8, 3, 5, 4])
    step([2, 8, 8, 1])
    before = stats.misses, stats.programs
    for lengths in ([4, 4, 8, 6], [8, 1, 7, 2], [3, 8, 3, 3]):
        step(lengths)
    assert (stats.misses, stats.programs) == before


def packed_of(mod, values=None):
    x = mod.tensor(np.arange(24.0, dtype=np.float32).reshape(3, 4, 2))
    return mod.nn.utils.rnn.pack_padded_sequence(
        x, mod.tensor([2, 4, 1]), batch_first=True, enforce_sorted=False
    )


def test_a_packed_sequence_is_a_tuple_of_four():
    ours, theirs = packed_of(flambeau), packed_of(torch)
    for pair in (
        zip(ours, theirs, strict=True),
        zip(ours[:2], theirs[:2], strict=True),
        zip(tuple(ours), tuple(theirs), strict=True),
        [(ours[0], theirs[0]), (ours[-1], theirs[-1]), (ours.data, theirs.data)],
        zip(ours._asdict().values(), theirs._asdict().values(), strict=True),
    ):
        for a, b in pair:
            close(a, b)
    data, sizes, order, back = ours
    assert data is ours.data
    assert (sizes.tolist(), order.tolist(), back.tolist()) == ([3, 2, 1, 1], [1, 0, 2], [1, 0, 2])
    assert repr(ours).startswith("PackedSequence(data=tensor(")
    assert len(ours) == 4
    for again in (
        pickle.loads(pickle.dumps(ours)),
        copy.deepcopy(ours),
        ours.double().float(),
        ours._replace(data=data),
        type(ours)(*ours),
    ):
        assert type(again) is type(ours)
        close(again.data, theirs.data)
        close(flambeau.nn.utils.rnn.pad_packed_sequence(again)[0],
              torch.nn.utils.rnn.pad_packed_sequence(theirs)[0])  # fmt: skip


def test_data_of_ones_own_is_packed_again():
    """As in every tagger: a layer on ``data``, packed again with its sizes."""
    found = []
    for mod in (flambeau, torch):
        mod.manual_seed(0)
        rnn = mod.nn.utils.rnn
        embed, net = mod.nn.Linear(2, 3), mod.nn.GRU(3, 4)
        packed = packed_of(mod)
        inner = rnn.PackedSequence(embed(packed.data), *packed[1:])
        output, state = net(inner)
        logits = output.data.sum(1)
        (logits.square().sum() + state.sum()).backward()
        found.append([logits, state, embed.weight.grad, net.weight_hh_l0.grad])
    for a, b in zip(*found, strict=True):
        close(a, b, 1e-5)


def test_states_are_given_in_the_callers_order():
    found = []
    for mod in (flambeau, torch):
        mod.manual_seed(0)
        net = mod.nn.LSTM(2, 4, bidirectional=True)
        h = mod.arange(24.0).reshape(2, 3, 4) / 24
        output, (last, cell) = net(packed_of(mod), (h, -h))
        found.append([output.data, last, cell])
    for a, b in zip(*found, strict=True):
        close(a, b)


def test_integers_are_packed_and_padded():
    for build in (
        lambda rnn, m: rnn.pack_sequence([m.tensor([1, 2, 3]), m.tensor([4])]),
        lambda rnn, m: rnn.pack_padded_sequence(m.tensor([[1, 2], [3, 0]]), [2, 1], True),
        lambda rnn, m: rnn.pack_padded_sequence(m.tensor([[1, 2], [3, 0]]).T, [2, 1]),
    ):
        ours, theirs = (build(m.nn.utils.rnn, m) for m in (flambeau, torch))
        assert ours.data.tolist() == theirs.data.tolist()
        assert str(ours.data.dtype) == str(theirs.data.dtype)
        for options in ({}, {"batch_first": True, "padding_value": 7, "total_length": 5}):
            a, b = (
                m.nn.utils.rnn.pad_packed_sequence(p, **options)
                for m, p in ((flambeau, ours), (torch, theirs))
            )
            assert [x.tolist() for x in a] == [x.tolist() for x in b]
        one, two = (
            m.nn.utils.rnn.unpack_sequence(p) for m, p in ((flambeau, ours), (torch, theirs))
        )
        assert [x.tolist() for x in one] == [x.tolist() for x in two]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("layer", ["LSTM", "GRU", "tanh", "relu", "deep", "projected"])
def test_under_autocast(layer, packed):
    rng = np.random.default_rng(2)
    x = rng.standard_normal((4, 5, 3)).astype(np.float32)
    found = []
    for mod in (flambeau, torch):
        mod.manual_seed(0)
        net = LAYERS[layer](mod.nn)
        given = mod.tensor(x).transpose(0, 1)
        if packed:
            given = mod.nn.utils.rnn.pack_padded_sequence(given, [5, 4, 2, 1])
        with mod.autocast("cpu", dtype=mod.bfloat16):
            output, state = net(given)
        output = output.data if packed else output
        states = state if isinstance(state, tuple) else (state,)
        (output.float().square().sum() + states[-1].float().square().sum()).backward()
        found.append([output, *states, *[p.grad for p in net.parameters()]])
    for ours, theirs in zip(*found, strict=True):
        assert str(ours.dtype) == str(theirs.dtype)
        scale = theirs.detach().float().abs().max().item()
        np.testing.assert_allclose(
            ours.detach().float().numpy(), theirs.detach().float().numpy(), rtol=0,
            atol=0.04 * scale, strict=True,
        )  # fmt: skip
