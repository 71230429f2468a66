"""The benchmark's table: every row on every split, the mean over splits, and what of the oracle's score is reached.

Axes: D draws of the bootstrap, the first of which is the set itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from train.benchmark.rows import MODEL, ORACLE, RIDGE
from train.benchmark.splits import VERSION
from train.metrics import ImageScore
from train.summary import f1_draws, quantity
from train.tables import cell, markdown_table, metric_table, strata_markdown

BOOTSTRAP = 1000
HARDEST_RIDGE_F1 = 0.35
FEWEST_FOREST_CROSSINGS = 20.0
# A split is a fixed set: each counts the same, and images are resampled within it.
OF_ROW = ("instance_f1", "crossings_resolved")


def overall(scores: Mapping[str, Mapping[str, Sequence[ImageScore]]]) -> dict[str, Any]:
    """From scores by split and row: means over splits with intervals, the share of the oracle's, the lead, and whether it is hard.

    The lead is the model's mean instance F1 above that of the best row that is neither it nor an oracle nor built on it,
    with the interval of the difference on the same draws.
    """
    rows = list(next(iter(scores.values())))
    draws = {row: {name: _mean_draws(scores, row, name) for name in OF_ROW} for row in rows}
    mean: dict[str, Any] = {}
    for row in rows:
        mean[row] = {}
        for name in OF_ROW:
            mean[row][name], mean[row][f"{name}_interval"] = quantity(draws[row][name])
    f1 = {row: draws[row]["instance_f1"] for row in rows}
    share, share_interval = quantity(f1[MODEL] / np.where(f1[ORACLE] > 0, f1[ORACLE], np.nan))
    others = [row for row in rows if not row.startswith(("oracle", "model", "the model"))]
    best = max(others, key=lambda row: np.nan_to_num(f1[row][0]))
    lead, lead_interval = quantity(f1[MODEL] - f1[best])
    crossings = None
    if "forest" in scores:
        forest = scores["forest"][MODEL]
        crossings = round(sum(sum(s.crossings) for s in forest) / len(forest), 2)
    ridge = mean[RIDGE]["instance_f1"]
    return {
        "mean": mean,
        "share_of_oracle": share, "share_of_oracle_interval": share_interval,
        "best_baseline": best, "lead": lead, "lead_interval": lead_interval,
        "ridge_instance_f1": ridge, "forest_crossings_a_frame": crossings,
        "hard": bool((ridge or 0.0) <= HARDEST_RIDGE_F1 and (crossings is None or crossings >= FEWEST_FOREST_CROSSINGS)),
    }  # fmt: skip


def _mean_draws(scores: Mapping[str, Mapping[str, Sequence[ImageScore]]], row: str, name: str) -> np.ndarray:
    """Mean (1 + D,) over splits; one without crossings has none to resolve and does not count for them."""
    of_splits = [f1_draws(rows[row], name, BOOTSTRAP, seed) for seed, rows in enumerate(scores.values())]
    known = [values for values in of_splits if np.isfinite(values[0])]
    times = np.isfinite(known).sum(axis=0) if known else np.zeros(1 + BOOTSTRAP)
    return np.divide(np.nansum(known, axis=0), times, out=np.full(1 + BOOTSTRAP, np.nan), where=times > 0)


def table_of(benchmark: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of text: instance F1 at 3 px by split, then means."""
    splits, mean = benchmark["splits"], benchmark["overall"]["mean"]
    header = ["instance F1", *splits, "mean", "crossings", "s/image"]
    rows = []
    for row in mean:
        of_splits = [benchmark["results"][split][row] for split in splits]
        seconds = float(np.median([m["seconds_per_image"] for m in of_splits]))
        rows.append([row, *(cell(m["instance_f1"]) for m in of_splits), cell(mean[row]["instance_f1"]),
                     cell(mean[row]["crossings_resolved"]), cell(seconds)])  # fmt: skip
    return header, rows


def verdict(benchmark: dict[str, Any]) -> list[str]:
    """What the table says, in sentences."""
    over = benchmark["overall"]
    of = "" if benchmark["version"] else " (these are no benchmark's frames: frozen=false)"
    said = [f"share of the oracle decoder's instance F1 that is reached: {_with(over, 'share_of_oracle')}",
            f"above the best baseline ({over['best_baseline']}): {_with(over, 'lead')}"]  # fmt: skip
    crossings = over["forest_crossings_a_frame"]
    said.append(
        f"hard: {'yes' if over['hard'] else 'NO'}: ridge + skan {cell(over['ridge_instance_f1'])} (at most {HARDEST_RIDGE_F1}), forest "
        f"{'–' if crossings is None else f'{crossings:.1f}'} crossings a frame (at least {FEWEST_FOREST_CROSSINGS:g}){of}"
    )
    views = benchmark.get("views_of_training", {})
    if views:
        said.append(f"views in the training that ended with the weights: {', '.join(f'{row} {count}' for row, count in views.items())}")
    if benchmark.get("views", 1) > 1:
        said.append(f"{MODEL}: its maps are means over {benchmark['views']} views of each image, those of the other rows of one")
    return said + [f"left out: {name}: {reason}" for name, reason in benchmark["left_out"].items()]


def markdown(benchmark: dict[str, Any]) -> str:
    """The whole benchmark for people: the table, what it says, every metric of every split, and the model's strata."""
    version = f"version {benchmark['version']}" if benchmark["version"] else "of no version"
    frames = ", ".join(f"{split} {len(benchmark['images'][split])}" for split in benchmark["splits"])
    over = benchmark["overall"]["mean"]
    intervals = [[row, *(_with(over[row], name) for name in OF_ROW)] for row in over]
    parts = [
        f"# gdotb benchmark {version}: {benchmark['model']}\n",
        f"Frames: {frames}. [low, high]: 95 % intervals from resampling frames within each split.\n",
        markdown_table(*table_of(benchmark)),
        "\n".join(f"- {line}" for line in verdict(benchmark)) + "\n",
        markdown_table(["mean over splits", "instance F1", "crossings resolved"], intervals),
    ]
    for split in benchmark["splits"]:
        parts += [f"## {split}\n", metric_table(benchmark["results"][split]), f"### {split}: {MODEL}\n",
                  strata_markdown(benchmark["results"][split][MODEL])]  # fmt: skip
    return "\n".join(parts)


def current_version(frozen: bool) -> int | None:
    return VERSION if frozen else None


def _with(values: Mapping[str, Any], key: str) -> str:
    interval = values.get(f"{key}_interval")
    return cell(values[key]) + ("" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]")
