"""Where the pictures of a set come from: memory, a file mapped into memory, or photos cropped on demand."""

from bisect import bisect_right
from collections import OrderedDict
from itertools import accumulate
from os import PathLike
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

from spinkit import crop


@runtime_checkable
class ImageStore(Protocol):
    """Square colour pictures by number, all of one size, on the CPU."""

    @property
    def size(self) -> int:
        """Pixels of a picture's side."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, indices: Int[Tensor, "n"]) -> UInt8[Tensor, "n 3 side side"]: ...


class StoredImages:
    """Pictures that are there already: a tensor, or a NumPy array, which may be a memory-mapped file."""

    def __init__(self, pixels: UInt8[Tensor, "n 3 side side"] | UInt8[np.ndarray, "n 3 side side"]):
        self.pixels = pixels

    @property
    def size(self) -> int:
        return self.pixels.shape[-1]

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, indices: Int[Tensor, "n"]) -> UInt8[Tensor, "n 3 side side"]:
        if isinstance(self.pixels, Tensor):
            return self.pixels[indices]
        # Indexing with an array copies, so nobody can write to the file by accident.
        return torch.from_numpy(np.asarray(self.pixels[indices.numpy()]))


class PhotoCrops:
    """Crops that are cut out of photo files when asked for; the photos read last are kept in memory."""

    def __init__(
        self,
        photos: list[Path],
        boxes: Float[Tensor, "n 3"],
        size: int,
        margin: float,
        photos_kept: int = 8,
    ):
        """
        Args:
            photos: the file of each crop; one file may serve several.
            boxes: centre x, centre y and side of each crop's box, in pixels of its photo.
            size: pixels of a crop's side.
            margin: a crop covers this many times its box's side.
            photos_kept: decoded photos to keep.
        """
        if len(photos) != len(boxes):
            raise ValueError(f"{len(photos)} photos for {len(boxes)} boxes; give the photo of every box")
        self.photos, self.boxes, self.margin = photos, boxes, margin
        self._size, self._photos_kept = size, photos_kept
        self._recent: OrderedDict[Path, Tensor] = OrderedDict()

    @property
    def size(self) -> int:
        return self._size

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, indices: Int[Tensor, "n"]) -> UInt8[Tensor, "n 3 side side"]:
        crops = torch.empty(len(indices), 3, self.size, self.size, dtype=torch.uint8)
        for row, i in enumerate(indices.tolist()):
            crops[row] = crop.square(self._photo(self.photos[i]), self.boxes[i], self.size, self.margin)
        return crops

    def _photo(self, path: Path) -> Tensor:
        photo = self._recent.pop(path) if path in self._recent else read_photo(path)
        self._recent[path] = photo
        while len(self._recent) > self._photos_kept:
            self._recent.popitem(last=False)
        return photo


class SelectedImages:
    """Some of the pictures of another store."""

    def __init__(self, store: ImageStore, indices: Int[Tensor, "n"]):
        self.store, self.indices = store, indices

    @property
    def size(self) -> int:
        return self.store.size

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, indices: Int[Tensor, "n"]) -> UInt8[Tensor, "n 3 side side"]:
        return self.store[self.indices[indices]]


class JoinedImages:
    """Several stores of one size, one after the other."""

    def __init__(self, stores: list[ImageStore]):
        sizes = sorted({store.size for store in stores})
        if len(sizes) != 1:
            raise ValueError(f"stores of the sizes {sizes} cannot be joined; read all sets at one size")
        self.stores = stores
        self._starts = [0, *accumulate(len(store) for store in stores)]

    @property
    def size(self) -> int:
        return self.stores[0].size

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, indices: Int[Tensor, "n"]) -> UInt8[Tensor, "n 3 side side"]:
        # Negative numbers count from the end, as in any tensor.
        indices = torch.arange(len(self))[indices]
        owners = torch.tensor([bisect_right(self._starts, i) - 1 for i in indices.tolist()], dtype=torch.long)
        images = torch.empty(len(indices), 3, self.size, self.size, dtype=torch.uint8)
        for owner in owners.unique().tolist():
            rows = owners == owner
            images[rows] = self.stores[owner][indices[rows] - self._starts[owner]]
        return images


def readable(images: ImageStore, indices: Int[Tensor, "n"]) -> tuple[UInt8[Tensor, "k 3 side side"], dict[int, str]]:
    """Those of some pictures that can be read, in their order, and why the others cannot, by their numbers."""
    try:
        return images[indices], {}
    except (OSError, ValueError):
        # One at a time, to learn which: a file may vanish or break while a training runs.
        found, refused = {}, {}
    for index in dict.fromkeys(indices.tolist()):
        try:
            found[index] = images[torch.tensor([index])]
        except (OSError, ValueError) as error:
            refused[index] = str(error)
    none = torch.empty(0, 3, images.size, images.size, dtype=torch.uint8)
    return torch.cat([none, *(found[index] for index in indices.tolist() if index in found)]), refused


def read_photo(path: str | PathLike[str]) -> UInt8[Tensor, "h w 3"]:
    """A photo file in RGB, its pixels as stored: data sets annotate those, so a note to rotate is ignored.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is no picture, is cut short, or has more than 8 bits a colour.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no photo at {path}; fetch it or correct the path")
    try:
        with Image.open(path) as photo:
            check_mode(photo, path)
            return torch.from_numpy(np.array(photo.convert("RGB")))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be decoded ({error}); fetch the photo again") from error


def check_mode(photo: Image.Image, path: Path) -> None:
    """Refuse numbers that pillow would cut off at 255, so that all of the picture became white.

    Raises:
        ValueError: the picture has 16 or 32 bits a colour.
    """
    if photo.mode[0] in "IF":
        raise ValueError(f"{path}: has more than 8 bits a colour (mode {photo.mode}); convert it to 8 bits")
