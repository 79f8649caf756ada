"""Benchmarks and the peers that they are held against; run by `python -m bench` (see `docs/benchmarks.md`).

Each benchmark is a module with a function `run(setup) -> Report`; its docstring is its method. Figures are
medians of rounds that alternate between the sides (A/B/A/B), each round with the disk's own speed beside it.
"""
