"""Labels: from dislocations to curves in the image with width, contrast, depth and visibility.

The contrast along a line is that of the line alone in the perfect foil: the two-beam intensity of columns
across it, relative to the same columns without it. Other lines nearby change the picture but not the label.

Axes: K vertices of a curve, P probed places along it, M columns across it.
"""

from __future__ import annotations

import numpy as np

from physics.contrast.columns import column_values
from physics.contrast.two_beam import perfect_crystal
from physics.dislocation import Dislocation
from physics.frames import field_nm, pixel_from_image
from physics.slip_trace import SLIP_TRACE
from render.foil import local_excitation_error_inv_nm
from render.micrograph import Line
from render.scene import Scene
from render.specimen import Specimen, fault_heights, segments

VERTEX_SPACING_PX = 3.0
PROBE_SPACING_PX = 6.0
COLUMNS_ACROSS = 25
# Steps are finer near the line by themselves; a step of the fourth order this long leaves 1e-3 of the contrast elsewhere.
PROBE_SLICE_NM = 5.0
LEAST_BACKGROUND = 1e-3
LEAST_CONTRAST = 1e-3


def label_lines(scene: Scene, specimen: Specimen) -> tuple[Line, ...]:
    """Labels of every dislocation that has at least one pixel in the frame, in the order of the Scene.

    A dislocation that leaves the foil and comes back is one instance for each piece inside it.
    """
    lines = []
    for dislocation in scene.dislocations:
        if dislocation.kind == SLIP_TRACE:
            continue
        canonical = dislocation.canonical()
        for points_nm in pieces_in_foil(canonical, specimen):
            line = _label(canonical, points_nm, scene, specimen)
            if line is not None and line.mask(scene.shape).any():
                lines.append(line)
    return tuple(lines)


def pieces_in_foil(line: Dislocation, specimen: Specimen) -> list[np.ndarray]:
    """Stretches (K, 3) of a line between the two faces, cut where it meets them; a whole loop stays closed."""
    points = line.points_nm
    shape = specimen.foil_shape
    above = points[:, 2] - shape.face_z_nm(points[:, 0], points[:, 1], 1)
    below = shape.face_z_nm(points[:, 0], points[:, 1], -1) - points[:, 2]
    excess = np.maximum(above, below)  # > 0 outside the foil
    if (excess <= 0).all():
        return [points]
    pieces: list[list[np.ndarray]] = []
    current: list[np.ndarray] = []
    for k in range(len(points) - 1):
        # Linear in each face's excess: exact for flat faces, to second order in the vertex spacing for bent ones.
        start, end = 0.0, 1.0
        for face in (above, below):
            a, b = face[k], face[k + 1]
            if a > 0 and b > 0:
                start, end = 1.0, 0.0
            elif a > 0:
                start = max(start, a / (a - b))
            elif b > 0:
                end = min(end, a / (a - b))
        if start >= end:
            continue
        step = points[k + 1] - points[k]
        if start > 0 or not current:
            current = [points[k] + start * step]
            pieces.append(current)
        current.append(points[k] + end * step)
        if end < 1:
            current = []
    found = [np.array(piece) for piece in pieces if len(piece) > 1]
    if line.closed and len(found) > 1 and excess[0] <= 0:
        # The loop's first vertex lies inside, so that its first and last stretch are one.
        found[0] = np.concatenate([found.pop(), found[0][1:]])
    return found


def _label(line: Dislocation, points_nm: np.ndarray, scene: Scene, specimen: Specimen) -> Line | None:
    reach_nm = contrast_reach_nm(scene, specimen)
    points_nm = _near_field(points_nm, scene, margin_nm=4 * reach_nm + 8 * scene.pixel_nm)
    if len(points_nm) < 2:
        return None
    points_nm = _subdivided(points_nm, VERTEX_SPACING_PX * scene.pixel_nm)
    contrast, half_width_nm = _contrast_along(line, points_nm, scene, specimen, reach_nm)
    points_px = pixel_from_image(points_nm, scene.shape, scene.pixel_nm).astype(np.float32)
    contrast = contrast.astype(np.float32)
    entrance_nm = specimen.foil_shape.face_z_nm(points_nm[:, 0], points_nm[:, 1], 1)
    return Line(
        points_px=points_px,
        half_width_px=np.maximum(half_width_nm / scene.pixel_nm, 1).astype(np.float32),
        contrast=contrast,
        depth_nm=(entrance_nm - points_nm[:, 2]).astype(np.float32),
        core_px=points_px.copy(),
        burgers_uvw=tuple(float(u) for u in line.burgers_uvw),
        plane_hkl=line.plane_of_part(points_nm),
        g_dot_b=float(np.dot(scene.beam.g_hkl, line.burgers_uvw)),
        visible=np.abs(contrast) >= scene.visible_contrast,
        kind=line.kind,
    )


def contrast_reach_nm(scene: Scene, specimen: Specimen) -> float:
    """How far from its core a line's contrast is looked for: the effective extinction distance / 2.

    xi_eff = xi_g / sqrt(1 + (s xi_g)^2); a two-beam image is about xi_eff / 3 wide (Hirsch et al. 1977, ch. 7).
    """
    xi = specimen.two_beam.xi_g_nm
    return max(0.5 * xi / np.hypot(1, scene.beam.s_inv_nm * xi), 12.0)


def _near_field(points_nm: np.ndarray, scene: Scene, margin_nm: float) -> np.ndarray:
    """The line without the ends that run on far outside the frame; what lies between two visits stays."""
    half = np.array(field_nm(scene.shape, scene.pixel_nm)) / 2 + margin_nm
    clipped = [_segment_clip(a[:2], b[:2], half) for a, b in zip(points_nm[:-1], points_nm[1:])]
    inside = [k for k, span in enumerate(clipped) if span is not None]
    if not inside:
        return points_nm[:0]
    first, last = inside[0], inside[-1]
    closed = np.array_equal(points_nm[0], points_nm[-1])
    if closed:
        return points_nm
    start = points_nm[first] + clipped[first][0] * (points_nm[first + 1] - points_nm[first])
    end = points_nm[last] + clipped[last][1] * (points_nm[last + 1] - points_nm[last])
    kept = np.concatenate([[start], points_nm[first + 1 : last + 1], [end]])
    return kept[np.concatenate([[True], np.any(np.diff(kept, axis=0) != 0, axis=1)])]


def _segment_clip(a: np.ndarray, b: np.ndarray, half: np.ndarray) -> tuple[float, float] | None:
    """Parameter span of the segment a-b inside the box |x| <= half[0], |y| <= half[1] (Liang & Barsky 1984)."""
    low, high = 0.0, 1.0
    for p, q in ((a - b, a + half), (b - a, half - a)):
        for rate, room in zip(p, q):
            if rate == 0:
                if room < 0:
                    return None
            elif rate < 0:
                low = max(low, room / rate)
            else:
                high = min(high, room / rate)
    return (low, high) if low <= high else None


def _subdivided(points_nm: np.ndarray, spacing_nm: float) -> np.ndarray:
    """The polyline with every vertex kept and long segments divided evenly, spacing measured in the image."""
    lengths = np.linalg.norm(np.diff(points_nm[:, :2], axis=0), axis=1)
    parts = np.maximum(1, np.ceil(lengths / spacing_nm)).astype(int)
    pieces = [a + (b - a) * np.arange(n)[:, None] / n for a, b, n in zip(points_nm[:-1], points_nm[1:], parts)]
    return np.concatenate([*pieces, points_nm[-1:]])


def _contrast_along(
    line: Dislocation, points_nm: np.ndarray, scene: Scene, specimen: Specimen, reach_nm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Signed extreme contrast (K,) and half-width at half maximum in nm (K,) along a line.

    Both are probed every PROBE_SPACING_PX and interpolated along the arc.
    """
    steps = np.linalg.norm(np.diff(points_nm[:, :2], axis=0), axis=1)
    arc_nm = np.concatenate([[0.0], np.cumsum(steps)])
    probes = max(2, int(np.ceil(arc_nm[-1] / (PROBE_SPACING_PX * scene.pixel_nm))) + 1)
    at_nm = np.linspace(0, arc_nm[-1], probes)
    xy = np.stack([np.interp(at_nm, arc_nm, points_nm[:, i]) for i in (0, 1)], axis=-1)
    normal = _normals(xy, points_nm)
    # Columns lie densest at the core, where weak-beam images are 1-2 nm wide.
    u = np.linspace(-1, 1, COLUMNS_ACROSS)
    across_nm = reach_nm * np.sinh(2.5 * u) / np.sinh(2.5)
    x_nm = xy[:, None, 0] + across_nm * normal[:, None, 0]
    y_nm = xy[:, None, 1] + across_nm * normal[:, None, 1]
    with_line, without = _column_intensities(line, x_nm.ravel(), y_nm.ravel(), scene, specimen)
    without = np.maximum(without.reshape(x_nm.shape), LEAST_BACKGROUND)
    relative = (with_line.reshape(x_nm.shape) - without) / without
    contrast, half_width_nm = profile_contrast(across_nm, relative)
    # Where the contrast of an inclined line passes through zero the width is undefined: weighted by contrast, over
    # an effective extinction distance. A line without contrast has no width and gets the least.
    window = max(1, int(round(reach_nm / (PROBE_SPACING_PX * scene.pixel_nm))))
    weight = np.where(np.abs(contrast) >= LEAST_CONTRAST, np.abs(contrast), 0.0)
    half_width_nm = _weighted_running_mean(half_width_nm, weight, window)
    return np.interp(arc_nm, at_nm, contrast), np.interp(arc_nm, at_nm, half_width_nm)


def profile_contrast(across_nm: np.ndarray, relative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signed extreme (P,) of profiles `relative` (P, M) over `across_nm` (M,), and half their FWHM in nm (P,).

    The full width is that of the stretch around the extreme in which |profile| stays above half of it.
    """
    magnitude = np.abs(relative)
    peak = magnitude.argmax(axis=1)
    rows = np.arange(len(relative))
    contrast = relative[rows, peak]
    fine_nm = np.linspace(across_nm[0], across_nm[-1], 8 * len(across_nm))
    half_width_nm = np.empty(len(relative))
    for i in rows:
        above = np.interp(fine_nm, across_nm, magnitude[i]) >= magnitude[i, peak[i]] / 2
        centre = int(np.abs(fine_nm - across_nm[peak[i]]).argmin())
        below_left = np.flatnonzero(~above[:centre])
        below_right = np.flatnonzero(~above[centre + 1 :])
        left = below_left[-1] + 1 if len(below_left) else 0
        right = centre + below_right[0] if len(below_right) else len(fine_nm) - 1
        half_width_nm[i] = (fine_nm[right] - fine_nm[left]) / 2
    return contrast, half_width_nm


def _normals(xy: np.ndarray, points_nm: np.ndarray) -> np.ndarray:
    tangent = np.gradient(xy, axis=0)
    length = np.linalg.norm(tangent, axis=1, keepdims=True)
    if not length.max() > 1e-9:  # a line along the beam is a dot: any direction across it will do
        return np.tile([1.0, 0.0], (len(xy), 1))
    tangent = tangent / np.maximum(length, 1e-9)
    return np.stack([-tangent[:, 1], tangent[:, 0]], axis=-1)


def _column_intensities(
    line: Dislocation, x_nm: np.ndarray, y_nm: np.ndarray, scene: Scene, specimen: Specimen
) -> tuple[np.ndarray, np.ndarray]:
    """Intensity of the columns at (x, y) with the line alone, and without any line."""
    shape = specimen.foil_shape
    entrance_nm, exit_nm = shape.face_z_nm(x_nm, y_nm, 1), shape.face_z_nm(x_nm, y_nm, -1)
    s_inv_nm = local_excitation_error_inv_nm(scene.crystal, scene.beam, shape, shape.mid_normal(x_nm, y_nm))
    # The field of a partial is that of a dislocation only together with the cut that its fault makes.
    partial = not scene.crystal.is_lattice_vector(line.burgers_uvw)
    fault_z_nm, fault_phase_rad = fault_heights(scene, specimen, x_nm, y_nm) if partial else (None, None)
    bright, dark = column_values(
        segments(scene, specimen, (line,)), specimen.g_image_inv_nm, specimen.two_beam, x_nm, y_nm,
        entrance_nm, exit_nm, s_inv_nm,
        poisson_ratio=specimen.poisson_ratio, core_nm=scene.core_nm, slice_nm=PROBE_SLICE_NM,
        fault_z_nm=fault_z_nm, fault_phase_rad=fault_phase_rad,
    )  # fmt: skip
    background = perfect_crystal(specimen.two_beam, s_inv_nm, np.maximum(entrance_nm - exit_nm, 0))
    chosen = 0 if scene.beam.image == "bf" else 1
    return (bright, dark)[chosen].astype(np.float64), background[chosen]


def _weighted_running_mean(values: np.ndarray, weights: np.ndarray, window: int) -> np.ndarray:
    """Weighted means over 2 `window` + 1 neighbours; 0 where all weights are."""
    kernel = np.ones(2 * window + 1)
    total = np.convolve(weights, kernel, mode="full")[window:-window]
    return np.convolve(values * weights, kernel, mode="full")[window:-window] / np.where(total > 0, total, 1.0)
