"""The operator's page holds to what the service has: its variables, metrics, close codes and log records."""

import re
from pathlib import Path

import described
from conftest import run_command

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()


def first_column(heading):
    """What the table under a heading has in its first column."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0].split("\n### ")[0]
    return [re.sub(r"^`|`$", "", row.split(" | ")[0].removeprefix("| ")) for row in section.splitlines()
            if row.startswith("| ") and not row.startswith("| ---")][1:]


def test_every_variable_has_a_row_and_nothing_else_has():
    listed = re.findall(r"^#([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert sorted(first_column("Variables")) == sorted(set(listed))


def test_each_setting_in_effect_is_a_variable_of_the_page(tmp_path):
    result = run_command("check-config", DATA_DIR=tmp_path)
    assert result.returncode == 0, result.stderr
    shown = [line.split("=")[0] for line in result.stdout.splitlines() if "=" in line]
    assert set(shown) <= set(first_column("Variables")) and len(shown) > 20


def test_every_family_of_metrics_has_a_row_and_nothing_else_has(service, alice):
    alice.say()
    families = dict(re.findall(r"^# TYPE (\S+) (\S+)$", service.metrics(), re.MULTILINE))
    assert sorted(first_column("Metrics")) == sorted(families)
    for name, kind in families.items():
        assert f"| `{name}` | {kind} |" in PAGE


def test_metrics_that_alerts_look_at_are_there(service):
    named = set(re.findall(r"chat_[a-z_]+", PAGE.split("### What to alert on")[1].split("## Log records")[0]))
    families = set(re.findall(r"^# TYPE (\S+) ", service.metrics(), re.MULTILINE))
    assert {re.sub(r"_bucket$", "", name) for name in named} <= families


def test_the_close_codes_are_those_of_asyncapi():
    told = set(re.findall(r"\b(1\d{3}|4\d{3})\b", described.asyncapi()["info"]["description"]))
    assert set(first_column("Close codes")) == told


def test_what_the_program_logs_has_a_row():
    """Out of the source: a record is a call of the logger, or what a store tells."""
    rows = [begin.strip() for begin in first_column("Log records")]
    begins = set()
    call = re.compile(r"(?:logger\.(?:debug|info|notice|warning|error|critical)|\.(?:trouble|relief))\(\s*(?:\"\"\"\s*)?\"?([^\"\n]+)")
    for file in (ROOT / "Sources").rglob("*.swift"):
        if "Simulation" in str(file) or "simulate" in str(file):
            continue
        for begin in call.findall(file.read_text()):
            if begin[0] not in "lt\\" or begin.startswith(("the ", "load ")):
                begins.add(begin.strip().rstrip("\\").strip())
    begins = {begin for begin in begins if " " in begin or begin.isalpha()} - {"text"}
    assert len(begins) > 10
    missing = [begin for begin in begins if not any(begin.startswith(row[:24]) or row.startswith(begin) for row in rows)]
    assert not missing, f"logged, and not on the page: {missing}"
    seen = [row for row in rows if any(begin.startswith(row[:24]) or row.startswith(begin) for begin in begins)]
    assert len(seen) > len(rows) * 0.6, "rows that nothing in the source logs"
