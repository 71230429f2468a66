import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from physics.errors import InputError
from render import Distractor, open_dataset, sample, simulate
from train.__main__ import main
from train.augment import (
    AugmentSettings,
    Disturbance,
    disturbed,
    draw_disturbance,
    local_noise_fraction,
    noise_fraction_of,
    standardised,
    still_visible,
)
from train.average import average
from train.checkpoint import load_model, network_of, predict_maps, save_model
from train.dataset import Examples, Labelled, RenderedImages, StoredImages, batches
from train.geometry import CurveLabel, View, ViewSettings, draw_view, view_curves, view_image
from train.loop import TrainingFailed, train
from train.model import NetworkSettings
from train.optimiser import learning_rate, moving_average, optimiser_of, orthogonalised
from train.settings import OptimiserSettings, StreamSettings, TrainSettings
from train.targets import target_maps

CHANCES = [f.name for f in dataclasses.fields(AugmentSettings) if f.name.startswith("p_")]
UNDISTURBED = AugmentSettings(**dict.fromkeys(CHANCES, 0.0))
SMALL = NetworkSettings(width=8, blocks_down=(1, 1, 1), head=16)
SETTINGS = TrainSettings(
    batch=2, max_steps=6, max_seconds=None, workers=0, precision="fp32", device="cpu", log_every=1, network=SMALL,
    view=ViewSettings(crop_px=48), optimiser=OptimiserSettings(warmup_steps=2), checkpoint_seconds=1e9,
    tensorboard=False,
)  # fmt: skip


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def label(points, half_width_px=2.0, contrast=-0.3):
    n = len(points)
    return CurveLabel(
        points_px=np.asarray(points, dtype=np.float64), half_width_px=np.full(n, half_width_px),
        contrast=np.full(n, contrast), visible=np.ones(n, dtype=bool),
    )  # fmt: skip


def drawn(shape, curves, sigma_px=1.5):
    """Dark Gaussian lines on 1000 counts."""
    y, x = np.indices(shape)
    image = np.full(shape, 1000.0)
    for curve in curves:
        a, b = curve.points_px[:-1, None, None], curve.points_px[1:, None, None]
        along = b - a
        p = np.stack([x, y], axis=-1)
        t = np.clip(((p - a) * along).sum(-1) / (along**2).sum(-1), 0, 1)
        distance_sq = (((p - a) - t[..., None] * along) ** 2).sum(-1).min(axis=0)
        image *= 1 + curve.contrast[0] * np.exp(-distance_sq / (2 * sigma_px**2))
    return image.astype(np.float32)


class DrawnImages:
    """A source without physics: `count` images of three straight lines."""

    def __init__(self, count=3, shape=(64, 64), broken=None, stop_at=None):
        self.count, self.shape, self.broken, self.stop_at = count, shape, broken, stop_at

    def of_example(self, n):
        if self.stop_at is not None and n >= self.stop_at:
            raise KeyboardInterrupt
        return n % self.count

    def labelled(self, number):
        rng = np.random.default_rng(number)
        ends = rng.uniform(0, 64, (3, 2, 2))
        curves = tuple(label(a + np.linspace(0, 1, 9)[:, None] * (b - a)) for a, b in ends)
        image = drawn(self.shape, curves) + rng.normal(0, 10, self.shape).astype(np.float32)
        if number == self.broken:
            image[:] = np.inf
        return Labelled(image=image, curves=curves, noise_fraction=0.01)

    def identity(self):
        return {"source": "drawn", "sha256": str(self.count)}


@pytest.fixture(scope="session")
def dataset_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("train") / "A # (1)=é.zarr"
    from render.__main__ import main as render

    render([f"out={path}", "n=12", "seed=1", "shape=[64,80]", "shard=4", "scene=random", "pixel_nm=3", "slice_nm=4"])
    return path


# views


def test_view_moves_image_and_curves_together():
    rng = np.random.default_rng(0)
    curve = label([[20, 30], [70, 60], [110, 58]])
    image = drawn((96, 128), [curve])
    for _ in range(20):
        view = draw_view(image.shape, (64, 64), ViewSettings(free=0.7), rng)
        seen, outside = view_image(image, view)
        redrawn = [dataclasses.replace(c, half_width_px=c.half_width_px) for c in view_curves([curve], view)]
        expected = drawn((64, 64), redrawn, 1.5 * view.magnification) if redrawn else np.full((64, 64), 1000.0)
        # Bilinear interpolation blurs a line of sigma 1.5 px by at most sigma 0.5 px: under 12 % of its depth of 300.
        assert np.abs(seen - expected)[~outside].max() < 36


def test_exact_views_move_pixels_without_changing_them():
    rng = np.random.default_rng(1)
    image = np.arange(64 * 64, dtype=np.float32).reshape(64, 64)
    kinds = set()
    for _ in range(40):
        view = draw_view((64, 64), (64, 64), ViewSettings(free=0.0), rng)
        seen, outside = view_image(image, view)
        assert not outside.any()
        np.testing.assert_array_equal(np.sort(seen.ravel()), image.ravel())
        kinds.add(seen.tobytes())
    assert len(kinds) == 8  # the symmetry operations of a square


def test_magnification_scales_half_widths_down_to_one_pixel():
    curve = label([[10, 10], [40, 40]], half_width_px=1.5)
    for magnification, expected in ((2.0, 3.0), (0.5, 1.0)):
        view = View(linear=np.eye(2) / magnification, offset=(0, 0), shape=(64, 64))
        assert view_curves([curve], view)[0].half_width_px[0] == pytest.approx(expected)


def test_loop_stays_closed_in_every_view():
    angle = np.linspace(0, 2 * np.pi, 50)
    points = 50 + 20 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points[-1] = points[0]
    rng = np.random.default_rng(2)
    for _ in range(20):
        seen = view_curves([label(points)], draw_view((100, 100), (64, 64), ViewSettings(free=1.0), rng))[0]
        assert np.array_equal(seen.points_px[0], seen.points_px[-1])


def test_curves_outside_the_view_are_left_out():
    view = View(linear=np.eye(2), offset=(0, 0), shape=(32, 32))
    assert view_curves([label([[60, 60], [90, 70]])], view) == []
    assert len(view_curves([label([[33, 0], [33, 31]])], view)) == 1


# disturbances


def test_no_disturbance_leaves_the_image_alone():
    image = drawn((64, 64), [label([[0, 20], [63, 40]])])
    out, hidden = disturbed(image, Disturbance())
    np.testing.assert_allclose(out, image / image.mean(), rtol=1e-6)
    assert not hidden.any()


def test_same_disturbance_gives_the_same_bytes():
    image = drawn((64, 80), [label([[10, 20], [63, 40]])])
    curves = [label([[10, 20], [63, 40]])]
    settings = AugmentSettings(**dict.fromkeys(CHANCES, 1.0))
    for seed in range(5):
        d = draw_disturbance(image.shape, curves, settings, np.random.default_rng(seed))
        first, second = disturbed(image, d), disturbed(image, d)
        assert first[0].tobytes() == second[0].tobytes() and np.isfinite(first[0]).all()
        assert first[0].dtype == np.float32 and first[0].shape == image.shape


def test_contrast_gain_multiplies_the_logarithm_of_contrast():
    image = drawn((128, 128), [label([[0, 60], [127, 60]], contrast=-0.2)])
    out, _ = disturbed(image, Disturbance(contrast_gain=0.5))
    # The background (sigma 20 px) takes up part of the line, alike for both; far from the line it is flat.
    before = np.log(image[60, 64] / image[20, 64])
    assert np.log(out[60, 64] / out[20, 64]) / before == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("sigma_px", [0.8, 1.0])
def test_added_noise_has_its_strength_and_correlation(sigma_px):
    flat = np.full((256, 256), 1000.0, dtype=np.float32)
    out, _ = disturbed(flat, Disturbance(noise_fraction=0.03, noise_sigma_px=sigma_px, noise_seed=3))
    noise = out - 1
    assert noise.std() == pytest.approx(0.03, rel=0.01)
    lag_one = (noise[:, 1:] * noise[:, :-1]).mean() / noise.var()
    assert lag_one == pytest.approx(math.exp(-1 / (4 * sigma_px**2)), abs=0.03)  # autocorrelation of a Gaussian filter


def test_noise_fraction_is_measured_through_a_gradient():
    rng = np.random.default_rng(4)
    ramp = np.linspace(800, 1200, 256)[None, :] * np.ones((256, 1))
    assert noise_fraction_of(ramp + rng.normal(0, 20, ramp.shape)) == pytest.approx(0.02, rel=0.03)


def test_lines_that_sink_under_the_noise_are_no_longer_visible():
    strong, faint = label([[0, 0], [9, 9]], contrast=-0.3), label([[0, 0], [9, 9]], contrast=0.015)
    kept = still_visible([strong, faint], Disturbance(noise_fraction=0.05), 0.0, 1.0)
    assert kept[0].visible.all() and not kept[1].visible.any()  # 0.05 / sqrt(4) = 0.025
    kept = still_visible([strong, faint], Disturbance(), 0.0, 1.0)
    assert kept[1].visible.all()
    assert not still_visible([faint], Disturbance(contrast_gain=0.5), 0.0, 1.0)[0].visible.any()  # under 1 %


def test_lines_in_the_dark_drown_in_the_noise_first():
    lit = np.full((128, 256), 1900.0, dtype=np.float32)
    lit[:, 128:] = 100.0  # 1.9 and 0.1 of the mean
    lines = [label([[x, 40], [x + 9, 49]], contrast=-0.05) for x in (40, 210)]
    visible = lambda noise: [c.visible.all() for c in still_visible(lines, Disturbance(noise_fraction=noise), 0, 1.0, lit)]  # noqa: E731
    assert visible(0.0) == [True, True]
    assert visible(0.03) == [True, False]  # 0.03 / (2 * 0.1) = 0.15 > 0.05 > 0.03 / (2 * 1.9)


def test_noise_of_counts_is_measured_where_the_line_is():
    electrons = np.full((128, 256), 900.0)
    electrons[:, 128:] = 25.0
    image = 500 + 4.0 * np.random.default_rng(0).poisson(electrons)  # gain 4, offset 500
    bright, dark = local_noise_fraction(image, [np.array([[40.0, 40.0]]), np.array([[210.0, 40.0]])], black=500.0)
    assert bright == pytest.approx(1 / 30, rel=0.1) and dark == pytest.approx(1 / 5, rel=0.1)  # 1 / sqrt(electrons)
    line = dataclasses.replace(label([[0, 0], [9, 9]], contrast=-0.08), noise_fraction=np.full(2, 0.2))
    assert not still_visible([line], Disturbance(), 0.0, 1.0)[0].visible.any()  # 0.2 / sqrt(4) = 0.1


def test_burnt_in_text_is_hidden_from_the_target():
    box = np.array([[10.0, 20.0, 30.0, 5.0, 1.0]])
    _, hidden = disturbed(np.ones((64, 64), dtype=np.float32), Disturbance(banner=box))
    assert hidden[20:25, 10:40].all() and hidden.sum() == 150


def test_standardised_image_has_mean_zero_and_deviation_one():
    image = standardised(np.random.default_rng(0).integers(0, 60000, (64, 64)).astype(np.uint16))
    assert abs(image.mean()) < 1e-5 and image.std() == pytest.approx(1, abs=1e-5)


# examples


def test_examples_depend_on_their_number_alone():
    a, b = Examples(DrawnImages(), SETTINGS), Examples(DrawnImages(), SETTINGS)
    later = [a[n] for n in range(6)][5]
    np.testing.assert_array_equal(later[0], b[5][0])
    np.testing.assert_array_equal(later[1], b[5][1])
    assert not torch.equal(a[2][0], a[5][0])  # another view of the same image


def test_loading_process_gives_the_same_batches(dataset_path):
    source = StoredImages(open_dataset(dataset_path), seed=0)
    one = dataclasses.replace(SETTINGS, workers=1)
    here, there = iter(batches(Examples(source, SETTINGS), 3, SETTINGS)), iter(batches(Examples(source, one), 3, one))
    for _ in range(2):
        for a, b in zip(next(here), next(there)):
            assert torch.equal(a, b)


def test_every_image_is_seen_once_an_epoch(dataset_path):
    source = StoredImages(open_dataset(dataset_path), seed=0)
    epochs = [[source.of_example(n) for n in range(12 * e, 12 * e + 12)] for e in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(12)) and epochs[0] != epochs[1]


def test_stream_draws_from_the_last_scenes_of_its_lane():
    settings = StreamSettings(lanes=2, fresh=1, pool=4)
    config = {"shape": [64, 64], "material": "al", "pixel_nm": 2.0}
    source = RenderedImages(config, 3, settings, batch=2)
    for n in range(80):
        number, lane, turn = source.of_example(n), (n // 2) % 2, n // 4
        assert number % 2 == lane
        assert max(0, turn + 2 - 4) <= number // 2 < turn + 2  # two scenes to start with, one more each turn
        assert number == source.of_example(n)


def test_stream_shares_no_image_with_a_dataset_rendered_from_the_same_seed():
    config = {"shape": [32, 40], "material": "al", "pixel_nm": 3.0, "slice_nm": 4.0, "scene": {"kind": "random"}}
    source = RenderedImages(config, 1, StreamSettings(), batch=2)
    rendered = [simulate(sample(config, 1, number)).image for number in range(3)]
    for number in range(3):
        assert not any(np.array_equal(source.labelled(number).image, image) for image in rendered)
    again = RenderedImages(config, 1, StreamSettings(), batch=2)
    np.testing.assert_array_equal(source.labelled(2).image, again.labelled(2).image)


# the loop


def losses(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def test_interrupted_run_goes_on_along_the_same_loss_curve(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    card = train(DrawnImages(), whole, SETTINGS, progress=False)
    often = dataclasses.replace(SETTINGS, checkpoint_seconds=0.0)
    with pytest.raises(KeyboardInterrupt):
        train(DrawnImages(stop_at=8), parts, often, progress=False)
    assert max(losses(parts)) < 6
    resumed = train(DrawnImages(), parts, often, progress=False)
    assert losses(parts) == losses(whole) and len(losses(whole)) == 6
    assert resumed["steps"] == card["steps"] == 6
    a, b = load_model(whole), load_model(parts)
    for name, weight in a.module.state_dict().items():
        assert torch.equal(weight, b.module.state_dict()[name]), name


def contents(run):
    return {p.name: p.read_bytes() for p in run.iterdir()}


def test_a_run_begins_from_given_weights(dataset_path, tmp_path):
    source = StoredImages(open_dataset(dataset_path), 0)
    train(source, tmp_path / "first", dataclasses.replace(SETTINGS, max_steps=2), progress=False)
    begun = load_model(tmp_path / "first")
    still = dataclasses.replace(SETTINGS, max_steps=1, optimiser=OptimiserSettings(learning_rate=1e-12, weight_decay=0.0))
    card = train(source, tmp_path / "second", still, progress=False, begin_from=begun)
    after = load_model(tmp_path / "second").module.state_dict()
    for name, tensor in begun.module.state_dict().items():
        assert torch.allclose(after[name], tensor, atol=1e-6)
    assert card["data"]["sha256"] != begun.card["data"]["sha256"]
    wider = dataclasses.replace(SETTINGS, network=dataclasses.replace(SETTINGS.network, width=2 * SETTINGS.network.width))
    with pytest.raises(InputError, match="init must be a network of the same model"):
        train(source, tmp_path / "third", wider, progress=False, begin_from=begun)
    assert not (tmp_path / "third").exists()


def test_finished_run_stays_as_it_is(dataset_path, tmp_path):
    dataset = open_dataset(dataset_path)
    settings = dataclasses.replace(SETTINGS, max_steps=2, validation_images=1)
    card = train(StoredImages(dataset, 0), tmp_path, settings, validation=dataset, progress=False)
    before = contents(tmp_path)
    again = train(StoredImages(dataset, 0), tmp_path, settings, validation=dataset, progress=False)
    assert contents(tmp_path) == before
    assert again == card == json.loads((tmp_path / "model.json").read_text()) and "val_loss" in again["validation"]


def test_resumed_run_keeps_its_last_validation(dataset_path, tmp_path):
    dataset = open_dataset(dataset_path)
    settings = dataclasses.replace(SETTINGS, max_steps=2, validation_images=1, validation_seconds=0)
    card = train(StoredImages(dataset, 0), tmp_path, settings, validation=dataset, progress=False)
    longer = dataclasses.replace(settings, max_steps=4)
    resumed = train(StoredImages(dataset, 0), tmp_path, longer, progress=False)
    assert resumed["steps"] == 4 and resumed["validation"] == card["validation"]
    assert resumed["settings"]["max_steps"] == 4


def test_killed_run_starts_anew_from_what_it_left(tmp_path):
    whole = tmp_path / "whole"
    train(DrawnImages(), whole, SETTINGS, progress=False)
    for name in ("state.safetensors.part", "model.safetensors.part"):
        run = tmp_path / name
        run.mkdir()
        (run / name).write_bytes(b"half")
        (run / "metrics.jsonl").write_text('{"step": 1, "loss": 9.0}\n{"step": 2, "lo')
        train(DrawnImages(), run, SETTINGS, progress=False)
        assert losses(run) == losses(whole) and not (run / name).exists()


@pytest.mark.parametrize("cut", ["{", '{"step": ', '{"step": 6, "lo'])
def test_line_cut_short_by_a_kill_is_skipped(cut, tmp_path):
    train(DrawnImages(), tmp_path, SETTINGS, progress=False)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(cut)
    train(DrawnImages(), tmp_path, dataclasses.replace(SETTINGS, max_steps=7), progress=False)
    assert list(losses(tmp_path)) == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("text", ["epoch 1\n", '{"epoch": 1}\n', "[1]\n", "{}\n", '{"step": 1\n{"step": 2}\n', "\xff\xfe"])
def test_metrics_of_another_program_are_refused_and_left_alone(text, tmp_path):
    (tmp_path / "metrics.jsonl").write_text(text, encoding="latin-1")
    before = contents(tmp_path)
    with pytest.raises(InputError, match="out must hold a metrics.jsonl that a training run wrote, got another one, line 1"):
        train(DrawnImages(), tmp_path, SETTINGS, progress=False)
    assert contents(tmp_path) == before


class RefusedImages(DrawnImages):
    def labelled(self, number):
        raise InputError("foil.thickness_nm must be > 0, got -20")


@pytest.mark.parametrize("workers", [0, 1])
def test_refusal_in_a_loading_process_arrives_as_its_one_line(workers, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(InputError) as refusal:
        train(RefusedImages(), out, dataclasses.replace(SETTINGS, workers=workers), progress=False)
    assert str(refusal.value) == "foil.thickness_nm must be > 0, got -20" and not out.exists()


def test_network_learns_where_lines_are(tmp_path):
    settings = dataclasses.replace(
        SETTINGS, max_steps=60, batch=4, augment=UNDISTURBED, view=ViewSettings(crop_px=64, free=0.0),
        optimiser=OptimiserSettings(warmup_steps=5, learning_rate=5e-3),
    )  # fmt: skip
    train(DrawnImages(), tmp_path, settings, progress=False)
    labelled = DrawnImages().labelled(0)
    found, true = predict_maps(load_model(tmp_path), labelled.image), target_maps(labelled.curves, labelled.image.shape)
    # A map that knows nothing of the image has the same mean on lines and off them.
    assert found.mask[true.mask > 0].mean() > 3 * found.mask[true.mask == 0].mean()
    curve = losses(tmp_path)
    assert curve[60] < curve[1]


def test_loss_that_is_not_a_number_stops_the_run_and_names_the_images(tmp_path):
    with pytest.raises(TrainingFailed, match=r"loss must stay finite, got nan .* at step 1, images \[2, 0\], examples 2 to 3 of seed 0"):
        train(DrawnImages(broken=2), tmp_path, dataclasses.replace(SETTINGS, augment=UNDISTURBED), progress=False)


def test_run_ends_when_its_seconds_are_over(tmp_path):
    settings = dataclasses.replace(SETTINGS, max_steps=None, max_seconds=1.5)
    card = train(DrawnImages(), tmp_path, settings, progress=False)
    assert 1.5 <= card["seconds"] < 4 and card["steps"] > 1


def test_validation_measures_curves(dataset_path, tmp_path):
    dataset = open_dataset(dataset_path)
    settings = dataclasses.replace(SETTINGS, max_steps=2, validation_images=2)
    card = train(StoredImages(dataset, 0), tmp_path, settings, validation=dataset, progress=False)
    assert card["validation"]["val_images"] == 2 and math.isfinite(card["validation"]["val_loss"])
    assert "val_instance_f1" in card["validation"]
    assert card["data"]["images"] == 12 and card["data"]["config"]["shape"] == [64, 80]


@pytest.mark.parametrize("shape", [(16, 144), (48, 16), (32, 32)])
def test_an_orthogonal_step_keeps_singular_vectors_and_evens_singular_values(shape):
    u, _, vh = torch.linalg.svd(torch.randn(shape, generator=torch.Generator().manual_seed(0)), full_matrices=False)
    turned = u.T @ orthogonalised(u @ torch.diag(torch.linspace(0.2, 4.0, min(shape))) @ vh) @ vh.T
    assert torch.diagonal(turned).min() > 0.65 and torch.diagonal(turned).max() < 1.25
    assert (turned - torch.diag(torch.diagonal(turned))).abs().max() < 1e-4


@pytest.mark.parametrize("family", ["segresnet", "basicunet"])
def test_every_weight_is_moved_by_one_of_the_two_rules(family):
    blocks = (1, 1, 1, 1, 1) if family == "basicunet" else (1, 1)
    network = network_of(dataclasses.replace(SETTINGS, network=NetworkSettings(family=family, width=8, blocks_down=blocks)))
    optimiser = optimiser_of(network, OptimiserSettings(weight_decay=0.5))
    moved = [id(p) for group in optimiser.param_groups for p in group["params"]]
    assert sorted(moved) == sorted(id(p) for p in network.parameters())
    orthogonal = {id(p) for group in optimiser.param_groups if group.get("orthogonal") for p in group["params"]}
    names = {name for name, p in network.named_parameters() if id(p) in orthogonal}
    assert names and all(name.startswith("body.") for name in names)
    assert not any(name.startswith(("head.", "body.convInit", "body.conv_0.conv_0")) or name.endswith("bias") for name in names)


def test_muon_moves_first_and_last_layers_as_adamw_does():
    torch.manual_seed(0)
    one, other = (network_of(SETTINGS) for _ in range(2))
    other.load_state_dict(one.state_dict())
    before = {name: p.detach().clone() for name, p in one.named_parameters()}
    settings = OptimiserSettings(learning_rate=1e-2)
    for network, kind in ((one, "muon"), (other, "adamw")):
        optimiser = optimiser_of(network, dataclasses.replace(settings, kind=kind))
        (network(torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(1))) ** 2).mean().backward()
        optimiser.step()
    after = dict(other.named_parameters())
    for name, p in one.named_parameters():
        if name.startswith("head.") or name.endswith("bias"):
            torch.testing.assert_close(p, after[name])
        elif name == "body.down_layers.1.1.conv1.conv.weight":
            moved = [float((q.detach() - before[name]).pow(2).mean().sqrt()) for q in (p, after[name])]
            assert 0.1 < moved[0] / moved[1] < 1 and not torch.allclose(p, after[name])


def test_moving_average_forgets_its_beginning():
    update = moving_average(0.9)
    average, values = [torch.zeros(1)], [1.0, 2.0, 3.0]
    expected = 0.0
    for n, value in enumerate(values, start=1):
        decay = (1 + n) / (10 + n)  # below 0.9 for n < 80
        expected = decay * expected + (1 - decay) * value
        update(average, [torch.tensor([value])], n)
    assert average[0].item() == pytest.approx(expected, rel=1e-6)


def test_learning_rate_warms_up_and_falls_along_a_cosine():
    settings = OptimiserSettings(learning_rate=1.0, warmup_steps=9, final_fraction=0.1)
    assert learning_rate(settings, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(settings, 9, 0.0) == pytest.approx(1.0)
    assert learning_rate(settings, 99, 0.5) == pytest.approx(0.55)  # half way between 1 and 0.1
    assert learning_rate(settings, 99, 1.0) == pytest.approx(0.1)


# what is refused


def test_another_configuration_or_other_data_in_the_same_folder_is_refused(tmp_path):
    train(DrawnImages(), tmp_path, SETTINGS, progress=False)
    with pytest.raises(InputError, match="out must hold a run of the same configuration"):
        train(DrawnImages(), tmp_path, dataclasses.replace(SETTINGS, seed=1), progress=False)
    with pytest.raises(InputError, match="data must be what the run began with"):
        train(DrawnImages(count=4), tmp_path, SETTINGS, progress=False)
    with pytest.raises(InputError, match="out must not hold a run already"):
        train(DrawnImages(), tmp_path, SETTINGS, resume="false", progress=False)


def test_folder_with_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("chapter 1")
    with pytest.raises(InputError, match="out must be empty or a training run, got .* with thesis.tex"):
        train(DrawnImages(), tmp_path, SETTINGS, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data={folder}/no.zarr"], "no.zarr must be a dataset, got nothing there"),
        (["data={data}", "batch=0"], "batch must be >= 1, got 0"),
        (["data={data}", "batch=x"], "batch must be a number, got 'x'"),
        (["data={data}", "threads=abc"], r"threads must be a whole number in \[1, 1024\] or null, got 'abc'"),
        (["data={data}", "threads=-1"], r"threads must be a whole number in \[1, 1024\] or null, got -1"),
        (["data={data}", "threads=true"], r"threads must be a whole number in \[1, 1024\] or null, got True"),
        (["data={data}", "max_steps=inf"], "max_steps must be finite, got inf"),
        (["data={data}", "max_seconds=nan"], "max_seconds must be finite, got nan"),
        (["data={data}", "optimiser=5"], "optimiser must be a mapping, got 5"),
        (["data={data}", "optimiser.weight_decay=-1"], "optimiser.weight_decay must be >= 0, got -1"),
        (["data={data}", "loss.mask=-1"], "loss.mask must be >= 0, got -1"),
        (["data={data}", "checkpoint_seconds=-1"], "checkpoint_seconds must be >= 0, got -1"),
        (["data={data}", "seed=4294967296"], r"seed must lie in \[0, 2\^32\), got 4294967296"),
        (["data={data}", "model=null"], "model must be one of .*, got null"),
        (["data={data}", "bach=4"], "bach must be a key of this train configuration"),
        (["data={data}", "model=huge"], "model must be one of"),
        (["data={data}", "view.magnification=[2,1]"], "view.magnification must be two numbers"),
        (["data={data}", "augment.p_noise=2"], r"augment.p_noise must lie in \[0, 1\], got 2"),
        (["data={data}", "precision=fp8"], "precision must be auto, bf16 or fp32, got fp8"),
        (["data={data}", 'render=["scene=pileup"]'], "render must be left out unless data=stream"),
        (["data=stream", "workers=3"], "workers must divide stream.lanes = 4, got 3"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(arguments, message, dataset_path, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(InputError, match=message) as refusal:
        main([a.format(folder=tmp_path, data=dataset_path) for a in arguments] + [f"out={out}"])
    assert not out.exists() and "\n" not in str(refusal.value)


def test_command_trains_from_any_path(dataset_path, tmp_path, capsys):
    out = tmp_path / "run #2 (é)=x"
    main([f"data={dataset_path}", f"out={out}", "max_steps=2", "max_seconds=null", "batch=2", "workers=0", "view.crop_px=32",
          "model.width=8", "validation_seconds=0", "validation_images=0"])  # fmt: skip
    assert "2 steps" in capsys.readouterr().out
    loaded = load_model(out)
    assert loaded.settings.network.width == 8
    assert predict_maps(loaded, open_dataset(dataset_path).image(0)).shape == (32, 40)


@pytest.mark.parametrize("given, kind", [({}, "adamw"), ({"kind": "muon"}, "muon")])
def test_weights_whose_card_names_no_optimiser_were_moved_by_adamw(given, kind, tmp_path):
    values = SETTINGS.to_dict()
    values["optimiser"] = {k: v for k, v in values["optimiser"].items() if k != "kind"} | given
    save_model(tmp_path, network_of(SETTINGS).state_dict(), {"version": 1, "settings": values})
    assert load_model(tmp_path).settings.optimiser.kind == kind


def test_settings_survive_the_card():
    assert TrainSettings.from_dict(SETTINGS.to_dict()) == SETTINGS
    longer = dataclasses.replace(SETTINGS, max_steps=99)
    assert longer.run_hash() == SETTINGS.run_hash() != dataclasses.replace(SETTINGS, batch=3).run_hash()


def test_damaged_or_foreign_weights_are_refused(tmp_path):
    weights = network_of(SETTINGS).state_dict()
    save_model(tmp_path, weights, {"version": 1, "settings": SETTINGS.to_dict()})
    load_model(tmp_path)
    whole = (tmp_path / "model.safetensors").read_bytes()
    cases = {
        "nothing": (None, "model must be a training run or a .safetensors file"),
        "cut": (whole[: len(whole) // 2], "model must be a readable safetensors file"),
        "text": (b"not weights at all", "model must be a readable safetensors file"),
    }
    for name, (content, message) in cases.items():
        file = tmp_path / f"{name}.safetensors"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(InputError, match=message):
            load_model(file)
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="model must carry the card of a training run"):
        load_model(tmp_path / "other.safetensors")
    wider = dataclasses.replace(SETTINGS, network=NetworkSettings(width=16, blocks_down=(1, 1, 1), head=16))
    save_model(tmp_path, weights, {"version": 1, "settings": wider.to_dict()})
    with pytest.raises(InputError, match="model must have the weights that its card describes"):
        load_model(tmp_path)


def test_lines_under_text_are_not_visible_where_it_covers_them(micrographs, write, tmp_path):
    plain = micrographs[0]
    points = np.stack([np.arange(0, 40, 2), np.full(20, 12)], 1).astype(np.float32)
    long = dataclasses.replace(plain.lines[0], points_px=points, core_px=points, half_width_px=np.full(20, 2, np.float32),
                               contrast=np.full(20, -0.3, np.float32), depth_nm=np.zeros(20, np.float32), visible=np.ones(20, bool))  # fmt: skip
    mask = np.zeros(plain.shape, bool)
    mask[8:16, 10:20] = True
    others = mask.copy()
    others[:, 30:] = True
    marked = dataclasses.replace(plain, lines=(long,), distractors=(Distractor(kind="text", mask=mask), Distractor(kind="particle", mask=others)))
    source = StoredImages(open_dataset(write(tmp_path / "text.zarr", [marked, plain])), seed=0)
    (curve,) = source.labelled(0).curves
    assert np.array_equal(curve.visible, (points[:, 0] < 10) | (points[:, 0] >= 20))


def test_the_average_of_two_networks_has_their_mean_weights_and_names_both(tmp_path):
    states = [network_of(SETTINGS).state_dict() for _ in range(2)]
    for name, state in zip("ab", states):
        (tmp_path / name).mkdir()
        save_model(tmp_path / name, state, {"version": 2, "settings": SETTINGS.to_dict(), "steps": 7, "seconds": 1.0, "data": name})
    average([str(tmp_path / "a"), str(tmp_path / "b")], tmp_path / "mean")
    made = load_model(tmp_path / "mean", device="cpu")
    for name, value in made.module.state_dict().items():
        assert torch.allclose(value, (states[0][name] + states[1][name]) / 2, atol=1e-6)
    assert [told["data"] for told in made.card["mean_of"]] == ["a", "b"]
    for models, out, said in ((["a"], "c", "models must name two or more"), (["a", "b"], "mean", "out must hold no weights yet")):
        with pytest.raises(InputError, match=said):
            average([str(tmp_path / m) for m in models], tmp_path / out)
