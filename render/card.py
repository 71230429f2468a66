"""What a dataset says of itself: configuration and its hash, versions, splits, counts, conventions."""

from __future__ import annotations

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from physics.errors import InputError, require
from render.draw import NAMES as DISTRIBUTIONS
from render.grey_image import image_files
from render.micrograph import Micrograph
from render.on_device import device_name
from render.scene import Scene
from render.shards import SCHEMA, Plan, file_sha256

# How and where to render, not what: other values give the same bytes.
NOT_CONTENT = ("out", "workers", "scheduler", "foil_library")
# Packages whose version can change the bytes of an image, and "source", the SHA-256 of this project's own code: a
# dataset is finished with what it was begun with.
BINDING_PACKAGES = ("gdotb", "numpy", "scipy", "numba", "xraydb", "pillow")
FOIL_PACKAGES = {"bpy": ("bpy",)}  # that bind too where the configuration's foil_renderer is this
SPLIT_FRACTION = 0.1
SPLIT_STREAM = 0x73706C6974  # "split": a stream of its own, so that no image shares its numbers

CONVENTIONS = {
    "pixels": "x right, y down, (0, 0) at the centre of the top-left pixel",
    "curve": "points_px is where the image of the line runs, averaged over an effective extinction distance along it; "
    "core_px is where its core projects; neither is clipped at the frame; a loop repeats its first vertex",
    "mask": "pixel centres within half_width_px (interpolated along the curve) of the nearest point of points_px, "
    "round ends included, visible or not; where lines overlap each keeps its pixels",
    "half_width_px": "half the full width at half maximum of the contrast, averaged with the contrast as weight over an "
    "effective extinction distance along the line, at least 1",
    "contrast": "signed: the noise-free picture with the line against the picture without it, relative to the local background, after "
    "defocus and drift; scenes with labels=alone have that of each line by itself",
    "depth_nm": "along the beam from the entrance face",
    "burgers_uvw": "in lattice vectors, FS/RH, line sense = order of the vertices, first non-zero component positive",
    "g_dot_b": "h u + k v + l w",
    "visible": "|contrast| >= visible_contrast: train on visible parts, ignore invisible ones",
    "image": "uint16: counts, or grey levels 0 ... 255 where the Scene's detector has a recording",
    "distractors": "what is no dislocation but looks like one: a curve (K, 2) or a mask; text: every pixel that ink reaches",
    "intensity": "noise-free, incident beam = 1, float32",
}


def header(config: Mapping[str, Any], plan: Plan, seed: int, device: str = "cpu") -> dict[str, Any]:
    """Attributes of a dataset that is begun; `config` is the whole configuration as a plain mapping.

    The device is part of the configuration, since the last bits differ between devices; which GPU of several is not.

    A file that the scene is read from enters with the SHA-256 of its content, not with its folder.
    """
    content = {key: value for key, value in config.items() if key not in NOT_CONTENT}
    content |= {"n": plan.n, "seed": seed, "shard": plan.shard, "keep_intensity": plan.keep_intensity,
                "device": device.partition(":")[0]}  # fmt: skip
    scene = content.get("scene")
    inputs = {}
    if isinstance(scene, Mapping) and scene.get("file"):
        file = Path(scene["file"])
        require(file.is_file(), "scene.file", "be a file", str(file))
        inputs["scene.file"] = {"name": file.name, "sha256": file_sha256(file)}
        content["scene"] = {**scene, "file": file.name}
    if isinstance(scene, Mapping) and scene.get("backgrounds"):
        folder = Path(scene["backgrounds"])
        require(folder.is_dir(), "scene.backgrounds", "be a folder", str(folder))
        files = {file.relative_to(folder).as_posix(): file_sha256(file) for file in image_files(folder)}
        inputs["scene.backgrounds"] = {"name": folder.name, "sha256": _sha256(files)}
        content["scene"] = {**content["scene"], "backgrounds": folder.name}
    return {
        "schema": SCHEMA,
        "state": "rendering",
        "n": plan.n,
        "shape": list(plan.shape),
        "shard": plan.shard,
        "keep_intensity": plan.keep_intensity,
        "seed": seed,
        "config": content,
        "inputs": inputs,
        "config_sha256": _sha256({"config": content, "inputs": inputs}),
        "device": device_name(device),
        "versions": versions(device),
    }


def check_same(found: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    """Raise InputError unless the dataset `found` at `path` is the one that is `wanted`."""
    if found["config_sha256"] != wanted["config_sha256"]:
        differing = _first_difference(found["config"], wanted["config"])
        raise InputError(
            f"out must be a new path or the dataset of this configuration, got {path}, which holds another dataset"
            + (f" ({differing})" if differing else "")
        )
    for name in (*BINDING_PACKAGES, *FOIL_PACKAGES.get(str(wanted["config"].get("foil_renderer")), ()), "torch", "source"):
        before, now = found["versions"].get(name), wanted["versions"].get(name)
        require(before == now or found["state"] == "complete", "out", f"be finished with {name} {before}, which began it",
                f"{name} {now}", "render into another path")  # fmt: skip


def split_indices(n: int, seed: int, together: int = 1) -> dict[str, np.ndarray]:
    """Sorted image indices of "train", "val" and "test": a tenth each for the latter two, drawn from the seed.

    Runs of `together` images (one specimen under several conditions) stay in one split. Fewer than three such
    groups are all for training.
    """
    groups = -(-n // together)
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, SPLIT_STREAM])))
    order = rng.permutation(groups)
    held = max(1, round(SPLIT_FRACTION * groups)) if groups >= 3 else 0
    members = {"test": order[:held], "val": order[held : 2 * held], "train": order[2 * held :]}
    images = np.arange(n)
    return {name: images[np.isin(images // together, members[name])] for name in ("train", "val", "test")}


def summary(micrographs: Sequence[Micrograph]) -> dict[str, Any]:
    """Counts and ranges of some images, to be merged by `card`."""
    scenes = [m.scene for m in micrographs]
    lines = [line for m in micrographs for line in m.lines]
    return {
        "counts": {
            "images": len(micrographs),
            "lines": len(lines),
            "visible_lines": sum(bool(line.visible.any()) for line in lines),
            "distractors": sum(len(m.distractors) for m in micrographs),
        },
        "ranges": {name: [min(values), max(values)] for name, values in _conditions(scenes).items()},
        "tallies": {
            "kind": _tally(line.kind for line in lines),
            "distractor": _tally(d.kind for m in micrographs for d in m.distractors),
            "material": _tally(s.crystal.material for s in scenes),
            "image": _tally(s.beam.image for s in scenes),
            "g_hkl": _tally(" ".join(map(str, s.beam.g_hkl)) for s in scenes),
        },
    }


def card(attributes: Mapping[str, Any], summaries: Iterable[Mapping[str, Any]], split: Mapping[str, int]) -> dict[str, Any]:
    """The dataset card: what was varied and how far, what was fixed, counts, splits, conventions."""
    counts: Counter[str] = Counter()
    tallies: dict[str, Counter[str]] = {}
    ranges: dict[str, list[float]] = {}
    for part in summaries:
        counts.update(part["counts"])
        for name, tally in part["tallies"].items():
            tallies.setdefault(name, Counter()).update(tally)
        for name, (low, high) in part["ranges"].items():
            known = ranges.setdefault(name, [low, high])
            ranges[name] = [min(known[0], low), max(known[1], high)]
    varied, fixed = _varied(attributes["config"])
    return {
        "about": "simulated transmission-electron micrographs of dislocations with exact labels",
        "counts": dict(counts),
        "split": dict(split),
        "device": attributes.get("device", "cpu"),
        "varied": varied,
        "fixed": fixed,
        "ranges": ranges,
        "tallies": {name: dict(sorted(tally.items())) for name, tally in tallies.items()},
        "conventions": CONVENTIONS,
    }


def versions(device: str = "cpu") -> dict[str, str | None]:
    """Versions of what makes the bytes; torch does where the device is not the CPU."""
    packages = {package: _version(package) for package in (*BINDING_PACKAGES, "zarr", "bpy")}
    torch_version = None if device == "cpu" else _version("torch")
    return {"python": platform.python_version(), **packages, "torch": torch_version, "source": source_sha256()}


def source_sha256() -> str:
    """SHA-256, to 16 digits, over the code that makes images and their labels."""
    digest = hashlib.sha256()
    for package in ("physics", "render"):
        folder = Path(__file__).resolve().parent.parent / package
        for file in sorted([*folder.rglob("*.py"), *folder.rglob("materials/*.json")]):
            digest.update(file.relative_to(folder).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _conditions(scenes: Sequence[Scene]) -> dict[str, list[float]]:
    return {
        "pixel_nm": [s.pixel_nm for s in scenes],
        "thickness_nm": [s.foil.thickness_nm for s in scenes],
        "s_inv_nm": [s.beam.s_inv_nm for s in scenes],
        "voltage_kV": [s.beam.voltage_kV for s in scenes],
        "dose_e_per_px": [s.detector.dose_e_per_px for s in scenes],
    }


def _tally(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _varied(config: Mapping[str, Any], prefix: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    varied, fixed = {}, {}
    for key, value in config.items():
        if isinstance(value, Mapping) and len(value) == 1 and next(iter(value)) in DISTRIBUTIONS:
            varied[prefix + key] = value
        elif isinstance(value, Mapping):
            below = _varied(value, f"{prefix}{key}.")
            varied |= below[0]
            fixed |= below[1]
        else:
            fixed[prefix + key] = value
    return varied, fixed


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _first_difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    flat_found, flat_wanted = ({**_varied(c)[0], **_varied(c)[1]} for c in (found, wanted))
    for key in sorted(flat_found.keys() | flat_wanted.keys()):
        if flat_found.get(key) != flat_wanted.get(key):
            return f"{key} is {flat_found.get(key)} there"
    return ""
