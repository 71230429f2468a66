"""Claim: time grows no worse than linearly in pixels and in slices, and sub-linearly in segments.

Isotropic bulk field and two-beam integration, bright and dark field, of curved lines in 512 nm of a foil of 100 nm. One
number varies at a time; slopes are fitted to processor time on the log-log plot. `python benchmarks/scaling.py` draws
docs/physics/scaling.png.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from specimens import BEAM, ELASTIC, G_INV_NM, THICKNESS_NM, curved_lines
from timing import Row, best_of

from physics.contrast.columns import ColumnGrid, column_image
from physics.strain.segments import Segments

FIELD_NM = 512.0
SIZES = (256, 512, 1024, 2048)
SLICES = (50, 100, 200, 400, 800)
# Lines and segments of each.
NETWORKS = ((1, 1), (1, 5), (1, 20), (4, 20), (20, 20), (100, 20))
PICTURE = Path(__file__).resolve().parent.parent / "docs" / "physics" / "scaling.png"


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Processor and wall time in s against one number, everything else fixed."""

    name: str
    fixed: str
    numbers: tuple[float, ...]
    cpu_s: tuple[float, ...]
    wall_s: tuple[float, ...]

    @property
    def exponent(self) -> float:
        """Slope of log time over log number, least squares."""
        return float(np.polyfit(np.log(self.numbers), np.log(self.cpu_s), 1)[0])

    @property
    def last_exponent(self) -> float:
        """The same between the two largest numbers, where what every image costs weighs least."""
        return float(np.diff(np.log(self.cpu_s[-2:]))[0] / np.diff(np.log(self.numbers[-2:]))[0])


def rows() -> list[Row]:
    return [
        Row(
            case=f"time against {curve.name}, {curve.numbers[0]:,.0f} to {curve.numbers[-1]:,.0f} ({curve.fixed}); time of the largest",
            wall_s=curve.wall_s[-1], cpu_s=curve.cpu_s[-1],
            error=f"exponent {curve.exponent:.2f}, last step {curve.last_exponent:.2f}",
        )
        for curve in curves()
    ] + [_memory_row()]  # fmt: skip


def curves() -> tuple[Curve, Curve, Curve]:
    lines = curved_lines(30, 20, FIELD_NM)
    pixels = [_time(lines, size, 100) for size in SIZES]
    slices = [_time(lines, 256, count) for count in SLICES]
    networks = [curved_lines(count, pieces, FIELD_NM) for count, pieces in NETWORKS]
    counts = [_time(network, 512, 100) for network in networks]
    segments = tuple(float(count * pieces) for count, pieces in NETWORKS)
    return (
        _curve("pixels", "30 lines x 20 segments, 100 slices", tuple(float(n * n) for n in SIZES), pixels),
        _curve("slices", "256 x 256, 30 lines x 20 segments", tuple(map(float, SLICES)), slices),
        _curve("segments", "512 x 512 x 100", segments, counts),
    )


def _curve(name: str, fixed: str, numbers: tuple[float, ...], times: list[tuple[float, float]]) -> Curve:
    wall, cpu = zip(*times)
    return Curve(name=name, fixed=fixed, numbers=numbers, cpu_s=cpu, wall_s=wall)


def _time(segments: Segments, size: int, slices: int) -> tuple[float, float]:
    return best_of(lambda: _image(segments, size, slices), runs=3)


def _image(segments: Segments, size: int, slices: int) -> tuple[np.ndarray, np.ndarray]:
    grid = ColumnGrid.flat((size, size), FIELD_NM / size, THICKNESS_NM, 0.0)
    return column_image(segments, G_INV_NM, BEAM, grid, slice_nm=THICKNESS_NM / slices, **ELASTIC)


def _memory_row() -> Row:
    """Peak memory of a process of its own that makes the largest image: all of it, and beyond that of a small one."""
    before, after = (float(word) for word in subprocess.run(
        [sys.executable, __file__, "memory"], capture_output=True, text=True, check=True).stdout.split())  # fmt: skip
    size = SIZES[-1]
    return Row(case=f"memory of {size} x {size} x 100, 30 lines x 20 segments", wall_s=0.0, cpu_s=0.0,
               error=f"{after:.2f} GB at most, {after - before:.2f} GB more than of 64 x 64")  # fmt: skip


def _print_memory() -> None:
    lines = curved_lines(30, 20, FIELD_NM)
    for size in (64, SIZES[-1]):
        _image(lines, size, 100)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2)


def draw(found: tuple[Curve, ...]) -> None:
    """The log-log plot of the curves."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullFormatter

    figure, axes = plt.subplots(1, len(found), figsize=(10.5, 3.4), sharey=True, constrained_layout=True)
    for ax, curve in zip(axes, found):
        numbers, times = np.array(curve.numbers), np.array(curve.cpu_s)
        ax.loglog(numbers, times, "o-", color="black", ms=4, lw=1.2)
        ax.loglog(numbers, times[-1] * numbers / numbers[-1], "--", color="0.6", lw=1, label="linear")
        ax.set_xlabel(curve.name)
        ax.set_title(f"{curve.fixed}\nexponent {curve.exponent:.2f}, last step {curve.last_exponent:.2f}", fontsize=9)
        ax.set_xticks(numbers, [f"{n:,.0f}" for n in numbers] if curve.name != "pixels" else [f"{n**0.5:.0f}²" for n in numbers])
        ax.tick_params(axis="x", which="major", labelsize=8)
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.grid(True, which="both", lw=0.3, alpha=0.5)
    axes[0].set_ylabel("processor time in s")
    axes[0].set_ylim(min(min(c.cpu_s) for c in found) / 1.6, max(max(c.cpu_s) for c in found) * 1.6)
    axes[0].legend(frameon=False, fontsize=9)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    if sys.argv[1:] == ["memory"]:
        _print_memory()
    else:
        measured = curves()
        for one in measured:
            print(one.name, one.numbers, [f"{t:.3f}" for t in one.cpu_s], f"{one.exponent:.2f}", f"{one.last_exponent:.2f}")
        draw(measured)
