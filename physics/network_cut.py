"""The part of a periodic network that a foil shows, as dislocations in the image frame."""

from __future__ import annotations

import itertools

import numpy as np

from physics.clipping import Faces, between_faces, in_window
from physics.dislocation import Dislocation, plane_of_longest_part, segments_under
from physics.errors import InputError
from physics.network import Network
from physics.network_lattice import LatticeChain

JOIN_TOLERANCE_NM = 1e-6
Part = tuple[np.ndarray, np.ndarray]  # vertices (K, 3) and the planes (K - 1, 3) of the segments between them
VIEW_STATIONS = 33  # a side, where a view is searched for a part of the box shown twice


class FieldTooWide(InputError):
    """A view would show a part of a periodic network twice."""


def cut(
    lines: list[LatticeChain],
    network: Network,
    *,
    origin_nm: np.ndarray,
    image_from_crystal: np.ndarray,
    half_extent_nm: np.ndarray,
    faces: Faces,
    margin_nm: float,
) -> list[Dislocation]:
    """The lines of a network that a foil shows, in the image frame with `origin_nm` (3,) of the box at its centre.

    Of the periodic images of each line those that come into the view are taken: within `half_extent_nm` (3,) (x, y, and
    z for the thickest foil), kept `margin_nm` beyond the field, and cut at the faces. Every piece is a chain of
    one b, and keeps the plane of each of its segments. Raises FieldTooWide when the view is so wide that it would show a part of the box twice.
    """
    check_view(network, image_from_crystal, half_extent_nm, faces)
    window_nm = np.array([half_extent_nm[0] + margin_nm, half_extent_nm[1] + margin_nm, half_extent_nm[2]])
    period_image = image_from_crystal @ network.cell_nm  # columns: the box edges in the image frame
    shown: list[Dislocation] = []
    for line in lines:
        points_image = (line.points_nm - origin_nm) @ image_from_crystal.T
        parts: list[Part] = []
        for shift in _shifts(points_image, period_image, window_nm, network.periodic):
            moved = points_image + shift
            for piece in in_window(moved, window_nm[:2]):
                for part in between_faces(piece, faces):
                    parts.append((part, line.segment_planes_hkl[segments_under(part, moved)]))
        shown += [_dislocation(line, *part) for part in (_joined(parts) if line.through_box else parts)]
    return shown


def _joined(parts: list[Part]) -> list[Part]:
    """Pieces of the images of one endless line, put together where one ends and the next begins."""
    parts = list(parts)
    while True:
        pair = next(((i, j) for i, j in itertools.permutations(range(len(parts)), 2)
                     if np.abs(parts[i][0][-1] - parts[j][0][0]).max() < JOIN_TOLERANCE_NM), None)  # fmt: skip
        if pair is None:
            return parts
        (points, planes), (more_points, more_planes) = (parts[k] for k in pair)
        joined = np.concatenate([points, more_points[1:]]), np.concatenate([planes, more_planes])
        parts = [part for k, part in enumerate(parts) if k not in pair] + [joined]


def _dislocation(line: LatticeChain, points_nm: np.ndarray, planes_hkl: np.ndarray) -> Dislocation:
    closed = len(points_nm) > 2 and np.array_equal(points_nm[0], points_nm[-1])
    kind = "loop" if closed else "junction" if line.is_junction else "perfect"
    several = bool((planes_hkl != planes_hkl[0]).any())
    return Dislocation(
        burgers_uvw=line.burgers_uvw, points_nm=points_nm, plane_hkl=plane_of_longest_part(points_nm, planes_hkl), kind=kind,
        segment_planes_hkl=planes_hkl if several else None,
    )  # fmt: skip


def check_view(network: Network, image_from_crystal: np.ndarray, half_extent_nm: np.ndarray, faces: Faces) -> None:
    """Raise FieldTooWide for a field wider than the box, or a foil that holds a point and its periodic image."""
    widest_nm, box_nm = 2 * float(max(half_extent_nm[:2])), network.smallest_period_nm
    if widest_nm > box_nm:
        raise FieldTooWide(f"field must be no wider than the network's box ({box_nm:.1f} nm), got {widest_nm:.1f} nm; "
                           "reduce shape or pixel_nm")  # fmt: skip
    half_x_nm, half_y_nm = half_extent_nm[:2]
    x_nm, y_nm = (grid.ravel() for grid in np.meshgrid(*(np.linspace(-h, h, VIEW_STATIONS) for h in (half_x_nm, half_y_nm))))
    entrance_nm, exit_nm = faces(x_nm, y_nm)
    for steps in itertools.product(*((-2, -1, 0, 1, 2) if repeats else (0,) for repeats in network.periodic)):
        away_nm = image_from_crystal @ network.cell_nm @ np.array(steps)
        inside = (np.abs(x_nm + away_nm[0]) <= half_x_nm) & (np.abs(y_nm + away_nm[1]) <= half_y_nm)
        if steps <= (0, 0, 0) or not inside.any():
            continue
        other_entrance_nm, other_exit_nm = faces(x_nm[inside] + away_nm[0], y_nm[inside] + away_nm[1])
        top_nm = np.minimum(entrance_nm[inside], other_entrance_nm - away_nm[2])
        if (top_nm > np.maximum(exit_nm[inside], other_exit_nm - away_nm[2])).any():
            raise FieldTooWide(
                f"field must not show a part of the network's box twice, got {widest_nm:.1f} nm across, repeated after {list(steps)} "
                "boxes; reduce shape, pixel_nm or foil.thickness_nm, or choose another zone axis"
            )


def _shifts(
    points_image: np.ndarray, period_image: np.ndarray, window_nm: np.ndarray, periodic: tuple[bool, bool, bool]
) -> list[np.ndarray]:
    """Lattice translations of the box that bring the line's bounding box into the window."""
    low, high = points_image.min(axis=0), points_image.max(axis=0)
    # In units of box edges, the window's and the line's bounding spheres bound the translations that can matter.
    centre = np.linalg.solve(period_image, -(low + high) / 2)
    # A sphere of radius R reaches R / (distance of the lattice planes) along an edge.
    reach = np.linalg.norm((high - low) / 2 + window_nm) * np.linalg.norm(np.linalg.inv(period_image), axis=1)
    ranges = [range(int(np.ceil(c - r)), int(np.floor(c + r)) + 1) if repeats else range(1)
              for c, r, repeats in zip(centre, reach, periodic)]  # fmt: skip
    shifts = [period_image @ np.array(steps) for steps in itertools.product(*ranges)]
    near = [s for s in shifts if (low + s < window_nm).all() and (high + s > -window_nm).all()]
    segment_low = np.minimum(points_image[:-1], points_image[1:])
    segment_high = np.maximum(points_image[:-1], points_image[1:])
    return [s for s in near if ((segment_low + s < window_nm) & (segment_high + s > -window_nm)).all(axis=1).any()]
