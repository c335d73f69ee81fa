"""Trains a small network, starts TensorBoard on what it logged, and takes pictures of its pages.

    python tools/tensorboard_screenshot.py FOLDER

Leaves ``scalars.png``, ``graph.png``, ``images.png`` and ``histograms.png`` in ``FOLDER``. Needs
``tensorboard`` and headless Chromium (Debian's ``chromium``).
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import flambeau as torch
from flambeau import nn, optim
from flambeau.nn import functional as F
from flambeau.trainer.loggers import TensorBoardLogger

PAGES = {
    "scalars": "#scalars",
    "graph": "#graphs",
    "images": "#images",
    "histograms": "#histograms",
}


class Net(nn.Module):
    """Two hidden layers, to have groups in the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh())
        self.head = nn.Linear(32, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


def train(folder: Path, lr: float, version: str) -> None:
    """Learns a ring; logs what it sees on the way."""
    torch.manual_seed(0)
    x = torch.randn(512, 2)
    y = (x.square().sum(1, keepdim=True) > 1.4).float()
    net = Net()
    net.example_input_array = x[:4]
    optimizer = optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    logger = TensorBoardLogger(folder, name="ring", version=version, log_graph=True)
    logger.log_hyperparams({"lr": lr})
    logger.log_graph(net)
    grid = torch.linspace(-2, 2, 64)
    points = torch.stack(torch.meshgrid(grid, grid, indexing="ij"), -1).reshape(-1, 2)
    for step in range(200):
        out = net(x)
        loss = F.binary_cross_entropy_with_logits(out, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        accuracy = ((out > 0) == (y > 0)).float().mean()
        logger.log_metrics({"train/loss": loss, "train/accuracy": accuracy}, step)
        if step % 40 == 0:
            shown = torch.sigmoid(net(points)).reshape(1, 64, 64)
            logger.experiment.add_image("decision", shown, step)
            for name, p in net.named_parameters():
                logger.experiment.add_histogram(name, p, step)
    logger.finalize("success")


@contextmanager
def tensorboard(folder: Path):
    """TensorBoard's address while it runs on ``folder``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
    command += ["--port", str(port), "--host", "127.0.0.1", "--load_fast", "false"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}/"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                tags = urllib.request.urlopen(f"{address}data/plugin/scalars/tags").read()
                if b"train/loss" in tags:
                    break
            except OSError:
                pass
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("tensorboard did not come up")
            time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait()


def take(address: str, picture: Path) -> None:
    """A picture of a page, once it has had ten seconds to draw."""
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if browser is None:
        raise SystemExit("no chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                f"--user-data-dir={profile}",
                "--window-size=1300,900",
                "--virtual-time-budget=20000",
                f"--screenshot={picture}",
                address,
            ],
            check=True,
            timeout=120,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def main() -> None:
    target = Path(sys.argv[1]).absolute()
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for lr, version in ((0.03, "slow"), (0.3, "fast")):
            train(Path(folder), lr, version)
        with tensorboard(Path(folder)) as address:
            for name, page in PAGES.items():
                take(address + page, target / f"{name}.png")
                print(target / f"{name}.png")


if __name__ == "__main__":
    main()
