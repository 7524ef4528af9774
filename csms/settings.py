"""Settings: the only file that reads the environment.

Variables start with CSMS_; durations end in _SECONDS. A secret may also come from the file that NAME_FILE points to.
A value that is missing or wrong stops the start with a sentence that says which one and why.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from csms import logs

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.FileAwareEnv()


def _number(name: str, default: int, minimum: int) -> int:
    """Integer environment variable `name`, at least `minimum`."""
    try:
        value = env.int(name, default=default)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be a whole number.") from error
    if value < minimum:
        raise ImproperlyConfigured(f"{name} must be at least {minimum}, not {value}.")
    return int(value)


def _url(name: str, scheme: str) -> str:
    """Environment variable `name`, a URL of this scheme without what follows its path; "" when it is not set."""
    value = str(env.str(name, default="")).rstrip("/")
    if value and not (value.startswith(f"{scheme}://") and urlsplit(value).hostname):
        raise ImproperlyConfigured(f"{name} must start with {scheme}:// and name a host.")
    return value


def _data_dir() -> Path:
    path = Path(env.str("CSMS_DATA_DIR", default=str(BASE_DIR / "var")))
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(f"CSMS_DATA_DIR, {path}, cannot be made: {error.strerror}.") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise ImproperlyConfigured(f"CSMS_DATA_DIR, {path}, cannot be written to by this user.")
    return path


def _secret_key() -> str:
    """The configured key, or one made once and kept beside the SQLite database of a small installation."""
    key = env.str("CSMS_SECRET_KEY", default="")
    if key:
        if len(key) < 32:
            raise ImproperlyConfigured("CSMS_SECRET_KEY must have at least 32 characters.")
        return str(key)
    if REDIS_URL or not DATABASE_URL.startswith("sqlite"):
        raise ImproperlyConfigured(
            "CSMS_SECRET_KEY must be set when PostgreSQL or Redis is used (32 characters or more)."
        )
    path = DATA_DIR / "secret_key"
    if not path.exists():
        fresh = path.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
        try:
            # A link appears whole or not at all, and fails when another process was first.
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text().strip()


DATA_DIR = _data_dir()
DEBUG = env.bool("CSMS_DEBUG", default=False)
DATABASE_URL: str = env.str("CSMS_DATABASE_URL", default=f"sqlite:///{DATA_DIR / 'csms.sqlite3'}")
REDIS_URL: str = env.str("CSMS_REDIS_URL", default="")
SECRET_KEY = _secret_key()
ALLOWED_HOSTS: list[str] = env.list("CSMS_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSMS_CSRF_TRUSTED_ORIGINS", default=[])

# --- what is ours -----------------------------------------------------------------------------------------------------
# Where people and charge points reach this installation (http or https); without it what a server process listens on is
# shown, where that says by what name it is dialled (csms/addresses.py).
CSMS_PUBLIC_URL: str = env.str("CSMS_PUBLIC_URL", default="").rstrip("/")
# What charge points dial, up to the path, where it is not CSMS_PUBLIC_URL: without TLS, with TLS and a password, with
# client certificates.
CSMS_WS_URL: str = _url("CSMS_WS_URL", "ws")
CSMS_WSS_URL: str = _url("CSMS_WSS_URL", "wss")
CSMS_MTLS_URL: str = _url("CSMS_MTLS_URL", "wss")
# How long a browser that came by https insists on it, where CSMS_PUBLIC_URL is https; 0: it is not told to.
CSMS_HSTS_SECONDS: int = _number("CSMS_HSTS_SECONDS", 365 * 24 * 3600, 0)
# Addresses or networks of reverse proxies whose X-Forwarded-* headers are believed.
CSMS_TRUSTED_PROXIES: list[str] = env.list("CSMS_TRUSTED_PROXIES", default=[])
# Lanes per process (stations/lanes.py). One makes the largest batches, and a process has one interpreter lock anyway;
# more help only where the database is slow. SQLite has one writer: leave it at one.
CSMS_LANES: int = _number("CSMS_LANES", 1, 1)
# Batches of one lane that may be on their way to PostgreSQL at the same time; on SQLite it is always one.
CSMS_LANE_THREADS: int = _number("CSMS_LANE_THREADS", 2, 1)
CSMS_LANE_BATCH_SIZE: int = _number("CSMS_LANE_BATCH_SIZE", 500, 1)
# The event loop and its lanes on one core (csms/affinity.py).
CSMS_ONE_CORE: bool = env.bool("CSMS_ONE_CORE", default=True)
# Seconds a charge point has to answer one of our CALLs, unless its own record says otherwise.
CSMS_CALL_TIMEOUT_SECONDS: int = _number("CSMS_CALL_TIMEOUT_SECONDS", 30, 1)
# Seconds between looks for queued commands whose doorbell was lost.
CSMS_COMMAND_SWEEP_SECONDS: int = _number("CSMS_COMMAND_SWEEP_SECONDS", 5, 1)
# How often a command that may be repeated is sent when the connection is lost each time. The second attempt follows
# with the next connection, the third after these seconds; each pause after it is twice as long.
CSMS_COMMAND_ATTEMPTS: int = _number("CSMS_COMMAND_ATTEMPTS", 3, 1)
CSMS_COMMAND_RETRY_SECONDS: int = _number("CSMS_COMMAND_RETRY_SECONDS", 5, 0)
# More than this no connector gives: energy that would have needed more is flagged (stations/credibility.py).
CSMS_MAX_CONNECTOR_POWER_W: int = _number("CSMS_MAX_CONNECTOR_POWER_W", 1_000_000, 1000)
# What a connection has until its request's head is complete, TLS handshake and head each, and how large that may be.
CSMS_HEAD_SECONDS: int = _number("CSMS_HEAD_SECONDS", 10, 1)
CSMS_HEAD_BYTES: int = _number("CSMS_HEAD_BYTES", 32 * 1024, 1024)
# The largest body in front of Django (firmware images and files of charge points have limits of their own), and how
# long one may take to come.
CSMS_BODY_LIMIT_BYTES: int = _number("CSMS_BODY_LIMIT_BYTES", 5 * 1024 * 1024, 1024)
CSMS_BODY_SECONDS: int = _number("CSMS_BODY_SECONDS", 60, 1)
# Connections without a complete head, in percent of the file descriptors of a process: in all, and of one address.
CSMS_UNFINISHED_PERCENT: int = _number("CSMS_UNFINISHED_PERCENT", 25, 1)
CSMS_UNFINISHED_OF_ONE_PERCENT: int = _number("CSMS_UNFINISHED_OF_ONE_PERCENT", 10, 1)
# The last descriptors, kept for addresses that charge points were let in from.
CSMS_RESERVED_PERCENT: int = _number("CSMS_RESERVED_PERCENT", 10, 0)
CSMS_MAX_FRAME_BYTES: int = _number("CSMS_MAX_FRAME_BYTES", 1024 * 1024, 1024)
# WebSocket pings of ours; 0 turns them off. A charge point that never answers pings is not disconnected for it.
CSMS_PING_INTERVAL_SECONDS: int = _number("CSMS_PING_INTERVAL_SECONDS", 0, 0)
# Failed handshakes allowed per minute: for one identity from one address, and for one address in all.
CSMS_FAILED_ATTEMPTS_PER_IDENTITY: int = _number("CSMS_FAILED_ATTEMPTS_PER_IDENTITY", 10, 1)
CSMS_FAILED_ATTEMPTS_PER_ADDRESS: int = _number("CSMS_FAILED_ATTEMPTS_PER_ADDRESS", 100, 1)
# Frames a second that one charge point may send on the average of ten seconds before it is slowed down; 0: any number.
CSMS_FRAMES_PER_SECOND: int = _number("CSMS_FRAMES_PER_SECOND", 100, 0)
# How long a charge point may be silent on the network before its connection counts as dead, and how long it may leave
# what is sent to it unread before it is cut off.
CSMS_DEAD_PEER_SECONDS: int = _number("CSMS_DEAD_PEER_SECONDS", 120, 6)
CSMS_UNREAD_SECONDS: int = _number("CSMS_UNREAD_SECONDS", 60, 1)
# When a job whose worker died is given to another, and when one that nobody has finished is lost.
CSMS_JOB_REDELIVERY_SECONDS: int = _number("CSMS_JOB_REDELIVERY_SECONDS", 300, 1)
CSMS_JOB_LOST_SECONDS: int = _number("CSMS_JOB_LOST_SECONDS", 3600, 4)
# Failed sign-ins and wrong API keys allowed within five minutes (tenants/guessing.py): for one account, or key, from
# one address, and for one address in all.
CSMS_FAILED_SIGN_INS_PER_ACCOUNT: int = _number("CSMS_FAILED_SIGN_INS_PER_ACCOUNT", 10, 1)
CSMS_FAILED_SIGN_INS_PER_ADDRESS: int = _number("CSMS_FAILED_SIGN_INS_PER_ADDRESS", 100, 1)
CSMS_FAILED_API_KEYS_PER_KEY: int = _number("CSMS_FAILED_API_KEYS_PER_KEY", 10, 1)
CSMS_FAILED_API_KEYS_PER_ADDRESS: int = _number("CSMS_FAILED_API_KEYS_PER_ADDRESS", 100, 1)
# Days for what came and went (commands, boots, statuses, logs, job runs) and for the audit log, where a tenant has not
# said otherwise; 0 keeps them for ever.
CSMS_HISTORY_RETENTION_DAYS: int = _number("CSMS_HISTORY_RETENTION_DAYS", 365, 0)
CSMS_AUDIT_RETENTION_DAYS: int = _number("CSMS_AUDIT_RETENTION_DAYS", 1095, 0)
CSMS_API_REQUESTS_PER_MINUTE: int = _number("CSMS_API_REQUESTS_PER_MINUTE", 6000, 1)
CSMS_SHUTDOWN_SECONDS: int = _number("CSMS_SHUTDOWN_SECONDS", 10, 1)
# Before that, how long a process that was told to stop goes on as before while /readyz/ says that it is stopping: a
# balancer takes that long to see it.
CSMS_READINESS_GRACE_SECONDS: int = _number("CSMS_READINESS_GRACE_SECONDS", 0, 0)
# Who may scrape /metrics shows this as a bearer token; without one, only this machine and the trusted proxies may.
CSMS_METRICS_TOKEN: str = env.str("CSMS_METRICS_TOKEN", default="")
# Where the processes of this host keep what they count (csms/metrics).
CSMS_METRICS_DIR = DATA_DIR / "metrics"
# Log lines for programs, one JSON object each, or for people.
CSMS_LOG_FORMAT: str = env.str("CSMS_LOG_FORMAT", default="console" if DEBUG else "json")
if CSMS_LOG_FORMAT not in logs.FORMATS:
    raise ImproperlyConfigured(f"CSMS_LOG_FORMAT must be one of {', '.join(logs.FORMATS)}.")
# Set by systemd for units of Type=notify (csms/systemd.py).
NOTIFY_SOCKET: str = env.str("NOTIFY_SOCKET", default="")
# Where charge points fetch firmware and deliver diagnostics, if that is not CSMS_PUBLIC_URL: another name, or plain
# HTTP for those that cannot do TLS. The path /files/ follows.
CSMS_FILES_URL: str = env.str("CSMS_FILES_URL", default=CSMS_PUBLIC_URL).rstrip("/")
# Firmware images and what charge points delivered. With several hosts, a folder that all of them share.
CSMS_MEDIA_DIR = Path(env.str("CSMS_MEDIA_DIR", default=str(DATA_DIR / "files")))
# The largest file taken: from a charge point, and from an operator as a firmware image.
CSMS_UPLOAD_LIMIT_BYTES: int = _number("CSMS_UPLOAD_LIMIT_BYTES", 200 * 1024 * 1024, 1)
CSMS_IMAGE_LIMIT_BYTES: int = _number("CSMS_IMAGE_LIMIT_BYTES", 1024 * 1024 * 1024, 1)
# How long a file's URL stays valid after the time at which the charge point may use it first.
CSMS_FILE_URL_SECONDS: int = _number("CSMS_FILE_URL_SECONDS", 2 * 24 * 3600, 1)
# Whether a file's URL, once used, is closed to other addresses than that one and that of the charge point's connection.
CSMS_FILE_URL_BOUND: bool = env.bool("CSMS_FILE_URL_BOUND", default=True)
# What all downloads of a process share, so that a campaign leaves processor time to those who charge; 0 is no limit.
CSMS_DOWNLOAD_BYTES_PER_SECOND: int = _number("CSMS_DOWNLOAD_BYTES_PER_SECOND", 32 * 1024 * 1024, 0)

# --- Django -----------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "daphne",
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_filters",
    "csms",
    "tenants",
    "stations",
    "billing",
]
MIDDLEWARE = [
    "csms.logs.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "csms.headers.HeadersMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "tenants.middleware.TenantMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "tenants.submissions.SubmissionMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "csms.urls"
ASGI_APPLICATION = "csms.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "tenants.admin.careful.frame",
            ],
            # Every form of the admin carries a ticket (tenants/tickets.py), whichever template it is in.
            "builtins": ["tenants.templatetags.tickets"],
        },
    }
]


def _database() -> dict[str, Any]:
    """The one database, tuned: SQLite for the small installation, PostgreSQL with the pool for the rest."""
    try:
        database: dict[str, Any] = env.db_url_config(DATABASE_URL)
    except Exception as error:
        raise ImproperlyConfigured("CSMS_DATABASE_URL is not a database URL.") from error
    engine = database["ENGINE"]
    if engine.endswith("sqlite3"):
        database["OPTIONS"] = {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-32000; "
            "PRAGMA temp_store=MEMORY; PRAGMA busy_timeout=20000;",
        }
    elif "postgresql" in engine:
        database["ENGINE"] = "tenants.postgresql"
        database["CONN_MAX_AGE"] = 0
        # A connection is looked at whenever it is taken from the pool (tenants/postgresql/breaker.py).
        database["CONN_HEALTH_CHECKS"] = False
        options: dict[str, Any] = {
            # A host that vanished without a word is given up after this, and not after a quarter of an hour.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 20_000,
            "pool": {
                "min_size": 2,
                "max_size": _number("CSMS_DATABASE_POOL_SIZE", 20, 4),
                "timeout": _number("CSMS_DATABASE_POOL_TIMEOUT_SECONDS", 10, 1),
                # A pool tries again after 1, 2, 4 … seconds. Begun anew this often, it notices soon after a long outage
                # that the database is back.
                "reconnect_timeout": _number("CSMS_DATABASE_POOL_TIMEOUT_SECONDS", 10, 1),
            },
        }
        database["OPTIONS"] = options | database.get("OPTIONS", {})
    else:
        raise ImproperlyConfigured("CSMS_DATABASE_URL must start with sqlite:// or postgres://.")
    return database


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Seconds. A Redis that hangs must not hang those who can do without it: handshakes, requests, doorbells.
REDIS_PATIENCE = {"socket_connect_timeout": 2, "socket_timeout": 2}
if REDIS_URL:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "csms.redis_layer.ForgivingRedisChannelLayer",
            # Publish/subscribe knows no database numbers: two installations on one Redis must not ring each other.
            "CONFIG": {
                "hosts": [{"address": REDIS_URL} | REDIS_PATIENCE],
                "prefix": f"csms{urlsplit(REDIS_URL).path.strip('/') or 0}",
            },
        }
    }
    CACHES: dict[str, Any] = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": REDIS_URL,
            "OPTIONS": dict(REDIS_PATIENCE),
        }
    }
else:
    CHANNEL_LAYERS = {"default": {"BACKEND": "csms.channel_layer.ThreadSafeInMemoryChannelLayer"}}
    # Counted here: failed handshakes. With the default of 300 entries whoever tries many identities would push out the
    # very counters that hold it up.
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "OPTIONS": {"MAX_ENTRIES": 200_000},
        }
    }

CELERY_BROKER_URL = REDIS_URL or "memory://"
CELERY_BROKER_TRANSPORT_OPTIONS = (
    {
        "visibility_timeout": CSMS_JOB_REDELIVERY_SECONDS,
        # By default kombu looks for lost jobs at every tenth of looks ten seconds apart, up to 100 s late.
        "unacked_restore_interval": min(10.0, max(1.0, CSMS_JOB_REDELIVERY_SECONDS / 10)),
        "unacked_restore_throttle": 1,
    }
    if REDIS_URL
    else {"polling_interval": 0.5}
)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "csms.beat.SteadyPersistentScheduler"
CELERY_BEAT_SCHEDULE = {
    "expire-commands": {"task": "stations.tasks.expire_commands", "schedule": 15.0},
    "expire-reservations": {"task": "stations.tasks.expire_reservations", "schedule": 15.0},
    "fail-lost-jobs": {"task": "tenants.tasks.fail_lost_jobs", "schedule": min(60.0, CSMS_JOB_LOST_SECONDS / 4)},
    "detect-offline": {"task": "stations.tasks.detect_offline", "schedule": 60.0},
    "reconcile-local-auth-lists": {"task": "stations.tasks.reconcile_local_auth_lists", "schedule": 60.0},
    "issue-certificates": {"task": "stations.tasks.issue_certificates", "schedule": 30.0},
    "renew-certificates": {"task": "stations.tasks.renew_certificates", "schedule": 3600.0},
    "forget-strays": {"task": "stations.tasks.forget_strays", "schedule": 3600.0},
    "forget-guessing": {"task": "tenants.tasks.forget_guessing", "schedule": 3600.0},
    "prepare-partitions": {"task": "stations.tasks.prepare_partitions", "schedule": 3600.0},
    "purge-expired-rows": {"task": "stations.tasks.purge_expired_rows", "schedule": 3600.0},
}

PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
LANGUAGE_CODE = "en"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)
STATICFILES_DIRS: list[Path] = []
STORAGES = {
    # Private: no URL of its own leads there, only what checks who asks (stations/files, REST, admin).
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": CSMS_MEDIA_DIR, "file_permissions_mode": 0o600, "directory_permissions_mode": 0o700},
    },
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
LOGIN_URL = "/admin/login/"
LOGIN_REDIRECT_URL = "/admin/"

CSRF_FAILURE_VIEW = "csms.urls.forged"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = CSMS_PUBLIC_URL.startswith("https://")
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# What other answers than pages get, and what the admin's pages may besides: csms/headers.py.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'", "'unsafe-inline'"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "tenants.api.authentication.ApiKeyAuthentication",
        "tenants.api.authentication.MembershipSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["tenants.api.permissions.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["tenants.api.rendering.JsonRenderer"],
    "DEFAULT_PARSER_CLASSES": ["tenants.api.rendering.JsonParser"],
    "DEFAULT_PAGINATION_CLASS": "tenants.api.pagination.NewestFirstPagination",
    "DEFAULT_SCHEMA_CLASS": "tenants.api.schema.ProblemAutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["tenants.api.throttling.KeyRateThrottle"],
    "EXCEPTION_HANDLER": "tenants.api.problems.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "DATETIME_FORMAT": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "CSMS API",
    "DESCRIPTION": "Charge points, commands, transactions and id tags of one tenant of an OCPP 1.6-J central system.",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SERVE_PERMISSIONS": [],
    "SERVE_AUTHENTICATION": [],
    "POSTPROCESSING_HOOKS": ["tenants.api.schema.add_problem"],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    # Docstrings are for those who write views and serializers, not for the readers of the API's page.
    "DISABLE_DOCSTRING_DESCRIPTIONS": True,
}

LOGGING = logs.configuration(CSMS_LOG_FORMAT, env.str("CSMS_LOG_LEVEL", default="INFO"))

UNFOLD = {
    "SITE_TITLE": "CSMS",
    "SITE_HEADER": "CSMS",
    "SITE_URL": None,
    "SITE_SYMBOL": "ev_station",
    "LOGIN": {"form": "tenants.sign_in.SignInForm"},
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "stations.admin.dashboard.dashboard",
    "SIDEBAR": {"show_search": True, "show_all_applications": False, "navigation": "stations.admin.navigation.sidebar"},
}
