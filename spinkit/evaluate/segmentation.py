"""LSP's silhouettes and six body parts: predicted bodies drawn, laid over the photo, and counted pixel by pixel.

The paper's protocol, which is UP-3D's: the body is drawn in the 224 pixels of its crop, unlit and without smoothing,
and carried to the photo by the nearest pixel. All pixels of all photos are pooled before anything is divided.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from spinkit import camera, files, metrics, raster
from spinkit.body import Body
from spinkit.camera import RESOLUTION
from spinkit.data import read_photo
from spinkit.hmr import Regression
from spinkit.metrics import Segmentation

PART_NAMES = ("background", "left arm", "right arm", "head", "left leg", "right leg", "torso")
"""The labels 0 to 6 of UP-3D. That 1 and 4, not 2 and 5, are the left side is inferred, not documented."""
COLOUR_STEPS = 100
"""Steps of `cube_parts.npy` a unit of colour."""
CHUNK = 16
"""Bodies that are drawn at a time."""


@dataclass(frozen=True)
class FaceParts:
    """The part of every face of a body."""

    number: Int[Tensor, "faces"]
    """In `PART_NAMES`."""
    source: str
    """By what, in words."""


@dataclass(frozen=True)
class PartScores:
    """Silhouettes and parts of a set."""

    silhouette: Segmentation
    parts: Segmentation
    bodies: str
    """Which body model was drawn, in words."""
    source: str
    """By what the body's faces got their parts, in words."""

    def __len__(self) -> int:
        return len(self.silhouette.unlabelled)

    def means(self) -> dict[str, float]:
        """Shares of pixels and F1, between 0 and 1."""
        return {
            "fb_accuracy": self.silhouette.accuracy().item(),
            "fb_f1": self.silhouette.mean_f1().item(),
            "part_accuracy": self.parts.accuracy().item(),
            "part_f1": self.parts.mean_f1().item(),
        }

    def rows(self) -> list[tuple[str, float, str]]:
        """Rows for printing: measure with its whole protocol, value, unit."""
        parts = f"6 parts {self.source} and background"
        how = f"pixels of {len(self)} photos pooled, {self.bodies}"
        labels = {
            "fb_accuracy": (f"FB accuracy, foreground and background, {how}", 100, "%"),
            "fb_f1": (f"FB F1, mean of foreground and background, {how}", 1, ""),
            "part_accuracy": (f"part accuracy, {parts}, unlabelled held to be background, {how}", 100, "%"),
            "part_f1": (f"part F1, mean of {parts}, unlabelled left out, {how}", 1, ""),
        }
        return [(labels[k][0], labels[k][1] * mean, labels[k][2]) for k, mean in self.means().items()]

    def __str__(self) -> str:
        return "\n".join(f"{label}: {value:.{1 if unit else 3}f} {unit}".rstrip() for label, value, unit in self.rows())


def face_parts(body: Body) -> FaceParts:
    """The part that most of a face's corners belong to, by the joint that each follows."""
    number = torch.tensor([PART_NAMES.index(name.replace("_", " ")) for name in body.part6_names])
    return FaceParts(number[body.part6.cpu()][body.faces.cpu()].mode(dim=1).values, "by the skinning weights")


def read_face_parts(folder: str | Path) -> FaceParts:
    """The paper's own part of every face of SMPL, from `vertex_texture.npy` and `cube_parts.npy`.

    The first file gives each face one colour, its place in a cube; the second holds the part of every place.

    Raises:
        FileNotFoundError: one of the two is not there.
        ValueError: they are of another shape, or name other parts than 0 to 6.
    """
    paths = [Path(folder) / name for name in ("vertex_texture.npy", "cube_parts.npy")]
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"no {path.name} in {path.parent}; it is in the data folder of SPIN and GraphCMR")
    texture, cube = (files.read_npy(path) for path in paths)
    as_distributed = texture.ndim == 6 and texture.shape[-1] == 3 and 0 not in texture.shape and cube.ndim == 3
    if not (as_distributed and texture.dtype.kind == "f" and cube.dtype.kind in "iuf"):
        raise ValueError(f"{folder}: vertex_texture {texture.shape} or cube_parts {cube.shape} is not as distributed")
    if not (files.finite(texture) and files.finite(cube)):
        raise ValueError(f"{folder}: vertex_texture or cube_parts holds NaN or infinity; fetch both files again")
    # A face is one texel block of a single colour.
    place = np.floor(COLOUR_STEPS * texture[0, :, 0, 0, 0]).astype(np.int64)
    if (place < 0).any() or (place >= cube.shape).any():
        raise ValueError(f"{paths[0]}: a colour lies outside of {paths[1].name}; fetch both files from one source")
    parts = cube[tuple(place.T)]
    if not np.isin(parts, range(len(PART_NAMES))).all():
        raise ValueError(f"{paths[1]}: holds other parts than 0 to {len(PART_NAMES) - 1}; fetch the file again")
    return FaceParts(torch.from_numpy(parts.astype(np.int64)), f"by {paths[1].name}")


def to_photo(
    crop: Int[Tensor, "side side"], box: Float[Tensor, "3"], height: int, width: int
) -> Int[Tensor, "height width"]:
    """The labels of a crop where the photo has them, each pixel the nearest of the crop's; 0 outside of the box.

    Args:
        crop: a label a pixel.
        box: centre x, centre y and side in pixels of the photo.
        height: of the photo in pixels.
        width: of the photo in pixels.
    """
    side = len(crop)
    x, y, length = box.tolist()
    at = [
        ((torch.arange(count, dtype=torch.float64) + 0.5 - centre + length / 2) * side / length).floor().long()
        for count, centre in ((height, y), (width, x))
    ]
    rows, columns = at
    inside = ((rows >= 0) & (rows < side))[:, None] & ((columns >= 0) & (columns < side))
    seen = crop[rows.clamp(0, side - 1)][:, columns.clamp(0, side - 1)]
    return torch.where(inside, seen, torch.zeros_like(seen))


def read_labels(path: str | Path) -> Int[Tensor, "height width"]:
    """The grey values of a picture of labels.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no picture, or a coloured one.
    """
    picture = read_photo(path)
    if (picture != picture[..., :1]).any():
        raise ValueError(f"{path} is coloured; labels are grey values, 0 for background")
    return picture[..., 0].long()


def score_parts(
    body: Body,
    said: Regression,
    boxes: Float[Tensor, "n 3"],
    masks: Sequence[Path],
    parts: Sequence[Path],
    labels: FaceParts,
) -> PartScores:
    """Counts the pixels of predicted bodies against annotated silhouettes and parts.

    Args:
        body: poses what is predicted.
        said: the predictions, each in the camera of its crop.
        boxes: centre x, centre y and side of each crop, in pixels of its photo.
        masks: pictures whose pixels are above 0 on the person, as large as the photos.
        parts: pictures of the labels 0 to 6, 255 for none.
        labels: the part of every face, from `face_parts` or `read_face_parts`.

    Raises:
        ValueError: for no body, lists of different lengths, labels for other faces, or pictures that do not match.
    """
    counts = {"bodies": len(said.betas), "boxes": len(boxes), "masks": len(masks), "parts": len(parts)}
    if len(set(counts.values())) != 1 or not len(boxes):
        raise ValueError(f"got {counts}; give one of each a body, at least one")
    if len(labels.number) != len(body.faces):
        raise ValueError(
            f"labels for {len(labels.number)} faces, but {body.name} has {len(body.faces)}; they are SMPL's"
        )
    silhouettes, segments = [], []
    for at in torch.arange(len(boxes)).split(CHUNK):
        drawn, seen = draw_parts(body, Regression(said.rotmat[at], said.betas[at], said.weak[at]), labels)
        for row, i in enumerate(at.tolist()):
            true_mask, true_parts = (read_labels(path) for path in (masks[i], parts[i]))
            if true_mask.shape != true_parts.shape:
                raise ValueError(f"{parts[i]} is {tuple(true_parts.shape)}, its mask {tuple(true_mask.shape)} pixels")
            size = true_mask.shape
            mask, part = (to_photo(layer[row].cpu().long(), boxes[i], *size) for layer in (seen, drawn))
            silhouettes.append(metrics.segmentation(mask, (true_mask > 0).long(), 2))
            segments.append(metrics.segmentation(part, true_parts, len(PART_NAMES)))
    return PartScores(metrics.stack(silhouettes), metrics.stack(segments), f"posed by {body.name}", labels.source)


def draw_parts(
    body: Body, said: Regression, labels: FaceParts
) -> tuple[Int[Tensor, "n side side"], Bool[Tensor, "n side side"]]:
    """The part that every pixel of the crop shows, 0 for none, and whether it shows the body at all."""
    with torch.no_grad():
        view = camera.from_weak(said.weak)
        vertices = body.vertices(said.rotmat, said.betas) + view.translation[:, None]
        seen = raster.rasterize(vertices, body.faces, view.focal, view.center, RESOLUTION, cull=True)
    return raster.labels(seen, labels.number.to(seen.face.device)), seen.mask
