"""Distortion of straight segments in an isotropic crystal, with a non-singular core.

Mura's line integral (Mura, Micromechanics of Defects in Solids, 2nd ed. 1987, eq. 37.9)

    beta_ms(x) = du_m/dx_s = -b_i  int  eps_jsp C_ijkl G_km,l(x - x') dx'_p

with R replaced by R_a = sqrt(R^2 + a^2) (Cai, Arsenlis, Weinberger & Bulatov, J. Mech. Phys. Solids 54
(2006) 561). Contracted with g and a direction e, and with t the tangent, w = t x e and k = 1/(1 - nu), it is

    8 pi g.beta.e = nu k (w.b) d_g A + (g.b) d_w A + (w.g) d_b A - k d_b d_g d_w B,
    A = int (2/R_a + a^2/R_a^3) dl',   B = int R_a dl',

which needs neither logarithm nor arctangent: with n1 = w/|w|, n2 = t x n1, rho = r_perp, Q = rho^2 + a^2 and
s the distance along t from the point's foot to the segment's ends,

    beta = sum over ends, + at the end and - at the start, of
           [ s E' + c1 + (s F' - H) / R^2 ] / R,   E' = (E - 2 N/Q)/Q,  F' = F - N/Q,   R^2 = s^2 + Q,

E, F linear, H quadratic and N cubic in rho. A segment along e contributes nothing (w = 0), so that cutting a
line at a surface is the same as continuing it along the beam.

Axes: S segments, P points.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numba
import numpy as np
from numpy.typing import ArrayLike

from physics.errors import require
from physics.parallel import over_threads
from physics.strain.segments import Segments

# Columns of a row of coefficients: geometry in nm, then the polynomials in rho1, rho2.
T, N1, N2, START, LENGTH, CORE_SQ, E1, E2, NA1, NA2, P1, P2, Q1, Q2, F1, C1, C2, H1, H2, WIDTH = (
    0, 3, 6, 9, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
)  # fmt: skip

# Points that stay in the fastest memory while all segments pass.
BLOCK = 256
DOWN = np.array([0.0, 0.0, -1.0])
DOWN.setflags(write=False)


def coefficients(
    segments: Segments, g_image: ArrayLike, direction: ArrayLike, poisson_ratio: float, core_nm: float
) -> np.ndarray:
    """Rows (S', WIDTH) float64 from which g.beta.direction follows at any point; S' <= S.

    Segments that contribute nothing (along `direction`, or without any g.b, g.w, w.b) are left out.
    """
    rows, silent = coefficient_rows(
        segments.start_nm, segments.end_nm, segments.burgers_nm, g_image, direction, poisson_ratio, core_nm
    )
    return np.ascontiguousarray(rows[~silent])


def coefficient_rows(
    start_nm: np.ndarray, end_nm: np.ndarray, burgers_nm: np.ndarray, g_image: ArrayLike, direction: ArrayLike,
    poisson_ratio: float, core_nm: float,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """A row (S, WIDTH) for every piece from start to end (S, 3), and which of them (S,) contribute nothing."""
    require(-1 < poisson_ratio < 0.5, "poisson_ratio", "lie in (-1, 0.5)", poisson_ratio)
    require(core_nm > 0, "core_nm", "be > 0", core_nm)
    g = np.asarray(g_image, dtype=np.float64)
    e = np.asarray(direction, dtype=np.float64)
    along = end_nm - start_nm
    length = np.linalg.norm(along, axis=1)
    t = along / length[:, None]
    w = np.cross(t, e)
    w_norm = np.linalg.norm(w, axis=1)
    n1 = w / np.maximum(w_norm, 1e-300)[:, None]  # zero for a segment along `direction`, which is left out below
    n2 = np.cross(t, n1)
    b = burgers_nm
    g1, g2, gt = n1 @ g, n2 @ g, t @ g
    b1, b2, bt = (np.einsum("si,si->s", n, b) for n in (n1, n2, t))
    k = 1 / (1 - poisson_ratio)
    a_sq = core_nm * core_nm
    nu_k = poisson_ratio * k
    scale = w_norm / (8 * math.pi)
    g_dot_b = b @ g
    m1 = nu_k * b1 * g1 + g_dot_b + g1 * b1
    m2 = nu_k * b1 * g2 + g1 * b2
    m_t = nu_k * b1 * gt + g1 * bt
    rows = np.zeros((len(start_nm), WIDTH))
    rows[:, T : T + 3], rows[:, N1 : N1 + 3], rows[:, N2 : N2 + 3] = t, n1, n2
    rows[:, START : START + 3] = start_nm
    rows[:, LENGTH], rows[:, CORE_SQ] = length, a_sq
    rows[:, E1] = -2 * m1 + k * (g1 * b1 + b1 * g1 + g1 * b1 + g2 * b2)
    rows[:, E2] = -2 * m2 + k * (g1 * b2 + b1 * g2)
    rows[:, NA1], rows[:, NA2] = a_sq * m1, a_sq * m2
    rows[:, P1], rows[:, P2] = k * g1, k * g2
    rows[:, F1] = k * gt * bt
    rows[:, C1] = -2 * m_t + k * (g1 * bt + b1 * gt)
    rows[:, C2] = a_sq * m_t
    rows[:, H1], rows[:, H2] = k * (g1 * bt + b1 * gt), k * (g2 * bt + b2 * gt)
    rows[:, E1:WIDTH] *= scale[:, None]
    rows[:, Q1], rows[:, Q2] = b1, b2
    silent = (w_norm < 1e-12) | (np.abs(rows[:, [E1, E2, NA1, NA2, F1, C1, C2, H1, H2]]).max(axis=1) < 1e-15)
    return rows, silent


def depth_gradient(
    segments: Segments,
    g_image_inv_nm: ArrayLike,
    points_nm: ArrayLike,
    poisson_ratio: float,
    core_nm: float,
    direction: ArrayLike = DOWN,
) -> np.ndarray:
    """d(g.u)/dd (P,) in nm^-1 at `points_nm` (P, 3), d downward (or along the unit vector `direction`)."""
    rows = coefficients(segments, g_image_inv_nm, direction, poisson_ratio, core_nm)
    points_nm = np.ascontiguousarray(points_nm, dtype=np.float64).reshape(-1, 3)
    total = np.zeros(len(points_nm))
    over_threads(_sum_blocks, -(-len(points_nm) // BLOCK), rows, points_nm, total)
    return total


def distortion(segments: Segments, points_nm: ArrayLike, poisson_ratio: float, core_nm: float) -> np.ndarray:
    """Distortion (P, 3, 3), [:, m, s] = du_m/dx_s, in the image frame."""
    return from_contractions(lambda g, e: depth_gradient(segments, g, points_nm, poisson_ratio, core_nm, e))


def from_contractions(contracted: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Distortion (P, 3, 3) from a function that gives g.beta.e (P,) for unit vectors g and e."""
    axes = np.eye(3)
    return np.stack([np.stack([contracted(g, e) for e in axes], axis=-1) for g in axes], axis=-2)


def strain(distortion: np.ndarray) -> np.ndarray:
    """Symmetric part (P, 3, 3) of a distortion."""
    return (distortion + np.swapaxes(distortion, -1, -2)) / 2


def rotation(distortion: np.ndarray) -> np.ndarray:
    """Rotation vector (P, 3) in rad, curl u / 2, of a distortion."""
    antisymmetric = (distortion - np.swapaxes(distortion, -1, -2)) / 2
    return np.stack([antisymmetric[..., 2, 1], antisymmetric[..., 0, 2], antisymmetric[..., 1, 0]], axis=-1)


def isotropic_stiffness(poisson_ratio: float) -> np.ndarray:
    """C_ijkl (3, 3, 3, 3) in units of the shear modulus."""
    eye = np.eye(3)
    shear = np.einsum("ik,jl->ijkl", eye, eye) + np.einsum("il,jk->ijkl", eye, eye)
    return 2 * poisson_ratio / (1 - 2 * poisson_ratio) * np.einsum("ij,kl->ijkl", eye, eye) + shear


@numba.njit(cache=True, error_model="numpy")
def row_value(s1, s2, rho1, rho2, core_sq, e1, e2, na1, na2, p1, p2, q1, q2, f1, c1, c2, h1, h2, two, one):
    """One segment's share of g.beta.e; `one`, `two` carry the float type, since integers would widen it.

    Division costs as much as ten products: three reciprocals are had from that of their product.
    """
    q = rho1 * rho1 + rho2 * rho2 + core_sq
    r1, r2 = math.sqrt(s1 * s1 + q), math.sqrt(s2 * s2 + q)
    both = r1 * r2
    inv_all = one / (q * both)
    inv_q, inv_r1, inv_r2 = inv_all * both, inv_all * q * r2, inv_all * q * r1
    n_over_q = (na1 * rho1 + na2 * rho2 + rho1 * (p1 * rho1 + p2 * rho2) * (q1 * rho1 + q2 * rho2)) * inv_q
    e = (e1 * rho1 + e2 * rho2 - two * n_over_q) * inv_q
    f = f1 * rho1 - n_over_q
    h = c2 + rho1 * (h1 * rho1 + h2 * rho2)
    at_end = (s2 * e + c1 + (s2 * f - h) * (inv_r2 * inv_r2)) * inv_r2
    at_start = (s1 * e + c1 + (s1 * f - h) * (inv_r1 * inv_r1)) * inv_r1
    return at_end - at_start


@numba.njit(cache=True, error_model="numpy")
def add_row(row, x, y, z, total):
    """Add one segment's g.beta.e to `total` (P,) at the points (x, y, z), in the precision of `total`."""
    kind = total.dtype.type
    one, two = kind(1.0), kind(2.0)
    tx, ty, tz = kind(row[T]), kind(row[T + 1]), kind(row[T + 2])
    ax, ay, az = kind(row[N1]), kind(row[N1 + 1]), kind(row[N1 + 2])
    bx, by, bz = kind(row[N2]), kind(row[N2 + 1]), kind(row[N2 + 2])
    # Positions are taken from the first point in double: far ends would cost float32 its last digits.
    ox, oy, oz = x[0], y[0], z[0]
    dx, dy, dz = ox - row[START], oy - row[START + 1], oz - row[START + 2]
    s0 = kind(-(row[T] * dx + row[T + 1] * dy + row[T + 2] * dz))
    a0 = kind(row[N1] * dx + row[N1 + 1] * dy + row[N1 + 2] * dz)
    b0 = kind(row[N2] * dx + row[N2 + 1] * dy + row[N2 + 2] * dz)
    length, core_sq = kind(row[LENGTH]), kind(row[CORE_SQ])
    e1, e2, na1, na2 = kind(row[E1]), kind(row[E2]), kind(row[NA1]), kind(row[NA2])
    p1, p2, q1, q2 = kind(row[P1]), kind(row[P2]), kind(row[Q1]), kind(row[Q2])
    f1, c1, c2, h1, h2 = kind(row[F1]), kind(row[C1]), kind(row[C2]), kind(row[H1]), kind(row[H2])
    for i in range(total.size):
        rx, ry, rz = kind(x[i] - ox), kind(y[i] - oy), kind(z[i] - oz)
        s1 = s0 - (tx * rx + ty * ry + tz * rz)
        rho1 = a0 + (ax * rx + ay * ry + az * rz)
        rho2 = b0 + (bx * rx + by * ry + bz * rz)
        total[i] += row_value(
            s1, s1 + length, rho1, rho2, core_sq, e1, e2, na1, na2, p1, p2, q1, q2, f1, c1, c2, h1, h2, two, one
        )


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _sum_blocks(begin, end, rows, points_nm, total):
    for c in range(begin, end):
        first, last = c * BLOCK, min(len(points_nm), (c + 1) * BLOCK)
        x, y, z = points_nm[first:last, 0].copy(), points_nm[first:last, 1].copy(), points_nm[first:last, 2].copy()
        for k in range(len(rows)):
            add_row(rows[k], x, y, z, total[first:last])
