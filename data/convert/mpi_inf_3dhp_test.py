"""MPI-INF-3DHP, test -> mpi_inf_3dhp_valid.npz (imgname, center, scale, part, S).

Six sequences, the frames marked as valid, 17 joints of the universal skeleton (univ_annot3), on which SPIN and HMR
report. The annotations are MATLAB 7.3 files and need h5py.

Known faults of the published file, mended here and repeated by --faithful:
- Frames with a joint outside the photo are dropped, though the benchmark counts them. Here all valid frames stay;
  points outside are missing in `part`, and S is whole.
- The published script writes mpi_inf_3dhp_test.npz, while its readers look for mpi_inf_3dhp_valid.npz; that name is
  the default here in both cases.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import common
import numpy as np
from common import Converted, Person
from matfiles import read_mat
from PIL import Image

from spinkit.data import TEST_FILES

NAME = TEST_FILES["mpi-inf-3dhp"]
SET = "mpi_inf_3dhp_test_set"
JOINTS = [14, 11, 12, 13, 8, 9, 10, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4]
"""Of the 17, in the order of `common.H36M17`."""
REMEDY = "fetch the test set of MPI-INF-3DHP again"


def main(arguments: list[str] | None = None) -> None:
    tree = f"{SET}/TS1/annot_data.mat, {SET}/TS1/imageSequence/*.jpg and so on to TS6"
    parser = common.command(__doc__, NAME, tree, "frames with a joint outside the photo are dropped")
    options = parser.parse_args(arguments)
    converted = convert(options.root, options.faithful)
    common.finish(options.out or options.root / NAME, converted, options.root, REMEDY)


def convert(root: Path, faithful: bool = False) -> Converted:
    """The valid frames.

    Raises:
        FileNotFoundError: when an annotation or a photo is missing.
        ValueError: when an annotation or a photo is damaged.
        ModuleNotFoundError: when h5py is needed and not installed.
    """
    people, left_out = [], Counter()
    for name, xy, xyz in _frames(common.folder(root / SET, REMEDY)):
        seen = common.inside(xy, *_size(root / name))
        if faithful and not seen.all():
            left_out["a joint outside the photo"] += 1
            continue
        center, scale = common.tight_box(xy)
        people.append(Person(name, center, scale, common.annotated(xy, common.H36M17, seen), common.rooted(xyz)))
    return Converted(people, left_out)


def _frames(place: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Photo, points (17, 2) and joints (17, 3, millimetres) of each valid frame."""
    for number in range(1, 7):
        path = place / f"TS{number}" / "annot_data.mat"
        xy, xyz, valid = read_mat(path, ["annot2", "univ_annot3", "valid_frame"], REMEDY)
        common.expect_shape(xy, (2, 17, 1, valid.size), f"{path}: annot2", REMEDY)
        common.expect_shape(xyz, (3, 17, 1, valid.size), f"{path}: univ_annot3", REMEDY)
        for frame in np.flatnonzero(valid.ravel()):
            name = f"{SET}/TS{number}/imageSequence/img_{frame + 1:06d}.jpg"
            yield name, xy[:, JOINTS, 0, frame].T, xyz[:, JOINTS, 0, frame].T


def _size(photo: Path) -> tuple[int, int]:
    """Width and height."""
    try:
        with Image.open(photo) as opened:
            return opened.size
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no photo {photo}; {REMEDY}") from error
    except OSError as error:
        raise ValueError(f"{photo} is damaged ({error}); {REMEDY}") from error


if __name__ == "__main__":
    common.run(main)
