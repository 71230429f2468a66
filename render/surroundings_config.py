"""Distributions of what surrounds the lines: relief, holes and edges, a second grain, tears, twins, deposits, slip traces."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from physics.errors import require
from render.draw import Draw, Fixed, default_draw

# What a value of a field may be, where that is not a number >= 0 (a share: a number from 0 to 1).
LIMITS = {
    "second_s_xi": (-math.inf, math.inf), "grain_s_xi": (-math.inf, math.inf), "tear_sag_fraction": (-math.inf, math.inf),
    "tear_length_px": (1, 1e5), "tear_lip_px": (1, 1e4), "tear_width_fraction": (1e-3, 1), "tear_turn_deg": (0, 75),
    "twin_count": (1, 100), "twin_width_nm": (0.1, 1e4),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SurroundingsConfig:
    """What `render.draw_surroundings` draws; `CLEAN` is a foil without any. Lengths in px scale with the pixel.

    `edge_share` and `hole_share` are the chances of a frame with a ragged edge or a hole, `boundary_share` that of a
    second grain. It stands so that one of its low reflections, drawn, has the deviation s xi_g of `grain_s_xi`; given
    `second_s_xi`, it has no orientation and that deviation under a reflection that nobody names. `tear_share` and
    `twin_share` are those of a frame with a tear (`tear_width_fraction` and `tear_sag_fraction` of its length) and with a
    packet of twins, `twin_gap_nm` apart, whose planes tell their orientation. `deposits` counts hold for 512 x 512 px and
    scale with the area. `near_line_share` of the deposits lie on a line. `film_depth_nm` null: lines run out to the faces; otherwise an adhering film of that depth (on a rough face at least 2.5 times its roughness) stops glide
    sources' lines, which leave a slip trace at its lower side, `trace_held` lines deep at most.
    """

    roughness_nm: Draw = default_draw({"weighted": [[0, 2], [{"log_uniform": [0.2, 2]}, 3]]})
    correlation_px: Draw = default_draw({"log_uniform": [20, 200]})
    terrace_step_nm: Draw = default_draw({"weighted": [[0, 5], [{"log_uniform": [0.5, 5]}, 1]]})
    terrace_period_px: Draw = default_draw({"log_uniform": [40, 300]})
    edge_share: Draw = default_draw(0.1)
    edge_reach: Draw = default_draw({"uniform": [0.02, 0.35]})
    hole_share: Draw = default_draw(0.04)
    hole_radius_px: Draw = default_draw({"log_uniform": [20, 150]})
    taper_px: Draw = default_draw({"log_uniform": [4, 120]})
    boundary_share: Draw = default_draw(0.1)
    boundary_tilt_deg: Draw = default_draw({"uniform": [20, 90]})
    grain_s_xi: Draw = default_draw({"weighted": [[{"normal": [0, 0.6]}, 1], [{"uniform": [1.5, 8]}, 2]]})
    second_s_xi: Draw = default_draw(None)
    tear_share: Draw = default_draw(0.04)
    tear_length_px: Draw = default_draw({"log_uniform": [50, 350]})
    tear_width_fraction: Draw = default_draw({"log_uniform": [0.01, 0.12]})
    tear_sag_fraction: Draw = default_draw({"normal": [0, 0.06]})
    tear_lip_px: Draw = default_draw({"log_uniform": [6, 50]})
    tear_turn_deg: Draw = default_draw({"log_uniform": [0.5, 25]})
    twin_share: Draw = default_draw(0.06)
    twin_count: Draw = default_draw({"weighted": [[1, 2], [{"integers": [2, 5]}, 1]]})
    twin_width_nm: Draw = default_draw({"log_uniform": [5, 150]})
    twin_gap_nm: Draw = default_draw({"log_uniform": [10, 300]})
    deposits: Draw = default_draw({"weighted": [[0, 1], [{"log_uniform": [3, 75]}, 1], [{"uniform": [30, 60]}, 2]]})
    deposit_radius_px: Draw = default_draw({"log_uniform": [3.5, 11]})
    deposit_depth: Draw = default_draw({"log_uniform": [0.06, 1.2]})
    spots: Draw = default_draw({"weighted": [[0, 3], [{"uniform": [0.5, 4]}, 1]]})
    spot_radius_px: Draw = default_draw({"log_uniform": [20, 140]})
    near_line_share: Draw = default_draw(0.15)
    film_depth_nm: Draw = default_draw({"weighted": [[None, 1], [{"log_uniform": [0.6, 6]}, 3]]})
    trace_length_field: Draw = default_draw({"log_uniform": [0.15, 1.5]})
    trace_held: Draw = default_draw({"integers": [1, 6]})

    def __post_init__(self) -> None:
        for f in fields(self):
            low, high = LIMITS.get(f.name, (0, 1) if f.name.endswith("_share") else (0, math.inf))
            for value in getattr(self, f.name).values():
                if value is None and (f.name == "film_depth_nm" or (f.name == "second_s_xi" and self.second_s_xi == Fixed(None))):
                    continue
                ok = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
                rule = f"lie in [{low:g}, {high:g}]" if high < math.inf else "be a number >= 0" if low == 0 else "be a number"
                require(ok, f"surroundings.{f.name}", rule, value)


CLEAN = SurroundingsConfig(
    roughness_nm=Fixed(0), terrace_step_nm=Fixed(0), edge_share=Fixed(0), hole_share=Fixed(0), boundary_share=Fixed(0),
    tear_share=Fixed(0), twin_share=Fixed(0), deposits=Fixed(0), spots=Fixed(0), film_depth_nm=Fixed(None),
)  # fmt: skip
