"""From a configuration and a seed to a frozen Scene: the only place where random numbers are drawn.

Everything of image `index` comes from Philox(SeedSequence([seed, index])), so that it depends neither on the
other images nor on who renders them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from physics.beam import BeamCondition, foil_normal_image, image_from_crystal
from physics.crystal import Crystal
from physics.deposit import Deposit
from physics.dislocation import Dislocation
from physics.errors import InputError, require
from physics.foil import Foil
from physics.frames import field_nm
from physics.material import material_names
from physics.network_cut import FieldTooWide
from render.camera import draw_detector
from render.conditions import (
    condition_of_series,
    draw_beam,
    draw_foil,
    draw_pixel_nm,
    draw_thickness_nm,
    normal_uvw_of,
)
from render.detector import Detector
from render.draw import Fixed
from render.draw_defects import Defects, can_fault, draw_defects
from render.draw_strokes import burgers_of, draw_backdrops, stroke_lines_nm
from render.draw_surroundings import draw_deposits, draw_film, surrounded_foil
from render.foil import FoilShape
from render.mixture import draw_mixture
from render.mixture_config import Mixture
from render.sample_config import FileScene, NetworkScene, SampleConfig
from render.scene import Scene
from render.space import Space
from render.stroke_config import WHOLE_FOIL, StrokeScene
from render.strokes import Backdrop, Strokes
from render.surroundings_config import CLEAN, SurroundingsConfig

DETECTOR_STREAM = 1
BLENDER_FILE = ".blend"
MOST_CONDITIONS, MOST_CONDITIONS_FIXED_FIELD = 300, 20
# Grey levels of a file as they stand: electrons enough that none of their noise is added to that of the picture.
SCANNER = Detector(dose_e_per_px=1e9, gain_counts_per_e=255e-9, offset_counts=0.0, mtf_sigma_px=0.0, readout_noise_counts=0.0)
WIDEST_SHARE_OF_BOX = 0.75  # of a network's period, where the pixel is free


def sample(config: SampleConfig | Mapping[str, Any], seed: int, index: int = 0) -> Scene:
    """Draw the Scene of image `index` of the dataset that `config` and `seed` describe.

    Raises InputError where the configuration cannot give one.
    """
    config = config if isinstance(config, SampleConfig) else SampleConfig.from_dict(config)
    require(int(seed) == seed and seed >= 0, "seed", "be a whole number >= 0", seed)
    require(int(index) == index and index >= 0, "index", "be a whole number >= 0", index)
    series = config.beam.series
    specimen_index, condition = divmod(int(index), len(series)) if series else (int(index), None)
    rng = _generator(seed, specimen_index)
    if isinstance(config.scene, FileScene):
        scene = _read_scene(config.scene.file)
        if index > 0:
            scene = scene.replace(detector=replace(scene.detector, noise_seed=_noise_seed(seed, index)))
    else:
        scene = _draw_scene(config, rng)
        if index != specimen_index:
            scene = scene.replace(detector=replace(scene.detector, noise_seed=_noise_seed(seed, index)))
    if condition is None:
        return scene
    # What is drawn in tells of the first condition: its g, its mode.
    scene = scene.replace(detector=replace(scene.detector, burn_in=()))
    return under_condition(scene, condition_of_series(series[condition], scene.crystal, scene.beam, f"beam.series[{condition}]"))


def under_condition(scene: Scene, beam: BeamCondition) -> Scene:
    """The same specimen, a flat foil, under another diffraction condition: it is tilted with all that is in it and on it.

    Raises InputError for a wedged, bent or rough foil, or one with an edge or a second grain.
    """
    foil = scene.foil
    require(not (foil.wedge_deg or foil.curvature_inv_um or foil.cross_curvature_inv_um), "beam.series",
            "look at a flat foil: the height maps of a bent or wedged one do not turn with the specimen yet",
            f"wedge_deg {foil.wedge_deg:.3g}, curvatures {foil.curvature_inv_um:.3g} and {foil.cross_curvature_inv_um:.3g} 1/um",
            "use foil=flat")  # fmt: skip
    require(foil.smooth, "beam.series", "look at a foil without relief, openings, tears, twins or boundary: they do not turn with the specimen yet",
            "some", "use surroundings=none")  # fmt: skip
    turn = image_from_crystal(scene.crystal, beam) @ image_from_crystal(scene.crystal, scene.beam).T
    lines = tuple(replace(line, points_nm=line.points_nm @ turn.T) for line in scene.dislocations)
    faults = tuple(replace(fault, outline_nm=fault.outline_nm @ turn.T) for fault in scene.faults)
    particles = tuple(replace(particle, centre_nm=particle.centre_nm @ turn.T) for particle in scene.particles)
    shape = FoilShape(foil=foil, normal_image=foil_normal_image(scene.crystal, scene.beam, foil))
    deposits = tuple(_turned_deposit(deposit, shape, turn) for deposit in scene.deposits)
    return scene.replace(
        beam=beam, foil=_turned_foil(scene, turn), dislocations=lines, faults=faults, particles=particles, deposits=deposits
    )  # fmt: skip


def _turned_deposit(deposit: Deposit, shape: FoilShape, turn: np.ndarray) -> Deposit:
    """The deposit where its place on the face of the foil has gone; what tilt does to its outline is left out."""
    x, y = deposit.centre_nm
    z = float(shape.face_z_nm(np.array(x), np.array(y), deposit.side))
    spin_deg = math.degrees(math.atan2(turn[1, 0] - turn[0, 1], turn[0, 0] + turn[1, 1]))
    return replace(deposit, centre_nm=tuple((turn @ [x, y, z])[:2]), turn_deg=deposit.turn_deg + spin_deg)


def _draw_scene(config: SampleConfig, rng: np.random.Generator) -> Scene:
    # A generator of their own, so that other surroundings leave lines and beam as they are.
    around, defects = rng.spawn(2)
    if isinstance(config.scene, StrokeScene):
        return _draw_strokes(config, config.scene, rng, around)
    if not isinstance(config.scene, NetworkScene):
        crystal = _drawn_crystal(config, config.scene, rng)
        parts = _draw_condition(config, crystal, rng, around)
        found = draw_defects(config.scene, draw_mixture(config.scene, parts[-1], rng), parts[-1], config.elasticity, defects)
        return _scene(config, crystal, *parts, found, around)
    from render.network_view import draw_view, smallest_period_nm

    widest_nm = WIDEST_SHARE_OF_BOX * smallest_period_nm(config.scene)
    crystal = Crystal.from_material(_network_material(config, config.scene, rng))
    for attempt in range(MOST_CONDITIONS):
        parts = _draw_condition(config, crystal, rng, around, widest_nm)
        try:
            return _scene(config, crystal, *parts, Defects(lines=draw_view(config.scene, parts[-1], rng)), around)
        except FieldTooWide:
            # A drawn pixel, thickness or tilt may not fit the box; a fixed field never will.
            if isinstance(config.pixel_nm, Fixed) and attempt + 1 >= MOST_CONDITIONS_FIXED_FIELD:
                raise
            if attempt + 1 == MOST_CONDITIONS:
                raise
    raise AssertionError("unreachable")


def _draw_strokes(config: SampleConfig, strokes: StrokeScene, rng: np.random.Generator, around: np.random.Generator) -> Scene:
    """Lines from face to face, drawn with a pen on two blended backgrounds: pictures in files, or two foils without lines."""
    whole = replace(config, surroundings=replace(_surroundings(config), **WHOLE_FOIL))
    bare = []
    for _ in range(2 if strokes.simulated else 1):
        crystal = Crystal.from_material(config.material.draw(rng))
        parts = _draw_condition(whole, crystal, rng, around)
        bare.append(_scene(whole, crystal, *parts, Defects(lines=()), around))
    scene = bare[0]
    if strokes.simulated:
        blend = float(strokes.blend.draw(rng))
        # Of the second only its noise-free picture counts.
        other = bare[1].replace(detector=Detector())
        backdrops = (Backdrop(weight=1 - blend), Backdrop(weight=blend, scene=other))
    else:
        backdrops = draw_backdrops(strokes, config.shape, rng)
        # A file has no scale; what is computed needs one, that of the condition drawn.
        pixel_nm = scene.pixel_nm if config.pixel_nm != Fixed(None) or strokes.contrast == "composite" else 1.0
        scene = Scene(
            crystal=scene.crystal, foil=Foil(thickness_nm=scene.foil.thickness_nm), beam=scene.beam, shape=config.shape,
            pixel_nm=pixel_nm, visible_contrast=config.visible_contrast, labels=config.labels, slice_nm=config.slice_nm, core_nm=config.core_nm,
            surfaces=config.surfaces, elasticity=config.elasticity,
            detector=replace(SCANNER, noise_seed=scene.detector.noise_seed),
        )  # fmt: skip
    placed = Space.of(scene.crystal, scene.foil, scene.beam, scene.shape, scene.pixel_nm)
    burgers = burgers_of(scene.crystal, scene.beam.g_hkl, rng)
    curves = stroke_lines_nm(strokes, scene.shape, scene.pixel_nm, placed.faces, rng)
    pens = Strokes(
        width_px=tuple(strokes.width_px.draw(rng) for _ in curves), darkness=tuple(strokes.darkness.draw(rng) for _ in curves),
        mask_px=strokes.mask_px, backdrops=backdrops,
    )  # fmt: skip
    # Lines of one b beside each other, as pens draw them, would bend the foil together and turn half of it away from the beam;
    # where their contrast is computed neighbours have opposite b.
    signs = [(-1) ** k if strokes.contrast == "composite" else 1 for k in range(len(curves))]
    lines = tuple(Dislocation(burgers_uvw=sign * burgers, points_nm=curve).canonical() for sign, curve in zip(signs, curves))
    return scene.replace(dislocations=lines, contrast=strokes.contrast, strokes=pens)


def _drawn_crystal(config: SampleConfig, scene: Mixture, rng: np.random.Generator) -> Crystal:
    """The crystal of one draw; of several offered, one that can hold the faults that the scene is about."""
    for _ in range(MOST_CONDITIONS):
        crystal = Crystal.from_material(config.material.draw(rng))
        if can_fault(crystal) or not scene.needs_fault_plane:
            return crystal
        if isinstance(config.material, Fixed):
            break
    raise InputError(f"material must have close-packed planes for scene={scene.kind} (fcc, hcp, diamond, zincblende), "
                     f"got {crystal.material} ({crystal.structure})")  # fmt: skip


def _draw_condition(
    config: SampleConfig, crystal: Crystal, rng: np.random.Generator, around: np.random.Generator,
    widest_nm: float = math.inf,
) -> tuple[BeamCondition, Foil, Detector, Space]:
    beam = draw_beam(config.beam, crystal, rng)
    thickness_nm = draw_thickness_nm(config.foil, crystal, beam, rng)
    pixel_nm = draw_pixel_nm(config, crystal, beam, thickness_nm, rng)
    if config.pixel_nm == Fixed(None):
        pixel_nm = min(pixel_nm, widest_nm / max(config.shape))
    foil = draw_foil(config.foil, crystal, beam, thickness_nm, max(field_nm(config.shape, pixel_nm)), rng)
    foil = surrounded_foil(_surroundings(config), foil, crystal, beam, config.shape, pixel_nm, around)
    detector = draw_detector(config.detector, config.shape, pixel_nm, crystal, beam, rng)
    film = draw_film(_surroundings(config), foil, config.shape, pixel_nm, around)
    return beam, foil, detector, Space.of(crystal, foil, beam, config.shape, pixel_nm, film)


def _scene(
    config: SampleConfig, crystal: Crystal, beam: BeamCondition, foil: Foil, detector: Detector, space: Space,
    found: Defects, around: np.random.Generator,
) -> Scene:  # fmt: skip
    deposits = draw_deposits(_surroundings(config), found.lines, config.shape, space.pixel_nm, around)
    return Scene(
        crystal=crystal, foil=foil, beam=beam, dislocations=found.lines, faults=found.faults,
        particles=found.particles, deposits=deposits, detector=detector, shape=config.shape, pixel_nm=space.pixel_nm,
        visible_contrast=config.visible_contrast, labels=config.labels, slice_nm=config.slice_nm, core_nm=config.core_nm,
        surfaces=config.surfaces, elasticity=config.elasticity, foil_renderer=_renderer(config.foil_renderer),
    )  # fmt: skip


def _renderer(name: str) -> str:
    """The `foil_renderer` of a Scene: Blender is named with its version."""
    if name == "numpy":
        return name
    from render.blender import renderer_name  # Blender only where it is asked for

    return renderer_name()


def _surroundings(config: SampleConfig) -> SurroundingsConfig:
    """What is drawn around the lines: nothing where a specimen is tilted, since surroundings do not turn with it yet."""
    return CLEAN if config.beam.series else config.surroundings


def _network_material(config: SampleConfig, scene: NetworkScene, rng: np.random.Generator) -> str:
    """The material of a network: the fixed one, or one of those to choose from that its Burgers vectors fit."""
    from render.network_view import materials_that_fit

    if isinstance(config.material, Fixed):
        return config.material.value
    offered = tuple(dict.fromkeys(config.material.values()))
    fitting = materials_that_fit(scene, offered)
    if not fitting:
        known = materials_that_fit(scene, material_names())
        raise InputError(f"material must be the network's, got one of {', '.join(offered)}; "
                         f"the Burgers vectors of {scene.file} fit {', '.join(known) or 'none known: check scene.burgers_nm'}")  # fmt: skip
    return fitting[int(rng.integers(len(fitting)))]


def _turned_foil(scene: Scene, turn: np.ndarray) -> Foil:
    normal_image = np.array([0.0, 0.0, 1.0])
    normal_uvw = scene.foil.normal_uvw
    if normal_uvw is None and not np.allclose(turn[2], normal_image, atol=1e-12):
        # The foil lay across the beam of the first condition, which is a fixed direction of the crystal.
        normal_uvw = normal_uvw_of(scene.crystal, scene.beam, normal_image)
    return replace(scene.foil, normal_uvw=normal_uvw)


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([int(seed), *key])))


def _noise_seed(seed: int, index: int) -> int:
    return int(_generator(seed, int(index), DETECTOR_STREAM).integers(2**62))


def _read_scene(path: str) -> Scene:
    try:
        written = Path(path).stat().st_mtime_ns
    except OSError as error:
        raise InputError(f"scene.file must be a readable scene JSON file, got {path}: {error.strerror}") from None
    return _scene_as_written(path, written)


@lru_cache(maxsize=4)
def _scene_as_written(path: str, written_ns: int) -> Scene:
    """The Scene in a file, JSON or Blender's, read once for each time the file was written."""
    if Path(path).suffix == BLENDER_FILE:
        from render.blender.read import scene_from_blend  # Blender only where it is asked for

        try:
            return scene_from_blend(path)
        except InputError as error:
            raise InputError(f"scene.file {path}: {error}") from None
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise InputError(f"scene.file must be a readable scene JSON file, got {path}: {reason}") from None
    try:
        return Scene.from_json(text)
    except InputError as error:
        raise InputError(f"scene.file {path}: {error}") from None
