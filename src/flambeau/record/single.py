"""Primitives called on tensors: in a body part of its edge, else an edge of their own."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from flambeau.ir.primitive import PRIMITIVES
from flambeau.record import alias, checking, flush
from flambeau.record.absent import NoValues, by_rules
from flambeau.record.builder import new_tensor, run_body, shared, undo_binding
from flambeau.record.calls import drop_failed, explain_miss, hit
from flambeau.record.keys import Function, number_key, proxied, tensors_in
from flambeau.record.trace import LOCK, Trace, open_, renew

if TYPE_CHECKING:
    from collections.abc import Callable

    from flambeau.ir.primitive import Primitive


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
    except BaseException as error:
        try:
            if not isinstance(error, (alias.Restart, NoValues)):
                drop_failed(tr)
            undo_binding(tr)
        finally:
            # Once more: an interrupt may have come while the first was at it.
            undo_binding(tr)
        if isinstance(error, alias.Restart):
            (error.action or (lambda: flush.flush(open_.trace)))()
            return _apply_alone(name, open_.trace, prim, args, attrs, hold)
        if isinstance(error, NoValues):
            return by_rules(functools.partial(_given, name, prim, attrs), args, {})
        raise


def _given(name: str | None, prim: Primitive, attrs: dict[str, Any], *args: Any) -> Any:
    return apply_named(name, prim, args, attrs)


def _attr(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_attr, value))
    return (value, value.__class__)


_prim_functions: dict[Any, Function] = {}
