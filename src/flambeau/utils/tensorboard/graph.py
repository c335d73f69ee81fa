"""A model's graph for TensorBoard, drawn from what one call of the model records."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from flambeau.autograd.modes import enable_grad
from flambeau.ir.graph import NUMBERS, Const, Entry
from flambeau.nn.module import (
    Module,
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from flambeau.record.flush import flush
from flambeau.record.trace import Node, Trace, open_, watch
from flambeau.tensor import Tensor
from flambeau.utils.tensorboard._package import proto

__all__ = ["graph"]


def graph(model: Module, args: Any, verbose: bool = False) -> Any:
    """The ``GraphDef`` of ``model(*args)``: a node for each primitive that the call records.

    ``args`` is a tensor, or a tuple or list of arguments. Nodes are grouped by the path of their
    module (``Net/Sequential[body]/Linear[0]``) and, where a function is made of several
    primitives, by function; edges carry the shapes of what they hand on. Parameters and buffers
    are nodes of the module that owns them. The model is called in evaluation mode, each submodule
    is put back as it was. ``verbose`` prints the nodes.

    Raises: ``TypeError`` without ``args``; whatever the call raises.
    """
    if args is None:
        raise TypeError("add_graph needs input_to_model: the tensors that the model is called with")
    args = tuple(args) if isinstance(args, tuple | list) else (args,)
    drawing = _Drawing(model)
    with _evaluating(model), enable_grad():
        result = drawing.call(args)
    drawing.end(result)
    if verbose:
        for node in drawing.nodes:
            print(f"{node.name} = {node.op}({', '.join(node.input)})")
    versions = proto("versions").VersionDef(producer=22)
    return proto("graph").GraphDef(node=drawing.nodes, versions=versions)


@contextmanager
def _evaluating(model: Module) -> Iterator[None]:
    modes = [(m, m.training) for m in model.modules()]
    model.train(False)
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


class _Watched:
    """What is known of one trace: its path so far, and its lists, which it drops at its flush."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.inputs = trace.inputs
        self.live = trace.live
        self.seen = len(trace.node.path())
        self.n_live = len(trace.live)
        # The name of the node that made each slot.
        self.names: dict[int, str] = {}


class _Drawing:
    """Collects nodes while a model runs.

    After every recorded call, and where modules begin and end, the steps that are new on the
    trace's path become nodes of the module that is running.
    """

    def __init__(self, model: Module) -> None:
        self.model = model
        self.nodes: list[Any] = []
        self.taken: dict[str, int] = {}
        self.root = type(model).__name__
        self.scopes = _scopes(model)
        self.stack = [self.root]
        # Which node made a tensor, by its identity; it is kept alive meanwhile.
        self.made: dict[int, tuple[Any, str]] = {}
        self.owners = _owners(model, self.scopes)
        self.drawn_owners: dict[int, str] = {}
        self.watched: _Watched | None = None
        self.strangers = itertools.count(1)

    def call(self, args: tuple) -> Any:
        flush(open_.trace)
        names = _argument_names(self.model, len(args))
        handles: list[Any] = []
        told = self._told
        try:
            self.watched = _Watched(open_.trace)
            args = tuple(self._input(name, a) for name, a in zip(names, args, strict=True))
            handles.append(register_module_forward_pre_hook(self._enter))
            handles.append(register_module_forward_hook(self._leave, always_call=True))
            watch.append(told)
            open_.trace.special = True
            result = self.model(*args)
            self._look()
            return result
        finally:
            if told in watch:
                watch.remove(told)
            for handle in handles:
                handle.remove()

    def end(self, result: Any) -> None:
        for i, t in enumerate(_tensors(result), 1):
            self._add(f"output/output.{i}", "IO Node", [self._source(t)], [t.shape])

    # --- while it runs ----------------------------------------------------------------------

    def _input(self, name: str, value: Any) -> Any:
        """An argument whose tensors are values of the trace: what is done to them is recorded,
        views included.
        """
        if isinstance(value, Tensor):
            copy = value.detach().clone().requires_grad_(value.requires_grad)
            node = self._add(f"input/{name}", "IO Node", [], [value.shape])
            self.made[id(copy)] = copy, node
            self._skip(copy, node)
            return copy
        if isinstance(value, tuple | list):
            parts = [self._input(f"{name}.{i}", v) for i, v in enumerate(value)]
            return type(value)._make(parts) if hasattr(value, "_make") else type(value)(parts)
        if isinstance(value, dict):
            return {k: self._input(f"{name}.{k}", v) for k, v in value.items()}
        return value

    def _skip(self, copy: Tensor, node: str) -> None:
        """The copy itself is no step of the model."""
        trace = open_.trace
        if self.watched is None or self.watched.trace is not trace:
            self.watched = _Watched(trace)
        self.watched.seen = len(trace.node.path())
        self.watched.n_live = len(trace.live)
        if copy._trace is trace:
            self.watched.names[copy._slot] = node

    def _enter(self, module: Module, args: Any) -> None:
        self._look()
        scope = self.scopes.get(id(module))
        self.stack.append(scope or f"{self.stack[-1]}/{type(module).__name__}")

    def _leave(self, module: Module, args: Any, output: Any) -> None:
        self._look()
        self.stack.pop()

    def _told(self, node: Node) -> None:
        self._look()

    def _look(self) -> None:
        """Draws the steps recorded since the last look."""
        watched = self.watched
        trace = open_.trace
        if watched is not None:
            self._draw_path(watched)
        if watched is None or watched.trace is not trace:
            self.watched = _Watched(trace)
            self.watched.seen = self.watched.n_live = 0
            self._draw_path(self.watched)

    def _draw_path(self, watched: _Watched) -> None:
        path = watched.trace.node.path()
        for node in path[watched.seen :]:
            self._draw_step(watched, node)
        watched.seen = len(path)
        for t in watched.live[watched.n_live :]:
            name = watched.names.get(t._slot)
            if name is not None:
                self.made[id(t)] = t, name
        watched.n_live = len(watched.live)

    def _draw_step(self, watched: _Watched, node: Node) -> None:
        if not node.entries:
            return
        scope = self.stack[-1]
        function = getattr(node.key[0], "name", node.name) if node.key else node.name
        function = function.strip("_")
        if len(node.entries) > 1:
            scope = self._unique(f"{scope}/{function}")
        for entry in node.entries:
            self._draw_entry(watched, scope, entry)

    def _draw_entry(self, watched: _Watched, scope: str, entry: Entry) -> None:
        sources = []
        details = []
        for slot in entry.inputs:
            if isinstance(slot, Const):
                details.append(repr(slot.value))
            elif slot > NUMBERS:
                sources.append(self._slot_source(watched, slot))
        details += [f"{k}={v!r}" for k, v in entry.attrs.items()]
        shapes = [a.shape for a in entry.out_avals]
        name = self._add(
            f"{scope}/{entry.prim.name}", entry.prim.name, sources, shapes, ", ".join(details)
        )
        for i, slot in enumerate(entry.outputs):
            watched.names[slot] = name if i == 0 else f"{name}:{i}"

    # --- where values come from -------------------------------------------------------------

    def _slot_source(self, watched: _Watched, slot: int) -> str:
        name = watched.names.get(slot)
        if name is None:
            bound = watched.inputs[-1 - slot] if -len(watched.inputs) <= slot < 0 else None
            name = watched.names[slot] = (
                self._stranger(None) if bound is None else self._source(bound)
            )
        return name

    def _source(self, t: Tensor) -> str:
        """The node that a tensor comes from: a step, a parameter, or something from outside."""
        if id(t) in self.made:
            return self.made[id(t)][1]
        watched = self.watched
        if watched is not None and t._storage is None and t._trace is watched.trace:
            return self._slot_source(watched, t._slot)
        if watched is not None and t._btrace is watched.trace and t._slot in watched.names:
            return watched.names[t._slot]
        owner = self.owners.get(id(t)) or self.owners.get(id(t._storage))
        if owner is None:
            name = self._sharer(t) or self._stranger(t)
        else:
            tensor, path, kind = owner
            if id(tensor) not in self.drawn_owners:
                self.drawn_owners[id(tensor)] = self._add(path, kind, [], [tensor.shape])
            name = self.drawn_owners[id(tensor)]
        self.made[id(t)] = t, name
        return name

    def _sharer(self, t: Tensor) -> str | None:
        """The node whose memory a view shows: those of concrete tensors may not be recorded."""
        if t._storage is None:
            return None
        return next((name for s, name in self.made.values() if s._storage is t._storage), None)

    def _stranger(self, t: Tensor | None) -> str:
        """A value that no step of the graph made: a tensor from outside the model."""
        shapes = [] if t is None else [t.shape]
        return self._add(f"{self.stack[-1]}/constant_{next(self.strangers)}", "Const", [], shapes)

    # --- nodes ------------------------------------------------------------------------------

    def _unique(self, name: str) -> str:
        count = self.taken.get(name, 0)
        self.taken[name] = count + 1
        return self._unique(f"{name}_{count}") if count else name

    def _add(
        self,
        name: str,
        op: str,
        sources: Iterable[str],
        shapes: Iterable[Iterable[int]],
        details: str = "",
    ) -> str:
        name = self._unique(name)
        values, sizes = proto("attr_value"), proto("tensor_shape").TensorShapeProto
        listed = [sizes(dim=[sizes.Dim(size=n) for n in shape]) for shape in shapes]
        node = proto("node_def").NodeDef(name=name, op=op, input=sources)
        node.attr["_output_shapes"].CopyFrom(
            values.AttrValue(list=values.AttrValue.ListValue(shape=listed))
        )
        if details:
            node.attr["attr"].s = details.encode()
        self.nodes.append(node)
        return name


def _scopes(model: Module) -> dict[int, str]:
    """The group of each module's nodes, by the module's identity: its path with its classes."""
    paths = {"": type(model).__name__}
    scopes = {}
    for path, module in model.named_modules():
        if path:
            parent, _, name = path.rpartition(".")
            paths[path] = f"{paths[parent]}/{type(module).__name__}[{name}]"
        scopes[id(module)] = paths[path]
    return scopes


def _owners(model: Module, scopes: dict[int, str]) -> dict[int, tuple[Tensor, str, str]]:
    """(tensor, node, kind) of parameters and buffers, by identity, and by their storage's."""
    found: dict[int, tuple[Tensor, str, str]] = {}
    for module in model.modules():
        scope = scopes[id(module)]
        for kind, named in (
            ("Parameter", module.named_parameters(recurse=False)),
            ("Buffer", module.named_buffers(recurse=False)),
        ):
            for name, t in named:
                found.setdefault(id(t), (t, f"{scope}/{name}", kind))
                if t._storage is not None:
                    found.setdefault(id(t._storage), (t, f"{scope}/{name}", kind))
    return found


def _argument_names(model: Module, count: int) -> list[str]:
    """What ``forward`` calls its arguments."""
    names = []
    for p in inspect.signature(model.forward).parameters.values():
        if p.kind is p.VAR_POSITIONAL:
            names += [f"{p.name}.{i}" for i in range(count - len(names))]
        elif p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            names.append(p.name)
    return (names + [f"argument.{i}" for i in range(len(names), count)])[:count]


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)
