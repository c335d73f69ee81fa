"""Spectral normalisation by a hook before each call: the older form of the parametrization."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.nn import functional as F
from flambeau.nn.module import Module
from flambeau.nn.parameter import Parameter, is_lazy
from flambeau.nn.utils.parametrizations import output_dim
from flambeau.tensor import Tensor

__all__ = [
    "SpectralNorm",
    "SpectralNormLoadStateDictPreHook",
    "SpectralNormStateDictHook",
    "remove_spectral_norm",
    "spectral_norm",
]


class SpectralNorm:
    """The hook: divides ``name_orig`` by its spectral norm, along singular vectors in buffers."""

    # Version 1 keeps both singular vectors.
    _version: int = 1

    def __init__(
        self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        self.name = name
        self.dim = dim
        self.n_power_iterations = n_power_iterations
        self.eps = eps

    def reshape_weight_to_matrix(self, weight: Tensor) -> Tensor:
        """The weight with dimension ``dim`` as rows, and all others as columns."""
        return weight.movedim(self.dim, 0).flatten(1)

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Tensor:
        """The weight, after steps of the power method that change the buffers."""
        weight = getattr(module, self.name + "_orig")
        u, v = getattr(module, self.name + "_u"), getattr(module, self.name + "_v")
        matrix = self.reshape_weight_to_matrix(weight)
        if do_power_iteration:
            with flambeau.no_grad():
                for _ in range(self.n_power_iterations):
                    v.copy_(F.normalize(matrix.t().mv(u), dim=0, eps=self.eps))
                    u.copy_(F.normalize(matrix.mv(v), dim=0, eps=self.eps))
                # The buffers change at the next call, which must not disturb this gradient.
                u, v = u.clone(), v.clone()
        return weight / flambeau.dot(u, matrix.mv(v))

    def remove(self, module: Module) -> None:
        """Makes the weight as it is now an ordinary parameter."""
        with flambeau.no_grad():
            weight = self.compute_weight(module, do_power_iteration=False)
        delattr(module, self.name)
        for suffix in ("_u", "_v", "_orig"):
            delattr(module, self.name + suffix)
        module.register_parameter(self.name, Parameter(weight.detach()))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, module.training))

    def _solve_v_and_rescale(self, matrix: Tensor, u: Tensor, sigma: Tensor) -> Tensor:
        """The right vector that belongs to ``u``, for state dicts that hold only that."""
        v = flambeau.linalg.multi_dot(
            [matrix.t().mm(matrix).pinverse(), matrix.t(), u.unsqueeze(1)]
        ).squeeze(1)
        return v.mul_(sigma / flambeau.dot(u, matrix.mv(v)))

    @staticmethod
    def apply(
        module: Module, name: str, n_power_iterations: int, dim: int, eps: float
    ) -> SpectralNorm:
        """Registers the hook for a weight, and its buffers."""
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm) and hook.name == name:
                raise RuntimeError(
                    f"Cannot register two spectral_norm hooks on the same parameter {name}"
                )
        hook = SpectralNorm(name, n_power_iterations, dim, eps)
        weight = module._parameters[name]
        if weight is None:
            raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
        if is_lazy(weight):
            raise ValueError(
                "The module passed to `SpectralNorm` can't have uninitialized parameters. Make "
                "sure to run the dummy forward before applying spectral normalization"
            )
        with flambeau.no_grad():
            matrix = hook.reshape_weight_to_matrix(weight)
            u, v = (
                F.normalize(weight.new_empty(size).normal_(0, 1), dim=0, eps=eps)
                for size in matrix.shape
            )
        delattr(module, name)
        module.register_parameter(name + "_orig", weight)
        # An attribute and no parameter, so that it is not trained, loaded or saved.
        setattr(module, name, weight.data)
        module.register_buffer(name + "_u", u)
        module.register_buffer(name + "_v", v)
        module.register_forward_pre_hook(hook)
        module._register_state_dict_hook(SpectralNormStateDictHook(hook))
        module._register_load_state_dict_pre_hook(SpectralNormLoadStateDictPreHook(hook))
        return hook


class SpectralNormLoadStateDictPreHook:
    """Completes state dicts from before version 1, which hold no right singular vector."""

    def __init__(self, fn: SpectralNorm) -> None:
        self.fn = fn

    def __call__(
        self,
        state_dict: dict,
        prefix: str,
        local_metadata: dict,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        version = local_metadata.get("spectral_norm", {}).get(self.fn.name + ".version")
        key = prefix + self.fn.name
        if version is not None and version >= 1:
            return
        parts = [key + suffix for suffix in ("_orig", "_u", "_v")]
        complete = all(part in state_dict for part in parts)
        if version is None and complete and key not in state_dict:
            return
        missing = [part for part in (key + "_orig", key, key + "_u") if part not in state_dict]
        if missing:
            if strict:
                missing_keys.extend(missing)
            return
        with flambeau.no_grad():
            weight = state_dict[key + "_orig"]
            divided = state_dict.pop(key)
            sigma = (weight / divided).mean()
            matrix = self.fn.reshape_weight_to_matrix(weight)
            state_dict[key + "_v"] = self.fn._solve_v_and_rescale(
                matrix, state_dict[key + "_u"], sigma
            )


class SpectralNormStateDictHook:
    """Notes the version in the metadata of a state dict."""

    def __init__(self, fn: SpectralNorm) -> None:
        self.fn = fn

    def __call__(self, module: Module, state_dict: dict, prefix: str, local_metadata: dict) -> None:
        versions = local_metadata.setdefault("spectral_norm", {})
        key = self.fn.name + ".version"
        if key in versions:
            raise RuntimeError(f"Unexpected key in metadata['spectral_norm']: {key}")
        versions[key] = self.fn._version


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    r"""Divides a weight by its spectral norm before each call [Miyato et al. 2018].

    .. math:: w = \frac{W}{\sigma(W)}, \quad \sigma(W) = \max_{h \ne 0} \frac{\lVert W h \rVert}
        {\lVert h \rVert}

    The parameter is ``name_orig``; buffers ``name_u`` and ``name_v`` follow its singular vectors,
    with ``n_power_iterations`` of the power method at each call in training mode.
    :func:`torch.nn.utils.parametrizations.spectral_norm` is the newer form.

    Raises: ``ValueError`` if ``n_power_iterations`` is not positive, ``RuntimeError`` if the weight
    is normalised so already.

    >>> layer = torch.nn.utils.spectral_norm(nn.Linear(20, 40))
    >>> layer.weight_u.size()
    torch.Size([40])
    """
    SpectralNorm.apply(module, name, n_power_iterations, output_dim(module, dim), eps)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Undoes :func:`spectral_norm`, keeping the weight's values.

    Raises: ``ValueError`` if the weight is not normalised.
    """
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            break
    else:
        raise ValueError(f"spectral_norm of '{name}' not found in {module}")
    for hooks in (module._state_dict_hooks, module._load_state_dict_pre_hooks):
        for key, hook in list(hooks.items()):
            inner = getattr(hook, "hook", hook)
            fn = getattr(inner, "fn", None)
            if isinstance(fn, SpectralNorm) and fn.name == name:
                del hooks[key]
    return module


SAMPLES = {
    "nn.utils.spectral_norm": "nn.Linear(4, 3) | x;"
    " nn.Conv1d(4, 2, 3), n_power_iterations=2, eps=1e-6 | line; nn.Linear(4, 4), dim=1 | x;"
    " !nn.ReLU(); !nn.Linear(4, 3), n_power_iterations=0",
    "nn.utils.remove_spectral_norm": "nn.utils.spectral_norm(nn.Linear(4, 3)); !nn.Linear(4, 3)",
}
