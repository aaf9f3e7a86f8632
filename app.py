"""Wanda Lab: see what pruning does to a language model, then decide. `python app.py [MODEL ...]`"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

VIEWS = (
    "components.cost.layout:Cost",
    "components.inside.layout:Inside",
    "components.text.layout:Text",
    "components.questions.layout:Questions",
    "components.speed.layout:Speed",
    "components.take_away.layout:TakeAway",
)
"""The tabs, in their order. Named, not imported: the command line shares this module and does without the page."""


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Open the page."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="folders or .gguf files to offer beside the built-in models",
    )
    parser.add_argument("--port", type=int, help="of the server (default: the first free one from 7860)")
    parser.add_argument(
        "--runs",
        metavar="FOLDER",
        help="keep finished runs as files in this folder, too, and show those in it",
    )
    parser.add_argument(
        "--public",
        action="store_true",
        help="strangers will come: the limits of a Space, not of one's own machine",
    )
    parser.add_argument("--mcp", action="store_true", help="serve the API as MCP tools, too (extra `mcp`)")
    options = parser.parse_args(arguments)

    # Before gradio is imported: nothing is asked of other machines unless a visitor asks for something of the Hub.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    if options.public:
        os.environ["WANDA_LAB_PUBLIC"] = "1"
    if options.public or os.environ.get("SPACE_ID"):  # a token of the owner opens nothing to strangers
        os.environ["HF_HUB_DISABLE_IMPLICIT_TOKEN"] = "1"
    os.environ.setdefault("GRADIO_TEMP_DIR", _temporary())
    from components import lab
    from components.workspace import run_folder
    from components.workspace.defaults import offered_sources

    if options.runs:
        os.environ[run_folder.VARIABLE] = options.runs
    sources = offered_sources(options.models)
    lab.serve(lab.build(sources, VIEWS), port=options.port, mcp=options.mcp, warm=sources[0])
    # After Ctrl-C. A job may be computing in a thread, which the interpreter's own end would abort the process for.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _temporary() -> str:
    """A folder of this server's own for uploads and downloads: no other user's, and gone with what is in it at the
    next start of a server."""
    import tempfile
    from pathlib import Path

    from wanda_core.stages import own_folder

    user = os.getuid() if hasattr(os, "getuid") else "all"
    try:
        return str(own_folder(Path(tempfile.gettempdir()) / f"wanda-lab-{user}"))
    except OSError:  # somebody else has made a folder of that name
        return tempfile.mkdtemp(prefix="wanda-lab-")


def command() -> int:
    """What `wanda-lab` runs: the page with `app`, else the command line, which needs neither gradio nor the page."""
    if sys.argv[1:2] == ["app"]:
        main(sys.argv[2:], prog="wanda-lab app")
        return 0
    from wanda_core.__main__ import main as command_line

    return command_line(
        prog="wanda-lab", more="`wanda-lab app [MODEL ...] [--port PORT]` opens the page in a browser."
    )


if __name__ == "__main__":
    main()
