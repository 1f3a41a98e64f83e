"""How good a regressor is: protocols, scores under them, and the paper's tables beside ours.

    scores = evaluate.score_model(model, samples, body, evaluate.H36M14)
    print(scores)                      # every number with its points, regressor, root, alignment and body

    ./run evaluate --checkpoint model_checkpoint.pt --dataset 3dpw --npz 3dpw_test.npz --images 3DPW --body data/smpl

A joint error without its protocol says little: the hips of LSP and of Human3.6M are different points, and the same
bodies score tens of millimetres apart under different alignments. So scores carry their protocol, and whatever is
printed says it.
"""

from spinkit.evaluate.command import Report, Request, measure
from spinkit.evaluate.networks import Network, load_network
from spinkit.evaluate.protocols import H36M14, H36M17, LSP14, MPI_INF_3DHP, Protocol, h36m17, keypoints49
from spinkit.evaluate.scoring import (
    Genders,
    Scores,
    regress,
    score_bodies,
    score_fits,
    score_gendered,
    score_model,
)
from spinkit.evaluate.segmentation import (
    PART_NAMES,
    FaceParts,
    PartScores,
    draw_parts,
    face_parts,
    read_face_parts,
    read_labels,
    score_parts,
    to_photo,
)
from spinkit.evaluate.tables import COLUMNS, DATASETS, PUBLISHED, Published, beside, how_to_measure, text_table

__all__ = [
    "COLUMNS",
    "DATASETS",
    "H36M14",
    "H36M17",
    "LSP14",
    "MPI_INF_3DHP",
    "PART_NAMES",
    "PUBLISHED",
    "FaceParts",
    "Genders",
    "Network",
    "PartScores",
    "Protocol",
    "Published",
    "Report",
    "Request",
    "Scores",
    "beside",
    "draw_parts",
    "face_parts",
    "h36m17",
    "how_to_measure",
    "keypoints49",
    "load_network",
    "measure",
    "read_face_parts",
    "read_labels",
    "regress",
    "score_bodies",
    "score_fits",
    "score_gendered",
    "score_model",
    "score_parts",
    "text_table",
    "to_photo",
]
