"""One picture as the input of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import flambeau as torch  # upward: an application, written against the public face like a user's
from flambeau.utils.extras import require

__all__ = ["PictureError", "read_picture"]


class PictureError(ValueError):
    """A file that is no picture, or not one that fits."""


def read_picture(path: Path, shape: tuple[int, ...], invert: bool = False) -> torch.Tensor:
    """The picture in a file as a tensor of shape (1, channels, height, width), from 0 to 1.

    ``shape`` is (channels, height, width) of the input that is wanted: pictures are made grey or
    coloured and resized; empty, they stay as they are. Files end with ``.npy`` (bytes, or floats
    from 0 to 1, of shape (height, width), with one or three channels first or last) or are whatever
    Pillow reads. ``invert`` exchanges dark and light.

    Raises: ``PictureError`` for what is no picture; ``OSError`` if there is no such file.
    """
    pixels = _array(path) if path.suffix == ".npy" else _image(path, shape)
    if pixels.ndim == 2:
        pixels = pixels[None]
    elif pixels.shape[0] not in (1, 3) and pixels.shape[-1] in (1, 3):
        pixels = pixels.transpose(2, 0, 1)
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3) or 0 in pixels.shape:
        raise PictureError(
            f"{path}: (height, width), or with 1 or 3 channels first or last, was expected; it has "
            f"the shape {pixels.shape}"
        )
    values = _from_0_to_1(path, pixels)
    if invert:
        values = 1 - values
    if shape:
        values = _fitted(values, shape)
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))[None]


def _array(path: Path) -> np.ndarray:
    try:
        found = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise PictureError(f"{path}: no array of numbers ({error})") from None
    return np.asarray(found)


def _image(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    pillow: Any = require("PIL.Image", "vision", "reading pictures")
    try:
        with pillow.open(path) as image:
            grey = shape[0] == 1 if shape else image.mode in ("1", "L", "I;16", "LA")
            return np.asarray(image.convert("L" if grey else "RGB"))
    except pillow.UnidentifiedImageError:
        raise PictureError(f"{path}: no picture that Pillow knows, and no .npy") from None


def _from_0_to_1(path: Path, pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32) / 255
    if pixels.dtype.kind == "b":
        return pixels.astype(np.float32)
    if pixels.dtype.kind != "f":
        raise PictureError(
            f"{path}: bytes, or floats from 0 to 1, were expected, not {pixels.dtype}"
        )
    if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
        raise PictureError(
            f"{path}: floats from 0 to 1 were expected, not from {pixels.min():g} to "
            f"{pixels.max():g}"
        )
    return pixels.astype(np.float32)


def _fitted(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    channels, height, width = shape
    if channels == 1 and len(values) == 3:
        # The weights of ITU-R BT.601, as Pillow's.
        values = np.tensordot(np.array([0.299, 0.587, 0.114], np.float32), values, 1)[None]
    elif channels == 3 and len(values) == 1:
        values = np.repeat(values, 3, 0)
    if values.shape[1:] == (height, width):
        return values
    pillow: Any = require("PIL.Image", "vision", "resizing pictures")
    planes = [
        np.asarray(pillow.fromarray(plane).resize((width, height), pillow.Resampling.BILINEAR))
        for plane in values.astype(np.float32)
    ]
    return np.clip(np.stack(planes), 0, 1)
