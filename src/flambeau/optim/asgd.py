"""Averaged stochastic gradient descent."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.optim._apply import Group, Number, State, advance, new_counter, number, store
from flambeau.optim._check import check_lr, check_weight_decay
from flambeau.optim.optimizer import Optimizer, ParamsT


class ASGD(Optimizer):
    r"""SGD that also keeps the average of its parameters [Polyak and Juditsky 1992].

    .. math::
        \theta \leftarrow (1 - \lambda \eta_t) \theta - \eta_t g, \quad
        a \leftarrow a + \mu_t (\theta - a), \quad
        \eta_{t+1} = \frac{\gamma}{(1 + \lambda \gamma t)^\alpha}, \quad
        \mu_{t+1} = \frac{1}{\max(1, t - t_0)}

    The average :math:`a` is ``optimizer.state[parameter]["ax"]``.

    Raises:
        ValueError: for a negative ``lr`` or ``weight_decay``.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.ASGD([w], lr=0.25, lambd=0)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5000, -1.0000], requires_grad=True)
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | flambeau.Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_lr(lr)
        check_weight_decay(weight_decay)
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def init_state(self, param: flambeau.Tensor, group: Group) -> State:
        return {
            "step": new_counter(),
            "eta": new_counter(number(group["lr"])),
            "mu": new_counter(1.0),
            "ax": flambeau.zeros_like(param),
        }

    def numbers(self, state: State, group: Group) -> dict[str, Number]:
        step = advance(state["step"])
        lr = number(group["lr"])
        eta, mu = state["eta"].item(), state["mu"].item()
        store(state["eta"], lr / (1 + group["lambd"] * lr * step) ** group["alpha"])
        store(state["mu"], 1 / max(1, step - group["t0"]))
        return {
            "eta": eta,
            "shrink": 1 - group["lambd"] * eta,
            "mu": mu,
            "averaging": mu != 1,
            "weight_decay": group["weight_decay"],
            "maximize": group["maximize"],
        }

    def update(self, param: flambeau.Tensor, grad: flambeau.Tensor, state: State, n: Any) -> None:
        if n.weight_decay != 0:
            grad = grad.add(param, alpha=n.weight_decay)
        param.mul_(n.shrink).add_(grad, alpha=-n.eta)
        average = state["ax"]
        if n.averaging:
            average.add_(param.sub(average), alpha=n.mu)
        else:
            average.copy_(param)


SAMPLES = {
    "optim.ASGD": "; 0.1; lr=0.1, lambd=0.01, alpha=0.5, t0=2; lr=0.1, weight_decay=0.3;"
    " lr=0.1, maximize=True; !lr=-1; !weight_decay=-1",
}
