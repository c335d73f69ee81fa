"""Parametrizations: a parameter or buffer of a module computed from other tensors on each read."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import flambeau
from flambeau.nn.containers import ModuleDict, ModuleList
from flambeau.nn.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.tensor import Tensor

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]

_depth = 0
_values: dict[tuple[int, str], Tensor] = {}


@contextmanager
def cached() -> Iterator[None]:
    """Computes each parametrized tensor once while the context is entered.

    >>> layer = torch.nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    >>> with torch.nn.utils.parametrize.cached():
    ...     print(layer.weight is layer.weight)
    True
    """
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if not _depth:
            _values.clear()


def _set(module: Module, name: str, value: Tensor) -> None:
    if isinstance(value, Parameter):
        module.register_parameter(name, value)
    else:
        module.register_buffer(name, value)


class ParametrizationList(ModuleList):
    r"""The parametrizations of one tensor, applied in order to what is stored: ``original``, or
    ``original0``, ``original1``... if the first one computes the tensor from several.

    Calling it computes the tensor :math:`f_n(\ldots f_1(\text{original}))`.

    Raises: ``ValueError`` for no parametrizations, or one whose ``right_inverse`` gives another
    dtype; with ``unsafe`` off ``ValueError`` too if shape or dtype of the tensor would change.
    """

    original: Tensor
    unsafe: bool

    def __init__(
        self, modules: Sequence[Module], original: Tensor | Parameter, unsafe: bool = False
    ) -> None:
        if len(modules) == 0:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        shape, dtype = original.shape, original.dtype
        with flambeau.no_grad():
            stored: Any = original
            for module in reversed(self):
                if not hasattr(module, "right_inverse"):
                    continue
                try:
                    stored = module.right_inverse(stored)
                except NotImplementedError:
                    # What has none for these values starts from the values as they are.
                    continue
        if not isinstance(stored, (Tensor, Sequence)):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                f"Got {type(stored).__name__}"
            )
        self.is_tensor = isinstance(stored, Tensor)
        self.ntensors = 1 if self.is_tensor else len(stored)
        if self.is_tensor:
            if stored.dtype != dtype:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the dtype.\n"
                    f"original.dtype: {dtype}\nright_inverse(original).dtype: {stored.dtype}"
                )
            # The object stays the same, so that optimizers made before still know it.
            _assign(original, stored)
            _set(self, "original", original)
        else:
            for i, value in enumerate(stored):
                if not isinstance(value, Tensor):
                    raise ValueError(
                        "'right_inverse' must return a Tensor or a Sequence of tensors "
                        f"(list, tuple...). Got element {i} of the sequence with type "
                        f"{type(value).__name__}."
                    )
                if isinstance(original, Parameter):
                    value = Parameter(value, original.requires_grad)
                value.requires_grad_(original.requires_grad)
                _set(self, f"original{i}", value)
        if not unsafe:
            _check_result(self(), shape, dtype)

    def right_inverse(self, value: Tensor) -> None:
        """Stores what the tensor is ``value`` for: the way that assignments take.

        Raises: ``RuntimeError`` if a parametrization has no ``right_inverse``, ``ValueError`` if
        it gives another number of tensors, or another dtype, than are stored.
        """
        with flambeau.no_grad():
            stored: Any = value
            for module in reversed(self):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"parametrization {type(module).__name__} does not implement right_inverse."
                    )
                stored = module.right_inverse(stored)
            if self.is_tensor:
                if not isinstance(stored, Tensor):
                    raise ValueError(
                        f"`right_inverse` should return a tensor. Got {type(stored).__name__}"
                    )
                _assign_checked(self.original, stored, "right_inverse", "original")
                return
            if not isinstance(stored, Sequence):
                raise ValueError(
                    "'right_inverse' must return a sequence of tensors. "
                    f"Got {type(stored).__name__}."
                )
            if len(stored) != self.ntensors:
                raise ValueError(
                    "'right_inverse' must return a sequence of tensors of length "
                    f"{self.ntensors}. Got a sequence of length {len(stored)}."
                )
            for i, part in enumerate(stored):
                if not isinstance(part, Tensor):
                    raise ValueError(
                        f"`right_inverse` must return a sequence of tensors. Got element {i} of "
                        f"type {type(part).__name__}"
                    )
                name = f"original{i}"
                _assign_checked(getattr(self, name), part, "right_inverse", name)

    def forward(self) -> Tensor:
        """The tensor, computed from what is stored."""
        first, *rest = self
        originals = (
            (self.original,)
            if self.is_tensor
            else tuple(getattr(self, f"original{i}") for i in range(self.ntensors))
        )
        value = first(*originals)
        for module in rest:
            value = module(value)
        return value


def _assign(tensor: Tensor, value: Tensor) -> None:
    if value is not tensor:
        tensor.data = value.detach()


def _assign_checked(tensor: Tensor, value: Tensor, source: str, name: str) -> None:
    if value.dtype != tensor.dtype:
        raise ValueError(
            f"The tensor returned by `{source}` has dtype {value.dtype} while `{name}` has dtype "
            f"{tensor.dtype}"
        )
    _assign(tensor, value)


def _check_result(value: Any, shape: Any, dtype: Any) -> None:
    if not isinstance(value, Tensor):
        raise ValueError(f"A parametrization must return a tensor. Got {type(value).__name__}.")
    if value.dtype != dtype:
        raise ValueError(
            "Registering a parametrization may not change the dtype of the tensor, unless "
            f"`unsafe` flag is enabled.\nunparametrized dtype: {dtype}\n"
            f"parametrized dtype: {value.dtype}"
        )
    if value.shape != shape:
        raise ValueError(
            "Registering a parametrization may not change the shape of the tensor, unless "
            f"`unsafe` flag is enabled.\nunparametrized shape: {shape}\n"
            f"parametrized shape: {value.shape}"
        )


# --- classes with computed attributes -----------------------------------------------------------

# By the class before and the names computed, so that modules parametrized alike are of one class.
_classes: weakref.WeakValueDictionary[tuple[type, tuple[str, ...]], type] = (
    weakref.WeakValueDictionary()
)


def _class(base: type, names: tuple[str, ...]) -> type:
    """The subclass of ``base`` whose attributes ``names`` are computed."""
    if not names:
        return base
    found = _classes.get((base, names))
    if found is None:
        members: dict[str, Any] = {name: _computed(name) for name in names}
        members["__getstate__"] = _refuse_pickling
        if not hasattr(base, "__deepcopy__"):
            members["__deepcopy__"] = _deepcopy
        found = _classes[base, names] = type(f"Parametrized{base.__name__}", (base,), members)
    return found


def _computed(name: str) -> property:
    def read(module: Any) -> Tensor:
        if not _depth:
            return module.parametrizations[name]()
        key = (id(module), name)
        if key not in _values:
            _values[key] = module.parametrizations[name]()
        return _values[key]

    def write(module: Any, value: Tensor) -> None:
        module.parametrizations[name].right_inverse(value)

    return property(read, write)


def _refuse_pickling(module: Module) -> Any:
    raise RuntimeError(
        "Serialization of parametrized modules is only supported through state_dict(). See:\n"
        "https://pytorch.org/tutorials/beginner/saving_loading_models.html"
        "#saving-loading-a-general-checkpoint-for-inference-and-or-resuming-training"
    )


def _deepcopy(module: Any, memo: dict) -> Any:
    if id(module) in memo:
        return memo[id(module)]
    twin = memo[id(module)] = module.__new__(type(module))
    twin.__setstate__(copy.deepcopy(Module.__getstate__(module), memo))
    return twin


# --- registering --------------------------------------------------------------------------------


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Has ``module.tensor_name`` computed by ``parametrization`` from what was there.

    What was there moves to ``module.parametrizations.tensor_name.original``; a second
    parametrization is applied to the result of the first. A method ``right_inverse`` of the
    parametrization says what to store for given values: when registering, and when the attribute
    is assigned to.

    Args:
        unsafe: lets the parametrization change shape or dtype.
    Raises: ``ValueError`` if there is no such tensor, or shape or dtype would change.

    >>> class Symmetric(nn.Module):
    ...     def forward(self, X):
    ...         return X.triu() + X.triu(1).T
    >>> layer = nn.Linear(3, 3)
    >>> layer = torch.nn.utils.parametrize.register_parametrization(layer, "weight", Symmetric())
    >>> torch.equal(layer.weight, layer.weight.T)
    True
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        stack: Any = module.parametrizations[tensor_name]
        if not unsafe:
            _check_next(parametrization, getattr(module, tensor_name))
        stack.append(parametrization)
        stack.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        original = getattr(module, tensor_name)
        stack = ParametrizationList([parametrization], original, unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            module.parametrizations = ModuleDict()
        base = type_before_parametrizations(module)
        module.parametrizations[tensor_name] = stack
        module.__class__ = _class(base, tuple(module.parametrizations))
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element "
            f"with name '{tensor_name}'"
        )
    return module


def _check_next(parametrization: Any, value: Tensor) -> None:
    """Whether a further parametrization keeps shape and dtype, in both directions."""
    result = parametrization(value)
    _check_result(result, value.shape, value.dtype)
    if not hasattr(parametrization, "right_inverse"):
        return
    back = parametrization.right_inverse(result)
    if not isinstance(back, Tensor):
        raise ValueError(
            f"parametrization.right_inverse must return a tensor. Got: {type(back).__name__}"
        )
    if back.dtype != value.dtype:
        raise ValueError(
            "The tensor returned by parametrization.right_inverse must have the same dtype as "
            f"the parametrized tensor, {value.dtype}, unless the `unsafe` flag is enabled.\n"
            f"returned dtype: {back.dtype}"
        )
    if back.shape != value.shape:
        raise ValueError(
            "The tensor returned by parametrization.right_inverse must have the same shape as "
            f"the parametrized tensor, {value.shape}, unless the `unsafe` flag is enabled.\n"
            f"returned shape: {back.shape}"
        )


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether the module has a parametrization, or one of the named tensor.

    >>> torch.nn.utils.parametrize.is_parametrized(nn.Linear(1, 1))
    False
    """
    parametrizations = module.__dict__.get("parametrizations")
    if not isinstance(parametrizations, ModuleDict):
        return False
    return len(parametrizations) > 0 if tensor_name is None else tensor_name in parametrizations


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Makes ``module.tensor_name`` an ordinary parameter or buffer again.

    Args:
        leave_parametrized: keeps the computed values; off, what is stored comes back.
    Raises: ``ValueError`` if it is not parametrized, or if several tensors are stored and
    ``leave_parametrized`` is off.

    >>> layer = torch.nn.utils.parametrizations.weight_norm(nn.Linear(1, 1))
    >>> torch.nn.utils.parametrize.remove_parametrizations(layer, "weight")
    Linear(in_features=1, out_features=1, bias=True)
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    parametrizations: Any = module.parametrizations
    stack = parametrizations[tensor_name]
    if stack.is_tensor:
        tensor = stack.original
        if leave_parametrized:
            with flambeau.no_grad():
                _assign(tensor, getattr(module, tensor_name))
    elif leave_parametrized:
        value = getattr(module, tensor_name)
        tensor = Parameter(value.detach()) if value.requires_grad else value
    else:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is "
            "parametrized in terms of a sequence of tensors."
        )
    base = type_before_parametrizations(module)
    del parametrizations[tensor_name]
    module.__class__ = _class(base, tuple(parametrizations))
    if not len(parametrizations):
        del module.parametrizations
    _set(module, tensor_name, tensor)
    return module


def type_before_parametrizations(module: Module) -> type:
    """The module's class as it was before anything of it was parametrized.

    >>> layer = torch.nn.utils.parametrizations.weight_norm(nn.Linear(1, 1))
    >>> torch.nn.utils.parametrize.type_before_parametrizations(layer).__name__
    'Linear'
    """
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Registers the parametrizations of one module in another, which takes what they store too.

    The parametrizations are the same objects in both. A parameter that is not parametrized is
    left alone.

    Args:
        tensor_name: transfers those of this tensor only.
    """
    if not is_parametrized(from_module):
        return to_module
    ours: Any = from_module.parametrizations
    names = list(ours) if tensor_name is None else [tensor_name]
    for name in names:
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name)))
        for parametrization in ours[name]:
            register_parametrization(to_module, name, parametrization)
        theirs: Any = to_module.parametrizations
        if ours[name].is_tensor:
            theirs[name].original = ours[name].original
        else:
            for i in range(ours[name].ntensors):
                setattr(theirs[name], f"original{i}", getattr(ours[name], f"original{i}"))
    return to_module


SAMPLES = {
    "nn.utils.parametrize.register_parametrization": "nn.Linear(4, 3), 'weight', nn.Tanh() | x;"
    " nn.Linear(4, 3), 'bias', nn.Identity(), unsafe=True | x; !nn.Linear(4, 3), 'w', nn.Tanh();"
    " !nn.Linear(4, 3), 'weight', nn.Flatten(0)",
    "nn.utils.parametrize.is_parametrized": "nn.Linear(4, 3);"
    " nn.utils.parametrizations.weight_norm(nn.Linear(4, 3));"
    " nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), 'bias'",
    "nn.utils.parametrize.remove_parametrizations": ""
    "nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), 'weight' | x;"
    " !nn.Linear(4, 3), 'weight';"
    " !nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3)), 'bias'",
}
