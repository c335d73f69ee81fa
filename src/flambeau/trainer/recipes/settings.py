"""Settings of a run: what a signature allows, checked against what was given."""

from __future__ import annotations

import difflib
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union

from flambeau.utils.extras import require

__all__ = [
    "Given",
    "Range",
    "Schema",
    "Setting",
    "SettingError",
    "from_text",
    "read_yaml",
    "resolve",
    "settings_of",
]

REQUIRED = inspect.Parameter.empty
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "text"}


class SettingError(ValueError):
    """A setting that is not there, or whose value is not allowed."""


class Range(NamedTuple):
    """Which numbers are allowed, for ``Annotated[float, Range(above=0)]``."""

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None

    def holds(self, value: float) -> bool:
        """Whether ``value`` is within; NaN never is."""
        return (
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
            and not math.isnan(value)
        )

    def __str__(self) -> str:
        parts = [
            (self.least, "at least"),
            (self.above, "greater than"),
            (self.most, "at most"),
            (self.below, "less than"),
        ]
        return " and ".join(f"{word} {limit:g}" for limit, word in parts if limit is not None)


@dataclass(frozen=True)
class Setting:
    """One setting: the type it has in the signature, and its default."""

    kind: Any
    default: Any = REQUIRED

    @property
    def allowed(self) -> str:
        """What is allowed, in words.

        >>> Setting(Annotated[int, Range(least=1)]).allowed
        'an integer at least 1'
        """
        return described(self.kind)


Schema = dict[str, "Setting | Schema"]
"""Settings by name, in sections."""


class Given(NamedTuple):
    """A value for a key such as ``model.lr``, and who gave it."""

    key: str
    value: Any
    origin: str


def settings_of(function: Callable, without: Iterable[str] = ()) -> dict[str, Setting]:
    """The settings that a function, or a class's ``__init__``, has parameters for.

    >>> settings_of(lambda width=3: None)
    {'width': Setting(kind=<class 'int'>, default=3)}
    """
    target = function.__init__ if isinstance(function, type) else function
    try:
        hints = typing.get_type_hints(target, include_extras=True)
    except NameError:
        # Names that are imported for type checkers only: the defaults say enough.
        hints = {}
    left_out = {"self", *without}
    found = {}
    for name, parameter in inspect.signature(target).parameters.items():
        if name in left_out or parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
            parameter.POSITIONAL_ONLY,
        ):
            continue
        found[name] = Setting(hints.get(name, _kind_of(parameter.default)), parameter.default)
    return found


def _kind_of(default: Any) -> Any:
    return type(default) if type(default) in _WORDS else Any


# --- types ------------------------------------------------------------------------------------


def described(kind: Any) -> str:
    """What a type allows, in words.

    >>> described(Literal["adam", "sgd"] | None)
    "one of 'adam', 'sgd', or null"
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        limits = [str(part) for part in arguments[1:] if isinstance(part, Range)]
        return " ".join([described(arguments[0]), *limits])
    if origin is Literal:
        values = [repr(v) for v in arguments]
        return f"one of {', '.join(values)}" if len(values) > 1 else values[0]
    if origin in (Union, types.UnionType):
        words = [described(part) for part in arguments if part is not type(None)]
        words += ["null"] if type(None) in arguments else []
        return ", or ".join(words)
    if origin in (list, tuple) or kind in (list, tuple):
        inner = [part for part in arguments if part is not Ellipsis]
        return f"a list of {described(inner[0])}" if inner else "a list"
    if origin is dict or kind is dict:
        return "a mapping"
    if kind is Path:
        return "a path"
    return _WORDS.get(kind, "anything" if kind is Any else getattr(kind, "__name__", str(kind)))


_NO = object()


def _fitted(value: Any, kind: Any) -> Any:
    """``value`` as ``kind`` has it; ``_NO`` if it does not fit."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        found = _fitted(value, arguments[0])
        limits = [part for part in arguments[1:] if isinstance(part, Range)]
        numeric = isinstance(found, int | float) and not isinstance(found, bool)
        if found is _NO or (numeric and not all(limit.holds(found) for limit in limits)):
            return _NO
        return found
    if origin is Literal:
        return next((v for v in arguments if v == value and type(v) is type(value)), _NO)
    if origin in (Union, types.UnionType):
        # A value that is already of one of the types stays as it is.
        parts = sorted(arguments, key=lambda part: type(value) is not part)
        return next((f for part in parts if (f := _fitted(value, part)) is not _NO), _NO)
    if origin in (list, tuple) or kind in (list, tuple):
        return _sequence(value, origin or kind, arguments)
    if origin is dict or kind is dict:
        return dict(value) if isinstance(value, Mapping) else _NO
    if kind is None or kind is type(None):
        return None if value is None else _NO
    if kind is bool or kind is str:
        return value if isinstance(value, kind) else _NO
    if kind is int:
        return value if isinstance(value, int) and not isinstance(value, bool) else _NO
    if kind is float:
        # YAML 1.1 takes 1e-3 for text.
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            return float(value)
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if numeric else _NO
    if kind is Path:
        return Path(value) if isinstance(value, str | Path) else _NO
    # Of types that no file can hold, whatever was given is the callee's to judge.
    return value


def _sequence(value: Any, kind: type, arguments: tuple[Any, ...]) -> Any:
    if not isinstance(value, list | tuple):
        return _NO
    variadic = kind is list or not arguments or arguments[-1] is Ellipsis
    kinds = [arguments[0] if arguments else Any] * len(value) if variadic else list(arguments)
    if len(kinds) != len(value):
        return _NO
    found = [_fitted(v, k) for v, k in zip(value, kinds)]
    return _NO if any(v is _NO for v in found) else kind(found)


# --- from text and files ----------------------------------------------------------------------


def from_text(text: str, origin: str) -> Given:
    """A setting written as ``key=value``; the value is YAML.

    >>> from_text("model.width=64", "--set")
    Given(key='model.width', value=64, origin='--set')

    Raises: ``SettingError`` if there is no ``=``, or the value is no YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise SettingError(f"{origin} {text}: key=value was expected, such as model.lr=0.001")
    yaml = require("yaml", "train", "reading settings")
    try:
        return Given(key.strip(), yaml.safe_load(value), origin)
    except yaml.YAMLError as error:
        raise SettingError(f"{origin} {text}: {_where(error)}") from None


def read_yaml(path: str | Path) -> list[Given]:
    """The settings in a YAML file.

    Raises: ``OSError`` if it cannot be read; ``SettingError`` if it is no YAML, or no mapping.
    """
    yaml = require("yaml", "train", "reading a file of settings")
    text = Path(path).read_text(encoding="utf-8")
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingError(f"{path}: {_where(error)}") from None
    if found is not None and not isinstance(found, Mapping):
        raise SettingError(f"{path}: a mapping of settings was expected, got {found!r}")
    return [Given(str(k), v, str(path)) for k, v in (found or {}).items()]


def _where(error: Any) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    return f"no YAML{place}: {getattr(error, 'problem', None) or error}"


# --- resolution -------------------------------------------------------------------------------


def resolve(schema: Schema, given: Iterable[Given]) -> dict[str, Any]:
    """The value of every setting: the last that was given, else the default.

    Keys are ``section.name``, or the name alone where one section only has it.

    Raises: ``SettingError`` for unknown keys and values that do not fit, naming the key, the value
    and what is allowed; for settings without default that nobody gave.

    >>> resolve({"model": settings_of(lambda width=3: None)}, [from_text("width=5", "--set")])
    {'model': {'width': 5}}
    """
    known = dict(_flat(schema))
    values = {key: setting.default for key, setting in known.items()}
    for one in given:
        for key, value, origin in _spread(one, schema, known):
            fitted = _fitted(value, known[key].kind)
            if fitted is _NO:
                raise SettingError(
                    f"{origin}: {key} = {_shown(value)} is not allowed: "
                    f"{known[key].allowed} was expected"
                )
            values[key] = fitted
    missing = [key for key, value in values.items() if value is REQUIRED]
    if missing:
        raise SettingError(
            f"{', '.join(missing)}: no value was given, and there is no default; "
            f"--set {missing[0]}=… ({known[missing[0]].allowed})"
        )
    return _nested(values, schema)


def _flat(schema: Schema, prefix: str = "") -> Iterable[tuple[str, Setting]]:
    for name, part in schema.items():
        if isinstance(part, Setting):
            yield prefix + name, part
        else:
            yield from _flat(part, f"{prefix}{name}.")


def _spread(one: Given, schema: Schema, known: dict[str, Setting]) -> Iterable[Given]:
    """A value for a section as values for its settings."""
    section = _section(schema, one.key)
    if section is None:
        yield Given(_full_key(one, known), one.value, one.origin)
    elif isinstance(one.value, Mapping):
        for name, value in one.value.items():
            yield from _spread(Given(f"{one.key}.{name}", value, one.origin), schema, known)
    elif one.value is not None:
        raise SettingError(
            f"{one.origin}: {one.key} = {_shown(one.value)}: a mapping of its settings was "
            f"expected ({', '.join(section)})"
        )


def _section(schema: Schema, key: str) -> Schema | None:
    part: Any = schema
    for name in key.split("."):
        part = part.get(name) if isinstance(part, dict) else None
    return part if isinstance(part, dict) else None


def _full_key(one: Given, known: dict[str, Setting]) -> str:
    if one.key in known:
        return one.key
    if "." not in one.key:
        ends = [key for key in known if key.rpartition(".")[2] == one.key]
        if len(ends) == 1:
            return ends[0]
        if ends:
            raise SettingError(
                f"{one.origin}: '{one.key}' may mean {' or '.join(ends)}: write one of them"
            )
    short = {key.rpartition(".")[2]: key for key in known}
    close = difflib.get_close_matches(one.key, known, n=1)
    close = close or [
        short[name] for name in difflib.get_close_matches(one.key.rpartition(".")[2], short, n=1)
    ]
    hint = f"; did you mean '{close[0]}'?" if close else "."
    raise SettingError(
        f"{one.origin}: no setting '{one.key}' (given {_shown(one.value)}){hint} "
        f"There are: {', '.join(known)}"
    )


def _shown(value: Any) -> str:
    return (
        {None: "null", True: "true", False: "false"}.get(value, repr(value))
        if (value is None or isinstance(value, bool))
        else repr(value)
    )


def _nested(values: dict[str, Any], schema: Schema, prefix: str = "") -> dict[str, Any]:
    return {
        name: values[prefix + name]
        if isinstance(part, Setting)
        else _nested(values, part, f"{prefix}{name}.")
        for name, part in schema.items()
    }
