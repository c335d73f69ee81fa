"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.optim._apply import Group, Number, State, number
from flambeau.optim._check import check_fused, check_lr, check_weight_decay, require
from flambeau.optim.optimizer import Optimizer, ParamsT


class SGD(Optimizer):
    r"""Stochastic gradient descent, with momentum [Polyak 1964] or Nesterov's momentum [Sutskever
    et al. 2013].

    .. math::
        g \leftarrow g + \lambda \theta, \quad b \leftarrow \mu b + (1 - \tau) g, \quad
        \theta \leftarrow \theta - \gamma b \ \text{ (Nesterov: } \theta - \gamma (g + \mu
        b)\text{)}

    with weight decay :math:`\lambda`, momentum :math:`\mu`, dampening :math:`\tau`; the first
    :math:`b` is :math:`g`. ``foreach`` and ``fused`` are accepted and change nothing: all
    parameters are updated in one program anyway.

    Raises:
        ValueError: for negative options, or ``nesterov`` without momentum or with dampening.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = torch.optim.SGD([w], lr=0.1, momentum=0.9)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.8000, 1.6000], requires_grad=True)
    """

    sparse_message = None

    def __init__(
        self,
        params: ParamsT,
        lr: float | flambeau.Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | flambeau.Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr(lr)
        require(momentum >= 0.0, f"Invalid momentum value: {momentum}")
        check_weight_decay(weight_decay)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        require(
            not nesterov or (momentum > 0 and dampening == 0),
            "Nesterov momentum requires a momentum and zero dampening",
        )
        super().__init__(params, defaults)
        check_fused(fused, foreach, differentiable)

    def init_state(self, param: flambeau.Tensor, group: Group) -> State:
        return {} if group["momentum"] == 0 else {"momentum_buffer": None}

    def numbers(self, state: State, group: Group) -> dict[str, Number]:
        return {
            "lr": number(group["lr"]),
            "momentum": group["momentum"],
            "dampening": group["dampening"],
            "weight_decay": number(group["weight_decay"]),
            "nesterov": group["nesterov"],
            "maximize": group["maximize"],
            "first": state.get("momentum_buffer") is None,
        }

    def update(self, param: flambeau.Tensor, grad: flambeau.Tensor, state: State, n: Any) -> None:
        if n.weight_decay != 0:
            grad = grad.add(param, alpha=n.weight_decay)
        if n.momentum != 0:
            if n.first:
                state["momentum_buffer"] = grad.clone()
            else:
                state["momentum_buffer"].mul_(n.momentum).add_(grad, alpha=1 - n.dampening)
            buffer = state["momentum_buffer"]
            grad = grad.add(buffer, alpha=n.momentum) if n.nesterov else buffer
        param.add_(grad, alpha=-n.lr)


SAMPLES = {
    "optim.SGD": "; 0.1; lr=0.1, momentum=0.9; lr=0.1, momentum=0.9, nesterov=True;"
    " 0.05, 0.5, 0.2, 0.1; lr=0.01, maximize=True; lr=torch.tensor(0.1); lr=0.1, weight_decay=1;"
    " lr=0.1, foreach=True; !lr=-1; !momentum=-0.1; !weight_decay=-1.0; !nesterov=True;"
    " !0.1, 0.9, 0.1, nesterov=True; !lr='a'",
}
