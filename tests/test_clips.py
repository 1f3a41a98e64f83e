import json

import pytest
import roma
import torch
from matplotlib.figure import Figure

from spinkit import camera, clips, keypoints, metrics, priors, smplify, view
from spinkit.camera import Camera
from spinkit.smplify import SmplifySettings, Start
from spinkit.solvers import LevenbergMarquardt

LENS = Camera(torch.tensor([0.0, 0.0, 3.5]), torch.tensor(1678.0), torch.tensor([544.0, 960.0]))


@pytest.fixture(scope="module")
def prior():
    return priors.load()


@pytest.fixture(scope="module")
def drawn(human, prior, tmp_path_factory):
    """Three frames from two sides, as files."""
    return clips.draw(tmp_path_factory.mktemp("clip"), human, prior, LENS, views=2, frames=3)


@pytest.fixture(scope="module")
def fitted(human, prior, drawn):
    """A clip, and fits of it that are not finished."""
    clip = clips.read(drawn)
    hasty = SmplifySettings(body_solver=LevenbergMarquardt(steps=4))
    return clip, smplify.initial_fits(human, prior, clip.flat, hasty, headings=1)


def triangle(x, y, side, score=0.9):
    """A person of 25 points at three corners, which nobody's bones are like: read it as BODY_25B."""
    corners = [(x, y), (x + side, y), (x, y + side)]
    return {"pose_keypoints_2d": [v for i in range(25) for v in (*corners[i % 3], score)]}


def write(folder, frames):
    folder.mkdir(parents=True, exist_ok=True)
    for number, people in frames.items():
        (folder / f"clip_{number:012d}_keypoints.json").write_text(json.dumps({"people": people}))


def test_a_clip_has_its_views_and_frames_in_order(tmp_path):
    for name in ("right", "left"):
        write(tmp_path / name, {number: [triangle(10, 20, 100)] for number in (10, 9, 100)})
    clip = clips.read(tmp_path, "BODY_25B")
    assert clip.views == ("left", "right") and clip.frames == (9, 10, 100) and clip.shape == (2, 3)
    assert clip.stems[0][0] == "clip_000000000009_keypoints"
    assert clip.keypoints.xy.shape == (2, 3, 49, 2) and clip.flat.xy.shape == (6, 49, 2)


def test_a_folder_of_files_is_a_clip_of_one_view(tmp_path):
    write(tmp_path, {0: [triangle(10, 20, 100)]})
    assert clips.read(tmp_path, "BODY_25B").shape == (1, 1)


def test_the_largest_person_is_taken_and_fills_the_crop(tmp_path):
    write(tmp_path / "a", {0: [triangle(400, 0, 60), triangle(10, 20, 100), triangle(0, 0, 500, score=0.1)]})
    clip = clips.read(tmp_path, "BODY_25B", margin=1.12)
    assert clip.people.tolist() == [[3]]
    torch.testing.assert_close(clip.boxes[0, 0], torch.tensor([60.0, 70.0, 112.0]))
    torch.testing.assert_close(clip.keypoints.xy[0, 0, 0], torch.tensor([12.0, 12.0]))


def test_a_frame_without_anybody_stays_in_the_clip_and_is_not_fitted(human, prior, drawn, tmp_path):
    write(tmp_path / "a", {0: [], 1: [triangle(0, 0, 100, score=0.1)]})
    clip = clips.read(tmp_path, "BODY_25B")
    assert not clip.keypoints.visible[0, 0].any() and clip.people.tolist() == [[0, 1]]
    assert torch.isfinite(clip.boxes).all()
    assert not smplify.initial_fits(human, prior, clip.flat[:1]).usable.any()


def test_frames_are_spread_from_the_first_to_the_last(tmp_path):
    write(tmp_path / "a", {number: [triangle(number + 1, 5, 100)] for number in range(10)})
    clip = clips.read(tmp_path, "BODY_25B")
    few = clip.spread(4)
    assert few.frames == (0, 3, 6, 9) and few.stems[0][1].endswith("3_keypoints")
    assert torch.equal(few.boxes, clip.boxes[:, [0, 3, 6, 9]])
    assert clip.spread(99).frames == clip.frames
    with pytest.raises(ValueError, match="at least one frame"):
        clip.spread(0)


def test_views_with_other_frames_are_refused_with_the_frame(tmp_path):
    write(tmp_path / "a", {0: [], 1: []})
    write(tmp_path / "b", {0: [], 2: []})
    with pytest.raises(ValueError, match="b: frame 1 is here or in a"):
        clips.read(tmp_path)


def test_folders_and_names_that_are_no_clip_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no clip at"):
        clips.read(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="no JSON in"):
        clips.read(tmp_path)
    (tmp_path / "people.json").write_text("{}")
    with pytest.raises(ValueError, match="no frame number"):
        clips.read(tmp_path)
    (tmp_path / "people.json").unlink()
    write(tmp_path, {7: []})
    (tmp_path / "other_07.json").write_text("{}")
    with pytest.raises(ValueError, match="frame 7 is also"):
        clips.read(tmp_path)


def test_a_drawn_clip_is_seen_by_its_lens(human, prior, drawn):
    clip = clips.read(drawn)
    assert clip.shape == (2, 3) and (clip.keypoints.confidence[..., keypoints.OPENPOSE] == 1).all()
    # The pelvis stands where the lens looks: OpenPose's eighth point, in the photo's pixels.
    at = clip.boxes[..., :2] + (clip.keypoints.xy[..., 8, :] - 112) * clip.boxes[..., 2:] / 224
    torch.testing.assert_close(at, LENS.center.expand(2, 3, 2), atol=1e-2, rtol=0)


def test_neighbours_lower_the_energy_and_leave_the_fits_alone(human, prior, fitted):
    clip, fits = fitted
    before = fits.rotvec.clone()
    again = clips.from_neighbours(human, prior, clip, fits, passes=1)
    assert (again.total <= fits.total).all() and (again.total < fits.total).any()
    assert torch.equal(fits.rotvec, before)


def test_a_fit_that_failed_is_replaced_by_one_from_its_neighbour(human, prior, fitted):
    clip, fits = fitted
    unusable = fits.usable.clone()
    unusable[1] = False
    broken = smplify.Fit(**{**vars(fits), "usable": unusable, "energy": {k: v * 0 for k, v in fits.energy.items()}})
    again = clips.from_neighbours(human, prior, clip, broken, passes=1)
    assert again.usable.all() and again.total[1] > 0 and again.total[0] == 0


def test_a_turned_scaled_moved_body_is_carried_onto_the_other():
    g = torch.Generator().manual_seed(0)
    joints, points = torch.randn(4, 14, 3, generator=g).double(), torch.randn(4, 30, 3, generator=g).double()
    turn = roma.random_rotmat(4).double()
    similar = [1.3 * x @ turn.mT + torch.tensor([0.1, 0.2, 5.0]) for x in (joints, points)]
    torch.testing.assert_close(clips.carry(points, joints, similar[0]), similar[1])


def two_views(offset):
    """Joints of a body seen from the front and from its left, the second one's wrists moved there by an offset."""
    g = torch.Generator().manual_seed(1)
    front = torch.randn(1, 14, 3, generator=g).double()
    front = front - front.mean(dim=1, keepdim=True)
    quarter = roma.rotvec_to_rotmat(torch.tensor([0.0, torch.pi / 2, 0.0], dtype=torch.float64))
    side = front.clone()
    side[:, 0] += offset
    cameras = Camera(torch.tensor([0.0, 0.0, 9.0]).double().expand(2, 1, 3), torch.ones(2, 1), torch.zeros(2, 1, 2))
    return torch.stack([front, side @ quarter.mT]), cameras


def test_two_views_of_one_body_agree():
    both = clips.compare(*two_views(torch.zeros(3, dtype=torch.float64)))
    assert both.pairs == ((0, 1),) and both.error.max() < 1e-9 and both.in_depth.max() < 1e-7


def test_a_joint_that_is_wrong_in_depth_disagrees_along_the_lines_of_sight():
    joints, cameras = two_views(torch.tensor([0.01, 0.0, 0.0], dtype=torch.float64))
    both = clips.compare(joints, cameras)
    torch.testing.assert_close(both.error[0], metrics.pa_mpjpe(joints[1], joints[0]))
    # Seen from the left, to the front's x is the depth; both photos show what is up and down alone.
    assert both.across.max() < 0.1 * both.distance.max()
    torch.testing.assert_close(2 * both.in_depth**2 + both.across**2, both.distance**2)


def test_a_joint_that_is_wrong_up_and_down_disagrees_across_the_lines_of_sight():
    both = clips.compare(*two_views(torch.tensor([0.0, 0.01, 0.0], dtype=torch.float64)))
    torch.testing.assert_close(both.across[..., 0], both.distance[..., 0], rtol=0.05, atol=0)


def test_one_view_cannot_disagree():
    joints, cameras = two_views(torch.zeros(3, dtype=torch.float64))
    with pytest.raises(ValueError, match="two views or more"):
        clips.compare(joints[:1], cameras)


def test_misses_are_counted_in_pixels_of_the_photo(human, fitted):
    clip, fits = fitted
    points = human.keypoints(roma.rotvec_to_rotmat(fits.rotvec), fits.betas)
    there = camera.project(camera.photo_camera(fits.camera, clip.boxes.flatten(0, 1)), points)
    marked = clip.boxes.flatten(0, 1)[:, None, :2] + (clip.flat.xy - 112) * clip.boxes.flatten(0, 1)[:, None, 2:] / 224
    missed = clips.misses(human, clip, fits)
    assert len(missed) == 6 * 22, "25 points without neck and hips"
    assert missed[0] == pytest.approx(float((there - marked).norm(dim=-1)[0, 0]), abs=0.05)


def test_the_real_lens_brings_the_views_of_a_drawn_clip_together(human, prior, drawn):
    clip = clips.read(drawn)
    first = smplify.initial_fits(human, prior, clip.flat)
    boxes = clip.boxes.flatten(0, 1)
    taken = camera.with_intrinsics(camera.photo_camera(first.camera, boxes), float(LENS.focal), LENS.center)
    start = Start(first.rotvec, first.betas, camera.cropped_camera(taken, boxes))
    real = smplify.fit(human, prior, clip.flat, start)
    far, near = (clips.agreement(human, clip, fits).error.mean() for fits in (first, real))
    assert near < far
    assert (real.camera.translation[:, 2] - 3.5).abs().max() < 0.5, "metres from the camera"


def test_the_real_clip_is_one_man_in_every_frame_of_every_view(realdata):
    folder = realdata / "openpose_multiview" / "pose"
    if not folder.is_dir():
        pytest.skip("no openpose_multiview in ../shared/realdata")
    clip = clips.read(folder, "BODY_25B")
    assert clip.shape == (4, 100) and clip.people.unique().tolist() == [1, 2, 3]
    # Whoever stands in the back is hundreds of pixels away; the man leaps only where a detection is broken.
    leaps = (clip.boxes[:, 1:, :2] - clip.boxes[:, :-1, :2]).norm(dim=-1) > 60
    assert clip.boxes[..., 2].min() > 500 and leaps[2:].sum() == 0


def test_a_fitted_clip_is_drawn_with_and_without_stills(human, fitted, tmp_path):
    clip, fits = fitted
    sheet = view.clip_sheet(clip, human, fits, [(0, 0), (1, 2)])
    assert isinstance(sheet, Figure) and sheet.axes[1].get_title() == "view2, 2"
    swapped = view.exchanged(clip, human, fits, (0, 1), 1, tmp_path)
    assert [axis.get_title() for axis in swapped.axes][1] == "body of view1 in view2"


def test_cameras_are_drawn_by_what_they_see_and_where_they_stand(human):
    lens = camera.from_weak(torch.tensor([0.9, 0.0, 0.0]))
    both = {"long": lens, "short": camera.with_intrinsics(lens, 400.0)}
    assert [a.get_title() for a in view.seen_through(human.v_template, human.faces, both).axes] == ["long", "short"]
    side = view.from_the_side(human.v_template, both)
    assert side.axes[0].get_xlim()[1] > 49 and side.axes[0].get_xlim() == side.axes[1].get_xlim()
