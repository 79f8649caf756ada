"""When what waits will start, and how often that was right (QUEUE-12)."""
