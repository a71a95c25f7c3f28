"""Where new instances go, and in which words they go nowhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.policies.placement import INSTANCE_MEMORY, Host, NoPlace, labels_of, place

pytestmark = pytest.mark.pure

ROOM = 8 * INSTANCE_MEMORY


def host(name: str, *labels: str, ready: bool = True, memory: int | None = ROOM, there: tuple[str, ...] = ()) -> Host:
    return Host(id=f"h-{name}", name=name, labels=labels, ready=ready, memory=memory, environments=there)


def names(hosts: list[Host], number: int, labels: tuple[str, ...] = ()) -> list[str]:
    return [each.name for each in place(hosts, "e-1", labels, number, number)]


def refusal(hosts: list[Host], number: int, labels: tuple[str, ...] = (), goal: int | None = None) -> tuple[str, str]:
    with pytest.raises(NoPlace) as none:
        place(hosts, "e-1", labels, number, goal or number)
    return none.value.cause, none.value.remedy


def test_the_emptiest_go_first_then_those_with_more_memory_then_those_added_first() -> None:
    busy, quiet = host("a", there=("e-2", "e-3")), host("b", there=("e-2",))
    small, first, second = host("c", memory=ROOM // 2), host("d"), host("e")
    assert names([busy, quiet, small, first, second], 5) == ["d", "e", "c", "b", "a"]


def test_one_instance_of_an_environment_on_a_host_and_all_labels_and_only_ready_ones() -> None:
    hosts = [
        host("holds", "gpu", "big", there=("e-1",)),
        host("half", "gpu"),
        host("joins", "gpu", "big", ready=False),
        host("fits", "big", "gpu", "other"),
    ]
    assert names(hosts, 1, ("gpu", "big")) == ["fits"]


def test_memory_that_nobody_counted_is_no_reason() -> None:
    assert names([host("a", memory=None)], 1) == ["a"]


@pytest.mark.parametrize(
    ("hosts", "number", "labels", "cause", "remedy"),
    [
        ([], 1, (), "1 instance was asked for, and there are no hosts.", "Add a host (`beanpole hosts add`)."),
        (
            [host("ml1", "gpu"), host("ml2", "gpu"), host("web1")],
            5,
            ("gpu",),
            "5 instances were asked for, and 2 hosts have the label gpu (ml1, ml2).",
            "Add hosts with the label gpu (`beanpole hosts add`), or ask for fewer instances.",
        ),
        (
            [host("web1", "gpu")],
            1,
            ("gpu", "big"),
            "1 instance was asked for, and no hosts have the labels gpu and big.",
            "Add a host with the labels gpu, big (`beanpole hosts add`).",
        ),
        (
            [host("web1"), host("web2", memory=20 * 2**20), host("web3", ready=False)],
            2,
            (),
            "2 instances were asked for, and 1 of 3 hosts can take one (web1); web2 has 20 MB of memory available and "
            "an instance needs 48 MB, web3 is not ready.",
            "Add hosts (`beanpole hosts add`), or ask for fewer instances.",
        ),
    ],
)
def test_what_cannot_be_is_said_with_numbers(
    hosts: list[Host], number: int, labels: tuple[str, ...], cause: str, remedy: str
) -> None:
    assert refusal(hosts, number, labels) == (cause, remedy)


def test_hosts_that_hold_an_instance_already_count_for_the_goal() -> None:
    hosts = [host("web1", there=("e-1",)), host("web2", there=("e-1",)), host("web3")]
    cause, _ = refusal(hosts, 3, goal=5)
    assert cause == "5 instances were asked for, and there are 3 hosts (web1, web2, web3)."


def test_labels_are_words_between_commas() -> None:
    assert labels_of(" gpu,, big ,gpu") == ("gpu", "big")
    assert labels_of("") == ()


@given(
    st.lists(
        st.builds(
            host,
            st.uuids().map(str),
            ready=st.booleans(),
            memory=st.sampled_from([None, 0, INSTANCE_MEMORY, ROOM]),
            there=st.sampled_from([(), ("e-1",), ("e-2",), ("e-2", "e-2")]),
        ),
        max_size=8,
    ),
    st.integers(1, 8),
)
def test_whatever_there_is_nothing_wrong_is_chosen_and_none_is_refused_that_would_do(
    hosts: list[Host], number: int
) -> None:
    good = [
        each
        for each in hosts
        if each.ready and "e-1" not in each.environments and (each.memory is None or each.memory >= INSTANCE_MEMORY)
    ]
    try:
        chosen = place(hosts, "e-1", (), number, number)
    except NoPlace:
        assert len(good) < number
    else:
        assert len({each.id for each in chosen}) == number
        assert all(each in good for each in chosen)


def test_a_second_one_goes_where_one_leaves_before_it_goes_anywhere_else() -> None:
    used, free = host("a", there=("e-1",)), host("b", memory=10 * ROOM)
    (chosen,) = place([free, used], "e-1", (), 1, 1, beside={used.id})
    assert chosen == used
    assert place([free, used], "e-1", (), 2, 2, beside={used.id}) == (used, free)


@pytest.mark.parametrize(
    ("there", "memory"),
    [(("e-1", "e-1"), ROOM), (("e-1",), INSTANCE_MEMORY - 1)],
)
def test_a_server_takes_one_second_instance_and_only_with_memory_for_it(there: tuple[str, ...], memory: int) -> None:
    full, free = host("a", there=there, memory=memory), host("b")
    assert place([full, free], "e-1", (), 1, 1, beside={full.id}) == (free,)


def test_a_server_that_nobody_leaves_takes_no_second_one() -> None:
    stays, leaves = host("a", there=("e-1",)), host("b", there=("e-1",), memory=0)
    with pytest.raises(NoPlace) as refused:
        place([stays, leaves], "e-1", (), 1, 1, beside={leaves.id})
    assert refused.value.cause == (
        "1 new instance is needed beside the present ones, and 0 of 2 hosts can take one; b has 0 MB of memory "
        "available and an instance needs 48 MB."
    )
    assert "policy Rolling" in refused.value.remedy
