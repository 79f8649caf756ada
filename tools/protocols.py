"""Compiles `proto/etcd.proto` into the descriptor that the etcd store reads.

python tools/protocols.py write | check

What comes out is protobuf's own description of the messages as data: any version of its runtime reads it, so
neither a checkout nor a wheel needs the compiler, and no generated code has to match the installed runtime.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2
from grpc_tools import protoc

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "proto" / "etcd.proto"
MADE = ROOT / "src" / "leasehold" / "adapters" / "stores" / "etcd" / "descriptor.py"
LINE_DIGITS = 96


def descriptor() -> bytes:
    """The compiled file, without what only JSON needs."""
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "set"
        code = protoc.main(["protoc", f"-I{SOURCE.parent}", f"--descriptor_set_out={compiled}", SOURCE.name])
        if code:
            raise SystemExit(f"protocols: {SOURCE.name} could not be compiled")
        (file,) = descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes()).file
    for message in file.message_type:
        for field in message.field:
            field.ClearField("json_name")
    return bytes(file.SerializeToString(deterministic=True))


def module() -> str:
    """The text of the module that holds it."""
    digits = descriptor().hex()
    lines = [digits[at : at + LINE_DIGITS] for at in range(0, len(digits), LINE_DIGITS)]
    return "\n".join(
        [
            '"""Written by `make reference` from proto/etcd.proto: its messages, as protobuf has them."""',
            "",
            "DESCRIPTOR = bytes.fromhex(",
            *(f'    "{line}"' for line in lines),
            ")",
            "",
        ]
    )


def main(arguments: list[str]) -> int:
    """Write it, or compare it with what is there."""
    if arguments == ["write"]:
        MADE.write_text(module(), encoding="utf-8")
        return 0
    if arguments == ["check"]:
        if MADE.is_file() and MADE.read_text(encoding="utf-8") == module():
            return 0
        print(f"{MADE.relative_to(ROOT)} is not what {SOURCE.relative_to(ROOT)} says: run `make reference`")
        return 1
    print(__doc__, file=sys.stderr)
    return 64


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
