"""Which account of a cloud answers would come from, told without asking the cloud or loading its library."""

from __future__ import annotations

from pathlib import Path

from manager.prices.cloud_answers import account_mark
from manager.service.context import Context

_VARIABLES = {
    "aws": ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_ROLE_ARN", "AWS_ENDPOINT_URL"),
    "gcp": ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "CLOUDSDK_CORE_PROJECT", "CLOUDSDK_CONFIG"),
}
_FILES = {
    "aws": (("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"), ("AWS_CONFIG_FILE", ".aws/config")),
    "gcp": (
        ("GOOGLE_APPLICATION_CREDENTIALS", ".config/gcloud/application_default_credentials.json"),
        ("", ".config/gcloud/active_config"),
        ("", ".config/gcloud/configurations/config_default"),
    ),
}
"""Variable that moves the file, and where it lies in the user's home."""


def account_of(context: Context, cloud: str) -> str:
    """A mark that is another one when profile, project or credentials are others.

    Of the files only the time of their last change is looked at, never what is in them.
    """
    parts = [context.environment.get(name) for name in _VARIABLES[cloud]]
    for variable, place in _FILES[cloud]:
        file = Path(context.environment.get(variable) or context.user_home / place)
        try:
            parts.append(str(file.stat().st_mtime_ns))
        except OSError:
            parts.append(None)
    return account_mark(cloud, *parts)
