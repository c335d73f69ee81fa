"""Version numbers: Flambeau's own, and that of the PyTorch interface it follows.

``flambeau.__version__`` is Flambeau's own version. Under :func:`flambeau.install` and
``flambeau run``, ``torch.__version__`` is :data:`interface`, because scripts ask it "is this
PyTorch new enough?": the interface followed is PyTorch 2.13's, the local part says who answers.
"""

from __future__ import annotations

import re

__all__ = ["InterfaceVersion", "flambeau", "interface"]

flambeau = "0.1.0"


class InterfaceVersion(str):
    """A version string that compares by number with strings and tuples, as PyTorch's does.

    >>> InterfaceVersion("2.13.0+flambeau.0.1.0") >= "2.9"
    True
    >>> InterfaceVersion("2.13.0+flambeau.0.1.0") < (3, 0)
    True
    """

    __slots__ = ()

    def _compare(self, other: object) -> int | None:
        if isinstance(other, str):
            theirs = _numbers(other)
        elif isinstance(other, tuple | list):
            theirs = _numbers(".".join(map(str, other)))
        else:
            return None
        ours = _numbers(self)
        width = max(len(ours), len(theirs))
        ours += (0,) * (width - len(ours))
        theirs += (0,) * (width - len(theirs))
        return (ours > theirs) - (ours < theirs)

    def __lt__(self, other: object) -> bool:
        order = self._compare(other)
        return NotImplemented if order is None else order < 0

    def __le__(self, other: object) -> bool:
        order = self._compare(other)
        return NotImplemented if order is None else order <= 0

    def __gt__(self, other: object) -> bool:
        order = self._compare(other)
        return NotImplemented if order is None else order > 0

    def __ge__(self, other: object) -> bool:
        order = self._compare(other)
        return NotImplemented if order is None else order >= 0


def _numbers(version: str) -> tuple[int, ...]:
    release = version.partition("+")[0]
    leading = re.match(r"v?(\d+(?:\.\d+)*)", release.strip())
    return tuple(map(int, leading[1].split("."))) if leading else ()


interface = InterfaceVersion(f"2.13.0+flambeau.{flambeau}")

# What scripts read from `torch.version`: this machine's build has no GPU toolkits.
__version__ = interface
debug = False
cuda: str | None = None
hip: str | None = None
rocm: str | None = None
xpu: str | None = None
git_version = "unknown"
