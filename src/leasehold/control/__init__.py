"""The shell around the decisions: the ledger and one service per noun."""
