"""Synthetic people: the same every time, true to their bodies, and secretive about the truth."""

import dataclasses

import numpy as np
import pytest
import roma
import torch

from spinkit import camera, data, keypoints, people
from spinkit.people import backdrop, detector, light, look, paint, store
from spinkit.people.cast import draw_cast
from spinkit.people.dice import Dice
from spinkit.people.studio import Studio

SMALL = people.PeopleSettings(image_size=24, supersample=1)
EXACT = dataclasses.replace(SMALL, keypoint_noise=0.0, missing=0.0, missing_hidden=0.0, outliers=0.0)
ALL = torch.arange(70)


@pytest.fixture(scope="module")
def crowd(human):
    """Two chunks, the second of them cut short."""
    return people.make(human, len(ALL), seed=3, settings=SMALL)


@pytest.fixture(scope="module")
def exact_crowd(human):
    return people.make(human, 64, seed=4, settings=EXACT)


@pytest.fixture(scope="module")
def studio(human):
    return Studio(human, dataclasses.replace(SMALL, image_size=64))


def dice(count, seed=0):
    return Dice(torch.Generator().manual_seed(seed), count)


def cast_of(studio, count, **changes):
    settings = dataclasses.replace(studio.settings, **changes)
    return draw_cast(studio.human, dice(count), np.random.default_rng(0), settings)


def assert_same(first, second):
    """Every tensor and every picture of two sets agree to the last bit."""
    assert len(first) == len(second)
    rows = torch.arange(len(first))
    assert torch.equal(first.images[rows], second.images[rows])
    for field in ("keypoints", "labels", "judge"):
        one, other = getattr(first, field), getattr(second, field)
        for part in dataclasses.fields(one):
            assert torch.equal(getattr(one, part.name), getattr(other, part.name)), f"{field}.{part.name}"


def residuals(human, samples):
    """Pixels between keypoints and the true body, seen by the camera that explains them best."""
    truth, seen = samples.judge, samples.keypoints
    points = human.keypoints(roma.rotvec_to_rotmat(truth.rotvec), truth.betas)
    shift = camera.solve_translation(points, seen.xy, seen.confidence)
    return (camera.project(camera.crop_camera(shift), points) - seen.xy)[seen.visible]


def test_the_same_seed_gives_the_same_people_and_a_short_set_begins_a_long_one(human, crowd):
    threads = torch.get_num_threads()
    assert_same(people.make(human, 5, seed=3, settings=SMALL), crowd.subset(torch.arange(5)))
    assert torch.get_num_threads() == threads


def test_another_seed_gives_other_people(crowd, exact_crowd):
    assert not torch.equal(crowd.judge.betas[:64], exact_crowd.judge.betas)
    assert not torch.equal(crowd.judge.betas[:6], crowd.judge.betas[64:70])


def test_a_set_of_people_is_fit_for_training(crowd):
    assert len(data.check_samples(crowd)) < len(crowd) / 5
    assert crowd.images.size == 30 and crowd.margin == 30 / 24
    pixels = crowd.images[ALL].float()
    assert (pixels.flatten(1).std(dim=1) > 5).all(), "a picture shows nothing"


def test_without_noise_the_truth_projects_onto_the_keypoints(human, exact_crowd):
    assert exact_crowd.keypoints.visible[:, keypoints.ANNOTATED].all()
    assert residuals(human, exact_crowd).abs().max() < 0.05


def test_marked_points_scatter_fail_and_stray_as_often_as_the_settings_say():
    settings = people.PeopleSettings(keypoint_noise=3.0, missing=0.1, outliers=0.05)
    true_xy = torch.full((500, 49, 2), 60.0)
    marked = detector.detect(true_xy, torch.zeros(500, 49, dtype=torch.bool), dice(500), settings)
    error = (marked.xy - true_xy)[marked.visible]
    far = error.norm(dim=-1) > 6 * settings.keypoint_noise
    assert error[~far].std(dim=0).sub(settings.keypoint_noise).abs().max() < 0.1
    assert abs(far.float().mean() - settings.outliers) < 0.01
    absent = ~marked.visible[:, keypoints.ANNOTATED]
    assert abs(absent.float().mean() - settings.missing) < 0.01
    assert (marked.xy[~marked.visible] == 0).all()


def test_the_keypoints_of_a_set_scatter_about_the_truth(human, crowd):
    # Half of all points of a round Gaussian lie within 1.18 deviations; outliers disturb the camera a little.
    distance = residuals(human, crowd).norm(dim=-1).median() / 1.18
    assert 0.9 * SMALL.keypoint_noise < distance < 1.4 * SMALL.keypoint_noise


def test_the_truth_says_where_the_joints_are(human, exact_crowd):
    truth = exact_crowd.judge
    points = human.keypoints(roma.rotvec_to_rotmat(truth.rotvec), truth.betas)[:, keypoints.ANNOTATED]
    root = keypoints.NAMES.index("Pelvis (MPII)") - keypoints.ANNOTATED.start
    torch.testing.assert_close(truth.joints[..., :3], points - points[:, [root]], atol=1e-5, rtol=0)
    assert (truth.joints[..., 3] == 1).all() and truth.has_smpl.all() and truth.has_pose_3d.all()


def test_labels_know_nothing_of_the_bodies_unless_asked_for(human, crowd):
    assert not crowd.labels.has_smpl.any() and not crowd.labels.has_pose_3d.any()
    for field in ("rotvec", "betas", "joints"):
        assert (getattr(crowd.labels, field) == 0).all(), f"labels.{field} gives the truth away"
    some = people.make(human, 64, seed=3, settings=dataclasses.replace(SMALL, labelled=0.5))
    known = some.labels.has_smpl
    assert 15 < known.sum() < 50
    assert torch.equal(some.labels.rotvec[known], some.judge.rotvec[known])
    assert (some.labels.betas[~known] == 0).all() and (some.labels.rotvec[~known] == 0).all()


def test_openpose_is_silent_unless_asked_and_then_changes_nothing_else(human, crowd):
    assert (crowd.keypoints.confidence[:, keypoints.OPENPOSE] == 0).all()
    heard = people.make(human, 64, seed=3, settings=dataclasses.replace(SMALL, openpose=True)).keypoints
    scores = heard.confidence[:, keypoints.OPENPOSE]
    assert ((scores > 0) & (scores < 1)).float().mean() > 0.7
    annotated = keypoints.ANNOTATED
    assert torch.equal(heard.confidence[:, annotated], crowd.keypoints.confidence[:64, annotated])
    assert torch.equal(heard.xy[:, annotated], crowd.keypoints.xy[:64, annotated])


def test_hidden_points_go_missing(studio):
    cast = cast_of(studio, 32, truncation=0.5)
    occluders = backdrop.draw_occluders(dice(32), chance=1.0)
    covered = studio.covered(cast, occluders)
    xy = camera.project(cast.camera, cast.points)
    settings = dataclasses.replace(studio.settings, missing=0.0, missing_hidden=1.0)
    found = detector.detect(xy, covered, dice(32), settings).visible[:, keypoints.ANNOTATED]
    hidden = (covered | (xy < 0).any(-1) | (xy > camera.RESOLUTION).any(-1))[:, keypoints.ANNOTATED]
    assert torch.equal(found, ~hidden) and hidden.any()


def test_a_keypoint_is_covered_where_the_occluder_is_painted(studio):
    occluders = dataclasses.replace(
        backdrop.draw_occluders(dice(16), chance=0.8), colour=torch.ones(16, 1, 3), other=torch.ones(16, 1, 3)
    )
    painted = backdrop.put(torch.zeros(16, 3, 40, 40), occluders)[:, 0].flatten(1)
    depth, _ = backdrop.inside(occluders, backdrop.grid(40))
    assert torch.equal(painted > 0.5, depth[:, 0] > 0)
    assert (painted > 0).any(dim=1).sum() == occluders.present.sum()


def test_the_drawn_figure_covers_its_joints(studio):
    cast = cast_of(studio, 16)
    colour, cover = studio.figure(cast, look.draw_outfits(dice(16), studio.landmarks), light.draw_lights(dice(16)))
    assert ((cover >= 0) & (cover <= 1.001)).all() and (colour >= 0).all()
    assert (colour * (cover == 0) == 0).all()
    side = cover.shape[-1]
    xy = camera.project(cast.camera, cast.points)[:, list(keypoints.LSP14)] / camera.RESOLUTION
    place = ((0.5 + (xy - 0.5) / studio.settings.stored_margin) * side).long()
    shown = ((place >= 0) & (place < side)).all(dim=-1)
    person = torch.arange(16)[:, None].expand_as(shown)[shown]
    column, row = place[shown].unbind(dim=-1)
    assert (cover[person, 0, row, column] > 0).float().mean() > 0.98


def test_the_crop_is_the_box_around_the_person(studio):
    cast = cast_of(studio, 24, truncation=0.0, box_shift=0.0, box_stretch=0.0)
    xy = camera.project(cast.camera, cast.points)
    low, high = xy.amin(dim=1), xy.amax(dim=1)
    # Perspective moves a hand or foot half a metre before or behind the body by a hundredth.
    torch.testing.assert_close((low + high) / 2, torch.full((24, 2), 112.0), atol=2, rtol=0)
    expected = torch.full((24,), camera.RESOLUTION / studio.settings.box_margin)
    torch.testing.assert_close((high - low).amax(dim=1), expected, rtol=0.02, atol=0)


def test_people_stand_upright_and_face_every_way(studio):
    root = roma.rotvec_to_rotmat(cast_of(studio, 256).rotvec[:, 0])
    assert (root[:, 1, 1] < -0.8).float().mean() > 0.8, "the camera's y points down, the body's up"
    ahead = root[:, [0, 2], 2]
    assert ahead.mean(dim=0).norm() < 0.2
    assert (ahead[:, 1] < -0.5).any() and (ahead[:, 1] > 0.5).any()


def test_shapes_stay_within_their_limit(studio):
    betas = cast_of(studio, 64, largest_beta=0.5).betas
    assert betas.abs().max() == 0.5 and betas.std() > 0.2


def test_clothes_are_the_same_on_both_sides(studio):
    outfits = look.draw_outfits(dice(40), studio.landmarks)[:, None]
    rest = studio.human.v_template
    left = paint.worn(outfits, studio.landmarks, rest)
    right = paint.worn(outfits, studio.landmarks, rest * torch.tensor([-1.0, 1.0, 1.0]))
    for garment in ("shirt", "trousers", "sock", "shoe"):
        assert torch.equal(getattr(left, garment), getattr(right, garment))
        assert getattr(left, garment).any()
    assert not (left.shirt & left.trousers).any()
    face = keypoints.NAMES.index("Nose")
    nose = studio.human.keypoints(torch.eye(3).expand(24, 3, 3), torch.zeros(10))[face]
    assert not paint.worn(outfits, studio.landmarks, nose).hair.any()


def test_in_the_kit_of_one_team_clothes_differ_less_and_bodies_stay_as_they_are(human, studio):
    own, kit = (look.draw_outfits(dice(40), studio.landmarks, share) for share in (0.0, 1.0))
    for garment in ("shirt", "trousers"):
        assert (getattr(kit, garment).pattern == 0).all() and (getattr(own, garment).pattern > 0).any()
        assert getattr(kit, garment).first.std(0).max() < 0.2 * getattr(own, garment).first.std(0).min()
    for edge in ("sleeve", "hem", "cuff", "opening", "beard"):
        assert getattr(kit, edge).std() < 1e-6 < getattr(own, edge).std()
    some = look.draw_outfits(dice(400), studio.landmarks, 0.3)
    assert 0.2 < (some.sleeve == kit.sleeve[0]).float().mean() < 0.4
    one, other = (
        people.make(human, 3, seed=3, settings=dataclasses.replace(SMALL, kit=k, studio=k)) for k in (0.0, 1.0)
    )
    assert torch.equal(one.judge.rotvec, other.judge.rotvec) and torch.equal(one.judge.betas, other.judge.betas)
    assert torch.equal(one.keypoints.xy, other.keypoints.xy)
    assert not torch.equal(one.images[torch.arange(3)], other.images[torch.arange(3)])


def test_in_the_studio_the_background_is_a_plain_wall():
    def roughness(share):
        scene = backdrop.draw_backdrop(dice(24), 40, share)
        return (scene[..., 1:] - scene[..., :-1]).abs().mean(dim=(1, 2, 3))

    street, wall = roughness(0.0), roughness(1.0)
    assert wall.max() < 0.5 * street.median()
    plain = roughness(0.5) <= wall.max()
    assert 6 < plain.sum() < 18


def test_only_the_keypoints_of_the_named_data_set_are_marked():
    settings = people.PeopleSettings(annotated="coco17", missing=0.0, outliers=0.0)
    found = detector.detect(torch.full((3, 49, 2), 60.0), torch.zeros(3, 49, dtype=torch.bool), dice(3), settings)
    expected = torch.zeros(49, dtype=torch.bool)
    expected[list(keypoints.SOURCES["coco17"])] = True
    assert torch.equal(found.visible, expected.expand(3, -1))


def test_people_do_what_the_settings_name(studio):
    """Who sits has thighs far from upright; who stands has not."""
    number = keypoints.JOINT_NAMES.index

    def thigh(*actions):
        cast = cast_of(studio, 48, actions=actions, elevation=0.0, roll=0.0)
        joints = studio.human.joints(roma.rotvec_to_rotmat(cast.rotvec), cast.betas)
        left, right = (joints[:, number(f"{s} Knee")] - joints[:, number(f"{s} Hip")] for s in ("Left", "Right"))
        return torch.nn.functional.normalize(torch.cat([left, right]), dim=-1)[:, 1].mean()

    assert thigh("stand") > 0.9 > 0.6 > thigh("sit")


def test_a_surface_is_brightest_where_it_faces_the_sun():
    lights = light.draw_lights(dice(50))
    lights = dataclasses.replace(lights, sun=torch.ones(50, 3), ground=lights.sky, rim=torch.zeros(50))
    white = torch.ones(50, 3)
    facing = light.shade(lights, white, lights.direction)
    away = light.shade(lights, white, -lights.direction)
    torch.testing.assert_close(lights.direction.norm(dim=1), torch.ones(50))
    torch.testing.assert_close(facing - away, torch.ones(50, 3))


def test_vertex_normals_point_out_of_the_body(human):
    normals = light.vertex_normals(human.v_template[None], human.faces)[0]
    torch.testing.assert_close(normals.norm(dim=1), torch.ones(len(normals)))
    corners = human.v_template[human.faces]
    volume = (corners[:, 0] * torch.linalg.cross(corners[:, 1], corners[:, 2])).sum() / 6
    grown = (human.v_template + 0.001 * normals)[human.faces]
    assert (grown[:, 0] * torch.linalg.cross(grown[:, 1], grown[:, 2])).sum() / 6 > volume > 0.03


def test_a_folder_holds_what_memory_would_and_is_made_once(human, crowd, tmp_path):
    folder = tmp_path / "sets" / "crowd"
    written = people.dataset(folder, human, len(ALL), seed=3, settings=SMALL, progress=False)
    assert_same(written, crowd)
    stamp = (folder / "images.npy").stat().st_mtime_ns
    again = people.dataset(folder, human, 66, seed=3, settings=SMALL, progress=False)
    assert_same(again, crowd.subset(torch.arange(66)))
    assert (folder / "images.npy").stat().st_mtime_ns == stamp
    assert isinstance(again.images.pixels, np.memmap)
    assert [path.name for path in folder.parent.iterdir()] == ["crowd"]


def test_a_folder_of_other_people_is_refused(human, crowd, tmp_path):
    folder = tmp_path / "crowd"

    def ask(count=3, seed=3, settings=SMALL):
        people.dataset(folder, human, count, seed, settings, progress=False)

    ask()
    with pytest.raises(ValueError, match="seed is 3, asked for 4; give another folder, or delete this one"):
        ask(seed=4)
    with pytest.raises(ValueError, match=r"settings\.truncation is 0\.1, asked for 0\.3"):
        ask(settings=dataclasses.replace(SMALL, truncation=0.3))
    with pytest.raises(ValueError, match="holds 3 people, 4 were asked for"):
        ask(count=4)
    (folder / store.INDEX).write_text("no json")
    with pytest.raises(ValueError, match="not JSON"):
        ask()
    (folder / store.INDEX).unlink()
    with pytest.raises(FileExistsError, match=r"holds no people\.json"):
        ask()


def test_an_interrupted_call_leaves_nothing_behind(human, tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "_chunk", fail)
    with pytest.raises(KeyboardInterrupt):
        people.dataset(tmp_path / "crowd", human, 3, seed=0, progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "wrong",
    [
        *({"image_size": 4}, {"supersample": 0}, {"margin": 0.9}, {"missing": 1.5}, {"keypoint_noise": -1.0}),
        *({"kit": 1.1}, {"studio": -0.1}, {"annotated": "coco18"}),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        people.PeopleSettings(**wrong)


def test_an_unknown_action_is_refused_with_the_known_ones(studio):
    with pytest.raises(ValueError, match="actions must be some of stand,"):
        cast_of(studio, 3, actions=("fly",))


def test_nobody_is_refused(human):
    with pytest.raises(ValueError, match="count of people must be at least 1, got 0"):
        people.make(human, 0, seed=0)
