"""The pictures in assets/: `python -m tests.screenshots`. The real screen with real readings of this machine.

Needs headless Chromium: other renderers lose the metrics of the letters.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from fsgr_tui.tui.run import real_app

ASSETS = Path(__file__).parents[1] / "assets"
SIZE = (112, 34)


async def _picture() -> str:
    """The screen as SVG, once the plan is drawn."""
    app = real_app(None, "features")
    async with app.run_test(size=SIZE) as pilot:
        for _ in range(100):
            await pilot.pause(0.1)
            if "REALTIME" in app.export_screenshot() or "PRECOMPUTED" in app.export_screenshot():
                break
        # Out of the greeting of a first start.
        await pilot.press("escape")
        await pilot.pause(0.5)
        return app.export_screenshot(title="fsgr-tui")


def main() -> int:
    """Write assets/screen.png."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("Chromium is needed to draw the picture.", file=sys.stderr)
        return 3
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        svg = asyncio.run(_picture())
        (Path(folder) / "screen.svg").write_text(svg)
        width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()
        page = (
            f"<body style='margin:0;background:#0d1117'><img src='screen.svg' width='{width}' height='{height}'></body>"
        )
        (Path(folder) / "page.html").write_text(page)
        subprocess.run(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
             "--hide-scrollbars", f"--user-data-dir={folder}/profile", f"--window-size={int(float(width))},{int(float(height))}",
             f"--screenshot={ASSETS / 'screen.png'}", f"file://{folder}/page.html"],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
    print(ASSETS / "screen.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
