"""What is decided: pure functions over the records of `model`. No clock, no randomness, no I/O."""
