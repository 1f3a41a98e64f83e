"""The JSON files that detectors and data sets write: where they keep their people, and how a person's numbers lie.

A layout is told by its fields. Which body point a number belongs to is another question, that of the kind
(`sources.SOURCES`); a layout answers it where the file itself does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

Table = Float[Tensor, "points 3"]
"""x and y in pixels of the photo, and confidence, of one person's points in the file's order."""

DATA_SETS = {
    "coco": "coco17",
    "coco_wholebody": "wholebody133",
    "halpe": "halpe136",
    "halpe26": "halpe26",
    "mpii": "mpii16",
}
"""MMPose's names of data sets, and the kinds that they are."""
LANDMARKS = ("pose_landmarks", "poseLandmarks", "landmarks", "landmark")
"""Under these MediaPipe's results keep the people: Python's, JavaScript's, and those of the older interface."""

LARGEST = 1e9
"""No pixel lies as far away, and no score is as high."""


@dataclass(frozen=True)
class Layout:
    """A file's people, picture by picture, still unread."""

    pictures: dict[str | None, list[tuple[object, str]]]
    """Each picture's people: what the file has of one, and where. A picture without a name is alone in its file."""
    read: Callable[[object, str], Table]
    """From what a file has of a person; the second argument opens complaints."""
    kind: str | None = None
    """What the file itself says."""
    names: tuple[str, ...] = ()
    """Of the points, where the file gives them."""


def recognise(content: object, path: Path, image_size: Sequence[int | float] | None) -> Layout:
    """The layout of a JSON file.

    Args:
        content: of the file.
        path: of the file, for complaints.
        image_size: width and height of the photo in pixels, which only MediaPipe's files need.

    Raises:
        ValueError: for a file of no known layout; the message lists them.
    """
    if isinstance(content, dict):
        if isinstance(content.get("people"), list):
            return Layout({None: _listed(content["people"], f"{path}: people")}, openpose_table)
        if isinstance(content.get("annotations"), list) and isinstance(content.get("images"), list):
            return _coco(content, path)
        if isinstance(content.get("instance_info"), list):
            return _mmpose(content, path)
        if isinstance(content.get("keypoints"), list) and isinstance(content.get("skeleton"), dict):
            return _easy_vitpose(content, path)
        if any(field in content for field in LANDMARKS):
            return _mediapipe(content, path, image_size)
        if {"keypoints", "joints", "instances"} & set(content):
            content = [content]
    if isinstance(content, list):
        if _is_landmark(content) or (content and _is_landmark(content[0])):
            return _mediapipe({"landmarks": content}, path, image_size)
        if all(isinstance(entry, dict | list) for entry in content):
            return _records(content, path)
    raise ValueError(
        f"{path}: no known layout of keypoints. Known are OpenPose ('people'), COCO ('images' and 'annotations'), "
        "MMPose ('instance_info'), a list of records with 'keypoints', MPII's with 'joints' and 'joints_vis', and "
        f"MediaPipe ('{LANDMARKS[0]}'); write one of these, or an npz file with 'keypoints' (people, points, 3)"
    )


def _coco(content: dict, path: Path) -> Layout:
    """Annotations, of people or crowds; a crowd has no keypoints of its own."""
    titles = {str(r.get("id")): str(r.get("file_name", r.get("id"))) for r in content["images"] if isinstance(r, dict)}
    pictures: dict[str | None, list] = {title: [] for title in titles.values()}
    for record, where in _listed(content["annotations"], f"{path}: annotations"):
        if not isinstance(record, dict):
            raise ValueError(f"{where} is no JSON object; restore it from the original file")
        if not record.get("iscrowd") and str(record.get("image_id")) in titles:
            pictures[titles[str(record["image_id"])]].append((record, where))
    categories = content.get("categories")
    first = categories[0] if isinstance(categories, list) and categories else {}
    names = first.get("keypoints") if isinstance(first, dict) else None
    return Layout(pictures, record_table, names=tuple(map(str, names)) if isinstance(names, list) else ())


def _mmpose(content: dict, path: Path) -> Layout:
    meta = content["meta_info"] if isinstance(content.get("meta_info"), dict) else {}
    layout = _records(content["instance_info"], path, "instance_info")
    kind = DATA_SETS.get(str(meta.get("dataset_name")))
    return Layout(layout.pictures, layout.read, kind, _numbered(meta.get("keypoint_id2name")))


def _records(content: list, path: Path, field: str = "") -> Layout:
    """A list of people, of frames that hold people, or of one such list a picture."""
    whole, pictures = _listed(content, f"{path}: {field}"), {}
    for number, (entry, where) in enumerate(whole):
        if isinstance(entry, list):
            title, people = str(number), _listed(entry, where)
        elif isinstance(entry, dict) and "instances" in entry:
            instances = entry["instances"] if isinstance(entry["instances"], list) else []
            title, people = str(entry.get("frame_id", number)), _listed(instances, f"{where}.instances")
        else:
            keys = entry if isinstance(entry, dict) else ()
            title = next((str(entry[key]) for key in ("image_id", "image_name", "image") if key in keys), None)
            people = [(entry, where)]
        pictures.setdefault(title, []).extend(people)
    framed = len(whole) == 1 and (
        isinstance(content[0], list) or (isinstance(content[0], dict) and "instances" in content[0])
    )
    kinds = {"mpii16" for people in pictures.values() for record, _ in people if _is_mpii(record)}
    # The only frame of a file is that of the photo, whatever its number.
    return Layout({None: people} if framed else pictures, record_table, kinds.pop() if kinds else None)


def _easy_vitpose(content: dict, path: Path) -> Layout:
    """Of every frame a table of people by their number; a point's y comes before its x."""
    frames = {}
    for number, (frame, where) in enumerate(_listed(content["keypoints"], f"{path}: keypoints")):
        if not isinstance(frame, dict):
            raise ValueError(f"{where}: no table of people by number; write the file again with --save-json")
        frames[str(number)] = [(points, f"{where}[{key!r}]") for key, points in frame.items()]
    pictures = {None: frames["0"]} if len(frames) == 1 else frames
    return Layout(pictures, _vitpose_table, names=_numbered(content["skeleton"]))


def _mediapipe(content: dict, path: Path, image_size: Sequence[int | float] | None) -> Layout:
    field = next(field for field in LANDMARKS if field in content)
    people = content[field]
    if isinstance(people, dict):  # One more wrapping, by MessageToDict.
        people = people.get("landmark")
    if people is None:
        people = []
    if not isinstance(people, list):
        raise ValueError(f"{path}: {field} is no list of landmarks; write MediaPipe's result again")
    if image_size is None or len(image_size) != 2 or not min(image_size) > 0:
        raise ValueError(
            f"{path}: {field} count in widths and heights of the photo; say image_size=(width, height) in pixels, "
            f"got {image_size}"
        )
    entries = [(people, f"{path}: {field}")] if _is_landmark(people) else _listed(people, f"{path}: {field}")
    return Layout({None: entries}, partial(_landmark_table, size=tuple(image_size)), "mediapipe33")


def _listed(entries: list, where: str) -> list[tuple[object, str]]:
    return [(entry, f"{where}[{number}]") for number, entry in enumerate(entries)]


def _numbered(names: object) -> tuple[str, ...]:
    """Names under their numbers, in the order of these; none where the file has something else there."""
    if not isinstance(names, dict) or not all(key.isdecimal() and len(key) < 10 for key in names):
        return ()
    return tuple(str(names[key]) for key in sorted(names, key=int))


def _is_landmark(entry: object) -> bool:
    """Whether this is a person of MediaPipe: a list of points with named coordinates."""
    return isinstance(entry, list) and bool(entry) and isinstance(entry[0], dict) and {"x", "y"} <= set(entry[0])


def _is_mpii(record: object) -> bool:
    return isinstance(record, dict) and "joints" in record and "joints_vis" in record


def openpose_table(record: object, where: str) -> Table:
    """An entry of OpenPose's `people`."""
    numbers = record.get("pose_keypoints_2d") if isinstance(record, dict) else None
    return _triples(numbers, f"{where}.pose_keypoints_2d")


def record_table(record: object, where: str) -> Table:
    """A record of COCO's, AlphaPose's, MMPose's, ViTPose's or MPII's kind.

    Confidences are scores, of which negative ones become 0, or COCO's flags, of which 1 (hidden, but marked) and 2
    both become 1.
    """
    if _is_mpii(record):
        return _mpii_table(record, where)
    if not isinstance(record, dict) or not isinstance(record.get("keypoints"), list):
        raise ValueError(f"{where}.keypoints: no list; write one record with 'keypoints' a person")
    points, where_points = record["keypoints"], f"{where}.keypoints"
    if points and isinstance(points[0], list):
        scores = record.get("keypoint_scores", record.get("scores"))
        table = _numbers(points, where_points, 3) if scores is None else _scored(points, scores, where)
    else:
        table = _triples(points, where_points)
        if "foot_kpts" in record:  # COCO-WholeBody's own files keep the parts apart.
            table = torch.cat([table, _triples(record["foot_kpts"], f"{where}.foot_kpts")])
    score = table[:, 2:]
    if torch.isin(score, score.new_tensor([0, 1, 2])).all():
        score = score.clamp(max=1)
    return torch.cat([table[:, :2], score.clamp(min=0)], dim=-1)


def _mpii_table(record: dict, where: str) -> Table:
    """MPII counts pixels from 1."""
    xy = _numbers(record["joints"], f"{where}.joints", 2) - 1
    return torch.cat([xy, _one_each(record["joints_vis"], len(xy), f"{where}.joints_vis")], dim=-1)


def _landmark_table(points: object, where: str, size: tuple[int | float, int | float]) -> Table:
    fields = ("x", "y", "visibility")
    if not isinstance(points, list) or not all(isinstance(p, dict) and set(fields) <= set(p) for p in points):
        raise ValueError(f"{where}: not every landmark has {', '.join(fields)}; write MediaPipe's result again")
    table = _numbers([[point[field] for field in fields] for point in points], where, 3)
    return table * table.new_tensor([*size, 1])


def _vitpose_table(points: object, where: str) -> Table:
    return _numbers(points, where, 3)[:, [1, 0, 2]]


def _scored(points: list, scores: object, where: str) -> Table:
    xy = _numbers(points, f"{where}.keypoints", 2)
    return torch.cat([xy, _one_each(scores, len(xy), f"{where}.keypoint_scores")], dim=-1)


def _one_each(values: object, count: int, where: str) -> Float[Tensor, "points 1"]:
    if not isinstance(values, list) or len(values) != count:
        raise ValueError(f"{where}: no list of {count} numbers, one a point; write the file again")
    return _numbers([[value] for value in values], where, 1)


def _triples(numbers: object, where: str) -> Table:
    """x, y, confidence, x, y, confidence and so on."""
    if not isinstance(numbers, list) or not numbers or len(numbers) % 3:
        found = f"{len(numbers)} numbers" if isinstance(numbers, list) else "no list"
        raise ValueError(f"{where}: {found}, expected x, y and confidence of every point; write the file again")
    return _numbers([numbers[i : i + 3] for i in range(0, len(numbers), 3)], where, 3)


def _numbers(rows: object, where: str, width: int) -> Float[Tensor, "points width"]:
    """A table of finite numbers with so many in a row."""
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == width for row in rows):
        raise ValueError(f"{where}: not {width} numbers a point; write the file again with {width}")
    if not all(_is_number(value) for row in rows for value in row):
        raise ValueError(f"{where} holds something that is no finite number; detect again")
    return torch.tensor(rows, dtype=torch.float32).reshape(len(rows), width)


def _is_number(value: object) -> bool:
    # NaN is not below anything, and JSON's integers may be too large for a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST
