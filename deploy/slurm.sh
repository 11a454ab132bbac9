#!/bin/bash
#SBATCH --job-name=nas
#SBATCH --nodes=3
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --requeue
#
# A search on the nodes of a Slurm job: sbatch deploy/slurm.sh search.yaml
#
# NAS_DATABASE (PostgreSQL), NAS_STORAGE and NAS_HOME (folders that all nodes see) come from the environment of sbatch;
# `nas` and `ray` are those on the PATH. With GPUs add --gpus-per-node=N above. The job may end in the middle, by its
# time limit too: the next one, requeued or new, goes on with the searches that are left.
set -euo pipefail
: "${NAS_DATABASE:?is needed}" "${NAS_STORAGE:?is needed}" "${NAS_HOME:?is needed}"

export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$NAS_HOME/ray_token" RAY_USAGE_STATS_ENABLED=0
if [ ! -s "$RAY_AUTH_TOKEN_PATH" ]; then
    (umask 077 && python3 -c "import secrets; print(secrets.token_hex(32))" > "$RAY_AUTH_TOKEN_PATH")
fi

first=$SLURMD_NODENAME
ray_port=$((20000 + SLURM_JOB_ID % 10000)) # several jobs may share a node
nas_port=$((30000 + SLURM_JOB_ID % 10000))
ray="$first:$ray_port"

srun --overlap --nodes=1 --ntasks=1 --nodelist="$first" ray start --head --port="$ray_port" \
    --num-cpus="$SLURM_CPUS_PER_TASK" --temp-dir="/tmp/ray-$SLURM_JOB_ID" --include-dashboard=false --block &
until ray health-check --address="$ray" > /dev/null 2>&1; do sleep 2; done
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    srun --overlap --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --exclude="$first" \
        ray start --address="$ray" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
fi

# Others are on this node too: tokens are needed, also on the loopback.
NAS_TOKEN=$(nas token create "job-$SLURM_JOB_ID" --scope write --expires 30d)
export NAS_TOKEN NAS_SERVER="http://127.0.0.1:$nas_port"
nas serve --port "$nas_port" --auth token --ray "$ray" &
until python3 -c "import urllib.request as r; r.urlopen('$NAS_SERVER/readyz')" 2> /dev/null; do sleep 2; done

# The same key again, after a requeue, is the same search. Slurm ends what is left when the script ends.
nas submit "$1" --yes --watch --idempotency-key "job-$SLURM_JOB_ID"
