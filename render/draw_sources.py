"""Drawing one group of dislocations of each kind of source: pile-ups, bow-outs, single lines, dipoles, loops.

Axes: M harmonics of a line's waviness.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.slip import SlipSystem
from physics.sources import (
    GlidePlane,
    LineShape,
    bow_out,
    dipole,
    glide_loop,
    pile_up,
    pile_up_positions,
    prismatic_loop,
    threading_line,
)
from render.draw import Distribution
from render.draw_held_lines import draw_held_lines
from render.mixture_config import BowOuts, Dipoles, GlideLines, Loops, PileUps, ThreadingLines
from render.scene_rules import plane_normal_image
from render.slip_planes import draw_glide_plane, steepest_chord_nm
from render.space import Space

WAVE_MODES = 7
OPEN_ANGLE_DEG = 30.0


def draw_pile_up(source: PileUps, space: Space, system: SlipSystem, centre_nm: np.ndarray, rng: np.random.Generator) -> list[Dislocation]:
    count = int(source.lines.draw(rng))
    length_nm = (count - 1) * source.spacing_px.draw(rng) * space.pixel_nm
    toward = rng.choice([-1.0, 1.0])  # the side of the lock, to which the lines bow
    # Friction holds back what the stress would press together: between even spacing and that of a free pile-up.
    tightening = source.tightening.draw(rng)
    positions_nm = (tightening * pile_up_positions(count) + (1 - tightening) * np.linspace(0, 1, count)) * length_nm
    plane = draw_glide_plane(space, system, centre_nm, rng)
    shapes = _shapes(source, plane, steepest_chord_nm(plane, space), positions_nm, toward, rng)
    places_nm, reach_nm = toward * (length_nm / 2 - positions_nm), space.reach_nm + length_nm
    held = draw_held_lines(plane, places_nm, shapes, space, toward, reach_nm)
    return held[0] + pile_up(plane, space.faces, positions_nm=places_nm[held[1] :], shapes=shapes[held[1] :],
                             step_nm=space.step_nm, reach_nm=reach_nm)  # fmt: skip


def draw_bow_outs(source: BowOuts, space: Space, system: SlipSystem, centre_nm: np.ndarray, rng: np.random.Generator) -> list[Dislocation]:
    count = int(source.lines.draw(rng))
    spacing_nm = source.spacing_px.draw(rng) * space.pixel_nm
    positions_nm = np.concatenate([[0.0], np.cumsum(spacing_nm * (0.35 + rng.exponential(0.65, count - 1)))])
    toward, plane_spread_nm = rng.choice([-1.0, 1.0]), source.plane_spread_nm.draw(rng)
    plane = draw_glide_plane(space, system, centre_nm, rng)
    shapes = _shapes(source, plane, steepest_chord_nm(plane, space), positions_nm, toward, rng)
    places_nm, reach_nm = toward * (positions_nm.mean() - positions_nm), space.reach_nm + positions_nm[-1]
    lines, held = ([], 0) if plane_spread_nm else draw_held_lines(plane, places_nm, shapes, space, toward, reach_nm)
    for along_nm, shape in zip(places_nm[held:], shapes[held:]):
        on = plane.shifted(rng.normal(0, plane_spread_nm)) if plane_spread_nm else plane
        lines += bow_out(on, space.faces, along_nm=float(along_nm), shape=shape, step_nm=space.step_nm,
                         reach_nm=reach_nm)  # fmt: skip
    return lines


def _shapes(
    source: PileUps | BowOuts, plane: GlidePlane, chord_nm: float, positions_nm: np.ndarray, toward: float,
    rng: np.random.Generator,
) -> list[LineShape]:  # fmt: skip
    """Shapes of like lines on one plane: alike as far as they stand close, so that none crosses its neighbour.

    Each line's own share of chord angle, sag and waviness is held to a fraction of the gap to its neighbours; those
    farther from the lock are freer to bow.
    """
    gaps_nm = np.diff(positions_nm, prepend=-np.inf, append=np.inf)
    room_nm = np.minimum(np.minimum(gaps_nm[:-1], gaps_nm[1:]), chord_nm)
    # Projected, the lines stay OPEN_ANGLE_DEG off the slip trace: else a steep plane shows them as one.
    limit_deg = min(60.0, math.degrees(math.atan(plane.normal_image[2] / math.tan(math.radians(OPEN_ANGLE_DEG)))))
    chord_deg = float(np.clip(source.chord_deg.draw(rng), -limit_deg, limit_deg))
    spread_deg, sag_nm = source.chord_spread_deg.draw(rng), source.sag_fraction.draw(rng) * chord_nm
    common_nm = _wave_nm(source.wave_fraction, chord_nm, rng)
    shapes = []
    for position_nm, room in zip(positions_nm, room_nm):
        freedom = 0.75 + 0.25 * position_nm / max(positions_nm[-1], 1e-9)
        turn_limit_deg = math.degrees(math.atan(0.3 * room / chord_nm))
        own_nm = _wave_nm(source.wave_fraction, chord_nm, rng)
        own_nm *= min(1.0, 0.15 * room / max(np.abs(own_nm).sum(), 1e-9))
        shapes.append(LineShape(
            chord_deg=chord_deg + float(np.clip(rng.normal(0, spread_deg), -turn_limit_deg, turn_limit_deg)),
            sag_nm=toward * (sag_nm * freedom + float(np.clip(rng.normal(0, 0.15 * sag_nm), -0.1 * room, 0.1 * room))),
            wave_nm=common_nm + own_nm,
        ))  # fmt: skip
    return shapes


def draw_glide_line(source: GlideLines, space: Space, system: SlipSystem, centre_nm: np.ndarray, rng: np.random.Generator) -> list[Dislocation]:
    plane = draw_glide_plane(space, system, centre_nm, rng)
    shape = _lone_shape(source, plane, 88.0, space, rng)
    return bow_out(plane, space.faces, along_nm=0.0, shape=shape, step_nm=space.step_nm, reach_nm=space.reach_nm)


def draw_threading_line(
    source: ThreadingLines, space: Space, system: SlipSystem, centre_nm: np.ndarray, rng: np.random.Generator
) -> list[Dislocation]:
    lateral_nm = min(source.lateral_thicknesses.draw(rng) * space.thickness_nm, 2 * space.reach_nm)
    azimuth = rng.uniform(0, 2 * np.pi)
    across = lateral_nm / 2 * np.array([math.cos(azimuth), math.sin(azimuth)])
    ends = []
    for side, face in ((-1, 1), (1, 0)):
        x_nm, y_nm = centre_nm[:2] + side * across
        heights = space.faces(np.array([x_nm]), np.array([y_nm]))
        # Started a little outside the foil, so that the cut at the face makes the end.
        ends.append(np.array([x_nm, y_nm, heights[face][0] + side * 0.02 * space.thickness_nm]))
    chord_nm = float(np.linalg.norm(ends[1] - ends[0]))
    level = _wave_nm(source.wave_fraction, chord_nm, rng)
    steep = _wave_nm(source.wave_fraction, min(chord_nm, 2 * space.thickness_nm), rng)
    sign = rng.choice([-1.0, 1.0])
    return threading_line(sign * np.array(system.burgers_uvw), *ends, space.faces, wave_nm=(level, steep), step_nm=space.step_nm)


def draw_dipole(source: Dipoles, space: Space, system: SlipSystem, centre_nm: np.ndarray, rng: np.random.Generator) -> list[Dislocation]:
    plane = draw_glide_plane(space, system, centre_nm, rng)
    height_nm = source.height_nm.draw(rng)
    shape = _lone_shape(source, plane, 80.0, space, rng)
    return dipole(plane, space.faces, height_nm=height_nm, offset_nm=source.offset_fraction.draw(rng) * height_nm,
                  shape=shape, step_nm=space.step_nm, reach_nm=space.reach_nm)  # fmt: skip


def draw_loop(source: Loops, space: Space, system: SlipSystem, centre_nm: np.ndarray, rng: np.random.Generator) -> list[Dislocation]:
    """One loop well inside the foil; smaller than drawn where the foil is too thin for it."""
    radius_nm = min(source.radius_nm.draw(rng), 0.3 * space.thickness_nm)
    height_nm = rng.uniform(-0.5, 0.5) * max(0.0, space.thickness_nm - 2.4 * radius_nm)
    options = {"aspect": source.aspect.draw(rng), "turn_deg": rng.uniform(0, 180),
               "wave_fraction": rng.normal(0, 1, 3) * source.wave_fraction.draw(rng) / np.array([1, 2, 3]),
               "step_nm": min(space.step_nm, radius_nm / 4)}  # fmt: skip
    options["wave_fraction"] = np.clip(options["wave_fraction"], -0.25, 0.25)
    centre_nm = centre_nm + np.array([0, 0, height_nm])
    prismatic = rng.random() < source.prismatic_share
    habit = habit_plane(space.crystal, system.burgers_uvw) if prismatic else None
    for shrink in (1.0, 0.7, 0.5, 0.3):
        if habit is None:
            loop = glide_loop(draw_glide_plane(space, system, centre_nm, rng), radius_nm=shrink * radius_nm, **options)
        else:
            normal = plane_normal_image(habit, space.crystal, space.image_from_crystal)
            sign = rng.choice([-1.0, 1.0])
            loop = prismatic_loop(sign * np.array(system.burgers_uvw), habit, normal, centre_nm, radius_nm=shrink * radius_nm, **options)
        if space.holds(loop.points_nm):
            return [loop]
    return []


@cache
def habit_plane(crystal: Crystal, burgers_uvw: tuple[float, ...]) -> tuple[int, int, int] | None:
    """The lattice plane normal to b, as small integers; None where there is none with indices up to 6."""
    covariant = crystal.lattice_nm.T @ crystal.lattice_nm @ np.array(burgers_uvw)
    covariant = covariant / np.abs(covariant).max()
    for multiple in range(1, 7):
        hkl = covariant * multiple
        if np.abs(hkl - np.round(hkl)).max() < 1e-3:
            return tuple(int(h) for h in np.round(hkl))
    return None


def _lone_shape(
    source: GlideLines | Dipoles, plane: GlidePlane, most_chord_deg: float, space: Space, rng: np.random.Generator
) -> LineShape:
    """The shape of a line that no neighbour of its plane restrains."""
    chord_deg = float(np.clip(source.chord_deg.draw(rng), -most_chord_deg, most_chord_deg))
    chord_nm = min(steepest_chord_nm(plane, space) / math.cos(math.radians(chord_deg)), 2 * space.reach_nm)
    return LineShape(chord_deg=chord_deg, sag_nm=source.sag_fraction.draw(rng) * chord_nm,
                     wave_nm=_wave_nm(source.wave_fraction, chord_nm, rng))  # fmt: skip


def _wave_nm(fraction: Distribution, chord_nm: float, rng: np.random.Generator) -> np.ndarray:
    """Amplitudes (M,) that fall as m^-1.5, so that a line is smooth on the scale of pixels; m = 1 is left to the sag."""
    modes = np.arange(1, WAVE_MODES + 1)
    amplitude_nm = fraction.draw(rng) * chord_nm * rng.normal(0, 1, WAVE_MODES) * (2 / modes) ** 1.5
    amplitude_nm[0] = 0.0
    return amplitude_nm
