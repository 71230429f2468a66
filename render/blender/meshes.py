"""The foil as meshes: its two faces and mid-surface as grids, everything else as closed solids; no bpy here.

A mesh stands for a smooth face to within FACE_ERROR_NM. Worked faces (relief, openings, bent lips) get a vertex in every
column of the image, so that each ray meets the face itself.

Axes: V vertices, F faces, (N, M) grid of a surface, K vertices of an outline, H half-spaces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial import ConvexHull

from physics.boundary import GrainBoundary
from physics.deposit import Deposit
from physics.frames import column_positions_nm, field_nm

if TYPE_CHECKING:
    from render.foil import FoilShape

FACE_ERROR_NM = 0.004  # how far a face mesh may lie off the curved face it stands for
MOST_CELLS = 800  # along one side of a face mesh
LIP_CELLS = 45  # across a bent lip
MIDDLE_CELLS = 64  # the normal of a paraboloid is all but linear over them
OUTLINE_ERROR_NM = 0.02
LEAST_SECTORS, MOST_SECTORS = 24, 256
RINGS = 16
CLEARANCE_NM = 10.0
SKIRT_NM = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Solid:
    """A closed mesh, `vertices_nm` (V, 3), triangles `faces` (F, 3) anticlockwise from outside.

    Solids of one `group` are summed, each less the `skirt_nm` by which it is thicker than what it stands for.
    """

    vertices_nm: np.ndarray
    faces: np.ndarray
    group: str
    skirt_nm: float = 0.0


def face_grid(placed: FoilShape, shape: tuple[int, int], pixel_nm: float, side: int) -> np.ndarray:
    """Points (N, M, 3) of the entrance (side +1) or exit face (-1) over the field and a margin, y rising with N."""
    if placed.worked:
        x_nm, y_nm = np.meshgrid(*_columns(shape, pixel_nm))
        return np.stack([x_nm, y_nm, placed.face_z_nm(x_nm, y_nm, side, beyond=True)], axis=-1)
    half_nm = np.array(field_nm(shape, pixel_nm)) / 2
    corners = np.array([[sx, sy] for sx in (-1, 0, 1) for sy in (-1, 0, 1)]) * half_nm
    shift_nm = np.abs(placed.face_points_nm(corners[:, 0], corners[:, 1], side)[:, :2] - corners).max()
    reach_nm = half_nm + 2 * shift_nm + 2 * pixel_nm
    sharpest_inv_nm = 1e-3 * max(abs(placed.foil.curvature_inv_um), abs(placed.foil.cross_curvature_inv_um))
    # A chord of length c lies k c^2 / 8 off a curve of curvature k; the diagonal of a cell is 1.4 c.
    cell_nm = np.sqrt(4 * FACE_ERROR_NM / sharpest_inv_nm) if sharpest_inv_nm > 0 else np.inf
    columns, rows = (int(np.clip(np.ceil(2 * reach / cell_nm), 2, MOST_CELLS)) + 1 for reach in reach_nm)
    return placed.face_points_nm(*_grid(reach_nm, columns, rows), side)


def middle_grids(placed: FoilShape, shape: tuple[int, int], pixel_nm: float) -> list[np.ndarray]:
    """Grids of points (N, M, 3) of the mid-surface, whose normal the lattice follows, later ones to lie over earlier ones.

    One of the whole field, and a finer one of each tear's bent lips; none where all of it is a plane.
    """
    if not (placed.bent or placed.lipped):
        return []
    # Two cells more than the field, since the normal of a border vertex is that of one side.
    reach_nm = (np.array(field_nm(shape, pixel_nm)) / 2 + 2 * pixel_nm) * (1 + 4 / MIDDLE_CELLS)
    grids = [_grid(reach_nm, MIDDLE_CELLS + 1, MIDDLE_CELLS + 1)]
    x_nm, y_nm = _columns(shape, pixel_nm)
    for tear in placed.foil.tears:
        if tear.lips == "bent":
            low, high = tear.reach_nm()
            parts = math.ceil(pixel_nm / (tear.lip_nm / LIP_CELLS))
            axes = [_between(axis, low[i], high[i], pixel_nm / parts) for i, axis in enumerate((x_nm, y_nm))]
            if min(map(len, axes)) > 1:
                grids.append(tuple(np.meshgrid(*axes)))
    return [np.stack([x, y, placed.mid_z_nm(x, y)], axis=-1) for x, y in grids]


def grain_solid(
    boundary: GrainBoundary, shape: tuple[int, int], pixel_nm: float, lowest_nm: float, highest_nm: float, group: str
) -> Solid | None:
    """The second grain, or a twin, within the field and between two heights; None where it does not come in."""
    half_x, half_y = (side / 2 + 2 * pixel_nm for side in field_nm(shape, pixel_nm))
    walls = [[1, 0, 0, half_x], [-1, 0, 0, half_x], [0, 1, 0, half_y], [0, -1, 0, half_y],
             [0, 0, 1, highest_nm + CLEARANCE_NM], [0, 0, -1, CLEARANCE_NM - lowest_nm]]  # fmt: skip
    return convex_solid(np.array([*walls, *boundary.half_spaces()], dtype=np.float64), group)


def convex_solid(half_spaces: np.ndarray, group: str) -> Solid | None:
    """The polyhedron of points with n . r <= d for every row (n, d) of `half_spaces` (H, 4), None where it is empty."""
    corners = []
    for i in range(len(half_spaces)):
        for j in range(i):
            for k in range(j):
                planes = half_spaces[[i, j, k]]
                if abs(np.linalg.det(planes[:, :3])) > 1e-9:
                    corners.append(np.linalg.solve(planes[:, :3], planes[:, 3]))
    corners = np.array(corners)
    corners = corners[(corners @ half_spaces[:, :3].T <= half_spaces[:, 3] + 1e-6).all(axis=1)]
    if len(corners) < 4 or np.linalg.matrix_rank(corners - corners.mean(axis=0), tol=1e-6) < 3:
        return None
    hull = ConvexHull(corners)
    triangles = hull.points[hull.simplices]
    turned = np.einsum("fi,fi->f", np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]),
                       hull.equations[:, :3]) < 0  # fmt: skip
    faces = np.where(turned[:, None], hull.simplices[:, ::-1], hull.simplices)
    return Solid(vertices_nm=corners, faces=faces, group=group)


def deposit_solid(deposit: Deposit, placed: FoilShape, pixel_nm: float, group: str) -> Solid:
    """A deposit on its face. It stands on a skirt: near its rim it would be too thin for a ray to enter and leave."""
    sectors = _sectors(deposit.radius_nm, min(OUTLINE_ERROR_NM, 0.05 * pixel_nm))
    # An even flake has its height up to the wall round it; a cap falls to 0 as a sphere does, evenly in angle.
    share = np.linspace(0, 1, 3) if deposit.profile == 0 else np.sin(0.5 * math.pi * np.linspace(0, 1, RINGS + 1))
    angle = 2 * math.pi * np.arange(sectors) / sectors
    outline_nm = deposit.outline_nm(angle)
    along, across = (np.multiply.outer(share[1:], outline_nm * f(angle)) for f in (np.cos, np.sin))
    turn, across = math.radians(deposit.turn_deg), across * deposit.aspect
    x = deposit.centre_nm[0] + np.append(0.0, along * math.cos(turn) - across * math.sin(turn))
    y = deposit.centre_nm[1] + np.append(0.0, along * math.sin(turn) + across * math.cos(turn))
    fill = np.append(1.0, np.repeat(np.maximum(1 - share[1:] ** 2, 0.0), sectors))
    height_nm = deposit.thickness_nm * (np.ones_like(fill) if deposit.profile == 0 else fill**deposit.profile)
    base_nm = placed.face_z_nm(x, y, deposit.side)
    height_nm += SKIRT_NM
    lower, upper = (base_nm, base_nm + height_nm) if deposit.side > 0 else (base_nm - height_nm, base_nm)
    vertices = np.concatenate([np.stack([x, y, upper], axis=-1), np.stack([x, y, lower], axis=-1)])
    top = _disc_faces(len(share) - 1, sectors)
    rim = np.arange(sectors) + 1 + (len(share) - 2) * sectors
    walls = _quads_as_triangles(np.stack([rim, rim + len(x), np.roll(rim, -1) + len(x), np.roll(rim, -1)], axis=-1))
    return Solid(vertices_nm=vertices, faces=np.concatenate([top, top[:, ::-1] + len(x), walls]), group=group, skirt_nm=SKIRT_NM)


def sphere_solid(centre_nm: np.ndarray, radius_nm: float, group: str) -> Solid:
    """A sphere, by rings of latitude; a little larger than the ball inscribed in it, so that its volume is right."""
    sectors = _sectors(radius_nm, OUTLINE_ERROR_NM)
    rings = sectors // 2
    polar, angle = math.pi * np.arange(1, rings) / rings, 2 * math.pi * np.arange(sectors) / sectors
    radius_nm *= 1 + (math.pi / sectors) ** 2 / 3
    ring = radius_nm * np.stack([np.multiply.outer(np.sin(polar), np.cos(angle)), np.multiply.outer(np.sin(polar), np.sin(angle)),
                                 np.repeat(np.cos(polar)[:, None], sectors, axis=1)], axis=-1)  # fmt: skip
    vertices = np.concatenate([[[0, 0, radius_nm]], ring.reshape(-1, 3), [[0, 0, -radius_nm]]]) + centre_nm
    last = 1 + (rings - 2) * sectors + np.arange(sectors)
    bottom = np.stack([last, np.full(sectors, len(vertices) - 1), np.roll(last, -1)], axis=-1)
    return Solid(vertices_nm=vertices, faces=np.concatenate([_disc_faces(rings - 1, sectors), bottom]), group=group)


def _disc_faces(rings: int, sectors: int) -> np.ndarray:
    """Triangles (F, 3), anticlockwise, of vertex 0 and `rings` circles of `sectors` vertices round it."""
    first = np.arange(sectors) + 1
    fan = np.stack([np.zeros(sectors, dtype=np.int64), first, np.roll(first, -1)], axis=-1)
    number = 1 + np.arange(rings * sectors).reshape(rings, sectors)
    beside = np.roll(number, -1, axis=1)
    quads = np.stack([number[:-1], number[1:], beside[1:], beside[:-1]], axis=-1).reshape(-1, 4)
    return np.concatenate([fan, _quads_as_triangles(quads)])


def _quads_as_triangles(quads: np.ndarray) -> np.ndarray:
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def _sectors(radius_nm: float, error_nm: float) -> int:
    """Sides of a polygon whose middles lie `error_nm` inside the circle."""
    return int(np.clip(math.ceil(math.pi / math.sqrt(2 * error_nm / radius_nm)), LEAST_SECTORS, MOST_SECTORS))


def _columns(shape: tuple[int, int], pixel_nm: float) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the columns, one more on every side, both rising."""
    x_nm, y_nm = column_positions_nm((shape[0] + 2, shape[1] + 2), pixel_nm)
    return x_nm, y_nm[::-1]


def _between(axis_nm: np.ndarray, low_nm: float, high_nm: float, step_nm: float) -> np.ndarray:
    """Positions `step_nm` apart, some of them those of `axis_nm`, from below one limit to above the other."""
    first, last = max(low_nm, axis_nm[0]), min(high_nm, axis_nm[-1])
    begin, end = math.floor((first - axis_nm[0]) / step_nm), math.ceil((last - axis_nm[0]) / step_nm)
    return axis_nm[0] + step_nm * np.arange(begin, end + 1)


def _grid(reach_nm: np.ndarray, columns: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.meshgrid(np.linspace(-reach_nm[0], reach_nm[0], columns), np.linspace(-reach_nm[1], reach_nm[1], rows)))


def with_nearest(values: np.ndarray, torn: np.ndarray) -> np.ndarray:
    """`values` (Y, X, ...) with those of the nearest pixel that is not torn where `torn` (Y, X)."""
    if not torn.any():
        return values
    return values[tuple(distance_transform_edt(torn, return_distances=False, return_indices=True))]
