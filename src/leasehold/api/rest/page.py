"""`/`, `/queue`, `/machine` and so on, `/jobs/…`, `/sign-in`, `/service-worker.js` and `/assets/…`: the page.

Open to everybody: it holds nothing until somebody signs in.
"""

from __future__ import annotations

import msgspec

from leasehold.api.assets import Assets
from leasehold.api.endpoint import Call, Nothing, Plain, Table
from leasehold.model.errors import NotFound

table = Table("page")

HTML = "text/html"
ASSETS = Assets()
PARTS = ("machine", "queue", "leases", "schedules", "addons", "alerts", "events", "settings")
"""What stands in the navigation beside the overview."""


class AssetPath(msgspec.Struct, frozen=True):
    name: str


class JobPath(msgspec.Struct, frozen=True):
    job_id: str


@table.endpoint("GET", "/", verb=None, answer=Plain, media_type=HTML, during_recovery=True, hot=True)
async def get_page(call: Call[None, Nothing, Nothing]) -> Plain:
    """The page."""
    return await ASSETS.page(call.headers)


async def get_named_page(call: Call[None, Nothing, Nothing]) -> Plain:
    """The page, at one of its parts."""
    return await ASSETS.page(call.headers)


for part in PARTS:
    table.endpoint(
        "GET", f"/{part}", verb=None, answer=Plain, media_type=HTML, during_recovery=True, hot=True
    )(get_named_page)


@table.endpoint(
    "GET",
    "/jobs/{job_id}",
    verb=None,
    path_params=JobPath,
    answer=Plain,
    media_type=HTML,
    during_recovery=True,
    hot=True,
)
async def get_job_page(call: Call[None, Nothing, JobPath]) -> Plain:
    """The page, at one job; whether there is such a one it finds out itself."""
    return await ASSETS.page(call.headers)


@table.endpoint("GET", "/sign-in", verb=None, answer=Plain, media_type=HTML, during_recovery=True, hot=True)
async def get_sign_in(call: Call[None, Nothing, Nothing]) -> Plain:
    """The same page: it finds the code behind `#`, and trades it for a session."""
    return await ASSETS.page(call.headers)


@table.endpoint(
    "GET",
    "/service-worker.js",
    verb=None,
    answer=Plain,
    media_type="text/javascript",
    errors=(NotFound,),
    during_recovery=True,
    hot=True,
)
async def get_service_worker(call: Call[None, Nothing, Nothing]) -> Plain:
    """The script that shows notifications while the page is closed; its name stays the same."""
    found = await ASSETS.worker(call.headers)
    if found is None:
        raise NotFound("the page is not built here: `make page`")
    return found


@table.endpoint(
    "GET",
    "/assets/{name}",
    verb=None,
    path_params=AssetPath,
    answer=Plain,
    media_type="text/javascript",
    errors=(NotFound,),
    during_recovery=True,
    hot=True,
)
async def get_asset(call: Call[None, Nothing, AssetPath]) -> Plain:
    """One file of the page. Its name holds a hash of its content, so it may be kept for ever."""
    found = await ASSETS.file(call.path.name, call.headers)
    if found is None:
        raise NotFound("the page has no such file; load it again, it was built anew")
    return found
