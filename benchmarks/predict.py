"""What tracing a micrograph costs: start-up, and 512 x 512 px from reading the file to files written, on one core.

python benchmarks/predict.py [FRAME.png]; processor seconds, the least of several runs: other work disturbs wall time.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"

RUNS = 5


def frame_file(folder: Path) -> Path:
    """A frame of 512 x 512 px: that of the command line, or a pool image of the package, tiled."""
    import numpy as np
    from PIL import Image

    from train.replay import load_pool

    if len(sys.argv) > 1:
        return Path(sys.argv[1])
    image = np.concatenate([np.concatenate([p.image for p in pair], axis=1) for pair in (load_pool()[0:2], load_pool()[2:4])])
    Image.fromarray(image).save(folder / "frame.png")
    return folder / "frame.png"


def least_of(code: str) -> float:
    """Processor seconds of a Python process that runs `code`."""
    seconds = []
    for _ in range(RUNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds)


def main() -> None:
    import torch

    from train.checkpoint import load_model
    from train.predict import find_prepared_lines, predict_files

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = frame_file(Path(folder))
        start = time.process_time()
        loaded = load_model("shipped")
        loading = time.process_time() - start
        whole, tracing = [], []
        for n in range(RUNS):
            start = time.process_time()
            predict_files(str(path), Path(folder) / f"out{n}")
            whole.append(time.process_time() - start)
            from train.io import read_frames

            image = next(read_frames(path)).image
            start = time.process_time()
            find_prepared_lines(loaded, image)
            tracing.append(time.process_time() - start)
    code = (
        "from train.lean_monai import lean_monai\nimport train.predict, render.config\n"
        "with lean_monai():\n    import train.checkpoint\ntrain.checkpoint.load_model(None)"
    )
    start_up, floor = least_of(code), least_of("import torch")
    print(f"start-up: imports and weights, processor s            {start_up:.2f}  (goal 4; python and torch alone {floor:.2f})")
    print(f"{image.shape[1]} x {image.shape[0]}: file in, all files out, processor s      {min(whole) - loading:.2f}  (goal 1)")
    print(f"  of it prepared, maps, traced                        {min(tracing):.2f}")


if __name__ == "__main__":
    main()
