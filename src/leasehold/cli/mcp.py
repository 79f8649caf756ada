"""`leasehold mcp`: the Model Context Protocol server for coding agents (LEASE-20)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from leasehold.cli import exits
from leasehold.cli.session import Failed, Session, verb

PORT = 7118


def register(app: typer.Typer) -> None:
    @app.command("mcp")
    @verb
    def mcp(
        session: Session,
        over_http: Annotated[
            bool, typer.Option("--http", help="serve agents over HTTP on loopback; each call needs a token")
        ] = False,
        port: Annotated[
            int, typer.Option("--port", min=0, max=65535, help="with --http: 7118 by default; 0: any")
        ] = PORT,
        allow_run: Annotated[
            bool,
            typer.Option(
                "--allow-run", help="with --http: let administrators' tokens run commands here, as you"
            ),
        ] = False,
        print_config: Annotated[
            str,
            typer.Option(
                "--print-config",
                metavar="AGENT",
                help="print how to set it up: claude-code, codex, cursor, vscode, gemini, zed, json",
            ),
        ] = "",
    ) -> int:
        """Serve coding agents by the Model Context Protocol, so that they ask before heavy work."""
        if print_config:
            return _print(session, print_config)
        if over_http:
            return _http(session, port, allow_run=allow_run)
        if session.dry_run:
            session.out.text("would serve an agent over standard input and output")
            return exits.DONE
        if sys.stdin.isatty():
            session.say(
                "this speaks MCP on standard input, which agents start by themselves; "
                "`leasehold mcp --print-config claude-code` says how. Ctrl-D ends it"
            )
        from leasehold.integrations.mcp.serve import stdio

        stdio(session.env, session.server)
        return exits.DONE


def _http(session: Session, port: int, *, allow_run: bool) -> int:
    if session.dry_run:
        session.out.text(f"would serve agents on http://127.0.0.1:{port}/mcp")
        return exits.DONE
    from leasehold.integrations.mcp.serve import http

    def ready(url: str) -> None:
        if session.out.as_json:
            session.out.document({"url": url, "runs": allow_run})
        else:
            session.out.text(url)
        sys.stdout.flush()

    try:
        http(session.env, session.server, port, with_run=allow_run, ready=ready)
    except OSError as error:
        raise Failed(
            exits.CONFLICT, f"port {port} can't be used ({error.strerror}); another --port, or 0 for any"
        ) from None
    return exits.DONE


def _print(session: Session, agent: str) -> int:
    from leasehold.integrations.mcp.agents import AGENTS, environment, lines

    if agent not in AGENTS:
        raise Failed(exits.USAGE, f"--print-config {agent}: expected one of {', '.join(AGENTS)}")
    command = [_program(), "mcp", *([f"--server={session.server}"] if session.server else [])]
    session.out.text(lines(agent, command, environment(session.env)))
    return exits.DONE


def _program() -> str:
    """This program's own path: agents seldom have the PATH of a shell."""
    beside = Path(sys.executable).parent / "leasehold"
    return str(beside) if os.access(beside, os.X_OK) else os.path.abspath(sys.argv[0])
