"""What is kept of a trace after a primitive failed on its values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.ir.graph import NUMBERS, Const
from flambeau.record.commit import attach_history, owned
from flambeau.record.plans import Plan, note_history, wants_history
from flambeau.record.storage import Storage
from flambeau.record.trace import Node, Trace, renew
from flambeau.run.interpreter import called

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry


def salvage(tr: Trace, arrays: list[Any], error: Exception) -> None:
    """After a primitive failed on its values: everything that does not depend on it is kept.

    What depends on it raises the same error whenever it is read; storages that were to be
    written keep their old value.
    """
    env: dict[int, Any] = {-1 - i: a for i, a in enumerate(arrays)}
    env.update({NUMBERS - i: n for i, n in enumerate(tr.numbers)})
    done: list[Entry] = []
    named = False
    with np.errstate(all="ignore"):
        for step, e in [(n, e) for n in tr.node.path() for e in n.entries]:
            if all(i.__class__ is Const or i in env for i in e.inputs):
                args = [i.value if i.__class__ is Const else env[i] for i in e.inputs]
                try:
                    result = called(e, args)
                except Exception as refusal:
                    # Its outputs stay absent; the first error is the one that is raised.
                    if not named and refusal.__class__ is error.__class__:
                        named = True
                        note_site(error, step)
                    continue
                env.update(
                    zip(e.outputs, (result,) if len(e.outputs) == 1 else result, strict=True)
                )
                done.append(e)
    failed = Trace(tr.state)
    failed.error = error
    failed.forget()
    taken = set(map(id, arrays))
    plan = Plan()
    plan.storages = tuple((j, 0) for j, s in enumerate(tr.pending) if s.slot in env)
    live = [(i, t._slot) for i, t in enumerate(tr.live)]
    plan.history = tuple((i, s) for i, s in live if wants_history(tr.live[i]))
    note_history(plan, tr.node, done, [s for _, s in plan.history if s in env])
    plan.spent |= {s for _, s in plan.history if s not in env}
    outs = [] if plan.spec is None else [env[s] for s in plan.spec.residuals]
    for s in tr.pending:
        if s.slot in env:
            s.memory = owned(env[s.slot], taken).reshape(s.shape)
        if s.memory is not None:
            s.trace = None
            s.plain = not s.shared and not s.foreign
        else:
            s.trace = failed
    for t in tr.live:
        if t._storage is None:
            if t._slot in env:
                t._storage = Storage(owned(env[t._slot], taken))
                t._trace = None
            else:
                t._trace = failed
    attach_history(tr, plan, outs, arrays, tr.node, ())
    renew(tr)


def note_site(error: Exception, step: Node) -> None:
    """Says in an error which call was refused, and where the user's code made it."""
    made = step.key[0] if step.key.__class__ is tuple else None
    name = getattr(made, "name", step.name)
    where = "" if step.site is None else " at {}:{}".format(*step.site)
    error.add_note(
        f"Raised by the call{where} ({str(name).strip('_')}): what is recorded is computed when a "
        "value is needed. What does not depend on it has been kept."
    )
