"""Consent: what a subject agreed to, whether a use is covered by it today, and how it is taken back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

from litdome.errors import ConsentError

Use = Literal["research", "train", "publish", "likeness-synthesis"]


def refusal(consent: Mapping[str, Any] | None, use: Use | None, today: date | None = None) -> str | None:
    """Why ``consent`` does not cover ``use`` today, in words; None where it does.

    Args:
        consent: The ``[consent]`` table of a recording as sessions and datasets carry it: ``version``, ``uses``,
            ``expires`` and ``withdrawn`` (last and first day, ISO 8601). None: nothing was recorded; then nothing is
            forbidden but ``publish``, which somebody must have agreed to.
        use: What is going to be done; None asks only whether the consent still stands.
        today: The day that counts; this one by default.
    """
    known = consent or {}
    day = today or date.today()
    withdrawn, expires, uses = known.get("withdrawn"), known.get("expires"), known.get("uses")
    if withdrawn is not None:
        return f"the subject withdrew consent on {withdrawn}"
    if expires is not None and day > date.fromisoformat(str(expires)):
        return f"the consent ended on {expires}"
    if use == "publish" and uses is None:
        return "no consent to publish was recorded"
    if use is not None and uses is not None and use not in uses:
        return f"the consent is for {', '.join(uses) or 'nothing'}, not for {use}"
    return None


def require_use(consent: Mapping[str, Any] | None, use: Use | None, what: str, today: date | None = None) -> None:
    """Refuse a use that is forbidden, expired or withdrawn.

    Args:
        consent, use, today: As `refusal` takes them.
        what: Whose data it is, for the message: ``take02.zarr (subject s03)``.

    Raises:
        ConsentError: The use is not covered.
    """
    why = refusal(consent, use, today)
    if why is not None:
        raise ConsentError(f"{what}: {why}", hint="leave it out, or ask the subject and record what they agreed to")


def withdrawn_consent(consent: Mapping[str, Any] | None, day: date) -> dict[str, Any]:
    """``consent`` taken back on ``day``; an earlier withdrawal stays."""
    known = consent or {}
    return {**known, "withdrawn": known.get("withdrawn") or day.isoformat()}
