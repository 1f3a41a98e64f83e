"""Fitted clips as pictures: the sequence view by view, and one moment through two cameras."""

from collections.abc import Sequence
from pathlib import Path

import roma
from jaxtyping import UInt8
from matplotlib.figure import Figure
from PIL import Image as PillowImage
from torch import Tensor

from spinkit import clips, crop, data
from spinkit.body import Body
from spinkit.camera import RESOLUTION, Camera
from spinkit.clips import Clip
from spinkit.keypoints import LSP14
from spinkit.view.bodies import FitLike, posed
from spinkit.view.images import contact_sheet, keypoints_on
from spinkit.view.rendering import render

SIDE = 320
"""Pixels of a picture's side."""


def clip_sheet(
    clip: Clip,
    body: Body,
    fits: FitLike,
    at: Sequence[tuple[int, int]],
    photos: Path | None = None,
    columns: int = 6,
) -> Figure:
    """Moments of a clip: the fitted body, and the keypoints over it. Titles tell view and frame.

    Args:
        clip: that was fitted.
        body: that the fits are of.
        fits: of every view and frame, view after view.
        at: views and frames, both counted from 0.
        photos: a folder with stills of the clip, named as its JSON files; white where there is none.
        columns: in a full row.
    """
    pictures = []
    for view, frame in at:
        vertices, camera = posed(body, fits, view * clip.shape[1] + frame)
        pictures.append(_drawn(clip, view, frame, vertices, body, camera, photos))
    titles = [f"{clip.views[view]}, {clip.frames[frame]}" for view, frame in at]
    return contact_sheet(pictures, titles, columns, width=1.5 * min(columns, len(pictures)))


def exchanged(
    clip: Clip, body: Body, fits: FitLike, pair: tuple[int, int], frame: int, photos: Path | None = None
) -> Figure:
    """One moment through two cameras: above the first view's body, below the second's, over the keypoints of each.

    On the diagonal a body stands where it was fitted. Elsewhere it is carried by its 14 LSP joints onto the body of
    the camera's own view: what the keypoints then miss is what the other camera could not see.

    Args:
        clip: that was fitted.
        body: that the fits are of.
        fits: of every view and frame, view after view.
        pair: two views, counted from 0.
        frame: counted from 0.
        photos: a folder with stills of the clip, named as its JSON files; white where there is none.
    """
    rows = [view * clip.shape[1] + frame for view in pair]
    bodies = [posed(body, fits, row) for row in rows]
    points = body.keypoints(roma.rotvec_to_rotmat(fits.rotvec[rows]), fits.betas[rows])[:, list(LSP14)]
    pictures, titles = [], []
    for fitted in range(2):
        for seen in range(2):
            vertices = clips.carry(bodies[fitted][0], points[fitted], points[seen])
            pictures.append(_drawn(clip, pair[seen], frame, vertices, body, bodies[seen][1], photos))
            titles.append(f"body of {clip.views[pair[fitted]]} in {clip.views[pair[seen]]}")
    return contact_sheet(pictures, titles, columns=2, width=6.0)


def _drawn(
    clip: Clip, view: int, frame: int, vertices: Tensor, body: Body, camera: Camera, photos: Path | None
) -> PillowImage.Image:
    """A body over a frame's still, and the frame's keypoints over both."""
    picture = render(vertices, body.faces, camera, SIDE, _still(clip, view, frame, photos))
    return keypoints_on(picture, clip.keypoints[view, frame], side=SIDE)


def _still(clip: Clip, view: int, frame: int, photos: Path | None) -> UInt8[Tensor, "3 side side"] | None:
    """The crop of a frame's still, or None where there is no such picture."""
    paths = [] if photos is None else [Path(photos) / f"{clip.stems[view][frame]}{end}" for end in (".jpg", ".png")]
    for path in paths:
        if path.is_file():
            return crop.square(data.read_photo(path), clip.boxes[view, frame], RESOLUTION)
    return None
