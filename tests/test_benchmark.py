"""The benchmark: frozen Scenes, flat maps as oracles, rivals, and the command on two small frames."""

import json

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import train.benchmark.freeze as freeze
import train.benchmark.splits as splits
from physics.errors import InputError
from render.config import compose
from render.sample_config import BULK_KEYS
from train.benchmark.__main__ import main
from train.benchmark.index_map import index_map, lines_of_index_map
from train.benchmark.networks import RivalSettings, clustered, discriminative_loss, load_rival, network_of
from train.benchmark.splits import SPLITS, load_split, scene_hash
from train.benchmark.train_baselines import train_rival
from train.curves import resample
from train.dataset import StoredImages
from train.metrics import Truth, score_image, summarise
from train.optimiser import optimiser_of
from train.settings import OptimiserSettings

SMALL = ["out=x", "shape=[64,64]", "scene=crossings", "material=al", "foil=flat", "surroundings=none", "detector=clean",
         "surfaces=false", "beam=bf", "scene.min_crossings=0", "scene.min_lines=2"]  # fmt: skip


def curve(*points):
    return resample(np.array(points, dtype=float), 1.0)


def truth(*curves):
    return Truth(curves_px=tuple(curves), half_width_px=tuple(np.full(len(c), 2.0) for c in curves))


def of_flat(true, shape):
    return summarise([score_image(lines_of_index_map(index_map(true.curves_px, true.half_width_px, shape), shape), true, shape)], bootstrap=0)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Split "sparse" of two 64 x 64 px frames, in a configuration folder of its own."""
    config = compose("render", SMALL, ("out",))
    folder = tmp_path / "configs" / "benchmark"
    folder.mkdir(parents=True)
    values = {"version": splits.VERSION, "seed": 3, "render": {k: v for k, v in config.items() if k not in BULK_KEYS}}
    OmegaConf.save(OmegaConf.create(values), folder / "sparse.yaml")
    for module in (splits, freeze):
        monkeypatch.setattr(module, "config_directory", lambda: tmp_path / "configs")
        monkeypatch.setattr(module, "FRAMES", 2)
    return folder


def test_a_flat_map_gives_apart_lines_and_rings_back():
    t = np.linspace(0, 2 * np.pi, 200)
    ring = np.column_stack([150 + 30 * np.cos(t), 100 + 30 * np.sin(t)])
    ring[-1] = ring[0]
    summary = of_flat(truth(curve([10, 20], [190, 40]), curve([10, 80], [90, 140]), ring), (160, 200))
    assert summary["instance_f1"] == 1.0
    assert summary["density_error"] == pytest.approx(0, abs=0.06)  # a pixel of the map is 4 px, ends are rounded to it


def test_a_flat_map_cannot_hold_two_lines_at_one_place():
    # Three lines 1.5 px apart lie in two rows of the map, which have two numbers: one is lost.
    fan = truth(*(curve([10, y], [190, y]) for y in (49.5, 51.0, 52.5)))
    assert len(np.unique(index_map(fan.curves_px, fan.half_width_px, (100, 200)))) == 3  # two and the background
    assert of_flat(fan, (100, 200))["instance_f1"] == pytest.approx(4 / 5)  # 2 x 2 / (3 + 2)
    flat = index_map([curve([10, 50], [190, 50]), curve([100, 30], [100, 70])], [np.full(181, 2.0), np.full(41, 2.0)], (100, 200))
    assert flat.shape == (25, 50) and set(np.unique(flat)) == {0, 1, 2}
    assert flat[12, 25] == 2  # the smaller one is on top


def test_pixels_cluster_by_embedding_and_the_loss_is_zero_where_they_do():
    numbers = torch.tensor([[1, 1, 0, 2, 2, 2]] * 2)
    embedding = torch.zeros(2, 2, 6)
    embedding[0, :, 3:] = 4.0  # farther than 2 PUSH = 3 from the other instance
    regular = 1e-3 * (0.0 + 4.0) / 2  # the mean length of the two centres
    assert float(discriminative_loss(embedding, numbers)) == pytest.approx(regular, rel=1e-3)
    near = embedding / 4.0  # 1 apart: (3 - 1)^2
    assert float(discriminative_loss(near, numbers)) == pytest.approx(4.0, rel=1e-2)
    flat, confidence = clustered((numbers > 0).float().numpy() * 0.9, embedding.numpy())
    assert len(confidence) == 2 and [len(np.unique(flat[numbers == n])) for n in (1, 2)] == [1, 1]
    assert flat[0, 2] == 0 and confidence == pytest.approx([0.9, 0.9])


def test_the_hash_of_a_scene_ignores_last_bits_and_nothing_else():
    scene = {"shape": [1.0, 2.5], "foil": {"c": -0.0, "n": 3}}
    assert scene_hash(json.dumps(scene)) == scene_hash(json.dumps({"foil": {"n": 3, "c": 0.0}, "shape": [1.0 + 1e-12, 2.5]}))
    assert scene_hash(json.dumps(scene)) != scene_hash(json.dumps({**scene, "shape": [1.0001, 2.5]}))
    assert scene_hash(json.dumps(scene)) == scene_hash(json.dumps({**scene, "later": None}))
    assert scene_hash(json.dumps(scene)) != scene_hash(json.dumps({**scene, "later": "something"}))
    # So do fields that the nouns in it were given later.
    old = scene_hash('{"foil": {"boundary": {"tilt": 3}}, "beam": {"n": 1}}')
    assert old == scene_hash('{"foil": {"boundary": {"tilt": 3, "width_nm": null}, "tears": [], "twins": []}, "beam": {"n": 1, "debye_waller": false}}')
    assert old != scene_hash('{"foil": {"boundary": {"tilt": 3, "width_nm": 20}}, "beam": {"n": 1}}')
    assert old != scene_hash('{"foil": {"boundary": {"tilt": 3}, "tears": [{"n": 1}]}, "beam": {"n": 1}}')


@pytest.mark.parametrize("name", SPLITS)
def test_every_split_of_this_version_is_whole_and_frozen(name, tmp_path):
    split = load_split(name, tmp_path / "network.data")
    assert len(split.scene_hashes) == len(set(split.scene_hashes)) == splits.FRAMES
    assert all(key in split.render for key in ("scene", "beam", "detector", "foil", "surroundings", "shape", "visible_contrast"))


@pytest.mark.parametrize("name", [name for name in SPLITS if name != "network"])
def test_every_frozen_scene_is_drawn_again(name):
    # All of them: what changes how one in a hundred is drawn would have the command refuse the whole split.
    split = load_split(name)
    other = [frame for frame, frozen in enumerate(split.scene_hashes) if scene_hash(split.scene(frame).to_json()) != frozen]
    assert other == []


def test_the_command_on_two_frames(small, tmp_path, capsys):
    arguments = [f"out={tmp_path / 'out'}", f"data={tmp_path / 'data'}", "splits=[sparse]", "frames=2", "workers=0"]
    with pytest.raises(InputError, match="frozen Scenes, got 0"):
        main(arguments)
    freeze.main(["splits=[sparse]"])
    assert len(json.loads((small / "scenes-v3.json").read_text())["sparse"]) == 2
    main(arguments)
    first = capsys.readouterr().out
    benchmark = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert benchmark["version"] == splits.VERSION and len(benchmark["images"]["sparse"]) == 2
    mean = benchmark["overall"]["mean"]
    assert {"model, traced", "ridge filter, skan branches", "oracle: perfect maps, traced"} <= set(mean)
    oracle, model = (mean[row]["instance_f1"] for row in ("oracle: perfect maps, traced", "model, traced"))
    assert benchmark["overall"]["share_of_oracle"] == pytest.approx(model / oracle, abs=1e-3)
    assert "not trained" in first and "share of the oracle decoder's instance F1" in first
    assert "# gdotb benchmark version 3" in (tmp_path / "out" / "benchmark.md").read_text()

    # A second time nothing is rendered, and the numbers are the same but for the seconds.
    stamp = (tmp_path / "data" / "sparse.zarr" / "zarr.json").stat().st_mtime_ns
    main(arguments)
    again = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert (tmp_path / "data" / "sparse.zarr" / "zarr.json").stat().st_mtime_ns == stamp
    assert again["overall"] == benchmark["overall"]

    changed = json.loads((small / "scenes-v3.json").read_text())
    changed["sparse"][1] = "0" * 12
    (small / "scenes-v3.json").write_text(json.dumps(changed))
    with pytest.raises(InputError, match="Scene 1 must be that of version 3"):
        main(arguments)


@pytest.mark.parametrize("argument,words", [("frames=0", "frames must be a whole number"), ("frames=101", "frames must be <= 100"),
                                            ("splits=[dense]", "splits must be"), ("baselines=nowhere", "baselines must be a folder"),
                                            ("network_file=nowhere", "network_file must be")])  # fmt: skip
def test_bad_arguments_are_refused_before_anything_is_rendered(argument, words, tmp_path):
    with pytest.raises(InputError, match=words):
        main([f"out={tmp_path / 'out'}", f"data={tmp_path / 'data'}", argument])
    assert list(tmp_path.iterdir()) == []


def test_the_network_split_is_left_out_where_there_is_no_network(monkeypatch):
    from train.benchmark.__main__ import chosen_splits

    monkeypatch.delenv("GDOTB_REAL_DATA", raising=False)
    chosen = chosen_splits({"splits": list(SPLITS), "network_file": None})
    assert [name for name, _ in chosen] == ["sparse", "pileup", "forest", "weakbeam"]


@pytest.mark.parametrize("kind", ["centreline", "index_map"])
def test_a_rival_is_trained_within_its_budget_and_read_again(kind, made_up_train, tmp_path):
    settings = RivalSettings(kind=kind, width=8, batch=2)
    card = train_rival(made_up_train, tmp_path / "r.safetensors", settings, 1.0, crop_px=64, workers=0, progress=False)
    assert card["steps"] >= 1 and np.isfinite(card["loss"])
    rival = load_rival(tmp_path / "r.safetensors")
    assert rival.settings == settings
    for line in rival.lines(np.random.default_rng(0).normal(100, 10, (70, 90))):
        assert np.isfinite(line.points_px).all()
    (tmp_path / "r.safetensors").write_bytes(b"no tensors")
    with pytest.raises(InputError, match="baselines must hold readable"):
        load_rival(tmp_path / "r.safetensors")


@pytest.fixture
def made_up_train(made_up):
    from render import open_dataset

    return StoredImages(open_dataset(made_up), 0)


@pytest.mark.parametrize("kind", ["centreline", "index_map"])
def test_a_rival_is_moved_by_the_rule_of_the_model(kind):
    settings = RivalSettings(kind=kind, width=8)
    network = network_of(settings)
    optimiser = optimiser_of(network, settings.optimiser)
    groups = {id(p): bool(group.get("orthogonal")) for group in optimiser.param_groups for p in group["params"]}
    kernels = [p for p in network.parameters() if p.ndim > 1]
    assert settings.optimiser == OptimiserSettings() and len(groups) == len(list(network.parameters()))
    assert [groups[id(p)] for p in kernels] == [False, *[True] * (len(kernels) - 2), False]  # the first and the last by AdamW


def test_a_rival_network_keeps_its_resolution():
    for kind, channels, side in (("centreline", 1, 32), ("index_map", 9, 16)):
        assert network_of(RivalSettings(kind=kind, width=8))(torch.zeros(1, 1, 64, 64)).shape == (1, channels, side, side)
