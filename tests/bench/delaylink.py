#!/usr/bin/env python3
"""delaylink.py NAMESPACE:DEVICE NAMESPACE:DEVICE MILLISECONDS

An Ethernet link between two network namespaces that holds every frame back for so long, each way: two
taps and one loop, for kernels without netem. Says "ready" once the devices are there and ends with its
standard input."""

import collections
import contextlib
import ctypes
import fcntl
import os
import select
import struct
import sys
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
TAP_WITHOUT_HEADER = 0x1002
PR_SET_TIMERSLACK = 29
FRAME = 65535

libc = ctypes.CDLL(None, use_errno=True)


def enter(namespace):
    """Moves this process to another network namespace."""
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def tap(place):
    """The tap of this name in this namespace; it goes with this process."""
    name, device = place.split(":")
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    other = os.open(f"/run/netns/{name}", os.O_RDONLY)
    enter(other)
    frames = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(frames, TUNSETIFF, struct.pack("16sH22x", device.encode(), TAP_WITHOUT_HEADER))
    enter(own)
    return frames


def take(frames, to, delay, waiting):
    """Reads what has come, and notes when it is due at the other end."""
    while True:
        try:
            frame = os.read(frames, FRAME)
        except BlockingIOError:
            return
        waiting.append((time.monotonic() + delay, to, frame))


def main():
    """Carries frames until nobody wants it any more."""
    libc.prctl(PR_SET_TIMERSLACK, 50_000, 0, 0, 0)
    left, right, delay = tap(sys.argv[1]), tap(sys.argv[2]), float(sys.argv[3]) / 1000
    other = {left: right, right: left}
    waiting = collections.deque()
    poll = select.epoll()
    for source in (left, right, sys.stdin.fileno()):
        poll.register(source, select.EPOLLIN)
    print("ready", flush=True)
    while True:
        left_over = waiting[0][0] - time.monotonic() if waiting else -1
        # The last two milliseconds are spent awake, since a sleep is not that exact.
        patience = left_over - 0.001 if left_over > 0.002 else (0 if waiting else -1)
        for source, _ in poll.poll(patience):
            if source == sys.stdin.fileno():
                return
            take(source, other[source], delay, waiting)
        while waiting and waiting[0][0] <= time.monotonic():
            _, to, frame = waiting.popleft()
            # The device is not up yet, or full: a link may lose frames.
            with contextlib.suppress(OSError):
                os.write(to, frame)


main()
