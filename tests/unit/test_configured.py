"""What is configured, as it may be seen: every setting with its origin, and no secret (OPS-8, OPS-10)."""

from __future__ import annotations

from pathlib import Path

import pytest

from leasehold.bootstrap.configured import configured
from leasehold.config import load
from leasehold.config.settings import Settings
from leasehold.runtime.redaction import REDACTED, Redactor

SECRET = "a-known-secret-0815"


@pytest.mark.requirement("OPS-10", "OPS-8")
def test_settings_come_with_their_origin_and_without_secrets(tmp_path: Path) -> None:
    """A value of the file and one of a variable are told as such; a known secret in any of them is not."""
    file = tmp_path / "config.toml"
    file.write_text('port = 7200\n[tls]\nnames = ["box.lan"]\n')
    env = {"LEASEHOLD_CONFIG": str(file), "LEASEHOLD_DATA": f"/srv/{SECRET}/data"}
    loaded = load({}, env)
    found = configured(loaded, Redactor([SECRET]))
    by_key = {one.key: one for one in found.settings}
    assert found.file == str(file)
    assert (by_key["port"].value, by_key["port"].origin) == (7200, str(file))
    assert by_key["data"].value == f"/srv/{REDACTED}/data"
    assert by_key["data"].origin == "LEASEHOLD_DATA"
    assert by_key["host"].origin == "default"
    assert len(found.settings) >= len(Settings.__struct_fields__)
    assert SECRET not in str(found)
