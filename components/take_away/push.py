"""On a Space: sign in, and upload the export under one's own name."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import gradio as gr

from components.display.status_line import failed, ready
from wanda_core.errors import Refused


def lay_out(file: gr.State) -> None:
    """Lay the controls out and wire them.

    Args:
        file: holds the path of the export that this visitor made.
    """
    gr.LoginButton(elem_id="login")
    with gr.Row():
        repo = gr.Textbox(label="Push to the Hub as", placeholder="owner/name", elem_id="push-name")
        push = gr.Button("Push", elem_id="push")
    result = gr.HTML(ready("Sign in, export, then push it as a new private model."))

    def upload(exported: str | None, repo: str, token: gr.OAuthToken | None) -> str:
        from wanda_core.export.push import check_name
        from wanda_core.export.push import push as push_folder

        try:
            if token is None:
                raise Refused("sign in first")
            if not exported or not exported.endswith(".zip") or not Path(exported).is_file():
                raise Refused("export first")
            check_name(repo)
            with tempfile.TemporaryDirectory() as folder:
                with zipfile.ZipFile(exported) as archive:
                    archive.extractall(folder)
                (content,) = Path(folder).iterdir()
                address = push_folder(content, repo, token.token)
        except Refused as error:
            return failed(error)
        return ready(f"Uploaded: {address}")

    push.click(upload, [file, repo], result, concurrency_limit=1, api_visibility="private")
