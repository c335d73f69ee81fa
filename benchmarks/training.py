"""Ten training loops under PyTorch and Flambeau: what ``flambeau bench`` measures.

    python benchmarks/training.py                      # all, 2000 steps or 5 s a side
    python benchmarks/training.py --only mlp --peers   # one, with torch.compile and JAX too

Options are those of ``flambeau bench``.
"""

from __future__ import annotations

import sys

from flambeau.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
