"""A form: labelled fields one under the other, each with room for its own fault and remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input

from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.units import printable
from fsgr_tui.tui.format import BAD, DIM
from fsgr_tui.tui.widgets.choice import Choice
from fsgr_tui.tui.widgets.in_order import answer
from fsgr_tui.tui.widgets.words import Words


@dataclass(frozen=True)
class Field:
    """One field.

    Attributes:
        label, values, hint: marked for translation, and translated where they are shown.
        flag: the command line's name for it, or how several begin; faults name flags, and so find their field.
        values: what can be chosen; empty for free text.
        hint: shown while the field is empty.
    """

    name: str
    label: str
    flag: str = ""
    values: tuple[str, ...] = ()
    hint: str = ""


def field_of(fields: Sequence[Field], values: Mapping[str, str], what: str, fix: str) -> str:
    """The name of the field that a fault belongs to; empty when it belongs to none.

    A fault names a flag, or quotes the value that is wrong: a path up to its end (the image root is the beginning of
    every split's path), or one word of several. Of the flags that only the remedy names
    the first one counts.
    """
    flagged = sorted((field for field in fields if field.flag), key=lambda field: -len(field.flag))
    named = next((field.name for field in flagged if field.flag in what), "")
    quoted = [
        (match.start(), field.name)
        for field in fields
        if not field.values
        for word in (values.get(field.name, "").strip(), *values.get(field.name, "").replace(",", " ").split())
        if len(word) > 2
        for match in [re.search(rf"(?<!\w){re.escape(word)}(?![\w/-]|\.\w)", what)]
        if match
    ]
    advised = [(fix.find(field.flag), number, field.name) for number, field in enumerate(flagged) if field.flag in fix]
    return named or min(quoted, default=(0, ""))[1] or min(advised, default=(0, 0, ""))[2]


class Form(VerticalScroll, can_focus=False):
    """Fields with their values; posts `Edited` at every change and `Entered` at Enter."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "step(-1)", mark("Field above"), show=False),
        Binding("down", "step(1)", mark("Field below"), show=False),
    ]

    class Edited(Message):
        """A value changed."""

    class Entered(Message):
        """Enter was pressed in a field."""

    def __init__(self, fields: Sequence[Field], values: Mapping[str, str], *, id: str | None = None) -> None:  # noqa: A002 - Textual's name for it
        super().__init__(id=id)
        width = max(cell_len(tr(field.label)) for field in fields) + 1
        self._fields = {field.name: _FieldRow(field, values.get(field.name, ""), width) for field in fields}
        self._known = {name: row.value for name, row in self._fields.items()}

    def compose(self) -> ComposeResult:
        """All fields."""
        yield from self._fields.values()

    @property
    def values(self) -> dict[str, str]:
        """The value of every field."""
        return {name: row.value for name, row in self._fields.items()}

    def fill(self, values: Mapping[str, str]) -> None:
        """Set values without telling of it as an edit."""
        for name, value in values.items():
            # Setting what is there already would move the cursor.
            if self._fields[name].value != value:
                self._fields[name].value = value
        self._known = self.values

    def show_only(self, fields: Sequence[Field]) -> None:
        """Show these fields; the others keep their values."""
        names = {field.name for field in fields}
        for name, row in self._fields.items():
            row.display = name in names

    def enter(self, name: str) -> None:
        """Put the focus into a field, before the next key: `focus` would let keys that come in one piece go elsewhere."""
        self.screen.set_focus(self._fields[name].editor)

    @property
    def entered(self) -> str:
        """The name of the field in focus; empty when none is."""
        return next((name for name, row in self._fields.items() if row.editor is self.screen.focused), "")

    def action_step(self, by: int) -> None:
        """Put the focus into the next field; at the ends it stays, rather than to leave the form."""
        names = [name for name, row in self._fields.items() if row.display]
        if self.entered in names:
            at = names.index(self.entered) + by
            self.enter(names[min(max(at, 0), len(names) - 1)])

    def show_fault(self, name: str, what: str, fix: str, style: str = BAD) -> None:
        """Show a fault below its field, and none elsewhere; no name clears all."""
        for each, row in self._fields.items():
            row.show_fault(what if each == name else "", fix if each == name else "", style)
        # Another field's fault must not take the field in use out of sight.
        if name in self._fields and self.entered in ("", name):
            # Once the fault's own lines have their place.
            self.call_after_refresh(self._fields[name].scroll_visible, animate=False)

    @on(Input.Changed)
    @on(Choice.Changed)
    def _edited(self, event: Message) -> None:
        event.stop()
        # An input also tells of values that were set by the program.
        if self.values != self._known:
            self._known = self.values
            self.post_message(self.Edited())

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Entered())

    def key_enter(self) -> None:
        """Enter in a choice counts like Enter in a text."""
        self.post_message(self.Entered())


class _TextField(Input):
    """An input whose letters stay behind the keys that came before them."""

    async def _on_key(self, event: events.Key) -> None:
        if not event.is_printable or self.screen.focused is not self:
            await answer(self, event)


class _FieldRow(Vertical):
    """Label, editor, and the fault below."""

    def __init__(self, field: Field, value: str, label_width: int) -> None:
        super().__init__()
        self._label = Words(Text(tr(field.label), DIM), classes="label")
        self._label.styles.width = label_width
        self._editor = (
            Choice(field.values, value)
            if field.values
            else _TextField(
                value, placeholder=tr(field.hint) if field.hint else "", compact=True, select_on_focus=False
            )
        )
        if isinstance(self._editor, Input):
            # A blinking cursor would send bytes for ever.
            self._editor.cursor_blink = False
        self._fault = Words(classes="fault")
        self._fault.styles.padding = (0, 0, 0, label_width)

    def compose(self) -> ComposeResult:
        """The line, and the fault."""
        with Horizontal():
            yield self._label
            yield self._editor
        yield self._fault

    @property
    def editor(self) -> Widget:
        """What takes the keys."""
        return self._editor

    @property
    def value(self) -> str:
        """What the field holds."""
        return self._editor.value

    @value.setter
    def value(self, value: str) -> None:
        self._editor.value = value

    def show_fault(self, what: str, fix: str, style: str) -> None:
        """Show a fault and its remedy; empty words take them away."""
        self._fault.display = bool(what)
        text = Text.assemble((f"! {printable(what)}", style))
        self._fault.say(text.append(f" {printable(fix)}") if fix else text)
