"""Distributions of the dislocations in a specimen that is put together from sources, and the kinds of such specimens."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from physics.errors import require
from render.defects_config import Dissociation, FaultBands, FrankLoops, Particles
from render.draw import Draw, Fixed, default_draw, is_number, parse, require_within


@dataclass(frozen=True, kw_only=True)
class PileUps:
    """Groups of lines of one b pressed against a lock on one slip plane.

    `tightening` 1 is the spacing of Eshelby, Frank & Nabarro (1951), 0 an even one; `spacing_px` is the mean.
    """

    count: Draw = default_draw(0)
    lines: Draw = default_draw({"integers": [5, 25]})
    spacing_px: Draw = default_draw({"log_uniform": [5, 40]})
    tightening: Draw = default_draw({"uniform": [0, 0.8]})
    chord_deg: Draw = default_draw({"normal": [0, 18]})
    chord_spread_deg: Draw = default_draw({"uniform": [0.5, 4]})
    sag_fraction: Draw = default_draw({"uniform": [0.02, 0.3]})
    wave_fraction: Draw = default_draw({"log_uniform": [0.004, 0.03]})


@dataclass(frozen=True, kw_only=True)
class BowOuts:
    """Lines pinned where their slip plane meets the two faces, bowing strongly one way, irregularly spaced."""

    count: Draw = default_draw(0)
    lines: Draw = default_draw({"integers": [2, 8]})
    spacing_px: Draw = default_draw({"log_uniform": [12, 60]})
    chord_deg: Draw = default_draw({"normal": [0, 20]})
    chord_spread_deg: Draw = default_draw({"uniform": [2, 10]})
    sag_fraction: Draw = default_draw({"uniform": [0.1, 0.5]})
    wave_fraction: Draw = default_draw({"log_uniform": [0.005, 0.05]})
    plane_spread_nm: Draw = default_draw({"choice": [0, {"uniform": [2, 25]}]})


@dataclass(frozen=True, kw_only=True)
class GlideLines:
    """Single wavy lines, each on a slip plane of its own, often far from the steepest way through the foil."""

    count: Draw = default_draw(0)
    chord_deg: Draw = default_draw({"uniform": [-78, 78]})
    sag_fraction: Draw = default_draw({"normal": [0, 0.12]})
    wave_fraction: Draw = default_draw({"log_uniform": [0.01, 0.07]})
    density_inv_m2: Draw = default_draw(None)


@dataclass(frozen=True, kw_only=True)
class ThreadingLines:
    """Wavy lines from face to face, or in from the side, that keep to no plane (cross-slipped or climbed)."""

    count: Draw = default_draw(0)
    lateral_thicknesses: Draw = default_draw({"log_uniform": [0.3, 5]})
    wave_fraction: Draw = default_draw({"log_uniform": [0.02, 0.1]})
    density_inv_m2: Draw = default_draw(None)


@dataclass(frozen=True, kw_only=True)
class Dipoles:
    """Pairs of opposite b on parallel slip planes."""

    count: Draw = default_draw(0)
    height_nm: Draw = default_draw({"log_uniform": [4, 40]})
    offset_fraction: Draw = default_draw({"choice": [{"normal": [1, 0.15]}, {"normal": [-1, 0.15]}]})
    chord_deg: Draw = default_draw({"uniform": [-60, 60]})
    sag_fraction: Draw = default_draw({"normal": [0, 0.08]})
    wave_fraction: Draw = default_draw({"log_uniform": [0.005, 0.04]})


@dataclass(frozen=True, kw_only=True)
class Loops:
    """Closed loops inside the foil: prismatic on a habit plane across b, or glide loops."""

    count: Draw = default_draw(0)
    radius_nm: Draw = default_draw({"log_uniform": [6, 45]})
    aspect: Draw = default_draw({"uniform": [0.65, 1]})
    wave_fraction: Draw = default_draw({"uniform": [0, 0.05]})
    prismatic_share: float = 0.7


@dataclass(frozen=True, kw_only=True)
class SlipBands:
    """Families of parallel slip bands whose lines have left the field: the traces of `lines` of them on both faces.

    Only under a film (`surroundings.film_depth_nm`), which holds what they leave. `bands` of a family lie `spacing_px` apart.
    """

    count: Draw = default_draw(0)
    bands: Draw = default_draw({"integers": [1, 5]})
    spacing_px: Draw = default_draw({"log_uniform": [6, 120]})
    lines: Draw = default_draw({"log_uniform": [1, 10]})


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """A specimen put together from sources.

    `family` restricts the slip systems (null: the usual ones of the crystal). A share `visible_share` of the lines
    takes a slip system with g.b not 0 where one is suited. Groups after the first keep their slip trace
    `cross_deg` away from the one before. Counts hold for a field of `count_field_px` pixels squared and scale
    with the field's side (null: no scaling). Specimens are redrawn until `min_lines` lines run through the
    field and `min_crossings` pairs of them cross there. `central` is the part of the field that groups are centred in, `cluster_share` the share of
    them that lie beside an earlier one.
    """

    kind: str = "realistic"
    pileups: PileUps = PileUps()
    bowouts: BowOuts = BowOuts()
    glide: GlideLines = GlideLines()
    threading: ThreadingLines = ThreadingLines()
    dipoles: Dipoles = Dipoles()
    loops: Loops = Loops()
    slip_bands: SlipBands = SlipBands()
    dissociation: Dissociation = Dissociation()
    fault_bands: FaultBands = FaultBands()
    frank_loops: FrankLoops = FrankLoops()
    particles: Particles = Particles()
    family: str | None = None
    visible_share: float = 0.85
    cross_deg: float = 0.0
    min_lines: int = 1
    max_lines: int = 40
    min_crossings: int = 0
    count_field_px: float | None = None
    central: float = 0.9
    cluster_share: float = 0.0

    @property
    def needs_fault_plane(self) -> bool:
        """Whether such a scene is of a crystal that can hold stacking faults; another material would leave it empty."""
        drawn = (self.fault_bands.count, self.frank_loops.count)
        return self.dissociation.share == Fixed(1) or any(min(count.values()) > 0 for count in drawn)

    def __post_init__(self) -> None:
        require_within("scene.visible_share", self.visible_share, 0, 1)
        require_within("scene.loops.prismatic_share", self.loops.prismatic_share, 0, 1)
        require_within("scene.cross_deg", self.cross_deg, 0, 89)
        require_within("scene.min_lines", self.min_lines, 0, 1000)
        require_within("scene.max_lines", self.max_lines, max(1, self.min_lines), 1000)
        require_within("scene.min_crossings", self.min_crossings, 0, 1000)
        require_within("scene.central", self.central, 0, 2)
        require_within("scene.cluster_share", self.cluster_share, 0, 1)
        if self.count_field_px is not None:
            require_within("scene.count_field_px", self.count_field_px, 8, 16384)
        for source in ("pileups", "bowouts", "glide", "threading", "dipoles", "loops", "slip_bands"):
            for f in fields(getattr(self, source)):
                _check_source_value(getattr(getattr(self, source), f.name), f"scene.{source}.{f.name}", f.name)


def _check_source_value(value: Any, where: str, name: str) -> None:
    if isinstance(value, float | int):
        return
    low = 1 if name == "lines" else -math.inf if name.endswith("_deg") or name in ("sag_fraction", "offset_fraction") else 0
    for v in value.values():
        null_ok = v is None and name == "density_inv_m2"
        require(null_ok or (is_number(v) and v >= low), where, f"be >= {low:g}" if low > -math.inf else "be a number", v)


# How each kind of scene differs from a Mixture without any sources.
KINDS: dict[str, Mixture] = {
    "realistic": Mixture(
        kind="realistic",
        pileups=PileUps(count=parse({"weighted": [[0, 5], [1, 4], [2, 2], [3, 1]]}, "count")),
        bowouts=BowOuts(count=parse({"weighted": [[0, 4], [1, 3], [2, 2], [3, 2]]}, "count")),
        glide=GlideLines(count=parse({"weighted": [[0, 1], [{"integers": [0, 12]}, 3]]}, "count")),
        threading=ThreadingLines(count=parse({"weighted": [[0, 1], [{"integers": [0, 6]}, 3]]}, "count")),
        dipoles=Dipoles(count=parse({"weighted": [[0, 3], [1, 1], [2, 1]]}, "count")),
        loops=Loops(count=parse({"weighted": [[0, 4], [{"integers": [1, 6]}, 2]]}, "count")),
        slip_bands=SlipBands(count=parse({"weighted": [[0, 3], [1, 1], [2, 1]]}, "count")),
        fault_bands=FaultBands(count=parse({"weighted": [[0, 6], [1, 1]]}, "count")),
        particles=Particles(
            spheres_inv_um3=parse({"weighted": [[0, 9], [{"log_uniform": [50, 3000]}, 1]]}, "spheres_inv_um3"),
            plates_inv_um3=parse({"weighted": [[0, 15], [{"log_uniform": [30, 1000]}, 1]]}, "plates_inv_um3"),
            voids_inv_um3=parse({"weighted": [[0, 15], [{"log_uniform": [50, 2000]}, 1]]}, "voids_inv_um3"),
            clusters_inv_um3=parse({"weighted": [[0, 7], [{"log_uniform": [300, 6000]}, 1]]}, "clusters_inv_um3"),
        ),
        max_lines=60,
        count_field_px=512,
        cluster_share=0.5,
    ),
    "pileup": Mixture(
        kind="pileup", pileups=PileUps(count=parse({"weighted": [[1, 3], [2, 1]]}, "count")), visible_share=1.0,
        min_lines=3, central=0.4,
    ),
    "bowout": Mixture(
        kind="bowout", bowouts=BowOuts(count=parse({"integers": [1, 3]}, "count")), visible_share=1.0, min_lines=2,
        central=0.5,
    ),
    "crossings": Mixture(
        kind="crossings",
        pileups=PileUps(count=Fixed(2), lines=parse({"integers": [4, 9]}, "lines"),
                        spacing_px=parse({"log_uniform": [10, 26]}, "spacing_px")),
        cross_deg=30.0, visible_share=1.0, min_lines=4, min_crossings=3, central=0.15,
    ),
    "dipole": Mixture(kind="dipole", dipoles=Dipoles(count=parse({"integers": [1, 3]}, "count")), visible_share=1.0, min_lines=2,
                      central=0.6),
    "loop": Mixture(kind="loop", loops=Loops(count=parse({"integers": [3, 12]}, "count")), visible_share=1.0, central=0.9),
    "dissociated": Mixture(
        kind="dissociated", bowouts=BowOuts(count=Fixed(1), lines=parse({"integers": [1, 4]}, "lines")),
        glide=GlideLines(count=parse({"integers": [1, 4]}, "count")), dissociation=Dissociation(share=Fixed(1), narrowest_px=Fixed(1)),
        visible_share=1.0, min_lines=2, central=0.6,
    ),
    "stacking_fault": Mixture(
        kind="stacking_fault", fault_bands=FaultBands(count=parse({"integers": [1, 3]}, "count")), min_lines=0,
    ),
    "frank": Mixture(kind="frank", frank_loops=FrankLoops(count=parse({"integers": [3, 12]}, "count")), min_lines=0),
    "particles": Mixture(
        kind="particles", glide=GlideLines(count=parse({"integers": [1, 4]}, "count")),
        particles=Particles(spheres_inv_um3=parse({"log_uniform": [100, 2000]}, "count"), plates_inv_um3=parse({"choice": [0, 300]}, "count"),
                            voids_inv_um3=parse({"choice": [0, 500]}, "count"), clusters_inv_um3=parse({"choice": [0, 3000]}, "count")),
        min_lines=1,
    ),
    "random": Mixture(
        kind="random",
        glide=GlideLines(density_inv_m2=parse({"log_uniform": [1e13, 2e14]}, "density_inv_m2")),
        threading=ThreadingLines(density_inv_m2=parse({"log_uniform": [5e12, 1e14]}, "density_inv_m2")),
        visible_share=0.7, min_lines=2,
    ),
}  # fmt: skip
