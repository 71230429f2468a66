"""Profiles of intensity across dislocations, each line alone in the foil: two beams, isotropic crystal.

A profile is M columns on a straight line across a dislocation, u_j proportional to sinh(a v_j), v_j even in [-1, 1], with
a such that the innermost two stand `nearest_nm` from the core, 0.3 to 0.6 nm: inside, a core without singularity leaves
a spike narrower than a pixel, which is no part of what is seen. All columns of a profile share panels whose
length follows the distance from the line to the sheet that the columns make; over a panel the equations are solved
by the fourth-order Magnus step of `slicing`. Segments far away act as chords (`strain.chords`), outcrops add the corrections
of their half-spaces (`strain.half_spaces`). The background is integrated in the same way without the line. A profile depends on nothing but its own line and place.

Against `column_values(reference=True)` with 0.5 nm slices, in units of the background (30 curved lines in 100 nm of
aluminium): bright field 4e-3 rms at s = 0, 1e-3 at 0.01 per nm and 1e-4 at 0.05; dark field 4e-3 to 5e-3, where weak-beam
peaks are 30 times the background.

Axes: P profiles, M columns of each, F faults, N panels, L lines.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numba
import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from physics.contrast.slicing import GAUSS_OFFSET, step_matrix
from physics.contrast.two_beam import TwoBeam
from physics.errors import require
from physics.parallel import over_threads
from physics.strain.boxes import PACKED, add_points, pack
from physics.strain.chords import ChordTrees
from physics.strain.half_spaces import HalfSpaces
from physics.strain.isotropic import CORE_SQ, LENGTH, START, T
from physics.strain.outcrop import linear_in_table

COLUMNS_ACROSS = 16
# A panel is at most this fraction of sqrt(distance^2 + core^2) ...
PANEL_FRACTION = 0.7
# ... and turns the two beams by no more than this, pi h sqrt(s^2 + 1/xi_g^2): `step_matrix` is a series in it.
WIDEST_STEP = 0.9
# The phase that a chord may put wrong where segments are left out.
CHORD_PHASE = 0.03

_ZERO, _ONE = np.float32(0), np.float32(1)


def nearest_nm(reach_nm: float) -> float:
    """How far from the core the innermost columns stand."""
    return min(0.6, max(0.3, reach_nm / 50))


@lru_cache(maxsize=64)
def across_nm(reach_nm: float) -> np.ndarray:
    """Where the columns of a profile stand (M,), from -reach to reach."""
    inner = 1 / (COLUMNS_ACROSS - 1)
    wanted = math.log(max(reach_nm / nearest_nm(reach_nm), 1.001 / inner))
    squeeze = brentq(lambda a: math.log(math.sinh(a) / math.sinh(a * inner)) - wanted, 1e-6, 50.0)
    u = reach_nm * np.sinh(squeeze * np.linspace(-1, 1, COLUMNS_ACROSS)) / math.sinh(squeeze)
    u.setflags(write=False)
    return u


def line_profiles(
    trees: ChordTrees,
    outcrops: HalfSpaces,
    line: ArrayLike,
    at_nm: ArrayLike,
    normal: ArrayLike,
    reach_nm: float,
    entrance_z_nm: ArrayLike,
    exit_z_nm: ArrayLike,
    s_inv_nm: ArrayLike,
    two_beam: TwoBeam,
    *,
    fault_z_nm: ArrayLike | None = None,
    fault_phase_rad: ArrayLike | None = None,
    fault_profile: ArrayLike | None = None,
    image: str = "bf",
    offsets_inv_nm: ArrayLike = (0.0,),
    weights: ArrayLike = (1.0,),
) -> tuple[np.ndarray, np.ndarray]:
    """Intensity (P, M) float32 with the line and without it, incident beam 1, in bright ("bf") or dark field ("df").

    Profile p stands at at_nm[p] (x, y) along normal[p] and sees line[p] of `trees` with its `outcrops`. `entrance_z_nm`, `exit_z_nm` and
    `s_inv_nm` are (P, M), or (P, 3) at -reach, in the middle and at +reach, taken as parabolas between. `fault_z_nm` (F, P', M)
    are the heights of faults in the columns of those profiles whose number in it fault_profile[p] is (-1: none); the
    background of these keeps the faults. The intensity is the mean over plane waves (Q,), of which each has that offset of s
    and that weight (`contrast.spread`).
    """
    require(image in ("bf", "df"), "image", "be bf or df", image)
    line = np.ascontiguousarray(line, dtype=np.int64)
    count, across = len(line), across_nm(reach_nm)
    geometry = np.concatenate([np.reshape(at_nm, (count, 2)), np.reshape(normal, (count, 2))], axis=1)
    faces = np.ascontiguousarray(np.stack([entrance_z_nm, exit_z_nm, s_inv_nm], axis=1), dtype=np.float64)
    if fault_z_nm is None or fault_phase_rad is None or fault_profile is None:
        fault_z, phase, fault_of = np.empty((0, 0, len(across))), np.empty(0), np.full(count, -1)
    else:
        fault_z, phase = np.ascontiguousarray(fault_z_nm, dtype=np.float64), np.array(fault_phase_rad, dtype=np.float64)
        fault_of = np.ascontiguousarray(fault_profile, dtype=np.int64)
    beam = np.array([1 / two_beam.xi_g_nm, 1 / two_beam.xi_g_prime_nm, 1 / two_beam.xi_0_prime_nm])
    waves = np.array([offsets_inv_nm, weights], dtype=np.float32)
    intensity = np.empty((2, count, len(across)), np.float32)
    over_threads(
        _profiles, count, trees.rows, trees.silent, trees.first, trees.skip, trees.spheres, trees.areas_nm2, trees.strength,
        outcrops.first, outcrops.places, outcrops.tables, outcrops.foil_from_image, outcrops.core_nm,
        line, geometry, across, faces, beam, waves, fault_z, phase, fault_of, image == "df", intensity,
    )  # fmt: skip
    return intensity[0], intensity[1]


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _profiles(
    begin, end, rows, silent, first, skip, spheres, areas, strength, outcrop_first, places, tables, rotation, core, line, geometry,
    across, faces, beam, waves, fault_z, phase, fault_of, dark, intensity,
):  # fmt: skip
    count = len(across)
    reach = across[-1]
    x, y, s = np.empty(count, np.float32), np.empty(count, np.float32), np.empty(count, np.float32)
    top, bottom, absorbed = np.empty(count), np.empty(count), np.empty(count)
    chosen, packed = np.empty(64, np.int64), np.empty((64, PACKED), np.float32)
    near = np.empty((64, 8))
    edges = np.empty(256)
    same_background = -1
    no_fault, sorted_z, sorted_f = np.empty((0, count)), np.empty((len(phase), count)), np.zeros((len(phase), count), np.int64)
    for p in range(begin, end):
        px, py, nx, ny = geometry[p]
        highest, lowest, steepest = -np.inf, np.inf, 0.0
        for c in range(count):
            x[c], y[c] = across[c] * nx, across[c] * ny
            v = across[c] / reach
            top[c], bottom[c], s[c] = _at(faces[p, 0], c, v), _at(faces[p, 1], c, v), _at(faces[p, 2], c, v)
            absorbed[c] = math.exp(-2 * math.pi * max(top[c] - bottom[c], 0.0) * beam[2])
            steepest = max(steepest, abs(s[c]))
            if top[c] > bottom[c]:
                highest, lowest = max(highest, top[c]), min(lowest, bottom[c])
        if not highest > lowest:
            intensity[:, p] = _ZERO if dark else _ONE
            continue
        middle = (highest + lowest) / 2
        for c in range(count):
            top[c] -= middle
            bottom[c] -= middle
        half = (highest - lowest) / 2
        steepest += np.abs(waves[0]).max()
        widest = WIDEST_STEP / (math.pi * math.sqrt(steepest * steepest + beam[0] * beam[0]))
        a, b = first[line[p]], first[line[p] + 1]
        if b - a > len(chosen):
            chosen, packed, near = np.empty(b - a, np.int64), np.empty((b - a, PACKED), np.float32), np.empty((b - a, 8))
        number, close = _choose(
            rows, silent, skip, spheres, areas, strength, a, b, px, py, middle, nx, ny, reach, half, widest, chosen, near
        )
        for i in range(number):
            pack(rows[chosen[i]], px, py, middle, packed[i])
        faults = len(phase) if fault_of[p] >= 0 else 0
        if faults:
            _sort_faults(fault_z[:, fault_of[p]], middle, sorted_z, sorted_f)
        cuts = sorted_z if faults else no_fault

        # Most profiles stand in a foil of one thickness and one s: then each has the background of the one before.
        if faults == 0 and same_background >= 0 and (faces[p] == faces[same_background]).all():
            intensity[1, p] = intensity[1, same_background]
        else:
            total = int(math.ceil(2 * half / widest))
            if total + 1 > len(edges):
                edges = np.empty(4 * (total + 1))
            for k in range(total + 1):
                edges[k] = half - k * (2 * half / total)
            _pass_columns(
                packed[:0], places[:0], tables[:0], rotation, core, x, y, s, top, bottom, edges, total, cuts, sorted_f, phase, beam,
                waves, absorbed, dark, intensity[1, p],
            )  # fmt: skip
            same_background = p if faults == 0 else -1
        total, edges = _panel_edges(near[:close], rows[a, CORE_SQ] if b > a else 1.0, reach, half, widest, edges)
        # Outcrops as the profile sees them: from its place, in the frame of the foil.
        own = places[outcrop_first[line[p]] : outcrop_first[line[p] + 1]].copy()
        for o in range(len(own)):
            for i in range(3):
                own[o, i] -= rotation[i, 0] * px + rotation[i, 1] * py + rotation[i, 2] * middle
        own_tables = tables[outcrop_first[line[p]] : outcrop_first[line[p] + 1]]
        _pass_columns(
            packed[:number], own, own_tables, rotation, core, x, y, s, top, bottom, edges, total, cuts, sorted_f, phase, beam, waves,
            absorbed, dark, intensity[0, p],
        )  # fmt: skip


@numba.njit(cache=True, error_model="numpy")
def _at(values, c, v):
    """The value of column c, or that at v of the parabola through `values` (3,) at v = -1, 0, 1."""
    if len(values) > 3:
        return values[c]
    return values[1] + v * (0.5 * (values[2] - values[0]) + v * (0.5 * (values[2] + values[0]) - values[1]))


@numba.njit(cache=True, error_model="numpy")
def _choose(
    rows, silent, skip, spheres, areas, strength, first, last, px, py, pz, nx, ny, reach, half, widest, chosen, near
):  # fmt: skip
    """Nodes that make the field at a profile, and of those near its sheet the ends (t, u, z along, across, up) and more.

    `near` (_, 8) holds an end, the step to the other, the inverse squares of the step in (t, z) and of all of it.
    """
    number, close, node = 0, 0, first
    while node < last:
        dx, dy, dz = spheres[node, 0] - px, spheres[node, 1] - py, spheres[node, 2] - pz
        along, across = abs(dx * ny - dy * nx), max(0.0, abs(dx * nx + dy * ny) - reach)
        depth = max(0.0, abs(dz) - half)
        distance = math.sqrt(along * along + across * across + depth * depth) - spheres[node, 3]
        leaf = skip[node] == node + 1
        area = areas[node]
        straight = area < 1e-6
        if not (leaf or straight or (distance > 0 and strength * area < 2 * CHORD_PHASE * distance * distance)):
            node += 1
            continue
        if not silent[node]:
            chosen[number] = node
            number += 1
            if distance < widest / PANEL_FRACTION:
                row = rows[node]
                dx, dy, dz = row[START] - px, row[START + 1] - py, row[START + 2] - pz
                step_t = (row[T + 1] * nx - row[T] * ny) * row[LENGTH]
                step_u, step_z = (row[T] * nx + row[T + 1] * ny) * row[LENGTH], row[T + 2] * row[LENGTH]
                flat = step_t * step_t + step_z * step_z
                near[close, 0], near[close, 1], near[close, 2] = dy * nx - dx * ny, dx * nx + dy * ny, dz
                near[close, 3], near[close, 4], near[close, 5] = step_t, step_u, step_z
                near[close, 6] = 1 / flat if flat > 0 else 0.0
                near[close, 7] = 1 / (flat + step_u * step_u)
                close += 1
        node = skip[node]
    return number, close


@numba.njit(cache=True, error_model="numpy")
def _sheet_distance_sq(near, reach, z):
    """Squared distance of the nearest segment to the sheet's level z, the segment |u| <= reach, t = 0."""
    least = np.inf
    for i in range(len(near)):
        t, u, dz = near[i, 0], near[i, 1], near[i, 2] - z
        step_t, step_u, step_z = near[i, 3], near[i, 4], near[i, 5]
        part = min(1.0, max(0.0, -(t * step_t + dz * step_z) * near[i, 6]))
        beside = u + part * step_u
        if abs(beside) > reach:
            u -= math.copysign(reach, beside)
            part = min(1.0, max(0.0, -(t * step_t + u * step_u + dz * step_z) * near[i, 7]))
            beside = u + part * step_u
        else:
            beside = 0.0
        t, dz = t + part * step_t, dz + part * step_z
        least = min(least, t * t + beside * beside + dz * dz)
    return least


@numba.njit(cache=True, error_model="numpy")
def _panel_edges(near, core_sq, reach, half, widest, edges):
    """Edges of the panels from +half down to -half, and their number."""
    z, count, length = half, 0, widest
    edges[0] = half
    while z > -half:
        if len(near):
            # The middle is guessed from the last panel's length: too near the line, if anything, on both sides of it.
            distance_sq = _sheet_distance_sq(near, reach, z - length / 2)
            length = min(widest, PANEL_FRACTION * math.sqrt(distance_sq + core_sq), 2 * length)
        z -= length
        if z < -half + 0.25 * length:
            z = -half
        count += 1
        if count == len(edges):
            edges = np.concatenate((edges, np.empty_like(edges)))
        edges[count] = z
    return count, edges


@numba.njit(cache=True, error_model="numpy")
def _sort_faults(fault_z, middle, sorted_z, sorted_f):
    """Heights (F, M) of each column's faults from above downward, -inf at the end for those that miss it."""
    for c in range(fault_z.shape[1]):
        for f in range(len(fault_z)):
            z, i = fault_z[f, c] - middle, f
            if not z == z:
                z = -np.inf
            while i > 0 and sorted_z[i - 1, c] < z:
                sorted_z[i, c], sorted_f[i, c] = sorted_z[i - 1, c], sorted_f[i - 1, c]
                i -= 1
            sorted_z[i, c], sorted_f[i, c] = z, f


@numba.njit(cache=True, error_model="numpy")
def _pass_columns(
    packed, outcrops, tables, rotation, core, x, y, s, top, bottom, edges, panels, cut_z, cut_f, phase, beam, waves, absorbed,
    dark, intensity,
):  # fmt: skip
    """Fill `intensity` (M,) of one beam. Each panel has F + 1 parts, one after each fault; most have no length.

    The field is computed once for all plane waves.
    """
    count, parts = len(x), len(cut_z) + 1
    total = panels * parts
    length = np.empty((total, count), np.float32)
    points = np.empty((3, total, 2, count), np.float32)
    px, py, pz = points[0], points[1], points[2]
    for k in range(panels):
        for c in range(count):
            upper, lower = min(edges[k], top[c]), max(edges[k + 1], bottom[c])
            for f in range(parts):
                # A fault above this panel cuts off a part of no length, one below it takes all that is left.
                low = lower if f == parts - 1 else min(upper, max(lower, cut_z[f, c]))
                h = max(upper - low, 0.0)
                n = k * parts + f
                length[n, c] = h
                px[n, 0, c] = px[n, 1, c] = x[c]
                py[n, 0, c] = py[n, 1, c] = y[c]
                pz[n, 0, c] = (upper + low) / 2 + GAUSS_OFFSET * h
                pz[n, 1, c] = (upper + low) / 2 - GAUSS_OFFSET * h
                upper = low
    field = np.zeros((total, 2, count), np.float32)
    flat_x, flat_y, flat_z, flat_field = px.reshape(-1), py.reshape(-1), pz.reshape(-1), field.reshape(-1)
    for k in range(len(packed)):
        add_points(packed[k], flat_x, flat_y, flat_z, flat_field)
    if len(outcrops):
        _add_outcrops(outcrops, tables, rotation, core, length, px, py, pz, field)
    state, own_s = np.empty((4, count), np.float32), np.empty(count, np.float32)
    a, b = (state[2], state[3]) if dark else (state[0], state[1])
    intensity[:] = _ZERO
    for wave in range(waves.shape[1]):
        state[:] = _ZERO
        state[0] = _ONE
        for c in range(count):
            own_s[c] = s[c] + waves[0, wave]
        for n in range(total):
            _pass_panel(length[n], field[n, 0], field[n, 1], own_s, beam, state)
            if parts > 1 and n % parts < parts - 1:
                k, f = n // parts, n % parts
                for c in range(count):
                    z = cut_z[f, c]
                    if z <= edges[k] and z > edges[k + 1] and z < top[c] and z > bottom[c]:
                        angle = phase[cut_f[f, c]]
                        cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
                        u, v = state[2, c], state[3, c]
                        state[2, c], state[3, c] = cosine * u - sine * v, sine * u + cosine * v
        for c in range(count):
            intensity[c] += waves[1, wave] * absorbed[c] * (a[c] * a[c] + b[c] * b[c])


@numba.njit(cache=True, error_model="numpy")
def _add_outcrops(outcrops, tables, rotation, core, length, px, py, pz, field):
    """Add H of each outcrop to `field` (N, 2, M) at the points of panels that have a length, linear between those of its table."""
    for n in range(len(length)):
        for c in range(length.shape[1]):
            if length[n, c] == 0:
                continue
            for a in range(2):
                x, y, z = float(px[n, a, c]), float(py[n, a, c]), float(pz[n, a, c])
                total = 0.0
                for o in range(len(outcrops)):
                    fx = rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z - outcrops[o, 0]
                    fy = rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z - outcrops[o, 1]
                    fz = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z - outcrops[o, 2]
                    r, value = linear_in_table(tables[o], fx, fy, max(-outcrops[o, 3] * fz, 0.0))
                    total += value / max(r, core)
                field[n, a, c] += np.float32(total)


@numba.njit(cache=True, error_model="numpy")
def _pass_panel(length, upper, lower, s, beam, state):
    q_re, q_im = np.float32(beam[0]), np.float32(beam[1])
    x_re_0, x_im = np.float32(beam[0] ** 2 - beam[1] ** 2), np.float32(2 * beam[0] * beam[1])
    half, offset, pi = np.float32(0.5), np.float32(GAUSS_OFFSET), np.float32(math.pi)
    a_re, a_im, b_re, b_im = state[0], state[1], state[2], state[3]
    for c in range(s.size):
        step = pi * length[c]
        turn = s[c] + half * (upper[c] + lower[c])
        eps = offset * step * (lower[c] - upper[c])
        step_sq = step * step
        m0, m1, m2, m3, m4, m5, m6, m7 = step_matrix(turn, eps, step, q_re, q_im, step_sq * x_re_0, step_sq * x_im)
        p, q, u, v = a_re[c], a_im[c], b_re[c], b_im[c]
        a_re[c] = p + (m0 * p - m1 * q + m2 * u - m3 * v)
        a_im[c] = q + (m0 * q + m1 * p + m2 * v + m3 * u)
        b_re[c] = u + (m4 * p - m5 * q + m6 * u - m7 * v)
        b_im[c] = v + (m4 * q + m5 * p + m6 * v + m7 * u)
