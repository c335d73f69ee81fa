"""Exponential families."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions.distribution import Distribution


class ExponentialFamily(Distribution):
    r"""Distributions with density :math:`\exp(\langle t(x), \theta \rangle - F(\theta) + k(x))`.

    A subclass gives the natural parameters :math:`\theta`, the log-normaliser :math:`F` and the
    mean of :math:`k`; entropy and divergence then follow from the gradient of :math:`F`.
    """

    @property
    def _natural_params(self) -> tuple[flambeau.Tensor, ...]:
        raise NotImplementedError

    def _log_normalizer(self, *natural_params: flambeau.Tensor) -> flambeau.Tensor:
        raise NotImplementedError

    @property
    def _mean_carrier_measure(self) -> Any:
        raise NotImplementedError

    def entropy(self) -> flambeau.Tensor:
        """The entropy, by the Bregman divergence of the log-normaliser."""
        result = -self._mean_carrier_measure
        params = [param.detach().requires_grad_() for param in self._natural_params]
        with flambeau.enable_grad():
            normaliser = self._log_normalizer(*params)
            gradients = flambeau.autograd.grad(normaliser.sum(), params, create_graph=True)
        result = result + normaliser
        for param, gradient in zip(params, gradients, strict=True):
            product = param * gradient
            result = result - product.reshape((*self._batch_shape, -1)).sum(-1)
        return result
