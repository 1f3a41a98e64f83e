"""Clips: one person filmed by one or more cameras at once, as OpenPose found them frame by frame.

    draw             a clip of a drawn person, as files
    read             a folder of OpenPose's JSON, one folder a view -> Clip
    from_neighbours  fits of a clip, fitted again from the fits before and after them
    carry            points of one view's body in the camera frame of another
    agreement        how far two views' bodies are apart once they are aligned
    misses           how far keypoints are from where the fits have them

Fits of a clip are one batch, view after view, so that `values.unflatten(0, clip.shape)` has views and frames.
"""

import json
import re
from dataclasses import dataclass, replace
from itertools import combinations
from os import PathLike
from pathlib import Path

import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from spinkit import crop, keypoints, smplify
from spinkit.body import Body
from spinkit.camera import RESOLUTION, Camera, project
from spinkit.keypoints import Keypoints
from spinkit.priors import Mixture
from spinkit.smplify import Fit, SmplifySettings, Start

FRAME = re.compile(r"(\d+)(?:_keypoints)?$")
"""The number of a frame at the end of a file's name, as `--write_json` and other writers put it."""


@dataclass(frozen=True)
class Clip:
    """The same frames of one person from every view, in crops."""

    views: tuple[str, ...]
    """Names of the folders."""
    stems: tuple[tuple[str, ...], ...]
    """Of each view, the names of its files without their ending; a still of the same name belongs to it."""
    frames: tuple[int, ...]
    """Numbers of the frames, in order."""
    keypoints: Keypoints
    """(views, frames, 49), pixels of the crops. All missing where nobody was found."""
    boxes: Float[Tensor, "views frames 3"]
    """Of the crops: centre x, centre y and side, in pixels of the photos."""
    people: Int[Tensor, "views frames"]
    """How many people OpenPose found."""

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of views and of frames."""
        return len(self.views), len(self.frames)

    @property
    def flat(self) -> Keypoints:
        """All views' keypoints as one batch, view after view, as a fit takes them."""
        return Keypoints(self.keypoints.xy.flatten(0, 1), self.keypoints.confidence.flatten(0, 1))

    def spread(self, count: int) -> "Clip":
        """So many frames of the clip, evenly spread from its first to its last; all where there are fewer.

        Raises:
            ValueError: for less than one frame.
        """
        if count < 1:
            raise ValueError(f"a clip needs at least one frame, got {count}")
        rows = torch.linspace(0, len(self.frames) - 1, min(count, len(self.frames))).round().long()
        return replace(
            self,
            stems=tuple(tuple(stems[i] for i in rows) for stems in self.stems),
            frames=tuple(self.frames[i] for i in rows),
            keypoints=self.keypoints[:, rows],
            boxes=self.boxes[:, rows],
            people=self.people[:, rows],
        )


def read(folder: str | PathLike[str], model: str = "BODY_25", margin: float = 1.2) -> Clip:
    """A clip from OpenPose's JSON files, one a frame, in one folder a view; a folder of files is a clip of one view.

    Of several people in a frame the largest is taken (`keypoints.choose_person`): a clip is of whoever is in front.
    Frames do not know of each other, so nothing follows a person whom another one overtakes. The crop is `margin`
    times what the sure points need, frame by frame.

    Args:
        folder: holds a folder of JSON files for each view.
        model: OpenPose's, one of `keypoints.OPENPOSE_MODELS`.
        margin: of the boxes.

    Raises:
        FileNotFoundError: no such folder, or no JSON in it.
        ValueError: views with different frames, or a file that `keypoints.read_openpose` refuses.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no clip at {folder}; give the folder that holds a folder of JSON files for each view")
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and any(path.glob("*.json"))]
    views = inside or ([folder] if any(folder.glob("*.json")) else [])
    if not views:
        raise FileNotFoundError(f"no JSON in {folder} or the folders in it; run OpenPose with --write_json")
    numbered = [_numbered(view) for view in views]
    for view, frames in zip(views, numbered, strict=True):
        if odd := frames.keys() ^ numbered[0].keys():
            raise ValueError(f"{view}: frame {min(odd)} is here or in {views[0].name}, not in both; add or drop it")
    found = [[_main_person(file, model, margin) for file in frames.values()] for frames in numbered]
    return Clip(
        views=tuple(view.name for view in views),
        stems=tuple(tuple(file.stem for file in frames.values()) for frames in numbered),
        frames=tuple(numbered[0]),
        keypoints=Keypoints(
            torch.stack([torch.stack([person.xy for person, _, _ in row]) for row in found]),
            torch.stack([torch.stack([person.confidence for person, _, _ in row]) for row in found]),
        ),
        boxes=torch.stack([torch.stack([box for _, box, _ in row]) for row in found]),
        people=torch.tensor([[count for _, _, count in row] for row in found]),
    )


def _numbered(view: Path) -> dict[int, Path]:
    """The files of a view by the numbers of their frames, in order."""
    numbered = {}
    for file in view.glob("*.json"):
        number = FRAME.search(file.stem)
        if number is None:
            raise ValueError(f"{file}: no frame number at the end of the name; name it as --write_json does")
        if (frame := int(number[1])) in numbered:
            raise ValueError(f"{file}: frame {frame} is also {numbered[frame].name}; keep one of them")
        numbered[frame] = file
    return dict(sorted(numbered.items()))


def _main_person(file: Path, model: str, margin: float) -> tuple[Keypoints, Tensor, int]:
    """The largest person, in its crop; the box; and how many people there are."""
    people = keypoints.read_openpose(file, model)
    try:
        person = people[keypoints.choose_person(people)]
    except ValueError:  # nobody, or nobody who is more than a dot
        nobody = Keypoints(torch.zeros(49, 2), torch.zeros(49))
        return nobody, torch.tensor([RESOLUTION / 2, RESOLUTION / 2, RESOLUTION]), len(people)
    box = crop.box_around(person.xy, (person.confidence > keypoints.SURE).to(person.xy), margin)
    return crop.crop_keypoints(person, box), box, len(people)


def from_neighbours(
    body: Body, prior: Mixture, clip: Clip, fits: Fit, settings: SmplifySettings | None = None, passes: int = 2
) -> Fit:
    """Fit every frame again, from pose and shape of the frame before and of the frame after; the lowest energy stays.

    Nothing is smoothed: a neighbour is one more start, and a good fit spreads from frame to frame with every pass.
    The camera of the start stays the frame's own.

    Args:
        fits: of the clip, view after view.
        passes: over the clip, forwards and backwards.
    """
    rows = torch.arange(len(fits), device=fits.error.device).unflatten(0, clip.shape)
    before = torch.cat([rows[:, :1], rows[:, :-1]], dim=1).flatten()
    after = torch.cat([rows[:, 1:], rows[:, -1:]], dim=1).flatten()
    for neighbour in [before, after] * passes:
        start = Start(fits.rotvec[neighbour], fits.betas[neighbour], fits.camera)
        again = smplify.fit(body, prior, clip.flat, start, settings)
        # A neighbour without keypoints has nothing to offer, and its energy may be no number.
        better = again.usable & ((again.total < fits.total) | ~fits.usable)
        fits = again.choose(better, fits)
    return fits


def carry(
    points: Float[Tensor, "*batch n 3"],
    joints: Float[Tensor, "*batch joints 3"],
    onto: Float[Tensor, "*batch joints 3"],
) -> Float[Tensor, "*batch n 3"]:
    """Points that belong to a body, turned, scaled and moved as brings its joints closest to another body's.

    Args:
        points: such as the vertices, metres.
        joints: of the same body, in the same frame.
        onto: the same joints of the other body, in whose frame the points end.

    Source: Umeyama 1991, as in `metrics.pa_mpjpe`.
    """
    R, t, s = roma.rigid_points_registration(joints, onto, compute_scaling=True)
    return s[..., None, None] * points @ R.mT + t[..., None, :]


@dataclass(frozen=True)
class Agreement:
    """What every two views of a clip make of the same moment."""

    pairs: tuple[tuple[int, int], ...]
    """The two views: the second one's body is carried onto the first one's."""
    distance: Float[Tensor, "pairs frames joints"]
    """Metres between the same joint of the two bodies."""
    across: Float[Tensor, "pairs frames joints"]
    """The part of it perpendicular to both lines of sight, which both photos show; at least 0."""

    @property
    def error(self) -> Float[Tensor, "pairs frames"]:
        """PA-MPJPE between the views, metres."""
        return self.distance.mean(-1)

    @property
    def in_depth(self) -> Float[Tensor, "pairs frames joints"]:
        """The other part, in the plane of the two lines of sight, as metres along one of its two directions."""
        return ((self.distance.square() - self.across.square()).clamp(min=0) / 2).sqrt()


def compare(joints: Float[Tensor, "views frames joints 3"], cameras: Camera) -> Agreement:
    """How far the bodies of every two views are apart, frame by frame, after the best similarity alignment.

    Where the cameras stand is not asked: the alignment finds it, so what the views share in error stays unseen.

    Args:
        joints: metres, each in the frame of its view.
        cameras: (views, frames), that see them.

    Raises:
        ValueError: with fewer than two views.
    """
    if len(joints) < 2:
        raise ValueError("agreement needs two views or more; this clip has one")
    middle = joints.mean(dim=-2, keepdim=True)
    ahead = normalize(middle + cameras.translation[..., None, :], dim=-1)
    pairs, distance, across = tuple(combinations(range(len(joints)), 2)), [], []
    for a, b in pairs:
        apart = carry(joints[b], joints[b], joints[a]) - joints[a]
        ends = carry(torch.cat([middle[b], middle[b] + ahead[b]], dim=-2), joints[b], joints[a])
        both_see = normalize(torch.linalg.cross(ahead[a][:, 0], ends[:, 1] - ends[:, 0]), dim=-1)
        distance.append(apart.norm(dim=-1))
        across.append((apart @ both_see[..., None])[..., 0].abs())
    return Agreement(pairs, torch.stack(distance), torch.stack(across))


def agreement(body: Body, clip: Clip, fits: Fit) -> Agreement:
    """How far the fits of every two views are apart at the same moment: `compare`, of the 14 LSP joints.

    Args:
        fits: of the clip, view after view.
    """
    rows = torch.arange(len(fits), device=fits.error.device).unflatten(0, clip.shape)
    points = body.keypoints(roma.rotvec_to_rotmat(fits.rotvec), fits.betas)[:, list(keypoints.LSP14)]
    return compare(points[rows], fits.camera[rows])


def misses(body: Body, clip: Clip, fits: Fit) -> Float[Tensor, "n"]:
    """Distance of every keypoint that counts in a fit from where the fitted body has it, in pixels of the photo.

    Args:
        fits: of the clip, view after view.
    """
    points = body.keypoints(roma.rotvec_to_rotmat(fits.rotvec), fits.betas)
    apart = (project(fits.camera, points) - clip.flat.xy).norm(dim=-1)
    in_photo = apart * clip.boxes.flatten(0, 1)[:, 2:] / RESOLUTION
    return in_photo[smplify.counted(clip.flat) > 0]


def draw(
    folder: str | PathLike[str], body: Body, prior: Mixture, lens: Camera, views: int = 4, frames: int = 100
) -> Path:
    """Write a clip of a drawn person, for where no real one is at hand: OpenPose's JSON (BODY_25), a folder a view.

    The body goes from the pose of the prior's first group to that of its third, before cameras in a circle around it.

    Args:
        folder: is made; holds a folder a view afterwards.
        lens: of all cameras, in pixels of the photo; its translation is where they see the body's pelvis.
        views: number of cameras.
        frames: number of moments.

    Returns:
        The folder.
    """
    way = (0.5 - 0.5 * torch.linspace(0, torch.pi, frames).cos())[:, None]
    first, last = prior.means[0].to(way), prior.means[2].to(way)
    poses = torch.lerp(first, last, way).reshape(frames, 23, 3)
    upright = roma.rotvec_to_rotmat(torch.tensor([torch.pi, 0.0, 0.0]))
    for view in range(views):
        turn = roma.rotvec_to_rotmat(torch.tensor([0.0, 2 * torch.pi * view / views, 0.0]))
        root = (upright @ turn).expand(frames, 1, 3, 3)
        rotmat = torch.cat([root, roma.rotvec_to_rotmat(poses)], dim=1)
        points = body.keypoints(rotmat, torch.zeros(frames, 10))[:, keypoints.OPENPOSE]
        seen = project(lens, points - points[:, 8:9])
        marked = torch.cat([seen, torch.ones_like(seen[..., :1])], dim=-1)
        place = Path(folder) / f"view{view + 1}"
        place.mkdir(parents=True, exist_ok=True)
        for frame, person in enumerate(marked.flatten(1).tolist()):
            file = place / f"drawn_{frame:012d}_keypoints.json"
            file.write_text(json.dumps({"people": [{"pose_keypoints_2d": person}]}))
    return Path(folder)
