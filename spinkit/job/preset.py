"""The sizes of a run by name, and the choices that its user may make."""

from dataclasses import dataclass, replace

from spinkit.crop import Augmentation
from spinkit.people import PeopleSettings
from spinkit.spin import SpinSettings


@dataclass(frozen=True)
class Preset:
    """The size of a run."""

    name: str
    backbone: str
    train_people: int
    """Synthetic people to train on, where the data are not photos only."""
    test_people: int
    people: PeopleSettings
    spin: SpinSettings
    judge_every: int
    save_every: int
    tracked: int = 48
    """Samples of which the dictionary keeps every version."""
    dropout: float = 0.5


def presets() -> dict[str, Preset]:
    """The sizes by name: `tiny` for tests, `cpu` for two cores, `gpu` and `spin2019` for a graphics card."""
    # What a small network can learn on two cores in minutes: a team in its kit before a plain wall, at everyday
    # actions, mirrored and tinted but neither turned nor scaled. Keypoints are COCO's, as often missing as in COCO.
    studio = PeopleSettings(
        studio=1.0,
        kit=1.0,
        actions=("stand", "walk", "sit", "reach", "run", "step"),
        occlusion=0.1,
        truncation=0.05,
        box_shift=0.015,
        box_stretch=0.03,
        annotated="coco17",
        missing=0.23,
    )
    small = SpinSettings(
        steps=5000,
        image_size=64,
        learning_rate=1e-3,
        warmup=100,
        final_learning_rate=0.02,
        bfloat16=True,
        clip_gradient=30.0,
        first_fit_step=400,
        point_weight=10.0,
        judge="objective",
        last_fits=True,
        augmentation=Augmentation(turn_probability=0.0, scale_deviation=0.0, colour_limit=0.2),
    )
    large = replace(
        small,
        steps=20_000,
        image_size=224,
        learning_rate=1e-4,
        warmup=500,
        first_fit_step=1000,
        augmentation=Augmentation(),
    )
    published = SpinSettings(steps=264_000, learning_rate=3e-5, weight_decay=1e-4)
    photos = PeopleSettings(image_size=224, annotated="coco17", missing=0.23)
    tiny = replace(small, steps=12, batch_size=16, warmup=2, first_fit_step=4)
    return {
        "tiny": Preset("tiny", "small", 64, 32, studio, tiny, judge_every=6, save_every=6, tracked=8, dropout=0.0),
        "cpu": Preset("cpu", "small", 12_000, 1000, studio, small, judge_every=400, save_every=400, dropout=0.0),
        "gpu": Preset("gpu", "resnet50", 24_000, 2000, photos, large, judge_every=2000, save_every=2000),
        "spin2019": Preset("spin2019", "resnet50", 0, 1000, photos, published, judge_every=10_000, save_every=10_000),
    }


def choose(preset: str, mode: str = "loop", seed: int = 0, steps: int = 0) -> Preset:
    """A preset by name, with the choices that a run may make.

    Args:
        preset: one of `presets()`.
        mode: one of `spin.MODES`.
        seed: of the network's weights, the order of samples and the augmentation.
        steps: of training; zero for the preset's.

    Raises:
        ValueError: an unknown name, with the known ones, or negative steps.
    """
    known = presets()
    if preset not in known:
        raise ValueError(f"preset '{preset}' is unknown; choose one of {', '.join(known)}")
    if steps < 0:
        raise ValueError(f"steps must not be negative, got {steps}; zero takes the preset's {known[preset].spin.steps}")
    base = known[preset]
    return replace(base, spin=replace(base.spin, mode=mode, seed=seed, steps=steps or base.spin.steps))


def describe(preset: Preset) -> list[dict[str, object]]:
    """What a preset will do, as rows of a table."""
    s = preset.spin
    return [
        {"setting": "network", "value": f"{preset.backbone}, crops of {s.image_size} pixels"},
        {"setting": "supervised by", "value": s.mode},
        {"setting": "synthetic people", "value": f"{preset.train_people} to train on, {preset.test_people} held out"},
        {"setting": "training", "value": f"{s.steps} steps of {s.batch_size}, learning rate {s.learning_rate:g}"},
        {"setting": "fits begin at step", "value": s.first_fit_step},
        {"setting": "seed", "value": s.seed},
    ]
