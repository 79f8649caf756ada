"""What is needed from outside, as protocols whose docstrings are law."""
