"""What `wanda-lab` runs: `wanda-lab prune | compare | latency | app`."""

from __future__ import annotations

import sys


def main() -> int:
    """Open the page with `app`, else run the command line, which needs neither gradio nor the page."""
    if sys.argv[1:2] == ["app"]:
        import app

        sys.argv[:2] = ["wanda-lab app"]
        app.main()
        return 0
    from wanda_core.__main__ import main as command_line

    return command_line(
        prog="wanda-lab", more="`wanda-lab app [MODEL ...] [--port PORT]` opens the page in a browser."
    )
