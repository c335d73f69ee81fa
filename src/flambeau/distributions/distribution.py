"""The base class of probability distributions."""

from __future__ import annotations

import warnings
from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.utils import lazy_property

Size = Any
"""A shape: anything that a ``Size`` is made from."""


class Distribution:
    """A batch of independent distributions: ``batch_shape`` of them, each over events of
    ``event_shape``.

    A subclass gives ``arg_constraints``, ``support``, and as much as it can of ``rsample``,
    ``log_prob``, ``entropy``, ``cdf``, ``icdf``, ``mean``, ``variance``, ``mode``, ``expand`` and
    ``enumerate_support``.

    Raises:
        ValueError: if validation is on and a parameter violates its constraint.
    """

    has_rsample = False
    has_enumerate_support = False
    _validate_args = __debug__

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions check their arguments unless told otherwise."""
        if value not in (True, False):
            raise ValueError
        Distribution._validate_args = value

    def __init__(
        self,
        batch_shape: Size = (),
        event_shape: Size = (),
        validate_args: bool | None = None,
    ) -> None:
        self._batch_shape = flambeau.Size(batch_shape)
        self._event_shape = flambeau.Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._check_parameters()

    def _check_parameters(self) -> None:
        try:
            known = self.arg_constraints
        except NotImplementedError:
            known = {}
            warnings.warn(
                f"{type(self)} does not define `arg_constraints`. Please set "
                "`arg_constraints = {}` or initialize the distribution with "
                "`validate_args=False` to turn off validation.",
                stacklevel=3,
            )
        for name, constraint in known.items():
            if constraints.is_dependent(constraint):
                continue
            if name not in self.__dict__ and isinstance(
                getattr(type(self), name, None), lazy_property
            ):
                continue
            value = getattr(self, name)
            if not constraint.holds(value):
                raise ValueError(
                    f"Expected parameter {name} "
                    f"({type(value).__name__} of shape {tuple(value.shape)}) "
                    f"of distribution {self!r} to satisfy the constraint {constraint!r}, "
                    f"but found invalid values:\n{value}"
                )

    @property
    def batch_shape(self) -> flambeau.Size:
        """The shape over which parameters are batched."""
        return self._batch_shape

    @property
    def event_shape(self) -> flambeau.Size:
        """The shape of a single draw."""
        return self._event_shape

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """The constraint of each parameter."""
        raise NotImplementedError

    @property
    def support(self) -> Any:
        """The constraint that draws satisfy."""
        raise NotImplementedError

    @property
    def mean(self) -> flambeau.Tensor:
        """The mean."""
        raise NotImplementedError

    @property
    def mode(self) -> flambeau.Tensor:
        """The most likely value."""
        raise NotImplementedError(f"{type(self)} does not implement mode")

    @property
    def variance(self) -> flambeau.Tensor:
        """The variance."""
        raise NotImplementedError

    @property
    def stddev(self) -> flambeau.Tensor:
        """The standard deviation."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        """Draws of shape ``sample_shape + batch_shape + event_shape``, without gradient."""
        with flambeau.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        """Draws through which gradients flow to the parameters."""
        raise NotImplementedError

    def sample_n(self, n: int) -> flambeau.Tensor:
        """``n`` draws (deprecated: use ``sample((n,))``)."""
        warnings.warn(
            "`sample_n(n)` will be deprecated. Use `sample((n,))` instead.",
            FutureWarning,
            stacklevel=2,
        )
        return self.sample((n,))

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        """The logarithm of the density or probability at ``value``."""
        raise NotImplementedError

    def cdf(self, value: flambeau.Tensor) -> flambeau.Tensor:
        """The probability of being at most ``value``."""
        raise NotImplementedError

    def icdf(self, value: flambeau.Tensor) -> flambeau.Tensor:
        """The inverse of :meth:`cdf`."""
        raise NotImplementedError

    def enumerate_support(self, expand: bool = True) -> flambeau.Tensor:
        """All values of a discrete distribution, along a new first dimension."""
        raise NotImplementedError

    def entropy(self) -> flambeau.Tensor:
        """The entropy, in nats."""
        raise NotImplementedError

    def perplexity(self) -> flambeau.Tensor:
        """The exponential of the entropy."""
        return flambeau.exp(self.entropy())

    def expand(self, batch_shape: Size, _instance: Any = None) -> Distribution:
        """The same distribution with a larger batch, without copies."""
        raise NotImplementedError

    # --- for subclasses ---------------------------------------------------------------------

    def _extended_shape(self, sample_shape: Size = ()) -> flambeau.Size:
        return flambeau.Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def _expanded(self, cls: type, batch_shape: Size, instance: Any, **attributes: Any) -> Any:
        """A new instance with these attributes, not validated a second time."""
        new = self._get_checked_instance(cls, instance)
        new.__dict__.update(attributes)
        Distribution.__init__(new, batch_shape, self._event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _get_checked_instance(self, cls: type, _instance: Any = None) -> Any:
        if _instance is None and type(self).__init__ is not cls.__init__:
            raise NotImplementedError(
                f"Subclass {type(self).__name__} of {cls.__name__} that defines a custom "
                "__init__ method must also define a custom .expand() method."
            )
        return self.__new__(type(self)) if _instance is None else _instance

    def _validate_sample(self, value: Any) -> None:
        if not isinstance(value, flambeau.Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        start = value.dim() - len(self._event_shape)
        if value.shape[start:] != self._event_shape:
            raise ValueError(
                "The right-most size of value must match event_shape: "
                f"{value.shape} vs {self._event_shape}."
            )
        expected = self._batch_shape + self._event_shape
        for given, wanted in zip(reversed(value.shape), reversed(expected), strict=False):
            if given != 1 and wanted != 1 and given != wanted:
                raise ValueError(
                    "Value is not broadcastable with batch_shape+event_shape: "
                    f"{value.shape} vs {expected}."
                )
        try:
            support = self.support
        except NotImplementedError:
            warnings.warn(
                f"{type(self)} does not define `support` to enable sample validation. "
                "Please initialize the distribution with `validate_args=False` to turn off "
                "validation.",
                stacklevel=3,
            )
            return
        if not support.holds(value):
            raise ValueError(
                "Expected value argument "
                f"({type(value).__name__} of shape {tuple(value.shape)}) "
                f"to be within the support ({support!r}) of the distribution {self!r}, "
                f"but found invalid values:\n{value}"
            )

    def __repr__(self) -> str:
        names = [name for name in self.arg_constraints if name in self.__dict__]
        described = ", ".join(f"{name}: {_described(self.__dict__[name])}" for name in names)
        return f"{type(self).__name__}({described})"


def _described(value: Any) -> Any:
    return value if value.numel() == 1 else value.size()
