"""`leasehold mcp`: a Model Context Protocol server, so that a coding agent asks first (LEASE-20, ADR 0011).

link        calls to Leasehold      arguments   what an agent may ask for    answers   what it is told
leases      leases held for it      runs        commands run for it          session   all of one agent's
jobs        commands for later      later       their tools
tools       the tools               say, look   words; looks                 serve     stdio and HTTP
agents      lines for agents' settings, without the SDK

Imported by `leasehold mcp` alone: the SDK below it takes a second and tens of megabytes.
"""
