"""Distributions of what a specimen holds beside whole lines: ribbons, faults, Frank loops, particles."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from physics.errors import require
from render.draw import Draw, default_draw


@dataclass(frozen=True, kw_only=True)
class Dissociation:
    """Glide lines as two partials with a ribbon of fault between them.

    In a share `share` of the specimens every line that can split does, where its ribbon is at least `narrowest_px`
    wide somewhere: a narrower pair is one line to anybody who traces it, and stays one. `stacking_fault_mJ_m2` null: the
    material's own.
    """

    share: Draw = default_draw(0)
    stacking_fault_mJ_m2: Draw = default_draw(None)
    narrowest_px: Draw = default_draw(2)

    def __post_init__(self) -> None:
        _check(self, "dissociation", shares=("share",), nullable=("stacking_fault_mJ_m2",))


@dataclass(frozen=True, kw_only=True)
class FaultBands:
    """Groups of `faults` parallel sheets on a close-packed plane, `spacing_nm` apart, through the whole foil.

    A share `extrinsic_share` of the sheets has two planes sheared; a share `bounded_share` of the groups is one fault
    that ends at a partial in the field.
    """

    count: Draw = default_draw(0)
    faults: Draw = default_draw({"weighted": [[1, 3], [{"integers": [2, 6]}, 2]]})
    spacing_nm: Draw = default_draw({"log_uniform": [2, 40]})
    extrinsic_share: Draw = default_draw(0.2)
    bounded_share: Draw = default_draw(0.3)

    def __post_init__(self) -> None:
        _check(self, "fault_bands", shares=("extrinsic_share", "bounded_share"))


@dataclass(frozen=True, kw_only=True)
class FrankLoops:
    """Sessile loops about a fault on the close-packed planes, of interstitials or of vacancies."""

    count: Draw = default_draw(0)
    radius_nm: Draw = default_draw({"log_uniform": [6, 45]})
    aspect: Draw = default_draw({"uniform": [0.7, 1]})
    interstitial_share: Draw = default_draw(0.5)

    def __post_init__(self) -> None:
        _check(self, "frank_loops", shares=("aspect", "interstitial_share"))


@dataclass(frozen=True, kw_only=True)
class Particles:
    """Precipitates, voids and point-defect clusters, spread evenly; numbers per volume of foil in 1/um^3."""

    spheres_inv_um3: Draw = default_draw(0)
    sphere_radius_nm: Draw = default_draw({"log_uniform": [2, 12]})
    sphere_misfit: Draw = default_draw({"choice": [{"log_uniform": [0.002, 0.02]}, {"uniform": [-0.02, -0.002]}]})
    sphere_xi_ratio: Draw = default_draw({"choice": [1, {"uniform": [0.8, 1.25]}]})
    plates_inv_um3: Draw = default_draw(0)
    plate_radius_nm: Draw = default_draw({"log_uniform": [5, 40]})
    plate_thickness_nm: Draw = default_draw({"uniform": [0.5, 3]})
    plate_misfit: Draw = default_draw({"choice": [{"uniform": [0.02, 0.1]}, {"uniform": [-0.1, -0.02]}]})
    voids_inv_um3: Draw = default_draw(0)
    void_radius_nm: Draw = default_draw({"log_uniform": [2, 15]})
    clusters_inv_um3: Draw = default_draw(0)
    cluster_radius_nm: Draw = default_draw({"log_uniform": [1, 4]})
    interstitial_share: Draw = default_draw(0.5)

    def __post_init__(self) -> None:
        _check(self, "particles", shares=("interstitial_share",), signed=("sphere_misfit", "plate_misfit"))


def _check(
    config: Any, where: str, *, shares: tuple[str, ...] = (), nullable: tuple[str, ...] = (), signed: tuple[str, ...] = ()
) -> None:
    for f in fields(config):
        low, high = (0, 1) if f.name in shares else (-0.2, 0.2) if f.name in signed else (0, math.inf)
        positive = any(word in f.name for word in ("radius", "thickness", "xi_ratio", "spacing"))
        for value in getattr(config, f.name).values():
            if value is None and f.name in nullable:
                continue
            ok = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high and not (positive and value == 0)
            rule = f"lie in [{low:g}, {high:g}]" if high < math.inf else "be > 0" if positive else "be a number >= 0"
            require(ok, f"scene.{where}.{f.name}", rule, value)
