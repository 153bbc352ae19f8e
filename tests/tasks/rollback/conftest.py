"""A situation in which everything is well, for tests to spoil one thing of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.django.migrations import Verdict
from tasks.git.mirror import Commit
from tasks.git.plan import PushPlan
from tasks.postgres.inventory import Inventory
from tasks.postgres.live import LiveFacts
from tasks.rollback.choices import BackupOption, Deployed
from tasks.rollback.declared import Declared
from tasks.rollback.inputs import Inputs
from tasks.rollback.intent import Deploy, Intent, Target
from tasks.rollback.situation import Platform, Situation

NOW = datetime(2026, 1, 31, 4, 0, tzinfo=UTC)
GOOD, BAD = "a" * 40, "b" * 40


@pytest.fixture
def live() -> LiveFacts:
    """A quiet database of 50 MB."""
    return LiveFacts(
        version=150018,
        role="demo_1",
        inventory=Inventory("public", (), ()),
        edges=(),
        rows={"places": 120, "gone": 3},
        database_bytes=50_000_000,
        extensions={"plpgsql": "1.0"},
        migrations=(("places", "0001_initial"),),
        free_slots=20,
    )


@pytest.fixture
def situation(live: LiveFacts) -> Callable[..., Situation]:
    """A factory: `situation(moving=...)` is a good situation but for what is given."""

    def make(**changes: Any) -> Situation:
        backup = BackupOption("b1", "20260131000000_demo_1", NOW - timedelta(hours=4), 305_000_000, "done")
        declared = Declared.model_validate(
            {
                "environment": "prod",
                "repository": "team/app",
                "website": {},
                **changes.pop("declared", {}),
            }
        )
        fine = Situation(
            now=NOW,
            declared=declared,
            inputs=Inputs(),
            intent=Intent(
                Deploy.ROLLBACK, "20260131_040000_abcd", Target(GOOD, "v1.0.0", "Good release"), backup
            ),
            platform=Platform(
                successes=(
                    Deployed(BAD, NOW - timedelta(hours=1), NOW - timedelta(hours=1), "ada"),
                    Deployed(GOOD, NOW - timedelta(days=2), NOW - timedelta(days=2), "ada"),
                ),
                moving=(),
                backups=(backup,),
                backup_hours=(0,),
            ),
            live=live,
            push=PushPlan(
                BAD,
                BAD,
                GOOD,
                lost=(Commit(BAD, "Ada", NOW, "Merge the columns"),),
                regained=(),
                comparable=True,
            ),
            github_commit=GOOD,
            migrations=Verdict("same"),
        )
        return replace(fine, **changes)

    return make
