"""A skinned, animated glb, which Blender, three.js and game engines open without an add-on."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import trimesh
from torch import Tensor

from spinkit.body import Body, chain
from spinkit.export.gltf import ATTRIBUTE, INDEX, Numbers, pack
from spinkit.export.motion import Motion, in_frame
from spinkit.export.skin import Skin, residual, skin
from spinkit.keypoints import JOINT_NAMES, JOINT_PARENTS

TOLERANCE = 5e-5
"""Metres that morph targets may miss a vertex by; half of what the tests allow a file in all."""
SKIN_COLOUR = (0.62, 0.42, 0.33, 1.0)
"""Linear, not sRGB."""
MESH, PERSON, PELVIS = 0, 1, 2
"""Nodes of the file; the joints follow one another from the pelvis on.

The person holds mesh and skeleton, and is what moves through space. A viewer places skinned vertices by their joints
alone, but three.js decides by the mesh's own node whether it is in the picture: without this one, somebody who walks
away from where the clip begins vanishes. (The format's validator warns of it, as the parent moves the joints anyway.)
"""


@dataclass(frozen=True)
class Animated:
    """An animated glb, and how true it is."""

    glb: bytes
    targets: int
    """Morph targets, about 83 kB each for a body of 6890 vertices; each frame adds some 500 bytes."""
    residual: float
    """Metres: the largest distance between a vertex as a viewer skins it and the body's, over all frames."""


def animated(motion: Motion, body: Body, correctives: bool = True, tolerance: float = TOLERANCE) -> Animated:
    """A motion as a skinned, animated glb: y up, metres, the shape baked in, one key a frame.

    The file holds the body at rest with four weights a vertex, 24 joints under the body's names, their rotations,
    the person's place, and morph targets. It shows the first frame where animations are not played, and holds no
    animation where there is one frame only.

    Args:
        motion: in any frame.
        body: of the motion's gender.
        correctives: with morph targets, up to 100, for what a skin leaves out: pose correctives, and the weights of
            vertices that follow more than four joints. A clip of 100 frames then always fits, and takes at most
            9 MB; a longer one does where its poses repeat. Without, the file is small and the residual says what
            it costs: centimetres at strongly bent elbows and knees.
        tolerance: metres that the morph targets may miss a vertex by; a coarser one needs fewer of them.

    Raises:
        ValueError: a clip that needs more than 100 morph targets, or a motion of another family of body models.
    """
    motion = in_frame(motion, body, "world_yup")
    clip = skin(body, motion, correctives, tolerance)
    worst = residual(body, motion, clip)
    return Animated(pack(_document(clip, motion, body, worst)), len(clip.targets), worst)


def save_animation(
    path: str | PathLike, motion: Motion, body: Body, correctives: bool = True, tolerance: float = TOLERANCE
) -> Animated:
    """Write `animated` to a file.

    Raises:
        ValueError: for a name that does not end in .glb, and as `animated`.
    """
    path = Path(path)
    if path.suffix.lower() != ".glb":
        raise ValueError(f"{path.name} ends in {path.suffix or 'nothing'!r}; an animated body is written as .glb")
    written = animated(motion, body, correctives, tolerance)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(written.glb)
    return written


def _document(clip: Skin, motion: Motion, body: Body, worst: float) -> dict:
    """The file as a tree of JSON and arrays."""
    facts = {
        "frame": motion.frame,
        "frame_rate": motion.frame_rate,
        "frames": len(motion),
        "gender": motion.gender,
        "betas": motion.betas.tolist(),
        "body": body.name,
        "residual_metres": worst,
    }
    joints = list(range(PELVIS, PELVIS + len(JOINT_NAMES)))
    skin = {"joints": joints, "skeleton": PELVIS, "inverseBindMatrices": _inverse_bind_matrices(clip)}
    colour = {"baseColorFactor": SKIN_COLOUR, "metallicFactor": 0, "roughnessFactor": 0.8}
    return {
        "asset": {"version": "2.0", "generator": "spinkit", "extras": facts},
        "scene": 0,
        "scenes": [{"nodes": [PERSON]}],
        "nodes": [
            {"name": "Body", "mesh": 0, "skin": 0},
            {"name": "Person", "translation": clip.transl[0].tolist(), "children": [MESH, PELVIS]},
            *_joint_nodes(clip),
        ],
        "meshes": [_mesh(clip, body)],
        "skins": [skin],
        "materials": [{"name": "Skin", "pbrMetallicRoughness": colour}],
    } | ({"animations": [_animation(clip, motion.frame_rate)]} if len(motion) > 1 else {})


def _joint_nodes(clip: Skin) -> list[dict]:
    """The skeleton in the pose of the first frame; each joint stands at its bone from the parent."""
    bones = chain.bones(clip.rest_joints).tolist()
    children = [[PELVIS + c for c, p in enumerate(JOINT_PARENTS) if p == joint] for joint in range(len(bones))]
    poses = zip(JOINT_NAMES, bones, clip.unitquat[0].tolist(), children, strict=True)
    return [
        {"name": name, "translation": bone, "rotation": turn} | ({"children": below} if below else {})
        for name, bone, turn, below in poses
    ]


def _inverse_bind_matrices(clip: Skin) -> Numbers:
    """At rest no joint is turned, so what undoes its place is a shift."""
    matrices = np.tile(np.eye(4, dtype=np.float32), (len(clip.rest_joints), 1, 1))
    matrices[:, 3, :3] = -clip.rest_joints.numpy()  # The last row, since glTF stores columns.
    return Numbers(matrices.reshape(-1, 16))


def _mesh(clip: Skin, body: Body) -> dict:
    faces = body.faces.cpu().numpy()
    normals = trimesh.Trimesh(clip.rest_vertices.numpy(), faces, process=False).vertex_normals
    attributes = {
        "POSITION": _vertex(clip.rest_vertices),
        "NORMAL": Numbers(normals.astype(np.float32), ATTRIBUTE),
        "JOINTS_0": Numbers(clip.joints.numpy().astype(np.uint8), ATTRIBUTE),
        "WEIGHTS_0": _vertex(clip.weights),
    }
    primitive = {
        "attributes": attributes,
        "indices": Numbers(faces.astype(np.uint32).ravel(), INDEX),
        "material": 0,
    }
    if not len(clip.targets):
        return {"name": "Body", "primitives": [primitive]}
    targets = [{"POSITION": _vertex(target)} for target in clip.targets]
    return {
        "name": "Body",
        "primitives": [primitive | {"targets": targets}],
        "weights": clip.target_weights[0].tolist(),
    }


def _vertex(values: Tensor) -> Numbers:
    return Numbers(values.numpy(), ATTRIBUTE)


def _animation(clip: Skin, frame_rate: float) -> dict:
    """A rotation for every joint, the person's place, and the weights of the morph targets."""
    times = Numbers((np.arange(len(clip.transl)) / frame_rate).astype(np.float32))
    curves = [(PELVIS + joint, "rotation", clip.unitquat[:, joint]) for joint in range(len(JOINT_NAMES))]
    curves.append((PERSON, "translation", clip.transl))
    if len(clip.targets):
        curves.append((MESH, "weights", clip.target_weights.flatten()))
    return {
        "name": "Motion",
        "channels": [
            {"sampler": index, "target": {"node": node, "path": path}} for index, (node, path, _) in enumerate(curves)
        ],
        "samplers": [
            {"input": times, "output": Numbers(np.ascontiguousarray(values.numpy()))} for _, _, values in curves
        ],
    }
