from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field

from litdome.config import build_config, check_tables, describe_config, load_tables
from litdome.errors import ConfigError


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    rank: int = Field(4, ge=1, description="rank")


class Vote(BaseModel):
    model_config = ConfigDict(extra="forbid")
    window_pairs: int = Field(3, ge=3, description="Pairs in the window.")
    lora: Inner = Field(Inner(), description="lora")


def test_set_wins_over_files_and_later_files_over_earlier(tmp_path: Path) -> None:
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    first.write_text("[vote]\nwindow_pairs = 5\n[vote.lora]\nrank = 8\n")
    second.write_text("[vote]\nwindow_pairs = 7\n")
    assert build_config(Vote, "vote", load_tables([first, second])).window_pairs == 7
    config = build_config(Vote, "vote", load_tables([first, second], ["vote.window_pairs=9", "vote.lora.rank=2"]))
    assert (config.window_pairs, config.lora.rank) == (9, 2)


def test_a_typo_names_the_nearest_key() -> None:
    with pytest.raises(ConfigError, match=r"vote\.windw_pairs: unknown key") as error:
        build_config(Vote, "vote", load_tables([], ["vote.windw_pairs=5"]))
    assert error.value.hint == "did you mean window_pairs?"
    with pytest.raises(ConfigError, match=r"vote\.lora\.rnk") as error:
        build_config(Vote, "vote", load_tables([], ["vote.lora.rnk=5"]))
    assert error.value.hint == "did you mean rank?"
    with pytest.raises(ConfigError) as error:
        check_tables({"vot": {}}, ["vote", "align"])
    assert error.value.hint == "did you mean vote?"


@pytest.mark.parametrize("text", ["vote.window_pairs=1", "vote.window_pairs=many"])
def test_a_value_out_of_bounds_says_what_is_allowed(text: str) -> None:
    with pytest.raises(ConfigError, match=r"vote\.window_pairs = .*(greater than or equal to 3|valid integer)"):
        build_config(Vote, "vote", load_tables([], [text]))


def test_broken_toml_and_missing_files_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "x.toml"
    broken.write_text("[vote\n")
    with pytest.raises(ConfigError, match=r"x\.toml: not valid TOML"):
        load_tables([broken])
    with pytest.raises(ConfigError, match=r"y\.toml: no such file"):
        load_tables([tmp_path / "y.toml"])
    with pytest.raises(ConfigError, match="expected KEY=VALUE"):
        load_tables([], ["vote"])


def test_shown_settings_are_valid_toml_with_meaning(tmp_path: Path) -> None:
    text = describe_config("vote", Vote)
    assert "# Pairs in the window.\nwindow_pairs = 3" in text
    path = tmp_path / "shown.toml"
    path.write_text(text)
    assert build_config(Vote, "vote", load_tables([path])) == Vote()
