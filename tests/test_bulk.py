import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from physics.errors import InputError
from render import card
from render.bulk import render_dataset
from render.config import compose
from render.sample import SampleConfig, sample
from render.shards import STAGING, file_sha256
from render.simulate import simulate
from render.store import open_dataset

# Small, thin and coarse: what is tested here is the bookkeeping.
CHEAP = ["shape=[32,40]", "scene=pileup", "material=al", "beam=bf", "foil=flat", "foil.thickness_nm=60", "slice_nm=3", "pixel_nm=2"]
N, SEED, SHARD = 6, 11, 2


def config(*overrides):
    return compose("render", ["out=x", *CHEAP, *overrides], ("out", "scene.file"))


def files_of(path):
    return {p.relative_to(path).as_posix(): file_sha256(p) for p in path.rglob("*") if p.is_file()}


def render(out, **changes):
    return render_dataset(config(), out, **({"n": N, "seed": SEED, "shard": SHARD, "progress": False} | changes))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return render(tmp_path_factory.mktemp("bulk") / "a.zarr")


def test_image_i_is_a_function_of_configuration_seed_and_i(undisturbed):
    dataset = open_dataset(undisturbed)
    for i in (0, 3):
        again = simulate(sample(SampleConfig.from_dict(config()), SEED, i))
        assert np.array_equal(again.image, dataset[i].image) and np.array_equal(again.intensity, dataset[i].intensity)
        assert np.array_equal(again.masks, dataset[i].masks)
        assert all(np.array_equal(a.points_px, b.points_px) for a, b in zip(again.lines, dataset[i].lines))
    assert len({m.image.tobytes() for m in dataset}) == N


def test_another_seed_gives_other_bytes(undisturbed, tmp_path):
    other = open_dataset(render(tmp_path / "b.zarr", seed=SEED + 1, n=1))
    assert not np.array_equal(other[0].image, open_dataset(undisturbed)[0].image)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_file_is_the_same_for_any_number_of_workers(undisturbed, tmp_path, workers):
    assert files_of(render(tmp_path / "b.zarr", workers=workers)) == files_of(undisturbed)


def test_workers_leave_the_environment_of_this_process_alone(tmp_path):
    before = dict(os.environ)
    render(tmp_path / "a.zarr", n=1, workers=1)
    assert dict(os.environ) == before


def test_a_running_cluster_renders_the_same_bytes(undisturbed, tmp_path):
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0",
                      scheduler_port=0, protocol="tcp") as cluster:  # fmt: skip
        assert files_of(render(tmp_path / "b.zarr", scheduler=cluster.scheduler_address)) == files_of(undisturbed)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_resumes_to_the_bytes_of_an_undisturbed_one(undisturbed, tmp_path, workers):
    out = tmp_path / "killed.zarr"
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "render", f"out={out}", f"n={N}", f"seed={SEED}", f"shard={SHARD}", f"workers={workers}", *CHEAP],
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not any((out / "labels").glob("0*")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {p.name: p.stat().st_mtime_ns for p in (out / "labels").glob("0*")}
    assert 0 < len(kept) < N // SHARD, "the run was not caught in the middle"
    # What a kill in the middle of a write leaves behind.
    (out / STAGING / "00001-0badc0de").mkdir(parents=True, exist_ok=True)
    (out / STAGING / "00001-0badc0de" / "half").write_bytes(b"x")
    (out / "image" / "c" / "2" / "0").mkdir(parents=True, exist_ok=True)
    if not (out / "labels" / "00002").exists():
        (out / "image" / "c" / "2" / "0" / "0").write_bytes(b"half a shard")
    render(out)
    assert files_of(out) == files_of(undisturbed)
    assert all((out / "labels" / name).stat().st_mtime_ns == made for name, made in kept.items()), "a finished shard was made again"


def test_a_finished_dataset_is_left_alone(undisturbed):
    before = {p: p.stat().st_mtime_ns for p in undisturbed.rglob("*")}
    render(undisturbed)
    assert {p: p.stat().st_mtime_ns for p in undisturbed.rglob("*")} == before


@pytest.mark.parametrize("changes, message", [
    ({"seed": SEED + 1}, "which holds another dataset .seed is 11 there"),
    ({"n": N + 1}, "which holds another dataset .n is 6 there"),
    ({"shard": 3}, "which holds another dataset .shard is 2 there"),
    ({"keep_intensity": False}, "which holds another dataset .keep_intensity is True there"),
])  # fmt: skip
def test_a_path_that_holds_another_dataset_is_refused(undisturbed, changes, message):
    before = files_of(undisturbed)
    with pytest.raises(InputError, match=message):
        render(undisturbed, **changes)
    assert files_of(undisturbed) == before


def test_a_path_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="which holds something else"):
        render(tmp_path)
    with pytest.raises(InputError, match="out must be a new path or a dataset, got the file"):
        render(tmp_path / "notes.txt")
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_an_empty_folder_is_as_good_as_none(tmp_path):
    assert len(open_dataset(render(tmp_path, n=1))) == 1


@pytest.mark.parametrize("changes, message", [
    ({"n": 0}, "n must be a whole number >= 1, got 0"),
    ({"n": 2.5}, "n must be a whole number >= 1, got 2.5"),
    ({"n": None}, "n must be a whole number >= 1, got None"),
    ({"seed": -1}, "seed must be a whole number >= 0, got -1"),
    ({"workers": -1}, "workers must be a whole number >= 0, got -1"),
    ({"shard": 0}, "shard must be a whole number >= 1, got 0"),
    ({"keep_intensity": "maybe"}, "keep_intensity must be true or false, got maybe"),
    ({"scheduler": "tcp://127.0.0.1:1"}, "scheduler must be the address of a running dask scheduler"),
])  # fmt: skip
def test_bad_input_is_refused_and_leaves_nothing(tmp_path, changes, message, monkeypatch):
    monkeypatch.setattr("render.bulk.CONNECT_SECONDS", 1)
    with pytest.raises(InputError, match=message):
        render(tmp_path / "b.zarr", **changes)
    assert not any(tmp_path.iterdir())


def interrupt(monkeypatch, at, error):
    """Let the sampling of image `at` fail."""
    from render import bulk

    def failing(sampling, seed, index):
        if index == at:
            raise error
        return sample(sampling, seed, index)

    monkeypatch.setattr(bulk, "sample", failing)


def test_a_scene_that_cannot_be_names_its_image_and_leaves_nothing(tmp_path, monkeypatch):
    interrupt(monkeypatch, 1, InputError("beam.g_hkl must be allowed, got [1, 0, 0]"))
    with pytest.raises(InputError, match="image 1: beam.g_hkl must be allowed"):
        render(tmp_path / "b.zarr")
    assert not any(tmp_path.iterdir())


def test_a_refusal_late_in_a_run_does_not_throw_finished_work_away(tmp_path, monkeypatch):
    interrupt(monkeypatch, 3, InputError("beam.g_hkl must be allowed, got [1, 0, 0]"))
    with pytest.raises(InputError, match="image 3: beam.g_hkl must be allowed"):
        render(tmp_path / "b.zarr")
    assert (tmp_path / "b.zarr" / "labels" / "00000" / "zarr.json").exists()


def test_a_dataset_begun_with_other_versions_is_not_mixed(undisturbed, tmp_path, monkeypatch):
    from render import card

    interrupt(monkeypatch, 2, OSError("the disk is full"))
    with pytest.raises(OSError, match="the disk is full"):
        render(tmp_path / "b.zarr")
    monkeypatch.undo()
    monkeypatch.setattr(card, "versions", lambda device="cpu": {**open_dataset(undisturbed).attributes["versions"], "numpy": "0.1"})
    with pytest.raises(InputError, match="out must be finished with numpy .*, which began it, got numpy 0.1"):
        render(tmp_path / "b.zarr")
    monkeypatch.undo()
    assert files_of(render(tmp_path / "b.zarr")) == files_of(undisturbed)


def test_two_commands_do_not_render_one_dataset_at_once(tmp_path, monkeypatch):
    from render.bulk import _alone

    interrupt(monkeypatch, 2, OSError("the disk is full"))
    with pytest.raises(OSError, match="the disk is full"):
        render(tmp_path / "b.zarr")
    monkeypatch.undo()
    with _alone(tmp_path / "b.zarr"):
        with pytest.raises(InputError, match="must not be rendered by two commands at once"):
            render(tmp_path / "b.zarr")


def test_the_file_of_a_scene_counts_by_its_content(tmp_path):
    scene = sample(SampleConfig.from_dict(config()), SEED, 0)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "scene.json").write_text(scene.to_json())
    own = ["shape=[32,40]", "scene=file"]

    def of(folder):
        values = compose("render", ["out=x", *own, f"scene.file={tmp_path / folder / 'scene.json'}"], ("out", "scene.file"))
        return render_dataset(values, tmp_path / "x.zarr", n=1, progress=False)

    before = files_of(of("a"))
    assert files_of(of("b")) == before and open_dataset(tmp_path / "x.zarr").attributes["inputs"]["scene.file"]["name"] == "scene.json"
    (tmp_path / "b" / "scene.json").write_text(scene.replace(visible_contrast=0.5).to_json())
    with pytest.raises(InputError, match="which holds another dataset"):
        of("b")


@pytest.mark.parametrize(("renderer", "package", "binds"), [
    ("numpy", "xraydb", True), ("bpy", "xraydb", True), ("bpy", "bpy", True), ("numpy", "bpy", False), ("bpy", "zarr", False),
])  # fmt: skip
def test_packages_that_make_the_bytes_bind_a_dataset_that_is_not_finished(tmp_path, renderer, package, binds):
    begun = {"config_sha256": "x", "config": {"foil_renderer": renderer}, "versions": card.versions(), "state": "rendering"}
    now = begun | {"versions": card.versions() | {package: "0.0.1"}}
    card.check_same(begun, begun, tmp_path)
    if not binds:
        return card.check_same(begun, now, tmp_path)
    with pytest.raises(InputError, match=f"out must be finished with {package} .*which began it, got {package} 0.0.1"):
        card.check_same(begun, now, tmp_path)
