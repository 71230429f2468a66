"""A network goes on learning from a few annotated micrographs."""

import json

import numpy as np
import pytest
from PIL import Image

from physics.errors import InputError
from train.annotated import read_annotated
from train.annotations import labelme_text
from train.curves import TracedLine, distance_px
from train.finetune import FinetuneSettings, finetune, finetune_folder, mask_example
from train.finetune import main as finetune_command
from train.replay import load_pool, save_pool

SIZE = 96
CURVES = [[[5, 20], [90, 50]], [[10, 85], [85, 15]]]


def micrograph(curves, seed=0):
    y, x = np.mgrid[:SIZE, :SIZE]
    at = np.stack([x.ravel(), y.ravel()], axis=-1).astype(float)
    image = np.ones((SIZE, SIZE))
    for curve in curves:
        image -= 0.3 * np.exp(-0.5 * (distance_px(at, np.array(curve, float)).reshape(SIZE, SIZE) / 1.7) ** 2)
    return (170 * (image + 0.02 * np.random.default_rng(seed).normal(size=image.shape))).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small network that nobody taught, saved like a run."""
    import torch

    from train.checkpoint import CARD_VERSION, network_of, save_model
    from train.settings import TrainSettings

    torch.manual_seed(0)
    settings = TrainSettings.from_dict({"network": {"width": 8, "blocks_down": [1, 1, 1], "head": 16}})
    path = tmp_path_factory.mktemp("run")
    save_model(path, network_of(settings).state_dict(), {"version": CARD_VERSION, "settings": settings.to_dict()})
    return path


@pytest.fixture
def folder(tmp_path):
    """Two frames with lines in labelme, one with a mask, one with nothing."""
    path = tmp_path / "annotated"
    path.mkdir()
    for n in range(4):
        Image.fromarray(micrograph(CURVES, n)).save(path / f"f{n}.png")
    lines = [TracedLine(points_px=np.array(c, float), half_width_px=np.full(2, 2.0), confidence=1.0) for c in CURVES]
    for n in (0, 1):
        (path / f"f{n}.json").write_text(labelme_text(lines, f"f{n}.png", (SIZE, SIZE)))
    mask = np.any([line.mask((SIZE, SIZE)) for line in lines], axis=0)
    Image.fromarray((255 * mask).astype(np.uint8)).save(path / "f2_mask.png")
    return path


def test_annotations_of_all_kinds_are_read(folder):
    images = read_annotated(folder)
    assert [i.name for i in images] == ["f0", "f1", "f2"]
    assert len(images[0].curves) == 2 and images[0].mask is None and images[0].sample.truth.complete
    assert images[2].mask.any() and images[2].sample is None and not images[2].curves


def test_of_partial_labels_only_the_neighbourhood_counts(folder):
    document = json.loads((folder / "f0.json").read_text())
    document["flags"]["complete"] = False
    document["shapes"] = document["shapes"][:1]
    (folder / "f0.json").write_text(json.dumps(document))
    silent = read_annotated(folder)[0].silent
    assert not silent[35, 47] and not silent[40, 47] and silent[80, 15]  # on the line, beside it, on the other line


def test_a_stroke_without_width_gets_that_of_the_image(folder):
    document = json.loads((folder / "f0.json").read_text())
    for shape in document["shapes"]:
        shape["description"] = ""
    (folder / "f0.json").write_text(json.dumps(document))
    curve = read_annotated(folder)[0].curves[0]
    assert 2 * curve.half_width_px[0] == pytest.approx(2.355 * 1.7, rel=0.25)  # FWHM of a Gaussian of sigma 1.7 px


def test_fine_tuning_lowers_the_loss_on_its_images(run, folder):
    from train.checkpoint import load_model

    loaded, images = load_model(run), read_annotated(folder)[:2]
    before = {name: value.clone() for name, value in loaded.module.state_dict().items()}
    settings = FinetuneSettings(max_seconds=None, max_steps=8, crop_px=64, batch=4, learning_rate=3e-3, warmup_steps=0)
    _, first = finetune(loaded, images, [], FinetuneSettings(max_steps=1, crop_px=64, batch=4))
    tuned, record = finetune(loaded, images, [], settings)
    # `loss` of a short run is the mean over it, its first step included.
    assert record["steps"] == 8 and record["loss"] < 0.98 * first["loss"]
    # What it began with is as it was.
    assert all((value == before[name]).all() for name, value in loaded.module.state_dict().items())
    assert tuned.settings is loaded.settings


def test_fine_tuning_ends_when_its_time_is_over(run, folder):
    from train.checkpoint import load_model

    settings = FinetuneSettings(max_seconds=1e-3, max_steps=None, crop_px=64, batch=2)
    assert finetune(load_model(run), read_annotated(folder)[:1], [], settings)[1]["steps"] == 1


def test_a_mask_says_nothing_of_instances(run):
    from train.channels import CENTRELINE, LIFT, MASK
    from train.checkpoint import load_model

    loaded = load_model(run)
    mask = np.zeros((64, 64), bool)
    mask[29:34, 8:56] = True
    _, target, nowhere = mask_example(mask.astype(np.float32), mask, np.zeros((64, 64), bool), loaded)
    target, nowhere = target.float().numpy(), nowhere.float().numpy()
    assert target[MASK, 15, 16] == 1 and target[CENTRELINE, 15, 16] > 0.8 and target[CENTRELINE, 4, 16] < 0.01
    assert (target[LIFT : LIFT + 16] == 0).all() and (target[-1] > 0).all()
    assert nowhere[-1, 15, 16] == 0 and nowhere[-1, 2, 2] > 0  # silent on the line, heard off it


def test_the_shipped_pool_is_read_and_round_trips(tmp_path):
    pool = load_pool()
    assert len(pool) >= 16 and all(p.curves for p in pool[:4]) and pool[0].image.shape == (256, 256)
    save_pool(tmp_path / "p.npz", pool[:3])
    again = load_pool(tmp_path / "p.npz")
    for a, b in zip(pool, again):
        assert len(a.curves) == len(b.curves) and np.array_equal(a.distractors.areas, b.distractors.areas)
        assert all(np.allclose(c.points_px, d.points_px) and np.array_equal(c.visible, d.visible) for c, d in zip(a.curves, b.curves))
    (tmp_path / "bad.npz").write_bytes(b"no pool")
    with pytest.raises(InputError, match="replay must be a pool"):
        load_pool(tmp_path / "bad.npz")


def test_leaving_one_image_out_writes_network_numbers_and_report(run, folder, tmp_path, capsys):
    from train.checkpoint import load_model

    out = tmp_path / "tuned (é)"
    (folder / "f1.json").rename(folder / "unused.txt")
    finetune_command([f"model={run}", f"data={folder}", f"out={out}", "loo=true", "max_steps=2", "crop_px=64", "batch=4"])
    assert sorted(p.name for p in out.iterdir()) == ["loo.json", "model.json", "model.safetensors", "report.html"]
    found = json.loads((out / "loo.json").read_text())
    assert [e["image"] for e in found["images"]] == ["f0"] and {"before", "after"} <= set(found)
    card = load_model(out).card["finetuned"]
    assert card["images"] == ["f0", "f2"] and card["with_lines"] == ["f0"] and card["steps"] == 2 and card["replay"] >= 16
    assert "2 steps" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "message"), [
    (["batch=0"], "batch must be >= 1"), (["loo=3"], "loo must be true or false"), (["crop_px=50"], "crop_px must be a multiple of 16"),
    (["data=/nonexistent"], "data must be a folder"), (["replay=/nonexistent.npz"], "replay must be a pool"), (["max_seconds=abc"], "max_seconds"),
])  # fmt: skip
def test_bad_input_leaves_nothing_behind(run, folder, tmp_path, arguments, message):
    out = tmp_path / "out"
    given = [a for a in (f"model={run}", f"data={folder}", f"out={out}") if a.split("=")[0] != arguments[0].split("=")[0]]
    with pytest.raises(InputError, match=message):
        finetune_command([*given, *arguments])
    assert not out.exists()


def test_a_frame_that_the_network_knows_is_not_left_out_to_judge_it(run, folder, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    finetune_folder(run, folder, first, FinetuneSettings(max_steps=1, crop_px=64, batch=2))
    with pytest.raises(InputError, match="model must not have been fine-tuned on frames that loo=true leaves out, got f0, f1"):
        finetune_folder(first, folder, second, FinetuneSettings(max_steps=1, crop_px=64, batch=2), loo=True)
    card = finetune_folder(first, folder, second, FinetuneSettings(max_steps=1, crop_px=64, batch=2))
    assert card["finetuned"]["images_before"] == ["f0", "f1", "f2"]


def test_a_run_is_never_written_over(run, folder):
    with pytest.raises(InputError, match="out must be an empty folder"):
        finetune_folder(run, folder, run, FinetuneSettings(max_steps=1))
