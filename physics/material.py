"""Reading `physics/materials/<name>.json`: numbers with their sources, converted to the units used inside.

A record holds `structure`, `lattice`, `basis`, `elastic_GPa`, `debye_waller_A2`, `stacking_fault_mJ_m2`, `absorption`
and `slip_families`; each block of numbers carries `source`, or `"assumption": true` with a `note` where no source can be
named. `python -m physics.material [cu …] [assumptions]` lists them.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.resources import files

import numpy as np

from physics.command import run_command
from physics.errors import require

NM2_PER_A2 = 0.01
NUMBER_BLOCKS = ("lattice", "elastic_GPa", "debye_waller_A2", "stacking_fault_mJ_m2", "absorption")
NOT_NUMBERS = ("source", "note", "assumption")
USAGE = """\
python -m physics.material [name …] [assumptions]

Lists the numbers of the materials named, or of all, with their sources. assumptions: only those without a source.
"""


@dataclass(frozen=True, kw_only=True)
class CitedNumbers:
    """One block of numbers of a material, with its source, or the note that explains what was assumed."""

    material: str
    block: str
    values: tuple[tuple[str, float | None], ...]
    source: str
    is_assumption: bool


@cache
def material_names() -> tuple[str, ...]:
    """Names of the materials that ship with the package, sorted."""
    folder = files("physics") / "materials"
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".json")))


def material_record(name: str) -> dict:
    """The JSON record of `name`, one of `material_names()`, as it stands in its file."""
    return json.loads((files("physics") / "materials" / f"{name}.json").read_text(encoding="utf-8"))


def lattice_nm(record: dict) -> np.ndarray:
    """Columns a, b, c (3, 3) in nm: cubic a || x, b || y, c || z; hexagonal a || x, c || z."""
    lattice = record["lattice"]
    a_nm = lattice["a_nm"]
    if "c_nm" not in lattice:
        return a_nm * np.eye(3)
    return np.array([[a_nm, -a_nm / 2, 0], [0, a_nm * np.sqrt(3) / 2, 0], [0, 0, lattice["c_nm"]]])


def basis_positions(record: dict) -> np.ndarray:
    """Fractional positions (S, 3) of the sites of one conventional cell; the files may write "1/3"."""
    return np.array([[float(Fraction(x)) for x in site["position"]] for site in record["basis"]])


def basis_compositions(record: dict) -> tuple[tuple[tuple[str, float], ...], ...]:
    """For every site its elements and their shares, which add up to 1."""
    return tuple(
        tuple(sorted(site["composition"].items())) if "composition" in site else ((site["element"], 1.0),)
        for site in record["basis"]
    )


def stiffness_GPa(record: dict) -> np.ndarray:
    """Stiffness (6, 6) in Voigt order xx, yy, zz, yz, xz, xy, crystal Cartesian frame.

    Cubic needs C11, C12, C44; hexagonal C13 and C33 too, with C66 = (C11 - C12) / 2 (Nye 1957, table 9).
    """
    c = record["elastic_GPa"]
    c13, c33 = c.get("C13", c["C12"]), c.get("C33", c["C11"])
    c66 = (c["C11"] - c["C12"]) / 2 if "C33" in c else c["C44"]
    stiffness = np.diag([c["C11"], c["C11"], c33, c["C44"], c["C44"], c66]).astype(float)
    stiffness[[0, 1], [1, 0]] = c["C12"]
    stiffness[[0, 2, 1, 2], [2, 0, 2, 1]] = c13
    return stiffness


def debye_waller_nm2(record: dict) -> tuple[tuple[str, float], ...]:
    """Debye-Waller B of each element in nm^2 (the files hold the customary A^2)."""
    factors = record["debye_waller_A2"]["B"]
    return tuple(sorted((element, b_A2 * NM2_PER_A2) for element, b_A2 in factors.items()))


def stacking_fault_mJ_m2(record: dict) -> float | None:
    """Energy of the intrinsic fault, or of the basal I2 of hexagonal crystals; None where there is no stable one."""
    block = record["stacking_fault_mJ_m2"]
    energy = block.get("intrinsic", block.get("basal_I2"))
    return None if energy is None else float(energy)


def cited_numbers(name: str) -> tuple[CitedNumbers, ...]:
    """All numbers of the material `name`, block by block."""
    record = material_record(name)
    return tuple(
        CitedNumbers(
            material=name, block=block, values=tuple(_flat({k: v for k, v in record[block].items() if k not in NOT_NUMBERS})),
            source=record[block].get("source") or record[block]["note"], is_assumption=bool(record[block].get("assumption")),
        )
        for block in NUMBER_BLOCKS
    )  # fmt: skip


def _flat(block: dict) -> list[tuple[str, float | None]]:
    return [pair for key, value in block.items()
            for pair in (_flat({f"{key}.{k}": v for k, v in value.items()}) if isinstance(value, dict) else [(key, value)])]  # fmt: skip


def _main(argv: list[str]) -> None:
    names = [argument for argument in argv if argument != "assumptions"]
    for name in names:
        require(name in material_names(), "material", f"be one of {', '.join(material_names())}", repr(name))
    for name in names or material_names():
        for numbers in cited_numbers(name):
            if numbers.is_assumption or "assumptions" not in argv:
                values = ", ".join(f"{key} {'none' if value is None else f'{value:g}'}" for key, value in numbers.values)
                print(f"{name}: {numbers.block}: {values}: {'ASSUMPTION: ' if numbers.is_assumption else ''}{numbers.source}")


if __name__ == "__main__":
    sys.exit(run_command(_main, USAGE))
