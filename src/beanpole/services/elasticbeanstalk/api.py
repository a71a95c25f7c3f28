"""The operations of Elastic Beanstalk that are built, by name. The gateway refuses the others by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beanpole.services.elasticbeanstalk.account import Account
from beanpole.services.elasticbeanstalk.applications import Applications
from beanpole.services.elasticbeanstalk.cnames import Cnames
from beanpole.services.elasticbeanstalk.environments import Environments
from beanpole.services.elasticbeanstalk.events import Events
from beanpole.services.elasticbeanstalk.health import Health
from beanpole.services.elasticbeanstalk.logs import EnvironmentInfo, Links
from beanpole.services.elasticbeanstalk.options import ConfigurationOptions
from beanpole.services.elasticbeanstalk.platforms import Platforms
from beanpole.services.elasticbeanstalk.settings import ConfigurationSettings
from beanpole.services.elasticbeanstalk.tags import Tags
from beanpole.services.elasticbeanstalk.templates import ConfigurationTemplates

if TYPE_CHECKING:
    from beanpole.aws.call import Handler
    from beanpole.control.context import Control
    from beanpole.control.logs import Logs
    from beanpole.health.collector import Collector


def handlers(control: Control, collector: Collector, logs: Logs, links: Links) -> dict[str, Handler]:
    applications = Applications(control)
    environments = Environments(control)
    cnames = Cnames(control)
    platforms = Platforms(control)
    configuration = ConfigurationSettings(control)
    health = Health(control, collector)
    info = EnvironmentInfo(control, logs, links)
    templates = ConfigurationTemplates(control)
    tags = Tags(control)
    account = Account(control)
    return {
        "AbortEnvironmentUpdate": environments.abort,
        "ApplyEnvironmentManagedAction": account.apply_managed_action,
        "CheckDNSAvailability": cnames.available,
        "ComposeEnvironments": environments.compose,
        "CreateApplication": applications.create,
        "CreateApplicationVersion": applications.create_version,
        "CreateConfigurationTemplate": templates.create,
        "CreateEnvironment": environments.create,
        "CreateStorageLocation": environments.storage_location,
        "DeleteApplication": applications.delete,
        "DeleteApplicationVersion": applications.delete_version,
        "DeleteConfigurationTemplate": templates.delete,
        "DeleteEnvironmentConfiguration": configuration.delete_draft,
        "DescribeAccountAttributes": account.attributes,
        "DescribeApplicationVersions": applications.describe_versions,
        "DescribeApplications": applications.describe,
        "DescribeConfigurationOptions": ConfigurationOptions(control).describe,
        "DescribeConfigurationSettings": configuration.describe,
        "DescribeEnvironmentHealth": health.describe_environment,
        "DescribeEnvironmentManagedActionHistory": account.managed_history,
        "DescribeEnvironmentManagedActions": account.managed_actions,
        "DescribeEnvironmentResources": environments.resources,
        "DescribeEnvironments": environments.describe,
        "DescribeEvents": Events(control).describe,
        "DescribeInstancesHealth": health.describe_instances,
        "DescribePlatformVersion": platforms.describe,
        "ListAvailableSolutionStacks": platforms.solution_stacks,
        "ListPlatformBranches": platforms.branches,
        "ListPlatformVersions": platforms.versions,
        "ListTagsForResource": tags.list,
        "RebuildEnvironment": environments.rebuild,
        "RequestEnvironmentInfo": info.request,
        "RestartAppServer": environments.restart,
        "RetrieveEnvironmentInfo": info.retrieve,
        "SwapEnvironmentCNAMEs": cnames.swap,
        "TerminateEnvironment": environments.terminate,
        "UpdateApplication": applications.update,
        "UpdateApplicationResourceLifecycle": applications.update_lifecycle,
        "UpdateApplicationVersion": applications.update_version,
        "UpdateConfigurationTemplate": templates.update,
        "UpdateEnvironment": environments.update,
        "UpdateTagsForResource": tags.update,
        "ValidateConfigurationSettings": configuration.validate,
    }
