"""From 16-bit counts to the grey levels of a picture: black and white point, polarity, gamma, levels, compression.

With a Recording, the stored image holds grey levels 0 ... 255 (as uint16) and no longer counts. Labels keep their contrast as
it is in the electrons. Axes: (Y, X) image rows and columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from physics.errors import require
from render.compression import through_jpeg, through_video

WHITE = 255


@dataclass(frozen=True, kw_only=True)
class Recording:
    """How an operator and a file format make a picture of counts.

    The counts at the percentiles `black_percent` and `white_percent` of the frame set the scale, as automatic contrast
    does: black is laid `black_share` of the way from 0 to the first (below 0: the brightness is raised, as video cameras do, and
    contrast falls), and what lies at the second comes out at `white_level` of 1. `inverted`: light where electrons are missing, as a photographic negative. grey = 255 v^gamma.
    `levels`: grey levels of the converter, spread over 0 ... 255 (256: eight bits). `video_step` (None: no video) is the quantiser's step in
    grey levels, see `render.compression`; `jpeg_quality` None: no JPEG. Video comes first.
    """

    black_share: float = 0.0
    black_percent: float = 0.5
    white_percent: float = 99.5
    white_level: float = 1.0
    inverted: bool = False
    gamma: float = 1.0
    levels: int = 256
    video_step: float | None = None
    video_block_px: int = 8
    video_offset_px: tuple[int, int] = (0, 0)
    jpeg_quality: int | None = None

    def __post_init__(self) -> None:
        require(-20 <= self.black_share <= 1, "black_share", "lie in [-20, 1]", self.black_share)
        ordered = 0 <= self.black_percent < self.white_percent <= 100
        require(ordered, "white_percent", "lie above black_percent, both in [0, 100]", self.white_percent)
        require(0 < self.white_level <= 1, "white_level", "lie in (0, 1]", self.white_level)
        require(isinstance(self.inverted, bool), "inverted", "be true or false", self.inverted)
        require(math.isfinite(self.gamma) and 0.1 <= self.gamma <= 10, "gamma", "lie in [0.1, 10]", self.gamma)
        _whole(self.levels, 2, 256, "levels")
        step = self.video_step
        require(step is None or 0 < step <= 512, "video_step", "lie in (0, 512] or be null", step)
        require(self.video_block_px in (4, 8, 16), "video_block_px", "be 4, 8 or 16", self.video_block_px)
        offset_ok = len(tuple(self.video_offset_px)) == 2 and all(0 <= o < 16 and o == int(o) for o in self.video_offset_px)
        require(offset_ok, "video_offset_px", "be two whole numbers in [0, 15]", self.video_offset_px)
        object.__setattr__(self, "video_offset_px", tuple(int(o) for o in self.video_offset_px))
        if self.jpeg_quality is not None:
            _whole(self.jpeg_quality, 1, 100, "jpeg_quality")


def grey_levels(counts: np.ndarray, recording: Recording) -> np.ndarray:
    """Grey levels (Y, X) uint8 of `counts` (Y, X), before anything is drawn in and before compression."""
    low, high = np.percentile(counts, [recording.black_percent, recording.white_percent])
    black = recording.black_share * low
    # A frame without any contrast has no scale: it is all white.
    value = (counts - black) / (high - black) * recording.white_level if high > black else np.ones(counts.shape)
    value = np.clip(value, 0, 1)
    if recording.inverted:
        value = 1 - value
    value = value**recording.gamma
    steps = recording.levels - 1
    return np.rint(np.rint(value * steps) * (WHITE / steps)).astype(np.uint8)


def compressed(grey: np.ndarray, recording: Recording) -> np.ndarray:
    """`grey` (Y, X) uint8 after video and JPEG, where there are any."""
    if recording.video_step is not None:
        grey = through_video(grey, recording.video_step, recording.video_block_px, recording.video_offset_px)
    if recording.jpeg_quality is not None:
        grey = through_jpeg(grey, recording.jpeg_quality)
    return grey


def _whole(value: object, low: int, high: int, name: str) -> None:
    ok = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    require(ok, name, f"be a whole number in [{low}, {high}]", value)
