"""Elastic waves exp(i k.X) in a plate of any elastic stiffness, by the impedance form of Stroh's sextic theory.

Frame: X, Y in the foil, Z along its normal; the faces are Z = +-h. For the direction m of k and n = Z the waves that
decay upward are u = a exp(i k (m.X + p Z)), Im p > 0, with tractions sigma.Z = i k l exp(...). Three p, a, l a direction
come in Stroh's theory from an eigenvalue problem, whose vectors fall together in isotropic crystals and along axes of
symmetry. What a plate needs are only the matrices A, L of the a and l in the combinations

    Y = A L^-1 = -(S + i) L_BL^-1,   P = L diag(p) L^-1 = N3 Y + N1^T,

and these are smooth: S and L_BL are Barnett and Lothe's averages of N1 = -(nn)^-1 (nm) and -N3, N3 = (mn)(nn)^-1(nm) -
(mm), over half a turn of m, n about m x n (Barnett & Lothe, Phys. Norv. 7 (1973) 13; Ting, Anisotropic Elasticity, 1996,
chapters 6 and 7). Tractions of the upward waves are then tau(Z) = exp(i k P (Z + h)) tau(-h), and

    g.du/de = r.tau,   r = (e.m) g.Y + (e.Z) g.Y.P;

the waves that decay downward have the conjugate matrices. No perturbation of the tensor, no case for repeated roots.

Axes: A directions of k, Q heights, G pairs of g and e, N loads, (Y, X) grid of k.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numba
import numpy as np

from physics.parallel import over_threads
from physics.strain.green import stiffness_tensor

# Directions of k in a turn at which the matrices are known, cubic between them: error below 1e-7 for copper.
ANGLES = 512
TURN_POINTS = 48
# Knots that cubic interpolation needs beyond a turn: one before, two behind.
BEFORE, BEHIND = 1, 2
# exp(i k P d) is a power series to SERIES of the matrix halved until its norm is below SMALL: error 1e-9.
SERIES, SMALL = 8, 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Impedance:
    """P and Y (A, 3, 3) of `angles_rad` (A,) in a foil's frame, Y in 1/GPa, (nn)^-1 (3, 3) for k = 0, and the stiffness
    C_ijkl (3, 3, 3, 3) in GPa."""

    angles_rad: np.ndarray
    decay: np.ndarray
    compliance: np.ndarray
    normal_compliance: np.ndarray
    stiffness: np.ndarray

    @property
    def slowest_decay(self) -> float:
        """The smallest Im p: the slowest of the waves of wave number k falls as exp(-k Im p d)."""
        return float(np.linalg.eigvals(self.decay).imag.min())

    def responses(self, g: np.ndarray, e: np.ndarray) -> np.ndarray:
        """r (A, 3): g.du/de of the upward waves is r.tau; `g` and `e` in the foil's frame."""
        along = np.cos(self.angles_rad) * e[0] + np.sin(self.angles_rad) * e[1]
        u = np.einsum("j,ajk->ak", g, self.compliance)
        return along[:, None] * u + e[2] * np.einsum("ak,akl->al", u, self.decay)


def impedance(stiffness_foil_GPa: np.ndarray) -> Impedance:
    """The impedance of a stiffness (6, 6) in the foil's frame; computed once for each stiffness."""
    return _impedance(np.ascontiguousarray(stiffness_foil_GPa, dtype=np.float64).tobytes())


@lru_cache(maxsize=16)
def _impedance(stiffness_bytes: bytes) -> Impedance:
    c = stiffness_tensor(np.frombuffer(stiffness_bytes).reshape(6, 6))
    angles = 2 * np.pi * np.arange(ANGLES) / ANGLES
    # k and -k have conjugate waves: half a turn tells all.
    half = angles[: ANGLES // 2]
    m = np.stack([np.cos(half), np.sin(half), 0 * half], axis=1)
    n = np.broadcast_to([0.0, 0.0, 1.0], m.shape)
    turn = math.pi * np.arange(TURN_POINTS)[:, None, None] / TURN_POINTS
    cosine, sine = np.cos(turn), np.sin(turn)
    n1, _, n3 = _stroh_blocks(c, cosine * m + sine * n, cosine * n - sine * m)
    s, l = n1.mean(axis=0), -n3.mean(axis=0)
    y = -(s + 1j * np.eye(3)) @ np.linalg.inv(l)
    n1, n2, n3 = _stroh_blocks(c, m, n)
    p = n3 @ y + n1.transpose(0, 2, 1)
    return Impedance(
        angles_rad=angles, decay=np.concatenate([p, -p.conj()]), compliance=np.concatenate([y, -y.conj()]),
        normal_compliance=n2[0], stiffness=c,
    )  # fmt: skip


def _stroh_blocks(c: np.ndarray, m: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """N1 = -T^-1 R^T, N2 = T^-1, N3 = R T^-1 R^T - Q for unit vectors m, n (..., 3), Q = (mm), R = (mn), T = (nn)."""
    flat = c.transpose(1, 2, 0, 3).reshape(9, 9)

    def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        # (ab)_jk = a_i C_ijkl b_l
        outer = (a[..., :, None] * b[..., None, :]).reshape(-1, 9)
        return (outer @ flat.T).reshape(*a.shape[:-1], 3, 3)

    q, r, t = product(m, m), product(m, n), product(n, n)
    t_inverse = np.linalg.inv(t)
    rt = np.swapaxes(r, -1, -2)
    return -t_inverse @ rt, t_inverse, r @ t_inverse @ rt - q


def plate_waves(
    medium: Impedance, loads: np.ndarray, kx: np.ndarray, ky: np.ndarray, half_nm: float, g: np.ndarray, e: np.ndarray,
    drift: np.ndarray, z_nodes: np.ndarray, dtype: type = np.complex128,
) -> np.ndarray:
    """g.du/de (N, G, Q, Y, X) of a plate with prescribed sigma.Z on its faces.

    `loads` (N, 2, 3, Y, X) are transforms of sigma.Z in GPa at Z = +h and -h, kx, ky (Y, X) the wave vector in the plate,
    `g` and `e` (G, 3) in the foil's frame, `z_nodes` (Q,) downward from +h to -h, symmetric about 0. `drift` (2,) moves the
    place in the plane with Z, exp(i k.drift Z). For k = 0 the foil is sheared and its thickness strained as the
    tractions ask; net forces are dropped, its middle neither turns nor stretches.
    """
    g, e = np.atleast_2d(g), np.atleast_2d(e)
    responses = padded(np.stack([medium.responses(*pair) for pair in zip(g, e)]), 1)
    uniform = np.einsum("gj,jk,g->gk", g, medium.normal_compliance, e[:, 2])
    out = np.empty((len(loads), len(g), len(z_nodes), *kx.shape), dtype=dtype)
    over_threads(
        _solve, len(kx), np.ascontiguousarray(loads), np.ascontiguousarray(kx), np.ascontiguousarray(ky),
        float(half_nm), padded(medium.decay, 0), responses, uniform, np.asarray(drift, dtype=np.float64), z_nodes, out,
    )  # fmt: skip
    return out


def padded(table: np.ndarray, axis: int) -> np.ndarray:
    """Knots over a turn with the few before and behind it."""
    pad = [(0, 0)] * table.ndim
    pad[axis] = (BEFORE, BEHIND)
    return np.ascontiguousarray(np.pad(table, pad, mode="wrap"))


@numba.njit(cache=True, error_model="numpy")
def _times(a, b, out):
    for i in range(3):
        for j in range(3):
            out[i, j] = a[i, 0] * b[0, j] + a[i, 1] * b[1, j] + a[i, 2] * b[2, j]


@numba.njit(cache=True, error_model="numpy")
def _exponential(p, factor, out, work):
    """exp(factor p) of a (3, 3)."""
    norm = 0.0
    for i in range(3):
        norm = max(norm, abs(p[i, 0]) + abs(p[i, 1]) + abs(p[i, 2]))
    norm *= abs(factor)
    halvings = 0
    while norm > SMALL:
        norm /= 2
        halvings += 1
    scale = factor / 2**halvings
    # Horner's scheme: 1 + X (1 + X/2 (1 + X/3 (...))).
    for i in range(3):
        for j in range(3):
            out[i, j] = scale / SERIES * p[i, j]
        out[i, i] += 1.0
    for n in range(SERIES - 1, 0, -1):
        _times(p, out, work)
        for i in range(3):
            for j in range(3):
                out[i, j] = scale / n * work[i, j]
            out[i, i] += 1.0
    for _ in range(halvings):
        _times(out, out, work)
        out[:] = work


@numba.njit(cache=True, error_model="numpy")
def invert(a, out):
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        for l in range(3):
            m, n = (l + 1) % 3, (l + 2) % 3
            out[l, i] = a[j, m] * a[k, n] - a[j, n] * a[k, m]
    over = 1 / (a[0, 0] * out[0, 0] + a[0, 1] * out[1, 0] + a[0, 2] * out[2, 0])
    for i in range(3):
        for j in range(3):
            out[i, j] *= over


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _solve(begin, end, loads, kx, ky, half_nm, decay, responses, uniform, drift, z_nodes, out):
    """See `plate_waves`. With M = exp(2 i k h P) and tractions u of the downward waves at +h, d of the upward ones at -h,
    u + M d and conj(M) u + d are the tractions of the faces. All matrices act on r from the left, once for all loads."""
    loads_count, pairs, depths = out.shape[0], out.shape[1], out.shape[2]
    p, step, across, work = np.empty((3, 3), np.complex128), np.empty((3, 3), np.complex128), np.empty((3, 3), np.complex128), np.empty((3, 3), np.complex128)
    system, inverse = np.empty((3, 3), np.complex128), np.empty((3, 3), np.complex128)
    rows = np.empty((pairs, depths, 3), np.complex128)
    turns = np.empty(depths, np.complex128)
    right, up, down = np.empty(3, np.complex128), np.empty(3, np.complex128), np.empty(3, np.complex128)
    w = np.empty(4)
    per_turn = (decay.shape[0] - BEFORE - BEHIND) / (2 * np.pi)
    for i in range(begin, end):
        for j in range(out.shape[4]):
            x, y = kx[i, j], ky[i, j]
            k = np.sqrt(x * x + y * y)
            if k == 0.0:
                for l in range(loads_count):
                    for n in range(pairs):
                        value = 0j
                        for c in range(3):
                            value += uniform[n, c] * (loads[l, 0, c, i, j] + loads[l, 1, c, i, j]) / 2
                        for q in range(depths):
                            out[l, n, q, i, j] = value
                continue
            angle = np.arctan2(y, x)
            place = (angle + 2 * np.pi if angle < 0 else angle) * per_turn
            first = int(place)
            t = place - first
            w[0], w[1] = -t * (t - 1) * (t - 2) / 6, (t + 1) * (t - 1) * (t - 2) / 2
            w[2], w[3] = -(t + 1) * t * (t - 2) / 2, (t + 1) * t * (t - 1) / 6
            first = min(first, decay.shape[0] - 4)
            for a in range(3):
                for b in range(3):
                    p[a, b] = w[0] * decay[first, a, b] + w[1] * decay[first + 1, a, b] + w[2] * decay[first + 2, a, b] + w[3] * decay[first + 3, a, b]
            for n in range(pairs):
                for a in range(3):
                    rows[n, 0, a] = (
                        w[0] * responses[n, first, a] + w[1] * responses[n, first + 1, a]
                        + w[2] * responses[n, first + 2, a] + w[3] * responses[n, first + 3, a]
                    )  # fmt: skip
            last = 0.0
            for q in range(1, depths):
                spacing = z_nodes[q - 1] - z_nodes[q]
                if abs(spacing - last) > 1e-9 * half_nm:
                    _exponential(p, 1j * k * spacing, step, work)
                    last = spacing
                for n in range(pairs):
                    for a in range(3):
                        rows[n, q, a] = rows[n, q - 1, 0] * step[0, a] + rows[n, q - 1, 1] * step[1, a] + rows[n, q - 1, 2] * step[2, a]
            _exponential(p, 2j * k * half_nm, across, work)
            _times(across, across.conj(), system)
            for a in range(3):
                for b in range(3):
                    system[a, b] = (1.0 if a == b else 0.0) - system[a, b]
            invert(system, inverse)
            phase = x * drift[0] + y * drift[1]
            for q in range(depths):
                turns[q] = np.exp(1j * phase * z_nodes[q])
            for l in range(loads_count):
                upper, lower = loads[l, 0, :, i, j], loads[l, 1, :, i, j]
                for a in range(3):
                    right[a] = upper[a] - across[a, 0] * lower[0] - across[a, 1] * lower[1] - across[a, 2] * lower[2]
                for a in range(3):
                    up[a] = inverse[a, 0] * right[0] + inverse[a, 1] * right[1] + inverse[a, 2] * right[2]
                for a in range(3):
                    down[a] = lower[a] - np.conj(across[a, 0]) * up[0] - np.conj(across[a, 1]) * up[1] - np.conj(across[a, 2]) * up[2]
                for n in range(pairs):
                    for q in range(depths):
                        s, t_ = rows[n, q], rows[n, depths - 1 - q]
                        value = np.conj(s[0]) * up[0] + np.conj(s[1]) * up[1] + np.conj(s[2]) * up[2]
                        value += t_[0] * down[0] + t_[1] * down[1] + t_[2] * down[2]
                        out[l, n, q, i, j] = value * turns[q]
