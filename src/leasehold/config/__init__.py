"""Settings: what can be set, where it came from, one frozen version at a time (OPS-10)."""

from leasehold.config.load import ConfigError, Loaded, load
from leasehold.config.settings import LogSettings, Settings

__all__ = ["ConfigError", "Loaded", "LogSettings", "Settings", "load"]
