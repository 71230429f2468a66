"""Distributions of what surrounds the lines: relief, holes and edges, a second grain, deposits, slip traces."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

from physics.errors import require
from render.draw import Distribution, Fixed, parse

Draw = Distribution


def _draw(value: Any) -> Any:
    return field(default_factory=lambda: parse(value, "default"))


@dataclass(frozen=True, kw_only=True)
class SurroundingsConfig:
    """What `render.draw_surroundings` draws; `CLEAN` is a foil without any. Lengths in px scale with the pixel.

    `edge_share` and `hole_share` are the chances of a frame with a ragged edge or a hole, `boundary_share` that of a
    second grain. `deposits` counts hold for 512 x 512 px and scale with the area. `near_line_share` of the deposits lie
    on a line. `film_depth_nm` null: lines run out to the faces; otherwise an adhering film of that depth stops glide
    sources' lines, which leave a slip trace at its lower side, `trace_held` lines deep at most.
    """

    roughness_nm: Draw = _draw({"weighted": [[0, 2], [{"log_uniform": [0.2, 2]}, 3]]})
    correlation_px: Draw = _draw({"log_uniform": [20, 200]})
    terrace_step_nm: Draw = _draw({"weighted": [[0, 5], [{"log_uniform": [0.5, 5]}, 1]]})
    terrace_period_px: Draw = _draw({"log_uniform": [40, 300]})
    edge_share: Draw = _draw(0.1)
    edge_reach: Draw = _draw({"uniform": [0.02, 0.35]})
    hole_share: Draw = _draw(0.04)
    hole_radius_px: Draw = _draw({"log_uniform": [20, 150]})
    taper_px: Draw = _draw({"log_uniform": [4, 120]})
    boundary_share: Draw = _draw(0.1)
    boundary_tilt_deg: Draw = _draw({"uniform": [20, 90]})
    second_s_xi: Draw = _draw({"weighted": [[{"normal": [0, 0.6]}, 1], [{"uniform": [1.5, 8]}, 2]]})
    deposits: Draw = _draw({"weighted": [[0, 1], [{"log_uniform": [3, 75]}, 3]]})
    deposit_radius_px: Draw = _draw({"log_uniform": [3.5, 11]})
    deposit_depth: Draw = _draw({"log_uniform": [0.06, 1.2]})
    spots: Draw = _draw({"weighted": [[0, 3], [{"uniform": [0.5, 4]}, 1]]})
    spot_radius_px: Draw = _draw({"log_uniform": [20, 140]})
    near_line_share: Draw = _draw(0.15)
    film_depth_nm: Draw = _draw({"weighted": [[None, 1], [{"uniform": [3, 9]}, 1]]})
    trace_length_field: Draw = _draw({"log_uniform": [0.15, 1.5]})
    trace_held: Draw = _draw({"integers": [1, 3]})

    def __post_init__(self) -> None:
        for f in fields(self):
            low, high = (0, 1) if f.name.endswith("_share") else (-math.inf, math.inf) if f.name == "second_s_xi" else (0, math.inf)
            for value in getattr(self, f.name).values():
                if value is None and f.name == "film_depth_nm":
                    continue
                ok = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
                rule = f"lie in [{low:g}, {high:g}]" if high < math.inf else "be a number >= 0" if low == 0 else "be a number"
                require(ok, f"surroundings.{f.name}", rule, value)


CLEAN = SurroundingsConfig(
    roughness_nm=Fixed(0), terrace_step_nm=Fixed(0), edge_share=Fixed(0), hole_share=Fixed(0), boundary_share=Fixed(0),
    deposits=Fixed(0), spots=Fixed(0), film_depth_nm=Fixed(None),
)  # fmt: skip
