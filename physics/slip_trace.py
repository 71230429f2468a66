"""Slip traces: what a gliding dislocation leaves where its plane meets a face that is covered by a film.

A film (oxide, contamination) that does not shear stops a dislocation at its lower side. The line glides on inside the
crystal and trails a segment of its own b along the trace, between film and crystal; the next line adds its b. Under a
free surface a few nanometres away such a segment has most of its strain relaxed, and shows as a weak black and white
pair beside the plane's trace. It exists only where lines have passed, from their ends backward.

Axes: K vertices, N lines. All positions in nm, image frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from physics.clipping import Faces, RoughFaces
from physics.dislocation import Dislocation
from physics.errors import require
from physics.sources import GlidePlane

SLIP_TRACE = "slip_trace"
END_TOLERANCE_NM = 1e-3
_SECANT_STEPS = 30


def under_film(faces: Faces, film_depth_nm: float) -> Faces:
    """The two faces that lines see under films of that depth."""

    def inner(x_nm: np.ndarray, y_nm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        entrance_nm, exit_nm = faces(x_nm, y_nm)
        middle_nm = (entrance_nm + exit_nm) / 2
        return np.maximum(entrance_nm - film_depth_nm, middle_nm), np.minimum(exit_nm + film_depth_nm, middle_nm)

    return RoughFaces(heights_nm=inner, finest_nm=faces.finest_nm) if isinstance(faces, RoughFaces) else inner


def held_traces(
    lines: Sequence[Dislocation], plane: GlidePlane, faces: Faces, *, toward: float, film_depth_nm: float,
    length_nm: float, step_nm: float,
) -> list[Dislocation]:  # fmt: skip
    """Traces of lines of one b on one plane that have glided along `toward` (+1 or -1) times `plane.along`.

    The lines' ends lie `film_depth_nm` below the faces (`under_film`). Between the ends of line k and the one behind it
    the trace holds k b; behind the last it runs on for `length_nm` and ends at the face, where the film has opened.

    Raises InputError where a line is not on the plane.
    """
    inner = under_film(faces, film_depth_nm)
    traces: list[Dislocation] = []
    for line in lines:
        off_nm = np.abs((line.points_nm - plane.point_nm) @ plane.normal_image).max()
        require(off_nm < 0.1, "lines", "lie on the plane whose traces they leave", f"{off_nm:.3g} nm off it")
    for side in (1, -1):
        ends = _ends_at(lines, inner, side)
        ends.sort(key=lambda end: -toward * float(end[1] @ plane.along))  # the foremost first
        for k, (line, end_nm) in enumerate(ends):
            stop = ends[k + 1][1] if k + 1 < len(ends) else None
            points_nm = _along_face(plane, inner, faces, end_nm, stop, side, -toward, length_nm, step_nm)
            if points_nm is None:
                continue
            # The line's b runs out of its end into the trace, or out of the trace into its start.
            leaves = np.array_equal(line.points_nm[-1], end_nm)
            traces.append(Dislocation(
                burgers_uvw=(k + 1) * line.burgers_uvw, points_nm=points_nm if leaves else points_nm[::-1],
                plane_hkl=plane.plane_hkl, kind=SLIP_TRACE,
            ))  # fmt: skip
    return traces


def _ends_at(lines: Sequence[Dislocation], inner: Faces, side: int) -> list[tuple[Dislocation, np.ndarray]]:
    found = []
    for line in lines:
        for end_nm in (line.points_nm[0], line.points_nm[-1]):
            z_nm = inner(end_nm[:1], end_nm[1:2])[0 if side > 0 else 1][0]
            if abs(z_nm - end_nm[2]) < END_TOLERANCE_NM:
                found.append((line, end_nm))
    return found


def _along_face(
    plane: GlidePlane, inner: Faces, faces: Faces, start_nm: np.ndarray, stop_nm: np.ndarray | None, side: int,
    direction: float, length_nm: float, step_nm: float,
) -> np.ndarray | None:  # fmt: skip
    """The plane's meeting with the film's lower side from one end to the next, or `length_nm` on and out."""
    start = float((start_nm - plane.point_nm) @ plane.along)
    stop = start + direction * length_nm if stop_nm is None else float((stop_nm - plane.point_nm) @ plane.along)
    count = max(1, int(np.ceil(abs(stop - start) / step_nm)))
    if (stop - start) * direction <= 0.5:  # one end above the other: no stretch between them
        return None
    along = start + (stop - start) * np.arange(1, count + 1) / count
    rise = float((start_nm - plane.point_nm) @ plane.rise)
    body = [start_nm]
    for a in along[:-1] if stop_nm is not None else along:
        point = _on_face(plane, inner, float(a), rise, side)
        if point is None:
            break
        rise = float((point - plane.point_nm) @ plane.rise)
        body.append(point)
    if stop_nm is not None and len(body) == count:
        body.append(stop_nm)
        return np.array(body)
    if len(body) < 2:
        return None
    out = body[-1].copy()
    out[2] = faces(out[:1], out[1:2])[0 if side > 0 else 1][0]
    if abs(out[2] - body[-1][2]) > 0.05:
        body.append(out)
    return np.array(body)


def _on_face(plane: GlidePlane, inner: Faces, along_nm: float, rise_nm: float, side: int) -> np.ndarray | None:
    """The point of the plane at `along_nm` that lies on the film's lower side, near `rise_nm` (secant method)."""

    def above(rise: float) -> tuple[float, np.ndarray]:
        point = plane.at(along_nm, rise)
        return point[2] - inner(point[:1], point[1:2])[0 if side > 0 else 1][0], point

    r0, r1 = rise_nm, rise_nm + 0.5
    f0, f1 = above(r0)[0], above(r1)[0]
    for _ in range(_SECANT_STEPS):
        if abs(f1) < 1e-6:
            return above(r1)[1]
        if f1 == f0:
            return None
        r0, r1, f0 = r1, r1 - f1 * (r1 - r0) / (f1 - f0), f1
        if abs(r1 - rise_nm) > 1e4:
            return None
        f1 = above(r1)[0]
    return None
