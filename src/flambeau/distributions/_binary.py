"""What distributions share that are given a probability or its log-odds."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions.utils import (
    lazy_property,
    logits_to_probs,
    one_of_probs_and_logits,
    probs_to_logits,
)


class Binary:
    """``probs`` and ``logits``, of which one is given and the other worked out."""

    _param: flambeau.Tensor

    @staticmethod
    def _given(probs: Any, logits: Any) -> Any:
        one_of_probs_and_logits(probs, logits)
        return logits if probs is None else probs

    def _keep(self, probs: Any, param: flambeau.Tensor) -> None:
        """Notes the parameter, by the name that it was given under."""
        self._param = param
        setattr(self, "logits" if probs is None else "probs", param)

    @lazy_property
    def logits(self) -> flambeau.Tensor:
        """The log-odds of the probability."""
        return probs_to_logits(self.probs, is_binary=True)

    @lazy_property
    def probs(self) -> flambeau.Tensor:
        """The probability."""
        return logits_to_probs(self.logits, is_binary=True)

    @property
    def param_shape(self) -> flambeau.Size:
        """The shape of the parameter."""
        return self._param.size()

    def _expanded_parameters(self, batch_shape: Any) -> dict[str, Any]:
        return {
            name: self.__dict__[name].expand(batch_shape)
            for name in ("probs", "logits", "_param")
            if name in self.__dict__
        }
