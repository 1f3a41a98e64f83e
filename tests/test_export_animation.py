"""Animated files: read again without the package, they move every vertex as the body does."""

import base64
import json
import re
import shutil
import struct
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import roma
import torch
import trimesh
from scipy.spatial.transform import Rotation

from spinkit import export
from spinkit.export.gltf import Numbers, pack
from spinkit.keypoints import JOINT_NAMES, JOINT_PARENTS

KINDS = {5121: np.uint8, 5125: np.uint32, 5126: np.float32}
STILL = {"rotation": (0, 0, 0, 1), "translation": (0, 0, 0)}
SIZES = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Glb:
    """A glb read from the format's description alone: its JSON, its arrays, and its skin at any key frame."""

    def __init__(self, data: bytes):
        magic, version, length, json_length, json_kind = struct.unpack("<4sIII4s", data[:20])
        assert (magic, version, length, json_kind) == (b"glTF", 2, len(data), b"JSON")
        self.json = json.loads(data[20 : 20 + json_length])
        size, kind = struct.unpack("<I4s", data[20 + json_length : 28 + json_length])
        assert kind == b"BIN\0" and size == len(data) - 28 - json_length
        self.data = data[28 + json_length :]

    def array(self, index: int) -> np.ndarray:
        accessor = self.json["accessors"][index]
        view = self.json["bufferViews"][accessor["bufferView"]]
        values = np.frombuffer(self.data, KINDS[accessor["componentType"]], offset=view["byteOffset"])
        return values[: accessor["count"] * SIZES[accessor["type"]]].reshape(accessor["count"], -1)

    def curves(self) -> dict[tuple[int, str], np.ndarray]:
        """Values at all keys by node and path."""
        animation = self.json["animations"][0]
        return {
            (channel["target"]["node"], channel["target"]["path"]): self.array(
                animation["samplers"][channel["sampler"]]["output"]
            )
            for channel in animation["channels"]
        }

    def skinned(self, frame: int) -> np.ndarray:
        """Vertices at a key frame: morph targets, then joints, as the format says."""
        nodes, mesh, skin = self.json["nodes"], self.json["meshes"][0], self.json["skins"][0]
        curves = self.curves() if "animations" in self.json else {}
        primitive = mesh["primitives"][0]
        attributes = {name: self.array(index) for name, index in primitive["attributes"].items()}
        points = attributes["POSITION"].astype(np.float64)
        targets = [self.array(target["POSITION"]) for target in primitive.get("targets", [])]
        weights = mesh.get("weights", [])
        if (0, "weights") in curves:
            weights = curves[0, "weights"].reshape(-1, len(targets))[frame]
        for weight, target in zip(weights, targets, strict=True):
            points = points + weight * target
        world = {}

        def place(node: int, above: np.ndarray) -> None:
            matrix = np.eye(4)
            values = STILL | nodes[node] | {path: curves[node, path][frame] for path in STILL if (node, path) in curves}
            matrix[:3, :3] = Rotation.from_quat(values["rotation"]).as_matrix()
            matrix[:3, 3] = values["translation"]
            world[node] = above @ matrix
            for child in nodes[node].get("children", []):
                place(child, world[node])

        for node in self.json["scenes"][0]["nodes"]:
            place(node, np.eye(4))
        undo = self.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        motions = np.stack([world[node] for node in skin["joints"]]) @ undo
        blended = np.einsum("vs,vsij->vij", attributes["WEIGHTS_0"], motions[attributes["JOINTS_0"]])
        return np.einsum("vij,vj->vi", blended[:, :3, :3], points) + blended[:, :3, 3]


@pytest.fixture(scope="module")
def motion() -> export.Motion:
    """Somebody who turns round, far from the camera, with every joint bent; the first rotation passes 360 degrees."""
    g = torch.Generator().manual_seed(0)
    phase = torch.linspace(0, 1, 9)[:, None, None]
    rotvec = 0.5 * torch.randn(24, 3, generator=g) + 0.4 * torch.randn(24, 3, generator=g) * torch.sin(5 * phase)
    headings = roma.rotvec_to_rotmat(torch.stack([0 * phase, 7 * phase, 0 * phase], -1)[:, 0, 0])
    upright = roma.rotvec_to_rotmat(torch.tensor([torch.pi, 0.0, 0.0]))
    rotvec[:, 0] = roma.rotmat_to_rotvec(headings @ upright)
    transl = torch.cat([phase[:, 0], 0.1 * phase[:, 0], 12 + phase[:, 0]], dim=1)
    return export.Motion(rotvec, transl, torch.randn(10, generator=g), 25.0)


@pytest.fixture(scope="module")
def wanted(human, motion) -> np.ndarray:
    """The body's vertices as the camera sees them, y and z turned over: glTF's y points up."""
    body = human.to(torch.float64)
    rotmat = roma.rotvec_to_rotmat(motion.rotvec.double())
    vertices = body.vertices(rotmat, motion.betas.double().expand(len(motion), 10)) + motion.transl[:, None]
    return vertices.numpy() * [1, -1, -1]


@pytest.fixture(scope="module")
def written(human, motion, tmp_path_factory):
    path = tmp_path_factory.mktemp("animated") / "new folder" / "clip.glb"
    return path, export.save_animation(path, motion, human)


@pytest.fixture(scope="module")
def glb(written) -> Glb:
    return Glb(written[0].read_bytes())


def test_the_file_moves_every_vertex_to_within_a_tenth_of_a_millimetre(glb, written, wanted):
    missed = [np.linalg.norm(glb.skinned(frame) - wanted[frame], axis=-1).max() for frame in range(len(wanted))]
    assert max(missed) < 1e-4
    assert written[1].residual == pytest.approx(max(missed), rel=0.05)
    assert 0 < written[1].targets == len(glb.json["meshes"][0]["primitives"][0]["targets"]) <= len(wanted)


def test_without_correctives_the_file_is_small_and_says_what_it_misses(human, motion, wanted, written):
    bare = export.animated(motion, human, correctives=False)
    missed = [np.linalg.norm(Glb(bare.glb).skinned(t) - wanted[t], axis=-1).max() for t in range(len(wanted))]
    assert bare.targets == 0 and len(bare.glb) < 600_000 < len(written[1].glb)
    assert bare.residual == pytest.approx(max(missed), rel=1e-3) and bare.residual > 1e-3


def test_a_tolerance_is_kept_with_fewer_targets(human, motion, written):
    coarse = export.animated(motion, human, tolerance=5e-3)
    assert coarse.residual <= 5e-3 and coarse.targets < written[1].targets


def test_the_skeleton_is_the_bodys_with_its_names(glb, human, motion):
    nodes, skin = glb.json["nodes"], glb.json["skins"][0]
    assert [nodes[node]["name"] for node in skin["joints"]] == list(JOINT_NAMES)
    parents = {child: node for node in skin["joints"] for child in nodes[node].get("children", [])}
    assert [skin["joints"].index(parents[n]) if n in parents else -1 for n in skin["joints"]] == list(JOINT_PARENTS)
    undo = glb.array(skin["inverseBindMatrices"]).reshape(24, 4, 4)
    joints = human.shaped(motion.betas).rest_joints.numpy()
    np.testing.assert_allclose(undo[:, 3, :3], -joints, atol=1e-6)
    np.testing.assert_array_equal(
        undo[:, :, :3] - np.pad(undo[:, 3:, :3], ((0, 0), (3, 0), (0, 0))), np.eye(4)[:, :3] * np.ones((24, 1, 1))
    )


def test_the_node_that_moves_through_space_holds_mesh_and_skeleton(glb, human, motion):
    # three.js judges by the mesh's own node whether it is in the picture, and hides who walked away from it.
    (moving,) = [node for node, path in glb.curves() if path == "translation"]
    children = glb.json["nodes"][moving]["children"]
    assert [glb.json["nodes"][child]["name"] for child in children] == ["Body", "Pelvis"]
    place = export.in_frame(motion, human, "world_yup").transl.numpy()
    np.testing.assert_allclose(glb.curves()[moving, "translation"], place, atol=1e-5)


def test_no_vertex_follows_more_than_four_joints_and_weights_sum_to_one(glb):
    attributes = glb.json["meshes"][0]["primitives"][0]["attributes"]
    weights, joints = glb.array(attributes["WEIGHTS_0"]), glb.array(attributes["JOINTS_0"])
    assert weights.shape == joints.shape == (6890, 4)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    assert not joints[weights == 0].any(), "validators complain of joints without a weight"


def test_quaternions_are_of_unit_length_and_never_jump_to_the_other_sign(glb):
    turns = np.stack([glb.curves()[node, "rotation"] for node in glb.json["skins"][0]["joints"]], axis=1)
    np.testing.assert_allclose(np.linalg.norm(turns, axis=-1), 1, atol=1e-6)
    assert ((turns[1:] * turns[:-1]).sum(-1) > 0).all()
    assert turns[0, 0] @ turns[-1, 0] < 0, "after one full turn the sign is the other, so the test can fail"


def test_keys_follow_the_frame_rate_and_the_facts_are_in_the_file(glb, motion, written):
    animation = glb.json["animations"][0]
    assert {sampler["input"] for sampler in animation["samplers"]} == {animation["samplers"][0]["input"]}
    np.testing.assert_allclose(glb.array(animation["samplers"][0]["input"])[:, 0], np.arange(9) / 25, atol=1e-7)
    facts = glb.json["asset"]["extras"]
    assert (facts["frame"], facts["frame_rate"], facts["frames"]) == ("world_yup", 25.0, 9)
    assert facts["residual_metres"] == written[1].residual
    np.testing.assert_allclose(facts["betas"], motion.betas.numpy())


def test_another_reader_finds_the_mesh_at_rest_and_the_y_axis_up(written, human, motion):
    scene = trimesh.load(written[0], process=False)
    (mesh,) = scene.geometry.values()
    np.testing.assert_allclose(mesh.vertices, human.shaped(motion.betas).rest_vertices.numpy(), atol=1e-6)
    np.testing.assert_array_equal(mesh.faces, human.faces.numpy())
    assert np.ptp(mesh.vertices, axis=0).argmax() == 1 and mesh.volume > 0


def test_one_frame_is_a_still_in_its_pose(human, motion, wanted):
    still = Glb(export.animated(motion[4:5], human).glb)
    assert "animations" not in still.json
    assert np.linalg.norm(still.skinned(0) - wanted[4], axis=-1).max() < 1e-4


def test_a_motion_is_left_as_it_was_and_gives_the_same_bytes_again(human, motion, written):
    before = motion.rotvec.clone(), motion.transl.clone()
    assert export.animated(motion, human).glb == written[1].glb
    assert torch.equal(motion.rotvec, before[0]) and torch.equal(motion.transl, before[1])


def test_a_clip_that_is_too_varied_for_morph_targets_is_refused(human, motion, monkeypatch):
    monkeypatch.setattr("spinkit.export.skin.MOST_TARGETS", 3)
    with pytest.raises(ValueError, match=r"9 frames need \d morph targets .* motion\[:3\].*correctives=False"):
        export.animated(motion, human)


def test_other_endings_and_other_bodies_shapes_are_refused(human, motion, tmp_path):
    with pytest.raises(ValueError, match=r"'.gltf'; an animated body is written as .glb"):
        export.save_animation(tmp_path / "clip.gltf", motion, human)
    with pytest.raises(ValueError, match=r"'.htm'; a page is written as .html"):
        export.save_page(tmp_path / "clip.htm", motion, human)
    with pytest.raises(ValueError, match="smplx"):
        export.save_animation(tmp_path / "clip.glb", replace(motion, surface_model_type="smplx"), human)
    assert not list(tmp_path.iterdir())


def test_an_array_in_two_places_is_stored_once_and_every_array_begins_at_a_multiple_of_four():
    odd, other = Numbers(np.arange(5, dtype=np.uint8)), Numbers(np.ones((2, 3), np.float32))
    read = Glb(pack({"asset": {"version": "2.0"}, "a": [odd, other], "b": odd}))
    assert (read.json["a"], read.json["b"]) == ([0, 1], 0)
    assert all(view["byteOffset"] % 4 == 0 for view in read.json["bufferViews"])
    np.testing.assert_array_equal(read.array(0)[:, 0], np.arange(5))
    assert read.json["accessors"][1]["max"] == [1, 1, 1]


@pytest.fixture(scope="module")
def page(human, motion, tmp_path_factory):
    return export.save_page(tmp_path_factory.mktemp("page") / "clip.html", motion, human, title="Turn <round>")


def test_a_page_is_small_asks_for_nothing_and_holds_a_glb(page, wanted):
    text = page.read_text()
    assert len(text) < 5e6 and "Turn &lt;round&gt;" in text and "{{" not in text
    assert not re.search(r"https?://|src=|@import|fetch\(", text)
    held = Glb(base64.b64decode(re.search('const GLB = "([^"]+)"', text)[1]))
    assert np.linalg.norm(held.skinned(3) - wanted[3], axis=-1).max() < 1.1e-3


def test_a_page_in_a_browser_moves_the_body_as_the_body_moves(page, wanted, tmp_path):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium here to open the page in")
    asks = "<pre id=said></pre><script>said.textContent = JSON.stringify([0, 3, 8].map((t) => player ? "
    asks += "Array.from(player.verticesAt(t / 25)) : trouble.textContent));</script>"
    asked = tmp_path / "asked.html"
    asked.write_text(page.read_text().replace("</body>", asks + "</body>"))
    software = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]
    options = ["--headless=new", f"--user-data-dir={tmp_path}", "--window-size=64,64", "--dump-dom"]
    shown = subprocess.run(
        [browser, *software, *options, asked.as_uri()], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    said = json.loads(re.search(r'<pre id="said">(.*?)</pre>', shown)[1])
    for frame, points in zip((0, 3, 8), said, strict=True):
        assert np.linalg.norm(np.reshape(points, (-1, 3)) - wanted[frame], axis=-1).max() < 1.1e-3
