"""Synthetic people: poses, shapes, clothes, light and cameras, with keypoints as a detector marks them.

Everything is computed; no photograph, texture or motion capture enters. What is known of the bodies lies in
`Samples.judge`, which training must not see.
"""

from spinkit.people.settings import PeopleSettings
from spinkit.people.store import dataset, make

__all__ = ["PeopleSettings", "dataset", "make"]
