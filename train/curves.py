"""Curves in the image plane: what a traced line is, and the geometry of polylines.

Axes: V vertices of a curve. Pixel coordinates: x right, y down, (0, 0) at the centre of the top-left pixel.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from render.rasterise import line_mask

FRAME_MARGIN_PX = 2.5  # an end this near to the frame's edge belongs to a line that goes on outside


@dataclass(frozen=True, kw_only=True, eq=False)
class TracedLine:
    """A dislocation found in an image: its curve `points_px` (V, 2) and its `half_width_px` (V,), half the FWHM.

    A closed loop repeats its first vertex. `confidence` in [0, 1] is the chance that this is one true line; `flags` name
    what a person should look at: "loop", "touches_frame", "ambiguous_crossing" (under 22 degrees, where no decoder can
    tell crossing from touching), "bridged_gap". `sigma_px` (V,) is the standard deviation of the vertices across the
    line, `features` what the confidence was made from.
    """

    points_px: np.ndarray
    half_width_px: np.ndarray
    confidence: float
    flags: tuple[str, ...] = ()
    sigma_px: np.ndarray | None = None
    features: np.ndarray | None = None

    @property
    def length_px(self) -> float:
        return length_px(self.points_px)

    @property
    def width_px(self) -> float:
        """Median full width at half maximum."""
        return 2.0 * float(np.median(self.half_width_px))

    @property
    def is_loop(self) -> bool:
        return is_closed(self.points_px)

    def mask(self, shape: tuple[int, int]) -> np.ndarray:
        """Mask (Y, X) bool of the line, by the same rule as a label's."""
        return line_mask(self.points_px, self.half_width_px, shape)


def is_closed(points_px: np.ndarray) -> bool:
    """Whether a curve repeats its first vertex."""
    return len(points_px) > 3 and bool(np.array_equal(points_px[0], points_px[-1]))


def arc_px(points_px: np.ndarray) -> np.ndarray:
    """Arc length (V,) at the vertices, 0 at the first."""
    steps = np.diff(np.asarray(points_px, dtype=np.float64), axis=0)
    return np.concatenate([[0.0], np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))])


def length_px(points_px: np.ndarray) -> float:
    return float(arc_px(points_px)[-1])


def point_at(points_px: np.ndarray, at_px: float) -> np.ndarray:
    """The point (2,) of a curve (V, 2) at an arc length."""
    arc = arc_px(points_px)
    return np.array([np.interp(at_px, arc, column) for column in np.asarray(points_px, dtype=np.float64).T])


def b_spline(points_px: np.ndarray, off_px: float = 0.1) -> dict[str, Any]:
    """A curve (V, 2) as a cubic B-spline {"degree", "knots", "control_px"} that stays within about `off_px` of its vertices (rms).

    Knots run from 0 to the length in px. Few vertices make a spline of lower degree (Dierckx 1982).
    """
    from scipy.interpolate import splprep

    points = np.asarray(points_px, dtype=np.float64)
    arc = arc_px(points)
    new = np.concatenate([[True], np.diff(arc) > 0])
    points, arc = points[new], arc[new]
    if len(points) < 2:
        return {"degree": 0, "knots": [], "control_px": np.round(points, 2).tolist()}
    degree = min(3, len(points) - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        (knots, control, degree), _ = splprep(points.T, u=arc, k=degree, s=len(points) * off_px**2)
    return {"degree": int(degree), "knots": np.round(knots, 3).tolist(), "control_px": np.round(np.stack(control, axis=1), 3).tolist()}


def resample(points_px: np.ndarray, step_px: float) -> np.ndarray:
    """Points at equal arc length about `step_px` apart, both ends kept (V', 2).

    Further columns of `points_px` (V, 2 + C), such as a width, are interpolated alike.
    """
    points_px = np.asarray(points_px, dtype=np.float64)
    arc = arc_px(points_px)
    count = max(2, int(round(arc[-1] / step_px)) + 1)
    at = np.linspace(0.0, arc[-1], count)
    return np.stack([np.interp(at, arc, column) for column in points_px.T], axis=-1)


def smooth(points_px: np.ndarray, wavelength_px: float, step_px: float = 1.0) -> np.ndarray:
    """A smoothing spline through a curve: wiggles shorter than `wavelength_px` are halved or more.

    The discrete cubic smoothing spline (Whittaker 1923; Reinsch 1967) on points resampled to `step_px`:
    argmin sum |q - p|^2 + lambda sum |second difference of q|^2, whose response to a wave of period T is
    1 / (1 + lambda (2 pi step / T)^4). A closed curve is smoothed round its seam.
    """
    from train.spline import smoothing_spline

    return smoothing_spline(points_px, np.ones(len(points_px)), wavelength_px, step_px)[0]


def clip_to_frame(points_px: np.ndarray, shape: tuple[int, int]) -> list[np.ndarray]:
    """The pieces of a curve inside the frame of `shape` (Y, X): within the outermost pixels' outer edges.

    Segments are cut where they cross the edge. A closed curve that is cut starts at a cut, not at its seam.
    Further columns of `points_px` (V, 2 + C) are interpolated at the cuts.
    """
    points = np.asarray(points_px, dtype=np.float64)
    low, high = np.array([-0.5, -0.5]), np.array([shape[1] - 0.5, shape[0] - 0.5])
    inside = ((points[:, :2] >= low) & (points[:, :2] <= high)).all(axis=1)
    if inside.all():
        return [points]
    if is_closed(points) and inside.any():
        first = int(np.flatnonzero(~inside)[0])
        points = np.concatenate([points[first:-1], points[: first + 1]])
    a, b = points[:-1], points[1:]
    start, delta = a[:, :2], b[:, :2] - a[:, :2]
    moves = delta != 0
    # Where a segment crosses the edges, as a share of its length; one along an axis lies between its edges or outside.
    to_low, to_high = ((edge - start) / np.where(moves, delta, 1.0) for edge in (low, high))
    between = (low <= start) & (start <= high)
    enter = np.where(moves, np.minimum(to_low, to_high), np.where(between, 0.0, np.inf)).max(axis=1).clip(min=0.0)
    leave = np.where(moves, np.maximum(to_low, to_high), 1.0).min(axis=1).clip(max=1.0)
    kept = enter <= leave
    a, b, enter, leave = a[kept], b[kept], enter[kept, None], leave[kept, None]
    begin, end = a + enter * (b - a), np.where(leave == 1.0, b, a + leave * (b - a))
    new = (enter[1:, 0] > 0) | (end[:-1] != a[1:]).any(axis=1)
    first = np.flatnonzero(np.append(True, new))[: len(a)]
    return [np.concatenate([begin[i : i + 1], end[i:j]]) for i, j in zip(first, np.append(first[1:], len(a)))]


def distance_px(points_px: np.ndarray, curve_px: np.ndarray, reach_px: float = np.inf) -> np.ndarray:
    """Distance (V,) of points (V, 2) to the nearest point of a polyline; beyond `reach_px` it may be inf."""
    points = np.ascontiguousarray(points_px, dtype=np.float64)
    return _distance(points, np.ascontiguousarray(curve_px, dtype=np.float64), float(reach_px))


@numba.njit(cache=True, error_model="numpy")
def _distance(points: np.ndarray, curve: np.ndarray, reach: float) -> np.ndarray:
    out = np.full(len(points), np.inf)
    for k in range(max(1, len(curve) - 1)):
        ax, ay = curve[k]
        bx, by = curve[min(k + 1, len(curve) - 1)]
        dx, dy = bx - ax, by - ay
        length_sq = dx * dx + dy * dy
        for i in range(len(points)):
            x, y = points[i]
            if x < min(ax, bx) - reach or x > max(ax, bx) + reach or y < min(ay, by) - reach or y > max(ay, by) + reach:
                continue
            t = 0.0
            if length_sq > 0.0:
                t = min(1.0, max(0.0, ((x - ax) * dx + (y - ay) * dy) / length_sq))
            ex, ey = x - ax - t * dx, y - ay - t * dy
            square = ex * ex + ey * ey
            if square < out[i]:
                out[i] = square
    return np.sqrt(out)


def touches_frame(points_px: np.ndarray, shape: tuple[int, int]) -> bool:
    """Whether an end of a curve lies at the frame's edge."""
    ends = np.asarray(points_px)[[0, -1]]
    edge = np.minimum(ends, np.array([shape[1] - 1, shape[0] - 1]) - ends).min(axis=1)
    return bool((edge < FRAME_MARGIN_PX).any())


def headings(points_px: np.ndarray) -> np.ndarray:
    """Unit tangents (V, 2) of a curve with vertices about 1 px apart, over chords of about 6 px."""
    i = np.arange(len(points_px))
    delta = points_px[np.minimum(i + 3, len(points_px) - 1)] - points_px[np.maximum(i - 3, 0)]
    return delta / np.maximum(np.hypot(delta[:, 0], delta[:, 1]), 1e-9)[:, None]


@dataclass(frozen=True)
class Crossing:
    """Where true curves `first` and `second` cross, at which arc length (px) of each, under which angle."""

    first: int
    second: int
    at_first_px: float
    at_second_px: float
    angle_deg: float


def find_crossings(curves_px: Sequence[np.ndarray]) -> list[Crossing]:
    """All proper crossings between different curves; tangents are chords over about 6 px."""
    found = []
    if not len(curves_px):
        return found
    tangents = [headings(c) for c in curves_px]
    arcs = [arc_px(c) for c in curves_px]
    low, high = np.array([c.min(axis=0) for c in curves_px]), np.array([c.max(axis=0) for c in curves_px])
    for i, a in enumerate(curves_px):
        for j in np.flatnonzero((low[i] <= high[:i]).all(axis=1) & (low[:i] <= high[i]).all(axis=1)).tolist():
            b = curves_px[j]
            for ka, kb, ta, tb in _intersections(a, b).tolist():
                ka, kb = int(ka), int(kb)
                cosine = min(1.0, abs(float(tangents[i][ka] @ tangents[j][kb])))
                found.append(
                    Crossing(
                        i, j,
                        float(arcs[i][ka] + ta * (arcs[i][ka + 1] - arcs[i][ka])),
                        float(arcs[j][kb] + tb * (arcs[j][kb + 1] - arcs[j][kb])),
                        float(np.degrees(np.arccos(cosine))),
                    )
                )  # fmt: skip
    return found


@numba.njit(cache=True, error_model="numpy")
def _intersections(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rows (segment of a, segment of b, t along a, t along b) of segments that start within 8 px of each other."""
    out = np.empty((4 * (len(a) + len(b)), 4))
    count = 0
    # The longest step along b, at least a billionth of a pixel.
    step = 1e-9
    for j in range(len(b) - 1):
        step = max(step, abs(b[j + 1, 0] - b[j, 0]) + abs(b[j + 1, 1] - b[j, 1]))
    for i in range(len(a) - 1):
        px, py = a[i]
        rx, ry = a[i + 1, 0] - px, a[i + 1, 1] - py
        j = 0
        while j < len(b) - 1:
            qx, qy = b[j, 0] - px, b[j, 1] - py
            off = abs(qx) + abs(qy)
            if off > 8.0:
                # In steps of this length no vertex of b comes near before that one.
                j += max(1, int((off - 8.0) / step))
                continue
            sx, sy = b[j + 1, 0] - b[j, 0], b[j + 1, 1] - b[j, 1]
            j += 1
            det = rx * sy - ry * sx
            if det == 0.0:
                continue
            t = (qx * sy - qy * sx) / det
            u = (qx * ry - qy * rx) / det
            if 0.0 <= t < 1.0 and 0.0 <= u < 1.0 and count < len(out):
                out[count, 0], out[count, 1], out[count, 2], out[count, 3] = i, j - 1, t, u
                count += 1
    return out[:count]
