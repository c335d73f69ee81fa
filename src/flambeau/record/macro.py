"""``@function``: turns a plain library function into one that records itself as a single edge."""

from __future__ import annotations

import functools
import inspect
import struct
from contextlib import suppress
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.dtypes import PYTHON_TYPES, of_type
from flambeau.ir.graph import NUMBERS
from flambeau.ir.primitive import PRIMITIVES
from flambeau.ir.scalars import fitted
from flambeau.record import alias, checking, flush
from flambeau.record.builder import (
    Num,
    Specialise,
    fill,
    new_tensor,
    run_body,
    shared,
    undo_binding,
    whole,
)
from flambeau.record.refusal import mistyped, no_tensor, of_kind
from flambeau.record.storage import Handle
from flambeau.record.trace import LOCK, Trace, is_special, open_, renew, watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from flambeau.ir.primitive import Primitive


class Function:
    """A library function as record sees it: its body and how its parameters enter the key."""

    __slots__ = ("name", "body", "static", "parameters", "grad_name", "whole", "__weakref__")

    def __init__(
        self,
        name: str,
        body: Callable,
        grad_name: str | Callable[[dict[str, Any]], str] | None,
        wholly: bool = False,
    ) -> None:
        self.name = name
        self.body = body
        # Parameters whose numbers were looked at by the body: attributes from then on.
        self.static: set[int] = set()
        self.parameters: tuple[str, ...] = ()
        self.grad_name = grad_name
        # Whether its gradients are one function of all its tensors (``builder.whole``).
        self.whole = wholly


class Elsewhere(NotImplementedError):
    """A recorded function met a tensor that no trace can hold, and that knows who takes the call.

    Such a tensor raises this when it is bound (asked for its storage); it has ``_redirected(name,
    args, kwargs)``.
    """

    def __init__(self, tensor: Any) -> None:
        super().__init__(
            "Could not run this operation with arguments from the "
            f"'{tensor._kind}CPU' backend: it has no meaning for this layout."
        )
        self.tensor = tensor


# -------------------------------------------------------------------------------- keys


def key_of(tr: Trace, value: Any, fn: Function, position: int) -> Any:
    """What an argument adds to the key of a call; binds tensors and notes run-time numbers."""
    kind = value.__class__
    if kind is float:
        if position in fn.static:
            return ("f", struct.pack("d", value))
        tr.numbers.append(value)
        return float
    if isinstance(value, Handle):
        return value._slot if value._trace is tr else alias.bind(tr, value)
    if kind is int:
        return (value,)
    if value is None or kind is str:
        return value
    if kind is bool:
        return ("b", value)
    if kind is complex:
        return ("c", struct.pack("dd", value.real, value.imag))
    if kind in (tuple, list):
        return (kind, *[key_of(tr, v, fn, position) for v in value])
    if isinstance(value, tuple):
        return (kind, *[key_of(tr, v, fn, position) for v in value])
    if isinstance(value, slice):
        return ("s", *[key_of(tr, v, fn, position) for v in (value.start, value.stop, value.step)])
    if isinstance(value, int):
        return (int(value), kind)
    if isinstance(value, np.generic):
        return key_of(tr, value.item(), fn, position)
    if isinstance(value, float):
        tr.numbers.append(float(value))
        return float
    if kind.__hash__ is None:
        raise TypeError(f"{fn.name}(): argument of type {kind.__name__} is not understood")
    return ("o", value)


def number_key(tr: Trace, value: Any, fn: Function, position: int) -> Any:
    """The same for a parameter declared as a number: integers, too, are given at run time."""
    if isinstance(value, np.generic):
        value = value.item()
    if value.__class__ is int and position not in fn.static:
        tr.numbers.append(value)
        return int
    return key_of(tr, value, fn, position)


def proxied(value: Any, fn: Function, position: int, integers: bool, counter: list[int]) -> Any:
    """An argument as the body gets it: run-time numbers become proxies, in the order of keys."""
    if isinstance(value, np.generic):
        value = value.item()
    kind = value.__class__
    if (
        kind is float
        or (integers and kind is int)
        or (isinstance(value, float) and not isinstance(value, Handle))
    ):
        if position in fn.static and kind in (int, float):
            return value
        slot = NUMBERS - counter[0]
        counter[0] += 1
        plain = float(value) if isinstance(value, float) else value
        return Num(slot, plain.__class__, (position,), plain)
    if kind in (tuple, list):
        return kind(proxied(v, fn, position, False, counter) for v in value)
    return value


def tensors_in(args: Any, found: list[Any]) -> list[Any]:
    """The tensors among arguments, in order."""
    for a in args:
        if isinstance(a, Handle):
            found.append(a)
        elif a.__class__ in (tuple, list):
            tensors_in(a, found)
    return found


# --------------------------------------------------------------------------- the slow side


def given_to(tr: Trace, fn: Function, args: tuple) -> list[Any]:
    """The arguments as the body gets them."""
    counter = [tr.node.n_numbers]
    return [
        a if _is_default(fn, i, a) else proxied(a, fn, i, i in _number_positions(fn), counter)
        for i, a in enumerate(args)
    ]


def check(tr: Trace, fn: Function, node: Any, args: tuple) -> None:
    """``FLAMBEAU_CHECK_MACROS``: the body of a call that is known runs again."""
    given = given_to(tr, fn, args)
    checking.check(tr, node, fn.name, tensors_in(args, []), lambda: call_body(fn, given))


def miss(tr: Trace, fn: Function, key: Any, args: tuple) -> Any:
    """A call not seen on this path: its body runs."""
    if any([isinstance(args[i], Handle) for i in shared["plain_positions"][fn]]):
        undo_binding(tr)
        positional, keywords = _arguments(fn, with_numbers(fn, args))
        return shared["wrappers"][fn](*positional, **keywords)
    for i, kind in shared["kinds"][fn]:
        if not of_kind(args[i], kind) and not _is_default(fn, i, args[i]):
            raise mistyped(fn.name.strip("_"), fn.parameters[i], i, kind, args[i])
    given = given_to(tr, fn, args)
    tensors = tensors_in(args, [])
    try:
        node = run_body(tr, key, fn.name, tensors, lambda: call_body(fn, given))
    except Specialise as s:
        undo_binding(tr)
        fn.static.update(s.number.origin)
        return shared["wrappers"][fn](*_arguments(fn, args)[0], **_arguments(fn, args)[1])
    except flush.Asked:
        loose = shared["loose_positions"][fn]
        if not any([isinstance(args[i], Handle) and not args[i]._meta.shape for i in loose]):
            raise
        # What it looked at may be a number given as a tensor.
        undo_binding(tr)
        found: list[Any] = list(args)
        for i in loose:
            if isinstance(args[i], Handle):
                found[i] = found[i].item()
        positional, keywords = _arguments(fn, tuple(found))
        return shared["wrappers"][fn](*positional, **keywords)
    if node.length > flush.LENGTH and not node.cut:
        node.cut = True
    name = fn.grad_name
    if name:
        chosen = name.__class__ is not str
        node.name = name(dict(zip(fn.parameters, given, strict=True))) if chosen else name  # type: ignore[operator]
    explain_miss(tr, node, fn)
    return hit(tr, node, args)


# Parameters that are numbers to a body: PyTorch takes tensors of one number for them, too.
_PLAIN = {
    "int": (0, 1), "int | None": (0, 1), "float": (0, 1, 2), "float | None": (0, 1, 2),
    "Number": (0, 1, 2, 3), "Number | None": (0, 1, 2, 3),
}  # fmt: skip


def with_numbers(fn: Function, args: tuple) -> tuple:
    """The arguments with the values of tensors that stand for numbers."""
    found = list(args)
    for i, kind in shared["plain_positions"][fn].items():
        t = args[i]
        if isinstance(t, Handle):
            m = t._meta
            if m.shape or m.dtype.category not in _PLAIN[kind]:
                raise mistyped(fn.name.strip("_"), fn.parameters[i], i, kind, t)
            found[i] = t.item()  # type: ignore[attr-defined]
    return tuple(found)


def explain_miss(tr: Trace, node: Any, fn: Function) -> None:
    """Notes a miss; ``trace.explain()`` works out why from the node it happened at."""
    flush.stats.misses += 1
    flush.stats.last_miss = (fn.name, node.key, tr.node)


def _number_positions(fn: Function) -> frozenset[int]:
    return shared["number_positions"][fn]


def _is_default(fn: Function, position: int, value: Any) -> bool:
    default = shared["defaults"][fn][position]
    return value is default


def _arguments(fn: Function, args: tuple) -> tuple[tuple, dict]:
    """Positional and keyword-only parts of a full argument list."""
    count = shared["positional"][fn]
    return args[:count], dict(zip(fn.parameters[count:], args[count:], strict=True))


def call_body(fn: Function, given: list[Any]) -> Any:
    positional, keywords = _arguments(fn, tuple(given))
    return in_place_of(fn, positional, keywords)


def in_place_of(fn: Function, args: tuple, keywords: dict[str, Any]) -> Any:
    """The call of a function while an edge is under construction: its body."""
    result = fn.body(*args, **keywords)
    if fn.whole:
        # No kernel for gradients reads a bias.
        read = [a for name, a in zip(fn.parameters, (*args, *keywords.values())) if name != "bias"]
        whole(result, *tensors_in(read, []))
    return result


def hit(tr: Trace, node: Any, args: tuple) -> Any:
    """Takes an edge whose results are more than one fresh tensor, or whose numbers have limits."""
    for at, least, greatest, dtype in node.limits:
        if not least <= tr.numbers[at] <= greatest:
            fitted(tr.numbers[at], dtype)
    if node.simple:
        tr.node = node
        t = new_tensor(tr, node.slot, node.meta)
        tr.live.append(t)
        if node.cut or tr.cut:
            flush.flush(tr)
        return t
    fresh = [new_tensor(tr, slot, m) for slot, m in node.fresh]
    arguments = tensors_in(args, [])
    take(tr, node, fresh, arguments)
    template, places = node.template
    results = [fresh[new] if at is None else arguments[at] for at, new in places]
    if node.cut or tr.cut:
        flush.flush(tr)
    return fill(template, results)


def take(tr: Trace, node: Any, fresh: list[Any], arguments: list[Any]) -> None:
    """Moves to ``node`` and does its writes: wholly, even if interrupted."""
    interrupt = None
    stage = 0
    while True:
        try:
            if stage == 0:
                tr.node = node
                stage = 1
            if stage == 1:
                tr.live.extend(fresh)
                stage = 2
            while stage - 2 < len(node.effects):
                at, slot, m = node.effects[stage - 2]
                alias.write(tr, arguments[at], slot, m, effect=stage)
                if arguments[at]._retains or alias.root(arguments[at])._retains:
                    shared["follow"](arguments[at])
                stage += 1
            break
        except KeyboardInterrupt as e:
            interrupt = e
    if interrupt is not None:
        raise interrupt


def recover(error: BaseException, tr: Trace, wrapper: Callable, args: tuple, fn: Function) -> Any:
    """After an error while a key was built: nothing stays bound; a restart is tried again."""
    drop_failed(tr)
    undo_binding(tr)
    if isinstance(error, alias.Restart):
        (error.action or (lambda: flush.flush(open_.trace)))()
        positional, keywords = _arguments(fn, args)
        return wrapper(*positional, **keywords)
    if isinstance(error, Elsewhere):
        return error.tensor._redirected(fn.name, *_arguments(fn, args))
    if any(a.__class__ is type and a in PYTHON_TYPES for a in args):
        # ``dtype=float``: nobody else takes a type.
        positional, keywords = _arguments(fn, tuple(map(of_type, args)))
        return wrapper(*positional, **keywords)
    if isinstance(error, AttributeError):
        refusal = no_tensor(fn.body, fn.name.strip("_"), args, {})
        if refusal is not None:
            raise refusal from None
    raise error


def into(out: Any, wrapper: Callable, fn: Function, args: tuple) -> Any:
    """``out=``: the result is written to the tensors given."""
    positional, keywords = _arguments(fn, args)
    result = wrapper(*positional, **keywords)
    return shared["write_out"](out, result, fn.name, tensors_in(args, []))


def drop_failed(tr: Trace) -> None:
    """Takes back the call whose primitive raised on its values: the rest of the trace is sound."""
    node = tr.node
    if not tr.closed and node.cut == "raises":
        count = len(node.fresh)
        if count:
            del tr.live[-count:]
        tr.node = node.parent


def special(tr: Trace, wrapper: Callable, fn: Function, args: tuple) -> Any:
    """A call while a body runs (its own body runs in place), or under a lock between threads."""
    if tr.builder is not None:
        return in_place_of(fn, *_arguments(fn, args))
    positional, keywords = _arguments(fn, args)
    if tr.closed:
        renew(tr)
        return wrapper(*positional, **keywords)
    with LOCK:
        if tr.closed:
            # By another thread that needed its values, while this one waited.
            renew(tr)
            tr = open_.trace
        tr.special = False
        try:
            result = wrapper(*positional, **keywords)
            for told in watch:
                told(open_.trace.node)
            return result
        finally:
            tr.special = open_.trace.special = is_special()


# ------------------------------------------------------------------------------ the decorator

shared.update(
    wrappers={}, number_positions={}, plain_positions={}, loose_positions={}, kinds={},
    defaults={}, positional={}, open_=open_, bind=alias.bind, key_of=key_of,
    number_key=number_key, miss=miss, hit=hit, check=check, recover=recover, special=special,
    into=into, flush=flush.flush, D="default",
)  # fmt: skip


def function(
    body: Callable | None = None,
    *,
    grad: str | Callable[[dict[str, Any]], str] | None = None,
    whole: bool = False,
) -> Any:
    """Makes ``body``, a pure function of tensors, attributes and numbers, record as one edge.

    A parameter annotated with ``Number`` takes integers as run-time numbers, floats always are;
    everything else is an attribute. ``grad`` names its ``grad_fn`` (default: from the
    name), or gives the name for a call's arguments. ``whole``: its gradients are one function of
    all its tensors but ``bias`` (``builder.whole``).

    The wrapper's code is written when it is called for the fourth time: the library has hundreds of
    functions, of which a script needs a few.
    """
    if body is None:
        return lambda b: function(b, grad=grad, whole=whole)
    name = body.__name__
    grad_name = grad or "".join(p.capitalize() for p in name.strip("_").split("_")) + "Backward0"
    fn = Function(name, body, grad_name, whole)
    namespace: dict[str, Any] = {"_fn": fn, "_plainly": plainly, "_left": UNWRITTEN}
    wrapper = FunctionType(_unwritten.__code__, namespace, name)
    functools.update_wrapper(wrapper, body)
    shared["wrappers"][fn] = wrapper
    return wrapper


# So many calls of a function go without code of its own, which takes half a millisecond to write.
UNWRITTEN = 3


def _unwritten(*args: Any, **kwargs: Any) -> Any:
    """What a wrapper's code is at first."""
    return _plainly(_fn, args, kwargs)  # type: ignore[name-defined]  # noqa: F821


def plainly(fn: Function, args: tuple, kwargs: dict[str, Any]) -> Any:
    """What a wrapper's own code does, for any function."""
    wrapper = shared["wrappers"][fn]
    namespace = wrapper.__globals__
    namespace["_left"] -= 1
    params = described(fn)
    bound = None
    if namespace["_left"] >= 0 and "out" not in kwargs:
        with suppress(TypeError):
            bound = inspect.Signature(params).bind(*args, **kwargs)
    if bound is None:
        # Where arguments do not fit, the code of its own says so.
        return _write_wrapper(fn, params)(*args, **kwargs)
    bound.apply_defaults()
    given = tuple(bound.arguments.values())
    tr = open_.trace
    if tr.special:
        return special(tr, wrapper, fn, given)
    numbers = _number_positions(fn)
    try:
        parts = []
        for i, v in enumerate(given):
            if _is_default(fn, i, v):
                parts.append(shared["D"])
            else:
                parts.append((number_key if i in numbers else key_of)(tr, v, fn, i))
        key = (fn, *parts)
        node = tr.node.edges.get(key)
        if node is None:
            return miss(tr, fn, key, given)
        if checking.ENABLED:
            check(tr, fn, node, given)
        return hit(tr, node, given)
    except BaseException as error:
        return recover(error, tr, wrapper, given, fn)


def described(fn: Function) -> list[inspect.Parameter]:
    """The parameters of a function, noted for its calls."""
    signature = inspect.signature(getattr(fn.body, "signature_of", fn.body))
    params = list(signature.parameters.values())
    if fn not in shared["positional"]:
        fn.parameters = tuple(p.name for p in params)
        shared["number_positions"][fn] = frozenset(
            i for i, p in enumerate(params) if "Number" in str(p.annotation)
        )
        shared["plain_positions"][fn] = {
            i: str(p.annotation) for i, p in enumerate(params) if str(p.annotation) in _PLAIN
        }
        shared["kinds"][fn] = [
            (i, str(p.annotation))
            for i, p in enumerate(params)
            if str(p.annotation) in ("int", "bool", "str")
        ]
        shared["loose_positions"][fn] = frozenset(
            i for i, p in enumerate(params) if "Tensor" not in str(p.annotation)
        )
        shared["defaults"][fn] = [_NODEFAULT if p.default is p.empty else p.default for p in params]
        shared["positional"][fn] = sum(p.kind is not p.KEYWORD_ONLY for p in params)
    return params


def _write_wrapper(fn: Function, params: list[inspect.Parameter]) -> Callable:
    """Gives the wrapper of ``fn`` its code."""
    wrapper = shared["wrappers"][fn]
    namespace = wrapper.__globals__
    if "_d_names" in namespace:
        # Another thread was first.
        return wrapper
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
            f"        return _recover(_error, _tr, _self, ({arguments}), _fn)",
        ]
    )


_NODEFAULT = object()
tensor_class: list[type] = [Handle]


def register(tensor: type) -> None:
    """Tells record the class of tensors."""
    tensor_class[0] = tensor
    shared["Tensor"] = tensor
    shared["TENSORS"].add(tensor)


class Operations:
    """Primitives as functions of tensors: ``ops.exp(x)``."""

    def __getattr__(self, name: str) -> Callable:
        prim = PRIMITIVES.get(name) or PRIMITIVES.get(name.rstrip("_"))
        if prim is None:
            raise AttributeError(f"no primitive {name!r}")
        bound = functools.partial(apply, prim)
        setattr(self, name, bound)
        return bound


ops = Operations()


def apply(prim: Primitive, *args: Any, **attrs: Any) -> Any:
    """A primitive on tensors and numbers: in a body part of its edge, else an edge of its own."""
    return apply_named(None, prim, args, attrs)


def apply_named(name: str | None, prim: Primitive, args: tuple, attrs: dict[str, Any]) -> Any:
    """``apply``, with the ``grad_fn`` name of the call."""
    tr = open_.trace
    if tr.builder is not None:
        return tr.builder.apply(prim, args, attrs)
    if tr.closed:
        renew(tr)
        return apply_named(name, prim, args, attrs)
    if tr.special:
        with LOCK:
            return _apply_alone(name, tr, prim, args, attrs)
    return _apply_alone(name, tr, prim, args, attrs)


def apply_held(name: str, prim: Primitive, args: tuple, attrs: dict[str, Any]) -> Any:
    """``apply_named`` in the middle of a write: a flush that is due waits for the write's end."""
    tr = open_.trace
    if tr.closed:
        renew(tr)
        tr = open_.trace
    with LOCK:
        return _apply_alone(name, tr, prim, args, attrs, hold=True)


def _apply_alone(
    name: str | None,
    tr: Trace,
    prim: Primitive,
    args: tuple,
    attrs: dict[str, Any],
    hold: bool = False,
) -> Any:
    fn = _prim_functions.get((prim, name))
    if fn is None:
        fn = _prim_functions[prim, name] = Function(prim.name, prim, name)
        shared["defaults"][fn] = ()
    try:
        keys = [number_key(tr, a, fn, 0) for a in args]
        key = (fn, *keys, *[(k, _attr(v)) for k, v in attrs.items()])
        node = tr.node.edges.get(key)
        if node is None:
            counter = [tr.node.n_numbers]
            given = [proxied(a, fn, 0, True, counter) for a in args]
            node = run_body(
                tr, key, name or prim.name.capitalize() + "Backward0", tensors_in(args, []),
                lambda: tr.builder.apply(prim, given, attrs),
            )  # fmt: skip
            if node.length > flush.LENGTH and not node.cut:
                node.cut = True
            explain_miss(tr, node, fn)
        elif checking.ENABLED:
            counter = [tr.node.n_numbers]
            given = [proxied(a, fn, 0, True, counter) for a in args]
            checking.check(
                tr,
                node,
                prim.name,
                tensors_in(args, []),
                lambda: tr.builder.apply(prim, given, attrs),
            )
        if not hold:
            return hit(tr, node, args)
        tr.node = node
        t = new_tensor(tr, node.slot, node.meta)
        tr.live.append(t)
        tr.cut = tr.cut or bool(node.cut)
        return t
    except alias.Restart as restart:
        undo_binding(tr)
        (restart.action or (lambda: flush.flush(open_.trace)))()
        return _apply_alone(name, open_.trace, prim, args, attrs, hold)
    except BaseException:
        drop_failed(tr)
        undo_binding(tr)
        raise


def _attr(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_attr, value))
    return (value, value.__class__)


_prim_functions: dict[Any, Function] = {}
shared.update(apply=apply, apply_named=apply_named, apply_held=apply_held, primitives=PRIMITIVES)
