"""Numbers of dislocations: count, length, density an area and a volume, each with a 95 % interval.

Axes: L lines, T test lines, D draws, (Y, X) image rows and columns, V vertices of a curve.

Intervals say how much another field of the same specimen might differ, not what a network may have missed or invented:
lines are taken as thrown independently, so that a draw has each of them a Poisson(1) number of times (Hanley &
MacGibbon 2006); where there are five images or more, whole images are drawn instead (Efron 1979), which also holds for
lines that keep together. The thickness is drawn from a normal distribution, once for all images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import gammaincinv

from physics.errors import require

DRAWS = 2000
INTERVAL_PERCENT = (2.5, 97.5)
TEST_LINES = 64
SHORTEST_TEST_PX = 16.0
IMAGES_TO_DRAW = 5
LARGEST_SIGMA = 0.4  # of the thickness: beyond it a normal distribution reaches to nothing
# Of a line that is as likely to run in any direction, the projection is on average pi/4 of its length (Underwood 1970).
LENGTH_OF_PROJECTION = 4 / np.pi


@dataclass(frozen=True, kw_only=True)
class Thickness:
    """Foil thickness and its standard deviation, nm."""

    nm: float
    sigma_nm: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("thickness_nm", self.nm), ("thickness_sigma_nm", self.sigma_nm)):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            require(number and np.isfinite(value), name, "be a number", repr(value))
        require(self.nm > 0, "thickness_nm", "be > 0", self.nm)
        require(0 <= self.sigma_nm <= LARGEST_SIGMA * self.nm, "thickness_sigma_nm",
                f"lie in [0, {LARGEST_SIGMA:g} thickness_nm]", self.sigma_nm)  # fmt: skip

    def draws_nm(self, rng: np.random.Generator) -> np.ndarray:
        """Thicknesses (1 + D,), the first of which is the given one."""
        drawn = self.nm + self.sigma_nm * np.clip(rng.standard_normal(DRAWS), -2.4, 2.4)
        return np.concatenate([[self.nm], drawn])


@dataclass(frozen=True, kw_only=True, eq=False)
class Field:
    """What is counted in one image: `lengths_px` (L,) of its lines, `area_px2` that could be seen, and for the intercept
    method how often each line meets each test line, `hits` (L, T), with the test lines' lengths `test_px` (T,)."""

    lengths_px: np.ndarray
    area_px2: float
    hits: np.ndarray
    test_px: np.ndarray
    pixel_nm: float | None


def field_of(
    curves_px: Sequence[np.ndarray], shape: tuple[int, int], pixel_nm: float | None, rng: np.random.Generator, covered: np.ndarray | None = None
) -> Field:
    """Count curves (V, 2) in an image of `shape` (Y, X); `covered` (Y, X) bool could not be seen."""
    area_px2 = float(shape[0] * shape[1] - (0 if covered is None else covered.sum()))
    normals, offsets = test_lines(shape, rng)
    test_px = _visible_lengths_px(normals, offsets, shape, covered)
    kept = test_px >= SHORTEST_TEST_PX
    normals, offsets, test_px = normals[kept], offsets[kept], test_px[kept]
    hits = np.array([_hits(curve, normals, offsets, covered) for curve in curves_px]).reshape(len(curves_px), len(test_px))
    lengths = np.array([np.hypot(*np.diff(curve, axis=0).T).sum() for curve in curves_px])
    return Field(lengths_px=lengths, area_px2=area_px2, hits=hits, test_px=test_px, pixel_nm=pixel_nm)


def test_lines(shape: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Isotropic uniform random straight lines {r : n r = c} as n (T, 2), c (T,): directions in equal steps from a random
    one, offsets uniform over the circle about the frame."""
    turn = np.pi * (np.arange(TEST_LINES) + rng.random()) / TEST_LINES
    normals = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    centre = 0.5 * np.array([shape[1] - 1.0, shape[0] - 1.0])
    radius = 0.5 * float(np.hypot(*shape))
    return normals, normals @ centre + radius * rng.uniform(-1, 1, TEST_LINES)


test_lines.__test__ = False  # pytest: not a test


def _visible_lengths_px(normals: np.ndarray, offsets: np.ndarray, shape: tuple[int, int], covered: np.ndarray | None) -> np.ndarray:
    """Length (T,) of each test line inside the frame and outside `covered`, to about a pixel."""
    along = np.stack([-normals[:, 1], normals[:, 0]], axis=1)
    centre = 0.5 * np.array([shape[1] - 1.0, shape[0] - 1.0])
    reach = 0.5 * float(np.hypot(*shape)) + 1
    at = np.arange(-reach, reach, 0.5)
    foot = centre + (offsets - normals @ centre)[:, None] * normals
    x, y = (foot[:, k, None] + at * along[:, k, None] for k in (0, 1))
    inside = (x >= -0.5) & (x <= shape[1] - 0.5) & (y >= -0.5) & (y <= shape[0] - 0.5)
    if covered is not None and covered.any():
        inside &= ~covered[np.clip(np.rint(y), 0, shape[0] - 1).astype(int), np.clip(np.rint(x), 0, shape[1] - 1).astype(int)]
    return 0.5 * inside.sum(axis=1)


def _hits(curve: np.ndarray, normals: np.ndarray, offsets: np.ndarray, covered: np.ndarray | None) -> np.ndarray:
    """How often (T,) a curve (V, 2) crosses each test line."""
    side = curve @ normals.T - offsets > 0
    crosses = side[1:] != side[:-1]
    if covered is not None and covered.any():
        x, y = np.rint(0.5 * (curve[1:] + curve[:-1])).astype(int).T
        crosses = crosses & ~covered[np.clip(y, 0, covered.shape[0] - 1), np.clip(x, 0, covered.shape[1] - 1)][:, None]
    return crosses.sum(axis=0)


def measured(fields: Sequence[Field], thickness: Thickness | None, rng: np.random.Generator) -> dict[str, Any]:
    """Count, length and densities of one image or of many together; keys that end in `_interval` hold [low, high].

    Of areal density R = projected length an area and of N intercepts on test lines of length M in a foil of thickness t:
    volume density by length (4 / pi) R / t (Bailey & Hirsch 1960), by intercepts 2 N / (M t) (Ham 1961; Underwood 1970);
    both hold for lines of all directions alike. In px where no pixel size is known; an upper limit is None where nothing
    was found.
    """
    known = bool(fields) and all(field.pixel_nm for field in fields)
    um = [field.pixel_nm * 1e-3 if known else 1.0 for field in fields]
    draws = _Draws(fields, rng)
    count = int(sum(len(field.lengths_px) for field in fields))
    length_px = draws.total([w @ f.lengths_px for w, f in zip(draws.lines, fields)])
    record: dict[str, Any] = {"n_lines": count, "n_lines_interval": draws.count_interval(count)}
    _put(record, "total_length_px", length_px, 2)
    length = draws.total([w @ f.lengths_px * u for w, f, u in zip(draws.lines, fields, um)])
    area = draws.total([np.full(DRAWS + 1, f.area_px2 * u * u) for f, u in zip(fields, um)])
    hits = draws.total([((w @ f.hits) * v).sum(axis=1) for w, v, f in zip(draws.lines, draws.tests, fields)])
    test = draws.total([v @ f.test_px * u for v, f, u in zip(draws.tests, fields, um)])
    areal, linear = length / area, hits / np.maximum(test, 1e-12)
    _put(record, "total_length_nm", length * 1e3 if known else None, 3)
    _put(record, "areal_density_inv_px", areal if not known else None, 8)
    _put(record, "areal_density_inv_um", areal if known else None, 6)
    record["intercepts"], record["test_length_px"] = int(hits[0]), round(float(sum(f.test_px.sum() for f in fields)), 1)
    if thickness is not None:
        require(known, "thickness_nm", "come with pixel_nm", "no pixel size in the files", "write pixel_nm=…")
        t_um = thickness.draws_nm(rng) * 1e-3
        # 1 / um^2 is 10^12 / m^2.
        _put(record, "volume_density_inv_m2", 1e12 * LENGTH_OF_PROJECTION * areal / t_um, -6)
        _put(record, "volume_density_by_intercepts_inv_m2", 1e12 * 2 * linear / t_um, -6)
    record["interval_from"] = draws.what
    return record


class _Draws:
    """How often each line, test line and image counts, in the first row once each, then in D draws."""

    def __init__(self, fields: Sequence[Field], rng: np.random.Generator) -> None:
        self.by_image = len(fields) >= IMAGES_TO_DRAW
        self.what = "images" if self.by_image else "lines"
        ones = np.ones((1, 1))
        if self.by_image:
            self.lines = [np.broadcast_to(ones, (DRAWS + 1, len(f.lengths_px))) for f in fields]
            self.tests = [np.broadcast_to(ones, (DRAWS + 1, len(f.test_px))) for f in fields]
            times = rng.multinomial(len(fields), np.full(len(fields), 1 / len(fields)), DRAWS)
            self.images = np.concatenate([np.ones((1, len(fields))), times])
        else:
            self.lines = [np.concatenate([np.ones((1, len(f.lengths_px))), rng.poisson(1.0, (DRAWS, len(f.lengths_px)))]) for f in fields]
            self.tests = [
                np.concatenate([np.ones((1, len(f.test_px))), rng.multinomial(len(f.test_px), np.full(len(f.test_px), 1 / len(f.test_px)), DRAWS)])
                for f in fields
            ]
            self.images = np.ones((DRAWS + 1, len(fields)))
        self.counts = np.array([len(f.lengths_px) for f in fields])

    def total(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """Sum (1 + D,) over the images of one value (1 + D,) each."""
        return (self.images * np.stack(values, axis=1)).sum(axis=1) if len(values) else np.zeros(DRAWS + 1)

    def count_interval(self, count: int) -> list[float]:
        """Exact limits of a Poisson count (Garwood 1936), or the percentiles over draws of images."""
        if self.by_image:
            return [round(float(v), 1) for v in np.percentile(self.images[1:] @ self.counts, INTERVAL_PERCENT)]
        # Halves of the quantiles of chi-squared at 2 n and 2 n + 2 degrees; scipy.stats would take half a second to load.
        low = gammaincinv(count, 0.025) if count else 0.0
        return [round(float(low), 1), round(float(gammaincinv(count + 1, 0.975)), 1)]


def _put(record: dict[str, Any], name: str, values: np.ndarray | None, digits: int) -> None:
    """The first value and the interval of the others, rounded to `digits`; None for what is not known."""
    if values is None:
        record[name] = record[f"{name}_interval"] = None
        return
    low, high = np.percentile(values[1:], INTERVAL_PERCENT)
    nothing = values[0] == 0
    record[name] = round(float(values[0]), digits)
    record[f"{name}_interval"] = [round(float(low), digits), None if nothing else round(float(high), digits)]
