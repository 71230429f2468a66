"""Single columns in double precision, the field summed directly over all segments: the reference.

A column is cut into slices no thicker than `slice_nm`, and these near a line into panels (`slicing`).

Axes: S segments, P columns, F faults.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from physics.contrast.slicing import GAUSS_OFFSET, panel_count, pass_panel
from physics.strain import anisotropic_kernel, inclusions
from physics.strain.boxes import distance_sq
from physics.strain.isotropic import CORE_SQ, WIDTH, add_row
from physics.strain.plate_field import add_plate_points

# Chebyshev nodes down a column for segments farther from its middle than twice its half-length: the error
# falls as (2 + sqrt 3)^-16 = 7e-10 of their field.
FAR_NODES = 16


@numba.njit(cache=True, error_model="numpy", nogil=True)
def direct_intensities(begin, end, rows, columns, beam, slice_nm, fault_z, fault_phase, spheres, g, plate, intensity):
    """BF and DF (P, 2) of `columns` [begin, end) (P, 5: x, y, entrance, exit, s), for rows of `coefficients`."""
    nodes, weights = chebyshev_nodes()
    # A sphere's boundary cuts a column as a fault without a phase does.
    phases = np.zeros(len(fault_phase) + 2 * len(spheres))
    phases[: len(fault_phase)] = fault_phase
    cuts = np.empty((len(phases), 1))
    for c in range(begin, end):
        cuts[: len(fault_phase), 0] = fault_z[:, c]
        inclusions.chords(spheres, columns[c : c + 1], cuts[len(fault_phase) :])
        intensity[c, 0], intensity[c, 1] = _column(
            rows, columns[c], beam, slice_nm, cuts[:, 0], phases, spheres, g, plate, nodes, weights
        )


@numba.njit(cache=True, error_model="numpy")
def chebyshev_nodes():
    """FAR_NODES points of [-1, 1] and their barycentric weights."""
    nodes, weights = np.empty(FAR_NODES), np.empty(FAR_NODES)
    for j in range(FAR_NODES):
        angle = math.pi * (j + 0.5) / FAR_NODES
        nodes[j], weights[j] = math.cos(angle), (1 - 2 * (j % 2)) * math.sin(angle)
    return nodes, weights


@numba.njit(cache=True, error_model="numpy")
def _column(rows, column, beam, slice_nm, fault_z, fault_phase, spheres, g, plate, nodes, weights):
    x, y, s = column[0], column[1], column[4]
    thickness = column[2] - column[3]
    if not thickness > 0:
        return 1.0, 0.0
    z, h, crossed, near = column_panels(rows, column, slice_nm, fault_z, spheres)
    beta = column_field(rows, near, column, z, h, nodes, weights, plate)
    add_spheres(spheres, g, x, y, z, h, beta)
    q = complex(beam[0], beam[1])
    phi_0, phi_g = 1.0 + 0j, 0j
    for i in range(len(z)):
        fraction = inclusions.crystal_fraction(spheres, x, y, z[i])
        thickness -= (1.0 - fraction) * h[i]
        phi_0, phi_g = pass_panel(phi_0, phi_g, s + beta[2 * i], s + beta[2 * i + 1], h[i], fraction * q)
        if crossed[i] >= 0:
            phi_g *= np.exp(1j * fault_phase[crossed[i]])
    absorbed = math.exp(-2 * math.pi * thickness * beam[2])
    return absorbed * abs(phi_0) ** 2, absorbed * abs(phi_g) ** 2


@numba.njit(cache=True, error_model="numpy")
def column_panels(rows, column, slice_nm, fault_z, spheres):
    """Middles, lengths and faults of a column's panels, and which segments are near it."""
    middle, half = (column[2] + column[3]) / 2, (column[2] - column[3]) / 2
    # Within a slice of the column a segment must be near enough for its distance to set the panels.
    reach = max(2 * half, half + 4 * slice_nm)
    near = np.zeros(len(rows), np.bool_)
    for k in range(len(rows)):
        near[k] = distance_sq(rows[k], column[0], column[1], middle) < reach * reach
    z, h, crossed = _panels(rows, np.flatnonzero(near), spheres, column, slice_nm, fault_z)
    return z, h, crossed, near


@numba.njit(cache=True, error_model="numpy")
def column_field(rows, near, column, z, h, nodes, weights, plate):
    """d(g.u)/dd at the two Gauss points of every panel of a column, upper one first."""
    x, y = column[0], column[1]
    middle, half = (column[2] + column[3]) / 2, (column[2] - column[3]) / 2
    far_at_nodes = np.zeros(FAR_NODES)
    node_x, node_y, node_z = np.full(FAR_NODES, x), np.full(FAR_NODES, y), middle + half * nodes
    points = len(z) * 2
    sample_x, sample_y, sample_z, beta = np.full(points, x), np.full(points, y), np.empty(points), np.zeros(points)
    for i in range(len(z)):
        sample_z[2 * i], sample_z[2 * i + 1] = z[i] + GAUSS_OFFSET * h[i], z[i] - GAUSS_OFFSET * h[i]
    work = np.empty(anisotropic_kernel.WORK if rows.shape[1] > WIDTH else 0)
    any_far = False
    for k in range(len(rows)):
        if near[k]:
            _add_any(rows[k], sample_x, sample_y, sample_z, beta, work)
        else:
            any_far = True
            _add_any(rows[k], node_x, node_y, node_z, far_at_nodes, work)
    if any_far:
        for i in range(points):
            beta[i] += _barycentric((sample_z[i] - middle) / half, nodes, weights, far_at_nodes)
    add_plate_points(plate, column, sample_z, beta)
    return beta


@numba.njit(cache=True, error_model="numpy")
def add_spheres(spheres, g, x, y, z, h, beta):
    """Add the strain of spheres to d(g.u)/dd at the two Gauss points of every panel of a column."""
    for k in range(len(spheres)):
        dx, dy = x - spheres[k, 0], y - spheres[k, 1]
        g_xy, radius_sq = g[0] * dx + g[1] * dy, spheres[k, inclusions.RADIUS] ** 2
        for i in range(len(beta)):
            dz = z[i // 2] + (1 - 2 * (i % 2)) * GAUSS_OFFSET * h[i // 2] - spheres[k, inclusions.CENTRE_Z]
            beta[i] += inclusions.strain_at(
                spheres[k, inclusions.STRAIN], radius_sq, g_xy, g[2], dz, dx * dx + dy * dy + dz * dz
            )


@numba.njit(cache=True, error_model="numpy")
def _add_any(row, x, y, z, total, work):
    if row.size > WIDTH:
        anisotropic_kernel.add_row(row, x, y, z, total, work)
    else:
        add_row(row, x, y, z, total)


@numba.njit(cache=True, error_model="numpy")
def _barycentric(x, nodes, weights, values):
    """Polynomial through `values` at Chebyshev `nodes` (Berrut & Trefethen, SIAM Rev. 46 (2004) 501, eq. 4.2)."""
    above, below = 0.0, 0.0
    for j in range(len(nodes)):
        distance = x - nodes[j]
        if distance == 0.0:
            return values[j]
        above += weights[j] / distance * values[j]
        below += weights[j] / distance
    return above / below


@numba.njit(cache=True, error_model="numpy")
def _panels(rows, near, spheres, column, slice_nm, fault_z):
    """Middles z, lengths and the fault crossed after each (-1: none) of a column's panels, downward."""
    x, y, entrance, exit_ = column[0], column[1], column[2], column[3]
    slices = max(1, int(math.ceil((entrance - exit_) / slice_nm - 1e-9)))
    step = (entrance - exit_) / slices
    order = np.argsort(-fault_z)
    order = order[np.array([fault_z[f] < entrance and fault_z[f] > exit_ for f in order], dtype=np.bool_)]
    core_sq = rows[0, CORE_SQ] if len(rows) else 1.0
    capacity = (slices + len(order)) * (panel_count(step, 0.0, core_sq) + 1)
    z, h, crossed = np.empty(capacity), np.empty(capacity), np.full(capacity, -1)
    count, next_fault = 0, 0
    for k in range(slices):
        top = entrance - k * step
        bottom = entrance - (k + 1) * step if k + 1 < slices else exit_
        while True:
            cut = next_fault < len(order) and fault_z[order[next_fault]] >= bottom
            low = fault_z[order[next_fault]] if cut else bottom
            if top > low:
                nearest_sq = np.inf
                for r in near:
                    nearest_sq = min(nearest_sq, distance_sq(rows[r], x, y, (top + low) / 2))
                for i in range(len(spheres)):
                    if spheres[i, inclusions.STRAIN] != 0.0:
                        dx, dy = x - spheres[i, 0], y - spheres[i, 1]
                        dz = (top + low) / 2 - spheres[i, inclusions.CENTRE_Z]
                        nearest_sq = min(nearest_sq, max(dx * dx + dy * dy + dz * dz, spheres[i, inclusions.RADIUS] ** 2))
                pieces = panel_count(top - low, nearest_sq, core_sq)
                for i in range(pieces):
                    h[count] = (top - low) / pieces
                    z[count] = top - (i + 0.5) * h[count]
                    count += 1
            if not cut:
                break
            # Two faults at one height: a panel of no length carries the second phase.
            if count == 0 or crossed[count - 1] >= 0:
                z[count], h[count] = low, 0.0
                count += 1
            crossed[count - 1] = order[next_fault]
            next_fault += 1
            top = low
    return z[:count], h[:count], crossed[:count]
