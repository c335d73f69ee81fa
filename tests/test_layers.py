"""Imports only point down the list of layers in docs/design.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "flambeau"
# Every module that no line names belongs here.
COMPAT = "compat modules"


def read_layers() -> list[list[str]]:
    """The rows of the list, from the top: the names in each."""
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    block = re.search(r"^## Layers$.*?^```$\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert block, "docs/design.md has no list under '## Layers'"
    rows = (re.split(r"\s{2,}", line)[0] for line in block[1].splitlines() if line.strip())
    return [[name.strip() for name in row.split(",")] for row in rows]


def ranks() -> dict[str, int]:
    return {name: row for row, names in enumerate(read_layers()) for name in names}


def rank_of(module: str, table: dict[str, int]) -> int:
    """The row of ``flambeau.x.y``; the package itself is the face, above all others."""
    name = module.removeprefix("flambeau").removeprefix(".").partition(".")[0]
    return 0 if not name else table.get(name, table[COMPAT])


def target_rank(module: str, table: dict[str, int]) -> int:
    """The row an import reaches: ``import flambeau`` is for the function library behind the face,
    which modules above that use as a script does.
    """
    return table["functions"] if module == "flambeau" else rank_of(module, table)


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """(line, module) of every import that runs, wherever it stands; those for types do not run."""
    for node in _running(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                kept = parts[: len(parts) - node.level + is_package]
                base = ".".join([*kept, *([base] if base else [])])
            for alias in node.names:
                # `from flambeau import nn` is an import of flambeau.nn.
                yield node.lineno, f"{base}.{alias.name}" if base == "flambeau" else base


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under ``if TYPE_CHECKING``."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        only_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        stack.extend(node.orelse if only_types else ast.iter_child_nodes(node))


def violations(source: str, module: str, is_package: bool, table: dict[str, int]) -> list[str]:
    lines = source.splitlines()
    found = []
    for line, target in imports(source, module, is_package):
        if target.partition(".")[0] != "flambeau" or re.search(r"#\s*upward: \S", lines[line - 1]):
            continue
        if target_rank(target, table) < rank_of(module, table):
            found.append(f"{module}:{line} imports {target}, which is above it")
    return found


def test_imports_point_down():
    table = ranks()
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = name_of(path)
        # The face re-exports everything; the shim is no part of the package.
        if module == "flambeau" or module.startswith("flambeau.shim"):
            continue
        source = path.read_text(encoding="utf-8")
        found += violations(source, module, path.name == "__init__.py", table)
    assert not found, "\n".join(found)


def test_every_layer_of_the_list_is_there():
    named = {name for row in read_layers() for name in row} - {COMPAT}
    missing = [
        n for n in named if not (PACKAGE / n).is_dir() and not (PACKAGE / f"{n}.py").exists()
    ]
    assert not missing


@pytest.mark.parametrize(
    "source",
    [
        "import flambeau.nn",
        "from flambeau import nn",
        "from ..nn import functional",
        "def late():\n    from flambeau.functions import add",
        "import flambeau",
    ],
)
def test_an_upward_import_is_found(source):
    assert violations(source, "flambeau.ir.shape", False, ranks())


@pytest.mark.parametrize(
    "source",
    [
        "from flambeau.dtypes import float32",
        "from . import graph",
        "import numpy as np",
        "import flambeau.nn  # upward: the reason why",
        "if TYPE_CHECKING:\n    from flambeau.tensor import Tensor",
    ],
)
def test_a_downward_or_explained_import_is_not(source):
    assert not violations(source, "flambeau.ir.shape", False, ranks())
