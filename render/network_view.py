"""Drawing a view of a dislocation network: where in its box the foil is cut."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.errors import InputError, require
from physics.junction import open_ends
from physics.network import Network
from physics.network_cut import check_view, cut
from physics.network_lattice import LatticeChain, lattice_chains
from physics.networkio import read_paradis
from physics.networkio_ca import read_ca
from render.sample_config import NetworkScene
from render.space import Space

HEIGHT_STATIONS = 9
SURFACE_TOLERANCE_NM = 0.005  # of scene_rules' 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadNetwork:
    """A network read for one crystal, with the middle of each of its arms for quick looks."""

    network: Network
    lines: tuple[LatticeChain, ...]
    arm_middles_nm: np.ndarray
    longest_arm_nm: float


def draw_view(config: NetworkScene, space: Space, rng: np.random.Generator) -> tuple[Dislocation, ...]:
    """The lines of a foil cut from the network at a random place, redrawn until enough of them are inside.

    Raises FieldTooWide for a field wider than the box, and InputError when `most_views` places show too little.
    """
    read = _read_for(config, space.crystal)
    half_nm = np.array([*space.half_field_nm, _half_height_nm(space)])
    check_view(read.network, space.image_from_crystal, half_nm, space.faces)
    box_nm = read.network.box_nm
    for _ in range(config.most_views):
        origin_nm = box_nm[0] + read.network.cell_nm @ rng.uniform(size=3)
        if not _anything_near(read, space, origin_nm, half_nm):
            continue
        lines = cut(list(read.lines), read.network, origin_nm=origin_nm, image_from_crystal=space.image_from_crystal,
                    half_extent_nm=half_nm, faces=space.faces,
                    margin_nm=config.margin_fraction * 2 * float(half_nm[:2].max()))  # fmt: skip
        long = [line for line in lines if space.length_in_field_nm(line.points_nm) >= config.shortest_px * space.pixel_nm]
        if len(long) >= config.min_lines and not _ends_inside(lines, space):
            return tuple(line.canonical() for line in lines)
    raise InputError(
        f"scene.min_lines must be reachable: got fewer than {config.min_lines} lines of {config.shortest_px:g} px in each of "
        f"{config.most_views} views of {config.file}; use a larger field or a thicker foil"
    )


def smallest_period_nm(config: NetworkScene) -> float:
    """The shortest distance after which the network's box repeats."""
    return _network_of(config).smallest_period_nm


def materials_that_fit(config: NetworkScene, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `names` whose lattice holds every Burgers vector of the network."""

    def fits(name: str) -> bool:
        try:
            _read_for(config, Crystal.from_material(name))
        except InputError:
            return False
        return True

    require(len(_network_of(config).start) > 0, "scene.file", "hold dislocations", "none")
    return tuple(name for name in names if fits(name))


def _source(config: NetworkScene) -> tuple[str, int, float | None, bool]:
    file = str(config.file)
    return file, _stamp(file), None if config.burgers_nm is None else float(config.burgers_nm), config.flip_burgers


def _network_of(config: NetworkScene) -> Network:
    return _read_network(*_source(config))


def _read_for(config: NetworkScene, crystal: Crystal) -> ReadNetwork:
    return _in_crystal(*_source(config), crystal)


def _stamp(file: str) -> int:
    """When the file was last written, so that a changed one is read again."""
    try:
        return Path(file).stat().st_mtime_ns
    except OSError as error:
        raise InputError(f"scene.file must be a readable file, got {file}: {error.strerror}") from None


@lru_cache(maxsize=4)
def _read_network(file: str, stamp: int, burgers_nm: float | None, flip_burgers: bool) -> Network:
    """The format goes by the ending, as in NetworkScene: the unit of length is asked for where a file has none."""
    return read_ca(file, flip_burgers=flip_burgers) if burgers_nm is None else read_paradis(file, burgers_nm)


@lru_cache(maxsize=4)
def _in_crystal(file: str, stamp: int, burgers_nm: float | None, flip_burgers: bool, crystal: Crystal) -> ReadNetwork:
    network = _read_network(file, stamp, burgers_nm, flip_burgers)
    try:
        lines = lattice_chains(network, crystal)
    except InputError as error:
        raise InputError(f"scene.file {file}: {error}") from None
    arms_nm = network.nearest_image(network.nodes_nm[network.end] - network.nodes_nm[network.start])
    return ReadNetwork(
        network=network, lines=tuple(lines), arm_middles_nm=network.nodes_nm[network.start] + arms_nm / 2,
        longest_arm_nm=float(np.linalg.norm(arms_nm, axis=1).max(initial=0)),
    )  # fmt: skip


def _anything_near(read: ReadNetwork, space: Space, origin_nm: np.ndarray, half_nm: np.ndarray) -> bool:
    """Whether an arm can reach the field: a quick look before the cut."""
    offset = read.network.nearest_image(read.arm_middles_nm - origin_nm) @ space.image_from_crystal.T
    return bool((np.abs(offset) < half_nm + read.longest_arm_nm / 2).all(axis=1).any())


def _half_height_nm(space: Space) -> float:
    """Half the height of a level slab that holds the foil in the field."""
    x_nm, y_nm = np.meshgrid(*(np.linspace(-h, h, HEIGHT_STATIONS) for h in space.half_field_nm))
    heights = np.array(space.faces(x_nm.ravel(), y_nm.ravel()))
    return float(np.abs(heights).max())


def _ends_inside(lines: list[Dislocation], space: Space) -> bool:
    """Whether a pinned node of the network would be an open end inside foil and field."""
    for line, end in open_ends(lines):
        x, y, z = lines[line].points_nm[end]
        entrance_nm, exit_nm = space.faces(np.array([x]), np.array([y]))
        in_field = (np.abs([x, y]) < space.half_field_nm).all()
        if in_field and exit_nm[0] + SURFACE_TOLERANCE_NM < z < entrance_nm[0] - SURFACE_TOLERANCE_NM:
            return True
    return False
