"""Which channel of the network's output, and of the target that the loss compares it with, holds what.

The one place that fixes the layout: a new map gets its name and place here, its target in `train.targets` or
`train.distractors`, its part of the loss in `train.loss`, and its field in `train.targets.Maps`.

Logits (B, K + 10, Yh, Xh): mask, centreline, half-width, ends, the K layers of the lift, the offset (x, y) to the
nearest line, the four distractor groups. A packed target (B, K + 11, Yh, Xh) has one more channel, last: the weight
of a pixel. New maps are appended after the lift, so that older weights keep their rows (`train.checkpoint`).
"""

from __future__ import annotations

MASK, CENTRELINE, HALF_WIDTH, ENDS, LIFT = 0, 1, 2, 3, 4
OFFSETS = 2
# Grouped by what tells them from a line: thin ones by how they look along a few pixels, spots by their outline, bands
# by fringes over a width, text by its strokes. A pixel may belong to several, and to a line as well.
DISTRACTOR_GROUPS = ("thin", "spot", "band", "text")
FIRST_OUTPUTS = ("mask", "centreline", "half_width", "ends", "lift")  # those of weights of card version 1
LATER_OUTPUTS = ("offset", "distractors")


def offset_channels(orientations: int) -> slice:
    """Where the offset (x, y) is, for K = `orientations`."""
    return slice(LIFT + orientations, LIFT + orientations + OFFSETS)


def distractor_channels(orientations: int) -> slice:
    """Where the maps of `DISTRACTOR_GROUPS` are, for K = `orientations`."""
    first = LIFT + orientations + OFFSETS
    return slice(first, first + len(DISTRACTOR_GROUPS))


def channel_count(orientations: int) -> int:
    """Channels of the logits."""
    return distractor_channels(orientations).stop
