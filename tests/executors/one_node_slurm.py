"""A Slurm cluster of this machine alone, with Debian's slurm-wlm and munge, for the time of a test.

Partition `low` loses its nodes to jobs of partition `high`, and its jobs go back into the queue. Slurm lets such a job
wait for two minutes, unless `start_now` tells it not to.

As a script: `one_node_slurm.py COMMAND ...` runs the command with it.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
START_S = 60.0
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=1000 State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=1 PreemptMode=REQUEUE State=UP
PartitionName=high Nodes=ALL MaxTime=INFINITE PriorityTier=10 State=UP
"""


def lacking() -> str:
    """Why there can be none here, "" where there can."""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        return f"no {missing[0]}: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "slurmd wants to be root"


@contextmanager
def one_node() -> Iterator[Path]:
    """Its configuration file, for SLURM_CONF. Raises RuntimeError with its log where it does not start."""
    with TemporaryDirectory(prefix="slurm-") as name:  # short: the path of a socket has at most 107 characters
        folder = Path(name)
        conf = _write(folder)
        environment = {**os.environ, "SLURM_CONF": str(conf)}
        try:
            _daemon(["munged", "--force", *_munge(folder)], environment)
            _daemon(["slurmctld", "-i"], environment)
            _daemon(["slurmd"], environment)
            _wait_for_idle(folder, environment)
            yield conf
        finally:
            for daemon in ("slurmd", "slurmctld", "munged"):
                _stop(folder / f"{daemon}.pid")


def start_now(job: str) -> None:
    """Of a job that is being put back, or was."""
    for _ in range(100):
        reason = subprocess.run(["squeue", "-h", "-o", "%r", "-j", job], capture_output=True, text=True).stdout
        if reason.strip() == "BeginTime":
            break
        time.sleep(0.1)
    subprocess.run(["scontrol", "update", f"jobid={job}", "starttime=now"], check=True, capture_output=True)


def _munge(folder: Path) -> list[str]:
    files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid", "log-file": "munged.log"}
    return [f"--{option}={folder / name}" for option, name in {**files, "seed-file": "munge.seed"}.items()]


def _write(folder: Path) -> Path:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        ports = one.getsockname()[1], other.getsockname()[1]
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=socket.gethostname().split(".")[0], ports=ports, folder=folder, user="root"))
    return conf


def _daemon(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=START_S)
    if done.returncode:
        raise RuntimeError(f"{command[0]} does not start: {done.stdout}{done.stderr}")


def _wait_for_idle(folder: Path, environment: dict[str, str]) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        done = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True)
        if "idle" in done.stdout:
            return
        time.sleep(0.3)
    raise RuntimeError("the node does not become idle: " + (folder / "slurmctld.log").read_text()[-2000:])


def _stop(pid_file: Path) -> None:
    with suppress(OSError, ValueError):
        process = int(pid_file.read_text())
        os.kill(process, signal.SIGTERM)
        for _ in range(100):
            os.kill(process, 0)  # raises once it is gone
            time.sleep(0.1)
        os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
    if why := lacking():
        sys.exit(why)
    with one_node() as found:
        sys.exit(subprocess.run(sys.argv[1:], env={**os.environ, "SLURM_CONF": str(found)}).returncode)
