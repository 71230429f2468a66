"""What storing and sending an 8-bit picture leaves in it: JPEG, and the blocks of video.

Axes: (Y, X) image rows and columns of grey levels 0 ... 255.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from scipy.fft import dctn, idctn


def through_jpeg(grey: np.ndarray, quality: int) -> np.ndarray:
    """`grey` (Y, X) uint8 written as a JPEG of `quality` 1 ... 100 and read back; the bytes are those of one pillow version."""
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=int(quality))
    return np.asarray(Image.open(file))


def through_video(grey: np.ndarray, step: float, block_px: int, offset_px: tuple[int, int]) -> np.ndarray:
    """`grey` (Y, X) uint8 after a video coder's blocks: cosine coefficients rounded to multiples of `step` levels.

    Blocks of `block_px` squared start at minus `offset_px` (x, y): video that was cut out of a larger frame keeps
    that frame's blocks. As in H.264 and MPEG, one step holds for all coefficients but the mean of a block, which is
    kept four times as fine, and small ones fall to zero in a wider zone (the coders' dead zone, 2/3 of a step).
    """
    rows, columns = grey.shape
    left, top = (int(o) % block_px for o in offset_px)
    padded = np.pad(grey.astype(np.float64), ((top, -(rows + top) % block_px), (left, -(columns + left) % block_px)), mode="edge")
    down, across = padded.shape[0] // block_px, padded.shape[1] // block_px
    blocks = padded.reshape(down, block_px, across, block_px).swapaxes(1, 2)
    coefficients = dctn(blocks, axes=(2, 3), norm="ortho")
    # A mean level m has the coefficient m block_px.
    mean = np.rint(coefficients[..., 0, 0] / (step / 4)) * (step / 4)
    magnitude = np.floor(np.abs(coefficients) / step + 1 / 3)
    coefficients = np.sign(coefficients) * magnitude * step
    coefficients[..., 0, 0] = mean
    decoded = idctn(coefficients, axes=(2, 3), norm="ortho").swapaxes(1, 2).reshape(padded.shape)
    return np.clip(np.rint(decoded[top : top + rows, left : left + columns]), 0, 255).astype(np.uint8)
