"""Uploads that no page sends, to a real server: none breaks the route or lies elsewhere, and each is read as what it
is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.attack.client import TINY, Target, assert_no_more_is_held, sentence

pytestmark = pytest.mark.long
Tried = Callable[..., None]
KIND = "hostile requests"


def part(name: str, file: str | None, content: bytes, end: bytes = b"\r\n--b--\r\n") -> bytes:
    said = f'form-data; name="{name}"' + (f'; filename="{file}"' if file is not None else "")
    return f"--b\r\nContent-Disposition: {said}\r\n\r\n".encode() + content + end


UPLOADS: dict[str, tuple[str, bytes]] = {
    "no boundary": ("multipart/form-data", part("files", "a.txt", b"x")),
    "another boundary": ("multipart/form-data; boundary=c", part("files", "a.txt", b"x")),
    "no end": ("multipart/form-data; boundary=b", part("files", "a.txt", b"x", b"")),
    "no headers": ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--"),
    "no name": (
        "multipart/form-data; boundary=b",
        b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--",
    ),
    "long header": (
        "multipart/form-data; boundary=b",
        b"--b\r\nX: " + b"y" * 100_000 + b"\r\n\r\nx\r\n--b--",
    ),
    "a field for a file": ("multipart/form-data; boundary=b", part("files", None, b"x")),
    "many fields": ("multipart/form-data; boundary=b", part("a", None, b"x", b"\r\n") * 2000 + b"--b--"),
    "many files": ("multipart/form-data; boundary=b", part("files", "a", b"", b"\r\n") * 1500 + b"--b--"),
    "empty": ("multipart/form-data; boundary=b", b""),
    "JSON": ("application/json", b"{}"),
    "no type": ("", b"x"),
    "charset": ("multipart/form-data; boundary=b; charset=no-such", part("files", "a.txt", b"x")),
    "two boundaries": ("multipart/form-data; boundary=b; boundary=c", part("files", "a.txt", b"x")),
    "long boundary": (f"multipart/form-data; boundary={'b' * 5000}", part("files", "a.txt", b"x")),
}
NAMES = [
    "../../../../tmp/evil.txt",
    "..\\\\..\\\\evil.txt",
    "/etc/cron.d/evil",
    "a" * 4000 + ".txt",
    ".bashrc",
    "..",
    ".",
    "",
    "con.txt",
    "a\tb.txt",
    "<img src=x onerror=alert(1)>.txt",
    "half \ud83e".encode("utf-16", "surrogatepass").decode("latin-1"),
    "%2e%2e%2fevil.txt",
]


def test_no_upload_breaks_the_route_or_lies_outside(target: Target, tried: Tried) -> None:
    for name, (kind, body) in UPLOADS.items():
        answer = target.web.post(
            "/gradio_api/upload", content=body, headers={"Content-Type": kind} if kind else {}
        )
        assert answer.status_code < 500, (name, answer.text[:300])
        tried(KIND)
    uploads = target.log.parent / "uploads"
    for name in NAMES:
        body = part("files", name, b"hostile")
        answer = target.web.post(
            "/gradio_api/upload", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"}
        )
        assert answer.status_code < 500, name
        if answer.status_code == 200:
            for path in answer.json():
                assert path.startswith(str(uploads)), path
                assert ".." not in path.split("/")
        tried(KIND)


def test_a_file_that_was_uploaded_is_read_as_what_it_is(target: Target, tried: Tried) -> None:
    """The three controls that take a file, with every file that is none of theirs."""
    contents = {
        "runs.json": [b"", b"{}", b"[" * 100_000, b'{"schema": 1, "runs": "x"}', b"\xff\xfe", b"9" * 5000],
        "page.html": [b"<script>alert(1)</script>"],
        "a.txt": [b"", b"\0" * 100, b"\xff\xfe\xfd", b" " * 1000],
        "a.csv": [b"text\n\0", b'"', b"a,b\n1,2\n"],
        "a.jsonl": [b"{", b"[]\n" * 10, b'{"text": 7}\n', b'{"text": "\\ud83e"}\n'],
        "a.parquet": [b"PAR1", b"PAR1" + b"\0" * 1000 + b"PAR1"],
    }
    (import_,) = (
        each for each in target.handlers if [target.number_of("import-runs"), "upload"] in each["targets"]
    )
    saved = next(
        each
        for each in target.handlers
        if each["targets"] and each["targets"][0][1] == "upload" and each is not import_
    )
    run = target.handler("run")
    for name, each in contents.items():
        for content in each:
            sent = target.web.post("/gradio_api/upload", files={"files": (name, content)})
            file = {"path": sent.json()[0], "meta": {"_type": "gradio.FileData"}, "orig_name": name}
            said = [
                sentence(target.press(import_, [file])),
                sentence(target.press(saved, [file, *target.usual(saved)[1:]])),
            ]
            again = target.web.post(
                "/gradio_api/upload", files={"files": (name, content)}
            )  # those were deleted
            values = target.usual(run, **TINY | {"calibration": "file", "evaluation": "file"})
            place = next(
                i
                for i, number in enumerate(run["inputs"])
                if target.component(number)["type"] in ("file", "uploadbutton")
            )
            values[place] = file | {"path": again.json()[0]}
            answer = target.press(run, values)
            said.append(sentence(answer))
            tried(KIND, 3)


def test_the_server_holds_no_more_than_before(target: Target) -> None:
    assert_no_more_is_held(target)
