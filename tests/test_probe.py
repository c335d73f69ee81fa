"""PyTorch's own sample databases, through the harness in ``shared/checks``.

``tests/probe_names.txt`` lists the operators, modules and optimizers that pass: none may fail
again. ``python tests/test_probe.py`` runs everything and writes the list anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROBE = ROOT.parent / "shared" / "checks" / "opinfo_probe.py"
NAMES = Path(__file__).parent / "probe_names.txt"
SHARDS = 2


def probe(*args: str, out: Path) -> list[dict]:
    """The harness's rows for some arguments."""
    env = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT / "src"))
    done = subprocess.run(
        [sys.executable, str(PROBE), *args, "--candidate", "flambeau", "--json", str(out)],
        capture_output=True,
        text=True,
        env=env,
        cwd=PROBE.parent,
        timeout=1500,
    )
    assert out.exists(), done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(out.read_text())


@pytest.mark.skipif(not PROBE.exists(), reason="the harness is in ../shared, beside the project")
@pytest.mark.parametrize("shard", range(SHARDS))
def test_what_passed_passes(shard, tmp_path):
    wanted = set(NAMES.read_text().split())
    rows = probe(
        "all", "--names", str(NAMES), "--shard", f"{shard}/{SHARDS}", out=tmp_path / "rows.json"
    )
    assert rows
    worse = [
        f"{r['name']}: {r['note']}"
        for r in rows
        if r["name"] in wanted and r["status"] not in ("pass", "nosample")
    ]
    assert not worse


def main() -> None:
    rows = probe("all", out=Path("/tmp/flambeau-probe.json"))
    NAMES.write_text("\n".join(sorted(r["name"] for r in rows if r["status"] == "pass")) + "\n")


if __name__ == "__main__":
    main()
