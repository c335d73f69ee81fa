"""Weight normalisation by a hook before each call: the older form of the parametrization."""

from __future__ import annotations

import warnings
from typing import Any

from flambeau.nn.module import Module
from flambeau.nn.parameter import Parameter, is_lazy
from flambeau.nn.utils.parametrizations import norm_except_dim
from flambeau.tensor import Tensor

__all__ = ["WeightNorm", "remove_weight_norm", "weight_norm"]


class WeightNorm:
    """The hook: computes a weight from its length ``name_g`` and direction ``name_v``."""

    name: str
    dim: int

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module: Module) -> Tensor:
        """The weight, from length and direction."""
        g, v = getattr(module, self.name + "_g"), getattr(module, self.name + "_v")
        return v * (g / norm_except_dim(v, self.dim))

    @staticmethod
    def apply(module: Module, name: str, dim: int | None) -> WeightNorm:
        """Registers the hook for a weight, and its length and direction in the weight's place."""
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm) and hook.name == name:
                raise RuntimeError(
                    f"Cannot register two weight_norm hooks on the same parameter {name}"
                )
        hook = WeightNorm(name, dim)
        weight = getattr(module, name)
        if is_lazy(weight):
            raise ValueError(
                "The module passed to `WeightNorm` can't have uninitialized parameters. Make sure "
                "to run the dummy forward before applying weight normalization"
            )
        del module._parameters[name]
        length = norm_except_dim(weight.detach(), hook.dim)
        module.register_parameter(name + "_g", Parameter(length))
        module.register_parameter(name + "_v", Parameter(weight.data))
        setattr(module, name, hook.compute_weight(module))
        module.register_forward_pre_hook(hook)
        return hook

    def remove(self, module: Module) -> None:
        """Makes the weight as it is now an ordinary parameter."""
        weight = self.compute_weight(module)
        delattr(module, self.name)
        del module._parameters[self.name + "_g"], module._parameters[self.name + "_v"]
        setattr(module, self.name, Parameter(weight.data))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    r"""Has a weight be a length times a direction, worked out before each call (deprecated).

    .. math:: w = g \frac{v}{\lVert v \rVert}

    :func:`torch.nn.utils.parametrizations.weight_norm` does it on each read. The parameters are
    ``name_g`` and ``name_v``.

    Raises: ``RuntimeError`` if the weight is normalised so already.
    """
    warnings.warn(
        "`torch.nn.utils.weight_norm` is deprecated in favor of "
        "`torch.nn.utils.parametrizations.weight_norm`.",
        FutureWarning,
        stacklevel=2,
    )
    WeightNorm.apply(module, name, dim)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Undoes :func:`weight_norm`, keeping the weight's values.

    Raises: ``ValueError`` if the weight is not normalised.
    """
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, WeightNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")


SAMPLES = {
    "nn.utils.weight_norm": "nn.Linear(4, 3) | x; nn.Conv1d(4, 2, 3), dim=1 | line;"
    " nn.Linear(4, 3), dim=None | x; !nn.ReLU()",
    "nn.utils.remove_weight_norm": "nn.utils.weight_norm(nn.Linear(4, 3)); !nn.Linear(4, 3)",
}
