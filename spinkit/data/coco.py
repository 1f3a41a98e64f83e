"""Reader of COCO's person keypoints. Records that cannot be used are left out, counted, and say why."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from spinkit import crop, files, keypoints
from spinkit.data.images import PhotoCrops, check_mode
from spinkit.data.samples import Samples, Truth
from spinkit.keypoints import Keypoints

BOX_MARGIN = 1.2
"""A box is this many times the annotated one's longer side. Source: SPIN, datasets/preprocess/coco.py."""

MOST = 1e9
"""No pixel lies beyond; NaN is not below it, and neither is a number too large for a float."""
FARTHEST = 10.0
"""Sides of the box from its centre, beyond which a keypoint is a mistake. Training would leave such a person out."""
NEAREST = 1 / 28
"""Share of the box's side that keypoints must span: eight pixels of a crop. Any body fits fewer, from far away."""


@dataclass(frozen=True)
class Refusal:
    """Why one record was left out."""

    record: str
    field: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.record}, {self.field}: {self.problem}; {self.remedy}"


@dataclass(frozen=True)
class Refused:
    """All records that a reader left out; prints as a count of reasons."""

    entries: tuple[Refusal, ...]

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def counts(self) -> dict[str, int]:
        """How many records each reason refused, the most frequent first."""
        return dict(Counter(f"{entry.field}: {entry.problem}" for entry in self.entries).most_common())

    def __str__(self) -> str:
        reasons = "; ".join(f"{count} x {reason}" for reason, count in self.counts.items())
        return f"{len(self)} left out" + (f" ({reasons})" if reasons else "")


class _UnusableError(Exception):
    """Raised where a record fails, caught by the loop over the records."""

    def __init__(self, field: str, problem: str, remedy: str):
        super().__init__(problem)
        self.field, self.problem, self.remedy = field, problem, remedy


@dataclass(frozen=True)
class _Person:
    keypoints: Keypoints
    box: Float[Tensor, "3"]
    photo: Path | None


def read_coco(
    annotation_path: str | PathLike[str],
    image_folder: str | PathLike[str],
    size: int,
    min_keypoints: int = 8,
    annotation_ids: Sequence[int] | None = None,
    margin: float = 1.25,
) -> tuple[Samples, Refused]:
    """People of a COCO `person_keypoints` file with their photos, cropped on demand.

    Every photo is decoded once here, coarsely, so that a damaged one is found before work starts.

    Args:
        annotation_path: the json file.
        image_folder: where the photos lie that its `images` name.
        size: pixels of the side of a stored crop, which covers `margin` times the person's box.
        min_keypoints: people with fewer labelled keypoints are refused.
        annotation_ids: take these people only, in this order.
        margin: room around the box for augmentation.

    Returns:
        The people, without labels of their bodies, and what was refused.

    Raises:
        FileNotFoundError: when the file or the folder is absent.
        ValueError: when the file is no COCO annotation, or nobody in it can be used.
    """
    path, folder = Path(annotation_path), Path(image_folder)
    content = _load(path, ("annotations", "images"))
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder of photos at {folder}; fetch the photos that {path} names")
    photos = _Photos(folder, content["images"], margin)
    records = _select(content["annotations"], annotation_ids, path)
    people, refused = _read_all(records, lambda record: _person(record, min_keypoints, photos), path)
    boxes = torch.stack([person.box for person in people])
    samples = Samples(
        name="coco",
        images=PhotoCrops([person.photo for person in people], boxes, size, margin),
        keypoints=_in_crops(people, boxes),
        labels=Truth.none(len(people)),
        judge=None,
        margin=margin,
    )
    return samples, refused


def read_coco_keypoints(annotation_path: str | PathLike[str], min_keypoints: int = 8) -> tuple[Keypoints, Refused]:
    """The keypoints of a COCO `person_keypoints` file, in pixels of each person's crop; needs no photos.

    Raises:
        FileNotFoundError: when the file is absent.
        ValueError: when the file is no COCO annotation, or nobody in it can be used.
    """
    path = Path(annotation_path)
    records = _load(path, ("annotations",))["annotations"]
    people, refused = _read_all(records, lambda record: _person(record, min_keypoints, None), path)
    return _in_crops(people, torch.stack([person.box for person in people])), refused


def _load(path: Path, needed: tuple[str, ...]) -> dict:
    """The json file, with the lists that it must hold."""
    if not path.is_file():
        raise FileNotFoundError(f"no COCO annotation at {path}; fetch it or correct the path")
    content = files.read_json(path, "fetch the annotation again")
    for field in needed:
        if not isinstance(content, dict) or not isinstance(content.get(field), list):
            raise ValueError(f"{path}: no list '{field}'; use a person_keypoints file of COCO")
    return content


def _select(records: list, annotation_ids: Sequence[int] | None, path: Path) -> list:
    if annotation_ids is None:
        return records
    by_id = {r["id"]: r for r in records if isinstance(r, dict) and isinstance(r.get("id"), int)}
    unknown = [i for i in annotation_ids if i not in by_id]
    if unknown:
        raise ValueError(f"{path}: no annotation with the ids {unknown[:5]}; correct annotation_ids")
    return [by_id[i] for i in annotation_ids]


def _read_all(records: list, read: Callable[[dict], _Person], path: Path) -> tuple[list[_Person], Refused]:
    """Read every record that can be read; the others are refused with their reasons."""
    people, refusals = [], []
    for row, record in enumerate(records):
        name = f"annotation {record['id']}" if isinstance(record, dict) and "id" in record else f"annotations[{row}]"
        try:
            people.append(read(record))
        except _UnusableError as e:
            refusals.append(Refusal(name, e.field, e.problem, e.remedy))
    refused = Refused(tuple(refusals))
    if not people:
        example = f", first {refusals[0]}" if refusals else ""
        raise ValueError(f"{path}: nobody of {len(records)} annotations can be used: {refused}{example}")
    return people, refused


def _person(record: object, min_keypoints: int, photos: "_Photos | None") -> _Person:
    if not isinstance(record, dict):
        raise _UnusableError("annotation", "no JSON object", "write one object a person")
    if record.get("iscrowd"):
        raise _UnusableError("iscrowd", "a crowd has no keypoints of its own", "leave it out")
    table = torch.tensor(_numbers(record, "keypoints", 51)).reshape(17, 3)
    labelled = (table[:, 2] > 0).to(table.dtype)
    if labelled.sum() < min_keypoints:
        raise _UnusableError("keypoints", f"fewer than {min_keypoints} labelled", "lower min_keypoints")
    left, top, width, height = _numbers(record, "bbox", 4)
    if width <= 0 or height <= 0:
        raise _UnusableError("bbox", "no width or no height", "draw the box around the person again")
    box = torch.tensor([left + width / 2, top + height / 2, BOX_MARGIN * max(width, height)])
    photo = None if photos is None else photos.find(record.get("image_id"), box)
    _check_points(table[labelled > 0, :2], box)
    return _Person(keypoints.place(table[:, :2], labelled, "coco17"), box, photo)


def _check_points(xy: Float[Tensor, "k 2"], box: Float[Tensor, "3"]) -> None:
    """Refuse points that tell nothing of the person in the box; of no points nothing is asked."""
    if not len(xy):
        return
    if (xy - box[:2]).abs().max() > FARTHEST * box[2]:
        raise _UnusableError("keypoints", "one lies far from the box", "restore them from COCO's file")
    if (xy.amax(0) - xy.amin(0)).max() < NEAREST * box[2]:
        raise _UnusableError("keypoints", "all lie at one place", "restore them from COCO's file")


def _numbers(record: dict, field: str, count: int) -> list[float]:
    values = record.get(field)
    if not isinstance(values, list) or len(values) != count:
        raise _UnusableError(field, f"no list of {count} numbers", "restore it from COCO's file")
    if not all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < MOST for v in values):
        raise _UnusableError(field, "not all finite numbers", "restore it from COCO's file")
    return [float(v) for v in values]


def _in_crops(people: list[_Person], boxes: Float[Tensor, "n 3"]) -> Keypoints:
    xy = torch.stack([person.keypoints.xy for person in people])
    confidence = torch.stack([person.keypoints.confidence for person in people])
    return crop.crop_keypoints(Keypoints(xy, confidence), boxes)


class _Photos:
    """The photos of an annotation file, each looked at once, however many people it shows."""

    def __init__(self, folder: Path, records: list, margin: float):
        self._folder, self._margin = folder, margin
        self._records = {r["id"]: r for r in records if isinstance(r, dict) and isinstance(r.get("id"), int)}
        self._seen: dict[int, tuple[Path, tuple[int, int]] | _UnusableError] = {}

    def find(self, image_id: object, box: Float[Tensor, "3"]) -> Path:
        """The file of a photo, known to decode and to have the box in it."""
        if not isinstance(image_id, int) or image_id not in self._records:
            raise _UnusableError("image_id", "names no record of 'images'", "restore that record")
        if image_id not in self._seen:
            try:
                self._seen[image_id] = self._look(self._records[image_id])
            except _UnusableError as error:
                self._seen[image_id] = error
        if isinstance(self._seen[image_id], _UnusableError):
            raise self._seen[image_id]
        path, size = self._seen[image_id]
        fault = crop.box_fault(box, size, self._margin)
        if fault:
            raise _UnusableError("bbox", fault, "draw the box around the person again")
        return path

    def _look(self, record: dict) -> tuple[Path, tuple[int, int]]:
        if not isinstance(record.get("file_name"), str):
            raise _UnusableError("file_name", "missing in the photo's record", "restore it from COCO's file")
        path = self._folder / record["file_name"]
        if not path.is_file():
            raise _UnusableError("file_name", "the photo is missing", f"fetch {path}")
        try:
            with Image.open(path) as photo:
                check_mode(photo, path)
                found = photo.size
                # A JPEG decoded at an eighth of its size is read to its end all the same.
                photo.draft("RGB", (1 + found[0] // 8, 1 + found[1] // 8))
                photo.load()
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise _UnusableError("file_name", "the photo is damaged", f"fetch {path} again") from error
        except ValueError as error:
            raise _UnusableError("file_name", "more than 8 bits a colour", f"convert {path} to 8 bits") from error
        if found != (record.get("width", found[0]), record.get("height", found[1])):
            raise _UnusableError("width, height", "the photo has another size", f"fetch the original {path}")
        return path, found
