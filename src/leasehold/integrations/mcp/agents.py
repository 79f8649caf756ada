"""What to type, or to put into which file, so that a coding agent uses `leasehold mcp`. No SDK here.

Each follows the agent's own documentation of November 2026: code.claude.com/docs/en/mcp,
developers.openai.com/codex/mcp, cursor.com/docs/mcp, code.visualstudio.com (MCP configuration reference),
geminicli.com/docs/tools/mcp-server, zed.dev/docs/ai/mcp.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence

NAME = "leasehold"
PASSED = ("LEASEHOLD_DATA", "LEASEHOLD_CONFIG", "LEASEHOLD_RUN_DIR", "LEASEHOLD_PORT", "LEASEHOLD_URL")
"""Variables by which a server is found: agents hand few to what they start. The token is not among them."""
XDG = ("XDG_DATA_HOME", "XDG_CONFIG_HOME")

Writer = Callable[[Sequence[str], Mapping[str, str]], str]


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """What of the caller's environment the agent has to pass on, so that the same server is found."""
    return {name: env[name] for name in (*PASSED, *XDG) if env.get(name)}


def _entry(command: Sequence[str], env: Mapping[str, str], **more: object) -> dict[str, object]:
    found: dict[str, object] = {**more, "command": command[0], "args": list(command[1:])}
    return found | ({"env": dict(env)} if env else {})


def _file(path: str, document: object) -> str:
    return f"# in {path}:\n{json.dumps(document, indent=2)}"


def _flags(env: Mapping[str, str]) -> str:
    return "".join(f"--env {shlex.quote(f'{name}={value}')} " for name, value in env.items())


def _claude(command: Sequence[str], env: Mapping[str, str]) -> str:
    return f"claude mcp add --scope user {_flags(env)}{NAME} -- {shlex.join(command)}"


def _codex(command: Sequence[str], env: Mapping[str, str]) -> str:
    return f"codex mcp add {_flags(env)}{NAME} -- {shlex.join(command)}"


def _cursor(command: Sequence[str], env: Mapping[str, str]) -> str:
    return _file("~/.cursor/mcp.json", {"mcpServers": {NAME: _entry(command, env)}})


def _vscode(command: Sequence[str], env: Mapping[str, str]) -> str:
    return _file(".vscode/mcp.json", {"servers": {NAME: _entry(command, env, type="stdio")}})


def _gemini(command: Sequence[str], env: Mapping[str, str]) -> str:
    return _file("~/.gemini/settings.json", {"mcpServers": {NAME: _entry(command, env)}})


def _zed(command: Sequence[str], env: Mapping[str, str]) -> str:
    return _file("Zed's settings.json", {"context_servers": {NAME: _entry(command, env)}})


def _json(command: Sequence[str], env: Mapping[str, str]) -> str:
    return json.dumps({"mcpServers": {NAME: _entry(command, env)}}, indent=2)


AGENTS: Mapping[str, Writer] = {
    "claude-code": _claude,
    "codex": _codex,
    "cursor": _cursor,
    "vscode": _vscode,
    "gemini": _gemini,
    "zed": _zed,
    "json": _json,
}
"""By the name that `--print-config` takes; `json` is the form that most other agents read."""


def lines(agent: str, command: Sequence[str], env: Mapping[str, str]) -> str:
    """What makes `agent` start `command`. `env` is what it has to pass on. Raises KeyError."""
    return AGENTS[agent](command, env)
