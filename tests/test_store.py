import dataclasses
import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zarr
from pycocotools import mask as coco_mask

from physics.errors import InputError
from render.card import header, split_indices
from render.micrograph import Line
from render.ragged import lines_of, pack
from render.shards import (
    Plan,
    create_dataset,
    default_shard,
    finished_shards,
    shard_attributes,
    write_shard,
)
from render.store import open_dataset

SHAPE = (24, 40)  # of the made-up micrographs in conftest.py
COUNTS = (3, 0, 2, 1, 4)


@pytest.fixture(scope="module")
def dataset(made_up):
    return open_dataset(made_up)


def same_line(a, b):
    return all(
        np.array_equal(getattr(a, f.name), getattr(b, f.name))
        and np.asarray(getattr(a, f.name)).dtype == np.asarray(getattr(b, f.name)).dtype
        for f in dataclasses.fields(Line)
    )


def files_of(path):
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_what_is_read_is_what_was_written(dataset, micrographs):
    assert len(dataset) == len(micrographs)
    for got, want in zip(dataset, micrographs):
        assert got.image.dtype == np.uint16 and np.array_equal(got.image, want.image)
        assert got.intensity.dtype == np.float32 and np.array_equal(got.intensity, want.intensity)
        assert got.masks.shape == (len(want.lines), *SHAPE) and np.array_equal(got.masks, want.masks)
        assert len(got.lines) == len(want.lines) and all(map(same_line, got.lines, want.lines))
        assert got.scene.to_json() == want.scene.to_json() and got.pixel_nm == want.pixel_nm


def test_distractors_come_back_as_curves_and_areas(dataset, micrographs):
    area, curve = dataset[2].distractors
    assert area.kind == "particle" and area.points_px is None and np.array_equal(area.mask, micrographs[2].distractors[0].mask)
    assert curve.kind == "slip_trace" and curve.mask is None and curve.points_px.tolist() == [[0, 1], [5, 5.5]]
    assert dataset[0].distractors == () and dataset[4].distractors == ()


def test_plain_zarr_and_pycocotools_read_every_image_and_mask(dataset, micrographs):
    root = zarr.open_group(dataset.path, mode="r")
    assert root["image"].shape == (5, *SHAPE) and root["image"].chunks == (1, *SHAPE) and root["image"].shards == (2, *SHAPE)
    assert np.array_equal(root["image"][3], micrographs[3].image)
    shard = root["labels/00001"]  # images 2 and 3
    lines, counts, starts = (shard[name][...] for name in ("line_offsets", "mask_rle", "mask_rle_offsets"))
    for l in range(lines[0], lines[1]):
        rle = {"size": list(SHAPE), "counts": counts[starts[l] : starts[l + 1]].tobytes()}
        assert np.array_equal(coco_mask.decode(rle), micrographs[2].masks[l])


def test_every_chunk_carries_its_checksum(dataset):
    for path in dataset.path.rglob("zarr.json"):
        metadata = json.loads(path.read_text())
        if metadata["node_type"] == "array":
            assert '"crc32c"' in json.dumps(metadata["codecs"]), path


def test_the_bytes_of_the_store_do_not_depend_on_the_order_of_the_shards(dataset, micrographs, write, tmp_path):
    again = write(tmp_path / "b.zarr", micrographs, order=(2, 0, 1))
    assert files_of(again) == files_of(dataset.path)


def test_a_shard_appears_whole_or_not_at_all(micrographs, tmp_path, monkeypatch):
    plan = Plan(n=4, shape=SHAPE, shard=2)
    path = tmp_path / "a.zarr"
    create_dataset(path, plan, header({}, plan, 0), split_indices(4, 0))
    monkeypatch.setattr("render.shards._commit", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_shard(path, plan, 0, micrographs[:2], {})
    assert finished_shards(path, plan) == [] and not any((path / ".staging").iterdir())
    monkeypatch.undo()
    write_shard(path, plan, 0, micrographs[:2], {})
    assert finished_shards(path, plan) == [0]


def test_two_writers_of_one_shard_leave_the_bytes_of_one(micrographs, tmp_path):
    plan = Plan(n=4, shape=SHAPE, shard=2)
    path = tmp_path / "a.zarr"
    create_dataset(path, plan, header({}, plan, 0), split_indices(4, 0))
    write_shard(path, plan, 1, micrographs[2:4], {})
    before = files_of(path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: write_shard(path, plan, 1, micrographs[2:4], {}), range(8)))
    assert files_of(path) == before


def test_different_shards_share_no_file(dataset):
    plan = Plan(n=5, shape=SHAPE, shard=2)
    owned = [set(shard_attributes(dataset.path, k)["sha256"]) for k in range(plan.shards)]
    assert all(not a & b for i, a in enumerate(owned) for b in owned[:i])
    everything = {p for p in files_of(dataset.path) if not p.endswith("zarr.json") and not p.startswith("split/")}
    assert everything <= set().union(*owned)


def test_a_label_that_would_lose_digits_is_not_stored(micrographs):
    line = dataclasses.replace(micrographs[0].lines[0], half_width_px=np.full(3, 1.1))
    with pytest.raises(TypeError, match="half_width_px"):
        pack([dataclasses.replace(micrographs[0], lines=(line,))])


def test_images_without_lines_are_packed(micrographs):
    arrays, names = pack([micrographs[1]])
    assert arrays["points_px"].shape == (0, 2) and lines_of(arrays, names, 0) == ()


def test_intensity_can_be_left_out(micrographs, write, tmp_path):
    dataset = open_dataset(write(tmp_path / "a.zarr", micrographs, keep_intensity=False))
    assert dataset[0].intensity is None and not (dataset.path / "intensity").exists()


def test_indices_count_from_both_ends(dataset, micrographs):
    assert np.array_equal(dataset[-1].image, micrographs[-1].image)
    assert [m.scene.detector.noise_seed for m in dataset[1:4]] == [1, 2, 3]
    assert [m.scene.detector.noise_seed for m in dataset[[4, 0]]] == [4, 0]
    for wrong in (5, -6):
        with pytest.raises(IndexError, match=r"lie in \[-5, 4\]"):
            dataset[wrong]


def test_splits_hold_every_image_once(dataset):
    parts = [dataset.split(name) for name in ("train", "val", "test")]
    assert sorted(part.index(i) for part in parts for i in range(len(part))) == list(range(5))
    assert all(len(part) for part in parts)
    assert len(dataset[:2].split("train")) + len(dataset[:2].split("val")) + len(dataset[:2].split("test")) == 2
    with pytest.raises(InputError, match="split must be one of test, train, val, got best"):
        dataset.split("best")


@pytest.mark.parametrize("n, together", [(1, 1), (3, 1), (100, 1), (24, 4), (1000, 3)])
def test_views_of_one_specimen_stay_in_one_split(n, together):
    split = split_indices(n, 7, together)
    assert np.array_equal(np.sort(np.concatenate(list(split.values()))), np.arange(n))
    specimens = [set((members // together).tolist()) for members in split.values()]
    assert not specimens[0] & specimens[1] and not specimens[0] & specimens[2] and not specimens[1] & specimens[2]
    assert len(split["train"]) >= max(len(split["val"]), len(split["test"]))


def test_the_card_counts_what_is_there(dataset, micrographs):
    assert dataset.card["counts"] == {"images": 5, "lines": sum(COUNTS), "distractors": 2,
                                      "visible_lines": sum(bool(l.visible.any()) for m in micrographs for l in m.lines)}  # fmt: skip
    assert dataset.card["tallies"]["g_hkl"] == {"2 0 0": 5}
    assert dataset.card["ranges"]["thickness_nm"] == [100, 100]
    assert dataset.attributes["versions"]["numpy"] == np.__version__


def test_a_dataset_survives_pickling_and_threads(dataset, micrographs):
    again = pickle.loads(pickle.dumps(dataset.split("train")))
    assert len(again) == len(dataset.split("train")) and again[0].image.shape == SHAPE
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda i: dataset[i % 5].image, range(20)))
    assert all(np.array_equal(image, micrographs[i % 5].image) for i, image in enumerate(images))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_reads_a_dataset_that_its_parent_has_read(dataset):
    wanted = int(dataset.image(1).sum())
    dataset.lines(1)
    read, written = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(written, str(int(dataset.image(1).sum())).encode())
            dataset.lines(3)
        finally:
            os._exit(0)
    os.close(written)
    with os.fdopen(read) as pipe:
        assert int(pipe.read()) == wanted
    os.waitpid(child, 0)


def test_labels_are_read_only(dataset):
    with pytest.raises(ValueError, match="read-only"):
        dataset.lines(0)[0].points_px[0] = 0


@pytest.mark.parametrize("make, message", [
    (lambda p: None, "must be a dataset, got nothing there"),
    (lambda p: p.write_text("x"), "must be a dataset, got a file"),
    (lambda p: p.mkdir(), "must be a dataset written by python -m render"),
    (lambda p: zarr.open_group(str(p), mode="w"), "must be a dataset written by python -m render"),
    (lambda p: zarr.open_group(str(p), mode="w", attributes={"gdotb": {"schema": 99}}), "must have schema 2, got 99"),
])  # fmt: skip
def test_what_is_not_a_dataset_is_refused(tmp_path, make, message):
    make(tmp_path / "x.zarr")
    with pytest.raises(InputError, match=message):
        open_dataset(tmp_path / "x.zarr")


def test_an_unfinished_dataset_is_refused(tmp_path):
    plan = Plan(n=4, shape=SHAPE, shard=2)
    create_dataset(tmp_path / "a.zarr", plan, header({}, plan, 0), split_indices(4, 0))
    with pytest.raises(InputError, match="must be a finished dataset"):
        open_dataset(tmp_path / "a.zarr")


def test_shards_suit_the_number_and_size_of_images():
    assert default_shard(6, (192, 256)) == 4 and default_shard(10_000, (512, 512)) == 64
    assert default_shard(640, (512, 512)) == 20  # 32 shards for workers to share
    assert default_shard(10_000, (4096, 4096)) * 4096**2 * 6 <= 256 * 2**20
    assert default_shard(10, (16384, 16384)) == 1


def test_importing_render_is_light():
    code = (
        "import sys, render; heavy = {'bpy', 'dask', 'hydra', 'zarr', 'torch'} & set(sys.modules); assert not heavy, heavy;"
        "import render.simulate, render.sample; from render import sample, simulate, Scene, open_dataset;"
        "assert callable(sample) and callable(simulate)"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=120)
