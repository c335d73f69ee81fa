"""Losses that compare numbers: regression, margins and distances."""

from __future__ import annotations

from collections.abc import Callable

from flambeau.nn import classification_loss, linear_cross_entropy
from flambeau.nn import functional as F
from flambeau.nn._loss_base import _Loss
from flambeau.nn.classification_loss import *  # noqa: F403
from flambeau.nn.distance import PairwiseDistance
from flambeau.nn.linear_cross_entropy import *  # noqa: F403
from flambeau.tensor import Tensor

__all__ = [
    *classification_loss.__all__,
    *linear_cross_entropy.__all__,
    "CosineEmbeddingLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "MarginRankingLoss",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]


class L1Loss(_Loss):
    """The mean (or sum) of the absolute differences.

    >>> torch.nn.L1Loss()(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    tensor(1.)
    """

    __constants__ = ["reduction"]

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(input, target, reduction=self.reduction)


class MSELoss(_Loss):
    """The mean (or sum) of the squared differences.

    >>> torch.nn.MSELoss()(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    tensor(2.)
    """

    __constants__ = ["reduction"]

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    r""":math:`d^2 / (2 \beta)` for differences below ``beta``, else :math:`|d| - \beta / 2`.

    >>> torch.nn.SmoothL1Loss()(torch.tensor([0.0, 2.0]), torch.tensor([0.0, 4.0]))
    tensor(0.7500)
    """

    __constants__ = ["reduction"]

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    r""":math:`d^2 / 2` below ``delta``, else :math:`\delta (|d| - \delta / 2)` [Huber 1964].

    >>> torch.nn.HuberLoss()(torch.tensor([0.0, 2.0]), torch.tensor([0.0, 4.0]))
    tensor(0.7500)
    """

    __constants__ = ["reduction", "delta"]

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        if not isinstance(delta, (float, int)):
            raise TypeError(f"delta must be a float or int, got: {type(delta)}")
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class PoissonNLLLoss(_Loss):
    """The negative log-likelihood of counts: exp(x) - y x, or x - y log x.

    ``full`` adds Stirling's approximation of log y!.

    >>> torch.nn.PoissonNLLLoss()(torch.tensor([0.0]), torch.tensor([1.0]))
    tensor(1.)
    """

    __constants__ = ["log_input", "full", "eps", "reduction"]
    log_input: bool
    full: bool
    eps: float

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        return F.poisson_nll_loss(
            log_input,
            target,
            log_input=self.log_input,
            full=self.full,
            eps=self.eps,
            reduction=self.reduction,
        )


class GaussianNLLLoss(_Loss):
    r"""The negative log-likelihood :math:`(\log \sigma^2 + (x - y)^2 / \sigma^2) / 2`.

    ``full`` adds :math:`\log(2 \pi) / 2`; variances are at least ``eps``.

    >>> torch.nn.GaussianNLLLoss()(torch.zeros(2), torch.ones(2), torch.ones(2))
    tensor(0.5000)
    """

    __constants__ = ["full", "eps", "reduction"]
    full: bool
    eps: float

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(None, None, reduction)
        self.full = full
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        return F.gaussian_nll_loss(
            input, target, var, full=self.full, eps=self.eps, reduction=self.reduction
        )


class KLDivLoss(_Loss):
    """The divergence y (log y - x) of log-probabilities ``x`` from probabilities ``y``.

    With ``log_target`` the target is in logarithms; reduction "batchmean" divides the sum by
    the batch size.

    >>> torch.nn.KLDivLoss(reduction="sum")(torch.zeros(2), torch.ones(2))
    tensor(0.)
    """

    __constants__ = ["reduction"]

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class HingeEmbeddingLoss(_Loss):
    """``x`` where the target is 1, max(0, margin - x) where it is -1.

    >>> torch.nn.HingeEmbeddingLoss()(torch.tensor([0.5, 0.5]), torch.tensor([1, -1]))
    tensor(0.5000)
    """

    __constants__ = ["margin", "reduction"]
    margin: float

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.hinge_embedding_loss(input, target, margin=self.margin, reduction=self.reduction)


class SoftMarginLoss(_Loss):
    """log(1 + exp(-y x)) for targets 1 and -1.

    >>> torch.nn.SoftMarginLoss()(torch.tensor([0.0]), torch.tensor([1.0]))
    tensor(0.6931)
    """

    __constants__ = ["reduction"]

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class CosineEmbeddingLoss(_Loss):
    """1 - cos(x1, x2) where the target is 1, max(0, cos(x1, x2) - margin) where it is -1.

    >>> loss = torch.nn.CosineEmbeddingLoss()
    >>> loss(torch.ones(1, 2), -torch.ones(1, 2), torch.tensor([-1]))
    tensor(0.)
    """

    __constants__ = ["margin", "reduction"]
    margin: float

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.cosine_embedding_loss(
            input1, input2, target, margin=self.margin, reduction=self.reduction
        )


class MarginRankingLoss(_Loss):
    """max(0, -y (x1 - x2) + margin): x1 should be ranked higher where ``y`` is 1.

    >>> loss = torch.nn.MarginRankingLoss()
    >>> loss(torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor([1.0]))
    tensor(2.)
    """

    __constants__ = ["margin", "reduction"]
    margin: float

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.margin_ranking_loss(
            input1, input2, target, margin=self.margin, reduction=self.reduction
        )


class TripletMarginLoss(_Loss):
    """max(0, d(a, p) - d(a, n) + margin) with the p-norm distance [Balntas et al. 2016].

    ``swap`` uses the smaller of d(a, n) and d(p, n). Raises: ``ValueError`` if ``margin`` is
    not positive.

    >>> a, n = torch.zeros(1, 2), torch.ones(1, 2)
    >>> torch.nn.TripletMarginLoss(p=1)(a, a, 4 * n)
    tensor(0.)
    """

    __constants__ = ["margin", "p", "eps", "swap", "reduction"]
    margin: float
    p: float
    eps: float
    swap: bool

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        if margin <= 0:
            raise ValueError(
                f"TripletMarginLoss: expected margin to be greater than 0, got {margin} instead"
            )
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_loss(
            anchor,
            positive,
            negative,
            margin=self.margin,
            p=self.p,
            eps=self.eps,
            swap=self.swap,
            reduction=self.reduction,
        )


class TripletMarginWithDistanceLoss(_Loss):
    """``TripletMarginLoss`` with a distance of one's own.

    >>> loss = torch.nn.TripletMarginWithDistanceLoss()
    >>> loss(torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1, 2) * 9)
    tensor(0.)
    """

    __constants__ = ["margin", "swap", "reduction"]
    margin: float
    swap: bool

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        if margin <= 0:
            raise ValueError(
                "TripletMarginWithDistanceLoss: expected margin to be greater than 0, "
                f"got {margin} instead"
            )
        self.distance_function = distance_function or PairwiseDistance()
        self.margin = margin
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )


SAMPLES = {
    "nn.L1Loss": "| x, y; reduction='sum' | s, s * 2; reduction='none' | x, y;"
    " !reduction='nothing' | x, y; !| x, u",
    "nn.MSELoss": "| x, y; reduction='sum' | x, y; reduction='none' | x, y;"
    " !reduction='nothing' | x, y; !| x, u",
    "nn.SmoothL1Loss": "| x, y; beta=0.3 | x, y; reduction='none', beta=0.0 | big, y;"
    " !beta=-1.0 | x, y; !| x, u",
    "nn.HuberLoss": "| x, y; 'sum', 0.3 | x, y; reduction='none' | big, y; !delta=0.0 | x, y;"
    " !| x, u",
    "nn.PoissonNLLLoss": "| x, k.float(); False | positive, k * 1.0;"
    " full=True, reduction='sum' | x, k * 1.0;"
    " log_input=False, eps=0.1, reduction='none' | positive, k * 1.0; !reduction='nothing' | x, y",
    "nn.GaussianNLLLoss": "| x, y, positive; full=True, reduction='none' | x, y, positive[:, 0];"
    " eps=1.0, reduction='sum' | x, y, 0.5; !| x, y, -positive;"
    " !reduction='nothing' | x, y, positive",
    "nn.KLDivLoss": "| x.log_softmax(1), y.softmax(1); reduction='batchmean' | x, unit;"
    " reduction='sum', log_target=True | x, y; !reduction='nothing' | x, unit",
    "nn.HingeEmbeddingLoss": "| x, y.sign(); 0.3 | u, signs; margin=2.0, reduction='none' | x, i;"
    " !| x, signs",
    "nn.SoftMarginLoss": "| x, i.sign(); reduction='none' | big, i; !| x, signs",
    "nn.CosineEmbeddingLoss": "| x, y, signs; 0.5 | x, y, signs;"
    " margin=-0.2, reduction='none' | x, y, signs; !| x, y, v",
    "nn.MarginRankingLoss": "| x, y, i.sign(); 0.3 | u, u * 0.5, signs;"
    " margin=1, reduction='none' | x, y, signs[:, None]; !| x, y, signs",
    "nn.TripletMarginLoss": "| x, y, z; 0.3, 1.0, swap=True | x, y, z;"
    " p=inf, eps=0.1, reduction='none' | x, y, z; | v, w, v * 2; !| x, y, u; !margin=-1.0",
    "nn.TripletMarginWithDistanceLoss": "| x, y, z; swap=True, margin=0.5 | x, y, z;"
    " distance_function=nn.CosineSimilarity(), reduction='none' | x, y, z; !margin=0.0; !| x, y, u",
}
