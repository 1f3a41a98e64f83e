"""Mirror-symmetric simplification of a mesh by half-edge collapses, judged in many poses and shapes at once.

Every collapse moves a vertex onto a neighbour, so the result's vertices are a subset of the old ones and all
that is known of a vertex is kept by indexing. Two mirror-image edges collapse together, or neither does.

Source: quadric error metrics, Garland and Heckbert 1997.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

POINT_WEIGHT = 1e-3
"""Share of the distance to the old vertices in the cost; it keeps flat areas evenly sampled."""
MIN_NORMAL_COSINE = 0.2
"""A collapse may not turn a face further than this, in any of the bodies."""
MIN_SHAPE = 0.06
"""Twice a face's area over its longest edge squared; below lies a sliver."""
MAX_VALENCE = 10

Face = tuple[int, int, int]


@dataclass(frozen=True)
class Quadrics:
    """Cost of each vertex at a point p of each body, p A p + 2 b p + c. Square metres times area."""

    A: np.ndarray
    """(n, bodies, 3, 3)"""
    b: np.ndarray
    """(n, bodies, 3)"""
    c: np.ndarray
    """(n, bodies)"""

    def add(self, source: int, target: int) -> None:
        self.A[target] += self.A[source]
        self.b[target] += self.b[source]
        self.c[target] += self.c[source]

    def costs(self, vertex: int, targets: list[int], points: np.ndarray) -> np.ndarray:
        """(targets,) what it costs to move a vertex onto each target; points (targets, bodies, 3)."""
        A, b, c = (part[vertex][None] + part[targets] for part in (self.A, self.b, self.c))
        squares = np.einsum("mki,mkij,mkj->mk", points, A, points)
        return (squares + 2 * np.einsum("mki,mki->mk", b, points) + c).sum(1)


def decimate(
    bodies: np.ndarray,
    faces: np.ndarray,
    mirror: np.ndarray,
    count: int,
    weight: np.ndarray,
    keep: Iterable[int],
) -> tuple[np.ndarray, np.ndarray]:
    """Simplifies a closed mesh.

    Args:
        bodies: (k, n, 3) metres, the same mesh in k poses and shapes.
        faces: (m, 3).
        mirror: (n,) the mirror image of each vertex.
        count: how many vertices to leave.
        weight: (n,) how much errors near a vertex count.
        keep: vertices that must stay.

    Returns:
        The vertices left, sorted, and the faces over the old numbers.
    """
    state = _Decimation(np.ascontiguousarray(bodies.transpose(1, 0, 2), dtype=float), faces, mirror, weight)
    state.keep = set(keep) | {int(mirror[vertex]) for vertex in keep}
    for vertex in np.flatnonzero(state.alive):
        if vertex <= mirror[vertex]:
            state.offer(int(vertex))
    left = int(state.alive.sum())
    while left > count and state.heap:
        left -= state.step(may_take_two=left - count > 1)
    return np.flatnonzero(state.alive), np.array([face for face in state.faces if face is not None])


def _quadrics(points: np.ndarray, faces: np.ndarray, weight: np.ndarray) -> Quadrics:
    """Squared distances to the planes of the adjoining faces, weighted by their areas."""
    count, bodies, _ = points.shape
    A, b, c = np.zeros((count, bodies, 3, 3)), np.zeros((count, bodies, 3)), np.zeros((count, bodies))
    area = np.zeros((count, bodies))
    corners = points[faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    doubled = np.linalg.norm(cross, axis=-1)
    normal = cross / np.maximum(doubled, 1e-15)[..., None]
    face_area = doubled / 2
    height = -(normal * corners[:, 0]).sum(-1)
    for corner in range(3):
        at = faces[:, corner]
        np.add.at(A, at, face_area[..., None, None] * normal[..., :, None] * normal[..., None, :])
        np.add.at(b, at, (face_area * height)[..., None] * normal)
        np.add.at(c, at, face_area * height * height)
        np.add.at(area, at, face_area / 3)
    A, b, c = A * weight[:, None, None, None], b * weight[:, None, None], c * weight[:, None]
    area *= POINT_WEIGHT
    A += area[..., None, None] * np.eye(3)
    return Quadrics(A, b - area[..., None] * points, c + area * (points**2).sum(-1))


class _Decimation:
    """The mesh while it is being simplified."""

    def __init__(self, points: np.ndarray, faces: np.ndarray, mirror: np.ndarray, weight: np.ndarray):
        self.points = points
        self.mirror = mirror.tolist()
        self.quadrics = _quadrics(points, faces, weight)
        self.faces: list[Face | None] = [tuple(face) for face in faces.tolist()]
        self.neighbours: list[set[int]] = [set() for _ in points]
        self.faces_at: list[set[int]] = [set() for _ in points]
        for number, face in enumerate(self.faces):
            for vertex in face:
                self.faces_at[vertex].add(number)
                self.neighbours[vertex].update(set(face) - {vertex})
        self.alive = np.zeros(len(points), bool)
        self.alive[np.unique(faces)] = True
        self.keep: set[int] = set()
        # A collapse raises the version of its target, which makes the entries of the heap that name it void.
        self.version = [0] * len(points)
        self.heap: list[tuple[float, int, int, int, int]] = []

    def offer(self, vertex: int, onto: int | None = None) -> None:
        """Puts the collapses of a vertex, or only the one onto another, into the heap."""
        if vertex in self.keep or not self.alive[vertex]:
            return
        image = self.mirror[vertex]
        targets = [
            other
            for other in (self.neighbours[vertex] if onto is None else (onto,))
            # A vertex of the midline may move only along it, or the mesh would lose its symmetry.
            if other != image and (vertex != image or self.mirror[other] == other)
        ]
        if not targets:
            return
        costs = self.quadrics.costs(vertex, targets, self.points[targets])
        for cost, other in zip(costs.tolist(), targets, strict=True):
            heapq.heappush(self.heap, (cost, vertex, other, self.version[vertex], self.version[other]))

    def step(self, may_take_two: bool) -> int:
        """Tries the cheapest collapse and its mirror image; returns how many vertices went."""
        _, vertex, onto, version, version_onto = heapq.heappop(self.heap)
        if not (self.alive[vertex] and self.alive[onto]):
            return 0
        if (self.version[vertex], self.version[onto]) != (version, version_onto):
            return 0
        image, image_onto = self.mirror[vertex], self.mirror[onto]
        single = image == vertex
        if not (single or may_take_two) or not self.is_legal(vertex, onto):
            return 0
        before = self.snapshot(vertex, onto)
        self.collapse(vertex, onto)
        if not single:
            if not self.is_legal(image, image_onto):
                self.restore(vertex, onto, before)
                return 0
            self.collapse(image, image_onto)
        for target in {onto, image_onto}:
            self.version[target] += 1
        for target in {onto, image_onto}:
            if target <= self.mirror[target]:
                self.offer(target)
            for other in self.neighbours[target]:
                if other <= self.mirror[other]:
                    self.offer(other, target)
        return 1 if single else 2

    def is_legal(self, vertex: int, onto: int) -> bool:
        """Whether the mesh stays a closed surface without folds and slivers."""
        if not (self.alive[vertex] and self.alive[onto]) or onto not in self.neighbours[vertex]:
            return False
        around, around_onto = self.neighbours[vertex], self.neighbours[onto]
        common = around & around_onto
        if len(common) != 2 or len(around) + len(around_onto) - 4 > MAX_VALENCE:
            return False
        if any(len(self.neighbours[other]) <= 3 for other in common):
            return False
        moved = [self.faces[number] for number in self.faces_at[vertex] if onto not in self.faces[number]]
        return all(self.stays_well_shaped(face, vertex, onto) for face in moved)

    def stays_well_shaped(self, face: Face, vertex: int, onto: int) -> bool:
        old = self.points[list(face)]
        new = self.points[[onto if corner == vertex else corner for corner in face]]
        old_normal = np.cross(old[1] - old[0], old[2] - old[0])
        new_normal = np.cross(new[1] - new[0], new[2] - new[0])
        new_area = np.linalg.norm(new_normal, axis=-1)
        least = MIN_NORMAL_COSINE * np.linalg.norm(old_normal, axis=-1) * new_area
        if ((old_normal * new_normal).sum(-1) < least).any():
            return False
        edges = np.stack([new[1] - new[0], new[2] - new[1], new[0] - new[2]])
        longest = (edges**2).sum(-1).max(0)
        return not (new_area < MIN_SHAPE * longest).any()

    def collapse(self, vertex: int, onto: int) -> None:
        for number in list(self.faces_at[vertex]):
            face = self.faces[number]
            if onto in face:
                self.faces[number] = None
                for corner in face:
                    self.faces_at[corner].discard(number)
            else:
                self.faces[number] = tuple(onto if corner == vertex else corner for corner in face)
                self.faces_at[onto].add(number)
        for other in self.neighbours[vertex]:
            self.neighbours[other].discard(vertex)
            if other != onto:
                self.neighbours[other].add(onto)
                self.neighbours[onto].add(other)
        self.quadrics.add(vertex, onto)
        self.alive[vertex] = False
        self.neighbours[vertex], self.faces_at[vertex] = set(), set()

    def snapshot(self, vertex: int, onto: int) -> tuple:
        """All that `collapse` is about to change."""
        region = self.neighbours[vertex] | {vertex}
        links = {other: (set(self.neighbours[other]), set(self.faces_at[other])) for other in region}
        faces = {number: self.faces[number] for number in self.faces_at[vertex]}
        quadrics = self.quadrics
        return links, faces, (quadrics.A[onto].copy(), quadrics.b[onto].copy(), quadrics.c[onto].copy())

    def restore(self, vertex: int, onto: int, before: tuple) -> None:
        links, faces, (A, b, c) = before
        for other, (neighbours, faces_at) in links.items():
            self.neighbours[other], self.faces_at[other] = neighbours, faces_at
        for number, face in faces.items():
            self.faces[number] = face
        self.quadrics.A[onto], self.quadrics.b[onto], self.quadrics.c[onto] = A, b, c
        self.alive[vertex] = True
