"""What a stroke scene is drawn from (`render.draw_strokes`)."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields

from physics.errors import require
from render.draw import Draw, Fixed, default_draw
from render.strokes import MASK_PX


@dataclass(frozen=True, kw_only=True)
class StrokeScene:
    """Lines drawn as strokes on blended backgrounds, after Govind et al. (2023, Mach. Learn.: Sci. Technol. 5, 015006).

    Theirs are the numbers of lines and pile-ups, the drawn width, the gaps between neighbours (center to center, across the lines),
    the fixed width of masks and the blend of two backgrounds; the other ranges are ours: lengths, shapes, darkness, blend.
    `contrast` "composite" gives the same lines on the same backgrounds their computed contrast instead of the pen's.
    `backgrounds` is a folder of images, null: simulated foils without lines. `lines` counts those of all pile-ups.
    """

    kind: str = "stroke2d"
    pileups: Draw = default_draw({"integers": [1, 3]})
    lines: Draw = default_draw({"integers": [7, 8]})
    width_px: Draw = default_draw({"uniform": [1.1, 3.4]})
    gap_px: Draw = default_draw({"uniform": [7, 29]})
    mask_px: float = MASK_PX
    length_px: Draw = default_draw({"uniform": [60, 240]})
    slant_deg: Draw = default_draw({"uniform": [-35, 35]})
    sag_fraction: Draw = default_draw({"normal": [0, 0.12]})
    wave_fraction: Draw = default_draw({"uniform": [0, 0.04]})
    darkness: Draw = default_draw({"uniform": [0.25, 0.7]})
    blend: Draw = default_draw({"uniform": [0.3, 0.7]})
    backgrounds: str | None = None
    contrast: str = "stroke"

    def __post_init__(self) -> None:
        limits = {
            "pileups": (1, 50), "lines": (1, 500), "width_px": (0.5, 100), "gap_px": (1, 1000), "length_px": (4, 16384), "slant_deg": (-60, 60),
            "sag_fraction": (-1, 1), "wave_fraction": (0, 1), "darkness": (0, 1), "blend": (0.01, 0.99),
        }  # fmt: skip
        for f in fields(self):
            if f.type != "Draw":
                continue
            low, high = limits[f.name]
            for value in getattr(self, f.name).values():
                number = isinstance(value, int | float) and not isinstance(value, bool)
                require(number and low <= value <= high, f"scene.{f.name}", f"lie in [{low:g}, {high:g}]", value)
        mask_ok = isinstance(self.mask_px, int | float) and 2 <= self.mask_px <= 100
        require(mask_ok, "scene.mask_px", "lie in [2, 100]", self.mask_px)
        require(self.contrast in ("stroke", "composite"), "scene.contrast", "be stroke or composite", self.contrast)
        if self.backgrounds is not None:
            require(os.path.isdir(str(self.backgrounds)), "scene.backgrounds", "be a folder of images that exists", self.backgrounds)

    @property
    def simulated(self) -> bool:
        return self.backgrounds is None


# No holes, edges, tears or second grain under a stroke: there a line would end, and nothing held by a film.
WHOLE_FOIL = {name: Fixed(0) for name in ("edge_share", "hole_share", "tear_share", "boundary_share")} | {"film_depth_nm": Fixed(None)}
