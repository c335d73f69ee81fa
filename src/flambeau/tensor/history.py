"""A tensor's place in the history: whether it requires grad, its gradient, its hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.autograd import engine
from flambeau.dtypes import dtype
from flambeau.record import alias, flush
from flambeau.record.builder import tensor_class
from flambeau.record.meta import meta
from flambeau.record.storage import (
    Handle,
)
from flambeau.record.trace import open_

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flambeau.tensor import Tensor


class History(Handle):
    """The part of ``Tensor`` that autograd is about."""

    def _settled(self) -> None:
        """Takes over what a write through another alias means for this tensor."""
        storage = self._storage
        if storage is not None and storage.shared and storage.trace is not None:
            if self._btrace is storage.trace and self._seen == storage.version:
                return
            if storage.trace is open_.trace and not open_.trace.closed:
                origin = alias.root(self)
                if not (origin._meta.leaf and origin._meta.requires_grad):
                    alias.refresh(open_.trace, self)
        elif self._base is not None and storage.trace is None and open_.trace.builder is None:
            if not open_.trace.closed:
                alias.revive(open_.trace, self)

    @property
    def requires_grad(self) -> bool:
        if self._storage is not None and self._storage.shared:
            self._settled()
        return self._meta.requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Sets whether gradients are recorded for this leaf; gives it back.

        Raises ``RuntimeError`` for a non-leaf or a dtype that is not differentiable.
        """
        m = self._meta
        if m.requires_grad and not m.leaf:
            if requires_grad:
                return self
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a "
                "computed variable in a subgraph that doesn't require differentiation use "
                "var_no_grad = var.detach()."
            )
        if requires_grad and not (m.dtype.is_floating_point or m.dtype.is_complex):
            raise RuntimeError(
                "only Tensors of floating point and complex dtype can require gradients"
            )
        if requires_grad != m.requires_grad:
            if self._storage is None or self._storage.trace is not None:
                self._value()
            if self._trace is not None or self._btrace is not None:
                # Bound as something else: it binds anew.
                self._trace = self._btrace = None
                self._seen = -1
            self._meta = meta(m.shape, m.dtype, bool(requires_grad), True, m.order)
        return self

    @property
    def is_leaf(self) -> bool:
        self._settled()
        return self._meta.leaf

    @property
    def grad(self) -> Tensor | None:
        if (
            self._grad is None
            and self._meta.requires_grad
            and not self._meta.leaf
            and (not self._retains)
        ):
            import warnings

            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its "
                ".grad attribute won't be populated during autograd.backward(). If you indeed "
                "want the .grad field to be populated for a non-leaf Tensor, use .retain_grad() "
                "on the non-leaf Tensor.",
                UserWarning,
                stacklevel=2,
            )
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Handle):
                raise TypeError(
                    f"assigned grad expected to be a Tensor or None but got {type(value).__name__}"
                )
            if value._meta.shape != self._meta.shape:
                raise RuntimeError(
                    f"assigned grad has data of a different size: expected {list(self.shape)}, "
                    f"got {list(value.shape)}"
                )
            kind = self._meta.dtype if self._grad_kind is None else self._grad_kind[0]
            if kind is not None and value._meta.dtype is not kind:
                raise RuntimeError(
                    f"attempting to assign a gradient with dtype {value._meta.dtype.name!r} to a "
                    f"tensor with grad_dtype {kind.name!r}: assigned grad has data of a different "
                    "type"
                )
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    @property
    def grad_dtype(self) -> Any:
        """The dtype that gradients are cast to: by default the tensor's. None: ``grad`` takes any.

        Raises ``RuntimeError`` for a tensor that is no leaf, and where there is a gradient of
        another dtype.
        """
        if not self.is_leaf:
            raise RuntimeError("grad_dtype can only be accessed on leaf tensors.")
        return self._meta.dtype if self._grad_kind is None else self._grad_kind[0]

    @grad_dtype.setter
    def grad_dtype(self, value: Any) -> None:
        if not self.is_leaf:
            raise RuntimeError("grad_dtype can only be set on leaf tensors.")
        if value is not None and not isinstance(value, dtype):
            raise RuntimeError(
                f"grad_dtype must be a torch.dtype or None, but got {type(value).__name__}"
            )
        if self._grad is not None and value is not None and self._grad._meta.dtype is not value:
            raise RuntimeError(
                f"Cannot set grad_dtype to {value.name!r} because there is already a gradient with "
                f"dtype {self._grad._meta.dtype.name!r}. Please clear the gradient (.grad = None) "
                "before changing grad_dtype."
            )
        if self._grad_kind is not None and self._grad_kind[1] is not None:
            self._grad_kind[1].remove()
        hook = None
        if self._meta.requires_grad and value not in (None, self._meta.dtype):
            hook = self.register_hook(lambda g: g.to(value))
        self._grad_kind = value, hook

    @property
    def grad_fn(self) -> Any:
        self._settled()
        if self._meta.leaf:
            return None
        from flambeau.autograd.nodes import node_of  # upward: built only when looked at

        return node_of(self)

    @property
    def retains_grad(self) -> bool:
        return self._retains

    @property
    def output_nr(self) -> int:
        return 0

    @property
    def _version(self) -> int:
        return alias.version_of(self)

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Sequence[Tensor] | None = None,
    ) -> None:
        """Adds the gradients of this tensor to the ``.grad`` of the leaves it depends on.

        ``gradient`` (same shape) weighs the elements; a scalar needs none. Raises
        ``RuntimeError`` for a second pass without ``retain_graph``.
        """
        retain = create_graph if retain_graph is None else retain_graph
        if inputs is not None and isinstance(inputs, Handle):
            inputs = [inputs]
        engine.run_backward([self], [gradient], retain, create_graph, inputs)

    def detach(self) -> Tensor:
        """The same memory, without history."""
        return alias.detached(self)

    def detach_(self) -> Tensor:
        """Forgets the history of this tensor."""
        if self._base is not None and self._meta.requires_grad:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self._value()
        self._hist = None
        self._trace = self._btrace = None
        self._meta = meta(self._meta.shape, self._meta.dtype)
        return self

    @property
    def data(self) -> Tensor:
        return alias.detached(self)

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Handle):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        value._value()
        flush.settled(self)
        alias.share(value)
        self._storage, self._spec, self._base = value._storage, value._spec, None
        if value._spec is not None:
            base = object.__new__(tensor_class[0])
            base._meta = meta(value._storage.shape, value._meta.dtype)
            base._storage = value._storage
            self._base = base
        self._trace = self._btrace = None
        self._seen = -1
        m, v = self._meta, value._meta
        self._meta = meta(v.shape, v.dtype, m.requires_grad, m.leaf, v.order)

    def retain_grad(self) -> None:
        """Has ``backward`` keep the gradient of this non-leaf in its ``.grad``."""
        if not self.requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self._meta.leaf or self._retains:
            return
        self._retains = True
        import weakref

        me = weakref.ref(self)

        def keep(g: Tensor) -> None:
            t = me()
            if t is not None:
                if t._grad is None:
                    t._grad = alias.detached(g) if not g._meta.requires_grad else g
                else:
                    t._grad = t._grad + g  # type: ignore[operator]

        self._keep = (_hook_slot(self, keep), keep)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Any:
        """Calls ``hook`` with the gradient of this tensor in each backward; it may replace it."""
        from flambeau.utils.hooks import RemovableHandle  # upward: a plain helper class

        if not self._meta.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if self._meta.leaf:
            if self._hooks is None:
                self._hooks = {}
        else:
            self._hooks = engine.hooks_at(self, self._hooks)
        handle = RemovableHandle(self._hooks)
        self._hooks[handle.id] = hook
        return handle

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> Any:
        """Calls ``hook`` with this leaf after its ``.grad`` was accumulated."""
        from flambeau.utils.hooks import RemovableHandle  # upward: a plain helper class

        if not self._meta.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if not self._meta.leaf:
            raise RuntimeError(
                "post accumulate grad hooks cannot be registered on non-leaf tensors"
            )
        if self._post_hooks is None:
            self._post_hooks = {}
        handle = RemovableHandle(self._post_hooks)
        self._post_hooks[handle.id] = hook
        return handle


def _hook_slot(t: Tensor, hook: Callable) -> list:
    """Has a backward pass call ``hook`` where the gradient of a non-leaf is whole."""
    hooks = engine.hook_list(t)
    hooks.append(hook)
    return hooks


def follow(t: Tensor) -> None:
    """After a write to a tensor that keeps its gradient: it keeps that of its new value."""
    for x in {id(b): b for b in (t, alias.root(t))}.values():
        if x._retains and x._meta.requires_grad:
            hooks, keep = x._keep
            hooks.remove(keep)
            x._keep = (_hook_slot(x, keep), keep)
