import dataclasses
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from monai.losses import DiceLoss
from safetensors import safe_open

from physics.errors import InputError
from render import open_dataset
from render.config import compose
from train.__main__ import main
from train.checkpoint import load_model, network_of, save_model
from train.dataset import JoinedImages, Labelled, MixedImages, RenderedImages, StoredImages
from train.distractors import distractor_labels
from train.geometry import CurveLabel, ViewSettings
from train.loop import train
from train.loss import loss_parts, packed_target
from train.lr_find import suggestion
from train.model import LiftedNetwork, NetworkSettings
from train.settings import LossSettings, OptimiserSettings, StreamSettings, TrainSettings
from train.targets import TargetSettings, target_maps

SETTINGS = TrainSettings(
    batch=2, max_steps=6, max_seconds=None, workers=0, precision="fp32", device="cpu", log_every=2, tensorboard=False,
    network=NetworkSettings(width=8, blocks_down=(1, 1, 1), head=16), view=ViewSettings(crop_px=48),
    optimiser=OptimiserSettings(warmup_steps=2), checkpoint_seconds=0.0,
)  # fmt: skip
SCENES = {"shape": [64, 64], "material": "al", "pixel_nm": 3.0, "slice_nm": 4.0, "scene": {"kind": "random"}}


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def lines(number, shape=(64, 64)):
    rng = np.random.default_rng(number)
    found = []
    for a, b in rng.uniform(0, 64, (3, 2, 2)):
        points = a + np.linspace(0, 1, 9)[:, None] * (b - a)
        found.append(CurveLabel(points_px=points, half_width_px=np.full(9, 2.0), contrast=np.full(9, -0.3), visible=np.ones(9, bool)))
    return tuple(found)


class Noise:
    """A source of three noisy images with labels; stops the run at example `stop_at`."""

    shape = (64, 64)

    def __init__(self, stop_at=None):
        self.stop_at = stop_at

    def of_example(self, n):
        if self.stop_at is not None and n >= self.stop_at:
            raise KeyboardInterrupt
        return n % 3

    def labelled(self, number):
        image = np.random.default_rng(number).normal(1000, 10, self.shape).astype(np.float32)
        return Labelled(image=image, curves=lines(number), noise_fraction=0.01, distractors=distractor_labels((), self.shape))

    def identity(self):
        return {"source": "noise", "sha256": "0"}


class StoppingStream(RenderedImages):
    stop_at = None

    def of_example(self, n):
        if self.stop_at is not None and n >= self.stop_at:
            raise KeyboardInterrupt
        return super().of_example(n)


def losses(run):
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {r["step"]: r["loss"] for r in records if "loss" in r}


@pytest.fixture(scope="session")
def dataset_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("loop") / "A.zarr"
    from render.__main__ import main as render

    render([f"out={path}", "n=10", "seed=1", "shape=[64,64]", "shard=5", "scene=random", "pixel_nm=3", "slice_nm=4", "workers=0"])
    return path


# resuming


@pytest.mark.parametrize("stop_at", [7])
def test_means_that_an_interruption_cut_in_two_are_those_of_the_whole_run(stop_at, tmp_path):
    train(Noise(), tmp_path / "whole", SETTINGS, progress=False)
    with pytest.raises(KeyboardInterrupt):
        train(Noise(stop_at), tmp_path / "parts", SETTINGS, progress=False)
    train(Noise(), tmp_path / "parts", SETTINGS, progress=False)
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), abs=1e-6) and len(losses(tmp_path / "parts")) == 3


def test_interrupted_run_goes_on_along_the_same_loss_curve_with_a_loading_process(tmp_path):
    train(Noise(), tmp_path / "whole", SETTINGS, progress=False)
    one = dataclasses.replace(SETTINGS, workers=1)
    with pytest.raises(KeyboardInterrupt):
        train(Noise(5), tmp_path / "parts", SETTINGS, progress=False)
    train(Noise(), tmp_path / "parts", one, progress=False)
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), abs=1e-6)


def test_interrupted_stream_goes_on_along_the_same_loss_curve(tmp_path):
    stream = StreamSettings(lanes=1, pool=2)
    settings = dataclasses.replace(SETTINGS, stream=stream, max_steps=4)
    source = StoppingStream(SCENES, 0, stream, settings.batch)
    train(source, tmp_path / "whole", settings, progress=False)
    source.stop_at = 6
    with pytest.raises(KeyboardInterrupt):
        train(source, tmp_path / "parts", settings, progress=False)
    source.stop_at = None
    train(source, tmp_path / "parts", settings, progress=False)
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), abs=1e-6) and len(losses(tmp_path / "whole")) == 2


# sources


def test_each_image_of_joined_datasets_is_seen_once_an_epoch(dataset_path):
    dataset = open_dataset(dataset_path)
    first, second = StoredImages(dataset.split("train"), 0), StoredImages(dataset, 0)
    both, total = JoinedImages([first, second], 0), len(first.dataset) + len(second.dataset)
    assert sorted(both.of_example(n) for n in range(total)) == list(range(total))
    for number, alone, place in ((0, first, 0), (len(first.dataset), second, 0), (total - 1, second, len(second.dataset) - 1)):
        np.testing.assert_array_equal(both.labelled(number).image, alone.labelled(place).image)
    assert both.identity()["images"] == total
    assert both.identity()["sha256"] != first.identity()["sha256"]


def test_a_share_of_fresh_scenes_is_mixed_in(dataset_path):
    stored = StoredImages(open_dataset(dataset_path), 0)
    stream = RenderedImages(SCENES, 0, StreamSettings(), 2)
    mixed = MixedImages(stored, stream, 0.15, 0)
    numbers = [mixed.of_example(n) for n in range(4000)]
    assert np.mean(np.array(numbers) < 0) == pytest.approx(0.15, abs=3 * np.sqrt(0.15 * 0.85 / 4000))
    fresh = next(n for n, number in enumerate(numbers) if number < 0)
    np.testing.assert_array_equal(mixed.labelled(numbers[fresh]).image, stream.labelled(stream.of_example(fresh)).image)
    assert all(number == stored.of_example(n) for n, number in enumerate(numbers) if number >= 0)
    assert mixed.identity()["sha256"] not in (stored.identity()["sha256"], stream.identity()["sha256"])


def test_a_run_ends_after_its_images(tmp_path):
    card = train(Noise(), tmp_path, dataclasses.replace(SETTINGS, max_steps=None, max_images=7), progress=False)
    assert card["steps"] == 4  # 7 images in batches of 2


# what is written


def test_a_resumed_run_keeps_best_weights_that_are_younger_than_its_checkpoint(dataset_path, tmp_path):
    dataset = open_dataset(dataset_path)
    settings = dataclasses.replace(SETTINGS, max_steps=2, validation_images=1, validation_seconds=1e-9)
    train(StoredImages(dataset, 0), tmp_path, settings, validation=dataset, progress=False)
    best = load_model(tmp_path / "best.safetensors")
    unbeaten = best.card | {"steps": 3, "best": best.card["best"] | {"step": 3, "val_instance_f1": 1.0}}
    save_model(tmp_path, best.module.state_dict(), unbeaten, "best.safetensors")
    card = train(StoredImages(dataset, 0), tmp_path, dataclasses.replace(settings, max_steps=4), validation=dataset, progress=False)
    assert card["best"]["step"] == load_model(tmp_path / "best.safetensors").card["steps"] == 3


def test_tensorboard_has_the_numbers_of_the_record_and_pictures(dataset_path, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    dataset = open_dataset(dataset_path)
    settings = dataclasses.replace(SETTINGS, tensorboard=True, validation_images=2)
    card = train(StoredImages(dataset, 0), tmp_path, settings, validation=dataset, progress=False)
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    written = {event.step: event.value for event in board.Scalars("train/loss")}
    assert written == pytest.approx(losses(tmp_path), rel=1e-6)
    assert board.Scalars("val/loss")[-1].value == pytest.approx(card["validation"]["val_loss"], rel=1e-6)
    picture = board.Images("val/1")[-1]
    assert (picture.width, picture.height) == (5 * 32, 32)  # five panels at the size of the maps


def test_best_weights_are_those_of_the_best_validation_and_last_ones_are_not_averaged(dataset_path, tmp_path):
    dataset = open_dataset(dataset_path)
    settings = dataclasses.replace(SETTINGS, validation_images=1, validation_seconds=1e-9, optimiser=OptimiserSettings(warmup_steps=2, learning_rate=1e-3))
    card = train(StoredImages(dataset, 0), tmp_path, settings, validation=dataset, progress=False)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    validations = [r for r in records if "val_loss" in r]
    best = max(validations, key=lambda r: (r["val_instance_f1"] or 0.0, -r["val_loss"]))
    assert len(validations) == 6 and card["best"]["step"] == best["step"] == load_model(tmp_path / "best.safetensors").card["steps"]
    last, averaged = (load_model(tmp_path / f"{name}.safetensors").module.state_dict() for name in ("last", "model"))
    assert any(not torch.equal(last[name], averaged[name]) for name in last)
    with safe_open(tmp_path / "state.safetensors", framework="pt") as state:
        assert all(torch.equal(state.get_tensor(f"network.{name}"), tensor) for name, tensor in last.items())
    assert json.loads((tmp_path / "best.json").read_text())["steps"] == best["step"]


def test_the_card_tells_how_long_the_loop_waited(tmp_path):
    card = train(Noise(), tmp_path, SETTINGS, progress=False)
    assert 0 < card["wait_share"] < 1 and card["images_per_s"] > 0


# several processes


def test_sums_over_a_group_make_the_loss_and_the_gradient_of_the_whole_batch():
    torch.manual_seed(0)
    network = network_of(SETTINGS)
    images = torch.randn(4, 1, 64, 64)
    targets = torch.stack([packed_target(target_maps(lines(n), (64, 64))) for n in range(4)])

    def gradient(loss):
        network.zero_grad()
        loss.backward()
        return torch.cat([p.grad.flatten() for p in network.parameters()])

    whole = loss_parts(network(images), targets, LossSettings())["loss"]
    expected = gradient(whole)
    sums = []
    for half in (slice(0, 2), slice(2, 4)):
        loss_parts(network(images[half]), targets[half], LossSettings(), lambda s: sums.append(s.detach()) or s)
    found = torch.zeros_like(expected)
    for half, other in ((slice(0, 2), 1), (slice(2, 4), 0)):
        loss = loss_parts(network(images[half]), targets[half], LossSettings(), lambda s, other=other: s + sums[other])["loss"]
        assert loss.item() == pytest.approx(whole.item(), rel=1e-6)
        found += gradient(2 * loss) / 2  # times the group's size, then the mean over the group
    assert (found - expected).norm() < 1e-5 * expected.norm()


def test_two_processes_take_the_steps_of_one(dataset_path, tmp_path):
    arguments = [f"data={dataset_path}", "max_steps=3", "max_seconds=null", "batch=4", "workers=0", "view.crop_px=32", "model.width=8",
                 "model.blocks_down=[1,1]", "precision=fp32", "device=cpu", "log_every=1", "validation_images=0", "tensorboard=false"]  # fmt: skip
    main([*arguments, f"out={tmp_path / 'one'}"])
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "train"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([*start, *arguments, f"out={tmp_path / 'two'}"], env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)  # sums in another order, in float32
    assert load_model(tmp_path / "two").card["processes"] == 2 and done.stdout.count("3 steps") == 1


# loss and networks


def test_dice_is_that_of_monai():
    torch.manual_seed(0)
    targets = torch.stack([packed_target(target_maps(lines(n), (64, 64))) for n in range(2)])
    logits = torch.randn(2, targets.shape[1] - 1, 32, 32)
    dice = DiceLoss(batch=True, smooth_nr=1.0, smooth_dr=1.0)(torch.sigmoid(logits[:, 4:20]), targets[:, 4:20].float())
    assert loss_parts(logits, targets, LossSettings(lift_dice=1.0))["lift_dice"].item() == pytest.approx(dice.item(), rel=1e-5)


@pytest.mark.parametrize(("model", "most"), [("small", 2e6), ("basicunet", 2e6), ("medium", 25e6), ("large", 25e6)])
def test_configured_networks_keep_to_their_size_and_compute_in_bf16(model, most):
    values = compose("train", ["data=a", "out=b", f"model={model}"])["model"]
    network = network_of(TrainSettings.from_dict({"network": values}))
    assert sum(p.numel() for p in network.parameters()) <= most  # 2 M for a CPU, 25 M for a GPU: issue 5
    assert not any("BatchNorm" in type(m).__name__ for m in network.modules())
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = network(torch.randn(1, 1, 64, 64))
    assert logits.dtype == torch.bfloat16 and torch.isfinite(logits).all()


@pytest.mark.parametrize("orientations", [16, 24, 32])
def test_any_number_of_orientations_trains(orientations):
    settings = dataclasses.replace(SETTINGS, targets=TargetSettings(orientations=orientations))
    targets = packed_target(target_maps(lines(0), (64, 64), settings.targets))[None]
    loss = loss_parts(network_of(settings)(torch.randn(1, 1, 64, 64)), targets, LossSettings())["loss"]
    loss.backward()
    assert torch.isfinite(loss)


# the learning-rate finder


def test_suggested_rate_is_where_the_loss_falls_fastest_a_decade():
    rates = np.logspace(-6, 0, 121)
    losses_of = 2 - 1 / (1 + np.exp(-3 * (np.log10(rates) + 3))) + 50 * np.maximum(rates - 0.1, 0)
    assert np.log10(suggestion(rates, losses_of)) == pytest.approx(-3, abs=0.1)  # the middle of the logistic fall
    with pytest.raises(InputError, match="lr_find must see the loss fall while the rate grows"):
        suggestion(rates, np.linspace(1, 2, 121))


def test_lr_find_writes_a_picture_and_the_run_begins_in_the_same_folder(dataset_path, tmp_path, capsys):
    arguments = [f"data={dataset_path}", f"out={tmp_path}", "max_seconds=null", "batch=2", "workers=0", "view.crop_px=32", "model.width=8",
                 "model.blocks_down=[1,1]", "validation_images=0", "tensorboard=false"]  # fmt: skip
    main([*arguments, "lr_find=true", "max_steps=40"])
    found = json.loads((tmp_path / "lr_find.json").read_text())
    assert 1e-5 < found["suggested"] < 1 and f"{found['suggested']:.1e} suggested" in capsys.readouterr().out
    assert (tmp_path / "lr_find.png").read_bytes()[:4] == b"\x89PNG"
    main([*arguments, "max_steps=1"])
    assert (tmp_path / "model.safetensors").exists()


# what is refused


def test_a_gpu_out_of_memory_is_one_line(monkeypatch, tmp_path):
    def full(self, image):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has …")

    monkeypatch.setattr(LiftedNetwork, "forward", full)
    with pytest.raises(InputError, match=r"batch must fit into the memory of the GPU, got 2 views of 48 x 48 px; a smaller batch") as refusal:
        train(Noise(), tmp_path / "run", SETTINGS, progress=False)
    assert "\n" not in str(refusal.value)


def test_mlflow_that_is_not_installed_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(InputError, match="mlflow must be installed to log to it, got mlflow=file:runs; pip install mlflow"):
        train(Noise(), tmp_path / "run", dataclasses.replace(SETTINGS, mlflow="file:runs"), progress=False)
    assert not (tmp_path / "run").exists()


def test_mlflow_is_given_the_numbers_of_the_record(monkeypatch, tmp_path):
    calls = []

    class Recorder:
        def __getattr__(self, name):
            return lambda *args, **kwargs: calls.append((name, args, kwargs))

    monkeypatch.setitem(sys.modules, "mlflow", Recorder())
    train(Noise(), tmp_path / "run", dataclasses.replace(SETTINGS, mlflow="file:runs"), progress=False)
    logged = {kwargs["step"]: args[0]["train/loss"] for name, args, kwargs in calls if name == "log_metrics"}
    assert logged == losses(tmp_path / "run") and calls[0][:2] == ("set_tracking_uri", ("file:runs",)) and calls[-1][0] == "end_run"


def test_an_empty_dataset_is_one_line(dataset_path):
    with pytest.raises(InputError, match="data must have at least one image to train on, got 0"):
        StoredImages(open_dataset(dataset_path)[:0], 0)


def test_a_dataset_of_another_schema_is_one_line(dataset_path, tmp_path):
    copy = tmp_path / "other.zarr"
    shutil.copytree(dataset_path, copy)
    header = json.loads((copy / "zarr.json").read_text())
    header["attributes"]["gdotb"]["schema"] = 99
    (copy / "zarr.json").write_text(json.dumps(header))
    with pytest.raises(InputError, match="other.zarr must have schema .*, got 99") as refusal:
        main([f"data={copy}", f"out={tmp_path / 'run'}"])
    assert "\n" not in str(refusal.value) and not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["state.safetensors", "model.safetensors"])
def test_a_truncated_checkpoint_is_one_line(name, tmp_path):
    train(Noise(), tmp_path, dataclasses.replace(SETTINGS, max_steps=1), progress=False)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="out must .*safetensors") as refusal:
        train(Noise(), tmp_path, dataclasses.replace(SETTINGS, max_steps=2), progress=False)
    assert "\n" not in str(refusal.value)


def test_a_batch_that_the_processes_cannot_share_is_refused():
    from train.distributed import Group

    with pytest.raises(InputError, match="batch must be a multiple of the number of processes, 3, got 8"):
        Group(rank=1, size=3).share(8)
    assert Group(rank=1, size=2).share(8) == slice(4, 8)
