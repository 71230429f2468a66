"""What Blender is asked to draw of a Scene: plain arrays, names, colours; no bpy here.

One Blender unit is one nanometre, axes are those of the image frame: x right, y up, z to the gun.

Axes: K vertices, (N, M) grid of a face, (Y, X) image rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from physics.beam import foil_normal_image, image_from_crystal
from physics.dislocation import Dislocation
from physics.frames import field_nm
from physics.slip_trace import SLIP_TRACE
from render.blender.solids import Solid, solids_of
from render.foil import FoilShape
from render.picture import LINE_COLOURS, display_range
from render.scene_rules import plane_normal_image

if TYPE_CHECKING:
    from render.scene import Scene

Colour = tuple[float, float, float]
FACE_GRID = 33
STRIPS = 129
TUBE_RADIUS_FIELD = 0.0045  # of the longer side of the field
MICROGRAPH_DISTANCE_FIELD = 0.72  # below the foil's lowest point: seen from `View`, the foil does not hide it
OUTCROP_TOLERANCE_NM = 0.1
FEW_PLANES = 2  # more slip planes than these only hide the lines
FAULT_COLOUR: Colour = (0.85, 0.45, 0.15)
PLANE_COLOUR: Colour = (0.35, 0.55, 0.85)
BOUNDARY_COLOUR: Colour = (0.55, 0.30, 0.60)
TRACE_COLOUR = "#3b444f"


@dataclass(frozen=True, kw_only=True, eq=False)
class Tube:
    """A dislocation as it is drawn: its `pieces` (K, 3) inside the foil and the field, as one curve object.

    `outcrops_nm` (K, 3) are the ends of pieces that lie on a face of the foil.
    """

    name: str
    pieces: tuple[np.ndarray, ...]
    outcrops_nm: np.ndarray
    closed: bool
    display_colour: str
    properties: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sheet:
    """A flat polygon `outline_nm` (K, 3): a stacking fault, or a slip plane, which may be kept out of the picture."""

    name: str
    outline_nm: np.ndarray
    colour: Colour
    shown: bool
    properties: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """The foil's faces (N, M, 3), lines, sheets, and, `micrograph_z_nm` high, the micrograph (Y, X) in [0, 1]."""

    shape: tuple[int, int]
    pixel_nm: float
    entrance_nm: np.ndarray
    exit_nm: np.ndarray
    tubes: tuple[Tube, ...]
    sheets: tuple[Sheet, ...]
    tube_radius_nm: float
    g_image: np.ndarray
    micrograph: np.ndarray | None
    micrograph_z_nm: float
    scene_json: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    solids: tuple[Solid, ...] = ()


@dataclass(frozen=True, kw_only=True)
class View:
    """Where a picture is taken from, and how large and smooth it is."""

    azimuth_deg: float = -62.0
    elevation_deg: float = 27.0
    width_px: int = 1120
    height_px: int = 820
    samples: int = 12


def plan_of(scene: Scene, image: np.ndarray | None = None) -> Plan:
    """The drawing of `scene`, with `image` (Y, X), if given, as the micrograph under the foil."""
    placed = FoilShape(foil=scene.foil, normal_image=foil_normal_image(scene.crystal, scene.beam, scene.foil))
    rotation = image_from_crystal(scene.crystal, scene.beam)
    width_nm, height_nm = field_nm(scene.shape, scene.pixel_nm)
    x_nm, y_nm = np.meshgrid(*(np.linspace(-side / 2, side / 2, FACE_GRID) for side in (width_nm, height_nm)))
    middle_nm = placed.mid_z_nm(x_nm, y_nm)
    # Beyond the edge of a wedge the two faces have crossed: there the drawn slab has no thickness.
    entrance_nm = np.maximum(placed.face_z_nm(x_nm, y_nm, 1), middle_nm)
    exit_nm = np.minimum(placed.face_z_nm(x_nm, y_nm, -1), middle_nm)
    g_image = rotation @ scene.crystal.reciprocal_vector_inv_nm(scene.beam.g_hkl)
    return Plan(
        shape=scene.shape,
        pixel_nm=scene.pixel_nm,
        entrance_nm=np.stack([x_nm, y_nm, entrance_nm], axis=-1),
        exit_nm=np.stack([x_nm, y_nm, exit_nm], axis=-1),
        tubes=_tubes(scene, placed),
        sheets=_faults(scene, placed) + _boundary(scene, placed) + _slip_planes(scene, placed, rotation),
        solids=solids_of(scene, placed, rotation, within_field=True),
        tube_radius_nm=TUBE_RADIUS_FIELD * max(width_nm, height_nm),
        g_image=g_image,
        micrograph=None if image is None else _grey(image),
        micrograph_z_nm=float(exit_nm.min()) - MICROGRAPH_DISTANCE_FIELD * max(width_nm, height_nm),
        scene_json=scene.to_json(indent=1),
        properties={
            "material": scene.crystal.material, "g_hkl": list(scene.beam.g_hkl),
            "zone_axis_uvw": list(scene.beam.zone_axis_uvw), "s_inv_nm": scene.beam.s_inv_nm,
            "thickness_nm": scene.foil.thickness_nm, "pixel_nm": scene.pixel_nm, "blender_unit": "1 nm",
        },
    )  # fmt: skip


def outside_excess(placed: FoilShape, width_nm: float, height_nm: float) -> Callable[[np.ndarray], np.ndarray]:
    """A function of points (K, 3): how far in nm each lies outside the foil or the field, < 0 inside."""

    def excess(points_nm: np.ndarray) -> np.ndarray:
        x, y, z = points_nm.T
        above = z - placed.face_z_nm(x, y, 1)
        below = placed.face_z_nm(x, y, -1) - z
        return np.max([above, below, np.abs(x) - width_nm / 2, np.abs(y) - height_nm / 2], axis=0)

    return excess


def clipped(
    points_nm: np.ndarray, excess: Callable[[np.ndarray], np.ndarray], spacing_nm: float
) -> tuple[np.ndarray, ...]:
    """Pieces (K', 3) of a polyline where `excess` <= 0; long segments are divided so that none is jumped over."""
    lengths = np.linalg.norm(np.diff(points_nm, axis=0), axis=1)
    parts = np.maximum(1, np.ceil(lengths / spacing_nm)).astype(int)
    dense = [a + (b - a) * np.arange(n)[:, None] / n for a, b, n in zip(points_nm[:-1], points_nm[1:], parts)]
    points = np.concatenate([*dense, points_nm[-1:]])
    out_nm = excess(points)
    inside = out_nm <= 1e-6
    pieces, current = [], []
    for k, point in enumerate(points):
        if k and inside[k] != inside[k - 1]:
            t = out_nm[k - 1] / (out_nm[k - 1] - out_nm[k])
            current.append(points[k - 1] + np.clip(t, 0, 1) * (point - points[k - 1]))
        if inside[k]:
            current.append(point)
        elif current:
            pieces.append(np.array(current))
            current = []
    pieces += [np.array(current)] if current else []
    return tuple(piece for piece in pieces if len(piece) > 1 and np.ptp(piece, axis=0).max() > 1e-6)


def burgers_colours(dislocations: tuple[Dislocation, ...]) -> dict[tuple[float, ...], str]:
    """A colour "#rrggbb" for each Burgers vector up to its sign, the most frequent first; slip traces have none."""
    vectors = [burgers_key(line) for line in dislocations if line.kind != SLIP_TRACE]
    order = sorted(set(vectors), key=lambda b: (-vectors.count(b), b))
    return {b: LINE_COLOURS[i % len(LINE_COLOURS)] for i, b in enumerate(order)}


def line_colour(line: Dislocation, colours: Mapping[tuple[float, ...], str]) -> str:
    """The colour of a line's Burgers vector, or that of all slip traces."""
    return TRACE_COLOUR if line.kind == SLIP_TRACE else colours[burgers_key(line)]


def linear_rgb(colour: str) -> Colour:
    """Scene-linear RGB of a #rrggbb colour (IEC 61966-2-1)."""
    encoded = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return tuple(float(c) for c in linear)


def _tubes(scene: Scene, placed: FoilShape) -> tuple[Tube, ...]:
    colours = burgers_colours(scene.dislocations)
    width_nm, height_nm = field_nm(scene.shape, scene.pixel_nm)
    excess = outside_excess(placed, width_nm, height_nm)
    spacing_nm = max(width_nm, height_nm) / 200
    tubes = []
    for i, line in enumerate(scene.dislocations):
        whole = line.closed and bool((excess(line.points_nm) <= 0).all())
        pieces = (line.points_nm,) if whole else clipped(line.points_nm, excess, spacing_nm)
        if pieces:
            canonical = line.canonical()
            properties = {
                "burgers_uvw": [float(u) for u in canonical.burgers_uvw], "plane_hkl": list(line.plane_hkl),
                "g_dot_b": float(np.dot(scene.beam.g_hkl, canonical.burgers_uvw)), "kind": line.kind,
                "glissile": line.glissile, "dislocation": i,
            }  # fmt: skip
            tubes.append(Tube(name=f"dislocation {i:03d}", pieces=pieces, closed=whole,
                              outcrops_nm=_outcrops(() if whole else pieces, placed),
                              display_colour=line_colour(line, colours), properties=properties))  # fmt: skip
    return tuple(tubes)


def _outcrops(pieces: tuple[np.ndarray, ...], placed: FoilShape) -> np.ndarray:
    ends_nm = np.array([piece[end] for piece in pieces for end in (0, -1)]).reshape(-1, 3)
    off_nm = [np.abs(placed.face_z_nm(ends_nm[:, 0], ends_nm[:, 1], side) - ends_nm[:, 2]) for side in (1, -1)]
    return ends_nm[np.min(off_nm, axis=0) < OUTCROP_TOLERANCE_NM]


def _faults(scene: Scene, placed: FoilShape) -> tuple[Sheet, ...]:
    sheets = []
    for i, fault in enumerate(scene.faults):
        outline_nm = _clipped_polygon(fault.outline_nm, scene, placed)
        if len(outline_nm) >= 3:
            properties = {"plane_hkl": list(fault.plane_hkl), "shift_uvw": [float(u) for u in fault.shift_uvw]}
            sheets.append(Sheet(name=f"stacking fault {i:03d}", outline_nm=outline_nm, colour=FAULT_COLOUR, shown=True,
                                properties=properties))  # fmt: skip
    return tuple(sheets)


def _boundary(scene: Scene, placed: FoilShape) -> tuple[Sheet, ...]:
    boundary = scene.foil.boundary
    if boundary is None:
        return ()
    outline_nm = _plane_inside(boundary.normal / np.linalg.norm(boundary.normal), boundary.point_nm, scene, placed)
    if len(outline_nm) < 3:
        return ()
    return (Sheet(name="grain boundary", outline_nm=outline_nm, colour=BOUNDARY_COLOUR, shown=True, properties={}),)


def _plane_inside(normal: np.ndarray, point_nm: np.ndarray, scene: Scene, placed: FoilShape) -> np.ndarray:
    """The part (K, 3) of the plane through `point_nm` with unit `normal` that lies in the foil and the field.

    A strip across the plane's dip for each place along it; where a foil's relief leaves several, from first to last.
    """
    width_nm, height_nm = field_nm(scene.shape, scene.pixel_nm)
    reach_nm = 2 * (width_nm + height_nm) + 2 * scene.foil.thickness_nm
    level = np.cross(normal, [0.0, 0.0, 1.0]) if abs(normal[2]) < 1 - 1e-9 else np.array([1.0, 0.0, 0.0])
    level /= np.linalg.norm(level)
    dip = np.cross(normal, level)
    centre_nm = normal * (normal @ point_nm)
    square = [centre_nm + reach_nm * (a * level + b * dip) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    rough_nm = _clipped_polygon(np.array(square), scene, placed)
    if len(rough_nm) < 3:
        return rough_nm
    excess = outside_excess(placed, width_nm, height_nm)
    along, down = (np.linspace(v.min() - 1e-3 * reach_nm, v.max() + 1e-3 * reach_nm, STRIPS) for v in ((rough_nm - centre_nm) @ np.stack([level, dip], axis=-1)).T)
    points = centre_nm + along[:, None, None] * level + down[None, :, None] * dip
    out_nm = excess(points.reshape(-1, 3)).reshape(STRIPS, STRIPS)
    first, last = [], []
    for row, places in zip(out_nm, points):
        inside = np.flatnonzero(row <= 0)
        if len(inside):
            first.append(_edge(row, places, inside[0], -1))
            last.append(_edge(row, places, inside[-1], 1))
    return np.array(first + last[::-1]).reshape(-1, 3)


def _edge(out_nm: np.ndarray, places: np.ndarray, k: int, step: int) -> np.ndarray:
    """Where `out_nm` (K,) is zero between place k inside and its neighbour outside."""
    if not 0 <= k + step < len(out_nm):
        return places[k]
    t = out_nm[k] / (out_nm[k] - out_nm[k + step])
    return places[k] + t * (places[k + step] - places[k])


def _slip_planes(scene: Scene, placed: FoilShape, rotation: np.ndarray) -> tuple[Sheet, ...]:
    """The slip plane of every glissile line, one sheet for all lines that share it."""
    planes: dict[tuple[Any, ...], tuple[np.ndarray, np.ndarray]] = {}
    for line in scene.dislocations:
        if line.glissile:
            normal = plane_normal_image(line.plane_hkl, scene.crystal, rotation)
            planes.setdefault((line.plane_hkl, round(float(normal @ line.points_nm[0]))), (normal, line.points_nm[0]))
    sheets = []
    for (plane_hkl, _), (normal, point_nm) in planes.items():
        outline_nm = _plane_inside(normal, point_nm, scene, placed)
        if len(outline_nm) >= 3:
            sheets.append(Sheet(name=f"slip plane {list(plane_hkl)}", outline_nm=outline_nm, colour=PLANE_COLOUR,
                                shown=len(planes) <= FEW_PLANES, properties={"plane_hkl": list(plane_hkl)}))  # fmt: skip
    return tuple(sheets)


def _clipped_polygon(outline_nm: np.ndarray, scene: Scene, placed: FoilShape) -> np.ndarray:
    """A flat polygon (K, 3) inside the field and the tangent planes of the two faces (Sutherland & Hodgman 1974)."""
    width_nm, height_nm = field_nm(scene.shape, scene.pixel_nm)
    half_spaces = [
        ((1, 0, 0), width_nm / 2),
        ((-1, 0, 0), width_nm / 2),
        ((0, 1, 0), height_nm / 2),
        ((0, -1, 0), height_nm / 2),
    ]
    probe_nm = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    for side in (1, -1):
        z = placed.face_z_nm(*probe_nm, side)
        half_spaces.append(((side * (z[0] - z[1]), side * (z[0] - z[2]), side), side * z[0]))
    for normal, limit_nm in half_spaces:
        out_nm = outline_nm @ np.array(normal, dtype=np.float64) - limit_nm
        kept = []
        for k in range(len(outline_nm)):
            if out_nm[k - 1] * out_nm[k] < 0:
                t = out_nm[k - 1] / (out_nm[k - 1] - out_nm[k])
                kept.append(outline_nm[k - 1] + t * (outline_nm[k] - outline_nm[k - 1]))
            if out_nm[k] <= 0:
                kept.append(outline_nm[k])
        outline_nm = np.array(kept).reshape(-1, 3)
        if len(outline_nm) < 3:
            break
    return outline_nm


def burgers_key(line: Dislocation) -> tuple[float, ...]:
    return tuple(round(float(u), 6) + 0.0 for u in line.canonical().burgers_uvw)


def _grey(image: np.ndarray) -> np.ndarray:
    low, high = display_range(image)
    return np.clip((np.asarray(image, dtype=np.float32) - low) / (high - low), 0, 1).astype(np.float32)
