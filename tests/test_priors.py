"""The priors: their residuals against the published formulas, and the files that they are read from."""

import math
import pickle

import numpy as np
import pytest
import python2
import torch

from spinkit import priors


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def parameters():
    """A mixture of three broad Gaussians, in the arrays of SMPLify's file."""
    rng = np.random.default_rng(0)
    spread = 0.3 * rng.normal(size=(3, 69, 69)) / math.sqrt(69)
    return {
        "means": 0.3 * rng.normal(size=(3, 69)),
        "covars": spread @ spread.swapaxes(1, 2) + 0.02 * np.eye(69),
        "weights": np.array([0.5, 0.3, 0.2]),
    }


@pytest.fixture(scope="module")
def prior(parameters):
    return priors.mixture(*parameters.values())


def published(parameters, pose):
    """SMPLify's P, term by term, with its determinants divided by the least."""
    roots = np.sqrt(np.linalg.det(parameters["covars"]))
    terms = []
    for mean, covariance, weight, root in zip(*parameters.values(), roots, strict=True):
        away = pose - mean
        share = weight / ((2 * np.pi) ** (69 / 2) * root / roots.min())
        terms.append(0.5 * away @ np.linalg.inv(covariance) @ away - np.log(share))
    return np.min(terms)


def poses(count=20):
    return 0.5 * torch.randn(count, 69, generator=seeded(), dtype=torch.float64)


def test_the_residual_squared_is_the_published_energy(parameters, prior):
    expected = [published(parameters, pose.numpy()) for pose in poses()]
    found = priors.mixture_residual(prior, poses()).square().sum(-1)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-8)


def test_the_winner_is_the_component_of_least_energy(parameters, prior):
    near = torch.from_numpy(parameters["means"]) + 0.01 * poses(3)
    assert priors.winner(prior, near).tolist() == [0, 1, 2]
    # The residual of a mean is its constant alone.
    torch.testing.assert_close(priors.mixture_residual(prior, prior.means)[:, :-1], torch.zeros(3, 69).double())


def test_the_gradient_is_that_of_the_winner_alone(parameters, prior):
    pose = poses(5).requires_grad_()
    priors.mixture_residual(prior, pose).square().sum().backward()
    best = priors.winner(prior, pose.detach())
    inverse = torch.from_numpy(np.linalg.inv(parameters["covars"]))[best]
    away = pose.detach() - torch.from_numpy(parameters["means"])[best]
    torch.testing.assert_close(pose.grad, (inverse @ away[..., None])[..., 0])


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
def test_residuals_take_any_batch_shape(prior, batch):
    pose = torch.randn(*batch, 24, 3, generator=seeded(), dtype=torch.float64)
    assert priors.mixture_residual(prior, pose[..., 1:, :].flatten(-2)).shape == (*batch, 70)
    assert priors.bending_residual(pose).shape == (*batch, 4)
    assert priors.shape_residual(torch.zeros(*batch, 10)).shape == (*batch, 10)


def test_the_bending_residual_squared_is_the_published_sum_of_exponentials():
    pose = torch.randn(6, 24, 3, generator=seeded(), dtype=torch.float64)
    angle = pose.flatten(1)
    expected = sum((sign * angle[:, i]).exp() ** 2 for i, sign in ((55, 1), (58, -1), (12, -1), (15, -1)))
    torch.testing.assert_close(priors.bending_residual(pose).square().sum(-1), expected)


def test_the_mean_pose_weighs_the_components(parameters, prior):
    np.testing.assert_allclose(prior.mean_pose().numpy(), parameters["weights"] @ parameters["means"])


def test_residuals_leave_their_inputs_alone(prior):
    pose = torch.randn(4, 24, 3, generator=seeded(), dtype=torch.float64)
    before = pose.clone()
    priors.mixture_residual(prior, pose[:, 1:].flatten(1))
    priors.bending_residual(pose)
    assert torch.equal(pose, before)


def test_the_default_prior_is_read_in_float32():
    prior = priors.load()
    assert prior.means.shape == (8, 69) and prior.means.dtype == torch.float32
    assert prior.to(torch.float64).roots.dtype == torch.float64


@pytest.mark.parametrize("protocol", [0, 2])
def test_the_pickle_of_smplify_is_read(parameters, tmp_path, protocol):
    path = tmp_path / "gmm_08.pkl"
    path.write_bytes(python2.dumps(parameters | {"covar_type": "full"}, protocol))
    assert_same(priors.load(path), priors.mixture(*parameters.values()))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_the_same_mixture_pickled_anew_is_read(parameters, tmp_path, protocol):
    path = tmp_path / "gmm.pkl"
    path.write_bytes(pickle.dumps(parameters, protocol))
    assert_same(priors.load(path), priors.mixture(*parameters.values()))


def assert_same(found, expected):
    for name in ("means", "precisions", "roots", "offsets", "weights"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name).float())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No pose prior at .*gmm_08\.pkl"):
        priors.load(tmp_path / "gmm_08.pkl")


@pytest.mark.parametrize("field", ["means", "covars", "weights"])
def test_a_missing_or_misshapen_field_is_named(parameters, tmp_path, field):
    path = tmp_path / "prior.npz"
    np.savez(path, **{name: array for name, array in parameters.items() if name != field})
    with pytest.raises(ValueError, match=rf"prior\.npz: no field {field}"):
        priors.load(path)
    np.savez(path, **parameters | {field: parameters[field][:2]})
    with pytest.raises(ValueError, match=rf"prior\.npz: field.*'{field}'"):
        priors.load(path)


@pytest.mark.parametrize(
    "field, change, complaint",
    [
        ("covars", lambda c: -c, "'covars' must be positive definite"),
        ("weights", lambda w: w * [1, 0, 1], "'weights' must be positive"),
        ("means", lambda m: m * np.nan, "'means'.*finite"),
        ("covars", lambda c: c * np.nan, "'covars'"),
    ],
)
def test_a_mixture_that_is_none_is_refused(parameters, tmp_path, field, change, complaint):
    path = tmp_path / "prior.npz"
    np.savez(path, **parameters | {field: change(parameters[field])})
    with pytest.raises(ValueError, match=complaint):
        priors.load(path)


def test_a_pickle_that_would_call_something_is_refused(tmp_path):
    path = tmp_path / "gmm_08.pkl"
    path.write_bytes(b"cposix\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(ValueError, match=r"it asks for posix\.system, which no array needs"):
        priors.load(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", pickle.dumps([1])])
@pytest.mark.parametrize("name", ["prior.npz", "prior.pkl"])
def test_a_file_of_something_else_is_refused(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        priors.load(path)
