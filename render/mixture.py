"""Drawing the dislocations of a specimen that is put together from sources.

Axes: N lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from physics.dislocation import Dislocation
from physics.errors import InputError
from physics.slip_trace import SLIP_TRACE
from render.draw import Distribution
from render.draw_held_lines import draw_slip_bands
from render.draw_sources import (
    draw_bow_outs,
    draw_dipole,
    draw_glide_line,
    draw_loop,
    draw_pile_up,
    draw_threading_line,
)
from render.mixture_config import Mixture
from render.slip_planes import draw_slip_system
from render.space import Space

SHORTEST_LINE_PX = 8.0
CROSSING_ANGLE_DEG = 20.0
MOST_DRAWS = 200
DENSITY_TRIES = 400


def draw_mixture(config: Mixture, space: Space, rng: np.random.Generator) -> tuple[Dislocation, ...]:
    """The lines of one specimen, at least `min_lines` of them in the field and `min_crossings` pairs crossing.

    Raises InputError when MOST_DRAWS draws do not give one.
    """
    scale = 1.0 if config.count_field_px is None else math.sqrt(np.prod(space.shape)) / config.count_field_px
    for _ in range(MOST_DRAWS):
        lines = _kept(_draw_once(config, space, scale, rng), config.max_lines, space)
        seen = [line for line in lines if line.kind != SLIP_TRACE and space.length_in_field_nm(line.points_nm) >= SHORTEST_LINE_PX * space.pixel_nm]
        enough = len(seen) >= config.min_lines
        if enough and (config.min_crossings == 0 or crossing_pairs(seen, space) >= config.min_crossings):
            return tuple(line.canonical() for line in lines)
    raise InputError(
        f"scene must place {config.min_lines} lines and {config.min_crossings} crossings in the field, got fewer in "
        f"{MOST_DRAWS} draws; use a larger field or more sources"
    )


def _kept(lines: list[Dislocation], most: int, space: Space) -> list[Dislocation]:
    """The lines that matter, `most` of them; none of too many that hang together with their traces."""
    kept = [line for group in _hanging_together(lines) if any(_matters(line, space) for line in group) for line in group]
    if _lines_among(kept) <= most:
        return kept
    return kept[:most] if space.film is None else []


def _hanging_together(lines: list[Dislocation]) -> list[list[Dislocation]]:
    """Lines in groups that meet in nodes, as held lines and their traces do."""
    groups: list[tuple[set[bytes], list[Dislocation]]] = []
    for line in lines:
        nodes = set() if line.closed else {line.points_nm[end].tobytes() for end in (0, -1)}
        met = [group for group in groups if group[0] & nodes]
        joined = nodes.union(*(ends for ends, _ in met)), [*(other for _, among in met for other in among), line]
        groups = [group for group in groups if not group[0] & nodes] + [joined]
    return [among for _, among in groups]


def _lines_among(lines: list[Dislocation]) -> int:
    return sum(line.kind != SLIP_TRACE for line in lines)


def crossing_pairs(lines: list[Dislocation], space: Space) -> int:
    """How many pairs of lines cross inside the field, in projection, by CROSSING_ANGLE_DEG at least."""
    pairs = 0
    for i in range(len(lines)):
        for j in range(i):
            pairs += _cross(lines[i].points_nm[:, :2], lines[j].points_nm[:, :2], space.half_field_nm)
    return pairs


def _draw_once(config: Mixture, space: Space, scale: float, rng: np.random.Generator) -> list[Dislocation]:
    lines: list[Dislocation] = []
    traces: list[np.ndarray] = []
    draw_of: tuple[tuple[object, Callable[..., list[Dislocation]]], ...] = (
        (config.pileups, draw_pile_up), (config.bowouts, draw_bow_outs), (config.glide, draw_glide_line), (config.threading, draw_threading_line),
        (config.dipoles, draw_dipole), (config.loops, draw_loop), (config.slip_bands, draw_slip_bands),
    )  # fmt: skip
    groups: list[list[Dislocation]] = []
    centres: list[np.ndarray] = []
    for source, draw in draw_of:
        for _ in range(_count(source.count, scale, rng)):
            system = draw_slip_system(config, space, traces, rng)
            centres.append(_centre_nm(config, space, centres, rng))
            groups.append(draw(source, space, system, centres[-1], rng))
        density = source.density_inv_m2.draw(rng) if hasattr(source, "density_inv_m2") else None
        if density is not None:
            groups += _of_density(float(density), draw, source, config, space, rng)
    # Whole groups are dropped where there are too many, so that no dipole loses its partner; the first one stays.
    for k in rng.permutation(len(groups)):
        if not lines or _lines_among(lines) + _lines_among(groups[k]) <= config.max_lines:
            lines += groups[k]
    return lines


def _of_density(
    density_inv_m2: float, draw: Callable[..., list[Dislocation]], source: object, config: Mixture,
    space: Space, rng: np.random.Generator,
) -> list[list[Dislocation]]:  # fmt: skip
    """Lines one by one until their length in the field's volume reaches the density (1 / m^2 = 1e-18 / nm^2)."""
    wanted_nm = density_inv_m2 * 1e-18 * 4 * np.prod(space.half_field_nm) * space.thickness_nm
    groups, length_nm = [], 0.0
    for _ in range(DENSITY_TRIES):
        if length_nm >= wanted_nm or len(groups) >= config.max_lines:
            break
        half = space.half_field_nm + space.thickness_nm / 2
        centre_nm = space.middle_nm(*rng.uniform(-half, half))
        group = draw(source, space, draw_slip_system(config, space, None, rng), centre_nm, rng)
        added_nm = sum(space.length_in_field_nm(line.points_nm) for line in group)
        # A line longer than what is missing is taken with the probability that keeps the mean density right.
        if added_nm > 0 and rng.random() < (wanted_nm - length_nm) / added_nm:
            groups.append(group)
        length_nm += added_nm
    return groups


def _centre_nm(config: Mixture, space: Space, centres: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Anywhere in the central part of the field, or beside an earlier group, since slip comes in bands and tangles."""
    half = config.central * space.half_field_nm
    place = rng.uniform(-half, half)
    if centres and rng.random() < config.cluster_share:
        beside = centres[int(rng.integers(len(centres)))][:2] + rng.normal(0, 0.35 * space.thickness_nm, 2)
        place = np.clip(beside, -half, half)
    return space.middle_nm(*place)


def _count(count: Distribution, scale: float, rng: np.random.Generator) -> int:
    """A drawn count scaled to the field, its fraction kept as a probability; never below 1 where 1 was drawn."""
    drawn = count.draw(rng)
    if drawn <= 0:
        return 0
    scaled = drawn * scale
    return max(1, int(math.floor(scaled + rng.random()))) if scale != 1.0 else int(drawn)


def _matters(line: Dislocation, space: Space) -> bool:
    """Whether a line comes near enough to the field to show or to strain it."""
    outside_nm = np.maximum(np.abs(line.points_nm[:, :2]) - space.half_field_nm, 0).max(axis=1).min()
    # Under a film short pieces stay: they may be what closes a node.
    long_enough = line.length_nm > 2 * space.pixel_nm or space.film is not None
    return long_enough and bool(outside_nm < 0.5 * space.thickness_nm)


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
