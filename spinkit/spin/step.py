"""One step of the loop: regress, fit, keep the better fit, and be supervised by it."""

from dataclasses import dataclass, field, replace

import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from spinkit import camera as cameras
from spinkit import hmr, smplify
from spinkit.body import Body
from spinkit.data import Batch
from spinkit.fits import ACCEPTED, REJECTED, FitDictionary, Verdict
from spinkit.hmr import Regression
from spinkit.keypoints import ANNOTATED, OPENPOSE, Keypoints
from spinkit.priors import Mixture
from spinkit.smplify import Fit, SmplifySettings, Start
from spinkit.spin import guards
from spinkit.spin.settings import SpinSettings

LEAST_SCALE = 0.1
"""A regressed camera with a smaller scale, or a negative one, would put the fit's start kilometres away."""


@dataclass(frozen=True)
class World:
    """What every step needs and none changes."""

    body: Body
    prior: Mixture
    settings: SpinSettings

    def to(self, device: torch.device | str) -> "World":
        """The same on another device."""
        return replace(self, body=self.body.to(device), prior=self.prior.to(device))


@dataclass(frozen=True)
class Target:
    """What supervises the network."""

    rotmat: Float[Tensor, "b 24 3 3"]
    betas: Float[Tensor, "b 10"]
    valid: Bool[Tensor, "b"]
    """Where pose and shape are trusted; elsewhere only keypoints supervise."""


@dataclass(frozen=True)
class Outcome:
    """What a step did, for the history."""

    losses: dict[str, Tensor]
    """Unweighed, by name; `total` is what descends."""
    updated: Bool[Tensor, "b"]
    """Whose stored fit was replaced."""
    valid: Bool[Tensor, "b"]
    old_error: Float[Tensor, "b"]
    """Of the stored fits, px^2, in these crops."""
    new_error: Float[Tensor, "b"]
    """Of the new fits; infinite where none was made."""
    applied: bool = True
    """False where loss or gradient was not finite, or no sample was left, so that no weight changed."""
    refused: dict[int, str] = field(default_factory=dict)
    """Why samples were left out of losses and fits, by their numbers; the fields above are of the others."""


def step(model: nn.Module, batch: Batch, fits: FitDictionary, world: World, number: int) -> Outcome:
    """Regress a batch, improve its fits, and return the losses; the caller descends.

    A sample whose own numbers are not finite is left out of all this. Fits are kept even where the loss or its gradient
    turns out not to be finite: each was judged by its own keypoints, of which the gradient says nothing.

    Args:
        model: the regressor, in training mode.
        batch: augmented samples.
        fits: the dictionary, which is written to in the mode `loop`.
        world: body, prior and settings.
        number: of the step, for the dictionary's history.
    """
    batch, _ = guards.leave_out(batch, guards.input_faults(batch, world.settings.keypoint_limit))
    if not len(batch):
        return _nothing_left(batch)
    device = batch.image.device.type
    with torch.autocast(device, torch.bfloat16, enabled=world.settings.bfloat16 and bfloat16_in_hardware(device)):
        said = model(hmr.normalise(batch.image))
    said = Regression(said.rotmat.float(), said.betas.float(), said.weak.float())
    batch, rows = guards.leave_out(batch, guards.answer_faults(said.detach()))
    if not len(batch):
        return _nothing_left(batch)
    if rows is not None:
        said = Regression(said.rotmat[rows], said.betas[rows], said.weak[rows])
    target, old_error, new_error, updated = supervise(said.detach(), batch, fits, world, number)
    found = losses(said, target, batch, world)
    return Outcome(found, updated, target.valid, old_error, new_error, refused=batch.refused)


def _nothing_left(batch: Batch) -> Outcome:
    """The outcome of a step all of whose samples were left out: nothing to follow."""
    none = batch.image.new_zeros(0)
    total = batch.image.new_full((), torch.nan)
    return Outcome({"total": total}, none > 0, none > 0, none, none, applied=False, refused=batch.refused)


def bfloat16_in_hardware(device: str) -> bool:
    """Whether a kind of device multiplies in bfloat16 itself: emulated, it is slower than float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


@torch.no_grad()
def supervise(
    said: Regression, batch: Batch, fits: FitDictionary, world: World, number: int
) -> tuple[Target, Tensor, Tensor, Tensor]:
    """The target of a batch: the stored fits, bettered where the new ones are better, and labels above both."""
    settings = world.settings
    rotvec, betas = fits.read(batch.key, batch.change)
    ruling = fits.rulings(batch.key)
    if settings.mode == "loop" and number >= settings.first_fit_step:
        start = start_from(said)
        new = smplify.fit(world.body, world.prior, batch.keypoints, start, settings.fit)
        verdict = _compare(Bodies(rotvec, betas), new, start, batch, world)
        updated = fits.write(batch.key, batch.change, new.rotvec, new.betas, verdict, number)
        rotvec = torch.where(updated[:, None, None], new.rotvec, rotvec)
        betas = torch.where(updated[:, None], new.betas, betas)
        old_error, new_error = verdict.before, verdict.after
    else:
        _, old_error = smplify.judge(world.body, batch.keypoints, rotvec, betas, judging(settings.fit))
        new_error = torch.full_like(old_error, torch.inf)
        updated = torch.zeros_like(old_error, dtype=torch.bool)
    error = torch.where(updated, new_error, old_error)
    if ruling is not None:
        error = _ruled(error, ruling, updated)
    return _target(rotvec, betas, error, batch, settings), old_error, new_error, updated


def _ruled(error: Tensor, ruling: Tensor, updated: Tensor) -> Tensor:
    """Errors as the threshold is to see them: an accepted fit passes any, a rejected one that still stands, none."""
    error = torch.where(ruling == ACCEPTED, -torch.inf, error)
    return torch.where((ruling == REJECTED) & ~updated, torch.inf, error)


@dataclass(frozen=True)
class Bodies:
    """Poses and shapes, turned into the crops of a batch."""

    rotvec: Float[Tensor, "b 24 3"]
    betas: Float[Tensor, "b 10"]


def _compare(stored: Bodies, new: Fit, start: Start, batch: Batch, world: World) -> Verdict:
    """Which of two fits of every sample is better.

    Both are judged in this crop by the same rule; the camera stage's own camera would favour the new one. All are
    judged at once, since twice as many hardly take longer.
    """
    settings = world.settings
    twice = torch.arange(len(new), device=new.rotvec.device).repeat(2)
    keypoints = batch.keypoints[twice]
    rotvec, betas = torch.cat([stored.rotvec, new.rotvec]), torch.cat([stored.betas, new.betas])
    rules = [judging(settings.fit), settings.fit][: 2 if settings.judge == "objective" else 1]
    error, *own = smplify.errors(world.body, keypoints, rotvec, betas, rules)
    before, after = error.chunk(2)
    after = torch.where(new.usable, after, torch.full_like(after, torch.inf))
    better = after < before
    if own:
        old_charge, new_charge = (own[0] + leaving(rotvec, start.rotvec[twice], keypoints, world)).chunk(2)
        better = new.usable & (new_charge < old_charge)
    return Verdict(before, after, better)


def judging(fit: SmplifySettings) -> SmplifySettings:
    """How fits are judged: as they are made, but with SMPLify's robust scale, for which the threshold is meant."""
    return replace(fit, robust_scale=SmplifySettings().robust_scale)


def charge(bodies: Bodies, start: Float[Tensor, "b 24 3"], keypoints: Keypoints, world: World) -> Float[Tensor, "b"]:
    """What the loop's fit charges bodies for missing their keypoints and for leaving the regressed pose, px^2.

    With the fit's own robust scale: under a larger one, a wrong body that reaches for an outlier wins over a right
    one that lets go of it.
    """
    (error,) = smplify.errors(world.body, keypoints, bodies.rotvec, bodies.betas, [world.settings.fit])
    return error + leaving(bodies.rotvec, start, keypoints, world)


def leaving(
    rotvec: Float[Tensor, "b 24 3"], start: Float[Tensor, "b 24 3"], keypoints: Keypoints, world: World
) -> Float[Tensor, "b"]:
    """The part of `charge` that is for leaving the regressed pose."""
    away = smplify.distance_from_start(world.body, world.prior, keypoints, start, rotvec, world.settings.fit)
    return away / (smplify.counted(keypoints) > 0).sum(1).clamp(min=1)


def _target(rotvec: Tensor, betas: Tensor, error: Tensor, batch: Batch, settings: SpinSettings) -> Target:
    improbable = (betas.abs() > settings.betas_limit).any(dim=1)
    betas = torch.where(improbable[:, None], torch.zeros_like(betas), betas)
    # In the oracle's mode a fit may not stand in for the truth, even where that is unknown.
    valid = (error < settings.reprojection_threshold) & (settings.mode in ("static", "loop"))
    if settings.use_labels or settings.mode == "oracle":
        known = batch.labels.has_smpl
        rotvec = torch.where(known[:, None, None], batch.labels.rotvec, rotvec)
        betas = torch.where(known[:, None], batch.labels.betas, betas)
        valid = valid | known
    return Target(roma.rotvec_to_rotmat(rotvec), betas, valid)


def start_from(said: Regression) -> Start:
    """A fit's start from what the network said. Betas are held within what bodies come in."""
    scale = said.weak[:, :1].clamp(min=LEAST_SCALE)
    camera = cameras.from_weak(torch.cat([scale, said.weak[:, 1:]], dim=1))
    return Start(roma.rotmat_to_rotvec(said.rotmat), said.betas.clamp(-3, 3), camera)


def losses(said: Regression, target: Target, batch: Batch, world: World) -> dict[str, Tensor]:
    """The network's losses by name, and their weighed sum as `total`.

    Subsets that are empty give zero; `joints` is there only where labels are.

    Source: SPIN, train/trainer.py; the sum is 60 (5 L_2D + 5 L_3D + L_pose + 0.001 L_betas + L_sign).
    """
    s = world.settings
    points = world.body.keypoints(said.rotmat, said.betas)
    parts = {
        "keypoints": keypoint_loss(points, said.weak, batch.keypoints, s),
        "pose": _mean_where(target.valid, (said.rotmat - target.rotmat).square()),
        "betas": _mean_where(target.valid, (said.betas - target.betas).square()),
        # Keeps the camera in front: exp(-10 s)^2 explodes where the scale turns negative.
        "sign": torch.exp(-10 * said.weak[:, 0]).square().mean(),
    }
    if s.use_labels and batch.labels.has_pose_3d.any():
        parts["joints"] = joint_loss(points, batch)
    if s.point_weight > 0:
        parts["points"] = point_loss(points, target, world.body)
    if s.vertex_weight > 0:
        parts["vertices"] = vertex_loss(said, target, world.body)
    weights = loss_weights(s)
    total = s.loss_scale * sum(weights[name] * part for name, part in parts.items())
    return {**parts, "total": total}


def loss_weights(settings: SpinSettings) -> dict[str, float]:
    """What each of the `losses` weighs in their sum, before that is scaled."""
    s = settings
    return {
        "keypoints": s.keypoint_weight,
        "pose": s.pose_weight,
        "betas": s.betas_weight,
        "sign": 1.0,
        "joints": s.joint_weight,
        "points": s.point_weight,
        "vertices": s.vertex_weight,
    }


def keypoint_loss(
    points: Float[Tensor, "b 49 3"], weak: Float[Tensor, "b 3"], keypoints: Keypoints, settings: SpinSettings
) -> Float[Tensor, ""]:
    """Squared distance of projected keypoints, in half crops; a mean over all 49, in which missing ones are zeros."""
    half = cameras.RESOLUTION / 2
    away = (cameras.project(cameras.from_weak(weak), points) - keypoints.xy) / half
    weight = keypoints.confidence.clone()
    weight[:, OPENPOSE] *= settings.openpose_weight
    weight[:, ANNOTATED] *= settings.annotated_weight
    return (weight[..., None] * away.square()).mean()


def joint_loss(points: Float[Tensor, "b 49 3"], batch: Batch) -> Float[Tensor, ""]:
    """Squared distance of 3D joints in square metres, both centred between the hips, where they are known."""
    truth, seen = batch.labels.joints[..., :3], batch.labels.joints[..., 3:]
    away = _between_hips(points[:, ANNOTATED]) - _between_hips(truth)
    return _mean_where(batch.labels.has_pose_3d, seen * away.square())


def point_loss(points: Float[Tensor, "b 49 3"], target: Target, body: Body) -> Float[Tensor, ""]:
    """Squared distance of 3D keypoints to those of the target's body, in square metres, hips' midpoints together."""
    wanted = body.keypoints(target.rotmat, target.betas)
    away = _between_hips(points[:, ANNOTATED]) - _between_hips(wanted[:, ANNOTATED])
    return _mean_where(target.valid, away.square())


def _between_hips(joints: Float[Tensor, "b 24 3"]) -> Float[Tensor, "b 24 3"]:
    return joints - joints[:, [2, 3]].mean(dim=1, keepdim=True)


def vertex_loss(said: Regression, target: Target, body: Body) -> Float[Tensor, ""]:
    """Mean absolute distance of vertices in metres, where the target is valid."""
    away = body.vertices(said.rotmat, said.betas) - body.vertices(target.rotmat, target.betas)
    return _mean_where(target.valid, away.abs())


def _mean_where(mask: Bool[Tensor, "b"], values: Float[Tensor, "b ..."]) -> Float[Tensor, ""]:
    """Mean over the samples of a mask; zero, with a gradient of zero, where it is empty."""
    weight = mask.to(values.dtype)
    return (weight * values.flatten(1).mean(1)).sum() / weight.sum().clamp(min=1)
