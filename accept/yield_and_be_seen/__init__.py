"""The promises of yielding and being seen: the owner's word, the ladder, add-ons, agents, the page, the LAN."""

from accept.yield_and_be_seen import addons as addons
from accept.yield_and_be_seen import audit as audit
from accept.yield_and_be_seen import enforce as enforce
from accept.yield_and_be_seen import guard as guard
from accept.yield_and_be_seen import ladder as ladder
from accept.yield_and_be_seen import lan as lan
from accept.yield_and_be_seen import mcp as mcp
from accept.yield_and_be_seen import memory as memory
from accept.yield_and_be_seen import owner as owner
from accept.yield_and_be_seen import page as page
