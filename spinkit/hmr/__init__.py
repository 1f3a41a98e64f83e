"""The regressor: an image goes in, a body and a weak-perspective camera come out.

A convolutional trunk (`resnet`) turns the crop into one feature vector; an iterative head (`head`) starts
from the mean body and corrects it three times while looking at that vector. `weights` reads the files that
others have published for both.

    mean = hmr.mean_parameters()
    model = hmr.HMR("resnet50", mean)
    regression = model(hmr.normalise(crops))    # rotmat (B, 24, 3, 3), betas (B, 10), weak (B, 3)
"""

from spinkit.hmr.head import HMR, normalise
from spinkit.hmr.parameters import (
    MeanParameters,
    Regression,
    mean_parameters,
    read_mean_parameters,
    rot6d_to_rotmat,
    rotmat_to_rot6d,
)
from spinkit.hmr.resnet import PLANS, BasicBlock, Bottleneck, Plan, ResNet
from spinkit.hmr.weights import load_backbone, load_published, save_published

__all__ = [
    "HMR",
    "PLANS",
    "BasicBlock",
    "Bottleneck",
    "MeanParameters",
    "Plan",
    "Regression",
    "ResNet",
    "load_backbone",
    "load_published",
    "mean_parameters",
    "normalise",
    "read_mean_parameters",
    "rot6d_to_rotmat",
    "rotmat_to_rot6d",
    "save_published",
]
