"""pyproject.toml and environment.yml say the same: the same packages, the same versions."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
CONDA_NAMES = {"pytorch-cpu": "torch", "matplotlib-base": "matplotlib"}
ONLY_CONDA = {"python", "pip", "mesa-llvmpipe", "libegl", "libgl"}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def wanted() -> dict[str, SpecifierSet]:
    lines = project()["dependencies"] + project()["optional-dependencies"]["test"]
    return {r.name: r.specifier for r in map(Requirement, lines)}


def conda_specifier(text: str) -> SpecifierSet:
    """Conda's single = means any build of that version."""
    return SpecifierSet(re.sub(r"^=(?!=)([\d.]+)$", r"==\1", text.strip()))


def conda() -> dict[str, SpecifierSet]:
    found = {}
    for line in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]:
        if isinstance(line, dict):
            found |= {r.name: r.specifier for r in map(Requirement, line["pip"])}
        else:
            name, versions = re.fullmatch(r"([\w.-]+)\s*(.*)", line).groups()
            found[CONDA_NAMES.get(name, name)] = conda_specifier(versions)
    return found


def test_conda_installs_the_packages_that_pip_installs():
    have = {name: versions for name, versions in conda().items() if name not in ONLY_CONDA}
    assert have == wanted()


def test_conda_takes_a_python_that_the_package_accepts():
    (version,) = conda()["python"]
    assert SpecifierSet(project()["requires-python"]).contains(version.version)


def test_pip_chooses_the_opengl_binding_that_pyrender_asks_for():
    assert "pyopengl" not in {name.lower() for name in wanted()}
