"""NVIDIA devices through the driver's own library (NVML), where it is installed.

Loaded when first read, once.
"""

from __future__ import annotations

import ctypes
from typing import Any

from leasehold.model.snapshot import Gpu, GpuUser

DEVICES_MAX = 16
USERS_MAX = 64
UNKNOWN_MEMORY = (1 << 64) - 1  # what NVML says of a process whose memory it can't see
SUCCESS = 0


class _Utilisation(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


class _User(ctypes.Structure):
    """nvmlProcessInfo_v2_t, as the _v3 calls fill it."""

    _fields_ = [
        ("pid", ctypes.c_uint),
        ("used", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    ]


class Nvml:
    """The devices of this machine; none where there is no driver. Not for several threads at once."""

    def __init__(self, library: str = "libnvidia-ml.so.1") -> None:
        self._name = library
        self._library: Any = None
        self._absent = False

    def read(self) -> tuple[Gpu, ...]:
        """Every device with its use now. A device that fails to answer is left out of this reading."""
        library = self._loaded()
        if library is None:
            return ()
        count = ctypes.c_uint()
        if library.nvmlDeviceGetCount_v2(ctypes.byref(count)) != SUCCESS:
            return ()
        found = (self._device(library, index) for index in range(min(count.value, DEVICES_MAX)))
        return tuple(gpu for gpu in found if gpu is not None)

    def _loaded(self) -> Any:
        if self._library is None and not self._absent:
            try:
                library = ctypes.CDLL(self._name)
            except OSError:
                self._absent = True
                return None
            if library.nvmlInit_v2() != SUCCESS:
                self._absent = True
                return None
            self._library = library
        return self._library

    def _device(self, library: Any, index: int) -> Gpu | None:
        handle = ctypes.c_void_p()
        if library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) != SUCCESS:
            return None
        name = ctypes.create_string_buffer(96)
        use, memory = _Utilisation(), _Memory()
        has_name = library.nvmlDeviceGetName(handle, name, len(name)) == SUCCESS
        has_use = library.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(use)) == SUCCESS
        has_memory = library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) == SUCCESS
        return Gpu(
            name=f"gpu:{index}",
            model=name.value.decode("utf-8", "replace") if has_name else "unknown",
            utilisation_pct=float(use.gpu) if has_use else None,
            memory_used_bytes=memory.used if has_memory else None,
            memory_total_bytes=memory.total if has_memory else None,
            users=_users(library, handle),
        )


def _users(library: Any, handle: ctypes.c_void_p) -> tuple[GpuUser, ...]:
    found: dict[int, GpuUser] = {}
    for call in ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v3"):
        function = getattr(library, call, None)
        room, rows = ctypes.c_uint(USERS_MAX), (_User * USERS_MAX)()
        if function is None or function(handle, ctypes.byref(room), rows) != SUCCESS:
            continue
        for row in rows[: room.value]:
            found[row.pid] = GpuUser(row.pid, None if row.used == UNKNOWN_MEMORY else row.used)
    return tuple(found[pid] for pid in sorted(found))
