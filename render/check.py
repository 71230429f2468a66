"""`python -m render.check A.zarr`: is every byte, image, mask and curve of a dataset what it should be?"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from physics.errors import InputError, require
from render.cli import one_line, positional, run_command
from render.micrograph import Distractor, Line
from render.ragged import decode_mask
from render.shards import Plan, file_sha256, image_files, shard_attributes
from render.store import Dataset, open_dataset, plan_of, read_attributes

USAGE = """\
python -m render.check A.zarr [resimulate=K]

Verifies the checksum of every file, decodes every image, mask and curve, and compares masks with curves and labels
with scenes. Prints one line for each fault; exit code 1 if there is any. resimulate=K also renders K images again
from their scenes, spread over the dataset, and compares the bytes.
"""
METADATA = "zarr.json"
# Most that the intensity of a GPU and that of the CPU, within its own tolerance, may differ by; incident beam 1.
DEVICES_DIFFER = 5e-3


def check_dataset(path: Path, resimulate: int = 0) -> Iterator[str]:
    """Faults of the dataset at `path`, one line each; none if it is sound.

    Raises InputError for what is not a dataset at all.
    """
    attributes = read_attributes(path)
    if attributes.get("state") != "complete":
        yield "the dataset is not finished; the render command that began it resumes it"
        return
    plan = plan_of(attributes)
    damaged: set[int] = set()
    for shard, fault in _file_faults(path, plan):
        damaged.add(shard)
        yield fault
    dataset = open_dataset(path)
    yield from _split_faults(dataset, plan)
    for shard in range(plan.shards):
        for i in plan.images(shard):
            try:
                yield from (f"image {i}: {fault}" for fault in _image_faults(dataset, i))
            except Exception as error:
                # Damage that the checksums have already told of is not told twice.
                if shard not in damaged:
                    yield f"image {i}: {one_line(error)}"
    if not damaged and resimulate:
        yield from _resimulation_faults(dataset, resimulate)


def _file_faults(path: Path, plan: Plan) -> Iterator[tuple[int, str]]:
    """(shard, fault) for files that are missing, altered or strange, and metadata that disagrees with its copy."""
    expected: set[str] = set()
    for shard in range(plan.shards):
        marker = f"labels/{shard:05d}/{METADATA}"
        expected.add(marker)
        try:
            checksums = shard_attributes(path, shard)["sha256"]
            unlisted = [place for place in image_files(plan, shard) if place not in checksums]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            yield shard, f"shard {shard}: {marker} must hold the shard's checksums, got {one_line(error)}"
            expected.update(image_files(plan, shard))
            expected.update(p.relative_to(path).as_posix() for p in (path / marker).parent.rglob("*"))
            continue
        yield from ((shard, f"shard {shard}: {place} has no checksum") for place in unlisted)
        for place, wanted in checksums.items():
            expected.add(place)
            try:
                if file_sha256(path / place) != wanted:
                    yield shard, f"shard {shard}: {place} is altered ({_images_text(plan, shard)})"
            except OSError as error:
                yield shard, f"shard {shard}: {place} cannot be read: {error.strerror} ({_images_text(plan, shard)})"
    yield from ((-1, fault) for fault in _metadata_faults(path))
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        place = file.relative_to(path).as_posix()
        known = place in expected or file.name == METADATA or place.startswith("split/")
        if not known:
            yield -1, f"{place} does not belong to the dataset"


def _metadata_faults(path: Path) -> Iterator[str]:
    """The root holds a copy of all metadata: both must agree."""
    try:
        copies = json.loads((path / METADATA).read_bytes())["consolidated_metadata"]["metadata"]
    except (KeyError, TypeError):
        yield f"{METADATA} has no consolidated metadata; the render command that made the dataset writes it again"
        return
    for place, copy in copies.items():
        file = path / place / METADATA
        try:
            own = json.loads(file.read_bytes())
        except (OSError, ValueError) as error:
            yield f"{place}/{METADATA} cannot be read: {one_line(error)}"
            continue
        differing = [key for key in copy if key != "consolidated_metadata" and copy[key] != own.get(key, copy[key])]
        if differing:
            yield f"{place}/{METADATA} is altered: {', '.join(sorted(differing))} differs from its copy in the root"


def _split_faults(dataset: Dataset, plan: Plan) -> Iterator[str]:
    try:
        indices = np.concatenate(_split_indices(dataset))
    except Exception as error:
        yield f"split: {one_line(error)}"
        return
    if not np.array_equal(np.sort(indices), np.arange(plan.n)):
        yield "split: train, val and test must hold every image once"


def _split_indices(dataset: Dataset) -> list[np.ndarray]:
    return [np.array([part.index(i) for i in range(len(part))], int) for part in map(dataset.split, ("train", "val", "test"))]


def _image_faults(dataset: Dataset, i: int) -> Iterator[str]:
    image, intensity = dataset.image(i), dataset.intensity(i)
    if image.shape != dataset.shape or image.dtype != np.uint16:
        yield f"image must be uint16 of {dataset.shape}, got {image.dtype} of {image.shape}"
    if intensity is not None and (intensity.shape != dataset.shape or intensity.dtype != np.float32):
        yield f"intensity must be float32 of {dataset.shape}, got {intensity.dtype} of {intensity.shape}"
    if intensity is not None and not (np.isfinite(intensity).all() and (intensity >= 0).all()):
        yield "intensity must be finite and >= 0"
    try:
        scene = dataset.scene(i)
    except InputError as error:
        yield f"scene: {error}"
        return
    if scene.shape != dataset.shape:
        yield f"scene.shape must be {dataset.shape}, got {scene.shape}"
    if scene.pixel_nm != dataset.pixel_nm(i):
        yield f"pixel_nm must be the scene's {scene.pixel_nm}, got {dataset.pixel_nm(i)}"
    lines, counts = dataset.lines(i), dataset.mask_counts(i)
    for l, line in enumerate(lines):
        faults = list(_curve_faults(line))
        # A mask can only be drawn from a curve that is one.
        faults += [] if faults else _mask_faults(line, counts[l], dataset.shape)
        g_dot_b = float(np.dot(scene.beam.g_hkl, line.burgers_uvw))
        if not np.isclose(line.g_dot_b, g_dot_b, atol=1e-9):
            faults.append(f"g_dot_b must be h u + k v + l w = {g_dot_b:g}, got {line.g_dot_b:g}")
        if not np.array_equal(line.visible, np.abs(line.contrast) >= scene.visible_contrast):
            faults.append(f"visible must be |contrast| >= {scene.visible_contrast:g}")
        yield from (f"line {l}: {fault}" for fault in faults)
    for d, distractor in enumerate(dataset.distractors(i)):
        yield from (f"distractor {d}: {fault}" for fault in _distractor_faults(distractor, dataset.shape))


def _distractor_faults(distractor: Distractor, shape: tuple[int, int]) -> Iterator[str]:
    if distractor.points_px is not None and not np.isfinite(distractor.points_px).all():
        yield "points_px must be finite"
    elif not distractor.area(shape).any():
        yield f"its {'curve' if distractor.mask is None else 'mask'} must reach the frame"


def _curve_faults(line: Line) -> Iterator[str]:
    if len(line.points_px) < 2:
        yield f"points_px must have at least 2 vertices, got {len(line.points_px)}"
        return
    for name in ("points_px", "core_px", "half_width_px", "contrast", "depth_nm"):
        if not np.isfinite(getattr(line, name)).all():
            yield f"{name} must be finite"
    closed = [bool(np.array_equal(curve[0], curve[-1])) for curve in (line.points_px, line.core_px)]
    if len(line.points_px) > 2 and closed[1] and not closed[0]:
        yield "points_px must repeat its first vertex, as core_px does"
    if not (line.half_width_px >= 1).all():
        yield f"half_width_px must be >= 1, got {line.half_width_px.min():g}"
    burgers = np.array(line.burgers_uvw)
    if not burgers.any() or burgers[np.flatnonzero(burgers)[0]] < 0:
        yield f"burgers_uvw must be written with its first non-zero component positive, got {line.burgers_uvw}"


def _mask_faults(line: Line, counts: bytes, shape: tuple[int, int]) -> list[str]:
    drawn, stored = line.mask(shape), decode_mask(counts, shape)
    if not drawn.any():
        return ["its mask is empty: a line outside the frame is not a label"]
    if not np.array_equal(drawn, stored):
        return [f"the stored mask differs from its curve in {np.count_nonzero(drawn != stored)} pixels"]
    return []


def _resimulation_faults(dataset: Dataset, count: int) -> Iterator[str]:
    from render.simulate import simulate

    # The CPU gives the same bytes; the image of a GPU it can only approach, by what its own far field may err.
    on_cpu = dataset.attributes.get("device", "cpu") == "cpu"
    for i in np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int)):
        again = simulate(dataset.scene(int(i)))
        if on_cpu and not np.array_equal(again.image, dataset.image(int(i))):
            yield f"image {i}: its scene renders to other bytes with the versions installed here"
        stored = dataset.lines(int(i))
        if len(again.lines) != len(stored):
            yield f"image {i}: its scene gives {len(again.lines)} lines, {len(stored)} are stored"
            continue
        for number, (new, old) in enumerate(zip(again.lines, stored)):
            other = [f.name for f in dataclasses.fields(new) if not np.array_equal(getattr(new, f.name), getattr(old, f.name))]
            if other:
                yield f"image {i} line {number}: its scene gives another {', '.join(other)}"
        if not _same_distractors(again.distractors, dataset.distractors(int(i))):
            yield f"image {i}: its scene gives other distractors"
        intensity = dataset.intensity(int(i))
        allowed = 0 if on_cpu else DEVICES_DIFFER
        if intensity is not None and not np.abs(again.intensity - intensity).max() <= allowed:
            yield f"image {i}: its scene gives another intensity"


def _same_distractors(new: tuple[Distractor, ...], old: tuple[Distractor, ...]) -> bool:
    def same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
        return (a is None) == (b is None) and (a is None or np.array_equal(a, b))

    return len(new) == len(old) and all(
        a.kind == b.kind and same(a.points_px, b.points_px) and same(a.mask, b.mask) for a, b in zip(new, old)
    )


def _images_text(plan: Plan, shard: int) -> str:
    images = plan.images(shard)
    return f"image {images.start}" if len(images) == 1 else f"images {images.start} to {images.stop - 1}"


def main(argv: list[str]) -> int:
    places, pairs = positional(argv, ("resimulate",), 1, USAGE)
    path, resimulate = Path(places[0]), pairs.get("resimulate", "0")
    require(resimulate.isdecimal(), "resimulate", "be a whole number >= 0", resimulate)
    faults = 0
    for fault in check_dataset(path, int(resimulate)):
        print(f"{path.name}: {fault}", flush=True)
        faults += 1
    if faults:
        print(f"{faults} fault{'s' if faults > 1 else ''} in {path}")
        return 1
    dataset = open_dataset(path)
    counts = dataset.card["counts"]
    print(f"{path}: {counts['images']} images, {counts['lines']} lines, no fault")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main, USAGE))
