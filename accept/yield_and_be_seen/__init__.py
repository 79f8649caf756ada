"""The promises of yielding and being seen: the owner's word, the ladder, add-ons, agents, the page, the LAN."""

from accept.yield_and_be_seen import addons, lan, owner, page

__all__ = ["addons", "lan", "owner", "page"]
