import math

import numpy as np
import pytest
import torch
from torch import nn

import train.model
from physics.errors import InputError
from train.channels import DISTRACTOR_GROUPS, LIFT, channel_count
from train.checkpoint import network_of
from train.loss import loss_parts, packed_target
from train.model import FAMILIES, NetworkSettings, infer
from train.settings import LossSettings, TrainSettings
from train.targets import Maps, target_maps

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def network(family="segresnet", seed=0):
    torch.manual_seed(seed)
    levels = (1, 1, 1, 1, 1) if family == "basicunet" else (1, 1, 1)
    wide = family == "wide"
    settings = TrainSettings(network=NetworkSettings(family="segresnet" if wide else family, width=8, blocks_down=levels, head=16, wide=wide))
    return network_of(settings).eval()


@pytest.mark.parametrize("family", [*FAMILIES, "wide"])
@pytest.mark.parametrize("shape", [(16, 16), (37, 61), (96, 64)])
def test_maps_have_half_the_size_of_any_image(family, shape):
    maps = infer(network(family), np.random.default_rng(0).integers(0, 4000, shape).astype(np.uint16))
    assert maps.shape == tuple(math.ceil(n / 2) for n in shape)
    assert maps.lift.shape == (16, *maps.shape) and maps.lift.dtype == np.float32
    assert maps.half_width_px.min() >= 1
    assert 0 <= maps.lift.min() and maps.lift.max() <= 1


@pytest.mark.parametrize("family", [*FAMILIES, "wide"])
def test_network_has_no_batch_statistics(family):
    kinds = {type(module).__name__ for module in network(family).modules()}
    assert not any("BatchNorm" in kind for kind in kinds)
    assert any("GroupNorm" in kind for kind in kinds)


def test_the_last_layer_of_a_wide_network_sees_the_coarser_level():
    net, image = network("wide"), np.random.default_rng(1).normal(size=(48, 48))
    before = infer(net, image).lift
    with torch.no_grad():
        net.body.wide[2].weight.zero_()
    assert np.abs(infer(net, image).lift - before).max() > 1e-3


def test_maps_do_not_depend_on_gain_and_offset():
    image = np.random.default_rng(1).integers(0, 255, (48, 48)).astype(np.uint8)
    a, b = infer(network(), image), infer(network(), image.astype(np.float64) * 37.0 + 500.0)
    np.testing.assert_allclose(a.lift, b.lift, atol=1e-4)  # float32 rounding of the standardised image


def test_windows_agree_with_the_whole_image(monkeypatch):
    rng = np.random.default_rng(2)
    image = rng.normal(100, 5, (160, 224))
    net = network()
    whole = infer(net, image)
    monkeypatch.setattr(train.model, "WHOLE_IMAGE_PX", 100)
    monkeypatch.setattr(train.model, "WINDOW_PX", 128)
    windowed = infer(net, image)
    assert windowed.lift.shape == whole.lift.shape
    # Group norms see other statistics in a window; noise is alike everywhere.
    np.testing.assert_allclose(windowed.centreline, whole.centreline, atol=0.02)


def test_image_of_three_by_three_pixels_is_refused():
    with pytest.raises(InputError, match=r"image must be at least 16 px on each side, got 3 x 3 px"):
        infer(network(), np.zeros((3, 3), dtype=np.uint8))


def test_image_with_nan_is_refused():
    image = np.zeros((32, 32))
    image[3, 4] = np.nan
    with pytest.raises(InputError, match="image must have finite values"):
        infer(network(), image)


def test_constant_image_gives_finite_maps():
    assert np.isfinite(infer(network(), np.full((32, 32), 7, dtype=np.uint16)).lift).all()


def crossing_lines():
    t = np.linspace(-40, 40, 81)

    def line(points):
        return type("L", (), {"points_px": points, "half_width_px": np.full(81, 2.0), "visible": np.ones(81, bool)})

    return [line(np.stack([32 + t, 32 + 0 * t], 1)), line(np.stack([32 + 0.6 * t, 32 + 0.8 * t], 1))]


def logits_of(maps: Maps) -> torch.Tensor:
    chance = np.concatenate([np.stack([maps.mask, maps.centreline, 0 * maps.mask, maps.ends]), maps.lift])
    logits = np.log(np.clip(chance, 1e-6, 1 - 1e-6) / np.clip(1 - chance, 1e-6, 1))
    logits[2] = np.log(np.expm1(np.maximum(maps.half_width_px - 1, 1e-3)))
    logits = np.concatenate([logits, maps.offset_px, np.full((len(DISTRACTOR_GROUPS), *maps.shape), -10.0)])
    return torch.tensor(logits[None], dtype=torch.float32)


def test_loss_is_least_at_the_target():
    maps = target_maps(crossing_lines(), (64, 64))
    target = packed_target(maps)[None]
    best = logits_of(maps)
    at_best = loss_parts(best, target, LossSettings())["loss"].item()
    rng = torch.Generator().manual_seed(0)
    for scale in (0.3, 1.0):
        moved = best + scale * torch.randn(best.shape, generator=rng)
        assert loss_parts(moved, target, LossSettings())["loss"].item() > at_best
    assert loss_parts(best, target, LossSettings())["half_width"].item() < 1e-5


def test_crossings_weigh_more():
    maps = target_maps(crossing_lines(), (64, 64))
    packed = packed_target(maps)
    assert packed[-1, 16, 16] == 2.0
    assert packed[-1, 16, 2] == 1.0
    logits = torch.zeros(1, channel_count(16), 32, 32, requires_grad=True)
    loss_parts(logits, packed[None], LossSettings(lift_dice=0.0))["lift"].backward()
    gradient = logits.grad[0, LIFT + 12].abs()
    # Empty bin: weight 1 outside, 1 + crossing = 9 inside; the gradient of the entropy is weight (p - y).
    assert gradient[16, 16] / gradient[16, 2] == pytest.approx(9.0, rel=1e-4)


def test_silent_pixels_have_no_gradient():
    maps = target_maps(crossing_lines(), (64, 64))
    silent = np.zeros((32, 32), dtype=bool)
    silent[:, 16:] = True
    target = packed_target(maps, silent)[None]
    logits = torch.randn(1, channel_count(16), 32, 32, requires_grad=True)
    loss_parts(logits, target, LossSettings())["loss"].backward()
    assert logits.grad[..., 16:].abs().max() == 0
    assert logits.grad[..., :16].abs().max() > 0


def test_loss_of_an_all_silent_batch_is_finite():
    maps = target_maps([], (32, 32))
    target = packed_target(maps, np.ones((16, 16), dtype=bool))[None]
    assert torch.isfinite(loss_parts(torch.randn(1, channel_count(16), 16, 16), target, LossSettings())["loss"])


def test_gradient_reaches_every_weight():
    net = network().train()
    target = packed_target(target_maps(crossing_lines(), (64, 64)))[None]
    loss_parts(net(torch.randn(1, 1, 64, 64)), target, LossSettings())["loss"].backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert without == []


def test_unknown_family_is_refused():
    with pytest.raises(InputError, match="network.family must be one of segresnet, basicunet, got resnet"):
        NetworkSettings(family="resnet")


def test_every_parameter_is_single_precision():
    assert {p.dtype for p in network().parameters()} == {torch.float32}
    assert isinstance(network().stem, nn.PixelUnshuffle)
