"""The task of this example: reports what takes the room in a folder."""

from pathlib import Path
from shutil import disk_usage
from typing import Any

from taskyard import SyncContext, Yard

yard = Yard()


@yard.task("disk-report", queue="reports", timeout=600)
def disk_report(ctx: SyncContext, folder: str, most: int = 5) -> dict[str, Any]:
    """Return the sizes of the largest entries of a folder, and how much of the disk is left."""
    entries = sorted(Path(folder).iterdir())
    sizes: dict[str, int] = {}
    for done, entry in enumerate(entries, start=1):
        sizes[entry.name] = size_of(entry)
        ctx.progress(done, total=len(entries), message=entry.name)
    largest = sorted(sizes, key=lambda name: sizes[name], reverse=True)[:most]
    report = {
        "folder": folder,
        "bytes": sum(sizes.values()),
        "largest": {name: sizes[name] for name in largest},
        "disk_free_bytes": disk_usage(folder).free,
    }
    ctx.publish("report", report)
    return report


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; what cannot be read counts nothing."""
    if path.is_symlink():
        return 0
    if path.is_file():
        return path.stat().st_size
    total = 0
    for child in path.rglob("*"):
        try:
            total += child.stat().st_size if child.is_file() and not child.is_symlink() else 0
        except OSError:
            continue
    return total
