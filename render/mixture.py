"""Drawing the dislocations of a specimen that is put together from sources.

Axes: S slip systems, N lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from physics.beam import BeamCondition, foil_normal_image, image_from_crystal
from physics.clipping import Faces, RoughFaces
from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.errors import InputError
from physics.foil import Foil
from physics.frames import field_nm
from physics.junction import open_ends
from physics.slip import SlipSystem, slip_systems
from physics.slip_trace import SLIP_TRACE, held_traces, under_film
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
from render.foil import FoilShape
from render.sample_config import BowOuts, Dipoles, GlideLines, Loops, Mixture, PileUps, SlipBands, ThreadingLines
from render.scene_rules import plane_normal_image

STEP_PX, SHORTEST_STEP_NM = 4.0, 1.5
STEEPEST_PLANE_DEG, FLATTEST_PLANE_DEG = 82.0, 9.0  # beyond the first a plane is seen edge-on; below the second it misses the faces
NARROWEST_STRIP_PX = 40.0
SHORTEST_LINE_PX = 8.0
WAVE_MODES = 7
FINEST_RELIEF_NM = 3.0
OPEN_ANGLE_DEG = 30.0
CROSSING_ANGLE_DEG = 20.0
MOST_DRAWS = 200
DENSITY_TRIES = 400


@dataclass(frozen=True, kw_only=True)
class Film:
    """A film on both faces under which lines glide: its depth, how far back traces run, and how many b they hold."""

    depth_nm: float
    trace_length_nm: float
    held: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Specimen:
    """The space that sources are placed in: crystal and foil in the image frame, and the field.

    `faces` bound the first grain, `outer_faces` the foil: they differ where a boundary runs under a face.
    """

    crystal: Crystal
    image_from_crystal: np.ndarray
    faces: Faces
    outer_faces: Faces
    thickness_nm: float
    shape: tuple[int, int]
    pixel_nm: float
    g_hkl: tuple[int, int, int]
    film: Film | None = None

    @classmethod
    def of(
        cls, crystal: Crystal, foil: Foil, beam: BeamCondition, shape: tuple[int, int], pixel_nm: float,
        film: Film | None = None,
    ) -> Specimen:  # fmt: skip
        placed = FoilShape(foil=foil, normal_image=foil_normal_image(crystal, beam, foil))
        return cls(crystal=crystal, image_from_crystal=image_from_crystal(crystal, beam), faces=_faces(placed),
                   outer_faces=lambda x, y: (placed.face_z_nm(x, y, 1), placed.face_z_nm(x, y, -1)), thickness_nm=foil.thickness_nm, shape=shape, pixel_nm=pixel_nm, g_hkl=beam.g_hkl, film=film)  # fmt: skip

    @property
    def half_field_nm(self) -> np.ndarray:
        return np.array(field_nm(self.shape, self.pixel_nm)) / 2

    @property
    def reach_nm(self) -> float:
        """A distance from the centre that lies outside the field by more than any image of a line."""
        return 1.3 * float(np.linalg.norm(self.half_field_nm)) + 0.5 * self.thickness_nm

    @property
    def step_nm(self) -> float:
        return max(STEP_PX * self.pixel_nm, SHORTEST_STEP_NM)

    def middle_nm(self, x_nm: float, y_nm: float) -> np.ndarray:
        """The point of the mid-foil over (x, y)."""
        entrance_nm, exit_nm = self.faces(np.array([x_nm]), np.array([y_nm]))
        return np.array([x_nm, y_nm, (entrance_nm[0] + exit_nm[0]) / 2])

    def length_in_field_nm(self, points_nm: np.ndarray) -> float:
        middles = (points_nm[1:, :2] + points_nm[:-1, :2]) / 2
        seen = (np.abs(middles) < self.half_field_nm).all(axis=1)
        return float(np.linalg.norm(np.diff(points_nm, axis=0), axis=1)[seen].sum())


def _faces(placed: FoilShape) -> Faces:
    """Heights of both faces; planes are worked out once, since sources ask for a few points many times."""

    def bent(x_nm: np.ndarray, y_nm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return placed.crystal_faces_z_nm(x_nm, y_nm)

    if not placed.foil.smooth:
        return RoughFaces(heights_nm=bent, finest_nm=FINEST_RELIEF_NM)
    if placed.bent:
        return bent
    far_nm = 1000.0
    at = np.array(bent(np.array([0.0, far_nm, 0.0]), np.array([0.0, 0.0, far_nm])))
    (top, bottom), slopes = at[:, 0], (at[:, 1:] - at[:, :1]) / far_nm

    def plane(x_nm: np.ndarray, y_nm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (top + slopes[0, 0] * x_nm + slopes[0, 1] * y_nm, bottom + slopes[1, 0] * x_nm + slopes[1, 1] * y_nm)

    return plane


def draw_mixture(config: Mixture, specimen: Specimen, rng: np.random.Generator) -> tuple[Dislocation, ...]:
    """The lines of one specimen, at least `min_lines` of them in the field and `min_crossings` pairs crossing.

    Raises InputError when MOST_DRAWS draws do not give one.
    """
    scale = 1.0 if config.count_field_px is None else math.sqrt(np.prod(specimen.shape)) / config.count_field_px
    for _ in range(MOST_DRAWS):
        lines = _kept(_draw_once(config, specimen, scale, rng), config.max_lines, specimen)
        seen = [line for line in lines if line.kind != SLIP_TRACE and specimen.length_in_field_nm(line.points_nm) >= SHORTEST_LINE_PX * specimen.pixel_nm]
        enough = len(seen) >= config.min_lines
        if enough and (config.min_crossings == 0 or crossing_pairs(seen, specimen) >= config.min_crossings):
            return tuple(line.canonical() for line in lines)
    raise InputError(
        f"scene must place {config.min_lines} lines and {config.min_crossings} crossings in the field, got fewer in "
        f"{MOST_DRAWS} draws; use a larger field or more sources"
    )


def _kept(lines: list[Dislocation], most: int, specimen: Specimen) -> list[Dislocation]:
    """The lines that matter, `most` of them; none of too many that hang together with their traces."""
    kept = [line for group in _hanging_together(lines) if any(_matters(line, specimen) for line in group) for line in group]
    if _lines_among(kept) <= most:
        return kept
    return kept[:most] if specimen.film is None else []


def _hanging_together(lines: list[Dislocation]) -> list[list[Dislocation]]:
    """Lines in groups that meet in nodes, as held lines and their traces do."""
    group_of: dict[bytes, list[Dislocation]] = {}
    groups: list[list[Dislocation]] = []
    for line in lines:
        nodes = () if line.closed else (line.points_nm[0].tobytes(), line.points_nm[-1].tobytes())
        met = [group for group in groups if any(group is group_of.get(node) for node in nodes)]
        joined = [*(other for group in met for other in group), line]
        groups = [group for group in groups if not any(group is other for other in met)] + [joined]
        for other in joined:
            for end in () if other.closed else (0, -1):
                group_of[other.points_nm[end].tobytes()] = joined
    return groups


def _lines_among(lines: list[Dislocation]) -> int:
    return sum(line.kind != SLIP_TRACE for line in lines)


def crossing_pairs(lines: list[Dislocation], specimen: Specimen) -> int:
    """How many pairs of lines cross inside the field, in projection, by CROSSING_ANGLE_DEG at least."""
    pairs = 0
    for i in range(len(lines)):
        for j in range(i):
            pairs += _cross(lines[i].points_nm[:, :2], lines[j].points_nm[:, :2], specimen.half_field_nm)
    return pairs


def _draw_once(config: Mixture, specimen: Specimen, scale: float, rng: np.random.Generator) -> list[Dislocation]:
    lines: list[Dislocation] = []
    traces: list[np.ndarray] = []
    draw_of: tuple[tuple[object, Callable[..., list[Dislocation]]], ...] = (
        (config.pileups, _pile_up), (config.bowouts, _bow_outs), (config.glide, _glide_line), (config.threading, _threading_line),
        (config.dipoles, _dipole), (config.loops, _loop), (config.slip_bands, _slip_bands),
    )  # fmt: skip
    groups: list[list[Dislocation]] = []
    centres: list[np.ndarray] = []
    for source, draw in draw_of:
        for _ in range(_count(source.count, scale, rng)):
            system = _slip_system(config, specimen, traces, rng)
            centres.append(_centre_nm(config, specimen, centres, rng))
            groups.append(draw(source, specimen, system, centres[-1], rng))
        density = source.density_inv_m2.draw(rng) if hasattr(source, "density_inv_m2") else None
        if density is not None:
            groups += _of_density(float(density), draw, source, config, specimen, rng)
    # Whole groups are dropped where there are too many, so that no dipole loses its partner; the first one stays.
    for k in rng.permutation(len(groups)):
        if not lines or _lines_among(lines) + _lines_among(groups[k]) <= config.max_lines:
            lines += groups[k]
    return lines


def _of_density(
    density_inv_m2: float, draw: Callable[..., list[Dislocation]], source: object, config: Mixture,
    specimen: Specimen, rng: np.random.Generator,
) -> list[list[Dislocation]]:  # fmt: skip
    """Lines one by one until their length in the field's volume reaches the density (1 / m^2 = 1e-18 / nm^2)."""
    wanted_nm = density_inv_m2 * 1e-18 * 4 * np.prod(specimen.half_field_nm) * specimen.thickness_nm
    groups, length_nm = [], 0.0
    for _ in range(DENSITY_TRIES):
        if length_nm >= wanted_nm or len(groups) >= config.max_lines:
            break
        half = specimen.half_field_nm + specimen.thickness_nm / 2
        centre_nm = specimen.middle_nm(*rng.uniform(-half, half))
        group = draw(source, specimen, _slip_system(config, specimen, None, rng), centre_nm, rng)
        added_nm = sum(specimen.length_in_field_nm(line.points_nm) for line in group)
        # A line longer than what is missing is taken with the probability that keeps the mean density right.
        if added_nm > 0 and rng.random() < (wanted_nm - length_nm) / added_nm:
            groups.append(group)
        length_nm += added_nm
    return groups


def _pile_up(source: PileUps, specimen: Specimen, system: SlipSystem, centre_nm: np.ndarray, rng: np.random.Generator) -> list[Dislocation]:
    count = int(source.lines.draw(rng))
    length_nm = (count - 1) * source.spacing_px.draw(rng) * specimen.pixel_nm
    toward = rng.choice([-1.0, 1.0])  # the side of the lock, to which the lines bow
    # Friction holds back what the stress would press together: between even spacing and that of a free pile-up.
    tightening = source.tightening.draw(rng)
    positions_nm = (tightening * pile_up_positions(count) + (1 - tightening) * np.linspace(0, 1, count)) * length_nm
    plane = _glide_plane(specimen, system, centre_nm, rng)
    shapes = _shapes(source, plane, _chord_nm(plane, specimen), positions_nm, toward, rng)
    places_nm, reach_nm = toward * (length_nm / 2 - positions_nm), specimen.reach_nm + length_nm
    held = _held_lines(plane, places_nm, shapes, specimen, toward, reach_nm)
    return held[0] + pile_up(plane, specimen.faces, positions_nm=places_nm[held[1] :], shapes=shapes[held[1] :],
                             step_nm=specimen.step_nm, reach_nm=reach_nm)  # fmt: skip


def _held_lines(
    plane: GlidePlane, places_nm: np.ndarray, shapes: list[LineShape], specimen: Specimen, toward: float, reach_nm: float
) -> tuple[list[Dislocation], int]:  # fmt: skip
    """The foremost lines under the film with the traces they trail, and how many of the sources' lines that is."""
    film = specimen.film
    if film is None:
        return [], 0
    count = min(film.held, len(places_nm))
    group = _with_traces(plane, places_nm[:count], shapes[:count], specimen, toward, reach_nm, film.trace_length_nm)
    return group, count if group else 0


def _with_traces(
    plane: GlidePlane, places_nm: np.ndarray, shapes: list[LineShape], specimen: Specimen, toward: float, reach_nm: float, length_nm: float
) -> list[Dislocation]:
    """Lines under the film and the traces they trail, the last for `length_nm`; none where these cannot be laid."""
    depth_nm = specimen.film.depth_nm
    inner = under_film(specimen.faces, depth_nm)
    lines = pile_up(plane, inner, positions_nm=places_nm, shapes=shapes, step_nm=specimen.step_nm, reach_nm=reach_nm)
    try:
        traces = held_traces(lines, plane, specimen.faces, toward=toward, film_depth_nm=depth_nm, length_nm=length_nm,
                             step_nm=2 * specimen.step_nm)  # fmt: skip
    except InputError:
        return []
    # Where a trace could not be laid, as at a hole, a line would be left with an end inside the crystal.
    group = [*lines, *traces]
    ends_nm = np.array([group[i].points_nm[end] for i, end in open_ends(group)]).reshape(-1, 3)
    entrance_nm, exit_nm = specimen.faces(ends_nm[:, 0], ends_nm[:, 1])
    below_nm = np.minimum(entrance_nm - ends_nm[:, 2], ends_nm[:, 2] - exit_nm)
    inside = (below_nm > 1e-3) & (np.abs(ends_nm[:, :2]) < specimen.half_field_nm).all(axis=1)
    points_nm = np.concatenate([*(line.points_nm[[0, -1]] for line in lines), *(trace.points_nm for trace in traces)] or [ends_nm])
    return [] if inside.any() or not _under_free_faces(points_nm, specimen) else group


def _slip_bands(source: SlipBands, specimen: Specimen, system: SlipSystem, centre_nm: np.ndarray, rng: np.random.Generator) -> list[Dislocation]:
    """What lines of parallel planes have left on their way out of the field; each band's stand for one of all their b there."""
    plane = _glide_plane(specimen, system, centre_nm, rng)
    toward, across = rng.choice([-1.0, 1.0]), np.array([-plane.along[1], plane.along[0]])
    place_nm, group = centre_nm[:2], []
    for _ in range(int(source.bands.draw(rng))):
        strength = max(1, round(source.lines.draw(rng)))
        if specimen.film is not None:
            own = replace(plane, burgers_uvw=strength * plane.burgers_uvw, point_nm=specimen.middle_nm(*place_nm))
            # Measured from the field's centre, as the reach is.
            along_nm = toward * specimen.reach_nm - float(own.point_nm[:2] @ own.along[:2])
            straight = [LineShape(chord_deg=0.0, sag_nm=0.0)]
            band = _with_traces(own, np.array([along_nm]), straight, specimen, toward, 3 * specimen.reach_nm, 2.5 * specimen.reach_nm)
            gone = all((np.abs(line.points_nm[:, :2]) > specimen.half_field_nm).any(axis=1).all() for line in band if line.kind != SLIP_TRACE)
            group += band if gone else []
        place_nm = place_nm + source.spacing_px.draw(rng) * specimen.pixel_nm * across
    return group


def _under_free_faces(points_nm: np.ndarray, specimen: Specimen) -> bool:
    """Whether all points (K, 3) are nearest to faces of the foil, which a film covers, and none to a boundary."""
    x_nm, y_nm, z_nm = points_nm.T
    faces, outer = np.array(specimen.faces(x_nm, y_nm)), np.array(specimen.outer_faces(x_nm, y_nm))
    nearer = np.abs(faces - z_nm).argmin(axis=0)
    return bool((np.abs(faces - outer)[nearer, np.arange(len(z_nm))] < 1e-3).all())


def _bow_outs(source: BowOuts, specimen: Specimen, system: SlipSystem, centre_nm: np.ndarray, rng: np.random.Generator) -> list[Dislocation]:
    count = int(source.lines.draw(rng))
    spacing_nm = source.spacing_px.draw(rng) * specimen.pixel_nm
    positions_nm = np.concatenate([[0.0], np.cumsum(spacing_nm * (0.35 + rng.exponential(0.65, count - 1)))])
    toward, plane_spread_nm = rng.choice([-1.0, 1.0]), source.plane_spread_nm.draw(rng)
    plane = _glide_plane(specimen, system, centre_nm, rng)
    shapes = _shapes(source, plane, _chord_nm(plane, specimen), positions_nm, toward, rng)
    places_nm, reach_nm = toward * (positions_nm.mean() - positions_nm), specimen.reach_nm + positions_nm[-1]
    lines, held = ([], 0) if plane_spread_nm else _held_lines(plane, places_nm, shapes, specimen, toward, reach_nm)
    for along_nm, shape in zip(places_nm[held:], shapes[held:]):
        on = plane.shifted(rng.normal(0, plane_spread_nm)) if plane_spread_nm else plane
        lines += bow_out(on, specimen.faces, along_nm=float(along_nm), shape=shape, step_nm=specimen.step_nm,
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


def _glide_line(source: GlideLines, specimen: Specimen, system: SlipSystem, centre_nm: np.ndarray, rng: np.random.Generator) -> list[Dislocation]:
    plane = _glide_plane(specimen, system, centre_nm, rng)
    chord_deg = float(np.clip(source.chord_deg.draw(rng), -88, 88))
    chord_nm = min(_chord_nm(plane, specimen) / math.cos(math.radians(chord_deg)), 2 * specimen.reach_nm)
    shape = LineShape(chord_deg=chord_deg, sag_nm=source.sag_fraction.draw(rng) * chord_nm,
                      wave_nm=_wave_nm(source.wave_fraction, chord_nm, rng))  # fmt: skip
    return bow_out(plane, specimen.faces, along_nm=0.0, shape=shape, step_nm=specimen.step_nm, reach_nm=specimen.reach_nm)


def _threading_line(
    source: ThreadingLines, specimen: Specimen, system: SlipSystem, centre_nm: np.ndarray, rng: np.random.Generator
) -> list[Dislocation]:
    lateral_nm = min(source.lateral_thicknesses.draw(rng) * specimen.thickness_nm, 2 * specimen.reach_nm)
    azimuth = rng.uniform(0, 2 * np.pi)
    across = lateral_nm / 2 * np.array([math.cos(azimuth), math.sin(azimuth)])
    ends = []
    for side, face in ((-1, 1), (1, 0)):
        x_nm, y_nm = centre_nm[:2] + side * across
        heights = specimen.faces(np.array([x_nm]), np.array([y_nm]))
        # Started a little outside the foil, so that the cut at the face makes the end.
        ends.append(np.array([x_nm, y_nm, heights[face][0] + side * 0.02 * specimen.thickness_nm]))
    chord_nm = float(np.linalg.norm(ends[1] - ends[0]))
    level = _wave_nm(source.wave_fraction, chord_nm, rng)
    steep = _wave_nm(source.wave_fraction, min(chord_nm, 2 * specimen.thickness_nm), rng)
    sign = rng.choice([-1.0, 1.0])
    return threading_line(sign * np.array(system.burgers_uvw), *ends, specimen.faces, wave_nm=(level, steep), step_nm=specimen.step_nm)


def _dipole(source: Dipoles, specimen: Specimen, system: SlipSystem, centre_nm: np.ndarray, rng: np.random.Generator) -> list[Dislocation]:
    plane = _glide_plane(specimen, system, centre_nm, rng)
    height_nm = source.height_nm.draw(rng)
    chord_deg = float(np.clip(source.chord_deg.draw(rng), -80, 80))
    chord_nm = min(_chord_nm(plane, specimen) / math.cos(math.radians(chord_deg)), 2 * specimen.reach_nm)
    shape = LineShape(chord_deg=chord_deg, sag_nm=source.sag_fraction.draw(rng) * chord_nm,
                      wave_nm=_wave_nm(source.wave_fraction, chord_nm, rng))  # fmt: skip
    return dipole(plane, specimen.faces, height_nm=height_nm, offset_nm=source.offset_fraction.draw(rng) * height_nm,
                  shape=shape, step_nm=specimen.step_nm, reach_nm=specimen.reach_nm)  # fmt: skip


def _loop(source: Loops, specimen: Specimen, system: SlipSystem, centre_nm: np.ndarray, rng: np.random.Generator) -> list[Dislocation]:
    """One loop well inside the foil; smaller than drawn where the foil is too thin for it."""
    radius_nm = min(source.radius_nm.draw(rng), 0.3 * specimen.thickness_nm)
    height_nm = rng.uniform(-0.5, 0.5) * max(0.0, specimen.thickness_nm - 2.4 * radius_nm)
    options = {"aspect": source.aspect.draw(rng), "turn_deg": rng.uniform(0, 180),
               "wave_fraction": rng.normal(0, 1, 3) * source.wave_fraction.draw(rng) / np.array([1, 2, 3]),
               "step_nm": min(specimen.step_nm, radius_nm / 4)}  # fmt: skip
    options["wave_fraction"] = np.clip(options["wave_fraction"], -0.25, 0.25)
    centre_nm = centre_nm + np.array([0, 0, height_nm])
    prismatic = rng.random() < source.prismatic_share
    habit = habit_plane(specimen.crystal, system.burgers_uvw) if prismatic else None
    for shrink in (1.0, 0.7, 0.5, 0.3):
        if habit is None:
            loop = glide_loop(_glide_plane(specimen, system, centre_nm, rng), radius_nm=shrink * radius_nm, **options)
        else:
            normal = plane_normal_image(habit, specimen.crystal, specimen.image_from_crystal)
            sign = rng.choice([-1.0, 1.0])
            loop = prismatic_loop(sign * np.array(system.burgers_uvw), habit, normal, centre_nm, radius_nm=shrink * radius_nm, **options)
        entrance_nm, exit_nm = specimen.faces(loop.points_nm[:, 0], loop.points_nm[:, 1])
        if (loop.points_nm[:, 2] < entrance_nm - 1).all() and (loop.points_nm[:, 2] > exit_nm + 1).all():
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


@cache
def _systems(crystal: Crystal, family: str | None) -> tuple[SlipSystem, ...]:
    return slip_systems(crystal, family)


def _slip_system(config: Mixture, specimen: Specimen, traces: list[np.ndarray] | None, rng: np.random.Generator) -> SlipSystem:
    """A slip system whose plane shows a strip, by preference one with g.b not 0 and away from the last trace.

    `traces` gathers the traces of the groups so far; None: this line keeps to none.
    """
    systems = _systems(specimen.crystal, config.family)
    normals = np.array([plane_normal_image(s.plane_hkl, specimen.crystal, specimen.image_from_crystal) for s in systems])
    inclination_deg = np.degrees(np.arccos(np.clip(np.abs(normals[:, 2]), 0, 1)))
    strip_px = specimen.thickness_nm / np.tan(np.radians(np.maximum(inclination_deg, 1e-3))) / specimen.pixel_nm
    good = (inclination_deg < STEEPEST_PLANE_DEG) & (inclination_deg > FLATTEST_PLANE_DEG)
    wide = good & (strip_px >= NARROWEST_STRIP_PX)
    # Where no plane is suited, the least steep one that meets the faces is taken.
    candidates = wide if wide.any() else good if good.any() else inclination_deg == inclination_deg.min()
    if not wide.any() and good.any():
        candidates = good & (strip_px >= 0.999 * strip_px[good].max())
    if rng.random() < config.visible_share:
        visible = np.array([abs(np.dot(specimen.g_hkl, s.burgers_uvw)) > 1e-9 for s in systems])
        candidates = candidates & visible if (candidates & visible).any() else candidates
    along = np.stack([-normals[:, 1], normals[:, 0]], axis=1)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-12)
    if traces and config.cross_deg > 0:
        apart = np.abs(along @ traces[-1]) <= math.cos(math.radians(config.cross_deg))
        candidates = candidates & apart if (candidates & apart).any() else candidates
    picked = int(rng.choice(np.flatnonzero(candidates)))
    if traces is not None:
        traces.append(along[picked])
    return systems[picked]


def _glide_plane(specimen: Specimen, system: SlipSystem, point_nm: np.ndarray, rng: np.random.Generator) -> GlidePlane:
    normal = plane_normal_image(system.plane_hkl, specimen.crystal, specimen.image_from_crystal)
    return GlidePlane(plane_hkl=system.plane_hkl, burgers_uvw=rng.choice([-1.0, 1.0]) * np.array(system.burgers_uvw),
                      normal_image=normal, point_nm=point_nm)  # fmt: skip


def _chord_nm(plane: GlidePlane, specimen: Specimen) -> float:
    """Length of the steepest line of a plane between the faces, at most what the field can show."""
    return min(specimen.thickness_nm / max(plane.rise[2], 1e-3), 2 * specimen.reach_nm)


def _wave_nm(fraction: Distribution, chord_nm: float, rng: np.random.Generator) -> np.ndarray:
    """Amplitudes (M,) that fall as m^-1.5, so that a line is smooth on the scale of pixels; m = 1 is left to the sag."""
    modes = np.arange(1, WAVE_MODES + 1)
    amplitude_nm = fraction.draw(rng) * chord_nm * rng.normal(0, 1, WAVE_MODES) * (2 / modes) ** 1.5
    amplitude_nm[0] = 0.0
    return amplitude_nm


def _centre_nm(config: Mixture, specimen: Specimen, centres: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Anywhere in the central part of the field, or beside an earlier group, since slip comes in bands and tangles."""
    half = config.central * specimen.half_field_nm
    place = rng.uniform(-half, half)
    if centres and rng.random() < config.cluster_share:
        beside = centres[int(rng.integers(len(centres)))][:2] + rng.normal(0, 0.35 * specimen.thickness_nm, 2)
        place = np.clip(beside, -half, half)
    return specimen.middle_nm(*place)


def _count(count: Distribution, scale: float, rng: np.random.Generator) -> int:
    """A drawn count scaled to the field, its fraction kept as a probability; never below 1 where 1 was drawn."""
    drawn = count.draw(rng)
    if drawn <= 0:
        return 0
    scaled = drawn * scale
    return max(1, int(math.floor(scaled + rng.random()))) if scale != 1.0 else int(drawn)


def _matters(line: Dislocation, specimen: Specimen) -> bool:
    """Whether a line comes near enough to the field to show or to strain it."""
    outside_nm = np.maximum(np.abs(line.points_nm[:, :2]) - specimen.half_field_nm, 0).max(axis=1).min()
    # Under a film short pieces stay: they may be what closes a node.
    long_enough = line.length_nm > 2 * specimen.pixel_nm or specimen.film is not None
    return long_enough and bool(outside_nm < 0.5 * specimen.thickness_nm)


def _cross(first: np.ndarray, second: np.ndarray, half_field_nm: np.ndarray) -> bool:
    """Whether two curves (K, 2) cross inside the field by CROSSING_ANGLE_DEG at least."""
    p, r = first[:-1, None], np.diff(first, axis=0)[:, None]
    q, s = second[None, :-1], np.diff(second, axis=0)[None]
    turn = r[..., 0] * s[..., 1] - r[..., 1] * s[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = ((q - p)[..., 0] * s[..., 1] - (q - p)[..., 1] * s[..., 0]) / turn
        u = ((q - p)[..., 0] * r[..., 1] - (q - p)[..., 1] * r[..., 0]) / turn
        sine = np.abs(turn) / (np.linalg.norm(r, axis=-1) * np.linalg.norm(s, axis=-1))
    hit = (t >= 0) & (t <= 1) & (u >= 0) & (u <= 1) & (sine >= math.sin(math.radians(CROSSING_ANGLE_DEG)))
    where = (p + np.where(hit, t, 0.0)[..., None] * r)[hit]
    return bool((np.abs(where) < half_field_nm).all(axis=1).any())
