"""Muon."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.optim._apply import Group, Number, State, number
from flambeau.optim._check import check_lr, require
from flambeau.optim.optimizer import Optimizer, ParamsT


class Muon(Optimizer):
    r"""Momentum steps made orthogonal by Newton-Schulz iterations, for matrices [Jordan et al.
    2024].

    .. math::
        b \leftarrow \mu b + (1 - \mu) g, \quad
        u = (1 - \mu) g + \mu b \ \text{ (Nesterov)}, \quad
        \theta \leftarrow (1 - \gamma \lambda) \theta - \gamma' \operatorname{orthogonal}(u)

    ``adjust_lr_fn`` chooses :math:`\gamma'`: ``"original"`` (or None) is
    :math:`\gamma \sqrt{\max(1, \text{rows} / \text{columns})}`, ``"match_rms_adamw"`` is
    :math:`0.2 \gamma \sqrt{\max(\text{rows}, \text{columns})}`. The iterations run in bfloat16.

    Raises:
        ValueError: for options out of range, or parameters that are not matrices.

    >>> import flambeau as torch
    >>> w = torch.eye(2, requires_grad=True)
    >>> optimizer = torch.optim.Muon([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> sorted(optimizer.state[w])
    ['momentum_buffer']
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        check_lr(lr, "Learning rate should be >= 0 but is: {}")
        require(momentum >= 0.0, f"momentum should be >= 0 but is: {momentum}")
        require(weight_decay >= 0.0, f"weight decay should be >= 0 but is: {weight_decay}")
        require(
            adjust_lr_fn in (None, "original", "match_rms_adamw"),
            f"Adjust learning rate function {adjust_lr_fn} is not supported",
        )
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for param in group["params"]:
                require(
                    param.dim() == 2,
                    "Muon only supports 2D parameters whereas we found a parameter with size: "
                    f"{param.size()}",
                )

    def init_state(self, param: flambeau.Tensor, group: Group) -> State:
        if param.is_complex():
            raise RuntimeError("Muon does not support complex parameters")
        return {"momentum_buffer": flambeau.zeros_like(param.grad)}

    def numbers(self, state: State, group: Group) -> dict[str, Number]:
        lr = number(group["lr"])
        a, b, c = group["ns_coefficients"]
        rows, columns = state["momentum_buffer"].shape
        if group["adjust_lr_fn"] == "match_rms_adamw":
            factor = 0.2 * max(rows, columns) ** 0.5
        else:
            factor = max(1, rows / columns) ** 0.5
        return {
            "step_size": lr * factor,
            "shrink": 1 - lr * group["weight_decay"],
            "momentum": group["momentum"],
            "nesterov": group["nesterov"],
            "a": a,
            "b": b,
            "c": c,
            "eps": group["eps"],
            "ns_steps": group["ns_steps"],
            "maximize": False,
        }

    def update(self, param: flambeau.Tensor, grad: flambeau.Tensor, state: State, n: Any) -> None:
        buffer = state["momentum_buffer"].lerp_(grad, 1 - n.momentum)
        direction = grad.lerp(buffer, n.momentum) if n.nesterov else buffer
        direction = _orthogonalised(direction, n)
        param.mul_(n.shrink).add_(direction, alpha=-n.step_size)


def _orthogonalised(matrix: flambeau.Tensor, n: Any) -> flambeau.Tensor:
    """Singular values pushed towards 1 by the polynomial ``a x + b x^3 + c x^5``."""
    if not 0 <= n.ns_steps < 100:
        raise ValueError("Number of steps must be less than 100 for computational efficiency")
    tall = matrix.size(0) > matrix.size(1)
    x = matrix.bfloat16()
    if tall:
        x = x.T
    x = x / x.norm().clamp(min=n.eps)
    for _ in range(n.ns_steps):
        gram = x @ x.T
        gram = flambeau.addmm(gram, gram, gram, beta=n.b, alpha=n.c)
        x = flambeau.addmm(x, gram, x, beta=n.a)
    return x.T if tall else x


SAMPLES = {
    "optim.Muon": "; 0.1; lr=0.1, weight_decay=0.5, momentum=0.5, nesterov=False;"
    " 0.1, ns_steps=2, eps=1e-3; 0.1, adjust_lr_fn='match_rms_adamw';"
    " 0.1, ns_coefficients=(3.0, -4.0, 2.0); !lr=-1; !momentum=-1; !weight_decay=-1;"
    " !adjust_lr_fn='other'",
}
