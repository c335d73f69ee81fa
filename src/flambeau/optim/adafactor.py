"""Adafactor."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.optim._apply import Group, Number, State, advance, new_counter, number
from flambeau.optim._check import check_lr, require
from flambeau.optim.optimizer import Optimizer, ParamsT


class Adafactor(Optimizer):
    r"""Adam-like steps whose second moments of a matrix are kept as a row and a column [Shazeer and
    Stern 2018].

    With :math:`\hat\beta_t = 1 - t^{\tau}` (:math:`\tau` = ``beta2_decay``) and
    :math:`\alpha_t = \max(\epsilon_2, \mathrm{rms}(\theta)) \min(\gamma, 1/\sqrt t)`:

    .. math::
        R \leftarrow \hat\beta_t R + (1 - \hat\beta_t) \overline{G^2}_{\text{columns}}, \quad
        C \leftarrow \hat\beta_t C + (1 - \hat\beta_t) \overline{G^2}_{\text{rows}}, \quad
        \hat V = \frac{R C}{\max(\bar R, \epsilon_1)}, \quad U = \frac{G}{\sqrt{\hat V}}

    .. math::
        \theta \leftarrow \theta - \gamma \lambda \theta - \alpha_t U / \max(1, \mathrm{rms}(U) / d)

    Vectors keep all of :math:`V`. ``eps[0]=None`` means the dtype's own epsilon.

    Raises:
        ValueError: for options out of range.
        RuntimeError: at the step, for complex parameters.

    >>> import flambeau as torch
    >>> w = torch.ones(2, 3, requires_grad=True)
    >>> optimizer = torch.optim.Adafactor([w], lr=0.5)
    >>> w.sum().backward()
    >>> optimizer.step()
    >>> sorted(optimizer.state[w])
    ['col_var', 'row_var', 'step']
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | flambeau.Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        check_lr(lr, "Learning rate should be >= 0 but is: {}")
        require(beta2_decay <= 0.0, f"beta2_decay should be <= 0 but is: {beta2_decay}")
        require(eps[0] is None or eps[0] >= 0.0, f"epsilon1 should be >= 0 but is: {eps[0]}")
        require(eps[1] >= 0.0, f"epsilon2 should be >= 0 but is: {eps[1]}")
        require(d >= 1.0, f"Clipping threshold d should be >= 1 but is: {d}")
        require(weight_decay >= 0.0, f"weight_decay should be >= 0 but is: {weight_decay}")
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def init_state(self, param: flambeau.Tensor, group: Group) -> State:
        if param.is_complex():
            raise RuntimeError("Adafactor does not support complex parameters")
        grad = param.grad
        if grad.dim() < 2:
            return {"step": new_counter(), "variance": flambeau.zeros_like(grad)}
        *batch, rows, columns = grad.shape
        return {
            "step": new_counter(),
            "row_var": grad.new_zeros((*batch, rows, 1)),
            "col_var": grad.new_zeros((*batch, 1, columns)),
        }

    def numbers(self, state: State, group: Group) -> dict[str, Number]:
        step = advance(state["step"])
        lr = number(group["lr"])
        eps1, eps2 = group["eps"]
        return {
            "eps1": eps1,
            "eps2": eps2,
            "d": group["d"],
            "one_minus_beta2": step ** group["beta2_decay"],
            "rate": min(lr, 1 / step**0.5),
            "weight_decay": group["weight_decay"],
            "shrink": 1 - lr * group["weight_decay"],
            "maximize": group["maximize"],
        }

    def update(self, param: flambeau.Tensor, grad: flambeau.Tensor, state: State, n: Any) -> None:
        eps1 = flambeau.finfo(param.dtype).eps if n.eps1 is None else n.eps1
        rate = _rms(param).clamp(min=n.eps2) * n.rate
        if n.weight_decay != 0:
            param.mul_(n.shrink)
        variance = self._variance(grad, state, n.one_minus_beta2, eps1)
        step = variance.clamp_(min=eps1 * eps1).rsqrt_().mul_(grad)
        param.sub_(step * (rate / (_rms(step) / n.d).clamp(min=1.0)))

    def _variance(
        self, grad: flambeau.Tensor, state: State, weight: float, eps1: float
    ) -> flambeau.Tensor:
        if grad.dim() < 2:
            return state["variance"].lerp_(grad.square(), weight).clone()
        row_mean = flambeau.norm(grad, dim=-1, keepdim=True).square_().div_(grad.size(-1))
        row = state["row_var"].lerp_(row_mean, weight)
        col_mean = flambeau.norm(grad, dim=-2, keepdim=True).square_().div_(grad.size(-2))
        column = state["col_var"].lerp_(col_mean, weight)
        return (row @ column).div_(row.mean(dim=-2, keepdim=True).clamp_(min=eps1))


def _rms(tensor: flambeau.Tensor) -> flambeau.Tensor:
    return tensor.norm(2) / tensor.numel() ** 0.5


SAMPLES = {
    "optim.Adafactor": "; 0.1; lr=0.1, beta2_decay=-0.5, d=2.0;"
    " lr=0.1, eps=(1e-8, 0.1), weight_decay=0.3; lr=0.1, maximize=True; lr=torch.tensor(0.1);"
    " !lr=-1; !beta2_decay=0.5; !eps=(-1.0, 0.1); !eps=(None, -1.0); !d=0.5; !weight_decay=-1",
}
