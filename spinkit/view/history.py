"""The dictionary of fits as pictures: versions of one fit, who was updated when, galleries of many."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import roma
import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from PIL import Image as PillowImage
from torch import Tensor

from spinkit import camera as cameras
from spinkit import data, smplify
from spinkit.body import Body
from spinkit.camera import RESOLUTION, Camera
from spinkit.crop import Change
from spinkit.data import Samples
from spinkit.fits import NEVER, Events, FitDictionary
from spinkit.keypoints import Keypoints
from spinkit.smplify.initial import covering_translation
from spinkit.view.bodies import FitLike, overlay
from spinkit.view.images import contact_sheet, keypoints_on
from spinkit.view.style import page

CHUNK = 512
"""Bodies that are judged at a time."""


@dataclass(frozen=True)
class Judged:
    """Bodies in the untouched crops of their people, each under the camera that suits it best."""

    rotvec: Float[Tensor, "n 24 3"]
    betas: Float[Tensor, "n 10"]
    camera: Camera
    error: Float[Tensor, "n"]
    """Robust reprojection error, px^2; infinite where a body cannot be judged."""


def judged(body: Body, keypoints: Keypoints, rotvec: Float[Tensor, "n 24 3"], betas: Float[Tensor, "n 10"]) -> Judged:
    """Bodies with the cameras and errors that `smplify.judge` gives them, ready to be drawn.

    A body that faces the wrong way may be explained best from behind the camera. It is drawn where its size and place
    are those of the keypoints, and its error stays infinite.
    """
    parts = [_judged(body, keypoints[i], rotvec[i], betas[i]) for i in torch.arange(len(rotvec)).split(CHUNK)]
    translation, error = (torch.cat(values) for values in zip(*parts, strict=True))
    return Judged(rotvec, betas, cameras.crop_camera(translation), error)


def _judged(body: Body, keypoints: Keypoints, rotvec: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
    camera, error = smplify.judge(body, keypoints, rotvec, betas)
    points = body.keypoints(roma.rotvec_to_rotmat(rotvec), betas)
    behind = camera.translation[:, 2:] <= 0
    return torch.where(behind, covering_translation(points, keypoints), camera.translation), error


def crops(samples: Samples, keys: Int[Tensor, "n"], size: int = RESOLUTION) -> Float[Tensor, "n 3 size size"]:
    """The untouched crops of some people, without the margin that augmentation needs."""
    return data.make_batch(samples, keys, Change.none(len(keys)), size).image


def gallery(
    samples: Samples,
    keys: Int[Tensor, "n"],
    body: Body,
    people: FitLike,
    titles: Sequence[str] = (),
    columns: int = 4,
) -> Figure:
    """Some people of a set, each with the keypoints at the left and the fitted body at the right.

    Args:
        samples: the set.
        keys: whom to show.
        body: that the fits are of.
        people: a fit for everyone in the set.
        titles: one for each that is shown, or none.
        columns: pairs in a row.
    """
    pairs = []
    for image, key in zip(crops(samples, keys), keys.tolist(), strict=True):
        marked = keypoints_on(image, samples.keypoints[key], side=RESOLUTION)
        pairs.append(_beside(marked, overlay(image, body, people, key, side=RESOLUTION)))
    return contact_sheet(pairs, titles, columns, width=2.6 * min(columns, len(pairs)))


def versions(samples: Samples, key: int, body: Body, fits: FitDictionary, most: int = 6) -> Figure:
    """All fits that a tracked person had, in order, over the untouched crop; titles tell step and error.

    Args:
        samples: the set that the dictionary is of.
        key: the person.
        body: that the fits are of.
        fits: a dictionary that tracked the person.
        most: with more versions than this, as many are shown, from the first to the last.

    Raises:
        ValueError: the person was not tracked.
    """
    shots = fits.snapshots()
    rows = (shots.key == key).nonzero()[:, 0]
    if not len(rows):
        raise ValueError(f"person {key} was not tracked; one of these was: {fits.tracked.nonzero()[:, 0].tolist()}")
    rows = rows[torch.linspace(0, len(rows) - 1, min(most, len(rows))).round().long()]
    same = samples.keypoints[torch.full_like(rows, key)]
    people = judged(body, same, shots.rotvec[rows], shots.betas[rows])
    image = crops(samples, torch.tensor([key]))[0]
    pictures = [keypoints_on(image, samples.keypoints[key])]
    pictures += [overlay(image, body, people, i) for i in range(len(rows))]
    when = ["at the start" if step == NEVER else f"step {step}" for step in shots.step[rows].tolist()]
    titles = [f"{w}: {e:.1f} px²" for w, e in zip(when, people.error.tolist(), strict=True)]
    columns = min(4, len(pictures))
    return contact_sheet(pictures, [f"person {key}", *titles], columns, width=2.3 * columns)


def update_map(events: Events, people: int, steps: int) -> Figure:
    """Who was updated when: a dot an update, and above them how many there were.

    Args:
        events: of a dictionary.
        people: in the set.
        steps: of the whole run, which is the width of the figure.
    """
    at, gain = events.step.numpy(), (1 - events.after / events.before).clamp(0, 1).numpy()
    with page(7.0, 4.2, 2, 1, share="x", heights=[1.0, 2.4]) as (figure, axes):
        above, below = axes[:, 0]
        above.hist(at, np.linspace(0, steps, 41), color="#8c8c8c")
        above.set(ylabel="updates")
        above.yaxis.get_major_locator().set_params(integer=True)
        size = float(np.clip(4000 / max(1, len(at)), 1, 24))
        dots = below.scatter(at, events.key.numpy(), size, 100 * gain, cmap="viridis_r", vmin=0, vmax=100, lw=0)
        below.set(xlabel="step", ylabel="person", xlim=(0, steps), ylim=(-0.5, people - 0.5))
        figure.colorbar(dots, ax=below, label="error removed (%)", fraction=0.04, pad=0.02)
        if not len(at):
            below.text(0.5, 0.5, "no fit was bettered", transform=below.transAxes, ha="center")
    return figure


def _beside(left: PillowImage.Image, right: PillowImage.Image) -> PillowImage.Image:
    """Two pictures of one size as one."""
    return PillowImage.fromarray(np.concatenate([np.asarray(left), np.asarray(right)], axis=1))
