"""The chi-squared distribution."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Size
from flambeau.distributions.gamma import Gamma


class Chi2(Gamma):
    """The sum of ``df`` squared standard normals: a gamma of shape ``df / 2`` and rate 1/2.

    >>> import flambeau as torch
    >>> torch.distributions.Chi2(3.0).variance
    tensor(6.)
    """

    arg_constraints = {"df": constraints.positive}

    def __init__(self, df: Any, validate_args: bool | None = None) -> None:
        super().__init__(0.5 * df, 0.5, validate_args=validate_args)

    def expand(self, batch_shape: Size, _instance: Any = None) -> Chi2:
        return super().expand(batch_shape, self._get_checked_instance(Chi2, _instance))

    @property
    def df(self) -> flambeau.Tensor:
        """The degrees of freedom."""
        return self.concentration * 2


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.Chi2": "positive | positive; 2.0 | positive; !-1.0",
}
