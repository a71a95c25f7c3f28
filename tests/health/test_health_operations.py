"""What is seen of an environment while an operation is under way, and after it."""

from small_world import World

from beanpole.store import environments, instances

V1 = 'Expected version "v1" (deployment 1).'


def test_a_deployment_from_the_begin_to_its_end(world: World) -> None:
    env = world.environment(instances_=2)
    one, two = world.fleet.agents
    collector = world.collector()
    world.look(collector)
    world.clock.now += 60
    world.release(env, "v2", "d2")
    operation = world.operate(env, one, two)
    world.look(collector)
    assert world.stored(env) == ("Info", ["Application update in progress (running for 10 seconds)."])
    world.journal(operation, "forward/prepare-1/begin")
    world.look(collector)
    assert world.told(env)[-1].message == (
        "Environment health has transitioned from Ok to Info. Application update in progress (running for 10 seconds)."
    )
    view = collector.environment(env)
    assert view is not None
    assert view.health.causes == (
        "Application update in progress on 2 instances. 0 out of 2 instances completed (running for 20 seconds).",
    )
    first = view.instances[0]
    assert (first.health.status, first.health.causes) == (
        "Info",
        ("Performing application deployment (running for 20 seconds).",),
    )
    assert first.deployment is not None
    assert (first.deployment.number, first.deployment.version_label, first.deployment.status) == (
        2,
        "v2",
        "In Progress",
    )
    for step in ("prepare-1", "activate-1", "gate-1", "finish-1"):
        world.journal(operation, f"forward/{step}/{one}")
    world.serve(env, one, "d2")
    world.look(collector)
    view = collector.environment(env)
    assert view is not None
    assert view.health.causes == (
        "Application update in progress on 1 instance. 1 out of 2 instances completed (running for 30 seconds).",
    )
    assert [each.health.status for each in view.instances] == ["Ok", "Info"]
    world.serve(env, two, "d2")
    world.close(operation, env, release=2)
    world.look(collector)
    assert world.stored(env) == ("Ok", ["Application update completed 10 seconds ago and took 30 seconds."])
    assert [each.health.causes for each in collector.instances(env)] == [
        ("Application deployment completed 10 seconds ago and took 30 seconds.",)
    ] * 2
    assert collector.instances(env)[0].deployment.status == "Deployed"  # type: ignore[union-attr]
    world.look(collector, 12)
    assert world.stored(env) == ("Ok", [])
    assert [each.message.partition(". ")[0] for each in world.told(env)] == [
        "Environment health has transitioned to Ok.",
        "Environment health has transitioned from Ok to Info",
        "Environment health has transitioned from Info to Ok",
    ]


def test_a_creation(world: World) -> None:
    env = world.environment(instances_=0)
    with world.database.write() as db:
        environments.update(db, env, release=None, version_label=None, health="Pending", desired=1)
    operation = world.operate(env, "new-1", kind="create", release=1)
    world.look(collector := world.collector())
    assert [each.message for each in world.told(env)] == [
        "Environment health has transitioned to Pending. Initialization in progress (running for 10 seconds). "
        "There are no instances."
    ]
    instance = world.instance(env, state="launching")
    world.fleet.agents[instance].dead = True
    world.journal(operation, "forward/prepare-1/begin")
    world.journal(operation, "forward/launch/new-1/bind", instance=instance, address="127.0.0.2")
    world.look(collector)
    view = collector.environment(env)
    assert view is not None
    assert view.health.status == "Pending"
    assert view.instances[0].health.causes[0] == "Performing initialization (running for 10 seconds)."
    assert view.instances[0].health.status == "Pending"


def test_a_creation_that_failed(world: World) -> None:
    env = world.environment(instances_=0)
    instance = world.instance(env, state="launching")
    with world.database.write() as db:
        environments.update(db, env, release=None, version_label=None)
    world.look(collector := world.collector(), 3)
    assert world.stored(env) == ("Degraded", ["Instance initialization failed on all instances."])
    assert [each.id for each in collector.instances(env)] == [instance]


def test_an_instance_that_was_left_behind(world: World) -> None:
    env = world.environment(instances_=4)
    instance = next(iter(world.fleet.agents))
    with world.database.write() as db:
        instances.drain(db, world.ms, instance, keep=None)
        instances.update(db, instance, release=None)
    world.look(collector := world.collector(), 3)
    view = collector.environment(env)
    assert view is not None
    assert view.instances[0].health.status == "Severe"
    assert view.instances[0].health.causes == (f"Incorrect application version n/a. {V1}",)
    assert view.instances[0].deployment.status == "Failed"  # type: ignore[union-attr]
    assert world.stored(env) == (
        "Degraded",
        [f"Incorrect application version found on 1 out of 4 instances. {V1}"],
    )


def test_another_release_with_the_same_content_is_no_other_version(world: World) -> None:
    env = world.environment()
    world.release(env, "v1-again", "d1")
    with world.database.write() as db:
        environments.update(db, env, release=2, version_label="v1-again")
    world.look(collector := world.collector())
    view = collector.instances(env)[0]
    assert view.health.status == "Ok"
    assert view.deployment is not None
    assert (view.deployment.number, view.deployment.version_label) == (2, "v1-again")


def test_a_later_release_with_the_same_content_that_never_passed_changes_nothing(world: World) -> None:
    env = world.environment()
    world.release(env, "v1-never-passed", "d1")
    world.look(collector := world.collector())
    view = collector.instances(env)[0]
    assert view.health.status == "Ok"
    assert view.deployment is not None
    assert (view.deployment.number, view.deployment.version_label) == (1, "v1")


def test_an_instance_on_its_way_out_does_not_count(world: World) -> None:
    env = world.environment()
    world.instance(env, state="terminating")
    world.look(collector := world.collector())
    assert [each.health.status for each in collector.instances(env)] == ["Ok"]


def test_a_worker_needs_no_balancer(world: World) -> None:
    env = world.environment(tier="Worker")
    with world.database.write() as db:
        for instance in world.fleet.agents:
            instances.remove_endpoint(db, instance, "d1")
    world.look(collector := world.collector(), 12)
    assert collector.instances(env)[0].health.status == "Ok"


def test_what_the_system_does_by_itself_shows_on_the_instance_alone(world: World) -> None:
    env = world.environment(instances_=2)
    one = next(iter(world.fleet.agents))
    operation = world.operate(env, one, kind="replace", origin="system", release=1)
    world.journal(operation, "forward/prepare-1/begin")
    world.look(collector := world.collector())
    assert world.stored(env) == ("Ok", [])
    assert [each.health.status for each in collector.instances(env)] == ["Info", "Ok"]


def test_a_plan_of_another_beanpole_still_counts_as_under_way(world: World) -> None:
    env = world.environment()
    operation = world.operate(env, *world.fleet.agents)
    with world.database.write() as db:
        db.exec_driver_sql("UPDATE operation SET plan = '{\"schema\": 99}' WHERE id = ?", (operation,))
    world.look(world.collector())
    assert world.stored(env) == ("Info", ["Configuration update in progress (running for 10 seconds)."])
