#!/usr/bin/env python3
"""Holds every #include under src/ to the rooms of docs/architecture.md.

A room may include itself, the rooms named for it, and what those may include. Headers of optional
libraries (CUDA, NCCL, MPI, NVML) appear only in the rooms that are theirs. Exit 1 with one line per
breach.
"""
import pathlib
import re
import sys

ROOMS = {
    "base": [],
    "tensor": ["base"],
    "gguf": ["tensor"],
    "text": ["gguf"],
    "model": ["gguf"],
    "machine": ["base"],
    "plan": ["model", "machine"],
    "device": ["tensor"],
    "comm": ["device"],
    "nn": ["comm", "model"],
    "runtime": ["nn", "plan"],
    "engine": ["runtime", "text"],
    "server": ["engine"],
    "fleet": ["plan", "server/http"],
    "app": ["engine", "server", "fleet"],
}
# Header prefix -> the folders that may include it.
OPTIONAL = {
    "cuda": ["src/device/cuda", "src/comm/cuda"],
    "cublas": ["src/device/cuda"],
    "simt": ["src/device/cuda"],  # the emulation's, in cuda_api.h and what it names alone
    "nccl": ["src/comm/nccl"],
    "mpi": ["src/comm/mpi"],
    "nvml": ["src/machine/nvml"],
}
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')


def reachable(room):
    """The rooms (or sub-folders of rooms) that `room` may include."""
    found, open_rooms = {room}, list(ROOMS[room])
    while open_rooms:
        name = open_rooms.pop()
        if name not in found:
            found.add(name)
            open_rooms += ROOMS.get(name, [])
    return found


def breach_of(path, room, allowed, quote, header):
    if quote == "<":
        for prefix, homes in OPTIONAL.items():
            if pathlib.PurePath(header).name.startswith(prefix):
                if not any(str(path).startswith(home) for home in homes):
                    return f"<{header}> belongs to {', '.join(homes)}"
        return None
    target = header.split("/")[0]
    if target not in ROOMS:
        return f'"{header}" names no room'
    inside = any(header.startswith(name + "/") for name in allowed)
    return None if inside else f'{room}/ may not include "{header}"'


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    breaches = []
    for path in sorted((root / "src").rglob("*")):
        if path.suffix not in {".h", ".cpp", ".cu", ".cuh"}:
            continue
        relative = path.relative_to(root)
        room = relative.parts[1]
        if room not in ROOMS:
            breaches.append(f"{relative}: {room}/ is no room")
            continue
        allowed = reachable(room)
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            match = INCLUDE.match(line)
            if match and (why := breach_of(relative, room, allowed, *match.groups())):
                breaches.append(f"{relative}:{number}: {why}")
    print("\n".join(breaches) or "rooms: every include is allowed")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
