"""Distributions of transformed draws."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution, Size
from flambeau.distributions.independent import Independent
from flambeau.distributions.transforms import ComposeTransform, Transform
from flambeau.distributions.utils import sum_rightmost


class TransformedDistribution(Distribution):
    r"""The distribution of :math:`y = f(x)`, :math:`x` from ``base_distribution``.

    .. math:: \log p_Y(y) = \log p_X(f^{-1}(y)) - \log |\det J_f|

    >>> import flambeau as torch
    >>> D = torch.distributions
    >>> D.TransformedDistribution(D.Normal(0.0, 1.0), D.ExpTransform()).support
    GreaterThan(lower_bound=0.0)
    """

    arg_constraints: dict[str, constraints.Constraint] = {}

    def __init__(
        self,
        base_distribution: Distribution,
        transforms: Transform | list[Transform],
        validate_args: bool | None = None,
    ) -> None:
        if isinstance(transforms, Transform):
            transforms = [transforms]
        if not isinstance(transforms, list) or not all(
            isinstance(transform, Transform) for transform in transforms
        ):
            raise ValueError("transforms must be a Transform or list, but was " + str(transforms))
        self.transforms = transforms
        base_shape = base_distribution.batch_shape + base_distribution.event_shape
        base_event_dim = len(base_distribution.event_shape)
        transform = ComposeTransform(self.transforms)
        if len(base_shape) < transform.domain.event_dim:
            raise ValueError(
                "base_distribution needs to have shape with size at least "
                f"{transform.domain.event_dim}, but got {base_distribution}."
            )
        shape = transform.forward_shape(base_shape)
        # Transforms with batched parameters make the base's batch larger.
        expanded = transform.inverse_shape(shape)
        if expanded != base_shape:
            batch = expanded[: len(expanded) - base_event_dim]
            base_distribution = base_distribution.expand(batch)
        missing = transform.domain.event_dim - base_event_dim
        if missing > 0:
            base_distribution = Independent(base_distribution, missing)
        self.base_dist = base_distribution
        change = transform.codomain.event_dim - transform.domain.event_dim
        event_dim = max(transform.codomain.event_dim, base_event_dim + change)
        cut = len(shape) - event_dim
        super().__init__(shape[:cut], shape[cut:], validate_args=validate_args)

    @property
    def has_rsample(self) -> bool:
        return self.base_dist.has_rsample

    @constraints.dependent_property(is_discrete=False)
    def support(self) -> constraints.Constraint:
        if not self.transforms:
            return self.base_dist.support
        support = self.transforms[-1].codomain
        missing = len(self.event_shape) - support.event_dim
        return constraints.independent(support, missing) if missing > 0 else support

    def expand(self, batch_shape: Size, _instance: Any = None) -> TransformedDistribution:
        shape = flambeau.Size((*batch_shape, *self.event_shape))
        for transform in reversed(self.transforms):
            shape = transform.inverse_shape(shape)
        base_batch = shape[: len(shape) - len(self.base_dist.event_shape)]
        return self._expanded(
            TransformedDistribution,
            batch_shape,
            _instance,
            base_dist=self.base_dist.expand(base_batch),
            transforms=self.transforms,
        )

    def sample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        with flambeau.no_grad():
            x = self.base_dist.sample(sample_shape)
            for transform in self.transforms:
                x = transform(x)
            return x

    def rsample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        x = self.base_dist.rsample(sample_shape)
        for transform in self.transforms:
            x = transform(x)
        return x

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        event_dim = len(self.event_shape)
        log_prob: Any = 0.0
        y = value
        for transform in reversed(self.transforms):
            x = transform.inv(y)
            event_dim += transform.domain.event_dim - transform.codomain.event_dim
            log_det = transform.log_abs_det_jacobian(x, y)
            log_prob = log_prob - sum_rightmost(log_det, event_dim - transform.domain.event_dim)
            y = x
        base = self.base_dist.log_prob(y)
        return log_prob + sum_rightmost(base, event_dim - len(self.base_dist.event_shape))

    def _sign(self) -> Any:
        sign = 1
        for transform in self.transforms:
            sign = sign * transform.sign
        return sign

    def _oriented(self, probability: flambeau.Tensor) -> flambeau.Tensor:
        """``p``, or ``1 - p`` where the transforms turn the order round."""
        sign = self._sign()
        if isinstance(sign, int) and sign == 1:
            return probability
        return sign * (probability - 0.5) + 0.5

    def cdf(self, value: flambeau.Tensor) -> flambeau.Tensor:
        for transform in reversed(self.transforms):
            value = transform.inv(value)
        if self._validate_args:
            self.base_dist._validate_sample(value)
        return self._oriented(self.base_dist.cdf(value))

    def icdf(self, value: flambeau.Tensor) -> flambeau.Tensor:
        value = self.base_dist.icdf(self._oriented(value))
        for transform in self.transforms:
            value = transform(value)
        return value


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.TransformedDistribution": (
        "torch.distributions.Normal(x, positive), torch.distributions.ExpTransform() | positive; "
        "torch.distributions.Normal(x, positive), [torch.distributions.AffineTransform(0.5, "
        "2.0), torch.distributions.SigmoidTransform()] | unit; "
        "!torch.distributions.Normal(x, positive), 3"
    ),
}
