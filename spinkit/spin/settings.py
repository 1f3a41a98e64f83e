"""What a training run may be told."""

from dataclasses import dataclass, field

from spinkit.crop import Augmentation
from spinkit.smplify import SmplifySettings
from spinkit.solvers import LevenbergMarquardt

MODES = ("static", "loop", "reprojection", "oracle")
JUDGES = ("reprojection", "objective")


def loop_fit() -> SmplifySettings:
    """The fit inside the loop: two steps, tied to the regressed start.

    The start knows what keypoints do not: how far away a hand is, and which way the body faces. Fits that are left to
    forget it end worse in PA-MPJPE though lower in energy. From a start that is near, a keypoint 25 pixels off is an
    outlier, limbs need no strong term that keeps them from bending backwards (it bends straight ones), and the camera
    is better placed by all keypoints than by four. `notebooks/01_smplify` shows what each of these is worth.
    """
    return SmplifySettings(
        robust_scale=25.0,
        pose_weight=4.0,
        bending_weight=2.0,
        start_weight=5.0,
        turn_weight=30.0,
        camera_moves=True,
        camera_solver=LevenbergMarquardt(steps=1),
        body_solver=LevenbergMarquardt(steps=2, damping=0.1, shrink=0.4, plain=1000.0),
    )


@dataclass(frozen=True)
class SpinSettings:
    """The loop's numbers. Defaults are SPIN's where its code or paper gives one, and say so where not."""

    mode: str = "loop"
    """`loop`: fits improve and supervise. `static`: initial fits supervise and never change. `reprojection`: keypoints
    alone supervise. `oracle`: the hidden true parameters supervise, which no real data would allow."""
    steps: int = 10_000
    batch_size: int = 64
    image_size: int = 224
    """Pixels of the network's input."""
    learning_rate: float = 5e-5
    """Adam's. The paper's supplement is quoted with 3e-5."""
    weight_decay: float = 0.0
    warmup: int = 0
    """Steps over which the learning rate rises from zero; not in SPIN."""
    final_learning_rate: float = 1.0
    """Share of the learning rate at the end, reached along half a cosine; SPIN keeps it constant."""
    bfloat16: bool = False
    """Let the network compute in bfloat16 where the processor or graphics card does so in hardware. Weights, bodies and
    fits stay in float32."""
    clip_gradient: float = 0.0
    """Largest norm of the gradient; zero for no limit, as in SPIN."""
    first_fit_step: int = 0
    """Before it the network knows so little that no fit from its answer is ever accepted; SPIN fits from the start."""
    keypoint_weight: float = 5.0
    joint_weight: float = 5.0
    """On 3D joints, where they are known."""
    pose_weight: float = 1.0
    betas_weight: float = 0.001
    point_weight: float = 0.0
    """On the target's 24 annotated keypoints in 3D: the paper's mesh loss without the mesh; not in SPIN's code."""
    vertex_weight: float = 0.0
    """On vertices, by absolute distance; needs the mesh."""
    loss_scale: float = 60.0
    """Multiplies the sum, as HMR's encoder loss does."""
    openpose_weight: float = 0.0
    """Of OpenPose's keypoints in the network's keypoint loss; the fit always sees them."""
    annotated_weight: float = 1.0
    reprojection_threshold: float = 204.0
    """px^2: a fit with a larger error does not supervise. SPIN's 100, a mean over all 49 keypoints, allows a person
    with all 24 annotated the same sum: 100 x 49 / 24."""
    judge: str = "reprojection"
    """Which of two fits is better: the one with the smaller reprojection error, as in SPIN, or with `objective` the
    one that is lower in keypoints and distance from the regressed pose together, as the fit weighs them. Where many
    keypoints are missing, a wrong pose can explain the few that are left; the network has seen the whole image."""
    last_fits: bool = False
    """Whether every sample is fitted once more when the training ends, see `sweep`; not in SPIN."""
    betas_limit: float = 3.0
    """A fit with any beta beyond it supervises with betas of zero: no one is that unusual."""
    use_labels: bool = True
    """False hides 3D labels from training, the paper's unpaired setting."""
    keypoint_limit: float = 2240.0
    """Pixels from the crop's centre, ten crops, beyond which a keypoint is a mistake: its sample is left out. One a
    million pixels away would not make the loss infinite, and still undo what the network has learned."""
    max_bad_steps: int = 10
    """Steps in a row whose loss or gradient is not finite, or that have no sample left, after which training stops."""
    max_bad_share: float = 0.1
    """Share of the samples of the last `max_bad_steps` steps that may be left out, because their picture cannot be read
    or a number of theirs is not finite; training stops beyond it."""
    seed: int = 0
    fit: SmplifySettings = field(default_factory=loop_fit)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self):
        if self.mode not in MODES:
            raise ValueError(f"SpinSettings.mode must be one of {', '.join(MODES)}, got '{self.mode}'")
        if self.judge not in JUDGES:
            raise ValueError(f"SpinSettings.judge must be one of {', '.join(JUDGES)}, got '{self.judge}'")
        for name in ("steps", "batch_size", "image_size", "max_bad_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"SpinSettings.{name} must be at least 1, got {getattr(self, name)}")
        if not self.keypoint_limit > 0:
            raise ValueError(f"SpinSettings.keypoint_limit must be positive, got {self.keypoint_limit}")
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"SpinSettings.max_bad_share must lie between 0 and 1, got {self.max_bad_share}")
        if not self.learning_rate > 0:
            raise ValueError(f"SpinSettings.learning_rate must be positive, got {self.learning_rate}")
