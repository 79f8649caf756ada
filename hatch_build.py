"""The build hook of the wheel: the page of `web/` is built into it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent / "tools"))

import page


class PageHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds the page where it is missing or old. From a checkout `make setup` does the same."""

    def dependencies(self) -> list[str]:
        """A Node as a wheel, where the page has to be built and the system has none."""
        if page.is_current():
            return []
        try:
            page.tools()
        except page.NoNode:
            return [page.WHEEL]
        return []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build it. A page that can't be built is said, and is no reason to have no wheel."""
        if version == "editable" or page.is_current():
            return
        code = page.main([])
        if code and not page.is_built():
            self.app.display_warning("the page could not be built; the server in this wheel says so at /")
