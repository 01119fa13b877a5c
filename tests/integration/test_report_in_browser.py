"""A report in a real browser: hostile content neither runs nor loads anything, and the page fits every screen."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalrun_runner.report.page import MOST_BYTES
from evalrun_runner.report.write import render
from support.browser import Browser, browser
from support.reports import HOSTILE, full_report

ATTACK = (
    "<script>document.title = 'run'</script><img src='http://attacker.example/x.png' onerror=\"document.title='run'\">"
)
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
OPENS_SECONDS = 2.0


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


def written(folder: Path, text: str) -> Path:
    file = folder / "report.html"
    file.write_text(text, encoding="utf-8")
    return file


def titled(dom: str) -> str:
    found = re.search(r"<title>(.*?)</title>", dom, re.DOTALL)
    return found[1] if found else ""


def no_warning(line: str) -> None:
    raise AssertionError(line)


def test_the_proxy_and_the_script_would_be_seen(chromium: Browser, tmp_path: Path) -> None:
    dom = chromium.dom(written(tmp_path, f"<title>quiet</title>{ATTACK}"))
    assert titled(dom) == "run"
    assert "http://attacker.example/x.png" in chromium.requests
    chromium.requests.clear()


def test_a_page_of_hostile_answers_runs_nothing_and_asks_for_nothing(chromium: Browser, tmp_path: Path) -> None:
    page = render(full_report(HOSTILE), no_warning).html.decode()
    dom = chromium.dom(written(tmp_path, page))
    assert titled(dom).startswith("&lt;/pre&gt;") or "fetch(" in titled(dom)
    assert dom.rstrip().endswith("</html>") and "needs no script" in dom
    assert chromium.requests == []


def test_markup_that_got_past_the_escaping_would_be_stopped_by_the_policy(chromium: Browser, tmp_path: Path) -> None:
    page = render(full_report(), no_warning).html.decode().replace("</main>", f"{ATTACK}</main>")
    dom = chromium.dom(written(tmp_path, page))
    assert "attacker.example" in dom
    assert titled(dom) != "run"
    assert chromium.requests == []


@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("text", ["plain", HOSTILE, "unbroken" * 200])
def test_the_page_is_no_wider_than_the_screen(chromium: Browser, tmp_path: Path, width: int, text: str) -> None:
    measuring = (
        "<script>document.title = document.documentElement.scrollWidth + ' of ' + window.innerWidth</script></body>"
    )
    page = POLICY.sub("", render(full_report(text), no_warning).html.decode()).replace("</body>", measuring)
    reach, screen = map(int, titled(chromium.dom(written(tmp_path, page), width)).split(" of "))
    assert reach <= screen


def test_the_largest_page_opens_in_two_seconds(chromium: Browser, tmp_path: Path) -> None:
    page = render(full_report("word " * 600, items=60), no_warning).html
    assert 300_000 < len(page) <= MOST_BYTES
    (tmp_path / "report.html").write_bytes(page)
    (tmp_path / "empty.html").write_text("<title>empty</title>")

    def seconds(file: Path) -> float:
        begin = time.perf_counter()
        chromium.dom(file)
        return time.perf_counter() - begin

    # What Chromium itself takes to start is no part of it; the smaller of two, as others use the machine, too.
    start = min(seconds(tmp_path / "empty.html") for _ in range(2))
    assert min(seconds(tmp_path / "report.html") for _ in range(2)) - start < OPENS_SECONDS
