"""EFT's JSON of fits: one record a person, with the box, the keypoints and the body that explains them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from spinkit import files
from spinkit.fit_files.spin import StoredFits, standing
from spinkit.keypoints import ANNOTATED, Keypoints

PIXELS_A_SCALE = 200
"""A box of scale 1 has a side of this many pixels."""
OPENPOSE18 = (19, 12, 8, 7, 6, 9, 10, 11, 2, 1, 0, 3, 4, 5, 21, 20, 23, 22)
"""The annotated keypoints in the order of `joint_validity_openpose18`."""
SHAPES = {
    "parm_pose": (24, 3, 3),
    "parm_shape": (10,),
    "parm_cam": (3,),
    "bbox_center": (2,),
    "bbox_scale": (),
    "gt_keypoint_2d": (49, 3),
}
ROUNDED = 1e-3
"""A matrix whose columns are farther from perpendicular and of unit length is no rotation that was merely rounded."""
SAME_BOX = 0.5
"""Two boxes of one image are of the same person from this intersection over union on. Ours: EFT draws its own boxes."""


@dataclass(frozen=True)
class EftFits:
    """What EFT keeps of each person, in its units."""

    names: tuple[str, ...]
    """Base names of the images."""
    ids: tuple[int, ...]
    """COCO's annotations; 0 in sets without."""
    rotmat: Float[Tensor, "n 24 3 3"]
    betas: Float[Tensor, "n 10"]
    cam: Float[Tensor, "n 3"]
    """Scale, then the translation in half crops: a point X lands at scale * X + translation. SPIN's translation is in
    metres; see `weak`."""
    center: Float[Tensor, "n 2"]
    """Of the box, in pixels of the photo."""
    scale: Float[Tensor, "n"]
    """Of the box: its side in units of `PIXELS_A_SCALE`."""
    keypoints: Keypoints
    """In pixels of the photo."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def boxes(self) -> Float[Tensor, "n 3"]:
        """Centre x, centre y and side in pixels of the photo."""
        return torch.cat([self.center, PIXELS_A_SCALE * self.scale[:, None]], dim=1)

    @property
    def weak(self) -> Float[Tensor, "n 3"]:
        """The cameras as `camera.from_weak` takes them: a point X lands at scale * (X + translation)."""
        return torch.cat([self.cam[:, :1], self.cam[:, 1:] / self.cam[:, :1]], dim=1)

    def fits(self) -> StoredFits:
        """The bodies alone, one for each record."""
        known = torch.ones(len(self), dtype=torch.bool)
        return StoredFits(roma.rotmat_to_rotvec(self.rotmat), self.betas, known)

    def matched(self, names: Sequence[str], boxes: Float[Tensor, "m 3"]) -> StoredFits:
        """The bodies for the samples of another set of the same images, by base name and box.

        A sample without a record stands upright and is not valid.

        Raises:
            ValueError: no record belongs to any sample.
        """
        ours, by_name = self.boxes, {}
        for i, name in enumerate(self.names):
            by_name.setdefault(name, []).append(i)
        found = []
        for name, box in zip(names, boxes, strict=True):
            those = torch.tensor(by_name.get(Path(name).name, []), dtype=torch.long)
            overlap = _overlap(ours[those], box)
            found.append(int(those[overlap.argmax()]) if (overlap >= SAME_BOX).any() else -1)
        which = torch.tensor(found)
        valid = which >= 0
        if not valid.any():
            raise ValueError(
                f"none of {len(self)} EFT fits belongs to any of {len(names)} samples, by image name and box; "
                "take the JSON of the same images"
            )
        rotvec, betas = standing(len(which))
        rotvec[valid], betas[valid] = roma.rotmat_to_rotvec(self.rotmat[which[valid]]), self.betas[which[valid]]
        return StoredFits(rotvec, betas, valid)


def _overlap(boxes: Float[Tensor, "k 3"], box: Float[Tensor, "3"]) -> Float[Tensor, "k"]:
    """Intersection over union of square boxes with one."""
    low = torch.maximum(boxes[:, :2] - boxes[:, 2:] / 2, box[:2] - box[2] / 2)
    high = torch.minimum(boxes[:, :2] + boxes[:, 2:] / 2, box[:2] + box[2] / 2)
    both = (high - low).clamp(min=0).prod(dim=1)
    return both / (boxes[:, 2] ** 2 + box[2] ** 2 - both)


def read_eft(path: str | PathLike[str]) -> EftFits:
    """All people of one of EFT's files.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no JSON of EFT's, or a record is incomplete, not finite, not of SMPL, or no body; the
            message names record and field.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No EFT fits at {path}; fetch them from EFT's page or correct the path")
    content = files.read_json(path, "fetch EFT's file again")
    records = content.get("data") if isinstance(content, dict) else None
    if not isinstance(records, list) or not records:
        raise ValueError(f"{path}: no list 'data' with records in it; use a file of EFT's fits")
    for i, record in enumerate(records):
        _check_record(record, f"{path}: data[{i}]")
    values = {field: torch.from_numpy(_stacked(records, field, path)) for field in SHAPES}
    points = values["gt_keypoint_2d"]
    _check_values(values, path)
    return EftFits(
        names=tuple(record["imageName"] for record in records),
        ids=tuple(record.get("annotId") or 0 for record in records),
        rotmat=values["parm_pose"],
        betas=values["parm_shape"],
        cam=values["parm_cam"],
        center=values["bbox_center"],
        scale=values["bbox_scale"],
        keypoints=Keypoints(points[..., :2], points[..., 2].clamp(min=0)),
    )


def _check_record(record: object, where: str) -> None:
    remedy = "leave this record out, or fetch the file again"
    if not isinstance(record, dict):
        raise ValueError(f"{where} is no record; {remedy}")
    missing = [field for field in ("imageName", *SHAPES) if field not in record]
    if missing:
        raise ValueError(f"{where} has no '{missing[0]}'; {remedy}")
    if not isinstance(record["imageName"], str):
        raise ValueError(f"{where}.imageName is no string; {remedy}")
    if not isinstance(record.get("annotId", 0), int | None):
        raise ValueError(f"{where}.annotId is no whole number; {remedy}")
    if record.get("smpltype", "smpl") != "smpl":
        raise ValueError(f"{where}.smpltype is {record['smpltype']!r}, and only fits of SMPL are read; {remedy}")


def _stacked(records: list[dict], field: str, path: Path) -> Float[np.ndarray, "n ..."]:
    """One field of every record as numbers."""
    rows = []
    for i, record in enumerate(records):
        try:
            row = np.array(record[field], dtype=np.float32)
        except (ValueError, TypeError, OverflowError) as error:
            raise ValueError(f"{path}: data[{i}].{field} holds something that is no number; fetch it again") from error
        if row.shape != SHAPES[field] or not np.isfinite(row).all():
            raise ValueError(f"{path}: data[{i}].{field} is not {SHAPES[field]} finite numbers; fetch it again")
        rows.append(row)
    return np.stack(rows)


def _check_values(values: dict[str, Tensor], path: Path) -> None:
    """Refuses the first record whose numbers cannot mean what they should."""
    rotmat = values["parm_pose"]
    # Products of large numbers may be NaN, which is neither above nor below anything.
    upright = (rotmat @ rotmat.mT - torch.eye(3)).abs().amax(dim=(1, 2, 3)) <= ROUNDED
    cam, side = values["parm_cam"], PIXELS_A_SCALE * values["bbox_scale"]
    wrong = {
        "parm_pose, which holds no rotations": ~(upright & (torch.linalg.det(rotmat) > 0).all(dim=1)),
        "parm_cam, whose scale is not positive": ~(cam[:, 0] > 0),
        "parm_cam, whose scale is next to nothing": ~(cam / cam[:, :1]).isfinite().all(dim=1),
        "bbox_scale, which is not positive": ~((side > 0) & side.isfinite()),
    }
    for complaint, where in wrong.items():
        if where.any():
            raise ValueError(f"{path}: data[{int(where.nonzero()[0])}].{complaint}; leave that record out")


def save_eft(path: str | PathLike[str], fits: EftFits, dataset: str = "") -> Path:
    """Write fits in EFT's layout.

    Args:
        path: the JSON file.
        fits: the people.
        dataset: their set's name, which EFT notes under `meta`.

    Raises:
        ValueError: a number is not finite, which JSON cannot say.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    points = torch.cat([fits.keypoints.xy, fits.keypoints.confidence[..., None]], dim=-1)
    columns = (fits.rotmat, fits.betas, fits.cam, fits.center, fits.scale, points)
    records = []
    for name, number, *row in zip(fits.names, fits.ids, *(c.detach().cpu().tolist() for c in columns), strict=True):
        rotmat, betas, cam, center, scale, marks = row
        validity = [marks[ANNOTATED][i][2] for i in OPENPOSE18]
        records.append(
            {
                "parm_pose": rotmat,
                "parm_shape": betas,
                "parm_cam": cam,
                "bbox_scale": scale,
                "bbox_center": center,
                "gt_keypoint_2d": marks,
                "joint_validity_openpose18": validity,
                "smpltype": "smpl",
                "annotId": number,
                "imageName": name,
            }
        )
    content = {"ver": 0.1, "data": records, "meta": {"dbname": dataset, "rawname": path.stem}}
    try:
        text = json.dumps(content, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"fits for {path.name} hold NaN or infinity; leave such people out") from error
    path.write_text(text)
    return path
