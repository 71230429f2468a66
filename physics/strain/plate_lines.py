"""Lines as a plate of even thickness sees them: in its own frame, led off beyond the edges of a box.

A point of the foil lies as deep below the plate's upper face as below the true one when it is near that, and as high
above the lower one when it is near the exit face; in the plane it lies where its place in the mid-plane is.

Axes: S segments, P points, O outcrops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physics.strain.foil_frame import ENDLESS_NM, ON_FACE_NM, CutLines, FoilFaces, heights_nm, merged
from physics.strain.plate_grid import Box, first_nm
from physics.strain.segments import Segments


@dataclass(frozen=True, kw_only=True, eq=False)
class PlateLines:
    """Segments from `start_nm` to `end_nm` (S, 3) of Burgers vectors (S, 3), X, Y, Z in the plate: Z = 0 midway.

    `outcrops` (2, S) is the kind, 1 or 2, of starts and ends that are outcrops with an H of their own, 0 of all others.
    """

    start_nm: np.ndarray
    end_nm: np.ndarray
    burgers_nm: np.ndarray
    outcrops: np.ndarray

    def __add__(self, other: PlateLines) -> PlateLines:
        return PlateLines(
            start_nm=np.concatenate([self.start_nm, other.start_nm]), end_nm=np.concatenate([self.end_nm, other.end_nm]),
            burgers_nm=np.concatenate([self.burgers_nm, other.burgers_nm]),
            outcrops=np.concatenate([self.outcrops, other.outcrops], axis=1),
        )  # fmt: skip


def in_plate(points_nm: np.ndarray, faces: FoilFaces) -> np.ndarray:
    """Places (P, 3) in the plate of points (P, 3) of the foil."""
    n, half = faces.normal_image, faces.thickness_nm / 2
    above, below = (n[2] * h for h in heights_nm(points_nm, faces))
    f = np.clip(above / np.maximum(above + below, ON_FACE_NM), 0, 1)
    w = f * f * (3 - 2 * f)
    z = (1 - w) * (half - above) + w * (below - half)
    return np.concatenate([(points_nm[:, :2] - z[:, None] * n[:2]) @ faces.foil_from_xy.T, z[:, None]], axis=1)


def _rigid(points_nm: np.ndarray, faces: FoilFaces) -> np.ndarray:
    """Places (P, 3) in the frame of the mean plane."""
    middle = np.array([0, 0, (faces.entrance[0] + faces.exit[0]) / 2])
    return (points_nm - middle) @ faces.foil_from_image.T


def plate_lines(cut: CutLines, faces: FoilFaces, chord_nm: float, kinds: np.ndarray, smallest_nm: float = 0.0) -> PlateLines:
    """All lines, inner parts joined to chords of at most a length, and their continuation; `kinds` (O,) of outcrops.

    Loops no larger than `smallest_nm` are squares of the same area: many point defects and precipitates would have ten sides each.
    """
    rotation = faces.foil_from_image
    inside, number = squared(merged(cut.inside, chord_nm), smallest_nm)
    out, count = cut.continuation, len(cut.place_nm)
    place = outcrops_in_plate(cut, faces)
    start, end = in_plate(inside.start_nm, faces), in_plate(inside.end_nm, faces)
    half = faces.thickness_nm / 2
    for z in (start[:, 2], end[:, 2]):
        np.copyto(z, np.sign(z) * half, where=np.abs(np.abs(z) - half) < ON_FACE_NM)
    corner = place + (out.end_nm[:count] - cut.place_nm) @ rotation.T
    foot = _rigid(out.start_nm[len(out) - count :], faces)
    foot[:, 2] = corner[:, 2]
    far = foot + ENDLESS_NM * np.sign(corner[:, 2:]) * [0, 0, 1]
    level = np.linalg.norm(foot - corner, axis=1) > ON_FACE_NM
    corner[~level] = foot[~level]
    b = cut.burgers_nm @ rotation.T
    outcrops = np.zeros((2, len(start) + 2 * count + int(level.sum())), dtype=np.int64)
    outcrops[0, len(start) : len(start) + count] = kinds
    if kinds.any():
        ends_here = _ends_there(cut)
        outcrops[ends_here.astype(int), number[cut.owner]] = kinds
    return PlateLines(
        outcrops=outcrops,
        start_nm=np.concatenate([start, place, corner[level], foot]), end_nm=np.concatenate([end, corner, foot[level], far]),
        burgers_nm=np.concatenate([inside.burgers_nm @ rotation.T, b, b[level], b]),
    )  # fmt: skip


def squared(segments: Segments, largest_nm: float) -> tuple[Segments, np.ndarray]:
    """Closed lines of more than four segments and at most that width as four of their vertices, spread out to the same area.

    They come last; returned second are the numbers (S,) that the segments given have now, those of such lines without meaning.
    """
    first = np.flatnonzero(np.r_[True, segments.line[1:] != segments.line[:-1]]) if len(segments) else np.zeros(0, int)
    keep, parts = np.ones(len(segments), dtype=bool), []
    for a, b in zip(first, np.r_[first[1:], len(segments)]):
        vertices = segments.start_nm[a:b]
        if b - a <= 4 or np.ptp(vertices, axis=0).max() > largest_nm:
            continue
        # Whole loops alone: every segment begins where another one ends.
        if np.abs(segments.end_nm[a:b] - np.roll(vertices, -1, axis=0)).max() < ON_FACE_NM:
            middle = vertices.mean(axis=0)
            square = vertices[(np.arange(4) * (b - a)) // 4] - middle
            square = middle + square * np.sqrt(_area(vertices - middle) / _area(square))
            keep[a:b] = False
            parts.append((square, np.roll(square, -1, axis=0), np.tile(segments.burgers_nm[a], (4, 1)), np.full(4, segments.line[a])))
    rest = segments.start_nm[keep], segments.end_nm[keep], segments.burgers_nm[keep], segments.line[keep]
    start, end, burgers, line = (np.concatenate(p) for p in zip(rest, *parts))
    return Segments(start_nm=start, end_nm=end, burgers_nm=burgers, line=line), np.cumsum(keep) - 1


def _area(vertices: np.ndarray) -> float:
    """Area enclosed by vertices (V, 3)."""
    return float(np.linalg.norm(np.cross(vertices, np.roll(vertices, -1, axis=0)).sum(axis=0)) / 2)


def outcrops_in_plate(cut: CutLines, faces: FoilFaces) -> np.ndarray:
    """Places (O, 3) of the outcrops, on the plate's faces."""
    place = in_plate(cut.place_nm, faces)
    place[:, 2] = cut.side * faces.thickness_nm / 2
    return place


def outcrop_tangents(cut: CutLines, faces: FoilFaces) -> tuple[np.ndarray, np.ndarray]:
    """Unit tangents (O, 3) in the plate of the lines that leave it, before and behind the face."""
    inside, rotation = cut.inside, faces.foil_from_image
    inner = np.where(_ends_there(cut)[:, None], inside.start_nm[cut.owner], inside.end_nm[cut.owner])
    along = outcrops_in_plate(cut, faces) - in_plate(inner, faces)
    return along / np.linalg.norm(along, axis=1, keepdims=True), cut.onward @ rotation.T


def _ends_there(cut: CutLines) -> np.ndarray:
    """Whether the inner segment of an outcrop (O,) ends there; otherwise it starts there."""
    return np.linalg.norm(cut.inside.end_nm[cut.owner] - cut.place_nm, axis=1) < ON_FACE_NM


def normals(cut: CutLines, faces: FoilFaces, sign: int) -> PlateLines:
    """The endless normals, Burgers vectors times a sign, in three parts."""
    place, half = _rigid(cut.through_place_nm, faces) * [1, 1, 0], faces.thickness_nm / 2
    at = [place + [0, 0, z] for z in (-ENDLESS_NM, -half, half, ENDLESS_NM)]
    return PlateLines(
        start_nm=np.concatenate(at[:3]), end_nm=np.concatenate(at[1:]),
        burgers_nm=np.tile(sign * cut.through_burgers_nm @ faces.foil_from_image.T, (3, 1)),
        outcrops=np.zeros((2, 3 * len(place)), dtype=np.int64),
    )  # fmt: skip


def turns(points_nm: np.ndarray, box: Box, faces: FoilFaces) -> np.ndarray:
    """Places (P, 2) of points of the plate in a box: 0 at its first grid point, 1 a period on."""
    first = [first_nm(n, box.step_nm) for n in box.padded]
    return (points_nm[:, :2] @ np.linalg.inv(faces.foil_from_xy).T - first) / box.size_nm


def led_off(lines: PlateLines, box: Box, faces: FoilFaces) -> PlateLines:
    """The part within one period of a box; where a line leaves that, it goes on along the normal."""
    half = faces.thickness_nm / 2
    u, v = turns(lines.start_nm, box, faces), turns(lines.end_nm, box, faces)
    edge = 0.5 / np.array(box.padded)
    low, high = -edge, 1 - edge
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = np.stack([(low - u) / (v - u), (high - u) / (v - u)])
    level = u == v
    within = (u > low) & (u < high)
    first = np.where(level, np.where(within, 0.0, 2.0), crossings.min(axis=0)).max(axis=1)
    last = np.where(level, np.where(within, 1.0, -1.0), crossings.max(axis=0)).min(axis=1)
    first, last = np.maximum(first, 0.0), np.minimum(last, 1.0)
    keep = last > first
    first, last, b = first[keep], last[keep], lines.burgers_nm[keep]
    kinds = lines.outcrops[:, keep] * np.stack([first == 0, last == 1])
    along = (lines.end_nm - lines.start_nm)[keep]
    start, end = lines.start_nm[keep], lines.end_nm[keep]
    start = np.where(first[:, None] > 0, start + first[:, None] * along, start)
    end = np.where(last[:, None] < 1, lines.start_nm[keep] + last[:, None] * along, end)
    parts = [(start, end, b)]
    for here, points, sense in ((first > 0, start, -1), (last < 1, end, 1)):
        p, c = points[here], sense * b[here]
        side = np.where(p[:, 2:] < 0, -1.0, 1.0)
        face = np.concatenate([p[:, :2], side * np.maximum(half, side * p[:, 2:])], axis=1)
        inner = np.abs(face[:, 2] - p[:, 2]) > 0
        # The sense does not matter if the Burgers vector changes with it.
        parts += [(p[inner], face[inner], c[inner]), (face, face + [0, 0, ENDLESS_NM] * side, c)]
    start, end, b = (np.concatenate(p) for p in zip(*parts))
    outcrops = np.zeros((2, len(start)), dtype=np.int64)
    outcrops[:, : kinds.shape[1]] = kinds
    return PlateLines(start_nm=start, end_nm=end, burgers_nm=b, outcrops=outcrops)
