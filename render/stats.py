"""`python -m render.stats PATH`: what the images of a dataset or a folder look like, in numbers, beside real ones."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from physics.errors import require
from render.cli import positional, run_command
from render.export.labelme import visible_parts
from render.frame_statistics import across_lines, background_range, noise_level, spectrum_slopes
from render.grey_image import image_files, read_grey
from render.line_statistics import Curves, line_statistics, median_of, spread_over
from render.ridges import find_ridges

USAGE = """\
python -m render.stats PATH [reference=FOLDER] [out=DIR] [limit=200]

Measures every image of a dataset (A.zarr) or of a folder of png, jpg and tif files (also in folders below it; pictures of two
values are masks and are passed over; labelme JSON beside an image gives its labelled lines). Prints the median and the 5th and 95th percentile over the
images, beside those of the reference, and says where the reference's median lies outside. Writes statistics.json and
histograms.png into out (PATH's name with _statistics, in the current folder).
"""
SMALLEST_PX = 64
QUANTITIES: dict[str, str] = {
    "ridge_width_px": "width of ridges, FWHM in px",
    "ridge_depth": "depth of ridges over background",
    "background_range": "background range over mean",
    "noise": "noise over mean",
    "noise_lag1": "noise, lag-1 autocorrelation",
    "slope_low": "power spectrum, slope at low frequency",
    "slope_mid": "power spectrum, slope at middle frequency",
    "ridges": "ridge branches a frame (512 x 512 px)",
    "ridge_length_px": "length of ridge branches, px",
    "lines": "labelled lines a frame",
    "line_length_px": "length of labelled lines, px",
    "line_width_px": "width of labelled lines, FWHM in px",
    "line_depth": "depth of labelled lines over background",
    "each_width_px": "width of each line, FWHM in px",
    "each_depth": "depth of each line over background",
    "each_variation": "variation of depth along each line",
    "each_gap_px": "gap to the next parallel line, px",
}


def frame_statistics(image: np.ndarray, curves: Curves | None = None) -> dict[str, Any]:
    """The quantities of one image (Y, X), and those of its labelled lines where there are any; medians over the frame's places
    and branches, and lists with a number for each line."""
    image = np.asarray(image, dtype=np.float64)
    level, lag1 = noise_level(image)
    low, mid = spectrum_slopes(image)
    ridges = find_ridges(image)
    chosen = spread_over(len(ridges.places_px))
    width, depth = across_lines(image, ridges.places_px[chosen], ridges.normals[chosen], ridges.dark)
    values = {
        "ridge_width_px": median_of(width), "ridge_depth": median_of(depth), "background_range": background_range(image),
        "noise": level, "noise_lag1": lag1, "slope_low": low, "slope_mid": mid,
        "ridges": len(ridges.lengths_px) * 512**2 / image.size, "ridge_length_px": median_of(ridges.lengths_px),
    }  # fmt: skip
    if curves is not None:
        values |= line_statistics(image, curves)
    return values


def images_of(path: Path, limit: int) -> Iterator[tuple[str, np.ndarray, Curves | None]]:
    """(name, image (Y, X), labelled curves or None) of a dataset or a folder, at most `limit`, spread over it.

    Raises InputError where there is none.
    """
    require(path.is_dir(), str(path), "be a dataset or a folder of images", "a file" if path.exists() else "nothing there")
    if (path / "zarr.json").exists():
        from render.store import open_dataset

        dataset = open_dataset(path)
        for i in np.unique(np.linspace(0, len(dataset) - 1, min(limit, len(dataset))).astype(int)):
            lines = [visible_parts(line, dataset.shape) for line in dataset.lines(int(i))]
            yield str(i), dataset.image(int(i)), [parts for parts in lines if parts]
        return
    files = image_files(path)
    found = 0
    for k in np.unique(np.linspace(0, len(files) - 1, min(limit, len(files))).astype(int)):
        image = read_grey(files[k])
        if len(np.unique(image)) > 2 and min(image.shape) >= SMALLEST_PX:
            found += 1
            yield files[k].relative_to(path).as_posix(), image, _labelled(files[k].with_suffix(".json"))
    require(found > 0, str(path), f"hold micrographs of at least {SMALLEST_PX} px", "masks or smaller pictures only")


def measure(path: Path, limit: int) -> dict[str, dict[str, Any]]:
    """The quantities of every image, by its name."""
    return {name: frame_statistics(image, curves) for name, image, curves in images_of(path, limit)}


def percentiles(frames: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Median, 5th and 95th percentile over frames or lines, and their number, of every quantity that was found."""
    table = {}
    for quantity in QUANTITIES:
        values = _of_frames(frames, quantity)
        if len(values):
            low, middle, high = np.percentile(values, [5, 50, 95])
            table[quantity] = {"median": float(middle), "p5": float(low), "p95": float(high), "frames": len(values)}
    return table


def _of_frames(frames: dict[str, dict[str, Any]], quantity: str) -> np.ndarray:
    """All finite numbers of a quantity: one a frame, or one a line."""
    found = np.concatenate([np.zeros(0), *(np.atleast_1d(f[quantity]) for f in frames.values() if quantity in f)])
    return found[np.isfinite(found)]


def table_text(table: dict[str, dict[str, float]], reference: dict[str, dict[str, float]] | None) -> str:
    """The table as text; `outside` where the reference's median is not within the 5th to 95th percentile."""
    heads = f"{'':42}{'median':>9}{'5 %':>9}{'95 %':>9}"
    lines = [heads if reference is None else f"{heads}   {'reference':>9}{'5 %':>9}{'95 %':>9}"]
    for quantity, words in QUANTITIES.items():
        rows = [t.get(quantity) for t in (table, reference) if t is not None]
        if any(rows):
            text = "   ".join("".join(f"{r[k]:9.3g}" for k in ("median", "p5", "p95")) if r else f"{'-':>9}" * 3 for r in rows)
            lines.append(f"{words:42}{text}{'   outside' if _outside(*rows) else ''}".rstrip())
    return "\n".join(lines)


def _outside(row: dict[str, float] | None, reference: dict[str, float] | None = None) -> bool:
    return bool(row and reference) and not row["p5"] <= reference["median"] <= row["p95"]


def _labelled(file: Path) -> Curves | None:
    """Linestrips of a labelme file, those of one group together, or None where there is none."""
    if not file.is_file():
        return None
    try:
        shapes = json.loads(file.read_text(encoding="utf-8"))["shapes"]
        lines: dict[Any, list[np.ndarray]] = {}
        for k, shape in enumerate(shapes):
            if shape.get("shape_type") == "linestrip" and len(shape["points"]) >= 2:
                group = shape.get("group_id")
                lines.setdefault(("alone", k) if group is None else group, []).append(np.array(shape["points"], float))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return list(lines.values())


def _histograms(frames: dict[str, Any], reference: dict[str, Any] | None, names: tuple[str, str], file: Path) -> None:
    from matplotlib.figure import Figure

    shown = [q for q in QUANTITIES if len(_of_frames(frames, q))]
    columns = 4
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.3 * rows), dpi=110, layout="constrained")
    for axes, quantity in zip(np.ravel(figure.subplots(rows, columns, squeeze=False)), [*shown, *[None] * columns]):
        if quantity is None:
            axes.set_axis_off()
            continue
        groups = [_of_frames(g, quantity) for g in (frames, reference or {})]
        bins = np.histogram_bin_edges(np.concatenate(groups), bins=24)
        for values, name, colour in zip(groups, names, ("#3a6ea5", "#d1603d")):
            if len(values):
                axes.hist(values, bins, weights=np.full(len(values), 1 / len(values)), alpha=0.6, color=colour, label=name)
        axes.set_title(QUANTITIES[quantity], fontsize=7.5, loc="left")
        axes.tick_params(labelsize=7)
        axes.set_yticks([])
    figure.axes[0].legend(fontsize=7, frameon=False)
    figure.savefig(file)


def main(argv: list[str]) -> None:
    places, pairs = positional(argv, ("reference", "out", "limit"), 1, USAGE)
    limit = pairs.get("limit", "200")
    require(limit.isdecimal() and int(limit) >= 1, "limit", "be a whole number >= 1", limit)
    path = Path(places[0])
    out = Path(pairs.get("out") or f"{path.resolve().name.removesuffix('.zarr')}_statistics")
    require(not out.exists() or out.is_dir(), "out", "be a folder", out)
    frames = measure(path, int(limit))
    reference = measure(Path(pairs["reference"]), int(limit)) if "reference" in pairs else None
    table, beside = percentiles(frames), None if reference is None else percentiles(reference)
    out.mkdir(parents=True, exist_ok=True)
    written: dict[str, Any] = {"path": path.name, "table": table, "frames": _plain(frames)}
    if reference is not None:
        written["reference"] = {"path": Path(pairs["reference"]).name, "table": beside, "frames": _plain(reference),
                                "outside": [q for q in table if _outside(table[q], beside.get(q))]}  # fmt: skip
    (out / "statistics.json").write_text(json.dumps(written, indent=1), encoding="utf-8")
    _histograms(frames, reference, (path.name, Path(pairs.get("reference", "")).name), out / "histograms.png")
    print(f"{path}: {len(frames)} images" + ("" if reference is None else f"; reference {pairs['reference']}: {len(reference)}"))
    print(table_text(table, beside))


def _plain(frames: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """JSON has no nan: null where a quantity could not be found."""

    def finite(value: Any) -> Any:
        return [finite(v) for v in value] if isinstance(value, list) else value if np.isfinite(value) else None

    return {name: {q: finite(v) for q, v in f.items()} for name, f in frames.items()}


if __name__ == "__main__":
    sys.exit(run_command(main, USAGE))
