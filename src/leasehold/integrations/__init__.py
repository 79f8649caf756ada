"""What other programs build in, to be seen by Leasehold and to ask it first. Imports no server."""
