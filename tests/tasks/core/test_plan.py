"""Plans read as a person reads them: sign, thing, consequence, then the gates and the counts."""

from __future__ import annotations

from tasks.core.plan import Change, Gate, Plan, render
from tasks.core.secrets import Secret

CODE = Change("code of demo", "v1.1.0", "v1.0.0", details=("lost: 1234abcd Merge the columns (Ada)",))
DATA = Change("data of demo", "live", "backup 2026-01-31", destroys="12 rows newer than the backup")


def test_summary_names_consequences_and_counts() -> None:
    plan = Plan("Roll demo back", (CODE, DATA), (Gate("rehearsal", True, "2 h ago in preprod"),))
    assert render(plan) == [
        "Roll demo back",
        "  ~ code of demo: v1.1.0 → v1.0.0",
        "  ~ data of demo: live → backup 2026-01-31",
        "      DESTROYS: 12 rows newer than the backup",
        "Gates:",
        "  ok       rehearsal: 2 h ago in preprod",
        "0 to add, 2 to change, 0 to remove; 1 of them destructive.",
    ]


def test_full_plan_adds_details_and_steps() -> None:
    lines = render(Plan("Roll demo back", (CODE,), steps=("push the release",)), full=True)
    assert "      lost: 1234abcd Merge the columns (Ada)" in lines
    assert "  1. push the release" in lines


def test_refused_gate_says_what_makes_it_hold_and_how_to_skip_it() -> None:
    gate = Gate("rehearsal", False, "none found.", "run it in preprod first.", skip=True)
    assert gate.refuses
    assert render(Plan("t", (CODE,), (gate,)))[3] == (
        "  REFUSED  rehearsal: none found. Next: run it in preprod first."
        ' Or give a reason: --data skip_rehearsal="..."'
    )


def test_skipped_gate_shows_its_reason_and_does_not_refuse() -> None:
    gate = Gate("rehearsal", False, "none found", skip=True, skipped="preprod is down too")
    assert not gate.refuses
    assert 'reason given: "preprod is down too"' in render(Plan("t", (CODE,), (gate,)))[3]


def test_nothing_to_change_is_said() -> None:
    assert render(Plan("Roll demo back", ()))[-1] == "Nothing to change."


def test_signs_and_secrets() -> None:
    secret = Secret("API_KEY", "a-very-secret-value")
    lines = render(Plan("t", (Change("A", None, secret), Change("B", "1", None))))
    assert lines[1].startswith("  + A: API_KEY (secret ")
    assert lines[2] == "  - B: 1"
    assert "a-very-secret-value" not in "\n".join(lines)


def test_digest_changes_with_what_changes_alone() -> None:
    one, other = Plan("t", (CODE,)), Plan("t", (CODE,), notes=("a note",))
    assert one.digest == other.digest
    assert one.digest != Plan("t", (DATA,)).digest
