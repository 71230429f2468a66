"""Spheres and slabs in a crystal: the strain of a coherent precipitate, the pieces of a column that hold other matter or none.

A sphere of constrained strain epsilon in an isotropic matrix moves it by u = epsilon r inside the radius R and
epsilon R^3 r / r^3 outside (Mott & Nabarro 1940; Ashby & Brown, Phil. Mag. 8 (1963) 1083), so that with e the
direction of depth

    d(g.u)/dd = epsilon g.e                                              r < R
    d(g.u)/dd = epsilon R^3 [g.e / r^3 - 3 (g.r)(r.e) / r^5]              r > R.

The traction-free surfaces are left out: an error for spheres nearer to a face than some 2 R.

A void is a piece of column in which nothing couples and nothing absorbs. The beams keep their phases there: phi_g
turns by 2 pi s h, and by 2 pi g.(u below - u above), which the integral of d(g.u)/dd across the void adds. So a piece
has a crystal fraction that multiplies couplings and absorption and nothing else: 0 in a void, 1 / xi_ratio in a
precipitate with a structure factor of its own, 1 elsewhere. Columns are cut where they enter and leave a sphere. A twin is a
slab of fraction 0 for the beams of the matrix: what it diffracts and absorbs itself is another factor (`physics.boundary`).

A tile of columns takes the far spheres at the nodes of its polynomials (`strain.boxes`) and the near ones at every
point; nothing is cut off.

Axes: I spheres, C columns, K layers, N panels. `spheres` (I, ROW): centre, R, epsilon, crystal fraction, two slopes. A row
of R < 0 is a slab without strain: -R is half its height along the beam, the slopes are those of its middle plane.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numba
import numpy as np

from physics.boundary import GrainBoundary
from physics.errors import require
from physics.particle import DISCS, Particle

ROW = 8
CENTRE_Z, RADIUS, STRAIN, FRACTION, SLOPE_X, SLOPE_Y = 2, 3, 4, 5, 6, 7
# A sphere is far from a box at this many half-diagonals from its centre.
FAR_HALF_DIAGONALS = 1.6
_ONE, _THREE = np.float32(1), np.float32(3)


def sphere_rows(particles: Sequence[Particle | GrainBoundary]) -> np.ndarray:
    """Rows (I, ROW) of spheres and twins. Raises InputError for discs, which are lines and sheets (`physics.particle_discs`)."""
    rows = np.zeros((len(particles), ROW))
    for row, particle in zip(rows, particles):
        if isinstance(particle, GrainBoundary):
            slope_x, slope_y, half_nm, middle_nm = particle.twin_slab()
            row[:] = [*middle_nm, -half_nm, 0.0, 0.0, slope_x, slope_y]
            continue
        require(particle.kind not in DISCS, "particles", "be spheres or voids here", particle.kind,
                "discs are lines and sheets: physics.particle_discs.disc_lines")  # fmt: skip
        row[:STRAIN] = [*particle.centre_nm, particle.radius_nm]
        row[STRAIN], row[FRACTION] = particle.misfit, particle.crystal_fraction
    return rows


@numba.njit(cache=True, error_model="numpy")
def slab_rise(slab, x, y):
    """Height of a slab's middle plane at (x, y) above its centre."""
    return slab[SLOPE_X] * (x - slab[0]) + slab[SLOPE_Y] * (y - slab[1])


@numba.njit(cache=True, error_model="numpy")
def sort_spheres(spheres, box, margin_nm):
    """Rows of the spheres relative to a box's centre, and how many are close and near.

    The close ones, within `margin_nm` of the box with their surfaces, come first, then the other near ones, then
    the far ones; a void that is not close is left out.
    """
    far_sq = FAR_HALF_DIAGONALS**2 * (box[3] ** 2 + box[4] ** 2 + box[5] ** 2)
    rank = np.empty(len(spheres), np.int64)
    counts = np.zeros(4, np.int64)
    for i in range(len(spheres)):
        if spheres[i, RADIUS] < 0:
            middle = spheres[i, CENTRE_Z] + slab_rise(spheres[i], box[0], box[1])
            reach = abs(spheres[i, SLOPE_X]) * box[3] + abs(spheres[i, SLOPE_Y]) * box[4] + box[5] + margin_nm
            rank[i] = 0 if abs(middle - box[2]) < reach - spheres[i, RADIUS] else 3
            counts[rank[i]] += 1
            continue
        gap_sq, distance_sq = 0.0, 0.0
        for axis in range(3):
            apart = abs(spheres[i, axis] - box[axis])
            gap_sq += max(apart - box[axis + 3], 0.0) ** 2
            distance_sq += apart * apart
        rank[i] = 2 if distance_sq > far_sq else 1
        if gap_sq < (spheres[i, RADIUS] + margin_nm) ** 2:
            rank[i] = 0
        elif spheres[i, STRAIN] == 0.0:
            rank[i] = 3
        counts[rank[i]] += 1
    ordered = np.empty((len(spheres) - counts[3], ROW))
    place = np.array([0, counts[0], counts[0] + counts[1]])
    for i in range(len(spheres)):
        if rank[i] < 3:
            ordered[place[rank[i]]] = spheres[i]
            for axis in range(3):
                ordered[place[rank[i]], axis] -= box[axis]
            place[rank[i]] += 1
    return ordered, counts[0], counts[0] + counts[1]


@numba.njit(cache=True, error_model="numpy")
def add_to_nodes(spheres, g, nodes, values):
    """Add the strain of spheres to d(g.u)/dd at the nodes (3, ...) of a box."""
    for i in range(len(spheres)):
        for n in range(nodes.shape[1]):
            dx, dy, dz = nodes[0, n] - spheres[i, 0], nodes[1, n] - spheres[i, 1], nodes[2, n] - spheres[i, CENTRE_Z]
            values[n] += np.float32(
                strain_at(spheres[i, STRAIN], spheres[i, RADIUS] ** 2, g[0] * dx + g[1] * dy, g[2], dz, dx * dx + dy * dy + dz * dz)
            )


@numba.njit(cache=True, error_model="numpy")
def chord(sphere, x, y):
    """Heights at which a column enters and leaves a sphere; nan where it misses it."""
    if sphere[RADIUS] < 0:
        middle = sphere[CENTRE_Z] + slab_rise(sphere, x, y)
        return middle - sphere[RADIUS], middle + sphere[RADIUS]
    dx, dy = x - sphere[0], y - sphere[1]
    half_sq = sphere[RADIUS] * sphere[RADIUS] - dx * dx - dy * dy
    if not half_sq > 0.0:
        return np.nan, np.nan
    half = math.sqrt(half_sq)
    return sphere[CENTRE_Z] + half, sphere[CENTRE_Z] - half


@numba.njit(cache=True, error_model="numpy")
def chords(spheres, columns, cuts):
    """Fill `cuts` (2 I, C) with the heights at which columns enter and leave spheres."""
    for i in range(len(spheres)):
        for c in range(len(columns)):
            cuts[2 * i, c], cuts[2 * i + 1, c] = chord(spheres[i], columns[c, 0], columns[c, 1])


@numba.njit(cache=True, error_model="numpy")
def mark_layers(spheres, top, layer_nm, margin_nm, cut):
    """Set `cut` (K,) for the layers that close spheres reach into, or whose strain varies fast there."""
    for i in range(len(spheres)):
        if spheres[i, RADIUS] < 0:
            cut[:] = True
            continue
        reach = spheres[i, RADIUS] + max(margin_nm, 2 * layer_nm)
        begin = int(math.floor((top - spheres[i, CENTRE_Z] - reach) / layer_nm))
        end = int(math.ceil((top - spheres[i, CENTRE_Z] + reach) / layer_nm))
        for k in range(max(begin, 0), min(end, len(cut))):
            cut[k] = True


@numba.njit(cache=True, error_model="numpy")
def piece_in_sphere(spheres, cuts, upper, lower):
    """Whether a layer of a column needs panels: beside a sphere's boundary, or inside one of another crystal fraction.

    `cuts` (2 I,) are the column's chords. The neighbours of a boundary count: their own neighbours tell nothing.
    """
    layer = upper - lower
    for i in range(len(spheres)):
        high, low = cuts[2 * i], cuts[2 * i + 1]
        if not high > low:
            continue
        if spheres[i, FRACTION] != 1.0 and upper <= high and lower >= low:
            return True
        if spheres[i, STRAIN] != 0.0 or spheres[i, FRACTION] != 1.0:
            for z in (high, low):
                if z < upper + layer and z > lower - layer:
                    return True
    return False


@numba.njit(cache=True, error_model="numpy")
def lower_to_spheres(spheres, x, y, z, distance_sq):
    """Lower squared distances (C,) to those from the centres of straining spheres, their radius at least."""
    for i in range(len(spheres)):
        if spheres[i, STRAIN] == 0.0:
            continue
        cx, cy = np.float32(spheres[i, 0]), np.float32(spheres[i, 1])
        dz_sq, least = np.float32((z - spheres[i, CENTRE_Z]) ** 2), np.float32(spheres[i, RADIUS] ** 2)
        for c in range(x.size):
            dx, dy = x[c] - cx, y[c] - cy
            distance_sq[c] = min(distance_sq[c], max(dx * dx + dy * dy + dz_sq, least))


@numba.njit(cache=True, error_model="numpy", inline="always")
def strain_at(strain, radius_sq, g_xy, g_z, dz, r_sq):
    """d(g.u)/dd at r from the centre of a sphere; g_xy = g_x x + g_y y, depth downward along -z."""
    if r_sq < radius_sq:
        return -strain * g_z
    ratio = radius_sq / r_sq
    return strain * ratio * math.sqrt(ratio) * (3 * (g_xy + g_z * dz) * dz / r_sq - g_z)


@numba.njit(cache=True, error_model="numpy")
def add_to_layers(spheres, g, columns, top, layer_nm, beta):
    """Add the strain of spheres to d(g.u)/dd (K, C) in the middles of layers, float32."""
    count = len(columns)
    g_xy, rho_sq = np.empty(count, np.float32), np.empty(count, np.float32)
    g_z = np.float32(g[2])
    for i in range(len(spheres)):
        if spheres[i, STRAIN] == 0.0:
            continue
        for c in range(count):
            dx, dy = columns[c, 0] - spheres[i, 0], columns[c, 1] - spheres[i, 1]
            g_xy[c], rho_sq[c] = g[0] * dx + g[1] * dy, dx * dx + dy * dy
        strain, radius_sq = spheres[i, STRAIN], np.float32(spheres[i, RADIUS] ** 2)
        strength, inside = np.float32(strain * spheres[i, RADIUS] ** 3), np.float32(-strain * g[2])
        for k in range(len(beta)):
            dz = np.float32(top - (k + 0.5) * layer_nm - spheres[i, CENTRE_Z])
            _add_row(g_xy, rho_sq, dz, g_z, strength, inside, radius_sq, beta[k])


@numba.njit(cache=True, error_model="numpy")
def _add_row(g_xy, rho_sq, dz, g_z, strength, inside, radius_sq, total):
    dz_sq, three_dz, g_dz = dz * dz, _THREE * dz, g_z * dz
    for c in range(total.size):
        r_sq = rho_sq[c] + dz_sq
        inverse = _ONE / max(r_sq, radius_sq)
        outside = strength * inverse * np.sqrt(inverse) * ((g_xy[c] + g_dz) * three_dz * inverse - g_z)
        total[c] += inside if r_sq < radius_sq else outside


@numba.njit(cache=True, error_model="numpy")
def add_to_panels(spheres, g, columns, entries, lengths, heights, gauss_offset, fields):
    """Add the strain of spheres to the field (N, 2) at the two Gauss points of panels."""
    for e in range(len(entries)):
        c = entries[e, 1]
        for i in range(len(spheres)):
            strain = spheres[i, STRAIN]
            if strain == 0.0:
                continue
            dx, dy = columns[c, 0] - spheres[i, 0], columns[c, 1] - spheres[i, 1]
            g_xy, rho_sq = g[0] * dx + g[1] * dy, dx * dx + dy * dy
            for n in range(entries[e, 2], entries[e, 2] + entries[e, 3]):
                for j in range(2):
                    dz = heights[n] + (1 - 2 * j) * gauss_offset * lengths[n] - spheres[i, CENTRE_Z]
                    r_sq = rho_sq + dz * dz
                    fields[n, j] += np.float32(strain_at(strain, spheres[i, RADIUS] ** 2, g_xy, g[2], dz, r_sq))


@numba.njit(cache=True, error_model="numpy")
def crystal_fraction(spheres, x, y, z):
    """What multiplies couplings and absorption at a point: the least of the spheres that hold it, 1 outside them."""
    fraction = 1.0
    for i in range(len(spheres)):
        dx, dy, dz = x - spheres[i, 0], y - spheres[i, 1], z - spheres[i, CENTRE_Z]
        if spheres[i, RADIUS] < 0:
            inside = abs(z - spheres[i, CENTRE_Z] - slab_rise(spheres[i], x, y)) < -spheres[i, RADIUS]
        else:
            inside = dx * dx + dy * dy + dz * dz < spheres[i, RADIUS] ** 2
        if inside:
            # 1 is the matrix's own crystal; of two others the one that diffracts less counts, a void before all.
            own = spheres[i, FRACTION]
            fraction = own if fraction == 1.0 else min(fraction, own)
    return fraction


@numba.njit(cache=True, error_model="numpy")
def panel_fractions(spheres, columns, entries, lengths, heights):
    """Crystal fractions (N,) float32 of panels, and the crystal (C,) that columns miss by them in nm."""
    fractions, missing_nm = np.ones(len(heights), np.float32), np.zeros(len(columns))
    for e in range(len(entries)):
        c = entries[e, 1]
        for n in range(entries[e, 2], entries[e, 2] + entries[e, 3]):
            fractions[n] = crystal_fraction(spheres, columns[c, 0], columns[c, 1], heights[n])
            missing_nm[c] += (1.0 - fractions[n]) * lengths[n]
    return fractions, missing_nm
