"""The network: a MONAI encoder-decoder on the unshuffled image, returning the lifted maps at stride 2.

Axes: B images, K orientation bins, (Y, X) image rows and columns, (Yh, Xh) those of the maps.
The channels of the logits (B, K + 10, Yh, Xh) are those of `train.channels`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.networks.layers.utils import get_norm_layer
from monai.networks.nets import BasicUNet, SegResNet
from torch import nn
from torch.nn import functional

from physics.errors import require
from train.augment import standardised
from train.channels import (
    CENTRELINE,
    ENDS,
    HALF_WIDTH,
    LIFT,
    MASK,
    channel_count,
    distractor_channels,
    offset_channels,
)
from train.targets import Maps

FAMILIES = ("segresnet", "basicunet")
SMALLEST_IMAGE_PX = 16
# Up to this size an image is looked at whole; larger ones in overlapping windows of `WINDOW_PX`.
WHOLE_IMAGE_PX = 1024
WINDOW_PX = 768


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """A MONAI family and its size.

    "segresnet" (Myronenko 2018): `blocks_down` residual blocks a level, `width` channels at the first, doubled at
    each; `wide` lets its last layer see the level before too, through a pixel shuffle: the features of `width` channels at
    full resolution are fewer than the maps (validation loss 1.725 to 1.706 after 250 batches, for 8 % more time).
    "basicunet" (Ronneberger et al. 2015): `width` channels, one level for each entry of `blocks_down` beyond
    the first. `head` channels go into the last 1 x 1 convolution. Norms are group norms: no batch statistics, so
    that a network can be fine-tuned on two images.
    """

    family: str = "segresnet"
    width: int = 16
    blocks_down: tuple[int, ...] = (1, 2, 2, 4)
    head: int = 48
    wide: bool = False

    def __post_init__(self) -> None:
        require(self.family in FAMILIES, "network.family", f"be one of {', '.join(FAMILIES)}", self.family)
        require(self.width >= 8 and self.width % 8 == 0, "network.width", "be a multiple of 8, at least 8", self.width)
        levels = len(self.blocks_down)
        require(2 <= levels <= 6, "network.blocks_down", "have 2 to 6 levels", list(self.blocks_down))
        require(self.family != "basicunet" or levels == 5, "network.blocks_down", "have 5 levels for basicunet", levels)
        require(isinstance(self.wide, bool), "network.wide", "be true or false", self.wide)
        require(not self.wide or self.family == "segresnet", "network.wide", "be false for basicunet", self.wide)
        require(self.head >= 8, "network.head", "be >= 8", self.head)


class LiftedNetwork(nn.Module):
    """PixelUnshuffle stem, MONAI body, 1 x 1 head: (B, 1, Y, X) to logits (B, K + 10, Y / stride, X / stride).

    `untaught` names the outputs that no training has reached: those that weights of an older layout do not have.
    """

    def __init__(self, settings: NetworkSettings, stride: int, orientations: int) -> None:
        super().__init__()
        self.stride = stride
        self.orientations = orientations
        self.untaught: tuple[str, ...] = ()
        self.multiple_px = stride * 2 ** (len(settings.blocks_down) - 1)
        self.stem = nn.PixelUnshuffle(stride)
        self.body = _body(settings, stride * stride)
        self.head = nn.Sequential(nn.LeakyReLU(0.1), nn.Conv2d(settings.head, channel_count(orientations), 1))
        # Most of a map is empty: starting there spares the first steps.
        nn.init.constant_(self.head[1].bias, -3.0)
        with torch.no_grad():
            self.head[1].bias[HALF_WIDTH] = 1.0
            self.head[1].bias[offset_channels(orientations)] = 0.0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.stem(image)))


def _body(settings: NetworkSettings, channels: int) -> nn.Module:
    group = ("group", {"num_groups": 8})
    if settings.family == "segresnet":
        return (_WideSegResNet if settings.wide else SegResNet)(
            spatial_dims=2, in_channels=channels, out_channels=settings.head, init_filters=settings.width,
            blocks_down=settings.blocks_down, blocks_up=(1,) * (len(settings.blocks_down) - 1), norm=group,
        )  # fmt: skip
    w = settings.width
    return BasicUNet(
        spatial_dims=2, in_channels=channels, out_channels=settings.head, features=(w, w, 2 * w, 4 * w, 8 * w, w),
        norm=group,
    )  # fmt: skip


class _WideSegResNet(SegResNet):
    """A SegResNet whose last layer sees the last two levels of the decoder, the coarser one through a pixel shuffle."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        width, norm = settings["init_filters"], settings["norm"]
        self.wide = nn.Sequential(
            get_norm_layer(norm, spatial_dims=2, channels=2 * width), nn.ReLU(), nn.Conv2d(2 * width, 8 * width, 3, padding=1), nn.PixelShuffle(2)
        )
        self.conv_final = nn.Sequential(
            get_norm_layer(norm, spatial_dims=2, channels=3 * width), nn.ReLU(), nn.Conv2d(3 * width, settings["out_channels"], 1)
        )

    def decode(self, x: torch.Tensor, down_x: list[torch.Tensor]) -> torch.Tensor:
        coarse = x
        for up, layer, beside in zip(self.up_samples, self.up_layers, down_x[1:]):
            coarse = x
            x = layer(up(x) + beside)
        return self.conv_final(torch.cat([x, self.wide(coarse)], dim=1))


def half_width_px_of(logits: torch.Tensor) -> torch.Tensor:
    """Half-width in image pixels (B, Yh, Xh): labels are at least 1, so the output starts there."""
    return 1.0 + functional.softplus(logits[:, HALF_WIDTH])


@torch.no_grad()
def infer(network: nn.Module, image: np.ndarray, device: torch.device | None = None) -> Maps:
    """Maps of one image (Y, X) of any counts, by the network in its present mode and precision.

    Raises InputError for an image under 16 px or with values that are not finite.
    """
    image = np.asarray(image)
    require(image.ndim == 2, "image", "be one grey-scale frame (Y, X)", f"shape {image.shape}")
    rows, columns = image.shape
    require(min(rows, columns) >= SMALLEST_IMAGE_PX, "image", f"be at least {SMALLEST_IMAGE_PX} px on each side",
            f"{rows} x {columns} px")  # fmt: skip
    image = image.astype(np.float32)
    require(bool(np.isfinite(image).all()), "image", "have finite values", "nan or inf")
    device = device or next(network.parameters()).device
    multiple = network.multiple_px
    # At least two multiples, so that mirroring and the coarsest level have something to work on.
    height, width = (max(2, math.ceil(n / multiple)) * multiple for n in (rows, columns))
    padded = np.pad(standardised(image), ((0, height - rows), (0, width - columns)), mode="symmetric")
    batch = torch.from_numpy(padded)[None, None].to(device)
    if max(rows, columns) <= WHOLE_IMAGE_PX:
        logits = network(batch)
    else:
        logits = sliding_window_inference(
            batch, (min(WINDOW_PX, height), min(WINDOW_PX, width)), 1, network, overlap=0.25, mode="gaussian"
        )
    return maps_of(logits.float(), (rows, columns), network)


def maps_of(logits: torch.Tensor, shape: tuple[int, int], network: LiftedNetwork) -> Maps:
    """Maps of the first image of a batch of the network's logits, cut to an image of `shape` (Y, X)."""
    stride, bins = network.stride, network.orientations
    size = tuple(-(-n // stride) for n in shape)
    chance = torch.sigmoid(logits[0]).cpu().numpy()[:, : size[0], : size[1]]
    half_width = half_width_px_of(logits)[0].cpu().numpy()[: size[0], : size[1]]
    offset_px = logits[0, offset_channels(bins)].cpu().numpy()[:, : size[0], : size[1]]
    return Maps(
        mask=chance[MASK], centreline=chance[CENTRELINE], half_width_px=half_width, ends=chance[ENDS],
        lift=np.ascontiguousarray(chance[LIFT : LIFT + bins]), ignore=np.zeros(size, dtype=bool), stride=stride,
        offset_px=None if "offset" in network.untaught else offset_px,
        distractors=None if "distractors" in network.untaught else chance[distractor_channels(bins)],
    )  # fmt: skip


def chosen_device(name: str) -> torch.device:
    """The device of that name; "auto" takes CUDA where there is one. Raises InputError for CUDA without a GPU."""
    there = torch.cuda.is_available()
    require(name != "cuda" or there, "device", "be cpu on a machine without CUDA", name, "write device=cpu")
    return torch.device("cuda" if there and name != "cpu" else "cpu")


def computes_in_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32 there: measured 1.8 times on a CPU with AVX512-BF16, slower without."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    # Private names in torch 2.6 to 2.13; where they are gone, float32 is the safe answer.
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, test, lambda: False)() for test in tests)
