"""What the namespace can do, by the standard's inspection functions."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.array_api.data_types import KINDS

__all__ = ["__array_namespace_info__"]


class __array_namespace_info__:
    """Capabilities, devices and dtypes.

    >>> torch.array_api.__array_namespace_info__().default_dtypes()["real floating"]
    torch.float32
    """

    def capabilities(self) -> dict[str, Any]:
        return {
            "boolean indexing": True,
            "data-dependent shapes": True,
            "max dimensions": 64,
        }

    def default_device(self) -> Any:
        return flambeau.get_default_device()

    def devices(self) -> tuple[Any, ...]:
        return (flambeau.device("cpu"),)

    def default_dtypes(self, *, device: Any = None) -> dict[str, flambeau.dtype]:
        floating = flambeau.get_default_dtype()
        return {
            "real floating": floating,
            "complex floating": floating.to_complex(),
            "integral": flambeau.int64,
            "indexing": flambeau.int64,
        }

    def dtypes(
        self, *, device: Any = None, kind: str | tuple[str, ...] | None = None
    ) -> dict[str, flambeau.dtype]:
        """The standard's dtypes, by name; of a kind, or of several.

        Raises: ``ValueError`` for a kind that there is not.
        """
        kinds = ("bool", "numeric") if kind is None else (kind,) if isinstance(kind, str) else kind
        for name in kinds:
            if name not in KINDS:
                raise ValueError(f"unsupported kind: {name!r}")
        return {name: getattr(flambeau, name) for k in kinds for name in KINDS[k]}
