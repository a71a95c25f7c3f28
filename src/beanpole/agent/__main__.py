"""`python3 -m beanpole.agent`: the agent from its source. What is sent to instances is a zip file of this folder."""

import sys

from .main import main

sys.exit(main())
