"""The code that is written for the calls of a function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.record import checking
from flambeau.record.builder import shared, tensor_class

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable

    from flambeau.record.keys import Function


def write_wrapper(fn: Function) -> Callable:
    """Gives the wrapper of ``fn`` its code."""
    wrapper = shared["wrappers"][fn]
    namespace = wrapper.__globals__
    if "_written" in namespace:
        # Another thread was first.
        return wrapper
    params = list(fn.signature.parameters.values())  # type: ignore[union-attr]
    namespace.update({f"_{k}": v for k, v in shared.items()})
    namespace.update({f"_d{i}": p.default for i, p in enumerate(params)})
    namespace.update(
        _fn=fn, _self=wrapper, _new=object.__new__, _class=tensor_class, _d_names=fn.parameters
    )
    scope: dict[str, Any] = {}
    source = wrapper_source(fn, params)
    exec(compile(source, f"<recorder of {fn.name}>", "exec"), namespace, scope)
    written = scope["wrapper"]
    wrapper.__defaults__ = written.__defaults__
    wrapper.__kwdefaults__ = written.__kwdefaults__
    wrapper.__code__ = written.__code__
    # The last: an interrupt may come before any of these lines, and then all are run again.
    namespace["_written"] = True
    return wrapper


def wrapper_source(fn: Function, params: list[inspect.Parameter]) -> str:
    """The code of a wrapper: a key, one look-up, one tensor. Its own names begin with ``_``."""
    numbers = shared["number_positions"][fn]
    lines, header = [], []
    for i, p in enumerate(params):
        annotation, v = str(p.annotation), p.name
        getter = "_number_key" if i in numbers else "_key_of"
        part = f"{getter}(_tr, {v}, _fn, {i})"
        when = "if"
        if p.default is not p.empty:
            lines += [f"        if {v} is _d{i}:", f"            _k{i} = _D"]
            when = "elif"
        if "Tensor" in annotation and "Sequence" not in annotation and "list" not in annotation:
            lines += [
                f"        {when} {v}.__class__ in _TENSORS:",
                f"            if {v}._trace is _tr:",
                f"                _k{i} = {v}._slot",
                # As ``bind`` does it, which counts the references to other storages.
                f"            elif {v}._storage is not None and {v}._storage.plain:",
                f"                _tr.inputs.append({v})",
                f"                {v}._trace = _tr",
                f"                {v}._slot = -len(_tr.inputs)",
                f"                _k{i} = {v}._meta",
                "            else:",
                f"                _k{i} = _bind(_tr, {v})",
            ]
            when = "elif"
        if when == "if":
            lines.append(f"        _k{i} = {part}")
        else:
            lines += ["        else:", f"            _k{i} = {part}"]
        if p.kind is p.KEYWORD_ONLY and "*" not in header:
            header.append("*")
        header.append(v if p.default is p.empty else f"{v}=_d{i}")
    arguments = "".join(f"{p.name}, " for p in params)
    into: list[str] = []
    if "out" not in fn.parameters:
        header += ["out=None"] if "*" in header else ["*", "out=None"]
        into = ["    if out is not None:", f"        return _into(out, _self, _fn, ({arguments}))"]
    return "\n".join(
        [
            f"def wrapper({', '.join(header)}):",
            *into,
            "    _tr = _open_.trace",
            "    if _tr.special:",
            f"        return _special(_tr, _self, _fn, ({arguments}))",
            "    try:",
            *lines,
            f"        _key = (_fn, {''.join(f'_k{i}, ' for i in range(len(params)))})",
            "        _node = _tr.node.edges.get(_key)",
            "        if _node is None:",
            f"            return _miss(_tr, _fn, _key, ({arguments}))",
            *([f"        _check(_tr, _fn, _node, ({arguments}))"] if checking.ENABLED else []),
            "        if _node.simple:",
            "            _tr.node = _node",
            "            _t = _new(_class[0])",
            "            _t._trace = _tr",
            "            _t._slot = _node.slot",
            "            _t._meta = _node.meta",
            "            _tr.live.append(_t)",
            "            if _node.cut or _tr.cut:",
            "                _flush(_tr)",
            "            return _t",
            f"        return _hit(_tr, _node, ({arguments}))",
            "    except BaseException as _error:",
            "        try:",
            f"            return _recover(_error, _tr, _self, ({arguments}), _fn)",
            "        finally:",
            # Once more: an interrupt may have come while that was at it.
            "            _undo(_tr)",
        ]
    )
