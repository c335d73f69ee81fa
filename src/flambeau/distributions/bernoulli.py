"""The Bernoulli distribution."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions._binary import Binary
from flambeau.distributions.distribution import Size
from flambeau.distributions.exp_family import ExponentialFamily
from flambeau.distributions.utils import all_numbers, broadcast_all


class Bernoulli(Binary, ExponentialFamily):
    r"""1 with probability ``probs``, else 0; or the same from log-odds ``logits``.

    >>> import flambeau as torch
    >>> torch.distributions.Bernoulli(torch.tensor([0.25])).log_prob(torch.tensor([1.0]))
    tensor([-1.3863])
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.boolean
    has_enumerate_support = True
    _mean_carrier_measure = 0

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        given = self._given(probs, logits)
        self._keep(probs, *broadcast_all(given))
        shape = () if all_numbers(given) else self._param.size()
        super().__init__(shape, validate_args=validate_args)

    @property
    def mean(self) -> flambeau.Tensor:
        return self.probs

    @property
    def mode(self) -> flambeau.Tensor:
        mode = (self.probs >= 0.5).to(self.probs)
        return mode.masked_fill(self.probs == 0.5, float("nan"))

    @property
    def variance(self) -> flambeau.Tensor:
        return self.probs * (1 - self.probs)

    def expand(self, batch_shape: Size, _instance: Any = None) -> Bernoulli:
        known = self._expanded_parameters(batch_shape)
        return self._expanded(Bernoulli, batch_shape, _instance, **known)

    def sample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        with flambeau.no_grad():
            return flambeau.bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        return -flambeau.nn.functional.binary_cross_entropy_with_logits(
            logits, value, reduction="none"
        )

    def entropy(self) -> flambeau.Tensor:
        return flambeau.nn.functional.binary_cross_entropy_with_logits(
            self.logits, self.probs, reduction="none"
        )

    def enumerate_support(self, expand: bool = True) -> flambeau.Tensor:
        values = flambeau.arange(2, dtype=self._param.dtype, device=self._param.device)
        values = values.view((-1, *(1,) * len(self._batch_shape)))
        return values.expand((-1, *self._batch_shape)) if expand else values

    @property
    def _natural_params(self) -> tuple[flambeau.Tensor]:
        return (flambeau.logit(self.probs),)

    def _log_normalizer(self, x: flambeau.Tensor) -> flambeau.Tensor:
        return flambeau.log1p(flambeau.exp(x))


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.Bernoulli": (
        "unit | truth.float(); logits=x | truth.float(); 0.3; !unit, x; !2.0; !"
    ),
}
