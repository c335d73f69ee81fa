"""Pruning: masks on parameters that stay zero while the rest is trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import flambeau
from flambeau.nn.module import Module
from flambeau.nn.utils._prune_amounts import (
    check_amount,
    check_amount_for,
    check_dim,
    check_structured,
    count_of,
    norm_along,
)
from flambeau.tensor import Tensor

__all__ = [
    "BasePruningMethod",
    "CustomFromMask",
    "Identity",
    "L1Unstructured",
    "LnStructured",
    "PruningContainer",
    "RandomStructured",
    "RandomUnstructured",
    "custom_from_mask",
    "global_unstructured",
    "identity",
    "is_pruned",
    "l1_unstructured",
    "ln_structured",
    "random_structured",
    "random_unstructured",
    "remove",
]


def _fresh(mask: Tensor) -> Tensor:
    return mask.clone(memory_format=flambeau.contiguous_format)


class BasePruningMethod(ABC):
    """A way to choose what of a parameter is kept; a subclass defines :meth:`compute_mask`.

    ``PRUNING_TYPE`` says what it chooses among, where something is pruned already:
    ``"unstructured"`` (the elements that are left), ``"structured"`` (the channels that are left)
    or ``"global"`` (everything).
    """

    _tensor_name: str
    PRUNING_TYPE: str

    def __call__(self, module: Module, inputs: Any) -> None:
        """The hook before each call: multiplies the parameter with its mask."""
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """What to keep of ``t``: a mask of ones and zeros, made from ``default_mask``."""

    def apply_mask(self, module: Module) -> Tensor:
        """The parameter times its mask.

        Raises: ``AssertionError`` if nothing was pruned.
        """
        if self._tensor_name is None:
            raise AssertionError(f"Module {module} has to be pruned")
        mask = getattr(module, self._tensor_name + "_mask")
        orig = getattr(module, self._tensor_name + "_orig")
        return mask.to(dtype=orig.dtype) * orig

    @classmethod
    def apply(
        cls,
        module: Module,
        name: str,
        *args: Any,
        importance_scores: Tensor | None = None,
        **kwargs: Any,
    ) -> BasePruningMethod:
        """Prunes ``module.name``: ``name_orig`` becomes the parameter, ``name_mask`` a buffer.

        Args:
            args: for the constructor, as ``kwargs``.
            importance_scores: decide in place of the parameter's own values.
        Returns: what is called before each forward; several methods become one container.
        Raises: ``AssertionError`` for scores of another shape.
        """
        container = _take_hook(module, name, cls, *args, **kwargs)
        before = isinstance(container, PruningContainer)
        orig = getattr(module, name)
        if importance_scores is None:
            importance_scores = orig
        elif importance_scores.shape != orig.shape:
            raise AssertionError(
                "importance_scores should have the same shape as parameter "
                f"                {name} of {module}"
            )
        if before:
            default_mask = _fresh(getattr(module, name + "_mask").detach())
        else:
            module.register_parameter(name + "_orig", orig)
            del module._parameters[name]
            default_mask = flambeau.ones_like(orig)
        try:
            with flambeau.no_grad():
                mask = container.compute_mask(importance_scores, default_mask=default_mask)
            module.register_buffer(name + "_mask", mask)
            setattr(module, name, container.apply_mask(module))
            module.register_forward_pre_hook(container)
        except Exception:
            if not before:
                module.register_parameter(name, module._parameters[name + "_orig"])
                del module._parameters[name + "_orig"]
            raise
        return container

    def prune(
        self,
        t: Tensor,
        default_mask: Tensor | None = None,
        importance_scores: Tensor | None = None,
    ) -> Tensor:
        """``t`` pruned, with no module involved.

        >>> torch.nn.utils.prune.L1Unstructured(1).prune(torch.tensor([3.0, 1.0]))
        tensor([3., 0.])
        """
        if importance_scores is None:
            importance_scores = t
        elif importance_scores.shape != t.shape:
            raise AssertionError("importance_scores should have the same shape as tensor t")
        default_mask = flambeau.ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(importance_scores, default_mask=default_mask)

    def remove(self, module: Module) -> None:
        """Makes the pruned values those of the ordinary parameter.

        Raises: ``AssertionError`` if nothing was pruned.
        """
        name = self._tensor_name
        if name is None:
            raise AssertionError(
                f"Module {module} has to be pruned            before pruning can be removed"
            )
        pruned = self.apply_mask(module)
        if hasattr(module, name):
            delattr(module, name)
        orig: Any = module._parameters[name + "_orig"]
        orig.data = pruned.data
        del module._parameters[name + "_orig"], module._buffers[name + "_mask"]
        setattr(module, name, orig)


def _take_hook(
    module: Module, name: str, cls: type[BasePruningMethod], *args: Any, **kwargs: Any
) -> BasePruningMethod:
    """The method, after those that prune the parameter already, whose hook is taken away."""
    found = [
        (key, hook)
        for key, hook in module._forward_pre_hooks.items()
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name
    ]
    if len(found) > 1:
        raise AssertionError(
            f"Avoid having multiple pruning hooks on the same                "
            f"tensor {name} of {module}. Use a PruningContainer."
        )
    method = cls(*args, **kwargs)
    method._tensor_name = name
    if not found:
        return method
    ((key, hook),) = found
    del module._forward_pre_hooks[key]
    container = hook if isinstance(hook, PruningContainer) else PruningContainer(hook)
    container.add_pruning_method(method)
    return container


class PruningContainer(BasePruningMethod):
    """Several methods, each pruning what the ones before it left."""

    def __init__(self, *args: Any) -> None:
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        if not isinstance(args, Iterable) or not args:
            return
        if len(args) == 1 and not isinstance(args[0], Iterable):
            self._tensor_name = args[0]._tensor_name
            self.add_pruning_method(args[0])
            return
        methods = args[0] if len(args) == 1 else args
        for method in methods:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: BasePruningMethod | None) -> None:
        """Adds a method, for the same parameter as the others.

        Raises: ``TypeError`` if it is none, ``ValueError`` for another parameter.
        """
        if method is not None and not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        name = getattr(self, "_tensor_name", None)
        if method is not None and name is not None and name != method._tensor_name:
            raise ValueError(
                "Can only add pruning methods acting on the parameter named "
                f"'{name}' to PruningContainer {self}. Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[BasePruningMethod]:
        return iter(self._pruning_methods)

    def __getitem__(self, idx: int) -> BasePruningMethod:
        return self._pruning_methods[idx]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask of the last method, asked about what ``default_mask`` keeps.

        Raises: ``ValueError`` for an unknown ``PRUNING_TYPE``.
        """
        method: Any = self._pruning_methods[-1]
        mask = default_mask.to(dtype=t.dtype)
        place: Any
        if method.PRUNING_TYPE == "unstructured":
            place = mask == 1
        elif method.PRUNING_TYPE == "structured":
            if not hasattr(method, "dim"):
                raise AttributeError(
                    "Pruning methods of PRUNING_TYPE "
                    '"structured" need to have the attribute `dim` defined.'
                )
            dim = method.dim % t.dim()
            others = [d for d in range(t.dim()) if d != dim]
            kept = mask.sum(dim=others) != 0
            place = (*(slice(None) for _ in range(dim)), kept)
        elif method.PRUNING_TYPE == "global":
            place = ...
        else:
            raise ValueError(f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}")
        part = method.compute_mask(t[place], default_mask=mask[place])
        out = _fresh(mask)
        out[place] = part.to(dtype=mask.dtype)
        return out


class Identity(BasePruningMethod):
    """Prunes nothing, but gives the parameter a mask of ones."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The default mask."""
        return default_mask

    @classmethod
    def apply(cls, module: Module, name: str) -> BasePruningMethod:  # type: ignore[override]
        """See :meth:`BasePruningMethod.apply`."""
        return super().apply(module, name)


class RandomUnstructured(BasePruningMethod):
    """Prunes elements at random: a fraction (float) or a number (int) of them."""

    PRUNING_TYPE = "unstructured"

    def __init__(self, amount: float) -> None:
        check_amount(amount)
        self.amount = amount

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask without the elements that get the greatest of uniform random numbers."""
        size = t.nelement()
        count = count_of(self.amount, size)
        check_amount_for(count, size)
        mask = _fresh(default_mask)
        if count:
            drawn = flambeau.rand_like(t).view(-1).topk(count)
            mask.view(-1)[drawn.indices] = 0
        return mask

    @classmethod
    def apply(cls, module: Module, name: str, amount: float) -> BasePruningMethod:  # type: ignore[override]
        """See :meth:`BasePruningMethod.apply`."""
        return super().apply(module, name, amount=amount)


class L1Unstructured(BasePruningMethod):
    """Prunes the elements of smallest absolute value: a fraction (float) or a number (int)."""

    PRUNING_TYPE = "unstructured"

    def __init__(self, amount: float) -> None:
        check_amount(amount)
        self.amount = amount

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask without the elements of smallest absolute value."""
        size = t.nelement()
        count = count_of(self.amount, size)
        check_amount_for(count, size)
        mask = _fresh(default_mask)
        if count:
            smallest = t.abs().view(-1).topk(count, largest=False)
            mask.view(-1)[smallest.indices] = 0
        return mask

    @classmethod
    def apply(  # type: ignore[override]
        cls, module: Module, name: str, amount: float, importance_scores: Tensor | None = None
    ) -> BasePruningMethod:
        """See :meth:`BasePruningMethod.apply`."""
        return super().apply(module, name, amount=amount, importance_scores=importance_scores)


def _channels(t: Tensor, default_mask: Tensor, dim: int, kept: Tensor) -> Tensor:
    """The default mask with only the kept channels of ``dim``."""
    shape = [1] * t.dim()
    shape[dim] = -1
    return default_mask * kept.to(default_mask.dtype).reshape(shape)


class RandomStructured(BasePruningMethod):
    """Prunes channels of a dimension at random: a fraction (float) or a number (int)."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount: float, dim: int = -1) -> None:
        check_amount(amount)
        self.amount = amount
        self.dim = dim

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask without the channels that get the smallest of uniform random numbers."""
        check_structured(t)
        check_dim(t, self.dim)
        size = t.shape[self.dim]
        count = count_of(self.amount, size)
        check_amount_for(count, size)
        if not count:
            return default_mask
        drawn = flambeau.rand(size)
        kept = drawn > flambeau.kthvalue(drawn, k=count).values
        return _channels(t, default_mask, self.dim, kept)

    @classmethod
    def apply(  # type: ignore[override]
        cls, module: Module, name: str, amount: float, dim: int = -1
    ) -> BasePruningMethod:
        """See :meth:`BasePruningMethod.apply`."""
        return super().apply(module, name, amount=amount, dim=dim)


class LnStructured(BasePruningMethod):
    """Prunes the channels of a dimension with the smallest norm of order ``n``."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount: float, n: Any, dim: int = -1) -> None:
        check_amount(amount)
        self.amount = amount
        self.n = n
        self.dim = dim

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask without the channels of smallest norm."""
        check_structured(t)
        check_dim(t, self.dim)
        size = t.shape[self.dim]
        count = count_of(self.amount, size)
        check_amount_for(count, size)
        if not count:
            return default_mask
        largest = flambeau.topk(norm_along(t, self.n, self.dim), k=size - count)
        kept = flambeau.zeros(size)
        kept[largest.indices] = 1
        return _channels(t, default_mask, self.dim, kept)

    @classmethod
    def apply(  # type: ignore[override]
        cls,
        module: Module,
        name: str,
        amount: float,
        n: Any,
        dim: int,
        importance_scores: Tensor | None = None,
    ) -> BasePruningMethod:
        """See :meth:`BasePruningMethod.apply`."""
        return super().apply(
            module, name, amount=amount, n=n, dim=dim, importance_scores=importance_scores
        )


class CustomFromMask(BasePruningMethod):
    """Prunes what a given mask leaves out."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The default mask times the given one.

        Raises: ``AssertionError`` if their shapes differ.
        """
        if default_mask.shape != self.mask.shape:
            raise AssertionError(
                f"default_mask shape {default_mask.shape} must match self.mask shape "
                f"{self.mask.shape}"
            )
        return default_mask * self.mask.to(dtype=default_mask.dtype)

    @classmethod
    def apply(cls, module: Module, name: str, mask: Tensor) -> BasePruningMethod:  # type: ignore[override]
        """See :meth:`BasePruningMethod.apply`."""
        return super().apply(module, name, mask=mask)


# --- the same as functions ----------------------------------------------------------------------


def identity(module: Module, name: str) -> Module:
    """Gives a parameter a mask of ones; the module.

    >>> layer = torch.nn.utils.prune.identity(nn.Linear(2, 1), "bias")
    >>> layer.bias_mask
    tensor([1.])
    """
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: float) -> Module:
    """Prunes a fraction (float) or a number (int) of elements at random; the module.

    >>> layer = torch.nn.utils.prune.random_unstructured(nn.Linear(2, 3), "weight", amount=1)
    >>> int((layer.weight_mask == 0).sum())
    1
    """
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(
    module: Module, name: str, amount: float, importance_scores: Tensor | None = None
) -> Module:
    """Prunes the elements of smallest absolute value (or score); the module.

    >>> layer = torch.nn.utils.prune.l1_unstructured(nn.Linear(2, 3), "weight", amount=0.5)
    >>> sorted(layer.state_dict())
    ['bias', 'weight_mask', 'weight_orig']
    """
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: float, dim: int) -> Module:
    """Prunes a fraction (float) or a number (int) of channels at random; the module.

    >>> layer = torch.nn.utils.prune.random_structured(nn.Linear(5, 3), "weight", amount=3, dim=1)
    >>> int((layer.weight.sum(dim=0) == 0).sum())
    3
    """
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(
    module: Module,
    name: str,
    amount: float,
    n: Any,
    dim: int,
    importance_scores: Tensor | None = None,
) -> Module:
    """Prunes the channels of smallest norm of order ``n``; the module.

    >>> layer = nn.Conv2d(5, 3, 2)
    >>> layer = torch.nn.utils.prune.ln_structured(layer, "weight", 0.3, dim=1, n=float("-inf"))
    >>> int((layer.weight_mask.sum(dim=(0, 2, 3)) == 0).sum())
    2
    """
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    """Prunes what the mask leaves out; the module.

    >>> mask = torch.tensor([0, 1, 0])
    >>> torch.nn.utils.prune.custom_from_mask(nn.Linear(5, 3), "bias", mask).bias_mask
    tensor([0., 1., 0.])
    """
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Iterable[tuple[Module, str]],
    pruning_method: type[BasePruningMethod],
    importance_scores: dict[tuple[Module, str], Tensor] | None = None,
    **kwargs: Any,
) -> None:
    """Prunes several parameters as if they were one vector.

    Args:
        parameters: pairs of a module and the name of a parameter.
        pruning_method: an unstructured method; ``kwargs`` are for its constructor.
        importance_scores: by pair, decide in place of the parameters' own values.
    Raises: ``TypeError`` if ``parameters`` or the scores are of the wrong kind, or the method is
    not unstructured.

    >>> net = nn.Sequential(nn.Linear(10, 4), nn.Linear(4, 1))
    >>> torch.nn.utils.prune.global_unstructured(
    ...     ((net[0], "weight"), (net[1], "weight")),
    ...     torch.nn.utils.prune.L1Unstructured,
    ...     amount=10,
    ... )
    >>> int(sum((mask == 0).sum() for mask in net.buffers()))
    10
    """
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    parameters = list(parameters)
    scores = {} if importance_scores is None else importance_scores
    if not isinstance(scores, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    flat = flambeau.nn.utils.parameters_to_vector(
        [scores.get((module, name), getattr(module, name)) for module, name in parameters]
    )
    masks = [
        getattr(module, name + "_mask", flambeau.ones_like(getattr(module, name)))
        for module, name in parameters
    ]
    container = PruningContainer()
    container._tensor_name = "temp"
    method: Any = pruning_method(**kwargs)
    method._tensor_name = "temp"
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            'Only "unstructured" PRUNING_TYPE supported for '
            f"the `pruning_method`. Found method {pruning_method} of type {method.PRUNING_TYPE}"
        )
    container.add_pruning_method(method)
    with flambeau.no_grad():
        whole = container.compute_mask(flat, flambeau.nn.utils.parameters_to_vector(masks))
    start = 0
    for module, name in parameters:
        param = getattr(module, name)
        end = start + param.numel()
        custom_from_mask(module, name, mask=whole[start:end].view_as(param))
        start = end


def remove(module: Module, name: str) -> Module:
    """Makes the pruned values those of the ordinary parameter; the module.

    Raises: ``ValueError`` if the parameter is not pruned.

    >>> layer = torch.nn.utils.prune.random_unstructured(nn.Linear(5, 7), "weight", amount=0.2)
    >>> list(torch.nn.utils.prune.remove(layer, "weight").state_dict())
    ['bias', 'weight']
    """
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(
        f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed"
    )


def is_pruned(module: Module) -> bool:
    """Whether the module, or one below it, is pruned.

    >>> torch.nn.utils.prune.is_pruned(nn.Linear(5, 7))
    False
    """
    return any(
        isinstance(hook, BasePruningMethod)
        for below in module.modules()
        for hook in below._forward_pre_hooks.values()
    )
