"""The files for Kubernetes and SkyPilot in `docs/how-to/ray.md`: their programs' fields and rules, and the commands.

Fields are facts of KubeRay's types for ray.io/v1 (RayJob; ray-operator/apis/ray/v1), of Kubernetes' pods as its
definition of the resource has them, and of SkyPilot's task schema (sky/utils/schemas.py); the rules are those that the
operator checks (ray-operator/controllers/ray/utils/validation.go). A field that is not listed here is refused: look it
up there before it is added.
"""

import copy
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml
from doc_pages import ROOT, arguments_of, blocks, complaint
from jsonschema import Draft202012Validator

PAGE = ROOT / "docs/how-to/ray.md"
TEXT, WHOLE, NUMBER, YES_NO = ({"type": kind} for kind in ("string", "integer", "number", "boolean"))
COUNT = {"type": "integer", "minimum": 0}


def fields(required: str = "", **known: Any) -> dict[str, Any]:
    return {"type": "object", "properties": known, "required": required.split(), "additionalProperties": False}


def each(value: Any) -> dict[str, Any]:
    return {"type": "array", "items": value, "minItems": 1}


def mapping(value: Any, keys: str = "") -> dict[str, Any]:
    return {"type": "object", "additionalProperties": value, "propertyNames": {"pattern": keys}}


QUANTITY = {"type": ["string", "integer"], "pattern": r"^[0-9]+(\.[0-9]+)?(([KMGTPE]i)|[numkMGTPE])?$"}
POD = fields(
    "containers",
    containers=each(
        fields(
            "name image",
            name=TEXT,
            image=TEXT,
            resources=fields(requests=mapping(QUANTITY), limits=mapping(QUANTITY)),
            volumeMounts=each(fields("name mountPath", name=TEXT, mountPath=TEXT, readOnly=YES_NO)),
            env=each(fields("name", name=TEXT, value=TEXT)),
        )
    ),
    volumes=each(fields("name", name=TEXT, persistentVolumeClaim=fields("claimName", claimName=TEXT, readOnly=YES_NO))),
    restartPolicy={"enum": ["Never"]},
)
GROUP = {"rayStartParams": mapping(TEXT), "template": fields("spec", metadata={"type": "object"}, spec=POD)}
RAY_CLUSTER = fields(
    "headGroupSpec",
    rayVersion=TEXT,
    authOptions=fields(mode={"enum": ["token", "disabled"]}, secretName=TEXT),
    enableInTreeAutoscaling=YES_NO,
    headGroupSpec=fields("template", **GROUP),
    workerGroupSpecs=each(
        fields(
            "groupName minReplicas maxReplicas template",
            groupName=TEXT,
            replicas=COUNT,
            minReplicas=COUNT,
            maxReplicas=COUNT,
            idleTimeoutSeconds=COUNT,
            **GROUP,
        )
    ),
)
RAY_JOB = fields(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=fields("name", name={"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 47}),
    spec=fields(
        "entrypoint rayClusterSpec",
        entrypoint=TEXT,
        entrypointNumCpus=NUMBER,
        entrypointNumGpus=NUMBER,
        shutdownAfterJobFinishes=YES_NO,
        ttlSecondsAfterFinished=COUNT,
        activeDeadlineSeconds={"type": "integer", "minimum": 1},
        backoffLimit=COUNT,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"]},
        rayClusterSpec=RAY_CLUSTER,
    ),
)
SKY_TASK = fields(
    name=TEXT,
    num_nodes={"type": "integer", "minimum": 1},
    resources=fields(
        accelerators=TEXT, use_spot=YES_NO, infra=TEXT, cpus={"type": ["string", "number"]},
        memory={"type": ["string", "number"]}, disk_size={"type": ["string", "integer"]}, image_id=TEXT,
    ),
    file_mounts=mapping(fields("source", source=TEXT, mode={"enum": ["MOUNT", "COPY", "MOUNT_CACHED"]}), "^[/~]"),
    volumes=mapping(TEXT, "^/"),
    envs=mapping({"type": ["string", "null"]}, "^[a-zA-Z_][a-zA-Z0-9_]*$"),
    setup=TEXT,
    run=TEXT,
)  # fmt: skip


def found() -> list[dict[str, Any]]:
    return [yaml.safe_load(block.text) for block in blocks("yaml") if block.page == PAGE]


@pytest.fixture
def job() -> dict[str, Any]:
    return found()[0]


@pytest.fixture
def task() -> dict[str, Any]:
    return found()[1]


def faults(value: Any, schema: dict[str, Any]) -> list[str]:
    return [error.message for error in Draft202012Validator(schema).iter_errors(value)]


def groups(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def containers(job: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for group in groups(job) for one in group["template"]["spec"]["containers"]]


def below(path: str, folders: list[str]) -> bool:
    return any(PurePosixPath(path).is_relative_to(folder) for folder in folders)


def paths_of(command: str) -> list[str]:
    return [word for word in shlex.split(command) if word.startswith("/")]


def test_every_file_of_the_page_is_held_here() -> None:
    assert [sorted(one)[:2] for one in found()] == [["apiVersion", "kind"], ["envs", "file_mounts"]]


def test_fields_are_those_of_the_programs(job: dict[str, Any], task: dict[str, Any]) -> None:
    assert faults(job, RAY_JOB) == []
    assert faults(task, SKY_TASK) == []


def rename(job: dict[str, Any]) -> None:
    job["spec"]["backofLimit"] = job["spec"].pop("backoffLimit")


def number(job: dict[str, Any]) -> None:
    groups(job)[0]["rayStartParams"]["num-cpus"] = 0


def quantity(job: dict[str, Any]) -> None:
    containers(job)[1]["resources"]["limits"]["memory"] = "32 GB"


def deeper(job: dict[str, Any]) -> None:
    groups(job)[1]["template"]["spec"]["containers"][0]["volumemounts"] = []


@pytest.mark.parametrize("spoil", [rename, number, quantity, deeper])
def test_a_wrong_field_would_be_seen(spoil: Callable[[dict[str, Any]], None], job: dict[str, Any]) -> None:
    spoiled = copy.deepcopy(job)
    spoil(spoiled)
    assert faults(spoiled, RAY_JOB)


def test_what_the_operator_checks_holds(job: dict[str, Any]) -> None:
    cluster = job["spec"]["rayClusterSpec"]
    version = tuple(map(int, cluster["rayVersion"].split(".")))
    assert version >= (2, 52)  # else no authOptions
    assert f"\nray=={cluster['rayVersion']}\n" in (ROOT / "constraints.txt").read_text()
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    assert cluster["workerGroupSpecs"][0]["maxReplicas"] == int(job["spec"]["entrypoint"].rpartition("--workers ")[2])


def test_pods_have_what_they_mount_and_limits_of_what_they_ask_for(job: dict[str, Any]) -> None:
    for group in groups(job):
        pod = group["template"]["spec"]
        for container in pod["containers"]:
            assert {one["name"] for one in container["volumeMounts"]} <= {one["name"] for one in pod["volumes"]}
            # Kubernetes wants both to be the same for GPUs; Ray takes the processors of a node from the limits
            assert container["resources"]["requests"] == container["resources"]["limits"]
    assert len({container["image"] for container in containers(job)}) == 1
    claims = {
        one["persistentVolumeClaim"]["claimName"] for g in groups(job) for one in g["template"]["spec"]["volumes"]
    }
    assert len(claims) == 1


def test_the_job_is_a_command_whose_files_every_pod_has(job: dict[str, Any]) -> None:
    arguments = arguments_of(job["spec"]["entrypoint"])
    assert arguments is not None
    assert complaint(arguments) == ""
    files = paths_of(job["spec"]["entrypoint"])
    assert len(files) == 2
    for container in containers(job):
        assert all(below(path, [one["mountPath"] for one in container["volumeMounts"]]) for path in files)


def test_a_worker_of_the_page_fits_into_a_pod(job: dict[str, Any]) -> None:
    said = re.search(r"the recipe says what a worker gets: `cpus = (\d+)` and `gpus = (\d+)`", PAGE.read_text())
    assert said is not None
    limits = containers(job)[1]["resources"]["limits"]
    assert (limits["cpu"], limits["nvidia.com/gpu"]) == (said[1], said[2])


def test_the_task_is_a_script_whose_run_lies_on_what_it_mounts(task: dict[str, Any]) -> None:
    for part in ("setup", "run"):
        subprocess.run(["bash", "-n"], input=task[part], text=True, check=True)
    [command] = [line.strip() for line in task["run"].splitlines() if line.strip().startswith("mmkd ")]
    arguments = arguments_of(command)
    assert arguments is not None
    assert complaint(arguments) == ""
    mounted = re.findall(r"mount -t nfs4? \S+ (/\S+)", task["setup"])
    assert mounted
    assert all(below(path, mounted) for path in paths_of(command))
    assert set(re.findall(r"\$(?!SKYPILOT)(\w+)", task["setup"] + task["run"])) <= task["envs"].keys()
