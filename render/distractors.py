"""Labels of what is in the picture, looks like a line, and is not a dislocation.

Axes: (Y, X) image rows and columns, K vertices of a curve.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from physics.clipping import divided
from physics.deposit import covered
from physics.frames import column_positions_nm, pixel_from_image
from physics.opening import Opening
from physics.particle import DISCS
from physics.polygon import polygon_covers
from physics.slip_trace import SLIP_TRACE
from render.label_profiles import LEAST_BACKGROUND
from render.labels import effective_extinction_nm, label_lines
from render.micrograph import Distractor
from render.scene import Scene
from render.specimen import LEAST_PHASE_RAD, Specimen, fault_heights

# A bend contour is where the local s passes through 0, this far to each side, in units of 1/xi_g; it is one only where s
# varies over the field by more than CONTOUR_VARIATION of the same.
CONTOUR_HALF_WIDTH = 0.35
CONTOUR_VARIATION = 1.5
# The foil alone shows a line where its intensity differs by this share from the mean over LINE_WIDTH of xi_eff around.
FRINGE_CONTRAST = 0.06
LINE_WIDTH = 1 / 3
# Every so manieth pixel is asked, of two beams and of more.
FRINGE_STEP_PX = (2, 4)
# Foils that vary by less are taken as even: the length of columns, and s xi_g.
STEP_NM, STEP_W = 0.1, 0.01
EDGE_STEP_PX = 4.0  # vertices of an edge stand no farther apart, so that one that crosses the frame has some in it
TORN_STEP_PX = 1.0  # no farther than this from where a tear opens into a hole does its border end
PARTICLE_KINDS = {"coherent_sphere": "precipitate", "plate": "precipitate"}
WIDEST_RIBBON_NM = 20.0


def distractors(scene: Scene, specimen: Specimen) -> tuple[Distractor, ...]:
    """Everything in the frame that is known not to be a dislocation, without what the camera adds."""
    found = (*_slip_traces(scene, specimen), *_deposits(scene, specimen), *_particles(scene, specimen), *_fault_bands(scene, specimen), *_boundary(scene, specimen), *_twins(scene, specimen),
             *_edges(scene, specimen), *_bend_contour(scene, specimen), *_fringes(scene, specimen))  # fmt: skip
    return tuple(d for d in found if _in_frame(d, scene.shape))


def _slip_traces(scene: Scene, specimen: Specimen) -> list[Distractor]:
    """Where the images of the dislocations under a film run that stand for slip traces, as wide as those are."""
    if not any(line.kind == SLIP_TRACE for line in scene.dislocations):
        return []
    return [
        Distractor(kind=SLIP_TRACE, points_px=trace.points_px, mask=trace.mask(scene.shape))
        for trace in label_lines(scene, specimen, traces=True)
    ]


def _deposits(scene: Scene, specimen: Specimen) -> list[Distractor]:
    x_nm, y_nm = column_positions_nm(scene.shape, scene.pixel_nm)
    there = specimen.foil.thickness_nm > 0
    return [Distractor(kind="particle", mask=covered(deposit, x_nm, y_nm) & there) for deposit in scene.deposits]


def _particles(scene: Scene, specimen: Specimen) -> list[Distractor]:
    """Precipitates, voids and clusters, one mask a kind: their own extent, widened to where their strain still shows.

    The image of a sphere of strain epsilon reaches to about r = (epsilon g xi_g R^3)^(1/3) (Ashby & Brown 1963).
    """
    x_nm, y_nm = column_positions_nm(scene.shape, scene.pixel_nm)
    g, xi_nm = float(np.linalg.norm(specimen.g_image_inv_nm)), specimen.two_beam.xi_g_nm
    masks: dict[str, np.ndarray] = {}
    for particle in scene.particles:
        strained = particle.radius_nm**2 * (abs(particle.opening_nm) if particle.kind in DISCS else particle.radius_nm * abs(particle.misfit))
        reach_nm = max(particle.radius_nm, min((strained * g * xi_nm) ** (1 / 3), 3 * particle.radius_nm), scene.pixel_nm)
        at, kind = particle.centre_nm, PARTICLE_KINDS.get(particle.kind, particle.kind)
        mask = masks.setdefault(kind, np.zeros(scene.shape, dtype=bool))
        columns, rows = np.flatnonzero(np.abs(x_nm - at[0]) <= reach_nm), np.flatnonzero(np.abs(y_nm - at[1]) <= reach_nm)
        inside = (x_nm[None, columns] - at[0]) ** 2 + (y_nm[rows, None] - at[1]) ** 2 <= reach_nm**2
        mask[np.ix_(rows, columns)] |= inside
    return [Distractor(kind=kind, mask=mask & (specimen.foil.thickness_nm > 0)) for kind, mask in masks.items()]


def _fault_bands(scene: Scene, specimen: Specimen) -> list[Distractor]:
    """Faults wide enough to show fringes; the ribbon of a dissociated line is part of that line."""
    x_nm, y_nm = np.meshgrid(*column_positions_nm(scene.shape, scene.pixel_nm))
    heights_nm, phases_rad = fault_heights(scene, specimen, x_nm, y_nm)
    if heights_nm is None:
        return []
    # g.R a whole number for every beam: the fault leaves no trace in the image.
    shows = np.abs(phases_rad.reshape(len(phases_rad), -1)).max(axis=1) > LEAST_PHASE_RAD
    wide = np.array([fault.mean_width_nm > WIDEST_RIBBON_NM for fault in scene.faults])
    inside = (heights_nm < specimen.foil.entrance_z_nm) & (heights_nm > specimen.foil.exit_z_nm)
    return [Distractor(kind="fault_band", mask=mask) for mask in inside[shows & wide]]


def _boundary(scene: Scene, specimen: Specimen) -> list[Distractor]:
    """The band in which the boundary lies inside the foil, and the pixels beside an edge-on one."""
    if specimen.foil_shape.foil.boundary is None:
        return []
    first = specimen.foil.entrance_z_nm > specimen.foil.exit_z_nm
    band = first & (specimen.foil.second_grain_nm > 0)
    return [Distractor(kind="boundary", mask=band | (_changes(first) & (specimen.foil.thickness_nm > 0)))]


def _twins(scene: Scene, specimen: Specimen) -> list[Distractor]:
    """The band of each twin in which its boundaries lie inside the foil, and the pixels beside edge-on ones."""
    foil, found = specimen.foil, []
    for twin_nm in foil.twins_nm:
        band = (twin_nm > 0) & (twin_nm < foil.entrance_z_nm - foil.exit_z_nm)
        # Where a twin ends because the first grain does, at a hole or a boundary, that is labelled as what it is.
        found.append(Distractor(kind="boundary", mask=band | _changes(twin_nm > 0, foil.entrance_z_nm > foil.exit_z_nm)))
    return found


def _changes(there: np.ndarray, within: np.ndarray | None = None) -> np.ndarray:
    """Pixels (Y, X) on both sides of a border of a mask, both `within` another where one is given."""
    changes = np.zeros(there.shape, dtype=bool)
    for axis in (0, 1):
        step = np.diff(there, axis=axis)
        if within is not None:
            step &= ~np.diff(within, axis=axis) & np.delete(within, -1, axis=axis)
        changes |= np.pad(step, [(0, 1) if a == axis else (0, 0) for a in (0, 1)])
        changes |= np.pad(step, [(1, 0) if a == axis else (0, 0) for a in (0, 1)])
    return changes


def _edges(scene: Scene, specimen: Specimen) -> list[Distractor]:
    """Borders of holes and tears, and the rolled-up lips of tears. Where one opens into another neither has a border."""
    rolled = specimen.foil.rolled_nm > 0
    found = [Distractor(kind="edge", mask=rolled)] if rolled.any() else []
    openings = [*scene.foil.openings, *(tear.opening for tear in scene.foil.tears)]
    for i, opening in enumerate(openings):
        closed = np.concatenate([opening.outline_nm, opening.outline_nm[:1]])
        others = openings[:i] + openings[i + 1 :]
        fine = divided(closed, (TORN_STEP_PX if others else EDGE_STEP_PX) * scene.pixel_nm)
        for piece in _outside(fine, others):
            points = np.column_stack([piece, np.zeros(len(piece))])
            found.append(Distractor(kind="edge", points_px=pixel_from_image(points, scene.shape, scene.pixel_nm).astype(np.float32)))
    return found


def _outside(closed_nm: np.ndarray, openings: Sequence[Opening]) -> list[np.ndarray]:
    """The parts (K', 2) of a closed curve (K, 2) at whose vertices there is none of `openings`."""
    covered = np.zeros(len(closed_nm), dtype=bool)
    for opening in openings:
        covered |= polygon_covers(opening.outline_nm, closed_nm[:, 0], closed_nm[:, 1])
    if not covered.any():
        return [closed_nm]
    # A cut curve begins at a vertex that is covered, so that no part of it is two.
    first = int(np.argmax(covered))
    points, free = (np.roll(array[:-1], -first, axis=0) for array in (closed_nm, ~covered))
    runs = np.split(np.arange(len(points)), np.flatnonzero(np.diff(free)) + 1)
    return [points[run] for run in runs if free[run[0]] and len(run) > 1]


def _bend_contour(scene: Scene, specimen: Specimen) -> list[Distractor]:
    w = specimen.foil.s_inv_nm * specimen.two_beam.xi_g_nm
    if np.ptp(w) < CONTOUR_VARIATION:
        return []
    contour = (np.abs(w) < CONTOUR_HALF_WIDTH) & (specimen.foil.entrance_z_nm > specimen.foil.exit_z_nm)
    if specimen.foil_shape.lipped:
        # Lips vary w far more than the rest of the foil, which may lie near 0 all over without a contour in it.
        contour &= np.hypot(*np.gradient(w)) * max(scene.shape) >= CONTOUR_VARIATION
    return [Distractor(kind="bend_contour", mask=contour)]


def _fringes(scene: Scene, specimen: Specimen) -> list[Distractor]:
    """Where the foil alone varies as lines do: thickness fringes, the sides of bend contours, steps of terraces.

    Of the first grain, without its twins; the width of a line is about xi_eff / 3 (Hirsch et al. 1977, ch. 7).
    """
    step_px = FRINGE_STEP_PX[0 if specimen.beams is None else 1]
    foil, near = specimen.foil, (slice(None, None, step_px),) * 2
    path_nm, s_inv_nm = (foil.entrance_z_nm - foil.exit_z_nm)[near], foil.s_inv_nm[near]
    there = (path_nm > 0) & (foil.second_grain_nm[near] == 0) & ~(foil.twins_nm[(slice(None), *near)] > 0).any(axis=0)
    if not there.any() or (np.ptp(path_nm[there]) < STEP_NM and np.ptp(s_inv_nm[there]) * specimen.two_beam.xi_g_nm < STEP_W):
        return []
    intensity = np.zeros(path_nm.shape)
    intensity[there] = specimen.perfect_columns(s_inv_nm[there], path_nm[there])[0 if scene.beam.image == "bf" else 1]
    sigma = max(1.0, LINE_WIDTH * effective_extinction_nm(scene, specimen) / (step_px * scene.pixel_nm))
    covered_share, mean = (gaussian_filter(array, sigma, mode="nearest") for array in (there.astype(float), intensity))
    differs = there & (np.abs(intensity * covered_share - mean) > FRINGE_CONTRAST * np.maximum(mean, LEAST_BACKGROUND * covered_share))
    mask = np.repeat(np.repeat(differs, step_px, axis=0), step_px, axis=1)[: scene.shape[0], : scene.shape[1]]
    return [Distractor(kind="fringe", mask=mask)]


def _in_frame(distractor: Distractor, shape: tuple[int, int]) -> bool:
    if distractor.mask is not None:
        return bool(distractor.mask.any())
    x, y = distractor.points_px[:, 0], distractor.points_px[:, 1]
    return bool(((x > -0.5) & (x < shape[1] - 0.5) & (y > -0.5) & (y < shape[0] - 0.5)).any())
