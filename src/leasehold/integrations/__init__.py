"""What other programs build in or talk to: each stands on the client, like any caller. Imports no server."""
