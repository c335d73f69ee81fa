"""The data of the bundled recipes: digits, MNIST, CIFAR-10."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

import flambeau as torch  # upward: an application, written against the public face like a user's
from flambeau.trainer.datamodule import LightningDataModule
from flambeau.trainer.recipes.files import CIFAR10_CLASSES, DataError, read_cifar10, read_mnist
from flambeau.trainer.recipes.settings import Range
from flambeau.utils.data import DataLoader, Dataset
from flambeau.utils.extras import require

__all__ = ["CIFAR10", "MNIST", "Digits", "ImageData", "Images"]

Count = Annotated[int, Range(least=1)]
_EVALUATED_AT_ONCE = 250


class Images(Dataset):
    """Images as bytes, given out by whole batches as floats from 0 to 1.

    ``shift``: an image is moved by up to so many pixels, edges repeated with zeros; ``flip``: every
    second is mirrored. Both are drawn anew each time, from the global generator.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        shift: int = 0,
        flip: bool = False,
        brightest: int = 255,
    ) -> None:
        self.images, self.labels = images, labels
        self.shift, self.flip, self.brightest = shift, flip, brightest
        edge = ((0, 0), (0, 0), (shift, shift), (shift, shift))
        self._padded = np.pad(images, edge) if shift else images

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = self.__getitems__([index])
        return images[0], labels[0]

    def __getitems__(self, indices: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch: images of shape (n, channels, size, size), labels of shape (n,)."""
        chosen = self._padded[indices]
        if self.shift:
            chosen = self._moved(chosen)
        if self.flip:
            mirrored = torch.rand(len(indices)).numpy() < 0.5
            chosen[mirrored] = chosen[mirrored][..., ::-1]
        pixels = chosen.astype(np.float32) / np.float32(self.brightest)
        return torch.from_numpy(pixels), torch.from_numpy(self.labels[indices])

    def _moved(self, padded: np.ndarray) -> np.ndarray:
        n, _, size, _ = padded.shape
        size -= 2 * self.shift
        rows, columns = torch.randint(0, 2 * self.shift + 1, (2, n)).numpy()
        windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(2, 3))
        return windows[np.arange(n), :, rows, columns].copy()


def _as_it_is(batch: Any) -> Any:
    """What :class:`Images` gives is a batch already."""
    return batch


class ImageData(LightningDataModule):
    """Images of classes in memory; a subclass reads them in ``setup``."""

    classes: tuple[str, ...] = ()
    shape: tuple[int, int, int] = (1, 28, 28)

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.train: Images | None = None
        self.validation: Images | None = None
        self.test: Images | None = None

    def train_dataloader(self) -> DataLoader:
        """Shuffled batches of the training images."""
        return DataLoader(
            self.train, batch_size=self.batch_size, shuffle=True, collate_fn=_as_it_is
        )

    def val_dataloader(self) -> DataLoader:
        """The images held out of the training set, in order."""
        return self._in_order(self.validation)

    def test_dataloader(self) -> DataLoader:
        """The test images, in order."""
        return self._in_order(self.test)

    @staticmethod
    def _in_order(images: Images | None) -> DataLoader:
        return DataLoader(images, batch_size=_EVALUATED_AT_ONCE, collate_fn=_as_it_is)


class Digits(ImageData):
    """Scikit-learn's 1797 digits of 8x8 pixels, ``validation`` of them held out.

    There is no test set beside: the held-out digits are both.
    """

    classes = tuple("0123456789")
    shape = (1, 8, 8)

    def __init__(
        self,
        batch_size: Count = 64,
        validation: Count = 360,
        shift: Annotated[int, Range(least=0, most=2)] = 1,
        split: Annotated[int, Range(least=0)] = 0,
    ) -> None:
        super().__init__(batch_size)
        self.save_hyperparameters()

    def setup(self, stage: str) -> None:
        """Reads and splits them, the same for every seed."""
        if self.train is not None:
            return
        datasets = require("sklearn.datasets", "train", "the handwritten digits")
        selection = require("sklearn.model_selection", "train", "the handwritten digits")
        images, labels = datasets.load_digits(return_X_y=True)
        images = images.astype(np.uint8).reshape(-1, 1, 8, 8)
        _check_held_out(self.hparams.validation, len(labels))
        learned, held_out, learned_labels, held_out_labels = selection.train_test_split(
            images,
            labels.astype(np.int64),
            test_size=self.hparams.validation,
            random_state=self.hparams.split,
            stratify=labels,
        )
        self.train = Images(learned, learned_labels, self.hparams.shift, brightest=16)
        self.validation = self.test = Images(held_out, held_out_labels, brightest=16)


class _FromFiles(ImageData):
    """Images in a folder of the original files, the last of the training set held out."""

    def _read(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        """Reads the files of the stage; downloads those that are missing."""
        chosen = self.hparams
        if stage == "test" and self.test is None:
            self.test = Images(*self._read("test"))
        elif stage != "test" and self.train is None:
            images, labels = self._read("train")
            _check_held_out(chosen.validation, len(labels))
            kept = len(labels) - chosen.validation
            used = min(chosen.limit or kept, kept)
            flip = bool(getattr(chosen, "flip", False))
            self.train = Images(images[:used], labels[:used], chosen.shift, flip)
            self.validation = Images(images[kept:], labels[kept:])


class MNIST(_FromFiles):
    """MNIST [LeCun, Cortes and Burges]: handwritten digits of 28x28 pixels.

    ``folder`` has (or gets) the four original files; the last ``validation`` training images are
    held out; ``limit`` uses so many of the others only.
    """

    classes = tuple("0123456789")
    shape = (1, 28, 28)

    def __init__(
        self,
        folder: str = "data/mnist",
        batch_size: Count = 64,
        validation: Count = 5000,
        limit: Count | None = None,
        shift: Annotated[int, Range(least=0, most=8)] = 0,
    ) -> None:
        super().__init__(batch_size)
        self.save_hyperparameters()

    def _read(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        return _checked(read_mnist(self.hparams.folder, split), self.shape, self.hparams.folder)


class CIFAR10(_FromFiles):
    """CIFAR-10 [Krizhevsky 2009]: photographs of 32x32 pixels, ten classes.

    ``folder`` has (or gets) the original files, of the binary version or the one for Python; the
    last ``validation`` training images are held out; ``limit`` uses so many of the others only.
    """

    classes = CIFAR10_CLASSES
    shape = (3, 32, 32)

    def __init__(
        self,
        folder: str = "data/cifar10",
        batch_size: Count = 128,
        validation: Count = 5000,
        limit: Count | None = None,
        shift: Annotated[int, Range(least=0, most=8)] = 4,
        flip: bool = True,
    ) -> None:
        super().__init__(batch_size)
        self.save_hyperparameters()

    def _read(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        return _checked(read_cifar10(self.hparams.folder, split), self.shape, self.hparams.folder)


def _checked(
    found: tuple[np.ndarray, np.ndarray], shape: tuple[int, ...], folder: str
) -> tuple[np.ndarray, np.ndarray]:
    if found[0].shape[1:] != shape:
        raise DataError(f"{folder}: images of shape {found[0].shape[1:]}, {shape} was expected")
    return found


def _check_held_out(count: int, there_are: int) -> None:
    if count >= there_are:
        raise DataError(
            f"data.validation = {count}: less than the {there_are} training images was expected"
        )
