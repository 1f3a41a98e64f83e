"""SPIN's checkpoint: read as Python 2 wrote it, written for others, the same network in anyone's code."""

import pickle
from collections import OrderedDict

import pytest
import torch
import torch11
from torch.nn import functional

from spinkit import hmr
from spinkit.hmr import weights


@pytest.fixture(scope="module")
def teacher() -> hmr.HMR:
    """A network of the published kind whose every layer matters, also the averages of normalisation."""
    g = torch.Generator().manual_seed(3)
    model = hmr.HMR("resnet50", hmr.mean_parameters(), generator=g).eval()
    for name, value in model.state_dict().items():
        if name.endswith("running_mean") or ("bn" in name and name.endswith("bias")):
            value.copy_(0.1 * torch.randn(value.shape, generator=g))
        elif name.endswith("running_var") or ("bn" in name and name.endswith("weight")):
            value.copy_(0.5 + torch.rand(value.shape, generator=g))
    for layer in (model.decpose, model.decshape, model.deccam):
        layer.weight.data.mul_(20)
    return model


@pytest.fixture(scope="module")
def pupil() -> hmr.HMR:
    return hmr.HMR("resnet50", hmr.mean_parameters(), generator=torch.Generator().manual_seed(4)).eval()


def small(seed: int = 0) -> hmr.HMR:
    return hmr.HMR("small", hmr.mean_parameters(), generator=torch.Generator().manual_seed(seed)).eval()


def optimizer_of(model: torch.nn.Module) -> dict:
    """Adam's state as torch 1.1 kept it: under the addresses of the parameters."""
    first = next(iter(model.parameters())).detach()
    address = 140_234_866_534_752
    averages = {"step": 264_323, "exp_avg": torch.zeros_like(first), "exp_avg_sq": torch.zeros_like(first)}
    group = {"lr": 3e-5, "weight_decay": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": False}
    return {"state": {address: averages}, "param_groups": [group | {"params": [address]}]}


def released(model: torch.nn.Module) -> dict:
    """All that a checkpoint of SPIN holds."""
    state = OrderedDict((key, value.detach()) for key, value in model.state_dict().items())
    return {
        "batch_idx": 1175,
        "optimizer": optimizer_of(model),
        "dataset_perm": [312_180, 0, 77_777, 3],
        "epoch": 54,
        "model": state,
        "total_step_count": 264_323,
        "batch_size": 64,
    }


def test_the_file_of_python_2_fills_the_published_network(tmp_path, teacher, pupil):
    path = tmp_path / "model_checkpoint.pt"
    torch11.save(path, released(teacher))
    hmr.load_published(pupil, path)
    for name, value in teacher.state_dict().items():
        assert torch.equal(pupil.state_dict()[name], value), name


def test_the_fixture_has_what_makes_the_released_file_hard(tmp_path):
    """Short strings of bytes, keys beyond 32 bits as text: with these, torch's own safe reader gives up."""
    path = tmp_path / "model_checkpoint.pt"
    torch11.save(path, released(small()))
    assert {"SHORT_BINSTRING", "INT", "LONG1", "BINPERSID", "REDUCE"} <= torch11.opcodes(path)
    with pytest.raises(pickle.UnpicklingError, match="Unsupported operand 73"):
        torch.load(path, map_location="cpu", weights_only=True)
    assert set(weights._read(path)) == set(released(small()))


@pytest.mark.parametrize("left_out", [("init_",), ("num_batches_tracked",), ("init_", "num_batches_tracked")])
def test_what_the_released_file_may_lack_stays_as_it_is(tmp_path, left_out):
    path, model = tmp_path / "model_checkpoint.pt", small(1)
    content = released(small(2))
    content["model"] = {k: v for k, v in content["model"].items() if not any(part in k for part in left_out)}
    torch11.save(path, content)
    model.init_cam.fill_(0.7)
    hmr.load_published(model, path)
    assert torch.equal(model.fc1.weight, small(2).fc1.weight)
    assert (model.init_cam == 0.7).all() == ("init_" in left_out)


@pytest.fixture(scope="module")
def written(teacher, tmp_path_factory):
    """The teacher in the published layout, and what torch alone reads from it."""
    path = hmr.save_published(teacher, tmp_path_factory.mktemp("weights") / "new" / "model_checkpoint.pt", step=7)
    return path, torch.load(path, weights_only=True)


def test_a_written_checkpoint_is_read_by_torch_alone_and_comes_back_to_the_last_bit(written, teacher, pupil):
    path, content = written
    assert content["total_step_count"] == 7
    assert list(content["model"]) == list(teacher.state_dict())
    sizes = [content["model"][name].numel() for name, _ in teacher.named_parameters()]
    assert (len(sizes), sum(sizes)) == (169, 26_977_501)
    with open(path, "rb") as file:
        assert file.read(2) != b"PK", "torch 1.1 reads no zip files"
    hmr.load_published(pupil, path)
    for name, value in teacher.state_dict().items():
        assert torch.equal(pupil.state_dict()[name], value), name


def published_forward(w: dict[str, torch.Tensor], image: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """SPIN's network in plain functions of the published keys: ResNet-50 with 7 x 7 pooling, and the head's rounds."""

    def norm(x, name):
        mean, var, scale, shift = (w[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, mean, var, scale, shift, eps=1e-5)

    def linear(x, name):
        return functional.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    x = functional.conv2d(image, w["conv1.weight"], stride=2, padding=3).clone()
    x = functional.max_pool2d(norm(x, "bn1").relu(), 3, stride=2, padding=1)
    for layer, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            name, stride = f"layer{layer}.{block}", 2 if block == 0 and layer > 1 else 1
            y = norm(functional.conv2d(x, w[f"{name}.conv1.weight"]), f"{name}.bn1").relu()
            y = norm(functional.conv2d(y, w[f"{name}.conv2.weight"], stride=stride, padding=1), f"{name}.bn2").relu()
            y = norm(functional.conv2d(y, w[f"{name}.conv3.weight"]), f"{name}.bn3")
            if block == 0:
                x = norm(functional.conv2d(x, w[f"{name}.downsample.0.weight"], stride=stride), f"{name}.downsample.1")
            x = (x + y).relu()
    features = functional.avg_pool2d(x, 7, stride=1).flatten(1)
    pose, shape, cam = (w[f"init_{k}"].expand(len(image), -1) for k in ("pose", "shape", "cam"))
    for _ in range(3):
        hidden = linear(linear(torch.cat([features, pose, shape, cam], dim=1), "fc1"), "fc2")
        pose, shape, cam = (
            start + linear(hidden, f"dec{k}") for start, k in ((pose, "pose"), (shape, "shape"), (cam, "cam"))
        )
    first, second = pose.view(-1, 24, 3, 2).unbind(-1)
    first = functional.normalize(first, dim=-1)
    second = functional.normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1)
    rotmat = torch.stack([first, second, torch.linalg.cross(first, second, dim=-1)], dim=-1)
    return rotmat, shape, cam


def test_the_answers_do_not_depend_on_who_wrote_the_network(written, teacher):
    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = teacher(image), published_forward(written[1]["model"], image)
        start = hmr.rot6d_to_rotmat(teacher.init_pose.view(1, 24, 6))
    assert (ours.rotmat - start).abs().max() > 0.1, "an answer that never left the mean would compare nothing"
    for one, other in zip((ours.rotmat, ours.betas, ours.weak), theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("backbone", ["small", "resnet18"])
def test_a_network_that_no_other_reader_knows_is_not_written(tmp_path, backbone):
    with pytest.raises(ValueError, match=r"model\.pt: the network is no resnet50"):
        hmr.save_published(hmr.HMR(backbone, hmr.mean_parameters()), tmp_path / "model.pt")
    assert not list(tmp_path.iterdir())


def test_a_network_that_is_not_finite_is_not_written(tmp_path, pupil):
    before = pupil.fc2.bias[5].item()
    pupil.fc2.bias.data[5] = torch.inf
    with pytest.raises(ValueError, match=r"model\.pt: 'fc2\.bias' holds NaN"):
        hmr.save_published(pupil, tmp_path / "model.pt")
    pupil.fc2.bias.data[5] = before


@pytest.mark.parametrize("share", [0, 0.00005, 0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_file_of_python_2_is_refused_by_name(tmp_path, share):
    path = tmp_path / "model_checkpoint.pt"
    torch11.save(path, released(small()))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"checkpoint\.pt is no file of tensors.*fetch it again"):
        hmr.load_published(small(), path)


class Bomb:
    """What a hostile pickle does when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("place", ["beside", "inside"])
@pytest.mark.parametrize("save", [torch11.save, lambda path, content: torch.save(content, path)])
def test_code_in_a_checkpoint_is_not_run(tmp_path, place, save):
    path, content = tmp_path / "model_checkpoint.pt", released(small())
    (content if place == "beside" else content["model"])["extra"] = Bomb(tmp_path / "ran")
    save(path, content)
    with pytest.raises(ValueError, match=r"checkpoint\.pt is no file of tensors.*(it asks for|Unsupported global)"):
        hmr.load_published(small(), path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "header", [pickle.dumps({"model": 1}, protocol=2), b"PK\x03\x04 no archive", b"storages" + bytes(600)]
)
def test_a_file_of_another_kind_is_refused(tmp_path, header):
    (tmp_path / "model.pt").write_bytes(header)
    with pytest.raises(ValueError, match=r"model\.pt is no file of tensors"):
        hmr.load_published(small(), tmp_path / "model.pt")


def test_entries_that_are_no_tensors_are_refused_by_key(tmp_path):
    content = released(small())
    content["model"]["fc1.bias"] = [1.0, 2.0]
    torch11.save(tmp_path / "model.pt", content)
    with pytest.raises(ValueError, match=r"model\.pt: 'fc1\.bias' is a list, expected a tensor"):
        hmr.load_published(small(), tmp_path / "model.pt")
