"""The protocols, which say what is compared by which regressor under which alignment, and scores under them.

A joint error without these three says little: the hips of LSP and of Human3.6M are different points, and the
same bodies score tens of millimetres apart under different alignments. So scores carry their protocol, and
whatever is printed says it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from spinkit import keypoints, metrics
from spinkit.body import Body
from spinkit.crop import Change
from spinkit.data import Samples, Truth, make_batch
from spinkit.hmr import Regression, normalise

CHUNK = 64
"""Bodies that are posed at a time; 64 meshes with their intermediate steps stay below 100 MB."""


def keypoints49(body: Body, rotmat: Float[Tensor, "n 24 3 3"], betas: Float[Tensor, "n 10"]) -> Float[Tensor, "n 49 3"]:
    """SPIN's 49 keypoints."""
    return body.keypoints(rotmat, betas)


def h36m17(body: Body, rotmat: Float[Tensor, "n 24 3 3"], betas: Float[Tensor, "n 10"]) -> Float[Tensor, "n 17 3"]:
    """The 17 joints that Human3.6M's regressor finds on the mesh.

    Raises:
        ValueError: when the body came without that regressor.
    """
    if body.h36m_regressor is None:
        raise ValueError(
            f"{body.name} has no Human3.6M regressor. Put SPIN's J_regressor_h36m.npy beside the model file "
            "and load it again, or score under evaluate.LSP14, which needs none."
        )
    return body.h36m_regressor @ body.vertices(rotmat, betas)


@dataclass(frozen=True)
class Protocol:
    """How bodies are compared."""

    name: str
    """The scored points in words, as tables print them."""
    points: Callable[[Body, Tensor, Tensor], Tensor]
    """Body, rotmat, betas to points in metres: `keypoints49`, `h36m17` or your own."""
    joints: tuple[int, ...]
    """Which of these points are scored."""
    root: tuple[int, ...]
    """Which of them, averaged, is moved to the origin before errors are measured."""
    root_name: str
    """The root in words."""
    measured_joints: tuple[int, ...]
    """The scored points among the 24 of `Truth.joints`, for truth that was measured without a body model."""
    measured_root: tuple[int, ...]
    """The root among the 24 of `Truth.joints`."""

    def __post_init__(self):
        if len(self.joints) != len(self.measured_joints):
            raise ValueError(
                f"{self.name}: {len(self.joints)} joints but {len(self.measured_joints)} measured_joints; "
                "they must name the same points in the same order"
            )

    @property
    def alignment(self) -> str:
        """What is taken off before joint errors are measured."""
        return f"{self.root_name} at the origin"


LSP14 = Protocol(
    name="14 LSP keypoints",
    points=keypoints49,
    joints=keypoints.LSP14,
    root=(27, 28),
    root_name="midpoint of the annotated hips",
    measured_joints=tuple(range(14)),
    measured_root=(2, 3),
)
"""Needs no mesh. Not comparable with published numbers, whose joints come from Human3.6M's regressor."""

H36M17 = Protocol(
    name="17 joints by the Human3.6M regressor",
    points=h36m17,
    # Ankles to head in SPIN's order, then pelvis, spine and jaw.
    joints=(6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10, 0, 7, 9),
    root=(0,),
    root_name="pelvis",
    measured_joints=(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 18, 14, 16, 17),
    measured_root=(14,),
)
"""Of SPIN's MPI-INF-3DHP table."""

H36M14 = replace(
    H36M17,
    name="14 joints by the Human3.6M regressor",
    joints=H36M17.joints[:14],
    measured_joints=H36M17.measured_joints[:14],
)
"""Of SPIN's Human3.6M and 3DPW tables. The latter's truth is posed with male and female models: give their
joints as `Truth.joints`."""


@dataclass(frozen=True)
class Scores:
    """What every body scored, under one protocol. Metres; shares between 0 and 1."""

    protocol: Protocol
    mpjpe: Float[Tensor, "n"]
    pa_mpjpe: Float[Tensor, "n"]
    pck150: Float[Tensor, "n"]
    auc: Float[Tensor, "n"]
    pve: Float[Tensor, "n"] | None = None
    """Only where surfaces were compared, which needs the truth's SMPL parameters."""

    def __len__(self) -> int:
        return len(self.mpjpe)

    def means(self) -> dict[str, float]:
        """The mean of every measure over the bodies, by its field's name."""
        names = ("mpjpe", "pa_mpjpe", "pve", "pck150", "auc")
        return {name: getattr(self, name).mean().item() for name in names if getattr(self, name) is not None}

    def rows(self) -> list[tuple[str, float, str]]:
        """Rows for printing: measure with points and alignment, mean in millimetres or per cent, unit."""
        points, alignment = self.protocol.name, self.protocol.alignment
        labels = {
            "mpjpe": (f"MPJPE, {points}, {alignment}", 1000, "mm"),
            "pa_mpjpe": (f"PA-MPJPE, {points}, similarity alignment of each body", 1000, "mm"),
            "pve": (f"PVE, all vertices, {alignment}", 1000, "mm"),
            "pck150": (f"PCK at 150 mm, {points}, {alignment}", 100, "%"),
            "auc": (f"AUC from 0 to 150 mm, {points}, {alignment}", 100, "%"),
        }
        means = self.means().items()
        return [(labels[name][0], mean * labels[name][1], labels[name][2]) for name, mean in means]

    def __str__(self) -> str:
        lines = [f"{label}: {value:.1f} {unit}" for label, value, unit in self.rows()]
        return "\n".join([*lines, f"over {len(self)} bodies"])


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
    if len(rotmat) == 0 or len(rotmat) != len(truth):
        raise ValueError(f"got {len(rotmat)} bodies and the truth of {len(truth)}; give one of each, at least one")
    _refuse_unknown(truth, protocol, surface)
    with torch.no_grad():
        parts = [
            _score_chunk(body, rotmat[at], betas[at], truth[at], protocol, surface)
            for at in torch.arange(len(rotmat), device=rotmat.device).split(CHUNK)
        ]
    return Scores(protocol, **{name: torch.cat([part[name] for part in parts]) for name in parts[0]})


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


def regress(model: nn.Module, samples: Samples, batch: int = 256, size: int = 224) -> Regression:
    """What a regressor says of every sample as stored, without augmentation or dropout."""
    device = next(model.parameters()).device
    answers = []
    with _judging(model), torch.no_grad():
        for key in torch.arange(len(samples)).split(batch):
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


def _refuse_unknown(truth: Truth, protocol: Protocol, surface: bool) -> None:
    known = truth.has_smpl if surface else truth.has_smpl | _is_measured(truth, protocol)
    if not known.all():
        wanted = "SMPL parameters" if surface else f"SMPL parameters or all of the {protocol.name} and the root"
        raise ValueError(
            f"{(~known).sum().item()} of {len(known)} bodies lack {wanted}, the first is number "
            f"{(~known).nonzero()[0].item()}; leave them out with samples.subset"
        )


def _is_measured(truth: Truth, protocol: Protocol) -> Bool[Tensor, "n"]:
    """Where all points that the protocol asks for were measured."""
    needed = [*protocol.measured_joints, *protocol.measured_root]
    return truth.has_pose_3d & (truth.joints[:, needed, 3] > 0).all(dim=1)


def _score_chunk(
    body: Body,
    rotmat: Float[Tensor, "n 24 3 3"],
    betas: Float[Tensor, "n 10"],
    truth: Truth,
    protocol: Protocol,
    surface: bool,
) -> dict[str, Float[Tensor, "n"]]:
    predicted = _scored_points(protocol.points(body, rotmat, betas), protocol.joints, protocol.root)
    true_rotmat = roma.rotvec_to_rotmat(truth.rotvec)
    modelled = _scored_points(protocol.points(body, true_rotmat, truth.betas), protocol.joints, protocol.root)
    measured = _scored_points(truth.joints[..., :3], protocol.measured_joints, protocol.measured_root)
    true = torch.where(truth.has_smpl[:, None, None], modelled, measured)
    # The root is the last point.
    root, joints = (len(protocol.joints),), tuple(range(len(protocol.joints)))
    scores = {
        "mpjpe": metrics.mpjpe(predicted, true, root, joints),
        "pa_mpjpe": metrics.pa_mpjpe(predicted[:, :-1], true[:, :-1]),
        "pck150": metrics.pck(predicted, true, root, joints),
        "auc": metrics.auc(predicted, true, root, joints),
    }
    if surface:
        pairs = ((rotmat, betas, predicted), (true_rotmat, truth.betas, true))
        surfaces = [body.vertices(r, b) - points[:, -1:] for r, b, points in pairs]
        scores["pve"] = metrics.pve(*surfaces)
    return scores


def _scored_points(
    points: Float[Tensor, "n points 3"], joints: tuple[int, ...], root: tuple[int, ...]
) -> Float[Tensor, "n scored_and_root 3"]:
    """The scored points and, last, the root: one order for points that came in different ones."""
    centre = points[:, list(root)].mean(dim=1, keepdim=True)
    return torch.cat([points[:, list(joints)], centre], dim=1)
