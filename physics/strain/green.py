"""Derivative of the Green's function of an anisotropic crystal, by Barnett's integral.

With T = R/|R|, z a unit vector that turns once about T, and M_ij = z_k C_kijl z_l,

    G_ij,s(R) = 1/(8 pi^2 R^2)  int_0^2pi  ( -T_s M^-1_ij + z_s F_ij ) dpsi,
    F = M^-1 N M^-1,   N_ij = C_kijl (z_k T_l + T_k z_l)

(D. M. Barnett, Phys. Stat. Sol. (b) 49 (1972) 741; comma s is d/dR_s). The integrand has period pi and is
analytic, so that the trapezoidal rule converges faster than any power of its number of points.

Stiffness is (6, 6) in GPa, Voigt order xx, yy, zz, yz, xz, xy. Axes: P points.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import ArrayLike

from physics.errors import require
from physics.frozen import frozen_array
from physics.parallel import over_threads

VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
# Error 1e-10 of the largest component for copper, 1e-6 for lithium (Zener ratio 8.5).
TURN_POINTS = 64


def checked_stiffness(stiffness_GPa: ArrayLike, name: str = "stiffness_GPa") -> np.ndarray:
    """The stiffness as a read-only (6, 6); InputError unless it is symmetric and positive definite."""
    stiffness = frozen_array(stiffness_GPa, (6, 6), name)
    require(bool(np.allclose(stiffness, stiffness.T, rtol=1e-9)), name, "be symmetric", stiffness.tolist())
    lowest = float(np.linalg.eigvalsh(stiffness).min())
    require(lowest > 0, name, "be positive definite", f"an eigenvalue of {lowest:g}")
    return stiffness


def stiffness_tensor(stiffness_GPa: ArrayLike) -> np.ndarray:
    """C_ijkl (3, 3, 3, 3) from the Voigt matrix (6, 6)."""
    return np.asarray(stiffness_GPa, dtype=np.float64)[VOIGT[:, :, None, None], VOIGT[None, None]]


def rotated_stiffness(stiffness_GPa: ArrayLike, image_from_crystal: ArrayLike) -> np.ndarray:
    """Voigt matrix (6, 6) in the image frame of a stiffness in the crystal frame; v_image = R @ v_crystal."""
    r = frozen_array(image_from_crystal, (3, 3), "image_from_crystal")
    c = np.einsum("ai,bj,ck,dl,ijkl->abcd", r, r, r, r, stiffness_tensor(stiffness_GPa), optimize=True)
    first, second = (0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)
    return c[first, second][:, first, second]


def green_derivative(stiffness_GPa: ArrayLike, separation_nm: ArrayLike, turn_points: int = TURN_POINTS) -> np.ndarray:
    """G_ij,s (P, 3, 3, 3) in 1/(GPa nm^2) at separations R (P, 3) from a point force."""
    stiffness = checked_stiffness(stiffness_GPa)
    r = np.ascontiguousarray(separation_nm, dtype=np.float64).reshape(-1, 3)
    require(bool((np.abs(r).max(axis=1, initial=0) > 0).all()), "separation_nm", "not be zero", "a zero vector")
    out = np.empty((len(r), 3, 3, 3))
    over_threads(_derivatives, len(r), stiffness_tensor(stiffness), r, turn_points, out)
    return out


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _derivatives(begin, end, c, separation, turn_points, out):
    for p in range(begin, end):
        _derivative(c, separation[p], turn_points, out[p])


@numba.njit(cache=True, error_model="numpy")
def _derivative(c, r, turn_points, out):
    length_sq = r[0] * r[0] + r[1] * r[1] + r[2] * r[2]
    t = r / math.sqrt(length_sq)
    e1 = np.zeros(3)
    e1[np.argmin(np.abs(t))] = 1.0
    e1 -= t * (t * e1).sum()
    e1 /= math.sqrt((e1 * e1).sum())
    e2 = np.array([t[1] * e1[2] - t[2] * e1[1], t[2] * e1[0] - t[0] * e1[2], t[0] * e1[1] - t[1] * e1[0]])
    # M at angle psi is a quadratic form in (cos psi, sin psi), N a bilinear one with T: contract C once.
    m11, m12, m22 = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((3, 3))
    n1, n2 = np.zeros((3, 3)), np.zeros((3, 3))
    for k in range(3):
        for l in range(3):
            for i in range(3):
                for j in range(3):
                    value = c[k, i, j, l]
                    m11[i, j] += value * e1[k] * e1[l]
                    m12[i, j] += value * (e1[k] * e2[l] + e2[k] * e1[l])
                    m22[i, j] += value * e2[k] * e2[l]
                    n1[i, j] += value * (e1[k] * t[l] + t[k] * e1[l])
                    n2[i, j] += value * (e2[k] * t[l] + t[k] * e2[l])
    mean, f1, f2 = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((3, 3))
    m, n, inverse, left = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    for turn in range(turn_points):
        psi = math.pi * turn / turn_points
        cosine, sine = math.cos(psi), math.sin(psi)
        for i in range(3):
            for j in range(3):
                m[i, j] = cosine * cosine * m11[i, j] + cosine * sine * m12[i, j] + sine * sine * m22[i, j]
                n[i, j] = cosine * n1[i, j] + sine * n2[i, j]
        _invert_symmetric(m, inverse)
        for i in range(3):
            for j in range(3):
                left[i, j] = inverse[i, 0] * n[0, j] + inverse[i, 1] * n[1, j] + inverse[i, 2] * n[2, j]
        for i in range(3):
            for j in range(3):
                f = left[i, 0] * inverse[0, j] + left[i, 1] * inverse[1, j] + left[i, 2] * inverse[2, j]
                mean[i, j] += inverse[i, j]
                f1[i, j] += cosine * f
                f2[i, j] += sine * f
    scale = 1 / (4 * math.pi * turn_points * length_sq)
    for i in range(3):
        for j in range(3):
            for s in range(3):
                out[i, j, s] = scale * (e1[s] * f1[i, j] + e2[s] * f2[i, j] - t[s] * mean[i, j])


@numba.njit(cache=True, error_model="numpy")
def _invert_symmetric(m, inverse):
    a, b, c, d, e, f = m[0, 0], m[0, 1], m[0, 2], m[1, 1], m[1, 2], m[2, 2]
    xx, xy, xz = d * f - e * e, c * e - b * f, b * e - c * d
    over = 1 / (a * xx + b * xy + c * xz)
    inverse[0, 0], inverse[0, 1], inverse[0, 2] = xx * over, xy * over, xz * over
    inverse[1, 1], inverse[1, 2], inverse[2, 2] = (a * f - c * c) * over, (b * c - a * e) * over, (a * d - b * b) * over
    inverse[1, 0], inverse[2, 0], inverse[2, 1] = inverse[0, 1], inverse[0, 2], inverse[1, 2]
