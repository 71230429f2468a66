"""Curves that a person has drawn or moved in Blender as polylines in nm: transforms applied, smooth splines evaluated.

Axes: K vertices of a polyline.
"""

from __future__ import annotations

import bpy
import numpy as np

from physics.errors import require

CURVE_TOLERANCE_NM = 0.02  # how far a polyline may lie off the Bezier or NURBS curve it stands for
MOST_PARTS = 512  # of one span
SAME_PLACE_NM = 1e-4


def world_matrix(object_: bpy.types.Object) -> np.ndarray:
    """The transform (4, 4) of an object with those of its parents, whether or not it is shown.

    Raises InputError for constraints, or a parent that is not an object.
    """
    where = f'object "{object_.name}"'
    constraints = [c.name for c in object_.constraints if c.enabled]
    require(not constraints, where, "have no constraints", ", ".join(constraints), "apply them: Object > Apply > Visual Transform")
    own = np.array(object_.matrix_basis, dtype=np.float64)
    if object_.parent is None:
        return own
    require(object_.parent_type == "OBJECT", where, "have an object as its parent", object_.parent_type.lower())
    return world_matrix(object_.parent) @ np.array(object_.matrix_parent_inverse, dtype=np.float64) @ own


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points (K, 3) after a transform (4, 4)."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def polylines(object_: bpy.types.Object) -> list[np.ndarray]:
    """The splines of a curve object as polylines (K, 3) in nm; a closed one repeats its first vertex.

    Raises InputError for another type of object, or modifiers.
    """
    where = f'object "{object_.name}"'
    require(object_.type == "CURVE", where, "be a curve", f"a {object_.type.lower()}", "Object > Convert > Curve")
    modifiers = [m.name for m in object_.modifiers if m.show_render]
    require(not modifiers, where, "have no modifiers", ", ".join(modifiers), "apply them: Object > Convert > Curve")
    matrix = world_matrix(object_)
    scale = float(np.linalg.norm(matrix[:3, :3], ord=2))
    found = []
    for spline in object_.data.splines:
        points = _spline_points(spline, CURVE_TOLERANCE_NM / max(scale, 1e-9))
        if spline.use_cyclic_u:
            points = np.concatenate([points, points[:1]])
        found.append(moved(points, matrix))
    return found


def without_repeats(points_nm: np.ndarray) -> np.ndarray:
    """A polyline (K, 3) without vertices that lie on the one before them, as smooth splines and hands leave them."""
    steps = np.linalg.norm(np.diff(points_nm, axis=0), axis=1)
    kept = points_nm[np.concatenate([[True], steps > SAME_PLACE_NM])]
    if len(kept) > 1 and np.array_equal(points_nm[0], points_nm[-1]):
        kept[-1] = kept[0]
    return kept


def _spline_points(spline: bpy.types.Spline, tolerance: float) -> np.ndarray:
    """Points (K, 3) of a spline in its object's own frame; the first is not repeated where it is closed."""
    if spline.type == "BEZIER":
        return _bezier_points(spline, tolerance)
    if spline.type == "NURBS":
        return _nurbs_points(spline, tolerance)
    return _coordinates(spline.points, "co", 4)[:, :3]


def _coordinates(points: bpy.types.bpy_prop_collection, name: str, width: int) -> np.ndarray:
    flat = np.empty(width * len(points), dtype=np.float32)
    points.foreach_get(name, flat)
    return flat.reshape(-1, width).astype(np.float64)


def _bezier_points(spline: bpy.types.Spline, tolerance: float) -> np.ndarray:
    """Each cubic span in n equal steps of its parameter: a chord is off by at most |B''| / (8 n^2)."""
    knots, left, right = (_coordinates(spline.bezier_points, name, 3) for name in ("co", "handle_left", "handle_right"))
    count = len(knots) if spline.use_cyclic_u else len(knots) - 1
    pieces = []
    for i in range(count):
        j = (i + 1) % len(knots)
        p = np.array([knots[i], right[i], left[j], knots[j]])
        bend = 6 * np.linalg.norm(np.diff(p, n=2, axis=0), axis=1).max()
        parts = int(np.clip(np.ceil(np.sqrt(bend / (8 * tolerance))), 1, MOST_PARTS))
        t = (np.arange(parts) / parts)[:, None]
        pieces.append((1 - t) ** 3 * p[0] + 3 * (1 - t) ** 2 * t * p[1] + 3 * (1 - t) * t**2 * p[2] + t**3 * p[3])
    return np.concatenate([*pieces, knots[-1:]] if not spline.use_cyclic_u else pieces)


def _nurbs_points(spline: bpy.types.Spline, tolerance: float) -> np.ndarray:
    """Blender's own evaluation, its steps halved until the chords are within `tolerance`."""
    resolution = max(int(spline.resolution_u), 4)
    coarse = _evaluated(spline, resolution)
    while resolution < MOST_PARTS:
        fine = _evaluated(spline, 2 * resolution)
        # Chords shrink fourfold with half the step: what is left after it is a third of what it removed.
        whole = np.concatenate([coarse, coarse[:1]]) if spline.use_cyclic_u else coarse
        if _largest_distance(fine, whole) <= 3 * tolerance:
            return fine
        coarse, resolution = fine, 2 * resolution
    return coarse


def _evaluated(spline: bpy.types.Spline, resolution: int) -> np.ndarray:
    curve = bpy.data.curves.new("evaluated", "CURVE")
    curve.dimensions = "3D"
    copy = curve.splines.new("NURBS")
    copy.points.add(len(spline.points) - 1)
    copy.points.foreach_set("co", _coordinates(spline.points, "co", 4).astype(np.float32).ravel())
    for name in ("use_cyclic_u", "use_endpoint_u", "use_bezier_u", "order_u"):
        setattr(copy, name, getattr(spline, name))
    copy.resolution_u = resolution
    object_ = bpy.data.objects.new("evaluated", curve)
    try:
        points = _coordinates(object_.to_mesh().vertices, "co", 3)
        object_.to_mesh_clear()
    finally:
        bpy.data.objects.remove(object_)
        bpy.data.curves.remove(curve)
    return points


def _largest_distance(points: np.ndarray, polyline: np.ndarray) -> float:
    """How far any of `points` (K, 3) lies from a polyline (K', 3)."""
    start, edge = polyline[:-1], np.diff(polyline, axis=0)
    along = ((points[:, None] - start) * edge).sum(-1) / np.maximum((edge * edge).sum(-1), 1e-30)
    nearest = start + np.clip(along, 0, 1)[..., None] * edge
    return float(np.linalg.norm(points[:, None] - nearest, axis=-1).min(axis=1).max())
