"""MakeHuman's figure as a linear function of target coefficients, in its own A-pose and in SMPL's T-pose."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import skeleton
from makehuman import MakeHuman
from surface import Surface

SMALLEST_WEIGHT = 2e-3
"""Skinning weights below are dropped, which leaves at most 6 joints a vertex."""


@dataclass(frozen=True)
class Figure:
    """n vertices, k targets; metres."""

    vertices: np.ndarray
    """(n, 3) with all targets off."""
    offsets: np.ndarray
    """(k, n, 3) float32"""
    joints: np.ndarray
    """(24, 3) where MakeHuman puts them, with all targets off."""
    joint_offsets: np.ndarray
    """(k, 24, 3)"""
    weights: np.ndarray
    """(n, 24) skinning weights."""
    mirror: np.ndarray
    """(n,)"""

    def a_pose(self, coefficients: np.ndarray) -> np.ndarray:
        """(people, k) -> (people, n, 3) float32."""
        moved = coefficients.astype(np.float32) @ self.offsets.reshape(len(self.offsets), -1)
        return self.vertices.astype(np.float32) + moved.reshape(len(coefficients), -1, 3)

    def a_joints(self, coefficients: np.ndarray) -> np.ndarray:
        """(people, k) -> (people, 24, 3)."""
        return self.joints + np.tensordot(coefficients, self.joint_offsets, 1)

    def only(self, vertices: np.ndarray) -> Self:
        """The figure of some vertices, numbered in the order given; with each comes its mirror image."""
        new_number = np.full(len(self.vertices), -1)
        new_number[vertices] = np.arange(len(vertices))
        weights = self.weights[vertices].copy()
        weights[weights < SMALLEST_WEIGHT] = 0
        return type(self)(
            vertices=self.vertices[vertices],
            offsets=self.offsets[:, vertices],
            joints=self.joints,
            joint_offsets=self.joint_offsets,
            weights=weights / weights.sum(1, keepdims=True),
            mirror=new_number[self.mirror[vertices]],
        )


@dataclass(frozen=True)
class TPose:
    """People in the T-pose, pelvis at the origin."""

    vertices: np.ndarray
    """(people, n, 3)"""
    joints: np.ndarray
    """(people, 24, 3)"""
    turn_to_a_pose: np.ndarray
    """(people, 24, 3, 3) global rotations that give the A-pose back."""


def from_makehuman(source: MakeHuman, surface: Surface) -> Figure:
    """The figure over all vertices of the base mesh; only those of the skin have weights."""
    return Figure(
        vertices=source.vertices,
        offsets=source.offsets,
        joints=skeleton.joint_positions(source.vertices, source.rig),
        joint_offsets=skeleton.joint_positions(source.offsets, source.rig),
        weights=skeleton.merged_weights(source.rig, np.unique(surface.faces), source.mirror),
        mirror=source.mirror,
    )


def to_t_pose(vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray) -> TPose:
    """Takes A-posed people to the T-pose by inverting the skinning that takes them back.

    So a body that is posed like MakeHuman's figure has exactly the surface that MakeHuman's artists made.
    Skinning forwards instead gives thinner shoulders once the arms hang.
    """
    turn = skeleton.rotations_to_t_pose(joints)
    rest = skeleton.posed_joints(turn, joints)
    back = turn.swapaxes(-1, -2)
    moved = skeleton.unskin(vertices, weights, skeleton.transforms(back, rest, joints))
    pelvis = rest[:, :1]
    return TPose(moved - pelvis, rest - pelvis, back)
