"""The pictures in assets/: `python -m tests.screenshots`. The real screen with real readings of this machine.

With names of SVG files, such as the tests' snapshots, it draws those instead, into the present folder: to look at them.
Needs headless Chromium (other renderers lose the metrics of the letters), and for Chinese a font that has it
(Debian: fonts-noto-cjk).
"""

from __future__ import annotations

import asyncio
import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
from itertools import groupby
from pathlib import Path

from rich.cells import cell_len

from fsgr_tui.core import language
from fsgr_tui.tui.run import real_app

ASSETS = Path(__file__).parents[1] / "assets"
SIZE = (112, 34)
PICTURES = {"screen.png": language.ENGLISH, "screen-zh.png": language.CHINESE}
CELL = 12.2
"""Width of a cell in the SVG's units."""

_TEXT = re.compile(r'<text (class="[^"]*") x="([\d.]+)" y="([\d.]+)" textLength="[\d.]+" ([^>]*)>([^<]+)</text>')
_FONTS = "font-family: Fira Code, 'DejaVu Sans Mono', 'Noto Sans Mono CJK SC', monospace;"


def main(argv: list[str]) -> int:
    """Write the pictures."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("Chromium is needed to draw the picture.", file=sys.stderr)
        return 3
    drawn = [(Path(name).read_text("utf-8"), Path(f"{Path(name).stem}.png").absolute()) for name in argv]
    if not drawn:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            drawn = [(asyncio.run(_screen(spoken)), ASSETS / name) for name, spoken in PICTURES.items()]
    for svg, path in drawn:
        _draw(chromium, wide_characters_mended(svg), path)
        print(path)
    return 0


async def _screen(spoken: str) -> str:
    """The screen as SVG, once the plan is drawn; in all colours, whatever terminal this is."""
    os.environ["COLORTERM"] = "truecolor"
    os.environ.pop("NO_COLOR", None)
    language.use(spoken)
    app = real_app(None, "features")
    async with app.run_test(size=SIZE) as pilot:
        ways = [language.tr("REALTIME"), language.tr("PRECOMPUTED")]
        for _ in range(100):
            await pilot.pause(0.1)
            if any(way in app.export_screenshot() for way in ways):
                break
        # Out of the greeting of a first start.
        await pilot.press("escape")
        await pilot.pause(0.5)
        return app.export_screenshot(title="fsgr-tui")


def wide_characters_mended(svg: str) -> str:
    """The same picture with every character over its own cells.

    A text's length is told by the number of its characters, which squeezes those that take two cells.
    """
    return _TEXT.sub(_apart, svg).replace("font-family: Fira Code, monospace;", _FONTS)


def _apart(match: re.Match[str]) -> str:
    """Narrow and wide characters as texts of their own, each where its cells are."""
    style, x, y, rest, escaped = match.groups()
    text = html.unescape(escaped)
    parts, at = [], float(x)
    for _, group in groupby(text, cell_len):
        run = "".join(group)
        length = cell_len(run) * CELL
        content = html.escape(run).replace("\u00a0", "&#160;")
        parts.append(f'<text {style} x="{at:.1f}" y="{y}" textLength="{length:.1f}" {rest}>{content}</text>')
        at += length
    return "".join(parts)


def _draw(chromium: str, svg: str, path: Path) -> None:
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "screen.svg").write_text(svg, "utf-8")
        image = f"<img src='screen.svg' width='{width}' height='{height}'>"
        (folder / "page.html").write_text(f"<body style='margin:0;background:#0d1117'>{image}</body>")
        subprocess.run(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
             "--hide-scrollbars", f"--user-data-dir={folder}/profile", f"--window-size={int(float(width))},{int(float(height))}",
             f"--screenshot={path}", f"file://{folder}/page.html"],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
