#!/bin/sh
# The start of a container of nas: it prepares what the command needs, then becomes the command.
#
# DATABASE_PASSWORD_FILE: the database's password; goes to PGPASSFILE, where libpq looks for it
# JOIN_RAY: HOST:PORT of a cluster to join without offering a processor or a GPU, as a process that uses Ray must
set -eu

# A mounted secret has the mode of the file on the host, and libpq takes none that others can read: hence a copy.
if [ -n "${DATABASE_PASSWORD_FILE:-}" ]; then
    rm -f "$PGPASSFILE"
    (umask 077 && sed 's/[\\:]/\\&/g; s/^/*:*:*:*:/' "$DATABASE_PASSWORD_FILE" > "$PGPASSFILE")
fi

if [ -n "${JOIN_RAY:-}" ]; then
    ray start --address="$JOIN_RAY" --num-cpus=0 --num-gpus=0 --node-manager-port=6380 --object-store-memory=134217728
    python -S "$(dirname "$0")/watch.py" > /dev/null 2>&1 & # the command, which takes over this process
fi

exec "$@"
