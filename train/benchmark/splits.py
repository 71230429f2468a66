"""The benchmark's test splits: rendered from fixed configurations, their Scenes checked against the frozen ones.

`configs/benchmark/NAME.yaml` is a whole render configuration, so that no default that changes elsewhere changes it;
`configs/benchmark/scenes-v3.json` holds a hash of every Scene that version 3 consists of.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from physics.errors import InputError, require
from render import SampleConfig, Scene, open_dataset, sample
from render.bulk import render_dataset
from render.config import config_directory
from render.store import Dataset, read_attributes

VERSION = 3
SPLITS = ("sparse", "pileup", "forest", "weakbeam", "network")
FRAMES = 100
SHARD = 10  # frames; what an interrupted run loses at most
NETWORK_SPLIT = "network"
NETWORK_FILE = "ddd/ParaDiS/rs1417.data"  # in the folder that GDOTB_REAL_DATA names
DIGITS = 6  # of a number in a hash: the last bits of a sine differ between processors
HASH_LETTERS = 12
# What a Scene of this version says. A field that Scenes were given later does not count while it holds its default.
FIELDS = ("version", "crystal", "foil", "beam", "dislocations", "faults", "deposits", "particles", "detector", "shape",
          "pixel_nm", "visible_contrast", "slice_nm", "core_nm", "surfaces", "elasticity", "foil_renderer")  # fmt: skip
# Nor does one that a noun within it was given later, while it is empty or false.
LATER = {"beam": ("debye_waller",), "foil": ("tears", "twins"), "foil.boundary": ("width_nm", "misorientation_uvw", "misorientation_deg")}


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """One test split: a render configuration (a plain mapping), its seed, and the hashes of its frozen Scenes."""

    name: str
    seed: int
    render: Mapping[str, Any]
    scene_hashes: tuple[str, ...] = ()

    def scene(self, frame: int) -> Scene:
        return sample(SampleConfig.from_dict(self.render), self.seed, frame)


def load_split(name: str, network_file: Path | None = None, directory: Path | None = None) -> Split:
    """The split of that name; `network_file` is the network that split "network" is cut from."""
    require(name in SPLITS, "splits", f"be among {', '.join(SPLITS)}", name)
    folder = directory or config_directory() / "benchmark"
    values = OmegaConf.to_container(OmegaConf.load(folder / f"{name}.yaml"))
    require(values.get("version") == VERSION, f"{name}.yaml", f"have version {VERSION}", values.get("version"))
    render = values["render"]
    if name == NETWORK_SPLIT:
        require(network_file is not None, "network_file", "be given for split network", "nothing")
        render = {**render, "scene": {**render["scene"], "file": str(network_file)}}
    frozen = folder / f"scenes-v{VERSION}.json"
    hashes = json.loads(frozen.read_text(encoding="utf-8")) if frozen.is_file() else {}
    return Split(name=name, seed=values["seed"], render=render, scene_hashes=tuple(hashes.get(name, ())))


def render_split(split: Split, folder: Path, frames: int, workers: int = 0, frozen: bool = True, progress: bool = True) -> Dataset:
    """The first `frames` images of a split, rendered into `folder` where they are not there yet.

    A finished full set serves a shorter one. An interrupted rendering goes on where it stopped. Raises InputError where
    `frozen` and the Scenes are not those of the version.
    """
    if frozen:
        # Before minutes of rendering: the first Scene is drawn in a moment.
        check_scenes(split, [scene_hash(split.scene(0).to_json())])
    whole = folder / f"{split.name}.zarr"
    path = whole if frames == FRAMES or (frames < FRAMES and _finished(whole)) else folder / f"{split.name}-{frames}.zarr"
    if not _finished(path):
        folder.mkdir(parents=True, exist_ok=True)
        render_dataset(
            split.render, path, n=frames, seed=split.seed, workers=workers, shard=min(SHARD, frames), keep_intensity=False, progress=progress
        )
    dataset = open_dataset(path)
    require(len(dataset) >= frames, str(path), f"hold {frames} frames", len(dataset), "remove it or give another folder")
    labels = dataset.config.get("labels"), split.render.get("labels")
    require(labels[0] == labels[1], str(path), f"have labels={labels[1]}", labels[0], "remove it or give another folder")
    dataset = dataset[:frames]
    if frozen:
        check_scenes(split, [scene_hash(dataset.scene_json(i)) for i in range(frames)])
    return dataset


def check_scenes(split: Split, hashes: Sequence[str]) -> None:
    """Raise InputError unless the first Scenes of a split have the hashes frozen for this version."""
    remedy = "frozen=false measures on what is drawn now, as a benchmark of no version"
    require(len(split.scene_hashes) >= len(hashes), f"split {split.name}", f"have {len(hashes)} frozen Scenes", len(split.scene_hashes), remedy)
    for frame, (found, wanted) in enumerate(zip(hashes, split.scene_hashes)):
        require(found == wanted, f"split {split.name}: Scene {frame}", f"be that of version {VERSION} ({wanted})", found, remedy)


def scene_hash(scene_json: str) -> str:
    """Hash of a Scene, numbers taken to DIGITS significant digits, later fields left out where they say nothing."""
    defaults = {f.name: f.default for f in dataclasses.fields(Scene)}
    said = {k: v for k, v in json.loads(scene_json).items() if k in FIELDS or v not in (defaults.get(k), None, [])}
    text = json.dumps(_rounded(_without_later(said)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LETTERS]


def _without_later(value: Any, noun: str = "") -> Any:
    if not isinstance(value, dict):
        return value
    later = LATER.get(noun, ())
    return {k: _without_later(v, f"{noun}.{k}".lstrip(".")) for k, v in value.items() if k not in later or v not in (None, False, [])}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") + 0.0  # no negative zero
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return value


def _finished(path: Path) -> bool:
    try:
        return path.is_dir() and read_attributes(path).get("state") == "complete"
    except InputError:
        return False
