"""The page's jobs on ZeroGPU: the real `spaces`, its real fork, a stand-in for the service that lends devices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from components.cost.request import default_measure
from components.inside.job import InspectLayers, other_recipe
from components.jobs import runner
from components.jobs.job import Job
from components.questions.job import NAMES, Ask
from components.speed.job import MeasureLatency
from components.take_away.job import Export
from components.text.job import Write
from components.workspace.focus import Focus
from tests.support.requests import SMALL, result
from tests.support.server import OFFLINE, ROOT, served
from tests.support.zero_gpu_api import DAILY_SECONDS, DeviceApi, device_api
from wanda_core import Recipe

FACTOR = 1.5
"""Of the present GPUs: what is booked for every second that is asked for."""


class Rehearsal:
    """A process with the page's queue as on a Space, which plays one scenario after the other."""

    def __init__(self, process: subprocess.Popen, api: DeviceApi) -> None:
        self.process = process
        self.api = api

    def play(self, scenario: str) -> dict[str, Any]:
        self.process.stdin.write(f"{scenario}\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("answer "):
                answer = json.loads(line.removeprefix("answer "))
                assert "broke" not in answer, answer["broke"]
                return answer
        raise AssertionError("the process ended")


@pytest.fixture(scope="module")
def rehearsal() -> Iterator[Rehearsal]:
    with device_api() as (api, address):
        environment = os.environ | {
            "SPACES_ZERO_GPU": "true",
            "SPACES_ZERO_DEVICE_API_URL": address,
            "PYTHONPATH": str(OFFLINE),
            "HF_HUB_OFFLINE": "1",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.zero_gpu_jobs"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield Rehearsal(process, api)
        finally:
            process.stdin.close()
            process.wait(20)


@pytest.mark.parametrize(
    "name",
    ["Measure", "InspectLayers", "Write", pytest.param("MeasureLatency", marks=pytest.mark.long), "Export"],
)
def test_every_job_finds_what_it_looks_for(name: str, rehearsal: Rehearsal) -> None:
    answer = rehearsal.play(name)
    assert answer["failure"] is None
    assert answer["found"]
    assert not answer["loaded_in_page"]
    if name == "InspectLayers":  # SparseGPT shows its own masks
        assert answer["opened"][1][1]


def test_questions_are_asked_or_refused_where_they_cannot_be_had(rehearsal: Rehearsal) -> None:
    answer = rehearsal.play("Ask")
    assert answer["found"] or answer["failure"]
    assert not any(words in (answer["failure"] or "") for words in ("internal error", "broke off"))


def test_stop_ends_a_job_and_the_next_one_runs(rehearsal: Rehearsal) -> None:
    answer = rehearsal.play("stop")
    assert answer["seconds"] < 5
    assert answer["next"]


def test_a_killed_process_stops_nobody_else(rehearsal: Rehearsal) -> None:
    answer = rehearsal.play("killed")
    assert "broke off" in answer["said"]
    assert answer["next"]
    assert answer["seconds"] < 10


def test_two_visitors_compute_side_by_side(rehearsal: Rehearsal) -> None:
    assert rehearsal.play("parallel") == {"both": True, "processes": 2}


def test_fetching_takes_no_booked_time(rehearsal: Rehearsal) -> None:
    assert rehearsal.play("fetched") == {"in_page": True, "computed_in_page": False}


def test_a_job_ends_itself_before_its_time_is_up(rehearsal: Rehearsal) -> None:
    assert "longer than the 1 s" in rehearsal.play("overdue")["said"]


def test_what_was_measured_in_a_process_that_ended_is_not_measured_again(rehearsal: Rehearsal) -> None:
    assert rehearsal.play("again") == {"known": [True, True, True], "rows": 3, "same": True}


def test_a_quota_that_is_used_up_is_told_and_blocks_nobody(rehearsal: Rehearsal) -> None:
    rehearsal.api.refuse = True
    try:
        said = rehearsal.play("quota")["said"]
    finally:
        rehearsal.api.refuse = False
    assert "GPU" in said
    assert rehearsal.play("after_quota")["next"]


def test_every_booking_fits_an_anonymous_visitors_day(
    rehearsal: Rehearsal, capsys: pytest.CaptureFixture[str]
) -> None:
    rehearsal.play("after_quota")
    assert rehearsal.api.asked[-1] == FACTOR * Job.gpu_seconds.fget(None)  # the factor is that of `spaces`
    assert max(rehearsal.api.asked) <= DAILY_SECONDS
    measure = default_measure("pocket")
    focus = Focus(measure.setup, Recipe(method="wanda", sparsity=0.5))
    two = (focus.recipe, Recipe(method="magnitude", sparsity=0.5))
    defaults: dict[str, Job] = {
        "Measure": measure,
        "InspectLayers": InspectLayers(focus, other_recipe(focus.recipe, "magnitude"), ""),
        "InspectLayers, SparseGPT": InspectLayers(focus, other_recipe(focus.recipe, "sparsegpt"), ""),
        "Write": Write(measure.setup, two, "Once", 60, 0.0, 1.0, 0, False),
        "MeasureLatency": MeasureLatency(measure.setup, focus.recipe),
        "Export": Export(measure.setup, focus.recipe, "folder", ""),
        "Ask, all": Ask(measure.setup, two, tuple(NAMES), 50),
    }
    with capsys.disabled():
        print(f"\n{'job':26} {'would take':>10} {'asks for':>9} {'booked':>7} of {DAILY_SECONDS} s")
        for name, job in defaults.items():
            asked = runner.booked_seconds(job)
            print(f"{name:26} {job.gpu_seconds:10.0f} {asked:9.0f} {FACTOR * asked:7.0f}")
    assert all(FACTOR * runner.booked_seconds(job) <= DAILY_SECONDS for job in defaults.values())


@pytest.mark.long
def test_the_page_itself_measures(tmp_path: Path) -> None:
    with device_api() as (api, address):
        command = (sys.executable, "-m", "tests.support.zero_gpu")
        environment = {"SPACES_ZERO_GPU": "true", "SPACES_ZERO_DEVICE_API_URL": address}
        with served(command=command, **environment) as page:
            found = result(page, "measure", **SMALL, amounts=["50"], methods=["wanda"])
        assert len(found["rows"]) >= 2
        assert len(api.asked) == 1


AS_SPACES_DOES = """
import os, sys, torch, gradio  # what takes seconds, once; each value then has a process that reads it afresh
for value in ("false", "true", "1", ""):
    sys.stdout.flush()
    if not (child := os.fork()):
        os.environ["SPACES_ZERO_GPU"] = value
        import tests.support.zero_gpu
        from spaces.config import Config
        from components.jobs.runner import ZERO_GPU
        print(repr(value), ZERO_GPU, Config.zero_gpu, flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


def test_zero_gpu_is_what_spaces_takes_it_for() -> None:
    environment = os.environ | {"SPACES_ZERO_DEVICE_API_URL": "http://127.0.0.1:9"}
    environment.pop("SPACES_ZERO_GPU", None)
    said = subprocess.run(
        [sys.executable, "-c", AS_SPACES_DOES],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.splitlines() == [
        "'false' False False",
        "'true' True True",
        "'1' True True",
        "'' False False",
    ]


@pytest.mark.parametrize("version", ["2.8.0", "2.9.1", "2.10.0", "2.11.0", "2.13.0"])
def test_the_torch_of_a_space_is_taken(version: str) -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    torch = next(Requirement(line) for line in lines if line.startswith("torch"))
    assert version in torch.specifier
