"""What is configured, for who may see it: each setting with its origin, and no secret (OPS-8, OPS-10)."""

from __future__ import annotations

from leasehold.config import Loaded
from leasehold.config.pages import rows
from leasehold.runtime.redaction import Redactor
from leasehold.wire.server import SettingOut, SettingsOut


def configured(loaded: Loaded, redactor: Redactor) -> SettingsOut:
    """The settings in force, in the order of the reference."""
    found = []
    for row in rows(loaded):
        name = row.key.rpartition(".")[2]
        shown = redactor.record({name: row.value})[name]
        found.append(SettingOut(row.key, shown, row.origin, row.restart))
    return SettingsOut(str(loaded.file) if loaded.file else "", found)
