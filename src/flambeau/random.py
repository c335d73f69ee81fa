"""``torch.random``: seeds and states of the global generator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from flambeau.functions.random import Generator, default_generator
from flambeau.tensor import Tensor

__all__ = [
    "Generator",
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
    "thread_safe_generator",
]


def manual_seed(seed: int) -> Generator:
    """Seeds the global generator: the numbers that follow are PyTorch's on the CPU.

    Raises: ``RuntimeError`` for a seed outside [-2**63, 2**64).

    >>> torch.manual_seed(0).initial_seed()
    0
    """
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Seeds the global generator from the operating system, and returns that seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed the global generator was given last."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the global generator, as a tensor of bytes."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Puts the global generator in a state from :func:`get_rng_state`."""
    default_generator.set_state(new_state)


def thread_safe_generator() -> Generator | None:
    """The generator of a loader's worker thread; ``None``, for the global one, elsewhere.

    Workers of :class:`torch.utils.data.DataLoader` are no threads here, so that it is ``None``.
    """
    return None


@contextmanager
def fork_rng(
    devices: Iterable | None = None,
    enabled: bool = True,
    _caller: str = "fork_rng",
    _devices_kw: str = "devices",
    device_type: str = "cuda",
) -> Iterator[None]:
    """Puts the global generator back, when the block ends, to where it was when it began."""
    if not enabled:
        yield
        return
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)
