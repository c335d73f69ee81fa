"""AdamW."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.optim.adam import Adam
from flambeau.optim.optimizer import ParamsT


class AdamW(Adam):
    r"""Adam whose weight decay does not pass through the averages [Loshchilov and Hutter 2019].

    The parameter is first shrunk by :math:`1 - \gamma \lambda`, then updated as by :class:`Adam`.

    Raises:
        ValueError: for options out of range.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.AdamW([w], lr=0.5, weight_decay=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.4500, -1.4000], requires_grad=True)
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | flambeau.Tensor = 1e-3,
        betas: tuple[float | flambeau.Tensor, float | flambeau.Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        # Files of earlier versions do not say that AdamW's decay is decoupled.
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True


SAMPLES = {
    "optim.AdamW": "; 0.1; lr=0.1, betas=(0.5, 0.9), eps=1e-3;"
    " lr=0.1, amsgrad=True, weight_decay=0.5; lr=0.1, weight_decay=0, maximize=True;"
    " lr=torch.tensor(0.1), capturable=False; !lr=-1; !betas=(0.9, 1.0); !betas=(0, 0.9);"
    " !eps=-1e-8; !weight_decay=-1",
}
