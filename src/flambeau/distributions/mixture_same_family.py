"""Mixtures of distributions of one family."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.categorical import Categorical
from flambeau.distributions.constraints import MixtureSameFamilyConstraint
from flambeau.distributions.distribution import Distribution, Size


class MixtureSameFamily(Distribution):
    r"""A draw from one of several components, chosen by ``mixture_distribution``.

    .. math:: p(x) = \sum_k \pi_k p_k(x)

    The components are the rightmost batch dimension of ``component_distribution``.

    Raises: ``ValueError`` if the first is not ``Categorical``, the second no distribution, or their
    batches do not fit.

    >>> import flambeau as torch
    >>> D = torch.distributions
    >>> weights = D.Categorical(torch.ones(2))
    >>> D.MixtureSameFamily(weights, D.Normal(torch.tensor([0.0, 4.0]), 1.0)).mean
    tensor(2.)
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    has_rsample = False

    def __init__(
        self,
        mixture_distribution: Categorical,
        component_distribution: Distribution,
        validate_args: bool | None = None,
    ) -> None:
        self._mixture_distribution = mixture_distribution
        self._component_distribution = component_distribution
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError(
                " The Mixture distribution needs to be an instance of "
                "torch.distributions.Categorical"
            )
        if not isinstance(component_distribution, Distribution):
            raise ValueError(
                "The Component distribution needs to be an instance of "
                "torch.distributions.Distribution"
            )
        ours = mixture_distribution.batch_shape
        theirs = component_distribution.batch_shape[:-1]
        for a, b in zip(reversed(ours), reversed(theirs), strict=False):
            if a != 1 and b != 1 and a != b:
                raise ValueError(
                    f"`mixture_distribution.batch_shape` ({ours}) is not compatible with "
                    "`component_distribution.batch_shape`"
                    f"({theirs})"
                )
        weights = mixture_distribution.logits.shape[-1]
        components = component_distribution.batch_shape[-1]
        if weights != components:
            raise ValueError(
                f"`mixture_distribution component` ({weights}) does not equal "
                f"`component_distribution.batch_shape[-1]` ({components})"
            )
        self._num_component = weights
        event_shape = component_distribution.event_shape
        self._event_ndims = len(event_shape)
        super().__init__(theirs, event_shape, validate_args=validate_args)

    def expand(self, batch_shape: Size, _instance: Any = None) -> MixtureSameFamily:
        components = self._component_distribution.expand((*batch_shape, self._num_component))
        return self._expanded(
            MixtureSameFamily,
            batch_shape,
            _instance,
            _mixture_distribution=self._mixture_distribution.expand(batch_shape),
            _component_distribution=components,
            _num_component=self._num_component,
            _event_ndims=self._event_ndims,
        )

    @constraints.dependent_property
    def support(self) -> constraints.Constraint:
        return MixtureSameFamilyConstraint(self._component_distribution.support)

    @property
    def mixture_distribution(self) -> Categorical:
        """The distribution of the components' numbers."""
        return self._mixture_distribution

    @property
    def component_distribution(self) -> Distribution:
        """The components."""
        return self._component_distribution

    def _weighted(self, moments: flambeau.Tensor) -> flambeau.Tensor:
        """The mean over components of what has their batch and event shape."""
        probs = self._mixture_distribution.probs
        probs = probs.reshape((*probs.shape, *(1,) * self._event_ndims))
        return (probs * moments).sum(dim=-1 - self._event_ndims)

    @property
    def mean(self) -> flambeau.Tensor:
        return self._weighted(self._component_distribution.mean)

    @property
    def variance(self) -> flambeau.Tensor:
        # Within the components, and between them.
        away = self._component_distribution.mean - self._padded(self.mean)
        return self._weighted(self._component_distribution.variance) + self._weighted(away.pow(2))

    def cdf(self, value: flambeau.Tensor) -> flambeau.Tensor:
        levels = self._component_distribution.cdf(self._padded(value))
        return (levels * self._mixture_distribution.probs).sum(dim=-1)

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        each = self._component_distribution.log_prob(self._padded(value))
        weights = flambeau.log_softmax(self._mixture_distribution.logits, dim=-1)
        return flambeau.logsumexp(each + weights, dim=-1)

    def sample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        with flambeau.no_grad():
            chosen = self._mixture_distribution.sample(sample_shape)
            drawn = self._component_distribution.sample(sample_shape)
            place = chosen.reshape((*chosen.shape, *(1,) * (self._event_ndims + 1)))
            place = place.expand((*drawn.shape[: -1 - self._event_ndims], 1, *self._event_shape))
            dim = drawn.dim() - 1 - self._event_ndims
            return drawn.gather(dim, place).squeeze(dim)

    def _padded(self, x: flambeau.Tensor) -> flambeau.Tensor:
        """With a dimension for the components."""
        return x.unsqueeze(-1 - self._event_ndims)

    def __repr__(self) -> str:
        return (
            f"MixtureSameFamily(\n  {self.mixture_distribution},\n  {self.component_distribution})"
        )


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.MixtureSameFamily": (
        "torch.distributions.Categorical(unit), torch.distributions.Normal(x, positive) | u; "
        "torch.distributions.Categorical(unit[0]), "
        "torch.distributions.Independent(torch.distributions.Normal(m, 1.0), 1) | w; "
        "!torch.distributions.Categorical(unit), torch.distributions.Normal(v, 1.0)[:2]; !unit, x"
    ),
}
