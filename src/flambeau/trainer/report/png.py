"""Arrays as PNG images, for pages that hold everything themselves."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

__all__ = ["data_uri", "encode"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encode(pixels: np.ndarray) -> bytes:
    r"""The PNG file of bytes of shape (height, width), grey, or (height, width, 3), RGB.

    Raises: ``ValueError`` for other shapes or dtypes.

    Reference: ISO/IEC 15948, Portable Network Graphics.

    >>> import numpy as np
    >>> encode(np.zeros((2, 2), np.uint8))[:4]
    b'\x89PNG'
    """
    if pixels.dtype != np.uint8 or not (
        pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    ):
        raise ValueError(
            "bytes of shape (height, width) or (height, width, 3) were expected, got "
            f"{pixels.dtype} of shape {pixels.shape}"
        )
    height, width = pixels.shape[:2]
    colour = 0 if pixels.ndim == 2 else 2
    rows = np.ascontiguousarray(pixels).reshape(height, -1)
    # Each row begins with the number of its filter; 0: none.
    unfiltered = np.concatenate([np.zeros((height, 1), np.uint8), rows], 1).tobytes()
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)),
            _chunk(b"IDAT", zlib.compress(unfiltered, 9)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def data_uri(image: np.ndarray) -> str:
    """An image of shape (1 or 3, height, width) as the address of a PNG that is the PNG."""
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    return "data:image/png;base64," + base64.b64encode(encode(pixels)).decode()
