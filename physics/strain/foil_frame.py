"""The foil as a plate: its faces over the image, the frame of its mean plane, and lines cut at its faces.

Faces are quadratic in image x, y: exact for planes, and for a bend as long as its sag stays below its radius.

Axes: S segments, O outcrops, P points.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from physics.errors import require
from physics.frozen import frozen_array
from physics.strain.segments import Segments

# The length that stands for an endless straight line.
ENDLESS_NM = 1e6
ON_FACE_NM = 1e-4
# How far above the faces cut lines are led together, in thicknesses.
CLEARANCE = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class FoilFaces:
    """Faces z = c.(1, x, y, x^2, xy, y^2) over a field of `field_nm` (width, height) centred on the origin."""

    entrance: np.ndarray
    exit: np.ndarray
    field_nm: tuple[float, float]

    def __post_init__(self) -> None:
        for name in ("entrance", "exit"):
            object.__setattr__(self, name, frozen_array(getattr(self, name), (6,), f"faces.{name}"))
        width, height = (float(n) for n in self.field_nm)
        require(width > 0 and height > 0, "faces.field_nm", "be two lengths > 0", self.field_nm)
        object.__setattr__(self, "field_nm", (width, height))
        require(self.thickness_nm > 0, "faces", "enclose a foil", f"a mean thickness of {self.thickness_nm:.3g} nm")

    @classmethod
    def flat(cls, thickness_nm: float, field_nm: tuple[float, float], normal_image: ArrayLike = (0, 0, 1)) -> FoilFaces:
        """A parallel-sided foil about the origin, `thickness_nm` along its normal."""
        n = np.asarray(normal_image, dtype=np.float64)
        n = n / np.linalg.norm(n)
        slope = [-n[0] / n[2], -n[1] / n[2], 0, 0, 0]
        half = thickness_nm / 2 / n[2]
        return cls(entrance=[half, *slope], exit=[-half, *slope], field_nm=field_nm)

    @classmethod
    def of_maps(
        cls, x_nm: np.ndarray, y_nm: np.ndarray, entrance_z_nm: np.ndarray, exit_z_nm: np.ndarray, field_nm: tuple[float, float]
    ) -> FoilFaces | None:
        """Least-squares faces of height maps (Y, X) over x (X,), y (Y,); None where all is vacuum."""
        x, y = np.meshgrid(x_nm, y_nm)
        top, bottom = entrance_z_nm, exit_z_nm
        filled = top > bottom
        if filled.sum() < 6:
            return None
        scale = max(np.abs(x).max(), np.abs(y).max(), 1.0)
        basis = monomials(x[filled] / scale, y[filled] / scale)
        powers = scale ** np.array([0, 1, 1, 2, 2, 2])
        top, bottom = (np.linalg.lstsq(basis, z[filled], rcond=None)[0] / powers for z in (top, bottom))
        return cls(entrance=top, exit=bottom, field_nm=field_nm)

    @cached_property
    def normal_image(self) -> np.ndarray:
        """Unit normal of the mean plane at the field's centre, toward the gun."""
        slope = (self.entrance[1:3] + self.exit[1:3]) / 2
        n = np.array([-slope[0], -slope[1], 1.0])
        return n / np.linalg.norm(n)

    @cached_property
    def foil_from_image(self) -> np.ndarray:
        """Rotation to the frame X, Y in the mean plane, Z along its normal; the image's own for an untilted foil."""
        n = self.normal_image
        x = np.array([1.0, 0, 0]) - n[0] * n
        x /= np.linalg.norm(x)
        return np.stack([x, np.cross(n, x), n])

    @cached_property
    def foil_from_xy(self) -> np.ndarray:
        """X, Y in the mean plane (2, 2) from image x, y of a point of it."""
        rotation = self.foil_from_image
        return rotation[:2] @ np.array([[1, 0], [0, 1], -rotation[2, :2] / rotation[2, 2]])

    @cached_property
    def thickness_nm(self) -> float:
        """Mean thickness along the normal over the part of the field that holds foil."""
        x, y = np.meshgrid(*(np.linspace(-n / 2, n / 2, 33) for n in self.field_nm))
        extent = monomials(x, y) @ (self.entrance - self.exit)
        extent = extent[extent > 0]
        return float(extent.mean() * self.normal_image[2]) if extent.size else 0.0


def monomials(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(1, x, y, x^2, xy, y^2) (..., 6)."""
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)


@dataclass(frozen=True, kw_only=True, eq=False)
class CutLines:
    """Lines cut at the faces: `inside`, their `continuation` outside along `outward`, and the places of both.

    An outcrop (O) has its place in the image frame, its side (+1 entrance, -1 exit), the Burgers vector of the
    line that leaves there with `outward` the direction of its inner part, pointing out of the foil, and `onward` the
    one in which its continuation begins; `owner` is the inner segment that ends there. `through_place_nm`,
    `through_burgers_nm` (G, 3) are the endless normals, up the gun's side, on which the continuations of each connected group of lines end.
    """

    inside: Segments
    continuation: Segments
    through_place_nm: np.ndarray
    through_burgers_nm: np.ndarray
    place_nm: np.ndarray
    side: np.ndarray
    outward: np.ndarray
    onward: np.ndarray
    burgers_nm: np.ndarray
    line: np.ndarray
    owner: np.ndarray
    normal: np.ndarray

    def steep(self, sine: float) -> np.ndarray:
        """Outcrops at which the line meets the face at more than the angle of that sine."""
        return np.flatnonzero(np.abs(self.outward @ self.normal) >= sine)

    @property
    def segments(self) -> Segments:
        """Inner parts and continuation together."""
        a, b = self.inside, self.continuation
        return Segments(
            start_nm=np.concatenate([a.start_nm, b.start_nm]), end_nm=np.concatenate([a.end_nm, b.end_nm]),
            burgers_nm=np.concatenate([a.burgers_nm, b.burgers_nm]), line=np.concatenate([a.line, b.line]),
        )  # fmt: skip


def cut_lines(segments: Segments, faces: FoilFaces, straight_on: bool = False) -> CutLines:
    """Cut lines at the faces and continue them outside, so that what is connected comes together again far away.

    A continuation runs along the foil normal, or along the line's own tangent if `straight_on`, up to CLEARANCE
    thicknesses above the face, then level to the middle of its connected group's outcrops, and on along the
    normal. All that a group and the endless normal there with its Burgers vector differ by are closed loops, whose
    tractions fall as 1/r^3. What lies outside, or in a face, is dropped: a line in a free surface is a step without
    stress.
    """
    start, along = segments.start_nm, segments.end_nm - segments.start_nm
    cuts = [np.zeros(len(segments)), np.ones(len(segments))]
    for face in (faces.entrance, faces.exit):
        cuts.extend(_crossings(start, along, face))
    cuts = np.sort(np.clip(np.stack(cuts, axis=1), 0, 1), axis=1)
    parts, ends, order, kept = [], [], [], 0
    for i in range(cuts.shape[1] - 1):
        first, last = cuts[:, i], cuts[:, i + 1]
        middle = start + ((first + last) / 2)[:, None] * along
        above, below = heights_nm(middle, faces)
        length = (last - first) * np.linalg.norm(along, axis=1)
        keep = np.flatnonzero((above > ON_FACE_NM) & (below > ON_FACE_NM) & (length > ON_FACE_NM))
        a, b = start[keep] + first[keep, None] * along[keep], start[keep] + last[keep, None] * along[keep]
        parts.append((a, b, segments.burgers_nm[keep], segments.line[keep]))
        for points, sense in ((a, -1.0), (b, 1.0)):
            above, below = heights_nm(points, faces)
            side = np.where(above < below, 1.0, -1.0)
            out = np.minimum(above, below) < ON_FACE_NM
            tangent = sense * along[keep] / np.linalg.norm(along[keep], axis=1, keepdims=True)
            # Burgers vectors are those of a line that runs outward.
            burgers = sense * segments.burgers_nm[keep]
            ends.append((points[out], side[out], tangent[out], burgers[out], segments.line[keep][out], kept + np.flatnonzero(out)))
        order.append(keep * cuts.shape[1] + i)
        kept += len(keep)
    order = np.argsort(np.concatenate(order))
    a, b, burgers, line = (np.concatenate(p)[order] for p in zip(*parts))
    place, side, outward, end_burgers, end_line, owner = (np.concatenate(p) for p in zip(*ends))
    owner = np.argsort(order)[owner]
    n, up = faces.normal_image, side[:, None] * faces.normal_image
    sine = np.einsum("oi,oi->o", outward, up)[:, None]
    onward = np.where(straight_on & (sine > 0.1), outward, up)
    corner = place + CLEARANCE * faces.thickness_nm * onward / np.einsum("oi,oi->o", onward, up)[:, None]
    group, middle, through = _gathered(_connected(a, b)[owner], place, side, end_burgers)
    foot = middle[group] + np.einsum("oi,i->o", corner - middle[group], n)[:, None] * n
    level = np.linalg.norm(foot - corner, axis=1) > ON_FACE_NM
    return CutLines(
        inside=Segments(start_nm=a, end_nm=b, burgers_nm=burgers, line=line),
        continuation=Segments(
            start_nm=np.concatenate([place, corner[level], foot]),
            end_nm=np.concatenate([corner, foot[level], foot + ENDLESS_NM * up]),
            burgers_nm=np.concatenate([end_burgers, end_burgers[level], end_burgers]),
            line=np.concatenate([end_line, end_line[level], end_line]),
        ),
        through_place_nm=middle, through_burgers_nm=through,
        place_nm=place, side=side, outward=outward, onward=onward, burgers_nm=end_burgers, line=end_line,
        owner=owner, normal=n,
    )  # fmt: skip


def merged(segments: Segments, length_nm: float) -> Segments:
    """Neighbours of one line joined, end to start, to chords of at most that length: no end comes free."""
    start, end, burgers, line = segments.start_nm, segments.end_nm, segments.burgers_nm, segments.line
    if len(start) == 0:
        return segments
    apart = (np.abs(start[1:] - end[:-1]).max(axis=1) > ON_FACE_NM) | (line[1:] != line[:-1])
    apart = np.concatenate([[True], apart | (np.abs(burgers[1:] - burgers[:-1]).max(axis=1) > 0)])
    first, room = [], 0.0
    for i, (new, length) in enumerate(zip(apart.tolist(), np.linalg.norm(end - start, axis=1).tolist())):
        room -= length
        if new or room < 0:
            first.append(i)
            room = length_nm - length
    first = np.array(first)
    last = np.append(first[1:], len(start)) - 1
    # A loop shorter than that has no chord, and no part in what is far.
    whole = np.linalg.norm(end[last] - start[first], axis=1) > ON_FACE_NM
    first, last = first[whole], last[whole]
    return Segments(start_nm=start[first], end_nm=end[last], burgers_nm=burgers[first], line=line[first])


def _connected(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """A number for each segment, the same for all that hang together by their ends."""
    count = len(start)
    if count == 0:
        return np.zeros(0, dtype=int)
    ends = cKDTree(np.concatenate([start, end])).query_pairs(10 * ON_FACE_NM, output_type="ndarray") % count
    touch = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
    return connected_components(touch, directed=False)[1]


def _gathered(
    group: np.ndarray, place: np.ndarray, side: np.ndarray, burgers: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of the groups that have outcrops (O,), the middles of their outcrops and the b of the normal there (G, 3)."""
    _, group = np.unique(group, return_inverse=True)
    count = int(group.max()) + 1 if len(group) else 0
    middle, through = np.zeros((count, 3)), np.zeros((count, 3))
    np.add.at(middle, group, place / np.bincount(group, minlength=count)[group][:, None])
    # What goes up above comes up from below: half of both together, also where a line ends within the foil.
    np.add.at(through, group, side[:, None] * burgers / 2)
    return group, middle, through


def heights_nm(points: np.ndarray, faces: FoilFaces) -> tuple[np.ndarray, np.ndarray]:
    """Depths below the entrance face and heights above the exit face, along the beam."""
    basis = monomials(points[:, 0], points[:, 1])
    return basis @ faces.entrance - points[:, 2], points[:, 2] - basis @ faces.exit


def _crossings(start: np.ndarray, along: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parameters of the two crossings of segments with a face, 0 where there is none."""
    c0 = monomials(start[:, 0], start[:, 1]) @ face - start[:, 2]
    x, y, u, v = start[:, 0], start[:, 1], along[:, 0], along[:, 1]
    c1 = face[1] * u + face[2] * v + 2 * face[3] * x * u + face[4] * (x * v + y * u) + 2 * face[5] * y * v - along[:, 2]
    c2 = face[3] * u * u + face[4] * u * v + face[5] * v * v
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(c1 * c1 - 4 * c2 * c0)
        q = -(c1 + np.where(c1 < 0, -1, 1) * root) / 2
        first, second = c0 / q, q / c2
    return tuple(np.where(np.isfinite(t), t, 0.0) for t in (first, second))
