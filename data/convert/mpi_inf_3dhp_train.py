"""MPI-INF-3DHP, training -> mpi_inf_3dhp_train.npz.

Fields: imgname, center, scale, part, S, and openpose, pose, shape, has_smpl where given. Subjects 1 to 8, sequences 1
and 2, the eight cameras at chest height. Of the frames that show all 17 joints, the first and every tenth after it.

Photos are expected at S1/Seq1/imageFrames/video_0/frame_000001.jpg (frame 1 is the first of the video). With --videos
they are cut out of S1/Seq1/imageSequence/video_0.avi here, only those that are used; that needs OpenCV.

Known faults of the published file, mended here and repeated by --faithful:
- Photos were listed in the file system's order, and the i-th of the list got the i-th annotation. Here the number in a
  photo's name counts. --faithful takes the list in the order of the names, which a sorted file system gave; a photo
  lost then moves all later labels.
- Which frames are a tenth one depends on how many photos were extracted. Here only the annotations count. Either way
  the rows need not be those of the published file, whose fits go by row: use the published file with them.
- OpenPose's people were matched by a rule that keeps strangers (detections.py).
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import common
import detections
import numpy as np
import videos
from common import Converted, Person
from jaxtyping import Bool, Float
from matfiles import map_cells

from spinkit import files
from spinkit.data import TRAIN_FILES

NAME = TRAIN_FILES["mpi-inf-3dhp"]
CAMERAS = (0, 1, 2, 4, 5, 6, 7, 8)
JOINTS = [4, 18, 19, 20, 23, 24, 25, 3, 5, 6, 7, 9, 10, 11, 14, 15, 16]
"""Of the 28, in the order of `common.H36M17`."""
SIDE = 2048
EVERY = 10
PUBLISHED_REACH = 0.0
REMEDY = "fetch the training set of MPI-INF-3DHP again"
EXTRACT = "extract the frames with --videos, or with another tool as --help says"


@dataclass(frozen=True)
class Clip:
    """One camera's view of one sequence."""

    folder: str
    """Of its photos, relative to the data set."""
    video: str
    xy: Float[np.ndarray, "frames 17 2"]
    xyz: Float[np.ndarray, "frames 17 3"]
    """Millimetres."""

    def photo(self, frame: int) -> str:
        """Name of the photo of a frame, which counts from 0."""
        return f"{self.folder}/frame_{frame + 1:06d}.jpg"


def main(arguments: list[str] | None = None) -> None:
    faithful = "labels by position in the sorted list of photos, and its matching of OpenPose's people"
    parser = common.command(__doc__, NAME, "S1/Seq1/annot.mat and so on to S8/Seq2", faithful)
    parser.add_argument("--videos", action="store_true", help="cut the photos out of the videos first (OpenCV)")
    parser.add_argument(
        "--fits", type=Path, help="mpi-inf-3dhp_mview_fits.npz, SPIN's multi-view fits of the same rows"
    )
    detections.add_option(parser)
    options = parser.parse_args(arguments)
    converted = convert(options.root, options.faithful, options.videos)
    more = detections.join(options.openpose, converted.people, PUBLISHED_REACH if options.faithful else None)
    more |= _fits(options.fits, len(converted.people)) if options.fits else {}
    common.finish(options.out or options.root / NAME, converted, options.root, EXTRACT, more)


def convert(root: Path, faithful: bool = False, cut: bool = False) -> Converted:
    """Every tenth frame that shows everything.

    Raises:
        FileNotFoundError: when an annotation or a video is missing, or no photo was extracted (when faithful).
        ValueError: when an annotation is damaged.
    """
    people, left_out, shown = [], Counter(), 0
    for clip in _clips(root):
        if faithful:
            if cut:
                _cut(clip, root, np.arange(len(clip.xy)))
            photos = common.files_in(root / clip.folder, "*.jpg", EXTRACT)[: len(clip.xy)]
            names = [f"{clip.folder}/{photo.name}" for photo in photos]
        else:
            names = [clip.photo(frame) for frame in range(len(clip.xy))]
        whole = common.inside(clip.xy[: len(names)], SIDE, SIDE).all(axis=1)
        chosen = _tenth(whole, shown)
        shown += int(whole.sum())
        left_out["not all joints in the photo"] += int((~whole).sum())
        if cut and not faithful:
            _cut(clip, root, chosen)
        rows = [_person(names[frame], clip.xy[frame], clip.xyz[frame]) for frame in chosen]
        people += common.before_the_end(rows, root, left_out)
    return Converted(people, left_out)


def _clips(root: Path):
    common.folder(root, REMEDY)
    for subject in range(1, 9):
        for sequence in (1, 2):
            place = f"S{subject}/Seq{sequence}"
            path = root / place / "annot.mat"
            xy, xyz = (map_cells(path, field, np.asarray, CAMERAS, REMEDY) for field in ("annot2", "annot3"))
            for camera, flat, solid in zip(CAMERAS, xy, xyz, strict=True):
                common.expect_shape(flat, (None, 28 * 2), f"{path}: annot2 of camera {camera}", REMEDY)
                common.expect_shape(solid, (len(flat), 28 * 3), f"{path}: annot3 of camera {camera}", REMEDY)
                yield Clip(
                    folder=f"{place}/imageFrames/video_{camera}",
                    video=f"{place}/imageSequence/video_{camera}.avi",
                    xy=flat.reshape(-1, 28, 2)[:, JOINTS],
                    xyz=solid.reshape(-1, 28, 3)[:, JOINTS],
                )


def _tenth(whole: Bool[np.ndarray, "frames"], shown: int) -> np.ndarray:
    """The frames that are number 1, 11, 21, ... of those that show everything, `shown` of which came before."""
    number = shown + np.cumsum(whole)
    return np.flatnonzero(whole & (number % EVERY == 1))


def _cut(clip: Clip, root: Path, frames: np.ndarray) -> None:
    videos.cut(root / clip.video, {int(frame): root / clip.photo(frame) for frame in frames})


def _person(name: str, xy: Float[np.ndarray, "17 2"], xyz: Float[np.ndarray, "17 3"]) -> Person:
    center, scale = common.tight_box(xy)
    return Person(name, center, scale, common.annotated(xy, common.H36M17), common.rooted(xyz))


def _fits(path: Path, people: int) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; fetch SPIN's static fits or leave --fits away")
    arrays = files.read_npz(path)
    shapes = {"pose": (people, 72), "shape": (people, 10), "has_smpl": (people,)}
    for field, shape in shapes.items():
        if field not in arrays:
            raise ValueError(f"{path} has no field {field!r}; fetch SPIN's static fits again")
        common.expect_shape(arrays[field], shape, f"{path}: {field}", "the fits are of other rows; leave --fits away")
    return {field: arrays[field] for field in shapes}


if __name__ == "__main__":
    common.run(main)
