"""What the Text view shows: the texts, their figures and how they were written."""

from __future__ import annotations

from html import escape
from typing import Any

from components.display.html import model_name
from components.display.number_format import number, threads
from components.text.job import Texts


def show(texts: Texts, recorded: bool = False) -> str:
    """Label, columns, what the figures mean, and how the texts were written."""
    protocol = texts.protocol
    return (
        _label(protocol, recorded)
        + f'<p class="prompt"><b>Prompt</b> {escape(protocol["prompt"])}</p>'
        + '<div class="writings">'
        + "".join(_column(column) for column in texts.columns)
        + "</div>"
        + EXPLANATION
        + _protocol(protocol)
    )


EXPLANATION = """
<dl class="hint meanings">
<dt>≠ departs</dt><dd>The first token that is not the dense text's; what comes after it is underlined.</dd>
<dt>Repetition</dt><dd>Share of 4-token sequences that already occurred in the same text.</dd>
<dt>Surprise</dt><dd>Perplexity of the text under the dense model. Compare it with that of the dense model's own text:
far higher means that it would hardly have written this. A text that repeats itself is low, too: it is easy to
predict.</dd>
<dt>Speed</dt><dd>Decoding speed, prompt excluded; the texts take turns. A pruned model is no faster unless its weights
are packed: zeros are multiplied like any number.</dd>
</dl>
"""


def _label(protocol: dict[str, Any], recorded: bool) -> str:
    model = escape(model_name(protocol))
    if not recorded:
        return f'<p class="label">Written here, now, by <b>{model}</b></p>'
    return (
        f'<p class="label recorded"><b>Recorded texts</b> of {model}, written on {escape(protocol["date"])} on '
        f"{escape(protocol['device'])}, {threads(protocol['threads'])}. Press Write for texts from this machine.</p>"
    )


def _column(column: dict[str, Any]) -> str:
    text, shared = column["text"], column["shared"]
    if shared is None:
        body = escape(text)
    else:
        body = (
            f"{escape(text[:shared])}"
            '<b class="fork" title="The first token that is not the dense text\'s">≠</b>'
            f'<span class="departed">{escape(text[shared:])}</span>'
        )
    if not column["finished"]:
        body += '<span class="cursor" aria-hidden="true">▍</span>'
    return (
        f'<section class="writing"><h2>{escape(column["name"])}</h2><p class="text" dir="auto">{body}</p>'
        f"<dl>{_figures(column)}</dl></section>"
    )


def _figures(column: dict[str, Any]) -> str:
    length = f"{column['tokens']} tokens"
    if column["finished"]:
        length += ", ended by itself" if column["ended"] else ", cut off"
    figures = {"Length": length}
    if column["name"] != "Dense":
        departs = column["departs"]
        if departs is not None:
            figures["≠ departs"] = f"at token {departs + 1}"
        else:
            figures["≠ departs"] = "nowhere" if column["finished"] else "not yet"
    if column["repetition"] is not None:
        figures["Repetition"] = f"{column['repetition']:.0%}"
    if column["perplexity"] is not None:
        figures["Surprise"] = number(column["perplexity"])
    if column["tokens_per_second"] is not None:
        figures["Speed"] = f"{number(column['tokens_per_second'])} tokens/s"
    if column["packed"] is not None:
        figures["Packed"] = column["packed"]
    return "".join(f"<dt>{term}</dt><dd>{escape(value)}</dd>" for term, value in figures.items())


def _protocol(protocol: dict[str, Any]) -> str:
    choice = (
        f"temperature {protocol['temperature']:g}, top-p {protocol['top_p']:g}, seed {protocol['text_seed']}"
        if protocol["temperature"]
        else "always the likeliest token (greedy)"
    )
    template = "through the model's chat template" if protocol["chat_template"] else "as it stands"
    return (
        f'<div class="protocol"><p>At most {protocol["new_tokens"]} new tokens, {choice}. The prompt went in '
        f"{template}, {protocol['prompt_tokens']} tokens. Pruned after {protocol['samples']} windows of "
        f"{protocol['length']} tokens of {escape(protocol['calibration'])}. {escape(protocol['device'])}, "
        f"{escape(protocol['dtype'])}, {threads(protocol['threads'])}, torch {escape(protocol['torch'])}, "
        f"transformers {escape(protocol['transformers'])}.</p></div>"
    )
