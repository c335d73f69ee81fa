"""The text of ``repr(tensor)``: the form PyTorch prints, to the character."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from . import dtypes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["format_tensor", "get_printoptions", "printoptions", "set_printoptions"]


@dataclasses.dataclass
class PrintOptions:
    """What ``set_printoptions`` sets; the fields are described there."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}

_options = PrintOptions()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Sets how tensors print; what is ``None`` stays as it is, except ``sci_mode``.

    ``precision``: digits after the point (4). ``threshold``: more elements than this are
    summarised (1000), showing ``edgeitems`` (3) at both ends of every dimension. ``linewidth``:
    columns of a line (80). ``profile``: "default", "short" or "full" sets these four together.
    ``sci_mode``: scientific notation always, never, or (``None``) where the numbers ask for it.

    >>> import flambeau as torch
    >>> torch.set_printoptions(precision=2)
    >>> torch.tensor([1.12345])
    tensor([1.12])
    >>> torch.set_printoptions(profile="default")
    """
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    chosen = _PROFILES.get(profile, {}) if profile is not None else {}
    chosen = chosen | {name: value for name, value in given.items() if value is not None}
    for name, value in chosen.items():
        setattr(_options, name, value)
    # PyTorch resets this one on every call, given or not.
    _options.sci_mode = sci_mode


def get_printoptions() -> dict[str, object]:
    """The options in force, as keywords for ``set_printoptions``."""
    return dataclasses.asdict(_options)


@contextlib.contextmanager
def printoptions(**options: object) -> Iterator[None]:
    """Sets print options for the length of a ``with`` block; takes ``set_printoptions``' keywords.

    >>> import flambeau as torch
    >>> from flambeau.printing import printoptions
    >>> with printoptions(sci_mode=True):
    ...     print(torch.tensor([100.0]))
    tensor([1.0000e+02])
    """
    before = get_printoptions()
    set_printoptions(**options)
    try:
        yield
    finally:
        set_printoptions(**before)


def format_tensor(
    array: np.ndarray | None,
    dtype: dtypes.dtype,
    *,
    default_dtype: dtypes.dtype = dtypes.float32,
    requires_grad: bool = False,
    grad_fn_name: str | None = None,
    device: str | None = None,
    class_name: str = "tensor",
    is_parameter: bool = False,
    shape: Sequence[int] | None = None,
) -> str:
    """The ``repr`` of a tensor that holds ``array``, of element type ``dtype``.

    ``grad_fn_name`` (such as "AddBackward0") is shown in place of ``requires_grad=True``.
    ``device`` is shown unless it is ``None`` or "cpu". ``class_name`` is that of a subclass of
    ``Tensor``. A tensor without values (on the "meta" device) passes ``None`` and its ``shape``.

    >>> import numpy as np
    >>> from flambeau import dtypes
    >>> format_tensor(np.array([1.0, -2.5]), dtypes.float64, grad_fn_name="MulBackward0")
    'tensor([ 1.0000, -2.5000], dtype=torch.float64, grad_fn=<MulBackward0>)'
    """
    shape = tuple(shape if array is None else array.shape)
    prefix = f"{class_name}("
    is_empty = array is None or array.size == 0

    if array is None:
        body = "..."
    elif is_empty:
        body = "[]"
    else:
        body = _format_values(array, dtype, len(prefix))

    suffixes = []
    if device is not None and device != "cpu":
        suffixes.append(f"device='{device}'")
    if array is None or (is_empty and len(shape) != 1) or (not is_empty and not _options.edgeitems):
        suffixes.append(f"size={shape}")
    # The elements of a printed tensor show whether they are integers, booleans or complex.
    evident = () if is_empty else (dtypes.int64, dtypes.bool_, default_dtype.to_complex())
    if dtype is not default_dtype and dtype not in evident:
        suffixes.append(f"dtype={dtype!r}")
    if grad_fn_name is not None:
        suffixes.append(f"grad_fn=<{grad_fn_name}>")
    elif requires_grad:
        suffixes.append("requires_grad=True")

    text = _append(prefix + body, suffixes, len(prefix))
    return f"Parameter containing:\n{text}" if is_parameter else text


def _append(text: str, suffixes: list[str], indent: int, apart: bool = False) -> str:
    """Adds the keywords after the values, on a new line where one would pass the line's end, and
    ``apart`` in any case.
    """
    # Two columns are kept free for the comma or the closing parenthesis.
    column = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if apart or column + len(suffix) + 2 > _options.linewidth:
            apart = False
            text += ",\n" + " " * indent + suffix
            column = indent + len(suffix)
        else:
            text += ", " + suffix
            column += len(suffix) + 2
    return text + ")"


def _format_values(array: np.ndarray, dtype: dtypes.dtype, indent: int) -> str:
    cut = [False] * array.ndim
    if array.size > _options.threshold:
        array, cut = _edges(array)
    if dtype.is_complex:
        real, imag = _float_cells(array.real), _float_cells(array.imag)
        width = real.width + imag.width + 1
        cell = _complex_cell(real, imag)
    elif dtype.is_floating_point:
        array = array.astype(np.float64)
        cell = _float_cells(array)
        width = cell.width
    else:
        width = max((len(str(value)) for value in array.ravel().tolist()), default=1)
        cell = f"{{!s:>{width}}}".format
    return _lay_out(array.tolist(), cut, cell, width + 2, indent)


def _edges(array: np.ndarray) -> tuple[np.ndarray, list[bool]]:
    """Keeps the first and last ``edgeitems`` along each axis; says which axes were cut."""
    n = _options.edgeitems
    cut = [size > 2 * n for size in array.shape]
    kept = [
        np.array([*range(n), *range(size - n, size)] if long else range(size), dtype=np.intp)
        for size, long in zip(array.shape, cut, strict=True)
    ]
    return array[np.ix_(*kept)], cut


@dataclasses.dataclass(frozen=True)
class _FloatCell:
    """How the floating-point numbers of one tensor are written: all alike, right-aligned."""

    spec: str
    width: int
    point: str

    def __call__(self, value: float) -> str:
        text = format(value, self.spec)
        return (text + self.point if math.isfinite(value) else text).rjust(self.width)


def _float_cells(array: np.ndarray) -> _FloatCell:
    """Chooses one notation for all of ``array`` from its finite numbers that are not zero.

    Scientific where the largest is over 1e8 or over 1000 times the smallest, or the smallest
    under 1e-4; else without digits after the point where all are whole; else fixed.
    """
    values = array.astype(np.float64).ravel()
    values = values[np.isfinite(values) & (values != 0)]
    if values.size == 0:
        return _FloatCell(".0f", 1, ".")
    sizes = np.abs(values)
    low, high = float(sizes.min()), float(sizes.max())
    scientific = _options.sci_mode
    if scientific is None:
        # Division first, as PyTorch does: 1000 * low would round differently at the border.
        scientific = high / low > 1000 or high > 1e8 or low < 1e-4
    whole = bool((values == np.ceil(values)).all())
    if scientific:
        spec, point = f".{_options.precision}e", ""
    elif whole:
        spec, point = ".0f", "."
    else:
        spec, point = f".{_options.precision}f", ""
    width = max(len(format(value, spec)) for value in values.tolist()) + len(point)
    return _FloatCell(spec, width, point)


def _complex_cell(real: _FloatCell, imag: _FloatCell) -> Callable[[complex], str]:
    def cell(value: complex) -> str:
        right = imag(value.imag).lstrip() + "j"
        sign = "" if right.startswith("-") else "+"
        return real(value.real) + sign + right

    return cell


def _lay_out(
    values: object, cut: list[bool], cell: Callable[[object], str], step: int, indent: int
) -> str:
    """Nested lists as bracketed text; ``step`` is the width of a cell with its ", "."""
    if not cut:
        return cell(values)
    depth = len(cut)
    indent += 1
    if depth == 1:
        parts = [cell(value) for value in values]
    else:
        parts = [_lay_out(value, cut[1:], cell, step, indent) for value in values]
    if cut[0]:
        # A vector's dots are set apart by one space more, unless they stand alone.
        dots = " ..." if depth == 1 and parts else "..."
        parts.insert(len(parts) // 2, dots)
    if depth > 1:
        return "[" + ("," + "\n" * (depth - 1) + " " * indent).join(parts) + "]"
    per_line = max(1, (_options.linewidth - (indent - 1)) // step)
    lines = [", ".join(parts[i : i + per_line]) for i in range(0, len(parts), per_line)]
    return "[" + (",\n" + " " * indent).join(lines) + "]"
