"""RAdam."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.optim._apply import Group, Number, State, advance, new_counter, number
from flambeau.optim._check import check_betas, check_eps, check_lr, check_weight_decay
from flambeau.optim.optimizer import Optimizer, ParamsT


class RAdam(Optimizer):
    r"""Adam that rectifies the variance of its early steps [Liu et al. 2020].

    .. math::
        \rho_\infty = \frac{2}{1 - \beta_2} - 1, \quad
        \rho_t = \rho_\infty - \frac{2 t \beta_2^t}{1 - \beta_2^t}, \quad
        r_t = \sqrt{\frac{(\rho_t - 4)(\rho_t - 2) \rho_\infty}
        {(\rho_\infty - 4)(\rho_\infty - 2) \rho_t}}

    While :math:`\rho_t \le 5` the step is :math:`\gamma \hat m`; then
    :math:`\gamma \hat m\, r_t \sqrt{1 - \beta_2^t} / (\sqrt v + \epsilon)`.

    Raises:
        ValueError: for options out of range.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.RAdam([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5000, -1.0000], requires_grad=True)
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | flambeau.Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        check_eps(eps)
        check_betas(betas)
        check_weight_decay(weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def init_state(self, param: flambeau.Tensor, group: Group) -> State:
        return {
            "step": new_counter(),
            "exp_avg": flambeau.zeros_like(param),
            "exp_avg_sq": flambeau.zeros_like(param),
        }

    def numbers(self, state: State, group: Group) -> dict[str, Number]:
        step = advance(state["step"])
        lr = number(group["lr"])
        beta1, beta2 = group["betas"]
        correction2 = 1 - beta2**step
        decoupled = group["decoupled_weight_decay"]
        rectifier = _rectifier(step, beta2)
        return {
            "beta1": beta1,
            "beta2": beta2,
            "eps": group["eps"],
            "lr": lr,
            "weight_decay": 0 if decoupled else group["weight_decay"],
            "shrink": 1 - lr * group["weight_decay"] if decoupled else None,
            "maximize": group["maximize"],
            "bias_correction1": 1 - beta1**step,
            "rectified": rectifier is not None,
            "adaptive": 0.0 if rectifier is None else rectifier * correction2**0.5,
        }

    def update(self, param: flambeau.Tensor, grad: flambeau.Tensor, state: State, n: Any) -> None:
        if n.shrink is not None:
            param.mul_(n.shrink)
        if n.weight_decay != 0:
            grad = grad.add(param, alpha=n.weight_decay)
        mean = state["exp_avg"].lerp_(grad, 1 - n.beta1)
        square = state["exp_avg_sq"].mul_(n.beta2).addcmul_(grad, grad, value=1 - n.beta2)
        step = mean / n.bias_correction1
        if n.rectified:
            step = step * (n.adaptive / square.sqrt().add_(n.eps))
        param.add_(step, alpha=-n.lr)


def _rectifier(step: float, beta2: float) -> float | None:
    """The factor of the variance, or None while the variance cannot be told."""
    rho_limit = 2 / (1 - beta2) - 1
    rho = rho_limit - 2 * step * beta2**step / (1 - beta2**step)
    if rho <= 5.0:
        return None
    return ((rho - 4) * (rho - 2) * rho_limit / ((rho_limit - 4) * (rho_limit - 2) * rho)) ** 0.5


SAMPLES = {
    "optim.RAdam": "; 0.1; lr=0.1, betas=(0.5, 0.9), eps=1e-3; lr=0.1, weight_decay=0.3;"
    " lr=0.1, weight_decay=0.3, decoupled_weight_decay=True; lr=0.1, maximize=True;"
    " 0.1, (0.5, 0.999); !lr=-1; !eps=-1; !betas=(1.0, 0.9); !betas=(0.9, 1.0); !weight_decay=-1",
}
