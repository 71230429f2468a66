"""Videos, frame by frame, through ffmpeg where imageio-ffmpeg is installed (`pip install gdotb[video]`, 30 MB)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from physics.errors import InputError

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv")


def video_frames(path: Path) -> Iterator[np.ndarray]:
    """The frames (Y, X) uint8 of a video, their luminance as it was coded.

    Raises InputError where imageio-ffmpeg is missing, and for a file that ffmpeg cannot decode.
    """
    try:
        import imageio_ffmpeg
    except ImportError:
        raise InputError(
            f"{path} must be frames (a stack or a folder of pictures) where imageio-ffmpeg is not installed, got a video; pip install imageio-ffmpeg"
        ) from None
    try:
        frames = imageio_ffmpeg.read_frames(str(path), pix_fmt="gray", bits_per_pixel=8)
        columns, rows = next(frames)["size"]
        for frame in frames:
            yield np.frombuffer(frame, dtype=np.uint8).reshape(rows, columns)
    except (OSError, RuntimeError, ValueError, KeyError, StopIteration) as error:
        text = " ".join(str(error).split()).replace("\\", "/")
        raise InputError(f"{path} must be a readable video, got {type(error).__name__}: {text[:120]}") from None
