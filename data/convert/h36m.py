"""Human3.6M -> h36m_train.npz, h36m_valid_protocol1.npz, h36m_valid_protocol2.npz.

Fields: imgname, center, scale, S; in train also part, and openpose where given. Poses and shapes by MoSh are not in the
download and not made here. Train: subjects 1, 5, 6, 7, 8; the protocols: 9 and 11. Protocol 2 is the camera 60457274,
of both trials. Every fifth frame. The box is that of the data set's own masks, times 0.9.

Photos are expected at images/S9_Directions_1.54138969_000001.jpg (000001 is the first frame of the video). With
--videos they are cut out of S9/Videos here; that needs OpenCV. Poses (.cdf) need cdflib, boxes (.mat) h5py.

Known faults of the published files, mended here and repeated by --faithful:
- For the protocols, the photo of each pose was taken one frame too late. Only cutting (--videos) decides that: photos
  that are there already are taken by their number.
- OpenPose's people were matched by a rule that keeps strangers (detections.py); train only.
"""

import argparse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import common
import detections
import numpy as np
import videos
from common import Converted, Person
from jaxtyping import Float
from matfiles import map_cells

from spinkit.data import TEST_FILES, TRAIN_FILES

SUBJECTS = {"train": (1, 5, 6, 7, 8), "protocol1": (9, 11), "protocol2": (9, 11)}
NAMES = {"train": TRAIN_FILES["h36m"], "protocol1": TEST_FILES["h36m-p1"], "protocol2": TEST_FILES["h36m-p2"]}
FRONTAL = "60457274"
JOINTS = [11, 6, 7, 8, 1, 2, 3, 12, 24, 14, 15, 17, 18, 19, 25, 26, 27]
"""Of the 32, in the order of `common.H36M17`."""
EVERY = 5
MARGIN = 0.9
PUBLISHED_REACH = 0.0
REMEDY = "fetch it from Human3.6M's site and unpack it as --help says"
EXTRACT = "extract the frames with --videos, or with another tool as --help says"

Cut = Callable[["Sequence", list[int]], None]


@dataclass(frozen=True)
class Sequence:
    """One camera's view of one trial."""

    subject: Path
    """The subject's folder."""
    title: str
    """Action, trial and camera, as the download's files are called: Directions 1.54138969."""

    def path(self, folder: str, ending: str) -> Path:
        """A file of this view."""
        return self.subject / folder / f"{self.title}.{ending}"

    def photo(self, frame: int) -> str:
        """Name of the photo of a frame, which counts from 0, relative to the data set."""
        return f"images/{self.subject.name}_{self.title.replace(' ', '_')}_{frame + 1:06d}.jpg"


def main(arguments: list[str] | None = None) -> None:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.openpose and options.split != "train":
        parser.error("--openpose is for --split train: the protocols have no 2D points to match people by")
    late = int(options.faithful and options.split != "train")
    cut = _cutter(options.root, late) if options.videos else None
    converted = convert(options.root, options.split, cut)
    reach = PUBLISHED_REACH if options.faithful else None
    openpose = detections.join(options.openpose, converted.people, reach)
    common.finish(options.out or options.root / NAMES[options.split], converted, options.root, EXTRACT, openpose)


def _parser() -> argparse.ArgumentParser:
    tree = "S9/MyPoseFeatures/D3_Positions_mono/*.cdf (train: D2_Positions too), S9/MySegmentsMat/ground_truth_bb/*.mat"
    faithful = "photos of the protocols one frame late (with --videos), and its matching of OpenPose's people"
    parser = common.command(__doc__, "the split's published name", tree, faithful)
    parser.add_argument("--split", choices=NAMES, default="protocol1", help="default: %(default)s")
    parser.add_argument("--videos", action="store_true", help="cut the photos out of S9/Videos/*.mp4 first (OpenCV)")
    detections.add_option(parser)
    return parser


def convert(root: Path, split: str, cut: Cut | None = None) -> Converted:
    """Every fifth frame of every view that the split has.

    Args:
        root: the download's folder.
        split: a key of `NAMES`.
        cut: extracts the photos of frames of a sequence; None where they are there.

    Raises:
        FileNotFoundError: when a file is missing.
        ValueError: when one is damaged.
        ModuleNotFoundError: when h5py or cdflib is needed and not installed.
    """
    people, left_out = [], Counter()
    for sequence in _sequences(root, split):
        rows = _people(sequence, split == "train", left_out)
        if cut is not None:
            cut(sequence, list(rows))
        people += common.before_the_end(list(rows.values()), root, left_out)
    return Converted(people, left_out)


def _sequences(root: Path, split: str) -> list[Sequence]:
    """By subject and file name. The files called _ALL hold all actions once more."""
    found = []
    for number in SUBJECTS[split]:
        subject = root / f"S{number}"
        paths = common.files_in(subject / "MyPoseFeatures" / "D3_Positions_mono", "*.cdf", REMEDY)
        titles = [path.stem for path in paths if not path.stem.startswith("_ALL")]
        found += [Sequence(subject, title) for title in titles if split != "protocol2" or title.endswith(FRONTAL)]
    return found


def _people(sequence: Sequence, train: bool, left_out: Counter) -> dict[int, Person]:
    """The rows of a sequence by their frames."""
    xyz = _read_cdf(sequence.path("MyPoseFeatures/D3_Positions_mono", "cdf"), 3)
    xy = _read_cdf(sequence.path("MyPoseFeatures/D2_Positions", "cdf"), 2) if train else None
    frames = range(0, len(xyz), EVERY)
    masks = sequence.path("MySegmentsMat/ground_truth_bb", "mat")
    try:
        boxes = map_cells(masks, "Masks", _box, frames, REMEDY)
        parts = [None if xy is None else common.annotated(xy[i], common.H36M17) for i in frames]
    except IndexError as error:
        raise ValueError(
            f"{masks}: Masks, or the 2D poses, are of fewer frames than the {len(xyz)} poses; {REMEDY}"
        ) from error
    found = {}
    for frame, box, part in zip(frames, boxes, parts, strict=True):
        if box is None:
            left_out["empty mask"] += 1
        else:
            found[frame] = Person(sequence.photo(frame), *box, part, common.rooted(xyz[frame]))
    return found


def _box(mask: np.ndarray) -> tuple[np.ndarray, float] | None:
    rows, columns = np.nonzero(mask == 1)
    if len(rows) == 0:
        return None
    lower, upper = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()]) + 1
    return common.box(lower, upper, MARGIN)


def _read_cdf(path: Path, axes: int) -> Float[np.ndarray, "frames 17 axes"]:
    """The 17 joints of a CDF file's 32."""
    try:
        import cdflib
    except ImportError as error:
        raise ModuleNotFoundError(f"{path} is a CDF file, and cdflib is not installed; pip install cdflib") from error
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; {REMEDY}")
    try:
        poses = np.asarray(cdflib.CDF(path).varget("Pose"), np.float64)
    except Exception as error:  # Damage surfaces as whatever cdflib stumbles over.
        raise ValueError(f"{path} is damaged or has no variable 'Pose' ({error!r}); {REMEDY}") from error
    common.expect_shape(poses, (1, None, 32 * axes), f"{path}: Pose", REMEDY)
    return poses.reshape(-1, 32, axes)[:, JOINTS]


def _cutter(root: Path, late: int) -> Cut:
    """Cuts photos out of the videos, `late` frames late."""

    def cut(sequence: Sequence, frames: list[int]) -> None:
        targets = {frame + late: root / sequence.photo(frame) for frame in frames}
        videos.cut(sequence.path("Videos", "mp4"), targets)

    return cut


if __name__ == "__main__":
    common.run(main)
