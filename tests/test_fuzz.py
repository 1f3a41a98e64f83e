"""Damaged files of every kind are refused by name or read validly; `./run bench fuzz` tries a thousand of each."""

import io
import json
import pickle
import struct
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import fuzz
from fuzzing import damage, memory
from fuzzing.worker import Bench, Outcome, every_kind, outcomes

from spinkit import evaluate, files, hmr, keypoints
from spinkit.fits import FitDictionary
from spinkit.hmr import legacy
from spinkit.spin import checkpoint

WAYS, SEED = 25, 0
KINDS = list(every_kind())


@pytest.fixture(scope="module")
def tried():
    """Every kind damaged in some ways: one process for all, because it takes seconds to start."""
    found = {name: [] for name in KINDS}
    for outcome in outcomes(KINDS, WAYS, SEED):
        found[outcome.kind].append(outcome)
    return found


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_file_is_refused_by_name_or_read_validly(tried, name):
    failed = [f"{o.number} ({o.way}): {o.detail}" for o in tried[name] if o.verdict == "failed"]
    assert len(tried[name]) == WAYS and not failed, "\n".join(failed)


def test_most_damage_is_noticed(tried):
    every = [outcome for found in tried.values() for outcome in found]
    assert sum(outcome.verdict == "refused" for outcome in every) > 0.6 * len(every)
    assert all(outcome.verdict == "refused" for outcome in every if outcome.way == "canary")


@pytest.mark.parametrize("name", ["keypoints, coco", "SMPL npz", "regressor npy", "HMR pt, zip"])
def test_a_number_always_stands_for_the_same_damage(name):
    one, other = (Bench(every_kind()[name], SEED) for _ in range(2))
    try:
        ways = range(len(one.kind.ways))
        made = [one.damaged(number) for number in ways]
        assert made == [other.damaged(number) for number in ways]
        assert [way for way, _ in made] == list(one.kind.ways)
        assert sum(content != one.whole for _, content in made) >= len(made) - 1
    finally:
        one.close(), other.close()


def test_the_report_counts_what_was_tried_and_tells_failures(tried, tmp_path, capsys, monkeypatch):
    failure = Outcome("recipe", 7, "flip", "failed", "KeyError('share')")
    given = [*tried["recipe"][:2], failure, *tried["mean parameters"][:3]]
    monkeypatch.setattr(fuzz, "outcomes", lambda names, ways, seed: given)
    path = tmp_path / "deep" / "fuzz.json"
    assert fuzz.main(["--ways", "3", "--kinds", "recipe", "mean parameters", "--out", str(path)]) == 1
    report = json.loads(path.read_text())
    assert report["total"]["tried"] == 6 and report["total"]["failed"] == 1
    assert report["kinds"]["recipe"]["failures"][0]["number"] == 7
    assert "7 (flip): KeyError('share')" in capsys.readouterr().out


def spoilt(outcome: str):
    """A reader that goes wrong in one way."""

    def read(path):
        match outcome:
            case "another exception":
                raise KeyError(path.name)
            case "no name":
                raise ValueError("something is wrong")
            case "a wrong answer":
                return {"pose": torch.full((144,), torch.nan)}
        return pickle.loads(path.read_bytes())

    return read


@pytest.mark.parametrize("outcome", ["another exception", "no name", "a wrong answer", "code that runs"])
def test_a_reader_that_goes_wrong_is_told_from_one_that_refuses(tmp_path, monkeypatch, outcome):
    monkeypatch.chdir(tmp_path)
    bench = Bench(every_kind()["mean parameters"], SEED)
    bench.kind = replace(bench.kind, read=spoilt(outcome))
    try:
        canaries = range(list(bench.kind.ways).index("canary"), 200, len(bench.kind.ways))
        assert any(bench.attempt(number).verdict == "failed" for number in canaries)
        assert not (tmp_path / damage.CANARY).exists()
    finally:
        bench.close()


# What the fuzz run has found, each by the smallest example.


def test_one_flipped_bit_in_an_archives_directory_hides_no_field(tmp_path):
    path = tmp_path / "people.npz"
    np.savez(path, first=np.zeros(3), second=np.ones(3))
    whole = path.read_bytes()
    directory = whole.index(b"PK\x01\x02")
    renamed, swallowed = bytearray(whole), bytearray(whole)
    renamed[whole.index(b"second", directory)] ^= 1
    swallowed[directory + 32] = len(whole) - directory - 22 - 46 - len("first.npy")  # The length of its comment.
    for damaged in (renamed, swallowed):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"people\.npz: not an npz file"):
            files.read_npz(path)
    path.write_bytes(whole)
    assert list(files.read_npz(path)) == ["first", "second"]


@pytest.mark.parametrize("content", [100_000 * "[" + 100_000 * "]", 100_000 * '{"a":' + "1" + 100_000 * "}"])
def test_json_that_is_nested_too_deep_is_refused(tmp_path, content):
    path = tmp_path / "people.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"people\.json is not JSON .*write it again"):
        keypoints.read(path)


@pytest.mark.parametrize("header", ["{'descr': '<f8', (", "{'descr': '<f8', 'shape': (1,\n", "\x00" * 20, ""])
def test_an_npy_file_whose_header_is_no_python_is_refused(tmp_path, header):
    path = tmp_path / "fits.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
    with pytest.raises(ValueError, match=r"fits\.npy: not an npy file"):
        files.read_npy(path)


def test_a_pickle_gets_no_array_that_it_does_not_fill(tmp_path):
    path = tmp_path / "model.pkl"
    # A gigabyte of whatever lies in memory, named as an array's values are.
    path.write_bytes(b"\x80\x02}X\x04\x00\x00\x00sizecnumpy\nndarray\n(J\x00\x00\x00\x08t\x85Rs.")
    with memory.growth() as grown, pytest.raises(ValueError, match=r"model\.pkl"):
        files.read_pickle(path)
    assert grown() < 200_000_000


@pytest.mark.parametrize(
    "claim", [b"r\xff\xff\xff\x07", b"\x96" + struct.pack("<Q", 2**30)], ids=["remembered objects", "bytes"]
)
def test_a_pickle_that_claims_much_memory_does_not_get_it(tmp_path, claim):
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x05N" + claim + b".")
    with memory.growth() as grown, pytest.raises(ValueError, match=r"model\.pkl"):
        files.read_pickle(path)
    assert grown() < 200_000_000


def test_no_member_of_a_tar_archive_is_extracted_for_a_checkpoint(tmp_path, monkeypatch):
    extracted = []
    monkeypatch.setattr(tarfile.TarFile, "extract", lambda archive, member, **places: extracted.append(member))
    path = tmp_path / "model_checkpoint.pt"
    with tarfile.open(path, "w", encoding="latin1", format=tarfile.USTAR_FORMAT) as archive:
        # The name of the first member is what a file begins with: here the number by which torch's own files do.
        for name in (legacy.MAGIC.decode("latin1"), "storages", "tensors"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO(b""))
    assert legacy.is_legacy(path)
    with pytest.raises(ValueError, match=r"model_checkpoint\.pt is no file of tensors"):
        hmr.load_published(hmr.HMR("small", hmr.mean_parameters()), path)
    assert not extracted


@pytest.mark.parametrize("spoil", [lambda t: t.to_sparse(), lambda t: t.to(torch.complex64), lambda t: t.long()])
def test_weights_of_another_kind_are_refused(tmp_path, spoil):
    model = hmr.HMR("small", hmr.mean_parameters())
    state = model.state_dict()
    torch.save({"model": state | {"fc1.weight": spoil(state["fc1.weight"])}}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"model\.pt: 'fc1\.weight' holds"):
        hmr.load_published(model, tmp_path / "model.pt")


def test_a_runs_weights_that_are_not_finite_are_not_evaluated(tmp_path):
    model = hmr.HMR("small", hmr.mean_parameters())
    fits, optimizer = FitDictionary(torch.zeros(1, 24, 3), torch.zeros(1, 10), torch.zeros(1)), torch.optim.Adam
    preset = {"backbone": "small", "spin": {"image_size": 64}}
    (tmp_path / "settings.json").write_text(json.dumps({"preset": preset, "sources": {"body": ""}}))
    checkpoint.save(tmp_path / "checkpoints", 2, model, optimizer(model.parameters()), fits, [])
    assert evaluate.load_network(tmp_path).size == 64
    model.fc1.weight.data[0, 0] = torch.nan
    checkpoint.save(tmp_path / "checkpoints", 12, model, optimizer(model.parameters()), fits, [])
    with pytest.raises(ValueError, match=r"step_00000012/model\.safetensors: not finite; remove .*step_00000012"):
        evaluate.load_network(tmp_path)


def test_a_flipped_bit_in_the_numbers_of_a_zipped_checkpoint_is_noticed(tmp_path):
    path, model = tmp_path / "model.pt", hmr.HMR("small", hmr.mean_parameters())
    torch.save({"model": model.state_dict()}, path)
    content = bytearray(path.read_bytes())
    place = content.index(model.fc1.bias.detach().numpy().tobytes())
    content[place + 1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.pt is no file of tensors .*checksum"):
        hmr.load_published(model, path)
