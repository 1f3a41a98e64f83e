"""The network of HMR and SPIN: a residual trunk and a head that corrects the mean body in rounds."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from spinkit.hmr.parameters import MeanParameters, Regression, rot6d_to_rotmat
from spinkit.hmr.resnet import PLANS, ResNet

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(image: Float[Tensor, "*batch 3 h w"]) -> Float[Tensor, "*batch 3 h w"]:
    """Colours as the network wants them: ImageNet's mean taken off, divided by its deviation.

    Args:
        image: red, green, blue in 0..1.
    """
    mean = image.new_tensor(IMAGENET_MEAN)[:, None, None]
    return (image - mean) / image.new_tensor(IMAGENET_STD)[:, None, None]


class HMR(ResNet):
    """Regresses pose, shape and camera from a crop.

    The trunk is inherited and the head's layers are its neighbours, so that the state dict has exactly the
    keys of SPIN's checkpoints: `conv1.weight`, `layer1.0...`, `fc1.weight`; nothing wears a prefix.

    Three backbones: `resnet50` is the published network (26,977,501 parameters, crops of 224 pixels),
    `resnet18` is half of it (13.1 million), and `small` (3.75 million) learns on two processor cores from
    crops of 64 pixels.

    The published head has no nonlinearity: its two hidden layers are a factorised linear map, and a ReLU
    between them would spoil the released weights. `small` has no published weights and uses ReLU.

    Args:
        backbone: one of `PLANS`.
        mean: where the head starts; kept in the state dict.
        dropout: chance that a hidden unit is dropped in training.
        generator: draws the initial weights; None takes torch's global one.

    Source: Kanazawa et al. 2018, section 3.2; SPIN's models/hmr.py.
    """

    def __init__(
        self,
        backbone: str,
        mean: MeanParameters,
        dropout: float = 0.5,
        generator: torch.Generator | None = None,
    ):
        if backbone not in PLANS:
            raise ValueError(f"backbone must be one of {', '.join(PLANS)}, got '{backbone}'")
        plan = PLANS[backbone]
        super().__init__(plan)
        self.fc1 = nn.Linear(plan.features + 144 + 10 + 3, plan.hidden)
        self.drop1 = nn.Dropout(dropout)
        self.fc2 = nn.Linear(plan.hidden, plan.hidden)
        self.drop2 = nn.Dropout(dropout)
        self.decpose = nn.Linear(plan.hidden, 144)
        self.decshape = nn.Linear(plan.hidden, 10)
        self.deccam = nn.Linear(plan.hidden, 3)
        self.bend = nn.ReLU() if plan.relu else nn.Identity()
        self.register_buffer("init_pose", mean.rot6d[None].clone())
        self.register_buffer("init_shape", mean.betas[None].clone())
        self.register_buffer("init_cam", mean.weak[None].clone())
        _draw_weights(self, generator)

    def forward(self, image: Float[Tensor, "b 3 h w"], rounds: int = 3) -> Regression:
        """One body and camera an image.

        Args:
            image: crops as `normalise` returns them.
            rounds: how often the head corrects its answer; the weights are the same in every round.
        """
        if rounds < 1:
            raise ValueError(f"rounds must be at least 1, got {rounds}")
        features = self.features(image)
        see, recall = self.fc1.weight.tensor_split([features.shape[1]], dim=1)
        # The image does not change between rounds, so its share of the first layer is computed once.
        seen = functional.linear(features, see, self.fc1.bias)
        start = (self.init_pose, self.init_shape, self.init_cam)
        pose, shape, cam = (mean.expand(len(image), -1) for mean in start)
        for _ in range(rounds):
            hidden = seen + functional.linear(torch.cat([pose, shape, cam], dim=1), recall)
            hidden = self.drop1(self.bend(hidden))
            hidden = self.drop2(self.bend(self.fc2(hidden)))
            pose = pose + self.decpose(hidden)
            shape = shape + self.decshape(hidden)
            cam = cam + self.deccam(hidden)
        return Regression(rot6d_to_rotmat(pose.unflatten(1, (24, 6))), shape, cam)


def _draw_weights(model: HMR, generator: torch.Generator | None) -> None:
    """Draws every weight as SPIN does; the correcting layers are small, so training starts at the mean."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(layer, nn.Linear):
            # Torch's own rule for linear layers, spelt out because its layers take no generator.
            bound = 1 / math.sqrt(layer.in_features)
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    for layer in (model.decpose, model.decshape, model.deccam):
        nn.init.xavier_uniform_(layer.weight, gain=0.01, generator=generator)
