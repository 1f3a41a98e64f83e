"""Leeds Sports Pose, two downloads.

train: the first 1000 photos of lsp_dataset_original (high resolution) -> lsp_dataset_original_train.npz
       (imgname, center, scale, part, and openpose where given).
test:  the last 1000 photos of lsp_dataset (low resolution) -> lsp_dataset_test.npz (imgname, maskname, partname,
       center, scale, part). Masks and parts come from UPi-S1h; their names are relative to that download's folder.

The third row of joints.mat marks points hidden from view. They are annotated all the same, so all 14 are kept.

Known fault of the published training file: OpenPose's people were matched by a rule that keeps strangers
(detections.py).
"""

from collections import Counter
from pathlib import Path

import common
import detections
from common import Converted, Person
from matfiles import read_mat

from spinkit.data import TEST_FILES, TRAIN_FILES

NAMES = {"train": TRAIN_FILES["lsp-orig"], "test": TEST_FILES["lsp"]}
ROWS = {"train": slice(0, 1000), "test": slice(1000, 2000)}
PUBLISHED_REACH = 0.0
REMEDY = "fetch lsp_dataset_original (train) or lsp_dataset (test) again"


def main(arguments: list[str] | None = None) -> None:
    parser = common.command(
        __doc__, f"{NAMES['train']} or {NAMES['test']}", "joints.mat and images/", "its matching of OpenPose's people"
    )
    parser.add_argument("--split", choices=NAMES, default="train", help="default: %(default)s")
    detections.add_option(parser)
    options = parser.parse_args(arguments)
    converted = convert(options.root, options.split)
    openpose = detections.join(options.openpose, converted.people, PUBLISHED_REACH if options.faithful else None)
    common.finish(options.out or options.root / NAMES[options.split], converted, options.root, REMEDY, openpose)


def convert(root: Path, split: str) -> Converted:
    """One half of the 2000 people.

    Raises:
        FileNotFoundError: when there is no joints.mat.
        ValueError: when it is damaged, or not that of LSP.
    """
    path = root / "joints.mat"
    (joints,) = read_mat(path, ["joints"], REMEDY)
    # lspet.py's file has points before coordinates.
    common.expect_shape(joints, (3, 14, None), f"{path}: joints", REMEDY)
    numbers = range(joints.shape[2])[ROWS[split]]
    return Converted([_person(joints[:2, :, i].T, i + 1, split) for i in numbers], Counter())


def _person(points, number: int, split: str) -> Person:
    center, scale = common.tight_box(points)
    masks = {}
    if split == "test":
        masks["maskname"] = f"data/lsp/im{number:04d}_segmentation.png"
        masks["partname"] = f"data/lsp/im{number:04d}_part_segmentation.png"
    return Person(f"images/im{number:04d}.jpg", center, scale, common.annotated(points, common.LSP14), **masks)


if __name__ == "__main__":
    common.run(main)
