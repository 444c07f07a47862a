"""The tasks of this example: one file each, in steps that are not done again when the task is tried again."""

import hashlib
from pathlib import Path
from typing import Any

from taskyard import SyncContext, Yard

yard = Yard()

#: Read in pieces, so that a file of many gigabytes needs no more memory than a small one.
PIECE_BYTES = 1024 * 1024
THUMBNAIL_PIXELS = 256


@yard.task("inspect", queue="folder", timeout=300)
def inspect(ctx: SyncContext, path: str, thumbnails: str) -> dict[str, Any]:
    """Return the checksum of a file and, where it is an image, the path of a thumbnail made of it."""
    sha256 = ctx.step("checksum", checksum, ctx, Path(path))
    thumbnail = ctx.step("thumbnail", make_thumbnail, Path(path), Path(thumbnails) / f"{ctx.id}.png")
    return {"sha256": sha256, "thumbnail": thumbnail}


def checksum(ctx: SyncContext, path: Path) -> str:
    size, done = path.stat().st_size, 0
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            done += len(piece)
            if size > PIECE_BYTES:
                ctx.progress(done, total=size, message="reading")
    return digest.hexdigest()


def make_thumbnail(path: Path, thumbnail: Path) -> str | None:
    """Return where the thumbnail is; None when the file is no image, or Pillow is not installed."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        return None
    try:
        with Image.open(path) as image:
            image.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
            image.convert("RGBA").save(thumbnail, "PNG")
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return None
    return str(thumbnail)
