#!/usr/bin/env python3
"""Starts `tandem serve` on the default model, sends it one request, shows the answer, stops it.

Exit 1 if the server does not get ready, answer or stop within its deadline.
"""
import json
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.request

PROGRAM = pathlib.Path(__file__).resolve().parent.parent / "build/bin/tandem"
READY_SECONDS = 20
ANSWER_SECONDS = 30
STOP_SECONDS = 15


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_ready(url):
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url + "/health", timeout=2) as reply:
                if json.load(reply)["status"] == "ok":
                    return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"error: the server at {url} was not ready within {READY_SECONDS} s")


def ask(url, prompt):
    body = {"prompt": prompt, "max_tokens": 24, "temperature": 0}
    request = urllib.request.Request(url + "/v1/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as reply:
        return json.load(reply)["choices"][0]["text"]


def main():
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen([PROGRAM, "serve", "--port", str(port)], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(url)
        prompt = "And it came to pass"
        print(f"\nA server on {url}, asked over OpenAI's API\n  \"{prompt}{ask(url, prompt)}\"")
        server.send_signal(signal.SIGTERM)
        server.wait(STOP_SECONDS)
    finally:
        server.kill()


if __name__ == "__main__":
    sys.exit(main())
