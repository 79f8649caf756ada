"""`leasehold work`: do the jobs of a module's functions (QUEUE-4, LEASE-19)."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leasehold.cli import exits
from leasehold.cli.session import Failed, Session, verb

if TYPE_CHECKING:
    from leasehold.client.task import Task


def register(app: typer.Typer) -> None:
    @app.command("work")
    @verb
    def work(
        session: Session,
        module: Annotated[
            str,
            typer.Argument(
                metavar="MODULE[:NAMES]",
                help="shop.tasks: its functions of @job; shop.tasks:mail,scan: these",
            ),
        ],
        concurrency: Annotated[
            int, typer.Option("--concurrency", "-c", min=0, help="how many at once; by default one a core")
        ] = 0,
        batch: Annotated[
            int, typer.Option("--batch", min=1, max=1000, help="claimed at once, with --session")
        ] = 100,
        capabilities: Annotated[
            list[str] | None,
            typer.Option("--capability", metavar="NAME", help="a need of jobs that is met here"),
        ] = None,
        one_lease: Annotated[
            bool,
            typer.Option("--session", help="one lease for all, for many short jobs; needs @job(cost=...)"),
        ] = False,
        processes: Annotated[
            bool, typer.Option("--processes", help="each job in a process of its own")
        ] = False,
        grace: Annotated[
            str, typer.Option("--grace", metavar="TIME", help="what running jobs have at the end")
        ] = "30s",
        max_jobs: Annotated[
            int, typer.Option("--max-jobs", min=0, metavar="N", help="end after so many")
        ] = 0,
        until_empty: Annotated[
            bool, typer.Option("--until-empty", help="end when the queue brings nothing")
        ] = False,
        worker_id: Annotated[
            str, typer.Option("--worker-id", metavar="NAME", help="by default host and process")
        ] = "",
    ) -> int:
        """Take jobs from the queue and call their functions, until Ctrl-C or SIGTERM."""
        tasks = found_in(module)
        if session.dry_run:
            session.out.text("would work on: " + ", ".join(sorted(task.job_type for task in tasks)))
            return exits.DONE
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
        options = {
            "concurrency": concurrency,
            "batch": batch,
            "capabilities": capabilities or (),
            "session": one_lease,
            "processes": processes,
            "grace": grace,
            "max_jobs": max_jobs or None,
            "until_empty": until_empty,
            "worker_id": worker_id,
            "server": session.server,
        }
        return _work(session, tasks, options)


def _work(session: Session, tasks: list[Task[Any, Any]], options: dict[str, Any]) -> int:
    from leasehold.client.asking import NotGranted
    from leasehold.client.job_call import JobRefused
    from leasehold.client.worker import Worker

    try:
        worker = Worker(tasks, **options)
    except (TypeError, ValueError) as error:
        raise Failed(exits.USAGE, str(error)) from None
    session.say(f"working on {', '.join(sorted(worker.handlers))} as {worker.worker_id}; Ctrl-C ends it")
    try:
        stats = worker.run()
    except (JobRefused, NotGranted) as error:
        raise Failed(exits.NO, str(error)) from None
    if session.out.as_json:
        session.out.document(stats.as_dict())
    else:
        session.say(f"{stats.done:,} done, {stats.failed:,} failed, {stats.returned:,} given back")
    return exits.DONE


def found_in(place: str) -> list[Task[Any, Any]]:
    """The functions of `@job` of a module, all of them or those that are named. Raises Failed."""
    from leasehold.client.task import Task

    name, _, names = place.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise
        raise Failed(
            exits.USAGE, f"there is no module {name!r} here; name it as for import, like shop.tasks"
        ) from None
    tasks = {each: one for each, one in vars(module).items() if isinstance(one, Task)}
    wanted = [each for each in names.split(",") if each]
    for each in wanted:
        if each not in tasks:
            there = ", ".join(sorted(tasks)) or "none"
            raise Failed(exits.USAGE, f"{name} has no function {each!r} of @job; it has: {there}")
    found = (
        [tasks[each] for each in wanted]
        if wanted
        else list({id(one): one for one in tasks.values()}.values())
    )
    if not found:
        raise Failed(exits.USAGE, f"{name} has no function of @leasehold.job, so there is nothing to work on")
    return found
