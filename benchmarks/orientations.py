"""How many orientation layers: the score of tracing perfect maps against K, and what the layers cost.

`python benchmarks/orientations.py A.zarr [images]`: the score bounds what any network with that K can reach.
"""

from __future__ import annotations

import sys
import time

from render import open_dataset
from train.dataset import StoredImages
from train.metrics import score_image, summarise, truth_of
from train.targets import TargetSettings, crossing_map, target_maps
from train.trace import trace_lines

COUNTS = (16, 24, 32)


def main(path: str, images: str = "24") -> int:
    dataset = open_dataset(path)
    numbers = range(min(int(images), len(dataset)))
    source = StoredImages(dataset, 0)
    print(f"{'K':>3}  {'instance F1':>11}  {'crossings resolved':>18}  {'target ms':>9}  {'tracing ms':>10}   ({len(numbers)} images)")
    for orientations in COUNTS:
        settings = TargetSettings(orientations=orientations)
        scores, draw_s, trace_s = [], [], []
        for number in numbers:
            curves = source.labelled(number).curves
            begun = time.process_time()
            maps = target_maps(curves, dataset.shape, settings)
            crossing_map(maps.lift)
            drawn = time.process_time()
            lines = trace_lines(maps)
            trace_s.append(time.process_time() - drawn)
            draw_s.append(drawn - begun)
            scores.append(score_image(lines, truth_of(dataset.lines(number), dataset.shape), dataset.shape))
        summary = summarise(scores, bootstrap=0)
        middle = len(numbers) // 2
        print(f"{orientations:3d}  {summary['instance_f1']:11.3f}  {summary['crossings_resolved']:18.3f}  "
              f"{1e3 * sorted(draw_s)[middle]:9.1f}  {1e3 * sorted(trace_s)[middle]:10.1f}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
