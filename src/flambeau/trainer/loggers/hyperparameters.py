"""Hyper-parameters as loggers want them: plain, flat, or as YAML."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

__all__ = ["flattened", "plain", "write_yaml"]

_PLAIN = re.compile(r"[A-Za-z_][\w./-]*(?: [\w./-]+)*")
# What YAML reads as something other than text, whatever its case.
_RESERVED = {"y", "n", "yes", "no", "true", "false", "on", "off", "null"}


def plain(params: Mapping[str, Any] | Namespace | None) -> dict[str, Any]:
    """Hyper-parameters as a dictionary.

    >>> plain(Namespace(lr=0.1))
    {'lr': 0.1}
    """
    if params is None:
        return {}
    return dict(vars(params)) if isinstance(params, Namespace) else dict(params)


def flattened(params: Mapping[str, Any], separator: str = "/") -> dict[str, Any]:
    """One level, with the path as the name; what is no number or string becomes its ``str``.

    >>> flattened({"lr": 0.1, "net": {"width": 3, "act": [1]}})
    {'lr': 0.1, 'net/width': 3, 'net/act': '[1]'}
    """
    found: dict[str, Any] = {}
    for name, value in params.items():
        inner = _mapping(value)
        if inner is not None:
            for path, v in flattened(inner, separator).items():
                found[f"{name}{separator}{path}"] = v
        else:
            found[str(name)] = _simple(value)
    return found


def _mapping(value: Any) -> dict[Any, Any] | None:
    if isinstance(value, Mapping | Namespace):
        return plain(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    return None


def _simple(value: Any) -> Any:
    """A number, a string, or the name or ``str`` of anything else."""
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    if callable(value) and hasattr(value, "__name__"):
        return value.__name__
    return str(value)


def write_yaml(path: str, params: Mapping[str, Any]) -> None:
    """Writes hyper-parameters as YAML, in one step: a reader finds the whole file."""
    before = f"{path}.{os.getpid()}"
    with open(before, "w", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in _lines(params)) or "{}\n")
    os.replace(before, path)


def _lines(value: Any, indent: str = "") -> list[str]:
    """The lines of a mapping or a list."""
    mapping = _mapping(value)
    parts = (
        [("- ", v) for v in value]
        if mapping is None
        else [(f"{_scalar(str(k))}: ", v) for k, v in mapping.items()]
    )
    found = []
    for head, part in parts:
        inner = _mapping(part)
        if isinstance(part, list | tuple | set | frozenset):
            inner = list(part)
        if inner is None:
            found.append(f"{indent}{head}{_scalar(part)}")
        elif not inner:
            found.append(f"{indent}{head}{'{}' if isinstance(inner, dict) else '[]'}")
        else:
            found.append(f"{indent}{head}".rstrip())
            found += _lines(inner, indent + "  ")
    return found


def _scalar(value: Any) -> str:
    value = _simple(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return _float(float(value))
    if _PLAIN.fullmatch(value) and value.lower() not in _RESERVED:
        return value
    return json.dumps(value)


def _float(value: float) -> str:
    if not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    text = repr(value)
    mantissa, e, exponent = text.partition("e")
    # YAML 1.1 takes 1e-05 for text.
    return f"{mantissa}.0e{exponent}" if e and "." not in mantissa else text
