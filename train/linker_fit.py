"""Fitting the linker and the calibration to a dataset, on the maps of a network and on perfect ones.

Joints are learnt from the first images of the train split, eagerness from the val split, confidences and deviations
from it and the rest of the train split; all are judged on the test split: confidences and deviations on the network's
maps, which is what they are for. Maps of images that a network was trained on are better than others: confidences learnt
there would promise too much, so that of a dataset that the network's card names only the val split is taken for them.

Axes: N joints, F features, L lines, V vertices.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from physics.errors import require
from render.store import Dataset
from train.calibration import confidence_of, expected_calibration_error, fit_confidence, fit_deviation
from train.checkpoint import LoadedModel, predict_maps
from train.joints import FEATURES
from train.link import joints_of
from train.linker import CARD_VERSION, LAYERS, Linker
from train.linker_truth import OPEN, joint_labels, line_errors
from train.metrics import score_image, summarise, truth_of
from train.targets import Maps, target_maps
from train.trace import TraceSettings, lifted_volume, trace_fragments, trace_lines

HIDDEN = (44, 40)
EAGERNESS = (0.0, 1.0, 2.0, 3.0)  # what may be added to the log odds
SCORES = ("images", "instance_f1", "instance_f1_interval", "crossings_resolved", "crossings_resolved_0_22_deg",
          "crossings_resolved_22_45_deg", "crossings_resolved_45_90_deg", "false_splits", "false_merges")  # fmt: skip


def fit_linker(
    model: LoadedModel, dataset: Dataset, images: int, calibrated: int, judged: int, seed: int, epochs: int
) -> Linker:
    """The linker with its calibration and card.

    Raises InputError for a dataset with too few images in a split, and where `calibrated` images cannot be had without
    those that the network was trained on.
    """
    splits = {name: dataset.split(name) for name in ("train", "val", "test")}
    for name, split in splits.items():
        require(len(split) >= 2, "data", f"hold at least 2 images in split {name}", len(split), "render more images")
    learnt = min(images, len(splits["train"]))
    unseen = len(splits["val"])
    known_to_network = trained_on(model.card, dataset)
    require(not known_to_network or calibrated <= unseen, "calibrated",
            f"be at most {unseen}, the val split, for a network trained on the train split of {dataset.path.name}", calibrated,
            "give fewer, or images that it has not seen")  # fmt: skip
    features, labels = _examples(model, splits["train"], images)
    known = labels != OPEN
    require(bool((labels[known] == 1).any() and (labels[known] == 0).any()), "data", "hold lines that are cut somewhere", "none")
    linker = Linker(weights=fit_perceptron(features[known], labels[known], seed, epochs))
    linker, bias = _eager(model, splits["val"], judged // 2, linker)
    rest = [splits["val"].index(i) for i in range(len(splits["val"]))]
    rest += [splits["train"].index(i) for i in range(learnt, len(splits["train"]))]
    rows, correct, spread, error = _lines(model, dataset[rest], calibrated, linker)
    weights = {**linker.weights, **fit_confidence(rows, correct), "deviation": fit_deviation(spread, error)}
    linker = Linker(weights=weights)
    card = {
        "version": CARD_VERSION,
        "features": list(FEATURES),
        "parameters": linker.parameters,
        "data": dataset.path.name,
        "config_sha256": dataset.attributes["config_sha256"],
        "images": learnt,
        # Of each split the images [from, to), and whether the network was trained on this train split.
        "learnt_from": {
            "joints": {"train": [0, learnt]},
            "eagerness": {"val": [0, min(judged // 2, unseen)]},
            "confidences": {"val": [0, min(calibrated, unseen)]}
            | ({"train": [learnt, learnt + min(calibrated, len(rest)) - unseen]} if min(calibrated, len(rest)) > unseen else {}),
        },
        "network_trained_on_train_split": known_to_network,
        "joints": int(known.sum()),
        "calibrated_lines": len(rows),
        "seed": seed,
        "epochs": epochs,
        "eagerness": bias,
        "model": model.card.get("data", {}).get("sha256"),
        "judged": _judge(model, splits["test"], judged, linker),
    }
    return Linker(weights=weights, card=card)


def trained_on(card: Mapping[str, Any], dataset: Dataset) -> bool:
    """Whether the card of a network names this dataset, by its name or by its whole configuration, seed included.

    As its own, as that of a network that it was trained on from, or as that of one that it is the mean of.
    """
    config = json.loads(json.dumps(dataset.config, default=str))
    cards = (card, *card.get("mean_of", ()))
    named = [each for one in cards for each in _datasets(one.get("data")) if "name" in each]
    return any(each["name"] == dataset.path.name or (each.get("config") or None) == config for each in named)


def _datasets(data: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    if data:
        yield from (data, *data.get("further", ()))
        yield from _datasets(data.get("begun_from"))


def fit_perceptron(features: np.ndarray, labels: np.ndarray, seed: int, epochs: int) -> dict[str, np.ndarray]:
    """Weights of the perceptron from features (N, F) and labels (N,) in {0, 1}: AdamW, one cycle (Smith 2018)."""
    torch.manual_seed(seed)
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-3
    x = torch.from_numpy((features - mean) / scale).float()
    y = torch.from_numpy(labels).float()
    sizes = (features.shape[1], *HIDDEN, 1)
    layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:]))
    optimiser = torch.optim.AdamW(layers.parameters(), lr=3e-3, weight_decay=1e-2)
    batch = min(512, len(x))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=epochs * -(-len(x) // batch))
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(batch):
            h = x[part]
            for layer in layers[:-1]:
                h = functional.relu(layer(h))
            loss = functional.binary_cross_entropy_with_logits(layers[-1](h)[:, 0], y[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    # A map that this network does not draw says nothing of what one that does would say.
    with torch.no_grad():
        layers[0].weight[:, torch.from_numpy(features.std(axis=0) < 1e-6)] = 0.0
    out = {"mean": mean.astype(np.float32), "scale": scale.astype(np.float32)}
    for n in range(LAYERS):
        out[f"weight{n}"] = layers[n].weight.detach().numpy().T.copy()
        out[f"bias{n}"] = layers[n].bias.detach().numpy().copy()
    return out


def _examples(model: LoadedModel, split: Dataset, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, F) and labels (N,) of the joints in the first images, on the network's and on perfect maps."""
    features, labels, settings = [], [], TraceSettings()
    for lines, image, maps in _seen(model, split, images, "joints"):
        truth = truth_of(lines, image.shape)
        for drawn in (maps, target_maps(lines, image.shape, model.settings.targets)):
            volume = lifted_volume(drawn)
            strands, joints = joints_of(trace_fragments(drawn, settings, volume), drawn, volume, settings)
            features.append(joints.features)
            labels.append(joint_labels(joints, strands, truth, drawn.stride))
    return np.concatenate(features), np.concatenate(labels)


def _eager(model: LoadedModel, split: Dataset, images: int, linker: Linker) -> tuple[Linker, float]:
    """The linker with the log odds raised by what gives the best mean instance F1 of both kinds of maps.

    A joint that is missed costs two instances, one too many often none: even odds join too little.
    """
    scores: dict[float, dict[str, list[Any]]] = {b: {"network": [], "perfect": []} for b in EAGERNESS}
    linkers = {}
    for b in EAGERNESS:
        last = f"bias{LAYERS - 1}"
        linkers[b] = Linker(weights={**linker.weights, last: linker.weights[last] + np.float32(b)})
    for lines, image, maps in _seen(model, split, images, "eagerness"):
        truth = truth_of(lines, image.shape)
        for name, drawn in (("network", maps), ("perfect", target_maps(lines, image.shape, model.settings.targets))):
            for b in EAGERNESS:
                scores[b][name].append(score_image(trace_lines(drawn, linker=linkers[b]), truth, image.shape))
    means = {b: sum(summarise(found, bootstrap=0)["instance_f1"] or 0.0 for found in kinds.values()) for b, kinds in scores.items()}
    best = max(EAGERNESS, key=lambda b: means[b])
    return linkers[best], best


def _lines(
    model: LoadedModel, split: Dataset, images: int, linker: Linker
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Line features (L, F), whether each is a true instance (L,), spline deviation and error (V,) of the true ones."""
    rows, correct, spread, error = [], [], [], []
    for lines, image, maps in _seen(model, split, images, "confidences"):
        found = trace_lines(maps, linker=linker)
        errors = line_errors(found, truth_of(lines, image.shape))
        for line, off in zip(found, errors):
            if off is None:
                continue
            rows.append(line.features)
            correct.append(len(off) > 0)
            if len(off):
                spread.append(line.sigma_px[np.isfinite(off)])
                error.append(off[np.isfinite(off)])
    require(bool(np.any(correct)), "model", "find a line in the val split", "none")
    return np.array(rows), np.array(correct), np.concatenate(spread), np.concatenate(error)


def _judge(model: LoadedModel, split: Dataset, images: int, linker: Linker) -> dict[str, Any]:
    """Scores on both kinds of maps; calibration error and cover of the deviations on the network's."""
    scores: dict[str, list[Any]] = {"network": [], "perfect": []}
    for lines, image, maps in _seen(model, split, images, "judge"):
        truth = truth_of(lines, image.shape)
        for name, drawn in (("network", maps), ("perfect", target_maps(lines, image.shape, model.settings.targets))):
            scores[name].append(score_image(trace_lines(drawn, linker=linker), truth, image.shape))
    rows, correct, sigma, error = _lines(model, split, images, linker)
    judged: dict[str, Any] = {}
    for name, found in scores.items():
        summary = summarise(found, bootstrap=200)
        judged[name] = {key: summary.get(key) for key in SCORES}
    judged["lines"] = len(rows)
    judged["expected_calibration_error"] = round(expected_calibration_error(confidence_of(rows, linker.weights), correct), 4)
    judged["within_one_sigma"] = round(float((error <= sigma).mean()), 4)
    return judged


def _seen(model: LoadedModel, split: Dataset, images: int, what: str) -> Iterator[tuple[Sequence[Any], np.ndarray, Maps]]:
    for i in tqdm(range(min(images, len(split))), desc=what, unit="image", file=sys.stderr):
        image = split.image(i)
        yield split.lines(i), image, predict_maps(model, image)


