"""Many beams down all columns of a tile, in float32: layers by tables, pieces near lines by their exponential.

Takes the field that `tiles` makes. Layers of a row of beams are passed by `BeamTable.layer`; all others, layers
of a field that the table does not reach, and the panels of pieces that a line, a face or a fault is near to, by the
Taylor series of the exponential of their Magnus matrix.
Phases that follow one another are multiplied once.

Axes: N beams, R directions, C columns of a tile, K its layers, N_p panels; blocks of BLOCK columns.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from physics.contrast.slicing import GAUSS_OFFSET

# Columns that are passed through a layer together, few enough for the fastest memory.
BLOCK = 128
# The series of an exponential ends where the next term falls below this. A step whose matrix has a larger norm than
# LARGEST_NORM is taken in parts, lest large terms of opposite sign cost float32 its digits.
SERIES_TOLERANCE = 3e-8
LARGEST_NORM = 4.0

_ROW_1, _ROW_2, _ROW_3 = np.uint64(BLOCK), np.uint64(2 * BLOCK), np.uint64(3 * BLOCK)
_ZERO, _ONE, _TWO, _HALF = np.float32(0), np.float32(1), np.float32(2), np.float32(1 / 2)
_S1, _S2, _S3, _S4 = np.float32(-1 / 6), np.float32(1 / 120), np.float32(-1 / 5040), np.float32(1 / 362880)
_C1, _C2, _C3, _C4, _C5 = np.float32(-1 / 2), np.float32(1 / 24), np.float32(-1 / 720), np.float32(1 / 40320), np.float32(-1 / 3628800)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def integrate_beams(
    betas, whole, entries, order, lengths, fields, crossed, fractions, missing_nm, columns, layer_nm, table, point, intensity
):  # fmt: skip
    """Add the intensities (C, N) of one point of the spread to `intensity`.

    `betas` (R, K, C) are the field in the middles of the layers, `whole` (K, C) is 1 where a layer is passed as
    a whole, else 0; entries (E, 4), in the `order` of their layers, with panels of `lengths` (N_p,) and `fields`
    (R, N_p, 2) as in `tiles`. `fractions` (N_p,) are the crystal fractions of the panels (`strain.inclusions`), none where
    all are 1; `missing_nm` (C,) is the crystal that the columns miss by them.
    """
    coefficients, steps, generator, layer, limits, turn_of_s, fault, absorption, weights = table
    directions, depth, count = betas.shape
    beams = len(coefficients)
    re, im = np.zeros((beams, count), np.float32), np.zeros((beams, count), np.float32)
    for g in range(beams):
        # 000 is the beam without phases in any direction.
        if not coefficients[g].any():
            re[g] = _ONE
    turn = np.empty((directions, count), np.float32)
    for r in range(directions):
        for c in range(count):
            turn[r, c] = columns[c, 4] * turn_of_s[r]
    pending = np.zeros((directions, count), np.float32)
    rows = max(layer.shape[3], beams)
    a_re, a_im = np.zeros(rows * BLOCK, np.float32), np.zeros(rows * BLOCK, np.float32)
    b_re, b_im = np.zeros(beams * BLOCK, np.float32), np.zeros(beams * BLOCK, np.float32)
    d_re, d_im = np.zeros(beams * BLOCK, np.float32), np.zeros(beams * BLOCK, np.float32)
    diagonal = np.zeros(beams * BLOCK, np.float32)
    mean, eps, step = np.zeros((directions, BLOCK), np.float32), np.zeros((directions, BLOCK), np.float32), np.zeros(BLOCK, np.float32)
    u, mask = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    low, high = np.float32(limits[0] - limits[1]), np.float32(limits[0] + limits[1])
    members, all_crystal = np.empty(max(count, BLOCK), np.int64), np.empty(0, np.float32)
    norm_0 = _norm(generator[point])
    entry = 0
    for k in range(1, depth - 1):
        for first in range(0, count, BLOCK):
            last = min(count, first + BLOCK)
            if directions == 1:
                above, here, below = betas[0, k - 1, first:last], betas[0, k, first:last], betas[0, k + 1, first:last]
                passed, beta = whole[k, first:last], mean[0, : last - first]
                if _mean_of_layer(above, here, below, turn[0, first:last], beta, low, high) > 0:
                    strong = _strong_columns(beta, passed, low, high, members, mask)
                    passed = mask[: last - first]
                else:
                    strong = 0
                _pass_layer_of_row(
                    above, below, beta, passed, pending[0, first:last], steps, layer[point], limits, math.pi * layer_nm,
                    re, im, first, a_re, a_im, d_re, d_im, u[: last - first],
                )  # fmt: skip
                if strong > 0:
                    for i in range(strong):
                        c = members[i]
                        step[i] = np.float32(math.pi * layer_nm)
                        eps[0, i] = step[i] * np.float32(1 / 12) * (below[c] - above[c])
                        beta[i] = beta[c]  # i <= c
                        for g in range(beams):
                            a_re[g * BLOCK + i], a_im[g * BLOCK + i] = re[g, first + c], im[g, first + c]
                    _pass_series(
                        a_re, a_im, b_re, b_im, d_re, d_im, diagonal, mean, eps, step, strong, coefficients, generator[point],
                        norm_0, all_crystal,
                    )  # fmt: skip
                    for i in range(strong):
                        for g in range(beams):
                            re[g, first + members[i]], im[g, first + members[i]] = a_re[g * BLOCK + i], a_im[g * BLOCK + i]
            else:
                for r in range(directions):
                    for c in range(last - first):
                        above, here, below = betas[r, k - 1, first + c], betas[r, k, first + c], betas[r, k + 1, first + c]
                        passed = whole[k, first + c]
                        step[c] = passed * np.float32(math.pi * layer_nm)
                        mean[r, c] = passed * (turn[r, first + c] + here + (above - here - here + below) * np.float32(1 / 24))
                        eps[r, c] = step[c] * np.float32(1 / 12) * (below - above)
                _copy_in(re, im, first, last - first, a_re, a_im)
                _pass_series(
                    a_re, a_im, b_re, b_im, d_re, d_im, diagonal, mean, eps, step, last - first, coefficients, generator[point],
                    norm_0, all_crystal,
                )  # fmt: skip
                _copy_out(re, im, first, last - first, a_re, a_im)
        end = entry
        while end < len(order) and entries[order[end], 0] == k:
            end += 1
        # Those of most panels first: the ones still on their way stay together.
        _by_panels(entries, order, entry, end, members)
        for first in range(entry, end, BLOCK):
            last = min(end, first + BLOCK)
            _pass_entries(
                entries, members[first - entry : last - entry], lengths, fields, crossed, fractions, fault, turn, re, im,
                coefficients, generator[point], norm_0, a_re, a_im, b_re, b_im, d_re, d_im, diagonal, mean, eps, step,
            )  # fmt: skip
        entry = end
    for c in range(count):
        thickness = max(columns[c, 2] - columns[c, 3], 0.0) - missing_nm[c]
        share = weights[point] * math.exp(-2 * math.pi * thickness * absorption)
        for g in range(beams):
            p, q = float(re[g, c]), float(im[g, c])
            intensity[c, g] += share * (p * p + q * q)


@numba.njit(cache=True, error_model="numpy")
def _norm(generator):
    """Bound of |M| over the beams, in 1/nm."""
    most = 0.0
    for g in range(generator.shape[1]):
        total = 0.0
        for h in range(generator.shape[2]):
            total += math.hypot(generator[0, g, h], generator[1, g, h])
        most = max(most, total)
    return most


@numba.njit(cache=True, error_model="numpy", inline="always")
def _cis(x):
    """cos x and sin x to 2e-7 for |x| <= 2, from half the angle."""
    y = _HALF * x
    z = y * y
    s = y * (_ONE + z * (_S1 + z * (_S2 + z * (_S3 + z * _S4))))
    c1 = z * (_C1 + z * (_C2 + z * (_C3 + z * (_C4 + z * _C5))))
    # cos = 1 - 2 s^2 keeps the modulus of small angles
    return _ONE - _TWO * s * s, _TWO * s * (_ONE + c1)


@numba.njit(cache=True, error_model="numpy")
def _add_four(re, im, x0, y0, x1, y1, x2, y2, x3, y3, out_re, out_im):
    """Add four columns of a complex matrix times the first four rows of BLOCK.

    Unsigned places: numba would test signed ones for counting from the end, and not use vectors.
    """
    for c in range(np.uint64(out_re.size)):
        p0, p1, p2, p3 = re[c], re[c + _ROW_1], re[c + _ROW_2], re[c + _ROW_3]
        q0, q1, q2, q3 = im[c], im[c + _ROW_1], im[c + _ROW_2], im[c + _ROW_3]
        out_re[c] += (x0 * p0 - y0 * q0) + (x1 * p1 - y1 * q1) + (x2 * p2 - y2 * q2) + (x3 * p3 - y3 * q3)
        out_im[c] += (x0 * q0 + y0 * p0) + (x1 * q1 + y1 * p1) + (x2 * q2 + y2 * p2) + (x3 * q3 + y3 * p3)


@numba.njit(cache=True, error_model="numpy")
def _add_one(re, im, x, y, out_re, out_im):
    for c in range(out_re.size):
        out_re[c] += x * re[c] - y * im[c]
        out_im[c] += x * im[c] + y * re[c]


@numba.njit(cache=True, error_model="numpy")
def _product(matrix, re, im, out_re, out_im, count):
    """out (N rows of BLOCK) = matrix (2, N, W) times rows re, im."""
    for g in range(matrix.shape[1]):
        row_re, row_im = out_re[g * BLOCK : g * BLOCK + count], out_im[g * BLOCK : g * BLOCK + count]
        row_re[:] = _ZERO
        row_im[:] = _ZERO
        x, y = matrix[0, g], matrix[1, g]
        fours = matrix.shape[2] // 4 * 4
        for h in range(0, fours, 4):
            _add_four(
                re[h * BLOCK :], im[h * BLOCK :], x[h], y[h], x[h + 1], y[h + 1], x[h + 2], y[h + 2], x[h + 3], y[h + 3], row_re, row_im
            )
        for h in range(fours, matrix.shape[2]):
            _add_one(re[h * BLOCK :], im[h * BLOCK :], x[h], y[h], row_re, row_im)


@numba.njit(cache=True, error_model="numpy")
def _mean_of_layer(above, here, below, turn, beta, low, high):
    """Fill `beta` with the mean over a layer; returns how many lie outside [low, high]."""
    outside, mean = 0, np.float32(1 / 24)
    for c in range(here.size):
        b = turn[c] + here[c] + mean * (above[c] - here[c] - here[c] + below[c])
        beta[c] = b
        outside += (b < low) | (b > high)
    return outside


@numba.njit(cache=True, error_model="numpy")
def _phase_of_layer(above, below, beta, passed, pending, middle, scale, pi_h, u, e_re, e_im):
    """u of the middles and the phase factor before the layer; what comes after it is left in `pending`."""
    slope = np.float32(pi_h / 12)
    for c in range(beta.size):
        eps = slope * (below[c] - above[c])
        u[c] = passed[c] * scale * (beta[c] - middle)
        half = pi_h * beta[c]
        e_re[c], e_im[c] = _cis(pending[c] + passed[c] * (half - eps))
        pending[c] = passed[c] * (half + eps)


@numba.njit(cache=True, error_model="numpy")
def _multiply(f_re, f_im, e_re, e_im):
    for c in range(e_re.size):
        p, q = f_re[c], f_im[c]
        f_re[c] = p * e_re[c] - q * e_im[c]
        f_im[c] = p * e_im[c] + q * e_re[c]


@numba.njit(cache=True, error_model="numpy")
def _turned(row_re, row_im, f_re, f_im, a_re, a_im):
    for c in range(row_re.size):
        p, q = row_re[c], row_im[c]
        a_re[c] = p * f_re[c] - q * f_im[c]
        a_im[c] = p * f_im[c] + q * f_re[c]


@numba.njit(cache=True, error_model="numpy")
def _times(u, re, im, to_re, to_im):
    for c in range(to_re.size):
        to_re[c] = u[c] * re[c]
        to_im[c] = u[c] * im[c]


@numba.njit(cache=True, error_model="numpy")
def _advanced(a_re, a_im, d_re, d_im, passed, row_re, row_im):
    for c in range(row_re.size):
        row_re[c] = a_re[c] + passed[c] * d_re[c]
        row_im[c] = a_im[c] + passed[c] * d_im[c]


@numba.njit(cache=True, error_model="numpy")
def _pass_layer_of_row(
    above, below, beta, passed, pending, steps, layer, limits, pi_h, re, im, first, a_re, a_im, d_re, d_im, u
):  # fmt: skip
    """Pass a block of columns through a layer; columns not `passed` only take their pending phase."""
    count, beams = beta.size, len(steps)
    e = np.empty((4, BLOCK), np.float32)
    e_re, e_im, f_re, f_im = e[0, :count], e[1, :count], e[2, :count], e[3, :count]
    _phase_of_layer(
        above, below, beta, passed, pending, np.float32(limits[0]), np.float32(1 / limits[1]), np.float32(pi_h), u, e_re, e_im
    )
    f_re[:] = _ONE
    f_im[:] = _ZERO
    for g in range(beams):
        for _ in range(steps[g]):
            _multiply(f_re, f_im, e_re, e_im)
        _turned(re[g, first : first + count], im[g, first : first + count], f_re, f_im, a_re[g * BLOCK :], a_im[g * BLOCK :])
    powers = layer.shape[2] // beams
    for to in range(beams, powers * beams):
        at = (to - beams) * BLOCK
        _times(u, a_re[at:], a_im[at:], a_re[to * BLOCK : to * BLOCK + count], a_im[to * BLOCK : to * BLOCK + count])
    _product(layer, a_re, a_im, d_re, d_im, count)
    for g in range(beams):
        at = g * BLOCK
        _advanced(a_re[at:], a_im[at:], d_re[at:], d_im[at:], passed, re[g, first : first + count], im[g, first : first + count])


@numba.njit(cache=True, error_model="numpy")
def _strong_columns(beta, passed, low, high, members, mask):
    """Columns that the table does not reach, into `members`; `mask` is `passed` without them. Returns their number."""
    count = 0
    for c in range(beta.size):
        mask[c] = passed[c]
        if passed[c] > 0 and (beta[c] < low or beta[c] > high):
            mask[c] = _ZERO
            members[count] = c
            count += 1
    return count


@numba.njit(cache=True, error_model="numpy")
def _copy_in(re, im, first, count, a_re, a_im):
    for g in range(len(re)):
        for c in range(count):
            a_re[g * BLOCK + c], a_im[g * BLOCK + c] = re[g, first + c], im[g, first + c]


@numba.njit(cache=True, error_model="numpy")
def _copy_out(re, im, first, count, a_re, a_im):
    for g in range(len(re)):
        for c in range(count):
            re[g, first + c], im[g, first + c] = a_re[g * BLOCK + c], a_im[g * BLOCK + c]


@numba.njit(cache=True, error_model="numpy")
def _turn_beam(a_re, a_im, x):
    for c in range(x.size):
        cosine, sine = _cis(x[c])
        p, q = a_re[c], a_im[c]
        a_re[c] = cosine * p - sine * q
        a_im[c] = sine * p + cosine * q


@numba.njit(cache=True, error_model="numpy")
def _series_term(a_re, a_im, b_re, b_im, d_re, d_im, diagonal, step, share):
    """b = i share step (d + diagonal b), a += b, for one beam."""
    for c in range(a_re.size):
        f = share * step[c]
        p = -f * (d_im[c] + diagonal[c] * b_im[c])
        q = f * (d_re[c] + diagonal[c] * b_re[c])
        b_re[c], b_im[c] = p, q
        a_re[c] += p
        a_im[c] += q


@numba.njit(cache=True, error_model="numpy")
def _add_times(out, factor, values):
    for c in range(out.size):
        out[c] += factor * values[c]


@numba.njit(cache=True, error_model="numpy")
def _add_rest(out, value, fraction):
    for c in range(out.size):
        out[c] += (_ONE - fraction[c]) * value


@numba.njit(cache=True, error_model="numpy")
def _pass_series(
    a_re, a_im, b_re, b_im, d_re, d_im, diagonal, mean, eps, step, count, coefficients, generator, norm_0, fraction
):  # fmt: skip
    """Multiply `count` columns of the rows a by E exp(i step (M + 2 mean n)) E*, E = exp(i eps n).

    The couplings, all of M but its diagonal, are multiplied by `fraction` (BLOCK,) where it is not empty.
    """
    beams, directions = coefficients.shape
    partly = fraction.size > 0
    phase = np.empty(BLOCK, np.float32)[:count]
    for sign in (-1, 1):
        for g in range(beams):
            at, to = g * BLOCK, g * BLOCK + count
            phase[:] = _ZERO
            for r in range(directions):
                _add_times(phase, np.float32(sign) * coefficients[g, r], eps[r])
            if coefficients[g].any():
                _turn_beam(a_re[at:to], a_im[at:to], phase)
            if sign < 0:
                diagonal[at:to] = _ZERO
                for r in range(directions):
                    _add_times(diagonal[at:to], _TWO * coefficients[g, r], mean[r])
                if partly:
                    _add_rest(diagonal[at:to], generator[0, g, g], fraction)
        if sign < 0:
            most = _largest_norm(mean, step, coefficients, norm_0, count)
            if partly:
                most *= max(1.0, fraction[:count].max())
            parts = max(1, int(math.ceil(most / LARGEST_NORM)))
            for _ in range(parts):
                for g in range(beams):
                    at, to = g * BLOCK, g * BLOCK + count
                    b_re[at:to] = a_re[at:to]
                    b_im[at:to] = a_im[at:to]
                term, left = 1, most / parts
                while True:
                    _product(generator, b_re, b_im, d_re, d_im, count)
                    for g in range(beams):
                        at, to = g * BLOCK, g * BLOCK + count
                        if partly:
                            _times(fraction, d_re[at:to], d_im[at:to], d_re[at:to], d_im[at:to])
                        _series_term(
                            a_re[at:to], a_im[at:to], b_re[at:to], b_im[at:to], d_re[at:to], d_im[at:to], diagonal[at:to],
                            step, np.float32(1 / (term * parts)),
                        )  # fmt: skip
                    if left < SERIES_TOLERANCE:
                        break
                    term += 1
                    left *= most / parts / term


@numba.njit(cache=True, error_model="numpy")
def _largest_norm(mean, step, coefficients, norm_0, count):
    """Bound of step |M + 2 mean n| over the columns."""
    most = 0.0
    farthest = 2 * np.abs(coefficients).max()
    for c in range(count):
        beta = 0.0
        for r in range(len(mean)):
            beta += abs(mean[r, c])
        most = max(most, step[c] * (norm_0 + farthest * beta))
    return most


@numba.njit(cache=True, error_model="numpy")
def _by_panels(entries, order, begin, end, members):
    """Entries order[begin:end] sorted by their number of panels, most first, into `members`."""
    for i in range(begin, end):
        members[i - begin] = order[i]
    keys = np.empty(end - begin, np.int64)
    for i in range(end - begin):
        keys[i] = -entries[members[i], 3]
    members[: end - begin] = members[: end - begin][np.argsort(keys, kind="mergesort")]


@numba.njit(cache=True, error_model="numpy")
def _pass_entries(
    entries, members, lengths, fields, crossed, fractions, fault, turn, re, im, coefficients, generator, norm_0, a_re, a_im,
    b_re, b_im, d_re, d_im, diagonal, mean, eps, step,
):  # fmt: skip
    beams, directions = coefficients.shape
    fraction = np.ones(BLOCK if fractions.size > 0 else 0, np.float32)
    active = len(members)
    for i in range(active):
        c = entries[members[i], 1]
        for g in range(beams):
            a_re[g * BLOCK + i], a_im[g * BLOCK + i] = re[g, c], im[g, c]
    panel = 0
    offset = np.float32(GAUSS_OFFSET)
    while True:
        while active > 0 and entries[members[active - 1], 3] <= panel:
            active -= 1
        if active == 0:
            break
        for i in range(active):
            n, c = entries[members[i], 2] + panel, entries[members[i], 1]
            step[i] = np.float32(math.pi) * lengths[n]
            if fraction.size > 0:
                fraction[i] = fractions[n]
            for r in range(directions):
                mean[r, i] = turn[r, c] + _HALF * (fields[r, n, 0] + fields[r, n, 1])
                eps[r, i] = offset * step[i] * (fields[r, n, 1] - fields[r, n, 0])
        _pass_series(
            a_re, a_im, b_re, b_im, d_re, d_im, diagonal, mean, eps, step, active, coefficients, generator, norm_0, fraction
        )
        for i in range(active):
            f = crossed[entries[members[i], 2] + panel]
            if 0 <= f < len(fault):  # the others are boundaries of spheres
                for g in range(beams):
                    at = g * BLOCK + i
                    p, q = a_re[at], a_im[at]
                    a_re[at] = fault[f, 0, g] * p - fault[f, 1, g] * q
                    a_im[at] = fault[f, 1, g] * p + fault[f, 0, g] * q
        panel += 1
    for i in range(len(members)):
        c = entries[members[i], 1]
        for g in range(beams):
            re[g, c], im[g, c] = a_re[g * BLOCK + i], a_im[g * BLOCK + i]
