"""What `draw_detector` draws a camera from: distributions for each of its parts and the share of images that have it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from physics.errors import require
from render.draw import Draw, default_draw, is_number, parse


def _check(noun: Any, where: str, low: float = 0.0, signed: tuple[str, ...] = (), null: tuple[str, ...] = ()) -> None:
    """Shares lie in [0, 1]; drawn numbers are at least `low` but for those that are signed."""
    for f in fields(noun):
        value, name = getattr(noun, f.name), f"{where}.{f.name}"
        if f.name.endswith("share") and f.type == "float":
            require(is_number(value) and 0 <= value <= 1, name, "lie in [0, 1]", value)
        elif f.type == "Draw":
            for v in value.values():
                ok = (v is None and f.name in null) or (is_number(v) and (f.name in signed or v >= low))
                require(ok, name, "be a number" if f.name in signed else f"be a number >= {low:g}", v)


@dataclass(frozen=True, kw_only=True)
class UnevennessConfig:
    """Uneven brightness (`render.illumination.Unevenness`)."""

    share: float = 0.9
    fraction: Draw = default_draw({"log_uniform": [0.01, 0.12]})
    slope: Draw = default_draw({"uniform": [2.0, 3.2]})
    shortest_px: Draw = default_draw({"log_uniform": [2.5, 8]})

    def __post_init__(self) -> None:
        _check(self, "detector.unevenness")


@dataclass(frozen=True, kw_only=True)
class ApertureConfig:
    """An aperture whose edge crosses the field at `inset_field` from its border, seen from a random side."""

    share: float = 0.06
    radius_field: Draw = default_draw({"log_uniform": [0.5, 3]})
    inset_field: Draw = default_draw({"uniform": [0.02, 0.3]})
    softness_field: Draw = default_draw({"log_uniform": [0.004, 0.06]})
    transmission: Draw = default_draw({"uniform": [0.0, 0.15]})

    def __post_init__(self) -> None:
        _check(self, "detector.edge", signed=("inset_field",))


@dataclass(frozen=True, kw_only=True)
class BlurConfig:
    """Defocus and drift (`render.optics.Blur`); the direction of the drift is drawn evenly."""

    share: float = 0.4
    defocus_sigma_px: Draw = default_draw({"uniform": [0, 0.9]})
    drift_px: Draw = default_draw({"weighted": [[0, 2], [{"uniform": [0, 2.5]}, 1]]})

    def __post_init__(self) -> None:
        _check(self, "detector.blur")


@dataclass(frozen=True, kw_only=True)
class InterlaceConfig:
    """Video fields apart by a drift of `shift_px` in a direction drawn evenly (`render.optics.Interlace`)."""

    share: float = 0.03
    shift_px: Draw = default_draw({"uniform": [0.1, 0.8]})

    def __post_init__(self) -> None:
        _check(self, "detector.interlace")


@dataclass(frozen=True, kw_only=True)
class NoiseConfig:
    """Correlated noise (`render.noise.CorrelatedNoise`)."""

    share: float = 0.85
    fraction: Draw = default_draw({"log_uniform": [0.005, 0.12]})
    lag1: Draw = default_draw({"uniform": [0.45, 0.85]})

    def __post_init__(self) -> None:
        _check(self, "detector.noise")


@dataclass(frozen=True, kw_only=True)
class ScanConfig:
    """A scanned beam (`render.noise.ScanNoise`)."""

    share: float = 0.05
    line_fraction: Draw = default_draw({"log_uniform": [0.002, 0.02]})
    jitter_px: Draw = default_draw({"uniform": [0, 0.4]})

    def __post_init__(self) -> None:
        _check(self, "detector.scan")


@dataclass(frozen=True, kw_only=True)
class DeadPixelsConfig:
    """Dead and hot pixels (`render.noise.DeadPixels`)."""

    share: float = 0.05
    fraction: Draw = default_draw({"log_uniform": [1e-5, 3e-4]})
    hot_share: Draw = default_draw({"uniform": [0, 1]})

    def __post_init__(self) -> None:
        _check(self, "detector.dead_pixels")


@dataclass(frozen=True, kw_only=True)
class RecordingConfig:
    """Grey levels and their file (`render.recording.Recording`); without it the image holds 16-bit counts."""

    share: float = 0.85
    black_share: Draw = default_draw({"weighted": [[0, 1], [{"uniform": [-1.2, 0.85]}, 4]]})
    black_percent: Draw = default_draw({"uniform": [0, 1]})
    white_percent: Draw = default_draw({"uniform": [98.5, 100]})
    white_level: Draw = default_draw({"uniform": [0.55, 1]})
    inverted_share: float = 0.06
    gamma: Draw = default_draw({"weighted": [[1, 2], [{"log_uniform": [0.5, 1.5]}, 3]]})
    levels: Draw = default_draw({"weighted": [[256, 9], [{"integers": [64, 220]}, 1]]})
    video_step: Draw = default_draw({"weighted": [[None, 3], [{"log_uniform": [3, 16]}, 2]]})
    video_block_px: Draw = default_draw({"weighted": [[8, 2], [4, 1], [16, 1]]})
    jpeg_quality: Draw = default_draw({"weighted": [[None, 1], [{"integers": [55, 96]}, 1]]})

    def __post_init__(self) -> None:
        _check(self, "detector.recording", signed=("black_share",), null=("video_step", "jpeg_quality"))


@dataclass(frozen=True, kw_only=True)
class BurnInConfig:
    """What is drawn in: in a share of the images, and there each kind in a share of its own.

    `size_fraction`: height of capital letters in units of the shorter side. Shares: `bar_share` a scale bar with its length, `letter_share` a
    panel letter, `caption_share` a line of words or of the microscope's data, `g_share` an arrow along g, `box_share` a box
    behind text. `arrows`: arrows that point at something.
    """

    share: float = 0.3
    size_fraction: Draw = default_draw({"uniform": [0.028, 0.06]})
    bar_share: float = 0.7
    letter_share: float = 0.4
    caption_share: float = 0.35
    g_share: float = 0.3
    box_share: float = 0.3
    arrows: Draw = default_draw({"weighted": [[0, 3], [{"integers": [1, 4]}, 1]]})

    def __post_init__(self) -> None:
        _check(self, "detector.burn_in")


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """The camera and the illumination (`render.detector.Detector`); `noise_seed` null: one of the image's own."""

    dose_e_per_px: Draw = default_draw({"log_uniform": [400, 4000]})
    gain_counts_per_e: Draw = default_draw({"uniform": [2, 10]})
    offset_counts: Draw = default_draw({"uniform": [0, 300]})
    mtf_sigma_px: Draw = default_draw({"uniform": [0.4, 1.0]})
    readout_noise_counts: Draw = default_draw({"uniform": [0, 6]})
    illumination_centre_field: Draw = default_draw([0.0, 0.0])
    illumination_sigma_field: Draw = default_draw({"weighted": [[None, 1], [{"log_uniform": [0.17, 1.3]}, 4]]})
    illumination_floor: Draw = default_draw({"uniform": [0, 0.2]})
    illumination_offset_field: Draw = default_draw({"normal": [0, 0.22]})
    noise_seed: Draw = default_draw(None)
    camera_pixel_px: Draw = default_draw({"weighted": [[1, 3], [{"uniform": [1.05, 1.7]}, 1]]})
    unevenness: UnevennessConfig = UnevennessConfig()
    condenser_edge: ApertureConfig = ApertureConfig()
    objective_edge: ApertureConfig = ApertureConfig(
        share=0.04, softness_field=parse({"log_uniform": [0.02, 0.12]}, "softness_field"),
        transmission=parse({"uniform": [0.1, 0.6]}, "transmission"),
    )  # fmt: skip
    blur: BlurConfig = BlurConfig()
    interlace: InterlaceConfig = InterlaceConfig()
    noise: NoiseConfig = NoiseConfig()
    scan: ScanConfig = ScanConfig()
    dead_pixels: DeadPixelsConfig = DeadPixelsConfig()
    recording: RecordingConfig = RecordingConfig()
    burn_in: BurnInConfig = BurnInConfig()
