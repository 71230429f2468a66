"""The first picture of README.md: `python docs/front_picture.py`, docs/front.png, of one frame that no network was trained on.

Needs Blender's bpy; the network's lines are those of the shipped weights.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from render import sample, simulate
from render.config import compose
from render.sample_config import SampleConfig
from render.view import picture
from train.checkpoint import SHIPPED
from train.demo_pictures import one_image_told

PATH = Path(__file__).resolve().parent / "front.png"
OVERRIDES = ("out=none", "shape=[256,256]", "scene=realistic", "material=si", "beam=bf", "beam.g_hkl=[-1,-1,1]", "beam.zone_axis_uvw=[1,1,2]",
             "beam.s_inv_nm=0.019", "beam.convergence_mrad=0", "foil.thickness_nm=200", "pixel_nm=2.2", "scene.fault_bands.count=0", "surroundings.edge_share=0",
             "surroundings.hole_share=0", "surroundings.boundary_share=0", "surroundings.tear_share=0", "detector=clean", "detector.dose_e_per_px=2000")  # fmt: skip
SEED = 5


def main(seed: int = SEED) -> int:
    micrograph = simulate(sample(SampleConfig.from_dict(compose("render", list(OVERRIDES), ("out",))), seed))
    with tempfile.TemporaryDirectory() as folder:
        in_3d = Path(folder) / "scene.png"
        picture(micrograph.scene, in_3d, image=micrograph.image)
        one_image_told(in_3d, micrograph, SHIPPED, PATH)
    print(PATH)
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
