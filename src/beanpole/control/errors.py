"""The sentences in which Elastic Beanstalk refuses, word for word where clients compare them."""

from __future__ import annotations

from beanpole.aws.errors import AwsError


def invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterValue", message)


def combination(message: str) -> AwsError:
    return AwsError("InvalidParameterCombination", message)


def missing(message: str) -> AwsError:
    return AwsError("MissingParameter", message)


def configuration(message: str) -> AwsError:
    return AwsError("ConfigurationValidationException", f"Configuration validation exception: {message}")


def bundle_stays(bucket: str, key: str, why: str) -> AwsError:
    return AwsError(
        "SourceBundleDeletionFailure",
        f"The version is deleted, but its bundle s3://{bucket}/{key} is not: {why} Delete the object yourself.",
    )


def no_application(name: str) -> AwsError:
    return invalid(f"No Application named '{name}' found.")


def no_version(label: str) -> AwsError:
    return invalid(f"No Application Version named '{label}' found.")


def no_template(name: str) -> AwsError:
    return invalid(f"No Configuration Template named '{name}' found.")


def no_environment(name_or_id: str) -> AwsError:
    return invalid(f"No Environment found for EnvironmentName = '{name_or_id}'.")


def not_ready(name: str) -> AwsError:
    return invalid(f"Environment named {name} is in an invalid state for this operation. Must be Ready.")
