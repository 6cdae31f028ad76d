"""Consent: which uses it covers, on which day, and after it was taken back."""

from datetime import date

import pytest

from litdome.consent import refusal, require_use, withdrawn_consent
from litdome.errors import ConsentError

CONSENT = {"version": "2026-01", "uses": ["research", "train"], "expires": "2030-01-01", "withdrawn": None}
TODAY = date(2026, 11, 21)


def test_a_covered_use_passes_on_the_last_day() -> None:
    assert refusal(CONSENT, "train", TODAY) is None
    assert refusal(CONSENT, "train", date(2030, 1, 1)) is None
    require_use(CONSENT, "train", "take", today=date(2030, 1, 1))


def test_without_a_record_nothing_is_forbidden_but_to_publish() -> None:
    require_use(None, "train", "take", today=TODAY)
    require_use({"version": "1"}, "likeness-synthesis", "take", today=TODAY)
    for consent in (None, {"version": "1"}):
        with pytest.raises(ConsentError, match="no consent to publish was recorded"):
            require_use(consent, "publish", "take", today=TODAY)


@pytest.mark.parametrize(
    ("consent", "use", "day", "words"),
    [
        (CONSENT, "publish", TODAY, "for research, train, not for publish"),
        (CONSENT, "train", date(2030, 1, 2), "ended on 2030-01-01"),
        (CONSENT | {"uses": []}, "research", TODAY, "for nothing"),
        (CONSENT | {"withdrawn": "2026-10-01"}, "train", TODAY, "withdrew consent on 2026-10-01"),
    ],
)
def test_a_use_beyond_it_is_refused_by_name(consent: dict, use: str, day: date, words: str) -> None:
    with pytest.raises(ConsentError, match=r"take07\.zarr") as caught:
        require_use(consent, use, "take07.zarr", today=day)  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert caught.value.exit_code == 2


def test_withdrawing_keeps_what_was_agreed_and_the_first_day() -> None:
    once = withdrawn_consent(CONSENT, TODAY)
    assert once == CONSENT | {"withdrawn": "2026-11-21"}
    assert withdrawn_consent(once, date(2027, 1, 1)) == once
    assert withdrawn_consent(None, TODAY) == {"withdrawn": "2026-11-21"}
