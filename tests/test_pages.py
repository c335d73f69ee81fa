"""What the pages say is so: the generated one is up to date, the README's example runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def test_primitives_page_is_up_to_date():
    tool = ROOT / "tools" / "primitives.py"
    done = subprocess.run([sys.executable, tool, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, f"run python tools/primitives.py\n{done.stderr}"


def test_coverage_page_is_up_to_date():
    tool = ROOT / "tools" / "coverage.py"
    done = subprocess.run([sys.executable, tool, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_missing_name_has_its_reason():
    page = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")
    assert "Not there yet." not in page


def test_the_list_of_primitives_without_kernel_gets_no_longer():
    """Lower the number when a primitive gets its kernel."""
    rows = (ROOT / "docs" / "primitives.md").read_text(encoding="utf-8").splitlines()
    assert sum(row.endswith("no kernel |") for row in rows) <= 81


def test_readme_example_agrees_with_torch(capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    as_torch = example.replace("import flambeau as torch", "import torch")
    as_torch = as_torch.replace("from flambeau", "from torch")
    losses = []
    for code in (example, as_torch):
        exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
        losses.append(float(capsys.readouterr().out))
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing
