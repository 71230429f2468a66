"""Elastic waves exp(i k.X) that decay from a free surface, and the plate bounded by two of them, isotropic.

Frame: X, Y in the foil, Z along its normal; the upper face is Z = +h. With k^ the direction of k, m^ = Z x k^ and
d the depth below the face, three waves decay downward (Lur'e, Three-dimensional Problems of the Theory of
Elasticity, 1964, chapter 3, in potentials): m^ (shear), grad(phi) and the wave with d grad(phi),

    u = [(i alpha - i kd beta) k^ + gamma m^ + (alpha - (kd + 3 - 4 nu) beta) Z^] exp(-kd) / k.

Tractions sigma.Z are in units of the shear modulus. The waves that decay upward are their mirror images.

Axes: A directions of k, three components along X, Y, Z.
"""

from __future__ import annotations

import numba
import numpy as np

MIRROR = np.array([1.0, 1.0, -1.0])
# Waves that have decayed by exp(-DECAYED) are left out.
DECAYED = 20.0
# sigma_xz and sigma_yz change sign in a mirror across Z.
MIRROR_TRACTION = np.array([-1.0, -1.0, 1.0])


def isotropic_gradient(angles_rad: np.ndarray, poisson_ratio: float, g: np.ndarray, e: np.ndarray) -> np.ndarray:
    """Responses (2, A, 3): g.du/de at depth d is (r[0] + kd r[1]).tau exp(-kd) for a traction tau exp(i k.X) on the face."""
    local, alpha, beta, gamma = _amplitudes(angles_rad, poisson_ratio)
    g_local, e_local = local @ g, local @ e
    kappa = 3 - 4 * poisson_ratio
    zero = np.zeros_like(beta)
    u0 = np.stack([1j * alpha, gamma, alpha - kappa * beta], axis=1)
    u1 = np.stack([-1j * beta, zero, -beta], axis=1)
    along, up = 1j * e_local[:, :1], e_local[:, 2:]
    g0, g1 = np.einsum("ac,acj->aj", g_local, u0), np.einsum("ac,acj->aj", g_local, u1)
    return np.stack([along * g0 + up * (g0 - g1), (along + up) * g1])


def isotropic_stress(angles_rad: np.ndarray, poisson_ratio: float) -> np.ndarray:
    """Responses (2, A, 3, 3): sigma.Z at depth d is (r[0] + kd r[1]) tau exp(-kd)."""
    local, _, beta, _ = _amplitudes(angles_rad, poisson_ratio)
    s1 = np.einsum("ac,aj->acj", local[:, 0], -2j * beta) + np.einsum("ac,aj->acj", local[:, 2], -2 * beta)
    return np.stack([np.broadcast_to(np.eye(3), s1.shape).astype(complex), s1])


def _amplitudes(angles_rad: np.ndarray, nu: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Local axes (A, 3, 3) and alpha, beta, gamma as rows (A, 3) to be applied to tau."""
    cosine, sine, zero = np.cos(angles_rad), np.sin(angles_rad), np.zeros_like(angles_rad)
    k_axis, m_axis = np.stack([cosine, sine, zero], axis=-1), np.stack([-sine, cosine, zero], axis=-1)
    z_axis = np.broadcast_to([0.0, 0.0, 1.0], k_axis.shape)
    beta = -(z_axis + 1j * k_axis) / 2
    alpha = (z_axis + (4 - 4 * nu) * beta) / 2
    return np.stack([k_axis, m_axis, z_axis], axis=1), alpha, beta, m_axis.astype(complex)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def isotropic_plate(begin, end, upper, lower, kx, ky, half_nm, nu, g, e, drift, z_nodes, out):
    """g.du/de of a plate with prescribed sigma.Z on its faces, at heights `z_nodes` (Q,).

    `upper`, `lower` (3, Y, X) are the transforms of sigma.Z at Z = +h and -h; kx, ky (Y, X) the wave vector in the
    plate. Symmetric and antisymmetric parts separate: for P-type waves two equations each, for shear one.
    `drift` (2,) moves the place in the plane with Z, exp(i k.drift Z). For k = 0 the foil is sheared and its
    thickness strained as the tractions ask; net forces are dropped, its middle neither turns nor stretches.
    out (Q, Y, X) complex.
    """
    count = len(z_nodes)
    drifts = drift[0] != 0.0 or drift[1] != 0.0
    for i in range(begin, end):
        for j in range(out.shape[2]):
            x, y = kx[i, j], ky[i, j]
            k = np.sqrt(x * x + y * y)
            up0, up1, up2 = upper[0, i, j], upper[1, i, j], upper[2, i, j]
            low0, low1, low2 = lower[0, i, j], lower[1, i, j], lower[2, i, j]
            if k == 0.0:
                shear = ((up0 + low0) * g[0] + (up1 + low1) * g[1]) * 0.5 * e[2]
                # 1/(lambda + 2 mu) in units of 1/mu
                stretch = (up2 + low2) * 0.5 * g[2] * e[2] * (1 - 2 * nu) / (2 - 2 * nu)
                for q in range(count):
                    out[q, i, j] = shear + stretch
                continue
            c, s = x / k, y / k
            decay = np.exp(-2 * k * half_nm)
            twice = 2 * k * half_nm
            upper_k, upper_m = c * up0 + s * up1, c * up1 - s * up0
            lower_k, lower_m = c * low0 + s * low1, c * low1 - s * low0
            alpha_t, beta_t, gamma_t = 0j, 0j, 0j
            alpha_b, beta_b, gamma_b = 0j, 0j, 0j
            for sign in (1.0, -1.0):
                f = sign * decay
                tau_k, tau_z = (upper_k - sign * lower_k) / 2, (up2 + sign * low2) / 2
                # tau_k = i (a11 alpha + a12 beta), tau_z = a21 alpha + a22 beta
                a11, a12 = 2 * (1 - f), (-2 + 4 * nu) - f * (-2 + 4 * nu - 2 * twice)
                a21, a22 = 2 * (1 + f), 2 * ((-2 + 2 * nu) + f * (-2 + 2 * nu - twice))
                det = a11 * a22 - a12 * a21
                p = -1j * tau_k
                alpha, beta = (p * a22 - a12 * tau_z) / det, (a11 * tau_z - a21 * p) / det
                gamma = (upper_m - sign * lower_m) / 2 / (1 - f)
                alpha_t += alpha
                beta_t += beta
                gamma_t += gamma
                alpha_b += sign * alpha
                beta_b += sign * beta
                gamma_b += sign * gamma
            gk, gm, gz = c * g[0] + s * g[1], c * g[1] - s * g[0], g[2]
            along, e_up = 1j * (c * e[0] + s * e[1]), e[2]
            kappa = 3 - 4 * nu
            g0 = gk * 1j * alpha_t + gm * gamma_t + gz * (alpha_t - kappa * beta_t)
            g1 = -(gk * 1j + gz) * beta_t
            t0, t1 = along * g0 + e_up * (g0 - g1), (along + e_up) * g1
            g0 = gk * 1j * alpha_b + gm * gamma_b - gz * (alpha_b - kappa * beta_b)
            g1 = -(gk * 1j - gz) * beta_b
            b0, b1 = along * g0 - e_up * (g0 - g1), (along - e_up) * g1
            drift_phase = x * drift[0] + y * drift[1]
            for q in range(count):
                down, up = k * (half_nm - z_nodes[q]), k * (half_nm + z_nodes[q])
                if min(down, up) > DECAYED:
                    out[q, i, j] = 0.0
                    continue
                value = np.exp(-down) * (t0 + down * t1) + np.exp(-up) * (b0 + up * b1)
                if drifts:
                    value *= complex(np.cos(drift_phase * z_nodes[q]), np.sin(drift_phase * z_nodes[q]))
                out[q, i, j] = value
