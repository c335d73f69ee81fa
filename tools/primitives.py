"""Writes docs/primitives.md: every primitive with its meaning.

With ``--check`` it writes nothing, and fails if the page is out of date.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

from flambeau import ir
from flambeau.ir.primitive import PRIMITIVES
from flambeau.run.compiler import draft as draft  # registers the rules
from flambeau.run.compiler.lower import LOWER, PAIRS
from flambeau.run.compiler.pointwise import RULES

PAGE = Path(__file__).parent.parent / "docs" / "primitives.md"

INTRO = """Everything that functions are made of. `tools/primitives.py` writes this page from the
declarations in `src/flambeau/ir/`. Each has a shape and dtype rule and a NumPy reference; a
*differentiable* one also has gradients, written in primitives. *Host* primitives are opaque to
fusion. Those that raise on some values end their call with a flush, so that the error comes from
the call. Compiled programs call the reference of those with *no kernel* (and of others for dtypes
and cases without one: `FLAMBEAU_LOG=program` says which and why). That list may only get shorter:
`tests/test_pages.py` has its length.
"""


def without_kernel() -> set[str]:
    """The primitives whose reference compiled programs call."""
    return set(PRIMITIVES) - set(LOWER) - set(PAIRS) - set(RULES) - {"number"}


def page() -> str:
    """The page's text."""
    rows = []
    for name, p in sorted(PRIMITIVES.items()):
        notes = [
            text
            for text, on in (
                ("differentiable", p.differentiable),
                ("host", p.host),
                ("raises on some values", p.raises),
                ("no kernel", name in without_kernel()),
            )
            if on
        ]
        # A bar would end the cell.
        meaning = p.meaning.replace("|", "\\|")
        rows.append(f"| `{name}` | {meaning} | {', '.join(notes)} |")
    head = ["| primitive | meaning | properties |", "| --- | --- | --- |"]
    return "\n".join([f"# The {len(rows)} primitives\n", INTRO, *head, *rows, ""])


def main() -> int:
    for module in pkgutil.iter_modules(ir.__path__):
        importlib.import_module(f"{ir.__name__}.{module.name}")
    text = page()
    if "--check" in sys.argv[1:]:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
