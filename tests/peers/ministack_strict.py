#!/usr/bin/env python3
"""Starts ministack with the patches of `strict/` on free loopback ports.

Prints one JSON line once it answers,

    {"url": "http://127.0.0.1:40001", "imds": ["http://127.0.0.1:40002", ...], "pid": 4242,
     "account": "123456789012", "region": "us-east-1"}

and runs until its standard input closes, so that a test that holds the other end never leaves it
behind, however it dies. IAM is enforced; the access key `test` with the secret `test` is root.
`--instances N` (4 when not given) sets how many IMDS there are, each on its own port for one
instance; `POST URL/_strict` says which role an instance has (see strict/gate.py).
"""

import argparse
import asyncio
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import urllib.error
import urllib.request

ACCOUNT = "123456789012"
REGION = "us-east-1"
# All that is passed on: a Lambda function inherits the emulator's environment, and neither a
# proxy nor a profile of whoever runs the tests has a place in there.
INHERITED = ("HOME", "LANG", "PATH", "TMPDIR")
READY_SECONDS = 60


def main():
    """Listens, serves and cleans up."""
    options = argparse.ArgumentParser(description="ministack with real KMS, IAM and IMDS behaviour")
    options.add_argument("--instances", type=int, default=4, help="how many IMDS to serve")
    count = options.parse_args().instances
    # One process group: whatever a Lambda function started ends with it.
    if os.getpid() != os.getpgrp():
        os.setpgid(0, 0)
    listeners = [listen() for _ in range(1 + count)]
    scratch = tempfile.mkdtemp(prefix="imprint-ministack-")
    set_environment(port_of(listeners[0]), scratch)
    try:
        asyncio.run(serve(listeners, [new_instance_id() for _ in range(count)]))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(os.getpgrp(), signal.SIGTERM)
        shutil.rmtree(scratch, ignore_errors=True)


def set_environment(port, scratch):
    """What ministack reads when it is imported, and nothing else."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    os.environ.clear()
    os.environ.update(kept)
    os.environ.update(
        {
            "AUTH": "true",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "IOT_MTLS_ENABLED": "0",
            "LOG_LEVEL": "WARNING",
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "MINISTACK_IMDS_V2_REQUIRED": "1",
            "MINISTACK_REGION": REGION,
            "SFTP_ENABLED": "0",
            "TMPDIR": scratch,
        }
    )
    tempfile.tempdir = None


async def serve(listeners, instance_ids):
    """Runs the emulator until standard input closes or a signal asks for the end."""
    # Imported here, since ministack reads the environment as it is loaded.
    import strict
    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config

    strict.check_version()
    from ministack import app
    from strict import gate, iam, imds, instances, kms, schedules

    kms.install()
    iam.install()
    instances.install()
    schedules.install()
    machines = {
        port_of(listener): imds.Instance(instance_id)
        for listener, instance_id in zip(listeners[1:], instance_ids, strict=True)
    }
    config = Config()
    config.bind = [f"fd://{listener.detach()}" for listener in listeners]
    config.accesslog = None
    config.errorlog = None
    config.graceful_timeout = 0.1

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, stop.set)
    url = os.environ["AWS_ENDPOINT_URL"]
    said = {
        "url": url,
        "imds": [f"http://127.0.0.1:{port}" for port in machines],
        "pid": os.getpid(),
        "account": ACCOUNT,
        "region": REGION,
    }
    for watch in (announce_when_ready(said), close_with_stdin(loop, stop)):
        threading.Thread(target=watch, daemon=True).start()
    await hypercorn_serve(gate.Gate(app.app, machines), config, shutdown_trigger=stop.wait)


def announce_when_ready(said):
    """Prints the line as soon as the emulator answers; a start that hangs ends the process."""

    def watch():
        for _ in range(READY_SECONDS * 20):
            try:
                with urllib.request.urlopen(said["url"] + "/_ministack/health", timeout=5):
                    print(json.dumps(said), flush=True)
                    return
            except (urllib.error.URLError, OSError):
                threading.Event().wait(0.05)
        print(f"ministack did not answer within {READY_SECONDS} s", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGTERM)

    return watch


def close_with_stdin(loop, stop):
    """Stops the server when whoever started it is gone."""

    def watch():
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(stop.set)

    return watch


def listen():
    """A socket on a port of its own: bound here, so that nobody takes it before it is used."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener


def port_of(listener):
    """The port that the system chose."""
    return listener.getsockname()[1]


def new_instance_id():
    """An id of EC2's form."""
    return f"i-{secrets.token_hex(9)[:17]}"


if __name__ == "__main__":
    main()
