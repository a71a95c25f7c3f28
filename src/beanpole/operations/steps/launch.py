"""Launch: make an instance for a slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beanpole.operations import placing
from beanpole.operations.resident import usual
from beanpole.policies.placement import NoPlace, memory_of
from beanpole.policies.plan import Launch
from beanpole.store import environments, hosts, instances
from beanpole.store.instances import Instance
from beanpole.store.operations import journal_of, record

if TYPE_CHECKING:
    import sqlalchemy as sa

    from beanpole.operations.work import Work


async def launch(work: Work) -> dict[str, Any]:
    with work.parts.database.read() as db:
        on_servers = placing.lives_on_servers(db, work.environment.id)
    if not on_servers:
        await _refuse_crowd(work)
    instance_id = _bind(work, on_servers)
    work.progress("starting its agent")
    await work.parts.fleet.launch(instance_id)
    with work.writing() as db:
        instances.update(db, instance_id, state="running")
    # The environment's address is known from now on, even if all that it says is that nothing serves yet.
    await work.parts.balancers.apply(instance_id)
    work.say(f"Added instance [{instance_id}] to your environment.")
    _tell_neighbour(work, instance_id)
    return {"instance": instance_id}


def _tell_neighbour(work: Work, instance_id: str) -> None:
    """On a server that another environment had first, this one is found by its name alone."""
    with work.parts.database.read() as db:
        here = [each for each in instances.listed(db, work.environment.id) if each.host is not None]
        host_id = next((each.host for each in here if each.id == instance_id), None)
        first = hosts.catch_alls(db).get(host_id or "")
        if host_id is None or first is None or [each.host for each in here].count(host_id) > 1:
            return
        host, other = hosts.find(db, host_id), environments.find(db, first)
        prefix = work.environment.cname_prefix
    if host is None or other is None or other.id == work.environment.id:
        return
    mine = f"gets those for {work.parts.balancers.cname(prefix)}" if prefix else "gets none"
    work.say(
        f"Host {host.name} is shared with the environment {other.name}, which gets all requests there that name no "
        f"environment; {work.environment.name} {mine}."
    )


async def _refuse_crowd(work: Work) -> None:
    """What they take is what the present ones do; where there are none, it is guessed.

    Asked until the first of them is written down: from then on they take what was counted for them.
    """
    available = work.parts.fleet.memory_available()
    if available is None or _begun(work):
        return
    needed = len(work.step.slots) * memory_of(await usual(work.parts, work.environment.id))
    if available < needed and not _begun(work):
        raise work.failed(
            f"{len(work.step.slots)} more instances need at least {needed / 2**20:.0f} MB of memory and this machine "
            f"has {available / 2**20:.0f} MB available",
            "Ask for fewer instances (aws:autoscaling:asg MinSize and MaxSize).",
        )


def _begun(work: Work) -> bool:
    with work.parts.database.read() as db:
        journal = journal_of(db, work.operation.id)
    return any(f"{work.phase}/{work.step.key}/{slot}/bind" in journal for slot in work.step.slots)


def _bind(work: Work, on_servers: bool) -> str:
    """Choose the id and the server and write them down before anything is made: a crash leaves nothing unknown."""
    key = f"{work.phase}/{work.step.key}/{work.slot}/bind"
    with work.writing() as db:
        bound = journal_of(db, work.operation.id).get(key)
        if bound is not None:
            return str(bound["instance"])
        taken = {other.address for other in instances.listed(db)}
        instance_id, address = work.parts.fleet.newcomer(taken)
        host = _server(work, db) if on_servers else None
        new = Instance(instance_id, work.environment.id, "launching", address, None, work.now(), host=host)
        instances.add(db, new)
        record(db, work.operation, work.now(), key, {"instance": instance_id})
    return instance_id


def _server(work: Work, db: sa.Connection) -> str:
    """The server for one more instance. In the transaction that writes it down, so that no two slots choose alike."""
    there = len(instances.listed(db, work.environment.id))
    beside = work.step.beside if isinstance(work.step, Launch) else ()
    try:
        (host,) = placing.place(db, work.environment.id, work.settings, 1, there + 1, beside)
    except NoPlace as none:
        raise work.failed(none.cause.rstrip("."), none.remedy) from none
    return host.id
