"""What the network is trained to draw: label curves rasterised as maps lifted in orientation.

A crossing cannot be taken apart in the plane, but in (x, y, theta) the two lines do not touch. The orientation
layers hold each line at its own direction (after orientation scores, Duits & Franken 2010, and the lifted
targets of this project's segmentation study); mask, centreline, half-width, end points and offset are planar.

Axes: K orientation bins, (Yh, Xh) rows and columns of the maps, V vertices of one curve, P pieces of curves.
Pixel (j, i) of the maps sits at image pixel coordinates x = stride i + (stride - 1) / 2, y likewise with j.
Orientation theta = atan2(dy, dx) mod pi in pixel coordinates (y down); bin k is at theta_k = pi k / K.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numba
import numpy as np

from physics.errors import require


class Curve(Protocol):
    """What a target is drawn from: a `render.micrograph.Line`, or anything with these three arrays."""

    points_px: np.ndarray
    half_width_px: np.ndarray
    visible: np.ndarray


@dataclass(frozen=True, kw_only=True)
class TargetSettings:
    """How curves become maps; lengths in image pixels, `bin_reach` in orientation bins.

    `sigma_px` is the profile of centreline and lift across a line, `end_sigma_px` that of end points,
    `bin_reach` the half-base of the triangle over orientation, `distractor_half_width_px` half the width at which
    distractors that are curves are drawn (`train.distractors`). Along a line, invisible gaps shorter than
    `bridged_half_widths` half-widths count as visible (dotted contrast is one line to the eye), and visible pieces
    shorter than `shortest_px` count as invisible.
    """

    stride: int = 2
    orientations: int = 16
    sigma_px: float = 1.8
    end_sigma_px: float = 2.5
    bin_reach: float = 1.4
    bridged_half_widths: float = 4.0
    shortest_px: float = 6.0
    distractor_half_width_px: float = 2.0

    def __post_init__(self) -> None:
        require(self.stride in (1, 2, 4), "stride", "be 1, 2 or 4", self.stride)
        require(8 <= self.orientations <= 64, "orientations", "lie in [8, 64]", self.orientations)
        require(1 <= self.bin_reach <= 3, "bin_reach", "lie in [1, 3]", self.bin_reach)
        for name in ("sigma_px", "end_sigma_px", "distractor_half_width_px"):
            require(getattr(self, name) > 0, name, "be > 0", getattr(self, name))


@dataclass(frozen=True, kw_only=True, eq=False)
class Maps:
    """Targets or predictions of one image.

    `mask`, `centreline`, `ends` (Yh, Xh) and `lift` (K, Yh, Xh) are float32 in [0, 1]; `half_width_px` (Yh, Xh) is
    in image pixels, in a target 0 where no visible line is near; `ignore` (Yh, Xh) bool marks where a target is
    silent: a line is there and leaves no contrast. `offset_px` (2, Yh, Xh) float32 leads from the centre of a map pixel
    to the nearest point (x, y) of the nearest line, in image pixels; it means something where `centreline` exceeds
    about 0.3 and no two lines cross, and adds to a position read off the maps what their pixels round away.
    `distractors` (D, Yh, Xh) float32 in [0, 1] are the groups `train.channels.DISTRACTOR_GROUPS` of what is no line. Both are
    None where they are not known: weights of an older layout, targets drawn from lines alone.
    """

    mask: np.ndarray
    centreline: np.ndarray
    half_width_px: np.ndarray
    ends: np.ndarray
    lift: np.ndarray
    ignore: np.ndarray
    stride: int = 2
    offset_px: np.ndarray | None = None
    distractors: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns (Yh, Xh) of the maps."""
        return self.mask.shape

    @property
    def orientations(self) -> int:
        return len(self.lift)


def target_maps(lines: Iterable[Curve], shape: tuple[int, int], settings: TargetSettings | None = None) -> Maps:
    """Maps of the curves `lines` for an image of `shape` (Y, X); the maps have ceil(shape / stride) pixels.

    lift[k] = max over the points of the curves locally nearest to the pixel, at distance d and with direction
    theta, of exp(-d^2 / 2 sigma^2) max(0, 1 - |theta - theta_k| K / (pi b)), |theta - theta_k| circular mod pi.
    A curve that crosses itself has two such points and sets two orientations.
    """
    settings = settings or TargetSettings()
    size = (-(-shape[0] // settings.stride), -(-shape[1] // settings.stride))
    planar = np.zeros((6, *size), dtype=np.float32)
    lift = np.zeros((settings.orientations, *size), dtype=np.float32)
    ignore = np.zeros(size, dtype=np.bool_)
    pieces = [piece for line in lines for piece in line_pieces(line, settings)]
    if pieces:
        offsets = np.cumsum([0] + [len(points) for points, _, _ in pieces])
        _draw(
            np.concatenate([points for points, _, _ in pieces]),
            np.concatenate([half_width for _, half_width, _ in pieces]),
            offsets,
            np.array([seen for _, _, seen in pieces]),
            settings.stride, settings.sigma_px, settings.end_sigma_px, settings.bin_reach,
            planar, lift, ignore,
        )  # fmt: skip
    mask, centreline, half_width_px, ends = planar[:4]
    return Maps(
        mask=mask, centreline=centreline, half_width_px=half_width_px, ends=ends, lift=lift, ignore=ignore,
        stride=settings.stride, offset_px=planar[4:],
    )  # fmt: skip


def line_pieces(line: Curve, settings: TargetSettings) -> list[tuple[np.ndarray, np.ndarray, bool]]:
    """Cut a line into its visible and invisible pieces: (points_px (V, 2), half_width_px (V,), visible) in float64.

    A segment is visible when both its vertices are. Gaps are bridged and short pieces dropped as TargetSettings
    says; neighbouring pieces share a vertex. A loop that is visible all round stays one closed piece; one that is
    not is cut where its visibility changes.
    """
    points = np.ascontiguousarray(line.points_px, dtype=np.float64)
    half_width = np.ascontiguousarray(line.half_width_px, dtype=np.float64)
    visible = np.asarray(line.visible, dtype=bool)
    if len(points) < 2:
        return []
    seen = visible[:-1] & visible[1:]
    if not seen.any():
        return [(points, half_width, False)]
    closed = len(points) > 3 and bool(np.array_equal(points[0], points[-1]))
    if closed and not seen.all():
        # Start the loop at a change of visibility, so that no piece is split by the loop's arbitrary first vertex.
        first = int(np.flatnonzero(seen & ~np.roll(seen, 1))[0])
        seen = np.roll(seen, -first)
        points = np.concatenate([np.roll(points[:-1], -first, axis=0), points[first : first + 1]])
        half_width = np.concatenate([np.roll(half_width[:-1], -first), half_width[first : first + 1]])
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    if seen.all():
        return [(points, half_width, bool(arc[-1] >= settings.shortest_px))]
    for start, stop in _runs(~seen):
        inside = closed or (start > 0 and stop < len(seen))
        if inside and arc[stop] - arc[start] < settings.bridged_half_widths * half_width[start : stop + 1].mean():
            seen[start:stop] = True
    for start, stop in _runs(seen):
        if arc[stop] - arc[start] < settings.shortest_px:
            seen[start:stop] = False
    runs = [(start, stop, True) for start, stop in _runs(seen)] + [(start, stop, False) for start, stop in _runs(~seen)]
    return [(points[i : j + 1], half_width[i : j + 1], shown) for i, j, shown in sorted(runs)]


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Runs [start, stop) of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(i), int(j)) for i, j in zip(edges[::2], edges[1::2])]


@numba.njit(cache=True, error_model="numpy", nogil=True)
def crossing_map(lift: np.ndarray, level: float = 0.3) -> np.ndarray:
    """Where (Yh, Xh) bool two orientations three or more bins apart both reach `level` in `lift` (K, Yh, Xh)."""
    bins, rows, columns = lift.shape
    crossing = np.zeros((rows, columns), dtype=np.bool_)
    for j in range(rows):
        for i in range(columns):
            best = 0
            for k in range(1, bins):
                if lift[k, j, i] > lift[best, j, i]:
                    best = k
            if lift[best, j, i] < level:
                continue
            for q in range(3, bins - 2):
                if lift[(best + q) % bins, j, i] >= level:
                    crossing[j, i] = True
    return crossing


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _directions(points: np.ndarray, closed: bool) -> np.ndarray:
    """Direction (V,) in radians at the vertices: that of the bisecting tangent, unwrapped along the curve."""
    n = len(points)
    segment = np.empty(n - 1)
    for k in range(n - 1):
        angle = np.arctan2(points[k + 1, 1] - points[k, 1], points[k + 1, 0] - points[k, 0])
        if k > 0:
            angle += 2 * np.pi * np.round((segment[k - 1] - angle) / (2 * np.pi))
        segment[k] = angle
    direction = np.empty(n)
    for k in range(1, n - 1):
        direction[k] = 0.5 * (segment[k - 1] + segment[k])
    direction[0] = segment[0]
    direction[n - 1] = segment[n - 2]
    if closed:
        turn = segment[0] - segment[n - 2]
        turn -= 2 * np.pi * np.round(turn / (2 * np.pi))
        direction[0] = segment[0] - 0.5 * turn
        direction[n - 1] = segment[n - 2] + 0.5 * turn
    return direction


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _along(points: np.ndarray, k: int, x: float, y: float) -> float:
    """Where the foot of (x, y) lies on segment k: 0 at its start, 1 at its end."""
    dx = points[k + 1, 0] - points[k, 0]
    dy = points[k + 1, 1] - points[k, 1]
    length_sq = dx * dx + dy * dy
    return ((x - points[k, 0]) * dx + (y - points[k, 1]) * dy) / length_sq if length_sq > 0 else 0.5


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _draw(points, half_width, offsets, seen, stride, sigma, end_sigma, bin_reach, planar, lift, ignore):
    """Draw visible pieces into `planar` (mask, centreline, half-width, ends, offset x, y) and `lift`, others into `ignore`."""
    bins, rows, columns = lift.shape
    nearest = np.full((rows, columns), np.inf)
    shift = 0.5 * (stride - 1)
    for p in range(len(offsets) - 1):
        curve = points[offsets[p] : offsets[p + 1]]
        widths = half_width[offsets[p] : offsets[p + 1]]
        last = len(curve) - 2
        closed = last > 1 and curve[0, 0] == curve[last + 1, 0] and curve[0, 1] == curve[last + 1, 1]
        direction = _directions(curve, closed)
        for k in range(last + 1):
            reach = max(3.0 * sigma, max(widths[k], widths[k + 1]) + 1.0)
            ax, ay = curve[k]
            bx, by = curve[k + 1]
            i0 = max(0, int(np.ceil((min(ax, bx) - reach - shift) / stride)))
            i1 = min(columns - 1, int(np.floor((max(ax, bx) + reach - shift) / stride)))
            j0 = max(0, int(np.ceil((min(ay, by) - reach - shift) / stride)))
            j1 = min(rows - 1, int(np.floor((max(ay, by) + reach - shift) / stride)))
            for j in range(j0, j1 + 1):
                y = stride * j + shift
                for i in range(i0, i1 + 1):
                    x = stride * i + shift
                    t = _along(curve, k, x, y)
                    # Only feet count, and vertices that are nearer than both their segments: local minima of
                    # the distance along the curve. A segment that merely passes the torch to the next is silent.
                    if t > 1.0:
                        if k < last:
                            if _along(curve, k + 1, x, y) >= 0.0:
                                continue
                        elif closed and _along(curve, 0, x, y) >= 0.0:
                            continue
                        t = 1.0
                    elif t < 0.0:
                        if k > 0 or closed:
                            continue
                        t = 0.0
                    ex = x - ax - t * (bx - ax)
                    ey = y - ay - t * (by - ay)
                    distance = np.sqrt(ex * ex + ey * ey)
                    if distance > reach:
                        continue
                    width = widths[k] + t * (widths[k + 1] - widths[k])
                    if not seen[p]:
                        if distance <= max(width + 1.0, 2.0 * sigma):
                            ignore[j, i] = True
                        continue
                    profile = np.exp(-0.5 * (distance / sigma) ** 2)
                    if distance <= width:
                        planar[0, j, i] = 1.0
                    planar[1, j, i] = max(planar[1, j, i], profile)
                    if distance < nearest[j, i]:
                        nearest[j, i] = distance
                        planar[2, j, i] = width
                        planar[4, j, i] = -ex
                        planar[5, j, i] = -ey
                    position = (direction[k] + t * (direction[k + 1] - direction[k])) * bins / np.pi
                    for k_bin in range(int(np.ceil(position - bin_reach)), int(np.floor(position + bin_reach)) + 1):
                        value = profile * (1.0 - abs(position - k_bin) / bin_reach)
                        wrapped = k_bin % bins
                        if value > lift[wrapped, j, i]:
                            lift[wrapped, j, i] = value
        if seen[p] and not closed:
            for k in (0, last + 1):
                _draw_end(curve[k, 0], curve[k, 1], stride, shift, end_sigma, planar[3])
    for j in range(rows):
        for i in range(columns):
            # A visible line through an invisible one is still to be found.
            if ignore[j, i] and (planar[0, j, i] > 0 or planar[1, j, i] > 0.1):
                ignore[j, i] = False


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _draw_end(x_end, y_end, stride, shift, sigma, ends):
    rows, columns = ends.shape
    reach = 3.0 * sigma
    for j in range(max(0, int(np.ceil((y_end - reach - shift) / stride))), min(rows - 1, int(np.floor((y_end + reach - shift) / stride))) + 1):
        for i in range(max(0, int(np.ceil((x_end - reach - shift) / stride))), min(columns - 1, int(np.floor((x_end + reach - shift) / stride))) + 1):
            square = (stride * i + shift - x_end) ** 2 + (stride * j + shift - y_end) ** 2
            ends[j, i] = max(ends[j, i], np.exp(-0.5 * square / sigma**2))
