"""A bar chart as SVG, without a library: tasks per second on a logarithmic scale."""

from collections.abc import Sequence
from html import escape
from math import log10

WIDTH, LEFT, ROW, BAR = 860, 230, 24, 15
COLOURS = {"ours": "#2f6fdb", "yes": "#6b8f71", "log only": "#b59a3c", "no": "#a8a8a8"}
LEGEND = (
    ("ours", "Taskyard"),
    ("yes", "keeps a record"),
    ("log only", "keeps a log only"),
    ("no", "keeps none"),
)


def chart(title: str, bars: Sequence[tuple[str, float, str]]) -> str:
    """Return the picture of *bars*, each a name, a rate, and the kind that colours it."""
    most = max((rate for _, rate, _ in bars), default=10.0)
    top = 10 ** (int(log10(most)) + 1)
    height = 78 + ROW * len(bars)
    scale = (WIDTH - LEFT - 80) / log10(top / 10)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="22" font-size="15" fill="#222">{escape(title)}</text>',
    ]
    for place, (kind, name) in enumerate(LEGEND):
        x = 12 + place * 150
        parts.append(f'<rect x="{x}" y="34" width="11" height="11" fill="{COLOURS[kind]}"/>')
        parts.append(f'<text x="{x + 16}" y="44" fill="#444">{escape(name)}</text>')
    rate = 10
    while rate <= top:
        x = LEFT + log10(rate / 10) * scale
        parts.append(f'<line x1="{x:.1f}" y1="56" x2="{x:.1f}" y2="{height - 20}" stroke="#e2e2e2"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - 6}" fill="#777" text-anchor="middle">{rate:,}</text>')
        rate *= 10
    for place, (name, value, kind) in enumerate(bars):
        y = 62 + place * ROW
        width = max(2.0, log10(max(value, 10.1) / 10) * scale)
        parts.append(f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end" fill="#222">{escape(name)}</text>')
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{COLOURS[kind]}"/>')
        parts.append(f'<text x="{LEFT + width + 6:.1f}" y="{y + 12}" fill="#222">{value:,.0f}</text>')
    return "\n".join([*parts, "</svg>", ""])
