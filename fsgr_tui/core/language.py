"""The language of every text that a person reads: one gettext catalogue for all faces, chosen once a process.

English is written in the code; other languages are catalogues in `fsgr_tui/locale`. `tests/catalogue.py` keeps them up
to date. Names that programs read (keys of JSON, states, flags, commands) stay as they are in every language.
"""

from __future__ import annotations

import gettext
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

Text = TypeVar("Text", bound=str)

ENGLISH = "en"
CHINESE = "zh_CN"
LANGUAGES = (ENGLISH, CHINESE)

VARIABLE = "FSGR_TUI_LANG"
"""Names the language before the locale does; children inherit it, so that a job speaks as its starter does."""

LOCALE_DIR = Path(__file__).parent.parent / "locale"
DOMAIN = "fsgr_tui"

_SPELLINGS = {
    "en": ENGLISH,
    "zh": CHINESE,
    "zh_cn": CHINESE,
    "zh_sg": CHINESE,
    "zh_hans": CHINESE,
    "zh_hans_cn": CHINESE,
    "zh_hans_sg": CHINESE,
}


_ONE_WORD = {"no (does not fit)": "no"}
"""What English says with a word that other languages need several for, by what the code calls it."""


class _English(gettext.NullTranslations):
    """The texts of the code as they are."""

    def gettext(self, message: str) -> str:
        return _ONE_WORD.get(message, message)


class _Spoken:
    """The catalogue in use; None until the first text is asked for."""

    catalogue: gettext.NullTranslations | None = None


def known(name: str) -> str | None:
    """The language that a name stands for (`zh`, `zh-CN`, `zh_CN.UTF-8`, `en_GB`); None for one that is not here."""
    plain = name.split(".", maxsplit=1)[0].split("@", maxsplit=1)[0].replace("-", "_").lower()
    return ENGLISH if plain.startswith("en_") else _SPELLINGS.get(plain)


def of_environment(environment: Mapping[str, str]) -> str:
    """The language that the environment asks for; English when it asks for none of ours.

    As gettext reads it: LC_ALL before LC_MESSAGES before LANG; LANGUAGE lists preferences, unless the locale is C.
    """
    own = known(environment.get(VARIABLE, ""))
    if own:
        return own
    locale = next((environment[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)), "C")
    if locale.split(".", maxsplit=1)[0] in ("C", "POSIX"):
        return ENGLISH
    wanted = (*environment.get("LANGUAGE", "").split(":"), locale)
    return next((language for language in map(known, wanted) if language), ENGLISH)


def use(language: str) -> None:
    """Speak this language from now on: one of LANGUAGES."""
    _Spoken.catalogue = (
        _English()
        if language == ENGLISH
        else gettext.translation(DOMAIN, LOCALE_DIR, languages=[language], fallback=False)
    )


def speak(catalogue: gettext.NullTranslations) -> None:
    """Speak a catalogue that is none of ours: tests find texts with it that go past the catalogue."""
    _Spoken.catalogue = catalogue


def _catalogue() -> gettext.NullTranslations:
    if _Spoken.catalogue is None:
        use(of_environment(os.environ))
    assert _Spoken.catalogue is not None  # `use` set it
    return _Spoken.catalogue


def tr(message: str, /, **values: object) -> str:
    """A text in the user's language, its `{names}` filled with the values.

    Values are never read as a format themselves. Without values the text is taken as it is, braces and all.
    """
    text = _catalogue().gettext(message) if message else ""  # to gettext, the empty text is the catalogue's head
    return text.format(**values) if values else text


def trn(one: str, many: str, count: int, /, **values: object) -> str:
    """As `tr`, in the form that fits the count, which fills `{count}` too."""
    return _catalogue().ngettext(one, many, count).format(count=count, **values)


def mark(message: Text) -> Text:
    """A text that is translated where it is shown, with `tr`: for tables and class attributes, made before the choice."""
    return message


def sentences(*texts: str) -> str:
    """Whole sentences behind one another; empty ones are left out. Chinese full stops need no space behind them."""
    whole = ""
    for text in filter(None, texts):
        whole += text if not whole or whole.endswith(("。", "！", "？")) else f" {text}"
    return whole


def listed(names: Iterable[str]) -> str:
    """Names in a row, such as subjects of one sentence."""
    return tr(", ").join(names)


def joined(*parts: str) -> str:
    """Statements about one thing in a row; Chinese puts another comma between them than between names."""
    text, *more = parts
    for part in more:
        text = tr("{begin}, {more}", begin=text, more=part)
    return text
