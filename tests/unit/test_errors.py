"""A refusal names settings, and each front end calls them its own way."""

import pickle

import pytest

from wanda_core.errors import Refused


def flag(setting: str) -> str:
    return "--" + setting.replace("_", "-")


def test_each_front_end_names_the_settings() -> None:
    refused = Refused("lower {samples} or {eval_length}")
    assert str(refused) == "lower samples or eval_length"
    assert refused.told(flag) == "lower --samples or --eval-length"
    assert refused.told({"samples": "Windows", "eval_length": "Tokens"}.get) == "lower Windows or Tokens"


@pytest.mark.parametrize(
    "text", ["{nothing}", "{}", "{samples", "samples}", "{{x}}", "{0}", "{samples!r}", "%s"]
)
def test_what_is_no_setting_stays_as_it_is(text: str) -> None:
    assert str(Refused(text)) == Refused(text).told(flag) == text


def test_another_process_can_tell_it_too() -> None:
    refused = pickle.loads(pickle.dumps(Refused("lower {samples}")))
    assert refused.told(flag) == "lower --samples"
