"""Metric: what is counted over batches, and what the counts come to."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import deepcopy
from functools import wraps
from typing import Any

import flambeau
from flambeau import Tensor, nn

__all__ = ["Metric"]

State = Any
"""A tensor, or a list of tensors."""

_COUNTERS = frozenset({"_update_count", "_computed", "_forward_cache"})
_REDUCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum": lambda a, b: a + b,
    "min": flambeau.minimum,
    "max": flambeau.maximum,
}


class Metric(nn.Module):
    """Base class of metrics: a subclass declares states, takes batches in, and computes.

    ``update(batch)`` takes a batch into the states, ``compute()`` says what all batches since the
    last ``reset()`` come to; calling the metric does both and returns the value of that batch
    alone. States are tensors that are added up (or whose minimum or maximum is kept), or lists that
    grow. Two metrics of one kind that saw different batches merge into one that saw both:
    ``a.merge_state(b)``, or ``a + b`` for a new one; a metric can be pickled on the way.

    Nothing is read while batches come in: an update is recorded along with the step, and computed
    in its flush. What is wrong with values (a class out of range) is told by ``compute()``.

    In a ``LightningModule`` a metric that is an attribute is logged with ``self.log("name",
    self.metric)``: its value over the epoch, after which it is reset.

    Reference: torchmetrics' ``Metric``, but that ``+`` merges.

    >>> from flambeau.trainer.metrics import Metric
    >>> class Largest(Metric):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.add_state("largest", torch.tensor(-torch.inf), dist_reduce_fx="max")
    ...     def update(self, x):
    ...         self.largest = torch.maximum(self.largest, x.max())
    ...     def compute(self):
    ...         return self.largest
    >>> metric = Largest()
    >>> metric(tensor([1.0, 3.0])), metric(tensor([2.0]))
    (tensor(3.), tensor(2.))
    >>> metric.compute()
    tensor(3.)
    """

    is_differentiable: bool | None = None
    higher_is_better: bool | None = None

    def __init__(self) -> None:
        super().__init__()
        self._defaults: dict[str, State] = {}
        self._reductions: dict[str, Any] = {}
        self._persistent: dict[str, bool] = {}
        self._update_count = 0
        # The value over all batches, until the next one comes.
        self._computed: Any = None
        # The value of the last batch, if the metric was called with it.
        self._forward_cache: Any = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "update" in vars(cls):
            cls.update = _counted(cls.update)  # type: ignore[method-assign]
        if "compute" in vars(cls):
            cls.compute = _kept(cls.compute)  # type: ignore[method-assign]

    def __setattr__(self, name: str, value: Any) -> None:
        # States change at every batch, and are neither parameters nor modules.
        mine = self.__dict__
        if name in _COUNTERS or name in mine.get("_defaults", ()):
            mine[name] = value
        else:
            super().__setattr__(name, value)

    def add_state(
        self,
        name: str,
        default: State,
        dist_reduce_fx: str | Callable | None = None,
        persistent: bool = False,
    ) -> None:
        """Declares a state: an attribute that ``reset()`` sets to ``default``.

        Args:
            default: a tensor, or an empty list.
            dist_reduce_fx: how two merge: "sum", "min", "max", "cat" (lists and tensors, one behind
                the other), "mean" (weighted by the number of updates), or a function of the two
                stacked.
            persistent: whether it is in the ``state_dict``.

        Raises: ``ValueError`` for another default, reduction, or a name that is no identifier.
        """
        if not name.isidentifier():
            raise ValueError(f"a state's name must be an identifier, got {name!r}")
        if not isinstance(default, Tensor) and default != []:
            raise ValueError("state variable must be a tensor or any empty list")
        known = dist_reduce_fx in (*_REDUCTIONS, "cat", "mean", None)
        if not known and not callable(dist_reduce_fx):
            raise ValueError(
                "`dist_reduce_fx` must be callable or one of ['mean', 'sum', 'cat', 'min', 'max', "
                f"None], got {dist_reduce_fx!r}"
            )
        self._defaults[name] = default if isinstance(default, Tensor) else []
        self._reductions[name] = dist_reduce_fx
        self._persistent[name] = persistent
        setattr(self, name, _fresh(default))

    # --- for subclasses ---------------------------------------------------------------------

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Takes a batch into the states."""
        raise NotImplementedError(f"{type(self).__name__} has no `update`")

    def compute(self) -> Any:
        """What all batches since the last reset come to."""
        raise NotImplementedError(f"{type(self).__name__} has no `compute`")

    def check(self) -> None:
        """Raises ``ValueError`` if the batches had values that cannot be; called by ``compute``."""

    # --- for users --------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Takes a batch in, and returns the value of that batch alone."""
        before, count = self.metric_state, self._update_count
        self._begin()
        try:
            self.update(*args, **kwargs)
            with flambeau.no_grad():
                value = type(self).compute.__wrapped__(self)  # type: ignore[attr-defined]
        except BaseException:
            self._take(before, count)
            raise
        if count:
            batch = self.metric_state
            self._take(before, count)
            self._merge(batch, 1)
        self._computed = None
        self._forward_cache = value
        return value

    def reset(self) -> None:
        """Forgets all batches."""
        self._begin()
        self._forward_cache = None

    def merge_state(self, incoming: Metric | dict[str, State]) -> None:
        """Takes in what another metric of the same kind (or its ``metric_state``) has seen.

        Raises: ``ValueError`` for a metric of another class or with other states.
        """
        if isinstance(incoming, Metric):
            if type(incoming) is not type(self):
                raise ValueError(
                    f"Expected incoming state to be an instance of {type(self).__name__}, got "
                    f"{type(incoming).__name__}"
                )
            state, count = incoming.metric_state, incoming._update_count
        else:
            state, count = incoming, 1
        if state.keys() != self._defaults.keys():
            raise ValueError(
                f"{type(self).__name__} has the states {list(self._defaults)}, was given "
                f"{list(state)}"
            )
        for name, value in state.items():
            mine = self._defaults[name]
            if (
                isinstance(mine, Tensor)
                and value.shape != mine.shape
                and (self._reductions[name] != "cat")
            ):
                raise ValueError(
                    f"{type(self).__name__}: the state {name!r} has shape {list(mine.shape)}, was "
                    f"given {list(value.shape)}"
                )
        if count:
            self._merge(state, count)

    def __add__(self, other: Metric) -> Metric:
        """A new metric that saw the batches of both."""
        merged = self.clone()
        merged.merge_state(other)
        return merged

    def clone(self) -> Metric:
        """A copy with states of its own."""
        return deepcopy(self)

    @property
    def metric_state(self) -> dict[str, State]:
        """The states by name; assigning one takes it over."""
        return {
            name: value if isinstance(value := getattr(self, name), Tensor) else list(value)
            for name in self._defaults
        }

    @metric_state.setter
    def metric_state(self, state: dict[str, State]) -> None:
        # A state that is a default's was never updated; more cannot be told.
        self._take({name: state[name] for name in self._defaults}, max(1, self._update_count))

    @property
    def update_called(self) -> bool:
        """Whether a batch was taken in since the last reset."""
        return self._update_count > 0

    @property
    def update_count(self) -> int:
        """How many batches were taken in since the last reset."""
        return self._update_count

    def persistent(self, mode: bool = False) -> None:
        """Whether the states are in the ``state_dict``."""
        self._persistent = dict.fromkeys(self._persistent, mode)

    # --- states -----------------------------------------------------------------------------

    def _begin(self) -> None:
        self._take({name: _fresh(default) for name, default in self._defaults.items()}, 0)

    def _take(self, state: dict[str, State], count: int) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self._update_count = count
        self._computed = None

    def _merge(self, state: dict[str, State], count: int) -> None:
        """Takes in the states of ``count`` further updates."""
        with flambeau.no_grad():
            merged = self.merged(self.metric_state, state, self._update_count, count)
        self._take(merged, self._update_count + count)

    def merged(
        self, mine: dict[str, State], other: dict[str, State], count: int, other_count: int
    ) -> dict[str, State]:
        """The states of two halves, of ``count`` and ``other_count`` updates, put together.

        For subclasses whose states do not merge one by one.
        """
        return {
            name: _merged(reduction, mine[name], other[name], count, other_count)
            for name, reduction in self._reductions.items()
        }

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Metric:
        """Moves the states; ``half()`` of a module around it does not make counts less exact."""

        def moved(state: State) -> State:
            if not isinstance(state, Tensor):
                return [moved(part) for part in state]
            changed = fn(state)
            return changed if changed.dtype == state.dtype else state.to(changed.device)

        super()._apply(fn, recurse)
        for name, default in self._defaults.items():
            setattr(self, name, moved(getattr(self, name)))
            self._defaults[name] = moved(default)
        return self

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name, persistent in self._persistent.items():
            if persistent:
                destination[prefix + name] = self.metric_state[name]

    def _load_from_state_dict(
        self, state_dict: dict, prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        found = {
            name: state_dict.pop(prefix + name)
            for name in self._defaults
            if prefix + name in state_dict
        }
        for name, value in found.items():
            setattr(self, name, value if isinstance(value, Tensor) else list(value))
        if found:
            self._update_count = max(1, self._update_count)
            self._computed = None
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _counted(update: Callable) -> Callable:
    """``update`` that records no history and forgets the value of the batches so far."""
    if hasattr(update, "__wrapped__"):
        return update

    def counted(self: Metric, *args: Any, **kwargs: Any) -> None:
        with flambeau.no_grad():
            update(self, *args, **kwargs)
        self._computed = None
        self._update_count += 1

    return wraps(update)(counted)


def _kept(compute: Callable) -> Callable:
    """``compute`` that keeps its value until the next batch, and says what was wrong with them."""
    if hasattr(compute, "__wrapped__"):
        return compute

    def kept(self: Metric) -> Any:
        if self._computed is None:
            if not self._update_count:
                warnings.warn(
                    f"The ``compute`` method of metric {type(self).__name__} was called before the "
                    "``update`` method which may lead to errors, as metric states have not yet "
                    "been updated.",
                    UserWarning,
                    stacklevel=2,
                )
            self.check()
            with flambeau.no_grad():
                self._computed = compute(self)
        return self._computed

    return wraps(compute)(kept)


def _fresh(default: State) -> State:
    return default.clone() if isinstance(default, Tensor) else []


def _merged(reduction: Any, mine: State, other: State, count: int, other_count: int) -> State:
    """One state of two halves."""
    if isinstance(mine, list):
        return [*mine, *other]
    if reduction in _REDUCTIONS:
        return _REDUCTIONS[reduction](mine, other)
    if reduction == "cat":
        return flambeau.cat([flambeau.atleast_1d(mine), flambeau.atleast_1d(other)])
    if reduction == "mean":
        return (mine * count + other * other_count) / (count + other_count)
    stacked = flambeau.stack([mine, other])
    return stacked if reduction is None else reduction(stacked)
