"""The von Mises distribution."""

from __future__ import annotations

import math
from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution, Size
from flambeau.distributions.utils import broadcast_all, lazy_property


class VonMises(Distribution):
    r"""Angles around ``loc``, the closer the greater ``concentration``.

    .. math:: p(x) = \frac{e^{\kappa \cos(x - \mu)}}{2 \pi I_0(\kappa)}, \quad -\pi \le x < \pi

    Draws are made by rejection [Best & Fisher 1979].

    >>> import flambeau as torch
    >>> torch.distributions.VonMises(torch.tensor([1.0]), torch.tensor([1.0])).variance
    tensor([0.5536])
    """

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real
    has_rsample = False

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def expand(self, batch_shape: Size, _instance: Any = None) -> VonMises:
        validate = self.__dict__.get("_validate_args")
        return type(self)(
            self.loc.expand(batch_shape),
            self.concentration.expand(batch_shape),
            validate_args=validate,
        )

    @property
    def mean(self) -> flambeau.Tensor:
        """The mean direction."""
        return self.loc

    @property
    def mode(self) -> flambeau.Tensor:
        return self.loc

    @lazy_property
    def variance(self) -> flambeau.Tensor:
        """The circular variance."""
        special = flambeau.special
        return 1 - special.i1e(self.concentration) / special.i0e(self.concentration)

    @property
    def _log_bessel0(self) -> flambeau.Tensor:
        return flambeau.special.i0e(self.concentration).log()

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        # I0(k) = i0e(k) e^k, taken together with the cosine's 1.
        turn = self.concentration * (flambeau.cos(value - self.loc) - 1)
        return turn - math.log(2 * math.pi) - self._log_bessel0

    def sample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        shape = self._extended_shape(sample_shape)
        with flambeau.no_grad():
            loc, kappa = self.loc.double(), self.concentration.double()
            r = self._envelope(kappa)
            drawn = flambeau.empty(shape, dtype=loc.dtype, device=loc.device)
            done = flambeau.zeros(shape, dtype=flambeau.bool, device=loc.device)
            while not done.all():
                u1, u2, u3 = flambeau.rand((3, *shape), dtype=loc.dtype).unbind()
                z = flambeau.cos(math.pi * u1)
                f = (1 + r * z) / (r + z)
                c = kappa * (r - f)
                accepted = (c * (2 - c) - u2 > 0) | ((c / u2).log() + 1 - c >= 0)
                if accepted.any():
                    # As in PyTorch, a later draw that fits replaces an earlier one.
                    drawn = flambeau.where(accepted, (u3 - 0.5).sign() * f.acos(), drawn)
                    done = done | accepted
            return ((drawn + math.pi + loc) % (2 * math.pi) - math.pi).to(self.loc.dtype)

    @staticmethod
    def _envelope(kappa: flambeau.Tensor) -> flambeau.Tensor:
        """The parameter of the wrapped Cauchy distribution that draws are proposed from."""
        tau = 1 + (1 + 4 * kappa**2).sqrt()
        rho = (tau - (2 * tau).sqrt()) / (2 * kappa)
        r = (1 + rho**2) / (2 * rho)
        return flambeau.where(kappa < 1e-5, 1 / kappa + kappa, r)


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.VonMises": "x, positive | y; 0.5, 2.0 | y; !x, -positive",
}
