"""The continuous Bernoulli distribution."""

from __future__ import annotations

import math
from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions._binary import Binary
from flambeau.distributions.distribution import Size
from flambeau.distributions.exp_family import ExponentialFamily
from flambeau.distributions.utils import all_numbers, broadcast_all, clamp_probs


class ContinuousBernoulli(Binary, ExponentialFamily):
    r"""On [0, 1], with the Bernoulli probability as density [Loaiza-Ganem & Cunningham 2019].

    .. math:: p(x) = C(\lambda) \lambda^x (1 - \lambda)^{1 - x}

    Where ``probs`` :math:`\lambda` is within ``lims``, around 1/2, series are used in place of the
    formulas that divide by :math:`1 - 2 \lambda`.

    >>> import flambeau as torch
    >>> torch.distributions.ContinuousBernoulli(0.5).log_prob(torch.tensor(0.3))
    tensor(0.)
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(
        self,
        probs: Any = None,
        logits: Any = None,
        lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:
        given = self._given(probs, logits)
        (self._param,) = broadcast_all(given)
        if probs is not None:
            if (
                validate_args is not None
                and not self.arg_constraints["probs"].check(self._param).all()
            ):
                raise ValueError("The parameter probs has invalid values")
            self._param = self.probs = clamp_probs(self._param)
        else:
            self.logits = self._param
        self._lims = lims
        shape = () if all_numbers(given) else self._param.size()
        super().__init__(shape, validate_args=validate_args)

    def expand(self, batch_shape: Size, _instance: Any = None) -> ContinuousBernoulli:
        known = self._expanded_parameters(batch_shape)
        known["_lims"] = self._lims
        return self._expanded(ContinuousBernoulli, batch_shape, _instance, **known)

    def _apart(self) -> flambeau.Tensor:
        """Where the formulas, not the series, are used."""
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    def _cut(self) -> flambeau.Tensor:
        """The probabilities, with a place where the formulas are defined for those near 1/2."""
        return flambeau.where(self._apart(), self.probs, self._lims[0])

    def _near(self) -> flambeau.Tensor:
        return self.probs - 0.5

    def _cont_bern_log_norm(self) -> flambeau.Tensor:
        """The logarithm of the normaliser :math:`C`."""
        cut = self._cut()
        low = flambeau.where(cut <= 0.5, cut, 0.0)
        high = flambeau.where(cut >= 0.5, cut, 1.0)
        twist = flambeau.abs(flambeau.log1p(-cut) - flambeau.log(cut)).log()
        width = flambeau.where(
            cut <= 0.5, flambeau.log1p(-2.0 * low), flambeau.log(2.0 * high - 1.0)
        )
        square = self._near().pow(2)
        series = math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * square) * square
        return flambeau.where(self._apart(), twist - width, series)

    @property
    def mean(self) -> flambeau.Tensor:
        cut = self._cut()
        mean = cut / (2.0 * cut - 1.0) + 1.0 / (flambeau.log1p(-cut) - flambeau.log(cut))
        near = self._near()
        series = 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * near.pow(2)) * near
        return flambeau.where(self._apart(), mean, series)

    @property
    def stddev(self) -> flambeau.Tensor:
        return flambeau.sqrt(self.variance)

    @property
    def variance(self) -> flambeau.Tensor:
        cut = self._cut()
        variance = cut * (cut - 1.0) / (1.0 - 2.0 * cut).pow(2) + 1.0 / (
            flambeau.log1p(-cut) - flambeau.log(cut)
        ).pow(2)
        square = self._near().pow(2)
        series = 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * square) * square
        return flambeau.where(self._apart(), variance, series)

    def rsample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        shape = self._extended_shape(sample_shape)
        return self.icdf(flambeau.rand(shape, dtype=self.probs.dtype, device=self.probs.device))

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        entropy = flambeau.nn.functional.binary_cross_entropy_with_logits(
            logits, value, reduction="none"
        )
        return -entropy + self._cont_bern_log_norm()

    def cdf(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        cut = self._cut()
        powers = flambeau.pow(cut, value) * flambeau.pow(1.0 - cut, 1.0 - value)
        level = (powers + cut - 1.0) / (2.0 * cut - 1.0)
        level = flambeau.where(self._apart(), level, value)
        return flambeau.where(value <= 0.0, 0.0, flambeau.where(value >= 1.0, 1.0, level))

    def icdf(self, value: flambeau.Tensor) -> flambeau.Tensor:
        cut = self._cut()
        start = flambeau.log1p(-cut)
        place = (flambeau.log1p(-cut + value * (2.0 * cut - 1.0)) - start) / (
            flambeau.log(cut) - start
        )
        return flambeau.where(self._apart(), place, value)

    def entropy(self) -> flambeau.Tensor:
        zero, one = flambeau.log1p(-self.probs), flambeau.log(self.probs)
        return self.mean * (zero - one) - self._cont_bern_log_norm() - zero

    @property
    def _natural_params(self) -> tuple[flambeau.Tensor]:
        return (self.logits,)

    def _log_normalizer(self, x: flambeau.Tensor) -> flambeau.Tensor:
        low, high = self._lims[0] - 0.5, self._lims[1] - 0.5
        apart = (x <= low) | (x > high)
        cut = flambeau.where(apart, x, low)
        series = 0.5 * x + x.pow(2) / 24.0 - x.pow(4) / 2880.0
        return flambeau.where(apart, (cut.exp() - 1.0).abs().log() - cut.abs().log(), series)


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.ContinuousBernoulli": "unit | unit; logits=x | unit; 0.5 | unit; !unit, x",
}
