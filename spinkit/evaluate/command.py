"""One command from a checkpoint and a data set to a row beside the paper's rows.

python -m spinkit.evaluate --checkpoint model_checkpoint.pt --dataset 3dpw --npz 3dpw_test.npz --images 3DPW
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from spinkit import body as bodies
from spinkit import data
from spinkit.body import Body
from spinkit.data import Samples, Truth
from spinkit.evaluate import scoring, segmentation, tables
from spinkit.evaluate.networks import Network, load_network
from spinkit.evaluate.protocols import H36M14, MPI_INF_3DHP
from spinkit.evaluate.scoring import Genders, Scores
from spinkit.evaluate.segmentation import PartScores
from spinkit.hmr import Regression

MEASURED = {"h36m-p1": H36M14, "h36m-p2": H36M14, "mpi-inf-3dhp": MPI_INF_3DHP}
"""Sets whose truth is joints that were measured, without a body model."""
NOT_SMPL = (
    "Caution: no SMPL model was found, so the default body posed a published network, which speaks SMPL. These are not "
    "its numbers; give --body."
)

Judge = Callable[[Regression], Scores | PartScores]


@dataclass(frozen=True)
class Request:
    """What to evaluate on what."""

    checkpoint: Path
    dataset: str
    """One of `tables.DATASETS`."""
    npz: Path
    """In SPIN's format."""
    images: Path
    """The folder that the names of the photos start from."""
    body: Path | None = None
    """An SMPL file, or a folder of them; None looks in SPINKIT_BODY and data/smpl, then takes the default body."""
    masks: Path | None = None
    """The folder that the names of LSP's masks start from; None for that of the photos."""
    batch: int = 64
    device: str = "cpu"

    def __post_init__(self):
        if self.dataset not in tables.DATASETS:
            raise ValueError(f"no set {self.dataset!r}; choose one of {', '.join(tables.DATASETS)}")
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, got {self.batch}")


@dataclass(frozen=True)
class Report:
    """A network's result on a set."""

    request: Request
    network: str
    scores: Scores | PartScores
    caution: str = ""
    """Why the numbers cannot be compared with the paper's, where that is known."""

    def rows(self) -> list[dict[str, object]]:
        """The paper's rows and ours."""
        return tables.beside(self.request.dataset, {self.network: self.scores.means()})

    def as_json(self) -> dict[str, object]:
        """All that was measured, each number by its protocol, and the paper's rows."""
        return {
            "dataset": self.request.dataset,
            "about": tables.DATASETS[self.request.dataset],
            "npz": self.request.npz.name,
            "samples": len(self.scores),
            "network": self.network,
            "caution": self.caution,
            "measured": [{"what": what, "value": value, "unit": unit} for what, value, unit in self.scores.rows()],
            "row": self.rows()[-1],
            "paper": self.rows()[:-1],
        }

    def __str__(self) -> str:
        heading = f"{tables.DATASETS[self.request.dataset]}: {len(self.scores)} samples of {self.request.npz.name}"
        return "\n\n".join(filter(None, (heading, tables.text_table(self.rows()), str(self.scores), self.caution)))


def measure(request: Request, progress: bool = False) -> Report:
    """Reads everything, checks it, regresses every sample, and scores the answers as the paper does.

    Raises:
        FileNotFoundError, ValueError: what was named is missing or unusable; the message says which and why.
    """
    network = load_network(request.checkpoint, _mean_parameters(request))
    # The crop is stored as it is fed: no margin to cut off, no second sampling.
    samples = data.read_spin_npz(request.npz, request.images, network.size, margin=1.0)
    body = _body(request, network)
    judge = {"3dpw": _gendered, "lsp": _parts}.get(request.dataset, _measured)(request, samples, body)
    network.model.to(request.device)
    said = scoring.regress(network.model, samples, request.batch, network.size, progress)
    said = Regression(said.rotmat.cpu(), said.betas.cpu(), said.weak.cpu())
    foreign = network.body is None and body.name == bodies.default_path().name
    return Report(request, network.name, judge(said), NOT_SMPL if foreign else "")


def _mean_parameters(request: Request) -> Path | None:
    """SPIN's start of the head beside the checkpoint, or near the body models."""
    body = [] if request.body is None else [request.body, *request.body.parents[:1]]
    places = [folder / "smpl_mean_params.npz" for folder in (request.checkpoint.parent, *body)]
    return next((path for path in places if path.is_file()), None)


def _body(request: Request, network: Network) -> Body:
    """Who poses the predictions: a run's own body, or SMPL for a published network."""
    if network.body is not None:
        return bodies.load(network.body or None)
    return bodies.load(bodies.find(request.body))


def _gendered(request: Request, samples: Samples, body: Body) -> Judge:
    """3DPW: the truth is posed by the model of each person's gender."""
    gender = data.read_spin_words(request.npz, "gender")
    if "n" in gender:
        raise ValueError(f"{request.npz}: the gender of row {gender.index('n')} is n; 3DPW knows m and f only")
    is_male = torch.tensor([name == "m" for name in gender])
    genders = Genders(bodies.load(request.body, "male"), bodies.load(request.body, "female"), is_male)
    truth = _known(samples, request)
    # Vertices can be compared where both sides have the same ones.
    surface = torch.equal(body.faces, genders.male.faces)
    return lambda said: scoring.score_gendered(body, said, truth, genders, H36M14, surface)


def _measured(request: Request, samples: Samples, body: Body) -> Judge:
    """Human3.6M and MPI-INF-3DHP: the joints `S`, also where the file has SMPL parameters."""
    known = _known(samples, request)
    truth = replace(known, has_smpl=torch.zeros_like(known.has_smpl))
    protocol = MEASURED[request.dataset]
    return lambda said: scoring.score_bodies(body, said.rotmat, said.betas, truth, protocol)


def _parts(request: Request, samples: Samples, body: Body) -> Judge:
    """LSP: every photo has a mask and a picture of parts."""
    root, boxes = request.masks or request.images, samples.images.boxes
    masks, parts = ([root / name for name in data.read_spin_words(request.npz, f)] for f in ("maskname", "partname"))
    missing = [path for path in (*masks, *parts) if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"{request.npz}: {len(missing)} masks are missing, first {missing[0]}; see --masks")
    # The paper's own parts are of SMPL's faces.
    folder = request.body if request.body is not None and request.body.is_dir() else None
    published = folder is not None and (folder / "cube_parts.npy").is_file()
    labels = segmentation.read_face_parts(folder) if published else segmentation.face_parts(body)
    return lambda said: segmentation.score_parts(body, said, boxes, masks, parts, labels)


def _known(samples: Samples, request: Request) -> Truth:
    if samples.judge is None:
        raise ValueError(f"{request.npz}: neither pose and shape nor S, so it is no test set of {request.dataset}")
    return samples.judge


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="spinkit.evaluate", description="A checkpoint's row in the paper's tables.")
    parser.add_argument("--checkpoint", type=Path, required=True, help="SPIN's model_checkpoint.pt, or a run's folder")
    parser.add_argument("--dataset", choices=tuple(tables.DATASETS), required=True)
    parser.add_argument("--npz", type=Path, required=True, help="the test set in SPIN's format")
    parser.add_argument("--images", type=Path, required=True, help="the folder that its photos' names start from")
    parser.add_argument("--body", type=Path, help="SMPL's file, or the folder of its models and of SPIN's data files")
    parser.add_argument("--masks", type=Path, help="lsp: the folder of UP-3D's masks (UPi-S1h), if not --images")
    parser.add_argument("--batch", type=int, default=64, help="images at a time")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--out", type=Path, help="the JSON file; the default is runs/evaluate/<dataset>.json")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status, 2 where something that was named cannot be used."""
    given = vars(_parser().parse_args(arguments))
    out = given.pop("out") or Path("runs", "evaluate", f"{given['dataset']}.json")
    try:
        report = measure(Request(**given), progress=True)
    except (FileNotFoundError, ValueError) as error:
        print(f"spinkit.evaluate: {error}", file=sys.stderr)
        return 2
    print(report)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report.as_json(), indent=1))
    print(f"\nwritten to {out}")
    return 0
