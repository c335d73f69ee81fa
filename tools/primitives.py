"""Writes docs/primitives.md: every primitive with its meaning.

    python tools/primitives.py            # writes
    python tools/primitives.py --check    # fails if the page is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

from flambeau.ir.primitive import PRIMITIVES

PAGE = Path(__file__).parent.parent / "docs" / "primitives.md"


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
            )
            if on
        ]
        rows.append(f"| `{name}` | {p.meaning} | {', '.join(notes)} |")
    lines = [
        "# Primitives",
        "",
        "Everything that functions are made of; `tools/primitives.py` writes this page from the declarations",
        "in `src/flambeau/ir/`. *Host* primitives are opaque to fusion.",
        "",
    ]
    lines += ["| primitive | meaning | |", "| --- | --- | --- |", *rows, ""]
    return "\n".join(lines)


def main() -> int:
    import flambeau  # noqa: F401  declares every primitive

    text = page()
    if "--check" in sys.argv[1:]:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
