"""Other durable queues, each driven by a program that runs inside the peers' own environment.

Usage: python -m bench.peers.queues.NAME ROLE --where WHERE --count N [--first N] [--clients N] [--bulk]

Each has four roles. `prepare` makes its tables and prints the settings of durability that it reads back;
`submit` hands over N jobs; `beat` hands one over now and then, for the time from submit to start; `work` runs
N jobs as one worker process at its best setting. A program says READY, begins when it reads a line, and
prints one line of JSON at its end. Times are of the monotonic clock, which all processes of a machine share.
"""
