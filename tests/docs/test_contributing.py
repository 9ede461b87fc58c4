"""The hooks before a commit are those of the Makefile, with the tools that are there."""

from __future__ import annotations

import re

import yaml
from pages import ROOT


def test_hooks_are_local_and_are_those_of_the_makefile() -> None:
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert repo["repo"] == "local"
    assert {hook["language"] for hook in repo["hooks"]} == {"system"}
    checks = re.search(
        r"^lint:.*?(?=^unit:)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert checks is not None
    tools = re.findall(r"\$\(BIN\)/([\w-]+(?: [a-z]+(?: --check)?)?)", checks[0])
    assert tools == [re.sub(" --force-exclude", "", hook["entry"]) for hook in repo["hooks"]]
