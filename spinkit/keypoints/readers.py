"""Readers of keypoint files, of any layout and kind, and the one file that is written: a plain npz."""

import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import torch

from spinkit import files
from spinkit.keypoints.layouts import LARGEST, Layout, Table, openpose_table, recognise
from spinkit.keypoints.names import NAMES
from spinkit.keypoints.order import refuse_body_25b
from spinkit.keypoints.records import Keypoints, place
from spinkit.keypoints.sources import SOURCES, points_in

OPENPOSE_MODELS = {"BODY_25": "openpose25", "BODY_25B": "openpose25b"}
"""OpenPose's body models of 25 points, and the source whose order each has."""
TELLING = {17: "coco17", 23: "coco23", 26: "halpe26", 133: "wholebody133", 136: "halpe136"}
"""Numbers of points that tell a kind, unless the file's own names of points deny it."""


def read(
    path: str | PathLike[str],
    kind: str | None = None,
    picture: str | int | None = None,
    image_size: Sequence[int | float] | None = None,
) -> list[Keypoints]:
    """Everyone whom a keypoint file has in one picture, in the file's order.

    Known are the JSON of OpenPose, COCO (annotations and results, with feet, whole bodies), MMPose and ViTPose,
    AlphaPose (Halpe), MediaPipe and MPII, and npz files: those of `save`, or with `keypoints` (people, points, 3). A
    point without confidence, or at exactly (0, 0), where many programs put what they did not find, is missing and
    gets confidence 0. Low confidences stay as weights.

    Args:
        path: the file.
        kind: whose points, in whose order: a key of `SOURCES`. Needed where the content does not tell: for BODY_25B,
            MPII's and LSP's points in a list, and 25, 16 or 14 points in general.
        picture: which picture, where the file has several: its file name, or the number of its frame. A file whose
            only picture has no name does not look at it.
        image_size: width and height of the photo in pixels. MediaPipe's files need it.

    Returns:
        One `Keypoints` a person, in pixels of the photo, float32 unless an npz file is finer. An empty list
        where nobody was found.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when the file is damaged, of no known layout, of another kind, of a kind that has to be said, or
            lacks the picture; the message names file, field and remedy.
    """
    path = Path(path)
    if kind is not None and kind not in SOURCES:
        raise ValueError(f"the kind {kind!r} of {path} is unknown; choose one of {', '.join(SOURCES)}")
    if not path.is_file():
        raise FileNotFoundError(f"no keypoints at {path}; correct the path, or detect people first")
    if path.suffix == ".npz":
        return _read_npz(path, kind)
    layout = recognise(files.read_json(path, "write it again"), path, image_size)
    tables = [(layout.read(record, where), where) for record, where in _people(layout, picture, path)]
    if not tables:
        return []
    said = kind or layout.kind or _telling_kind(len(tables[0][0]), layout.names, layout.read is openpose_table, path)
    return _placed(tables, said, path)


def read_openpose(path: str | PathLike[str], model: str = "BODY_25") -> list[Keypoints]:
    """`read`, for those who know OpenPose's model by its own name, one of `OPENPOSE_MODELS`; the file does not say.

    The neck and the top of the head of BODY_25B are those that people annotate, so they go to the annotated half.
    """
    if model not in OPENPOSE_MODELS:
        raise ValueError(f"OpenPose's model {model!r} is unknown; choose one of {', '.join(OPENPOSE_MODELS)}")
    return read(path, OPENPOSE_MODELS[model])


def save(path: str | PathLike[str], people: Sequence[Keypoints]) -> Path:
    """Write people to an npz file that `read` gives back exactly: `xy`, `confidence`, and the `names` of the 49."""
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"keypoints are written to a file that ends in .npz, not to {path.name}")
    if any(person.xy.ndim != 2 for person in people):
        raise ValueError("save takes a list with one Keypoints a person; give list(people) of a batch")
    xy = torch.stack([p.xy for p in people]) if len(people) else torch.zeros(0, len(NAMES), 2)
    confidence = torch.stack([p.confidence for p in people]) if len(people) else torch.zeros(0, len(NAMES))
    np.savez(path, xy=xy.cpu().numpy(), confidence=confidence.cpu().numpy(), names=np.array(NAMES))
    return path


def _people(layout: Layout, picture: str | int | None, path: Path) -> list[tuple[object, str]]:
    """The people of the picture that is asked for."""
    pictures = layout.pictures
    if not pictures or set(pictures) == {None}:
        return pictures.get(None, [])
    if picture is None and len(pictures) == 1:
        return next(iter(pictures.values()))
    wanted = [title for title in pictures if title is not None and picture is not None and _same(title, str(picture))]
    if wanted:
        return pictures[wanted[0]]
    some = ", ".join(str(title) for title in list(pictures)[:5]) + (", …" if len(pictures) > 5 else "")
    problem = "has several pictures" if picture is None else f"has no picture {picture}"
    raise ValueError(f"{path} {problem}; say picture=, one of {some}")


def _same(title: str, picture: str) -> bool:
    """Names are equal, or are the same number: COCO's picture 785 is in the file 000000000785.jpg."""
    stems = [re.fullmatch(r"0*(\d+)", Path(name).stem) for name in (title, picture)]
    return title == picture or (None not in stems and stems[0][1] == stems[1][1])


def _telling_kind(points: int, names: Sequence[str], openpose: bool, path: Path) -> str:
    """The kind that a number of points tells."""
    if openpose and points == 25:
        return "openpose25"
    if points in TELLING and _begins_as_coco(names):
        return TELLING[points]
    having = [source for source in SOURCES if points_in(source)[0] == points]
    if having:
        raise ValueError(
            f"{path}: the file does not say whose its {points} points are; if it is so, say kind={' or '.join(having)}"
        )
    known = ", ".join(f"{source} ({points_in(source)[0]})" for source in SOURCES)
    raise ValueError(f"{path}: people of {points} points are of no known kind; detect with one of {known}")


def _begins_as_coco(names: Sequence[str]) -> bool:
    """Whether the names of points, if there are any, have the left shoulder where COCO has it."""
    plain = [re.sub("[^a-z]", "", name.lower()) for name in names]
    return not plain or (len(plain) > 5 and plain[5] in ("leftshoulder", "lshoulder", "shoulderleft"))


def _placed(tables: Sequence[tuple[Table, str]], kind: str, path: Path) -> list[Keypoints]:
    """Everyone's points among the 49, once they are what they are said to be."""
    people = []
    for table, where in tables:
        nowhere = (table[:, :2] == 0).all(dim=-1)
        try:
            people.append(place(table[:, :2], table[:, 2].masked_fill(nowhere, 0), kind))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    marked = torch.cat([person.xy[person.visible] for person in people])
    if len(marked) and marked.abs().max() > LARGEST:
        raise ValueError(f"{path}: a point lies {marked.abs().max():g} pixels away; detect again")
    if len(marked) and marked.abs().max() <= 1:
        raise ValueError(f"{path}: all points lie within 1 pixel of a corner, as if normalised; write pixels")
    if kind == "openpose25":
        refuse_body_25b(people, str(path))
    return people


def _read_npz(path: Path, kind: str | None) -> list[Keypoints]:
    arrays = files.read_npz(path)
    if "imgname" in arrays:
        raise ValueError(f"{path}: 'imgname' says that this is a data set of SPIN's; read it with data.read_spin_npz")
    if "names" in arrays:
        return _read_saved(arrays, path)
    if "keypoints" not in arrays:
        raise ValueError(f"{path}: no field 'keypoints', which holds x, y and confidence: (people, points, 3)")
    table = _floats(arrays, "keypoints", path)
    table = table[None] if table.ndim == 2 else table
    if table.ndim != 3 or table.shape[-1] != 3:
        shape = tuple(arrays["keypoints"].shape)
        raise ValueError(f"{path}: keypoints has the shape {shape}, expected (people, points, 3); write it so")
    said = kind or (str(arrays["kind"]) if "kind" in arrays else None) or _telling_kind(table.shape[1], (), False, path)
    return (
        _placed([(person, f"{path}: keypoints[{i}]") for i, person in enumerate(table)], said, path)
        if len(table)
        else []
    )


def _read_saved(arrays: dict[str, np.ndarray], path: Path) -> list[Keypoints]:
    """What `save` wrote, and nothing else."""
    if arrays["names"].tolist() != list(NAMES):
        raise ValueError(f"{path}: names are not the 49 of spinkit; write 'keypoints' without names, and say the kind")
    for field, shape in {"xy": (len(NAMES), 2), "confidence": (len(NAMES),)}.items():
        if field not in arrays or arrays[field].shape[1:] != shape:
            raise ValueError(f"{path}: {field} is missing or not of the shape (people, {shape}); save it again")
    xy, confidence = (_floats(arrays, field, path) for field in ("xy", "confidence"))
    sound = (xy.abs() <= LARGEST).all() and ((confidence >= 0) & confidence.isfinite()).all()
    if len(xy) != len(confidence) or not sound:
        problem = "differ in length, hold NaN or infinity, a negative weight, or a point too far away"
        raise ValueError(f"{path}: xy and confidence {problem}; save it again")
    return [Keypoints(*person) for person in zip(xy, confidence, strict=True)]


def _floats(arrays: dict[str, np.ndarray], field: str, path: Path) -> torch.Tensor:
    array = arrays[field]
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{path}: {field} holds {array.dtype}, no numbers; write it again")
    return torch.from_numpy(array if array.dtype in (np.float32, np.float64) else array.astype(np.float32))
