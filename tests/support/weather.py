"""The weather on a road between two networks: every packet that comes in on one interface leaves on
the other, later, or never.

    weather.py plain IFACE                  the kernel finishes checksums and segments of IFACE itself
    weather.py road A B DELAY JITTER LOSS RATE SEED
                                            ms each way, ms more or less, percent, kbit/s (0: no limit)

Packets overtake each other where the jitter says so. A queue longer than half a second is full.
"""
import fcntl
import heapq
import random
import select
import socket
import struct
import sys
import time

SIOCETHTOOL = 0x8946
# Transmit checksums, scatter-gather, segmentation: ETHTOOL_STXCSUM, SSG, STSO, SGSO.
OFFLOADS = (0x17, 0x19, 0x1F, 0x24)
OUTGOING = 4


def plain(name):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for what in OFFLOADS:
            value = bytearray(struct.pack("II", what, 0))
            import ctypes

            buffer = (ctypes.c_char * len(value)).from_buffer(value)
            request = struct.pack("16sP", name.encode(), ctypes.addressof(buffer)) + b"\0" * 16
            try:
                fcntl.ioctl(asking, SIOCETHTOOL, request)
            except OSError as e:
                print("offload", hex(what), e, file=sys.stderr)


def road(a, b, delay, jitter, loss, rate, seed):
    dice = random.Random(seed)
    ends = []
    for name in (a, b):
        end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        end.bind((name, 0))
        end.setblocking(False)
        ends.append(end)
    free = [0.0, 0.0]
    under_way = []
    count = 0
    print("open", flush=True)
    while True:
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            _, _, to, packet = heapq.heappop(under_way)
            try:
                ends[to].send(packet)
            except OSError:
                pass
        wait = max(0.0, under_way[0][0] - now) if under_way else 1.0
        ready, _, _ = select.select(ends, [], [], wait)
        for end in ready:
            came = ends.index(end)
            while True:
                try:
                    packet, address = end.recvfrom(65536)
                except BlockingIOError:
                    break
                if address[2] == OUTGOING:
                    continue
                now = time.monotonic()
                if dice.random() * 100 < loss:
                    continue
                leaves = now
                if rate:
                    if free[came] - now > 0.5:
                        continue
                    free[came] = max(now, free[came]) + len(packet) * 8 / (rate * 1000)
                    leaves = free[came]
                due = leaves + (delay + dice.uniform(-jitter, jitter)) / 1000
                count += 1
                heapq.heappush(under_way, (due, count, 1 - came, packet))


if sys.argv[1] == "plain":
    plain(sys.argv[2])
else:
    road(sys.argv[2], sys.argv[3], *map(float, sys.argv[4:8]), int(sys.argv[8]))
