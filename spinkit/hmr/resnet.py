"""The trunk: residual networks whose parameters carry torchvision's names.

The names are what lets published weights in: an ImageNet file of torchvision and a SPIN checkpoint both say
`layer3.4.conv2.weight`, and so do these networks.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions around a shortcut (ResNet-18 and 34).

    Source: He et al. 2016, figure 5, left.
    """

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Float[Tensor, "b inputs h w"]) -> Float[Tensor, "b outputs h2 w2"]:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """A 3 x 3 convolution between two 1 x 1 that narrow and widen (ResNet-50).

    The stride sits on the 3 x 3, as in torchvision and SPIN; the paper has it on the first 1 x 1.

    Source: He et al. 2016, figure 5, right.
    """

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, width * self.expansion, stride)

    def forward(self, x: Float[Tensor, "b inputs h w"]) -> Float[Tensor, "b outputs h2 w2"]:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


@dataclass(frozen=True)
class Plan:
    """The measures of a trunk and of the head that sits on it."""

    block: type[BasicBlock] | type[Bottleneck]
    blocks: tuple[int, ...]
    """Blocks in each stage."""
    widths: tuple[int, ...]
    """Channels of each stage before the block's expansion."""
    strides: tuple[int, ...]
    """Stride of each stage's first block."""
    stem: tuple[int, int]
    """Kernel size and channels of the first convolution, which has stride 2."""
    maxpool: bool
    """Whether a 3 x 3 maximum of stride 2 follows the stem."""
    cells: int = 1
    """The last feature map is averaged to cells x cells before it is flattened."""
    hidden: int = 1024
    """Width of the head's two hidden layers."""
    relu: bool = False
    """Whether the head bends after its hidden layers. SPIN's published networks do not."""

    @property
    def channels(self) -> int:
        """Channels of the last feature map."""
        return self.widths[-1] * self.block.expansion

    @property
    def features(self) -> int:
        """Length of the feature vector."""
        return self.channels * self.cells**2


PLANS = {
    "resnet50": Plan(Bottleneck, (3, 4, 6, 3), (64, 128, 256, 512), (1, 2, 2, 2), (7, 64), maxpool=True),
    "resnet18": Plan(BasicBlock, (2, 2, 2, 2), (64, 128, 256, 512), (1, 2, 2, 2), (7, 64), maxpool=True),
    # For crops of 64 pixels on a processor. It keeps the 4 x 4 cells of its last map apart, because at this size the
    # place of a limb says more about the pose than its mere presence.
    "small": Plan(
        BasicBlock,
        blocks=(1, 1, 1, 1),
        widths=(32, 64, 128, 256),
        strides=(1, 2, 2, 2),
        stem=(5, 32),
        maxpool=False,
        cells=4,
        hidden=512,
        relu=True,
    ),
}


class ResNet(nn.Module):
    """A residual network up to its feature vector."""

    def __init__(self, plan: Plan):
        super().__init__()
        kernel, width = plan.stem
        self.conv1 = nn.Conv2d(3, width, kernel, stride=2, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if plan.maxpool else nn.Identity()
        self.stages = [f"layer{number}" for number in range(1, len(plan.blocks) + 1)]
        inputs = width
        for name, *stage in zip(self.stages, plan.blocks, plan.widths, plan.strides, strict=True):
            self.add_module(name, _stage(plan.block, inputs, *stage))
            inputs = stage[1] * plan.block.expansion
        # SPIN averages 7 x 7 cells, which is the whole map of a 224-pixel crop. Averaging the whole map
        # whatever its size gives the same numbers there and lets other crops in.
        self.avgpool = nn.AdaptiveAvgPool2d(plan.cells)

    def features(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b features"]:
        """One vector an image."""
        # Channels-last is the layout in which convolutions run fastest on processors and on recent GPUs.
        x = image.contiguous(memory_format=torch.channels_last)
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for name in self.stages:
            x = self.get_submodule(name)(x)
        return self.avgpool(x).flatten(1)


def _stage(
    block: type[BasicBlock] | type[Bottleneck], inputs: int, count: int, width: int, stride: int
) -> nn.Sequential:
    """One stage: its first block changes resolution and channels, the others keep them."""
    later = [block(width * block.expansion, width, 1) for _ in range(count - 1)]
    return nn.Sequential(block(inputs, width, stride), *later)
