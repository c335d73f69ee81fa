"""Parameters and buffers: tensors that a module registers when they are assigned to it."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.functions.overriding import disabled
from flambeau.record.builder import shared
from flambeau.record.meta import meta
from flambeau.tensor import Tensor

__all__ = [
    "Buffer",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "UninitializedTensorMixin",
    "is_lazy",
]


def _marked(kind: type, data: Tensor, requires_grad: bool) -> Any:
    """``data`` as a new tensor of class ``kind`` on the same memory."""
    if not isinstance(data, Tensor):
        raise TypeError(
            f"Parameter and buffer data has to be a tensor, but got {type(data).__name__}"
        )
    tensor = object.__new__(kind)
    tensor._meta, tensor._storage = meta((0,), data.dtype), None
    tensor.data = data
    if requires_grad:
        if not (tensor.is_floating_point() or tensor.is_complex()):
            raise RuntimeError(
                "Only Tensors of floating point and complex dtype can require gradients"
            )
        tensor.requires_grad_(True)
    return tensor


class _ParameterMeta(type(Tensor)):
    # A tensor subclass that became a parameter keeps its class and carries a mark.
    def __instancecheck__(cls, instance: Any) -> bool:
        return type.__instancecheck__(cls, instance) or (
            cls is Parameter
            and isinstance(instance, Tensor)
            and getattr(instance, "_is_param", False)
        )


class Parameter(Tensor, metaclass=_ParameterMeta):
    """A tensor that is a parameter of the module it is assigned to.

    It shares memory with ``data`` and requires a gradient unless told otherwise.

    >>> torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    Parameter containing:
    tensor([1., 2.], requires_grad=True)
    """

    # What is computed of parameters is no parameter.
    __torch_function__ = disabled

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Any:
        if data is None:
            data = flambeau.empty(0)
        if type(data) is Tensor or type(data) is cls or isinstance(data, Parameter):
            return _marked(cls, data, requires_grad)
        tensor = data.detach()
        if type(tensor) is not type(data):
            raise RuntimeError(
                f"Creating a Parameter from an instance of type {type(data).__name__} requires "
                "that detach() returns an instance of the same type, but return type "
                f"{type(tensor).__name__} was found instead. To use the type as a Parameter, "
                "please correct the detach() semantics defined by its __torch_dispatch__() "
                "implementation."
            )
        tensor.requires_grad_(requires_grad)
        tensor._is_param = True
        return tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __deepcopy__(self, memo: dict) -> Parameter:
        if id(self) in memo:
            return memo[id(self)]
        copy = type(self)(self.data.clone(), self.requires_grad)
        memo[id(self)] = copy
        return copy

    def __repr__(self, **kwargs: Any) -> str:
        return "Parameter containing:\n" + super().__repr__(**kwargs)


class _BufferMeta(type(Tensor)):
    def __instancecheck__(cls, instance: Any) -> bool:
        return type.__instancecheck__(cls, instance) or (
            cls is Buffer
            and isinstance(instance, Tensor)
            and getattr(instance, "_is_buffer", False)
        )


class Buffer(Tensor, metaclass=_BufferMeta):
    """A tensor that becomes a buffer of the module it is assigned to.

    The result is an ordinary tensor with a mark; ``persistent`` says whether it belongs to the
    module's ``state_dict``.

    >>> module = torch.nn.Module()
    >>> module.count = torch.nn.Buffer(torch.zeros(1))
    >>> list(module.state_dict())
    ['count']
    """

    __torch_function__ = disabled

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Any:
        if data is None:
            data = flambeau.empty(0)
        tensor = data.detach().requires_grad_(data.requires_grad)
        tensor.persistent = persistent
        tensor._is_buffer = True
        return tensor


class UninitializedTensorMixin:
    """What a parameter and a buffer without a shape share."""

    __torch_function__ = disabled
    cls_to_become: type = Tensor

    @property
    def shape(self) -> Any:
        """Raises: ``RuntimeError``: there is no shape yet."""
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually "
            "happens in `load_state_dict` when trying to load an uninitialized parameter into an "
            "initialized one. Call `forward` to initialize the parameters before accessing their "
            "attributes."
        )

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Gives the tensor its shape; from then on it is a parameter or a buffer like others."""
        value = flambeau.empty(shape, device=device or self.device, dtype=dtype or self.data.dtype)
        self.__class__ = self.cls_to_become
        self.data = value

    def bfloat16(self) -> Any:
        """Raises: ``ValueError``, as in PyTorch, which knows the other dtypes' methods alone."""
        raise ValueError(
            "Attempted to use an uninitialized parameter in bfloat16. Call `forward` to initialize "
            "the parameters before, or convert them by `to`."
        )

    def share_memory_(self) -> None:
        """Raises: ``RuntimeError``: there is no memory to share yet."""
        raise RuntimeError(
            "Can't share memory on an uninitialized parameter or buffer. Call `forward` to "
            "initialize the parameters before calling `module.share_memory()`."
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return type(self), (self.requires_grad,)


def is_lazy(param: Any) -> bool:
    """Whether the parameter or buffer still has no shape."""
    return isinstance(param, UninitializedTensorMixin)


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A parameter whose shape is found by the first call of its module.

    >>> weight = torch.nn.UninitializedParameter()
    >>> weight.materialize((2, 3))
    >>> weight.shape, type(weight).__name__
    (torch.Size([2, 3]), 'Parameter')
    """

    cls_to_become = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> Any:
        return _marked(cls, flambeau.empty(0, device=device, dtype=dtype), requires_grad)

    def __deepcopy__(self, memo: dict) -> UninitializedParameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, self.device, self.data.dtype)
        return memo[id(self)]


class UninitializedBuffer(UninitializedTensorMixin, Tensor):
    """A buffer whose shape is found by the first call of its module.

    >>> torch.nn.UninitializedBuffer()
    <UninitializedBuffer>
    """

    cls_to_become = Tensor

    def __new__(
        cls,
        requires_grad: bool = False,
        device: Any = None,
        dtype: Any = None,
        persistent: bool = True,
    ) -> Any:
        tensor = _marked(cls, flambeau.empty(0, device=device, dtype=dtype), requires_grad)
        tensor.persistent = persistent
        tensor._is_buffer = True
        return tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass


# Calls with parameters take the fast path too.
shared["TENSORS"].add(Parameter)


SAMPLES = {
    "nn.Parameter": "; x.detach(); x, requires_grad=False; i, False; x * 1; !i; !3.0",
    "nn.Buffer": "; x.detach(); i, persistent=False; !3.0",
}
