"""The settings of PostgreSQL that durability stands on; both programs read them back."""

from __future__ import annotations

durability = ("fsync", "synchronous_commit", "full_page_writes", "wal_sync_method")
