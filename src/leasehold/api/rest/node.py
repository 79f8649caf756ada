"""`/api/nodes/{node_id}`: the owner's word about a node: block and allow, windows, pretend (SENSE-20)."""

from __future__ import annotations

import msgspec

from leasehold.api.endpoint import Call, Nothing, Table
from leasehold.api.rest.lease import WRITES
from leasehold.model import errors
from leasehold.wire.lease import Name
from leasehold.wire.owner import (
    AdmissionIn,
    AdmissionOut,
    PretendIn,
    WindowId,
    WindowIn,
    WindowOut,
    Windows,
)

table = Table("nodes")

NODE = "/api/nodes/{node_id}"
READS = (errors.NotFound,)


class NodePath(msgspec.Struct, frozen=True):
    node_id: Name


class WindowPath(msgspec.Struct, frozen=True):
    node_id: Name
    wid: WindowId


@table.endpoint(
    "GET",
    f"{NODE}/admission",
    verb="lease:read",
    path_params=NodePath,
    answer=AdmissionOut,
    errors=READS,
)
async def get_admission(call: Call[None, Nothing, NodePath]) -> AdmissionOut:
    """What the owner has said about this node, and until when it holds."""
    return await call.services.owner.admission(call.path.node_id)


@table.endpoint(
    "PUT",
    f"{NODE}/admission",
    verb="node:admission",
    path_params=NodePath,
    body=AdmissionIn,
    answer=AdmissionOut,
    errors=(*READS, *WRITES),
    lane="normal",
)
async def set_admission(call: Call[AdmissionIn, Nothing, NodePath]) -> AdmissionOut:
    """Block or allow new work, on the node or one device, for a while."""
    return await call.services.owner.set_admission(call.principal, call.path.node_id, call.body)


@table.endpoint(
    "GET", f"{NODE}/windows", verb="lease:read", path_params=NodePath, answer=Windows, errors=READS
)
async def list_windows(call: Call[None, Nothing, NodePath]) -> Windows:
    """All windows, and whether each is open now."""
    return await call.services.owner.windows(call.path.node_id)


@table.endpoint(
    "POST",
    f"{NODE}/windows",
    verb="node:admission",
    path_params=NodePath,
    body=WindowIn,
    answer=WindowOut,
    errors=(*READS, *WRITES, errors.Overloaded),
    lane="normal",
)
async def add_window(call: Call[WindowIn, Nothing, NodePath]) -> WindowOut:
    """Add a window."""
    added = await call.services.owner.add_window(call.principal, call.path.node_id, call.body)
    call.names(wid=added.wid)
    return added


@table.endpoint(
    "GET",
    f"{NODE}/windows/{{wid}}",
    verb="lease:read",
    path_params=WindowPath,
    answer=WindowOut,
    errors=READS,
)
async def get_window(call: Call[None, Nothing, WindowPath]) -> WindowOut:
    """One window."""
    return await call.services.owner.window(call.path.node_id, call.path.wid)


@table.endpoint(
    "PUT",
    f"{NODE}/windows/{{wid}}",
    verb="node:admission",
    path_params=WindowPath,
    body=WindowIn,
    answer=WindowOut,
    errors=(*READS, *WRITES),
    lane="normal",
)
async def set_window(call: Call[WindowIn, Nothing, WindowPath]) -> WindowOut:
    """Put another window in the place of this one."""
    return await call.services.owner.replace_window(
        call.principal, call.path.node_id, call.path.wid, call.body
    )


@table.endpoint(
    "DELETE",
    f"{NODE}/windows/{{wid}}",
    verb="node:admission",
    path_params=WindowPath,
    errors=(*READS, *WRITES),
    lane="normal",
)
async def remove_window(call: Call[None, Nothing, WindowPath]) -> None:
    """Remove a window."""
    return await call.services.owner.remove_window(call.principal, call.path.node_id, call.path.wid)


@table.endpoint(
    "PUT",
    f"{NODE}/pretend",
    verb="node:admission",
    path_params=NodePath,
    body=PretendIn,
    answer=AdmissionOut,
    errors=(*READS, *WRITES),
    lane="normal",
)
async def set_pretend(call: Call[PretendIn, Nothing, NodePath]) -> AdmissionOut:
    """Take the node for busy or quiet for a while, whatever is measured."""
    return await call.services.owner.pretend(call.principal, call.path.node_id, call.body)


@table.endpoint(
    "DELETE",
    f"{NODE}/pretend",
    verb="node:admission",
    path_params=NodePath,
    errors=(*READS, *WRITES),
    lane="normal",
)
async def stop_pretend(call: Call[None, Nothing, NodePath]) -> None:
    """Go by what is measured again."""
    return await call.services.owner.stop_pretending(call.principal, call.path.node_id)
