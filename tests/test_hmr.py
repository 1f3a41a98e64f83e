"""The regressor: published names and shapes, 6D layout, rounds, gradients, foreign weights, refusals."""

import math
from dataclasses import replace

import numpy as np
import pytest
import roma
import torch

from spinkit import hmr


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(seed: int = 0) -> hmr.HMR:
    return hmr.HMR("small", hmr.mean_parameters(), generator=seeded(seed))


@pytest.fixture(scope="module")
def published() -> hmr.HMR:
    return hmr.HMR("resnet50", hmr.mean_parameters())


def norm_shapes(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    fields = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{field}": (channels,) for field in fields} | {f"{name}.num_batches_tracked": ()}


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Keys and shapes of SPIN's checkpoint, written down from its table and not from our network."""
    shapes = {"conv1.weight": (64, 3, 7, 7)} | norm_shapes("bn1", 64)
    inputs = 64
    for layer, (blocks, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], start=1):
        outputs = 4 * width
        for block in range(blocks):
            name = f"layer{layer}.{block}"
            kernels = [(width, inputs, 1, 1), (width, width, 3, 3), (outputs, width, 1, 1)]
            for number, kernel in enumerate(kernels, start=1):
                shapes[f"{name}.conv{number}.weight"] = kernel
                shapes |= norm_shapes(f"{name}.bn{number}", kernel[0])
            if block == 0:
                shapes[f"{name}.downsample.0.weight"] = (outputs, inputs, 1, 1)
                shapes |= norm_shapes(f"{name}.downsample.1", outputs)
            inputs = outputs
    linear = {"fc1": (1024, 2205), "fc2": (1024, 1024), "decpose": (144, 1024)}
    linear |= {"decshape": (10, 1024), "deccam": (3, 1024)}
    for name, shape in linear.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes | {"init_pose": (1, 144), "init_shape": (1, 10), "init_cam": (1, 3)}


def test_the_state_dict_has_exactly_the_published_keys_and_shapes(published):
    ours = {key: tuple(value.shape) for key, value in published.state_dict().items()}
    assert ours == published_shapes()


def test_the_network_has_the_published_number_of_parameters(published):
    sizes = [p.numel() for p in published.parameters()]
    assert (len(sizes), sum(sizes)) == (169, 26_977_501)


def test_the_published_head_is_linear_and_that_of_small_is_not(published):
    assert isinstance(published.bend, torch.nn.Identity)
    assert isinstance(small().bend, torch.nn.ReLU)


def test_the_first_layer_sees_features_then_pose_shape_and_camera(published):
    """One round of the head, written as the published forward pass: concatenate, then three linear maps."""
    model = published.eval()
    image = torch.rand(2, 3, 64, 64, generator=seeded())
    with torch.no_grad():
        start = torch.cat([model.init_pose, model.init_shape, model.init_cam], dim=1).expand(2, -1)
        hidden = model.fc2(model.fc1(torch.cat([model.features(image), start], dim=1)))
        pose = model.init_pose + model.decpose(hidden)
        ours = model(image, rounds=1)
    torch.testing.assert_close(ours.rotmat, hmr.rot6d_to_rotmat(pose.view(2, 24, 6)), atol=1e-6, rtol=0)
    torch.testing.assert_close(ours.betas, model.init_shape + model.decshape(hidden), atol=1e-6, rtol=0)
    torch.testing.assert_close(ours.weak, model.init_cam + model.deccam(hidden), atol=1e-6, rtol=0)


def test_pooling_the_whole_map_equals_the_published_seven_by_seven_mean(published):
    last_map = torch.rand(2, 16, 7, 7, generator=seeded())
    published_pool = torch.nn.functional.avg_pool2d(last_map, 7, stride=1)
    torch.testing.assert_close(published.avgpool(last_map), published_pool)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (3, 24)])
def test_rotations_survive_the_way_through_six_numbers(batch):
    rotmat = roma.random_rotmat(batch, dtype=torch.float64, generator=seeded())
    back = hmr.rot6d_to_rotmat(hmr.rotmat_to_rot6d(rotmat))
    torch.testing.assert_close(back, rotmat, atol=1e-12, rtol=0)


def test_any_six_numbers_become_a_rotation_also_when_there_are_three_of_them():
    """Three rotations at once are the case in which a cross product without an axis goes astray."""
    rot6d = torch.randn(3, 6, dtype=torch.float64, generator=seeded())
    assert roma.is_rotation_matrix(hmr.rot6d_to_rotmat(rot6d), epsilon=1e-12)
    one_by_one = torch.stack([hmr.rot6d_to_rotmat(row) for row in rot6d])
    torch.testing.assert_close(hmr.rot6d_to_rotmat(rot6d), one_by_one)


def test_the_six_numbers_are_two_columns_read_row_by_row():
    rotmat = torch.arange(9.0).reshape(3, 3)
    assert hmr.rotmat_to_rot6d(rotmat).tolist() == [0, 1, 3, 4, 6, 7]


def test_the_mean_body_stands_upright_before_the_camera():
    mean = hmr.mean_parameters()
    torch.testing.assert_close(mean.rot6d[:6], torch.tensor([1.0, 0, 0, -1, 0, 0]), atol=2e-7, rtol=0)
    torch.testing.assert_close(mean.rot6d[6:12], torch.tensor([1.0, 0, 0, 1, 0, 0]))
    assert mean.weak.tolist() == pytest.approx([0.9, 0, 0])


def test_a_given_mean_pose_is_the_start_of_the_head():
    body_pose = 0.3 * torch.randn(69, generator=seeded())
    rotmat = hmr.rot6d_to_rotmat(hmr.mean_parameters(body_pose).rot6d.view(24, 6))
    expected = torch.cat([torch.tensor([math.pi, 0, 0]), body_pose]).view(24, 3)
    torch.testing.assert_close(rotmat, roma.rotvec_to_rotmat(expected), atol=1e-6, rtol=0)


@pytest.mark.parametrize("backbone, size", [("small", 64), ("small", 96), ("resnet18", 64)])
def test_every_answer_is_a_body_of_rotations(backbone, size):
    model = hmr.HMR(backbone, hmr.mean_parameters(), generator=seeded())
    answer = model(torch.rand(3, 3, size, size, generator=seeded()))
    assert answer.rotmat.shape == (3, 24, 3, 3)
    assert roma.is_rotation_matrix(answer.rotmat.double(), epsilon=1e-5)
    assert (answer.betas.shape, answer.weak.shape) == ((3, 10), (3, 3))


def test_an_untrained_network_answers_with_a_body_near_the_mean():
    answer = small().eval()(torch.rand(2, 3, 64, 64, generator=seeded()))
    mean = hmr.rot6d_to_rotmat(hmr.mean_parameters().rot6d.view(24, 6))
    assert roma.rotmat_geodesic_distance(answer.rotmat, mean.expand(2, 24, 3, 3)).max() < 0.3


def test_same_seed_same_network_same_answer():
    image = torch.rand(2, 3, 64, 64, generator=seeded())
    before = image.clone()
    one, two, other = (small(seed).eval()(image).rotmat for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(image, before)


def test_images_do_not_influence_each_other_when_judged():
    model = small().eval()
    image = torch.rand(4, 3, 64, 64, generator=seeded())
    torch.testing.assert_close(model(image).rotmat[2:], model(image[2:]).rotmat, atol=1e-5, rtol=0)


@pytest.mark.parametrize("backbone", ["small", "resnet18"])
def test_the_gradient_reaches_every_parameter(backbone):
    model = hmr.HMR(backbone, hmr.mean_parameters(), generator=seeded())
    answer = model(torch.rand(4, 3, 64, 64, generator=seeded()))
    # A plain sum of squares would not do: it is constant over rotations.
    score = torch.randn(answer.rotmat.shape, generator=seeded())
    (answer.rotmat.mul(score).sum() + answer.betas.square().sum() + answer.weak.square().sum()).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not silent


def test_a_few_steps_teach_the_small_network_its_images():
    model = small()
    image = torch.rand(8, 3, 64, 64, generator=seeded())
    target = torch.randn(8, 10, generator=seeded())
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(12):
        loss = (model(image).betas - target).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_a_detached_regression_is_the_same_without_a_graph():
    answer = small()(torch.rand(2, 3, 64, 64, generator=seeded()))
    cut = answer.detach()
    assert answer.rotmat.requires_grad and not cut.rotmat.requires_grad
    assert torch.equal(cut.betas, answer.betas)


def test_the_mean_colour_of_imagenet_becomes_zero():
    image = torch.tensor([0.485, 0.456, 0.406])[:, None, None].expand(3, 2, 2)
    torch.testing.assert_close(hmr.normalise(image), torch.zeros(3, 2, 2))
    torch.testing.assert_close(hmr.normalise(image + 0.229)[0], torch.ones(2, 2))


def imagenet_file(path, backbone="resnet18", **changes):
    """A file as torchvision writes it: the trunk and an ImageNet classifier of our own random numbers."""
    model = hmr.HMR(backbone, hmr.mean_parameters(), generator=seeded(7))
    head = ("fc1", "fc2", "dec", "init_")
    state = {k: v for k, v in model.state_dict().items() if not k.startswith(head)}
    features = hmr.PLANS[backbone].features
    state |= {"fc.weight": torch.zeros(1000, features), "fc.bias": torch.zeros(1000)} | changes
    torch.save({k: v for k, v in state.items() if v is not None}, path)
    return state


def test_an_imagenet_file_fills_the_trunk_and_leaves_the_head(tmp_path):
    state = imagenet_file(tmp_path / "imagenet.pth")
    model = hmr.HMR("resnet18", hmr.mean_parameters(), generator=seeded(1))
    head = model.fc1.weight.clone()
    hmr.load_backbone(model, tmp_path / "imagenet.pth")
    assert torch.equal(model.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])
    assert torch.equal(model.fc1.weight, head)


def test_weights_of_another_backbone_are_refused_by_file_and_key(tmp_path):
    path = tmp_path / "imagenet.pth"
    imagenet_file(path, **{"layer2.0.conv1.weight": None})
    model = hmr.HMR("resnet18", hmr.mean_parameters())
    with pytest.raises(ValueError, match=r"imagenet.pth lacks 'layer2.0.conv1.weight'"):
        hmr.load_backbone(model, path)
    imagenet_file(path, **{"bn1.bias": torch.zeros(32)})
    with pytest.raises(ValueError, match=r"'bn1.bias' has shape \(32,\), the network's has \(64,\)"):
        hmr.load_backbone(model, path)
    imagenet_file(path, **{"layer5.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"'layer5.weight', which the network lacks"):
        hmr.load_backbone(model, path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_published_checkpoint_gives_its_answers_back(tmp_path, zipped):
    """The released file is older than torch's zip format."""
    path = tmp_path / "model_checkpoint.pt"
    teacher = small(3).eval()
    optional = ("init_", "num_batches_tracked")
    state = {k: v for k, v in teacher.state_dict().items() if not any(o in k for o in optional)}
    torch.save({"model": state, "epoch": 3, "dataset_perm": [2, 0, 1]}, path, _use_new_zipfile_serialization=zipped)
    pupil = small(4).eval()
    hmr.load_published(pupil, path)
    image = torch.rand(2, 3, 64, 64, generator=seeded())
    assert torch.equal(pupil(image).rotmat, teacher(image).rotmat)


def test_a_checkpoint_without_its_head_or_its_model_is_refused(tmp_path):
    path = tmp_path / "model_checkpoint.pt"
    state = small().state_dict()
    del state["decpose.bias"]
    torch.save({"model": state}, path)
    with pytest.raises(ValueError, match=r"lacks 'decpose.bias'"):
        hmr.load_published(small(), path)
    torch.save(state, path)
    with pytest.raises(ValueError, match="no entry 'model'"):
        hmr.load_published(small(), path)


def test_weights_that_are_not_finite_are_refused_by_key(tmp_path):
    path, state = tmp_path / "model_checkpoint.pt", small().state_dict()
    state["fc2.bias"][3] = torch.nan
    torch.save({"model": state}, path)
    with pytest.raises(ValueError, match=r"checkpoint\.pt: 'fc2\.bias' holds NaN"):
        hmr.load_published(small(), path)


def test_files_that_are_no_weights_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="No weights at"):
        hmr.load_backbone(small(), tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("not found")
    with pytest.raises(ValueError, match=r"text.pth is no file of tensors"):
        hmr.load_backbone(small(), tmp_path / "text.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="holds a list"):
        hmr.load_published(small(), tmp_path / "list.pth")


def test_mean_parameters_are_read_from_spins_file(tmp_path):
    path = tmp_path / "smpl_mean_params.npz"
    pose, shape, cam = np.arange(144.0), np.arange(10.0), np.array([0.9, 0, 0])
    np.savez(path, pose=pose, shape=shape, cam=cam)
    mean = hmr.read_mean_parameters(path)
    assert (mean.rot6d.tolist(), mean.betas.tolist()) == (pose.tolist(), shape.tolist())
    assert mean.weak.dtype == torch.float32


def test_a_file_without_the_mean_parameters_is_refused(tmp_path):
    path = tmp_path / "smpl_mean_params.npz"
    with pytest.raises(FileNotFoundError, match=r"hmr.mean_parameters\(\)"):
        hmr.read_mean_parameters(path)
    np.savez(path, pose=np.zeros(144), shape=np.zeros(10))
    with pytest.raises(ValueError, match="no field 'cam'"):
        hmr.read_mean_parameters(path)
    np.savez(path, pose=np.zeros(72), shape=np.zeros(10), cam=np.zeros(3))
    with pytest.raises(ValueError, match=r"'pose' has shape \(72,\), expected \(144,\)"):
        hmr.read_mean_parameters(path)
    np.savez(path, pose=np.zeros(144), shape=np.full(10, np.nan), cam=np.zeros(3))
    with pytest.raises(ValueError, match=r"params\.npz: field 'shape' holds NaN"):
        hmr.read_mean_parameters(path)
    path.write_text("no archive")
    with pytest.raises(ValueError, match=r"params\.npz: not an npz file"):
        hmr.read_mean_parameters(path)


def test_unknown_backbones_and_rounds_are_refused():
    with pytest.raises(ValueError, match="backbone must be one of resnet50, resnet18, small"):
        hmr.HMR("vgg", hmr.mean_parameters())
    with pytest.raises(ValueError, match="rounds must be at least 1"):
        small()(torch.zeros(1, 3, 64, 64), rounds=0)


def test_a_stage_has_as_many_blocks_as_its_plan_says():
    plan = replace(hmr.PLANS["small"], blocks=(2, 1, 3, 1))
    trunk = hmr.ResNet(plan)
    assert [len(trunk.get_submodule(name)) for name in trunk.stages] == [2, 1, 3, 1]
    assert trunk.features(torch.zeros(1, 3, 64, 64)).shape == (1, plan.features)
