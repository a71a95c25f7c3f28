"""An application that runs but never listens on $PORT; with LISTEN_ELSEWHERE=1 it listens on another port."""

import os
import signal
import socket

print("loading the model, this may take a while", flush=True)
with socket.socket() as elsewhere:
    if os.environ.get("LISTEN_ELSEWHERE") == "1":
        elsewhere.bind(("127.0.0.1", 0))
        elsewhere.listen()
        print(f"listening on port {elsewhere.getsockname()[1]}", flush=True)
    signal.pause()
