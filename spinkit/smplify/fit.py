"""The two stages, from a start to a fit, and the judge that compares fits."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import roma
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from spinkit import camera as cameras
from spinkit import priors
from spinkit.body import Body, KeypointLayer, rotation_and_jacobian
from spinkit.camera import Camera
from spinkit.keypoints import ANNOTATED, Keypoints
from spinkit.priors import Mixture
from spinkit.smplify.evidence import counted, sound
from spinkit.smplify.objective import BODY_UNKNOWNS, BodyStage, CameraStage, View, robust
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
    chunks = range(0, max(1, len(start.rotvec)), settings.chunk)
    parts = [slice(i, i + settings.chunk) for i in chunks]
    return Fit.cat([_fit_chunk(layer, prior, keypoints[part], start[part], settings) for part in parts])


def _fit_chunk(
    layer: KeypointLayer, prior: Mixture, keypoints: Keypoints, start: Start, settings: SmplifySettings
) -> Fit:
    turned = _camera_stage(layer, keypoints, start, settings)
    camera = Camera(turned.unknowns[:, 3:], start.camera.focal, start.camera.center)
    rotvec = torch.cat([turned.unknowns[:, None, :3], start.rotvec[:, 1:]], dim=1)
    unknowns = torch.cat([rotvec.flatten(1), start.betas], dim=1)
    if settings.camera_moves:
        unknowns = torch.cat([unknowns, camera.translation], dim=1)
    stage = body_stage(layer, prior, keypoints, camera, start, settings)
    solved = _against_rivals(stage, settings.body_solver(stage, unknowns))
    return _record(stage, solved, turned, start, _too_few(keypoints, settings))


RIVAL_SOLVER = LevenbergMarquardt(steps=5, damping=0.1, shrink=0.4, plain=3000.0)
"""From the end of one valley into the next; it is near."""


def _against_rivals(stage: BodyStage, solved: Solution) -> Solution:
    """Where the prior's second component is close behind, see whether its valley is lower."""
    gap = stage.settings.rival_gap
    if not gap or len(stage.prior.means) < 2:
        return solved
    charge = stage.settings.pose_weight**2 * priors.charges(stage.prior, solved.unknowns[:, 3:72])
    lowest, component = charge.topk(2, dim=1, largest=False)
    rows = (lowest[:, 1] - lowest[:, 0] < gap).nonzero()[:, 0]
    if not len(rows):
        return solved
    some = stage.select(rows)
    tried = RIVAL_SOLVER(replace(some, component=component[rows, 1]), solved.unknowns[rows])
    energy = some.residuals(tried.unknowns).square().sum(1)
    better = energy < solved.energy[rows]
    won = rows[better]
    return Solution(
        unknowns=solved.unknowns.index_copy(0, won, tried.unknowns[better]),
        energy=solved.energy.index_copy(0, won, energy[better]),
        iterations=solved.iterations.index_add(0, rows, tried.iterations),
        converged=solved.converged,
    )


def _record(stage: BodyStage, solved: Solution, turned: Solution, start: Start, few: Tensor) -> Fit:
    settings = stage.settings
    translation = solved.unknowns[:, BODY_UNKNOWNS:] if settings.camera_moves else stage.translation
    finite = solved.unknowns.isfinite().all(1) & solved.energy.isfinite() & (translation[:, 2] > 0)
    usable = finite & ~few
    begun = torch.cat([start.rotvec.flatten(1), start.betas], dim=1)
    if settings.camera_moves:
        begun = torch.cat([begun, start.camera.translation], dim=1)
    unknowns = torch.where(usable[:, None], solved.unknowns, begun)
    translation = torch.where(usable[:, None], translation, start.camera.translation)
    terms = {name: term.square() for name, term in stage.terms(unknowns).items()}
    error = _mean_error(terms["keypoints"].unflatten(1, (-1, 2)).sum(-1), stage.view.weight, settings)
    return Fit(
        rotvec=unknowns[:, :72].unflatten(1, (24, 3)),
        betas=unknowns[:, 72:BODY_UNKNOWNS],
        camera=Camera(translation, start.camera.focal, start.camera.center),
        energy={name: term.sum(1) for name, term in terms.items()},
        error=torch.where(usable, error, torch.full_like(error, torch.inf)),
        iterations=turned.iterations + solved.iterations,
        usable=usable,
    )


def _too_few(keypoints: Keypoints, settings: SmplifySettings) -> Tensor:
    """`too_few`, of keypoints that are `sound`."""
    return (counted(keypoints) > 0).sum(1) < settings.min_keypoints


def _mean_error(square: Tensor, weight: Tensor, settings: SmplifySettings) -> Tensor:
    """Mean over the keypoints that count, from squared robust errors per keypoint."""
    if settings.absent_as_zero:
        return square.sum(1) / 49
    return square.sum(1) / (weight > 0).sum(1).clamp(min=1)


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
    points = _points(layer, start.rotvec, start.betas)
    translation = _robust_translation(points, keypoints, start.camera, settings)
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


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def some_keypoints(layer: KeypointLayer, points: tuple[int, ...]) -> KeypointLayer:
    """A layer of a few keypoints, made once: most batches have the same ones."""
    return layer.select(torch.tensor(points, dtype=torch.int64, device=layer.mass.device))


def body_stage(
    layer: KeypointLayer, prior: Mixture, keypoints: Keypoints, camera: Camera, start: Start, settings: SmplifySettings
) -> BodyStage:
    """The body stage of a fit as a problem for a solver.

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


@torch.no_grad()
def judge(
    body: Body,
    keypoints: Keypoints,
    rotvec: Float[Tensor, "batch 24 3"],
    betas: Float[Tensor, "batch 10"],
    settings: SmplifySettings | None = None,
) -> tuple[Camera, Float[Tensor, "batch"]]:
    """The reprojection error of given bodies, each under the camera that suits it best.

    Two fits of one sample are compared fairly only if they are judged alike. The released code gives the stored one
    a least-squares camera and the new one the camera stage's; here both get a camera by robust least squares.

    Returns:
        The cameras, and px^2 a sample: the mean robust error of the keypoints that count. Infinite where keypoints
        are too few, or the body would have to stand behind the camera.
    """
    points = _points(body.keypoints_only(), rotvec, betas)
    return _judged(points, sound(keypoints), settings or SmplifySettings())


@torch.no_grad()
def errors(
    body: Body,
    keypoints: Keypoints,
    rotvec: Float[Tensor, "batch 24 3"],
    betas: Float[Tensor, "batch 10"],
    settings: Sequence[SmplifySettings],
) -> list[Float[Tensor, "batch"]]:
    """The errors by `judge` under several settings, for bodies that are posed once."""
    points, keypoints = _points(body.keypoints_only(), rotvec, betas), sound(keypoints)
    return [_judged(points, keypoints, each)[1] for each in settings]


def _judged(points: Tensor, keypoints: Keypoints, settings: SmplifySettings) -> tuple[Camera, Tensor]:
    camera = cameras.crop_camera(points.new_zeros(points.shape[0], 3))
    camera = cameras.crop_camera(_robust_translation(points, keypoints, camera, settings))
    weight = counted(keypoints)
    pixels = cameras.project(camera, points) - keypoints.xy
    square = (weight[..., None] * robust(pixels, settings.robust_scale)).square().sum(-1)
    error = _mean_error(square, weight, settings)
    bad = _too_few(keypoints, settings) | (camera.translation[:, 2] <= 0) | ~error.isfinite()
    return camera, torch.where(bad, torch.full_like(error, torch.inf), error)


def _points(layer: KeypointLayer, rotvec: Tensor, betas: Tensor) -> Float[Tensor, "batch 49 3"]:
    rotmat, _ = rotation_and_jacobian(rotvec.permute(1, 2, 0))
    return layer.posed(rotmat, betas.T).positions()


def _robust_translation(
    points: Tensor, keypoints: Keypoints, camera: Camera, settings: SmplifySettings
) -> Float[Tensor, "batch 3"]:
    """The translation under which points fall best on keypoints; outliers are let go of in rounds."""
    # Hips are where they are for the camera, though bodies are not fitted to them.
    weight = counted(keypoints)
    trust = torch.cat([weight[:, : ANNOTATED.start], keypoints.confidence[:, ANNOTATED]], dim=1).square()
    return cameras.solve_translation_robustly(points, keypoints.xy, trust, settings.robust_scale, camera)


def distance_from_start(
    prior: Mixture, start: Float[Tensor, "batch 24 3"], rotvec: Float[Tensor, "batch 24 3"], settings: SmplifySettings
) -> Float[Tensor, "batch"]:
    """What the objective charges poses for leaving their start: px^2, as weighed, summed over joints."""
    turn = roma.rotvec_geodesic_distance(rotvec[:, 0], start[:, 0])
    pose, begun = rotvec[:, 1:].flatten(1), start[:, 1:].flatten(1)
    away = priors.whitened(prior, pose - begun, priors.winner(prior, begun))
    return settings.turn_weight**2 * turn.square() + 0.5 * settings.start_weight**2 * away.square().sum(1)
