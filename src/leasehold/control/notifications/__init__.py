"""Notifications: the outbox that is worked off, and the targets that it goes to."""
