"""The pictures of physics/README.md: `python docs/physics_pictures.py`, one PNG a law, under docs/physics/."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np

from physics.beam import BeamCondition, excitation_error_of_ng, image_from_crystal
from physics.boundary import GrainBoundary
from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.dissociation import dissociated
from physics.fault import StackingFault
from physics.foil import Foil
from render.intensity import noise_free_intensity
from render.picture import draw_micrograph
from render.sample import under_condition
from render.scene import Scene
from render.specimen import Specimen

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

FOLDER = Path(__file__).resolve().parent / "physics"
AL, CU = Crystal.from_material("al"), Crystal.from_material("cu")
BEAM_200 = BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1))


def intensity(scene: Scene) -> np.ndarray:
    return noise_free_intensity(scene, Specimen.of(scene))


def scene(crystal: Crystal, beam: BeamCondition, foil: Foil, lines: tuple[Dislocation, ...] = (), **more) -> Scene:
    return Scene(crystal=crystal, beam=beam, foil=foil, dislocations=lines, **({"shape": (256, 256), "pixel_nm": 1.0} | more))


def through_foil(crystal: Crystal, beam: BeamCondition, b: tuple[float, ...], along_crystal: tuple[float, ...],
                 thickness_nm: float, kind: str = "perfect") -> Dislocation:  # fmt: skip
    """A straight line along a crystal direction from face to face through the field's centre."""
    direction = image_from_crystal(crystal, beam) @ crystal.direction_nm(along_crystal)
    direction = direction / direction[2]
    ends = np.array([-0.5, 0.5])[:, None] * thickness_nm * direction
    return Dislocation(burgers_uvw=b, points_nm=ends, kind=kind)


def thickness_fringes() -> list[tuple[str, Scene]]:
    foil = Foil(thickness_nm=190.0, wedge_deg=50.0)
    return [(mode, scene(AL, replace(BEAM_200, image=mode), foil, shape=(160, 400))) for mode in ("bf", "df")]


def bend_contours() -> list[tuple[str, Scene]]:
    foil = Foil(thickness_nm=120.0, curvature_inv_um=0.06, cross_curvature_inv_um=0.02, curvature_azimuth_deg=10)
    found = [(f"{mode}, two beams", scene(AL, replace(BEAM_200, image=mode), foil, pixel_nm=4.0)) for mode in ("bf", "df")]
    return [*found, ("bf, five beams", scene(AL, replace(BEAM_200, row=(-2, -1, 0, 1, 2)), foil, pixel_nm=4.0))]


def six_reflections() -> list[tuple[str, Scene]]:
    """One line, b = 1/2[110], under six g of the zone [001]; g.b = 0, 1, 2. The specimen keeps its place, g turns."""
    beam = replace(BEAM_200, s_inv_nm=0.004)
    line = through_foil(AL, beam, (0.5, 0.5, 0.0), (1, 1, 2), 120.0)
    first = scene(AL, beam, Foil(thickness_nm=120.0), (line,), shape=(192, 192))
    found = []
    for g in ((2, 0, 0), (0, 2, 0), (2, 2, 0), (2, -2, 0), (4, 0, 0), (4, 2, 0)):
        turned = replace(beam, g_hkl=g)
        x, y, _ = image_from_crystal(AL, turned) @ AL.direction_nm((1, 0, 0))
        other = under_condition(first, replace(turned, image_rotation_deg=-float(np.degrees(np.arctan2(y, x)))))
        found.append((f"g·b = {np.dot(g, line.burgers_uvw):g}", other))
    return found


def loop() -> list[tuple[str, Scene]]:
    """A prismatic loop edge-on to g at three depths: black-white contrast that turns with depth."""
    found = []
    for depth_nm in (10.0, 42.0, 60.0):
        beam = BEAM_200
        angle = np.linspace(0, 2 * np.pi, 25)
        ring = 4.0 * np.stack([0 * angle, np.cos(angle), np.sin(angle)], axis=-1)
        ring[-1] = ring[0]
        points = ring + [0.0, 0.0, 60.0 - depth_nm]
        prism = Dislocation(burgers_uvw=(1.0, 0.0, 0.0), points_nm=points, kind="loop")
        found.append((f"{depth_nm:g} nm deep", scene(AL, beam, Foil(thickness_nm=120.0), (prism,), shape=(160, 160), pixel_nm=0.5)))
    return found


def inclined_line() -> list[tuple[str, Scene]]:
    """An inclined line: zig-zag and dotted contrast near s = 0, with and without relaxed surfaces."""
    line = through_foil(CU, replace(BEAM_200, g_hkl=(2, 0, 0)), (0.5, 0.5, 0.0), (1, 0, 1), 160.0)
    base = scene(CU, BEAM_200, Foil(thickness_nm=160.0), (line,), shape=(128, 256))
    conditions = (("bf", 0.0), ("df", 0.0), ("bf", 0.02))
    shown = [(mode, base.replace(beam=replace(base.beam, image=mode, s_inv_nm=s))) for mode, s in conditions]
    return [*shown, *((f"{mode}, surfaces not relaxed", one.replace(surfaces=False)) for mode, one in shown)]


def dissociated_line() -> list[tuple[str, Scene]]:
    """A screw of copper split into partials, level in the foil."""
    beam = BeamCondition(g_hkl=(2, -2, 0), zone_axis_uvw=(1, 1, 1))
    found = []
    for title, condition in (
        ("bf", replace(beam, s_inv_nm=0.003)),
        ("df", replace(beam, image="df", s_inv_nm=0.003)),
        ("weak beam", replace(beam, image="df", row=(-1, 0, 1, 2, 3, 4, 5), s_inv_nm=excitation_error_of_ng(CU, (2, -2, 0), 200.0, 3))),
    ):
        rotation = image_from_crystal(CU, condition)
        direction = rotation @ CU.direction_nm((1, -1, 0))
        direction = direction / np.linalg.norm(direction)
        ends = np.array([-400.0, 400.0])[:, None] * direction
        line = Dislocation(burgers_uvw=(0.5, -0.5, 0.0), points_nm=ends, plane_hkl=(1, 1, 1), glissile=True)
        lines, faults = dissociated(line, CU, rotation, stacking_fault_mJ_m2=20.0)
        found.append((title, scene(CU, condition, Foil(thickness_nm=110.0), tuple(lines), faults=tuple(faults), shape=(128, 128), pixel_nm=0.5)))
    return found


def fault_fringes() -> list[tuple[str, Scene]]:
    """A fault that crosses the whole foil, inclined, with alpha = 120 degrees."""
    found = []
    for mode in ("bf", "df"):
        beam = BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1), image=mode)
        normal = image_from_crystal(CU, beam) @ CU.reciprocal_vector_inv_nm((1, 1, 1))
        x = np.array([-600.0, 600.0, 600.0, -600.0])
        z = np.array([-120.0, -120.0, 120.0, 120.0])
        outline = np.stack([x, -(normal[0] * x + normal[2] * z) / normal[1], z], axis=-1)
        sheet = StackingFault(plane_hkl=(1, 1, 1), shift_uvw=(1 / 6, 1 / 6, -1 / 3), outline_nm=outline)
        found.append((mode, scene(CU, beam, Foil(thickness_nm=180.0), faults=(sheet,), shape=(256, 256), pixel_nm=1.2)))
    return found


def twin() -> list[tuple[str, Scene]]:
    """One lamella on (1 1 1) of copper, the foil left as it is: under a reflection of matrix and twin, and one of the matrix alone."""
    found = []
    for title, g, mode, turn_deg in (("shared g, bf", (2, -2, 0), "bf", -45.0), ("g of the matrix, bf", (2, 2, 0), "bf", 45.0),
                                     ("g of the matrix, df", (2, 2, 0), "df", 45.0)):  # fmt: skip
        beam = BeamCondition(g_hkl=g, zone_axis_uvw=(0, 0, 1), s_inv_nm=0.004, image=mode, image_rotation_deg=turn_deg)
        normal = image_from_crystal(CU, beam) @ np.ones(3) / np.sqrt(3)
        lamella = GrainBoundary(point_nm=-30 * normal, normal=normal, width_nm=60.0, misorientation_uvw=(1, 1, 1), misorientation_deg=180.0)
        line = through_foil(CU, beam, (0.5, 0.0, 0.5), (0, 1, 2), 150.0)
        # Beside the lamella, toward -[110]: it shows that the first picture is of a foil.
        beside = line.points_nm - 110 * image_from_crystal(CU, beam) @ np.array([1.0, 1.0, 0.0]) / np.sqrt(2)
        beside[:, 2] = line.points_nm[:, 2]
        found.append((title, scene(CU, beam, Foil(thickness_nm=150.0, twins=(lamella,)), (replace(line, points_nm=beside),), pixel_nm=1.5)))
    return found


PICTURES: dict[str, Callable[[], list[tuple[str, Scene]]]] = {
    "thickness_fringes": thickness_fringes,
    "bend_contours": bend_contours,
    "six_reflections": six_reflections,
    "loop": loop,
    "inclined_line": inclined_line,
    "dissociated_line": dissociated_line,
    "fault_fringes": fault_fringes,
    "twin": twin,
}


def write(name: str) -> None:
    panels = PICTURES[name]()
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    shape = panels[0][1].shape
    figure, axes = plt.subplots(rows, columns, figsize=(3.2 * columns, (3.2 * shape[0] / shape[1] + 0.35) * rows), dpi=110, squeeze=False)
    for place, (title, one) in zip(axes.ravel(), panels):
        draw_micrograph(place, intensity(one), one)
        place.text(0.02, 0.97, title, transform=place.transAxes, va="top", fontsize=7, color="white",
                   bbox={"facecolor": "black", "alpha": 0.6, "pad": 1.5, "edgecolor": "none"})  # fmt: skip
    for place in axes.ravel()[len(panels) :]:
        place.set_axis_off()
    figure.tight_layout()
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / f"{name}.png")
    plt.close(figure)


if __name__ == "__main__":
    for picture in sys.argv[1:] or PICTURES:
        write(picture)
        print(FOLDER / f"{picture}.png")
