"""From a checkpoint and a data set to a row beside the paper's: networks that always say the same, by hand."""

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import roma
import torch
from PIL import Image

from spinkit import body as bodies
from spinkit import camera, data, evaluate, fits, hmr, job, shelf, view
from spinkit.evaluate import command, networks, tables
from spinkit.spin import checkpoint

COUNT = 3
MEAN = {"pose": np.tile([1.0, 0, 0, -1, 0, 0], 24), "shape": np.zeros(10), "cam": np.array([0.9, 0, 0.2])}
MEAN["pose"][6:] = np.tile([1.0, 0, 0, 1, 0, 0], 23)
"""Upright before the camera, in rest pose."""


def stubborn() -> hmr.HMR:
    """A network that says the mean body whatever it sees."""
    mean = hmr.MeanParameters(*(torch.from_numpy(MEAN[key]).float() for key in ("pose", "shape", "cam")))
    model = hmr.HMR("small", mean, generator=torch.Generator().manual_seed(0))
    for layer in (model.decpose, model.decshape, model.deccam):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    return model


def answers(count: int = COUNT) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotation matrices and shapes that it says."""
    rotvec = torch.zeros(count, 24, 3)
    rotvec[:, 0, 0] = torch.pi
    return roma.rotvec_to_rotmat(rotvec), torch.zeros(count, 10)


@pytest.fixture
def run(tmp_path):
    """The folder of a run of ours, as training leaves it."""
    folder, model = tmp_path / "mine", stubborn()
    optimizer = torch.optim.Adam(model.parameters())
    empty = fits.FitDictionary(torch.zeros(1, 24, 3), torch.zeros(1, 10), torch.zeros(1))
    for step in (2, 10):
        checkpoint.save(folder / "checkpoints", step, model, optimizer, empty, [])
    settings = {"preset": asdict(job.choose("tiny")), "sources": asdict(job.Sources())}
    (folder / "settings.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture
def npz(tmp_path):
    """Writes a test set whose photos are 200 x 240 pixels and whose boxes are the middle of them."""
    names = [f"{i}.png" for i in range(COUNT)]
    for name in names:
        Image.fromarray(np.full((240, 200, 3), 128, np.uint8)).save(tmp_path / name)

    def write(name: str, **fields):
        boxes = {"center": np.tile([100.0, 120.0], (COUNT, 1)), "scale": np.full(COUNT, 1.0)}
        np.savez(tmp_path / name, imgname=np.array(names), **boxes, **fields)
        return tmp_path / name

    return write


def said_by(capsys, *arguments) -> tuple[int, str, str]:
    status = command.main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def measured_joints(human, shift: float) -> np.ndarray:
    """`S` of the mean body, its left knee shifted in depth."""
    points = evaluate.h36m17(human, *answers())
    joints = torch.zeros(COUNT, 24, 4)
    places = list(evaluate.H36M17.measured_joints)
    joints[:, places, :3] = (points - points[:, :1])[:, list(evaluate.H36M17.joints)]
    joints[:, 4, 2] += shift
    joints[..., 3] = 1
    return joints.numpy()


def test_a_run_is_scored_on_mpi_inf_3dhp_and_written_beside_the_paper(human, run, npz, tmp_path, capsys):
    test = npz("mpi_inf_3dhp_valid.npz", S=measured_joints(human, 0.2))
    out = tmp_path / "deep" / "row.json"
    given = ("--checkpoint", run, "--dataset", "mpi-inf-3dhp", "--npz", test, "--images", tmp_path, "--out", out)
    status, printed, _ = said_by(capsys, *given)
    assert status == 0
    report = json.loads(out.read_text())
    # One knee of 17 joints is 0.2 m off, and is one of the 14 that are counted.
    assert report["row"]["MPJPE (mm)"] == pytest.approx(200 / 17, abs=1e-3)
    assert report["row"]["PCK (%)"] == pytest.approx(100 * 13 / 14, abs=1e-3)
    assert report["row"]["AUC (%)"] == pytest.approx(100 * 30 / 31 * 13 / 14, abs=1e-3)
    assert report["samples"] == COUNT and report["network"] == "mine at step_00000010, small"
    assert len(report["paper"]) == 6 and report["paper"][-1]["aligned MPJPE (mm)"] == 67.5
    assert not report["caution"]
    lines = printed.splitlines()
    ours = next(line for line in lines if line.startswith("mine"))
    assert ours.split()[-6:-3] == ["92.9", "89.9", "11.8"] and "measured here" in ours
    assert "MPJPE, 17 joints by the Human3.6M regressor, pelvis at the origin, posed by body.npz, truth meas" in printed
    assert "PCK at 150 mm, first 14 of the 17 joints by the Human3.6M regressor, pelvis at the origin" in printed


@pytest.mark.parametrize("protocol", ["h36m-p1", "h36m-p2"])
def test_human36m_is_scored_on_measured_joints_also_where_the_file_has_bodies(human, run, npz, tmp_path, protocol):
    wrong = {"pose": np.full((COUNT, 72), 0.3), "shape": np.ones((COUNT, 10))}
    test = npz("h36m.npz", S=measured_joints(human, 0.14), **wrong)
    report = evaluate.measure(evaluate.Request(run, protocol, test, tmp_path, batch=2))
    assert report.scores.mpjpe.tolist() == pytest.approx([0.01] * COUNT, abs=1e-6)
    assert len(report.rows()) == (1 if protocol == "h36m-p1" else 9)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder of body models: a man a fifth larger, and a woman a tenth smaller, than the default body."""
    folder, arrays = tmp_path_factory.mktemp("smpl"), dict(np.load(bodies.default_path()))
    for gender, scale in (("MALE", 1.2), ("FEMALE", 0.9)):
        np.savez(folder / f"SMPL_{gender}.npz", **arrays | {"v_template": scale * arrays["v_template"]})
    return folder


def test_3dpw_is_scored_against_bodies_of_its_genders(human, run, npz, tmp_path, models):
    pose = np.zeros((COUNT, 72))
    pose[:, 0] = np.pi
    fields = {"pose": pose, "shape": np.zeros((COUNT, 10)), "gender": np.array(["m", "f", "m"])}
    request = evaluate.Request(run, "3dpw", npz("3dpw_test.npz", **fields), tmp_path, body=models)
    report = evaluate.measure(request)
    points = evaluate.h36m17(human, *answers(1))[0]
    reach = (points - points[0])[list(evaluate.H36M14.joints)].norm(dim=-1).mean().item()
    assert report.scores.mpjpe.tolist() == pytest.approx([0.2 * reach, 0.1 * reach, 0.2 * reach], abs=1e-5)
    assert report.rows()[-1]["PA-MPJPE (mm)"] < 0.01 and report.scores.pve is not None
    assert "posed by body.npz, truth by SMPL_MALE.npz or SMPL_FEMALE.npz" in str(report)
    unknown = npz("unknown.npz", **{key: fields[key] for key in ("pose", "shape")})
    with pytest.raises(ValueError, match=r"unknown\.npz: no field 'gender'"):
        evaluate.measure(replace(request, npz=unknown))
    neither = npz("neither.npz", **fields | {"gender": np.array(["m", "n", "f"])})
    with pytest.raises(ValueError, match="the gender of row 1 is n; 3DPW knows m and f only"):
        evaluate.measure(replace(request, npz=neither))
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "SMPL_NEUTRAL.npz").symlink_to(bodies.default_path())
    with pytest.raises(FileNotFoundError, match="No male SMPL model in"):
        evaluate.measure(replace(request, body=tmp_path / "one"))


def test_lsp_is_scored_by_what_the_network_would_draw(human, run, npz, tmp_path):
    rotmat, betas = answers(1)
    seen = camera.from_weak(torch.from_numpy(MEAN["cam"]).float())
    drawn = view.silhouette(human.vertices(rotmat, betas)[0], human.faces, seen, 224)
    mask = evaluate.to_photo(torch.from_numpy(drawn).long(), torch.tensor([100.0, 120, 200]), 240, 200).numpy()
    (tmp_path / "masks").mkdir()
    Image.fromarray((255 * mask).astype(np.uint8)).save(tmp_path / "masks" / "mask.png")
    Image.fromarray((6 * mask).astype(np.uint8)).save(tmp_path / "masks" / "parts.png")
    test = npz("lsp.npz", maskname=np.array(["mask.png"] * COUNT), partname=np.array(["parts.png"] * COUNT))
    request = evaluate.Request(run, "lsp", test, tmp_path, masks=tmp_path / "masks")
    report = evaluate.measure(request)
    assert report.rows()[-1]["FB accuracy (%)"] == 100 and report.rows()[-1]["FB F1"] == 1
    assert 0.1 < report.rows()[-1]["part F1"] < 0.3
    with pytest.raises(FileNotFoundError, match=r"6 masks are missing, first .*mask\.png; see --masks"):
        evaluate.measure(replace(request, masks=None))


def published(path, model: hmr.HMR, start: bool = True):
    state = {key: value for key, value in model.state_dict().items() if start or not key.startswith("init_")}
    torch.save({"model": state, "epoch": 1}, path)
    return path


@pytest.fixture
def small_published(monkeypatch):
    """Let published networks be small ones here, for speed; that ResNet-50 loads key by key is tested with `hmr`."""
    monkeypatch.setattr(networks, "PUBLISHED_BACKBONE", "small")
    monkeypatch.setattr(networks, "PUBLISHED_SIZE", 64)


@pytest.mark.usefixtures("small_published")
def test_a_published_checkpoint_starts_from_the_mean_that_lies_beside_it(tmp_path):
    bare = published(tmp_path / "model_checkpoint.pt", stubborn(), start=False)
    with pytest.raises(ValueError, match=r"does not say where its head starts.*smpl_mean_params\.npz"):
        evaluate.load_network(bare)
    np.savez(tmp_path / "smpl_mean_params.npz", **MEAN)
    network = evaluate.load_network(bare, tmp_path / "smpl_mean_params.npz")
    assert not network.model.training and network.body is None
    whole = evaluate.load_network(published(tmp_path / "whole.pt", stubborn()))
    assert torch.equal(whole.model.init_cam, network.model.init_cam)


@pytest.mark.usefixtures("small_published")
def test_a_published_checkpoint_without_smpl_is_measured_with_a_caution(human, npz, tmp_path, monkeypatch):
    monkeypatch.setattr(command.bodies, "find", lambda place: None)
    test = npz("h36m.npz", S=measured_joints(human, 0.14))
    released = published(tmp_path / "model_checkpoint.pt", stubborn())
    report = evaluate.measure(evaluate.Request(released, "h36m-p2", test, tmp_path))
    assert report.scores.mpjpe.tolist() == pytest.approx([0.01] * COUNT, abs=1e-6)
    assert report.network == "model_checkpoint.pt, small"
    assert "Caution: no SMPL model was found" in str(report) and report.as_json()["caution"]


def test_what_cannot_be_used_ends_the_command_with_its_reason(run, npz, tmp_path, capsys):
    test = npz("empty.npz")
    given = ("--dataset", "h36m-p2", "--npz", test, "--images", tmp_path)
    status, _, problem = said_by(capsys, "--checkpoint", tmp_path / "nowhere", *given)
    assert status == 2 and "no checkpoint at" in problem
    status, _, problem = said_by(capsys, "--checkpoint", run, *given)
    assert status == 2 and "neither pose and shape nor S" in problem
    status, _, problem = said_by(capsys, "--checkpoint", run.parent, *given)
    assert status == 2 and "no settings.json" in problem
    (run / "settings.json").write_text("{}")
    status, _, problem = said_by(capsys, "--checkpoint", run, *given)
    assert status == 2 and "settings.json: lacks 'preset'" in problem
    with pytest.raises(ValueError, match="no set 'coco'; choose one of 3dpw"):
        evaluate.Request(run, "coco", test, tmp_path)


@pytest.mark.parametrize("name", shelf.FILES)
def test_a_damaged_newest_snapshot_gives_way_to_the_one_before_with_a_warning(run, name):
    (run / "checkpoints" / "step_00000010" / name).write_bytes(b"nothing")
    with pytest.warns(UserWarning, match=rf"step_00000010: damaged \({name}.*Instead step_00000002, the one before"):
        network = evaluate.load_network(run)
    assert network.name == "mine at step_00000002, small"


def test_a_run_without_a_whole_snapshot_is_refused_by_name_with_a_remedy(run):
    for weights in run.glob("checkpoints/step_*/model.safetensors"):
        weights.write_bytes(b"nothing")
    refused = r"none of .*step_00000002, .*step_00000010 is whole\. Bring one back .* or remove .*checkpoints to train"
    with pytest.warns(UserWarning, match="No snapshot before it is whole"), pytest.raises(ValueError, match=refused):
        evaluate.load_network(run)


def test_a_run_without_a_snapshot_is_to_be_trained_first(run):
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(FileNotFoundError, match="no snapshot; train first"):
        evaluate.load_network(run)


def test_a_run_whose_note_names_another_network_is_refused(run):
    note = run / "settings.json"
    note.write_text(note.read_text().replace('"backbone": "small"', '"backbone": "resnet18"'))
    with pytest.raises(ValueError, match=r"step_00000010/model\.safetensors: damaged or of another network"):
        evaluate.load_network(run)


def test_the_papers_rows_are_in_their_tables():
    by_table = {t: [p for p in evaluate.PUBLISHED if p.table == t] for t in (1, 2, 3, 4)}
    assert [len(rows) for rows in by_table.values()] == [6, 6, 8, 6]
    for published_row in evaluate.PUBLISHED:
        assert len(published_row.values) == len(evaluate.COLUMNS[published_row.dataset])
    best = {t: rows[-1].values[0] for t, rows in by_table.items()}
    assert best == {1: 59.2, 2: 91.83, 3: 41.1, 4: 76.4}


def test_every_set_has_a_table_a_file_and_a_command():
    assert set(evaluate.DATASETS) == set(evaluate.COLUMNS) == set(data.TEST_FILES)
    assert "--dataset lsp --npz lsp_dataset_test.npz --images PHOTOS --masks" in evaluate.how_to_measure("lsp")


def test_a_row_of_ours_has_the_columns_and_units_of_the_paper():
    rows = evaluate.beside("lsp", {"ours": {"fb_accuracy": 0.5, "part_f1": 0.25, "mpjpe": 1.0}, "later": {}})
    assert rows[-2] == {"method": "ours", "source": "measured here", "FB accuracy (%)": 50.0, "part F1": 0.25}
    assert rows[-1] == {"method": "later", "source": "not measured"}
    table = tables.text_table(rows).splitlines()
    assert {line.find("paper,") for line in table[1:7]} == {table[0].find("source")}
    with pytest.raises(ValueError, match="no table has a set 'coco'"):
        evaluate.beside("coco", {})
