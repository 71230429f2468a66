"""Training examples of the rivals: the views and disturbances that `python -m train` makes, with a rival's target.

Axes: (Y, X) rows and columns of a view, (Yh, Xh) those of the target, half or a quarter of them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset

from train.augment import AugmentSettings, disturbed, draw_disturbance, standardised, still_visible
from train.benchmark.index_map import index_map
from train.benchmark.networks import CENTRELINE, STRIDES
from train.dataset import KeptImages, Source
from train.geometry import CurveLabel, ViewSettings, draw_view, view_curves, view_image
from train.metrics import truth_of
from train.targets import TargetSettings, target_maps

ENDLESS = 2**40


class RivalViews(TorchDataset):
    """(image (1, Y, X), target, heard (1, Yh, Xh)) by example number, a pure function of the seed and the number.

    The target of "centreline" is its map (1, Yh, Xh) in [0, 1], that of "index_map" the numbers (Yh, Xh); `heard` is 0 where
    the target is silent.
    """

    def __init__(self, source: Source, kind: str, seed: int, crop_px: int) -> None:
        self.kept, self.kind, self.seed, self.shape = KeptImages(source), kind, seed, (crop_px, crop_px)
        self.view, self.augment = ViewSettings(crop_px=crop_px), AugmentSettings()

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        labelled = self.kept.of_example(n)
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, n])))
        view = draw_view(labelled.image.shape, self.shape, self.view, rng)
        image, silent = view_image(labelled.image, view)
        curves = view_curves(labelled.curves, view)
        disturbance = draw_disturbance(self.shape, curves, self.augment, rng)
        curves = still_visible(curves, disturbance, labelled.noise_fraction, self.augment.detectable, image - np.float32(labelled.black))
        image, hidden = disturbed(image, disturbance)
        return rival_example(image, curves, silent | hidden, self.kind)


def rival_example(
    image: np.ndarray, curves: list[CurveLabel], silent: np.ndarray, kind: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What a rival sees of an image (Y, X) with curves; `silent` (Y, X) pixels have no target."""
    stride = STRIDES[kind]
    maps = target_maps(curves, image.shape, TargetSettings(stride=stride, orientations=8))
    heard = ~(maps.ignore | silent[::stride, ::stride])
    if kind == CENTRELINE:
        target = torch.from_numpy(maps.centreline)[None]
    else:
        truth = truth_of(curves, image.shape)
        target = torch.from_numpy(index_map(truth.curves_px, truth.half_width_px, image.shape) * heard)
    return torch.from_numpy(standardised(image)[None]), target, torch.from_numpy(heard.astype(np.float32))[None]
