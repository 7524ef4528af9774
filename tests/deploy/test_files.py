"""The files of deploy/ against the product: every setting, command, path and port they name is one that exists.

No container runtime, cluster or init system is needed: what can be judged by reading is judged here, with systemd's and
kubectl's own programs where they are installed.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from celery.bin.celery import celery as celery_command
from django.core.management import get_commands, load_command_class
from django.urls import Resolver404, resolve
from django.utils.module_loading import import_string

from csms import __version__, server, settings
from tests.servers import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
KUBERNETES, SYSTEMD = DEPLOY / "kubernetes", DEPLOY / "systemd"
OUR_IMAGES = (f"csms:{__version__}", f"registry.example.com/csms:{__version__}")
# Seconds that a process may take beyond the two settings before it, or its supervisor, gives up.
OVERTIME_SECONDS = max(server.OVERTIME_SECONDS, server.CHILD_OVERTIME_SECONDS)
PORTS = {"http": 8000, "tls": 8443, "mtls": 8444}


# --- what is read -----------------------------------------------------------------------------------------------------
def unit(name: str) -> dict[str, list[str]]:
    """The directives of a unit together with those that all units share, by name; a directive may come repeatedly."""
    found: dict[str, list[str]] = {}
    for path in (SYSTEMD / "csms-.service.d" / "common.conf", SYSTEMD / name):
        for line in path.read_text().splitlines():
            if "=" in line and not line.startswith("#"):
                directive, _, value = line.partition("=")
                found.setdefault(directive, []).append(value)
    return found


def services() -> list[str]:
    return sorted(path.name for path in SYSTEMD.glob("*.service"))


def env_file() -> dict[str, str]:
    lines = (SYSTEMD / "csms.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))  # type: ignore[misc]


@cache
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))


def product_services() -> dict[str, dict[str, Any]]:
    """The services of compose.yaml that run the product, by name."""
    return {name: service for name, service in compose()["services"].items() if service["image"] in OUR_IMAGES}


@cache
def objects(kind: str | None = None) -> list[dict[str, Any]]:
    """The Kubernetes objects of all files, or those of a kind."""
    found = [
        document
        for path in sorted(KUBERNETES.glob("*.yaml"))
        if path.name != "kustomization.yaml"
        for document in yaml.safe_load_all(path.read_text())
    ]
    return [document for document in found if kind in (None, document["kind"])]


def workloads() -> dict[str, dict[str, Any]]:
    """Pod specifications by the name of their Deployment or Job."""
    return {
        document["metadata"]["name"]: document["spec"]["template"]["spec"]
        for document in (*objects("Deployment"), *objects("Job"))
    }


def config_map() -> dict[str, str]:
    (found,) = objects("ConfigMap")
    return dict(found["data"])


def dockerfile() -> list[tuple[str, list[str]]]:
    """The instructions of the Dockerfile in order, continued lines joined: ("COPY", ["manage.py", …])."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], shlex.split(line)[1:]) for line in lines]


def commands() -> Iterator[tuple[str, list[str]]]:
    """Where each command of the product stands, and its words."""
    for name in services():
        for line in unit(name)["ExecStart"]:
            yield name, line.replace("%i", "8000").split()
    for name, service in product_services().items():
        if "command" in service:
            yield f"compose {name}", service["command"]
    for name, spec in workloads().items():
        yield f"kubernetes {name}", spec["containers"][0]["command"]
    (start,) = [words for instruction, words in dockerfile() if instruction == "CMD"]
    yield "Dockerfile", [word.strip("[],") for word in start]


def seconds(text: str) -> int:
    """A duration of compose: 45s, 5m."""
    return int(text[:-1]) * {"s": 1, "m": 60}[text[-1]]


def setting_names() -> set[str]:
    return set(re.findall(r'"([A-Z_]*CSMS_[A-Z_]+)"', Path(settings.__file__).read_text()))


# --- names ------------------------------------------------------------------------------------------------------------
class TestNames:
    def test_every_variable_is_a_setting(self) -> None:
        named = set(env_file()) | set(config_map())
        for secret in objects("Secret"):
            named |= set(secret["stringData"])
        for service in product_services().values():
            named |= set(service["environment"])
        copied = "\n".join(path.read_text() for path in (DEPLOY / "Dockerfile", *SYSTEMD.rglob("*.service")))
        named |= set(re.findall(r"CSMS_[A-Z_]+", copied))
        assert {name.removesuffix("_FILE") for name in named} - setting_names() == set()

    @pytest.mark.parametrize(
        ("where", "words"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
    )
    def test_every_command_is_one_that_its_program_understands(self, where: str, words: list[str]) -> None:
        program, *arguments = words
        if program.endswith("celery"):
            assert arguments[:2] == ["-A", "csms"]
            command = celery_command.commands[arguments[2]]
            # Raises click.UsageError for options that do not exist.
            command.make_parser(click.Context(command)).parse_args(list(arguments[3:]))
        else:
            assert (Path(program).name, arguments[0]) == ("python", "manage.py")
            app = get_commands()[arguments[1]]
            parser = load_command_class(app, arguments[1]).create_parser("manage.py", arguments[1])
            parser.parse_args(arguments[2:])

    def test_beats_schedule_lives_in_memory_for_there_is_no_folder_to_write_to(self) -> None:
        named = {words[words.index("--scheduler") + 1] for _, words in commands() if "--scheduler" in words}
        assert named == {"celery.beat:Scheduler"}
        assert import_string("celery.beat.Scheduler")

    def test_probes_ask_for_paths_and_ports_that_exist_and_a_host_that_is_served(self) -> None:
        (container,) = workloads()["csms-server"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert ports == PORTS
        for probe, path in (
            ("startupProbe", "/healthz/"),
            ("livenessProbe", "/healthz/"),
            ("readinessProbe", "/readyz/"),
        ):
            request = container[probe]["httpGet"]
            assert (request["path"], request["port"]) == (path, "http")
            assert request["httpHeaders"] == [{"name": "Host", "value": "localhost"}]
        in_image = " ".join(next(words for instruction, words in dockerfile() if instruction == "HEALTHCHECK"))
        in_proxy = (DEPLOY / "haproxy.cfg").read_text()
        assert re.findall(r"http://localhost:(\d+)(/[a-z]+/)", in_image) == [("8000", "/healthz/")]
        assert re.findall(r"uri (\S+) ver HTTP/1.1 hdr Host (\S+)", in_proxy) == [("/readyz/", "localhost")]
        for hosts in (
            config_map()["CSMS_ALLOWED_HOSTS"],
            env_file()["CSMS_ALLOWED_HOSTS"],
            *(service["environment"]["CSMS_ALLOWED_HOSTS"] for service in product_services().values()),
        ):
            assert "localhost" in hosts.split(",")
        for path in ("/healthz/", "/readyz/"):
            try:
                resolve(path)
            except Resolver404:
                pytest.fail(f"no such path: {path}")

    def test_ports_are_the_same_everywhere(self) -> None:
        for where, words in commands():
            line = " ".join(words).replace("=", " ")
            for option, port in (("--port", 8000), ("--tls-port", 8443), ("--mtls-port", 8444)):
                for found in re.findall(rf"(?<!\S){option} (\d+)", line):
                    assert int(found) == port, where
        (exposed,) = [words for instruction, words in dockerfile() if instruction == "EXPOSE"]
        assert sorted(map(int, exposed)) == sorted(PORTS.values())
        policies = [policy["spec"] for policy in objects("NetworkPolicy")]
        let_in = [entry["port"] for spec in policies for rule in spec.get("ingress", []) for entry in rule["ports"]]
        assert sorted(let_in) == sorted(PORTS.values())
        proxy = compose()["services"]["proxy"]
        binds = re.findall(r"bind :(\d+) ", (DEPLOY / "haproxy.cfg").read_text())
        assert proxy["ports"] == [f"{port}:{port}" for port in binds]


# --- time to stop -----------------------------------------------------------------------------------------------------
class TestTimeToStop:
    """Whoever ends a process gives it more than it takes by its own settings."""

    def needed(self, environment: dict[str, str]) -> float:
        return (
            int(environment["CSMS_READINESS_GRACE_SECONDS"])
            + int(environment["CSMS_SHUTDOWN_SECONDS"])
            + OVERTIME_SECONDS
        )

    def test_systemd(self) -> None:
        directives = unit("csms-server@.service")
        assert int(directives["TimeoutStopSec"][-1]) > self.needed(env_file())
        # A signal to all processes at once would count as a second one in those that have a supervisor.
        assert (directives["KillMode"], directives["KillSignal"]) == (["mixed"], ["SIGTERM"])

    def test_compose(self) -> None:
        for name in ("server-1", "server-2"):
            service = product_services()[name]
            assert seconds(service["stop_grace_period"]) > self.needed(service["environment"])
        assert ("STOPSIGNAL", ["SIGTERM"]) in dockerfile()

    def test_kubernetes(self) -> None:
        spec = workloads()["csms-server"]
        (container,) = spec["containers"]
        pause = container["lifecycle"]["preStop"]["exec"]["command"]
        assert pause[0] == "sleep"
        assert spec["terminationGracePeriodSeconds"] > int(pause[1]) + self.needed(config_map())

    def test_balancers_see_a_stopping_process_before_it_refuses_anybody(self) -> None:
        (interval, falls) = re.findall(r"check inter (\d+)s fall (\d+)", (DEPLOY / "haproxy.cfg").read_text())[0]
        graces = [env_file(), config_map(), *(service["environment"] for service in product_services().values())]
        for environment in graces:
            assert int(environment["CSMS_READINESS_GRACE_SECONDS"]) > int(interval) * int(falls)
        probe = workloads()["csms-server"]["containers"][0]["readinessProbe"]
        assert int(config_map()["CSMS_READINESS_GRACE_SECONDS"]) > probe["periodSeconds"] * probe["failureThreshold"]

    def test_workers_have_as_long_as_a_job_may_be_out_of_sight(self) -> None:
        patience = 300
        assert int(unit("csms-worker.service")["TimeoutStopSec"][-1]) >= patience
        assert seconds(product_services()["worker"]["stop_grace_period"]) >= patience
        assert workloads()["csms-worker"]["terminationGracePeriodSeconds"] >= patience

    def test_room_for_ten_thousand_sockets(self) -> None:
        assert int(unit("csms-server@.service")["LimitNOFILE"][-1]) >= 4 * 10_000
        for name in ("server-1", "server-2", "proxy"):
            assert compose()["services"][name]["ulimits"]["nofile"]["soft"] >= 4 * 10_000


# --- image ------------------------------------------------------------------------------------------------------------
class TestImage:
    def test_what_is_copied_exists_and_reaches_the_builder(self) -> None:
        ignored = [
            line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line[:1] not in ("", "#")
        ]
        copied = []
        for instruction, words in dockerfile():
            if instruction == "COPY" and not words[0].startswith("--from"):
                copied += words[:-1]
        assert "requirements/base.txt" in copied
        for source in copied:
            assert (REPOSITORY / source).exists(), source
            assert f"!{source.rstrip('/')}" in ignored, source
        assert ignored[0] == "*"

    def test_all_packages_of_the_product_are_in_it(self) -> None:
        copied = {word.rstrip("/") for instruction, words in dockerfile() if instruction == "COPY" for word in words}
        packages = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")} - {"tests"}
        assert packages | {"templates", "manage.py"} <= copied

    def test_no_secret_and_no_data_reaches_the_builder(self) -> None:
        let_in = [line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")]
        for name in (
            ".git",
            ".env",
            "var/secret_key",
            "deploy/secrets/secret_key",
            "deploy/tls/server.pem.rsa",
            ".venv",
        ):
            assert not any(name == one or name.startswith(f"{one}/") for one in let_in), name
        set_in_image = " ".join(word for instruction, words in dockerfile() if instruction == "ENV" for word in words)
        assert not re.search(r"SECRET|PASSWORD|TOKEN|DATABASE_URL", set_in_image)

    def test_runs_as_nobody_special_with_what_was_released(self) -> None:
        instructions = dockerfile()
        assert ("USER", ["10001:10001"]) in instructions
        # After everything that needs root, before the command.
        names = [name for name, _ in instructions]
        assert names.index("USER") > max(index for index, name in enumerate(names) if name in ("RUN", "COPY"))
        installed = next(" ".join(words) for name, words in instructions if name == "RUN" and "pip" in " ".join(words))
        assert "--require-hashes" in installed
        assert "--only-binary=:all:" in installed
        for name, spec in workloads().items():
            assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsNonRoot"]) == (10001, True), (
                name
            )

    def test_images_are_pinned_and_ours_has_the_version_of_the_product(self) -> None:
        images = [service["image"] for service in compose()["services"].values()]
        images += [container["image"] for spec in workloads().values() for container in spec["containers"]]
        images += [words[0].partition("=")[2] for name, words in dockerfile() if name == "ARG"]
        for image in images:
            name, _, tag = image.rpartition(":")
            assert image in OUR_IMAGES or re.fullmatch(r"\d+\.\d+(\.\d+)?(-\w+)+", tag), image
            assert not name.endswith("csms") or image in OUR_IMAGES, image
        stages = [words[0] for name, words in dockerfile() if name == "FROM"]
        assert stages == ["${PYTHON_IMAGE}"] * 2


# --- compose ----------------------------------------------------------------------------------------------------------
class TestCompose:
    def test_what_a_service_refers_to_is_defined(self) -> None:
        whole = compose()
        named = {"secrets": whole["secrets"], "volumes": whole["volumes"], "networks": whole["networks"]}
        for name, service in whole["services"].items():
            assert set(service.get("secrets", [])) <= set(named["secrets"]), name
            assert set(service["networks"]) <= set(named["networks"]), name
            assert set(service.get("depends_on", [])) <= set(whole["services"]), name
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                if source.startswith("./tls"):
                    continue  # the operator's own
                assert source in named["volumes"] or (DEPLOY / source).exists(), volume
            for secret in service.get("environment", {}).values():
                if str(secret).startswith("/run/secrets/"):
                    assert Path(secret).name in service["secrets"], name

    def test_who_is_waited_for_says_when_it_is_ready(self) -> None:
        all_services = compose()["services"]
        for name, service in all_services.items():
            needs = service.get("depends_on", {})
            for other, how in needs.items() if isinstance(needs, dict) else ():
                if how["condition"] == "service_healthy":
                    assert "test" in all_services[other]["healthcheck"], f"{name} waits for {other}"
                else:
                    assert how == {"condition": "service_completed_successfully"}
                    assert all_services[other]["restart"] == "no"
        for name in ("server-1", "server-2", "worker", "beat"):
            assert "migrate" in all_services[name]["depends_on"]

    def test_proxy_is_the_one_that_is_trusted_and_knows_both_servers(self) -> None:
        all_services = compose()["services"]
        addresses = {
            name: service["networks"]["inner"]["ipv4_address"]
            for name, service in all_services.items()
            if isinstance(service["networks"], dict)
        }
        assert set(addresses) == {"proxy", "server-1", "server-2"}
        for service in product_services().values():
            assert service["environment"]["CSMS_TRUSTED_PROXIES"] == addresses["proxy"]
        assert all_services["proxy"]["environment"] == {
            "SERVER_ONE": f"{addresses['server-1']}:8000",
            "SERVER_TWO": f"{addresses['server-2']}:8000",
        }
        used = re.findall(r"\$\{(\w+)", (DEPLOY / "haproxy.cfg").read_text())
        assert sorted(used) == ["SERVER_ONE", "SERVER_TWO"]

    def test_only_the_proxy_is_reached_from_outside(self) -> None:
        assert [name for name, service in compose()["services"].items() if "ports" in service] == ["proxy"]

    def test_database_role_is_made_by_a_script_that_can_be_run(self) -> None:
        script = DEPLOY / "compose" / "postgres-role.sh"
        assert os.stat(script).st_mode & stat.S_IXOTH
        assert subprocess.run(["sh", "-n", script], check=False).returncode == 0
        assert "NOSUPERUSER NOBYPASSRLS" in script.read_text()

    def test_secrets_are_in_no_repository(self) -> None:
        ignored = (REPOSITORY / ".gitignore").read_text().splitlines()
        for folder in ("/deploy/secrets/", "/deploy/tls/"):
            assert folder in ignored
        for secret in compose()["secrets"].values():
            assert secret["file"].startswith("./secrets/")


# --- kubernetes -------------------------------------------------------------------------------------------------------
class TestKubernetes:
    def test_files_are_those_of_the_kustomization_and_two_more(self) -> None:
        kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
        apart = {"kustomization.yaml", "migrate.yaml", "secret.example.yaml"}
        assert set(kustomization["resources"]) == {path.name for path in KUBERNETES.glob("*.yaml")} - apart

    def test_objects_are_of_known_kinds_and_of_one_namespace(self) -> None:
        versions = {
            "Namespace": "v1", "ConfigMap": "v1", "Secret": "v1", "Service": "v1", "PersistentVolumeClaim": "v1",
            "Deployment": "apps/v1", "Job": "batch/v1", "PodDisruptionBudget": "policy/v1",
            "NetworkPolicy": "networking.k8s.io/v1",
        }  # fmt: skip
        seen = set()
        for document in objects():
            name = document["metadata"]["name"]
            assert document["apiVersion"] == versions[document["kind"]], name
            assert document["metadata"].get("namespace", name) == "csms"
            assert (document["kind"], name) not in seen
            seen.add((document["kind"], name))

    def test_selectors_find_the_pods_they_mean(self) -> None:
        labels = {
            document["metadata"]["name"]: document["spec"]["template"]["metadata"]["labels"]
            for document in (*objects("Deployment"), *objects("Job"))
        }
        for document in objects("Deployment"):
            selector = document["spec"]["selector"]["matchLabels"]
            assert [name for name, own in labels.items() if selector.items() <= own.items()] == [
                document["metadata"]["name"]
            ]
        for document in objects("Service"):
            assert document["spec"]["selector"] == {"app.kubernetes.io/name": "csms-server"}
            for port in document["spec"]["ports"]:
                assert port["targetPort"] in PORTS
        (budget,) = objects("PodDisruptionBudget")
        assert budget["spec"]["selector"]["matchLabels"] == {"app.kubernetes.io/name": "csms-server"}
        # One may always go, or no node could ever be emptied.
        (servers,) = [one for one in objects("Deployment") if one["metadata"]["name"] == "csms-server"]
        assert servers["spec"]["replicas"] > budget["spec"]["maxUnavailable"] == 1

    def test_pods_keep_to_the_restricted_standard(self) -> None:
        (namespace,) = objects("Namespace")
        assert namespace["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}
        for name, spec in workloads().items():
            assert spec["automountServiceAccountToken"] is False, name
            assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
            for container in spec["containers"]:
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }, name
                assert container["resources"]["limits"]["memory"]
                assert container["resources"]["requests"]["cpu"]

    def test_volumes_and_settings_that_are_used_are_there(self) -> None:
        claims = {document["metadata"]["name"] for document in objects("PersistentVolumeClaim")}
        for name, spec in workloads().items():
            volumes = {volume["name"]: volume for volume in spec["volumes"]}
            mounted = set()
            for container in spec["containers"]:
                assert container["envFrom"] == [{"configMapRef": {"name": "csms"}}, {"secretRef": {"name": "csms"}}]
                for mount in container["volumeMounts"]:
                    assert mount["name"] in volumes, name
                    mounted.add(mount["mountPath"])
                assert {config_map()["CSMS_DATA_DIR"], config_map()["CSMS_MEDIA_DIR"], "/tmp"} <= mounted  # noqa: S108
            for volume in volumes.values():
                claim = volume.get("persistentVolumeClaim", {}).get("claimName")
                assert claim is None or claim in claims
        words = workloads()["csms-server"]["containers"][0]["command"]
        mounts = {mount["mountPath"] for mount in workloads()["csms-server"]["containers"][0]["volumeMounts"]}
        for word in words:
            if word.startswith(("--tls-cert", "--tls-key")):
                assert str(Path(word.partition("=")[2]).parent) in mounts

    def test_one_beat_also_while_it_is_replaced(self) -> None:
        (beat,) = [
            document["spec"] for document in objects("Deployment") if document["metadata"]["name"] == "csms-beat"
        ]
        assert (beat["replicas"], beat["strategy"]) == (1, {"type": "Recreate"})

    def test_no_secret_is_in_the_files(self) -> None:
        for secret in objects("Secret"):
            for name, value in secret["stringData"].items():
                assert value == "" or "PASSWORD" in value, name

    def test_kubectl_builds_it(self) -> None:
        if shutil.which("kubectl") is None:
            pytest.skip("kubectl is not installed")
        done = subprocess.run(["kubectl", "kustomize", KUBERNETES], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert len(list(yaml.safe_load_all(done.stdout))) == len(objects()) - 2


# --- systemd ----------------------------------------------------------------------------------------------------------
class TestSystemd:
    def test_target_wants_what_there_is(self) -> None:
        wanted = re.findall(r"^Wants=(.*)$", (SYSTEMD / "csms.target").read_text(), re.MULTILINE)[0].split()
        names = [re.sub(r"@\d+", "@", name) for name in wanted]
        assert set(services()) - set(names) == {"csms-migrate.service"}
        # The ports that deploy/haproxy.cfg and deploy/nginx.conf know first.
        assert "csms-server@8000.service" in wanted
        for name in set(names):
            assert unit(name)["After"][-1] == "csms-migrate.service"

    def test_server_says_when_it_is_ready(self) -> None:
        directives = unit("csms-server@.service")
        assert (directives["Type"], directives["NotifyAccess"]) == (["notify"], ["all"])

    def test_where_it_may_write_is_where_its_data_are(self) -> None:
        directives = unit("csms-server@.service")
        assert directives["ProtectSystem"] == ["strict"]
        assert env_file()["CSMS_DATA_DIR"] == f"/var/lib/{directives['StateDirectory'][0]}"

    def test_example_settings_hold_no_secret(self) -> None:
        assert env_file()["CSMS_SECRET_KEY"] == ""
        assert fnmatch.fnmatch(env_file()["CSMS_DATABASE_URL"], "*:change-me@*")

    def test_systemd_finds_nothing_wrong(self, tmp_path: Path) -> None:
        if shutil.which("systemd-analyze") is None:
            pytest.skip("systemd is not installed")
        programs = tmp_path / "opt/csms/.venv/bin"
        programs.mkdir(parents=True)
        for name in ("python", "celery"):
            (programs / name).symlink_to(sys.executable)
        shutil.copytree(SYSTEMD, tmp_path / "units")
        for path in [*(tmp_path / "units").rglob("*.service"), *(tmp_path / "units").rglob("*.conf")]:
            if path.is_file():
                path.write_text(path.read_text().replace("/opt/csms", str(tmp_path / "opt/csms")))
        units = [tmp_path / "units" / name for name in (*services(), "csms.target")]
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
