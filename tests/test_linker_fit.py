"""Fitting the linker: on a small set of crossing lines whose truth is known, through maps that a network might draw."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from physics.errors import InputError
from train import linker_fit
from train.calibration import confidence_of
from train.curves import resample
from train.linker_truth import FALSE, OPEN, REAL
from train.targets import TargetSettings, target_maps

SHAPE = (128, 128)
SPLITS = {"train": range(26), "val": range(26, 30), "test": range(30, 38)}


@dataclass(frozen=True)
class Drawn:
    points_px: np.ndarray
    half_width_px: np.ndarray
    visible: np.ndarray


def chord(rng):
    """A straight line across the field at any angle."""
    angle, offset = rng.uniform(0, np.pi), rng.uniform(-35, 35)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    points = resample(64 + offset * across + np.array([[-48.0], [48.0]]) * along, 1.0)
    return Drawn(points, np.full(len(points), 1.8), np.ones(len(points), dtype=bool))


class Lines:
    """As `render.store.Dataset`, of images that hold nothing but their number."""

    def __init__(self, indices=range(38)):
        self.indices = list(indices)
        self.path, self.config, self.attributes = Path("crossing.zarr"), {"seed": 3}, {"config_sha256": "00"}

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, chosen):
        return Lines(self.index(i) for i in chosen)

    def index(self, i):
        return self.indices[i]

    def split(self, name):
        return Lines(SPLITS[name])

    def image(self, i):
        return np.full(SHAPE, self.indices[i], dtype=np.uint16)

    def lines(self, i):
        rng = np.random.default_rng(self.indices[i])
        return [chord(rng) for _ in range(5)]


def drawn_by_a_network(model, image):
    """Maps of the true lines, torn here and there, and of two lines more that are not there, fainter."""
    number = int(image[0, 0])
    model.seen.append(number)
    rng = np.random.default_rng(100 + number)
    maps = target_maps(Lines().lines(number), SHAPE, model.settings.targets)
    ghosts = target_maps([chord(rng) for _ in range(2)], SHAPE, model.settings.targets)
    torn = np.ones(maps.mask.shape)
    for i, j in rng.integers(4, 60, (6, 2)):
        torn[i - 2 : i + 2, j - 2 : j + 2] = 0.1
    return replace(
        maps, mask=np.maximum(maps.mask * torn, 0.6 * ghosts.mask), lift=np.maximum(maps.lift * torn, 0.6 * ghosts.lift),
        centreline=np.maximum(maps.centreline * torn, 0.6 * ghosts.centreline), distractors=None,
    )  # fmt: skip


def network(**data):
    return SimpleNamespace(settings=SimpleNamespace(targets=TargetSettings()), card={"data": data}, seen=[])


@pytest.fixture(autouse=True, scope="module")
def maps():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linker_fit, "predict_maps", drawn_by_a_network)
        yield


@pytest.fixture(scope="module")
def fitted(maps):
    return linker_fit.fit_linker(network(), Lines(), images=24, calibrated=6, judged=4, seed=0, epochs=30)


def test_a_fitted_linker_tells_real_joints_from_false_ones_on_images_it_has_not_seen(fitted):
    features, labels = linker_fit._examples(network(), Lines().split("test"), 8)
    known = labels != OPEN
    odds, real = fitted.log_odds(features[known]) - fitted.card["eagerness"], labels[known] == REAL
    share = real.mean()
    assert 0.02 < share < 0.98 and (labels == FALSE).sum() > 20  # there is something to tell apart
    loss = np.logaddexp(0, np.where(real, -odds, odds)).mean()
    guess = -share * np.log(share) - (1 - share) * np.log(1 - share)  # of who knows the shares and nothing else
    assert loss < 0.4 * guess
    assert np.median(odds[real]) > 0 > np.median(odds[~real])


def test_fitted_confidences_tell_true_lines_from_ghosts(fitted):
    rows, correct, sigma, error = linker_fit._lines(network(), Lines().split("test"), 4, fitted)
    confidence = confidence_of(rows, fitted.weights)
    assert correct.any() and not correct.all()
    assert confidence[correct].mean() > confidence[~correct].mean() + 0.3
    assert 0.4 < (error <= sigma).mean() < 0.95  # 0.68 of a normal law


def test_the_card_names_the_images_that_taught_joints_and_confidences(fitted):
    card = fitted.card
    assert card["learnt_from"] == {
        "joints": {"train": [0, 24]}, "eagerness": {"val": [0, 2]}, "confidences": {"val": [0, 4], "train": [24, 26]},
    }  # fmt: skip
    assert card["network_trained_on_train_split"] is False


@pytest.mark.parametrize("data", [
    {"name": "crossing.zarr", "config": {"seed": 9}},  # the name on the card of `train`
    {"name": "moved.zarr", "config": {"seed": 3}},
    {"name": "a.zarr", "config": {}, "further": [{"name": "crossing.zarr", "config": {"seed": 3}}]},
    {"name": "a.zarr", "config": {}, "begun_from": {"name": "b.zarr", "begun_from": {"name": "crossing.zarr", "config": {"seed": 9}}}},
])  # fmt: skip
def test_confidences_are_not_learnt_on_what_the_network_was_trained_on(data):
    with pytest.raises(InputError, match="calibrated must be at most 4, the val split") as refusal:
        linker_fit.fit_linker(network(**data), Lines(), images=6, calibrated=6, judged=4, seed=0, epochs=30)
    assert "\n" not in str(refusal.value)


def test_the_val_split_calibrates_a_network_trained_on_the_same_dataset():
    model = network(name="crossing.zarr")
    card = linker_fit.fit_linker(model, Lines(), images=3, calibrated=4, judged=4, seed=0, epochs=1).card
    assert card["learnt_from"]["confidences"] == {"val": [0, 4]} and card["network_trained_on_train_split"] is True
    assert set(model.seen) & set(SPLITS["train"]) == {0, 1, 2}  # by the joints alone


def test_the_mean_of_networks_has_seen_what_each_has():
    card = {"data": {"name": "a.zarr"}, "mean_of": [{"data": {"name": "crossing.zarr", "config": {"seed": 9}}}, {"data": {"name": "a.zarr"}}]}
    assert linker_fit.trained_on(card, Lines()) and not linker_fit.trained_on({"data": {"name": "a.zarr"}}, Lines())


def test_a_stream_with_the_same_configuration_is_no_dataset():
    assert not linker_fit.trained_on({"data": {"source": "stream", "config": {"seed": 3}}}, Lines())
    assert not linker_fit.trained_on({}, Lines())
