"""Named tuples of tensors that functions give back, printed as ``torch.return_types``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


class ReturnType(tuple):
    """A tuple whose items also have names.

    >>> torch.return_types.sort((1, 2)).indices
    2
    """

    __slots__ = ()
    _fields: tuple[str, ...] = ()

    def __new__(cls, items: Iterable[Any]) -> ReturnType:
        made = tuple.__new__(cls, items)
        if len(made) != len(cls._fields):
            raise TypeError(
                f"torch.return_types.{cls.__name__}() takes a {len(cls._fields)}-sequence "
                f"({len(made)}-sequence given)"
            )
        return made

    @classmethod
    def _make(cls, items: Iterable[Any]) -> ReturnType:
        return cls(items)

    def __repr__(self) -> str:
        parts = ",\n".join(f"{n}={v!r}" for n, v in zip(self._fields, self, strict=True))
        return f"torch.return_types.{type(self).__name__}(\n{parts})"

    def __reduce__(self) -> tuple:
        return (type(self), (tuple(self),))


def _field(position: int, name: str) -> property:
    return property(lambda self: tuple.__getitem__(self, position), doc=f"The item {name!r}.")


def _named(name: str, fields: tuple[str, ...]) -> type[ReturnType]:
    body: dict[str, Any] = {f: _field(i, f) for i, f in enumerate(fields)}
    body |= {
        "_fields": fields, "__slots__": (), "__match_args__": fields, "__module__": __name__,
        "n_fields": len(fields), "n_sequence_fields": len(fields), "n_unnamed_fields": 0,
    }  # fmt: skip
    return type(name, (ReturnType,), body)


_PAIR = ("values", "indices")
_FIELDS = {
    **dict.fromkeys(
        ("max", "min", "sort", "topk", "kthvalue", "median", "nanmedian", "mode", "cummax",
         "cummin"),
        _PAIR,
    ),
    "aminmax": ("min", "max"),
    "frexp": ("mantissa", "exponent"),
    "geqrf": ("a", "tau"),
    "histogram": ("hist", "bin_edges"),
    "histogramdd": ("hist", "bin_edges"),
    "linalg_cholesky_ex": ("L", "info"),
    "linalg_eig": ("eigenvalues", "eigenvectors"),
    "linalg_eigh": ("eigenvalues", "eigenvectors"),
    "linalg_inv_ex": ("inverse", "info"),
    "linalg_ldl_factor": ("LD", "pivots"),
    "linalg_ldl_factor_ex": ("LD", "pivots", "info"),
    "linalg_lstsq": ("solution", "residuals", "rank", "singular_values"),
    "linalg_lu": ("P", "L", "U"),
    "_lu_with_info": ("LU", "pivots", "info"),
    "linalg_lu_factor": ("LU", "pivots"),
    "linalg_lu_factor_ex": ("LU", "pivots", "info"),
    "linalg_qr": ("Q", "R"),
    "linalg_slogdet": ("sign", "logabsdet"),
    "linalg_solve_ex": ("result", "info"),
    "linalg_svd": ("U", "S", "Vh"),
    "lu_unpack": ("P", "L", "U"),
    "qr": ("Q", "R"),
    "slogdet": ("sign", "logabsdet"),
    "svd": ("U", "S", "V"),
    "triangular_solve": ("solution", "cloned_coefficient"),
}  # fmt: skip
globals().update({name: _named(name, fields) for name, fields in _FIELDS.items()})

__all__ = ["ReturnType", *_FIELDS]
