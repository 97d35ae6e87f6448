"""The colours: one calm dark theme. `light` shows the same on light ground."""

from __future__ import annotations

from dataclasses import replace

from textual.theme import Theme

THEME = Theme(
    name="fsgr",
    primary="#5fc8bc",
    secondary="#7aa6f0",
    accent="#5fc8bc",
    warning="#e5b567",
    error="#f2777a",
    success="#7fc98f",
    foreground="#dde4ea",
    background="#11161b",
    surface="#11161b",
    panel="#1a2128",
    boost="#1a2128",
    dark=True,
    variables={
        "block-cursor-background": "#24404a",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-text-style": "bold",
        "block-cursor-blurred-background": "#1a2128",
        "block-cursor-blurred-foreground": "#dde4ea",
        "block-cursor-blurred-text-style": "none",
        "scrollbar": "#33414c",
        "scrollbar-background": "#11161b",
        "scrollbar-corner-color": "#11161b",
        "scrollbar-hover": "#4a5c69",
        "scrollbar-active": "#4a5c69",
        "scrollbar-background-hover": "#11161b",
        "scrollbar-background-active": "#11161b",
    },
)

# Only another name: the light filter makes the light of it. Changing the theme's name has everything drawn anew.
LIGHT = replace(THEME, name="fsgr-light")
