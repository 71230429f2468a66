"""`python -m render out=A.zarr n=64 seed=7 …`: a dataset of micrographs."""

from __future__ import annotations

import sys

from render.cli import run_command

USAGE = """\
python -m render out=A.zarr [n=64] [seed=7] [workers=2] [shape=[512,512]] [scene=realistic] [material=al] [beam=bf] …

Renders n micrographs with exact labels into a zarr dataset. The same command resumes an interrupted one; the bytes
depend on the configuration and the seed alone. workers=0: in this process; workers=k: on k processes;
scheduler=tcp://…: on a running dask cluster. A value can be fixed (foil.thickness_nm=120), or drawn for every image:
{uniform:[a,b]}, {log_uniform:[a,b]}, {normal:[mean,sigma]}, {integers:[a,b]}, {choice:[…]} (quote it from the shell).

  python -m render out=A.zarr n=64 workers=2 scene=pileup material=cu 'beam.g_hkl=[1,1,1]'
  python -m render out=N.zarr n=8 scene=network scene.file=rs1417.data scene.burgers_nm=0.286
  python -m render out=P.zarr n=64 scene=stroke2d scene.backgrounds=my_frames
  python -m render out=S.zarr scene=file scene.file=scene.json 'beam.series=[[2,0,0],[0,2,0]]'
  python -m render out=B.zarr scene=file scene.file=edited.blend
"""
PATH_KEYS = ("out", "scene.file", "scene.backgrounds", "scheduler", "foil_library")


def main(argv: list[str]) -> None:
    from render.bulk import render_dataset
    from render.config import compose
    from render.sample_config import BULK_KEYS
    from render.store import open_dataset

    config = compose("render", argv, PATH_KEYS)
    how = {key: config[key] for key in BULK_KEYS if key in config}
    if config["scene"].get("kind") == "file" and not any(argument.startswith("n=") for argument in argv):
        # A given scene has nothing to draw: one image, or one for each condition of the series.
        how["n"] = max(1, len(config["beam"].get("series") or ()))
    path = render_dataset(config, how.pop("out"), **how)
    counts = open_dataset(path).card["counts"]
    print(f"{path}: {counts['images']} images, {counts['lines']} lines, {counts['visible_lines']} of them visible")


def usage() -> str:
    from render.config import describe

    return f"{USAGE}\n{describe('render')}"


if __name__ == "__main__":
    sys.exit(run_command(main, usage))
