"""Machines: Linux by `/proc` and `/sys`, any other by psutil, and a recording played back."""
