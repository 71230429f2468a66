"""`python -m train.finetune model=RUN data=FOLDER out=RUN2`: a network goes on learning from a few annotated micrographs.

Axes: B images of a batch, K orientation bins, (Y, X) image rows and columns, (Yh, Xh) those of the maps.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from physics.errors import require
from render.cli import counted, run_command

if TYPE_CHECKING:
    from train.annotated import AnnotatedImage
    from train.checkpoint import LoadedModel
    from train.dataset import Labelled

USAGE = """\
python -m train.finetune data=FOLDER out=RUN2 [model=RUN] [loo=true] [max_seconds=140] …

Goes on training a network on 1 to 10 annotated micrographs, with synthetic images between them so that it does not forget.
FOLDER holds images and beside each NAME.json (labelme), NAME.csv (napari, with NAME_widths.csv where there is one) or, as
a weaker label, NAME_mask.png. To correct what a network found: python -m train.predict … formats=[labelme], then
data=DIR/labelme. loo=true also fine-tunes without each image in turn and says in RUN2/loo.json and RUN2/report.html how
well the lines of the one left out are found, before and after. Without model= the weights of the package are used.
"""
PATH_KEYS = ("data", "out", "model", "replay")


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings:
    """A fine-tuning ends after `max_seconds` or `max_steps` steps of `batch` views of `crop_px`, whichever comes first.

    `replay_share` of a batch are synthetic images. The rate rises over `warmup_steps` and falls as half a cosine.
    """

    seed: int = 0
    max_seconds: float | None = 140.0
    max_steps: int | None = 400
    batch: int = 8
    crop_px: int = 256
    replay_share: float = 0.375
    learning_rate: float = 4e-4
    warmup_steps: int = 10
    weight_decay: float = 0.01
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        require(self.max_seconds is not None or self.max_steps is not None, "max_seconds or max_steps", "be given", "neither")
        for name in ("max_seconds", "max_steps", "learning_rate", "clip_norm"):
            value = getattr(self, name)
            require(value is None or value > 0, name, "be > 0", value)
        require(self.batch >= 1, "batch", "be >= 1", self.batch)
        require(self.crop_px >= 32 and self.crop_px % 16 == 0, "crop_px", "be a multiple of 16, at least 32", self.crop_px)
        require(0 <= self.replay_share < 1, "replay_share", "lie in [0, 1)", self.replay_share)
        require(self.warmup_steps >= 0 and self.weight_decay >= 0, "warmup_steps and weight_decay", "be >= 0", self.warmup_steps)
        require(0 <= self.seed < 2**32, "seed", "lie in [0, 2^32)", self.seed)


# Real frames hold their own noise and light: they are disturbed less than synthetic ones.
GENTLE = {
    "p_contrast": 0.4, "contrast_gain": (0.7, 1.4), "p_illumination": 0.2, "background_range": (1.1, 2.0), "p_blur": 0.1, "p_noise": 0.2,
    "noise_fraction": (0.003, 0.02), "p_gamma": 0.3, "gamma": (0.8, 1.25), "p_inverted": 0.0, "p_banner": 0.0, "p_particles": 0.0,
    "p_traces": 0.0, "p_eight_bit": 0.2, "p_jpeg": 0.15,
}  # fmt: skip
NO_INSTANCES = {"lift": 0.0, "lift_dice": 0.0, "ends": 0.0, "half_width": 0.0, "offset": 0.0, "distractors": 0.0}


def finetune(
    loaded: LoadedModel, images: Sequence[AnnotatedImage], pool: Sequence[Labelled], settings: FinetuneSettings, progress: str | None = None
) -> tuple[LoadedModel, dict[str, Any]]:
    """A copy of a network that went on learning from `images` and `pool`, and {"steps", "seconds", "loss"} of it.

    Batch n is a function of the seed and n. Masks teach mask and centreline where they are, and that nothing else is a line.
    """
    import copy

    import torch

    from train.dataset import crop_shape
    from train.loss import loss_parts
    from train.model import computes_in_bf16
    from train.optimiser import decayed_groups, learning_rate
    from train.settings import OptimiserSettings

    torch.manual_seed(settings.seed)
    network = copy.deepcopy(loaded.module).train()
    device = next(network.parameters()).device
    loss_settings = loaded.settings.loss
    if network.untaught:
        loss_settings = replace(loss_settings, **{name: 0.0 for name in network.untaught})
    weak_settings = replace(loss_settings, **NO_INSTANCES)
    smallest = tuple(min(sides) for sides in zip(*([i.image.shape for i in images] + [p.image.shape for p in pool])))
    shape = crop_shape(smallest, settings.crop_px)
    schedule = OptimiserSettings(learning_rate=settings.learning_rate, warmup_steps=settings.warmup_steps)
    optimiser = torch.optim.AdamW(decayed_groups(network.parameters(), settings.weight_decay), lr=settings.learning_rate)
    bf16, losses, step, started = computes_in_bf16(device), [], 0, time.monotonic()
    bar = tqdm(total=settings.max_steps, desc=progress, unit="step", disable=progress is None, file=sys.stderr)
    while (done := _fraction_done(settings, step, time.monotonic() - started)) < 1:
        strong, weak = _batch(images, pool, shape, loaded, settings, step)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(schedule, step, done)
        loss = torch.zeros((), device=device)
        for pairs, kind in ((strong, loss_settings), (weak, weak_settings)):
            if not pairs:
                continue
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                logits = network(torch.stack([pair[0] for pair in pairs]).to(device))
            share = len(pairs) / settings.batch
            loss = loss + share * loss_parts(logits, torch.stack([pair[1] for pair in pairs]).to(device), kind)["loss"]
            if kind is weak_settings:
                nowhere = torch.stack([pair[2] for pair in pairs]).to(device)
                loss = loss + share * loss_parts(logits, nowhere, replace(weak_settings, lift=loss_settings.lift))["lift"]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
        optimiser.step()
        losses.append(float(loss.detach()))
        require(math.isfinite(losses[-1]), "loss", "stay finite", losses[-1], "a smaller learning_rate may help")
        step += 1
        bar.set_postfix_str(f"loss {np.mean(losses[-20:]):.3f}", refresh=False)
        bar.update()
    bar.close()
    seconds = time.monotonic() - started
    record = {"steps": step, "seconds": round(seconds, 1), "loss": round(float(np.mean(losses[-20:])), 4)}
    return dataclasses.replace(loaded, module=network.eval()), record


def _fraction_done(settings: FinetuneSettings, step: int, seconds: float) -> float:
    by_steps = step / settings.max_steps if settings.max_steps else 0.0
    return max(by_steps, seconds / settings.max_seconds if settings.max_seconds else 0.0)


def _batch(
    images: Sequence[AnnotatedImage], pool: Sequence[Labelled], shape: tuple[int, int], loaded: LoadedModel, settings: FinetuneSettings, step: int
) -> tuple[list[tuple], list[tuple]]:
    """Examples (image, target) with lines, and (image, target, where no line is) with masks."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([settings.seed, step])))
    synthetic = round(settings.batch * settings.replay_share) if pool else 0
    strong = [_synthetic(pool[int(rng.integers(len(pool)))], shape, loaded, rng) for _ in range(synthetic)]
    weak = []
    for k in range(settings.batch - synthetic):
        # Every image its turn, so that one of ten is not forgotten.
        image = images[(step * (settings.batch - synthetic) + k) % len(images)]
        (weak if image.mask is not None else strong).append(_real(image, shape, loaded, rng))
    return strong, weak


def _synthetic(labelled: Labelled, shape: tuple[int, int], loaded: LoadedModel, rng: np.random.Generator) -> tuple:
    from train.augment import disturbed, draw_disturbance, still_visible
    from train.dataset import _seen_distractors, example
    from train.geometry import draw_view, view_curves, view_image

    settings = replace(loaded.settings, augment=replace(loaded.settings.augment, p_particles=0.0, p_traces=0.0))
    view = draw_view(labelled.image.shape, shape, settings.view, rng)
    image, silent = view_image(labelled.image, view)
    curves = view_curves(labelled.curves, view)
    disturbance = draw_disturbance(shape, curves, settings.augment, rng)
    curves = still_visible(curves, disturbance, labelled.noise_fraction, settings.augment.detectable, image)
    image, hidden = disturbed(image, disturbance)
    return example(image, curves, silent | hidden, settings, _seen_distractors(labelled, view, silent, settings))


def _real(annotated: AnnotatedImage, shape: tuple[int, int], loaded: LoadedModel, rng: np.random.Generator) -> tuple:
    from train.augment import disturbed, draw_disturbance
    from train.dataset import example
    from train.geometry import draw_view, view_curves, view_image

    settings = loaded.settings
    view = draw_view(annotated.image.shape, shape, settings.view, rng)
    image, outside = view_image(annotated.image, view)
    silent = outside | (view_image(annotated.silent.astype(np.float32), view)[0] > 0.5)
    curves = view_curves(annotated.curves, view)
    image, hidden = disturbed(image, draw_disturbance(shape, curves, replace(settings.augment, **GENTLE), rng))
    if annotated.mask is None:
        return example(image, curves, silent | hidden, settings)
    mask = view_image(annotated.mask.astype(np.float32), view)[0] > 0.5
    return mask_example(image, mask, silent | hidden, loaded)


def mask_example(image: np.ndarray, mask: np.ndarray, silent: np.ndarray, loaded: LoadedModel) -> tuple:
    """What the loss sees of a mask (Y, X) of lines without instances: mask and centreline; and where there is surely no line.

    The centreline is the mask's skeleton. The second target has no lift anywhere, and is silent within 3 sigma of the mask.
    """
    import torch
    from scipy.ndimage import distance_transform_edt
    from skimage.morphology import skeletonize

    from train.augment import standardised
    from train.loss import packed_target
    from train.targets import Maps

    targets = loaded.settings.targets
    stride, size = targets.stride, tuple(-(-n // targets.stride) for n in image.shape)
    far = np.full(image.shape, np.inf)
    skeleton = skeletonize(mask)
    to_skeleton = distance_transform_edt(~skeleton) if skeleton.any() else far
    to_mask = distance_transform_edt(~mask) if mask.any() else far
    # The middle of a map pixel lies between image pixels: the mean over its pixels.
    coarse = _cells(np.exp(-0.5 * (to_skeleton / targets.sigma_px) ** 2), stride)
    zero = np.zeros(size, dtype=np.float32)
    maps = Maps(
        mask=(_cells(mask.astype(np.float32), stride) >= 0.5).astype(np.float32), centreline=coarse.astype(np.float32), half_width_px=zero, ends=zero,
        lift=np.zeros((targets.orientations, *size), dtype=np.float32), ignore=np.zeros(size, dtype=bool), stride=stride,
        offset_px=np.zeros((2, *size), dtype=np.float32),
    )  # fmt: skip
    near = to_mask <= 3 * targets.sigma_px
    seen = torch.from_numpy(standardised(image)[None])
    return seen, packed_target(maps, silent[::stride, ::stride]), packed_target(maps, (silent | near)[::stride, ::stride])


def _cells(values: np.ndarray, stride: int) -> np.ndarray:
    padded = np.pad(values, [(0, -n % stride) for n in values.shape], mode="edge")
    return padded.reshape(padded.shape[0] // stride, stride, -1, stride).mean(axis=(1, 3))


def score(loaded: LoadedModel, annotated: AnnotatedImage) -> tuple[Any, Sequence[Any]]:
    """The `train.metrics.ImageScore` of an annotated image with lines, and the lines found."""
    from train.metrics import score_image
    from train.predict import lines_in_sample
    from train.samples import within_roi

    sample = annotated.sample
    lines = within_roi(lines_in_sample(loaded, sample), sample.roi_px)
    return score_image(lines, sample.truth, sample.image.shape), lines


def finetune_folder(
    model: str | Path | None, data: str | Path, out: str | Path, settings: FinetuneSettings, loo: bool = False, replay: str | Path | None = None
) -> dict[str, Any]:
    """Fine-tune on a folder and leave the network in the folder `out`; returns its card. Raises InputError."""
    from train.annotated import read_annotated
    from train.checkpoint import load_model, model_name
    from train.finetune_report import write_loo_report
    from train.replay import SHIPPED_POOL, load_pool

    out = Path(out)
    require(not out.exists() or (out.is_dir() and not any(out.iterdir())), "out", "be an empty folder or not exist", out)
    loaded = load_model(model)
    images = read_annotated(data)
    pool = load_pool(SHIPPED_POOL if replay is None else Path(replay)) if settings.replay_share else []
    judged = [image for image in images if image.sample is not None]
    known = sorted(_seen(loaded.card) & {image.name for image in judged}) if loo else []
    require(not known, "model", "not have been fine-tuned on frames that loo=true leaves out", ", ".join(known), "begin from the weights before")
    require(not loo or (len(images) > 1 and judged), "loo", "be false, or data hold two annotated images, one with lines", f"{len(images)} of them")
    tuned, record = finetune(loaded, images, pool, settings, "finetune")
    folds = []
    for image in judged if loo else []:
        others = [other for other in images if other is not image]
        left_out, _ = finetune(loaded, others, pool, settings, f"without {image.name}")
        folds.append((image, *score(loaded, image), *score(left_out, image)))
    label = model_name(model)
    card = save_finetuned(out, loaded, tuned, label, images, settings, record | {"replay": len(pool)})
    if folds:
        write_loo_report(out, folds, label)
    return card


def _seen(card: Mapping[str, Any]) -> set[str]:
    """Names of the frames that a network, or one that it was fine-tuned from, has been fine-tuned on."""
    tuned = card.get("finetuned", {})
    return {*tuned.get("images", ()), *tuned.get("images_before", ())}


def save_finetuned(
    out: Path, base: LoadedModel, tuned: LoadedModel, label: str, images: Sequence[AnnotatedImage], settings: FinetuneSettings, record: dict[str, Any]
) -> dict[str, Any]:
    """Write model.safetensors and its card, which holds that of the network it began with."""
    from train.channels import LIFT
    from train.checkpoint import save_model

    weights = dict(tuned.module.state_dict())
    if base.module.untaught:
        # Outputs that nobody taught stay away, as in the weights that this began with.
        first = LIFT + base.module.orientations
        weights |= {name: weights[name][:first] for name in ("head.1.weight", "head.1.bias")}
    digest = hashlib.sha256(b"".join(image.image.tobytes() for image in images)).hexdigest()
    card = base.card | {
        "finetuned": {
            "from": label, "images": [image.name for image in images], "images_before": sorted(_seen(base.card)),
            "with_lines": [i.name for i in images if i.mask is None], "images_sha256": digest, "settings": json.loads(json.dumps(dataclasses.asdict(settings))), **record,
        },
    }  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    save_model(out, weights, card)
    return card


def main(argv: list[str]) -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from render.config import compose
    from train.settings import build

    config = compose("finetune", argv, PATH_KEYS)
    model, data, out, loo, replay = (config.pop(key) for key in ("model", "data", "out", "loo", "replay"))
    require(isinstance(loo, bool), "loo", "be true or false", loo)
    card = finetune_folder(model, data, out, build(FinetuneSettings, config, ""), loo, replay)["finetuned"]
    count = len(card["images"])
    print(f"{out}: {card['steps']} steps in {card['seconds']:.0f} s on {counted(count, 'image')} and {card['replay']} synthetic ones")
    if loo:
        found = json.loads((Path(out) / "loo.json").read_text())
        for when in ("before", "after"):
            names = ("instance_f1", "centreline_f1", "completeness")
            print(f"left out, {when}: " + ", ".join(f"{n} {found[when][n]:.3f}" for n in names if found[when].get(n) is not None))


def usage() -> str:
    from render.config import describe

    return f"{USAGE}\n{describe('finetune')}"


if __name__ == "__main__":
    sys.exit(run_command(main, usage))
