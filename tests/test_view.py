"""Pictures: where they show things, that both renderers agree, that notebooks can show them."""

import base64
import functools
import io
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pytest
import roma
import torch
from matplotlib.figure import Figure
from PIL import Image
from scipy.ndimage import binary_erosion
from torch import Tensor

from spinkit import camera, raster, view
from spinkit.keypoints import JOINT_NAMES, NAMES, Keypoints
from spinkit.view import gl, scenes, shading, style

needs_opengl = pytest.mark.skipif(not gl.installed(), reason="no EGL and OpenGL here; the rasteriser draws instead")


@dataclass(frozen=True)
class Fitted:
    """What view asks of a fit."""

    rotvec: Tensor
    betas: Tensor
    camera: camera.Camera


@pytest.fixture(scope="module")
def fit() -> Fitted:
    """Two upright people with lowered arms, in the middle of the crop."""
    generator = torch.Generator().manual_seed(0)
    rotvec = 0.1 * torch.randn(2, 24, 3, generator=generator)
    rotvec[:, 0] = torch.tensor([torch.pi, 0, 0])
    rotvec[:, 16, 2], rotvec[:, 17, 2] = -1.0, 1.0
    translation = torch.tensor([[0.0, 0.25, 45.0], [0.3, 0.25, 50.0]])
    return Fitted(rotvec, torch.zeros(2, 10), camera.crop_camera(translation))


def difference(a, b) -> np.ndarray:
    return np.abs(np.asarray(a).astype(float) - np.asarray(b).astype(float)).max(axis=-1)


@needs_opengl
def test_the_rasteriser_draws_the_picture_that_pyrender_draws(human, fit):
    vertices, seen_from = view.posed(human, fit)
    colour = 0.5 + 0.4 * torch.sin(5 * human.v_template)
    ours = view.render(vertices, human.faces, seen_from, 448, colour=colour, backend="raster")
    theirs = view.render(vertices, human.faces, seen_from, 448, colour=colour, backend="pyrender")
    inside = binary_erosion(view.silhouette(vertices, human.faces, seen_from, 448), iterations=2)
    assert inside.sum() > 10_000
    assert difference(ours, theirs)[inside].mean() < 3.0  # of 255; what is left are the edges of overlapping limbs
    assert difference(ours, theirs).mean() < 1.0


@needs_opengl
@pytest.mark.parametrize("size", [64, 224])
def test_the_rasterisers_silhouette_is_that_of_opengl(human, fit, size):
    vertices, seen_from = view.posed(human, fit)
    ours = view.silhouette(vertices, human.faces, seen_from, size, backend="raster")
    theirs = view.silhouette(vertices, human.faces, seen_from, size, backend="pyrender")
    # OpenGL rounds corners to 1/256 pixel, so a pixel centre on an outline may fall either way.
    assert (ours != theirs).sum() <= 2


@needs_opengl
def test_drawing_leaves_the_process_as_it_was(human, fit, monkeypatch):
    monkeypatch.delenv("PYOPENGL_PLATFORM", raising=False)
    vertices, seen_from = view.posed(human, fit)
    first = view.render(vertices, human.faces, seen_from, 64, backend="pyrender")
    view.render(vertices, human.faces, seen_from, 128, backend="pyrender")
    again = view.render(vertices, human.faces, seen_from, 64, backend="pyrender")
    assert "PYOPENGL_PLATFORM" not in os.environ
    np.testing.assert_array_equal(first, again)


@needs_opengl
def test_another_thread_gets_its_picture_from_the_rasteriser(human, fit):
    assert gl.usable()
    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(gl.usable).result()


def test_a_driver_that_fails_is_told_once_and_replaced(monkeypatch):
    monkeypatch.setattr(gl, "installed", lambda: True)
    monkeypatch.setitem(sys.modules, "pyrender", None)  # importing it now fails
    monkeypatch.setattr(gl, "_renderer", functools.cache(gl._renderer.__wrapped__))  # a process that drew nothing
    with pytest.warns(UserWarning, match="using the rasteriser"):
        assert not gl.usable()
    assert not gl.usable()


def test_without_opengl_the_rasteriser_draws(human, fit, monkeypatch):
    monkeypatch.setattr(gl, "installed", lambda: False)
    vertices, seen_from = view.posed(human, fit)
    auto = view.render(vertices, human.faces, seen_from, 64)
    np.testing.assert_array_equal(auto, view.render(vertices, human.faces, seen_from, 64, backend="raster"))
    with pytest.raises(RuntimeError, match="libegl1"):
        view.render(vertices, human.faces, seen_from, 64, backend="pyrender")


def test_a_body_is_drawn_where_its_keypoints_are_projected(human, fit):
    vertices, seen_from = view.posed(human, fit, 1)
    pixels = camera.project(seen_from, vertices) * 2  # drawn with 448 pixels a side
    rows, columns = np.nonzero(view.silhouette(vertices, human.faces, seen_from, 448))
    low, high = pixels.amin(dim=0), pixels.amax(dim=0)
    assert abs(columns.min() - float(low[0])) <= 1.5 and abs(columns.max() - float(high[0])) <= 1.5
    assert abs(rows.min() - float(low[1])) <= 1.5 and abs(rows.max() - float(high[1])) <= 1.5


def test_the_background_stays_where_no_body_is(human, fit):
    vertices, seen_from = view.posed(human, fit)
    photo = torch.randint(0, 256, (3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    drawn = view.render(vertices, human.faces, seen_from, 224, photo, backend="raster")
    far = ~view.silhouette(vertices, human.faces, seen_from, 224)
    far = binary_erosion(far, iterations=2)
    np.testing.assert_array_equal(drawn[far], view.as_picture(photo)[far])


def test_a_sphere_is_brightest_towards_the_key_light():
    normal = torch.nn.functional.normalize(torch.randn(500, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    position = normal + torch.tensor([0.0, 0.0, 50.0])
    shown = shading.shade(position, normal, torch.full((500, 3), 0.5)).mean(dim=-1)
    key = torch.nn.functional.normalize(torch.tensor(shading.LIGHTS[0][0]), dim=0)
    assert normal[shown.argmax()] @ key > 0.9
    assert float(shown.min()) > 0


def test_normals_of_a_closed_body_point_outwards(human):
    normals = shading.vertex_normals(human.v_template, human.faces)
    grown = human.v_template + 0.01 * normals
    area_of_boxes = [float((v.amax(0) - v.amin(0)).prod()) for v in (human.v_template, grown)]
    assert area_of_boxes[1] > area_of_boxes[0]
    torch.testing.assert_close(normals.norm(dim=-1), torch.ones(len(normals)))


def test_a_batch_of_cameras_is_refused(human, fit):
    vertices, _ = view.posed(human, fit)
    with pytest.raises(ValueError, match="one camera"):
        view.render(vertices, human.faces, fit.camera, 32)


@pytest.mark.parametrize("bad", [torch.zeros(224, 224, 3), torch.zeros(1, 3, 8, 8), np.zeros((8, 8, 3))])
def test_what_is_no_picture_is_refused(bad):
    with pytest.raises(ValueError, match="picture"):
        view.as_picture(bad)


def test_bytes_floats_and_pillow_are_the_same_picture():
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    tensor = torch.from_numpy(picture).permute(2, 0, 1)
    for same in (tensor, tensor / 255, Image.fromarray(picture), picture):
        np.testing.assert_array_equal(view.as_picture(same), picture)


def test_an_overlay_changes_the_body_only_and_leaves_its_inputs(human, fit):
    photo = torch.full((3, 224, 224), 90, dtype=torch.uint8)
    before = photo.clone(), fit.rotvec.clone(), fit.betas.clone()
    for index in (0, 1):
        drawn = np.asarray(view.overlay(photo, human, fit, index, side=224))
        inside = view.silhouette(*_mesh(human, fit, index), size=224)
        assert (difference(drawn, view.as_picture(photo))[binary_erosion(inside)] > 0).mean() > 0.95
        assert difference(drawn, view.as_picture(photo))[binary_erosion(~inside, iterations=2)].max() == 0
    assert all(torch.equal(a, b) for a, b in zip(before, (photo, fit.rotvec, fit.betas), strict=True))


def _mesh(human, fit, index):
    vertices, seen_from = view.posed(human, fit, index)
    return vertices, human.faces, seen_from


def test_a_photo_keeps_its_own_size_and_pixels(human, fit):
    photo = torch.zeros(3, 120, 200, dtype=torch.uint8)
    whole = camera.photo_camera(fit.camera[0], torch.tensor([100.0, 60.0, 110.0]))
    drawn = view.overlay(photo, human, Fitted(fit.rotvec[0], fit.betas[0], whole), side=None)
    assert drawn.size == (200, 120)
    rows, columns = np.nonzero(np.asarray(drawn).max(axis=-1))
    assert abs(columns.mean() - 100) < 20 and abs(rows.mean() - 60) < 20


def test_keypoints_are_dots_at_their_pixels_and_missing_ones_are_not_drawn():
    xy, confidence = torch.full((49, 2), 60.0), torch.zeros(49)
    index = NAMES.index("OP LWrist")
    xy[index], confidence[index] = torch.tensor([150.0, 40.0]), 1.0
    photo = torch.zeros(3, 224, 224, dtype=torch.uint8)
    drawn = np.asarray(view.keypoints_on(photo, Keypoints(xy, confidence), side=224)).max(axis=-1)
    rows, columns = np.nonzero(drawn > 40)
    assert abs(columns.mean() - 150) < 1.5 and abs(rows.mean() - 40) < 1.5
    nothing = view.keypoints_on(photo, Keypoints(xy, 0 * confidence), against=xy, names=True)
    assert np.asarray(nothing).max() == 0


def test_a_turntable_begins_at_the_camera_and_shows_the_back(human, fit, tmp_path):
    frames = view.turntable(human, fit, frames=4, side=48)
    assert len(frames) == 4 and all(frame.shape == (48, 48, 3) for frame in frames)
    front, back = (frame.min(axis=-1) < 250 for frame in (frames[0], frames[2]))
    overlap = (front & back[:, ::-1]).sum() / (front | back[:, ::-1]).sum()
    assert overlap > 0.8  # From behind, a body's outline is the mirror image.
    with Image.open(view.save_gif(frames, tmp_path / "turn.gif")) as saved:
        assert saved.n_frames == 4


def test_growing_turns_show_the_left_side_first(human):
    left_hand = human.v_template[:, 0].argmax()
    colour = torch.ones(len(human.v_template), 3)
    colour[human.v_template[:, 0] > 0] = torch.tensor([1.0, 0.0, 0.0])
    assert human.v_template[left_hand, 0] > 0
    picture = np.asarray(view.still(human.v_template, human.faces, (90.0,), colour=colour, side=64)).astype(int)
    body = picture.min(axis=-1) < 250
    red = body & (picture[..., 0] - picture[..., 1] > 60)
    assert red.sum() > 0.6 * body.sum()


@pytest.mark.parametrize(
    "figure",
    [
        view.curves([0, 1, 2], {"a": torch.tensor([1.0, 2, 3]), "b": [3, 2, 1]}, x="error (px)", y="cost", top=2.5),
        view.energy_bars({"start": {"pose": torch.tensor([5.0, 7])}, "end": {"pose": 1.0, "shape": 0.5}}),
        view.bars(["nose", "hip"], {"fit": torch.rand(4, 2), "tied": torch.rand(4, 2)}, x="harm (mm)"),
        view.histogram({"start": torch.arange(9.0)}, x="error (px)", threshold=4, top=6),
        view.dictionary_timeline({"step": [0, 1, 2], "valid (%)": [50, 70, 90], "error (px)": [9, 5, 4]}),
        view.contact_sheet([torch.rand(3, 9, 9), np.zeros((5, 8, 3), np.uint8)], ["one", "two"]),
    ],
    ids=["curves", "energy_bars", "bars", "histogram", "dictionary_timeline", "contact_sheet"],
)
def test_a_figure_is_shown_once_and_holds_ink(figure):
    assert isinstance(figure, Figure)
    assert not plt.get_fignums(), "an open figure would be shown a second time at the end of its cell"
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    with Image.open(drawn) as picture:
        assert np.ptp(np.asarray(picture.convert("RGB"))) > 100


def test_bars_are_means_and_whiskers_two_standard_errors():
    figure = view.bars(["nose", "hip"], {"fit": torch.tensor([[1.0, 4.0], [3.0, 4.0]])}, x="harm (mm)")
    (place,) = figure.axes
    assert [bar.get_width() for bar in place.patches] == pytest.approx([2, 4])
    (whiskers,) = place.collections
    ends = np.stack(whiskers.get_segments())[..., 0]
    np.testing.assert_allclose(ends, [[0, 4], [4, 4]], atol=1e-6)
    with pytest.raises(ValueError, match=r"fit: values \(4, 2\) need one column each of 1 names"):
        view.bars(["nose"], {"fit": torch.rand(4, 2)}, x="harm (mm)")


def test_a_histogram_says_which_part_lies_under_the_threshold():
    figure = view.histogram({"fits": torch.arange(10.0)}, x="error (px)", threshold=3)
    assert all(tick == round(tick) for tick in figure.axes[0].get_yticks()), "half a person"
    (text,) = figure.axes[0].get_legend().get_texts()
    assert text.get_text() == "fits: 30 % under 3"


def test_a_timeline_without_its_axis_is_refused():
    with pytest.raises(ValueError, match="'step'"):
        view.dictionary_timeline({"valid (%)": [1, 2]})


def test_a_sheet_with_a_title_missing_is_refused():
    with pytest.raises(ValueError, match="2 pictures need as many titles, got 1"):
        view.contact_sheet([np.zeros((4, 4, 3), np.uint8)] * 2, ["one"])


def test_a_table_marks_its_best_row_and_reads_as_text():
    table = view.loop_table([{"loop": "<static>", "mm": torch.tensor(89.25)}, {"loop": "SPIN", "mm": 84.0}], ["mm"])
    assert "<b>84</b>" in table._repr_html_() and "<b>89" not in table._repr_html_()
    assert "&lt;static&gt;" in table._repr_html_()
    assert str(table).splitlines()[1].split() == ["<static>", "89.25"]


def test_a_body_to_turn_by_hand_is_small_and_has_a_still(human):
    bundle = view.body_figure(human.v_template, human.faces)._repr_mimebundle_()
    assert len(json.dumps(bundle)) < 400_000
    with Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))) as still:
        assert np.ptp(np.asarray(still)) > 100
    (mesh,) = bundle["application/vnd.plotly.v1+json"]["data"]
    assert mesh["type"] == "mesh3d"


def test_a_still_shows_joints_through_the_skin_where_they_are(human):
    joints = human.joints(torch.eye(3).expand(24, 3, 3), torch.zeros(10))
    plain, with_joints = (view.body_figure(human.v_template, human.faces, joints=j).still for j in (None, joints))
    assert with_joints.size == plain.size
    across = {}
    for name, colour in (("left", style.LEFT), ("right", style.RIGHT)):
        far = [np.abs(np.asarray(still, float) - 255 * np.array(colour)).sum(axis=-1) for still in (plain, with_joints)]
        assert not (far[0] < 40).any(), "skin has another colour"
        across[name] = np.nonzero(far[1][:, :320] < 40)[1].mean()
    assert across["right"] < 160 < across["left"], "the body looks at us"
    ink = [(np.asarray(still.convert("L")) < 240) for still in (plain, with_joints)]
    assert (ink[1] & ~ink[0]).mean() < 0.005, "bones lie within the body"


def test_an_interactive_body_keeps_its_coordinates(human):
    figure = view.body_figure(human.v_template, human.faces).figure
    shown = np.stack([figure.data[0].x, figure.data[0].y, figure.data[0].z], axis=-1)
    np.testing.assert_array_equal(shown, human.v_template.numpy())
    sides = [figure.layout.scene[f"{axis}axis"].range for axis in "xyz"]
    lengths = [high - low for low, high in sides]
    assert np.ptp(lengths) < 1e-6, "equal lengths, or the body would be stretched"
    assert all(low <= v.min() and v.max() <= high for (low, high), v in zip(sides, shown.T, strict=True))


def test_a_skeleton_shows_every_bone_in_the_colour_of_its_side(human):
    joints = human.joints(torch.eye(3).expand(24, 3, 3), torch.zeros(10))
    figure = view.skeleton_figure(joints).figure
    assert len(figure.data) == 24  # 23 bones and one set of dots
    assert list(figure.data[-1].text) == list(JOINT_NAMES)
    colours = figure.data[-1].marker.color
    left, right = JOINT_NAMES.index("Left Knee"), JOINT_NAMES.index("Right Knee")
    assert colours[left] != colours[right] != colours[0]
    with pytest.raises(ValueError, match="as many parents"):
        view.skeleton_figure(joints[:5])


def test_an_unknown_frame_is_refused(human):
    with pytest.raises(ValueError, match="y up"):
        view.body_figure(human.v_template, human.faces, frame="world")
    with pytest.raises(ValueError, match="y up"):
        view.still(human.v_template, human.faces, frame="world")


def test_a_fit_of_one_person_needs_no_index(human, fit):
    single = Fitted(fit.rotvec[0], fit.betas[0], fit.camera[0])
    assert torch.equal(view.posed(human, single)[0], view.posed(human, fit, 0)[0])
    figure = view.side_by_side(torch.zeros(3, 64, 64), human, {"start": fit, "fitted": single})
    assert [place.get_title() for place in figure.axes] == ["image", "start", "fitted"]


def test_both_views_put_a_reader_in_front_of_the_body():
    """The eye stands on the side that the body, or the camera, looks from, with up pointing up."""
    for frame, facing in (("body", 1), ("camera", -1)):
        assert np.sign(scenes.VIEWS[frame]["eye"]["z"]) == facing
        assert scenes.VIEWS[frame]["up"]["y"] == facing


def test_a_rotation_of_the_body_turns_its_picture(human, fit):
    turned = fit.rotvec.clone()
    turn = roma.rotvec_composition([torch.tensor([0.0, torch.pi / 2, 0.0]), fit.rotvec[0, 0]])
    turned[0, 0] = turn
    aside = Fitted(turned, fit.betas, fit.camera)
    widths = []
    for one in (fit, aside):
        vertices, faces, seen_from = _mesh(human, one, 0)
        picture = raster.rasterize(
            (vertices + seen_from.translation)[None],
            faces,
            seen_from.focal[None],
            seen_from.center[None],
            camera.RESOLUTION,
        )
        widths.append(np.ptp(np.nonzero(picture.mask[0].numpy())[1]))
    assert widths[1] < widths[0]
