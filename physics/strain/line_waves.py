"""Tractions of lines on planes, wave by wave: the transform of sigma.Z over X, Y in closed form, isotropic crystal.

Mura's line integral (Micromechanics of Defects in Solids, 1987, eq. 37.19) with the Green function transformed over
X and Y. On a plane at the distance d from an element t ds of a line, s = +1 if the plane lies above it and -1 below,

    sigma.Z^(k) = int ds exp(-i k.X - kd) (A + kd W (k^ + i s Z)),

in the frame k^, m^ = Z x k^, Z, in units of the shear modulus, with n = 1/(1 - nu), and but for total derivatives,
which leave nothing on lines that are closed or endless,

    A_k = i n/2 b_k t_m - n nu s b_m t_z,    A_m = (i b_m t_m - s b_k t_z - i b_z t_z)/2,
    A_z = i n/2 b_z t_m - i n nu b_m t_z,    W = -n/2 t_m (i b_k - s b_z).

Along a straight segment the exponent is linear, its rate k (s t_z - i t_k) = k / r, so that each end contributes

    +-(1/k) exp(-i k.X - kd) [r A + (s t_z r^2 + kd r) W (k^ + i s Z)].

Axes: S segments, (Y, X) waves, two faces, three components.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from physics.parallel import over_threads

# Waves are summed so many at a time, neighbours of a row.
LANES = 16
# Parts of lines deeper than so many over k are left out; exp is exact to where it is nothing for a plate's longest waves.
DEEPEST = 9.0
NOTHING = 28.0
# Ends of a segment cancel to the square of this phase between them; below it stands a series.
SHORT = 1e-4
SERIES = 1e-2
# Slots of LANES numbers in a work space: k, its direction, the ends of a segment (real and imaginary part, kd), the sums over
# all ends and over those at outcrops of either kind.
K, COSINE, SINE, START, END, SUMS, OUTCROPS, OTHERS = 0, 1, 2, 3, 6, 9, 15, 21
SLOTS = 27


def line_waves(
    start_nm: np.ndarray, end_nm: np.ndarray, burgers_nm: np.ndarray, outcrops: np.ndarray, shifts: np.ndarray,
    kx: np.ndarray, ky: np.ndarray, half_nm: float, poisson_ratio: float, single_from_inv_nm: float = math.inf,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Transforms (2, 3, Y, X) of sigma.Z at Z = half_nm and -half_nm, of segments (S, 3) that cross neither plane.

    Waves are kx, ky (Y, X), their phase at a point 2 pi (j u + i v), rows i counted from 0 up, then from -Y/2, as in a
    transform; `shifts` (2, S, 2) are u, v of the starts and ends. Lines must be closed or endless. Returned second
    (2 kinds, 2, 3, Y, X) is the part of those starts and ends that `outcrops` (2, S) marks by 1 and 2, on the plane on
    which they lie: that of endless lines. Waves from k = `single_from_inv_nm` on are summed in single precision.
    """
    out = np.zeros((3, 2, 3, *kx.shape), dtype=np.complex128)
    chained = np.zeros(len(start_nm), dtype=np.bool_)
    chained[1:] = (start_nm[1:] == end_nm[:-1]).all(axis=1)
    columns = -(-kx.shape[1] // LANES) * LANES
    across, up = powers(shifts[:, :, 0], columns), powers(shifts[:, :, 1], kx.shape[0] // 2 + 1)
    over_threads(
        _rows, kx.shape[0], start_nm, end_nm, burgers_nm, chained, outcrops, across, up, across.astype(np.float32), up.astype(np.float32),
        kx, ky, half_nm, poisson_ratio, single_from_inv_nm, out,
    )  # fmt: skip
    return out[0], out[1:]


def powers(shifts: np.ndarray, count: int) -> np.ndarray:
    """exp(-2 pi i n shifts) for n < count: real and imaginary parts (2, count, *shifts.shape), moved last but one."""
    steps = np.repeat(np.exp(-2j * np.pi * shifts)[..., None], count, axis=-1)
    steps[..., 0] = 1.0
    powers = np.cumprod(steps, axis=-1)
    return np.stack([powers.real, powers.imag])


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _rows(begin, end, start, stop, burgers, chained, outcrops, across, up, across_single, up_single, kx, ky, half, nu, single_from, out):
    double, single = np.zeros(SLOTS * LANES), np.zeros(SLOTS * LANES, np.float32)
    columns = out.shape[4]
    for i in range(begin, end):
        row, sense = (i, 1.0) if 2 * i < out.shape[3] else (out.shape[3] - i, -1.0)
        for first in range(0, columns, LANES):
            least = np.inf
            for j in range(LANES):
                # Lanes beyond the row repeat its last wave.
                x, y = kx[i, min(first + j, columns - 1)], ky[i, min(first + j, columns - 1)]
                least = min(least, math.sqrt(x * x + y * y))
            if least < single_from:
                _sums(double, least, start, stop, burgers, chained, outcrops, across, up, kx, ky, half, nu, i, row, sense, first, out)
            else:
                _sums(single, least, start, stop, burgers, chained, outcrops, across_single, up_single, kx, ky, half, nu, i, row, sense, first, out)


@numba.njit(cache=True, error_model="numpy")
def _sums(w, least, start, stop, burgers, chained, outcrops, across, up, kx, ky, half, nu, i, row, sense, first, out):
    """Fill `out` at LANES waves of row i from `first` on, of which the smallest k is `least`, in the precision of `w`."""
    columns, real = out.shape[4], w.dtype.type
    for j in range(LANES):
        x, y = kx[i, min(first + j, columns - 1)], ky[i, min(first + j, columns - 1)]
        k = math.sqrt(x * x + y * y)
        w[K * LANES + j] = k
        w[COSINE * LANES + j], w[SINE * LANES + j] = (x / k, y / k) if k > 0 else (1.0, 0.0)
    poisson = real(nu)
    for face in range(2):
        for j in range(SUMS * LANES, SLOTS * LANES):
            w[j] = 0.0
        height = half if face == 0 else -half
        known = False
        for n in range(len(start)):
            above = height - start[n, 2], height - stop[n, 2]
            side = 1.0 if above[0] + above[1] > 0 else -1.0
            d1, d2 = side * above[0], side * above[1]
            if least * min(d1, d2) > DEEPEST:
                known = False
                continue
            if known and chained[n]:
                for j in range(3 * LANES):
                    w[START * LANES + j] = w[END * LANES + j]
            else:
                _end_waves(w, across, first, 0, n, up[0, 0, n, row], real(sense) * up[1, 0, n, row], real(d1), START)
            _end_waves(w, across, first, 1, n, up[0, 1, n, row], real(sense) * up[1, 1, n, row], real(d2), END)
            known = True
            tx, ty, tz = stop[n, 0] - start[n, 0], stop[n, 1] - start[n, 1], stop[n, 2] - start[n, 2]
            length = math.sqrt(tx * tx + ty * ty + tz * tz)
            t = real(tx / length), real(ty / length), real(tz / length)
            b = real(burgers[n, 0]), real(burgers[n, 1]), real(burgers[n, 2])
            s, one, two = real(side), real(1.0), real(1.0)
            kind = outcrops[0, n] if d1 == 0.0 else (outcrops[1, n] if d2 == 0.0 else 0)
            if kind > 0:
                one, two = (real(1.0), real(0.0)) if d1 == 0.0 else (real(0.0), real(1.0))
                if kind == 1:
                    _add_segment(w, t, b, s, poisson, one, two, OUTCROPS)
                else:
                    _add_segment(w, t, b, s, poisson, one, two, OTHERS)
                if least * max(d1, d2) > DEEPEST:
                    continue
                one, two = two, one
            if one + two < 2.0 or least * abs(tz) > SHORT or _least_phase_sq(w, t[0], t[1], t[2], real(length)) > SHORT * SHORT:
                _add_segment(w, t, b, s, poisson, one, two, SUMS)
            else:
                _add_flat_segment(w, tx / length, ty / length, tz / length, burgers[n, 0], burgers[n, 1], burgers[n, 2], side, nu, length)
        for j in range(SUMS * LANES, OUTCROPS * LANES):
            w[j] += w[j + (OUTCROPS - SUMS) * LANES] + w[j + (OTHERS - SUMS) * LANES]
        for part in range(3):
            for j in range(min(LANES, columns - first)):
                k, c, q = w[K * LANES + j], w[COSINE * LANES + j], w[SINE * LANES + j]
                at = (SUMS + part * (OUTCROPS - SUMS)) * LANES + j
                tau_k, tau_m = complex(w[at], w[at + LANES]), complex(w[at + 2 * LANES], w[at + 3 * LANES])
                tau_z = complex(w[at + 4 * LANES], w[at + 5 * LANES])
                scale = 1 / k if k > 0 else 0.0
                out[part, face, 0, i, first + j] = (c * tau_k - q * tau_m) * scale
                out[part, face, 1, i, first + j] = (q * tau_k + c * tau_m) * scale
                out[part, face, 2, i, first + j] = tau_z * scale


@numba.njit(cache=True, error_model="numpy")
def _end_waves(w, across, first, which, n, row_re, row_im, distance, at):
    """Fill three slots from `at` on with exp(-i k.X - kd), real and imaginary part, and kd."""
    real = w.dtype.type
    nothing, share, one = real(NOTHING), real(1 / 32), real(1.0)
    c2, c3, c4, c5, c6, c7, c8 = real(1 / 2), real(1 / 3), real(1 / 4), real(1 / 5), real(1 / 6), real(1 / 7), real(1 / 8)
    for j in range(LANES):
        w[at * LANES + j], w[(at + 1) * LANES + j] = across[0, which, n, first + j], across[1, which, n, first + j]
    for j in range(LANES):
        x = min(w[K * LANES + j] * distance, nothing)
        y = x * share
        p = one - y * (one - y * c2 * (one - y * c3 * (one - y * c4 * (one - y * c5 * (one - y * c6 * (one - y * c7 * (one - y * c8)))))))
        p *= p
        p *= p
        p *= p
        p *= p
        p *= p
        re, im = w[at * LANES + j], w[(at + 1) * LANES + j]
        w[at * LANES + j] = p * (re * row_re - im * row_im)
        w[(at + 1) * LANES + j] = p * (re * row_im + im * row_re)
        w[(at + 2) * LANES + j] = x


@numba.njit(cache=True, error_model="numpy")
def _least_phase_sq(w, tx, ty, tz, length):
    """Square of the smallest phase between the ends of a segment among the lanes' waves."""
    least = np.inf
    for j in range(LANES):
        k, tk = w[K * LANES + j] * length, w[COSINE * LANES + j] * tx + w[SINE * LANES + j] * ty
        least = min(least, k * k * (tk * tk + tz * tz))
    return least


@numba.njit(cache=True, error_model="numpy")
def _add_segment(w, t, b, s, nu, one, two, sums):
    real = w.dtype.type
    unit, a_half = real(1.0), real(0.5)
    n = unit / (unit - nu)
    (tx, ty, tz), (bx, by, bz) = t, b
    for j in range(LANES):
        c, q = w[COSINE * LANES + j], w[SINE * LANES + j]
        tk, tm, bk, bm = c * tx + q * ty, c * ty - q * tx, c * bx + q * by, c * by - q * bx
        square = unit / (tk * tk + tz * tz)
        r_re, r_im = s * tz * square, tk * square
        # r A, then V = r W and s t_z r V; V' = r V s t_z.
        half = a_half * n * tm
        v_re, v_im = half * (s * bz * r_re + bk * r_im), half * (s * bz * r_im - bk * r_re)
        u_re, u_im = s * tz * (r_re * v_re - r_im * v_im), s * tz * (r_re * v_im + r_im * v_re)
        a_re, a_im = -n * nu * s * bm * tz, half * bk
        k_re, k_im = a_re * r_re - a_im * r_im + u_re, a_re * r_im + a_im * r_re + u_im
        a_re, a_im = -a_half * s * bk * tz, a_half * (bm * tm - bz * tz)
        m_re, m_im = a_re * r_re - a_im * r_im, a_re * r_im + a_im * r_re
        a_im = half * bz - n * nu * bm * tz
        z_re, z_im = -a_im * r_im - s * u_im, a_im * r_re + s * u_re
        e_re, e_im = two * w[END * LANES + j], two * w[(END + 1) * LANES + j]
        f_re, f_im = one * w[START * LANES + j], one * w[(START + 1) * LANES + j]
        e_depth, f_depth = w[(END + 2) * LANES + j], w[(START + 2) * LANES + j]
        x_re, x_im = e_re * e_depth - f_re * f_depth, e_im * e_depth - f_im * f_depth
        e_re, e_im = e_re - f_re, e_im - f_im
        x_re, x_im = x_re * v_re - x_im * v_im, x_re * v_im + x_im * v_re
        w[sums * LANES + j] += e_re * k_re - e_im * k_im + x_re
        w[(sums + 1) * LANES + j] += e_re * k_im + e_im * k_re + x_im
        w[(sums + 2) * LANES + j] += e_re * m_re - e_im * m_im
        w[(sums + 3) * LANES + j] += e_re * m_im + e_im * m_re
        w[(sums + 4) * LANES + j] += e_re * z_re - e_im * z_im - s * x_im
        w[(sums + 5) * LANES + j] += e_re * z_im + e_im * z_re + s * x_re


@numba.njit(cache=True, error_model="numpy")
def _add_flat_segment(w, tx, ty, tz, bx, by, bz, s, nu, length):
    n = 1 / (1 - nu)
    for j in range(LANES):
        k, c, q = w[K * LANES + j], w[COSINE * LANES + j], w[SINE * LANES + j]
        tk, tm, bk, bm = c * tx + q * ty, c * ty - q * tx, c * bx + q * by, c * by - q * bx
        rate = complex(s * tz, -tk)
        z = rate * (k * length)
        e1, e2 = complex(w[START * LANES + j], w[(START + 1) * LANES + j]), complex(w[END * LANES + j], w[(END + 1) * LANES + j])
        if abs(z) > SERIES:
            first = (e2 - e1) / rate
            second = (e2 * w[(END + 2) * LANES + j] - e1 * w[(START + 2) * LANES + j]) / rate + s * tz * (e2 - e1) / rate**2
        else:
            # int exp(zs) ds and int s exp(zs) ds over 0..1
            first = e1 * k * length * (1 + z / 2 * (1 + z / 3 * (1 + z / 4 * (1 + z / 5))))
            moment = 0.5 + z * (1 / 3 + z * (1 / 8 + z * (1 / 30 + z / 144)))
            second = w[(START + 2) * LANES + j] * first - s * tz * e1 * (k * length) ** 2 * moment
        wave = -0.5 * n * tm * complex(-s * bz, bk)
        tau_k = first * complex(-n * nu * s * bm * tz, 0.5 * n * bk * tm) + second * wave
        tau_m = first * complex(-0.5 * s * bk * tz, 0.5 * (bm * tm - bz * tz))
        tau_z = first * complex(0.0, 0.5 * n * bz * tm - n * nu * bm * tz) + second * wave * complex(0.0, s)
        at = SUMS * LANES + j
        w[at] += tau_k.real
        w[at + LANES] += tau_k.imag
        w[at + 2 * LANES] += tau_m.real
        w[at + 3 * LANES] += tau_m.imag
        w[at + 4 * LANES] += tau_z.real
        w[at + 5 * LANES] += tau_z.imag
