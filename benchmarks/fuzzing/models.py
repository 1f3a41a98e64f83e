"""Kinds that hold bodies, priors and weights."""

import copy
import json
from collections import OrderedDict
from functools import cache, partial
from pathlib import Path
from unittest import mock

import numpy as np
import python2
import smpl_files
import torch
import torch11
from torch import nn

from fuzzing import damage
from fuzzing.annotations import drawn, saved, written
from fuzzing.kinds import JSON, NPY, NPZ, Kind
from spinkit import body, evaluate, hmr, priors
from spinkit.fits import FitDictionary
from spinkit.spin import checkpoint

POCKET = hmr.Plan(hmr.BasicBlock, (1,), (4,), (1,), (3, 4), maxpool=True, hidden=8)
"""A network whose files are small enough to be damaged thousands of times."""
SMPL = {
    "v_template": ("v", 3),
    "shapedirs": ("v", 3, 10),
    "posedirs": ("v", 3, 207),
    "joint_regressor": (24, "v"),
    "weights": ("v", 24),
    "faces": ("f", 3),
    "part6": ("v",),
    "vertex_mirror": ("v",),
    "h36m_regressor": (17, "v"),
}
PRIOR = {"means": ("m", 69), "precisions": ("m", 69, 69), "offsets": ("m",), "weights": ("m",)}
EXTRAS = {
    "J_regressor_extra": (9, smpl_files.VERTICES),
    "J_regressor_h36m": (17, smpl_files.VERTICES),
}


def _pickled_fields(data: bytes, rng: np.random.Generator, arrays: dict[str, np.ndarray]) -> bytes:
    """A pickle of arrays, as Python 2 wrote it, in which one array is missing or another."""
    changed = damage.altered(arrays, rng)
    return python2.dumps(changed, protocol=2 if rng.random() < 0.7 else 0)


def _pickle_ways(arrays: dict[str, np.ndarray]) -> dict[str, damage.Way]:
    way = partial(_pickled_fields, arrays=arrays)
    return {"fields": way, "fields again": way}


def _own_body(folder: Path) -> Path:
    """With all that the default body adds to SMPL's arrays."""
    g, n = drawn(), smpl_files.VERTICES
    extras = {name: g.random(shape) for name, shape in EXTRAS.items()}
    labels = {"part6": g.integers(0, 6, n), "part6_names": np.array(body.PART6_NAMES), "mirror": g.permutation(n)}
    return smpl_files.written(folder / "SMPL_NEUTRAL.npz", smpl_files.made() | extras | labels)


def _official(folder: Path, release: str) -> Path:
    return smpl_files.official(folder / "SMPL_NEUTRAL.pkl", smpl_files.made(), release)


def _plain_pickle(folder: Path, arrays: dict[str, np.ndarray], name: str) -> Path:
    (folder / name).write_bytes(python2.dumps(arrays, protocol=2))
    return folder / name


def _regressors(folder: Path) -> Path:
    smpl_files.written(folder / "SMPL_NEUTRAL.npz", smpl_files.made())
    for name, shape in EXTRAS.items():
        np.save(folder / f"{name}.npy", drawn().random(shape))
    return folder / "J_regressor_h36m.npy"


def _read_body(path: Path) -> object:
    """The body, and a person in it."""
    read = body.load(path.parent / "SMPL_NEUTRAL.npz" if path.suffix == ".npy" else path)
    if len(read.part6_names) <= int(read.part6.max()) or int(read.part6.min()) < 0:
        raise AssertionError("a vertex has a part without a name")
    read.vertices(torch.eye(3).expand(1, 24, 3, 3), torch.zeros(1, 10))
    return {name: value for name, value in vars(read).items() if isinstance(value, torch.Tensor)}


def _mixture() -> dict[str, np.ndarray]:
    spread = drawn().normal(size=(2, 69, 69))
    covars = spread @ spread.swapaxes(1, 2) + 69 * np.eye(69)
    return {"means": drawn().normal(size=(2, 69)), "covars": covars, "weights": np.array([0.4, 0.6])}


@cache
def _network(seed: int) -> hmr.HMR:
    with mock.patch.dict(hmr.PLANS, pocket=POCKET):
        return hmr.HMR("pocket", hmr.mean_parameters(), generator=torch.Generator().manual_seed(seed)).eval()


def _weights(folder: Path, how: str) -> Path:
    state = OrderedDict((key, value.detach().clone()) for key, value in _network(0).state_dict().items())
    content = {"model": state, "optimizer": {"state": {140_234_866_534_752: {"step": 3}}}, "epoch": 5}
    path = folder / "model_checkpoint.pt"
    if how == "Python 2":
        torch11.save(path, content)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
    return path


def _backbone(folder: Path) -> Path:
    trunk = {key: value for key, value in _network(0).state_dict().items() if not key.startswith(hmr.weights.HEAD)}
    torch.save(trunk | {"fc.weight": torch.zeros(3, 4)}, folder / "resnet.pth")
    return folder / "resnet.pth"


def _read_weights(path: Path) -> dict:
    model = copy.deepcopy(_network(1))
    (hmr.load_backbone if path.suffix == ".pth" else hmr.load_published)(model, path)
    return dict(model.state_dict())


def _trained(folder: Path, name: str) -> Path:
    """The folder of a run: its note, and a snapshot with a network."""
    note = {"preset": {"backbone": "pocket", "spin": {"image_size": 64}}, "sources": {"body": ""}}
    written(folder, note, "settings.json")
    _save_snapshot(folder / "checkpoints", _network(0))
    return folder / "settings.json" if name == "settings.json" else _newest(folder) / name


def _newest(folder: Path) -> Path:
    return checkpoint.newest(folder / "checkpoints")


def _save_snapshot(folder: Path, model: nn.Module) -> Path:
    fits = FitDictionary(torch.zeros(3, 24, 3), torch.zeros(3, 10), torch.ones(3))
    return checkpoint.save(folder, 12, model, torch.optim.Adam(model.parameters()), fits, [{"step": 12}])


def _read_run_network(path: Path) -> dict:
    run = path.parent if path.name == "settings.json" else path.parents[2]
    with mock.patch.dict(hmr.PLANS, pocket=POCKET):
        network = evaluate.load_network(run)
    assert isinstance(network.size, int) and isinstance(network.body, str), "size or body is of another type"
    return dict(network.model.state_dict())


def body_kinds() -> list[Kind]:
    """Body models in each form, regressors and pose priors."""
    arrays, mixture = smpl_files.made(), _mixture()
    pickled = partial(_plain_pickle, arrays=arrays, name="SMPL_NEUTRAL.pkl")
    gmm = partial(_plain_pickle, arrays=mixture, name="gmm_08.pkl")
    mean = {"pose": drawn().normal(size=144), "shape": np.zeros(10), "cam": np.array([0.9, 0, 0])}
    start = {"rot6d": (144,), "betas": (10,), "weak": (3,)}
    return [
        Kind("SMPL npz", _own_body, _read_body, SMPL, NPZ, sealed=True),
        Kind("SMPL pkl", pickled, _read_body, SMPL, _pickle_ways(arrays)),
        Kind("SMPL pkl, release 1.0", partial(_official, release="1.0"), _read_body, SMPL, {}),
        Kind("SMPL pkl, release 1.1", partial(_official, release="1.1"), _read_body, SMPL, {}),
        Kind("regressor npy", _regressors, _read_body, SMPL, NPY),
        Kind("pose prior npz", partial(saved, name="prior.npz", **mixture), priors.load, PRIOR, NPZ, sealed=True),
        Kind("pose prior pkl", gmm, priors.load, PRIOR, _pickle_ways(mixture)),
        Kind("mean parameters", partial(saved, name="mean.npz", **mean), hmr.read_mean_parameters, start, NPZ, True),
    ]


def weight_kinds() -> list[Kind]:
    """Weights as others publish them, and as runs keep them."""
    return [
        *(Kind(f"HMR pt, {how}", partial(_weights, how=how), _read_weights, {}, {}) for how in ("Python 2", "stream")),
        Kind(
            "HMR pt, zip", partial(_weights, how="zip"), _read_weights, {}, {"directory": damage.directory}, sealed=True
        ),
        Kind("backbone pth", _backbone, _read_weights, {}, {"directory": damage.directory}, sealed=True),
        Kind("settings.json", partial(_trained, name="settings.json"), _read_run_network, {}, JSON),
        Kind("model.safetensors", partial(_trained, name="model.safetensors"), _read_run_network, {}, {}, sealed=True),
        *(_snapshot_kind(name) for name in snapshot_files()),
    ]


def snapshot_files() -> list[str]:
    """What a snapshot consists of."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return sorted(p.name for p in _save_snapshot(Path(folder), _small()).iterdir())


def _small() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    for parameter in model.parameters():
        parameter.data.fill_(0.5)
    return model


def _snapshot_kind(name: str) -> Kind:
    """One file of a snapshot, the others whole."""
    inner = JSON if name.endswith(".json") else NPZ if name.endswith(".npz") else {}
    make = lambda folder: _save_snapshot(folder, _small()) / name  # noqa: E731
    return Kind(f"snapshot, {name}", make, _read_snapshot, {}, inner, sealed=name.endswith((".npz", ".safetensors")))


def _read_snapshot(path: Path) -> object:
    model = _small()
    step, fits, history = checkpoint.load(path.parent, model, torch.optim.Adam(model.parameters()))
    assert isinstance(step, int) and isinstance(history, list), "step or history is of another type"
    return {"step": step, "model": dict(model.state_dict()), "fits": fits.arrays(), "history": json.dumps(history)}
