"""What the rule of stale backups reads (OPS-26)."""

from __future__ import annotations

import pytest

from leasehold.control.storage_views import age_of
from leasehold.model.storage import Manifest

HOUR = 3_600_000


@pytest.mark.requirement("OPS-26", "OPS-15")
def test_a_backup_is_as_old_as_the_last_proven_one() -> None:
    """Without any it is counted from the start; where none is made by schedule nothing is stale."""
    hour = 100 * HOUR
    made = Manifest("backup-1", 1, "schedule", hour, hour, "1", 3, 1, 1, 1, {}, {})
    assert age_of(made, 0, 149 * HOUR, scheduled=True).value == 49
    none = age_of(None, 100 * HOUR, 103 * HOUR, scheduled=True)
    assert (none.value, none.sentence) == (3, "there is no backup, 3 h after the start")
    assert not age_of(None, 0, 99 * HOUR, scheduled=False).applies
