"""A z-buffer for triangle meshes in plain torch: masks, depth, part labels and surface colours.

Exact in the sense that a pixel shows the nearest triangle that contains its centre, the point (column + 0.5,
row + 0.5). No library beside torch, any device, safe in threads and forked workers. Not differentiable in the
choice of the triangle; faces that touch the near plane are dropped, not clipped.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

NEAR = 0.01
"""Metres. A face with a corner nearer than this, or behind the camera, is not drawn."""


@dataclass(frozen=True)
class Raster:
    """What every pixel sees."""

    face: Int[Tensor, "batch height width"]
    """Index of the nearest face, -1 where there is none."""
    depth: Float[Tensor, "batch height width"]
    """Camera z of that point in metres, infinite where there is none."""
    barycentric: Float[Tensor, "batch height width 3"]
    """Perspective-correct weights of the face's three corners, zero where there is none."""

    @property
    def mask(self) -> Bool[Tensor, "batch height width"]:
        """True where a face is seen."""
        return self.face >= 0


@dataclass(frozen=True)
class _Pairs:
    """Candidate (triangle, pixel) pairs; a triangle is one face of one body of the batch."""

    face: Int[Tensor, "pairs"]
    pixel: Int[Tensor, "pairs"]  # Over the whole batch: (batch * height + row) * width + column.
    depth: Float[Tensor, "pairs"]
    barycentric: Float[Tensor, "pairs 3"]


def rasterize(
    vertices: Float[Tensor, "batch vertices 3"],
    faces: Int[Tensor, "faces 3"],
    focal: Float[Tensor, "batch"],
    center: Float[Tensor, "batch 2"],
    size: int | tuple[int, int],
    cull: bool = False,
) -> Raster:
    """Find the nearest face behind every pixel centre.

    Args:
        vertices: metres in the camera frame (x right, y down, z forward).
        faces: corner indices, counter-clockwise seen from outside, shared by the batch.
        focal: pixels.
        center: principal point in pixels, measured from the corner of the image.
        size: pixels, (height, width) or one number for a square.
        cull: leave out the faces that show their inner side. The picture of a closed surface stays the
            same, in less time.

    Returns:
        The raster. Where two faces are equally near, the one with the lower index is seen.

    Raises:
        ValueError: if the size is not positive.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ValueError(f"the size of a raster must be positive, got {height} x {width} pixels")
    corners = _corners(vertices, faces, focal, center)
    pairs = _contained(corners, _candidates(corners, height, width, cull), height, width)
    return _nearest(pairs, (len(vertices), height, width))


def interpolate(
    raster: Raster, faces: Int[Tensor, "faces 3"], values: Float[Tensor, "*batch vertices channels"]
) -> Float[Tensor, "batch height width channels"]:
    """Carry values from the vertices to the pixels, perspective-correct.

    Args:
        raster: of the same faces.
        faces: corner indices.
        values: one row a vertex, for every body of the batch or shared by all.

    Returns:
        The value seen in every pixel, zero where there is no face.
    """
    seen = raster.mask.nonzero(as_tuple=True)
    corner = faces[raster.face[seen]]
    picked = values[corner] if values.ndim == 2 else values[seen[0][:, None], corner]
    weight = raster.barycentric[seen].to(values.dtype)
    out = values.new_zeros(*raster.face.shape, values.shape[-1])
    return out.index_put(seen, (weight[..., None] * picked).sum(dim=1))


def labels(
    raster: Raster, face_labels: Shaped[Tensor, "faces"], empty: int = 0
) -> Shaped[Tensor, "batch height width"]:
    """Look up the label of the face seen in every pixel.

    Args:
        raster: the faces seen.
        face_labels: one label a face, of any integer or boolean type.
        empty: the label where there is no face.
    """
    out = face_labels.new_full(raster.face.shape, empty)
    seen = raster.mask
    out[seen] = face_labels[raster.face[seen]]
    return out


def _corners(
    vertices: Float[Tensor, "batch vertices 3"],
    faces: Int[Tensor, "faces 3"],
    focal: Float[Tensor, "batch"],
    center: Float[Tensor, "batch 2"],
) -> Float[Tensor, "3 faces 3 batch"]:
    """Project every vertex and gather it at the faces: (corner, face, (column, row, z), body).

    The batch comes last because a gather of whole rows is many times faster than one of single numbers.
    """
    z = vertices[..., 2:]
    # A face with such a corner is dropped later; here only infinities must not arise.
    image = focal[:, None, None] * vertices[..., :2] / z.clamp(min=NEAR) + center[:, None]
    screen = torch.cat([image, z], dim=-1).permute(1, 2, 0).flatten(1)
    return screen.index_select(0, faces.T.reshape(-1)).view(3, len(faces), 3, len(vertices))


def _candidates(
    corners: Float[Tensor, "3 faces 3 batch"], height: int, width: int, cull: bool
) -> tuple[Int[Tensor, "triangles"], Int[Tensor, "triangles"]]:
    """Faces and bodies of the triangles whose bounding box holds a pixel centre of the image.

    In a small picture most triangles of a body mesh fall between the pixel centres, so this first sieve
    decides the cost. What passes is visited pixel by pixel.
    """
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = (corner.unbind(dim=1) for corner in corners)
    # Seen from outside a face runs counter-clockwise, which in an image whose y points down is negative.
    area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
    keep = area < 0 if cull else area != 0
    keep &= torch.minimum(torch.minimum(az, bz), cz) > NEAR
    for a, b, c, limit in ((ax, bx, cx, width), (ay, by, cy, height)):
        first, last = _span(a, b, c, limit)
        keep &= first <= last
    return keep.nonzero(as_tuple=True)


def _span(
    a: Float[Tensor, "*n"], b: Float[Tensor, "*n"], c: Float[Tensor, "*n"], limit: int
) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
    """First and last pixel whose centre lies between the smallest and the largest of three coordinates."""
    low = torch.minimum(torch.minimum(a, b), c)
    high = torch.maximum(torch.maximum(a, b), c)
    return (low - 0.5).ceil().clamp(min=0), (high - 0.5).floor().clamp(max=limit - 1)


def _contained(
    corners: Float[Tensor, "3 faces 3 batch"],
    candidates: tuple[Int[Tensor, "triangles"], Int[Tensor, "triangles"]],
    height: int,
    width: int,
) -> _Pairs:
    """List the pixels of every candidate's bounding box and keep those whose centre it contains."""
    face, batch = candidates
    corner = corners[:, face, :, batch]  # (triangles, 3 corners, 3) by the rules of advanced indexing.
    x, y, z = corner.unbind(dim=-1)
    first_x, last_x = (bound.long() for bound in _span(*x.unbind(dim=1), width))
    first_y, last_y = (bound.long() for bound in _span(*y.unbind(dim=1), height))
    across = last_x - first_x + 1
    count = across * (last_y - first_y + 1)

    triangle = torch.repeat_interleave(count)
    step = torch.arange(len(triangle), device=face.device) - (count.cumsum(0) - count)[triangle]
    row, column = step // across[triangle], step % across[triangle]
    row, column = first_y[triangle] + row, first_x[triangle] + column

    edges = _edge_functions(corner[..., :2].flatten(1).T.index_select(1, triangle), column + 0.5, row + 0.5)
    # Neighbours see a shared edge with opposite signs of the very same number, so no pixel falls between
    # them; a centre on the edge belongs to both, and the lower index is seen.
    inside = ((edges >= 0).all(dim=0) | (edges <= 0).all(dim=0)) & (edges != 0).any(dim=0)
    inside = inside.nonzero()[:, 0]
    triangle, weight = triangle[inside], edges[:, inside].T
    pixel = (batch[triangle] * height + row[inside]) * width + column[inside]

    weight = weight / weight.sum(dim=1, keepdim=True) / z[triangle]
    depth = 1 / weight.sum(dim=1)
    return _Pairs(face[triangle], pixel, depth, weight * depth[:, None])


def _edge_functions(
    corner: Float[Tensor, "6 pairs"], column: Float[Tensor, "pairs"], row: Float[Tensor, "pairs"]
) -> Float[Tensor, "3 pairs"]:
    """Twice the signed areas between a point and the edges opposite each corner.

    Args:
        corner: x and y of the first corner, then of the others.
        column: x of the point.
        row: y of the point.
    """
    ax, ay, bx, by, cx, cy = corner - torch.stack([column, row]).repeat(3, 1)
    return torch.stack([bx * cy - cx * by, cx * ay - ax * cy, ax * by - bx * ay])


def _nearest(pairs: _Pairs, shape: tuple[int, int, int]) -> Raster:
    """Keep the nearest pair of every pixel, the lowest face where several are equally near."""
    pixels = shape[0] * shape[1] * shape[2]
    depth = pairs.depth.new_full((pixels,), torch.inf)
    depth = depth.scatter_reduce(0, pairs.pixel, pairs.depth, "amin")
    nearest = pairs.depth == depth[pairs.pixel]
    pixel, candidate = pairs.pixel[nearest], pairs.face[nearest]

    none = torch.iinfo(candidate.dtype).max
    face = candidate.new_full((pixels,), none).scatter_reduce(0, pixel, candidate, "amin")
    winner = candidate == face[pixel]
    barycentric = pairs.barycentric.new_zeros(pixels, 3)
    barycentric[pixel[winner]] = pairs.barycentric[nearest][winner]
    face = face.masked_fill(face == none, -1)
    return Raster(face.view(shape), depth.view(shape), barycentric.view(*shape, 3))
