"""`fsgr-tui check` shows how far it is, on terminals only."""

from __future__ import annotations

from fsgr_tui.cli import check as command


def test_the_deep_check_shows_rows_and_time_left_and_clears_its_line(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(command.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(command.text, "wants_colour", lambda _stream: True)
    progress = command.Progress("reading rows")
    now[0] += 20
    progress(25_000, 100_000)
    assert "reading rows 25,000/100,000  60 s left" in capsys.readouterr().err
    progress.end()
    assert capsys.readouterr().err == "\r\x1b[2K"


def test_nothing_is_drawn_where_no_terminal_is(capsys):
    progress = command.Progress("reading rows")
    progress(1, 2)
    progress.end()
    assert capsys.readouterr().err == ""
