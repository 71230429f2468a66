"""Drawing what surrounds the lines: relief, holes and edges, a second grain, tears, twins, deposits.

Axes: K outline vertices.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from physics.beam import BeamCondition
from physics.boundary import GrainBoundary
from physics.crystal import Crystal
from physics.deposit import Deposit
from physics.dislocation import Dislocation
from physics.foil import Foil
from physics.frames import field_nm
from physics.opening import Opening
from physics.relief import Relief
from render.draw import Fixed
from render.draw_grains import drawn_condition, drawn_misorientation
from render.draw_tears import draw_tears
from render.draw_twins import draw_twins
from render.space import Film
from render.surroundings_config import SurroundingsConfig

REFERENCE_AREA_PX = 512 * 512
OUTLINE_VERTICES = 180
WIDEST_HOLE = 0.5  # radius of a hole at most, of the shorter side of the field: foil must be left
# Mean free paths in nm, for electrons that stay in a usual aperture: carbonaceous at 200 kV, and heavier oxides.
LIGHT_PATH_NM, HEAVY_PATH_NM = 150.0, 60.0
ROUGHNESS_COVERED = 2.5


def surrounded_foil(
    config: SurroundingsConfig, foil: Foil, crystal: Crystal, beam: BeamCondition, shape: tuple[int, int], pixel_nm: float,
    rng: np.random.Generator,
) -> Foil:  # fmt: skip
    """`foil` with relief, openings, a second grain, tears and twins as drawn."""
    width_nm, height_nm = field_nm(shape, pixel_nm)
    openings = []
    taper_nm = config.taper_px.draw(rng) * pixel_nm
    if rng.random() < config.edge_share.draw(rng):
        outline = _edge_outline(width_nm, height_nm, config.edge_reach.draw(rng), rng)
        openings.append(Opening(outline_nm=outline, taper_nm=taper_nm))
    if rng.random() < config.hole_share.draw(rng):
        centre = rng.uniform(-0.5, 0.5, 2) * [width_nm, height_nm]
        radius_nm = min(config.hole_radius_px.draw(rng), WIDEST_HOLE * min(shape)) * pixel_nm
        openings.append(Opening(outline_nm=centre + _ragged_circle(radius_nm, rng), taper_nm=taper_nm))
    boundary = None
    if rng.random() < config.boundary_share.draw(rng):
        boundary = _boundary(config, foil, crystal, beam, width_nm, height_nm, rng)
    # Streams of their own: a configuration without tears and twins draws what it drew before there were any.
    of_tears, of_twins = rng.spawn(2)
    return replace(
        foil, relief=_relief(config, pixel_nm, rng), openings=tuple(openings), boundary=boundary,
        tears=draw_tears(config, tuple(openings), beam, shape, pixel_nm, of_tears),
        twins=draw_twins(config, foil, crystal, beam, shape, pixel_nm, of_twins),
    )  # fmt: skip


def draw_deposits(
    config: SurroundingsConfig, lines: tuple[Dislocation, ...], shape: tuple[int, int], pixel_nm: float,
    rng: np.random.Generator,
) -> tuple[Deposit, ...]:  # fmt: skip
    """Particles, flakes, oxide islands and fading spots over the field, some of them on lines."""
    scale = shape[0] * shape[1] / REFERENCE_AREA_PX
    half_nm = np.array(field_nm(shape, pixel_nm)) / 2
    count, spots = (int(rng.poisson(number * scale)) if number else 0 for number in (config.deposits.draw(rng), config.spots.draw(rng)))
    vertices = np.concatenate([line.points_nm[:, :2] for line in lines]) if lines else np.empty((0, 2))
    vertices = vertices[(np.abs(vertices) < half_nm).all(axis=1)]
    near_share = config.near_line_share.draw(rng)
    # Particles of one frame are of a kind: alike in darkness and outline, scattered in size.
    depth, size = config.deposit_depth.draw(rng), config.deposit_radius_px.draw(rng)
    found = []
    for _ in range(count):
        centre = rng.uniform(-1, 1, 2) * half_nm
        if len(vertices) and rng.random() < near_share:
            centre = vertices[rng.integers(len(vertices))] + rng.normal(0, 2 * pixel_nm, 2)
        kind = str(rng.choice(["particle", "flake", "oxide", "damage"], p=[0.7, 0.1, 0.1, 0.1]))
        radius_nm = size * pixel_nm * float(np.exp(rng.normal(0, 0.35))) * (0.5 if kind == "damage" else 1.0)
        path_nm = HEAVY_PATH_NM if kind in ("particle", "oxide") else LIGHT_PATH_NM
        found.append(Deposit(
            kind=kind, centre_nm=tuple(centre), radius_nm=radius_nm,
            thickness_nm=depth * path_nm * float(np.exp(rng.normal(0, 0.3))), mean_free_path_nm=path_nm,
            aspect=float(rng.uniform(0.55, 1)), turn_deg=float(rng.uniform(0, 180)),
            lobes=tuple(np.clip(rng.normal(0, 0.1, 3), -0.25, 0.25)), profile=0.0 if kind == "flake" else float(rng.uniform(0.2, 0.8)),
            side=int(rng.choice([-1, 1])),
        ))  # fmt: skip
    for _ in range(spots):
        found.append(Deposit(
            kind="spot", centre_nm=tuple(rng.uniform(-1, 1, 2) * half_nm), radius_nm=config.spot_radius_px.draw(rng) * pixel_nm,
            thickness_nm=float(rng.uniform(0.05, 0.5)) * LIGHT_PATH_NM, mean_free_path_nm=LIGHT_PATH_NM,
            aspect=float(rng.uniform(0.5, 1)), turn_deg=float(rng.uniform(0, 180)),
            lobes=tuple(np.clip(rng.normal(0, 0.12, 3), -0.3, 0.3)), profile=float(rng.uniform(1, 2.5)),
            side=int(rng.choice([-1, 1])),
        ))  # fmt: skip
    return tuple(found)


def draw_film(
    config: SurroundingsConfig, foil: Foil, shape: tuple[int, int], pixel_nm: float, rng: np.random.Generator
) -> Film | None:  # fmt: skip
    """The film that holds slip traces, None where lines run out to the faces.

    On a rough face it is at least ROUGHNESS_COVERED times its roughness deep: faces are relaxed as if they were smooth, and
    a trace should lie below that.
    """
    depth_nm, length, held = (getattr(config, name).draw(rng) for name in ("film_depth_nm", "trace_length_field", "trace_held"))
    if not depth_nm:
        return None
    depth_nm = max(float(depth_nm), ROUGHNESS_COVERED * (foil.relief.roughness_nm if foil.relief else 0.0))
    return Film(depth_nm=depth_nm, trace_length_nm=length * max(field_nm(shape, pixel_nm)), held=int(held))


def _relief(config: SurroundingsConfig, pixel_nm: float, rng: np.random.Generator) -> Relief | None:
    roughness_nm, step_nm = float(config.roughness_nm.draw(rng)), float(config.terrace_step_nm.draw(rng))
    seed, azimuth_deg, wander = int(rng.integers(2**62)), float(rng.uniform(0, 360)), float(rng.uniform(0.1, 0.6))
    period_nm = config.terrace_period_px.draw(rng) * pixel_nm
    correlation_nm = config.correlation_px.draw(rng) * pixel_nm
    if not roughness_nm and not step_nm:
        return None
    return Relief(seed=seed, roughness_nm=roughness_nm, correlation_nm=correlation_nm, terrace_step_nm=step_nm,
                  terrace_period_nm=period_nm, terrace_azimuth_deg=azimuth_deg, terrace_wander=wander,
                  terrace_edge_nm=0.06 * period_nm)  # fmt: skip


def _boundary(
    config: SurroundingsConfig, foil: Foil, crystal: Crystal, beam: BeamCondition, width_nm: float, height_nm: float,
    rng: np.random.Generator,
) -> GrainBoundary:  # fmt: skip
    azimuth = rng.uniform(0, 2 * np.pi)
    toward = np.array([math.cos(azimuth), math.sin(azimuth)])
    # The second grain takes the smaller part of the field, on the side it points to.
    offset = rng.uniform(0.15, 0.45) * (abs(toward[0]) * width_nm + abs(toward[1]) * height_nm)
    tilt = math.radians(config.boundary_tilt_deg.draw(rng))
    normal = [*(math.sin(tilt) * toward), math.cos(tilt) * rng.choice([-1.0, 1.0])]
    if config.second_s_xi == Fixed(None):
        second = drawn_misorientation(crystal, beam, config.grain_s_xi, rng)
    else:
        second = drawn_condition(foil, crystal, beam, config.second_s_xi, rng)
    return GrainBoundary(point_nm=[*(offset * toward), 0.0], normal=normal, **second)


def _edge_outline(width_nm: float, height_nm: float, reach: float, rng: np.random.Generator) -> np.ndarray:
    """A ragged border (K, 2) that cuts `reach` of the field off on one side, closed far outside."""
    azimuth = rng.uniform(0, 2 * np.pi)
    toward = np.array([math.cos(azimuth), math.sin(azimuth)])
    beside = np.array([-toward[1], toward[0]])
    span = abs(toward[0]) * width_nm + abs(toward[1]) * height_nm
    half_length = 0.75 * math.hypot(width_nm, height_nm)
    along = np.linspace(-half_length, half_length, OUTLINE_VERTICES)
    ragged = _ragged(along / (2 * half_length), rng) * rng.uniform(0.01, 0.08) * span
    border = np.multiply.outer((0.5 - reach) * span + ragged, toward) + np.multiply.outer(along, beside)
    far = 2 * half_length + span
    return np.concatenate([border, [far * toward + 2 * half_length * beside, far * toward - 2 * half_length * beside]])


def _ragged_circle(radius_nm: float, rng: np.random.Generator) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, OUTLINE_VERTICES, endpoint=False)
    modes = np.arange(2, 40)
    amplitude = rng.normal(0, 0.25, len(modes)) / modes**1.3 * rng.uniform(0.2, 1)
    radius = radius_nm * np.maximum(0.2, 1 + np.cos(np.multiply.outer(angle, modes) + rng.uniform(0, 2 * np.pi, len(modes))) @ amplitude)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def _ragged(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A self-affine profile of rms about 1 over t in [-0.5, 0.5]: amplitudes fall as frequency^-1.3."""
    modes = np.arange(1, 60)
    amplitude = rng.normal(0, 1, len(modes)) / modes**1.3
    phases = rng.uniform(0, 2 * np.pi, len(modes))
    return np.cos(2 * np.pi * np.multiply.outer(t, modes) + phases) @ amplitude
