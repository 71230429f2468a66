"""Tractions of straight segments on a plane direction, isotropic crystal, non-singular core.

sigma.n is linear in the distortion, so that the closed form of `isotropic` holds for it with other coefficients:
in fixed axes n1, n2 across a segment, S1 = [s/R], S3 = [s/R^3], T1 = [1/R], T3 = [1/R^3] (brackets: end minus
start), each component is

    (S1/Q) (E.rho - 2 N/Q) + S3 (F.rho - N/Q) + T1 C1 - T3 (C2 + rho.H.rho),

N = a^2 M.rho + a cubic form. Stresses are in units of the shear modulus.

Axes: S segments, P points.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from physics.parallel import over_threads
from physics.strain.isotropic import CORE_SQ, LENGTH, N1, N2, START, T
from physics.strain.segments import Segments

# Geometry of a row as in `isotropic`, then 15 coefficients a component.
GEOMETRY, PER_COMPONENT = 14, 15
WIDTH = GEOMETRY + 3 * PER_COMPONENT


def isotropic_stiffness(poisson_ratio: float) -> np.ndarray:
    """C_ijkl (3, 3, 3, 3) in units of the shear modulus."""
    eye = np.eye(3)
    shear = np.einsum("ik,jl->ijkl", eye, eye) + np.einsum("il,jk->ijkl", eye, eye)
    return 2 * poisson_ratio / (1 - 2 * poisson_ratio) * np.einsum("ij,kl->ijkl", eye, eye) + shear


def traction_rows(
    segments: Segments, normal: np.ndarray, axes: np.ndarray, poisson_ratio: float, core_nm: np.ndarray | float
) -> np.ndarray:
    """Rows (S, WIDTH) from which axes @ sigma.normal follows; `core_nm` may differ from segment to segment."""
    along = segments.end_nm - segments.start_nm
    length = np.linalg.norm(along, axis=1)
    t = along / length[:, None]
    n1 = np.cross(t, np.eye(3)[np.abs(t).argmin(axis=1)])
    n1 /= np.linalg.norm(n1, axis=1, keepdims=True)
    n2 = np.cross(t, n1)
    rows = np.zeros((len(segments), WIDTH))
    rows[:, T : T + 3], rows[:, N1 : N1 + 3], rows[:, N2 : N2 + 3] = t, n1, n2
    rows[:, START : START + 3], rows[:, LENGTH], rows[:, CORE_SQ] = segments.start_nm, length, np.square(core_nm)
    # sigma_i = sum_ms weight[i, m, s] du_m/dx_s along each of the axes i.
    weight = np.einsum("ia,j,ajms->ims", axes, normal, isotropic_stiffness(poisson_ratio))
    k = 1 / (1 - poisson_ratio)
    b = segments.burgers_nm
    b1, b2, bt = (np.einsum("si,si->s", n, b) for n in (n1, n2, t))
    a_sq = rows[:, CORE_SQ]
    for m in range(3):
        for s in range(3):
            g1, g2, gt = n1[:, m], n2[:, m], t[:, m]
            u1, u2 = -n2[:, s], n1[:, s]  # w = t x e across the segment
            wb, wg, gb = u1 * b1 + u2 * b2, u1 * g1 + u2 * g2, b[:, m]
            across = g1 * b1 + g2 * b2
            nu_k = poisson_ratio * k
            m1, m2 = nu_k * wb * g1 + gb * u1 + wg * b1, nu_k * wb * g2 + gb * u2 + wg * b2
            mt = nu_k * wb * gt + wg * bt
            h1, h2 = g1 * bt + b1 * gt, g2 * bt + b2 * gt
            part = np.stack([
                -2 * m1 + k * (wg * b1 + wb * g1 + across * u1), -2 * m2 + k * (wg * b2 + wb * g2 + across * u2),
                a_sq * m1, a_sq * m2,
                k * u1 * g1 * b1, k * (u2 * g1 * b1 + u1 * (g2 * b1 + g1 * b2)),
                k * (u1 * g2 * b2 + u2 * (g2 * b1 + g1 * b2)), k * u2 * g2 * b2,
                k * gt * bt * u1, k * gt * bt * u2,
                -2 * mt + k * (wg * bt + wb * gt), a_sq * mt,
                k * u1 * h1, k * (u1 * h2 + u2 * h1), k * u2 * h2,
            ], axis=1) / (8 * math.pi)  # fmt: skip
            for i in range(3):
                if weight[i, m, s] != 0:
                    rows[:, GEOMETRY + i * PER_COMPONENT : GEOMETRY + (i + 1) * PER_COMPONENT] += weight[i, m, s] * part
    return rows


def negated(rows: np.ndarray) -> np.ndarray:
    """Rows of the same segments with opposite Burgers vectors."""
    rows = rows.copy()
    rows[:, GEOMETRY:] *= -1
    return rows


def tractions(rows: np.ndarray, points_nm: np.ndarray) -> np.ndarray:
    """Tractions (3, P) at `points_nm` (P, 3), summed directly in double precision."""
    total = np.zeros((3, len(points_nm)))
    x, y, z = (np.ascontiguousarray(points_nm[:, i], dtype=np.float64) for i in range(3))
    over_threads(_blocks, -(-len(x) // 256), rows, x, y, z, total)
    return total


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _blocks(begin, end, rows, x, y, z, total):
    for i in range(begin, end):
        a, b = 256 * i, min(256 * (i + 1), x.size)
        for k in range(len(rows)):
            add_traction(rows[k], x[a:b], y[a:b], z[a:b], total[0, a:b], total[1, a:b], total[2, a:b])


@numba.njit(cache=True, error_model="numpy", fastmath={"contract"})
def _component(c, rho1, rho2, inv_q, s1, s2, i1, i2, j1, j2):
    r11, r12, r22 = rho1 * rho1, rho1 * rho2, rho2 * rho2
    n = (rho1 * (c[2] + c[4] * r11 + c[5] * r12 + c[6] * r22) + rho2 * (c[3] + c[7] * r22)) * inv_q
    e = (c[0] * rho1 + c[1] * rho2 - (n + n)) * inv_q
    f = c[8] * rho1 + c[9] * rho2 - n
    h = c[11] + c[12] * r11 + c[13] * r12 + c[14] * r22
    return (s2 * e + c[10] + (s2 * f - h) * j2) * i2 - (s1 * e + c[10] + (s1 * f - h) * j1) * i1


@numba.njit(cache=True, error_model="numpy", fastmath={"contract"})
def add_traction(row, x, y, z, out0, out1, out2, x0=0.0, y0=0.0, z0=0.0):
    """Add one segment's tractions to `out0..2` (P,) at the points (x0 + x, y0 + y, z0 + z), in the precision of the outputs."""
    kind = out0.dtype.type
    one = kind(1.0)
    ox, oy, oz = x[0], y[0], z[0]
    dx, dy, dz = x0 + ox - row[START], y0 + oy - row[START + 1], z0 + oz - row[START + 2]
    tx, ty, tz = kind(row[T]), kind(row[T + 1]), kind(row[T + 2])
    ax, ay, az = kind(row[N1]), kind(row[N1 + 1]), kind(row[N1 + 2])
    bx, by, bz = kind(row[N2]), kind(row[N2 + 1]), kind(row[N2 + 2])
    s0 = kind(-(row[T] * dx + row[T + 1] * dy + row[T + 2] * dz))
    a0 = kind(row[N1] * dx + row[N1 + 1] * dy + row[N1 + 2] * dz)
    b0 = kind(row[N2] * dx + row[N2 + 1] * dy + row[N2 + 2] * dz)
    length, core_sq = kind(row[LENGTH]), kind(row[CORE_SQ])
    p = np.empty(PER_COMPONENT, out0.dtype)
    q, r = np.empty(PER_COMPONENT, out0.dtype), np.empty(PER_COMPONENT, out0.dtype)
    for j in range(PER_COMPONENT):
        p[j], q[j] = row[GEOMETRY + j], row[GEOMETRY + PER_COMPONENT + j]
        r[j] = row[GEOMETRY + 2 * PER_COMPONENT + j]
    cp = (p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], p[12], p[13], p[14])
    cq = (q[0], q[1], q[2], q[3], q[4], q[5], q[6], q[7], q[8], q[9], q[10], q[11], q[12], q[13], q[14])
    cr = (r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[14])
    for i in range(x.size):
        rx, ry, rz = kind(x[i] - ox), kind(y[i] - oy), kind(z[i] - oz)
        s1 = s0 - (tx * rx + ty * ry + tz * rz)
        s2 = s1 + length
        rho1 = a0 + (ax * rx + ay * ry + az * rz)
        rho2 = b0 + (bx * rx + by * ry + bz * rz)
        q_ = rho1 * rho1 + rho2 * rho2 + core_sq
        inv_q = one / q_
        i1, i2 = one / math.sqrt(s1 * s1 + q_), one / math.sqrt(s2 * s2 + q_)
        j1, j2 = i1 * i1, i2 * i2
        out0[i] += _component(cp, rho1, rho2, inv_q, s1, s2, i1, i2, j1, j2)
        out1[i] += _component(cq, rho1, rho2, inv_q, s1, s2, i1, i2, j1, j2)
        out2[i] += _component(cr, rho1, rho2, inv_q, s1, s2, i1, i2, j1, j2)
