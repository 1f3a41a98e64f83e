"""The doctor's word on a bare machine, with SMPL files good and bad, without OpenGL, and on a broken installation."""

import importlib.metadata
import warnings

import numpy as np
import pytest
from smpl_files import made, written

from spinkit import body as bodies
from spinkit import doctor
from spinkit.body import finding
from spinkit.view import gl

USABLE, LOAD = gl.usable, bodies.load


@pytest.fixture(autouse=True)
def smpl(tmp_path, monkeypatch, human):
    """The data/smpl of a bare machine."""
    folder = tmp_path / "data" / "smpl"
    folder.mkdir(parents=True)
    monkeypatch.setattr(finding, "smpl_folder", lambda: folder)
    monkeypatch.delenv(finding.VARIABLE, raising=False)
    # Asking for a renderer takes a second and may warn; the tests of the view do it.
    monkeypatch.setattr(gl, "usable", lambda: False)
    # The default body is read once, not in every test.
    monkeypatch.setattr(bodies, "load", lambda path=None: LOAD(path) if path else human)
    return folder


def found() -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in doctor.examine()}


def test_on_a_bare_machine_all_works_and_what_is_missing_has_a_source(capsys):
    said = found()
    missing = {name for name, finding in said.items() if finding.state == "missing"} - {"graphics card", "OpenGL"}
    files = {"smpl_mean_params.npz", "gmm_08.pkl", "model_checkpoint.pt"}
    assert missing == {"SMPL neutral", "SMPL female", "SMPL male"} | files
    assert "https://smpl.is.tue.mpg.de" in said["SMPL male"].remedy
    assert "https://smplify.is.tue.mpg.de" in said["SMPL neutral"].remedy
    assert all("fetch_data.sh" in said[name].remedy for name in files)
    assert said["default body"].state == said["pose prior"].state == said["packages"].state == "ok"
    assert "no SMPL file is found" in said["body"].detail
    assert doctor.main() == 0
    assert capsys.readouterr().out.endswith("spinkit works here.\n")


def test_an_smpl_file_is_found_and_what_it_lacks_is_named(smpl):
    written(smpl / "SMPL_NEUTRAL.npz", made())
    said = found()
    assert said["SMPL neutral"].state == "partial"
    assert "SMPL_NEUTRAL.npz, without J_regressor_extra.npy" in said["SMPL neutral"].detail
    assert "fetch_data.sh" in said["SMPL neutral"].remedy
    assert str(smpl / "SMPL_NEUTRAL.npz") in said["body"].detail
    assert said["SMPL male"].state == "missing"
    assert "only SMPL_NEUTRAL.npz (neutral)" in said["SMPL male"].detail


def test_a_whole_smpl_file_works(smpl, root):
    with np.load(root / "data" / "body.npz") as file:
        arrays = dict(file)
    np.savez(smpl / "SMPL_FEMALE.npz", **arrays)
    said = found()
    assert (said["SMPL female"].state, said["SMPL female"].remedy) == ("ok", "")
    assert "No neutral SMPL model" in said["body"].detail


def test_files_that_cannot_be_used_are_no_fault_of_the_installation(smpl, capsys):
    (smpl / "SMPL_MALE.pkl").write_bytes(b"cposix\nsystem\n(S'exit 1'\ntR.")
    (smpl / "gmm_08.pkl").write_bytes(b"")
    np.savez(smpl / "smpl_mean_params.npz", pose=np.zeros(144))
    said = found()
    assert said["SMPL male"].state == said["gmm_08.pkl"].state == said["smpl_mean_params.npz"].state == "unusable"
    assert "it asks for posix.system" in said["SMPL male"].detail
    assert "no field 'shape'" in said["smpl_mean_params.npz"].detail
    assert doctor.main() == 0
    assert "not usable    gmm_08.pkl" in capsys.readouterr().out


def test_spins_files_are_read_where_they_lie(smpl):
    np.savez(smpl.parent / "smpl_mean_params.npz", pose=np.zeros(144), shape=np.zeros(10), cam=np.zeros(3))
    (smpl / "model_checkpoint.pt").touch()
    said = found()
    assert said["smpl_mean_params.npz"].state == said["model_checkpoint.pt"].state == "ok"
    assert "hmr.read_mean_parameters(path)" in said["smpl_mean_params.npz"].detail


def test_a_wrong_variable_is_reported_by_name(monkeypatch, tmp_path):
    monkeypatch.setenv(finding.VARIABLE, str(tmp_path / "gone"))
    said = found()
    assert all("SPINKIT_BODY" in said[f"SMPL {gender}"].detail for gender in doctor.NEEDED_FOR)
    assert "refused" in said["body"].detail and said["body"].state == "used"


@pytest.mark.parametrize(("works", "state", "drawn"), [(True, "ok", "pyrender"), (False, "missing", "rasteriser")])
def test_the_renderer_is_the_one_that_pictures_come_from(monkeypatch, works, state, drawn):
    monkeypatch.setattr(gl, "usable", lambda: works)
    said = found()
    assert said["OpenGL"].state == state and drawn in said["OpenGL"].detail
    assert drawn in said["pictures"].detail


def test_without_the_opengl_libraries_the_rasteriser_draws_and_a_remedy_is_named(monkeypatch):
    load = gl.ctypes.CDLL

    def without_opengl(name, *args, **kwargs):
        if name in ("libEGL.so.1", "libGL.so.1"):
            raise OSError(f"{name}: cannot open shared object file")
        return load(name, *args, **kwargs)

    monkeypatch.setattr(gl.ctypes, "CDLL", without_opengl)
    monkeypatch.setattr(gl, "installed", gl.installed.__wrapped__)
    monkeypatch.setattr(gl, "usable", USABLE)
    said = found()
    assert said["OpenGL"].state == "missing" and "no library libEGL.so.1" in said["OpenGL"].detail
    assert "libegl1" in said["OpenGL"].remedy and "mesa-llvmpipe" in said["OpenGL"].remedy
    assert said["pictures"].detail == "drawn by spinkit's own rasteriser"


def test_a_driver_that_fails_is_reported_with_its_words(monkeypatch):
    def failing():
        warnings.warn("OpenGL is installed but does not work (no device)", stacklevel=2)
        return False

    monkeypatch.setattr(gl, "usable", failing)
    said = found()
    assert said["OpenGL"].state == "missing" and "does not work (no device)" in said["OpenGL"].detail


def test_a_missing_package_is_a_broken_installation(monkeypatch, capsys):
    wanted = ["numpy>=2,<3", "smplx==0.0.1", "no-such-package", 'also-none ; extra == "test"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: wanted)
    packages = found()["packages"]
    assert packages.state == "broken"
    assert packages.detail == "smplx is 0.1.28 instead of 0.0.1; no-such-package is not installed"
    assert doctor.main() == 1
    printed = capsys.readouterr().out
    assert "BROKEN        packages" in printed and "spinkit does not work here: packages" in printed


def test_a_missing_default_body_is_a_broken_installation(monkeypatch, tmp_path):
    monkeypatch.setattr(bodies, "load", LOAD)
    monkeypatch.setattr(bodies, "default_path", lambda: tmp_path / "body.npz")
    said = found()["default body"]
    assert said.state == "broken" and "git checkout data/body.npz" in said.detail


def test_every_line_of_the_report_fits_and_starts_with_its_state():
    findings = [doctor.Finding("thing", state, "word " * 60, "do it") for state in doctor.MARKS]
    lines = doctor.report(findings, width=80).splitlines()
    assert max(map(len, lines)) <= 80
    heads = [line for line in lines if not line.startswith(" ")]
    assert [head[:13].strip() for head in heads] == list(doctor.MARKS.values())
