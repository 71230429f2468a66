"""Claim: a foil of an evolved network, 512 x 512 x 150, takes 0.75 s, field included.

ParaDiS' rs1417 (tantalum, 8e14 m^-2): 300 nm of it at 512 x 512 pixels, 150 nm thick, 150 slices, isotropic, g = 1-10 of
[111] at 200 kV. `GDOTB_REAL_DATA` names the folder of real data, with the file at `ddd/ParaDiS/rs1417.data`; without it
there is no row. Errors are against direct summation in double precision with 16 sub-slices a nanometre, over the
columns that are named; with relaxed surfaces both have the same kind of plate, that of the reference on a grid of 1.5 nm.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from surfaces import FINE_GRID_NM
from timing import Row, best_of

from physics.beam import BeamCondition, beam_absorption_nm, g_image_inv_nm, image_from_crystal, xi_g_nm
from physics.contrast.columns import ColumnGrid, column_image, column_values
from physics.contrast.two_beam import TwoBeam, perfect_crystal
from physics.crystal import Crystal
from physics.frames import column_positions_nm
from physics.network_cut import cut
from physics.network_lattice import lattice_chains
from physics.networkio import read_paradis
from physics.strain.foil_frame import FoilFaces
from physics.strain.plate import PlateField, plate_correction
from physics.strain.segments import Segments, segments_of

FILE = Path("ddd", "ParaDiS", "rs1417.data")
BURGERS_NM = 0.2856867  # of tantalum; the file does not hold its unit of length
SIZE, FIELD_NM, THICKNESS_NM, CORE_NM = 512, 300.0, 150.0, 0.5
PIXEL_NM = FIELD_NM / SIZE
MARGIN_NM = 75.0
# Runs on beyond the faces: an end's strain falls as 1 / distance.
CONTINUATION_NM = 1000 * THICKNESS_NM
PROBES, PROBES_RELAXED = 200, 100


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkFoil:
    """The lines of the foil and what images them, in the image frame."""

    segments: Segments
    shown: int
    g_image_inv_nm: np.ndarray
    beam: TwoBeam
    poisson_ratio: float


def rows() -> list[Row]:
    folder = os.environ.get("GDOTB_REAL_DATA")
    if not folder or not Path(folder, FILE).is_file():
        print(f"rs1417 foil: skipped, GDOTB_REAL_DATA names no folder with {FILE}", file=sys.stderr)
        return []
    foil = network_foil(Path(folder, FILE))
    return [_row(foil, relaxed) for relaxed in (False, True)]


def network_foil(path: Path) -> NetworkFoil:
    """The middle of the network's box as a foil seen along [111]."""
    crystal = Crystal.from_material("ta")
    beam = BeamCondition(g_hkl=(1, -1, 0), zone_axis_uvw=(1, 1, 1))
    network = read_paradis(path, BURGERS_NM)
    rotation = image_from_crystal(crystal, beam)
    half_nm = np.array([FIELD_NM / 2, FIELD_NM / 2, THICKNESS_NM / 2])
    lines = cut(
        lattice_chains(network, crystal), network, origin_nm=network.box_nm.mean(axis=0), image_from_crystal=rotation,
        half_extent_nm=half_nm, margin_nm=MARGIN_NM,
        faces=lambda x, y: (np.full_like(x, THICKNESS_NM / 2), np.full_like(x, -THICKNESS_NM / 2)),
    )  # fmt: skip
    xi_0_prime_nm, xi_g_prime_nm = beam_absorption_nm(crystal, beam)
    return NetworkFoil(
        segments=segments_of(lines, rotation @ crystal.lattice_nm, CONTINUATION_NM), shown=len(lines),
        g_image_inv_nm=g_image_inv_nm(crystal, beam), poisson_ratio=crystal.poisson_ratio,
        beam=TwoBeam(xi_g_nm=xi_g_nm(crystal, beam), xi_g_prime_nm=xi_g_prime_nm, xi_0_prime_nm=xi_0_prime_nm),
    )  # fmt: skip


def _row(foil: NetworkFoil, relaxed: bool) -> Row:
    elastic = {"poisson_ratio": foil.poisson_ratio, "core_nm": CORE_NM}
    grid = ColumnGrid.flat((SIZE, SIZE), PIXEL_NM, THICKNESS_NM, 0.0)
    faces = FoilFaces.flat(THICKNESS_NM, (FIELD_NM, FIELD_NM))

    def plate(grid_nm: float = 4.0) -> PlateField | None:
        if not relaxed:
            return None
        return plate_correction(foil.segments, foil.g_image_inv_nm, faces, grid_nm=grid_nm, **elastic)

    def image() -> tuple[np.ndarray, np.ndarray]:
        return column_image(foil.segments, foil.g_image_inv_nm, foil.beam, grid, plate=plate(), **elastic)

    wall, cpu = best_of(image, runs=3)
    probes = PROBES_RELAXED if relaxed else PROBES
    i, j = np.random.default_rng(1).integers(0, SIZE, (2, probes))
    x_nm, y_nm = column_positions_nm((SIZE, SIZE), PIXEL_NM)
    half = THICKNESS_NM / 2
    exact = column_values(
        foil.segments, foil.g_image_inv_nm, foil.beam, x_nm[j], y_nm[i], half, -half, 0.0, slice_nm=1 / 16, reference=True,
        plate=plate(FINE_GRID_NM), **elastic,
    )  # fmt: skip
    parts = []
    for name, values, columns, level in zip(("BF", "DF"), image(), exact, perfect_crystal(foil.beam, 0.0, THICKNESS_NM)):
        error = (values[i, j] - columns) / max(float(level), float(columns.mean()))
        parts.append(f"{name} {np.sqrt(np.mean(error**2)):.0e} rms, {np.abs(error).max():.0e} max")
    surfaces = "surfaces relaxed" if relaxed else "no surfaces"
    return Row(
        case=f"rs1417 foil, {SIZE} x {SIZE} x 150, {len(foil.segments)} segments in {foil.shown} lines, {surfaces}",
        wall_s=wall, cpu_s=cpu, error=f"{'; '.join(parts)} ({probes} columns)",
        allowed_s=None if relaxed else 0.75,
    )  # fmt: skip
