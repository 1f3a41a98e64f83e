"""What a fit may be told."""

from dataclasses import dataclass, field, replace

from spinkit.solvers import Adam, LevenbergMarquardt, Solver

IGNORED = (1, 9, 12, 27, 28)
"""OpenPose's neck and all hips: data sets and SMPL disagree about where these lie, so bodies are not fitted to them.
Source: SPIN; SMPLify weighs hips zero for the same reason."""

TORSO = (9, 12, 2, 5)
"""OpenPose's hips and shoulders, for the camera stage where all four are seen."""
TORSO_ANNOTATED = (27, 28, 33, 34)
"""The annotated hips and shoulders, for the camera stage otherwise."""


@dataclass(frozen=True)
class SmplifySettings:
    """Weights and solvers of the two stages. Weights are those of SPIN's released code."""

    robust_scale: float = 100.0
    """Pixels beyond which a keypoint counts as an outlier."""
    pose_weight: float = 4.78
    """Multiplies the mixture prior's residual; the energy sees its square, 22.8."""
    bending_weight: float = 15.2
    """Multiplies the residual that keeps elbows and knees from bending the wrong way."""
    shape_weight: float = 5.0
    """Multiplies the betas."""
    start_weight: float = 0.0
    """Multiplies the residual that ties the body pose to its start, in the metric of the prior's component that the
    start belongs to. Zero in SMPLify, which knows nothing of where a start comes from. A regressor's answer is worth
    something where keypoints say nothing: in depth."""
    turn_weight: float = 0.0
    """Per radian: ties the orientation of the whole body to its start, in both stages."""
    depth_weight: float = 100.0
    """Per metre: holds the camera's depth wherever the camera is unknown."""
    camera_moves: bool = False
    """Whether the camera's translation is an unknown of the body stage too, as in neither SMPLify nor SPIN. Where it
    stands still, a body has to bend to make up for a camera that four noisy points have placed."""
    camera_solver: Solver | None = field(default_factory=lambda: LevenbergMarquardt(steps=10))
    """None leaves the camera stage out: the start keeps its orientation, under the camera that suits it best."""
    body_solver: Solver = field(
        default_factory=lambda: LevenbergMarquardt(steps=40, damping=1.0, shrink=0.6, plain=3000.0)
    )
    """Cautious first steps: bold ones cross into the valleys of other poses, which end higher more often than not."""
    rival_gap: float = 0.0
    """px^2: where the component of the pose prior that explains a fit second best is no farther behind the best, the
    fit is tried from there with that component too, and the lower energy wins. Each component has a valley of its own,
    and a bold step lands in the next one, not in the lowest."""
    solve_hidden: bool = False
    """Whether joints that no keypoint of a person sees are unknowns too, as they are for SMPLify and SPIN: wrists and
    hands, and ankles and feet where toes and heels are missing. They are left to the pose prior otherwise, and to the
    tie: given the other joints, they go where these two want them."""
    min_keypoints: int = 6
    """A sample with fewer keypoints that count is not fitted; it is returned as it came, and flagged."""
    hips_in_camera_stage: bool = True
    """False repeats the released training loop, whose camera stage never sees OpenPose's hips."""
    missing_torso_counts: bool = False
    """True repeats the released camera stage, which is pulled to wherever a missing hip or shoulder is stored."""
    absent_as_zero: bool = False
    """True repeats the released error, a mean over all 49 keypoints, in which those that do not count are zeros."""
    chunk: int = 256
    """Samples solved at a time, so that their derivatives stay in the processor's cache."""

    def __post_init__(self):
        for name in ("robust_scale", "min_keypoints", "chunk"):
            if getattr(self, name) <= 0:
                raise ValueError(f"SmplifySettings.{name} must be positive, got {getattr(self, name)}")
        for name in (
            "pose_weight",
            "bending_weight",
            "shape_weight",
            "start_weight",
            "turn_weight",
            "depth_weight",
            "rival_gap",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"SmplifySettings.{name} must not be negative, got {getattr(self, name)}")


def published(steps: int = 100) -> SmplifySettings:
    """SPIN's released routine: Adam in both stages, and its two oddities of the camera stage and the error.

    Args:
        steps: iterations in each stage; 100 in the code, at most 50 in the paper's supplement as quoted by its users.
    """
    return SmplifySettings(
        camera_solver=Adam(steps=steps),
        body_solver=Adam(steps=steps),
        solve_hidden=True,
        missing_torso_counts=True,
        absent_as_zero=True,
    )


def quick() -> SmplifySettings:
    """The published weights, in a dozen steps, with a camera that moves and a start that is worth something.

    Bolder than the default, which waits for every sample to converge: most stop after five. What is left then lowers
    the objective little, and takes the pose away from its start. So do all steps where a regressor was right and the
    keypoints have nothing to say: ties too light to raise the published objective of more than one sample in a
    hundred above the published routine's hold the pose, and above all the heading, at its start.
    """
    return SmplifySettings(
        start_weight=0.7,
        turn_weight=12.0,
        camera_moves=True,
        camera_solver=LevenbergMarquardt(steps=1),
        body_solver=LevenbergMarquardt(steps=12, tolerance=1e-3, damping=0.5, shrink=0.5, leap=0.1, plain=3000.0),
        rival_gap=200.0,
    )


def initial() -> SmplifySettings:
    """For fits from nothing: `quick` without ties, since nothing ties a fit to a mean pose, and with a third of the
    weight that keeps elbows and knees from bending backwards.

    That term bends limbs that are straight. On synthetic people the published weight costs 6 mm of PA-MPJPE, and
    `./run bench fit` says what this one gives.
    """
    return replace(quick(), start_weight=0.0, turn_weight=0.0, bending_weight=5.0)
