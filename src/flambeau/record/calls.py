"""A call of a recorded function: its edge is taken, or made when it is seen first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.dtypes import PYTHON_TYPES, of_type
from flambeau.ir.scalars import fitted
from flambeau.record import alias, checking, flush
from flambeau.record.absent import NoValues, by_rules
from flambeau.record.builder import (
    Specialise,
    fill,
    new_tensor,
    run_body,
    shared,
    undo_binding,
    whole,
)
from flambeau.record.keys import Elsewhere, Function, proxied, tensors_in
from flambeau.record.overlap import refuse_reading
from flambeau.record.refusal import mistyped, no_tensor, of_kind
from flambeau.record.stats import stats
from flambeau.record.storage import Handle
from flambeau.record.trace import LOCK, Trace, is_special, open_, renew, watch
from flambeau.record.writes import write

if TYPE_CHECKING:
    from collections.abc import Callable


def given_to(tr: Trace, fn: Function, args: tuple) -> list[Any]:
    """The arguments as the body gets them."""
    counter = [tr.node.n_numbers]
    return [
        a if is_default(fn, i, a) else proxied(a, fn, i, i in number_positions_of(fn), counter)
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
        positional, keywords = arguments_of(fn, with_numbers(fn, args))
        return shared["wrappers"][fn](*positional, **keywords)
    for i, kind in shared["kinds"][fn]:
        if not of_kind(args[i], kind) and not is_default(fn, i, args[i]):
            raise mistyped(fn.name.strip("_"), fn.parameters[i], i, kind, args[i])
    given = given_to(tr, fn, args)
    tensors = tensors_in(args, [])
    try:
        node = run_body(tr, key, fn.name, tensors, lambda: call_body(fn, given))
    except Specialise as s:
        undo_binding(tr)
        fn.static.update(s.number.origin)
        return shared["wrappers"][fn](*arguments_of(fn, args)[0], **arguments_of(fn, args)[1])
    except flush.Asked:
        loose = [i for i in shared["loose_positions"][fn] if isinstance(args[i], Handle)]
        for i in loose:
            if args[i]._meta.shape:
                raise mistyped(fn.name.strip("_"), fn.parameters[i], i, "Number", args[i]) from None
        if not loose:
            raise
        # What it looked at may be a number given as a tensor.
        undo_binding(tr)
        found: list[Any] = list(args)
        for i in loose:
            found[i] = found[i].item()
        positional, keywords = arguments_of(fn, tuple(found))
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
PLAIN = {
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
            if m.shape or m.dtype.category not in PLAIN[kind]:
                raise mistyped(fn.name.strip("_"), fn.parameters[i], i, kind, t)
            found[i] = t.item()  # type: ignore[attr-defined]
    return tuple(found)


def explain_miss(tr: Trace, node: Any, fn: Function) -> None:
    """Notes a miss; ``trace.explain()`` works out why from the node it happened at."""
    stats.misses += 1
    stats.last_miss = (fn.name, node.key, tr.node)


def number_positions_of(fn: Function) -> frozenset[int]:
    return shared["number_positions"][fn]


def is_default(fn: Function, position: int, value: Any) -> bool:
    default = shared["defaults"][fn][position]
    return value is default


def arguments_of(fn: Function, args: tuple) -> tuple[tuple, dict]:
    """Positional and keyword-only parts of a full argument list."""
    count = shared["positional"][fn]
    return args[:count], dict(zip(fn.parameters[count:], args[count:], strict=True))


def call_body(fn: Function, given: list[Any]) -> Any:
    positional, keywords = arguments_of(fn, tuple(given))
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
    arguments = tensors_in(args, [])
    name = ""
    if node.effects:
        name = getattr(node.key[0], "name", "")
        refuse_reading(name, arguments, node.effects)
    fresh = [new_tensor(tr, slot, m) for slot, m in node.fresh]
    take(tr, node, fresh, arguments, name)
    template, places = node.template
    results = [fresh[new] if at is None else arguments[at] for at, new in places]
    if node.cut or tr.cut:
        flush.flush(tr)
    return fill(template, results)


def take(tr: Trace, node: Any, fresh: list[Any], arguments: list[Any], name: str = "") -> None:
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
                write(tr, arguments[at], slot, m, name)
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
        positional, keywords = arguments_of(fn, args)
        return wrapper(*positional, **keywords)
    if isinstance(error, NoValues):
        return by_rules(wrapper, *arguments_of(fn, args))
    if isinstance(error, Elsewhere):
        return error.tensor._redirected(fn.name, *arguments_of(fn, args))
    if any(a.__class__ is type and a in PYTHON_TYPES for a in args):
        # ``dtype=float``: nobody else takes a type.
        positional, keywords = arguments_of(fn, tuple(map(of_type, args)))
        return wrapper(*positional, **keywords)
    if isinstance(error, (AttributeError, TypeError)) and shared["taken_over"](wrapper, args):
        positional, keywords = arguments_of(fn, args)
        return wrapper(*positional, **keywords)
    if isinstance(error, AttributeError):
        body = getattr(fn.body, "signature_of", fn.body)
        refusal = no_tensor(body, fn.name.strip("_"), args, {})
        if refusal is not None:
            raise refusal from None
    raise error


def into(out: Any, wrapper: Callable, fn: Function, args: tuple) -> Any:
    """``out=``: the result is written to the tensors given."""
    positional, keywords = arguments_of(fn, args)
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
        return in_place_of(fn, *arguments_of(fn, args))
    positional, keywords = arguments_of(fn, args)
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
