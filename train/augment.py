"""What a real frame adds to a clean one: illumination, particles, slip traces, noise, burnt-in text, 8 bits.

The ranges follow measurements on public in-situ bright-field frames: background varying by a factor of up to 4,
line contrast of 2-40 %, noise of 1-5 % of the mean with a lag-1 autocorrelation of 0.5-0.77, 37-61 dark particles of
8-24 px on 512 x 512 px, slip traces with paired black and white edges, JPEG blocks. Particles and slip traces are
painted only where asked for: the renderer makes them from physics (`surroundings`), and those here are stand-ins for
images rendered without. What is painted and is no line is labelled as the distractor that it is (`painted`).

A `Disturbance` is drawn once; `disturbed(image, disturbance)` is a pure function of it.

Axes: (Y, X) image rows and columns, P particles, T traces. Pixel coordinates: x right, y down.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numba
import numpy as np
from monai.transforms import AdjustContrast
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom

from physics.errors import require
from render import Distractor
from train.geometry import CurveLabel

FAINTEST_CONTRAST = 0.01
COARSE_PX = 8  # blocks whose means make the background
DARKEST = 0.02  # a background is no darker than this share of the mean


@dataclass(frozen=True, kw_only=True)
class AugmentSettings:
    """How often and how strongly frames are disturbed; `p_*` are probabilities, ranges are [low, high].

    `contrast_gain` multiplies line contrast (in the logarithm of intensity over its local background), log-uniformly;
    `noise_fraction` is the standard deviation of added noise over the mean, log-uniform; `noise_sigma_px` its
    correlation: Gaussian-filtered white noise has a lag-1 autocorrelation of exp(-1 / 4 sigma^2) (from 0.7 px on).
    `particles_per_mpx` and `traces` are upper limits. `detectable` is the ratio of contrast to noise, times the root
    of the width in pixels, under which a line no longer counts as visible (it becomes "ignore", not background).
    """

    contrast_gain: tuple[float, float] = (0.35, 1.6)
    p_contrast: float = 0.3
    p_illumination: float = 0.25
    background_range: tuple[float, float] = (1.1, 4.0)
    p_particles: float = 0.0
    particles_per_mpx: float = 230.0
    p_traces: float = 0.0
    traces: int = 8
    p_blur: float = 0.1
    blur_sigma_px: tuple[float, float] = (0.4, 1.3)
    p_noise: float = 0.25
    noise_fraction: tuple[float, float] = (0.005, 0.07)
    noise_sigma_px: tuple[float, float] = (0.3, 1.0)
    p_gamma: float = 0.3
    gamma: tuple[float, float] = (0.6, 1.7)
    p_inverted: float = 0.1
    p_banner: float = 0.04
    p_eight_bit: float = 0.2
    p_jpeg: float = 0.1
    jpeg_quality: tuple[int, int] = (40, 95)
    detectable: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name.startswith("p_"):
                require(0 <= value <= 1, f"augment.{name}", "lie in [0, 1]", value)
            elif isinstance(value, list | tuple):
                ok = len(value) == 2 and 0 < value[0] <= value[1]
                require(ok, f"augment.{name}", "be two numbers, 0 < low <= high", list(value))
            else:
                require(value >= 0, f"augment.{name}", "be >= 0", value)
        require(self.jpeg_quality[1] <= 100, "augment.jpeg_quality", "be at most 100", list(self.jpeg_quality))


@dataclass(frozen=True, kw_only=True, eq=False)
class Disturbance:
    """All that is done to one image; a field that is None is left out.

    `illumination` (Y/64 + 2, X/64 + 2) is the logarithm of a smooth brightness on a coarse grid; `spot` is (x, y,
    sigma, floor) in fractions of the frame. `particles` (P, 6): x, y, long and short radius, angle, depth.
    `traces` (T, 8): x, y, x and y of the other end, dark edge, bright edge, their distance in px, step of the
    background to one side. `banner` (R, 5): x, y, width, height, level of burnt-in boxes.
    """

    contrast_gain: float = 1.0
    illumination: np.ndarray | None = None
    spot: tuple[float, float, float, float] | None = None
    particles: np.ndarray | None = None
    traces: np.ndarray | None = None
    blur_sigma_px: float = 0.0
    noise_fraction: float = 0.0
    noise_sigma_px: float = 0.5
    noise_seed: int = 0
    gamma: float = 1.0
    inverted: bool = False
    banner: np.ndarray | None = None
    eight_bit: bool = False
    jpeg_quality: int | None = None


def draw_disturbance(
    shape: tuple[int, int], curves: Sequence[CurveLabel], settings: AugmentSettings, rng: np.random.Generator
) -> Disturbance:
    """Draw what is done to an image of `shape` with these lines in it."""

    def log_uniform(low_high: tuple[float, float]) -> float:
        low, high = low_high
        return float(low * (high / low) ** rng.random())

    chances = rng.random(10)
    illumination = spot = None
    if chances[1] < settings.p_illumination:
        illumination, spot = _draw_illumination(shape, log_uniform(settings.background_range), rng)
    jpeg = int(rng.integers(settings.jpeg_quality[0], settings.jpeg_quality[1] + 1))
    return Disturbance(
        contrast_gain=log_uniform(settings.contrast_gain) if chances[0] < settings.p_contrast else 1.0,
        illumination=illumination,
        spot=spot,
        particles=_draw_particles(shape, settings, rng) if chances[2] < settings.p_particles else None,
        traces=_draw_traces(shape, curves, settings, rng) if chances[3] < settings.p_traces else None,
        blur_sigma_px=float(rng.uniform(*settings.blur_sigma_px)) if chances[4] < settings.p_blur else 0.0,
        noise_fraction=log_uniform(settings.noise_fraction) if chances[5] < settings.p_noise else 0.0,
        noise_sigma_px=float(rng.uniform(*settings.noise_sigma_px)),
        noise_seed=int(rng.integers(2**62)),
        gamma=log_uniform(settings.gamma) if chances[6] < settings.p_gamma else 1.0,
        inverted=bool(chances[7] < settings.p_inverted),
        banner=_draw_banner(shape, rng) if chances[8] < settings.p_banner else None,
        eight_bit=bool(chances[9] < settings.p_eight_bit),
        jpeg_quality=jpeg if chances[9] < settings.p_jpeg else None,
    )


def disturbed(image: np.ndarray, disturbance: Disturbance) -> tuple[np.ndarray, np.ndarray]:
    """The disturbed image (Y, X) float32 and where a burnt-in box hides the specimen (Y, X) bool.

    In the order in which a microscope does it: specimen, illumination, optics, camera, file.
    """
    d = disturbance
    image = np.maximum(image.astype(np.float32), 1e-6)
    image = image / image.mean()
    if d.contrast_gain != 1.0:
        background = np.maximum(_background(image), DARKEST)
        image = background * np.maximum(image / background, 1e-3) ** np.float32(d.contrast_gain)
    if d.particles is not None:
        _stamp_particles(image, d.particles)
    if d.traces is not None:
        _stamp_traces(image, d.traces)
    if d.spot is not None:
        image = image * _brightness(image.shape, d.spot, d.illumination)
    if d.blur_sigma_px > 0:
        image = gaussian_filter(image, d.blur_sigma_px, truncate=3.0)
    if d.noise_fraction > 0:
        noise = np.random.Generator(np.random.Philox(d.noise_seed)).standard_normal(image.shape, dtype=np.float32)
        noise = gaussian_filter(noise, d.noise_sigma_px, truncate=3.0)
        image = image + np.float32(d.noise_fraction * image.mean() / noise.std()) * noise
    if d.inverted:
        image = image.max() - image
    if d.gamma != 1.0:
        image = np.asarray(AdjustContrast(gamma=d.gamma)(image[None]))[0]
    hidden = np.zeros(image.shape, dtype=bool)
    if d.banner is not None:
        image = _stamp_banner(image, d.banner, hidden)
    if d.eight_bit or d.jpeg_quality is not None:
        image = _through_eight_bits(image, d.jpeg_quality)
    return np.ascontiguousarray(image, dtype=np.float32), hidden


def painted(disturbance: Disturbance, hidden: np.ndarray) -> tuple[Distractor, ...]:
    """The distractors that a disturbance has put into the picture; `hidden` (Y, X) is what `disturbed` returned."""
    found = []
    if disturbance.particles is not None and len(disturbance.particles):
        opaque = disturbance.particles.copy()
        opaque[:, 5] = 1.0
        shade = np.ones(hidden.shape, dtype=np.float32)
        _stamp_particles(shade, opaque)
        found.append(Distractor(kind="particle", mask=shade < 0.5))
    if disturbance.traces is not None:
        found += [Distractor(kind="slip_trace", points_px=trace[:4].reshape(2, 2)) for trace in disturbance.traces]
    if hidden.any():
        found.append(Distractor(kind="text", mask=hidden))
    return tuple(found)


def still_visible(
    curves: Sequence[CurveLabel], disturbance: Disturbance, noise_fraction: float, detectable: float,
    seen: np.ndarray | None = None,
) -> list[CurveLabel]:  # fmt: skip
    """The labels with `visible` cleared where contrast has sunk under the noise or under 1 %.

    `noise_fraction` is that of the image before the disturbance, for curves that do not know their own; averaged over
    a width w, noise falls as sqrt(w). Contrast is relative to the local background: where that of `seen`, the image
    before the disturbance with black at 0, is b times its mean after the disturbance's illumination, added noise counts
    1 / b times. A line in the dark corner of a frame is there and cannot be seen.
    """
    lit = None
    if seen is not None:
        lit = _blocks(np.asarray(seen, dtype=np.float32))
        if disturbance.spot is not None:
            lit = lit * _brightness(lit.shape, disturbance.spot, disturbance.illumination)
        lit = np.maximum(lit / max(float(lit.mean()), 1e-6), DARKEST)
    kept = []
    for curve in curves:
        own = noise_fraction if curve.noise_fraction is None else curve.noise_fraction
        added = disturbance.noise_fraction / (1.0 if lit is None else _block_at(lit, curve.points_px))
        noise = np.hypot(own * disturbance.contrast_gain, added)
        contrast = np.abs(curve.contrast) * disturbance.contrast_gain
        needed = np.maximum(FAINTEST_CONTRAST, detectable * noise / np.sqrt(2 * curve.half_width_px))
        kept.append(replace(curve, visible=curve.visible & (contrast >= needed)))
    return kept


def local_noise_fraction(image: np.ndarray, points_px: Sequence[np.ndarray], black: float = 0.0) -> list[np.ndarray]:
    """Pixel noise over the local background above `black`, at each of the points (V, 2) of some curves: (V,) each.

    The estimator is `noise_fraction_of` in blocks, by the median, which lines do not move much.
    """
    x = np.asarray(image, dtype=np.float32)
    response = np.abs(_laplacian_difference(x))
    rows, columns = (n // COARSE_PX * COARSE_PX for n in response.shape)
    blocks = response[:rows, :columns].reshape(rows // COARSE_PX, COARSE_PX, -1, COARSE_PX)
    # The median of |N(0, s)| is 0.6745 s; the response of white noise of deviation 1 is 6.
    noise = gaussian_filter(np.median(blocks, axis=(1, 3)) / (6 * 0.6745), 2.0, mode="nearest")
    background = _blocks(x) - np.float32(black)
    background = np.maximum(background, DARKEST * max(float(background.mean()), 1e-6))
    return [_block_at(noise, points) / _block_at(background, points) for points in points_px]


def _block_at(blocks: np.ndarray, points_px: np.ndarray) -> np.ndarray:
    """Values (V,) of the blocks in which points (V, 2) lie, or of the nearest ones."""
    last = np.array(blocks.shape[::-1]) - 1
    x, y = np.clip((np.asarray(points_px) / COARSE_PX).astype(int), 0, last).T
    return blocks[y, x]


def noise_fraction_of(image: np.ndarray) -> float:
    """Standard deviation of the pixel noise over the mean, by the Laplacian difference of Immerkaer (1996)."""
    x = np.asarray(image, dtype=np.float32)
    return float(np.sqrt(np.pi / 2) / 6 * np.abs(_laplacian_difference(x)).mean() / max(float(x.mean()), 1e-6))


def _laplacian_difference(x: np.ndarray) -> np.ndarray:
    """The difference of two Laplacians (Y - 2, X - 2): blind to everything up to second order, 6 times white noise."""
    rows = x[:-2] - 2 * x[1:-1] + x[2:]
    return rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]


def standardised(image: np.ndarray) -> np.ndarray:
    """The image (Y, X) as the network sees it: float32, mean 0, standard deviation 1 over the whole frame.

    Local normalisation would amplify slip traces.
    """
    image = np.asarray(image, dtype=np.float32)
    deviation = float(image.std(dtype=np.float64))
    return (image - np.float32(image.mean(dtype=np.float64))) / np.float32(deviation if deviation > 0 else 1.0)


def _background(image: np.ndarray) -> np.ndarray:
    """The image without its lines: smoothed block means, interpolated back."""
    rows, columns = image.shape
    smooth = _blocks(image)
    return _enlarged(smooth, (smooth.shape[0] * COARSE_PX, smooth.shape[1] * COARSE_PX), 1)[:rows, :columns]


def _blocks(image: np.ndarray, sigma_px: float = 20.0) -> np.ndarray:
    """Block means of COARSE_PX, smoothed."""
    rows, columns = image.shape
    padded = np.pad(image, ((0, -rows % COARSE_PX), (0, -columns % COARSE_PX)), mode="edge")
    means = padded.reshape(padded.shape[0] // COARSE_PX, COARSE_PX, -1, COARSE_PX).mean(axis=(1, 3))
    return gaussian_filter(means, sigma_px / COARSE_PX, mode="nearest")


def _enlarged(coarse: np.ndarray, shape: tuple[int, int], order: int) -> np.ndarray:
    """The coarse grid (Yc, Xc) as a smooth image of `shape` (Y, X) float32."""
    down, across = (_interpolation(n, m, order) for n, m in zip(coarse.shape, shape))
    return down @ coarse.astype(np.float32) @ across.T


@lru_cache(maxsize=32)
def _interpolation(n: int, m: int, order: int) -> np.ndarray:
    """The matrix (m, n) that interpolates n values, each the mean of a cell, at m places; two small products cost a
    tenth of what a resampling of the image does."""
    return zoom(np.eye(n), (m / n, 1), order=order, mode="nearest", grid_mode=True).astype(np.float32)


def _draw_illumination(
    shape: tuple[int, int], ratio: float, rng: np.random.Generator
) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """A smooth random brightness and an off-centre spot whose brightest over darkest is about `ratio`."""
    size = (shape[0] // 64 + 2, shape[1] // 64 + 2)
    field = rng.standard_normal(size) * 0.25 * np.log(ratio)
    x, y = rng.uniform(0.1, 0.9, 2)
    return field, (float(x), float(y), float(rng.uniform(0.35, 1.2)), float(1 / ratio))


def _brightness(shape: tuple[int, int], spot: tuple[float, float, float, float], field: np.ndarray | None) -> np.ndarray:
    x0, y0, sigma, floor = spot
    x = np.exp(-(((np.arange(shape[1]) + 0.5) / shape[1] - x0) ** 2) / (2 * sigma**2))
    y = np.exp(-(((np.arange(shape[0]) + 0.5) / shape[0] - y0) ** 2) / (2 * sigma**2))
    brightness = (floor + (1 - floor) * np.outer(y, x)).astype(np.float32)
    # Cubic: the creases of a linear interpolation would look like edges.
    return brightness * np.exp(_enlarged(field, shape, 3)) if field is not None else brightness


def _draw_particles(shape: tuple[int, int], settings: AugmentSettings, rng: np.random.Generator) -> np.ndarray:
    count = rng.poisson(rng.random() * settings.particles_per_mpx * shape[0] * shape[1] / 1e6)
    long = rng.uniform(2.0, 12.0, count)
    return np.stack(
        [
            rng.uniform(0, shape[1], count), rng.uniform(0, shape[0], count), long, long * rng.uniform(0.4, 1.0, count),
            rng.uniform(0, np.pi, count), rng.uniform(0.1, 0.85, count),
        ],
        axis=1,
    )  # fmt: skip


def _draw_traces(
    shape: tuple[int, int], curves: Sequence[CurveLabel], settings: AugmentSettings, rng: np.random.Generator
) -> np.ndarray:
    """Slip traces along one or two directions: most start at a line's end, some run through the frame."""
    directions = rng.uniform(0, np.pi, rng.integers(1, 3))
    ends = _line_ends(shape, curves)
    traces = []
    for _ in range(rng.integers(1, settings.traces + 1)):
        angle = rng.choice(directions) + np.pi * rng.integers(2)
        along = np.array([np.cos(angle), np.sin(angle)])
        start, length = rng.uniform(0, 1, 2) * shape[::-1], rng.uniform(0.15, 1.2) * max(shape)
        strength, contact = 0.02 * 8 ** rng.random(), rng.random() < 0.7
        if contact and ends:
            start, tangent = ends[rng.integers(len(ends))]
            # A trace in line with the line's end could not be told from the line itself.
            if abs(tangent @ along) > np.cos(np.deg2rad(25)):
                continue
        stop = start + along * length
        edges = strength * rng.uniform(0, 1, 2)
        traces.append([*start, *stop, *edges, rng.uniform(1.0, 4.0), strength * rng.uniform(-0.7, 0.7)])
    return np.array(traces, dtype=np.float64).reshape(-1, 8)


def _line_ends(shape: tuple[int, int], curves: Sequence[CurveLabel]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Ends inside the frame with the unit tangent there."""
    ends = []
    for curve in curves:
        points = np.asarray(curve.points_px, dtype=np.float64)
        if len(points) < 2 or np.array_equal(points[0], points[-1]):
            continue
        for end, inner in ((0, min(5, len(points) - 1)), (-1, max(-6, -len(points)))):
            x, y = points[end]
            chord = points[end] - points[inner]
            if 0 <= x < shape[1] and 0 <= y < shape[0] and np.any(chord):
                ends.append((points[end], chord / np.linalg.norm(chord)))
    return ends


def _draw_banner(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A scale bar or a line of text, with or without a box behind it, near an edge."""
    height = rng.uniform(6, 20)
    x, y = rng.uniform(0, 0.6) * shape[1], rng.choice([rng.uniform(2, 12), shape[0] - height - rng.uniform(2, 12)])
    level = float(rng.integers(2))
    boxes = [[x - 3, y - 3, rng.uniform(60, 120), height + 6, 1 - level]] if rng.random() < 0.5 else []
    if rng.random() < 0.5:
        boxes.append([x, y + height / 2, rng.uniform(30, 100), rng.uniform(2, 5), level])
    else:
        for k in range(rng.integers(3, 10)):
            left = x + k * 0.7 * height
            boxes.append([left, y, rng.uniform(1, 3), height, level])
            boxes.append([left, y + rng.choice([0, 0.5, 0.9]) * height, 0.5 * height, rng.uniform(1, 3), level])
    return np.array(boxes)


def _stamp_banner(image: np.ndarray, banner: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    image = image.copy()
    low, high = np.percentile(image, [0.5, 99.5])
    for x, y, width, height, level in banner:
        rows = slice(max(0, int(y)), max(0, int(np.ceil(y + height))))
        columns = slice(max(0, int(x)), max(0, int(np.ceil(x + width))))
        image[rows, columns] = low + level * (high - low)
        hidden[rows, columns] = True
    return image


def _through_eight_bits(image: np.ndarray, jpeg_quality: int | None) -> np.ndarray:
    low, high = np.percentile(image, [0.1, 99.9])
    scaled = np.clip((image - low) * (255 / max(high - low, 1e-6)), 0, 255)
    grey = np.rint(scaled).astype(np.uint8)
    if jpeg_quality is not None:
        file = io.BytesIO()
        Image.fromarray(grey).save(file, "JPEG", quality=jpeg_quality)
        grey = np.asarray(Image.open(file))
    return grey.astype(np.float32)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _stamp_particles(image, particles):
    """Multiply by 1 - depth inside each ellipse, with an edge about 1.5 px soft."""
    rows, columns = image.shape
    for p in range(len(particles)):
        x0, y0, long, short, angle, depth = particles[p]
        c, s = np.cos(angle), np.sin(angle)
        for y in range(max(0, int(y0 - long - 3)), min(rows, int(y0 + long + 4))):
            for x in range(max(0, int(x0 - long - 3)), min(columns, int(x0 + long + 4))):
                u = ((x - x0) * c + (y - y0) * s) / long
                v = ((y - y0) * c - (x - x0) * s) / short
                outside_px = (np.sqrt(u * u + v * v) - 1.0) * short
                image[y, x] *= 1.0 - depth / (1.0 + np.exp(2.0 * outside_px))


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _stamp_traces(image, traces):
    """A dark and a bright edge side by side, and a step of background that fades to one side, along straight strips."""
    rows, columns = image.shape
    for t in range(len(traces)):
        xa, ya, xb, yb, dark, bright, apart_px, step = traces[t]
        length = np.hypot(xb - xa, yb - ya)
        if length < 1.0:
            continue
        ux, uy = (xb - xa) / length, (yb - ya) / length
        for y in range(rows):
            for x in range(columns):
                along = (x - xa) * ux + (y - ya) * uy
                if along < -4.0 or along > length + 4.0:
                    continue
                across = (y - ya) * ux - (x - xa) * uy
                if across < -6.0 or across > 90.0:
                    continue
                on = 1.0 / ((1.0 + np.exp(-1.5 * along)) * (1.0 + np.exp(1.5 * (along - length))))
                change = bright * np.exp(-0.5 * ((across - 0.5 * apart_px) / 1.1) ** 2)
                change -= dark * np.exp(-0.5 * ((across + 0.5 * apart_px) / 1.1) ** 2)
                change += step / (1.0 + np.exp(-2.0 * across)) * np.exp(-max(across, 0.0) / 25.0)
                image[y, x] *= max(0.05, 1.0 + on * change)
