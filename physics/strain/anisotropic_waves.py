"""Tractions of lines on planes, wave by wave, in a crystal of any elastic stiffness: what `line_waves` is for an isotropic one.

Mura's line integral (Micromechanics of Defects in Solids, 1987, eq. 37.19) with the Green function transformed over X, Y. With
P and Y of `plate_impedance`, m the direction of k and Z the normal, a force f at the distance d below a plane has there

    u = (1/ik) Y exp(ik P d) T f,   T = -(Y* - Y)^-1 Y*,

for u and the jump of sigma.Z fit together at the force, and above a plane the conjugate of minus that. An element t ds of a line
has then

    sigma.Z^_a = sum_n ds exp(-i k.X) C_a3ij e_jnh t_h Y_ir [exp(ik P d) (m_n' + Z_n' P) T]_rp C_pn'qn b_q,

and with P = sum_n p_n Pi_n, whose Pi_n are projectors of rank one, this is three times a vector times exp(ik p_n d). Along a
straight segment the exponents are linear, of the rates -ik (m.t + t_z p_n), so that each end contributes in closed form.

Approximation: P whose eigenvalues nearly fall together, as all do in an isotropic crystal, is changed by NUDGE: 1e-4 of the loads.

Axes: S segments, O outcrops, A directions of k, (Y, X) waves, two faces, three components.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from physics.parallel import over_threads
from physics.strain.line_waves import DEEPEST, LANES, NOTHING, SERIES, SHORT, powers
from physics.strain.plate_impedance import BEFORE, BEHIND, Impedance, invert, padded

# Eigenvalues nearer than NEAR are parted by adding NUDGE times a fixed matrix; single precision wants them WIDE apart.
NEAR, NUDGE, WIDE = 1e-4, 1e-6, 0.05
ITERATIONS = 60
# For each p the rows of real and imaginary parts of D (9) and, from the 18th on, of W (9).
WEIGHTS, MATRICES = 18, 36
# The same number of lanes as one without a sign: places made of such are not looked at for being counted from an end.
WIDTH = np.uintp(LANES)


def line_waves(
    start_nm: np.ndarray, end_nm: np.ndarray, burgers_nm: np.ndarray, outcrops: np.ndarray, shifts: np.ndarray,
    kx: np.ndarray, ky: np.ndarray, half_nm: float, plate: Impedance, single_from_inv_nm: float = math.inf,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Transforms (2, 3, Y, X) in GPa nm^2 of sigma.Z at Z = half_nm and -half_nm, and the part of marked outcrops.

    As `line_waves.line_waves`, of the stiffness of `plate`.
    """
    _, group = np.unique(burgers_nm, axis=0, return_inverse=True)
    # Lines of one Burgers vector stand together, each with its segments in order.
    order = np.argsort(group.ravel(), kind="stable")
    start, end, burgers = (np.ascontiguousarray(v[order]) for v in (start_nm, end_nm, burgers_nm))
    outcrops, shifts = outcrops[:, order], shifts[:, order]
    out = np.zeros((3, 2, 3, *kx.shape), dtype=np.complex128)
    chained = np.zeros(len(start), dtype=np.bool_)
    chained[1:] = (start[1:] == end[:-1]).all(axis=1)
    columns = -(-kx.shape[1] // LANES) * LANES
    across, up = powers(shifts[:, :, 0], columns), powers(shifts[:, :, 1], kx.shape[0] // 2 + 1)
    deepest, gap = DEEPEST, max(_least_gap(plate), NEAR)
    if gap < WIDE:
        # Waves of eigenvalues near each other are large and cancel: none may be left out before the others are.
        single_from_inv_nm, deepest = math.inf, DEEPEST - 2 * math.log(gap)
    over_threads(
        _rows, kx.shape[0], start, end, burgers, chained, outcrops, across, up, across.astype(np.float32), up.astype(np.float32),
        kx, ky, half_nm, deepest, *_tables(plate), single_from_inv_nm, out,
    )  # fmt: skip
    return out[0], out[1:]


def kinked_transforms(
    inner: np.ndarray, outer: np.ndarray, burgers_nm: np.ndarray, side: np.ndarray, plate: Impedance
) -> np.ndarray:
    """tau^ (O, 3, A), at the angles of `plate`, of endless lines that come along `inner` (O, 3) and go on along `outer` through
    the face of a side (O,): their tractions there are (1/k) exp(-i k.X) tau^."""
    out = np.empty((len(inner), 3, len(plate.angles_rad)), dtype=np.complex128)
    over_threads(_kinked, len(plate.angles_rad), plate.angles_rad, inner, outer, burgers_nm, side, *_tables(plate), out)
    return out


def add_differences(
    own: np.ndarray, weights: np.ndarray, shift_nm: float, kx: np.ndarray, ky: np.ndarray, thickness_nm: float, plate: Impedance,
    load: np.ndarray,
) -> None:  # fmt: skip
    """Add to `load` the tractions of sum_j weights[j] H(d + j shift_nm) that answers to `own`, both (2 faces, 3, Y, X)."""
    over_threads(_differences, kx.shape[0], own, weights, shift_nm, kx, ky, thickness_nm, *_tables(plate), load)


def _tables(plate: Impedance) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return padded(plate.decay, 0), padded(plate.compliance, 0), plate.stiffness


def _least_gap(plate: Impedance) -> float:
    """The least distance of two eigenvalues of P, over all directions."""
    p = np.linalg.eigvals(plate.decay)
    return float(np.abs(p - np.roll(p, 1, axis=1)).min())


@numba.njit(cache=True, error_model="numpy")
def _matrices(angle, decay, compliance, p_matrix, y_matrix):
    """P and Y (3, 3) of a direction, cubic between those of the tables."""
    per_turn = (decay.shape[0] - BEFORE - BEHIND) / (2 * np.pi)
    place = (angle % (2 * np.pi)) * per_turn
    first = min(int(place), decay.shape[0] - 4)
    t = place - first
    w0, w1 = -t * (t - 1) * (t - 2) / 6, (t + 1) * (t - 1) * (t - 2) / 2
    w2, w3 = -(t + 1) * t * (t - 2) / 2, (t + 1) * t * (t - 1) / 6
    for a in range(3):
        for b in range(3):
            p_matrix[a, b] = w0 * decay[first, a, b] + w1 * decay[first + 1, a, b] + w2 * decay[first + 2, a, b] + w3 * decay[first + 3, a, b]
            y_matrix[a, b] = (
                w0 * compliance[first, a, b] + w1 * compliance[first + 1, a, b]
                + w2 * compliance[first + 2, a, b] + w3 * compliance[first + 3, a, b]
            )  # fmt: skip


@numba.njit(cache=True, error_model="numpy")
def _eigenvalues(m, p):
    """The three eigenvalues of a matrix, by Weierstrass's iteration; the least distance of two of them is returned."""
    trace = m[0, 0] + m[1, 1] + m[2, 2]
    minors = (
        m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0] + m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1] + m[2, 2] * m[0, 0] - m[2, 0] * m[0, 2]
    )  # fmt: skip
    determinant = (
        m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1]) - m[0, 1] * (m[1, 0] * m[2, 2] - m[1, 2] * m[2, 0])
        + m[0, 2] * (m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0])
    )  # fmt: skip
    p[0], p[1], p[2] = trace / 3 + 0.5, trace / 3 + (-0.2 + 0.4j), trace / 3 + (-0.3 - 0.4j)
    for _ in range(ITERATIONS):
        moved = 0.0
        for n in range(3):
            x = p[n]
            step = (((x - trace) * x + minors) * x - determinant) / ((x - p[(n + 1) % 3]) * (x - p[(n + 2) % 3]))
            p[n] = x - step
            moved = max(moved, abs(step))
        if moved < 1e-14:
            break
    return min(abs(p[0] - p[1]), abs(p[1] - p[2]), abs(p[2] - p[0]))


@numba.njit(cache=True, error_model="numpy")
def _modes(angle, decay, compliance, p, projectors, y_matrix):
    """Eigenvalues p (3,) and projectors (3, 3, 3) of P, and Y, of a direction."""
    matrix = np.empty((3, 3), np.complex128)
    _matrices(angle, decay, compliance, matrix, y_matrix)
    if _eigenvalues(matrix, p) < NEAR:
        for a in range(3):
            for b in range(3):
                matrix[a, b] += NUDGE * (1 + a + 2 * b + a * b * b)
        _eigenvalues(matrix, p)
    for a, b in ((0, 1), (1, 2), (0, 1)):
        if p[b].imag < p[a].imag:
            p[a], p[b] = p[b], p[a]
    for n in range(3):
        u, v = p[(n + 1) % 3], p[(n + 2) % 3]
        over = 1 / ((p[n] - u) * (p[n] - v))
        for a in range(3):
            for b in range(3):
                value = -(u + v) * matrix[a, b] + matrix[a, 0] * matrix[0, b] + matrix[a, 1] * matrix[1, b] + matrix[a, 2] * matrix[2, b]
                projectors[n, a, b] = (value + (u * v if a == b else 0.0)) * over


@numba.njit(cache=True, error_model="numpy")
def _sources(angle, decay, compliance, stiffness, p, d, w):
    """p (3,), the slowest first, D and W (3, 3, 3): an element t ds of a line of b has D_aj (S x t)_j, S_n = W_qn b_q, for each p."""
    projectors, y_matrix = np.empty((3, 3, 3), np.complex128), np.empty((3, 3), np.complex128)
    _modes(angle, decay, compliance, p, projectors, y_matrix)
    # T = -(Y* - Y)^-1 Y*, in which Y* - Y = -2i Im Y
    jump, inverse = np.empty((3, 3), np.complex128), np.empty((3, 3), np.complex128)
    for a in range(3):
        for b in range(3):
            jump[a, b] = 2j * y_matrix[a, b].imag
    invert(jump, inverse)
    c, q = math.cos(angle), math.sin(angle)
    for n in range(3):
        # Of rank one: the row and the column of its largest element tell all.
        row, column = 0, 0
        for a in range(3):
            for b in range(3):
                if abs(projectors[n, a, b]) > abs(projectors[n, row, column]):
                    row, column = a, b
        over = 1 / projectors[n, row, column]
        u0, u1, u2 = 0.0j, 0.0j, 0.0j
        for i in range(3):
            f = projectors[n, row, 0] * inverse[0, i] + projectors[n, row, 1] * inverse[1, i] + projectors[n, row, 2] * inverse[2, i]
            u0 += f * y_matrix[i, 0].conjugate()
            u1 += f * y_matrix[i, 1].conjugate()
            u2 += f * y_matrix[i, 2].conjugate()
        for a in range(3):
            for b in range(3):
                d[n, a, b], w[n, a, b] = 0.0, 0.0
        for i in range(3):
            y = (y_matrix[i, 0] * projectors[n, 0, column] + y_matrix[i, 1] * projectors[n, 1, column] + y_matrix[i, 2] * projectors[n, 2, column]) * over
            u = u0 if i == 0 else (u1 if i == 1 else u2)
            for a in range(3):
                for b in range(3):
                    d[n, a, b] += stiffness[a, 2, i, b] * y
                    w[n, a, b] += u * (c * stiffness[i, 0, a, b] + q * stiffness[i, 1, a, b] + p[n] * stiffness[i, 2, a, b])


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _rows(
    begin, end, start, stop, burgers, chained, outcrops, across, up, across_single, up_single, kx, ky, half, deepest, decay, compliance, stiffness,
    single_from, out,
):  # fmt: skip
    # k and its direction; for each p real and imaginary part, and the matrices of its lines.
    waves, modes, matrices, decays = np.empty(3 * LANES), np.empty((3, 2 * LANES)), np.empty((3, MATRICES * LANES)), np.empty(3)
    single_waves, single_modes = np.empty(3 * LANES, np.float32), np.empty((3, 2 * LANES), np.float32)
    p, d, w = np.empty(3, np.complex128), np.empty((3, 3, 3), np.complex128), np.empty((3, 3, 3), np.complex128)
    columns, tractions = out.shape[4], np.empty((3, 6 * LANES))
    for i in range(begin, end):
        row, sense = (i, 1.0) if 2 * i < out.shape[3] else (out.shape[3] - i, -1.0)
        for first in range(0, columns, LANES):
            least = np.inf
            decays[:] = np.inf
            for j in range(LANES):
                # Lanes beyond the row repeat its last wave.
                x, y = kx[i, min(first + j, columns - 1)], ky[i, min(first + j, columns - 1)]
                k = math.sqrt(x * x + y * y)
                least = min(least, k)
                _sources(math.atan2(y, x), decay, compliance, stiffness, p, d, w)
                waves[j] = k
                waves[LANES + j], waves[2 * LANES + j] = (x / k, y / k) if k > 0 else (1.0, 0.0)
                for n in range(3):
                    modes[n, j], modes[n, LANES + j] = p[n].real, p[n].imag
                    decays[n] = min(decays[n], k * p[n].imag)
                    for a in range(3):
                        for b in range(3):
                            at = 2 * (3 * a + b) * LANES + j
                            matrices[n, at], matrices[n, at + LANES] = d[n, a, b].real, d[n, a, b].imag
                            at += WEIGHTS * LANES
                            matrices[n, at], matrices[n, at + LANES] = w[n, a, b].real, w[n, a, b].imag
            single_waves[:] = waves
            single_modes[:] = modes
            for face in range(2):
                tractions[:] = 0.0
                height = half if face == 0 else -half
                for n in range(3):
                    if least < single_from:
                        _add_mode(waves, modes[n], matrices[n], decays[n], deepest, height, start, stop, burgers, chained, outcrops, across, up, row, sense, first, tractions)
                    else:
                        _add_mode(single_waves, single_modes[n], matrices[n], decays[n], deepest, height, start, stop, burgers, chained, outcrops,
                                  across_single, up_single, row, sense, first, tractions)  # fmt: skip
                tractions[0] += tractions[1] + tractions[2]
                for part in range(3):
                    for j in range(min(LANES, columns - first)):
                        scale = 1 / waves[j] if waves[j] > 0 else 0.0
                        for a in range(3):
                            at = 2 * a * LANES + j
                            out[part, face, a, i, first + j] = complex(-tractions[part, at + LANES], tractions[part, at]) * scale


@numba.njit(cache=True, error_model="numpy")
def _add_mode(
    waves, p, matrices, decay, deepest, height, start, stop, burgers, chained, outcrops, across, up, row, sense, first, tractions
):  # fmt: skip
    """Add to `tractions` (3, 6 LANES) on the plane at `height` what all segments put there by one p, whose least k Im p is `decay`.

    Ends that have decayed by more than exp(-deepest) are left out.
    In the precision of `waves`. All in one place: handing arrays on for each segment would take as long as the sums.
    """
    real = waves.dtype.type
    # Two ends of a segment; sums by component of t over all ends where the plane lies above, over those at outcrops of either
    # kind, then the same where it lies below.
    ends, sums, used = np.zeros(4 * LANES, waves.dtype), np.zeros(36 * LANES, waves.dtype), np.zeros(6, np.bool_)
    share, unit, nothing, begin = real(1 / 128), real(1.0), real(NOTHING), np.uintp(first)
    c2, c3, c4, c5, c6, c7 = real(1 / 2), real(1 / 3), real(1 / 4), real(1 / 5), real(1 / 6), real(1 / 7)
    known = False
    for n in range(len(start)):
        if n > 0 and (burgers[n, 0] != burgers[n - 1, 0] or burgers[n, 1] != burgers[n - 1, 1] or burgers[n, 2] != burgers[n - 1, 2]):
            _flush(matrices, sums, burgers[n - 1, 0], burgers[n - 1, 1], burgers[n - 1, 2], used, tractions)
        above, above_stop = height - start[n, 2], height - stop[n, 2]
        side = 1.0 if above + above_stop > 0 else -1.0
        d1, d2 = side * above, side * above_stop
        if decay * min(d1, d2) > deepest:
            known = False
            continue
        turn = real(side)
        for which in range(2):
            if which == 0 and known and chained[n]:
                for j in range(2 * LANES):
                    ends[j] = ends[j + 2 * LANES]
                continue
            # exp(-i k.X) times exp(ik p d) of a plane above, or its conjugate of one below.
            row_re, row_im, distance = up[0, which, n, row], real(sense) * up[1, which, n, row], real(d1 if which == 0 else d2)
            at = np.uintp(2 * which * LANES)
            for j in range(WIDTH):
                # Where nothing is left the phase does not matter.
                p_im = p[WIDTH + j]
                z_re = -min(waves[j] * distance * p_im, nothing) * share
                z_im = -turn * z_re * p[j] / p_im
                # A power series of a hundred and twenty-eighth of the argument, squared seven times.
                re, im = unit + c7 * z_re, c7 * z_im
                re, im = unit + c6 * (z_re * re - z_im * im), c6 * (z_re * im + z_im * re)
                re, im = unit + c5 * (z_re * re - z_im * im), c5 * (z_re * im + z_im * re)
                re, im = unit + c4 * (z_re * re - z_im * im), c4 * (z_re * im + z_im * re)
                re, im = unit + c3 * (z_re * re - z_im * im), c3 * (z_re * im + z_im * re)
                re, im = unit + c2 * (z_re * re - z_im * im), c2 * (z_re * im + z_im * re)
                re, im = unit + (z_re * re - z_im * im), z_re * im + z_im * re
                re, im = re * re - im * im, (re + re) * im
                re, im = re * re - im * im, (re + re) * im
                re, im = re * re - im * im, (re + re) * im
                re, im = re * re - im * im, (re + re) * im
                re, im = re * re - im * im, (re + re) * im
                re, im = re * re - im * im, (re + re) * im
                re, im = re * re - im * im, (re + re) * im
                a_re, a_im = across[0, which, n, begin + j], across[1, which, n, begin + j]
                x_re, x_im = a_re * row_re - a_im * row_im, a_re * row_im + a_im * row_re
                ends[at + j] = re * x_re - im * x_im
                ends[at + WIDTH + j] = re * x_im + im * x_re
        known = True
        tx, ty, tz = stop[n, 0] - start[n, 0], stop[n, 1] - start[n, 1], stop[n, 2] - start[n, 2]
        length = math.sqrt(tx * tx + ty * ty + tz * tz)
        tx, ty, tz = real(tx / length), real(ty / length), real(tz / length)
        kind = outcrops[0, n] if d1 == 0.0 else (outcrops[1, n] if d2 == 0.0 else 0)
        for of_outcrop in range(2 if kind > 0 else 1):
            part = 0 if side > 0 else 3
            one, two = unit, unit
            if kind > 0:
                if of_outcrop == 0 and decay * max(d1, d2) > deepest:
                    continue
                # An outcrop's end, and the other one.
                this = (d1 == 0.0) == (of_outcrop == 1)
                one, two = (unit, real(0.0)) if this else (real(0.0), unit)
                part += kind * of_outcrop
            used[part] = True
            at = np.uintp(6 * part * LANES)
            if kind == 0 and decay * abs(tz) <= SHORT and _least_phase_sq(waves, p, tx, ty, tz, length) <= SHORT * SHORT:
                _add_flat_segment(waves, p, ends, tx, ty, tz, turn, length, sums, at)
                continue
            for j in range(WIDTH):
                # t_h times the difference of the ends over m.t + t_z p
                re, im = waves[WIDTH + j] * tx + waves[2 * WIDTH + j] * ty + tz * p[j], turn * tz * p[WIDTH + j]
                over = unit / (re * re + im * im)
                x, y = (two * ends[2 * WIDTH + j] - one * ends[j]) * over, (two * ends[3 * WIDTH + j] - one * ends[WIDTH + j]) * over
                q_re, q_im = x * re + y * im, y * re - x * im
                sums[at + j] += tx * q_re
                sums[at + WIDTH + j] += tx * q_im
                sums[at + 2 * WIDTH + j] += ty * q_re
                sums[at + 3 * WIDTH + j] += ty * q_im
                sums[at + 4 * WIDTH + j] += tz * q_re
                sums[at + 5 * WIDTH + j] += tz * q_im
    if len(start):
        n = len(start) - 1
        _flush(matrices, sums, burgers[n, 0], burgers[n, 1], burgers[n, 2], used, tractions)


@numba.njit(cache=True, error_model="numpy")
def _least_phase_sq(waves, p, tx, ty, tz, length):
    """Square of the smallest phase between the ends of a segment among the lanes' waves."""
    least = np.inf
    for j in range(LANES):
        k, tk = waves[j] * length, waves[LANES + j] * tx + waves[2 * LANES + j] * ty
        re, im = tk + tz * p[j], tz * p[LANES + j]
        least = min(least, k * k * (re * re + im * im))
    return least


@numba.njit(cache=True, error_model="numpy")
def _add_flat_segment(waves, p, ends, tx, ty, tz, turn, length, sums, at):
    for j in range(LANES):
        k = float(waves[j])
        rate = complex(waves[LANES + j] * tx + waves[2 * LANES + j] * ty + tz * p[j], turn * tz * p[LANES + j])
        z = -1j * k * length * rate
        e1, e2 = complex(ends[j], ends[LANES + j]), complex(ends[2 * LANES + j], ends[3 * LANES + j])
        # int exp(zs) ds over 0..1, times -ik length
        q = (e2 - e1) / rate if abs(z) > SERIES else -1j * k * length * e1 * (1 + z / 2 * (1 + z / 3 * (1 + z / 4 * (1 + z / 5))))
        for h, t in enumerate((tx, ty, tz)):
            sums[int(at) + 2 * h * LANES + j] += t * q.real
            sums[int(at) + (2 * h + 1) * LANES + j] += t * q.imag


@numba.njit(cache=True, error_model="numpy")
def _flush(matrices, sums, b0, b1, b2, used, tractions):
    """The tractions of the sums of one Burgers vector, added to those of others; the sums begin anew."""
    for part in range(6):
        if used[part]:
            used[part] = False
            # What lies below a plane has the conjugate of minus all but the sums.
            sign, own = 1.0 if part < 3 else -1.0, sums[6 * part * LANES : 6 * (part + 1) * LANES]
            _add_tractions(matrices, own, b0, b1, b2, sign, tractions[part % 3])
            own[:] = 0.0


@numba.njit(cache=True, error_model="numpy")
def _add_tractions(matrices, sums, b0, b1, b2, sign, tractions):
    """Add D (S x U) of LANES waves to tractions (6 LANES); numbers are rows of real and imaginary parts, D's 9 and then W's."""
    for j in range(LANES):
        w = WEIGHTS * LANES + j
        s0_re = b0 * matrices[w] + b1 * matrices[w + 6 * LANES] + b2 * matrices[w + 12 * LANES]
        s0_im = b0 * matrices[w + LANES] + b1 * matrices[w + 7 * LANES] + b2 * matrices[w + 13 * LANES]
        s1_re = b0 * matrices[w + 2 * LANES] + b1 * matrices[w + 8 * LANES] + b2 * matrices[w + 14 * LANES]
        s1_im = b0 * matrices[w + 3 * LANES] + b1 * matrices[w + 9 * LANES] + b2 * matrices[w + 15 * LANES]
        s2_re = b0 * matrices[w + 4 * LANES] + b1 * matrices[w + 10 * LANES] + b2 * matrices[w + 16 * LANES]
        s2_im = b0 * matrices[w + 5 * LANES] + b1 * matrices[w + 11 * LANES] + b2 * matrices[w + 17 * LANES]
        u0_re, u0_im = sums[j], sign * sums[LANES + j]
        u1_re, u1_im = sums[2 * LANES + j], sign * sums[3 * LANES + j]
        u2_re, u2_im = sums[4 * LANES + j], sign * sums[5 * LANES + j]
        v0_re = s1_re * u2_re - s1_im * u2_im - s2_re * u1_re + s2_im * u1_im
        v0_im = s1_re * u2_im + s1_im * u2_re - s2_re * u1_im - s2_im * u1_re
        v1_re = s2_re * u0_re - s2_im * u0_im - s0_re * u2_re + s0_im * u2_im
        v1_im = s2_re * u0_im + s2_im * u0_re - s0_re * u2_im - s0_im * u2_re
        v2_re = s0_re * u1_re - s0_im * u1_im - s1_re * u0_re + s1_im * u0_im
        v2_im = s0_re * u1_im + s0_im * u1_re - s1_re * u0_im - s1_im * u0_re
        for a in range(3):
            d = 6 * a * LANES + j
            re = matrices[d] * v0_re - matrices[d + LANES] * v0_im + matrices[d + 2 * LANES] * v1_re - matrices[d + 3 * LANES] * v1_im
            im = matrices[d] * v0_im + matrices[d + LANES] * v0_re + matrices[d + 2 * LANES] * v1_im + matrices[d + 3 * LANES] * v1_re
            re += matrices[d + 4 * LANES] * v2_re - matrices[d + 5 * LANES] * v2_im
            im += matrices[d + 4 * LANES] * v2_im + matrices[d + 5 * LANES] * v2_re
            tractions[2 * a * LANES + j] += sign * re
            tractions[(2 * a + 1) * LANES + j] += im


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _kinked(begin, end, angles, inner, outer, burgers, side, decay, compliance, stiffness, out):
    p, d, w = np.empty(3, np.complex128), np.empty((3, 3, 3), np.complex128), np.empty((3, 3, 3), np.complex128)
    for a in range(begin, end):
        c, q = math.cos(angles[a]), math.sin(angles[a])
        _sources(angles[a], decay, compliance, stiffness, p, d, w)
        for o in range(len(inner)):
            out[o, :, a] = 0.0
            for m in range(3):
                s = w[m].T @ burgers[o].astype(np.complex128)
                for t, turn, sign in ((inner[o], side[o], 1.0), (outer[o], -side[o], -1.0)):
                    rate = complex(c * t[0] + q * t[1] + t[2] * p[m].real, t[2] * p[m].imag)
                    value = sign * 1j / rate
                    v = d[m] @ np.array([s[1] * t[2] - s[2] * t[1], s[2] * t[0] - s[0] * t[2], s[0] * t[1] - s[1] * t[0]])
                    for i in range(3):
                        whole = value * v[i]
                        out[o, i, a] += whole if turn > 0 else whole.conjugate()


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _differences(begin, end, own, weights, shift, kx, ky, thickness, decay, compliance, stiffness, load):
    p, projectors, y_matrix = np.empty(3, np.complex128), np.empty((3, 3, 3), np.complex128), np.empty((3, 3), np.complex128)
    for i in range(begin, end):
        for j in range(kx.shape[1]):
            k = math.sqrt(kx[i, j] ** 2 + ky[i, j] ** 2)
            if k == 0.0:
                continue
            _modes(math.atan2(ky[i, j], kx[i, j]), decay, compliance, p, projectors, y_matrix)
            for m in range(3):
                # sum_n w_n exp(ik p n shift), at the own face and a thickness on
                step, power, near = np.exp(1j * k * p[m] * shift), 1.0 + 0.0j, 0.0j
                for n in range(len(weights)):
                    near += weights[n] * power
                    power *= step
                far = near * np.exp(1j * k * p[m] * thickness)
                for face in range(2):
                    for a in range(3):
                        value = 0.0j
                        for b in range(3):
                            # What decays from the upper face down has the conjugate matrices.
                            tau = own[face, b, i, j]
                            value += projectors[m, a, b] * (tau.conjugate() if face == 0 else tau)
                        here, there = value * near, value * far
                        load[face, a, i, j] -= here.conjugate() if face == 0 else here
                        load[1 - face, a, i, j] -= there.conjugate() if face == 0 else there
