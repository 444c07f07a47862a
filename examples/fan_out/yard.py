"""The tasks of this example: one that fans out over the files of a folder and in again, and one for a file."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

from taskyard import Context, SyncContext, Yard

yard = Yard()

TEXTS = {
    ".md",
    ".txt",
    ".rst",
    ".py",
    ".toml",
    ".sql",
    ".html",
    ".css",
    ".js",
    ".json",
    ".yaml",
    ".yml",
    ".c",
    ".h",
}
WORD = re.compile(r"[^\W\d_]{3,}")
MOST_FILES = 500
MOST_WORDS = 1000


@yard.task("count-folder", queue="words")
async def count_folder(ctx: Context, folder: str) -> dict[str, Any]:
    """
    Count the words in the texts of a folder.

    It runs twice: once until its children are submitted, and again from its start when all have ended. What it did in a
    step it does not do again: the second time, the list is the one made the first time.
    """
    files = await ctx.step("list", texts, folder)
    counts = await ctx.map("count", count_file, [{"path": path} for path in files])
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return {
        "files": len(files),
        "words": sum(total.values()),
        "different": len(total),
        "top": total.most_common(10),
    }


@yard.task("count-file", queue="words", timeout=60)
def count_file(ctx: SyncContext, path: str) -> dict[str, int]:
    """Return how often each of the most common words occurs in a file."""
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    return dict(Counter(word.lower() for word in WORD.findall(text)).most_common(MOST_WORDS))


def texts(folder: str) -> list[str]:
    found = (
        path
        for path in sorted(Path(folder).rglob("*"))
        if path.suffix in TEXTS and path.is_file() and not hidden(path.relative_to(folder))
    )
    return [str(path) for path, _ in zip(found, range(MOST_FILES), strict=False)]


def hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
