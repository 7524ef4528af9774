"""The recipe of docs/operations.md, as it stands there: what it backs up is what it restores."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests import lanes
from tests.servers import (
    LOOPBACK,
    REPOSITORY,
    LiveDatabases,
    MissingPart,
    PostgresServer,
    postgres_binaries,
    product_environment,
    product_settings,
    run_manage,
)

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
FILL = """
from datetime import UTC, datetime
from stations.models import ChargePoint, MeterValue, OcppMessage
from tenants.models import Tenant
from tenants.scope import tenant_scope
for slug in ("alpha", "beta"):
    with tenant_scope(Tenant.objects.create(slug=slug, name=slug)):
        # What ends a table in a dump is a line of backslash and full stop.
        charge_point = ChargePoint.objects.create(identity="CP-" + slug, description="one\\n\\\\.\\ntwo\\ttabs \\\\.")
        for day in range(1, 4):
            at = datetime(2026, day, 1, tzinfo=UTC)
            MeterValue.objects.create(
                charge_point=charge_point, connector_id=1, timestamp=at, received_at=at,
                sampled_value=[{"value": str(day)}], digest=day)
"""
SHOWN = """
from stations.models import ChargePoint, MeterValue
from tenants.models import Tenant
from tenants.scope import tenant_scope
for tenant in Tenant.objects.order_by("slug"):
    with tenant_scope(tenant):
        print(tenant.slug, ChargePoint.objects.get().description.encode(), MeterValue.objects.count())
"""


def commands(heading: str) -> list[str]:
    """The blocks of shell commands below a heading of the document, in their order."""
    document = (REPOSITORY / "docs" / "operations.md").read_text()
    _, _, section = document.partition(f"\n### {heading}\n")
    found = BLOCK.findall(re.split(r"^##", section, maxsplit=1, flags=re.MULTILINE)[0])
    assert found, heading
    return found


def execute(block: str, environment: Mapping[str, str]) -> str:
    """Run a block as a user's bash would; what it printed. AssertionError when a command of it fails."""
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=REPOSITORY, env=dict(environment), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, f"{block}\nended with {run.returncode}:\n{run.stdout}\n{run.stderr}"
    return run.stdout


def fill(environment: Mapping[str, str]) -> None:
    """Two tenants with rows that a dump might mistake for something else."""
    run_manage("shell", "--no-imports", "-c", FILL, env=environment)


def shown(environment: Mapping[str, str]) -> str:
    return run_manage("shell", "--no-imports", "-c", SHOWN, env=environment)


class TestPostgreSQL:
    pytestmark = pytest.mark.postgres

    @pytest.fixture
    def server(self) -> Iterator[PostgresServer]:
        """A PostgreSQL of this test's own: the recipe makes roles and databases under the names it has in the text."""
        server = PostgresServer()
        try:
            server.start()
        except MissingPart as part:
            lanes.missing_part(str(part))
        yield server
        server.close()

    def test_recipe_gives_back_every_row_of_every_tenant(self, server: PostgresServer, tmp_path: Path) -> None:
        programs = postgres_binaries()
        for program in ("psql", "pg_dump", "pg_restore"):
            if not (programs / program).exists():
                lanes.missing_part(f"no {program} beside {programs / 'postgres'}")
        passwords = {name: secrets.token_hex(12) for name in ("csms", "csms_backup")}
        with psycopg.connect(server.admin_url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE csms LOGIN PASSWORD '{passwords['csms']}' NOSUPERUSER NOBYPASSRLS")
            connection.execute("CREATE DATABASE csms OWNER csms")
            passwords["postgres"] = urlsplit(server.admin_url).password or ""
        pgpass = tmp_path / "pgpass"
        pgpass.write_text("".join(f"*:*:*:{name}:{password}\n" for name, password in passwords.items()))
        pgpass.chmod(0o600)
        for folder in ("backup", "files/alpha"):
            (tmp_path / folder).mkdir(parents=True)
        (tmp_path / "files" / "alpha" / "image.bin").write_bytes(b"firmware")
        url = f"postgres://csms@{LOOPBACK}:{server.port}/csms"
        environment = product_environment(product_settings(url, None, tmp_path)) | {
            "PATH": os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PGHOST": LOOPBACK,
            "PGPORT": str(server.port),
            "PGPASSFILE": str(pgpass),
            "BACKUP_DIR": str(tmp_path / "backup"),
            "BACKUP_PASSWORD": passwords["csms_backup"],
            "CSMS_MEDIA_DIR": str(tmp_path / "files"),
        }
        run_manage("migrate", "--verbosity", "0", env=environment)
        fill(environment)
        before = shown(environment)

        role, dump, restore, check, look = commands("PostgreSQL")
        execute(role, environment)
        execute(dump, environment)
        execute(restore, environment)
        assert execute(check, environment) == ""
        execute(look, environment)
        counted = execute(f"{check}\nrows_of_dump $BACKUP_DIR/csms.dump", environment).split("\n")
        assert {"stations_chargepoint 2", "tenants_tenant 2"} <= set(counted)
        restored = environment | {"CSMS_DATABASE_URL": url + "_restored"}
        assert shown(restored) == before
        assert before.count("\n") == 2
        assert (tmp_path / "files.restored" / "alpha" / "image.bin").read_bytes() == b"firmware"
        assert (tmp_path / "backup" / "csms.dump").stat().st_mode & 0o077 == 0

        # The check is able to fail, and the product's own role is no role for backups.
        with psycopg.connect(server.admin_url.rpartition("/")[0] + "/csms_restored", autocommit=True) as connection:
            connection.execute("DELETE FROM stations_metervalue WHERE id = (SELECT min(id) FROM stations_metervalue)")
        with pytest.raises(AssertionError, match="stations_metervalue"):
            execute(check, environment)
        with pytest.raises(AssertionError, match="row-level security"):
            execute(dump.replace("csms_backup", "csms"), environment)


class TestSqlite:
    pytestmark = pytest.mark.sqlite

    def test_recipe_gives_back_every_row_of_every_tenant(self, tmp_path: Path, live_databases: LiveDatabases) -> None:
        if shutil.which("sqlite3") is None:
            lanes.missing_part("no sqlite3: install the package of that name")
        data, backup = tmp_path / "data", tmp_path / "backup"
        (data / "files").mkdir(parents=True)
        (data / "files" / "image.bin").write_bytes(b"firmware")
        backup.mkdir()
        live_databases.copy(data / "csms.sqlite3")
        settings = {"CSMS_DATA_DIR": str(data)}
        environment = product_environment(settings) | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "DATA": str(data),
            "BACKUP_DIR": str(backup),
        }
        fill(environment)
        before = shown(environment)

        dump, restore, check = commands("SQLite")
        execute(dump, environment)
        execute(restore, environment)
        assert execute(check, environment).splitlines()[0] == "ok"
        restored = tmp_path / "data.restored"
        assert shown(environment | {"CSMS_DATA_DIR": str(restored)}) == before
        assert (restored / "files" / "image.bin").read_bytes() == b"firmware"
        assert (restored / "secret_key").read_text() == (data / "secret_key").read_text()

        execute(f"sqlite3 {restored}/csms.sqlite3 'DELETE FROM stations_metervalue WHERE id = 1'", environment)
        with pytest.raises(AssertionError, match="stations_metervalue"):
            execute(check, environment)
