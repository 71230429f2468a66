"""Straight parallel lines through a flat foil: the fast path over the generalised cross-section.

The field of endless parallel lines depends on the distance X beside them and on the height above them alone, so that
a column at (X, Y) is a window of the column at X: from height w above the line down to w - T, w falling as the line
rises along Y (Head, Humble, Clarebrough, Morton & Forwood, Computed Electron Micrographs and Defect Identification,
1973, ch. 3-4). At each X scattering matrices are multiplied once down all heights, and a window is

    (phi_0, phi_g) = matrix(w - T) matrix(w)^-1 (1, 0),

matrix the product from the top down. Its determinant is 1, the inverse the adjugate. The product starts anew every T,
so that absorption never makes it ill-conditioned. X and w lie closer together near a line and near its outcrops; the
image is read off the cross-section by cubic interpolation. All this is double precision.

The lines end nowhere, and the foil has no free surfaces.

Axes: S segments (one a line), U lateral places, W windows, H heights.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import ArrayLike

from physics.contrast.slicing import GAUSS_OFFSET, panel_count
from physics.contrast.two_beam import TwoBeam
from physics.errors import require
from physics.frames import column_positions_nm
from physics.parallel import over_threads
from physics.strain import anisotropic, anisotropic_kernel, isotropic
from physics.strain.segments import Segments

# How far two directions may differ that count as parallel, and a line from the beam's direction.
PARALLEL = 1e-9
# A line counts as endless when it reaches this far, in nm, from the middle of the image: beyond, its ends change
# d(g.u)/dd by less than 1e-6 of what is found at 100 nm.
ENDLESS_NM = 5e3
# Steps of the cross-section as fractions of the distance to the nearest line, and the finest and coarsest.
LATERAL_FRACTION, HEIGHT_FRACTION = 0.08, 0.15
COARSEST_LATERAL_NM, COARSEST_HEIGHT_NM = 8.0, 2.0
# Steps of height in the shortest fringe period 1/sqrt(s^2 + 1/xi_g^2).
STEPS_A_FRINGE = 24


def are_parallel_straight(segments: Segments) -> bool:
    """Whether all segments are parallel, not along the beam, and each is a whole endless line: `straight_lines_image`."""
    if len(segments) == 0:
        return False
    along = segments.end_nm - segments.start_nm
    t = along / np.linalg.norm(along, axis=1)[:, None]
    parallel = np.linalg.norm(np.cross(t, t[0]), axis=1).max() < PARALLEL
    middle = np.einsum("si,si->s", -segments.start_nm, t) / np.linalg.norm(along, axis=1)
    reach = np.linalg.norm(along, axis=1) * np.minimum(middle, 1 - middle)
    return bool(parallel and math.hypot(t[0, 0], t[0, 1]) > 0.05 and reach.min() >= ENDLESS_NM)


def straight_lines_image(
    segments: Segments,
    g_image_inv_nm: ArrayLike,
    two_beam: TwoBeam,
    shape: tuple[int, int],
    pixel_nm: float,
    thickness_nm: float,
    s_inv_nm: float,
    *,
    poisson_ratio: float,
    core_nm: float,
    stiffness_image_GPa: ArrayLike | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Bright- and dark-field image (Y, X) float32 of an untilted flat foil about z = 0, incident beam 1.

    The lines are taken as endless. `stiffness_image_GPa` (6, 6), Voigt in the image frame, makes the crystal
    anisotropic; `poisson_ratio` is then not used. Raises InputError unless `are_parallel_straight`.
    """
    require(are_parallel_straight(segments), "segments", "be parallel endless lines across the beam", len(segments),
            "use column_image")  # fmt: skip
    for name, value in (("pixel_nm", pixel_nm), ("thickness_nm", thickness_nm), ("core_nm", core_nm)):
        require(value > 0, name, "be > 0", value)
    t = segments.end_nm[0] - segments.start_nm[0]
    t = t / np.linalg.norm(t)
    level = math.hypot(t[0], t[1])
    ahead = np.array([t[0], t[1]]) / level
    beside = np.array([-ahead[1], ahead[0]])
    slope = t[2] / level
    # The lines in the cross-section Y = 0: their X, and their height there.
    at = segments.start_nm - np.multiply.outer(segments.start_nm[:, :2] @ ahead / level, t)
    line_x, line_z = at[:, :2] @ beside, at[:, 2]
    x_nm, y_nm = column_positions_nm(shape, pixel_nm)
    corner_x, corner_y = np.meshgrid([x_nm[0], x_nm[-1]], [y_nm[0], y_nm[-1]])
    corners = np.stack([corner_x.ravel(), corner_y.ravel()], axis=1)
    # Window w is the entrance face's height in the cross-section's frame, which sinks as the lines rise.
    windows = thickness_nm / 2 - slope * (corners @ ahead)
    fringe = 1 / math.hypot(s_inv_nm, 1 / two_beam.xi_g_nm)
    lateral = _places((corners @ beside).min(), (corners @ beside).max(), line_x, core_nm, LATERAL_FRACTION, COARSEST_LATERAL_NM)
    coarsest = min(COARSEST_HEIGHT_NM, fringe / STEPS_A_FRINGE)
    outcrops = np.concatenate([line_z, line_z + thickness_nm])
    window = _places(windows.min(), windows.max(), outcrops, core_nm, HEIGHT_FRACTION, coarsest)
    rows = _rows(segments, at, t, g_image_inv_nm, poisson_ratio, core_nm, stiffness_image_GPa)
    section = np.empty((len(lateral), len(window), 2), np.float32)
    heights, first, entry, leave = _heights(window, thickness_nm)
    coupling = np.array([1 / two_beam.xi_g_nm, 1 / two_beam.xi_g_prime_nm])
    over_threads(
        _lateral_places, len(lateral), rows, np.stack([line_x, line_z], axis=1), lateral, heights, first, entry, leave,
        beside, float(s_inv_nm), coupling, core_nm * core_nm, coarsest, section,
    )  # fmt: skip
    section *= np.float32(math.exp(-2 * math.pi * thickness_nm / two_beam.xi_0_prime_nm))
    images = np.empty((2, *shape), np.float32)
    over_threads(
        _read_off, shape[0], section, lateral, _finder(lateral), window, _finder(window), x_nm, y_nm, ahead, beside,
        slope, thickness_nm / 2, images,
    )  # fmt: skip
    return images[0], images[1]


def _rows(segments, at, t, g_image_inv_nm, poisson_ratio, core_nm, stiffness_image_GPa):  # noqa: ANN001, ANN202
    """Rows of the lines, their middles put in the cross-section and their ends out of sight."""
    endless = Segments(start_nm=at - 1e7 * t, end_nm=at + 1e7 * t, burgers_nm=segments.burgers_nm * np.sign(
        np.einsum("si,i->s", segments.end_nm - segments.start_nm, t))[:, None], line=segments.line)  # fmt: skip
    if stiffness_image_GPa is None:
        return isotropic.coefficients(endless, g_image_inv_nm, isotropic.DOWN, poisson_ratio, core_nm)
    return anisotropic.line_coefficients(endless, g_image_inv_nm, anisotropic.DOWN, stiffness_image_GPa, core_nm)


def _places(low: float, high: float, centres: np.ndarray, core_nm: float, fraction: float, coarsest: float) -> np.ndarray:
    """Ascending places from below `low` to above `high`, closer together near `centres`; two to spare at each end."""
    margin = 2 * coarsest + 1e-6
    samples = np.unique(np.concatenate([
        np.linspace(low - margin, high + margin, 257),
        *(c + np.concatenate([-d, [0.0], d]) for c in centres for d in [np.geomspace(core_nm / 4, high - low + 2 * margin, 64)]),
    ]))  # fmt: skip
    samples = samples[(samples >= low - margin) & (samples <= high + margin)]
    distance = np.abs(samples[:, None] - centres).min(axis=1)
    density = 1 / np.minimum(fraction * np.hypot(distance, 1.5 * core_nm), coarsest)
    count = np.concatenate([[0.0], np.cumsum(np.diff(samples) * (density[1:] + density[:-1]) / 2)])
    return np.interp(np.linspace(0, count[-1], max(8, math.ceil(count[-1]) + 1)), count, samples)


def _heights(window: np.ndarray, thickness_nm: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All heights (H,) downward, whether the product starts anew there (H,), and the windows' entry and exit (W,)."""
    top, bottom = window[-1], window[0] - thickness_nm
    starts = top - thickness_nm * np.arange(math.ceil((top - bottom) / thickness_nm + 1e-9) + 1)
    heights = np.unique(np.round(np.concatenate([window, window - thickness_nm, starts]), 9))[::-1].copy()
    index = {name: np.searchsorted(-heights, -np.round(at, 9)) for name, at in (
        ("entry", window), ("leave", window - thickness_nm), ("starts", starts))}  # fmt: skip
    first = np.zeros(len(heights), np.bool_)
    first[index["starts"]] = True
    return heights, first, index["entry"], index["leave"]


def _finder(places: np.ndarray) -> np.ndarray:
    """For equal bins over the places, the last place at or before each bin; a bin holds few places."""
    bins = max(1, min(4096, int((places[-1] - places[0]) / np.diff(places).min())))
    edges = places[0] + (places[-1] - places[0]) * np.arange(bins) / bins
    return np.maximum(np.searchsorted(places, edges, side="right") - 1, 0).astype(np.int64)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _lateral_places(begin, end, rows, lines, lateral, heights, first, entry, leave, beside, s, coupling, core_sq, coarsest, section):
    """BF and DF (U, W, 2) without mean absorption at the lateral places [begin, end)."""
    work = np.empty(anisotropic_kernel.WORK)
    matrices, starts = np.empty((len(heights), 4), np.complex128), np.empty((len(heights), 4), np.complex128)
    block = np.empty(len(heights), np.int64)
    capacity = 4 * len(heights) + 1024
    length, z = np.empty(capacity), np.empty(2 * capacity)
    interval = np.empty(capacity, np.int64)
    q = complex(coupling[0], coupling[1])
    for u in range(begin, end):
        count = 0
        for h in range(len(heights) - 1):
            step, middle = heights[h] - heights[h + 1], (heights[h] + heights[h + 1]) / 2
            nearest_sq = np.inf
            for l in range(len(lines)):
                dx, dz = lateral[u] - lines[l, 0], max(0.0, abs(middle - lines[l, 1]) - step / 2)
                nearest_sq = min(nearest_sq, dx * dx + dz * dz)
            # No window begins or ends in the middle of heights that all windows hold.
            pieces = max(panel_count(step, nearest_sq, core_sq), int(math.ceil(step / coarsest)))
            while count + pieces > len(length):
                length, z = np.concatenate((length, length)), np.concatenate((z, z))
                interval = np.concatenate((interval, interval))
            for i in range(pieces):
                length[count], interval[count] = step / pieces, h
                at = heights[h] - (i + 0.5) * step / pieces
                z[2 * count], z[2 * count + 1] = at + GAUSS_OFFSET * step / pieces, at - GAUSS_OFFSET * step / pieces
                count += 1
        x, y = np.full(2 * count, lateral[u] * beside[0]), np.full(2 * count, lateral[u] * beside[1])
        beta = np.zeros(2 * count)
        for k in range(len(rows)):
            if rows.shape[1] > isotropic.WIDTH:
                anisotropic_kernel.add_row(rows[k], x, y, z, beta, work)
            else:
                isotropic.add_row(rows[k], x, y, z, beta)
        _products(beta, length[:count], interval, first, s, q, matrices, starts, block)
        for w in range(len(entry)):
            # matrix(entry)^-1 (1, 0), on to the end of its block, and from there to the exit.
            a, b = matrices[entry[w], 3], -matrices[entry[w], 2]
            for j in range(block[entry[w]] + 1, block[leave[w]] + 1):
                m = starts[j]
                a, b = m[0] * a + m[1] * b, m[2] * a + m[3] * b
            m = matrices[leave[w]]
            phi_0, phi_g = m[0] * a + m[1] * b, m[2] * a + m[3] * b
            section[u, w, 0] = phi_0.real * phi_0.real + phi_0.imag * phi_0.imag
            section[u, w, 1] = phi_g.real * phi_g.real + phi_g.imag * phi_g.imag


@numba.njit(cache=True, error_model="numpy")
def _products(beta, length, interval, first, s, q, matrices, starts, block):
    """Matrices (H, 4) from the start of each height's block to it, and `starts[j]`, all through block j - 1."""
    a, b, c, d = 1.0 + 0j, 0j, 0j, 1.0 + 0j
    block[0] = 0
    matrices[0, 0], matrices[0, 1], matrices[0, 2], matrices[0, 3] = a, b, c, d
    for n in range(len(length)):
        step = math.pi * length[n]
        turn, eps = s + (beta[2 * n] + beta[2 * n + 1]) / 2, GAUSS_OFFSET * step * (beta[2 * n + 1] - beta[2 * n])
        x = step * step * (turn * turn + q * q * (1 + eps * eps))
        if abs(x.real) + abs(x.imag) < 0.5:
            cosine = 1 - x / 2 * (1 - x / 12 * (1 - x / 30 * (1 - x / 56 * (1 - x / 90))))
            sinc = 1 - x / 6 * (1 - x / 20 * (1 - x / 42 * (1 - x / 72 * (1 - x / 110))))
        else:
            root = np.sqrt(x)
            cosine, sinc = np.cos(root), np.sin(root) / root
        sine = 1j * step * sinc
        m0, m3 = cosine - turn * sine, cosine + turn * sine
        m1, m2 = q * (1 - 1j * eps) * sine, q * (1 + 1j * eps) * sine
        a, c = m0 * a + m1 * c, m2 * a + m3 * c
        b, d = m0 * b + m1 * d, m2 * b + m3 * d
        h = interval[n] + 1
        if n + 1 == len(length) or interval[n + 1] == h:
            block[h] = block[h - 1]
            if first[h]:
                block[h] += 1
                j = block[h]
                starts[j, 0], starts[j, 1], starts[j, 2], starts[j, 3] = a, b, c, d
                a, b, c, d = 1.0 + 0j, 0j, 0j, 1.0 + 0j
            matrices[h, 0], matrices[h, 1], matrices[h, 2], matrices[h, 3] = a, b, c, d


@numba.njit(cache=True, error_model="numpy")
def _weights(places, finder, x, weights):
    """First of four places about x and their cubic Lagrange weights (4,)."""
    last = len(places) - 1
    place = int((x - places[0]) / (places[last] - places[0]) * len(finder))
    k = finder[min(max(place, 0), len(finder) - 1)]
    while k < last - 2 and places[k + 1] <= x:
        k += 1
    k = min(max(k - 1, 0), last - 3)
    p0, p1, p2, p3 = places[k], places[k + 1], places[k + 2], places[k + 3]
    d0, d1, d2, d3 = x - p0, x - p1, x - p2, x - p3
    weights[0] = d1 * d2 * d3 / ((p0 - p1) * (p0 - p2) * (p0 - p3))
    weights[1] = d0 * d2 * d3 / ((p1 - p0) * (p1 - p2) * (p1 - p3))
    weights[2] = d0 * d1 * d3 / ((p2 - p0) * (p2 - p1) * (p2 - p3))
    weights[3] = d0 * d1 * d2 / ((p3 - p0) * (p3 - p1) * (p3 - p2))
    return k


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _read_off(begin, end, section, lateral, lateral_finder, window, window_finder, x_nm, y_nm, ahead, beside, slope, top, images):
    """Interpolate the cross-section (U, W, 2) at the pixels of image rows [begin, end)."""
    across, down = np.empty(4), np.empty(4)
    for i in range(begin, end):
        for j in range(len(x_nm)):
            u = _weights(lateral, lateral_finder, x_nm[j] * beside[0] + y_nm[i] * beside[1], across)
            w = _weights(window, window_finder, top - slope * (x_nm[j] * ahead[0] + y_nm[i] * ahead[1]), down)
            bright, dark = 0.0, 0.0
            for a in range(4):
                bright_a, dark_a = 0.0, 0.0
                for b in range(4):
                    bright_a += down[b] * section[u + a, w + b, 0]
                    dark_a += down[b] * section[u + a, w + b, 1]
                bright += across[a] * bright_a
                dark += across[a] * dark_a
            images[0, i, j], images[1, i, j] = max(bright, 0.0), max(dark, 0.0)
