"""`python -m render.tableau material=cu line=screw g=[[1,1,1],[2,0,0]] s=[0,0.005] out=DIR`: one dislocation, all conditions."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from physics.beam import BeamCondition, excitation_error_of_ng
from physics.crystal import Crystal
from physics.errors import require
from physics.miller import direction_from_bravais
from render.cli import run_command
from render.draw import is_number
from render.scene import Scene
from render.tableau_conditions import (
    INCLINATION_DEG,
    STEEPEST_DEG,
    Contrasts,
    StraightLine,
    contrasts,
    foil_normal_crystal,
    scene_of,
    straight_line,
    tilt_deg,
    with_camera_on_specimen,
    zone_axis_near,
)

USAGE = """\
python -m render.tableau out=DIR [material=cu] [line=screw|edge|{…}] [g=[[1,1,1],[2,0,0]]] [s=[0,0.005]] [thickness=[100,200]] …

One straight dislocation under every g (rows), excitation error (columns) and thickness (a page each): the computed
micrographs, what the invisibility criterion says (g.b, g.(b x u)), and the contrast that its label has, as PNG, JSON and
CSV. Line and foil stay as they are; the specimen is tilted from g to g, to the zone axis named in each caption, or all
g's are those of one zone_axis.

  python -m render.tableau out=T material=cu line=edge g=[[2,0,0],[0,2,0],[1,1,1]] s=[0,0.01]
  python -m render.tableau out=T material=al zone_axis=[0,1,1] g=[[2,0,0],[1,1,-1]] 'line={burgers_uvw:[0.5,0,0.5],character_deg:60}'
  python -m render.tableau out=T material=ti g=[[0,0,0,2],[1,0,-1,1]] n=[1,3] image=df row=[-1,0,1,2,3,4]
"""
PATH_KEYS = ("out",)
LINE_KEYS = ("burgers_uvw", "plane_hkl", "character_deg", "direction_uvw", "inclination_deg")
NAMED_LINES = {"screw": {"character_deg": 0.0}, "edge": {"character_deg": 90.0}}
MOST_FRAMES = 400
FIELD_SHARE = 0.85  # of the field's width that the projected line takes
PIXEL_LIMITS_NM = (0.4, 2.0)
BARELY_INCLINED_DEG = 3.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One micrograph of a tableau: `ratio` (Y, X) is its intensity over that of the perfect foil, `background`.

    `contrast` is the label's strongest inside the frame, signed; None where the label has no vertex there.
    """

    scene: Scene
    ratio: np.ndarray
    background: float
    predicted: Contrasts
    tilt_deg: float
    contrast: float | None
    visible_share: float

    def row(self) -> dict[str, Any]:
        """What the table says of it."""
        beam, foil = self.scene.beam, self.scene.foil
        return {
            "g_hkl": list(beam.g_hkl), "zone_axis_uvw": list(beam.zone_axis_uvw), "tilt_deg": round(self.tilt_deg, 3),
            "s_inv_nm": beam.s_inv_nm, "thickness_nm": foil.thickness_nm, "image": beam.image, "pixel_nm": self.scene.pixel_nm,
            **{k: (round(v, 6) if isinstance(v, float) else v) for k, v in dataclasses.asdict(self.predicted).items()},
            "contrast": None if self.contrast is None else round(self.contrast, 5), "visible_share": round(self.visible_share, 4),
            "picture_darkest": round(float(self.ratio.min()) - 1, 5), "picture_brightest": round(float(self.ratio.max()) - 1, 5),
            "background": round(self.background, 6),
        }  # fmt: skip


def frame_of(scene: Scene, predicted: Contrasts, tilt: float) -> Frame:
    """Simulate a Scene of one line; `Frame` says what is read off."""
    from render.intensity import noise_free_intensity
    from render.simulate import simulate
    from render.specimen import Specimen

    micrograph = simulate(scene)
    bare = scene.replace(dislocations=(), shape=(8, 8))
    background = float(np.median(noise_free_intensity(bare, Specimen.of(bare))))
    contrast, visible = [], []
    for line in micrograph.lines:
        inside = ((line.points_px >= 0) & (line.points_px <= np.array(scene.shape[::-1]) - 1)).all(axis=1)
        contrast += line.contrast[inside].tolist()
        visible += line.visible[inside].tolist()
    return Frame(
        scene=scene, ratio=micrograph.intensity / max(background, 1e-9), background=background, predicted=predicted, tilt_deg=tilt,
        # The curve through the label's probes may pass below the darkest one: no intensity is below 0.
        contrast=max(max(contrast, key=abs), -1.0) + 0.0 if contrast else None, visible_share=float(np.mean(visible)) if visible else 0.0,
    )  # fmt: skip


def tableau(config: dict[str, Any]) -> tuple[StraightLine, np.ndarray, list[tuple[Scene, Contrasts, float]]]:
    """The line, the foil normal (3,) in the crystal, and of every frame its Scene, the prediction and the tilt in degrees.

    Frames run over thicknesses, then g, then s. Raises InputError for what cannot be set up, before anything is computed.
    """
    from render.conditions import direction_indices, plane_indices

    crystal = Crystal.from_material(config["material"]["name"])
    line, inclination_deg = _line(crystal, config["line"])
    reflections = [plane_indices(g) for g in _several(config["g"], "g", (3, 4))]
    zone = None if config["zone_axis"] is None else direction_indices(_several(config["zone_axis"], "zone_axis", (3, 4))[0])
    for g in reflections:
        require(crystal.is_allowed_reflection(g), "g", f"be allowed in {crystal.material} ({crystal.structure})", list(g), "its structure factor is zero")
    normal = _normal(crystal, line, inclination_deg, reflections, zone, config["foil_normal"])
    thicknesses = _numbers(config["thickness"], "thickness", 1.0)
    _numbers(config["n"], "n") if config["n"] is not None else _numbers(config["s"], "s")
    shape = tuple(config["shape"]) if isinstance(config["shape"], list) else config["shape"]
    slope_deg = math.degrees(math.asin(min(1.0, abs(float(line.sense_crystal @ normal)))))
    frames = []
    for thickness_nm in thicknesses:
        pixel_nm = config["pixel_nm"] or _fitting_pixel_nm(thickness_nm, slope_deg, shape)
        for g in reflections:
            axis = zone or zone_axis_near(crystal, normal, g)
            if config["n"] is not None:
                errors = [excitation_error_of_ng(crystal, g, config["voltage_kV"], n) for n in _numbers(config["n"], "n")]
            else:
                errors = _numbers(config["s"], "s")
            for s_inv_nm in errors:
                beam = BeamCondition(
                    g_hkl=g, zone_axis_uvw=axis, s_inv_nm=s_inv_nm, image=config["image"], voltage_kV=config["voltage_kV"],
                    row=None if config["row"] is None else tuple(config["row"]), convergence_mrad=config["convergence_mrad"],
                )  # fmt: skip
                beam = with_camera_on_specimen(crystal, beam, line, normal)
                scene = scene_of(
                    crystal, line, normal, beam, thickness_nm, shape, pixel_nm, surfaces=config["surfaces"],
                    elasticity=config["elasticity"], visible_contrast=config["visible_contrast"],
                )  # fmt: skip
                frames.append((scene, contrasts(crystal, line, g), tilt_deg(crystal, beam, normal)))
    require(len(frames) <= MOST_FRAMES, "g, s and thickness", f"make {MOST_FRAMES} frames at most", len(frames))
    return line, normal, frames


def write_tableau(out: Path, line: StraightLine, frames: list[Frame]) -> list[Path]:
    """One page a thickness, and the table as JSON and CSV; a reader never meets half a file."""
    from render.tableau_picture import page

    out.mkdir(parents=True, exist_ok=True)
    written = []
    for thickness_nm in dict.fromkeys(frame.scene.foil.thickness_nm for frame in frames):
        members = [frame for frame in frames if frame.scene.foil.thickness_nm == thickness_nm]
        png = io.BytesIO()
        page(members, line).savefig(png, format="png")
        written.append(_write(out / f"tableau_{thickness_nm:g}nm.png", png.getvalue()))
    rows = [frame.row() for frame in frames]
    crystal = frames[0].scene.crystal
    header = {
        "material": crystal.material, "burgers_uvw": list(line.burgers_uvw), "plane_hkl": list(line.plane_hkl),
        "line_uvw": np.round(np.linalg.solve(crystal.lattice_nm, line.sense_crystal) * np.linalg.norm(crystal.lattice_nm[:, 0]), 6).tolist(),
        "foil_normal_uvw": [round(u, 6) for u in frames[0].scene.foil.normal_uvw],
        "visible_contrast": frames[0].scene.visible_contrast, "surfaces": frames[0].scene.surfaces,
    }  # fmt: skip
    written.append(_write(out / "tableau.json", json.dumps(header | {"frames": rows}, indent=1).encode()))
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([" ".join(map(str, v)) if isinstance(v, list) else "" if v is None else v for v in row.values()] for row in rows)
    written.append(_write(out / "tableau.csv", table.getvalue().encode()))
    return written


def main(argv: list[str]) -> None:
    from tqdm import tqdm

    from render.config import compose

    config = compose("tableau", argv, PATH_KEYS)
    out = Path(config["out"])
    require(not out.exists() or out.is_dir(), "out", "be a folder or not exist", out)
    for key in ("voltage_kV", "convergence_mrad", "visible_contrast"):
        require(is_number(config[key]), key, "be a number", repr(config[key]))
    require(config["pixel_nm"] is None or (is_number(config["pixel_nm"]) and config["pixel_nm"] > 0), "pixel_nm", "be > 0 or null", config["pixel_nm"])
    require(config["row"] is None or isinstance(config["row"], list), "row", "be a list of multiples of g, or null", config["row"])
    line, _, planned = tableau(config)
    frames = [frame_of(*parts) for parts in tqdm(planned, desc="tableau", unit="frame", file=sys.stderr)]
    written = write_tableau(out, line, frames)
    header = f"{'g':>10} {'B':>10} {'tilt':>6} {'s 1/nm':>8} {'t nm':>6} {'g.b':>6} {'g.b_e':>7} {'g.(b x u)':>9}  {'rule':9} {'contrast':>8}  visible"
    print(header)
    for frame in frames:
        row, told = frame.row(), frame.predicted
        contrast = "–" if row["contrast"] is None else f"{row['contrast']:+.3f}"
        print(f"{_indices(row['g_hkl']):>10} {_indices(row['zone_axis_uvw']):>10} {row['tilt_deg']:5.1f}° {row['s_inv_nm']:8.4f} "
              f"{row['thickness_nm']:6.0f} {told.g_dot_b:6.3g} {told.g_dot_b_edge:7.3f} {told.g_dot_b_cross_u:9.3f}  {told.rule:9} {contrast:>8}  "
              f"{row['visible_share']:.0%}")  # fmt: skip
    print(f"{out}: {', '.join(path.name for path in written)}")


def _line(crystal: Crystal, given: Any) -> tuple[StraightLine, float | None]:
    """The line, and its inclination where one is asked for."""
    known = given in NAMED_LINES if isinstance(given, str) else isinstance(given, dict)
    require(known, "line", f"be {', '.join(NAMED_LINES)} or a mapping of {', '.join(LINE_KEYS)}", given)
    parts = dict(NAMED_LINES[given] if isinstance(given, str) else given)
    unknown = sorted(set(parts) - set(LINE_KEYS))
    require(not unknown, "line", f"have only the keys {', '.join(LINE_KEYS)}", ", ".join(map(str, unknown)))
    inclination_deg = parts.pop("inclination_deg", None)
    for key, value in (("inclination_deg", inclination_deg), ("character_deg", parts.get("character_deg"))):
        require(value is None or is_number(value), f"line.{key}", "be a number", repr(value))
    for key in ("burgers_uvw", "direction_uvw", "plane_hkl"):
        if parts.get(key) is None:
            continue
        indices = _several(parts[key], f"line.{key}", (3, 4), whole=key == "plane_hkl")[0]
        if key == "plane_hkl":
            from render.conditions import plane_indices

            parts[key] = plane_indices(indices)
        else:
            parts[key] = tuple(float(u) for u in (direction_from_bravais(indices) if len(indices) == 4 else indices))
    require("burgers_uvw" not in parts or parts["burgers_uvw"] is None or crystal.is_lattice_vector(parts["burgers_uvw"]), "line.burgers_uvw",
            "be a lattice vector", list(parts.get("burgers_uvw") or ()), "a partial is the border of a fault, which a tableau does not draw")  # fmt: skip
    return straight_line(crystal, **parts), inclination_deg


def _normal(
    crystal: Crystal, line: StraightLine, inclination_deg: float | None, reflections: list[tuple[int, ...]],
    zone: tuple[int, ...] | None, foil_normal: Any,
) -> np.ndarray:  # fmt: skip
    if foil_normal is not None:
        require(inclination_deg is None, "line.inclination_deg", "be left out where foil_normal is given", inclination_deg)
        uvw = _several(foil_normal, "foil_normal", (3, 4), whole=False)[0]
        normal = crystal.direction_nm(direction_from_bravais(uvw) if len(uvw) == 4 else uvw)
        require(bool(normal.any()), "foil_normal", "not be [0, 0, 0]", uvw)
    elif zone is not None and inclination_deg is None:
        normal = crystal.direction_nm(zone)
    else:
        normal = foil_normal_crystal(crystal, line, reflections, INCLINATION_DEG if inclination_deg is None else inclination_deg, zone)
    normal = normal / np.linalg.norm(normal)
    slope_deg = math.degrees(math.asin(min(1.0, abs(float(normal @ line.sense_crystal)))))
    require(slope_deg <= STEEPEST_DEG, "foil_normal" if foil_normal is not None else "zone_axis",
            f"leave the line inclined by {STEEPEST_DEG:g} deg at most", f"{slope_deg:.0f} deg")  # fmt: skip
    return normal


def _fitting_pixel_nm(thickness_nm: float, slope_deg: float, shape: tuple[int, int]) -> float:
    if slope_deg < BARELY_INCLINED_DEG:
        return 1.0
    length_nm = thickness_nm / math.tan(math.radians(slope_deg))
    return round(float(np.clip(length_nm / FIELD_SHARE / shape[1], *PIXEL_LIMITS_NM)), 3)


def _several(values: Any, key: str, lengths: tuple[int, ...], whole: bool = True) -> list[list[Any]]:
    """One list of indices, or a list of such lists, as a list of lists."""
    rule = f"be {' or '.join(map(str, lengths))} {'whole ' if whole else ''}numbers, or a list of such lists"
    require(isinstance(values, list | tuple) and len(values) > 0, key, rule, values)
    several = list(values) if isinstance(values[0], list | tuple) else [values]
    for indices in several:
        ok = isinstance(indices, list | tuple) and len(indices) in lengths and all(is_number(i) and (not whole or i == int(i)) for i in indices)
        require(ok, key, rule, values)
    return [list(indices) for indices in several]


def _numbers(values: Any, key: str, least: float = -math.inf) -> list[float]:
    listed = list(values) if isinstance(values, list | tuple) else [values]
    ok = bool(listed) and all(is_number(v) and v >= least for v in listed)
    require(ok, key, f"be a number{f' >= {least:g}' if least > -math.inf else ''}, or a list of such", values)
    return [float(v) for v in listed]


def _indices(values: list[int]) -> str:
    return "[" + " ".join(str(v) for v in values) + "]"


def _write(path: Path, content: bytes) -> Path:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)
    return path


def usage() -> str:
    from render.config import describe

    return f"{USAGE}\n{describe('tableau')}"


if __name__ == "__main__":
    sys.exit(run_command(main, usage))
