"""The handler of each kind of step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beanpole.operations.steps.activate import activate, finish, gate, register
from beanpole.operations.steps.arrive import fetch, once, prepare
from beanpole.operations.steps.exclude import exclude
from beanpole.operations.steps.launch import launch
from beanpole.operations.steps.leave import drain, leave_rotation, terminate
from beanpole.operations.steps.preflight import preflight
from beanpole.operations.steps.retire import retire
from beanpole.operations.steps.shift import shift
from beanpole.operations.steps.smoke import smoke
from beanpole.operations.steps.watch import watch
from beanpole.policies import plan

if TYPE_CHECKING:
    from beanpole.operations.work import Handler

HANDLERS: dict[type[plan.AnyStep], Handler] = {
    plan.Preflight: preflight,
    plan.Launch: launch,
    plan.Fetch: fetch,
    plan.Once: once,
    plan.Prepare: prepare,
    plan.Activate: activate,
    plan.Gate: gate,
    plan.Finish: finish,
    plan.Smoke: smoke,
    plan.Drain: drain,
    plan.Register: register,
    plan.Exclude: exclude,
    plan.Shift: shift,
    plan.Watch: watch,
    plan.Retire: retire,
    plan.Leave: leave_rotation,
    plan.Terminate: terminate,
}
