"""Enumerations of names, compared without regard to case."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Literal, Self

__all__ = ["GradClipAlgorithmType", "LightningEnum"]


class LightningEnum(StrEnum):
    """An enumeration of strings that compare without regard to case.

    >>> from flambeau.trainer.utilities import GradClipAlgorithmType
    >>> GradClipAlgorithmType.NORM == "Norm", GradClipAlgorithmType.from_str("VALUE").value
    (True, 'value')
    """

    @classmethod
    def from_str(cls, value: str, source: Literal["key", "value", "any"] = "key") -> Self:
        """The member of that name ("key") or value, or either.

        Raises: ``ValueError`` if there is none.
        """
        wanted = value.replace("-", "_").lower()
        for member in cls:
            names = {"key": (member.name,), "value": (member.value,)}
            for known in names.get(source, (member.name, member.value)):
                if known.replace("-", "_").lower() == wanted:
                    return member
        raise ValueError(
            f"Invalid match: expected one of {[member.name for member in cls]}, but got {value}."
        )

    def __eq__(self, other: object) -> bool:
        other = other.value if isinstance(other, Enum) else other
        return isinstance(other, str) and self.value.lower() == other.lower()

    def __hash__(self) -> int:
        return hash(self.value.lower())


class GradClipAlgorithmType(LightningEnum):
    """How gradients are clipped: all by their norm together, or each by its value."""

    VALUE = "value"
    NORM = "norm"
