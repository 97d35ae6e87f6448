"""Who is told how a pipeline goes when nobody looks."""

from __future__ import annotations


class Silent:
    """Takes what the pipeline tells and does nothing with it."""

    def phase(self, *_told, **_more) -> None: ...

    def progress(self, *_told, **_more) -> None: ...

    def warning(self, *_told, **_more) -> None: ...

    def refused(self, *_told, **_more) -> None: ...
