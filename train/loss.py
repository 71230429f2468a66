"""The loss on the lifted maps.

Axes: B images, K orientation bins, (Yh, Xh) rows and columns of the maps, D distractor groups. Channels as in
`train.channels`; the weight of a pixel in a packed target is 0 where the target is silent, 2 in a crossing, else 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from train.channels import (
    CENTRELINE,
    DISTRACTOR_GROUPS,
    ENDS,
    HALF_WIDTH,
    LIFT,
    MASK,
    channel_count,
    distractor_channels,
    offset_channels,
)
from train.distractors import UNKNOWN
from train.model import half_width_px_of
from train.settings import LossSettings
from train.targets import Maps, crossing_map

SILENT, PLAIN, CROSSING = 0.0, 1.0, 2.0
# The half-width means something within about one sigma and a half of a line.
NEAR_LINE = 0.3
# Farther than about two sigma from a line.
NO_LINE = 0.1


def packed_target(maps: Maps, silent: np.ndarray | None = None) -> torch.Tensor:
    """One tensor (K + 11, Yh, Xh) float16 for the loss; `silent` (Yh, Xh) adds to where the maps say ignore.

    Distractors that are not known (None) are `UNKNOWN`, and cost nothing.
    """
    weight = np.where(crossing_map(maps.lift), np.float32(CROSSING), np.float32(PLAIN))
    weight[maps.ignore if silent is None else maps.ignore | silent] = SILENT
    planar = np.stack([maps.mask, maps.centreline, maps.half_width_px, maps.ends])
    distractors = maps.distractors
    if distractors is None:
        distractors = np.full((len(DISTRACTOR_GROUPS), *maps.shape), UNKNOWN, dtype=np.float32)
    whole = np.concatenate([planar, maps.lift, maps.offset_px, distractors, weight[None]])
    return torch.from_numpy(whole).half()  # numpy takes ten times as long to round


def loss_parts(
    logits: torch.Tensor, target: torch.Tensor, settings: LossSettings, total: Callable[[torch.Tensor], torch.Tensor] | None = None
) -> dict[str, torch.Tensor]:
    """The weighted parts of the loss, scalars, and their sum under "loss".

    `logits` (B, K + 10, Yh, Xh), `target` (B, K + 11, Yh, Xh). Cross entropy weighs a pixel 1 + positive y, plus
    `crossing` where two orientations meet, plus `hard_negative` on a distractor where no line is, and is a mean over
    what is not silent; soft Dice (Milletari et al. 2016) is taken over the whole batch, so that an empty image does not
    count as a failure. The offset is wanted near a line, not where two cross. The distractor maps have a silence of
    their own: what hides a line does not hide what it is itself.

    Every part is a ratio of sums over the batch; `total` is given these sums, one vector, before they are divided
    (`train.distributed`).
    """
    logits, target = logits.float(), target.float()
    orientations = target.shape[1] - 1 - channel_count(0)
    heard = (target[:, -1:] > SILENT).float()
    crosses = (target[:, -1:] == CROSSING).float()
    maps = target[:, :-1]
    distractors = maps[:, distractor_channels(orientations)]
    mistakable = (distractors > 0).any(dim=1, keepdim=True) & (maps[:, CENTRELINE : CENTRELINE + 1] < NO_LINE)
    extra = settings.crossing * crosses + settings.hard_negative * mistakable.float()

    def entropy(channels: slice, positive: float, extra: torch.Tensor | float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
        y = maps[:, channels]
        weight = heard * (1 + positive * y + extra)
        cost = functional.binary_cross_entropy_with_logits(logits[:, channels], y, weight, reduction="sum")
        return cost, weight.sum()

    near = heard[:, 0] * (maps[:, CENTRELINE] > NEAR_LINE)
    off_px = functional.smooth_l1_loss(half_width_px_of(logits), maps[:, HALF_WIDTH], reduction="none")
    alone = near * (1 - crosses[:, 0])
    offset = offset_channels(orientations)
    missed_px = functional.smooth_l1_loss(logits[:, offset], maps[:, offset], reduction="none").mean(dim=1)
    known = (distractors > 0.5 * UNKNOWN).float() * (1 + settings.positive * distractors)
    taken_for = functional.binary_cross_entropy_with_logits(
        logits[:, distractor_channels(orientations)], distractors.clamp_min(0.0), known, reduction="sum"
    )
    lifted = slice(LIFT, LIFT + orientations)
    means = {
        "lift": (settings.lift, *entropy(lifted, settings.positive, extra)),
        "mask": (settings.mask, *entropy(slice(MASK, MASK + 1), 0.0)),
        "centreline": (settings.centreline, *entropy(slice(CENTRELINE, CENTRELINE + 1), settings.positive, extra)),
        "ends": (settings.ends, *entropy(slice(ENDS, ENDS + 1), settings.end_positive)),
        "half_width": (settings.half_width, (near * off_px).sum(), near.sum()),
        "offset": (settings.offset, (alone * missed_px).sum(), alone.sum()),
        "distractors": (settings.distractors, taken_for, known.sum()),
    }
    chance, wanted = torch.sigmoid(logits[:, lifted]) * heard, maps[:, lifted] * heard
    common, both = (chance * wanted).sum(dim=(0, 2, 3)), (chance + wanted).sum(dim=(0, 2, 3))
    sums = torch.cat([torch.stack([s for _, cost, weight in means.values() for s in (cost, weight)]), common, both])
    sums = sums if total is None else total(sums)
    ratios, common, both = sums.split([2 * len(means), orientations, orientations])
    costs, weights = ratios.view(-1, 2).unbind(1)
    parts = {
        name: scale * cost / weight.clamp_min(1.0) for (name, (scale, _, _)), cost, weight in zip(means.items(), costs, weights)
    }
    parts["lift_dice"] = settings.lift_dice * (1 - (2 * common + 1) / (both + 1)).mean()
    return {"loss": sum(parts.values())} | parts
