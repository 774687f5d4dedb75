#!/usr/bin/env python3
"""Stands in for the provider hashicorp/aws: the genuine one's schema, and an emulator's behaviour.

Terraform starts it as it starts any provider and speaks version 6 of its plugin protocol with it, so
init, validate, plan, apply and test are Terraform's own. The schema is the file that the variable
IMPRINT_PROVIDER_SCHEMA names (schema.py makes it). Applying needs AWS_ENDPOINT_URL, and is done by
the classes in `world`; without it only planning works.

What the genuine provider knows beside its schema is here only as far as `world` says it: which change
replaces a resource, which values are refused.
"""

import contextlib
import json
import os
import pathlib
import tempfile
from concurrent import futures

import grpc
import msgpack
import world
from tf.gen import grpc_controller_pb2 as controller
from tf.gen import grpc_controller_pb2_grpc as controller_grpc
from tf.gen import grpc_stdio_pb2_grpc as stdio_grpc
from tf.gen import tfplugin_pb2 as pb
from tf.gen import tfplugin_pb2_grpc as rpc

SCHEMAS = json.loads(pathlib.Path(os.environ["IMPRINT_PROVIDER_SCHEMA"]).read_text())["schemas"]
UNKNOWN = msgpack.ExtType(0, b"\0")
LARGEST_MESSAGE = 256 << 20


def main():
    """Listens on a socket of its own, says where, and serves until Terraform asks for the end."""
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=8),
        options=[
            ("grpc.max_receive_message_length", LARGEST_MESSAGE),
            ("grpc.max_send_message_length", LARGEST_MESSAGE),
        ],
    )
    end = Controller()
    rpc.add_ProviderServicer_to_server(Provider(), server)
    controller_grpc.add_GRPCControllerServicer_to_server(end, server)
    stdio_grpc.add_GRPCStdioServicer_to_server(Stdio(), server)
    with tempfile.TemporaryDirectory(prefix="imprint-provider-") as folder:
        socket = f"{folder}/socket"
        server.add_insecure_port(f"unix://{socket}")
        server.start()
        print(f"1|6|unix|{socket}|grpc", flush=True)
        # It must not outlive a Terraform that was killed.
        while not end.asked and os.getppid() != 1:
            server.wait_for_termination(0.05)
        server.stop(0)


class Controller(controller_grpc.GRPCControllerServicer):
    """go-plugin's own service."""

    def __init__(self):
        self.asked = False

    def Shutdown(self, request, context):  # noqa: D102
        self.asked = True
        return controller.Empty()


class Stdio(stdio_grpc.GRPCStdioServicer):
    """go-plugin's service for what a plugin prints: nothing."""

    def StreamStdio(self, request, context):  # noqa: D102
        return iter([])


class Provider(rpc.ProviderServicer):
    """The calls of the protocol that Terraform makes, each as its documentation describes it."""

    def GetMetadata(self, request, context):  # noqa: D102
        return pb.GetMetadata.Response(server_capabilities=pb.ServerCapabilities())

    def GetProviderSchema(self, request, context):  # noqa: D102
        reply = pb.GetProviderSchema.Response(provider=schema_of("provider"))
        for name in SCHEMAS.keys() - {"provider"}:
            kind = reply.data_source_schemas if name.startswith("data.") else reply.resource_schemas
            kind[name.removeprefix("data.")].CopyFrom(schema_of(name))
        return reply

    def ValidateProviderConfig(self, request, context):  # noqa: D102
        return pb.ValidateProviderConfig.Response()

    def ConfigureProvider(self, request, context):  # noqa: D102
        return pb.ConfigureProvider.Response()

    def ValidateResourceConfig(self, request, context):  # noqa: D102
        problems = world.problems(request.type_name, unpacked(request.config))
        return pb.ValidateResourceConfig.Response(diagnostics=[diagnostic(*one) for one in problems])

    def ValidateDataResourceConfig(self, request, context):  # noqa: D102
        return pb.ValidateDataResourceConfig.Response()

    def UpgradeResourceState(self, request, context):  # noqa: D102
        return pb.UpgradeResourceState.Response(upgraded_state=packed(json.loads(request.raw_state.json)))

    def ReadResource(self, request, context):  # noqa: D102
        state = unpacked(request.current_state)
        reply = pb.ReadResource.Response()
        with told(reply, f"reading {request.type_name}"):
            if world.is_there():
                state = world.kind(request.type_name).read(state)
            reply.new_state.CopyFrom(packed(state))
        return reply

    def PlanResourceChange(self, request, context):  # noqa: D102
        prior, planned = unpacked(request.prior_state), unpacked(request.proposed_new_state)
        reply = pb.PlanResourceChange.Response()
        if prior is None:
            planned = with_unknowns(SCHEMAS[request.type_name], planned)
        elif planned is not None:
            kind = world.kind(request.type_name)
            if planned != prior:
                planned.update(dict.fromkeys(kind.told_anew, UNKNOWN))
            for name in kind.replaced_by:
                if prior.get(name) != planned.get(name):
                    step = pb.AttributePath.Step(attribute_name=name)
                    reply.requires_replace.append(pb.AttributePath(steps=[step]))
        reply.planned_state.CopyFrom(packed(planned))
        return reply

    def ApplyResourceChange(self, request, context):  # noqa: D102
        prior, planned = unpacked(request.prior_state), unpacked(request.planned_state)
        kind = world.kind(request.type_name)
        reply = pb.ApplyResourceChange.Response(new_state=request.prior_state)
        with told(reply, f"applying {request.type_name}"):
            if planned is None:
                kind.delete(prior)
            elif prior is None:
                planned.update(kind.create(known(planned)))
            else:
                planned.update(kind.update(prior, planned))
            reply.new_state.CopyFrom(packed(without_unknowns(planned)))
        return reply

    def ReadDataSource(self, request, context):  # noqa: D102
        state = {**unpacked(request.config), **world.data(request.type_name)}
        return pb.ReadDataSource.Response(state=packed(state))

    def StopProvider(self, request, context):  # noqa: D102
        return pb.StopProvider.Response()


@contextlib.contextmanager
def told(reply, doing):
    """Whatever goes wrong inside becomes an error that Terraform shows."""
    try:
        yield
    except Exception as problem:
        reply.diagnostics.append(diagnostic(f"{doing}: {type(problem).__name__}", str(problem)))


def diagnostic(summary, detail):
    """An error, as Terraform shows it."""
    return pb.Diagnostic(severity=pb.Diagnostic.ERROR, summary=summary, detail=detail)


def packed(value):
    """A value for Terraform."""
    return pb.DynamicValue(msgpack=msgpack.packb(value))


def unpacked(value):
    """A value from Terraform; None where there is none."""
    return msgpack.unpackb(value.msgpack, strict_map_key=False) if value.msgpack else None


def schema_of(name):
    """The message for one type."""
    return pb.Schema(version=0, block=block_of(SCHEMAS[name]))


def block_of(block):
    """The message for one block."""
    message = pb.Schema.Block(version=0)
    message.attributes.extend(attribute_of(*item) for item in block["attributes"].items())
    for name, nested in block["block_types"].items():
        message.block_types.append(
            pb.Schema.NestedBlock(
                type_name=name,
                block=block_of(nested["block"]),
                nesting=getattr(pb.Schema.NestedBlock.NestingMode, nested["nesting_mode"].upper()),
                min_items=nested.get("min_items", 0),
                max_items=nested.get("max_items", 0),
            )
        )
    return message


def attribute_of(name, attribute):
    """The message for one argument."""
    flags = {flag: attribute.get(flag, False) for flag in ("required", "optional", "computed")}
    if "nested_type" not in attribute:
        return pb.Schema.Attribute(name=name, type=json.dumps(attribute["type"]).encode(), **flags)
    nested = attribute["nested_type"]
    mode = getattr(pb.Schema.Object.NestingMode, nested["nesting_mode"].upper())
    inner = pb.Schema.Object(nesting=mode)
    inner.attributes.extend(attribute_of(*item) for item in nested["attributes"].items())
    return pb.Schema.Attribute(name=name, nested_type=inner, **flags)


def with_unknowns(block, value):
    """A new resource as planned: what is computed and not given is not known yet."""
    for name, attribute in block["attributes"].items():
        if attribute.get("computed") and value.get(name) is None:
            value[name] = UNKNOWN
    for name, nested in block["block_types"].items():
        inner = value.get(name)
        if isinstance(inner, list):
            value[name] = [with_unknowns(nested["block"], item) for item in inner]
        elif isinstance(inner, dict) and nested["nesting_mode"] == "single":
            value[name] = with_unknowns(nested["block"], inner)
    return value


def without_unknowns(value):
    """A state: what the emulator did not tell is null."""
    if isinstance(value, msgpack.ExtType):
        return None
    if isinstance(value, list):
        return [without_unknowns(item) for item in value]
    if isinstance(value, dict):
        return {name: without_unknowns(item) for name, item in value.items()}
    return value


# What is known of a plan is what a state would have of it.
known = without_unknowns

if __name__ == "__main__":
    main()
