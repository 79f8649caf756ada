"""Programs of task libraries as a user writes them, all with the same tasks, and their workers."""
