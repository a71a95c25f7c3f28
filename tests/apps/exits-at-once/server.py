"""An application that ends as soon as it is started: HOW=import (default) as in the story, HOW=exit with status 3."""

import os
import sys


def load() -> str:
    """Fails: requirements.txt does not give the package."""
    import tensorflow_addons

    return tensorflow_addons.__version__


print("reading the settings", flush=True)
print("loading the model", flush=True)
if os.environ.get("HOW", "import") == "exit":
    print("cannot go on: the model file is missing", file=sys.stderr)
    sys.exit(3)
print(load())
