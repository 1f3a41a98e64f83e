"""The outer skin of MakeHuman's body as a closed surface: without mouth bag, eye sockets and nipples.

MakeHuman's skin is a mesh of quads that goes on into the mouth and around the eyeballs. Here these parts are
cut off and the holes closed, and every quad is split into two triangles such that the surface stays its own
mirror image: 12166 vertices, 24328 triangles, of the topology of a sphere.
"""

from dataclasses import dataclass

import numpy as np
from makehuman import MakeHuman

NIPPLES = (*range(1778, 1794), *range(8450, 8466))
"""Vertices that go, with their faces, as in anny 0.6.2 (its package, Apache-2.0, leaves out the same)."""

Triangle = tuple[int, int, int]


@dataclass(frozen=True)
class Surface:
    """Triangles over the vertices of the base mesh."""

    faces: np.ndarray
    """(m, 3), counter-clockwise seen from outside."""
    eyes: tuple[int, int]
    """The most forward vertex of the left and of the right eyeball."""


def outer_skin(source: MakeHuman) -> Surface:
    """The closed, mirror-symmetric skin."""
    eyeball = np.unique(source.groups["helper-l-eye"])
    eye = int(eyeball[np.argmax(source.vertices[eyeball, 2])])
    eyes = (eye, int(source.mirror[eye]))
    quads = _without_nipples(source.groups["body"], source.vertices)
    quads = quads[~np.isin(quads, source.cavity).all(1)]
    triangles = _triangulate(quads, source.mirror, source.vertices)
    for loop in holes(quads):
        x = source.vertices[loop, 0].mean()
        if abs(x) < 5e-3:
            triangles += _close_mouth(loop, source.mirror)
        else:
            triangles += _fan(loop, eyes[0] if x > 0 else eyes[1])
    return Surface(np.array(triangles), eyes)


def holes(faces: np.ndarray) -> list[list[int]]:
    """The boundary loops of a mesh, each in the direction in which the faces that fill it run."""
    edges = np.concatenate([np.stack([faces[:, i - 1], faces[:, i]], 1) for i in range(faces.shape[1])])
    directed = {(a, b) for a, b in edges.tolist()}
    following = {b: a for a, b in directed if (b, a) not in directed}
    loops = []
    while following:
        loop = [min(following)]
        vertex = following.pop(loop[0])
        while vertex != loop[0]:
            loop.append(vertex)
            vertex = following.pop(vertex)
        loops.append(loop)
    return loops


def euler_characteristic(faces: np.ndarray) -> int:
    """Vertices - edges + faces of a triangle mesh: 2 for a closed surface of the topology of a sphere.

    Raises:
        ValueError: if an edge does not lie between exactly two faces that run along it in opposite ways.
    """
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist()
    directed = {(a, b) for a, b in edges}
    if len(directed) < len(edges) or any((b, a) not in directed for a, b in directed):
        raise ValueError("the surface is open, or its faces are not consistently oriented")
    return len(np.unique(faces)) - len(edges) // 2 + len(faces)


def _without_nipples(quads: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Cuts the nipples off and closes the two holes by rows of quads that start nearest the midline."""
    quads = quads[~np.isin(quads, NIPPLES).any(1)]
    # The left one goes first: the right one is then split as its mirror image.
    loops = sorted(holes(quads), key=lambda loop: -vertices[loop, 0].mean())
    for loop in loops:
        x = np.abs(vertices[loop, 0])
        first = int(np.argmin(x + np.roll(x, 1)))
        quads = np.concatenate([quads, _ladder(loop[first:] + loop[:first])])
    return quads


def _ladder(path: list[int]) -> list[tuple[int, int, int, int]]:
    """Quads between the two halves of a path of even length; its two ends are the first rung."""
    last = len(path) - 1
    return [(path[last - i - 1], path[last - i], path[i], path[i + 1]) for i in range(len(path) // 2 - 1)]


def _close_mouth(loop: list[int], mirror: np.ndarray) -> list[Triangle]:
    """Rungs from the upper to the lower lip; one side is the mirror image of the other."""
    middle = [i for i, vertex in enumerate(loop) if mirror[vertex] == vertex]
    side = loop[middle[0] : middle[1] + 1]
    triangles = []
    for a, b, c, d in _ladder(side):
        triangles += [(c, d, a), (c, a, b)]
    return triangles + [_mirrored(triangle, mirror) for triangle in triangles]


def _fan(loop: list[int], centre: int) -> list[Triangle]:
    return [(loop[i - 1], loop[i], centre) for i in range(len(loop))]


def _mirrored(triangle: Triangle, mirror: np.ndarray) -> Triangle:
    a, b, c = triangle
    return int(mirror[c]), int(mirror[b]), int(mirror[a])


def _triangulate(quads: np.ndarray, mirror: np.ndarray, vertices: np.ndarray) -> list[Triangle]:
    """Splits each quad along its shorter diagonal, and its mirror image along the mirrored one."""
    triangles, done = [], set()
    for a, b, c, d in quads.tolist():
        if frozenset((a, b, c, d)) in done:
            continue
        if np.linalg.norm(vertices[a] - vertices[c]) <= np.linalg.norm(vertices[b] - vertices[d]):
            pair = [(a, b, c), (a, c, d)]
        else:
            pair = [(a, b, d), (b, c, d)]
        triangles += pair + [_mirrored(triangle, mirror) for triangle in pair]
        done.add(frozenset(mirror[[a, b, c, d]].tolist()))
    return triangles
