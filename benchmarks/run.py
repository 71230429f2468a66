"""Every benchmark as a table, error beside the time, and as JSON in benchmarks/results/."""

from __future__ import annotations

import dataclasses
import json
import platform
import sys
from pathlib import Path

import anisotropic
import anisotropic_surfaces
import decode
import field
import foils
import gpu
import images
import labels
import many_beam
import network
import numba
import numpy as np
import scaling
import surfaces
import training

HERE = Path(__file__).resolve().parent


def main() -> int:
    scripts = (
        field, images, anisotropic, many_beam, surfaces, anisotropic_surfaces, foils, network, gpu, labels, training, decode,
        scaling,
    )  # fmt: skip
    rows = [row for script in scripts for row in script.rows()]
    width = max(len(row.case) for row in rows)
    print(f"{'case':<{width}}  {'wall s':>8}  {'CPU s':>8}  {'allowed':>8}  error")
    for row in rows:
        allowed = "" if row.allowed_s is None else f"{row.allowed_s:g}"
        print(f"{row.case:<{width}}  {row.wall_s:8.4f}  {row.cpu_s:8.4f}  {allowed:>8}  {row.error}")
    results = {
        "threads": numba.get_num_threads(),
        "machine": platform.machine(),
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "numba": numba.__version__},
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    (folder / "benchmarks.json").write_text(json.dumps(results, indent=2) + "\n")
    late = [row.case for row in rows if row.allowed_s is not None and row.wall_s > row.allowed_s]
    for case in late:
        print(f"slower than promised: {case}", file=sys.stderr)
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
