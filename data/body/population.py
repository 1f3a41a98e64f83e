"""An adult population over MakeHuman's figure, and the principal components of its shapes.

The numbers are round figures of anthropometry for adults of both sexes, not fits to a survey: stature
1.70 +- 0.10 m, body mass index 24 +- 4 kg/m2 at a density of 1000 kg/m3.
"""

from dataclasses import dataclass

import numpy as np
from figure import Figure
from makehuman import ETHNICITIES, LIMBS, coefficients
from scipy.stats import gaussian_kde
from skeleton import FLIP

GENDERS = ("neutral", "male", "female")
CANDIDATES = 4
"""People drawn for each one kept."""
LOG_BMI = (np.log(24.5), 0.17)
"""Mean and deviation of the logarithm of the body mass index that the kept are chosen to have."""

LIMB_LENGTHS = {
    "thigh": (106, 74, 13),
    "shank": (81, 59, 11),
    "upper arm": (70, 48, 9),
    "forearm": (65, 45, 8),
    "torso": (103, 43, 18),
    "shoulders": (50, 27, 11),
    "hips": (44, 44, 7),
}
"""Limb -> millimetres that a full -incr and a full -decr target change it by; standard deviation in mm.

MakeHuman's traits alone vary the limbs too little: hip height over stature deviates by 0.006 among them, by
about 0.012 among people.
"""


@dataclass(frozen=True)
class Population:
    """The people kept."""

    coefficients: np.ndarray
    """(people, targets)"""
    stature: np.ndarray
    """(people,) metres"""
    bmi: np.ndarray
    """(people,) kg/m2"""


def draw(
    figure: Figure, macro_names: list, faces: np.ndarray, people: int, gender: str, seed: int
) -> tuple[Population, np.random.Generator]:
    """Draws people and returns the generator, with which the later steps go on.

    Args:
        people: how many; half of them of each gender if `gender` is "neutral".
        gender: one of GENDERS.
        seed: the same seed gives the same people.
    """
    generator = np.random.default_rng(10_000 + seed)
    count = CANDIDATES * people
    traits = _traits(count, gender, np.random.default_rng(seed))
    # Broad on purpose: the choice below thins them to the wanted body mass index. These two need another
    # generator than gender, or a build would come to depend on gender.
    traits["weight"] = generator.random(count)
    traits["muscle"] = generator.beta(1.1, 1.3, count)
    mix = np.concatenate([coefficients(macro_names, traits), _limb_coefficients(count, generator)], 1)
    stature, bmi = _measure(figure, mix, faces)
    male = traits["gender"] < 0.5
    groups = [male, ~male] if gender == "neutral" else [np.ones(count, bool)]
    chosen = np.concatenate([_choose(np.flatnonzero(group), bmi, people // len(groups), generator) for group in groups])
    return Population(mix[chosen], stature[chosen], bmi[chosen]), generator


def principal_components(
    shapes: np.ndarray, mirror: np.ndarray, faces: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and main directions of (people, n, 3) float32 shapes, both exactly mirror symmetric.

    Returns:
        Mean (n, 3); directions (n, 3, count), each one standard deviation long and signed such that more of
        it means more volume; the share of the variance that each explains.
    """
    flat = shapes.reshape(len(shapes), -1)
    mean = flat.mean(0)
    centred = flat - mean
    variance, vectors = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    largest = vectors[:, ::-1][:, :count].T.astype(np.float32)
    directions = (largest @ centred).astype(float) / np.sqrt(len(shapes) - 1)
    directions = directions.reshape(count, -1, 3)
    directions = 0.5 * (directions + directions[:, mirror] * FLIP)
    mean = mean.reshape(-1, 3).astype(float)
    mean = 0.5 * (mean + mean[mirror] * FLIP)
    outward = (directions * _normals(mean, faces)).sum((1, 2))
    directions[outward < 0] *= -1
    return mean, directions.transpose(1, 2, 0), (variance[::-1] / variance.sum())[:count]


def _traits(count: int, gender: str, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Traits of people on anny's scales; gender is 0 for male, age 2/3 is 16 years."""
    female = generator.random(count) >= 0.5
    if gender != "neutral":
        female[:] = gender == "female"
    blur = np.abs(generator.normal(0, 0.12, count)).clip(0, 0.5)
    age = 2 / 3 + generator.beta(1.6, 2.2, count) / 3 * 0.9
    height = np.clip(generator.normal(0.365, 0.064, count), 0.12, 0.62)
    # These two draws are not used. Without them the stream, and with it the shipped body, would be another.
    generator.beta(2.6, 2.4, count)
    generator.beta(2.6, 2.6, count)
    traits = {"gender": np.where(female, 1 - blur, blur), "age": age, "height": height}
    for name in ("proportions", "cupsize", "firmness"):
        traits[name] = generator.beta(2, 2, count)
    return traits | dict(zip(ETHNICITIES, generator.dirichlet([0.8] * 3, count).T, strict=True))


def _limb_coefficients(count: int, generator: np.random.Generator) -> np.ndarray:
    """(count, 14): normal limb lengths, cut off at 2.5 deviations."""
    columns = []
    for limb in LIMBS:
        longer, shorter, deviation = LIMB_LENGTHS[limb]
        change = generator.normal(0, deviation, count).clip(-2.5 * deviation, 2.5 * deviation)
        columns += [np.maximum(change, 0) / longer, np.maximum(-change, 0) / shorter]
    return np.stack(columns, 1)


def _measure(figure: Figure, mix: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stature in metres and body mass index."""
    stature, volume = [], []
    for start in range(0, len(mix), 500):
        bodies = figure.a_pose(mix[start : start + 500])
        stature.append(np.ptp(bodies[..., 1], axis=1))
        volume += [_volume(body, faces) for body in bodies]
    stature = np.concatenate(stature).astype(float)
    return stature, 1000 * np.array(volume) / stature**2


def _volume(body: np.ndarray, faces: np.ndarray) -> float:
    """Cubic metres inside a closed surface."""
    a, b, c = (body - body.mean(0))[faces].swapaxes(0, 1)
    return float((a * np.cross(b, c)).sum() / 6)


def _choose(group: np.ndarray, bmi: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Draws some of a group without replacement such that log BMI becomes normal."""
    values = np.log(bmi[group])
    mean, deviation = LOG_BMI
    # Where hardly anyone was drawn, the few shall not be chosen for certain.
    density = np.maximum(gaussian_kde(values)(values), 0.05)
    weight = np.exp(-0.5 * ((values - mean) / deviation) ** 2) / density
    return generator.choice(group, count, replace=False, p=weight / weight.sum())


def _normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(n, 3) outward normals of the vertices, as long as the faces around are large."""
    a, b, c = vertices[faces].swapaxes(0, 1)
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], np.cross(b - a, c - a))
    return normals
