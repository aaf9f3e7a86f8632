"""The theme: Gradio's own with its faint colours made readable."""

from __future__ import annotations

import gradio as gr
from gradio.themes.utils.fonts import Font, LocalFont

FONT: list[Font | str] = [
    LocalFont("Source Sans Pro", weights=(400, 700)),
    "ui-sans-serif",
    "system-ui",
    "sans-serif",
]
"""The theme's own, but for the file of its bold letters, which lacks most of them."""
THEME = gr.themes.Default(primary_hue="blue", font=FONT).set(
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_600",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_600",
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_300",
)
"""White on the theme's usual blue, and its grey on white, are too faint to read easily."""
