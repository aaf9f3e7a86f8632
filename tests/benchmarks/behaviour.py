"""Does a change to the code change what the command line does? Record it before and after, and compare.

    cd TREE && python tests/benchmarks/behaviour.py record before.json [--models pocket,gpt2,FILE.gguf]
    python tests/benchmarks/behaviour.py compare before.json after.json

`record` runs hundreds of command lines in this process and notes all that they leave behind: exit code, what was
printed and every file written; tensors by their SHA-256, results and recipes as they are, less times and dates. It
imports `wanda_core` from the folder it is started in, so that one copy of this file serves any two trees, and relies on
nothing but the command line, `METHODS` and `load_packed`. One thread: sums in another order round differently.

`pocket` is run in full, with command lines that must be refused; the random models (`gpt2`, `gemma3`, `opt`, `mixtral`)
for what their architectures have of their own; a GGUF file on two short windows of WikiText-2, whose
`wikitext2-test.txt` is in the folder that WANDA_LAB_DATA names.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from time import perf_counter
from typing import Any

from behaviour_cases import RANDOM_MODELS, command_lines, prepare


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="note what the command lines do")
    recording.add_argument("file", type=Path, metavar="FILE.json")
    recording.add_argument(
        "--models",
        default=",".join(["pocket", *RANDOM_MODELS]),
        help="of these (default: all) and GGUF files: %(default)s",
    )
    comparing = commands.add_parser("compare", help="exit code 1 where something differs")
    comparing.add_argument("old", type=Path, metavar="OLD.json")
    comparing.add_argument("new", type=Path, metavar="NEW.json")
    options = parser.parse_args()
    if options.command == "record":
        return record(options.file.absolute(), options.models.split(","))
    return compare(*(json.loads(file.read_text(encoding="utf-8")) for file in (options.old, options.new)))


def record(file: Path, models: list[str]) -> int:
    tree = Path.cwd()
    # Read when torch and transformers are imported.
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    sys.path.insert(0, str(tree))
    if not (tree / "wanda_core").is_dir():
        sys.exit(f"{tree} holds no wanda_core: start this in the tree that is to be recorded")
    ggufs = {Path(model).stem: Path(model).absolute() for model in models if model.endswith(".gguf")}
    data = Path(os.environ.get("WANDA_LAB_DATA", ""), "wikitext2-test.txt").absolute()
    if unknown := [m for m in models if m not in ("pocket", *RANDOM_MODELS) and not m.endswith(".gguf")]:
        sys.exit(f"no model {unknown[0]}: choose from pocket, {', '.join(RANDOM_MODELS)}, or a .gguf file")
    if not file.parent.is_dir():
        sys.exit(f"{file.parent} is no folder: create it first")
    if missing := [path for path in ggufs.values() if not path.is_file()]:
        sys.exit(f"there is no file {missing[0]}")
    if ggufs and not data.is_file():
        sys.exit("a GGUF file needs WikiText-2: let WANDA_LAB_DATA name a folder with wikitext2-test.txt")

    import torch
    from tqdm import tqdm

    import wanda_core

    torch.set_num_threads(1)
    print(f"recording {Path(wanda_core.__file__).parent}", file=sys.stderr)
    start = perf_counter()
    lines: list[str] = []
    recorded: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # every name on a command line is relative, and so the same wherever this runs
        try:
            prepare(tree / "assets" / "pocket", models, ggufs, data)
            lines = command_lines(models, ggufs, list(wanda_core.METHODS))
            for line in tqdm(lines, desc="command lines"):
                recorded[line] = observe(line)
        except KeyboardInterrupt:
            print("\nstopped: the file holds what was recorded until now", file=sys.stderr)
        finally:
            os.chdir(tree)
    file.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")
    parts = sum(len(entry) for entry in recorded.values())
    print(f"{file}: {len(recorded)} command lines, {parts} entries in {perf_counter() - start:.0f} s")
    return int(not lines or len(recorded) < len(lines))


def observe(line: str) -> dict[str, Any]:
    """Run a command line in the current folder, note what it does, and remove what it wrote."""
    from wanda_core.__main__ import main as command

    before = {path.name for path in Path.cwd().iterdir()}
    printed, errors, codes = io.StringIO(), io.StringIO(), []
    for part in line.split(" && "):
        with redirect_stdout(printed), redirect_stderr(errors):
            try:
                codes.append(command(shlex.split(part)))
            except Exception as error:  # the others go on, and that it came to this is what is to be known
                codes.append(f"{type(error).__name__}: {error}")
        if errors.getvalue().endswith(": stopped\n"):
            raise KeyboardInterrupt  # the command took it for itself
    new = [path for path in Path.cwd().iterdir() if path.name not in before]
    written = sorted(file for path in new for file in (path.rglob("*") if path.is_dir() else [path]))
    files = [file.relative_to(Path.cwd()) for file in written if file.is_file()]
    entry: dict[str, Any] = {
        "exit codes": codes,
        "standard error": plain(errors.getvalue()),
        "files written": [file.as_posix() for file in files],
    }
    if line.startswith("prune"):
        entry["standard output"] = re.sub(r"in \d+\.\d s$", "in ... s", plain(printed.getvalue()), flags=re.M)
    entry |= {file.as_posix(): described(file, measured=line.startswith("latency")) for file in files}
    if "out/packed.safetensors" in entry:
        from wanda_core import load_packed

        entry["load_packed(out)"] = digest(load_packed("out").state_dict())
    for path in new:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return entry


def plain(text: str) -> str:
    """Without the name of the folder this runs in."""
    return text.replace(str(Path.cwd()), "FOLDER")


def described(file: Path, measured: bool) -> Any:
    """A file's content as it can be compared.

    Args:
        measured: numbers with a point are times.
    """
    if file.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(file, framework="pt") as tensors:
            content = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
            return digest(content, json.dumps(tensors.metadata(), sort_keys=True))
    if file.suffix == ".csv":
        with file.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        return timeless([{key: number(value) for key, value in row.items()} for row in rows], measured)
    if file.name in ("recipe.json", "rows.json"):
        return timeless(json.loads(file.read_text(encoding="utf-8")), measured)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def digest(tensors: dict[str, Any], more: str = "") -> str:
    """SHA-256 of names, dtypes, shapes and bytes, in the order of the names."""
    import torch

    found = hashlib.sha256(more.encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def number(text: str) -> float | str:
    return float(text) if re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", text) else text


def timeless(value: Any, measured: bool) -> Any:
    """Without what is another at every run: times and dates."""
    if isinstance(value, dict):
        return {key: timeless(part, measured) for key, part in value.items() if not is_time(key)}
    if isinstance(value, list):
        return [timeless(part, measured) for part in value]
    return "a number" if measured and isinstance(value, float) else value


def is_time(key: str) -> bool:
    return key in ("seconds", "created", "date") or key.endswith("_seconds")


def compare(old: dict[str, Any], new: dict[str, Any]) -> int:
    """Print what differs; an entry or key that only `new` has is no difference."""
    agree, total = Counter[str](), Counter[str]()
    for line, entry in old.items():
        total.update(entry.keys())
        if line not in new:
            print(f"{line}\n    is not in the second file")
            continue
        found = {part: list(differences(entry[part], new[line].get(part, "(nothing)"))) for part in entry}
        agree.update(part for part in entry if not found[part])
        if any(found.values()):
            print(line)
        for part, places in found.items():
            if places:
                more = f" and {len(places) - 3} more" if len(places) > 3 else ""
                print(f"    {part}: {'; '.join(places[:3])}{more}")
    for part in sorted(total):
        print(f"{agree[part]:6,} of {total[part]:6,} agree: {part}")
    added = len(new.keys() - old.keys())
    print(
        f"{agree.total():6,} of {total.total():6,} entries of {len(old):,} command lines agree"
        + (f"; {added:,} more command lines are in the second file alone" if added else "")
    )
    return int(agree != total)


def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """Each place where `new` is not what `old` is; where both are dicts the keys of `old` count."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key, value in old.items():
            yield from differences(value, new.get(key, "(nothing)"), f"{where}.{key}" if where else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (first, second) in enumerate(zip(old, new, strict=True)):
            yield from differences(first, second, f"{where}[{place}]")
    elif isinstance(old, str) and isinstance(new, str) and old.count("\n") == new.count("\n") > 1:
        yield from differences(old.splitlines(), new.splitlines(), where)
    elif old != new or type(old) is not type(new):
        yield f"{where + ': ' if where else ''}{shown(old)} -> {shown(new)}"


def shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}..."


if __name__ == "__main__":
    sys.exit(main())
