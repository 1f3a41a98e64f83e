"""What every test shares: where the project lies, the default body, and a quiet, small machine."""

import signal
from pathlib import Path

import matplotlib
import pytest
import torch

matplotlib.use("Agg")
# A shell's job in the background ignores Ctrl-C, and so would everything that is tried here.
signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Photos, keypoints and motion under free licences, beside the project; not part of it."""
    folder = ROOT.parent / "shared" / "realdata"
    if not folder.is_dir():
        pytest.skip("no folder ../shared/realdata beside the project; the real data are not part of it")
    return folder


@pytest.fixture(scope="session")
def human():
    """The default body."""
    from spinkit import body

    return body.load()
