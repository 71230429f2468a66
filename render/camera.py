"""Drawing a camera: every part present in its share of the images, with random numbers of its own."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import numpy as np

from physics.beam import BeamCondition, g_image_inv_nm
from physics.crystal import Crystal
from render.burn_in import BOX_MARGIN, Mark, text_size_px
from render.camera_config import ApertureConfig, BurnInConfig, DetectorConfig
from render.detector import Detector
from render.illumination import ApertureEdge, Unevenness
from render.noise import CorrelatedNoise, DeadPixels, ScanNoise, stream
from render.optics import Blur, Interlace
from render.recording import Recording

FLAT_FIELDS = (
    "dose_e_per_px", "gain_counts_per_e", "offset_counts", "mtf_sigma_px", "readout_noise_counts", "illumination_centre_field",
    "illumination_sigma_field", "illumination_floor", "illumination_offset_field", "noise_seed",
)  # fmt: skip
# {mode} and {kV} are those of the image; the rest is what else stands in micrographs.
CAPTIONS = (
    "{mode}", "{mode}", "{kV} kV", "{mode} {kV} kV", "HV={kV}kV", "HT {kV}.0 kV  X40000", "Direct Mag: 30000x", "x 40k", "x 80k", "Spot 3", "t = 12 s", "00:14:27",
    "Frame 0412", "#17", "Matrix", "Grain A", "Grain 2", "ε = 0.02", "σ = 180 MPa", "523 K", "500 °C", "1 dpa", "RT", "dislocations",
    "slip band", "source", "pile-up", "A", "b",
)  # fmt: skip


def draw_detector(
    config: DetectorConfig, shape: tuple[int, int], pixel_nm: float, crystal: Crystal, beam: BeamCondition, rng: np.random.Generator
) -> Detector:
    """A camera with a noise seed of its own for an image of `shape` (Y, X).

    From `rng` comes what has always come from it; each further part
    draws from a stream of its own, so that a part that is changed leaves the specimen and the other parts alone.
    """
    drawn = {name: getattr(config, name).draw(rng) for name in FLAT_FIELDS}
    spread = [config.illumination_offset_field.draw(rng) for _ in range(2)]
    del drawn["illumination_offset_field"]
    if drawn["illumination_sigma_field"] is not None:
        centre = drawn["illumination_centre_field"]
        drawn["illumination_centre_field"] = (centre[0] + spread[0], centre[1] + spread[1])
    fresh = int(rng.integers(2**62))
    drawn["noise_seed"] = fresh if drawn["noise_seed"] is None else drawn["noise_seed"]
    parts = {
        "camera_pixel_px": float(config.camera_pixel_px.draw(stream(fresh, "draw camera_pixel_px"))),
        "burn_in": _marks(config.burn_in, shape, pixel_nm, crystal, beam, stream(fresh, "draw burn_in")),
    }
    for name, draw in _DRAW.items():
        part, own = getattr(config, name), stream(fresh, f"draw {name}")
        parts[name] = draw(part, shape, own) if own.random() < part.share else None
    return Detector(**drawn, **parts)


def _values(config: Any, rng: np.random.Generator) -> dict[str, Any]:
    return {f.name: getattr(config, f.name).draw(rng) for f in fields(config) if f.type == "Draw"}


def _edge(config: ApertureConfig, shape: tuple[int, int], rng: np.random.Generator) -> ApertureEdge:
    """A circle whose nearest point to the frame's centre lies `inset_field` inside the border, on a random side."""
    v, turn = _values(config, rng), rng.uniform(0, 2 * math.pi)
    toward = np.array([math.cos(turn), math.sin(turn)])
    half = np.array([shape[1], shape[0]]) / max(shape) / 2
    # From the centre along `toward`, where the frame ends.
    border = float(np.min(half / np.maximum(np.abs(toward), 1e-9)))
    centre = (max(0.05, border - v.pop("inset_field")) - v["radius_field"]) * toward
    return ApertureEdge(centre_field=(float(centre[0]), float(centre[1])), **v)


def _blur(config: Any, shape: tuple[int, int], rng: np.random.Generator) -> Blur:
    return Blur(**_values(config, rng), drift_deg=float(rng.uniform(0, 180)))


def _interlace(config: Any, shape: tuple[int, int], rng: np.random.Generator) -> Interlace:
    shift_px, turn = config.shift_px.draw(rng), rng.uniform(0, 2 * math.pi)
    return Interlace(shift_px=(shift_px * math.cos(turn), shift_px * math.sin(turn)))


def _recording(config: Any, shape: tuple[int, int], rng: np.random.Generator) -> Recording:
    v = _values(config, rng)
    v |= {name: int(v[name]) for name in ("levels", "video_block_px")}
    v["jpeg_quality"] = None if v["jpeg_quality"] is None else int(v["jpeg_quality"])
    offset_px = tuple(int(o) for o in rng.integers(0, v["video_block_px"], 2))
    return Recording(**v, video_offset_px=offset_px, inverted=bool(rng.random() < config.inverted_share))


_DRAW = {
    "unevenness": lambda config, shape, rng: Unevenness(**_values(config, rng)),
    "condenser_edge": _edge,
    "objective_edge": _edge,
    "blur": _blur,
    "interlace": _interlace,
    "noise": lambda config, shape, rng: CorrelatedNoise(**_values(config, rng)),
    "scan": lambda config, shape, rng: ScanNoise(**_values(config, rng)),
    "dead_pixels": lambda config, shape, rng: DeadPixels(**_values(config, rng)),
    "recording": _recording,
}


def scale_bar_nm(longest_nm: float) -> float:
    """The longest of 1, 2, 5, 10 ... nm that fits."""
    decade = 10.0 ** math.floor(math.log10(longest_nm))
    return max(m for m in (1, 2, 5) if m * decade <= longest_nm * (1 + 1e-9)) * decade


def length_text(length_nm: float) -> str:
    return f"{length_nm / 1000:g} µm" if length_nm >= 1000 else f"{length_nm:g} nm"


def _marks(
    config: BurnInConfig, shape: tuple[int, int], pixel_nm: float, crystal: Crystal, beam: BeamCondition, rng: np.random.Generator
) -> tuple[Mark, ...]:
    """What is drawn into one image; everything that can be drawn takes its random numbers whether it appears or not."""
    rows, columns = shape
    chances, places = rng.random(6), rng.random(8)
    size_px = max(4.0, config.size_fraction.draw(rng) * min(shape))
    grey = 1.0 if places[0] < 0.65 else 0.0
    font = str(rng.choice(["sans", "bold", "mono", "serif"], p=[0.45, 0.3, 0.1, 0.15]))
    caption, letter = CAPTIONS[int(rng.integers(len(CAPTIONS)))], "abcdefgh"[int(rng.integers(8))]
    arrows, arrow_draws = int(config.arrows.draw(rng)), rng.random((8, 3))
    if chances[0] >= config.share:
        return ()
    caption = caption.format(mode=beam.image.upper(), kV=f"{beam.voltage_kV:.0f}")
    box_grey = 1.0 - grey if chances[1] < config.box_share else None
    text = {"kind": "text", "size_px": size_px, "grey": grey, "font": font, "box_grey": box_grey}
    edge_px = (0.6 + places[1]) * size_px
    # The bar keeps to one of the lower corners, the caption to the other or to the top, the letter to the upper left.
    right = places[2] < 0.5
    marks: list[Mark] = []
    if chances[2] < config.bar_share:
        marks += _scale_bar(shape, pixel_nm, (0.15 + 0.15 * places[3]) * columns, edge_px, right, text)
    if chances[3] < config.letter_share:
        marks.append(Mark(**text, text=f"({letter})" if places[4] < 0.7 else letter.upper(), at_px=(edge_px, edge_px)))
    if chances[4] < config.caption_share:
        width, height = text_size_px(caption, size_px, font)
        x = edge_px if right else columns - 1 - edge_px - width
        # The upper right corner may be g's.
        y = edge_px if places[5] < 0.5 and not right and chances[5] >= config.g_share else rows - 1 - edge_px - height
        marks.append(Mark(**text, text=caption, at_px=(max(1.0, x), y)))
    if chances[5] < config.g_share:
        marks += _g_arrow(shape, g_image_inv_nm(crystal, beam)[:2], edge_px, text)
    for x, y, turn in arrow_draws[: min(arrows, 8)]:
        # As annotators do: toward something inside, all of them alike.
        tip = np.array([0.1 + 0.8 * x, 0.1 + 0.8 * y]) * [columns, rows]
        direction = math.radians(360 * places[6] + 40 * (turn - 0.5))
        tail = tip - 2.4 * size_px * np.array([math.cos(direction), math.sin(direction)])
        marks.append(Mark(kind="arrow", at_px=tuple(tail), end_px=tuple(tip), size_px=max(1.0, (0.12 + 0.15 * places[7]) * size_px), grey=grey))
    return tuple(marks)


def _scale_bar(
    shape: tuple[int, int], pixel_nm: float, longest_px: float, edge_px: float, right: bool, text: dict[str, Any]
) -> list[Mark]:
    rows, columns = shape
    length_nm = scale_bar_nm(longest_px * pixel_nm)
    length_px, thick_px = length_nm / pixel_nm, max(1.0, 0.28 * text["size_px"])
    words = length_text(length_nm)
    width, height = text_size_px(words, text["size_px"], text["font"])
    middle_x = edge_px + max(length_px, width) / 2
    middle_x = columns - 1 - middle_x if right else middle_x
    y = rows - 1 - edge_px - thick_px / 2
    # The words lie above the bar and clear of it, box and all.
    above = y - thick_px / 2 - (0.35 + BOX_MARGIN) * text["size_px"] - height
    bar = Mark(kind="bar", at_px=(middle_x - length_px / 2, y), end_px=(middle_x + length_px / 2, y), size_px=thick_px, grey=text["grey"])
    drawn = [Mark(**(text | {"box_grey": None}), text=words, at_px=(middle_x - width / 2, above)), bar]
    if text["box_grey"] is None:
        return drawn
    # One box behind both: a bar as thick as it is high.
    half_px, top, bottom = max(length_px, width) / 2 + 0.5 * edge_px, above - 0.4 * edge_px, y + thick_px / 2 + 0.4 * edge_px
    middle_y = (top + bottom) / 2
    box = Mark(kind="bar", at_px=(middle_x - half_px, middle_y), end_px=(middle_x + half_px, middle_y), size_px=bottom - top, grey=text["box_grey"])
    return [box, *drawn]


def _g_arrow(shape: tuple[int, int], g_direction: np.ndarray, edge_px: float, text: dict[str, Any]) -> list[Mark]:
    """An arrow along g in the upper right corner, and its letter."""
    size_px = text["size_px"]
    along = np.array([g_direction[0], -g_direction[1]]) / np.hypot(*g_direction)
    centre = np.array([shape[1] - 1 - edge_px - 2.2 * size_px, edge_px + 2.2 * size_px])
    tail, tip = centre - 1.6 * size_px * along, centre + 1.6 * size_px * along
    across = np.array([-along[1], along[0]])
    place = centre + 0.9 * size_px * across - 0.4 * size_px
    arrow = Mark(kind="arrow", at_px=tuple(tail), end_px=tuple(tip), size_px=max(1.0, 0.14 * size_px), grey=text["grey"])
    return [arrow, Mark(**text, text="g", at_px=tuple(place))]
