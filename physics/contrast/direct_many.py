"""Many beams down single columns in double precision, the field summed directly over all segments: the reference.

Panels as in `direct`, each passed by the exponential of its fourth-order Magnus matrix.

Axes: N beams, R directions, S segments, P columns, F faults, Q points of the spread.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from physics.contrast.direct import add_spheres, chebyshev_nodes, column_field, column_panels
from physics.contrast.slicing import GAUSS_OFFSET
from physics.strain import inclusions


@numba.njit(cache=True, error_model="numpy", nogil=True)
def direct_beam_intensities(
    begin, end, rows, columns, matrices, coefficients, turn, absorption, slice_nm, fault_z, fault_factor, weights, origin,
    plates, spheres, directions_inv_nm, intensity,
):  # fmt: skip
    """All beams (P, N) of `columns` [begin, end) (P, 5: x, y, entrance, exit, deviation of s).

    `rows` (R, S, .) of every direction, `matrices` (Q, N, N) at no deviation, `turn` (R,) what a deviation adds to
    d(g.u)/dd, `fault_factor` (F, N), `plates` one for every direction, `spheres` (I, ROW) as in `inclusions`,
    `directions_inv_nm` (R, 3).
    """
    nodes, node_weights = chebyshev_nodes()
    beams, directions = coefficients.shape
    sheets = len(fault_z)
    cuts = np.empty((sheets + 2 * len(spheres), 1))
    for c in range(begin, end):
        column = columns[c]
        thickness = column[2] - column[3]
        intensity[c] = 0.0
        if not thickness > 0:
            intensity[c, origin] = 1.0
            continue
        cuts[:sheets, 0] = fault_z[:, c]
        inclusions.chords(spheres, columns[c : c + 1], cuts[sheets:])
        z, h, crossed, near = column_panels(rows[0], column, slice_nm, cuts[:, 0], spheres)
        beta = np.empty((directions, 2 * len(z)))
        for r in range(directions):
            beta[r] = column_field(rows[r], near, column, z, h, nodes, node_weights, plates[r]) + turn[r] * column[4]
            add_spheres(spheres, directions_inv_nm[r], column[0], column[1], z, h, beta[r])
        fraction = np.empty(len(z))
        for i in range(len(z)):
            fraction[i] = inclusions.crystal_fraction(spheres, column[0], column[1], z[i])
            thickness -= (1.0 - fraction[i]) * h[i]
        absorbed = math.exp(-2 * math.pi * thickness * absorption)
        for q in range(len(weights)):
            phi = np.zeros(beams, np.complex128)
            phi[origin] = 1.0
            for i in range(len(z)):
                phi = _pass_panel(phi, matrices[q], coefficients, beta[:, 2 * i], beta[:, 2 * i + 1], h[i], fraction[i])
                if 0 <= crossed[i] < sheets:
                    phi = phi * fault_factor[crossed[i]]
            intensity[c] += weights[q] * absorbed * np.abs(phi) ** 2


@numba.njit(cache=True, error_model="numpy")
def _pass_panel(phi, matrix, coefficients, upper, lower, length_nm, fraction):
    """exp(Omega) phi with Omega = i pi h [q_gh (1 + i eps_gh) + 2 (s_g + mean_g)], eps_gh = eps.(n_g - n_h).

    The couplings q are multiplied by the crystal `fraction` of the panel.
    """
    beams, directions = coefficients.shape
    step = math.pi * length_nm
    omega = np.empty((beams, beams), np.complex128)
    norm = 0.0
    for g in range(beams):
        total = 0.0
        for h in range(beams):
            value = matrix[g, h] if g == h else fraction * matrix[g, h]
            for r in range(directions):
                if g == h:
                    value += coefficients[g, r] * (upper[r] + lower[r])
            eps = 0.0
            for r in range(directions):
                eps += GAUSS_OFFSET * step * (lower[r] - upper[r]) * (coefficients[g, r] - coefficients[h, r])
            omega[g, h] = 1j * step * value * (1 + 1j * eps)
            total += abs(omega[g, h])
        norm = max(norm, total)
    parts = max(1, int(math.ceil(norm)))
    for _ in range(parts):
        term, left, n = phi.copy(), norm / parts, 1
        while True:
            new = np.zeros(beams, np.complex128)
            for g in range(beams):
                for h in range(beams):
                    new[g] += omega[g, h] * term[h]
            term = new / (n * parts)
            phi = phi + term
            if left < 1e-17:
                break
            n += 1
            left *= norm / parts / n
    return phi
