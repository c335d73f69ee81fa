"""Tensors that hold few of their elements: what all sparse layouts have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from flambeau.functions.inplace import title
from flambeau.functions.overriding import disabled
from flambeau.record.keys import Elsewhere
from flambeau.record.meta import Meta, meta
from flambeau.record.trace import open_
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np

__all__ = ["SparseTensor"]


class SparseTensor(Tensor):
    """A tensor given by indices and values, which are dense tensors.

    Everything differentiable is done to the values: their history is the sparse tensor's, and the
    gradient of a sparse leaf is that of its values, in its pattern. Indices are concrete and have
    no history. What record knows of other tensors (a slot, a storage) a sparse tensor has not: a
    recorded function that meets one raises :class:`Elsewhere`, and the call is made again by
    :meth:`_redirected`, with the function of :mod:`flambeau.sparse` of the same name.
    """

    _is_sparse_layout = True
    __torch_function__ = disabled
    _kind = "Sparse"
    # Whether this is the gradient of a sparse leaf, whose values accumulate.
    _accumulates = False
    _values_: Tensor
    _shape: tuple[int, ...]

    # --- what record asks -------------------------------------------------------------------

    @property
    def _meta(self) -> Meta:  # type: ignore[override]
        m = self._values_._meta
        return meta(self._shape, m.dtype, m.requires_grad, m.leaf)

    @property
    def _storage(self) -> NoReturn:  # type: ignore[override]
        raise Elsewhere(self)

    @property
    def _grad(self) -> Tensor | None:  # type: ignore[override]
        g = self._values_._grad
        if g is None:
            return None
        found = self._with_values(g)
        found._accumulates = True
        return found

    @_grad.setter
    def _grad(self, g: Tensor | None) -> None:
        self._values_._grad = None if g is None else self._values_like(g)

    def _redirected(self, name: str, args: tuple, kwargs: dict[str, Any]) -> Any:
        """The call of a library function, by the function for sparse tensors."""
        from flambeau.sparse import dispatch

        return dispatch.call(name, args, kwargs, self)

    def refuse(self, operation: str) -> NoReturn:
        """Raises PyTorch's error for an operation that this layout does not have."""
        raise NotImplementedError(
            f"Could not run 'aten::{operation}' with arguments from the '{self._kind}CPU' backend."
        )

    # --- what the layouts define ------------------------------------------------------------

    def _with_values(self, values: Tensor) -> SparseTensor:
        """The same places with other values."""
        raise NotImplementedError

    def _values_like(self, dense_or_sparse: Tensor) -> Tensor:
        """What another tensor of this shape has at the places of this one's values."""
        raise NotImplementedError

    def _index_tensors(self) -> tuple[Tensor, ...]:
        raise NotImplementedError

    # --- history ----------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        return self._values_.requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Sets whether gradients are recorded for this leaf; gives it back."""
        self._values_.requires_grad_(requires_grad)
        return self

    @property
    def is_leaf(self) -> bool:
        return self._values_.is_leaf

    @property
    def grad_fn(self) -> Any:
        return self._values_.grad_fn

    def retain_grad(self) -> None:
        """Has ``backward`` keep the gradient of this non-leaf in its ``.grad``."""
        self._values_.retain_grad()

    @property
    def retains_grad(self) -> bool:
        return self._values_.retains_grad

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Any:
        """Calls ``hook`` with the gradient, as a sparse tensor, in each backward."""

        def on_values(g: Tensor) -> Tensor | None:
            changed = hook(self._with_values(g))
            return None if changed is None else self._values_like(changed)

        return self._values_.register_hook(on_values)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> Any:
        """Calls ``hook`` with this leaf after its ``.grad`` was accumulated."""
        return self._values_.register_post_accumulate_grad_hook(lambda _: hook(self))

    @property
    def _version(self) -> int:
        return self._values_._version

    def detach(self) -> Any:
        """The same memory, without history."""
        return self._with_values(self._values_.detach())

    def detach_(self) -> Any:
        """Forgets the history of this tensor."""
        self._values_ = self._values_.detach()
        return self

    @property
    def data(self) -> Tensor:
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        raise RuntimeError(
            "Attempted to call `variable.set_data(tensor)`, but `variable` and `tensor` have "
            "incompatible tensor type."
        )

    # --- size and place ---------------------------------------------------------------------

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """False: elements do not lie one behind the other."""
        return False

    def stride(self, dim: int | None = None) -> Any:
        """Zeros: elements are not found by steps."""
        return (0,) * len(self._shape) if dim is None else 0

    def storage_offset(self) -> int:
        """Refused: there is no storage."""
        return self.refuse("storage_offset")

    def _scalar(self, what: str) -> Any:
        return self.item()

    def item(self) -> Any:
        """The one element as a Python number; ``RuntimeError`` if there are more."""
        if self.numel() != 1:
            raise RuntimeError(
                f"a Tensor with {self.numel()} elements cannot be converted to Scalar"
            )
        return self.to_dense().item()  # type: ignore[attr-defined]

    def _value(self) -> Any:
        """Makes the values concrete."""
        self._values_._value()
        return self

    def _array(self) -> np.ndarray:
        raise Elsewhere(self)

    def numpy(self, *, force: bool = False) -> NoReturn:
        """Refused: see ``to_dense``."""
        raise TypeError(
            f"can't convert {self._kind} layout tensor to numpy. Use Tensor.to_dense() first."
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        self.numpy()

    def tolist(self) -> NoReturn:
        """Refused: see ``to_dense``."""
        raise RuntimeError("Cannot access data pointer of Tensor that doesn't have storage")

    data_ptr = tolist  # type: ignore[assignment]

    def _storage_parts(self) -> NoReturn:
        raise NotImplementedError("Cannot access storage of SparseTensorImpl")

    untyped_storage = storage = _storage_parts  # type: ignore[assignment]

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """The name of the tensor's type, or the tensor in the type given."""
        if dtype is None:
            return f"torch.sparse.{title(self.dtype)}Tensor"
        return self.to(dtype)  # type: ignore[attr-defined]

    # --- Python's protocols -----------------------------------------------------------------

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        from flambeau.sparse.text import format_sparse

        return format_sparse(self)

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise RuntimeError(
                f"Boolean value of Tensor with {'no' if not self.numel() else 'more than one'} "
                f"value{'s' * (not self.numel())} is ambiguous"
            )
        return bool(self.item())

    def __iter__(self) -> Iterator[Tensor]:
        if not self._shape:
            raise TypeError("iteration over a 0-d tensor")
        return iter([self[i] for i in range(self._shape[0])])  # type: ignore[index]

    def __format__(self, spec: str) -> str:
        return str(self) if not spec else object.__format__(self, spec)

    def __deepcopy__(self, memo: dict) -> Any:
        import copy

        if id(self) in memo:
            return memo[id(self)]
        if not self.is_leaf:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
                "protocol at the moment."
            )
        made = object.__new__(type(self))
        memo[id(self)] = made
        made.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return made

    def _saved_parts(self) -> tuple[Any, tuple]:
        """Layout and parts, as PyTorch saves them: whether gradients are wanted is no part."""
        raise NotImplementedError

    def __reduce_ex__(self, protocol: Any) -> tuple:
        from flambeau.sparse import rebuild

        return rebuild, self._saved_parts()

    def __dir__(self) -> list[str]:
        return dir(type(self))

    def __dlpack__(self, *, stream: Any = None, **kwargs: Any) -> NoReturn:
        raise BufferError("Can't export tensors with layout other than torch.strided")


def kept_history(values: Tensor, requires_grad: bool) -> Tensor:
    """Given values as a sparse tensor's own: the same memory, under the history they have.

    With ``requires_grad`` and no history they are a leaf, of which the sparse tensor then is one.
    """
    if values.requires_grad and open_.state.grad:
        return values.view(values.shape) if values.is_leaf else values  # type: ignore[attr-defined]
    values = values.detach()
    return values.requires_grad_() if requires_grad else values
