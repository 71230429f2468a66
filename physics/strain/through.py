"""An endless line along the normal of an unbounded plate, its core spread over `core_nm`: the far field of any line.

Far from where it leaves a foil every line looks like one straight through. Tractions of such a line fall only as 1/r,
and so does the answer of the plate: no box holds them. Here they are summed without one. With t = Z, Q = r^2 + a^2
the bulk field follows from A = -2 ln Q + 2 a^2/Q and its inverse Laplacian (`isotropic`; Cai et al., JMPS 54 (2006)
561), whose transform is

    A^ = 8 pi a K_1(ka)/k + 4 pi a^2 K_0(ka),
    8 pi g.beta^.e = i A^ [nu (w.b)(g.k)/(1-nu) + (g.b)(w.k) + (w.g)(b.k) - (b.k)(g.k)(w.k)/((1-nu) k^2)],  w = Z x e;

each wave is answered by `plate_modes`, and over the few harmonics m of the direction of k

    beta(r, psi, Z) = (1/2 pi) sum_m i^m e^{i m psi} int k J_m(kr) c_m(k, Z) dk.

Lengths are in units of the thickness, or of a hand-over among grids (`plate_levels`), so that the Bessel functions are
found once and for all.

Axes: L lines, K wave numbers, A directions of k, R radii, Q heights, M harmonics.
"""

from __future__ import annotations

from functools import lru_cache

import numba
import numpy as np
from scipy.special import jv, k0, k1

from physics.parallel import over_threads
from physics.strain.isotropic import isotropic_stiffness
from physics.strain.plate_levels import long_share
from physics.strain.plate_modes import isotropic_plate

# The field of a Burgers vector along an axis has harmonics up to |m| = 3 of the direction of k: g, e and b.
DIRECTIONS, HARMONICS = 8, 4
LARGEST_K, WAVES = 18.0, 320
LARGEST_R, RADII = 16.0, 161
# A core that no wave sees.
THIN = 1e-6


@lru_cache(maxsize=2)
def bessel_quadrature(harmonics: int) -> tuple[np.ndarray, np.ndarray]:
    """Wave numbers (K,) and quadrature (M, R, K) of k J_m(kr) dk, in units of the thickness."""
    nodes, weights = np.polynomial.legendre.leggauss(WAVES)
    k, dk = (nodes + 1) * LARGEST_K / 2, weights * LARGEST_K / 2
    r = np.linspace(0, LARGEST_R, RADII)
    return k, np.stack([jv(m, r[:, None] * k) * k * dk for m in range(harmonics)])


def through_tractions(kx: np.ndarray, ky: np.ndarray, core: float, poisson_ratio: float) -> np.ndarray:
    """Transforms (3 Burgers vectors along the axes, 3, ...) of sigma.Z of a line up Z, units of the shear modulus."""
    k = np.stack([kx, ky, np.zeros_like(kx)])
    size = np.hypot(kx, ky)
    a_hat = 8 * np.pi * core * k1(core * size) / size + 4 * np.pi * core**2 * k0(core * size)
    w = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 0]])  # Z x e for e along X, Y, Z
    eye, bulk = np.eye(3), 1 / (1 - poisson_ratio)
    w_k = np.einsum("sj,j...->s...", w, k)
    beta = poisson_ratio * bulk * np.einsum("sb,m...->bms...", w, k) + np.einsum("mb,s...->bms...", eye, w_k)
    beta = beta + np.einsum("sm,b...->bms...", w, k) - bulk * np.einsum("b...,m...,s...->bms...", k, k, w_k) / size**2
    return np.einsum("ims,bms...->bi...", isotropic_stiffness(poisson_ratio)[:, 2], 1j * a_hat / (8 * np.pi) * beta)


def through_profiles(
    g: np.ndarray, e: np.ndarray, poisson_ratio: float, heights: np.ndarray, core: float = 1.0, hand_over: float | None = None
) -> np.ndarray:
    """Radial functions (3, R, Q, 2 M) of what the plate adds to g.du/de, times the thickness, for unit Burgers vectors.

    `heights` (Q,) evenly spaced downward; all vectors in the foil frame, lengths in thicknesses. With `hand_over` only the
    `plate_levels.long_share` of a hand-over of that length stands, and radii are in units of it. The last axis holds the
    parts that go with cos m psi, then with sin m psi.
    """
    k, bessel = bessel_quadrature(HARMONICS)
    share = np.ones_like(k)
    if hand_over is not None:
        share, k = long_share(k, 1.0) / hand_over**2, k / hand_over
    angles = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    kx, ky = k[:, None] * np.cos(angles), k[:, None] * np.sin(angles)
    load = -through_tractions(kx, ky, core, poisson_ratio).astype(complex) * share[:, None]
    out = np.empty((3, len(heights), *kx.shape), dtype=complex)
    for b in range(3):
        isotropic_plate(0, len(kx), load[b], load[b], kx, ky, 0.5, poisson_ratio, g, e, np.zeros(2), heights, out[b])
    c = np.fft.fft(out, axis=-1) / DIRECTIONS
    profiles = np.zeros((3, RADII, len(heights), 2 * HARMONICS))
    for m in range(HARMONICS):
        plus = np.einsum("rk,bqk->brq", bessel[m], c[..., m]) * 1j**m / (2 * np.pi)
        # beta is real: c_-m answers to the conjugate of c_m.
        profiles[..., m] = plus.real * (1 if m == 0 else 2)
        profiles[..., HARMONICS + m] = -plus.imag * (0 if m == 0 else 2)
    return profiles


def through_field(
    places: np.ndarray, burgers: np.ndarray, profiles: np.ndarray, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Sum (P, Q) over lines (L, 2) of Burgers vectors (L, 3) at in-plane points x, y (P, Q), lengths in thicknesses."""
    total = np.zeros(x.shape)
    over_threads(_sum_lines, len(x), places, np.einsum("lb,brqm->lqrm", burgers, profiles), x, y, total)
    return total


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _sum_lines(begin, end, places, profiles, x, y, total):
    harmonics = profiles.shape[3] // 2
    per_r = (RADII - 1) / LARGEST_R
    for p in range(begin, end):
        for q in range(x.shape[1]):
            for n in range(len(places)):
                dx, dy = x[p, q] - places[n, 0], y[p, q] - places[n, 1]
                r = np.sqrt(dx * dx + dy * dy) + 1e-12
                c, s = dx / r, dy / r
                # Beyond the table the field falls as 1/r.
                far = max(r / LARGEST_R, 1.0)
                u = min(r, LARGEST_R) * per_r
                j = min(max(int(u), 1), RADII - 3)
                t = u - j
                w0, w1 = -t * (t - 1) * (t - 2) / 6, (t + 1) * (t - 1) * (t - 2) / 2
                w2, w3 = -(t + 1) * t * (t - 2) / 2, (t + 1) * t * (t - 1) / 6
                first, second, third, fourth = profiles[n, q, j - 1], profiles[n, q, j], profiles[n, q, j + 1], profiles[n, q, j + 2]
                cm, sm, value = 1.0, 0.0, 0.0
                for m in range(harmonics):
                    h = harmonics + m
                    value += cm * (w0 * first[m] + w1 * second[m] + w2 * third[m] + w3 * fourth[m])
                    value += sm * (w0 * first[h] + w1 * second[h] + w2 * third[h] + w3 * fourth[h])
                    cm, sm = cm * c - sm * s, sm * c + cm * s
                total[p, q] += value / far
