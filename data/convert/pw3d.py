"""3DPW, test -> 3dpw_test.npz (imgname, center, scale, pose, shape, gender).

Everybody in every frame in which the camera's pose is known. The pose is SMPL's, turned into the camera's frame; it
belongs to the body model of the given gender. The box goes around the points that were detected.

Known faults of the published script: sequences come in the order in which the file system lists them, and the number
of frames is that of the first person. Here sequences come by name, and everybody has frames of their own. Nothing
depends on the order but the order of the rows, which cannot be repeated; so there is no --faithful.
"""

from collections import Counter
from pathlib import Path

import common
import numpy as np
from common import Converted, Person
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from spinkit import files
from spinkit.data import TEST_FILES

NAME = TEST_FILES["3dpw"]
REMEDY = "fetch sequenceFiles and imageFiles of 3DPW again"
FIELDS = ("sequence", "poses", "betas", "genders", "poses2d", "cam_poses", "campose_valid")


def main(arguments: list[str] | None = None) -> None:
    parser = common.command(__doc__, NAME, "sequenceFiles/test/*.pkl and imageFiles/")
    options = parser.parse_args(arguments)
    common.finish(options.out or options.root / NAME, convert(options.root), options.root, REMEDY)


def convert(root: Path) -> Converted:
    """Sequence by sequence, person by person, frame by frame.

    Raises:
        FileNotFoundError: when there are no sequences.
        ValueError: when a sequence is damaged, or fields are of different lengths.
    """
    people, left_out = [], Counter()
    for path in common.files_in(root / "sequenceFiles" / "test", "*.pkl", REMEDY):
        content = files.read_pickle(path)
        missing = [field for field in FIELDS if field not in content]
        if missing:
            raise ValueError(f"{path} has no field {missing[0]!r}; {REMEDY}")
        for number in range(len(content["poses"])):
            people += _person(content, number, path, left_out)
    return Converted(people, left_out)


def _person(content: dict, number: int, path: Path, left_out: Counter) -> list[Person]:
    """The rows of one person."""
    valid = _field(content, "campose_valid", number, (None,), path) > 0
    frames = len(valid)
    pose = _field(content, "poses", number, (frames, 72), path)
    points = _field(content, "poses2d", number, (frames, 3, 18), path)
    betas = np.ravel(_field(content, "betas", number, None, path))[:10]
    common.expect_shape(betas, (10,), f"{path}: betas of person {number}", REMEDY)
    cameras = np.asarray(content["cam_poses"])
    common.expect_shape(cameras, (frames, 4, 4), f"{path}: cam_poses", REMEDY)
    pose = np.column_stack([_seen_from(cameras, pose[:, :3]), pose[:, 3:]])
    gender = str(content["genders"][number])
    found = []
    for frame in np.flatnonzero(valid):
        detected = points[frame, :2, points[frame, 2] > 0]
        if len(detected) < 2:
            left_out["fewer than two points detected"] += 1
            continue
        center, scale = common.tight_box(detected)
        name = f"imageFiles/{content['sequence']}/image_{frame:05d}.jpg"
        found.append(Person(name, center, scale, pose=pose[frame], shape=betas, gender=gender))
    return found


def _field(content: dict, field: str, number: int, shape: tuple | None, path: Path) -> np.ndarray:
    """One person's entry."""
    try:
        entry = np.asarray(content[field][number])
    except (IndexError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: {field} has no entry for person {number}; {REMEDY}") from error
    if shape is not None:
        common.expect_shape(entry, shape, f"{path}: {field} of person {number}", REMEDY)
    return entry


def _seen_from(
    cameras: Float[np.ndarray, "frames 4 4"], world: Float[np.ndarray, "frames 3"]
) -> Float[np.ndarray, "frames 3"]:
    """Rotation vectors in the frames of their cameras."""
    turned = cameras[:, :3, :3] @ Rotation.from_rotvec(world).as_matrix()
    return Rotation.from_matrix(turned).as_rotvec()


if __name__ == "__main__":
    common.run(main)
