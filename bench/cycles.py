"""One round of lease cycles, however they were driven: rate, latencies, and who used the cores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.summary import percentile


@dataclass(frozen=True)
class Cycles:
    """The CPU times span warm-up and start of the client too: they say who was the bottleneck, no more."""

    per_s: float
    p50_ms: float
    p99_ms: float
    server_cpu_s: float
    client_cpu_s: float = 0.0
    others_share: float = 0.0
    denials: int = 0

    @classmethod
    def of(
        cls,
        latencies_us: Sequence[int],
        seconds: float,
        *,
        server_cpu_s: float,
        client_cpu_s: float = 0.0,
        others_share: float = 0.0,
        denials: int = 0,
    ) -> Cycles:
        """From the latency of each cycle that ended inside a window of `seconds`."""
        return cls(
            per_s=len(latencies_us) / seconds,
            p50_ms=percentile(latencies_us, 0.5) / 1_000,
            p99_ms=percentile(latencies_us, 0.99) / 1_000,
            server_cpu_s=server_cpu_s,
            client_cpu_s=client_cpu_s,
            others_share=others_share,
            denials=denials,
        )
