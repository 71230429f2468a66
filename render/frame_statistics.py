"""What can be measured on one micrograph, simulated or real, without knowing how it was made.

Every estimator takes grey levels or counts as they stand: relative numbers refer to the value 0 of the file, which in 8-bit
frames is the operator's black, not absence of electrons. Axes: (Y, X) image rows and columns, P places along lines, U offsets
across them, B blocks.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import gaussian_filter, map_coordinates, median_filter

BLOCK_PX = 24
FLATTEST_SHARE = 0.2  # of the blocks, in which noise is looked for
BACKGROUND_FIELD = 1 / 25  # of the shorter side: a third of the window's width whose median is the background
COARSE_PX = 4
LOW_BAND = (0.006, 0.03)  # cycles a pixel
MID_BAND = (0.06, 0.2)
SPECTRUM_BINS = 12
REACH_PX, STEP_PX, ALONG_PX = 14.0, 0.5, 4
SHOULDER_FROM_PX, SHOULDER_PERCENT = 1.5, 75.0
MOST_PLACES = 600


def background(image: np.ndarray) -> np.ndarray:
    """The image (Y, X) without its lines and grain: a running median, which what covers less than half of it does not move."""
    coarse_px = COARSE_PX if min(image.shape) >= 16 * COARSE_PX else 1
    rows, columns = (n // coarse_px * coarse_px for n in image.shape)
    blocks = image[:rows, :columns].reshape(rows // coarse_px, coarse_px, columns // coarse_px, coarse_px).mean(axis=(1, 3))
    sigma = max(4.0, BACKGROUND_FIELD * min(image.shape)) / coarse_px
    smooth = gaussian_filter(median_filter(blocks, 2 * round(1.5 * sigma) + 1, mode="nearest"), sigma / 2, mode="nearest")
    at = [(np.arange(n) - (coarse_px - 1) / 2) / coarse_px for n in image.shape]
    return map_coordinates(smooth, np.meshgrid(*at, indexing="ij"), order=1, mode="nearest")


def background_range(image: np.ndarray) -> float:
    """Brightest minus darkest background (0.5th to 99.5th percentile) over the mean of the image."""
    low, high = np.percentile(background(image), [0.5, 99.5])
    return float((high - low) / max(image.mean(), 1e-9))


def noise_level(image: np.ndarray) -> tuple[float, float]:
    """Standard deviation over mean, and correlation of neighbouring pixels, of the noise.

    Taken in the blocks whose smoothed image is flattest, about a fitted quadratic surface; blocks with clipped pixels
    or in the dark (under 0.3 of the median) do not count. The median over the blocks; nan where there are none.
    """
    blocks = _blocks(image)
    if not len(blocks):
        return float("nan"), float("nan")
    slope = _blocks(np.hypot(*np.gradient(gaussian_filter(image, 3.0))))
    mean = blocks.mean(axis=(1, 2))
    clipped = ((blocks <= image.min()) | (blocks >= image.max())).mean(axis=(1, 2)) > 0.02
    useful = ~clipped & (mean > 0.3 * np.median(mean)) & (mean > 0)
    if not useful.any():
        return float("nan"), float("nan")
    blocks, mean, structure = blocks[useful], mean[useful], slope.mean(axis=(1, 2))[useful] / mean[useful]
    flat = structure <= np.quantile(structure, FLATTEST_SHARE)
    rest = _without_quadratic(blocks[flat])
    free = BLOCK_PX**2 / (BLOCK_PX**2 - 6)  # six coefficients were fitted
    variance = (rest**2).mean(axis=(1, 2)) * free
    neighbours = ((rest[:, 1:] * rest[:, :-1]).mean(axis=(1, 2)) + (rest[:, :, 1:] * rest[:, :, :-1]).mean(axis=(1, 2))) / 2 * free
    lag1 = neighbours / np.maximum(variance, 1e-12)
    return float(np.median(np.sqrt(variance) / mean[flat])), float(np.median(lag1))


def spectrum_slopes(image: np.ndarray) -> tuple[float, float]:
    """Exponents of the power spectrum at low and at middle frequency, from its mean in rings under a Hann window."""
    rows, columns = image.shape
    window = np.hanning(rows)[:, None] * np.hanning(columns)[None, :]
    flat = image / max(image.mean(), 1e-9)
    flat = flat - (flat * window).sum() / window.sum()
    power = np.abs(np.fft.rfft2(flat * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :])
    # Below two periods across, the window's own spectrum counts.
    low = (max(LOW_BAND[0], 2.0 / min(image.shape)), LOW_BAND[1])
    return _slope(frequency, power, low), _slope(frequency, power, MID_BAND)


def across_lines(
    image: np.ndarray, places_px: np.ndarray, normals: np.ndarray, dark: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Full width at half depth in px, and depth relative to the shoulders, at `places_px` (P, 2) with unit `normals` (P, 2).

    Profiles are averaged over 9 px along the line. Each side has its own shoulder, so that a step of background does not
    count as width. nan where a side does not reach half height within REACH_PX.
    """
    image = image if dark else 2 * background(image) - image
    offsets = np.arange(-REACH_PX, REACH_PX + STEP_PX / 2, STEP_PX)
    tangents = np.stack([-normals[:, 1], normals[:, 0]], axis=1)
    along = np.arange(-ALONG_PX, ALONG_PX + 1)
    sample = (
        places_px[:, None, None] + normals[:, None, None] * offsets[None, None, :, None] + tangents[:, None, None] * along[None, :, None, None]
    )
    profiles = map_coordinates(image, [sample[..., 1], sample[..., 0]], order=3, mode="nearest").mean(axis=1)
    return _width_and_depth(profiles, offsets)


def _width_and_depth(profiles: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FWHM (P,) and depth (P,) of dips in `profiles` (P, U)."""
    near = np.abs(offsets) <= 2.5
    centre = np.argmin(np.where(near, profiles, np.inf), axis=1)
    # The bottom of a noisy dip is the mean of three samples, not the least one.
    bottom = np.take_along_axis(profiles, np.stack([centre - 1, centre, centre + 1], axis=1), axis=1).mean(axis=1)
    width, shoulders = np.zeros(len(profiles)), np.zeros(len(profiles))
    far = offsets[None, :] - offsets[centre][:, None]
    for side in (-1, 1):
        beside = (side * far >= SHOULDER_FROM_PX) & (side * far <= REACH_PX - 2.5)
        shoulder = np.nanpercentile(np.where(beside, profiles, np.nan), SHOULDER_PERCENT, axis=1)
        shoulders += shoulder / 2
        width += _half_crossing(profiles, far * side, (bottom + shoulder) / 2)
    depth = (shoulders - bottom) / np.maximum(shoulders, 1e-9)
    return np.where(depth > 0, width, np.nan), np.where((depth > 0) & np.isfinite(width), depth, np.nan)


def _half_crossing(profiles: np.ndarray, distance: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Distance (P,) at which profiles first rise to `level` (P,), going outward on the side where `distance` > 0."""
    found = np.full(len(profiles), np.nan)
    for p, (profile, d) in enumerate(zip(profiles, distance)):
        order = np.argsort(d[d >= 0])
        values, outward = profile[d >= 0][order], d[d >= 0][order]
        above = np.flatnonzero(values >= level[p])
        if len(above) and above[0] > 0:
            k = above[0]
            found[p] = outward[k - 1] + (level[p] - values[k - 1]) / (values[k] - values[k - 1]) * (outward[k] - outward[k - 1])
    return found


def _blocks(image: np.ndarray) -> np.ndarray:
    """Blocks (B, n, n), half overlapping; a frame smaller than one gives none."""
    if min(image.shape) < BLOCK_PX:
        return np.zeros((0, BLOCK_PX, BLOCK_PX))
    half = BLOCK_PX // 2
    return sliding_window_view(image, (BLOCK_PX, BLOCK_PX))[::half, ::half].reshape(-1, BLOCK_PX, BLOCK_PX)


def _without_quadratic(blocks: np.ndarray) -> np.ndarray:
    at = np.linspace(-1, 1, BLOCK_PX)
    x, y = (a.ravel() for a in np.meshgrid(at, at))
    basis, _ = np.linalg.qr(np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1))
    flat = blocks.reshape(len(blocks), -1)
    return (flat - (flat @ basis) @ basis.T).reshape(blocks.shape)


def _slope(frequency: np.ndarray, power: np.ndarray, band: tuple[float, float]) -> float:
    """Least-squares slope of log power against log frequency over rings of equal width in log frequency."""
    edges = np.geomspace(*band, SPECTRUM_BINS + 1)
    ring = np.digitize(frequency, edges) - 1
    power = np.maximum(power, 1e-30)  # a flat frame
    means = [(np.log(frequency[ring == k]).mean(), np.log(power[ring == k].mean())) for k in range(SPECTRUM_BINS) if (ring == k).any()]
    if len(means) < 3 or power.max() <= 1e-20:
        return float("nan")
    return float(np.polyfit(*zip(*means), 1)[0])
