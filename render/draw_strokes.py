"""Drawing the lines and the background files of a stroke scene.

Axes: K vertices, N lines.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from physics.crystal import Crystal
from physics.slip import slip_systems
from render.grey_image import image_files, read_grey
from render.shards import file_sha256
from render.stroke_config import StrokeScene
from render.strokes import Backdrop, enlarged_size

Faces = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
STEP_PX = 4.0
WAVE_MODES = 4
OWN_SHARE = 0.12  # of the gap to a neighbour, that a line's own waviness may take, so that neighbours do not cross
LONGEST_FIELD = 0.7
CENTRAL = 0.3  # pile-ups are centred within this part of the field's half side


def stroke_lines_nm(
    config: StrokeScene, shape: tuple[int, int], pixel_nm: float, faces: Faces, rng: np.random.Generator
) -> list[np.ndarray]:
    """Curves (K, 3) in the image frame, each from the entrance to the exit face, in 1 to 3 pile-ups."""
    lines = int(config.lines.draw(rng))
    groups = min(int(config.pileups.draw(rng)), lines)
    # Every pile-up has one line at least; the others fall to them at random.
    members = 1 + rng.multinomial(lines - groups, np.full(groups, 1 / groups))
    return [_between_faces(pixel_nm * curve, faces) for count in members for curve in _pile_up_px(config, int(count), shape, rng)]


def burgers_of(crystal: Crystal, g_hkl: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """A Burgers vector of the crystal's slip systems, one with g.b not 0: what is drawn would be seen."""
    systems = slip_systems(crystal)
    seen = [system for system in systems if abs(np.dot(g_hkl, system.burgers_uvw)) > 1e-9] or list(systems)
    return float(rng.choice([-1.0, 1.0])) * np.array(seen[int(rng.integers(len(seen)))].burgers_uvw)


def draw_backdrops(config: StrokeScene, shape: tuple[int, int], rng: np.random.Generator) -> tuple[Backdrop, ...]:
    """Two windows of files of the folder, of two files where there are two, with weights that sum to 1.

    Files are named from the working directory, so that a Scene says nothing of the machine it was drawn on.
    """
    files = _listed(str(Path(str(config.backgrounds)).resolve()))
    chosen = rng.choice(len(files), 2, replace=len(files) < 2)
    blend = float(config.blend.draw(rng))
    drawn = []
    for k, weight in zip(chosen, (1 - blend, blend)):
        path, sha256, size = files[int(k)]
        at_px = tuple(int(rng.integers(length - wanted + 1)) for length, wanted in zip(enlarged_size(size, shape), shape))
        turns = int(rng.integers(4)) if shape[0] == shape[1] else 2 * int(rng.integers(2))
        drawn.append(Backdrop(weight=weight, file=Path(os.path.relpath(path)).as_posix(), sha256=sha256, at_px=at_px, mirrored=bool(rng.integers(2)), quarter_turns=turns))
    return tuple(drawn)


def _pile_up_px(config: StrokeScene, count: int, shape: tuple[int, int], rng: np.random.Generator) -> list[np.ndarray]:
    """Like curves (K, 2) beside each other, x right, y up, from the field's centre; gaps are across the lines."""
    half = np.array(shape[::-1]) / 2
    centre = rng.uniform(-CENTRAL, CENTRAL, 2) * 2 * half
    azimuth = rng.uniform(0, 2 * np.pi)
    along = np.array([math.cos(azimuth), math.sin(azimuth)])
    across = np.array([-along[1], along[0]])
    gaps = [float(config.gap_px.draw(rng)) for _ in range(count - 1)]
    places = np.concatenate([[0.0], np.cumsum(gaps)])
    length = min(config.length_px.draw(rng), LONGEST_FIELD * min(shape))
    shift = math.tan(math.radians(config.slant_deg.draw(rng)))  # the row of middles stands obliquely on the lines
    sag, waves = config.sag_fraction.draw(rng), _waves(config.wave_fraction.draw(rng), rng)
    t = np.linspace(-0.5, 0.5, max(8, math.ceil(length / STEP_PX)) + 1)
    common = length * (sag * (1 - 4 * t**2) + _profile(waves, t))
    curves = []
    for place in places:
        room = min(gaps, default=length)
        own = _profile(_waves(1.0, rng), t)
        own *= OWN_SHARE * room * rng.uniform(0, 1) / max(float(np.abs(own).max()), 1e-9)
        offset = place - places.mean()
        stretch = rng.uniform(0.9, 1.1)
        curves.append(centre + np.multiply.outer(stretch * length * t + shift * offset, along) + np.multiply.outer(offset + common + own, across))
    return curves


def _waves(fraction: float, rng: np.random.Generator) -> np.ndarray:
    modes = np.arange(1, WAVE_MODES + 1)
    return fraction * rng.normal(0, 1, (2, WAVE_MODES)) / modes**1.5


def _profile(waves: np.ndarray, t: np.ndarray) -> np.ndarray:
    phase = 2 * np.pi * np.multiply.outer(t, np.arange(1, waves.shape[1] + 1))
    return np.cos(phase) @ waves[0] + np.sin(phase) @ waves[1]


def _between_faces(curve_nm: np.ndarray, faces: Faces) -> np.ndarray:
    """A plane curve (K, 2) as a line (K, 3) that falls evenly from the entrance to the exit face."""
    entrance_nm, exit_nm = faces(curve_nm[:, 0], curve_nm[:, 1])
    run = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(curve_nm, axis=0), axis=1))])
    share = run / run[-1]
    return np.column_stack([curve_nm, (1 - share) * entrance_nm + share * exit_nm])


@lru_cache(maxsize=4)
def _listed(folder: str) -> tuple[tuple[str, str, tuple[int, int]], ...]:
    """Path, SHA-256 and size of every picture in a folder; those of two values are masks and are passed over."""
    from physics.errors import require

    found = []
    for file in image_files(Path(folder)):
        grey = read_grey(file)
        if grey.ndim == 2 and len(np.unique(grey)) > 2:
            found.append((str(file), file_sha256(file), grey.shape))
    require(bool(found), "scene.backgrounds", "hold micrographs", f"masks only in {Path(folder).name}")
    return tuple(found)
