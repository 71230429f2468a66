"""The loss on the lifted maps.

Axes: B images, K orientation bins, (Yh, Xh) rows and columns of the maps. Channels as in `train.model`, and in a
packed target one more, last: the weight of a pixel, 0 where the target is silent, 2 in a crossing, else 1.
"""

from __future__ import annotations

import numpy as np
import torch
from monai.losses import DiceLoss
from torch.nn import functional

from train.model import CENTRELINE, ENDS, HALF_WIDTH, LIFT, MASK, half_width_px_of
from train.settings import LossSettings
from train.targets import Maps, crossing_map

SILENT, PLAIN, CROSSING = 0.0, 1.0, 2.0
# The half-width means something within about one sigma and a half of a line.
NEAR_LINE = 0.3


def packed_target(maps: Maps, silent: np.ndarray | None = None) -> np.ndarray:
    """One array (K + 5, Yh, Xh) float16 for the loss; `silent` (Yh, Xh) adds to where the maps say ignore."""
    weight = np.where(crossing_map(maps.lift), CROSSING, PLAIN)
    weight[maps.ignore if silent is None else maps.ignore | silent] = SILENT
    planar = np.stack([maps.mask, maps.centreline, maps.half_width_px, maps.ends])
    return np.concatenate([planar, maps.lift, weight[None]]).astype(np.float16)


def loss_parts(logits: torch.Tensor, target: torch.Tensor, settings: LossSettings) -> dict[str, torch.Tensor]:
    """The weighted parts of the loss, scalars, and their sum under "loss".

    `logits` (B, K + 4, Yh, Xh), `target` (B, K + 5, Yh, Xh). Cross entropy weighs a pixel 1 + positive y, plus
    `crossing` where two orientations meet, and is a mean over what is not silent; soft Dice (Milletari et al. 2016)
    is taken over the whole batch, so that an empty image does not count as a failure.
    """
    logits, target = logits.float(), target.float()
    heard = (target[:, -1:] > SILENT).float()
    crossing = settings.crossing * (target[:, -1:] == CROSSING).float()
    maps = target[:, :-1]

    def entropy(first: int, last: int, positive: float, extra: torch.Tensor | float = 0.0) -> torch.Tensor:
        y = maps[:, first:last]
        weight = heard * (1 + positive * y + extra)
        cost = functional.binary_cross_entropy_with_logits(logits[:, first:last], y, weight, reduction="sum")
        return cost / weight.sum().clamp_min(1.0)

    near = heard[:, 0] * (maps[:, CENTRELINE] > NEAR_LINE)
    off_px = functional.smooth_l1_loss(half_width_px_of(logits), maps[:, HALF_WIDTH], reduction="none")
    lift = maps[:, LIFT:]
    dice = DiceLoss(batch=True, reduction="none", smooth_nr=1.0, smooth_dr=1.0)
    overlap = dice((torch.sigmoid(logits[:, LIFT:]) * heard).flatten(2, 3), (lift * heard).flatten(2, 3))
    parts = {
        "lift": settings.lift * entropy(LIFT, maps.shape[1], settings.positive, crossing),
        "lift_dice": settings.lift_dice * overlap.mean(),
        "mask": settings.mask * entropy(MASK, MASK + 1, 0.0),
        "centreline": settings.centreline * entropy(CENTRELINE, CENTRELINE + 1, settings.positive, crossing),
        "ends": settings.ends * entropy(ENDS, ENDS + 1, settings.end_positive),
        "half_width": settings.half_width * (near * off_px).sum() / near.sum().clamp_min(1.0),
    }
    return {"loss": sum(parts.values())} | parts
