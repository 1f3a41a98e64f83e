"""The body layer: agreement with smplx, keypoints without a mesh, exact derivatives, symmetry."""

import math

import numpy as np
import pytest
import roma
import smplx
import torch
from rotating import hat

from spinkit import body as bodies
from spinkit import crop, keypoints

FLIP = torch.tensor([-1.0, 1.0, 1.0])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*batch, seed=0, dtype=torch.float32):
    """Rotation vectors of all sizes, and betas."""
    g = seeded(seed)
    return 0.8 * torch.randn(*batch, 24, 3, generator=g, dtype=dtype), torch.randn(*batch, 10, generator=g, dtype=dtype)


@pytest.fixture(scope="module")
def exact(human):
    """The default body in float64."""
    return human.to(torch.float64)


@pytest.fixture(scope="module")
def reference(root):
    """The same file in smplx, and the regressor of the nine annotated points."""
    with np.load(root / "data" / "body.npz") as file:
        arrays = {name: file[name] for name in file.files}
    model = smplx.SMPL(model_path="", data_struct=smplx.utils.Struct(**arrays), batch_size=4)
    return model, torch.from_numpy(arrays["J_regressor_extra"])


@pytest.fixture(scope="module")
def smplx_answer(reference):
    """Four bodies as smplx poses them: rotation vectors, betas, vertices and the 54 candidate points."""
    model, extra = reference
    rotvec, betas = draw(4)
    with torch.no_grad():
        out = model(betas=betas, global_orient=rotvec[:, 0], body_pose=rotvec[:, 1:].flatten(1))
    return rotvec, betas, out.vertices, torch.cat([out.joints, extra @ out.vertices], dim=1)


def test_vertices_and_joints_agree_with_smplx(human, smplx_answer):
    rotvec, betas, vertices, pool = smplx_answer
    rotmat = roma.rotvec_to_rotmat(rotvec)
    torch.testing.assert_close(human.vertices(rotmat, betas), vertices, atol=1e-5, rtol=0)
    torch.testing.assert_close(human.joints(rotmat, betas), pool[:, :24], atol=1e-5, rtol=0)
    torch.testing.assert_close(human.shaped(betas).posed(rotmat).joints, pool[:, :24], atol=1e-5, rtol=0)


def test_keypoints_without_a_mesh_agree_with_those_of_smplx_mesh(human, smplx_answer):
    rotvec, betas, _, pool = smplx_answer
    found = human.keypoints(roma.rotvec_to_rotmat(rotvec), betas)
    torch.testing.assert_close(found, pool[:, list(keypoints.POOL)], atol=1e-5, rtol=0)


def test_at_rest_the_mean_body_is_its_template(human):
    still = torch.eye(3).expand(24, 3, 3)
    torch.testing.assert_close(human.vertices(still, torch.zeros(10)), human.v_template, atol=1e-6, rtol=0)


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
def test_any_batch_shape_gives_what_single_bodies_give(human, batch):
    rotvec, betas = draw(*batch)
    rotmat = roma.rotvec_to_rotmat(rotvec)
    flat_rotmat, flat_betas = rotmat.reshape(-1, 24, 3, 3), betas.reshape(-1, 10)
    for method, points in ((human.vertices, 6890), (human.joints, 24), (human.keypoints, 49)):
        found = method(rotmat, betas)
        assert found.shape == (*batch, points, 3)
        singly = torch.stack([method(r, b) for r, b in zip(flat_rotmat, flat_betas, strict=True)])
        torch.testing.assert_close(found.reshape(-1, points, 3), singly, atol=1e-6, rtol=0)


def test_an_empty_batch_has_no_keypoints(human):
    assert human.keypoints(torch.zeros(0, 24, 3, 3), torch.zeros(0, 10)).shape == (0, 49, 3)


def test_a_mirrored_pose_gives_the_mirrored_body(human):
    rotvec, betas = draw(3)
    change = crop.Change(torch.ones(3, dtype=torch.bool), torch.zeros(3), torch.ones(3), torch.ones(3, 3))
    mirrored = roma.rotvec_to_rotmat(crop.change_rotvec(change, rotvec))
    rotmat = roma.rotvec_to_rotmat(rotvec)
    order = torch.tensor(keypoints.MIRROR)
    for found, expected in (
        (human.vertices(mirrored, betas)[:, human.vertex_mirror], human.vertices(rotmat, betas)),
        (human.keypoints(mirrored, betas)[:, order], human.keypoints(rotmat, betas)),
    ):
        torch.testing.assert_close(FLIP * found, expected, atol=1e-5, rtol=0)


def test_turning_the_whole_body_turns_its_keypoints_about_the_pelvis(exact):
    rotvec, betas = draw(3, dtype=torch.float64)
    rotmat = roma.rotvec_to_rotmat(rotvec)
    turn = roma.rotvec_to_rotmat(torch.tensor([0.3, -1.0, 0.5], dtype=torch.float64))
    turned = torch.cat([turn @ rotmat[:, :1], rotmat[:, 1:]], dim=1)
    pelvis = exact.joints(rotmat, betas)[:, :1]
    expected = (exact.keypoints(rotmat, betas) - pelvis) @ turn.T + pelvis
    torch.testing.assert_close(exact.keypoints(turned, betas), expected)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-6, 0.25, 1.0, math.pi - 1e-7, math.pi, 4.0])
def test_the_derivative_in_closed_form_is_that_of_automatic_differentiation(exact, angle):
    rotvec, betas = draw(2, dtype=torch.float64)
    rotvec = angle * torch.nn.functional.normalize(rotvec, dim=-1)
    layer = exact.keypoints_only()

    def positions(rotvec, betas):
        # The matrix exponential has no seam at zero or at half turns.
        rotmat = torch.linalg.matrix_exp(hat(rotvec))
        return layer.pose(rotmat, betas).positions().sum(0)

    by_rotation, by_betas = torch.autograd.functional.jacobian(positions, (rotvec, betas), vectorize=True)
    posed = layer.pose(torch.linalg.matrix_exp(hat(rotvec)), betas)
    rows = torch.eye(3, dtype=torch.float64).expand(2, 49, 3, 3)
    found = posed.derivative(bodies.left_jacobian(rotvec), rows)
    torch.testing.assert_close(found[..., :72], by_rotation.movedim(2, 0).flatten(-2), atol=1e-8, rtol=0)
    torch.testing.assert_close(found[..., 72:], by_betas.movedim(2, 0), atol=1e-8, rtol=0)


def test_what_the_lean_derivative_leaves_out_is_what_the_correctives_pull(exact):
    rotvec, betas = draw(3, dtype=torch.float64)
    posed = exact.keypoints_only().pose(roma.rotvec_to_rotmat(rotvec), betas)
    jacobian, eye = bodies.left_jacobian(rotvec), torch.eye(3, dtype=torch.float64).expand(3, 49, 3, 3)
    force = torch.randn(3, 49, 3, generator=seeded(), dtype=torch.float64)
    whole, lean = (posed.derivative(jacobian, eye, correctives=kept) for kept in (True, False))
    left_out = torch.einsum("bor,born->bn", force, whole - lean)
    assert left_out[:, 3:72].abs().amax() > 1e-3
    pull = posed.corrective_pull(jacobian.permute(1, 2, 3, 0), force.permute(1, 2, 0)).T
    torch.testing.assert_close(pull, left_out[:, 3:72], atol=1e-10, rtol=0)
    torch.testing.assert_close(left_out[:, :3], torch.zeros_like(left_out[:, :3]))
    torch.testing.assert_close(left_out[:, 72:], torch.zeros_like(left_out[:, 72:]))


def test_rows_of_a_derivative_multiply_it(exact):
    rotvec, betas = draw(2, dtype=torch.float64)
    posed = exact.keypoints_only().pose(roma.rotvec_to_rotmat(rotvec), betas)
    jacobian, eye = bodies.left_jacobian(rotvec), torch.eye(3, dtype=torch.float64).expand(2, 49, 3, 3)
    rows = torch.randn(2, 49, 2, 3, generator=seeded(), dtype=torch.float64)
    torch.testing.assert_close(posed.derivative(jacobian, rows), rows @ posed.derivative(jacobian, eye))


@pytest.mark.parametrize("angle", [0.0, 1e-9, 0.2499, 0.2501, 2.0, math.pi, 6.0])
def test_the_left_jacobian_gives_the_rotation_and_its_change(angle):
    rotvec = angle * torch.nn.functional.normalize(torch.randn(5, 3, generator=seeded(), dtype=torch.float64), dim=-1)
    jacobian, eye = bodies.left_jacobian(rotvec), torch.eye(3, dtype=torch.float64)
    rotmat = torch.linalg.matrix_exp(hat(rotvec))
    torch.testing.assert_close(eye + hat(rotvec) @ jacobian, rotmat, atol=1e-12, rtol=0)
    step = 1e-6 * torch.randn(5, 3, generator=seeded(1), dtype=torch.float64)
    turn = torch.linalg.matrix_exp(hat((jacobian @ step[..., None])[..., 0]))
    torch.testing.assert_close(torch.linalg.matrix_exp(hat(rotvec + step)), turn @ rotmat, atol=1e-11, rtol=0)


@pytest.mark.parametrize("chosen", [[0], [7, 3, 3, 48, 36], list(range(25, 49)), []])
def test_a_layer_of_some_keypoints_gives_the_same_as_picking_them(exact, chosen):
    rotvec, betas = draw(3, dtype=torch.float64)
    rotmat, index = roma.rotvec_to_rotmat(rotvec), torch.tensor(chosen, dtype=torch.int64)
    layer = exact.keypoints_only()
    some, every = layer.select(index).pose(rotmat, betas), layer.pose(rotmat, betas)
    torch.testing.assert_close(some.positions(), every.positions()[:, index])
    rows = torch.randn(3, 49, 2, 3, generator=seeded(), dtype=torch.float64)
    jacobian = bodies.left_jacobian(rotvec)
    picked = some.derivative(jacobian, rows[:, index])
    torch.testing.assert_close(picked, every.derivative(jacobian, rows)[:, index])


def test_a_body_in_float64_keeps_its_integers_and_its_keypoints(human, exact):
    rotvec, betas = draw(2)
    assert exact.v_template.dtype == exact.keypoint_layer.arm_template.dtype == torch.float64
    assert exact.faces.dtype == exact.keypoint_layer.joint.dtype == torch.int64
    rotmat = roma.rotvec_to_rotmat(rotvec)
    precise = exact.keypoints(rotmat.double(), betas.double())
    torch.testing.assert_close(human.keypoints(rotmat, betas).double(), precise, atol=2e-6, rtol=0)


def test_posing_leaves_its_inputs_and_the_body_alone(human):
    rotvec, betas = draw(2)
    rotmat = roma.rotvec_to_rotmat(rotvec)
    constants = (human.v_template, human.keypoint_layer.arm_template, human.keypoint_layer.corrective_dirs)
    before = [t.clone() for t in (rotmat, betas, *constants)]
    human.vertices(rotmat, betas)
    posed = human.keypoints_only().pose(rotmat, betas)
    posed.derivative(bodies.left_jacobian(rotvec), torch.eye(3).expand(2, 49, 3, 3))
    assert all(torch.equal(old, new) for old, new in zip(before, (rotmat, betas, *constants), strict=True))


def test_every_vertex_has_a_part_and_every_part_vertices(human):
    assert human.part6.unique().tolist() == list(range(len(human.part6_names)))
    assert human.part24.shape == (6890,)
    knee = keypoints.JOINT_NAMES.index("Left Knee")
    legs = human.part6[human.part24 == knee].unique()
    assert [human.part6_names[part] for part in legs] == ["left_leg"]
