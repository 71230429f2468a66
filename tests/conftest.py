"""Made-up micrographs and datasets of them, for tests of what is stored rather than of what is simulated."""

from pathlib import Path

import numpy as np
import pytest

from physics.beam import BeamCondition
from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.foil import Foil
from render.card import card, header, split_indices, summary
from render.detector import Detector, expose
from render.micrograph import Distractor, Line, Micrograph
from render.scene import Scene
from render.shards import Plan, create_dataset, finish_dataset, shard_attributes, write_shard

SHAPE = (24, 40)
AL = Crystal.from_material("al")
BEAM = BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1))
COUNTS = (3, 0, 2, 1, 4)  # lines an image; an image without lines is a case of its own


def micrograph(index, lines, distractors=()):
    """A made-up micrograph: straight labels that cross, a scene with the same dislocations."""
    rng = np.random.default_rng(index)
    labels = []
    for l in range(lines):
        points = rng.uniform(-5, 45, (3 + l, 2)).astype(np.float32)
        k = len(points)
        contrast = rng.uniform(-0.3, 0.1, k).astype(np.float32)
        labels.append(Line(
            points_px=points, half_width_px=rng.uniform(1, 4, k).astype(np.float32), contrast=contrast,
            depth_nm=rng.uniform(0, 100, k).astype(np.float32), core_px=points + np.float32(0.25), burgers_uvw=(0.5, 0.5, 0.0),
            plane_hkl=(1, -1, 1), g_dot_b=1.0, visible=np.abs(contrast) >= 0.02, kind=("perfect", "dipole")[l % 2],
        ))  # fmt: skip
    dislocations = [Dislocation(burgers_uvw=(0.5, 0.5, 0), points_nm=[[-500, y, 0], [500, -y, 1]]) for y in range(lines)]
    scene = Scene(crystal=AL, foil=Foil(thickness_nm=100), beam=BEAM, dislocations=dislocations, shape=SHAPE,
                  detector=Detector(noise_seed=index))  # fmt: skip
    intensity = rng.uniform(0.2, 0.8, SHAPE).astype(np.float32)
    return Micrograph(image=expose(intensity, scene.detector), intensity=intensity, lines=tuple(labels), scene=scene,
                      distractors=tuple(distractors))  # fmt: skip


def particles():
    mask = np.zeros(SHAPE, bool)
    mask[3:9, 4:7] = True
    return (Distractor(kind="particle", mask=mask), Distractor(kind="slip_trace", points_px=np.array([[0, 1], [5, 5.5]])))


@pytest.fixture
def one_torch_thread():
    """torch on one thread: the tests' networks are too small for more."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def micrographs():
    """Five images with 3, 0, 2, 1 and 4 lines; the third has distractors."""
    return [micrograph(i, n, particles() if i == 2 else ()) for i, n in enumerate(COUNTS)]


def write_dataset(path, micrographs, *, shard=2, keep_intensity=True, order=None):
    plan = Plan(n=len(micrographs), shape=SHAPE, shard=shard, keep_intensity=keep_intensity)
    attributes = header({"shape": list(SHAPE)}, plan, seed=5)
    split = split_indices(plan.n, 5)
    create_dataset(path, plan, attributes, split)
    for k in order or range(plan.shards):
        members = [micrographs[i] for i in plan.images(k)]
        write_shard(path, plan, k, members, summary(members))
    summaries = [shard_attributes(path, k) for k in range(plan.shards)]
    finish_dataset(path, {**attributes, "state": "complete", "card": card(attributes, summaries, {k: len(v) for k, v in split.items()})})
    return path


@pytest.fixture(scope="session")
def write():
    """write(path, micrographs, shard=2, keep_intensity=True, order=None): a finished dataset."""
    return write_dataset


@pytest.fixture(scope="session")
def made_up(tmp_path_factory, micrographs) -> Path:
    """A finished dataset of the five micrographs, not to be changed."""
    return write_dataset(tmp_path_factory.mktemp("store") / "a (1) #é::x.zarr", micrographs)
