"""Scores of bodies, fits and regressors under a protocol."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from tqdm import tqdm

from spinkit import metrics
from spinkit.body import Body
from spinkit.crop import Change
from spinkit.data import Samples, Truth, make_batch
from spinkit.evaluate.protocols import LSP14, Protocol
from spinkit.hmr import Regression, normalise

CHUNK = 64
"""Bodies that are posed at a time; 64 meshes with their intermediate steps stay below 100 MB."""


@dataclass(frozen=True)
class Scores:
    """What every body scored, under one protocol. Metres; shares between 0 and 1."""

    protocol: Protocol
    bodies: str
    """Which body model posed either side, in words."""
    mpjpe: Float[Tensor, "n"]
    pa_mpjpe: Float[Tensor, "n"]
    pck150: Float[Tensor, "n"]
    auc: Float[Tensor, "n"]
    pa_pck150: Float[Tensor, "n"]
    """PCK after the alignment of PA-MPJPE."""
    pa_auc: Float[Tensor, "n"]
    pve: Float[Tensor, "n"] | None = None
    """Only where surfaces were compared, which needs the truth's SMPL parameters."""

    def __len__(self) -> int:
        return len(self.mpjpe)

    def means(self) -> dict[str, float]:
        """The mean of every measure over the bodies, by its field's name."""
        names = ("mpjpe", "pa_mpjpe", "pve", "pck150", "auc", "pa_pck150", "pa_auc")
        return {name: getattr(self, name).mean().item() for name in names if getattr(self, name) is not None}

    def rows(self) -> list[tuple[str, float, str]]:
        """Rows for printing: measure with its whole protocol, mean in millimetres or per cent, unit."""
        points, counted = self.protocol.name, self.protocol.counted_name
        rooted, aligned = self.protocol.alignment, "similarity alignment of each body"
        labels = {
            "mpjpe": (f"MPJPE, {points}, {rooted}", 1000, "mm"),
            "pa_mpjpe": (f"PA-MPJPE, {points}, {aligned}", 1000, "mm"),
            "pve": (f"PVE, all vertices, {rooted}", 1000, "mm"),
            "pck150": (f"PCK at 150 mm, {counted}, {rooted}", 100, "%"),
            "auc": (f"AUC from 0 to 150 mm, {counted}, {rooted}", 100, "%"),
            "pa_pck150": (f"PA-PCK at 150 mm, {counted}, {aligned}", 100, "%"),
            "pa_auc": (f"PA-AUC from 0 to 150 mm, {counted}, {aligned}", 100, "%"),
        }
        parts = ((*labels[name], mean) for name, mean in self.means().items())
        return [(f"{label}, {self.bodies}", mean * factor, unit) for label, factor, unit, mean in parts]

    def __str__(self) -> str:
        lines = [f"{label}: {value:.1f} {unit}" for label, value, unit in self.rows()]
        return "\n".join([*lines, f"over {len(self)} bodies"])


@dataclass(frozen=True)
class Genders:
    """The models that pose a truth which was fitted with them, as that of 3DPW."""

    male: Body
    female: Body
    is_male: Bool[Tensor, "n"]


def score_bodies(
    body: Body,
    rotmat: Float[Tensor, "n 24 3 3"],
    betas: Float[Tensor, "n 10"],
    truth: Truth,
    protocol: Protocol = LSP14,
    surface: bool = False,
) -> Scores:
    """Compares bodies with the truth.

    Where the truth knows SMPL parameters, its points come through the same body and the same regressor as the
    predicted ones. Elsewhere its measured 3D joints are used.

    Args:
        body: poses both sides.
        rotmat: predicted rotations.
        betas: predicted shapes.
        truth: what is known of the same bodies in the same order.
        protocol: which points and which alignment.
        surface: whether to compare vertices too, which is slower and needs SMPL parameters for every body.

    Raises:
        ValueError: when there is no body, or too little is known of one for the protocol.
    """
    said = Regression(rotmat, betas, betas.new_zeros(len(betas), 3))
    _refuse_unknown(said, truth, protocol, surface)
    known = "by it where it was fitted, elsewhere measured"
    if truth.has_smpl.all() or not truth.has_smpl.any():
        known = "by it too" if truth.has_smpl.all() else "measured"
    scores = _Judge(body, body, protocol, surface).scores(said, truth)
    return Scores(protocol, f"posed by {body.name}, truth {known}", **scores)


def score_gendered(
    body: Body, said: Regression, truth: Truth, genders: Genders, protocol: Protocol, surface: bool = False
) -> Scores:
    """Compares bodies with a truth that other models pose, by each person's gender.

    Args:
        body: poses what is predicted.
        said: the predictions.
        truth: SMPL parameters of every body.
        genders: the models of the truth, and which applies.
        protocol: which points and which alignment.
        surface: whether to compare vertices too.

    Raises:
        ValueError: when there is no body, or SMPL parameters of one are missing.
    """
    _refuse_unknown(said, truth, protocol, surface, posed=True)
    pairs = ((genders.is_male, genders.male), (~genders.is_male, genders.female))
    parts, order = [], []
    for chosen, model in pairs:
        if chosen.any():
            some = Regression(said.rotmat[chosen], said.betas[chosen], said.weak[chosen])
            parts.append(_Judge(body, model, protocol, surface).scores(some, truth[chosen]))
            order.append(chosen.nonzero()[:, 0])
    back = torch.cat(order).argsort()
    scores = {name: torch.cat([part[name] for part in parts])[back] for name in parts[0]}
    return Scores(protocol, f"posed by {body.name}, truth by {genders.male.name} or {genders.female.name}", **scores)


def score_fits(
    body: Body,
    rotvec: Float[Tensor, "n 24 3"],
    betas: Float[Tensor, "n 10"],
    truth: Truth,
    protocol: Protocol = LSP14,
    surface: bool = False,
) -> Scores:
    """`score_bodies` for rotation vectors, which is how fits are stored."""
    return score_bodies(body, roma.rotvec_to_rotmat(rotvec), betas, truth, protocol, surface)


def score_model(
    model: nn.Module,
    samples: Samples,
    body: Body,
    protocol: Protocol = LSP14,
    batch: int = 256,
    size: int = 224,
    surface: bool = False,
) -> Scores:
    """Scores a regressor on the hidden truth of a set.

    Args:
        model: images to `Regression`, such as `hmr.HMR`; comes back in the mode in which it was.
        samples: people with a `judge`.
        body: poses both sides.
        protocol: which points and which alignment.
        batch: images at a time.
        size: pixels of the crops that the model takes: 224, or 64 for `small`.
        surface: whether to compare vertices too.

    Raises:
        ValueError: when the set has no hidden truth.
    """
    if samples.judge is None:
        raise ValueError(f"{samples.name} has no hidden truth (judge is None), so nothing can be measured on it")
    device = body.v_template.device
    answer = regress(model, samples, batch, size)
    rotmat, betas = answer.rotmat.to(device), answer.betas.to(device)
    return score_bodies(body, rotmat, betas, samples.judge.to(device), protocol, surface)


def regress(
    model: nn.Module, samples: Samples, batch: int = 256, size: int = 224, progress: bool = False
) -> Regression:
    """What a regressor says of every sample as stored, without augmentation or dropout."""
    device = next(model.parameters()).device
    answers = []
    with _judging(model), torch.no_grad():
        for key in tqdm(torch.arange(len(samples)).split(batch), desc="batches", unit="", disable=not progress):
            image = make_batch(samples, key, Change.none(len(key), device), size).image
            answers.append(model(normalise(image)))
    return Regression(
        torch.cat([answer.rotmat for answer in answers]),
        torch.cat([answer.betas for answer in answers]),
        torch.cat([answer.weak for answer in answers]),
    )


@contextmanager
def _judging(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards every layer is back in its own mode, frozen ones included."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _refuse_unknown(said: Regression, truth: Truth, protocol: Protocol, surface: bool, posed: bool = False) -> None:
    """Refuse what cannot be compared; `posed` truth needs SMPL parameters whatever was measured."""
    if len(said.betas) == 0 or len(said.betas) != len(truth):
        raise ValueError(f"got {len(said.betas)} bodies and the truth of {len(truth)}; give one of each, at least one")
    known = truth.has_smpl if surface or posed else truth.has_smpl | _is_measured(truth, protocol)
    if not known.all():
        all_points = f"SMPL parameters or all of the {protocol.name} and the root"
        raise ValueError(
            f"{(~known).sum().item()} of {len(known)} bodies lack "
            f"{'SMPL parameters' if surface or posed else all_points}, the first is number "
            f"{(~known).nonzero()[0].item()}; leave them out with samples.subset"
        )


def _is_measured(truth: Truth, protocol: Protocol) -> Bool[Tensor, "n"]:
    """Where all points that the protocol asks for were measured."""
    needed = [*protocol.measured_joints, *protocol.measured_root]
    return truth.has_pose_3d & (truth.joints[:, needed, 3] > 0).all(dim=1)


@dataclass(frozen=True)
class _Judge:
    """One comparison: who poses either side, and how they are compared."""

    body: Body
    truth_body: Body
    protocol: Protocol
    surface: bool

    def scores(self, said: Regression, truth: Truth) -> dict[str, Float[Tensor, "n"]]:
        """The measures of every body, by their field in `Scores`."""
        with torch.no_grad():
            parts = [
                self._chunk(said.rotmat[at], said.betas[at], truth[at])
                for at in torch.arange(len(truth), device=said.betas.device).split(CHUNK)
            ]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _chunk(
        self, rotmat: Float[Tensor, "n 24 3 3"], betas: Float[Tensor, "n 10"], truth: Truth
    ) -> dict[str, Float[Tensor, "n"]]:
        protocol, true_rotmat = self.protocol, roma.rotvec_to_rotmat(truth.rotvec)
        predicted = _scored_points(protocol.points(self.body, rotmat, betas), protocol.joints, protocol.root)
        modelled = protocol.points(self.truth_body, true_rotmat, truth.betas)
        modelled = _scored_points(modelled, protocol.joints, protocol.root)
        measured = _scored_points(truth.joints[..., :3], protocol.measured_joints, protocol.measured_root)
        true = torch.where(truth.has_smpl[:, None, None], modelled, measured)
        scores = _joint_scores(predicted, true, protocol.counted)
        if self.surface:
            pairs = ((self.body, rotmat, betas, predicted), (self.truth_body, true_rotmat, truth.betas, true))
            scores["pve"] = metrics.pve(*(who.vertices(r, b) - points[:, -1:] for who, r, b, points in pairs))
        return scores


def _joint_scores(
    predicted: Float[Tensor, "n points 3"], true: Float[Tensor, "n points 3"], counted: int | None
) -> dict[str, Float[Tensor, "n"]]:
    """Every measure of joints; the root is the last point, and is not scored."""
    root, joints = (predicted.shape[1] - 1,), tuple(range(predicted.shape[1] - 1))
    aligned = metrics.aligned(predicted[:, :-1], true[:, :-1])
    left = (aligned - true[:, :-1]).norm(dim=-1)
    return {
        "mpjpe": metrics.mpjpe(predicted, true, root, joints),
        "pa_mpjpe": left.mean(dim=-1),
        "pck150": metrics.pck(predicted, true, root, joints[:counted]),
        "auc": metrics.auc(predicted, true, root, joints[:counted]),
        "pa_pck150": metrics.share_within(left[:, :counted]),
        "pa_auc": metrics.area_under(left[:, :counted]),
    }


def _scored_points(
    points: Float[Tensor, "n points 3"], joints: tuple[int, ...], root: tuple[int, ...]
) -> Float[Tensor, "n scored_and_root 3"]:
    """The scored points and, last, the root: one order for points that came in different ones."""
    centre = points[:, list(root)].mean(dim=1, keepdim=True)
    return torch.cat([points[:, list(joints)], centre], dim=1)
