"""One value that somebody chose for one option, as calls, saved configurations and files carry it."""

from __future__ import annotations

from dataclasses import dataclass

ENVIRONMENT_PROPERTIES = "aws:elasticbeanstalk:application:environment"
"""Namespace of environment properties; also the one meant where a configuration file names none."""

Key = tuple[str, str, str]
"""(namespace, name, resource); resource is "" for all but scheduled actions and the like."""


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    namespace: str
    name: str
    resource: str
    value: str

    @classmethod
    def of(cls, namespace: str, name: str, value: str, resource: str = "") -> Setting:
        """A setting as clients spell it.

        `nightly.aws:autoscaling:scheduledaction` is the namespace with the resource in front, as saved configurations
        write it. The logical names that Elastic Beanstalk gives to its own resources (`AWSEB…`) say nothing more than
        the namespace does, and are dropped, so that settings copied from there mean the same option here.
        """
        prefix, dot, rest = namespace.partition(".")
        if dot and ":" not in prefix:
            namespace, resource = rest, resource or prefix
        return cls(namespace, name, "" if resource.startswith("AWSEB") else resource, value)

    @property
    def key(self) -> Key:
        return (self.namespace, self.name, self.resource)
