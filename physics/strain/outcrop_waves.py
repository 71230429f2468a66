"""What an outcrop's difference of half-space fields leaves on both faces of a plate, wave by wave.

On its own face an endless straight line, kinked where it crosses it, has the tractions (1/k) exp(-i k.X) tau^, tau^ the
difference of its two halves' ends in `line_waves`. H answers to their opposite: at the depth d below that face it has
-(1/k) exp(-i k.X - kd) (1 + kd q) tau^ (`plate_modes.isotropic_stress`).

Axes: O outcrops, A directions, (Y, X) waves, J shifts of depth.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from physics.parallel import over_threads

# Waves that have decayed by exp(-DEEPEST) are left out.
DEEPEST = 20.0


def kinked_lines(inner: np.ndarray, outer: np.ndarray, burgers_nm: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Rows (O, 10) of lines that come along `inner` (O, 3) and go on along `outer`, through the face of a side (O,)."""
    return np.ascontiguousarray(np.concatenate([inner, outer, burgers_nm, side[:, None]], axis=1))


def kinked_transforms(lines: np.ndarray, angles_rad: np.ndarray, poisson_ratio: float) -> np.ndarray:
    """tau^ (O, 3, A) along X, Y, Z."""
    out = np.empty((len(lines), 3, len(angles_rad)), dtype=np.complex128)
    _transforms(lines, np.cos(angles_rad), np.sin(angles_rad), poisson_ratio, out)
    return out


@numba.njit(cache=True, error_model="numpy")
def _half_line(c, q, tx, ty, tz, bx, by, bz, s, n_nu, n):
    """r A + s t_z r^2 W (k^ + i s Z)."""
    tk, tm, bk, bm = c * tx + q * ty, c * ty - q * tx, c * bx + q * by, c * by - q * bx
    r = complex(s * tz, tk) / (tk * tk + tz * tz)
    wave = s * tz * r * r * complex(0.5 * n * tm * s * bz, -0.5 * n * tm * bk)
    return (
        r * complex(-n_nu * s * bm * tz, 0.5 * n * bk * tm) + wave,
        r * complex(-0.5 * s * bk * tz, 0.5 * (bm * tm - bz * tz)),
        r * complex(0.0, 0.5 * n * bz * tm - n_nu * bm * tz) + wave * complex(0.0, s),
    )


@numba.njit(cache=True, error_model="numpy")
def _kinked(line, c, q, nu):
    n = 1 / (1 - nu)
    s = line[9]
    k1, m1, z1 = _half_line(c, q, line[0], line[1], line[2], line[6], line[7], line[8], s, n * nu, n)
    k2, m2, z2 = _half_line(c, q, line[3], line[4], line[5], line[6], line[7], line[8], -s, n * nu, n)
    return k1 - k2, m1 - m2, z1 - z2


@numba.njit(cache=True, error_model="numpy")
def _transforms(lines, cosines, sines, nu, out):
    for o in range(len(lines)):
        for a in range(len(cosines)):
            c, q = cosines[a], sines[a]
            k, m, z = _kinked(lines[o], c, q, nu)
            out[o, 0, a], out[o, 1, a], out[o, 2, a] = c * k - q * m, q * k + c * m, z


def add_differences(
    own: np.ndarray, weights: np.ndarray, shift_nm: float, kx: np.ndarray, ky: np.ndarray, thickness_nm: float, load: np.ndarray
) -> None:
    """Add to `load` the tractions of sum_j weights[j] H(d + j shift_nm) that answers to `own`, both (2 faces, 3, Y, X)."""
    over_threads(_rows, kx.shape[0], own, weights, shift_nm, kx, ky, thickness_nm, load)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _rows(begin, end, own, weights, shift, kx, ky, thickness, load):
    for i in range(begin, end):
        for j in range(kx.shape[1]):
            k = math.sqrt(kx[i, j] ** 2 + ky[i, j] ** 2)
            if k == 0.0:
                continue
            c, q = kx[i, j] / k, ky[i, j] / k
            # sum_j w_j exp(-k j shift) (1, k j shift), at the own face and a thickness on
            step, decay = math.exp(-k * shift), 1.0
            near, near_depth = 0.0, 0.0
            for n in range(len(weights)):
                near += weights[n] * decay
                near_depth += weights[n] * decay * k * shift * n
                decay *= step
            decay = math.exp(-k * thickness) if k * thickness < DEEPEST else 0.0
            far, far_depth = decay * near, decay * (near_depth + k * thickness * near)
            for face in range(2):
                tau_k = c * own[face, 0, i, j] + q * own[face, 1, i, j]
                # The wave that decays from the upper face down has kd (tau_z + i tau_k)(i k^ + Z), the other its mirror image.
                turn = 1j if face == 0 else -1j
                wave = own[face, 2, i, j] + turn * tau_k
                for at in range(2):
                    flat, depth = (near, near_depth) if at == face else (far, far_depth)
                    if flat != 0.0:
                        load[at, 0, i, j] -= flat * own[face, 0, i, j] + depth * c * turn * wave
                        load[at, 1, i, j] -= flat * own[face, 1, i, j] + depth * q * turn * wave
                        load[at, 2, i, j] -= flat * own[face, 2, i, j] + depth * wave
