"""One file per noun: authenticate, decode, await one service call, encode."""
