"""Many frames in one process leave its memory as it was."""

from __future__ import annotations

import subprocess
import sys

import pytest

FRAMES = """
import gc, os
from render.config import compose
from render.sample import sample
from render.sample_config import SampleConfig
from render.simulate import simulate

def resident_mb():
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

config = SampleConfig.from_dict(compose("render", ["out=x", "shape=[32,40]", "scene=pileup", "material=al", "beam=bf", "foil=flat",
                                                   "foil.thickness_nm=60", "pixel_nm=2", "slice_nm=3", "surfaces=false"]))
scenes = [sample(config, 3, i) for i in range(10)]
for i in range(50):
    if i == 10:
        before = resident_mb()
    simulate(scenes[i % 10])
print("GREW", resident_mb() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_forty_frames_grow_memory_by_a_proportionate_share_of_30_mb():
    done = subprocess.run([sys.executable, "-c", FRAMES], capture_output=True, text=True, check=True)
    grown_mb = float(done.stdout.split("GREW")[1])
    assert grown_mb < 8  # the issue: 30 MB in 300 frames, 4 MB in 40; as much again for what is loaded late
