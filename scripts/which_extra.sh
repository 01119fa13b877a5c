#!/usr/bin/env bash
# Which engine this machine gets: cuda where there is an NVIDIA GPU, else cpu. With --why: the reason.
set -euo pipefail
if [[ -e /dev/nvidiactl || -e /dev/dxg ]]; then
    extra=cuda why="an NVIDIA GPU is here"
else
    extra=cpu why="no NVIDIA GPU is here"
fi
if [[ "${1:-}" == --why ]]; then echo "$why"; else echo "$extra"; fi
