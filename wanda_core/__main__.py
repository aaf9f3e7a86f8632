"""The command line: `python -m wanda_core prune | compare`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from wanda_core.errors import Refused
from wanda_core.methods import METHODS

CHARACTERS_PER_TOKEN = 8
"""Read of a streamed text for each token needed; English takes about 4, so windows have places to choose from."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Exit code 0, or 2 with one line on standard error."""
    try:
        options = _parser().parse_args(arguments)
        options.run(options)
    except Refused as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("stopped")
    except (MemoryError, RuntimeError) as error:
        from wanda_core.memory import is_out_of_memory

        if is_out_of_memory(error):
            return _fail("out of memory: take fewer --samples, a smaller --length or a smaller model")
        raise
    return 0


def _fail(message: str) -> int:
    # What a library said may have lines of its own.
    print(f"wanda_core: {' '.join(message.split())}", file=sys.stderr)
    return 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Refused(f"{message} (see --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m wanda_core", description="Prune language models and measure what it costs."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    prune = commands.add_parser("prune", help="write a pruned model")
    prune.set_defaults(run=_prune)
    _add_model(prune)
    prune.add_argument("--method", default="wanda", help=f"{', '.join(METHODS)} (default wanda)")
    prune.add_argument("--sparsity", type=float, help="share of the weights to remove (default 0.5)")
    prune.add_argument("--pattern", default="unstructured", help="unstructured, or N:M such as 2:4")
    prune.add_argument(
        "--group", help="weights that compete: output, layer or input (default: the method's own)"
    )
    _add_allocation(prune)
    _add_calibration(prune)
    prune.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="new folder for the pruned model"
    )

    compare = commands.add_parser("compare", help="measure perplexities of methods and sparsities")
    compare.set_defaults(run=_compare)
    _add_model(compare)
    compare.add_argument(
        "--methods",
        type=_list,
        default=["magnitude", "wanda"],
        metavar="A,B,...",
        help=f"of {', '.join(METHODS)} (default magnitude,wanda)",
    )
    compare.add_argument(
        "--sparsities", type=_list, default=[], metavar="S,T,...", help="default 0.5, or none with --patterns"
    )
    compare.add_argument("--patterns", type=_list, default=[], metavar="N:M,...")
    _add_allocation(compare)
    _add_calibration(compare)
    compare.add_argument("--evaluation", required=True, metavar="FILE|DATASET")
    compare.add_argument(
        "--windows", type=int, help="how many windows to evaluate (default: all of the text)"
    )
    compare.add_argument("--eval-length", type=int, default=2048, help="tokens of an evaluation window")
    compare.add_argument("--json", type=Path, metavar="FILE")
    compare.add_argument("--csv", type=Path, metavar="FILE")
    compare.add_argument("--resume", action="store_true", help="keep what --json FILE holds already")
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="Hub id, folder, .gguf file or `pocket`")
    parser.add_argument("--revision", help="branch, tag or commit of a Hub model")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")


def _add_allocation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allocation",
        default="uniform",
        help="how much each layer gives where no N:M fixes it: uniform (default), owl, or NAME=RATIO,... with block "
        "numbers or layer names",
    )


def _add_calibration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--schedule", default="layer", help="statistics from the model as pruned so far, or `dense`"
    )
    parser.add_argument("--calibration", required=True, metavar="FILE|DATASET")
    parser.add_argument("--samples", type=int, default=128, help="calibration windows")
    parser.add_argument("--length", type=int, default=2048, help="tokens of a calibration window")
    parser.add_argument("--seed", type=int, default=0)


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _prune(options: argparse.Namespace) -> None:
    from wanda_core import calibration, export, models
    from wanda_core.prune import prune
    from wanda_core.recipe import Recipe

    recipe = Recipe(
        method=options.method,
        sparsity=options.sparsity,
        pattern=options.pattern,
        group=options.group,
        allocation=options.allocation,
        schedule=options.schedule,
        seed=options.seed,
    )
    export.check_destination(options.out, 0)
    text = calibration.read_text(
        options.calibration, "calibration", _characters(options.samples, options.length)
    )
    model = _load(models, options, options.length)
    export.check_destination(options.out, export.model_bytes(model))
    tokens = calibration.calibration_windows(
        calibration.encode(text.text, model.tokenizer), options.samples, options.length, options.seed
    )
    with _Bar() as bar:
        pruning = prune(
            model.anatomy, tokens, recipe, on_progress=lambda share, where: bar("pruning", share, where)
        )
    drawn = {
        "text": text.name,
        "samples": options.samples,
        "length": options.length,
        "seed": options.seed,
        "after": 0,
    }
    export.export(model, pruning, tokens, drawn, options.out)
    _print_layers(pruning)
    print(f"\n{options.out}: sparsity {pruning.sparsity:.2%} in {pruning.seconds['total']:.1f} s")


def _compare(options: argparse.Namespace) -> None:
    from wanda_core import calibration, experiments, models
    from wanda_core.recipe import Recipe

    sparsities = options.sparsities or ([] if options.patterns else ["0.5"])
    common = {"schedule": options.schedule, "seed": options.seed}
    recipes = [
        Recipe(method=method, sparsity=_number(sparsity), allocation=options.allocation, **common)
        for method in options.methods
        for sparsity in sparsities
    ] + [
        Recipe(method=method, pattern=pattern, **common)
        for method in options.methods
        for pattern in options.patterns
    ]
    if options.resume and not options.json:
        raise Refused("--resume goes with --json FILE, the results to go on from")
    for file in (options.json, options.csv):
        if file and file.is_dir():
            raise Refused(f"{file} is a folder: give a file")
        if file and not file.absolute().parent.is_dir():
            raise Refused(f"{file.absolute().parent} is no folder: create it first")
    kept = experiments.load_json(options.json) if options.resume and options.json.exists() else None

    if options.windows is not None and options.windows < 1:
        raise Refused("--windows must be a whole number, 1 or more")
    if options.eval_length < 2:
        raise Refused("--eval-length must be a whole number, 2 or more")
    evaluated = (options.windows or 10_000) * options.eval_length
    evaluation = calibration.read_text(options.evaluation, "evaluation", evaluated * CHARACTERS_PER_TOKEN)
    wanted = _characters(options.samples, options.length)
    if options.calibration == options.evaluation:
        wanted += evaluated * CHARACTERS_PER_TOKEN
    text = calibration.read_text(options.calibration, "calibration", wanted)
    model = _load(models, options, max(options.length, options.eval_length))
    windows = calibration.evaluation_windows(
        calibration.encode(evaluation.text, model.tokenizer), options.windows, options.eval_length
    )
    after = windows.numel() if text.source == evaluation.source else 0
    tokens = calibration.calibration_windows(
        calibration.encode(text.text, model.tokenizer), options.samples, options.length, options.seed, after
    )
    texts = {
        "calibration": text.name,
        "calibration_after": after,
        "seed": options.seed,
        "evaluation": evaluation.name,
    }
    protocol = experiments.protocol(model, tokens, windows, texts)
    known = []
    if kept:
        _refuse_other_protocol(options.json, kept[0], protocol)
        known = kept[1]
    rows: list[dict[str, Any]] = []

    def keep(row: dict[str, Any], _: Any) -> None:
        rows.append(row)
        if options.json:
            # An earlier point stays in the file until it is measured anew, so that nothing is lost by stopping.
            experiments.save_json(options.json, protocol, rows + experiments.not_among(rows, known))
        if options.csv:
            experiments.save_csv(options.csv, rows)

    with _Bar() as bar:
        experiments.compare(model, tokens, windows, recipes, known=known, on_row=keep, on_progress=bar)
    _print_rows(rows, protocol)
    if failed := [row for row in rows if row["error"]]:
        raise Refused(
            f"{len(failed)} of {len(rows)} points failed; {failed[0]['method']}: {failed[0]['error']}"
        )


def _refuse_other_protocol(file: Path, then: dict[str, Any], now: dict[str, Any]) -> None:
    differing = [key for key in now if key != "date" and then.get(key) != now[key]]
    if differing:
        raise Refused(
            f"{file} was measured under another protocol ({', '.join(differing)} differ): give --json a new file"
        )


def _characters(samples: int, length: int) -> int:
    return max(1, samples * length * CHARACTERS_PER_TOKEN)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Refused(f"--sparsities takes numbers between 0 and 1, not `{text[:40]}`") from None


def _load(models: Any, options: argparse.Namespace, length: int) -> Any:
    model = models.load(options.source, device=options.device, dtype=options.dtype, revision=options.revision)
    if model.context and length > model.context:
        raise Refused(
            f"{options.source} reads at most {model.context:,} tokens at a time, not {length:,}: lower --length"
            + (" and --eval-length" if options.command == "compare" else "")
        )
    return model


class _Bar:
    """A progress bar for each stage, on a terminal only."""

    def __enter__(self) -> Callable[[str, float, str], None]:
        self._bar: Any = None
        self._doing = ""
        return self._show

    def __exit__(self, *_: Any) -> None:
        if self._bar is not None:
            self._bar.close()

    def _show(self, doing: str, share: float, where: str) -> None:
        from tqdm import tqdm

        if doing != self._doing:
            self.__exit__()
            self._bar = tqdm(
                total=100,
                desc=doing,
                disable=None,
                bar_format="{desc}: {percentage:3.0f}% |{bar}| {elapsed}, {remaining} left{postfix}",
            )
            self._doing = doing
        self._bar.set_postfix_str(where, refresh=False)
        self._bar.update(share * 100 - self._bar.n)


def _print_layers(pruning: Any) -> None:
    """Sparsity and output error by kind of layer, over the blocks."""
    import pandas as pd

    reports = pd.DataFrame([{**vars(report), "sparsity": report.sparsity} for report in pruning.reports])
    kinds = reports.groupby("kind", sort=False)
    print(
        pd.DataFrame(
            {
                "layers": kinds.size(),
                "sparsity": kinds["pruned"].sum() / kinds["weights"].sum(),
                "mean output error": kinds["error"].mean(),
                "largest": kinds["error"].max(),
            }
        ).to_string(float_format="{:.4f}".format)
    )
    if pruning.uncalled:
        print(f"left dense, never called: {', '.join(pruning.uncalled)}")


def _print_rows(rows: list[dict[str, Any]], protocol: dict[str, Any]) -> None:
    from wanda_core.experiments import table

    shown = table(rows)
    shown["times dense"] = shown["perplexity"] / rows[0]["perplexity"] if rows[0]["perplexity"] else None
    columns = [
        "method",
        "pattern",
        "sparsity_reached",
        "perplexity",
        "perplexity_low",
        "perplexity_high",
        "times dense",
    ]
    columns += ["prune_seconds", "evaluate_seconds"]
    print(shown[columns].to_string(index=False, float_format="{:.4g}".format, na_rep="-"))
    print(
        f"\nPerplexity on the first {protocol['windows']} windows of {protocol['eval_length']} tokens of "
        f"{protocol['evaluation']}, with a 95% interval over windows; calibrated on {protocol['samples']} windows of "
        f"{protocol['length']} tokens of {protocol['calibration']}, seed {protocol['seed']}.\n"
        f"{protocol['device']}, {protocol['dtype']}, {protocol['threads']} threads, torch {protocol['torch']}, "
        f"transformers {protocol['transformers']}."
    )


if __name__ == "__main__":
    sys.exit(main())
