"""The norm of each parameter's gradient, to be logged."""

from __future__ import annotations

from flambeau import nn
from flambeau.tensor import Tensor

__all__ = ["grad_norm"]


def grad_norm(
    module: nn.Module, norm_type: float | int | str, group_separator: str = "/"
) -> dict[str, float | Tensor]:
    """The norm of each parameter's gradient and that of all of them together.

    The keys are ``grad_{norm_type}_norm/{name}`` and ``grad_{norm_type}_norm_total``.

    Raises: ``ValueError`` if ``norm_type`` is not positive.

    >>> layer = nn.Linear(1, 1, bias=False)
    >>> layer(torch.tensor([[3.0]])).sum().backward()
    >>> grad_norm(layer, 2)
    {'grad_2.0_norm/weight': tensor(3.), 'grad_2.0_norm_total': tensor(3.)}
    """
    norm_type = float(norm_type)
    if norm_type <= 0:
        raise ValueError(f"`norm_type` must be a positive number or 'inf', got {norm_type}")
    norms: dict[str, float | Tensor] = {
        f"grad_{norm_type}_norm{group_separator}{name}": p.grad.detach().norm(norm_type)
        for name, p in module.named_parameters()
        if p.grad is not None
    }
    if norms:
        import flambeau  # upward: the face, as a script uses it

        stacked = flambeau.stack([flambeau.as_tensor(n) for n in norms.values()])
        norms[f"grad_{norm_type}_norm_total"] = stacked.norm(norm_type)
    return norms
