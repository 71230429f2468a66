"""Intensity across each line by itself at its probes, and what is read off a profile: its extreme, half-width and middle.

Axes: P profiles, M columns of each, F faults.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from physics.contrast.columns import column_values, plane_waves
from physics.contrast.profiles import across_nm, line_profiles
from physics.dislocation import Dislocation
from physics.strain.chords import chord_trees
from render.foil import local_excitation_error_inv_nm
from render.label_curves import Curves
from render.scene import Scene
from render.specimen import Specimen, fault_heights, lines_alone, segments

# Slices of the general route; steps are finer near the line by themselves.
PROBE_SLICE_NM = 2.0
LEAST_BACKGROUND = 1e-3
# A profile is interpolated to this many points an interval between columns.
FINE = 8
MIDDLE_REACH = 0.7
# The contrast of a column that no electron leaves.
BLACK, _ONE = np.float32(-1), np.float32(1)


def profiles_alone(
    lines: tuple[Dislocation, ...], curves: Curves, line_of: np.ndarray, reach_nm: float, scene: Scene, specimen: Specimen,
    fast: bool = True,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Contrast (P, M) of each probe's line alone, relative to the perfect foil, and the same less what faults make.

    `line_of` (P,) is the number in `lines` of each probe's dislocation. The field of a partial is that of a
    dislocation only together with the cut that its fault makes, so partials are taken with the Scene's faults: the
    second array leaves out the fringes that these show without the line, and equals the first where there are none.
    `fast` takes the compiled two-beam profiles of an isotropic crystal; else every column goes through
    `column_values`, as the image does.
    """
    partial = np.zeros(len(line_of), dtype=bool)
    if scene.faults:
        # Many lines share few Burgers vectors.
        perfect = {b: scene.crystal.is_lattice_vector(b) for b in {tuple(line.burgers_uvw) for line in lines}}
        partial = np.array([not perfect[tuple(line.burgers_uvw)] for line in lines], dtype=bool)[line_of]
    route = _compiled if fast else _by_columns
    with_line, without = route(lines, curves, line_of, reach_nm, scene, specimen, partial)
    perfect = without
    if partial.any():
        perfect = without.copy()
        perfect[partial] = perfect_intensity(*columns_across(curves, across_nm(reach_nm), partial), scene, specimen)
    # Over a bent foil the background may vanish in single columns: the mean over the columns, densest at the core, where
    # that is more. No column loses more than the intensity that it has: a contrast is never below -1.
    least = np.maximum(np.maximum(perfect, perfect.mean(axis=1, keepdims=True)), np.float32(LEAST_BACKGROUND))
    relative = (with_line - perfect) / least
    return relative, (with_line - without) / least if partial.any() else relative


def _compiled(
    lines: tuple[Dislocation, ...], curves: Curves, line_of: np.ndarray, reach_nm: float, scene: Scene, specimen: Specimen,
    partial: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    (alone,) = lines_alone(scene, specimen, lines)
    trees = chord_trees(alone.segments, len(lines), specimen.g_image_inv_nm, specimen.poisson_ratio, scene.core_nm)
    heights, phases, number = None, None, None
    if partial.any():
        heights, phases = fault_heights(scene, specimen, *columns_across(curves, across_nm(reach_nm), partial))
        number = np.where(partial, np.cumsum(partial) - 1, -1)
    across = reach_nm * np.array([-1.0, 0.0, 1.0]) if scene.foil.smooth else across_nm(reach_nm)
    entrance_nm, exit_nm, s_inv_nm = surroundings(*columns_across(curves, across), scene, specimen)
    thickest_nm = float((specimen.foil.entrance_z_nm - specimen.foil.exit_z_nm).max())
    offsets, weights = plane_waves(specimen.spread, specimen.g_image_inv_nm, None, thickest_nm)
    return line_profiles(
        trees, alone, line_of, curves.at_nm, curves.normal, reach_nm, entrance_nm, exit_nm, s_inv_nm, specimen.two_beam,
        fault_z_nm=heights, fault_phase_rad=phases, fault_profile=number, image=scene.beam.image,
        offsets_inv_nm=offsets[:, 1], weights=weights,
    )  # fmt: skip


def _by_columns(
    lines: tuple[Dislocation, ...], curves: Curves, line_of: np.ndarray, reach_nm: float, scene: Scene, specimen: Specimen,
    partial: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    chosen = 0 if scene.beam.image == "bf" else 1
    across = across_nm(reach_nm)
    with_line, without = np.empty((2, len(line_of), len(across)), np.float32)
    alone = lines_alone(scene, specimen, lines)
    none = segments(scene, specimen, ())
    for number in range(len(lines)):
        own = line_of == number
        if not own.any():
            continue
        x_nm, y_nm = columns_across(curves, across, own)
        entrance_nm, exit_nm, s_inv_nm = surroundings(x_nm, y_nm, scene, specimen)
        heights, phases = fault_heights(scene, specimen, x_nm, y_nm) if partial[own].any() else (None, None)
        plates = tuple(each.of_line(number) for each in alone)
        for target, line, plate in ((with_line, plates[0].segments, plates), (without, none, None)):
            if plate is None and heights is None:
                target[own] = perfect_intensity(x_nm, y_nm, scene, specimen)
                continue
            values = column_values(
                line, specimen.g_image_inv_nm, specimen.two_beam, x_nm.ravel(), y_nm.ravel(),
                entrance_nm.ravel(), exit_nm.ravel(), s_inv_nm.ravel(),
                poisson_ratio=specimen.poisson_ratio, stiffness_image_GPa=specimen.stiffness_image_GPa, core_nm=scene.core_nm,
                slice_nm=PROBE_SLICE_NM,
                fault_z_nm=None if heights is None else heights.reshape(len(heights), -1), fault_phase_rad=phases,
                beams=specimen.beams, spread=specimen.spread, plate=plate,
            )[chosen]  # fmt: skip
            target[own] = values.reshape(x_nm.shape)
    return with_line, without


def columns_across(curves: Curves, across: np.ndarray, chosen: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
    """x and y in nm (P, M) of the columns of the probes that are `chosen`."""
    at, normal = curves.at_nm[chosen], curves.normal[chosen]
    return at[:, :1] + across * normal[:, :1], at[:, 1:] + across * normal[:, 1:]


def surroundings(
    x_nm: np.ndarray, y_nm: np.ndarray, scene: Scene, specimen: Specimen
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Entrance and exit heights and excitation error of columns."""
    shape = specimen.foil_shape
    s_inv_nm = np.full(x_nm.shape, scene.beam.s_inv_nm)
    if shape.bent or shape.lipped:
        s_inv_nm = local_excitation_error_inv_nm(scene.crystal, scene.beam, shape, shape.mid_normal(x_nm, y_nm))
    return (*shape.crystal_faces_z_nm(x_nm, y_nm), s_inv_nm)


def perfect_intensity(x_nm: np.ndarray, y_nm: np.ndarray, scene: Scene, specimen: Specimen) -> np.ndarray:
    entrance_nm, exit_nm, s_inv_nm = surroundings(x_nm, y_nm, scene, specimen)
    background = specimen.perfect_columns(s_inv_nm, np.maximum(entrance_nm - exit_nm, 0))
    return background[0 if scene.beam.image == "bf" else 1]


def profile_contrast(
    across: np.ndarray, relative: np.ndarray, without_faults: np.ndarray | None = None, centre_nm: np.ndarray | None = None,
    near_nm: float | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Signed extreme (P,), half the FWHM (P,) and middle (P,), the last two in nm, of profiles (P, M) over `across` (M,).

    The full width is that of the stretch around the extreme in which |profile| stays above half of it. The middle is
    the mean position weighted by what of |profile| exp(-(u / (MIDDLE_REACH reach))^2) exceeds half its extreme: of a
    single peak its centre, of two comparable ones, dark or bright, the place between, and of a broad background that a
    person would not take for a line, little. It is taken from `without_faults` where that is given.

    With `centre_nm` (P,) and `near_nm` the bell is exp(-((u - centre) / near)^2), and the extreme is the one under it.
    Between columns a profile is the cubic through four of them (Catmull & Rom 1974) in the number of the column, held at
    -1, where there is no electron left.
    """
    own = np.ascontiguousarray(relative, dtype=np.float32)
    for_middle = own if without_faults is None else np.ascontiguousarray(without_faults, dtype=np.float32)
    across = np.ascontiguousarray(across, dtype=np.float64)
    extreme, half_width, middle = np.empty((3, len(own)))
    anywhere = centre_nm is None
    centre = np.zeros(len(own)) if centre_nm is None else np.ascontiguousarray(centre_nm, dtype=np.float64)
    width = MIDDLE_REACH * across[-1] if near_nm is None else near_nm
    _measure(_fine(across), centre, width, anywhere, own, for_middle, extreme, half_width, middle)
    return extreme, half_width, middle


@numba.njit(cache=True, error_model="numpy")
def _fine(values):
    """`values` (M,) with FINE points an interval."""
    count = len(values)
    out = np.empty((count - 1) * FINE + 1, values.dtype)
    for k in range(count - 1):
        b, c = values[k], values[k + 1]
        a = values[k - 1] if k > 0 else 2 * b - c
        d = values[k + 2] if k + 2 < count else 2 * c - b
        for i in range(FINE):
            t = i / FINE
            out[k * FINE + i] = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    out[-1] = values[-1]
    return out


@numba.njit(cache=True, error_model="numpy")
def _measure(u, centre, width, anywhere, relative, without_faults, extreme, half_width, middle):
    last = len(u) - 1
    taper, bell = np.empty((2, len(u)), np.float32)
    for p in range(len(relative)):
        profile = _fine(relative[p])
        peak = 0
        for i in range(last + 1):
            profile[i] = max(profile[i], BLACK)  # between columns a cubic may run below
        for i in range(last + 1):
            taper[i] = math.exp(-(((u[i] - centre[p]) / width) ** 2))
            bell[i] = _ONE if anywhere else taper[i]
        for i in range(last + 1):
            if abs(profile[i]) * bell[i] > abs(profile[peak]) * bell[peak]:
                peak = i
        extreme[p] = profile[peak]
        level = abs(profile[peak]) / 2
        left, right = peak, peak
        while left > 0 and abs(profile[left - 1]) >= level:
            left -= 1
        while right < last and abs(profile[right + 1]) >= level:
            right += 1
        low, high = u[left], u[right]
        if left > 0:
            low -= (u[left] - u[left - 1]) * (abs(profile[left]) - level) / (abs(profile[left]) - abs(profile[left - 1]))
        if right < last:
            high += (u[right + 1] - u[right]) * (abs(profile[right]) - level) / (abs(profile[right]) - abs(profile[right + 1]))
        half_width[p] = (high - low) / 2
        profile = _fine(without_faults[p])
        most = 0.0
        for i in range(last + 1):
            profile[i] = abs(profile[i]) * taper[i]
            most = max(most, profile[i])
        total, moment = 0.0, 0.0
        for i in range(last + 1):
            excess = profile[i] - most / 2
            if excess > 0:
                weight = excess * (u[min(i + 1, last)] - u[max(i - 1, 0)])
                total += weight
                moment += weight * u[i]
        middle[p] = moment / total if total > 0 else 0.0
