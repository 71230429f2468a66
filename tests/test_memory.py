"""Many frames in one process leave its memory as it was."""

from __future__ import annotations

import subprocess
import sys

import pytest

FRAMES = """
import gc, os
from physics.beam import BeamCondition
from physics.crystal import Crystal
from physics.deposit import Deposit
from physics.dislocation import Dislocation
from physics.foil import Foil
from physics.relief import Relief
from render.scene import Scene
from render.simulate import simulate

def resident_mb():
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

crystal, beam = Crystal.from_material("al"), BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1))

def scene(i):
    line = Dislocation(burgers_uvw=(0.5, 0.5, 0), points_nm=[[-20 + i, -9, 90], [0, i - 20, 0], [15, 20, -90]])
    foil = Foil(thickness_nm=80.0 + i, relief=Relief(seed=i, roughness_nm=1.0))
    return Scene(crystal=crystal, foil=foil, beam=beam, dislocations=(line,), shape=(40 + i % 3, 48), surfaces=False,
                 deposits=(Deposit(centre_nm=(i % 7, 3.0), radius_nm=5.0, thickness_nm=9.0),))

for i in range(50):
    if i == 10:
        before = resident_mb()
    simulate(scene(i))
print("GREW", resident_mb() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_forty_frames_grow_memory_by_a_proportionate_share_of_30_mb():
    done = subprocess.run([sys.executable, "-c", FRAMES], capture_output=True, text=True, check=True)
    grown_mb = float(done.stdout.split("GREW")[1])
    assert grown_mb < 4  # the issue: 30 MB in 300 frames
