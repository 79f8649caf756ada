"""The programs that the product is held against, each installed into a throw-away environment."""
