"""The g.b table: what the invisibility criterion says of each slip system.

    python -m physics.gdotb material=cu g=[1,1,1]
    python -m physics.gdotb material=ti g=[[0,0,0,2],[1,0,-1,1]] family=hcp_basal_a json

In an isotropic crystal a screw displaces along b alone and is invisible if g.b = 0; an edge also displaces along its
plane normal, b x xi, and is invisible only if g.(b x xi) = 0 too (Hirsch et al., Electron Microscopy of Thin Crystals,
1977, ch. 7 and 11). With g.b = 0 the contrast of an edge goes with m = g.(b x xi) / 8, and for m < 0.08,
|g.(b x xi)| < 0.64, counts as not seen: a rule of thumb for s = 0 and lines in the middle of the foil (ibid.;
Williams & Carter, Transmission Electron Microscopy, 2nd ed. 2009, ch. 26). Anisotropy and surfaces soften all of this;
labels therefore take `visible` from computed contrast.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from physics.command import key_values, run_command
from physics.crystal import Crystal
from physics.errors import InputError, require
from physics.miller import bravais_from_direction, bravais_from_plane, plane_from_bravais
from physics.slip import SlipSystem, slip_systems

ZERO = 1e-9
FAINT_EDGE = 0.64
USAGE = """\
python -m physics.gdotb material=NAME g=[h,k,l] [family=NAME] [json]

Prints, for each slip system: g.b; g.(b x xi) of its edge line, xi = n x b; and what the invisibility rule says.
g: one reflection, h,k,l or [h,k,l], or several, [[h,k,l],[h,k,l]]; hexagonal crystals take four indices too.
family: one slip family instead of the material's usual ones.

  screw: invisible where g.b = 0
  edge:  visible (g.b not 0); invisible (g.b = 0 and g.(b x xi) = 0); faint (g.b = 0, |g.(b x xi)| < 0.64, a rule of
         thumb); residual (g.b = 0, |g.(b x xi)| >= 0.64: seen all the same)
"""


@dataclass(frozen=True, kw_only=True)
class GdotbRow:
    """One slip system under one reflection.

    `g_dot_b` = h u + k v + l w; `g_dot_b_cross_xi` of the edge line, xi = n x b / |n x b|, both pure numbers.
    `screw` is "visible" or "invisible", `edge` "visible", "invisible", "faint" or "residual", by the rule.
    """

    g_hkl: tuple[int, int, int]
    family: str
    plane_hkl: tuple[int, int, int]
    burgers_uvw: tuple[float, float, float]
    g_dot_b: float
    g_dot_b_cross_xi: float
    screw: str
    edge: str


def gdotb_table(crystal: Crystal, g_hkl: ArrayLike, *, family: str | None = None) -> list[GdotbRow]:
    """Rows for each reflection of `g_hkl` (3,) or (N, 3) and each slip system of `family`, or of the usual families.

    Raises InputError for a reflection that the structure forbids, or a family of another structure.
    """
    rows = []
    for g in np.atleast_2d(np.asarray(g_hkl, dtype=np.float64)):
        shown = [int(h) if h == int(h) else float(h) for h in g]
        require(len(g) == 3 and crystal.is_allowed_reflection(g), "g", f"be an allowed reflection of {crystal.material} "
                f"({crystal.structure})", shown, "its structure factor is zero")  # fmt: skip
        rows += [_row(crystal, tuple(int(h) for h in g), system) for system in slip_systems(crystal, family)]
    return rows


def edge_line(crystal: Crystal, system: SlipSystem) -> np.ndarray:
    """Unit vector xi = n x b / |n x b| (3,) of a slip system's edge line, crystal Cartesian frame."""
    line = np.cross(crystal.reciprocal_vector_inv_nm(system.plane_hkl), crystal.direction_nm(system.burgers_uvw))
    return line / np.linalg.norm(line)


def rule_for_screw(g_dot_b: float) -> str:
    """ "invisible" where g.b = 0."""
    return "invisible" if abs(g_dot_b) < ZERO else "visible"


def rule_for_edge(g_dot_b: float, g_dot_b_cross_xi: float) -> str:
    """ "visible", "residual", "faint" or "invisible"; see `GdotbRow`."""
    if abs(g_dot_b) >= ZERO:
        return "visible"
    residue = abs(g_dot_b_cross_xi)
    return "invisible" if residue < ZERO else "faint" if residue < FAINT_EDGE else "residual"


def _row(crystal: Crystal, g_hkl: tuple[int, int, int], system: SlipSystem) -> GdotbRow:
    g_dot_b = float(np.dot(g_hkl, system.burgers_uvw))
    across_nm = np.cross(crystal.direction_nm(system.burgers_uvw), edge_line(crystal, system))
    residue = float(crystal.reciprocal_vector_inv_nm(g_hkl) @ across_nm)
    residue = 0.0 if abs(residue) < ZERO else residue
    return GdotbRow(
        g_hkl=g_hkl, family=system.family, plane_hkl=system.plane_hkl, burgers_uvw=system.burgers_uvw, g_dot_b=g_dot_b + 0.0,
        g_dot_b_cross_xi=residue, screw=rule_for_screw(g_dot_b), edge=rule_for_edge(g_dot_b, residue),
    )  # fmt: skip


def _main(argv: list[str]) -> None:
    given = key_values(argv, ("material", "g", "family"), ("json",))
    for key in ("material", "g"):
        require(key in given, key, "be given", "nothing", "python -m physics.gdotb material=cu g=[1,1,1]")
    crystal = Crystal.from_material(given["material"])
    rows = gdotb_table(crystal, _reflections(given["g"], crystal), family=given.get("family"))
    if "json" in given:
        print(json.dumps([dataclasses.asdict(row) | {"material": crystal.material} for row in rows], indent=1))
        return
    hexagonal = crystal.structure == "hcp"
    print(f"{'g':>14}  {'family':18} {'plane':>14} {'b':>18} {'g.b':>7} {'g.(b x xi)':>10}  {'screw':9}  edge")
    for row in rows:
        g = bravais_from_plane(row.g_hkl) if hexagonal else row.g_hkl
        plane = bravais_from_plane(row.plane_hkl) if hexagonal else row.plane_hkl
        burgers = bravais_from_direction(row.burgers_uvw) if hexagonal else np.array(row.burgers_uvw)
        print(f"{_bracket(g):>14}  {row.family:18} {'(' + _bracket(plane)[1:-1] + ')':>14} {_fraction(burgers):>18} {row.g_dot_b:7.3g} "
              f"{row.g_dot_b_cross_xi:10.3f}  {row.screw:9}  {row.edge}")  # fmt: skip


def _reflections(text: str, crystal: Crystal) -> list[tuple[int, int, int]]:
    """The reflections that a person typed, four indices turned into three."""
    rule = "be h,k,l or [h,k,l], or several as [[h,k,l],[h,k,l]], in whole numbers"
    try:
        typed = json.loads(text if text.strip().startswith("[") else f"[{text}]")
    except json.JSONDecodeError:
        raise InputError(f"g must {rule}, got {text}") from None
    several = typed if typed and isinstance(typed[0], list) else [typed]
    whole = all(isinstance(g, list) and len(g) in (3, 4) and all(type(h) is int for h in g) for g in several)
    require(whole, "g", rule, text)
    require(crystal.structure == "hcp" or all(len(g) == 3 for g in several), "g", f"have three indices in {crystal.material}", text)
    return [plane_from_bravais(g) if len(g) == 4 else tuple(g) for g in several]


def _bracket(indices: ArrayLike) -> str:
    return "[" + " ".join(f"{int(round(float(h)))}" for h in np.ravel(indices)) + "]"


def _fraction(burgers: np.ndarray) -> str:
    """ "1/2[1 -1 0]": the common denominator before whole indices."""
    denominator = np.lcm.reduce([Fraction(float(u)).limit_denominator(12).denominator for u in burgers])
    whole = np.round(burgers * denominator)
    divisor = int(np.gcd.reduce(whole.astype(np.int64)))
    factor = Fraction(divisor, int(denominator))
    return ("" if factor == 1 else str(factor)) + _bracket(whole / divisor)


if __name__ == "__main__":
    sys.exit(run_command(_main, USAGE))
