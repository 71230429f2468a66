"""Drawing lines that a film on the faces holds, with the slip traces that they trail, and slip bands, of which these alone are left.

Axes: N lines.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from physics.dislocation import Dislocation
from physics.errors import InputError
from physics.junction import open_ends
from physics.slip import SlipSystem
from physics.slip_trace import SLIP_TRACE, held_traces, under_film
from physics.sources import GlidePlane, LineShape, pile_up
from render.mixture_config import SlipBands
from render.slip_planes import draw_glide_plane
from render.space import Space


def draw_held_lines(
    plane: GlidePlane, places_nm: np.ndarray, shapes: list[LineShape], space: Space, toward: float, reach_nm: float
) -> tuple[list[Dislocation], int]:  # fmt: skip
    """The foremost lines under the film with the traces they trail, and how many of the sources' lines that is."""
    film = space.film
    if film is None:
        return [], 0
    count = min(film.held, len(places_nm))
    group = _with_traces(plane, places_nm[:count], shapes[:count], space, toward, reach_nm, film.trace_length_nm)
    return group, count if group else 0


def _with_traces(
    plane: GlidePlane, places_nm: np.ndarray, shapes: list[LineShape], space: Space, toward: float, reach_nm: float, length_nm: float
) -> list[Dislocation]:
    """Lines under the film and the traces they trail, the last for `length_nm`; none where these cannot be laid."""
    depth_nm = space.film.depth_nm
    inner = under_film(space.faces, depth_nm)
    lines = pile_up(plane, inner, positions_nm=places_nm, shapes=shapes, step_nm=space.step_nm, reach_nm=reach_nm)
    try:
        traces = held_traces(lines, plane, space.faces, toward=toward, film_depth_nm=depth_nm, length_nm=length_nm,
                             step_nm=2 * space.step_nm)  # fmt: skip
    except InputError:
        return []
    # Where a trace could not be laid, as at a hole, a line would be left with an end inside the crystal.
    group = [*lines, *traces]
    ends_nm = np.array([group[i].points_nm[end] for i, end in open_ends(group)]).reshape(-1, 3)
    entrance_nm, exit_nm = space.faces(ends_nm[:, 0], ends_nm[:, 1])
    below_nm = np.minimum(entrance_nm - ends_nm[:, 2], ends_nm[:, 2] - exit_nm)
    inside = (below_nm > 1e-3) & (np.abs(ends_nm[:, :2]) < space.half_field_nm).all(axis=1)
    points_nm = np.concatenate([*(line.points_nm[[0, -1]] for line in lines), *(trace.points_nm for trace in traces)] or [ends_nm])
    return [] if inside.any() or not _under_free_faces(points_nm, space) else group


def draw_slip_bands(source: SlipBands, space: Space, system: SlipSystem, centre_nm: np.ndarray, rng: np.random.Generator) -> list[Dislocation]:
    """What lines of parallel planes have left on their way out of the field; each band's stand for one of all their b there."""
    plane = draw_glide_plane(space, system, centre_nm, rng)
    toward, across = rng.choice([-1.0, 1.0]), np.array([-plane.along[1], plane.along[0]])
    place_nm, group = centre_nm[:2], []
    for _ in range(int(source.bands.draw(rng))):
        strength = max(1, round(source.lines.draw(rng)))
        if space.film is not None:
            own = replace(plane, burgers_uvw=strength * plane.burgers_uvw, point_nm=space.middle_nm(*place_nm))
            # Measured from the field's centre, as the reach is.
            along_nm = toward * space.reach_nm - float(own.point_nm[:2] @ own.along[:2])
            straight = [LineShape(chord_deg=0.0, sag_nm=0.0)]
            band = _with_traces(own, np.array([along_nm]), straight, space, toward, 3 * space.reach_nm, 2.5 * space.reach_nm)
            gone = all((np.abs(line.points_nm[:, :2]) > space.half_field_nm).any(axis=1).all() for line in band if line.kind != SLIP_TRACE)
            group += band if gone else []
        place_nm = place_nm + source.spacing_px.draw(rng) * space.pixel_nm * across
    return group


def _under_free_faces(points_nm: np.ndarray, space: Space) -> bool:
    """Whether all points (K, 3) are nearest to faces of the foil, which a film covers, and none to a boundary."""
    x_nm, y_nm, z_nm = points_nm.T
    faces, outer = np.array(space.faces(x_nm, y_nm)), np.array(space.outer_faces(x_nm, y_nm))
    nearer = np.abs(faces - z_nm).argmin(axis=0)
    return bool((np.abs(faces - outer)[nearer, np.arange(len(z_nm))] < 1e-3).all())
