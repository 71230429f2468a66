"""report.html of a folder of micrographs: every image with its lines, a table, histograms; one file, readable offline."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from render.cli import counted
from train.report import Page

MOST_PICTURES = 60
LONGEST_SIDE_PX = 900
JPEG_QUALITY = 82
LOW_CONFIDENCE = 0.5


class Pictures:
    """Overlays of a run as small JPEG files, evenly chosen where there are many, so that a video makes no giant page."""

    def __init__(self, count: int) -> None:
        self._chosen = set(np.unique(np.linspace(0, count - 1, min(count, MOST_PICTURES)).round().astype(int)))
        self._seen = 0
        self.count = count
        self.kept: list[tuple[bytes, str]] = []

    def add(self, name: str, picture: np.ndarray, record: Mapping[str, Any]) -> None:
        """The overlay (Y, X, 3) uint8 of the next frame."""
        if self._seen in self._chosen:
            image = Image.fromarray(picture)
            image.thumbnail((LONGEST_SIDE_PX, LONGEST_SIDE_PX))
            jpeg = io.BytesIO()
            image.save(jpeg, format="jpeg", quality=JPEG_QUALITY)
            self.kept.append((jpeg.getvalue(), _caption(name, record)))
        self._seen += 1


def write_folder_report(path: Path, records: Sequence[Mapping[str, Any]], together: Mapping[str, Any], pictures: Pictures) -> None:
    """Write the page about `records` (as `train.predict.prediction` makes them, with "name") and their sum `together`."""
    count = len(records)
    page = Page(f"Dislocations in {counted(count, 'micrograph')}")
    model = records[0]["model"]
    page.text(f"Traced by the network “{model}”. Coloured curves are what it calls a dislocation; neighbouring colours tell lines apart, no more.")
    page.heading("All images together")
    page.table(("", "value", "95 % interval"), [row for row in _together_rows(together) if row])
    page.text(_about_intervals(together))
    page.text("An interval says how far another field of the same specimen may lie from these. It does not hold lines that were "
              "missed, that are out of contrast (g·b = 0), or that are none: look at the pictures.")  # fmt: skip
    if together.get("volume_density_inv_m2") is not None:
        page.text("Density by length: (4/π) × projected length / (area × thickness) (Bailey & Hirsch 1960). Density by intercepts: "
                  "2 N / (M t), N intersections with random test lines of length M (Ham 1961; Underwood 1970). Both take lines to run in all "
                  "directions alike; where they lie in few planes the two differ from the truth together.")  # fmt: skip
    if any(record["pixel_nm"] is None for record in records):
        page.text("No pixel size stood in some of the files: their lengths are in px. pixel_nm= gives one.")
    for reason in together.get("left_out", {}).values():
        page.text(f"Left out: {reason}.")
    figure = _histograms(records)
    if figure is not None:
        page.figure(figure, _histogram_caption(records))
    page.heading("Images")
    page.table(*_image_table(records))
    if len(pictures.kept) < pictures.count:
        page.text(f"{len(pictures.kept)} of {pictures.count} pictures, evenly chosen; all of them lie beside this page.")
    for jpeg, caption in pictures.kept:
        page.photograph(jpeg, caption)
    page.write(path)


def _together_rows(together: Mapping[str, Any]) -> list[tuple[str, str, str] | None]:
    def row(label: str, key: str, digits: int = 3, factor: float = 1.0) -> tuple[str, str, str] | None:
        value = together.get(key)
        if value is None:
            return None
        return label, _number(value * factor, digits), interval_text(together.get(f"{key}_interval"), digits, factor)

    known = together.get("total_length_nm") is not None
    thickness = together.get("thickness_nm")
    return [
        row("lines", "n_lines", 4),
        row("total length, µm", "total_length_nm", 4, 1e-3) if known else row("total length, px", "total_length_px", 4),
        row("projected length an area, µm⁻¹", "areal_density_inv_um") if known else row("projected length an area, px⁻¹", "areal_density_inv_px"),
        row("density by length, m⁻²", "volume_density_inv_m2"),
        row("density by line intercepts, m⁻²", "volume_density_by_intercepts_inv_m2"),
        ("intersections with test lines", str(together["intercepts"]), ""),
        None if thickness is None else ("foil thickness, nm", f"{thickness:g} ± {together['thickness_sigma_nm']:g} (1 σ)", ""),
    ]


def _about_intervals(together: Mapping[str, Any]) -> str:
    if together["interval_from"] == "images":
        return "Intervals: from drawing whole images again and again (bootstrap). Frames of one video, or of one place, are not independent: their interval is too narrow."
    return "Intervals: from counting statistics, each line thrown independently of the others; lines that keep together, as in a pile-up, scatter more."


def _image_table(records: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    known = all(r["pixel_nm"] for r in records)
    volume = all(r["summary"].get("volume_density_inv_m2") is not None for r in records)
    header = ["image", "nm/px", "lines", "length, µm" if known else "length, px", "ρ_A, µm⁻¹" if known else "ρ_A, px⁻¹"]
    header += ["ρ by length, m⁻²", "ρ by intercepts, m⁻²"] * volume + ["width, px", "to check", "read as"]
    rows = []
    for record in records:
        summary = record["summary"]
        length = summary["total_length_nm"] * 1e-3 if known else summary["total_length_px"]
        areal = "areal_density_inv_um" if known else "areal_density_inv_px"
        if summary.get(areal) is None and not known:
            areal_text = _number(summary["total_length_px"] / (record["shape"][0] * record["shape"][1]), 3)
        else:
            areal_text = f"{_number(summary[areal], 3)} {interval_text(summary[f'{areal}_interval'], 3)}"
        row = [record["name"], f"{record['pixel_nm']:.4g}" if record["pixel_nm"] else "–", str(summary["n_lines"]), _number(length, 4), areal_text]
        if volume:
            for key in ("volume_density_inv_m2", "volume_density_by_intercepts_inv_m2"):
                row.append(f"{_number(summary[key], 3)} {interval_text(summary[f'{key}_interval'], 3)}")
        doubtful = sum(line["confidence"] < LOW_CONFIDENCE or "ambiguous_crossing" in line["flags"] for line in record["lines"])
        width = "–" if summary["median_width_px"] is None else f"{summary['median_width_px']:.1f}"
        rows.append([*row, width, str(doubtful), _reading(record)])
    return header, rows


def _reading(record: Mapping[str, Any]) -> str:
    read = record.get("read") or {}
    parts = [f"{read.get('polarity', 'dark').replace('+', ' and ')} lines"]
    if read.get("scale", 1) != 1:
        parts.append(f"scaled {read['scale']:.2f}")
    if read.get("covered_fraction"):
        parts.append(f"{read['covered_fraction']:.1%} under ink")
    return ", ".join(parts)


def _caption(name: str, record: Mapping[str, Any]) -> str:
    summary = record["summary"]
    length = f"{summary['total_length_nm'] * 1e-3:.3g} µm" if summary["total_length_nm"] is not None else f"{summary['total_length_px']:.0f} px"
    return f"{name}: {summary['n_lines']} lines, {length}; {_reading(record)}"


def _histograms(records: Sequence[Mapping[str, Any]]) -> Any:
    """Length, width and confidence of all lines; None where there are none."""
    from matplotlib.figure import Figure

    lines = [(line, record["pixel_nm"]) for record in records for line in record["lines"]]
    if not lines:
        return None
    known = all(pixel_nm for _, pixel_nm in lines)
    length = np.array([line["length_px"] * (pixel_nm if known else 1) for line, pixel_nm in lines])
    width = np.array([line["width_px"] * (pixel_nm if known else 1) for line, pixel_nm in lines])
    unit = "nm" if known else "px"
    figure = Figure(figsize=(10, 2.8), layout="constrained")
    panels = (
        (length, f"length of a line, {unit}", np.geomspace(length.min() * 0.99, length.max() * 1.01, 25)),
        (width, f"width of a line (FWHM), {unit}", 25),
        (np.array([line["confidence"] for line, _ in lines]), "confidence", np.linspace(0, 1, 21)),
    )
    for axes, (values, label, bins) in zip(figure.subplots(1, 3), panels):
        axes.hist(values, bins=bins, color="#4477aa", edgecolor="white", linewidth=0.4)
        axes.set_xlabel(label)
        axes.spines[["top", "right"]].set_visible(False)
        if label.startswith("length"):
            axes.set_xscale("log")
            axes.set_ylabel("lines")
    return figure


def _histogram_caption(records: Sequence[Mapping[str, Any]]) -> str:
    lengths = [line["length_px"] for record in records for line in record["lines"]]
    return f"Lines of all images: {len(lengths)}. A line that leaves the frame counts with the length inside it."


def interval_text(interval: Sequence[float | None] | None, digits: int, factor: float = 1.0) -> str:
    """[low, high] as people write it."""
    if interval is None:
        return ""
    low, high = interval
    return f"[{_number(low * factor, digits)}, {'?' if high is None else _number(high * factor, digits)}]"


def _number(value: float, digits: int) -> str:
    """With so many significant digits, powers of ten as in 1.2·10¹⁴."""
    text = f"{value:.{digits}g}"
    if "e" not in text:
        return text
    mantissa, exponent = text.split("e")
    return f"{mantissa}·10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
