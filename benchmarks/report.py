"""The results: as a table, as JSON and as a plot."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .load import Rate

FIGURES = ["p50 ms", "p99 ms", "errors"]
HEAD = ["what", "clients", "Spotify ms", "app", *FIGURES, "baseline", *FIGURES, "ratio"]
COLOURS = {"app": "#1d3557", "baseline": "#e0a458"}
WIDTH, HEIGHT, BAR, TOP, FLOOR = 860, 340, 34, 75, 290


class Row(NamedTuple):
    """One thing measured: rates under load, or a single value with its unit.

    ratio: of the app's rate to the baseline's, or to that of the row that `what` names.
    """

    what: str
    clients: int | None = None
    spotify_ms: int | None = None
    app: Rate | None = None
    baseline: Rate | None = None
    ratio: float | None = None
    value: float | None = None
    unit: str = ""
    errors: int | None = None

    def cells(self) -> list[str]:
        app = _rate(self.app)
        if self.value is not None:
            app[0] = f"{self.value:,.{2 if self.unit == 's' else 0}f} {self.unit}"
            app[3] = "" if self.errors is None else str(self.errors)
        setting = ["" if n is None else str(n) for n in (self.clients, self.spotify_ms)]
        ratio = f"{self.ratio:.2f}" if self.ratio else ""
        return [self.what, *setting, *app, *_rate(self.baseline), ratio]

    def fields(self) -> dict[str, Any]:
        """Return what there is, with the rates as dicts."""
        fields = {k: v for k, v in self._asdict().items() if v not in (None, "")}
        rates = {k: v._asdict() for k, v in fields.items() if isinstance(v, Rate)}
        return fields | rates


def _rate(rate: Rate | None) -> list[str]:
    if rate is None:
        return [""] * 4
    times = f"{rate.p50_ms:,.1f}", f"{rate.p99_ms:,.1f}"
    return [f"{rate.per_second:,.0f}/s", *times, str(rate.errors)]


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table that is readable as it is."""
    cells = [HEAD, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(
        1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    )
    return "\n".join(
        "| "
        + " | ".join(
            cell.rjust(width) if n else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in cells
    )


def save(rows: Sequence[Row], about: dict[str, Any], folder: Path) -> None:
    """Write results.json and results.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    results = about | {"rows": [row.fields() for row in rows]}
    text = json.dumps(results, indent=1)
    (folder / "results.json").write_text(f"{text}\n", "utf-8")
    both = [row for row in rows if row.baseline and row.what.startswith("logged in")]
    (folder / "results.svg").write_text("\n".join(_plot(both)) + "\n", "utf-8")


def _plot(rows: Sequence[Row]) -> Iterator[str]:
    """Draw the logged-in page's rates: a pair of bars for each row."""
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" text-anchor="middle">'
        f'<path fill="#fff" d="M0 0h{WIDTH}v{HEIGHT}H0z"/>'
    )
    yield _text(WIDTH / 2, 24, "Logged-in pages a second")
    for x, (name, colour) in zip((370.0, 470.0), COLOURS.items(), strict=True):
        yield f'<path fill="{colour}" d="M{x - 42} 37h12v12h-12z"/>'
        yield _text(x, 47, name)
    most = max(max(_pair(row)) for row in rows)
    for n, row in enumerate(rows):
        middle = WIDTH * (n + 0.5) / len(rows)
        for x, rate, colour in zip(
            (middle - BAR, middle), _pair(row), COLOURS.values(), strict=True
        ):
            high = (FLOOR - TOP) * rate / most
            bar = f"M{x:.1f} {FLOOR}v{-high:.1f}h{BAR - 2}v{high:.1f}z"
            yield f'<path fill="{colour}" d="{bar}"/>'
            yield _text(x + BAR / 2 - 1, FLOOR - high - 5, f"{rate:,.0f}")
        clients = "1 client" if row.clients == 1 else f"{row.clients} clients"
        yield _text(middle, FLOOR + 18, clients)
        yield _text(middle, FLOOR + 34, f"Spotify {row.spotify_ms} ms")
    yield "</svg>"


def _pair(row: Row) -> list[float]:
    return [rate.per_second if rate else 0.0 for rate in (row.app, row.baseline)]


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}">{text}</text>'
