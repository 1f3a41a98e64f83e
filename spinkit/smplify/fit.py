"""The two stages, from a start to a fit."""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from spinkit import priors
from spinkit.body import Body, KeypointLayer, rotation_and_jacobian
from spinkit.camera import Camera
from spinkit.keypoints import Keypoints
from spinkit.priors import Mixture
from spinkit.smplify.evidence import counted, scarce, sound
from spinkit.smplify.hidden import by_feet, left_to_prior
from spinkit.smplify.judging import mean_error, points_of, robust_translation, some_keypoints
from spinkit.smplify.objective import BodyStage, CameraStage, View
from spinkit.smplify.settings import TORSO, TORSO_ANNOTATED, SmplifySettings
from spinkit.solvers import LevenbergMarquardt, Solution


@dataclass(frozen=True)
class Start:
    """Where a fit begins."""

    rotvec: Float[Tensor, "batch 24 3"]
    """Radians; the first turns the whole body."""
    betas: Float[Tensor, "batch 10"]
    camera: Camera

    def __getitem__(self, index: slice | Tensor) -> "Start":
        return Start(self.rotvec[index], self.betas[index], self.camera[index])


@dataclass(frozen=True)
class Fit:
    """What a fit found."""

    rotvec: Float[Tensor, "batch 24 3"]
    betas: Float[Tensor, "batch 10"]
    camera: Camera
    energy: dict[str, Float[Tensor, "batch"]]
    """Of the body stage, by term: keypoints, pose, bending, shape; start where the settings tie the fit to it, depth
    where the camera moves. Pixels squared, as weighed."""
    error: Float[Tensor, "batch"]
    """Robust reprojection error, px^2, a mean over the keypoints that count; infinite where `usable` is false."""
    iterations: Int[Tensor, "batch"]
    """Of both stages."""
    usable: Bool[Tensor, "batch"]
    """False where there were too few keypoints, or a number became infinite; the start is then returned."""

    def __len__(self) -> int:
        return len(self.rotvec)

    def __getitem__(self, index: slice | Tensor) -> "Fit":
        parts = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "energy"}
        energy = {name: value[index] for name, value in self.energy.items()}
        return Fit(energy=energy, **{name: value[index] for name, value in parts.items()})

    @property
    def total(self) -> Float[Tensor, "batch"]:
        """The whole objective of the body stage."""
        return torch.stack(list(self.energy.values())).sum(0)

    @staticmethod
    def cat(fits: list["Fit"]) -> "Fit":
        """Several batches of fits as one."""

        def join(*path: str) -> Tensor:
            values = fits
            for name in path:
                values = [getattr(value, name) for value in values]
            return torch.cat(values)

        # Fits of other settings may lack a term, which then costs them nothing.
        terms = dict.fromkeys(name for fit in fits for name in fit.energy)
        return Fit(
            rotvec=join("rotvec"),
            betas=join("betas"),
            camera=Camera(join("camera", "translation"), join("camera", "focal"), join("camera", "center")),
            energy={name: torch.cat([f.energy.get(name, torch.zeros_like(f.error)) for f in fits]) for name in terms},
            error=join("error"),
            iterations=join("iterations"),
            usable=join("usable"),
        )

    def choose(self, where: Bool[Tensor, "batch"], other: "Fit") -> "Fit":
        """This fit where the mask holds, the other elsewhere."""
        both = Fit.cat([self, other])
        rows = torch.arange(len(self), device=where.device)
        return both[torch.where(where, rows, rows + len(self))]


@torch.no_grad()
def fit(
    body: Body,
    prior: Mixture,
    keypoints: Keypoints,
    start: Start,
    settings: SmplifySettings | None = None,
) -> Fit:
    """Fit bodies to keypoints in two stages: first the camera and the body's orientation, then pose and shape.

    Joints that no keypoint of a person sees are not searched for: see `SmplifySettings.solve_hidden`.

    Args:
        body: any body with keypoints.
        prior: the pose prior.
        keypoints: crop pixels, (batch 49 2); a confidence of zero means missing.
        start: where to begin; its camera's focal length and centre are kept.
        settings: weights and solvers.

    Returns:
        One fit a sample. Samples that cannot be fitted are flagged, never raised for: see `Fit.usable`.

    Raises:
        ValueError: the body has no keypoints.
    """
    settings, keypoints = settings or SmplifySettings(), sound(keypoints)
    layer = body.keypoints_only()
    groups = by_feet(layer, keypoints, settings)
    parts = [rows[i : i + settings.chunk] for rows in groups for i in range(0, max(1, len(rows)), settings.chunk)]
    if len(parts) == 1:
        return _fit_chunk(layer, prior, keypoints, start, settings)
    found = Fit.cat([_fit_chunk(layer, prior, keypoints[part], start[part], settings) for part in parts])
    return found if len(groups) == 1 else found[torch.cat(groups).argsort()]


def _fit_chunk(
    layer: KeypointLayer, prior: Mixture, keypoints: Keypoints, start: Start, settings: SmplifySettings
) -> Fit:
    turned = _camera_stage(layer, keypoints, start, settings)
    camera = Camera(turned.unknowns[:, 3:], start.camera.focal, start.camera.center)
    placed = torch.cat([turned.unknowns[:, None, :3], start.rotvec[:, 1:]], dim=1)
    whole = body_stage(layer, prior, keypoints, camera, start, settings)
    hidden = left_to_prior(layer, prior, keypoints, settings)
    stage = whole if hidden is None else whole.leaving(hidden)
    begun = stage.pack(placed, start.betas, camera.translation)
    solved = _against_rivals(stage, settings.body_solver(stage, begun))
    rotvec, betas, translation = stage.unpack(solved.unknowns)
    # Where no step was taken, hidden joints stay as well.
    rotvec = torch.where((solved.iterations > 0)[:, None, None], rotvec, placed)
    ended = Start(rotvec, betas, replace(camera, translation=translation))
    failed = ~solved.energy.isfinite() | scarce(keypoints, settings)
    return _record(whole, ended, turned.iterations + solved.iterations, start, failed)


RIVAL_SOLVER = LevenbergMarquardt(steps=2, damping=0.1, shrink=0.4, plain=3000.0)
"""From the end of one valley into the next; it is near."""


def _against_rivals(stage: BodyStage, solved: Solution) -> Solution:
    """Where the prior's second component is close behind, see whether its valley is lower."""
    gap = stage.settings.rival_gap
    if not gap or len(stage.prior.means) < 2:
        return solved
    charge = stage.settings.pose_weight**2 * priors.charges(stage.prior, solved.unknowns[:, 3 : stage.turning])
    lowest, component = charge.topk(2, dim=1, largest=False)
    rows = (lowest[:, 1] - lowest[:, 0] < gap).nonzero()[:, 0]
    if not len(rows):
        return solved
    some = stage.select(rows)
    tried = RIVAL_SOLVER(replace(some, component=component[rows, 1]), solved.unknowns[rows])
    # Held to a component, a sample may cost more than it has to, and never less.
    better = tried.energy < solved.energy[rows]
    won = rows[better]
    return Solution(
        unknowns=solved.unknowns.index_copy(0, won, tried.unknowns[better]),
        energy=solved.energy.index_copy(0, won, tried.energy[better]),
        iterations=solved.iterations.index_add(0, rows, tried.iterations),
        converged=solved.converged,
    )


def _record(stage: BodyStage, ended: Start, iterations: Tensor, start: Start, failed: Tensor) -> Fit:
    settings = stage.settings
    body = (ended.rotvec, ended.betas, ended.camera.translation)
    begun = (start.rotvec, start.betas, start.camera.translation)
    finite = torch.stack([part.flatten(1).isfinite().all(1) for part in (*body, *begun)]).all(0)
    usable = finite & (ended.camera.translation[:, 2] > 0) & ~failed
    rotvec, betas, translation = (
        torch.where(usable.view(-1, *[1] * (one.dim() - 1)), one, other) for one, other in zip(body, begun, strict=True)
    )
    unknowns = stage.pack(rotvec, betas, translation)
    terms = {name: term.square() for name, term in stage.terms(unknowns).items()}
    error = mean_error(terms["keypoints"].unflatten(1, (-1, 2)).sum(-1), stage.view.weight, settings)
    return Fit(
        rotvec=rotvec,
        betas=betas,
        camera=Camera(translation, start.camera.focal, start.camera.center),
        energy={name: term.sum(1) for name, term in terms.items()},
        error=torch.where(usable, error, torch.full_like(error, torch.inf)),
        iterations=iterations,
        usable=usable,
    )


def _camera_stage(layer: KeypointLayer, keypoints: Keypoints, start: Start, settings: SmplifySettings) -> Solution:
    if settings.camera_solver is None:
        return _best_camera(layer, keypoints, start, settings)
    detected, view = _torso(keypoints, start.camera, settings)
    upright = torch.cat([torch.zeros_like(start.rotvec[:, :1]), start.rotvec[:, 1:]], dim=1)
    rotmat, _ = rotation_and_jacobian(upright.permute(1, 2, 0))
    posed = some_keypoints(layer, TORSO + TORSO_ANNOTATED).posed(rotmat, start.betas.T)
    ours, theirs = posed.positions().split(len(TORSO), dim=1)
    positions = torch.where(detected[:, None, None], ours, theirs)
    translation = start.camera.translation
    stage = CameraStage(
        view=view,
        offsets=positions - posed.pelvis.T[:, None],
        pelvis=posed.pelvis.T,
        depth=translation[:, 2],
        turn=start.rotvec[:, 0],
        depth_weight=settings.depth_weight,
        turn_weight=settings.turn_weight,
    )
    return settings.camera_solver(stage, torch.cat([start.rotvec[:, 0], translation], dim=1))


def _best_camera(layer: KeypointLayer, keypoints: Keypoints, start: Start, settings: SmplifySettings) -> Solution:
    """The start as it is, under the camera that suits it best: what is left of the camera stage without a solver."""
    points = points_of(layer, start.rotvec, start.betas)
    translation = robust_translation(points, keypoints, start.camera, settings.robust_scale)
    translation = torch.where(translation[:, 2:] > 0, translation, start.camera.translation)
    none = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    unknowns = torch.cat([start.rotvec[:, 0], translation], dim=1)
    return Solution(unknowns, torch.zeros_like(points[:, 0, 0]), none, none > 0)


def _torso(keypoints: Keypoints, camera: Camera, settings: SmplifySettings) -> tuple[Tensor, View]:
    """Whether the camera stage uses the detected four or the annotated, sample by sample, and what the photo says."""
    seen = (keypoints.confidence[:, _TORSOS] > 0).unflatten(1, (2, -1))
    prefer = seen[:, 0].all(1) & settings.hips_in_camera_stage
    xy = keypoints.xy[:, _TORSOS].unflatten(1, (2, -1))
    xy = torch.where(prefer[:, None, None], xy[:, 0], xy[:, 1])
    weight = torch.ones_like(xy[..., 0])
    if not settings.missing_torso_counts:
        weight = torch.where(prefer[:, None], seen[:, 0], seen[:, 1]).to(weight)
    return prefer, View(xy, weight, camera.focal, camera.center)


_TORSOS = list(TORSO + TORSO_ANNOTATED)


def body_stage(
    layer: KeypointLayer, prior: Mixture, keypoints: Keypoints, camera: Camera, start: Start, settings: SmplifySettings
) -> BodyStage:
    """The body stage of a fit as a problem for a solver, with every joint an unknown.

    Args:
        layer: of all 49 keypoints.
        camera: where it stands, or where it starts from.
        start: to which the settings may tie the pose.
    """
    confidence = counted(keypoints)
    # Keypoints that nobody in the batch has cost time and change nothing.
    used = (confidence > 0).any(0).nonzero()[:, 0]
    pose = start.rotvec.flatten(1)
    return BodyStage(
        layer=some_keypoints(layer, tuple(used.tolist())),
        prior=prior,
        view=View(keypoints.xy[:, used], confidence[:, used], camera.focal, camera.center),
        translation=camera.translation,
        start=pose,
        near=priors.winner(prior, pose[:, 3:]),
        settings=settings,
    )
