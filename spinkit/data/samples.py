"""A set of people, what is known of their bodies, and the batches that training draws from it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from spinkit import crop, keypoints
from spinkit.crop import Change
from spinkit.data.images import ImageStore, JoinedImages, SelectedImages, readable
from spinkit.keypoints import Keypoints

# The 24 annotated keypoints, as a mirror reorders them among themselves.
ANNOTATED_MIRROR = tuple(i - 25 for i in keypoints.MIRROR[keypoints.ANNOTATED])


@dataclass(frozen=True)
class Truth:
    """What is known of the body of each sample; the masks say where anything is known at all."""

    rotvec: Float[Tensor, "n 24 3"]
    """SMPL pose in the camera frame, the whole body's orientation first. Radians."""
    betas: Float[Tensor, "n 10"]
    has_smpl: Bool[Tensor, "n"]
    """Where `rotvec` and `betas` are known; elsewhere they are zero."""
    joints: Float[Tensor, "n 24 4"]
    """The 24 annotated keypoints from the root, camera frame, metres; the last column is 0 for missing."""
    has_pose_3d: Bool[Tensor, "n"]
    """Where `joints` are known."""

    @classmethod
    def none(cls, n: int) -> "Truth":
        """Nothing known of n samples."""
        never = torch.zeros(n, dtype=torch.bool)
        return cls(torch.zeros(n, 24, 3), torch.zeros(n, 10), never, torch.zeros(n, 24, 4), never)

    def __len__(self) -> int:
        return len(self.has_smpl)

    def __getitem__(self, indices: Tensor | slice) -> "Truth":
        return Truth(*(getattr(self, field.name)[indices] for field in fields(self)))

    def to(self, device: torch.device | str) -> "Truth":
        """The same on another device."""
        return Truth(*(getattr(self, field.name).to(device) for field in fields(self)))


@dataclass(frozen=True)
class Samples:
    """A set of people as stored, before any augmentation."""

    name: str
    images: ImageStore
    """One picture a person; each covers `margin` times the person's box."""
    keypoints: Keypoints
    """In pixels of the crop, which is the box alone."""
    labels: Truth
    """Given to training."""
    judge: Truth | None
    """Known for measuring only: training must not look. None where nothing is."""
    margin: float
    weight: Float[Tensor, "n"] | None = None
    """How often each is drawn, against the others. None where every epoch visits each once."""

    def __post_init__(self):
        counts = {"images": len(self.images), "keypoints": len(self.keypoints.xy), "labels": len(self.labels)}
        counts |= {name: len(getattr(self, name)) for name in ("judge", "weight") if getattr(self, name) is not None}
        if len(set(counts.values())) != 1:
            raise ValueError(f"{self.name}: fields of different lengths {counts}; give one entry a person")

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Int[Tensor, "n"]) -> "Samples":
        """Some of the people, in the order of the indices; the pictures are not copied."""
        return replace(
            self,
            images=SelectedImages(self.images, indices),
            keypoints=self.keypoints[indices],
            labels=self.labels[indices],
            judge=None if self.judge is None else self.judge[indices],
            weight=None if self.weight is None else self.weight[indices],
        )


@dataclass(frozen=True)
class Batch:
    """Augmented samples, ready for a training step."""

    key: Int[Tensor, "b"]
    """Which samples of the set these are: what a dictionary of fits is asked for."""
    image: Float[Tensor, "b 3 side side"]
    """Colours in 0..1."""
    keypoints: Keypoints
    """In pixels of the changed crop, 224 on a side whatever the image's size."""
    change: Change
    """What was done to the stored crop."""
    labels: Truth
    """Of the changed crop."""
    refused: dict[int, str] = field(default_factory=dict)
    """Why samples that were drawn are not here, by their numbers."""

    def __len__(self) -> int:
        return len(self.key)

    def __getitem__(self, rows: Int[Tensor, "k"]) -> "Batch":
        parts = (self.key, self.image, self.keypoints, self.change, self.labels)
        return Batch(*(part[rows] for part in parts), refused=self.refused)


def make_batch(samples: Samples, key: Int[Tensor, "b"], change: Change, size: int, lenient: bool = False) -> Batch:
    """The samples that `key` names, image, keypoints and labels all changed alike, on the change's device.

    Args:
        samples: the set.
        key: numbers of the samples; one may occur twice.
        change: one for each; `Change.none(len(key))` gives the crops as stored.
        size: pixels of the side of the images that are returned.
        lenient: leave out samples whose picture cannot be read, and tell them in `Batch.refused`.

    Raises:
        FileNotFoundError, ValueError: a picture cannot be read, unless `lenient`.
    """
    device, key = change.turn.device, key.cpu()
    pictures, refused = readable(samples.images, key) if lenient else (samples.images[key], {})
    if refused:
        rows = torch.tensor([row for row, one in enumerate(key.tolist()) if one not in refused], dtype=torch.long)
        key, change = key[rows], change[rows.to(device)]
    labels = samples.labels[key].to(device)
    order = torch.tensor(ANNOTATED_MIRROR, device=device)
    flags = labels.joints[..., 3:]
    positions = crop.change_keypoints_3d(change, labels.joints[..., :3], order)
    flags = torch.where(change.mirror[:, None, None], flags[:, order], flags)
    return Batch(
        key=key.to(device),
        image=crop.change_image(change, pictures.to(device), size, samples.margin),
        keypoints=crop.change_keypoints(change, samples.keypoints[key].to(device)),
        change=change,
        labels=replace(
            labels,
            rotvec=crop.change_rotvec(change, labels.rotvec),
            joints=torch.cat([positions, flags], dim=-1),
        ),
        refused=refused,
    )


def mix(parts: list[Samples], chances: Sequence[float] | None = None) -> Samples:
    """Several sets as one, in their order. Where only some have a judge, its masks are false for the others.

    Args:
        parts: the sets; none of them weighted.
        chances: how likely a sample is drawn from each set, whatever its size. None visits all samples equally.

    Raises:
        ValueError: for no parts, for weighted ones, or for parts stored at different sizes or margins.
    """
    if not parts:
        raise ValueError("nothing to mix; give at least one set of samples")
    for name, values in (("size", {p.images.size for p in parts}), ("margin", {p.margin for p in parts})):
        if len(values) != 1:
            raise ValueError(f"sets differ in {name}: {sorted(values)}; read them all with the same {name}")
    if any(part.weight is not None for part in parts):
        raise ValueError("a set to mix has weights already; mix all sets at once, and say their chances")
    judges = [Truth.none(len(p)) if p.judge is None else p.judge for p in parts]
    weight = None
    if chances is not None:
        weight = torch.cat([torch.full((len(p),), c / len(p)) for p, c in zip(parts, chances, strict=True)])
    return Samples(
        name="+".join(part.name for part in parts),
        images=JoinedImages([part.images for part in parts]),
        keypoints=Keypoints(
            torch.cat([part.keypoints.xy for part in parts]),
            torch.cat([part.keypoints.confidence for part in parts]),
        ),
        labels=_joined([part.labels for part in parts]),
        judge=None if all(part.judge is None for part in parts) else _joined(judges),
        margin=parts[0].margin,
        weight=weight,
    )


def draw_keys(weight: Float[Tensor, "n"], count: int, generator: torch.Generator) -> Int[Tensor, "count"]:
    """Samples drawn by their weights, any of them any number of times; the same generator draws the same.

    Args:
        weight: of each sample, against the others.
        count: how many to draw.
        generator: on the CPU.
    """
    # In double precision, because weights of half a million samples add up to one.
    edges = weight.double().cumsum(dim=0)
    place = edges[-1] * torch.rand(count, generator=generator, dtype=torch.float64)
    return torch.searchsorted(edges, place, right=True)


def _joined(truths: list[Truth]) -> Truth:
    return Truth(*(torch.cat([getattr(t, field.name) for t in truths]) for field in fields(Truth)))


def check_samples(samples: Samples, min_visible: int = 8) -> Int[Tensor, "few"]:
    """Look a whole set over before hours of work start on it.

    Returns:
        The numbers of the samples with fewer than `min_visible` keypoints, which are usable but say little.

    Raises:
        ValueError: for no samples at all, wrong shapes, numbers that are not finite or a first picture that
            is not as the store promises; the message names the set and the field.
    """
    n = len(samples)
    if n == 0:
        raise ValueError(f"{samples.name}: no samples; loosen what the reader was asked for")
    _check_field(samples, "keypoints.xy", samples.keypoints.xy, (n, 49, 2))
    _check_field(samples, "keypoints.confidence", samples.keypoints.confidence, (n, 49))
    if (samples.keypoints.confidence < 0).any():
        raise ValueError(f"{samples.name}: keypoints.confidence is negative; set missing points to 0")
    if samples.weight is not None:
        _check_field(samples, "weight", samples.weight, (n,))
        if (samples.weight < 0).any() or not samples.weight.any():
            raise ValueError(f"{samples.name}: weight is negative, or zero for all; give numbers from 0 on")
    for owner in ("labels", "judge"):
        truth = getattr(samples, owner)
        shapes = {"rotvec": (24, 3), "betas": (10,), "has_smpl": (), "joints": (24, 4), "has_pose_3d": ()}
        for name, shape in shapes.items() if truth is not None else ():
            _check_field(samples, f"{owner}.{name}", getattr(truth, name), (n, *shape))
    first, side = samples.images[torch.tensor([0])], samples.images.size
    if first.dtype != torch.uint8 or first.shape != (1, 3, side, side):
        found = f"{first.dtype} {tuple(first.shape)}"
        raise ValueError(f"{samples.name}: images give {found}, expected torch.uint8 (1, 3, {side}, {side})")
    return (samples.keypoints.visible.sum(dim=-1) < min_visible).nonzero()[:, 0]


def _check_field(samples: Samples, field: str, values: Tensor, shape: tuple) -> None:
    if tuple(values.shape) != shape:
        raise ValueError(f"{samples.name}: {field} has shape {tuple(values.shape)}, expected {shape}")
    broken = ~torch.isfinite(values).reshape(len(values), -1).all(dim=-1)
    if broken.any():
        at = broken.nonzero()[0].item()
        raise ValueError(f"{samples.name}: {field} is not finite in sample {at}; repair or leave it out")
