"""The gate in front of the emulator: instances by port, faults, request log, control.

`GET /_strict` shows the instances, the faults left and the log. `POST /_strict` takes any of

    {"instances": {"0": {"role": "web", "tags": {"Name": "web-1"}}},
     "faults": [{"match": "kms:Decrypt", "times": 2, "status": 400, "code": "ThrottlingException"}],
     "log": [], "plain": true}

Requests count as sent over TLS, for which the loopback address stands, unless `plain` is set.
A fault's `match` is a service ("kms", "s3", "imds") or the beginning of a logged name
("kms:Decrypt", "s3:GET /bucket/factories/"); `times` is how often (-1: for ever), `delay` is in
seconds and may stand alone. The first fault that matches is used. Nothing secret is logged.
"""

import asyncio
import json
import re
import time

from . import iam, imds

CONTROL = "/_strict"
LOG_LENGTH = 500
SCOPE = re.compile(r"Credential=([^/]+)/\d+/[^/]+/([\w-]+)/")


class Gate:
    """An ASGI application around the emulator's own."""

    def __init__(self, emulator, instances):
        """`instances` maps a local port to the instance whose IMDS answers there."""
        self.emulator = emulator
        self.instances = instances
        self.faults = []
        self.log = []
        self.plain = False

    async def __call__(self, scope, receive, send):
        """One request or lifespan."""
        if scope["type"] != "http":
            await self.emulator(scope, receive, send)
            return
        headers = {name.decode().lower(): value.decode("latin1") for name, value in scope["headers"]}
        path, method = scope["path"], scope["method"]
        instance = self.instances.get(scope["server"][1])
        if path == CONTROL and instance is None:
            await reply(send, *self.control(await whole_body(receive)))
            return
        service, name, access_key = describe(instance, method, path, headers)
        entry = {"at": round(time.time(), 3), "name": name, "access_key": access_key, "status": None}
        self.log = [*self.log[1 - LOG_LENGTH :], entry]
        if fault := self.next_fault(service, name):
            await asyncio.sleep(fault.get("delay", 0))
            if "status" in fault:
                entry["status"] = fault["status"]
                await reply(send, fault["status"], *error_body(service, fault.get("code", "InternalError")))
                return
        if instance is not None:
            status, reply_headers, body = await imds.answer(instance, method, path, headers)
            entry["status"] = status
            await reply(send, status, body, reply_headers)
            return
        sent = [] if self.plain else [(b"x-forwarded-proto", b"https")]
        scope = {**scope, "headers": [*scope["headers"], *sent]}
        await self.emulator(scope, receive, Outgoing(service, entry, send))

    def control(self, body):
        """Answers a request to the control path: (status, body, headers)."""
        if body:
            try:
                self.take(json.loads(body))
            except (ValueError, KeyError, TypeError, AttributeError) as problem:
                return 400, str(problem).encode(), {"content-type": "text/plain"}
        shown = {
            "instances": [instance.settings() for instance in self.instances.values()],
            "faults": self.faults,
            "log": self.log,
            "plain": self.plain,
        }
        return 200, json.dumps(shown).encode(), {"content-type": "application/json"}

    def take(self, wanted):
        """Applies what a test posted."""
        unknown = set(wanted) - {"instances", "faults", "log", "plain"}
        if unknown:
            raise ValueError(f"no such control: {', '.join(sorted(unknown))}")
        in_order = list(self.instances.values())
        for number, values in wanted.get("instances", {}).items():
            in_order[int(number)].set(values)
        self.faults = wanted.get("faults", self.faults)
        self.log = wanted.get("log", self.log)
        self.plain = wanted.get("plain", self.plain)

    def next_fault(self, service, name):
        """The first fault that is meant for this request, counted down."""
        for fault in self.faults:
            left = fault.get("times", 1)
            if left != 0 and (fault["match"] == service or name.startswith(fault["match"])):
                fault["times"] = left - 1 if left > 0 else left
                return fault
        return None


class Outgoing:
    """Passes a reply on, corrects its status and notes it in the log."""

    def __init__(self, service, entry, send):
        self.service, self.entry, self.send = service, entry, send
        self.held = None

    async def __call__(self, message):
        """The start is held until the first bytes of the body tell which error it is."""
        if message["type"] == "http.response.start":
            self.held = message
            return
        if self.held is not None:
            start, self.held = self.held, None
            start["status"] = iam.status_of(self.service, start["status"], message.get("body", b""))
            self.entry["status"] = start["status"]
            await self.send(start)
        await self.send(message)


def describe(instance, method, path, headers):
    """(service, name for the log and for faults, access key id) of a request."""
    signed = SCOPE.search(headers.get("authorization", ""))
    access_key = signed[1] if signed else ""
    if instance is not None:
        return "imds", f"imds:{method} {path}", access_key
    service = signed[2] if signed else "unsigned"
    action = headers.get("x-amz-target", "").rpartition(".")[2]
    return service, f"{service}:{action or f'{method} {path}'}", access_key


def error_body(service, code):
    """An injected error in the service's own form: (body, headers)."""
    if service == "s3":
        text = f"<Error><Code>{code}</Code><Message>injected</Message></Error>"
        return text.encode(), {"content-type": "application/xml"}
    text = json.dumps({"__type": code, "message": "injected"})
    return text.encode(), {"content-type": "application/x-amz-json-1.1"}


async def whole_body(receive):
    """The request's body."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def reply(send, status, body, headers):
    """Sends a whole reply."""
    pairs = [(name.lower().encode(), str(value).encode()) for name, value in headers.items()]
    pairs.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
