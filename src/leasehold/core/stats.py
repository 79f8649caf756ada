"""Figures of the host derived from two raw readings (SENSE-2). Rates are None until there are two."""

from __future__ import annotations

from leasehold.model.snapshot import HostCounters, HostStats, Link, LinkStats, Surroundings


def share_pct(part: int, whole: int) -> float | None:
    """`part` of `whole` in percent, to a hundredth; None where there is no whole."""
    return None if whole <= 0 else round(min(100.0, max(0.0, 100 * part / whole)), 2)


def rate(before: int | None, now: int | None, span_ms: int) -> float | None:
    """Growth per second; None without a baseline or after a counter was reset."""
    if before is None or now is None or span_ms <= 0 or now < before:
        return None
    return round((now - before) * 1000 / span_ms, 1)


def derive(before: HostCounters | None, now: HostCounters, around: Surroundings) -> HostStats:
    """The host as it is read by people. `before` is the reading of the tick before, if there was one."""
    span_ms = now.at_ms - before.at_ms if before else 0
    used = now.memory_total_bytes - now.memory_available_bytes
    load = now.load or (None, None, None)
    return HostStats(
        cpu_pct=share_pct(now.cpu_busy_ms - before.cpu_busy_ms, now.cpu_total_ms - before.cpu_total_ms)
        if before
        else None,
        cpu_per_core_pct=_per_core(before, now) if before else None,
        load_1m=load[0],
        load_5m=load[1],
        load_15m=load[2],
        cores_logical=len(now.cores),
        cores_physical=around.cores_physical,
        memory_total_bytes=now.memory_total_bytes,
        memory_available_bytes=now.memory_available_bytes,
        memory_used_bytes=used,
        memory_free_bytes=now.memory_free_bytes,
        memory_pct=share_pct(used, now.memory_total_bytes) or 0.0,
        swap_total_bytes=now.swap_total_bytes,
        swap_used_bytes=now.swap_total_bytes - now.swap_free_bytes,
        swap_in_bytes_per_sec=rate(
            before.swapped_in_bytes if before else None, now.swapped_in_bytes, span_ms
        ),
        swap_out_bytes_per_sec=rate(
            before.swapped_out_bytes if before else None, now.swapped_out_bytes, span_ms
        ),
        disks=around.mounts,
        disk_read_bytes_per_sec=rate(
            before.disk_read_bytes if before else None, now.disk_read_bytes, span_ms
        ),
        disk_write_bytes_per_sec=rate(
            before.disk_written_bytes if before else None, now.disk_written_bytes, span_ms
        ),
        network=links(before.links if before else (), now.links, span_ms, around.link_speeds_bps),
        boot_time_ms=now.boot_wall_ms,
        uptime_sec=now.uptime_ms // 1000,
        pressure=now.pressure,
        temperatures_c=around.temperatures_c or None,
        battery=around.battery,
        gpus=around.gpus or None,
    )


def _per_core(before: HostCounters, now: HostCounters) -> tuple[float, ...] | None:
    if len(before.cores) != len(now.cores):
        return None  # a core went on- or offline in between
    return tuple(
        share_pct(busy - busy_before, total - total_before) or 0.0
        for (busy_before, total_before), (busy, total) in zip(before.cores, now.cores, strict=True)
    )


def links(
    before: tuple[Link, ...], now: tuple[Link, ...], span_ms: int, speeds: dict[str, int]
) -> tuple[LinkStats, ...]:
    """Each interface with its rates."""
    known = {link.name: link for link in before}
    return tuple(_link(known.get(link.name), link, span_ms, speeds.get(link.name)) for link in now)


def _link(before: Link | None, now: Link, span_ms: int, speed_bps: int | None) -> LinkStats:
    return LinkStats(
        name=now.name,
        rx_bytes=now.rx_bytes,
        tx_bytes=now.tx_bytes,
        rx_packets=now.rx_packets,
        tx_packets=now.tx_packets,
        rx_bytes_per_sec=rate(before.rx_bytes if before else None, now.rx_bytes, span_ms),
        tx_bytes_per_sec=rate(before.tx_bytes if before else None, now.tx_bytes, span_ms),
        rx_packets_per_sec=rate(before.rx_packets if before else None, now.rx_packets, span_ms),
        tx_packets_per_sec=rate(before.tx_packets if before else None, now.tx_packets, span_ms),
        speed_bps=speed_bps,
    )


LINK_FULL_PCT = 80
"""LEASE-25: above this share of a link's known speed, `network_heavy` is refused."""


def pressed_link(network: tuple[LinkStats, ...]) -> str:
    """A sentence about the first link that is past `LINK_FULL_PCT` of its known speed, or nothing."""
    for link in sorted(network, key=lambda each: each.name):
        if not link.speed_bps:
            continue
        bits = 8 * max(link.rx_bytes_per_sec or 0.0, link.tx_bytes_per_sec or 0.0)
        if bits * 100 > LINK_FULL_PCT * link.speed_bps:
            speed = f"{bits / 1e6:.0f} of {link.speed_bps / 1e6:.0f} Mbit/s"
            return f"{link.name} carries {speed} (limit {LINK_FULL_PCT} %)"
    return ""
