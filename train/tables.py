"""Evaluations as tables: for the terminal, and as Markdown with everything by overlap, angle, contrast and density."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from train.crossings import ANGLE_EDGES_DEG

TABLE = (
    ("instance F1", "instance_f1"),
    ("precision", "instance_precision"),
    ("recall", "instance_recall"),
    ("crossings", "crossings_resolved"),
    ("splits", "false_splits"),
    ("merges", "false_merges"),
    ("complete", "completeness"),
    ("correct", "correctness"),
    ("length err.", "length_error_median"),
    ("density err.", "density_error"),
    ("AP", "ap"),
    ("PQ", "pq"),
    ("s/image", "seconds_per_image"),
)
METRICS = (
    ("instance F1", "instance_f1"),
    ("instance F1 at 2 px", "instance_f1_2px"),
    ("instance F1 at 5 px", "instance_f1_5px"),
    ("instance precision", "instance_precision"),
    ("instance recall", "instance_recall"),
    ("crossings resolved", "crossings_resolved"),
    *(
        (f"crossings resolved, {low}–{high}°", f"crossings_resolved_{low}_{high}_deg")
        for low, high in zip(ANGLE_EDGES_DEG[:-1], ANGLE_EDGES_DEG[1:])
    ),
    ("false splits a true curve", "false_splits_a_curve"),
    ("false merges a true curve", "false_merges_a_curve"),
    ("completeness", "completeness"),
    ("correctness", "correctness"),
    ("centreline F1", "centreline_f1"),
    ("length error of matched curves, median", "length_error_median"),
    ("density error, all images together", "density_error"),
    ("density error of an image, median", "density_error_median"),
    ("true density, 1/µm", "true_density_inv_um"),
    ("predicted density, 1/µm", "predicted_density_inv_um"),
    ("COCO AP", "ap"),
    ("COCO AP50", "ap50"),
    ("COCO AP75", "ap75"),
    ("PQ", "pq"),
    ("SQ", "segmentation_quality"),
    ("RQ", "recognition_quality"),
    ("clDice", "cldice"),
)


def table_of(evaluation: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of text, one row a decoder."""
    rows = []
    for name, metrics in evaluation["results"].items():
        rows.append([name, *(cell(metrics.get(key)) for _, key in TABLE)])
    return ["decoder", *(title for title, _ in TABLE)], rows


def cell(value: float | int | None) -> str:
    return "–" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}"


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns of equal width, the first to the left."""
    widths = [max(len(row[k]) for row in [header, *rows]) for k in range(len(header))]
    for row in [header, *rows]:
        cells = [row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:]))]
        print("  ".join(cells))


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def report_markdown(evaluation: dict[str, Any]) -> str:
    """All of an evaluation that a person reads: every metric with its interval, then the strata of each decoder."""
    results = evaluation["results"]
    first = next(iter(results.values()), {})
    parts = [
        f"# {evaluation['model']} on {evaluation['data']}, {evaluation['split']}\n",
        f"{len(evaluation['images'])} images, {first.get('true_curves', 0)} true curves, {first.get('crossings', 0)} crossings. "
        f"Lines match within {evaluation.get('tolerance_px', 3):g} px unless the row says otherwise. "
        + (f"The maps that the network's lines are traced on are means over {evaluation['views']} views of each image. " if evaluation.get("views", 1) > 1 else "")
        + "[low, high]: 95 % intervals from resampling the images. Wall seconds an image: "
        + ", ".join(f"{name} {cell(metrics.get('seconds_per_image'))}" for name, metrics in results.items())
        + ".\n",
        metric_table(results),
    ]
    for name, metrics in results.items():
        strata = strata_markdown(metrics)
        if strata:
            parts += [f"## {name}\n", strata]
    return "\n".join(parts)


def metric_table(results: dict[str, dict[str, Any]]) -> str:
    """One row a metric, one column a decoder, with intervals."""
    rows = [[title, *(_with_interval(metrics, key) for metrics in results.values())] for title, key in METRICS]
    return markdown_table(["metric", *results], [row for row in rows if any(text != "–" for text in row[1:])])


def strata_markdown(metrics: dict[str, Any]) -> str:
    """Tables by overlap, contrast, density, and of what else was called a line; empty where they are not known."""
    if "by_multiplicity" not in metrics:
        return ""
    parts = []
    rows = [
        [name, str(m["true_curves"]), str(m["predicted_curves"]), *(_with_interval(m, k) for k in ("instance_f1", "instance_recall", "completeness"))]
        for name, m in metrics["by_multiplicity"].items()
    ]
    parts.append(markdown_table(["lines over each other", "true", "predicted", "instance F1", "recall", "completeness"], rows))
    rows = [
        [f"{m['low']:.3f}–{m['high']:.3f}", str(m["true_curves"]), _with_interval(m, "instance_recall"), _with_interval(m, "completeness")]
        for m in metrics["by_contrast"]
    ]
    if rows:
        parts.append(markdown_table(["contrast of the line", "true", "recall", "completeness"], rows))
    rows = [
        [f"{m['low']:.2f}–{m['high']:.2f}", str(m["images"]),
         *(_with_interval(m, k) for k in ("instance_f1", "crossings_resolved", "completeness", "correctness"))]
        for m in metrics["by_density"]
    ]  # fmt: skip
    parts.append(markdown_table(["line, px a 1000 px²", "images", "instance F1", "crossings", "completeness", "correctness"], rows))
    rows = [
        [kind.replace("_", " "), f"{m['length_px']:.0f} px" if "length_px" in m else f"{m['count']:.0f}", _with_interval(m, "called_share")]
        for kind, m in metrics["distractors"].items()
    ]
    if rows:
        parts.append(markdown_table(["not a dislocation", "there", "share called a line"], rows))
    return "\n".join(parts)


def _with_interval(metrics: dict[str, Any], key: str) -> str:
    interval = metrics.get(f"{key}_interval")
    text = cell(metrics.get(key))
    return text if interval is None or text == "–" else f"{text} [{interval[0]:.3f}, {interval[1]:.3f}]"
