"""The names of keypoints and joints, which anatomical point each is, and how a mirror reorders them."""

import torch
from jaxtyping import Int
from torch import Tensor

OPENPOSE = slice(0, 25)
ANNOTATED = slice(25, 49)
LSP14 = tuple(range(25, 39))

NAMES = (
    # OpenPose BODY_25
    *(
        "OP Nose",
        "OP Neck",
        "OP RShoulder",
        "OP RElbow",
        "OP RWrist",
        "OP LShoulder",
        "OP LElbow",
        "OP LWrist",
    ),
    *("OP MidHip", "OP RHip", "OP RKnee", "OP RAnkle", "OP LHip", "OP LKnee", "OP LAnkle"),
    *("OP REye", "OP LEye", "OP REar", "OP LEar"),
    *("OP LBigToe", "OP LSmallToe", "OP LHeel", "OP RBigToe", "OP RSmallToe", "OP RHeel"),
    # annotated: the 14 of LSP, then those of MPII, Human3.6M and COCO
    *("Right Ankle", "Right Knee", "Right Hip", "Left Hip", "Left Knee", "Left Ankle"),
    *("Right Wrist", "Right Elbow", "Right Shoulder", "Left Shoulder", "Left Elbow", "Left Wrist"),
    *("Neck (LSP)", "Top of Head (LSP)", "Pelvis (MPII)", "Thorax (MPII)"),
    *("Spine (H36M)", "Jaw (H36M)", "Head (H36M)"),
    *("Nose", "Left Eye", "Right Eye", "Left Ear", "Right Ear"),
)

# The SMPL layer offers 54 candidate points: 24 joints, 21 selected vertices, 9 regressed points. POOL says
# which of them each keypoint is.
POOL = (
    *(24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34),
    *(8, 5, 45, 46, 4, 7, 21, 19, 17, 16, 18, 20, 47, 48, 49, 50, 51, 52, 53, 24, 26, 25, 28, 27),
)

JOINT_NAMES = (
    *("Pelvis", "Left Hip", "Right Hip", "Spine 1", "Left Knee", "Right Knee", "Spine 2"),
    *("Left Ankle", "Right Ankle", "Spine 3", "Left Foot", "Right Foot", "Neck", "Left Collar"),
    *("Right Collar", "Head", "Left Shoulder", "Right Shoulder", "Left Elbow", "Right Elbow"),
    *("Left Wrist", "Right Wrist", "Left Hand", "Right Hand"),
)
JOINT_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)

# The keypoint, or joint, that each one becomes when left and right change places.
MIRROR = (
    *(0, 1, 5, 6, 7, 2, 3, 4, 8, 12, 13, 14, 9, 10, 11, 16, 15, 18, 17, 22, 23, 24, 19, 20, 21),
    *(30, 29, 28, 27, 26, 25, 36, 35, 34, 33, 32, 31, 37, 38, 39, 40, 41, 42, 43, 44, 46, 45, 48, 47),
)
JOINT_MIRROR = (0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22)


def mirror_order(device: torch.device | str | None = None) -> Int[Tensor, "49"]:
    """`MIRROR` as an index tensor."""
    return torch.tensor(MIRROR, device=device)
