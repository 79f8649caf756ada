"""`leasehold run`: wait for a lease, run a command under it, give it back. It starts in milliseconds.

options   what was asked          ask      waiting for a lease       child   starting the command
job       waiting for its end     renewal  keeping the lease         line    the sentence about waiting
program   all of it in order      say      what is told              tree    ending all of the work
"""
