"""The learned linker: log odds that a joint between two strands is real, from its features.

A perceptron of two hidden layers, about 3000 parameters, run in numpy: no torch is loaded to trace a line. Its
weights, with the calibration of confidences (`train.calibration`), are one safetensors file with a card in its header.
`python -m train.linker data=A.zarr model=RUN out=linker.safetensors` makes them from a dataset, whose truth is known.

Axes: N joints, F features, H hidden units.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from physics.errors import InputError, require
from render.cli import run_command
from train.joints import FEATURES

CARD_VERSION = 1
SHIPPED_LINKER = Path(__file__).resolve().parent / "weights" / "linker.safetensors"
LAYERS = 3
PATH_KEYS = ("data", "model", "out")
NUMBERS = {"images": 2, "calibrated": 2, "judged": 4, "seed": 0, "epochs": 1}
USAGE = """\
python -m train.linker data=A.zarr [model=RUN] out=linker.safetensors [images=120] [calibrated=140] [judged=30]

Learns which pieces of a trace belong together, on perfect maps and on those of a network, and calibrates confidences
and deviations. Needs the splits train, val and test of a rendered dataset. Of a dataset that the network was trained on
only the val split calibrates: calibrated= must not exceed it. Without model= the weights that come with the package are
used.
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Linker:
    """Weights by name (`mean`, `scale` (F,), `weight0` (F, H), `bias0` (H,), …), calibration tables, and the card."""

    weights: Mapping[str, np.ndarray]
    card: Mapping[str, Any] = field(default_factory=dict)

    def log_odds(self, features: np.ndarray) -> np.ndarray:
        """Log odds (N,) of joints with `features` (N, F)."""
        w = self.weights
        x = (features - w["mean"]) / w["scale"]
        for n in range(LAYERS):
            x = x @ w[f"weight{n}"] + w[f"bias{n}"]
            if n < LAYERS - 1:
                x = np.maximum(x, 0.0)
        return x[:, 0].astype(np.float64)

    @property
    def parameters(self) -> int:
        """Count of fitted numbers of the perceptron."""
        return sum(w.size for name, w in self.weights.items() if name.startswith(("weight", "bias")))


@functools.lru_cache(maxsize=1)
def shipped_linker() -> Linker:
    """The linker that comes with the package."""
    return load_linker(SHIPPED_LINKER)


def load_linker(path: str | os.PathLike[str]) -> Linker:
    """The linker of a .safetensors file.

    Raises InputError for what is not there, is damaged, or was made for other features.
    """
    path = Path(path)
    require(path.is_file(), "linker", "be a .safetensors file", path)
    try:
        with safe_open(path, framework="np") as opened:
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            card = json.loads((opened.metadata() or {}).get("card", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"linker must be a readable safetensors file, got {path}: {error}") from None
    require(card.get("version") == CARD_VERSION, "linker", f"have card version {CARD_VERSION}", card.get("version"))
    require(card.get("features") == list(FEATURES), "linker", "be made for the features of this version", path,
            "make it anew with python -m train.linker")  # fmt: skip
    expected = ["mean", "scale", *(f"{kind}{n}" for kind in ("weight", "bias") for n in range(LAYERS))]
    missing = [name for name in expected if name not in weights]
    require(not missing, "linker", "hold its weights", f"none named {missing[0]}" if missing else "")
    return Linker(weights=weights, card=card)


def save_linker(path: Path, linker: Linker) -> None:
    """Write the weights with their card in the header, and the card beside them for people."""
    text = json.dumps(linker.card, indent=1, ensure_ascii=False)
    tensors = {name: np.ascontiguousarray(w) for name, w in linker.weights.items()}
    for file, content in ((path, save(tensors, metadata={"card": text})), (path.with_suffix(".json"), f"{text}\n".encode())):
        part = file.with_name(file.name + ".part")
        part.write_bytes(content)
        os.replace(part, file)


def main(argv: list[str]) -> None:
    from render import open_dataset
    from render.config import compose
    from train.checkpoint import load_model
    from train.linker_fit import fit_linker

    config = compose("linker", argv, PATH_KEYS)
    for name, least in NUMBERS.items():
        value = config[name]
        require(isinstance(value, int) and not isinstance(value, bool) and value >= least, name, f"be a whole number, at least {least}", repr(value))
    out = Path(config["out"])
    require(out.suffix == ".safetensors", "out", "end in .safetensors", out)
    require(out.absolute().parent.is_dir() and not out.is_dir(), "out", "be a file in a folder that exists", out)
    model = load_model(config["model"], device="cpu")
    dataset = open_dataset(config["data"])
    linker = fit_linker(model, dataset, **{name: config[name] for name in NUMBERS})
    save_linker(out, linker)
    print(json.dumps(linker.card["judged"], indent=1))


def usage() -> str:
    from render.config import describe

    return f"{USAGE}\n{describe('linker')}"


if __name__ == "__main__":
    sys.exit(run_command(main, usage))
