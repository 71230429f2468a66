"""Claim: a 512 x 512 realistic frame takes 0.8 s on one core with a library foil and 2 s with one that Cycles casts anew;
300 frames in one process add at most 30 MB to its memory."""

from __future__ import annotations

import dataclasses
import gc
import os
import tempfile
import time
from collections.abc import Iterator

import numba
import numpy as np
from timing import Row

from render.blender import renderer_name
from render.config import compose
from render.intensity import noise_free_intensity
from render.sample import sample
from render.sample_config import SampleConfig
from render.scene import Scene
from render.simulate import simulate
from render.specimen import Specimen

SEED, FRAMES, FRAMES_OF_MEMORY, DIFFERENT = 11, 6, 300, 30
FINE_NM = 0.5
SHARE_OF_PAGE = os.sysconf("SC_PAGE_SIZE") / 1e6


def rows() -> list[Row]:
    try:
        renderer_name()
    except ValueError as missing:
        return [Row(case="realistic frame, 512 x 512, Blender's foil", wall_s=0.0, cpu_s=0.0, error=f"not run: {missing}")]
    with tempfile.TemporaryDirectory() as library:
        scenes = list(realistic_scenes(FRAMES, (512, 512), "bpy"))
        simulate(scenes[0])  # compiles, and starts Blender
        threads = numba.get_num_threads()
        numba.set_num_threads(1)
        try:
            cold, _ = _median(scenes, library)
            warm, cpu = _median(scenes, library)
        finally:
            numba.set_num_threads(threads)
        plain = list(realistic_scenes(FRAMES, (512, 512), "numpy"))
        fresh, fresh_cpu = _median(plain, None)
        rms, most = slicing_error(plain)
    grown_mb, seconds = memory_growth_mb(FRAMES_OF_MEMORY, (192, 192))
    return [
        Row(case="realistic frame, 512 x 512, one core, foil from the library", wall_s=warm, cpu_s=cpu, error="median of 6 scenes", allowed_s=0.8),
        Row(case="the same, foil cast by Cycles", wall_s=cold, cpu_s=cpu, error="median of 6 scenes; CPU without Blender's own", allowed_s=2.0),
        Row(case="the same, foil by numpy, all cores", wall_s=fresh, cpu_s=fresh_cpu,
            error=f"median of 6 scenes; before the camera {rms:.0e} rms, {most:.0e} max of background from slices of {FINE_NM} nm"),
        Row(case=f"{FRAMES_OF_MEMORY} realistic frames of 192 x 192 in one process", wall_s=seconds, cpu_s=seconds,
            error=f"memory grew by {grown_mb:.0f} MB; 30 allowed"),
    ]  # fmt: skip


def realistic_scenes(count: int, shape: tuple[int, int], renderer: str) -> Iterator[Scene]:
    """Scenes as `python -m render scene=realistic` draws them."""
    config = SampleConfig.from_dict(compose("render", ["out=none", f"shape=[{shape[0]},{shape[1]}]", f"foil_renderer={renderer}"]))
    for i in range(count):
        yield sample(config, SEED, i)


def slicing_error(scenes: list[Scene]) -> tuple[float, float]:
    """Of the worst scene, rms and largest change of the noise-free image with slices of FINE_NM, over its background."""
    errors = []
    for scene in scenes:
        specimen = Specimen.of(scene)
        fine = noise_free_intensity(dataclasses.replace(scene, slice_nm=FINE_NM), specimen)
        error = (noise_free_intensity(scene, specimen) - fine) / np.median(fine)
        errors.append((float(np.sqrt(np.mean(error**2))), float(np.abs(error).max())))
    rms, most = zip(*errors)
    return max(rms), max(most)


def memory_growth_mb(frames: int, shape: tuple[int, int], settle: int = 20) -> tuple[float, float]:
    """By how much the resident memory grows from frame `settle` to frame `settle + frames`, and the seconds it took."""
    start_mb, begun = 0.0, 0.0
    scenes = list(realistic_scenes(DIFFERENT, shape, "numpy"))
    for i in range(settle + frames):
        if i == settle:
            start_mb, begun = _resident_mb(), time.perf_counter()
        simulate(scenes[i % DIFFERENT])
    return _resident_mb() - start_mb, time.perf_counter() - begun


def _resident_mb() -> float:
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * SHARE_OF_PAGE


def _median(scenes: list[Scene], library: str | None) -> tuple[float, float]:
    """Median wall and processor seconds a scene."""
    took = []
    for scene in scenes:
        wall, cpu = time.perf_counter(), time.process_time()
        simulate(scene, library)
        took.append((time.perf_counter() - wall, time.process_time() - cpu))
    walls, cpus = (sorted(column) for column in zip(*took))
    return walls[len(walls) // 2], cpus[len(cpus) // 2]


if __name__ == "__main__":
    for row in rows():
        print(f"{row.case}: wall {row.wall_s:.2f} s, CPU {row.cpu_s:.2f} s; {row.error}")
