"""Reader of motion of the CMU Graphics Lab Motion Capture Database, and its translation to SMPL's 24 joints.

Three forms of the recordings are read: Acclaim (ASF skeleton and AMC motion), BVH in B. Hahne's conversion,
and rows of rotation vectors. All list the same 31 bones. A clip keeps what its file says; `retarget`
translates.

The data are free for all uses but may not be sold. They are no part of this project; data/README.md has the
acknowledgement that they ask for.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from spinkit import keypoints
from spinkit.people import anatomy

METRES = 0.056444
"""Metres in one unit of length of an ASF or BVH file (CMU's FAQ: 1 / 0.45 inches)."""


def _named(side: str, *bones: str) -> tuple[str, ...]:
    return tuple(f"{side}{bone}" for bone in bones)


LEG = ("hipjoint", "femur", "tibia", "foot", "toes")
TRUNK = ("lowerback", "upperback", "thorax", "lowerneck", "upperneck", "head")
ARM = ("clavicle", "humerus", "radius", "wrist", "hand", "fingers", "thumb")
BONES = ("root", *_named("l", *LEG), *_named("r", *LEG), *TRUNK, *_named("l", *ARM), *_named("r", *ARM))
"""In the order in which every BVH and rotation-vector file of the database lists them."""
PARENTS = (
    *(-1, 0, 1, 2, 3, 4, 0, 6, 7, 8, 9),
    *(0, 11, 12, 13, 14, 15),
    *(13, 17, 18, 19, 20, 21, 20, 13, 24, 25, 26, 27, 28, 27),
)

# Rotation-vector files also hold a column triple for the end of each chain.
EXPMAP_ENDS = (6, 12, 19, 26, 28, 35, 37)
EXPMAP_COLUMNS = 3 + 3 * (len(BONES) + len(EXPMAP_ENDS))

# In CMU's T-pose a bending elbow lifts the hand forward and 30 degrees up, in ours straight forward: the same
# upper arm, turned about itself. Read off the axis that every ASF file gives the radius.
ELBOW_ROLL = -30.0
# The heads of the recordings look 16 degrees down in the median over all clips, walkers' among them; we take
# 6 degrees as what people do and the rest as the recordings' habit of rest.
HEAD_LEVEL = -10.0


@dataclass(frozen=True)
class Skeleton:
    """A person at rest: legs spread by 20 degrees, arms stretched out sideways."""

    bones: Float[np.ndarray, "31 3"]
    """From the start of each bone to its end, metres."""
    axes: Float[np.ndarray, "31 3 3"]
    """Columns: the axes about which a bone's three angles turn."""


@dataclass(frozen=True)
class Clip:
    """A recording: rotations of bones, each against that skeleton's own pose of rest."""

    name: str
    bones: Float[np.ndarray, "31 3"]
    """From start to end in the pose of rest, metres."""
    rotation: Float[np.ndarray, "n 31 3 3"]
    """From the pose of rest to the posed bone, in the frame of the recording (y up)."""

    def directions(self, bone: str) -> Float[np.ndarray, "n 3"]:
        """Where a bone points in each frame."""
        vector = self.bones[BONES.index(bone)]
        return self.rotation[:, BONES.index(bone)] @ (vector / np.linalg.norm(vector))


def read_folder(folder: Path) -> list[Clip]:
    """Every clip below `folder`, which holds amc/, asf/, bvh/ and expmap/, in the order of their names.

    A clip whose own skeleton is missing is read with the average of all: bones differ between people, the
    axes of their angles do not.
    """
    skeletons = {path.stem: read_asf(path) for path in sorted(folder.glob("asf/*.asf"))}
    if not skeletons:
        raise FileNotFoundError(f"no asf/*.asf in {folder}; data/README.md says where the CMU clips are")
    axes = next(iter(skeletons.values())).axes
    average = Skeleton(np.mean([skeleton.bones for skeleton in skeletons.values()], 0), axes)
    clips = []
    for path in sorted(folder.glob("amc/*.amc")):
        clips.append(read_amc(path, skeletons.get(path.stem.split("_")[0], average)))
    clips += [read_bvh(path) for path in sorted(folder.glob("bvh/*.bvh"))]
    clips += [read_expmap(path, average) for path in sorted(folder.glob("expmap/*.txt"))]
    return clips


def read_asf(path: Path) -> Skeleton:
    """The skeleton of an Acclaim file."""
    bones, axes = np.zeros((31, 3)), np.tile(np.eye(3), (31, 1, 1))
    _, _, blocks = path.read_text().partition(":bonedata")
    for block in blocks.partition(":hierarchy")[0].split("begin")[1:]:
        fields = {words[0]: words[1:] for words in map(str.split, block.splitlines()) if words}
        if not {"name", "direction", "length", "axis"} <= fields.keys():
            raise ValueError(f"{path}: a bone lacks one of name, direction, length, axis: {sorted(fields)}")
        row = BONES.index(fields["name"][0])
        bones[row] = np.array(fields["direction"], float) * float(fields["length"][0]) * METRES
        angles = np.array(fields["axis"][:3], float)
        axes[row] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    return Skeleton(bones, axes)


# The degrees of freedom of each bone, in the order in which an AMC file lists them.
AMC_ANGLES = {
    **dict.fromkeys(("root", *TRUNK, "lfemur", "rfemur", "lhumerus", "rhumerus"), "xyz"),
    **dict.fromkeys(("ltibia", "rtibia", "ltoes", "rtoes"), "x"),
    **dict.fromkeys(("lradius", "rradius", "lfingers", "rfingers"), "x"),
    **dict.fromkeys(("lfoot", "rfoot", "lhand", "rhand", "lthumb", "rthumb"), "xz"),
    **dict.fromkeys(("lclavicle", "rclavicle"), "yz"),
    **dict.fromkeys(("lwrist", "rwrist"), "y"),
}


def read_amc(path: Path, skeleton: Skeleton) -> Clip:
    """The motion of an Acclaim file: per frame a number, then a line of angles in degrees for each bone."""
    frames: list[np.ndarray] = []
    for words in map(str.split, path.read_text().splitlines()):
        if len(words) == 1 and words[0].isdigit():
            frames.append(np.zeros((31, 3)))
        elif frames and words:
            named = AMC_ANGLES.get(words[0], "")
            angles = words[4:] if words[0] == "root" else words[1:]
            if len(angles) != len(named) or not named:
                raise ValueError(f"{path}: frame {len(frames)}: {len(angles)} angles for {words[0]!r}")
            frames[-1][BONES.index(words[0]), ["xyz".index(axis) for axis in named]] = np.array(angles, float)
    if not frames:
        raise ValueError(f"{path}: no frame; expected lines with a frame number followed by lines of angles")
    angles = np.array(frames).reshape(-1, 3)
    turned = Rotation.from_euler("xyz", angles, degrees=True).as_matrix().reshape(-1, 31, 3, 3)
    local = skeleton.axes @ turned @ skeleton.axes.swapaxes(-1, -2)
    return Clip(path.stem, skeleton.bones, _chained(local))


def read_bvh(path: Path) -> Clip:
    """A BVH file of B. Hahne's conversion. Its first frame may be an artificial T-pose and is dropped."""
    hierarchy, _, motion = path.read_text().partition("MOTION")
    words = [line.split() for line in hierarchy.splitlines()]
    offsets = np.array([line[1:] for line in words if line[:1] == ["OFFSET"]], float) * METRES
    is_joint = [line[0] != "End" for line in words if line[:1] in (["ROOT"], ["JOINT"], ["End"])]
    orders = [
        "".join(name[0] for name in line[2:] if name.endswith("rotation")) for line in words if "CHANNELS" in line
    ]
    if sum(is_joint) != len(BONES):
        raise ValueError(f"{path}: {sum(is_joint)} joints, but CMU's skeleton has {len(BONES)}")
    rows = [line.split() for line in motion.splitlines() if line and line[0] in "-0123456789"]
    values = np.array(rows, float)[1:, 3:].reshape(-1, len(BONES), 3)
    # A file lists a joint before its children, so the entry after a joint is where its bone ends.
    bones = offsets[np.flatnonzero(is_joint) + 1]
    local = [Rotation.from_euler(order, values[:, row], degrees=True).as_matrix() for row, order in enumerate(orders)]
    return Clip(path.stem, bones, _chained(np.stack(local, 1)))


def read_expmap(path: Path, skeleton: Skeleton) -> Clip:
    """Rows of rotation vectors. They were made for row vectors, hence the sign; the first row is a T-pose."""
    values = np.loadtxt(path, delimiter=",", ndmin=2)
    if values.shape[1] != EXPMAP_COLUMNS:
        raise ValueError(f"{path}: {values.shape[1]} columns, expected {EXPMAP_COLUMNS}")
    rotvec = -values[1:, 3:].reshape(len(values) - 1, -1, 3)
    rotvec = np.delete(rotvec, EXPMAP_ENDS, axis=1).reshape(-1, 3)
    return Clip(path.stem, skeleton.bones, _chained(Rotation.from_rotvec(rotvec).as_matrix().reshape(-1, 31, 3, 3)))


def _chained(local: np.ndarray) -> np.ndarray:
    """From rotations against the parent to rotations against the recording's frame."""
    rotation = local.copy()
    for child in range(1, len(BONES)):
        rotation[:, child] = rotation[:, PARENTS[child]] @ local[:, child]
    return rotation


def retarget(clip: Clip, rest_joints: Float[np.ndarray, "24 3"]) -> Float[np.ndarray, "n 24 3"]:
    """SMPL's body pose of every frame, for a body with these joints in its T-pose.

    A limb of ours points where CMU's does: the rotation of its bone, after the shortest arc from our limb at
    rest to theirs. The pelvis row is zero. What CMU did not capture is not invented, but for the shoulder
    blade, whose recorded angles are always zero: it follows the arm as in `anatomy.collar`. Fingers stay
    straight.

    Returns:
        Rotation vectors in radians.
    """
    posed = {"pelvis": _turned(clip, "root")} | _spine(clip, rest_joints)
    for side in anatomy.SIDES:
        posed |= _leg(clip, rest_joints, side) | _arm(clip, rest_joints, side, posed["spine 3"])
    names = [name.lower() for name in keypoints.JOINT_NAMES]
    rotvec = np.zeros((len(clip.rotation), 24, 3))
    for row, parent in enumerate(keypoints.JOINT_PARENTS):
        if parent >= 0:
            rotvec[:, row] = (posed[names[parent]].inv() * posed[names[row]]).as_rotvec()
    return rotvec


def _turned(clip: Clip, bone: str) -> Rotation:
    return Rotation.from_matrix(clip.rotation[:, BONES.index(bone)])


def _arc(clip: Clip, rest_joints: np.ndarray, limb: tuple[str, str], bones: tuple[str, ...]) -> Rotation:
    """The shortest rotation from our limb at rest, between two joints, to a chain of CMU's bones at rest."""
    start, end = (anatomy.joint(name) for name in limb)
    ours = rest_joints[end] - rest_joints[start]
    theirs = sum(clip.bones[BONES.index(bone)] for bone in bones)
    axis = np.cross(ours, theirs)
    sine, cosine = np.linalg.norm(axis), ours @ theirs
    return Rotation.from_rotvec(axis / max(sine, 1e-12) * np.arctan2(sine, cosine))


def _spine(clip: Clip, rest_joints: np.ndarray) -> dict[str, Rotation]:
    trunk = _arc(clip, rest_joints, ("pelvis", "neck"), TRUNK[:3])
    chest = _turned(clip, "thorax") * trunk
    head = _turned(clip, "head") * Rotation.from_euler("x", HEAD_LEVEL, degrees=True)
    # CMU's three bones of neck and head bend against each other by large angles, which depend on where a
    # subject's markers sat. Only their sum is trusted; our two joints share it.
    neck = chest * Rotation.from_rotvec(0.5 * (chest.inv() * head).as_rotvec())
    return {
        "spine 1": _turned(clip, "lowerback") * trunk,
        "spine 2": _turned(clip, "upperback") * trunk,
        "spine 3": chest,
        "neck": neck,
        "head": head,
    }


def _leg(clip: Clip, rest_joints: np.ndarray, side: str) -> dict[str, Rotation]:
    femur, tibia, foot, toes = (f"{side[0]}{bone}" for bone in LEG[1:])
    hip, knee, ankle = (f"{side} {name}" for name in ("hip", "knee", "ankle"))
    thigh = _turned(clip, femur) * _arc(clip, rest_joints, (hip, knee), (femur,))
    shank = _turned(clip, tibia) * _arc(clip, rest_joints, (knee, ankle), (tibia,))
    # Our knee joint lies before the line from hip to ankle, theirs on it. Where their leg is straight ours
    # would bend backwards to follow both bones; it stays straight instead.
    bend = (thigh.inv() * shank).as_rotvec()
    bend[:, 0] = np.maximum(bend[:, 0], 0)
    sole = _arc(clip, rest_joints, (hip, ankle), (femur, tibia))
    return {
        hip: thigh,
        knee: thigh * Rotation.from_rotvec(bend),
        ankle: _turned(clip, foot) * sole,
        f"{side} foot": _turned(clip, toes) * sole,
    }


def _arm(clip: Clip, rest_joints: np.ndarray, side: str, chest: Rotation) -> dict[str, Rotation]:
    humerus, radius, wrist, hand = (f"{side[0]}{bone}" for bone in ARM[1:5])
    stretched = _arc(clip, rest_joints, (f"{side} shoulder", f"{side} wrist"), (humerus, radius))
    rolled = stretched * Rotation.from_euler("x", ELBOW_ROLL, degrees=True)
    upper, hinge = _turned(clip, humerus) * rolled, _turned(clip, radius) * rolled
    # The forearm's twist between elbow and wrist is shared by the two, as in `anatomy.to_rotvec`.
    hand_on_arm = (hinge.inv() * _turned(clip, wrist) * stretched).as_quat(canonical=True)
    twist = 2 * np.arctan2(hand_on_arm[:, :1], hand_on_arm[:, 3:]) * np.array([1, 0, 0])
    palm = _turned(clip, hand) * stretched

    outward = 1 if side == "left" else -1
    x, y, z = (chest.inv() * upper).apply([outward, 0, 0]).T
    elevation, azimuth = np.degrees(np.arctan2(np.hypot(x, z), -y)), np.arctan2(z, outward * x)
    shoulder_blade = anatomy.collar(elevation * np.cos(azimuth), elevation * np.sin(azimuth), side)
    return {
        f"{side} collar": chest * shoulder_blade,
        f"{side} shoulder": upper,
        f"{side} elbow": hinge * Rotation.from_rotvec(0.5 * twist),
        f"{side} wrist": palm,
        f"{side} hand": palm,
    }
