"""The small parent of each command of the built-in runner (QUEUE-15): stdlib only, and as little as possible.

It outlives the server: it writes the log, what was used and how it ended into the run's folder.
"""
