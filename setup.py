"""Which folders a wheel holds; everything else is in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

ASSETS = "wanda_lab_assets"
"""What `assets/` is called where it is installed, beside the packages of others."""
FOLDERS = [ASSETS] + [
    f"{ASSETS}.{folder.name}"
    for folder in Path("assets").iterdir()
    if folder.is_dir() and folder.name != "__pycache__"
]

setup(
    packages=[*find_packages(include=["wanda_core*", "components*"]), *FOLDERS],
    package_dir={ASSETS: "assets"},
    package_data={folder: ["*"] for folder in FOLDERS},
    py_modules=["app"],
)
