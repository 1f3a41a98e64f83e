"""What synthetic people may be told."""

import math
from dataclasses import dataclass

from spinkit.keypoints import SOURCES
from spinkit.people.actions import ACTIONS


@dataclass(frozen=True)
class PeopleSettings:
    """How synthetic people are photographed and how well their keypoints are known.

    The defaults are ours: sizes of noise and rates that a good keypoint annotation of photos shows.
    """

    image_size: int = 64
    """Pixels on the side of the crop."""
    margin: float = 1.25
    """The stored image covers this many times the crop's side, so that turned crops have pixels to show."""
    supersample: int = 2
    """People are drawn this many times finer than stored, in both directions, against jagged outlines."""
    actions: tuple[str, ...] = tuple(ACTIONS)
    """What people may be doing."""
    largest_beta: float = 2.5
    """Shapes are standard normal, cut here."""
    elevation: float = math.radians(10)
    """Radians. Standard deviation of the camera's height above the horizon."""
    roll: float = math.radians(3)
    """Radians. Standard deviation of the camera's turn about its axis."""
    box_margin: float = 1.2
    """The crop's side over the tight box of the true keypoints. Source: SPIN's preprocessing."""
    box_shift: float = 0.03
    """Standard deviation of the crop's centre, as a fraction of its side."""
    box_stretch: float = 0.06
    """Standard deviation of the logarithm of the crop's side."""
    truncation: float = 0.1
    """Fraction of crops that cut people off."""
    occlusion: float = 0.2
    """Fraction of crops with an object before the person."""
    studio: float = 0.0
    """Fraction of pictures taken before a plain wall. A small network learns people from them in minutes, where
    streets and meadows would take hours."""
    kit: float = 0.0
    """Fraction of people who wear the kit of one team instead of their own clothes: easier still."""
    keypoint_noise: float = 2.0
    """Pixels of the 224-pixel crop. Standard deviation of an annotated point, in each direction."""
    missing: float = 0.04
    """Fraction of keypoints in plain view that are absent."""
    missing_hidden: float = 0.5
    """The same of keypoints behind an object or outside the crop."""
    outliers: float = 0.01
    """Fraction of keypoints that lie anywhere in the crop."""
    annotated: str = "all"
    """Which keypoints somebody marked: "all" 24, or those of one data set, by its name in `keypoints.SOURCES`."""
    openpose: bool = False
    """Give the OpenPose half a detector's points and scores; SPIN's loop, which ignores them, needs none."""
    labelled: float = 0.0
    """Fraction of people whose body is a training label. The truth is always known to the judge."""

    def __post_init__(self):
        if self.image_size < 8:
            raise ValueError(f"image_size must be at least 8 pixels, got {self.image_size}")
        if self.annotated not in ("all", *SOURCES):
            raise ValueError(f"annotated must be all or one of {', '.join(SOURCES)}, got '{self.annotated}'")
        if self.supersample < 1:
            raise ValueError(f"supersample must be at least 1, got {self.supersample}")
        if self.margin < 1 or self.box_margin <= 0:
            raise ValueError(
                f"margin must be at least 1 and box_margin positive, got {self.margin} and {self.box_margin}"
            )
        for name in ("truncation", "occlusion", "studio", "kit", "missing", "missing_hidden", "outliers", "labelled"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a fraction between 0 and 1, got {getattr(self, name)}")
        for name in ("largest_beta", "elevation", "roll", "box_shift", "box_stretch", "keypoint_noise"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")

    @property
    def stored_size(self) -> int:
        """Pixels on the side of the stored image."""
        return round(self.margin * self.image_size)

    @property
    def stored_margin(self) -> float:
        """What `stored_size` covers exactly, in sides of the crop."""
        return self.stored_size / self.image_size
