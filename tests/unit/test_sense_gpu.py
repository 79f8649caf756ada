"""GPUs through the driver's library.

Against a library built here that answers as NVML is documented to (SENSE-2).
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from leasehold.adapters.hosts.nvidia import Nvml
from leasehold.model.snapshot import Gpu, GpuUser

LIBRARY = """
#include <string.h>
typedef struct { unsigned gpu, memory; } utilization;
typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned pid; unsigned long long used; unsigned instance, compute; } process;
static int handles[2];
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 3; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    if (index > 1) return 15;
    *handle = &handles[index];
    return 0;
}
int nvmlDeviceGetName(void *handle, char *name, unsigned length) { strncpy(name, "X", length); return 0; }
int nvmlDeviceGetUtilizationRates(void *handle, utilization *found) {
    if (handle == &handles[1]) return 3;
    found->gpu = 71; found->memory = 5;
    return 0;
}
int nvmlDeviceGetMemoryInfo(void *handle, memory *found) {
    found->total = 80ull << 30; found->free = 60ull << 30; found->used = 20ull << 30;
    return 0;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, process *found) {
    if (*count < 2) return 7;
    *count = 2;
    found[0] = (process){4242, 3ull << 30, 0, 0};
    found[1] = (process){17, ~0ull, 0, 0};
    return 0;
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *handle, unsigned *count, process *found) { return 3; }
"""


def built(folder: Path, source: str) -> str:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build the library with")
    (folder / "nvml.c").write_text(source)
    path = str(folder / "libnvml.so")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", path, str(folder / "nvml.c")], check=True)
    return path


@pytest.mark.requirement("SENSE-2")
def test_devices_are_read_with_their_use_and_by_whom(tmp_path: Path) -> None:
    """Utilisation, memory and processes; what a device does not tell is null; one that fails is left out."""
    users = (GpuUser(17, None), GpuUser(4242, 3 << 30))
    found = Nvml(built(tmp_path, LIBRARY)).read()
    assert found == (
        Gpu("gpu:0", "X", 71.0, 20 << 30, 80 << 30, users),
        Gpu("gpu:1", "X", None, 20 << 30, 80 << 30, users),
    )


@pytest.mark.requirement("SENSE-2")
def test_without_a_driver_there_are_no_devices(tmp_path: Path) -> None:
    """No library, or one that does not start: no device, no error, however often it is asked."""
    absent = Nvml(str(tmp_path / "none.so"))
    assert (absent.read(), absent.read()) == ((), ())
    refusing = LIBRARY.replace("nvmlInit_v2(void) { return 0; }", "nvmlInit_v2(void) { return 9; }")
    assert Nvml(built(tmp_path, refusing)).read() == ()
