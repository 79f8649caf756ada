"""`python -m leasehold`."""

from leasehold.cli.main import main

raise SystemExit(main())
