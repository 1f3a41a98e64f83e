"""SMPLify: fit the body to 2D keypoints, batched, every sample on its own.

    fit(body, prior, keypoints, start)        two stages from a start, such as a regressor's
    initial_fits(body, prior, keypoints)      from nothing: the mean pose at several headings, the lowest energy wins
    judge(body, keypoints, rotvec, betas)     the error of any body in this crop, under its best camera
    deviation(body, prior, keypoints, fit)    how sure a fit is of each keypoint's place, along depth and across

Source: Bogo et al. 2016; the two stages and weights as in Kolotouros et al. 2019.
"""

from spinkit.smplify.evidence import counted, sound, too_few
from spinkit.smplify.fit import Fit, Start, body_stage, fit
from spinkit.smplify.hidden import left_to_prior
from spinkit.smplify.initial import HEADINGS, covering_translation, heading_starts, initial_fits
from spinkit.smplify.judging import distance_from_start, errors, judge
from spinkit.smplify.objective import BodyStage, CameraStage, View, robust
from spinkit.smplify.settings import IGNORED, SmplifySettings, initial, published, quick
from spinkit.smplify.uncertainty import Deviation, deviation

__all__ = [
    "HEADINGS",
    "IGNORED",
    "BodyStage",
    "CameraStage",
    "Deviation",
    "Fit",
    "SmplifySettings",
    "Start",
    "View",
    "body_stage",
    "counted",
    "covering_translation",
    "deviation",
    "distance_from_start",
    "errors",
    "fit",
    "heading_starts",
    "initial",
    "initial_fits",
    "judge",
    "left_to_prior",
    "published",
    "quick",
    "robust",
    "sound",
    "too_few",
]
