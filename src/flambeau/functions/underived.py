"""Results that have no derivative, though they are computed from what requires grad."""

from __future__ import annotations

from flambeau.functions.checks import _need_tensor
from flambeau.ir import numeric as _numeric  # noqa: F401  declares primitives used here
from flambeau.record.macro import function, ops
from flambeau.record.trace import open_
from flambeau.tensor import Tensor


def _underived(name: str, value: Tensor, of: Tensor) -> Tensor:
    """``value``, a floating result of ``of``: it requires grad if that does, and a backward that
    comes to it raises ``RuntimeError``.
    """
    _need_tensor(name, of)
    if not (of.requires_grad and open_.state.grad) or value.dtype.category < 2:
        return value
    return _tied(value, of, name)


@function(grad="NotImplemented")
def _tied(value: Tensor, of: Tensor, name: str) -> Tensor:
    m = value._meta
    return ops.rebase(value, ops.underived(of, name=name, shape=m.shape, dtype=m.dtype))
