"""Columns tile by tile: the field in boxes within boxes, then the two beams down all columns of a tile at once.

Layers of absolute z, one thickness for a tile, are passed by a fourth-order Magnus step built from d(g.u)/dd
in the middle of a layer and of its two neighbours. Where a line is near, a face cuts a layer or a fault crosses
it, the piece of a column in that layer is passed in panels with two Gauss points instead (`slicing`).

Nothing depends on the number of threads: tiles are fixed by the columns, and one thread does a tile. Lengths
in a tile are relative to its centre.

Axes: S segments, F faults, C columns of a tile, K its layers (the first and last lie outside the foil), N panels.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from physics.contrast.many_tiles import integrate_beams
from physics.contrast.slicing import GAUSS_OFFSET, panel_count, step_matrix
from physics.strain import inclusions
from physics.strain.boxes import (
    MINIMUM_HALF_NM,
    NODE_COUNT,
    ORDER,
    add_planes,
    add_segment,
    column_polynomials,
    far_distance_nm,
    hand_down,
    lower_to_distances_sq,
    node_positions,
    pack,
    packed_distance_sq,
    work_space,
)  # fmt: skip
from physics.strain.isotropic import WIDTH
from physics.strain.plate_tiles import add_plate_field

# A box whose near segments times its voxels fall below LEAF_WORK is not divided further, nor one of fewer
# columns and layers than these: shorter loops cost more than the segments they spare.
LEAF_WORK = 16384
LEAF_WORK_ANISOTROPIC = LEAF_WORK // 8
LEAF_COLUMNS = 64
LEAF_LAYERS = 8
DEEPEST = 24
# Voxels that anisotropic segments are added to together.
VOXELS = 1024
# Farther from a line than this many layer thicknesses, a layer's neighbours tell enough of its inside.
SMOOTH_LAYERS = 5.0

_ZERO, _ONE = np.float32(0.0), np.float32(1.0)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def tile_intensities(
    begin, end, rows, columns, first, layers, top_nm, layer_nm, boxes, values, near, near_count, strength, tolerance, beam,
    fault_z, fault_phase, spheres, g, plates, intensity, offsets, weights, many,
):  # fmt: skip
    """Fill `intensity` (P, 2) with BF and DF of the tiles [begin, end) of `columns` (P, 5: x, y, entrance, exit, s).

    Averaged over `offsets` (Q,) of s with `weights` (Q,). With `many`, a `BeamTable` and the rows, node values and
    vectors of the further directions, `intensity` (P, N) is that of all its beams, averaged over the points of the table.

    Columns first[i] to first[i + 1], in Morton order, are tile i. `layers` (B, 2) are its first and last layer
    (end excluded); layer k lies between top_nm - k layer_nm and top_nm - (k + 1) layer_nm, layer_nm (B,). `spheres` (I, ROW) are
    precipitates and voids (`strain.inclusions`); `g` is the diffraction vector, or the first direction.
    """
    for i in range(begin, end):
        _tile(
            i, rows, columns, first, layers, top_nm, layer_nm[i], boxes, values, near, near_count, strength, tolerance,
            beam, fault_z, fault_phase, spheres, g, plates, intensity, offsets, weights, many,
        )  # fmt: skip


@numba.njit(cache=True, error_model="numpy")
def _tile(
    i, rows, columns, first, layers, top_nm, layer_nm, boxes, values, near, near_count, strength, tolerance, beam,
    fault_z, fault_phase, spheres, g, plates, intensity, offsets, weights, many,
):  # fmt: skip
    begin, end, box = first[i], first[i + 1], boxes[i]
    all_spheres, close, near_end = inclusions.sort_spheres(spheres, box, SMOOTH_LAYERS * layer_nm)
    near_spheres, far_spheres = all_spheres[:near_end], all_spheres[near_end:]
    sheets = len(fault_z)
    # Where a column enters and leaves a sphere it is cut as by a fault without a phase.
    own, own_fault_z = np.empty((end - begin, 5)), np.empty((sheets + 2 * close, end - begin))
    for c in range(end - begin):
        own[c, 0], own[c, 1] = columns[begin + c, 0] - box[0], columns[begin + c, 1] - box[1]
        own[c, 2], own[c, 3] = columns[begin + c, 2] - box[2], columns[begin + c, 3] - box[2]
        own[c, 4] = columns[begin + c, 4]
        for f in range(sheets):
            own_fault_z[f, c] = fault_z[f, begin + c] - box[2]
    inclusions.chords(near_spheres[:close], own, own_fault_z[sheets:])
    # Upper face of layer K = 0, which lies above the foil.
    top = top_nm - (layers[i, 0] - 1) * layer_nm - box[2]
    packed = np.empty((near_count[i], rows.shape[1]), np.float32)
    for k in range(near_count[i]):
        pack(rows[near[i, k]], box[0], box[1], box[2], packed[k])
    uneven = _uneven_layers(own, layers[i, 1] - layers[i, 0] + 2, top, layer_nm)
    cut, crossing = _cut_layers(uneven, top, layer_nm, own_fault_z)
    inclusions.mark_layers(near_spheres[:close], top, layer_nm, SMOOTH_LAYERS * layer_nm, cut)
    root_values = _with_spheres(values[i], far_spheres, g, box)
    beta, entries, panels, heights, crossed = _tile_field(
        packed, len(rows) + len(far_spheres), own, cut, top, layer_nm, box, root_values, strength, tolerance, own_fault_z,
        crossing, near_spheres[:close], many is not None,
    )
    add_plate_field(plates[0], own, box, top, layer_nm, beta, entries, panels, heights)
    fractions, missing_nm = np.empty(0, np.float32), np.zeros(len(own))
    phases = fault_phase
    if len(near_spheres) > 0:
        _add_spheres(near_spheres, g, own, top, layer_nm, beta, entries, panels, heights)
        fractions, missing_nm = inclusions.panel_fractions(near_spheres[:close], own, entries, panels[:, 0], heights)
        phases = np.zeros(len(own_fault_z))
        phases[:sheets] = fault_phase
    if many is None:  # pruned when compiled: a call with two beams does not wait for the many-beam code
        part, s = np.empty((end - begin, 2)), own[:, 4].copy()
        intensity[begin:end] = 0.0
        for q in range(len(weights)):
            own[:, 4] = s + offsets[q]
            _integrate(
                beta, uneven, entries, panels, crossed, own, top, layer_nm, beam, phases, fractions, missing_nm, part
            )
            intensity[begin:end] += weights[q] * part
    else:
        table, other_rows, other_values, other_g = many
        directions = 1 + len(other_rows)
        betas = np.empty((directions, *beta.shape), np.float32)
        fields = np.empty((directions, len(panels), 2), np.float32)
        betas[0], fields[0] = beta, panels[:, 1:]
        # The panels follow from where segments are, and are the same for every direction.
        for r in range(1, directions):
            for k in range(near_count[i]):
                pack(other_rows[r - 1, near[i, k]], box[0], box[1], box[2], packed[k])
            root_values = _with_spheres(other_values[r - 1, i], far_spheres, other_g[r - 1], box)
            beta, _, panels, _, _ = _tile_field(
                packed, len(rows) + len(far_spheres), own, cut, top, layer_nm, box, root_values, strength, tolerance, own_fault_z,
                crossing, near_spheres[:close], True,
            )
            _add_spheres(near_spheres, other_g[r - 1], own, top, layer_nm, beta, entries, panels, heights)
            add_plate_field(plates[r], own, box, top, layer_nm, beta, entries, panels, heights)
            betas[r], fields[r] = beta, panels[:, 1:]
        whole = _whole_layers(own, uneven, entries, top, layer_nm)
        order = _by_layer(entries, len(cut))
        intensity[begin:end] = 0.0
        for q in range(len(table[-1])):
            integrate_beams(
                betas, whole, entries, order, panels[:, 0].copy(), fields, crossed, fractions, missing_nm, own, layer_nm, table, q,
                intensity[begin:end],
            )  # fmt: skip


@numba.njit(cache=True, error_model="numpy")
def _with_spheres(values, spheres, g, box):
    """Node values of a tile's box with the strain of its far spheres."""
    if len(spheres) == 0:
        return values
    total, nodes, centred = values.copy(), np.empty((3, NODE_COUNT), np.float32), box.copy()
    centred[:3] = 0.0
    node_positions(centred, nodes)
    inclusions.add_to_nodes(spheres, g, nodes, total)
    return total


@numba.njit(cache=True, error_model="numpy")
def _add_spheres(spheres, g, columns, top, layer_nm, beta, entries, panels, heights):
    """Add the strain of a tile's near spheres to the field of its layers and panels."""
    inclusions.add_to_layers(spheres, g, columns, top, layer_nm, beta)
    inclusions.add_to_panels(spheres, g, columns, entries, panels[:, 0], heights, GAUSS_OFFSET, panels[:, 1:])


@numba.njit(cache=True, error_model="numpy")
def _whole_layers(columns, uneven, entries, top, layer_nm):
    """1 where a layer of a column (K, C) is passed as a whole, 0 where as an entry or not at all."""
    whole = np.ones((len(uneven), len(columns)), np.float32)
    for k in range(len(uneven)):
        if uneven[k]:
            for c in range(len(columns)):
                if not _whole(columns[c, 2], columns[c, 3], top - k * layer_nm, top - (k + 1) * layer_nm):
                    whole[k, c] = _ZERO
    for e in range(len(entries)):
        whole[entries[e, 0], entries[e, 1]] = _ZERO
    return whole


@numba.njit(cache=True, error_model="numpy")
def _tile_field(
    packed, all_rows, columns, cut, top, layer_nm, tile_box, root_values, strength, tolerance, fault_z, crossing, spheres, faces
):  # fmt: skip
    """d(g.u)/dd (K, C) in the middles of the layers, and the panels of the pieces that need them.

    Those are pieces near a line, in or beside a sphere, and where a sheet crosses (`crossing`, of `_cut_layers`); with `faces`
    also what a face leaves of a layer.

    Entries (E, 4) are such pieces: layer, column, first panel, number of panels. Panels (N, 3) are a length and
    the field at the two Gauss points, heights (N,) the z of their middles; crossed (N,) is the fault at a panel's
    lower end, -1 where there is none. The last rows of `fault_z` are where the columns enter and leave `spheres`.
    """
    count, depth = len(columns), len(cut)
    x, y = columns[:, 0].astype(np.float32), columns[:, 1].astype(np.float32)
    beta = np.zeros((depth, count), np.float32)
    entries, entry_count = np.empty((256, 4), np.int32), 0
    panels, heights = np.empty((1024, 3), np.float32), np.empty(1024, np.float32)
    crossed, panel_total = np.empty(1024, np.int16), 0
    core_sq = packed[0, 13] if len(packed) else _ONE
    smooth = SMOOTH_LAYERS * layer_nm
    smooth_sq = np.float32(smooth * smooth)
    need = (len(fault_z) + 1) * (panel_count(layer_nm, 0.0, core_sq) + 1)

    # A box is divided in two: the nodes of both halves take a segment that is far from both in one go.
    stack = np.empty((2 * DEEPEST, 6), np.int64)
    stack[0] = np.array([0, 0, 0, count, 0, depth])
    height = 1
    boxes = np.empty((DEEPEST, 2, 6))
    values = np.empty((DEEPEST, 2 * NODE_COUNT), np.float32)
    near_of = np.empty((DEEPEST, 2, len(packed)), np.int32)
    near_counts = np.zeros((DEEPEST, 2), np.int64)
    nodes = np.empty((3, 2 * NODE_COUNT), np.float32)
    nearest_sq = np.empty(count, np.float32)
    powers = np.empty((ORDER, count), np.float32)
    close = np.empty(len(packed), np.int32)
    anisotropic = packed.shape[1] > WIDTH
    leaf_work = LEAF_WORK_ANISOTROPIC if anisotropic else LEAF_WORK
    room = work_space(packed.shape[1])
    boxes[0, 0] = tile_box
    boxes[0, 0, :3] = 0.0
    values[0, :NODE_COUNT] = root_values
    near_counts[0, 0] = len(packed)
    near_of[0, 0] = np.arange(len(packed))
    while height > 0:
        height -= 1
        level, side, c0, c1, k0, k1 = stack[height]
        box, near = boxes[level, side], near_of[level, side, : near_counts[level, side]]
        own_values = values[level, side * NODE_COUNT : (side + 1) * NODE_COUNT]
        width_xy, width_z = 2 * max(box[3], box[4]), 2 * box[5]
        split_columns, split_layers = c1 - c0 > LEAF_COLUMNS, k1 - k0 > LEAF_LAYERS
        if split_columns and split_layers:
            split_columns = width_z <= width_xy
        work = len(near) * (c1 - c0) * (k1 - k0)
        if work > leaf_work and level + 1 < DEEPEST and (split_columns or split_layers):
            for half in range(2):
                item = stack[height]
                item[0], item[1], item[2], item[3], item[4], item[5] = level + 1, half, c0, c1, k0, k1
                if split_columns:
                    item[2], item[3] = c0 + (c1 - c0) * half // 2, c0 + (c1 - c0) * (half + 1) // 2
                else:
                    item[4], item[5] = k0 + (k1 - k0) * half // 2, k0 + (k1 - k0) * (half + 1) // 2
                height += 1
                child = boxes[level + 1, half]
                _bound(x[item[2] : item[3]], 0, child)
                _bound(y[item[2] : item[3]], 1, child)
                child[2], child[5] = top - (item[4] + item[5]) / 2 * layer_nm, (item[5] - item[4]) / 2 * layer_nm
                first, last = half * NODE_COUNT, (half + 1) * NODE_COUNT
                hand_down(own_values, box, child, values[level + 1, first:last])
                node_positions(child, nodes[:, first:last])
            _divide_segments(
                packed, near, boxes[level + 1], strength, tolerance, smooth, nodes, values[level + 1], near_of[level + 1],
                near_counts[level + 1], room,
            )  # fmt: skip
            continue

        leaf_x, leaf_y = x[c0:c1], y[c0:c1]
        if all_rows > 0:
            far = powers[:, : c1 - c0]
            column_polynomials(own_values, box, leaf_x, leaf_y, far)
        close_count = 0
        for k in near:
            if packed_distance_sq(packed[k], box[0], box[1], box[2]) < (_half_diagonal(box) + smooth) ** 2:
                close[close_count] = k
                close_count += 1
        leaf_first = panel_total
        leaf_entries = entry_count
        distance_sq = nearest_sq[: c1 - c0]
        for k in range(k0, k1):
            z = top - (k + 0.5) * layer_nm
            if all_rows > 0:
                total = beta[k, c0:c1]
                _horner(far, np.float32((z - box[2]) / box[5]), total)
                if not anisotropic:
                    add_planes(packed, near, leaf_x, leaf_y, np.float32(z), total)
            if k == 0 or k == depth - 1 or not (cut[k] or close_count):
                continue
            lower_to_distances_sq(packed, close[:close_count], leaf_x, leaf_y, np.float32(z), distance_sq)
            inclusions.lower_to_spheres(spheres, leaf_x, leaf_y, z, distance_sq)
            upper, lower = z + layer_nm / 2, z - layer_nm / 2
            for c in range(c0, c1):
                if columns[c, 2] <= lower or columns[c, 3] >= upper or not columns[c, 2] > columns[c, 3]:
                    continue
                if distance_sq[c - c0] >= smooth_sq:
                    # The check of a layer that a sphere may touch comes last: it takes longest.
                    if not cut[k]:
                        continue
                    crossed_here = len(crossing) > 0 and crossing[k, c]
                    face = faces and not _whole(columns[c, 2], columns[c, 3], upper, lower)
                    if not (crossed_here or face or _in_sphere(spheres, fault_z, c, upper, lower)):
                        continue
                if entry_count == len(entries):
                    entries = np.concatenate((entries, np.empty_like(entries)))
                while panel_total + need > len(panels):
                    panels = np.concatenate((panels, np.empty_like(panels)))
                    heights = np.concatenate((heights, np.empty_like(heights)))
                    crossed = np.concatenate((crossed, np.empty_like(crossed)))
                first_panel = panel_total
                panel_total = _cut_into_panels(
                    columns, c, upper, lower, fault_z, distance_sq[c - c0], core_sq, panels, heights, crossed, panel_total
                )
                entries[entry_count, 0], entries[entry_count, 1] = k, c
                entries[entry_count, 2], entries[entry_count, 3] = first_panel, panel_total - first_panel
                entry_count += 1
        if anisotropic and len(near) > 0:
            _add_voxels(packed, near, leaf_x, leaf_y, top, layer_nm, k0, beta[k0:k1, c0:c1], room)
        if panel_total > leaf_first:
            _panel_field(
                packed, near, far, c0, box, x, y, entries[leaf_entries:entry_count],
                leaf_first, heights, panels, panel_total, all_rows, room,
            )  # fmt: skip
    return beta, entries[:entry_count], panels[:panel_total], heights[:panel_total], crossed[:panel_total]


@numba.njit(cache=True, error_model="numpy")
def _divide_segments(packed, near, boxes, strength, tolerance, smooth, nodes, values, near_of, near_counts, work):
    """Of the segments `near` a box those near each half (2, S), with their numbers; the others at the half's nodes."""
    reach_sq = np.empty(2)
    for half in range(2):
        diagonal = _half_diagonal(boxes[half])
        reach_sq[half] = max(far_distance_nm(diagonal, strength, tolerance), diagonal + smooth) ** 2
        near_counts[half] = 0
    for k in near:
        first, last = NODE_COUNT, NODE_COUNT
        for half in range(2):
            box = boxes[half]
            if packed_distance_sq(packed[k], box[0], box[1], box[2]) < reach_sq[half]:
                near_of[half, near_counts[half]] = k
                near_counts[half] += 1
            elif half == 0:
                first = 0
            else:
                last = 2 * NODE_COUNT
        if last > first:
            add_segment(packed[k], nodes[0, first:last], nodes[1, first:last], nodes[2, first:last], values[first:last], work)


@numba.njit(cache=True, error_model="numpy")
def _half_diagonal(box):
    return math.sqrt(box[3] * box[3] + box[4] * box[4] + box[5] * box[5])


@numba.njit(cache=True, error_model="numpy")
def _bound(x, axis, box):
    low, high = x.min(), x.max()
    box[axis] = 0.5 * (low + high)
    box[axis + 3] = max(0.5 * (high - low), MINIMUM_HALF_NM)


@numba.njit(cache=True, error_model="numpy")
def _horner(coefficients, x, total):
    for i in range(total.size):
        value = coefficients[ORDER - 1, i]
        for power in range(ORDER - 1):
            value = value * x + coefficients[ORDER - 2 - power, i]
        total[i] = value


@numba.njit(cache=True, error_model="numpy")
def _uneven_layers(columns, depth, top, layer_nm):
    """Whether a layer (K,) is not whole in every column."""
    uneven = np.zeros(depth, np.bool_)
    for c in range(len(columns)):
        begin = (top - columns[c, 2]) / layer_nm
        end = (top - columns[c, 3]) / layer_nm
        for k in range(min(depth, int(math.ceil(begin - 1e-6)))):
            uneven[k] = True
        for k in range(max(0, int(math.floor(end + 1e-6))), depth):
            uneven[k] = True
    return uneven


@numba.njit(cache=True, error_model="numpy")
def _cut_layers(uneven, top, layer_nm, fault_z):
    """Whether a layer (K,) is uneven or holds a fault, and in which columns it may hold one (K, C), empty without faults."""
    sheets, count = fault_z.shape
    cut, depth = uneven.copy(), len(uneven)
    crossing = np.zeros((depth if sheets > 0 else 0, count), np.bool_)
    for f in range(sheets):
        for c in range(count):
            place = (top - fault_z[f, c]) / layer_nm
            if place >= 0 and place < depth:
                # On the boundary of two layers rounding tells which; both are passed in panels.
                for k in range(max(int(place - 1e-6), 0), min(int(place + 1e-6), depth - 1) + 1):
                    crossing[k, c] = True
                cut[int(place)] = True
    return cut, crossing


@numba.njit(cache=True, error_model="numpy")
def _whole(entrance, exit_, upper, lower):
    """Whether a layer lies wholly inside a column; a millionth of it may stand out."""
    slack = 1e-6 * (upper - lower)
    return entrance >= upper - slack and exit_ <= lower + slack


@numba.njit(cache=True, error_model="numpy")
def _in_sphere(spheres, fault_z, c, upper, lower):
    """Whether a sphere asks for panels in a layer of column c; the last rows of `fault_z` are their chords."""
    if len(spheres) == 0:
        return False
    return inclusions.piece_in_sphere(spheres, fault_z[len(fault_z) - 2 * len(spheres) :, c], upper, lower)


@numba.njit(cache=True, error_model="numpy")
def _cut_into_panels(columns, c, upper, lower, fault_z, distance_sq, core_sq, panels, heights, crossed, total):
    """Panels of the piece of a column between two heights, downward, from number `total` on; returns where they end."""
    entrance, exit_ = columns[c, 2], columns[c, 3]
    top, bottom = upper, lower
    if not _whole(entrance, exit_, upper, lower):
        top, bottom = min(upper, entrance), max(lower, exit_)
    if not top > bottom:
        return total
    last_z, last_f = np.inf, -1
    while True:
        # The next fault downward; of two at one height the one of lower number comes first.
        low, fault = bottom, -1
        for f in range(len(fault_z)):
            z = fault_z[f, c]
            passed = z > last_z or (z == last_z and f <= last_f)
            if not passed and z <= upper and z > lower and z < entrance and z > exit_ and (fault < 0 or z > low):
                low, fault = z, f
        length = top - low
        pieces = panel_count(length, distance_sq, core_sq) if length > 0 else (1 if fault >= 0 else 0)
        for i in range(pieces):
            panels[total, 0] = length / pieces
            heights[total] = top - (i + 0.5) * length / pieces
            crossed[total] = -1
            total += 1
        if fault < 0:
            return total
        crossed[total - 1] = fault
        last_z, last_f, top = low, fault, low


@numba.njit(cache=True, error_model="numpy")
def _add_voxels(packed, near, x, y, top, layer_nm, k0, beta, work):
    """Add anisotropic segments in the middles of the layers from k0 on: `beta` (K, C); several layers at a time."""
    depth, count = beta.shape
    together = max(1, min(depth, VOXELS // count))
    px, py, pz = np.empty(together * count, np.float32), np.empty(together * count, np.float32), np.empty(together * count, np.float32)
    total = np.empty(together * count, np.float32)
    for first in range(0, depth, together):
        planes = min(together, depth - first)
        for k in range(planes):
            px[k * count : (k + 1) * count] = x
            py[k * count : (k + 1) * count] = y
            pz[k * count : (k + 1) * count] = np.float32(top - (k0 + first + k + 0.5) * layer_nm)
        sums = total[: planes * count]
        sums[:] = _ZERO
        for k in near:
            add_segment(packed[k], px, py, pz, sums, work)
        for k in range(planes):
            here = beta[first + k]
            for c in range(count):
                here[c] += sums[k * count + c]


@numba.njit(cache=True, error_model="numpy")
def _panel_field(packed, near, far, c0, box, x, y, entries, first, heights, panels, last, all_rows, work):
    """Fill in the field at the Gauss points of a box's panels."""
    points = 2 * (last - first)
    px, py, pz = np.empty(points, np.float32), np.empty(points, np.float32), np.empty(points, np.float32)
    total = np.zeros(points, np.float32)
    for e in range(len(entries)):
        c = entries[e, 1]
        for n in range(entries[e, 2], entries[e, 2] + entries[e, 3]):
            for j in range(2):
                i = 2 * (n - first) + j
                px[i], py[i] = x[c], y[c]
                pz[i] = heights[n] + (1 - 2 * j) * GAUSS_OFFSET * panels[n, 0]
                if all_rows > 0:
                    at = np.float32((pz[i] - box[2]) / box[5])
                    value = far[ORDER - 1, c - c0]
                    for power in range(ORDER - 1):
                        value = value * at + far[ORDER - 2 - power, c - c0]
                    total[i] = value
    for k in near:
        add_segment(packed[k], px, py, pz, total, work)
    for n in range(last - first):
        panels[first + n, 1] = total[2 * n]
        panels[first + n, 2] = total[2 * n + 1]


@numba.njit(cache=True, error_model="numpy")
def _integrate(
    beta, uneven, entries, panels, crossed, columns, top, layer_nm, beam, fault_phase, fractions, missing_nm, intensity
):
    """The two beams down all columns of a tile; their common phase and mean absorption are left to the end.

    What a face leaves of a layer is passed in one step, unless an entry holds it.

    `fractions` (N,) are the crystal fractions of the panels (`strain.inclusions`), none where all are 1; `missing_nm` (C,)
    is the crystal that the columns miss by them.
    """
    depth, count = beta.shape
    state = np.zeros((4, count), np.float32)
    state[0] = _ONE
    s = columns[:, 4].astype(np.float32)
    order = _by_layer(entries, depth)
    matrices = np.empty((8, len(panels)), np.float32)
    panel_s = np.empty(len(panels), np.float32)
    for e in range(len(entries)):
        for n in range(entries[e, 2], entries[e, 2] + entries[e, 3]):
            panel_s[n] = s[entries[e, 1]]
    if len(fractions) > 0:
        _panel_matrices_of_fractions(panels, panel_s, fractions, beam, matrices)
    else:
        _panel_matrices(panels, panel_s, beam, matrices)
    step, turn, eps = np.empty(count, np.float32), np.empty(count, np.float32), np.empty(count, np.float32)
    entry = 0
    for k in range(1, depth - 1):
        step[:] = math.pi * layer_nm
        _turns_of_layer(beta[k - 1], beta[k], beta[k + 1], s, step[0], turn, eps)
        if uneven[k]:
            _turns_of_pieces(beta, k, columns, top, layer_nm, s, step, turn, eps)
        end = entry
        while end < len(order) and entries[order[end], 0] == k:
            step[entries[order[end], 1]] = _ZERO
            end += 1
        _pass_layer(turn, eps, step, beam, state)
        for i in range(entry, end):
            _pass_panels(entries, order[i], matrices, crossed, fault_phase, state)
        entry = end
    for c in range(count):
        thickness = max(columns[c, 2] - columns[c, 3], 0.0) - missing_nm[c]
        absorbed = math.exp(-2 * math.pi * thickness * beam[2])
        a, b, d, e = float(state[0, c]), float(state[1, c]), float(state[2, c]), float(state[3, c])
        intensity[c, 0] = absorbed * (a * a + b * b)
        intensity[c, 1] = absorbed * (d * d + e * e)


@numba.njit(cache=True, error_model="numpy")
def _by_layer(entries, depth):
    """Numbers of the entries sorted by layer (counting sort)."""
    place = np.zeros(depth + 1, np.int64)
    for e in range(len(entries)):
        place[entries[e, 0] + 1] += 1
    for k in range(depth):
        place[k + 1] += place[k]
    order = np.empty(len(entries), np.int64)
    for e in range(len(entries)):
        order[place[entries[e, 0]]] = e
        place[entries[e, 0]] += 1
    return order


@numba.njit(cache=True, error_model="numpy")
def _turns_of_layer(above, here, below, s, step, turn, eps):
    """S averaged over a whole layer, and its change from the upper to the lower Gauss point times pi h sqrt(3)/6."""
    mean, slope = np.float32(1 / 24), np.float32(1 / 12) * step
    for c in range(s.size):
        turn[c] = s[c] + here[c] + mean * (above[c] - here[c] - here[c] + below[c])
        eps[c] = slope * (below[c] - above[c])


@numba.njit(cache=True, error_model="numpy")
def _turns_of_pieces(beta, k, columns, top, layer_nm, s, step, turn, eps):
    """`_turns_of_layer` for the columns of which a face leaves a piece of layer k, and their `step`.

    The field follows the parabola through this layer and the two beyond it, inward.
    """
    upper, lower, half, sixth = top - k * layer_nm, top - (k + 1) * layer_nm, np.float32(1 / 2), np.float32(1 / 6)
    for c in range(s.size):
        if _whole(columns[c, 2], columns[c, 3], upper, lower):
            continue
        high, low = min(upper, columns[c, 2]), max(lower, columns[c, 3])
        if not high > low:
            step[c] = _ZERO
            continue
        way = 1 if columns[c, 2] < upper else -1
        first, second = min(max(k + way, 0), len(beta) - 1), min(max(k + 2 * way, 0), len(beta) - 1)
        here, beyond, last = beta[k, c], beta[first, c], beta[second, c]
        bend = here - beyond - beyond + last
        part = np.float32((high - low) / layer_nm)
        at = np.float32(way * ((upper + lower - high - low) / (2 * layer_nm)))
        slope = beyond - here + (at - half) * bend
        turn[c] = s[c] + here + at * (beyond - here + half * (at - _ONE) * bend) + part * part * np.float32(1 / 24) * bend
        step[c] = np.float32(math.pi) * part * np.float32(layer_nm)
        eps[c] = sixth * step[c] * part * np.float32(way) * slope


@numba.njit(cache=True, error_model="numpy")
def _pass_layer(turn, eps, step, beam, state):
    q_re, q_im = np.float32(beam[0]), np.float32(beam[1])
    x_re_0, x_im = np.float32(beam[0] ** 2 - beam[1] ** 2), np.float32(2 * beam[0] * beam[1])
    a_re, a_im, b_re, b_im = state[0], state[1], state[2], state[3]
    for c in range(turn.size):
        step_sq = step[c] * step[c]
        m0, m1, m2, m3, m4, m5, m6, m7 = step_matrix(
            turn[c], eps[c], step[c], q_re, q_im, step_sq * x_re_0, step_sq * x_im
        )
        p, q, u, v = a_re[c], a_im[c], b_re[c], b_im[c]
        a_re[c] = p + (m0 * p - m1 * q + m2 * u - m3 * v)
        a_im[c] = q + (m0 * q + m1 * p + m2 * v + m3 * u)
        b_re[c] = u + (m4 * p - m5 * q + m6 * u - m7 * v)
        b_im[c] = v + (m4 * q + m5 * p + m6 * v + m7 * u)


@numba.njit(cache=True, error_model="numpy")
def _panel_matrices(panels, panel_s, beam, matrices):
    q_re, q_im = np.float32(beam[0]), np.float32(beam[1])
    x_re_0, x_im = np.float32(beam[0] ** 2 - beam[1] ** 2), np.float32(2 * beam[0] * beam[1])
    half, offset, pi = np.float32(0.5), np.float32(GAUSS_OFFSET), np.float32(math.pi)
    for n in range(len(panels)):
        step = pi * panels[n, 0]
        turn = panel_s[n] + half * (panels[n, 1] + panels[n, 2])
        eps = offset * step * (panels[n, 2] - panels[n, 1])
        step_sq = step * step
        m0, m1, m2, m3, m4, m5, m6, m7 = step_matrix(turn, eps, step, q_re, q_im, step_sq * x_re_0, step_sq * x_im)
        matrices[0, n], matrices[1, n], matrices[2, n], matrices[3, n] = m0, m1, m2, m3
        matrices[4, n], matrices[5, n], matrices[6, n], matrices[7, n] = m4, m5, m6, m7


@numba.njit(cache=True, error_model="numpy")
def _panel_matrices_of_fractions(panels, panel_s, fractions, beam, matrices):
    """As `_panel_matrices`, the complex coupling multiplied by each panel's crystal fraction."""
    half, offset, pi = np.float32(0.5), np.float32(GAUSS_OFFSET), np.float32(math.pi)
    for n in range(len(panels)):
        q_re, q_im = np.float32(beam[0]) * fractions[n], np.float32(beam[1]) * fractions[n]
        step = pi * panels[n, 0]
        turn = panel_s[n] + half * (panels[n, 1] + panels[n, 2])
        eps = offset * step * (panels[n, 2] - panels[n, 1])
        step_sq = step * step
        x_re_0, x_im = q_re * q_re - q_im * q_im, 2 * q_re * q_im
        matrices[:, n] = step_matrix(turn, eps, step, q_re, q_im, step_sq * x_re_0, step_sq * x_im)


@numba.njit(cache=True, error_model="numpy")
def _pass_panels(entries, e, matrices, crossed, fault_phase, state):
    c = entries[e, 1]
    p, q, u, v = state[0, c], state[1, c], state[2, c], state[3, c]
    for n in range(entries[e, 2], entries[e, 2] + entries[e, 3]):
        m0, m1, m2, m3 = matrices[0, n], matrices[1, n], matrices[2, n], matrices[3, n]
        m4, m5, m6, m7 = matrices[4, n], matrices[5, n], matrices[6, n], matrices[7, n]
        p, q, u, v = (
            p + (m0 * p - m1 * q + m2 * u - m3 * v), q + (m0 * q + m1 * p + m2 * v + m3 * u),
            u + (m4 * p - m5 * q + m6 * u - m7 * v), v + (m4 * q + m5 * p + m6 * v + m7 * u),
        )  # fmt: skip
        if crossed[n] >= 0:
            cosine, sine = np.float32(math.cos(fault_phase[crossed[n]])), np.float32(math.sin(fault_phase[crossed[n]]))
            u, v = cosine * u - sine * v, sine * u + cosine * v
    state[0, c], state[1, c], state[2, c], state[3, c] = p, q, u, v
