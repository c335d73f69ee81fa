"""Rprop."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.optim._apply import Group, Number, State, advance, new_counter, number
from flambeau.optim._check import check_lr, require
from flambeau.optim.optimizer import Optimizer, ParamsT


class Rprop(Optimizer):
    r"""Resilient back-propagation: steps from the signs of gradients alone [Riedmiller and Braun
    1993].

    Each element keeps a step size :math:`\eta`: it grows by ``etas[1]`` while the gradient keeps
    its sign, shrinks by ``etas[0]`` when it changes (and that update is skipped), and stays within
    ``step_sizes``:

    .. math:: \theta \leftarrow \theta - \operatorname{sign}(g)\, \eta

    Raises:
        ValueError: for a negative ``lr``, or unless ``0 < etas[0] < 1 < etas[1]``.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.Rprop([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5000, -1.5000], requires_grad=True)
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | flambeau.Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        require(0.0 < etas[0] < 1.0 < etas[1], f"Invalid eta values: {etas[0]}, {etas[1]}")
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def init_state(self, param: flambeau.Tensor, group: Group) -> State:
        lr = number(group["lr"])
        # Both parts of a complex parameter start with the same step.
        first = complex(lr, lr) if param.is_complex() else lr
        return {
            "step": new_counter(),
            "prev": flambeau.zeros_like(param),
            "step_size": flambeau.full_like(param, first),
        }

    def numbers(self, state: State, group: Group) -> dict[str, Number]:
        advance(state["step"])
        shrink, grow = group["etas"]
        smallest, largest = group["step_sizes"]
        return {
            "shrink": shrink,
            "grow": grow,
            "smallest": smallest,
            "largest": largest,
            "maximize": group["maximize"],
        }

    def update(self, param: flambeau.Tensor, grad: flambeau.Tensor, state: State, n: Any) -> None:
        agreement = grad * state["prev"]
        turned = agreement < 0
        factor = flambeau.ones_like(grad)
        factor = factor.masked_fill(agreement > 0, n.grow).masked_fill(turned, n.shrink)
        size = state["step_size"].mul_(factor).clamp_(n.smallest, n.largest)
        grad = grad.masked_fill(turned, 0)
        param.addcmul_(grad.sign(), size, value=-1)
        state["prev"].copy_(grad)


SAMPLES = {
    "optim.Rprop": "; 0.1; lr=0.1, etas=(0.3, 1.5); lr=0.1, step_sizes=(0.05, 0.2);"
    " lr=0.1, maximize=True; !lr=-1; !etas=(1.5, 2.0); !etas=(0.5, 0.9)",
}
