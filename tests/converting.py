"""What the tests of data/convert share: its scripts as modules, tiny photos, detections, and a stand-in for OpenCV."""

import importlib
import io
import json
import sys
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
from PIL import Image

from spinkit import data

FOLDER = Path(__file__).resolve().parents[1] / "data" / "convert"
LIMBS = [11, 10, 9, 12, 13, 14, 4, 3, 2, 5, 6, 7]
"""OpenPose's numbers of the first 12 annotated points."""


def script(name: str) -> ModuleType:
    """One of the scripts."""
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))


def photo(path: Path, width: int = 60, height: int = 40) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(path.suffix, width, height))


@cache
def encoded(ending: str, width: int, height: int) -> bytes:
    picture = io.BytesIO()
    Image.new("RGB", (width, height), (90, 90, 90)).save(picture, Image.registered_extensions()[ending])
    return picture.getvalue()


def convert(name: str, root: Path, *options: str) -> dict[str, np.ndarray]:
    """What a script writes about a miniature download, once the package's reader has accepted it."""
    out = root / "out.npz"
    script(name).main([str(root), "--out", str(out), *options])
    samples = data.read_spin_npz(out, root, size=16)
    with np.load(out, allow_pickle=False) as file:
        rows = dict(file)
    assert len(samples) == len(rows["imgname"])
    for field in {"gender", "maskname", "partname"} & set(rows):
        assert list(data.read_spin_words(out, field)) == rows[field].tolist()
    return rows


def detected(part: np.ndarray, move: float = 0.0, confidence: float = 0.8) -> np.ndarray:
    """OpenPose's table of a person whose limbs are where `part` (24, 3) has them, moved to the right."""
    table = np.zeros((25, 3))
    table[LIMBS, :2] = part[:12, :2] + [move, 0]
    table[LIMBS, 2] = confidence
    return table


def stand_in_for_cv2(monkeypatch, lengths: dict[str, int]) -> None:
    """OpenCV where videos have so many frames, by file name; frame k (from 0) is a picture of the grey value 10 k."""

    class VideoCapture:
        def __init__(self, path):
            self.left = [np.full((40, 60, 3), 10 * k, np.uint8) for k in range(lengths[Path(path).name])]

        def read(self):
            return (True, self.left.pop(0)) if self.left else (False, None)

        def release(self):
            self.left = []

    def imwrite(path, picture):
        Image.fromarray(picture).save(path, quality=100)
        return True

    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace(VideoCapture=VideoCapture, imwrite=imwrite))


def grey(path: Path) -> int:
    """The value of a picture that is of one grey, to the nearest ten."""
    with Image.open(path) as picture:
        return 10 * round(float(np.asarray(picture).mean()) / 10)


def write_openpose(path: Path, *tables: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    people = [{"pose_keypoints_2d": table.ravel().tolist()} for table in tables]
    path.write_text(json.dumps({"version": 1.3, "people": people}))
