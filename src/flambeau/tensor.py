"""Tensor: a value, pending or concrete, with its place in the history; methods are functions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import printing
from flambeau.autograd import engine
from flambeau.device import CPU, device
from flambeau.dtypes import bfloat16, dtype, from_numpy_dtype
from flambeau.record import alias, flush
from flambeau.record.builder import shared
from flambeau.record.macro import register
from flambeau.record.meta import meta
from flambeau.record.storage import Handle, Parts, Storage, contiguous_strides, view_array
from flambeau.record.trace import defaults, open_

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Size", "Tensor"]


class Size(tuple):
    """The shape of a tensor: a tuple that prints as ``torch.Size``.

    >>> Size((2, 3)).numel()
    6
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"

    def numel(self) -> int:
        """The number of elements of a tensor of this shape."""
        return math.prod(self)

    def __getitem__(self, index: Any) -> Any:
        found = tuple.__getitem__(self, index)
        return Size(found) if isinstance(index, slice) else found

    def __add__(self, other: tuple) -> Size:  # type: ignore[override]
        return Size(tuple.__add__(self, tuple(other)))

    def __radd__(self, other: tuple) -> Size:
        return Size(tuple(other) + tuple(self))

    def __reduce__(self) -> tuple:
        return (Size, (tuple(self),))


class _TensorMeta(type):
    """``isinstance(x, FloatTensor)`` and the like are answered by subclasses of this."""


class Tensor(Handle):
    """A multi-dimensional array of one dtype that records what is computed with it.

    ``Tensor(2, 3)`` is uninitialised, ``Tensor([1, 2])`` holds the given values as the default
    floating dtype.

    >>> import flambeau
    >>> flambeau.tensor([1.0, 2.0]) * 2
    tensor([2., 4.])
    """

    __array_priority__ = 1000
    is_cuda = is_sparse = is_sparse_csr = is_quantized = is_meta = is_mps = is_xpu = False
    # Whether this is a tensor of flambeau.sparse, whose history is that of its values.
    _is_sparse_layout = False
    # Where PyTorch would leave a conjugation or negation to be worked out later.
    _conjugated = _negated = False
    # (dtype of gradients, the hook that gives it to them); None: the tensor's own.
    _grad_kind: tuple[Any, Any] | None = None
    is_mkldnn = is_nested = is_vulkan = is_ipu = is_hpu = is_mtia = is_maia = is_xla = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Tensor:
        if not args and not kwargs:
            t = object.__new__(cls)
            return t
        from flambeau.functions import creation  # upward: the constructor is a function

        return creation.legacy_constructor(cls, *args, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not args and not kwargs and "_meta" not in self.__dict__:
            self._meta = meta((0,), defaults.dtype)
            self._storage = Storage(np.empty((0,), defaults.dtype.numpy))

    # ------------------------------------------------------------------------- attributes

    @property
    def shape(self) -> Size:
        return Size(self._meta.shape)

    @property
    def dtype(self) -> dtype:
        return self._meta.dtype

    @property
    def device(self) -> device:
        return CPU

    @property
    def layout(self) -> Any:
        from flambeau import strided  # upward: the name is public

        return strided

    @property
    def ndim(self) -> int:
        return len(self._meta.shape)

    @property
    def itemsize(self) -> int:
        return self._meta.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.numel() * self._meta.dtype.itemsize

    def dim(self) -> int:
        """The number of dimensions."""
        return len(self._meta.shape)

    ndimension = dim

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        shape = self._meta.shape
        if dim is None:
            return Size(shape)
        n = len(shape)
        if not -max(n, 1) <= dim < max(n, 1):
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-max(n, 1)}, "
                f"{max(n, 1) - 1}], but got {dim})"
            )
        if not n:
            raise IndexError("Dimension specified as 0 but tensor has no dimensions")
        return shape[dim]

    def numel(self) -> int:
        """The number of elements."""
        return math.prod(self._meta.shape)

    nelement = numel

    def element_size(self) -> int:
        """Bytes an element."""
        return self._meta.dtype.itemsize

    def stride(self, dim: int | None = None) -> Any:
        """Steps in elements between neighbours along each dimension, or along one."""
        strides = alias.spec_of(self)[1]
        return strides if dim is None else strides[dim]

    def storage_offset(self) -> int:
        """Where in its storage the tensor begins, in elements."""
        return alias.spec_of(self)[2]

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the elements lie in row-major order without gaps."""
        shape, strides, _ = alias.spec_of(self)
        if 0 in shape:
            return True
        want = 1
        for n, s in zip(reversed(shape), reversed(strides), strict=True):
            if n != 1:
                if s != want:
                    return False
                want *= n
        return True

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating one."""
        return self._meta.dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether the dtype is complex."""
        return self._meta.dtype.is_complex

    def is_signed(self) -> bool:
        """Whether the dtype has negative values."""
        return self._meta.dtype.is_signed

    def is_conj(self) -> bool:
        """Whether the tensor is the conjugate of another, as PyTorch leaves it to be worked out.

        Here the values are conjugate already: this only tells where PyTorch would say so.
        """
        return self._conjugated

    def is_neg(self) -> bool:
        """Whether the tensor is the imaginary part of such a conjugate."""
        return self._negated

    def is_inference(self) -> bool:
        """Whether made under inference mode: never told apart here."""
        return False

    def get_device(self) -> int:
        """The index of the device; -1 on the CPU."""
        return -1

    @property
    def is_cpu(self) -> bool:
        return True

    def is_pinned(self, device: Any = None) -> bool:
        """Whether the memory is page-locked for a GPU: never here."""
        return False

    def pin_memory(self, device: Any = None) -> Tensor:
        """The tensor itself: there is no GPU to lock memory for."""
        return self

    def is_shared(self) -> bool:
        """Whether other processes see the memory: a forked child has its own copy."""
        return False

    def share_memory_(self) -> Tensor:
        """The tensor itself: processes exchange tensors by value."""
        return self

    # ---------------------------------------------------------------------------- history

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
            self._meta = meta(m.shape, m.dtype, bool(requires_grad), True)
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
            if not isinstance(value, Tensor):
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
        if inputs is not None and isinstance(inputs, Tensor):
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
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        value._value()
        if self._storage is not None:
            self._value()
        alias.share(value)
        self._storage, self._spec, self._base = value._storage, value._spec, None
        if value._spec is not None:
            base = object.__new__(Tensor)
            base._meta = meta(value._storage.shape, value._meta.dtype)
            base._storage = value._storage
            self._base = base
        self._trace = self._btrace = None
        self._seen = -1
        m = self._meta
        self._meta = meta(value._meta.shape, value._meta.dtype, m.requires_grad, m.leaf)

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

    # ------------------------------------------------------------------------------ values

    def _value(self) -> Tensor:
        """Makes the tensor concrete."""
        storage = self._storage
        if storage is None:
            flush.flush_other(self._trace)
        elif storage.trace is not None:
            flush.flush_other(storage.trace)
        return self

    def _array(self) -> np.ndarray:
        """The concrete value, which nobody may write to."""
        storage = self._storage
        if storage is None:
            flush.flush_other(self._trace)
            storage = self._storage
        # A pending storage still holds its old value: what a trace bound.
        if storage.memory is None:
            flush.flush_other(storage.trace)
        if self._spec is None:
            return storage.array
        return view_array(storage.array, self._spec)

    def _memory(self) -> np.ndarray:
        """``_array`` of a concrete tensor, for who does not look at the values yet."""
        storage = self._storage
        memory = storage.memory
        return memory if self._spec is None else view_array(memory, self._spec)

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The value as a NumPy array on the same memory.

        Raises ``RuntimeError`` for a tensor that requires grad and ``TypeError`` for bfloat16,
        unless ``force``.
        """
        if self.requires_grad and not force:
            raise RuntimeError(
                "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() "
                "instead."
            )
        if self._meta.dtype is bfloat16:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self._export()

    def _export(self) -> np.ndarray:
        self._give()
        return self._array().view()

    def _give(self) -> None:
        """Makes it concrete, in memory that foreign code may write to from now on."""
        self._value()
        # What was recorded on it is computed first.
        storage, tr = self._storage, open_.trace
        for t in tr.inputs:
            if t._storage is storage:
                flush.flush_other(tr)
                break
        alias.mark_foreign(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self._meta.dtype is bfloat16:
            array = self._value()._array().astype(np.float32)
            return array if dtype is None else array.astype(dtype)
        if self.requires_grad:
            self.numpy()
        array = self._export()
        if dtype is not None:
            array = array.astype(dtype, copy=False)
        return array.copy() if copy else array

    def item(self) -> Any:
        """The one element as a Python number; ``RuntimeError`` if there are more."""
        storage = self._storage
        if storage is None:
            flush.flush_other(self._trace)
        elif storage.trace is not None:
            flush.flush_other(storage.trace)
        array = self._array()
        if array.size != 1:
            raise RuntimeError(f"a Tensor with {array.size} elements cannot be converted to Scalar")
        value = array.item()
        return float(value) if self._meta.dtype is bfloat16 else value

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        array = self._value()._array()
        return array.astype(np.float32).tolist() if self._meta.dtype is bfloat16 else array.tolist()

    def data_ptr(self) -> int:
        """The address of the first element."""
        self._give()
        spec, memory = self._spec, self._storage.memory  # type: ignore[union-attr]
        if spec is None:
            return memory.ctypes.data
        if spec.__class__ is Parts or 0 in spec[0]:
            return self._array().ctypes.data
        return memory.ctypes.data + spec[2] * memory.itemsize

    def untyped_storage(self) -> Any:
        """The memory that the tensor lies on, as bytes: ``torch.storage.UntypedStorage``."""
        from flambeau.storage import untyped  # upward: an object made of a tensor over it all

        return untyped(self)

    def storage(self) -> Any:
        """The memory that the tensor lies on, as elements: ``torch.storage.TypedStorage``."""
        from flambeau.storage import typed  # upward: an object made of a tensor over it all

        return typed(self)

    def _storage_parts(self) -> tuple:
        """(owner, whole storage as a flat array, offset, shape, strides): for saving."""
        self._value()
        shape, strides, offset = alias.spec_of(self)
        if self._spec.__class__ is Parts:
            # Of its own in a file: there one memory has one dtype.
            own = np.array(self._array(), order="C")
            return own, own.reshape(-1), 0, shape, contiguous_strides(shape)
        return self._storage, self._storage.array.reshape(-1), offset, shape, strides

    @classmethod
    def _from_parts(
        cls,
        owner: Any,
        flat: np.ndarray,
        offset: int,
        shape: tuple,
        strides: tuple,
        requires_grad: bool = False,
        kind: type | None = None,
        stores: dict | None = None,
    ) -> Tensor:
        """A tensor on (part of) a flat array; the same array gives tensors that share memory."""
        import weakref

        t = object.__new__(kind or cls)
        shape, strides = tuple(shape), tuple(strides)
        t._meta = meta(shape, from_numpy_dtype(flat.dtype), requires_grad)
        whole = (
            offset == 0 and strides == contiguous_strides(shape) and (math.prod(shape) == flat.size)
        )
        known = _flat_storages.get(id(flat))
        storage = known[1]() if known is not None and known[0]() is flat else None
        if storage is None:
            storage = Storage(flat.reshape(shape) if whole else flat)
            _flat_storages[id(flat)] = weakref.ref(flat), weakref.ref(storage)
        else:
            storage.share()
        t._storage = storage
        if storage.shape != shape or not whole:
            storage.share()
            t._spec = (shape, strides, offset)
            base = object.__new__(Tensor)
            base._meta = meta(storage.shape, t._meta.dtype)
            base._storage = storage
            t._base = base
        return t

    # ------------------------------------------------------------------ Python's protocols

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        name = None
        requires = self.requires_grad
        if requires and not self._meta.leaf:
            name = self.grad_fn.name()
        return printing.format_tensor(
            self._value()._array(),
            self._meta.dtype,
            default_dtype=defaults.dtype,
            requires_grad=requires,
            grad_fn_name=name,
        )

    def __format__(self, spec: str) -> str:
        if self.dim() == 0:
            return format(self.item(), spec)
        if not spec:
            return str(self)
        return object.__format__(self, spec)

    def __bool__(self) -> bool:
        n = self.numel()
        if n == 1:
            return bool(self.item())
        if n == 0:
            raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
        raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")

    def __int__(self) -> int:
        return int(self._scalar("Int"))

    def __float__(self) -> float:
        return float(self._scalar("Double"))

    def __complex__(self) -> complex:
        return complex(self._scalar("Complex"))

    def _scalar(self, what: str) -> Any:
        return self.item()

    def __index__(self) -> int:
        if self.numel() != 1 or self._meta.dtype.category > 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __len__(self) -> int:
        if not self._meta.shape:
            raise TypeError("len() of a 0-d tensor")
        return self._meta.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self._meta.shape:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __hash__(self) -> int:
        return id(self)

    def __contains__(self, element: Any) -> bool:
        if isinstance(element, (Tensor, int, float, complex, bool)):
            return bool((self == element).any().item())
        raise RuntimeError(
            "Tensor.__contains__ only supports Tensor or scalar, but you passed in a "
            f"{type(element)}."
        )

    def __deepcopy__(self, memo: dict) -> Tensor:
        if id(self) in memo:
            return memo[id(self)]
        if not self.is_leaf:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
                "protocol at the moment.  If you were attempting to deepcopy a module, this may "
                "be because of a torch.nn.utils.weight_norm usage."
            )
        import copy

        self._value()
        storage = self._storage
        flats = memo.setdefault("flambeau storages", {})
        flat = flats.get(id(storage))
        if flat is None:
            flat = flats[id(storage)] = storage.array.copy().reshape(-1)
        shape, strides, offset = alias.spec_of(self)
        if self._spec.__class__ is Parts:
            flat = flat.view(self._spec.dtype or flat.real.dtype)
        t = Tensor._from_parts(
            None, flat, offset, shape, strides, self._meta.requires_grad, type(self)
        )
        memo[id(self)] = t
        if self._grad is not None:
            t._grad = copy.deepcopy(self._grad, memo)
        for name, value in self.__dict__.items():
            if name not in _STATE:
                t.__dict__[name] = copy.deepcopy(value, memo)
        return t

    def __reduce_ex__(self, protocol: Any) -> tuple:
        self._value()
        array = np.array(self._array(), order="C")
        if self._meta.dtype is bfloat16:
            array = array.view(np.uint16)
        extra = {k: v for k, v in self.__dict__.items() if k not in _STATE}
        return (
            _rebuild,
            (type(self), array, self._meta.dtype, self._meta.requires_grad and self.is_leaf, extra),
        )

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)

    def __dir__(self) -> list[str]:
        return sorted(set(dir(type(self))) | {k for k in self.__dict__ if k not in _STATE})

    def __dlpack__(self, *, stream: Any = None, **kwargs: Any) -> Any:
        if self.requires_grad:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        return self._export().__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple:
        return (1, 0)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        """The Array API standard's functions (:mod:`flambeau.array_api`)."""
        from flambeau import array_api  # upward: a namespace over the whole package

        if api_version not in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
            raise ValueError(f"Unsupported Array API version: {api_version!r}")
        return array_api

    def to_device(self, device: Any, /, *, stream: Any = None) -> Any:
        """The Array API standard's name of ``to``."""
        if stream is not None:
            raise NotImplementedError("to_device(): streams are not supported")
        return self.to(device)  # type: ignore[attr-defined]


_STATE = {
    "_trace", "_slot", "_meta", "_storage", "_spec", "_base", "_btrace", "_seen", "_hist",
    "_grad", "_hooks", "_post_hooks", "_retains", "_keep", "_conjugated", "_negated",
    "_grad_kind",
}  # fmt: skip
_flat_storages: dict[int, Any] = {}


def _rebuild(
    kind: type, array: np.ndarray, dtype: dtype, requires_grad: bool, extra: dict
) -> Tensor:
    if dtype is bfloat16:
        array = array.view(bfloat16.numpy)
    t = object.__new__(kind)
    t._meta = meta(array.shape, dtype, requires_grad)
    t._storage = Storage(np.ascontiguousarray(array).reshape(array.shape))
    t.__dict__.update(extra)
    return t


def _hook_slot(t: Tensor, hook: Callable) -> list:
    """Has a backward pass call ``hook`` where the gradient of a non-leaf is whole."""
    hooks = engine.hook_list(t)
    hooks.append(hook)
    return hooks


def _follow(t: Tensor) -> None:
    """After a write to a tensor that keeps its gradient: it keeps that of its new value."""
    for x in {id(b): b for b in (t, alias.root(t))}.values():
        if x._retains and x._meta.requires_grad:
            hooks, keep = x._keep
            hooks.remove(keep)
            x._keep = (_hook_slot(x, keep), keep)


def concrete(array: np.ndarray, dtype: dtype, requires_grad: bool = False) -> Tensor:
    """A tensor on an array that is its own."""
    t = object.__new__(Tensor)
    t._meta = meta(array.shape, dtype, requires_grad)
    t._storage = Storage(array)
    return t


register(Tensor)
shared["follow"] = _follow
