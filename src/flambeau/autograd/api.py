"""``backward`` and ``grad``: gradients of several outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.autograd import engine
from flambeau.autograd.values import by_values
from flambeau.record.storage import Handle as Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["backward", "grad"]


def _listed(x: Any, count: int | None = None) -> list[Any]:
    if x is None:
        return [None] * (count or 0)
    return [x] if isinstance(x, Tensor) else list(x)


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Adds the gradients of ``tensors`` to the ``.grad`` of the leaves they depend on.

    ``grad_tensors`` weigh the elements; scalars need none. ``inputs`` restricts which leaves.
    Raises ``RuntimeError`` for tensors without history or a graph already freed.

    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> torch.autograd.backward(x * x)
    >>> x.grad
    tensor(6.)
    """
    outputs = _listed(tensors)
    weights = _listed(grad_tensors if grad_variables is None else grad_variables, len(outputs))
    if len(weights) != len(outputs):
        raise RuntimeError("got a different number of tensors and gradients")
    if inputs is not None:
        inputs = _listed(inputs)
        if not inputs:
            raise RuntimeError("`inputs` argument to `backward` cannot be empty.")
    retain = create_graph if retain_graph is None else retain_graph
    engine.run_backward(outputs, weights, retain, create_graph, inputs)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of ``outputs`` (weighed by ``grad_outputs``) with respect to ``inputs``.

    With ``create_graph`` they carry history themselves. Raises ``RuntimeError`` for an input that
    the outputs do not depend on, unless ``allow_unused`` (None) or ``materialize_grads`` (zeros).

    >>> x = torch.tensor(2.0, requires_grad=True)
    >>> torch.autograd.grad(x**3, x)
    (tensor(12.),)
    """
    outs, ins = _listed(outputs), _listed(inputs)
    weights = _listed(grad_outputs, len(outs))
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, "
            "but got: allow_unused=False."
        )
    retain = create_graph if retain_graph is None else retain_graph
    if is_grads_batched:
        return _batched(outs, ins, weights, create_graph, bool(allow_unused), materialize_grads)
    outs, weights = by_values(outs, weights)
    wanted = [t._values_ if t._is_sparse_layout else t for t in ins]  # type: ignore[attr-defined]
    seeds = engine.check_roots(outs, weights)
    with engine.Pass(retain, create_graph) as run:
        engine.collect(run, outs, seeds, wanted)
    results: list[Tensor | None] = []
    for i, t in enumerate(ins):
        g = run.captured.get(i)
        if g is None:
            if materialize_grads:
                g = engine.concrete(np.zeros(t.shape, t.dtype.numpy), t.dtype)
            elif not allow_unused:
                raise RuntimeError(
                    f"The differentiated Tensor at index {i} appears to not have been used in the "
                    "graph. Set allow_unused=True if this is the desired behavior."
                )
        elif not create_graph and g.requires_grad:
            g = g.detach()
        if g is not None and t._is_sparse_layout and not g._is_sparse_layout:  # type: ignore[attr-defined]
            g = t._with_values(g)  # type: ignore[attr-defined]
        results.append(g)
    return tuple(results)


def _batched(
    outs: list[Tensor],
    ins: list[Tensor],
    weights: list[Any],
    create: bool,
    allow_unused: bool,
    materialize: bool,
) -> tuple[Tensor | None, ...]:
    """Gradients for each of a batch of weights, stacked."""
    from flambeau.functions.joining import stack  # upward: stacking is a function

    count = weights[0].shape[0]
    rows = [
        grad(outs, ins, [w[i] for w in weights], True, create, True, allow_unused, False,
             materialize)
        for i in range(count)
    ]  # fmt: skip
    return tuple(None if column[0] is None else stack(column) for column in zip(*rows, strict=True))
