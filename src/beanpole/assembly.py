"""Every part of a control plane, built once and handed down. Nothing runs yet when this is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import OperationalError

from beanpole.aws.call import AccessKey, Service
from beanpole.aws.gateway import Gateway
from beanpole.aws.models import load_model
from beanpole.balancer.pool import Health
from beanpole.control.adopt import Adoptions
from beanpole.control.context import Control
from beanpole.control.eject import Ejections
from beanpole.control.hosts import Hosts
from beanpole.control.logs import Logs
from beanpole.fleet.agent_program import agent_program
from beanpole.fleet.balancers import Balancers
from beanpole.fleet.detached import DetachedAgent
from beanpole.fleet.edges import Listen
from beanpole.fleet.fleet import Fleet
from beanpole.fleet.layers import Layers
from beanpole.fleet.local import ThisMachine
from beanpole.fleet.proxy import Post
from beanpole.fleet.pythons import installed_pythons
from beanpole.fleet.servers.equipment import Equipment
from beanpole.fleet.servers.place import ServerPlace
from beanpole.fleet.servers.posts import Posts
from beanpole.fleet.servers.removal import Removal
from beanpole.fleet.servers.servers import Servers
from beanpole.fleet.servers.setup import Setup
from beanpole.health.collector import Collector
from beanpole.operations.board import Board
from beanpole.operations.engine import Engine
from beanpole.operations.work import Parts
from beanpole.options import catalogue
from beanpole.options.ebextensions import ContainerCommand
from beanpole.platforms.lock import Wheel
from beanpole.platforms.names import Platforms
from beanpole.reconcile.expiry import Expiry
from beanpole.reconcile.keeping import Keeping
from beanpole.reconcile.retention import Retention
from beanpole.reconcile.upkeep import Upkeep
from beanpole.reconcile.watch import Watch
from beanpole.services.beanpole.adopt import AdoptCalls
from beanpole.services.beanpole.api import Beanpole, ControlPlane
from beanpole.services.beanpole.hosts import HostCalls
from beanpole.services.ec2 import Ec2
from beanpole.services.elasticbeanstalk import api as elasticbeanstalk
from beanpole.services.elasticbeanstalk.environments import Environments
from beanpole.services.iam import Iam
from beanpole.services.s3.service import S3
from beanpole.store import audit, keys, types
from beanpole.store.blobs import Blobs
from beanpole.store.facts import identity

if TYPE_CHECKING:
    from beanpole.aws.call import Call
    from beanpole.home import Home
    from beanpole.store.database import Database

USER = "admin"
"""The user of the first access key."""

_LOOKING = ("Describe", "List", "Get", "Head", "Check", "Validate", "Retrieve", "Plan", "Tail")
"""How operations begin that change nothing; all others are audited."""

log = structlog.get_logger("api")


@dataclass(frozen=True)
class Assembly:
    """`background` are the loops that a control plane runs for as long as it lives, by name."""

    gateway: Gateway
    balancer: DetachedAgent
    balancers: Balancers
    machine: ThisMachine
    servers: Servers
    background: dict[str, Callable[[], Coroutine[None, None, None]]]


def assemble(home: Home, database: Database, region: str, api: str, listen: Listen, envoy: Path) -> Assembly:
    """Build it inside of a running event loop. `api` is the address under which clients reach it."""
    types.resolve((AccessKey, ContainerCommand, Health, Wheel))
    loop = asyncio.get_running_loop()
    me = identity(database, region)
    first_key = keys.first_of(database, USER)
    home.keep(
        home.credentials,
        f"[default]\naws_access_key_id = {first_key.id}\naws_secret_access_key = {first_key.secret}\n",
    )
    program = agent_program(home.programs)
    balancer = DetachedAgent(home.edge, program, me.store, "balancer")
    blobs, object_blobs = Blobs(home.blobs), Blobs(home.objects)
    for each in (blobs, object_blobs):
        each.empty_incoming()  # what a crash left half written; nobody else has this home
    machine = ThisMachine(database, blobs, home.instances, program, me.store, home.layers)
    servers = Servers(database, me.store)
    setup = Setup(database, Equipment(program, home.programs, lambda: envoy))
    posts = Posts(servers, setup)
    balancers = Balancers(database, Post.here(balancer, envoy), me.store, listen, posts.on, posts.edge_on)
    place = ServerPlace(database, servers, blobs, setup)
    fleet = Fleet(database, machine, place)
    pythons = installed_pythons()
    layers = Layers(home.layers, blobs, pythons)
    registry = catalogue.load()
    board = Board()
    collector = Collector(database, fleet, balancers)
    parts = Parts(database, blobs, fleet, balancers, layers, registry, board)
    # Whoever has the store has it alone, so leases of this name are nobody's when a control plane starts.
    engine = Engine(parts, me.store, collector.wake)

    def wake() -> None:
        loop.call_soon_threadsafe(engine.wake)

    def key_of(key_id: str) -> AccessKey | None:
        return keys.find(database, key_id)

    objects = S3(database, object_blobs, key_of)
    control = Control(
        database=database,
        blobs=blobs,
        objects=objects,
        registry=registry,
        platforms=Platforms(pythons),
        identity=me,
        balancers=balancers,
        layers=layers,
        wake=wake,
        resident=collector.resident,
    )
    objects.create_bucket(control.bucket)
    logs = Logs(control, fleet, loop)
    here = ControlPlane(str(home.root), database.name, api)
    ours = Beanpole(control, fleet, board, Environments(control), here, loop)
    hosts = Hosts(control, servers, setup, Removal())
    adopting = AdoptCalls(Adoptions(control, servers, setup), Ejections(control, servers), loop)
    our_handlers = ours.handlers() | HostCalls(control, hosts, loop).handlers() | adopting.handlers()
    handlers = elasticbeanstalk.handlers(control, collector, logs, objects)
    gateway = Gateway(
        services=[
            Service("elasticbeanstalk", load_model("elasticbeanstalk"), handlers),
            Service("beanpole", load_model("beanpole"), our_handlers),
            Iam(database, me.account).service(),
            Ec2(database, me).service(),
        ],
        objects=objects,
        keys=key_of,
        audit=lambda call, outcome: _audit(database, call, outcome),
        on_error=_log_error,
        of_the_moment=(OperationalError,),
    )
    retention = Retention(control, objects)
    background = {
        "engine": engine.run,
        "keeping": Keeping(database, fleet, balancers).run,
        "watch": Watch(control, fleet).run,
        "health": collector.run,
        "expiry": Expiry(control).run,
        "retention": retention.run,
        "upkeep": Upkeep(database, servers, setup, place, balancers, retention.needed).run,
    }
    return Assembly(gateway, balancer, balancers, machine, servers, background)


def _audit(database: Database, call: Call, outcome: str) -> None:
    if call.operation.startswith(_LOOKING):
        return
    given = (call.params.get(name) for name in ("EnvironmentName", "ApplicationName", "Key", "Name"))
    subject = next(filter(None, given), "")
    audit.record(
        database,
        user=call.caller.user,
        source=call.caller.source,
        service=call.service,
        operation=call.operation,
        subject=str(subject),
        request_id=call.request_id,
        outcome=outcome,
    )


def _log_error(request_id: str, call: Call | None, problem: Exception) -> None:
    operation = call.operation if call is not None else None
    if isinstance(problem, OperationalError):
        log.warning("a call needs the database", request=request_id, operation=operation, problem=str(problem.orig))
        return
    log.error("a call failed for a fault of ours", request=request_id, operation=operation, exc_info=problem)
