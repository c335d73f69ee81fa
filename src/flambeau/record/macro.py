"""``@function``: turns a plain library function into one that records itself as a single edge."""

from __future__ import annotations

import functools
import inspect
from contextlib import suppress
from types import FunctionType
from typing import TYPE_CHECKING, Any

from flambeau.ir.primitive import PRIMITIVES
from flambeau.record import alias, checking, flush
from flambeau.record.builder import shared, undo_binding
from flambeau.record.calls import (
    PLAIN,
    check,
    hit,
    into,
    is_default,
    miss,
    number_positions_of,
    recover,
    special,
)
from flambeau.record.keys import Function, key_of, number_key
from flambeau.record.single import apply, apply_held, apply_named, ops
from flambeau.record.trace import open_
from flambeau.record.wrappers import write_wrapper

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["function", "ops"]


shared.update(
    wrappers={}, number_positions={}, plain_positions={}, loose_positions={}, kinds={},
    defaults={}, positional={}, open_=open_, bind=alias.bind, key_of=key_of,
    number_key=number_key, miss=miss, hit=hit, check=check, recover=recover, special=special,
    into=into, flush=flush.flush, undo=undo_binding, D="default",
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


# So many calls of a function go without code of its own, which takes half a millisecond to write;
# calls in others' bodies, which come where these are new, are counted as this part of one.
UNWRITTEN, INSIDE = 3, 1 / 8


def _unwritten(*args: Any, **kwargs: Any) -> Any:
    """What a wrapper's code is at first."""
    return _plainly(_fn, args, kwargs)  # type: ignore[name-defined]  # noqa: F821


def plainly(fn: Function, args: tuple, kwargs: dict[str, Any]) -> Any:
    """What a wrapper's own code does, for any function."""
    wrapper = shared["wrappers"][fn]
    namespace = wrapper.__globals__
    tr = open_.trace
    namespace["_left"] -= 1 if tr.builder is None else INSIDE
    signature = fn.signature or described(fn)
    bound = None
    if namespace["_left"] >= 0 and "out" not in kwargs:
        with suppress(TypeError):
            bound = signature.bind(*args, **kwargs)
    if bound is None:
        # Where arguments do not fit, the code of its own says so.
        return write_wrapper(fn)(*args, **kwargs)
    bound.apply_defaults()
    given = tuple(bound.arguments.values())
    if tr.special:
        return special(tr, wrapper, fn, given)
    numbers = number_positions_of(fn)
    try:
        parts = []
        for i, v in enumerate(given):
            if is_default(fn, i, v):
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
        try:
            return recover(error, tr, wrapper, given, fn)
        finally:
            # Once more: an interrupt may have come while that was at it.
            undo_binding(tr)


def described(fn: Function) -> inspect.Signature:
    """The signature of a function; its parameters are noted for its calls."""
    signature = inspect.signature(getattr(fn.body, "signature_of", fn.body))
    params = list(signature.parameters.values())
    fn.parameters = tuple(p.name for p in params)
    shared["number_positions"][fn] = frozenset(
        i for i, p in enumerate(params) if "Number" in str(p.annotation)
    )
    shared["plain_positions"][fn] = {
        i: str(p.annotation) for i, p in enumerate(params) if str(p.annotation) in PLAIN
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
    fn.signature = signature
    return signature


_NODEFAULT = object()

shared.update(apply=apply, apply_named=apply_named, apply_held=apply_held, primitives=PRIMITIVES)
