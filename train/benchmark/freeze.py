"""`python -m train.benchmark.freeze [splits=[forest]] [network_file=F]`: hashes of the Scenes that a version consists of.

For whoever makes a new version of the benchmark: change configs/benchmark/*.yaml, raise the version there and in
`train.benchmark.splits`, and run this. Nobody else needs it.
"""

from __future__ import annotations

import json
import os
import sys

from tqdm import tqdm

from render.cli import run_command
from render.config import config_directory
from train.benchmark.splits import FRAMES, SPLITS, VERSION, load_split, scene_hash


def main(argv: list[str]) -> None:
    from render.config import compose
    from train.benchmark.__main__ import chosen_splits

    config = compose("benchmark", [*argv, "out=."], ("network_file", "out", "data"))
    file = config_directory() / "benchmark" / f"scenes-v{VERSION}.json"
    for name, network_file in chosen_splits(config):
        split = load_split(name, network_file)
        found = [scene_hash(split.scene(i).to_json()) for i in tqdm(range(FRAMES), desc=name, unit="scene", file=sys.stderr)]
        # Read now: another split may have been frozen meanwhile.
        hashes = (json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}) | {name: found}
        part = file.with_name(f".{file.name}.part")
        part.write_text(json.dumps({n: hashes[n] for n in SPLITS if n in hashes}, indent=0) + "\n", encoding="utf-8")
        os.replace(part, file)
        print(f"{file.name}: {', '.join(hashes)}")


if __name__ == "__main__":
    sys.exit(run_command(main, __doc__))
