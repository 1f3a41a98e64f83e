"""The protocols of joint errors: which points, by which regressor, about which root."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from spinkit import keypoints
from spinkit.body import Body


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
    """The scored points and their regressor in words, as tables print them."""
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
    counted: int | None = None
    """How many of the scored points, from the first, PCK and AUC count; None for all."""

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

    @property
    def counted_name(self) -> str:
        """The points of PCK and AUC in words."""
        return self.name if self.counted is None else f"first {self.counted} of the {self.name}"


LSP14 = Protocol(
    name="14 LSP keypoints by SPIN's 49-keypoint map",
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
"""All joints of Human3.6M's regressor."""

H36M14 = replace(
    H36M17,
    name="14 joints by the Human3.6M regressor",
    joints=H36M17.joints[:14],
    measured_joints=H36M17.measured_joints[:14],
)
"""Of SPIN's Human3.6M and 3DPW tables: LSP's points, with Human3.6M's head. The truth of 3DPW is posed with male and
female models: see `score_gendered`."""

MPI_INF_3DHP = replace(H36M17, counted=14)
"""Of SPIN's MPI-INF-3DHP table. The MATLAB evaluation averages MPJPE over all 17 points, the pelvis with its error of
zero among them, and counts PCK and AUC over head top, neck and the 12 of the limbs, which here come first.

Source: mpii_evaluate_errors.m and mpii_get_pck_auc_joint_groups.m of the data set's test release."""
