"""What is wrong with the server and its work, noticed and told (OPS-12, OPS-13, OPS-26)."""
