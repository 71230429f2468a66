"""What a fine-tuning brought to images that it had not seen: loo.json and report.html of a leave-one-image-out run."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from train.annotated import AnnotatedImage
from train.checkpoint import replace_file
from train.metrics import ImageScore, summarise
from train.overlay import overlay
from train.report import Page

SHOWN = (("completeness", "length found"), ("correctness", "length right"), ("centreline_f1", "centreline F1"), ("instance_f1", "instance F1"))
Fold = tuple[AnnotatedImage, ImageScore, Sequence[Any], ImageScore, Sequence[Any]]  # scores and lines before, after


def write_loo_report(out: Path, folds: Sequence[Fold], label: str) -> None:
    """Write loo.json and report.html into the folder `out`; `folds` are (image, score, lines, score, lines), before and after."""
    before, after = summarise([f[1] for f in folds]), summarise([f[3] for f in folds])
    each = [{"image": f[0].name, "before": summarise([f[1]], bootstrap=0), "after": summarise([f[3]], bootstrap=0)} for f in folds]
    replace_file(out / "loo.json", json.dumps({"model": label, "before": before, "after": after, "images": each}, indent=1).encode())
    page = Page("Fine-tuning, judged on images left out")
    page.text(f"The network “{label}” was fine-tuned as often as there are images with lines, each time without one; that one was then traced. "
              "A line counts as found when 70 % of it and of its prediction lie within 3 px of each other, one to one. Frames of one video are "
              "alike: leaving one out says little about another specimen.")  # fmt: skip
    page.table(("", "before", "after"), [(name, _percent(before, key), _percent(after, key)) for key, name in SHOWN])
    header = ["image"] + [f"{name}, {when}" for _, name in SHOWN for when in ("before", "after")]
    page.table(header, [[e["image"]] + [_percent(e[when], key) for key, _ in SHOWN for when in ("before", "after")] for e in each])
    if not all(f[0].sample.truth.complete for f in folds):
        page.text("Where only some lines are labelled, only the length found can be judged.")
    for image, _, old, _, new in folds:
        truth = image.sample.truth.curves_px
        panels = [overlay(image.sample.image, lines, smallest_px=320) for lines in (truth, old, new)]
        rows = np.concatenate(panels, axis=1 if panels[0].shape[0] >= panels[0].shape[1] else 0)
        picture = Image.fromarray(rows)
        picture.thumbnail((1600, 1600))
        jpeg = io.BytesIO()
        picture.save(jpeg, format="jpeg", quality=85)
        page.photograph(jpeg.getvalue(), f"{image.name}: the annotation, before, after")
    page.write(out / "report.html")


def _percent(summary: dict[str, Any], key: str) -> str:
    value, interval = summary.get(key), summary.get(f"{key}_interval")
    if value is None:
        return "–"
    return f"{value:.1%}" + (f" [{interval[0]:.0%}, {interval[1]:.0%}]" if interval else "")
