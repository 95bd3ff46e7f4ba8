#!/bin/sh
# unpack_golden.sh SRC DEST: put the files of the golden folder SRC into the
# folder DEST, *.zst decompressed.  Needs the zstd command.
set -eu

[ $# -eq 2 ] || { echo "usage: $0 SRC DEST" >&2; exit 64; }
command -v zstd >/dev/null || { echo "$0: needs the zstd command" >&2; exit 69; }
for f in "$1"/*; do
	case $f in
	*.zst) zstd -dqf "$f" -o "$2/$(basename "$f" .zst)" ;;
	*) cp "$f" "$2/" ;;
	esac
done
