"""What exists: frozen records, identifiers, commands, refusals, errors. No I/O and no clock."""
