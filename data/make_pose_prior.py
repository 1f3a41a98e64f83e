"""Make data/pose_prior.npz: SMPLify's prior, a mixture of eight Gaussians over the 69 numbers of a body pose.

    pip install scikit-learn        (this maker's only extra dependency; `pip install -e .[makers]` brings it)
    python data/make_pose_prior.py FOLDER_OF_CMU_CLIPS

Three fifths of the training set come from the pose sampler of `spinkit.people`, two fifths from recordings of
the CMU Graphics Lab Motion Capture Database, each clip weighing the same. Every pose has its mirror image.
"""

import argparse
from pathlib import Path

import cmu
import numpy as np
from jaxtyping import Float

from spinkit.people import anatomy, poses

HERE = Path(__file__).parent
SOURCE = (
    "Mixture of 8 Gaussians fitted by data/make_pose_prior.py to poses of spinkit's own sampler and to "
    "recorded motion. The data used in this project was obtained from mocap.cs.cmu.edu. The database was "
    "created with funding from NSF EIA-0196217."
)
COMPONENTS = 8
REGULARISATION = 5e-3
"""Radians squared added to every variance: 4 degrees that no joint is surer of."""
STARTS = 5
"""Runs of expectation maximisation, of which the likeliest is kept."""
SAMPLED = 20_000
FRAMES_PER_CLIP = 300
JITTER = np.radians(2.0)
"""Deviation of the noise that keeps repeated frames of short clips apart."""
HELD_OUT = 0.1
"""The last tenth of each clip trains nothing; the tests judge by it."""
SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path, help="folder with amc/, asf/, bvh/ and expmap/")
    parser.add_argument("--body", type=Path, default=HERE / "body.npz")
    parser.add_argument("--out", type=Path, default=HERE / "pose_prior.npz")
    options = parser.parse_args()

    training = training_set(options.recordings, rest_joints(options.body), np.random.default_rng(SEED))
    print(f"{len(training)} poses; fitting")
    means, covariances, weights = fit_mixture(training)
    np.savez_compressed(
        options.out,
        means=means.astype(np.float32),
        covars=covariances.astype(np.float32),
        weights=weights.astype(np.float32),
        source=SOURCE,
    )
    print(f"wrote {options.out}; weights {weights.round(3)}")


def rest_joints(body: Path) -> Float[np.ndarray, "24 3"]:
    """The body's joints in its T-pose, metres."""
    with np.load(body) as arrays:
        return arrays["J_regressor"].astype(np.float64) @ arrays["v_template"].astype(np.float64)


def training_set(
    recordings: Path, joints: Float[np.ndarray, "24 3"], generator: np.random.Generator
) -> Float[np.ndarray, "n 69"]:
    """Sampled and recorded poses and their mirror images."""
    sampled = poses.sample(SAMPLED, generator, joints).body_pose.astype(np.float64)
    kept = [split(cmu.retarget(clip, joints))[0] for clip in cmu.read_folder(recordings)]
    recorded = np.concatenate([resampled(clip, generator) for clip in kept])
    recorded = with_fingers(recorded, sampled, generator)
    both = np.concatenate([sampled, recorded])
    print(f"{len(sampled)} sampled poses, {len(kept)} clips of {FRAMES_PER_CLIP} poses, and their mirror images")
    return np.concatenate([both, anatomy.mirror(both)])[:, 1:].reshape(-1, 69)


def split(
    clip: Float[np.ndarray, "n 24 3"],
) -> tuple[Float[np.ndarray, "a 24 3"], Float[np.ndarray, "b 24 3"]]:
    """The frames that train and those that are held out."""
    last = len(clip) - int(np.ceil(HELD_OUT * len(clip)))
    return clip[:last], clip[last:]


def resampled(clip: Float[np.ndarray, "n 24 3"], generator: np.random.Generator) -> Float[np.ndarray, "m 24 3"]:
    """As many frames of every clip, so that a long recording weighs no more than a short one."""
    chosen = clip[generator.integers(len(clip), size=FRAMES_PER_CLIP)]
    return chosen + generator.normal(0, JITTER, chosen.shape)


def with_fingers(
    recorded: Float[np.ndarray, "n 24 3"],
    sampled: Float[np.ndarray, "m 24 3"],
    generator: np.random.Generator,
) -> Float[np.ndarray, "n 24 3"]:
    """CMU recorded no fingers: the curl of each recorded hand comes from some sampled pose."""
    hands = [anatomy.joint("left hand"), anatomy.joint("right hand")]
    filled = recorded.copy()
    filled[:, hands] = sampled[generator.integers(len(sampled), size=len(recorded))][:, hands]
    return filled


def fit_mixture(training: Float[np.ndarray, "n 69"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means (8, 69), full covariances (8, 69, 69) and weights (8,) by expectation maximisation."""
    # scikit-learn is needed here only, so that the rest of this file can be imported without it.
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(COMPONENTS, reg_covar=REGULARISATION, max_iter=200, n_init=STARTS, random_state=SEED)
    mixture.fit(training)
    if not mixture.converged_:
        raise RuntimeError("expectation maximisation did not converge in 200 rounds; raise max_iter")
    return mixture.means_, mixture.covariances_, mixture.weights_


if __name__ == "__main__":
    main()
