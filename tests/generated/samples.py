"""The tables of samples, and the little language that samples are written in."""

from __future__ import annotations

import ast
import builtins
import os
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import CodeType

from generated.operands import ARRAYS

SOURCES = Path(__file__).parent.parent.parent / "src" / "flambeau"
# What samples may name besides operands; ``optimizer`` is for schedules made of others.
NAMES = frozenset({"torch", "nn", "F", "np", "math", "inf", "nan", "optimizer"})
MARKERS = re.compile(r"no-grad|no-second|no-compile \(.+\)|floats|loose|sign")
BRACKETS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
QUOTED = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")


class BadSample(Exception):
    """A sample is not written as it should be."""


@dataclass(frozen=True)
class Sample:
    """One call: the text of its arguments, and of what its result is called with, if anything."""

    name: str
    text: str
    arguments: str
    then: str | None
    refused: bool
    markers: frozenset[str]
    place: str

    def __str__(self) -> str:
        return f"{self.name}[{self.text}]"

    def marked(self, word: str) -> bool:
        return any(m.startswith(word) for m in self.markers)

    @cached_property
    def tree(self) -> ast.Call:
        """The call as Python's syntax."""
        return _call(self.arguments)

    @cached_property
    def code(self) -> CodeType:
        """The call of ``call`` as code; ``call`` is what the name stands for."""
        then = "" if self.then is None else f"({self.then})"
        return compile(f"call({self.arguments}){then}", str(self), "eval")

    @cached_property
    def making(self) -> CodeType:
        """The call alone, without what its result is called with."""
        return compile(f"call({self.arguments})", str(self), "eval")

    @cached_property
    def operands(self) -> tuple[str, ...]:
        """The operands that it names, in order."""
        trees = [self.tree] if self.then is None else [self.tree, _call(self.then)]
        found: dict[str, None] = {}
        bound: set[str] = set()
        for tree in trees:
            for node in ast.walk(tree):
                if isinstance(node, ast.arg):
                    bound.add(node.arg)
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    bound.add(node.id)
        for tree in trees:
            for node in ast.walk(tree):
                if not isinstance(node, ast.Name) or node.id in bound or node.id == "call":
                    continue
                if node.id in ARRAYS:
                    found[node.id] = None
                elif node.id not in NAMES and not hasattr(builtins, node.id):
                    raise BadSample(f"there is no operand {node.id!r}")
        return tuple(found)


def _call(arguments: str) -> ast.Call:
    try:
        tree = ast.parse(f"call({arguments})", mode="eval").body
    except SyntaxError as e:
        raise BadSample(e.msg) from None
    if not isinstance(tree, ast.Call) or ast.unparse(tree.func) != "call":
        raise BadSample("not the arguments of a call")
    return tree


def split(text: str, separator: str) -> list[str]:
    """The parts of a text between separators that are neither in brackets nor in quotes."""
    quoted = QUOTED.sub(lambda m: "_" * len(m.group()), text)
    depth, parts, start = 0, [], 0
    for at, letter in enumerate(quoted):
        depth += BRACKETS.get(letter, 0)
        if letter == separator and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [part.strip() for part in (*parts, text[start:])]


def parse(name: str, text: str, place: str, errors: list[str]) -> list[Sample]:
    """The samples of one entry of a table; ``errors`` gets what is wrong with others."""
    found: dict[str, Sample] = {}
    for part in split(text, ";"):
        try:
            sample = _parse_one(name, part, place)
        except BadSample as e:
            errors.append(f"{place}: {name}[{part}]: {e}")
            continue
        if sample.text in found:
            errors.append(f"{place}: {name}[{part}]: twice")
        found[sample.text] = sample
    return list(found.values())


def _parse_one(name: str, part: str, place: str) -> Sample:
    whole, *marks = split(part, "#")
    markers = frozenset(m.strip() for mark in marks for m in split(mark, ","))
    if wrong := [m for m in markers if not MARKERS.fullmatch(m)]:
        raise BadSample(f"there is no marker {wrong[0]!r}")
    arguments, *then = split(whole.removeprefix("!"), "|")
    if len(then) > 1:
        raise BadSample("more than one |")
    called = then[0] if then else None
    sample = Sample(name, whole, arguments, called, whole.startswith("!"), markers, place)
    # Asked for here, so that what is wrong is said when the table is read.
    _ = sample.operands
    return sample


def _table(path: Path) -> ast.Dict | None:
    """What a file assigns to ``SAMPLES``."""
    text = path.read_text(encoding="utf-8")
    if "\nSAMPLES" not in text:
        return None
    for node in ast.parse(text).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(t, ast.Name) and t.id == "SAMPLES" for t in targets):
            if not isinstance(node.value, ast.Dict):
                raise BadSample("SAMPLES is no dictionary")
            return node.value
    return None


def read(path: Path, errors: list[str]) -> dict[str, list[Sample]]:
    """The samples of a file's table, by name. It is read, not imported: it holds only strings."""
    found: dict[str, list[Sample]] = {}
    shown = path.relative_to(SOURCES) if path.is_relative_to(SOURCES) else path
    try:
        table = _table(path)
    except (BadSample, SyntaxError) as e:
        errors.append(f"{shown}: {e}")
        return found
    for key, value in zip(table.keys, table.values, strict=True) if table is not None else ():
        place = f"{shown}:{value.lineno}"
        try:
            name, text = ast.literal_eval(key), ast.literal_eval(value)
            if not isinstance(name, str) or not isinstance(text, str):
                raise ValueError
        except (TypeError, ValueError):
            errors.append(f"{place}: not a string")
            continue
        if name in found:
            errors.append(f"{place}: {name} twice")
        found[name] = parse(name, text, place, errors)
    return found


@lru_cache(None)
def _read_all() -> tuple[dict[str, list[Sample]], list[str]]:
    found: dict[str, list[Sample]] = {}
    errors = []
    for path in sorted(SOURCES.rglob("*.py")):
        for name, samples in read(path, errors).items():
            if name in found:
                errors.append(f"{samples[0].place}: {name} is in {found[name][0].place}, too")
            found.setdefault(name, samples)
    return found, errors


def tables() -> dict[str, list[Sample]]:
    """All samples that are well written, by name."""
    return _read_all()[0]


def errors() -> list[str]:
    """What is wrong with the tables."""
    return _read_all()[1]


def chosen() -> dict[str, list[Sample]]:
    """Those that the variable ``SAMPLES`` asks for: all without it."""
    wanted = os.environ.get("SAMPLES")
    if not wanted:
        return tables()
    pattern = re.compile(wanted)
    return {
        name: samples
        for name, samples in tables().items()
        if pattern.fullmatch(name) or pattern.match(samples[0].place)
    }
