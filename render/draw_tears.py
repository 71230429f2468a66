"""Drawing tears: cracks with bent lips, that start at a rim of the foil where there is one."""

from __future__ import annotations

import math

import numpy as np

from physics.beam import BeamCondition
from physics.frames import field_nm
from physics.opening import Opening
from physics.tear import Tear
from render.surroundings_config import SurroundingsConfig

TANGENT_STATIONS = 6  # vertices of a ragged outline to each side that tell where the rim runs
SPREAD_DEG = 25.0  # of a crack's direction about the one across the rim
MOST_SAG = 0.3


def draw_tears(
    config: SurroundingsConfig, openings: tuple[Opening, ...], beam: BeamCondition, shape: tuple[int, int], pixel_nm: float,
    rng: np.random.Generator,
) -> tuple[Tear, ...]:  # fmt: skip
    """One tear, or none. Its middle, where it gapes most, lies on the rim of an opening if one is in the field.

    Rolled lips are not drawn: only Blender models them (`Tear`). Nor is anything under beams off the row of g, for which the
    lattice must not turn (`render.scene_rules.check_beams`).
    """
    wanted = rng.random() < config.tear_share.draw(rng)
    if not wanted or beam.beams_hkl is not None:
        return ()
    middle_nm, azimuth = _place(openings, np.array(field_nm(shape, pixel_nm)), rng)
    length_nm = config.tear_length_px.draw(rng) * pixel_nm
    half = 0.5 * length_nm * np.array([math.cos(azimuth), math.sin(azimuth)])
    return (Tear(
        tips_nm=[middle_nm - half, middle_nm + half],
        width_nm=config.tear_width_fraction.draw(rng) * length_nm,
        sag_nm=float(np.clip(config.tear_sag_fraction.draw(rng), -MOST_SAG, MOST_SAG)) * length_nm,
        lips="bent",
        lip_nm=config.tear_lip_px.draw(rng) * pixel_nm,
        turn_deg=config.tear_turn_deg.draw(rng),
        side=int(rng.choice([-1, 1])),
        taper_nm=float(rng.uniform(0.5, 3)) * pixel_nm,
    ),)  # fmt: skip


def _place(openings: tuple[Opening, ...], field: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Middle (2,) of a tear and the azimuth of its chord: across a rim, else anywhere."""
    anywhere, azimuth = rng.uniform(-0.5, 0.5, 2) * field, float(rng.uniform(0, 2 * np.pi))
    turned = math.radians(float(rng.normal(0, SPREAD_DEG)))
    rims = []
    for opening in openings:
        outline = opening.outline_nm
        tangents = np.roll(outline, -TANGENT_STATIONS, axis=0) - np.roll(outline, TANGENT_STATIONS, axis=0)
        seen = (np.abs(outline) < 0.45 * field).all(axis=1)
        rims += [(at, math.atan2(along[1], along[0]) + math.pi / 2) for at, along in zip(outline[seen], tangents[seen])]
    if not rims:
        return anywhere, azimuth
    at, across = rims[int(rng.integers(len(rims)))]
    return at, across + turned
