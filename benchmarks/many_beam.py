"""Claim: a five-beam systematic row on a precomputed field, 512 x 512 x 100, takes 1.0 s on two cores.

Aluminium, g = 111 at 200 kV in (g, 3g), beams -g to 3g, 30 curved lines. The error is that of the whole image, field
and slicing included, of 000 and of g, over the mean of each.
"""

from __future__ import annotations

import functools

import numpy as np
from specimens import BEAM, ELASTIC, THICKNESS_NM, curved_lines
from timing import Row, best_of

from physics.beam import BeamCondition, excitation_error_of_ng
from physics.contrast.beams import BeamSet, beam_set
from physics.contrast.columns import ColumnGrid, column_image, column_values
from physics.contrast.spread import Spread
from physics.contrast.tiles import integrate_beams
from physics.crystal import Crystal
from physics.frames import column_positions_nm
from physics.parallel import over_threads

PROBES = 600
SIZE = 512


def rows() -> list[Row]:
    segments, beams = curved_lines(30, 20, SIZE), weak_beam()
    s = beams.reference_s_inv_nm
    grid = ColumnGrid.flat((SIZE, SIZE), 1.0, THICKNESS_NM, s)
    image = functools.partial(column_image, segments, np.zeros(3), BEAM, grid, beams=beams, **ELASTIC)
    tiles = _recorded(image)
    alone = best_of(lambda: over_threads(_integrate, len(tiles), tiles), runs=3)
    whole = best_of(image, runs=3)
    spread = Spread(voltage_kV=200, convergence_mrad=0.5)
    cone = best_of(functools.partial(image, spread=spread), runs=1)
    count = len(spread.points(beams.g_image_inv_nm, THICKNESS_NM)[1])
    errors = _errors(segments, beams, image(every_beam=True))
    return [
        Row(case="512 x 512 x 100, five-beam row at (g, 3g) on a precomputed field", wall_s=alone[0], cpu_s=alone[1],
            error=errors, allowed_s=1.0),
        Row(case="the same with the field of 30 curved lines x 20 segments", wall_s=whole[0], cpu_s=whole[1], error=errors),
        Row(case=f"the same, 0.5 mrad of convergence ({count} plane waves)", wall_s=cone[0], cpu_s=cone[1],
            error="of the average below 1e-3 by its rule"),
    ]  # fmt: skip


def weak_beam() -> BeamSet:
    """(g, 3g) of aluminium 111 with the row from -g to 3g."""
    crystal = Crystal.from_material("al")
    s = excitation_error_of_ng(crystal, (1, 1, 1), 200, 3)
    return beam_set(crystal, BeamCondition(g_hkl=(1, 1, 1), zone_axis_uvw=(1, -1, 0), row=(-1, 0, 1, 2, 3), s_inv_nm=s))


def _recorded(image) -> list[tuple]:
    """The arguments that the integration of every tile gets: the compiled code run as plain Python, its last step noted."""
    import physics.contrast.columns as columns
    from physics.contrast import tiles

    recorded: list[tuple] = []
    compiled, one_tile, last_step = columns.tile_intensities, tiles._tile, tiles.integrate_beams

    def note(*arguments):
        recorded.append((*arguments[:-1], np.zeros_like(arguments[-1])))

    try:
        tiles._tile, tiles.integrate_beams, columns.tile_intensities = one_tile.py_func, note, compiled.py_func
        image()
    finally:
        tiles._tile, tiles.integrate_beams, columns.tile_intensities = one_tile, last_step, compiled
    return recorded


def _integrate(begin: int, end: int, tiles: list[tuple]) -> None:
    for arguments in tiles[begin:end]:
        integrate_beams(*arguments)


def _errors(segments, beams: BeamSet, images: np.ndarray) -> str:
    """Rms and largest error over random columns against double precision with 16 sub-slices a nanometre."""
    i, j = np.random.default_rng(1).integers(0, SIZE, (2, PROBES))
    x_nm, y_nm = column_positions_nm((SIZE, SIZE), 1.0)
    exact = column_values(
        segments, np.zeros(3), BEAM, x_nm[j], y_nm[i], THICKNESS_NM / 2, -THICKNESS_NM / 2, beams.reference_s_inv_nm,
        slice_nm=1 / 16, reference=True, beams=beams, every_beam=True, **ELASTIC,
    )  # fmt: skip
    parts = []
    for name, k in (("BF", beams.origin), ("DF", beams.dark)):
        error = (images[k][i, j] - exact[k]) / exact[k].mean()
        parts.append(f"{name} {np.sqrt(np.mean(error**2)):.0e} rms, {np.abs(error).max():.0e} max")
    return "; ".join(parts)
