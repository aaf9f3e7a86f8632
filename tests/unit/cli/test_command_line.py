"""The command line: what it writes, and one line with exit code 2 for everything that goes wrong."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from gguf import GGUFReader
from transformers import AutoModelForCausalLM

from tests.support.gguf import tiny_gguf
from tests.unit.cli.conftest import CALIBRATION, fails
from wanda_core.__main__ import _parser, main


def test_prune_writes_a_model(
    prune_into: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*prune_into, "--pattern", "2:4"]) == 0
    printed = capfd.readouterr()
    assert "sparsity 50.00%" in printed.out
    assert printed.err == ""
    weight = AutoModelForCausalLM.from_pretrained(tmp_path / "out").model.layers[2].mlp.down_proj.weight
    assert set((weight.view(-1, 4) != 0).sum(dim=1).tolist()) == {2}
    written = {file.name for file in (tmp_path / "out").iterdir()}
    assert written >= {"model.safetensors", "recipe.json", "masks.safetensors", "calibration.safetensors"}
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_parents_of_the_export_are_made_and_go_with_it(
    prune_into: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a" / "b" / "out"
    assert "does not divide" in fails([*prune_into, "--out", str(out), "--pattern", "2:5"], capfd, tmp_path)
    assert main([*prune_into, "--out", str(out)]) == 0
    assert (out / "model.safetensors").is_file()
    assert [file.name for file in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("command", ["prune", "compare", "check", "latency"])
def test_help_gives_examples_that_can_be_parsed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    examples = capsys.readouterr().out.split("examples:\n")[1].replace("\\\n", " ").strip().splitlines()
    assert examples
    for line in examples:
        _parser("test", None).parse_args(shlex.split(line))


def test_compare_takes_a_group_for_what_is_unstructured(
    compare_into: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    amounts = ["--sparsities", "0.5", "--patterns", "2:4", "--methods", "wanda"]
    assert main([*compare_into, *amounts, "--group", "input"]) == 0
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [row["group"] for row in rows] == [None, "input", None]
    losses = [row["window_losses"] for row in rows]
    assert [len(each) for each in losses] == [3, 3, 3]
    assert {row["evaluation_sha256"] for row in rows} == {
        json.loads((tmp_path / "rows.json").read_text())["protocol"]["evaluation_sha256"]
    }


def test_compare_writes_rows(
    compare_into: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(
            [*compare_into, "--sparsities", "0.3,0.6", "--patterns", "2:4", "--csv", str(tmp_path / "r.csv")]
        )
        == 0
    )
    assert capfd.readouterr().err == ""
    content = json.loads((tmp_path / "rows.json").read_text())
    rows = content["rows"]
    assert [(row["method"], row["pattern"], row["sparsity"]) for row in rows] == [
        ("dense", None, 0.0),
        ("magnitude", "unstructured", 0.3),
        ("magnitude", "unstructured", 0.6),
        ("wanda", "unstructured", 0.3),
        ("wanda", "unstructured", 0.6),
        ("magnitude", "2:4", 0.5),
        ("wanda", "2:4", 0.5),
    ]
    # The same text for both: calibration starts after the last evaluated token.
    assert content["protocol"]["calibration_after"] == 3 * 32
    assert (tmp_path / "r.csv").read_text().count("\n") == 8


def test_compare_measures_before_and_after_a_recovery(compare_into: list[str], tmp_path: Path) -> None:
    assert main([*compare_into, "--methods", "magnitude", "--recover", "blocks"]) == 0
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [(row["method"], row["recovery"]) for row in rows] == [
        ("dense", "none"),
        ("magnitude", "none"),
        ("magnitude", "blocks"),
    ]
    assert rows[2]["kl_to_dense"] < rows[1]["kl_to_dense"]


def test_prune_writes_gguf(tmp_path: Path, text_file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With its card, in a folder that is made for it; and again under another name."""
    source, out = tiny_gguf(tmp_path / "source.gguf"), tmp_path / "made" / "out.gguf"
    prune = ["prune", str(source), "--calibration", str(text_file), *CALIBRATION, "--bits", "4", "--out"]
    assert main([*prune, str(out)]) == 0
    printed = capfd.readouterr()
    assert "The pruned layers are Q4_0" in printed.out
    assert printed.err == ""
    assert {file.name for file in out.parent.iterdir()} == {"out.gguf", "out.md"}
    kinds = {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(out).tensors}
    assert (kinds["blk.0.attn_q.weight"], kinds["token_embd.weight"]) == ("Q4_0", "F32")
    assert "exists already: choose a new file" in fails([*prune, str(out)], capfd, tmp_path)
    (tmp_path / "a.gguf").mkdir()
    assert "a.gguf is a folder: give a file" in fails([*prune, str(tmp_path / "a.gguf")], capfd, tmp_path)


def test_check_looks_at_what_prune_wrote(
    prune_into: list[str], text_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*prune_into, "--pattern", "2:4", "--method", "sparsegpt"]) == 0
    capfd.readouterr()
    out, json_file = tmp_path / "out", tmp_path / "check.json"
    on = ["--evaluation", str(text_file), "--windows", "2", "--eval-length", "32"]
    assert main(["check", str(out), "--dense", prune_into[1], *on, "--json", str(json_file)]) == 0
    printed = capfd.readouterr()
    assert printed.err == ""
    assert "sparsity 50.00% of the weights of 21 layers" in printed.out
    content = json.loads(json_file.read_text())
    assert {(layer["sparsity"], layer["pattern"]) for layer in content["layers"]} == {(0.5, "2:4")}
    assert all(0 < layer["changed"] <= 1 for layer in content["layers"])
    assert content["sizes"]["file"] == (out / "model.safetensors").stat().st_size
    assert content["perplexity"]["value"] != content["perplexity_dense"]["value"]
    assert "--eval-length must be" in fails(["check", str(out), "--eval-length", "1"], capfd, tmp_path)
    assert "--windows must be" in fails(["check", str(out), "--windows", "0"], capfd, tmp_path)
    assert "no such folder" in fails(["check", str(tmp_path / "none")], capfd, tmp_path)
    other = fails(["check", str(out), "--dense", "pocket", *on], capfd, tmp_path)
    assert "pocket is not what" in other


def test_prune_and_compare_in_bits(
    prune_into: list[str], compare_into: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A folder holds the rounded values; rounding again, as of a model that was rounded first, changes nothing."""
    assert main([*prune_into, "--bits", "4", "--sparsity", "0"]) == 0
    recipe = json.loads((tmp_path / "out" / "recipe.json").read_text())["recipe"]
    assert (recipe["bits"], recipe["sparsity"]) == (4, 0)
    asked = ["--methods", "wanda,magnitude", "--bits", "16,4"]
    assert main([*compare_into, *asked, "--json", str(tmp_path / "rows.json")]) == 0
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [(row["method"], row["bits"]) for row in rows] == [
        ("dense", 16), ("dense", 4), ("wanda", 16), ("wanda", 4), ("magnitude", 16), ("magnitude", 4),
    ]  # fmt: skip
    assert "packed MB" in capfd.readouterr().out
    again = [str(tmp_path / "out") if part == compare_into[1] else part for part in compare_into]
    assert main([*again, "--methods", "wanda", "--bits", "4", "--json", str(tmp_path / "again.json")]) == 0
    first, same, *_ = json.loads((tmp_path / "again.json").read_text())["rows"]
    assert first["perplexity"] == same["perplexity"] == rows[1]["perplexity"]
    assert "--bits takes 16, 8, 4, not `many`" in fails([*compare_into, "--bits", "many"], capfd, tmp_path)
    assert "--bits must be one of 16, 8, 4" in fails([*compare_into, "--bits", "5"], capfd, tmp_path)


def test_prune_and_compare_in_order(
    prune_into: list[str], compare_into: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """`--order` takes no value; the patterns are measured with it and without."""
    assert main([*prune_into, "--order", "--pattern", "2:4"]) == 0
    assert json.loads((tmp_path / "out" / "recipe.json").read_text())["recipe"]["order"] == "channels"
    assert (tmp_path / "out" / "order.safetensors").is_file()
    asked = ["--methods", "wanda", "--sparsities", "0.5", "--patterns", "2:4", "--order"]
    assert main([*compare_into, *asked]) == 0
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [(row["pattern"], row["order"]) for row in rows] == [
        (None, "none"),
        ("unstructured", "none"),
        ("2:4", "none"),
        ("2:4", "channels"),
    ]
    assert "channels" in capfd.readouterr().out
    alone = [*compare_into, "--methods", "wanda", "--sparsities", "0.5", "--order"]
    assert "--order needs an N:M pattern: add --patterns 2:4" in fails(alone, capfd, tmp_path)


def test_prune_recovers(prune_into: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*prune_into, "--pattern", "2:4", "--recover", "blocks"]) == 0
    before, after = re.search(r"held out: (\S+) as decided, (\S+) recovered", capfd.readouterr().out).groups()
    assert float(after) < float(before)
    written = json.loads((tmp_path / "out" / "recipe.json").read_text())
    assert written["recipe"]["recovery"] == "blocks"
    assert [block["block"] for block in written["recovered"]] == [0, 1, 2]


def test_prune_recovers_the_whole_model(
    prune_into: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*prune_into, "--pattern", "2:4", "--recover", "model"]) == 0
    said = re.search(r"perplexity on the windows held out: (.*); the best is kept", capfd.readouterr().out)[1]
    curve = json.loads((tmp_path / "out" / "recipe.json").read_text())["recovered_model"]["curve"]
    assert said == ", ".join(f"{perplexity:.4g} after {step} steps" for step, perplexity in curve)
    assert min(perplexity for _, perplexity in curve[1:]) < curve[0][1]


def test_resume_measures_only_what_is_new_and_keeps_the_rest(
    compare_into: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.json"
    assert main([*compare_into, "--methods", "magnitude,random"]) == 0
    first = json.loads(file.read_text())["rows"]
    assert main([*compare_into, "--methods", "random,wanda", "--resume"]) == 0
    second = json.loads(file.read_text())["rows"]
    assert [row["method"] for row in second] == ["dense", "random", "wanda", "magnitude"]
    assert [second[0], second[3], second[1]] == first  # the very seconds they took
    changed = [*compare_into, "--methods", "wanda", "--resume", "--length", "16"]
    assert "another protocol (length" in fails(changed, capfd, tmp_path)
    assert json.loads(file.read_text())["rows"] == second


def test_a_failing_point_is_told_after_the_others(
    compare_into: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*compare_into, "--methods", "wanda", "--patterns", "2:5,2:4"]) == 2
    printed = capfd.readouterr()
    assert printed.err.count("\n") == 1
    assert "1 of 3 points failed" in printed.err
    assert "2:5 does not divide the 32 inputs of model.layers.0.self_attn.q_proj" in printed.err
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [row["error"] is None for row in rows] == [True, False, True]
