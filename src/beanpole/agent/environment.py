"""The environment variables of what we start: properties, the layer's paths, a short allow-list of our own. Pure."""

from __future__ import annotations

from typing import Dict, Mapping, Optional

# Whatever else the agent was started with (the credentials of who started it, say) is no application's business.
ALLOWED = ("BEANPOLE_ADDRESS", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def variables(
    own: Mapping[str, str], properties: Mapping[str, str], layer: Optional[str], port: Optional[int]
) -> Dict[str, str]:
    """What a process or command of a release gets. `own` is the agent's environment.

    The layer's programs come first on PATH, whatever the properties say; PORT is what the agent chose, if it did.
    """
    result = {"HOME": "/", "LANG": "C.UTF-8", "PATH": own.get("PATH", PATH), "PYTHONUNBUFFERED": "1"}
    result.update({name: own[name] for name in ALLOWED if name in own})
    result.update(properties)
    if layer is not None:
        result["PATH"] = f"{layer}/bin:{result['PATH']}"
        result["VIRTUAL_ENV"] = layer
    if port is not None:
        result["PORT"] = str(port)
    return result
