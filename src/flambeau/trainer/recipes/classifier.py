"""ImageClassifier: the networks of the bundled recipes, and how they are trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import flambeau as torch  # upward: an application, written against the public face like a user's
import flambeau.nn.functional as F
from flambeau import nn
from flambeau.trainer.module import LightningModule
from flambeau.trainer.recipes.settings import Range

__all__ = ["ImageClassifier"]

Count = Annotated[int, Range(least=1)]
Positive = Annotated[float, Range(above=0)]
Fraction = Annotated[float, Range(least=0, below=1)]


class ImageClassifier(LightningModule):
    """A small network that says which class an image is of.

    ``net``: "cnn" has two convolutions with batch normalisation and a pooling at each of ``depth``
    scales, ``width`` channels at the first and twice as many at each next; "mlp" one hidden layer
    of ``width`` units. ``schedule``: the learning rate falls along a cosine, or stays.

    Shapes: images of shape (batch, channels, size, size), from 0 to 1, give scores of shape
    (batch, classes).
    """

    def __init__(
        self,
        channels: int = 1,
        size: int = 28,
        classes: int = 10,
        net: Literal["cnn", "mlp"] = "cnn",
        width: Count = 16,
        depth: Count = 2,
        dropout: Fraction = 0.25,
        optimizer: Literal["adamw", "sgd"] = "adamw",
        lr: Positive = 3e-3,
        weight_decay: Annotated[float, Range(least=0)] = 0.01,
        schedule: Literal["cosine", "constant"] = "cosine",
        label_smoothing: Fraction = 0.0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if net == "mlp":
            self.net: nn.Module = nn.Sequential(
                nn.Flatten(),
                nn.Linear(channels * size * size, width),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(width, classes),
            )
        else:
            self.net = _convolutions(channels, size, classes, width, depth, dropout)
        self.example_input_array = torch.zeros(1, channels, size, size)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The scores of each image."""
        return self.net(images)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        """The cross-entropy of a batch."""
        images, labels = batch
        scores = self(images)
        loss = F.cross_entropy(scores, labels, label_smoothing=self.hparams.label_smoothing)
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        self.log("train_accuracy", _accuracy(scores, labels), on_step=False, on_epoch=True)
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"], on_step=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Logs the cross-entropy and the accuracy of a batch."""
        self._measure(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Logs the cross-entropy and the accuracy of a batch."""
        self._measure(batch, "test")

    def _measure(self, batch: Any, stage: str) -> None:
        images, labels = batch
        scores = self(images)
        self.log(f"{stage}_loss", F.cross_entropy(scores, labels), prog_bar=True)
        self.log(f"{stage}_accuracy", _accuracy(scores, labels), prog_bar=True)

    def predict_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        """The probability of each class."""
        images = batch[0] if isinstance(batch, list | tuple) else batch
        return self(images).softmax(1)

    def configure_optimizers(self) -> Any:
        """The optimizer, and its schedule if there is one."""
        chosen = self.hparams
        optimizer: Any
        if chosen.optimizer == "sgd":
            optimizer = torch.optim.SGD(
                self.parameters(), chosen.lr, momentum=0.9, weight_decay=chosen.weight_decay
            )
        else:
            optimizer = torch.optim.AdamW(
                self.parameters(), chosen.lr, weight_decay=chosen.weight_decay
            )
        steps = self.trainer.estimated_stepping_batches
        if chosen.schedule == "constant" or steps == float("inf"):
            return optimizer
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(int(steps), 1))
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def _accuracy(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return (scores.argmax(1) == labels).float().mean()


def _convolutions(
    channels: int, size: int, classes: int, width: int, depth: int, dropout: float
) -> nn.Sequential:
    if size >> depth < 1:
        raise ValueError(
            f"model.depth = {depth}: {size}x{size} images can be halved {size.bit_length() - 1} "
            "times at most"
        )
    layers: list[nn.Module] = []
    for scale in range(depth):
        out = width << scale
        layers += [*_block(channels, out), *_block(out, out), nn.MaxPool2d(2)]
        channels = out
    side = size >> depth
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Dropout(dropout), nn.Linear(channels * side * side, classes)
    )


def _block(channels: int, out: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()
