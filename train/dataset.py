"""Training examples: micrographs of a dataset, or rendered on the fly, seen, disturbed, and their curves drawn.

Example number n is a pure function of the settings and of n. Nothing has to be remembered to go on where a run
stopped, and the number of loading processes changes nothing.

Axes: (Y, X) image rows and columns, (Yh, Xh) rows and columns of the maps, B images of a batch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, default_collate
from torch.utils.data import Dataset as TorchDataset

from physics.errors import InputError, require
from render import Dataset, Micrograph, sample, simulate
from render.cli import one_line
from train.augment import (
    disturbed,
    draw_disturbance,
    local_noise_fraction,
    noise_fraction_of,
    painted,
    standardised,
    still_visible,
)
from train.distractors import UNKNOWN, DistractorLabels, distractor_labels, distractor_maps
from train.geometry import CurveLabel, View, as_it_is, centred_view, draw_view, view_curves, view_image
from train.loss import packed_target
from train.seen_distractors import seen_distractors
from train.settings import StreamSettings, TrainSettings
from train.targets import Maps, target_maps

CACHE_BYTES = 2**29
SMALLEST_SIDE_PX = 32
SCENES_STREAM = 0x7261696E  # sets the scenes of a stream apart from those that `python -m render` draws from one seed


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """An image (Y, X), the label curves in it, its pixel noise over its mean, and its distractors (None: not known).

    `black` is the value that no electron leaves in the image.
    """

    image: np.ndarray
    curves: tuple[CurveLabel, ...]
    noise_fraction: float
    distractors: DistractorLabels | None = None
    black: float = 0.0

    @property
    def nbytes(self) -> int:
        """Of the pixels: the curves are small beside them."""
        return self.image.nbytes + (0 if self.distractors is None else self.distractors.areas.nbytes)


class Source(Protocol):
    """Where micrographs come from; `shape` (Y, X) of every one."""

    shape: tuple[int, int]

    def of_example(self, n: int) -> int:
        """Number of the micrograph that example `n` is a view of."""

    def labelled(self, number: int) -> Labelled: ...

    def identity(self) -> dict[str, Any]:
        """What the training data were, for the card of a run; "sha256" changes when they do."""


class StoredImages:
    """The images of a dataset, shuffled anew in each epoch by the seed."""

    def __init__(self, dataset: Dataset, seed: int) -> None:
        require(len(dataset) > 0, "data", "have at least one image to train on", 0)
        self.dataset, self.seed, self.shape = dataset, seed, dataset.shape

    def of_example(self, n: int) -> int:
        return _shuffled(self.seed, n, len(self.dataset))

    def labelled(self, number: int) -> Labelled:
        dataset = self.dataset
        image, lines, distractors = dataset.image(number), dataset.lines(number), dataset.distractors(number)
        return _labelled(image, lines, distractors, _black_of(json.loads(dataset.scene_json(number))["detector"]))

    def identity(self) -> dict[str, Any]:
        attributes = self.dataset.attributes
        text = json.dumps(attributes, sort_keys=True, default=str)
        return {
            "source": "dataset", "name": self.dataset.path.name, "images": len(self.dataset),
            "sha256": hashlib.sha256(text.encode()).hexdigest(), "config": attributes.get("config"),
        }  # fmt: skip


class JoinedImages:
    """Several datasets as one: numbers run on from one to the next, and each image is as likely as any other."""

    def __init__(self, sources: Sequence[StoredImages], seed: int) -> None:
        self.sources, self.seed = tuple(sources), seed
        self.starts = np.concatenate([[0], np.cumsum([len(source.dataset) for source in sources])])
        self.shape = tuple(min(sides) for sides in zip(*(source.shape for source in sources)))

    def of_example(self, n: int) -> int:
        return _shuffled(self.seed, n, int(self.starts[-1]))

    def labelled(self, number: int) -> Labelled:
        which = int(np.searchsorted(self.starts, number, side="right")) - 1
        return self.sources[which].labelled(number - int(self.starts[which]))

    def identity(self) -> dict[str, Any]:
        """That of the first dataset, with the others beside it."""
        first, *others = (source.identity() for source in self.sources)
        together = hashlib.sha256(" ".join(each["sha256"] for each in (first, *others)).encode()).hexdigest()
        return first | {"images": int(self.starts[-1]), "further": others, "sha256": together}


def stored_images(data: str | Path, seed: int) -> tuple[StoredImages | JoinedImages, Dataset]:
    """The train splits of a dataset, or of several with commas between their paths, and the (whole) first of them."""
    from render import open_dataset

    # A path may hold a comma itself; of several, a home folder is known here first.
    paths = [Path(data)] if Path(data).exists() else [Path(path).expanduser() for path in str(data).split(",")]
    datasets = [open_dataset(path) for path in paths]
    sources = [StoredImages(dataset.split("train"), seed) for dataset in datasets]
    return (sources[0] if len(sources) == 1 else JoinedImages(sources, seed)), datasets[0]


class RenderedImages:
    """Scenes sampled from a render configuration and simulated when they are needed.

    No scene is one that a dataset rendered with the same seed holds: such a dataset stays fit to judge the network.
    Batches go round the lanes; each batch brings its lane `fresh` new scenes and is drawn from its lane's last
    `pool`. One process serves whole lanes, so that it finds in its cache what it rendered before.
    """

    def __init__(self, config: Mapping[str, Any], seed: int, settings: StreamSettings, batch: int) -> None:
        self.config, self.seed, self.settings, self.batch = dict(config), seed, settings, batch
        self.scenes_seed = int(np.random.SeedSequence([seed, SCENES_STREAM]).generate_state(1, np.uint64)[0])
        self.shape = tuple(sample(self.config, self.scenes_seed, 0).shape)
        # A lane's first batch must not consist of one scene alone.
        self.first = min(settings.pool, max(batch, settings.fresh))

    def of_example(self, n: int) -> int:
        turn, lane = divmod(n // self.batch, self.settings.lanes)
        there = self.first + turn * self.settings.fresh
        rng = _generator(self.seed, n, 1)
        return int(rng.integers(max(0, there - self.settings.pool), there)) * self.settings.lanes + lane

    def labelled(self, number: int) -> Labelled:
        return labelled_micrograph(simulate(sample(self.config, self.scenes_seed, number)))

    def identity(self) -> dict[str, Any]:
        text = json.dumps([self.config, self.scenes_seed], sort_keys=True, default=str)
        return {"source": "stream", "config": self.config, "sha256": hashlib.sha256(text.encode()).hexdigest()}


class MixedImages:
    """A dataset with a part of its examples replaced by scenes rendered while training.

    Numbers from 0 on are images of the dataset, those below are the stream's, -1 its first.
    """

    def __init__(self, stored: StoredImages | JoinedImages, stream: RenderedImages, share: float, seed: int) -> None:
        self.stored, self.stream, self.share, self.seed = stored, stream, share, seed
        self.shape = tuple(min(sides) for sides in zip(stored.shape, stream.shape))

    def of_example(self, n: int) -> int:
        fresh = _generator(self.seed, n, 3).random() < self.share
        return -1 - self.stream.of_example(n) if fresh else self.stored.of_example(n)

    def labelled(self, number: int) -> Labelled:
        return self.stream.labelled(-1 - number) if number < 0 else self.stored.labelled(number)

    def identity(self) -> dict[str, Any]:
        stored, stream = self.stored.identity(), self.stream.identity()
        together = hashlib.sha256(f"{stored['sha256']} {stream['sha256']} {self.share}".encode()).hexdigest()
        return stored | {"source": "dataset and stream", "stream": stream, "share": self.share, "sha256": together}


class Examples(TorchDataset):
    """Pairs (image (1, Y, X) float32, packed target (K + 11, Yh, Xh) float16) by example number."""

    def __init__(self, source: Source, settings: TrainSettings) -> None:
        self.source, self.settings = source, settings
        self.shape = crop_shape(source.shape, settings.view.crop_px)
        self.kept = KeptImages(source)

    def __getitem__(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        settings = self.settings
        labelled = self.kept.of_example(n)
        rng = _generator(settings.seed, n, 0)
        view = draw_view(labelled.image.shape, self.shape, settings.view, rng)
        image, silent = view_image(labelled.image, view)
        curves = view_curves(labelled.curves, view)
        disturbance = draw_disturbance(self.shape, curves, settings.augment, rng)
        curves = still_visible(curves, disturbance, labelled.noise_fraction, settings.augment.detectable,
                               image - np.float32(labelled.black))  # fmt: skip
        image, hidden = disturbed(image, disturbance)
        distractors = _seen_distractors(labelled, view, silent, settings)
        if distractors is not None:
            added = distractor_labels(painted(disturbance, hidden), self.shape)
            distractors[distractor_maps(added, as_it_is(self.shape), settings.targets) > 0] = 1.0
        return example(image, curves, silent | hidden, settings, distractors)


class KeptImages:
    """The labelled images of a source by example number; those asked for last stay in memory, up to CACHE_BYTES."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._kept: OrderedDict[int, Labelled] = OrderedDict()
        self._kept_bytes = 0

    def of_example(self, n: int) -> Labelled:
        number = self.source.of_example(n)
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        labelled = self.source.labelled(number)
        self._kept[number] = labelled
        self._kept_bytes += labelled.nbytes
        while self._kept_bytes > CACHE_BYTES and len(self._kept) > 1:
            self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes
        return labelled

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": OrderedDict(), "_kept_bytes": 0}


def example(
    image: np.ndarray, curves: Sequence[CurveLabel], silent: np.ndarray, settings: TrainSettings,
    distractors: np.ndarray | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """What the network and the loss see of an image (Y, X) with curves; `silent` (Y, X) pixels have no target.

    `distractors` (D, Yh, Xh) are their maps, None where they are not known.
    """
    maps = replace(target_maps(curves, image.shape, settings.targets), distractors=distractors)
    stride = settings.targets.stride
    target = packed_target(maps, silent[::stride, ::stride])
    return torch.from_numpy(standardised(image)[None]), target


def validation_batch(source: Source, numbers: Sequence[int], settings: TrainSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """The middles of some images, undisturbed, with their targets: (B, 1, Y, X) and (B, K + 11, Yh, Xh)."""
    shape = crop_shape(source.shape, settings.view.crop_px)
    view: View = centred_view(source.shape, shape)
    pairs = []
    for number in numbers:
        labelled = source.labelled(number)
        image, silent = view_image(labelled.image, view)
        distractors = _seen_distractors(labelled, view, silent, settings)
        pairs.append(example(image, view_curves(labelled.curves, view), silent, settings, distractors))
    images, targets = zip(*pairs)
    return torch.stack(images), torch.stack(targets)


def whole_target(source: Source, number: int, settings: TrainSettings) -> Maps:
    """What the network should draw of a whole image, undisturbed."""
    labelled = source.labelled(number)
    view = as_it_is(labelled.image.shape)
    nowhere = np.zeros(view.shape, dtype=bool)
    maps = target_maps(labelled.curves, view.shape, settings.targets)
    return replace(maps, distractors=_seen_distractors(labelled, view, nowhere, settings))


def _seen_distractors(labelled: Labelled, view: View, silent: np.ndarray, settings: TrainSettings) -> np.ndarray | None:
    """Maps (D, Yh, Xh) of the distractors that a view shows, unknown outside the source; None where all is unknown."""
    if labelled.distractors is None:
        return None
    maps = distractor_maps(labelled.distractors, view, settings.targets)
    stride = settings.targets.stride
    maps[:, silent[::stride, ::stride]] = UNKNOWN
    return maps


def batches(
    examples: Examples, first_step: int, settings: TrainSettings, *, share: slice = slice(None), pin_memory: bool = False
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches from number `first_step` on, without end, prepared ahead by `settings.workers` processes.

    `share` is the part of each batch that this process is given (`train.distributed`). Raises InputError for input that
    cannot be used, whichever process met it.
    """
    workers = settings.workers
    loader = DataLoader(
        _OrRefusal(examples),
        batch_sampler=_Numbers(first_step, settings.batch, share),
        num_workers=workers,
        collate_fn=_collated,
        # Fork would copy the locks of torch's and numba's running threads.
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_one_thread if workers else None,
        pin_memory=pin_memory,
    )
    for batch in loader:
        if isinstance(batch, _Refusal):
            raise InputError(batch.message)
        yield batch


@dataclass(frozen=True)
class _Refusal:
    message: str


class _OrRefusal(TorchDataset):
    """Whole batches of examples; a refusal travels as a value, for torch makes a traceback of an exception."""

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __getitems__(self, numbers: Sequence[int]) -> list[tuple[torch.Tensor, torch.Tensor]] | _Refusal:
        try:
            return [self.examples[n] for n in numbers]
        except (InputError, OSError) as error:
            return _Refusal(one_line(error))


def _collated(batch: list[tuple[torch.Tensor, torch.Tensor]] | _Refusal) -> list[torch.Tensor] | _Refusal:
    return batch if isinstance(batch, _Refusal) else default_collate(batch)


def crop_shape(source_shape: tuple[int, int], crop_px: int) -> tuple[int, int]:
    """The (Y, X) of training views: squares of `crop_px`, less where an image is smaller, in multiples of 16."""
    shape = tuple(min(crop_px, n // 16 * 16) for n in source_shape)
    require(min(shape) >= SMALLEST_SIDE_PX, "data", f"have images of at least {SMALLEST_SIDE_PX} px a side",
            f"{source_shape[0]} x {source_shape[1]}")  # fmt: skip
    return shape


class _Numbers:
    """Example numbers of batch after batch, without end; of each batch, `share`."""

    def __init__(self, first_step: int, batch: int, share: slice) -> None:
        self.first_step, self.batch, self.share = first_step, batch, share

    def __iter__(self) -> Iterator[list[int]]:
        step = self.first_step
        while True:
            yield list(range(step * self.batch, (step + 1) * self.batch))[self.share]
            step += 1


def labelled_micrograph(micrograph: Micrograph) -> Labelled:
    """What training needs of a micrograph."""
    detector = dataclasses.asdict(micrograph.scene.detector)
    return _labelled(micrograph.image, micrograph.lines, micrograph.distractors, _black_of(detector))


def _black_of(detector: Mapping[str, Any]) -> float:
    """The camera's offset; what a recording has stretched and cut has its black at 0."""
    return 0.0 if detector.get("recording") else float(detector.get("offset_counts", 0.0))


def _labelled(image: np.ndarray, lines: Sequence[Any], distractors: Sequence[Any] = (), black: float = 0.0) -> Labelled:
    """Where text is drawn over a line nobody can see it: it is not visible there, and so neither wanted nor forbidden."""
    hidden = np.zeros(image.shape, dtype=bool)
    for distractor in distractors:
        if distractor.kind == "text":
            hidden |= distractor.mask
    noise = local_noise_fraction(image, [line.points_px for line in lines], black)
    curves = tuple(
        CurveLabel(
            points_px=np.asarray(line.points_px, dtype=np.float64),
            half_width_px=np.asarray(line.half_width_px, dtype=np.float64),
            contrast=np.asarray(line.contrast, dtype=np.float64),
            visible=np.asarray(line.visible, dtype=bool) & ~_at(hidden, line.points_px),
            noise_fraction=noise_fraction,
        )
        for line, noise_fraction in zip(lines, noise)
    )
    return Labelled(
        image=image, curves=curves, noise_fraction=noise_fraction_of(image), black=black,
        distractors=distractor_labels(seen_distractors(image, distractors, black), image.shape),
    )  # fmt: skip


def _at(mask: np.ndarray, points_px: np.ndarray) -> np.ndarray:
    """Values (K,) of a mask (Y, X) at points (K, 2); False outside."""
    x, y = np.rint(np.asarray(points_px, dtype=np.float64)).astype(int).T
    inside = (x >= 0) & (x < mask.shape[1]) & (y >= 0) & (y < mask.shape[0])
    found = np.zeros(len(x), dtype=bool)
    found[inside] = mask[y[inside], x[inside]]
    return found


def _generator(seed: int, n: int, purpose: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, n, purpose])))


def _shuffled(seed: int, n: int, images: int) -> int:
    """The image of example `n` where all images are seen once an epoch, in an order of its own."""
    epoch, place = divmod(n, images)
    return int(_permutation(seed, epoch, images)[place])


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, n: int) -> np.ndarray:
    return _generator(seed, epoch, 2).permutation(n)


def _one_thread(worker: int) -> None:
    import numba

    torch.set_num_threads(1)
    numba.set_num_threads(1)
