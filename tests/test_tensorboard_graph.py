"""TensorBoard's graph: modules, parameters, shapes."""

from __future__ import annotations

import pytest
import torch
from tensorboard.compat.proto.graph_pb2 import GraphDef
from torch.utils.tensorboard import SummaryWriter as TorchWriter

import flambeau
from events import read
from flambeau import nn
from flambeau.errors import NotSupportedError
from flambeau.utils.tensorboard import SummaryWriter


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(10, 8)
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.BatchNorm1d(5))
        self.head = nn.Linear(16, 4)
        self.register_buffer("scale", flambeau.ones(4))

    def forward(self, words, extra):
        h = self.head(self.body(self.words(words)))
        # A value is read in the middle: the recording is flushed there.
        if h.sum() > 1e9:
            h = h * 2
        return h * self.scale + extra[:, None, :4]


def graph_of(model, inputs, tmp_path, **options):
    with SummaryWriter(tmp_path) as w:
        w.add_graph(model, inputs, **options)
    return GraphDef.FromString(read(tmp_path).Graph().SerializeToString())


def test_the_graph_shows_modules_parameters_and_shapes(tmp_path, capsys):
    net = Net()
    net.body.eval()
    graph = graph_of(net, (flambeau.randint(0, 10, (3, 5)), flambeau.randn(3, 6)), tmp_path)
    assert not net.body.training and net.head.training
    nodes = {n.name: n for n in graph.node}
    assert len(nodes) == len(graph.node)
    groups = {name.rpartition("/")[0] for name in nodes}
    assert {
        "Net",
        "Net/Embedding[words]",
        "Net/Sequential[body]/Linear[0]",
        "Net/Sequential[body]/ReLU[1]",
        "Net/Sequential[body]/BatchNorm1d[2]",
        "Net/Linear[head]",
    } <= groups
    # Every edge comes from a node that is there, and from one that stands before it.
    for i, node in enumerate(graph.node):
        before = {n.name for n in graph.node[:i]}
        assert all(source.partition(":")[0] in before for source in node.input), node
    shape = {
        n: [[d.size for d in s.dim] for s in node.attr["_output_shapes"].list.shape]
        for n, node in nodes.items()
    }
    assert shape["Net/Linear[head]/weight"] == [[4, 16]]
    assert shape["input/words"] == [[3, 5]] and shape["output/output.1"] == [[3, 5, 4]]
    assert shape["Net/Sequential[body]/ReLU[1]/relu"] == [[3, 5, 16]]
    owned = {n for n, node in nodes.items() if node.op in ("Parameter", "Buffer")}
    names = {n.rpartition("/")[2] for n in owned}
    assert names == {"weight", "bias", "running_mean", "running_var", "scale"} and len(owned) == 10
    assert not [n for n, node in nodes.items() if node.op == "Const"]

    def sources(name, found):
        for source in nodes[name].input:
            if source not in found:
                found.add(source)
                sources(source.partition(":")[0], found)
        return found

    # The flush cuts no edge: the output depends on everything.
    reached = sources("output/output.1", set())
    assert owned | {"input/words", "input/extra"} <= reached
    assert capsys.readouterr().out == ""


def test_the_groups_are_those_of_pytorch(tmp_path):
    def build(library):
        layers = library.nn
        return layers.Sequential(
            layers.Sequential(layers.Linear(4, 4), layers.Tanh()), layers.Linear(4, 2)
        )

    groups = []
    for name, writer, library in (
        ("ours", SummaryWriter, flambeau),
        ("theirs", TorchWriter, torch),
    ):
        with writer(str(tmp_path / name)) as w:
            w.add_graph(build(library), library.ones(2, 4))
        graph = GraphDef.FromString(read(tmp_path / name).Graph().SerializeToString())
        found = set()
        for node in graph.node:
            parts = node.name.split("/")[:-1]
            found |= {"/".join(parts[: i + 1]) for i in range(len(parts))}
        groups.append({g for g in found if g.endswith("]") or g == "Sequential"})
    assert groups[0] == groups[1]


def test_the_graph_of_nested_arguments_and_a_module_used_twice(tmp_path, capsys):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x, pair, *more):
            return {"a": self.layer(self.layer(x)), "b": pair["left"][0] + more[0]}

    x = flambeau.ones(2, 3)
    graph = graph_of(Twice(), (x, {"left": [x]}, x), tmp_path, verbose=True)
    names = [n.name for n in graph.node]
    assert {"input/x", "input/pair.left.0", "input/more.0", "output/output.2"} <= set(names)
    inside = [n.op for n in graph.node if n.name.startswith("Twice/Linear[layer]/")]
    assert inside.count("matmul") == 2 and inside.count("Parameter") == 2
    assert "output/output.1 = IO Node(" in capsys.readouterr().out


def test_a_model_that_fails_leaves_no_hooks(tmp_path):
    model = nn.Linear(3, 2)
    with SummaryWriter(tmp_path) as w:
        with pytest.raises(RuntimeError):
            w.add_graph(model, flambeau.ones(2, 4))
        with pytest.raises(TypeError, match="input_to_model"):
            w.add_graph(model)
        assert model.training
        before = len(list(w.file_writer._file.waiting))
        model(flambeau.ones(2, 3)).sum().item()
        assert len(w.file_writer._file.waiting) == before
        with pytest.raises(NotSupportedError, match="ONNX"):
            w.add_onnx_graph("net.onnx")
