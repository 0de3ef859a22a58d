"""The results of a job on the page: files are read straight from the bucket, and no more of it than holds them."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.bucket_rule_files import rule
from tests.e2e.page.browser import Watch
from tests.e2e.page.result_files import ATTACK, HOSTILE_FILES, HOSTILE_NAMES, completed, plant_hostile, plant_kinds
from tests.e2e.stack import Stack

NOISE_MIB = 48
Look = Callable[[str], None]
SHOWN = {
    "table.json": '"scores": [',
    "table.jsonl": "false",
    "array.npy": "<f4",
    "bytes.bin": "00000010  10 11 12",
    "latin.txt": "Not all of it is UTF-8: what is none is shown as �.1gr��e",
    "empty": "The file is empty.",
    "link": "A symbolic link to deep/down/notes.txt",
    "out": "It leads out of the result.",
    "zstd.parquet": "compressed with ZSTD, which is not read here",
}


@pytest.fixture(scope="module")
def kinds(site: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A job with a file of each kind, and so much more that it has an index."""
    folder = tmp_path_factory.mktemp("kinds")
    plant_kinds(folder)
    return completed(site, f"cp -a {folder}/. outputs/; head -c 1500000 /dev/urandom > outputs/noise")


@pytest.fixture
def look(page: Page, kinds: str) -> Look:
    """Opens a file of that result."""

    def look(path: str) -> None:
        page.goto(f"/#/jobs/{kinds}?tab=results&path=outputs/{path}")
        expect(page.get_by_role("heading", name=f"outputs/{path}")).to_be_visible()

    return look


def width_of(page: Page, picture: str) -> int:
    found: int = page.get_by_role("img", name=picture).evaluate("it => it.decode().then(() => it.naturalWidth)")
    return found


def test_a_folder_opens_and_a_file_in_it_is_shown_with_line_numbers(page: Page, kinds: str) -> None:
    page.goto(f"/#/jobs/{kinds}?tab=results")
    page.get_by_role("button", name="deep/").click()
    page.get_by_role("button", name="down/").click()
    page.get_by_role("link", name="notes.txt").click()
    expect(page.get_by_label("Content")).to_have_text(re.compile(r"1\s*2\s*3\s*one\s*two\s*three"))
    assert "path=outputs%2Fdeep%2Fdown%2Fnotes.txt" in page.url


def test_files_are_found_by_a_part_of_their_path(page: Page, kinds: str) -> None:
    page.goto(f"/#/jobs/{kinds}?tab=results")
    page.get_by_label("Filter by path").fill("DEEP/down")
    expect(page.get_by_role("link", name="outputs/deep/down/notes.txt")).to_be_visible()
    expect(page.get_by_text(re.compile(r"^1 of \d+ files$"))).to_be_visible()


@pytest.mark.parametrize("name", ["twin.csv", "snappy.parquet"])
def test_tables_are_shown_with_a_plot_of_their_numbers(page: Page, look: Look, name: str) -> None:
    look(name)
    expect(page.get_by_role("columnheader", name="loss")).to_be_visible()
    expect(page.get_by_role("cell", name="t1").first).to_be_visible()
    expect(page.get_by_label(re.compile("loss .* to 1"))).to_be_checked()
    expect(page.get_by_text("over step")).to_be_visible()
    expect(page.get_by_label("tag")).to_have_count(0)
    expect(page.locator("canvas")).to_be_visible()


def test_each_file_is_shown_as_what_it_is(page: Page, look: Look) -> None:
    for name, shown in SHOWN.items():
        look(name)
        expect(page.get_by_label("File", exact=True)).to_contain_text(shown)


def test_pictures_are_shown(page: Page, look: Look) -> None:
    for name, width in (("picture.png", 60), ("dot.gif", 1)):
        look(name)
        assert width_of(page, name) == width


def test_a_file_is_downloaded_under_its_name(page: Page, look: Look) -> None:
    look("table.csv")
    with page.expect_download() as told:
        page.get_by_role("button", name="Download table.csv").click()
    assert told.value.suggested_filename == "table.csv"
    assert Path(told.value.path()).read_text().endswith("299,0.0033,t2\n")


def test_a_result_without_an_index_is_read_as_a_whole(page: Page, site: Stack) -> None:
    job = completed(site, "mkdir -p outputs/$(seq -s/ 100); echo small > outputs/$(seq -s/ 100)/file")
    page.goto(f"/#/jobs/{job}?tab=results&path=outputs/{'/'.join(map(str, range(1, 101)))}/file")
    expect(page.get_by_label("Content")).to_contain_text("small")


def test_of_a_result_of_a_gib_no_more_is_moved_than_holds_the_file(page: Page, site: Stack, watch: Watch) -> None:
    script = f"head -c {NOISE_MIB}m /dev/urandom > a; truncate -s {1024 - NOISE_MIB}M b; echo found > middle; cp a z"
    job = completed(site, f"cd outputs; {script}")
    page.goto(f"/#/jobs/{job}?tab=results&path=outputs/middle")
    expect(page.get_by_label("Content")).to_contain_text("found")
    expect(page.get_by_role("definition").filter(has_text="1.0 GiB")).to_be_visible()
    asked = [each for each in watch.requests if each.url.startswith(site.s3.endpoint) and each.method == "GET"]
    moved = [each.sizes()["responseBodySize"] for each in asked]
    assert len(moved) == 2, "the index, and the block that has the file"
    assert sum(moved) < 1.2 * (1 << 20)
    others = [each.url for each in watch.requests if each.method == "GET" and each not in asked]
    assert all(each.startswith(site.api_url) for each in others)


def test_what_is_hostile_in_a_result_is_shown_and_does_nothing(
    page: Page, site: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    plant_hostile(folder)
    job = completed(site, f"cp -a {folder}/. outputs/")
    page.goto(f"/#/jobs/{job}?tab=results")
    files = page.get_by_label("Files of the result").get_by_role("link")
    expect(files).to_have_count(len(HOSTILE_NAMES) + len(HOSTILE_FILES) + 4)
    for each in range(files.count()):
        files.nth(each).click()
        expect(page.get_by_label("File", exact=True).get_by_role("heading")).to_be_visible()
        expect(page.locator(".loading")).to_have_count(0)
    page.goto(f"/#/jobs/{job}?tab=results&path=outputs/script.svg")
    assert width_of(page, "script.svg") == 40
    page.goto(f"/#/jobs/{job}?tab=results&path=outputs/page.html")
    expect(page.get_by_label("Content")).to_contain_text(ATTACK)
    page.goto(f"/#/jobs/{job}?tab=results&path=outputs/escape.log")
    expect(page.get_by_label("Content")).to_contain_text(re.compile(r"\S\[31mred\S+\[0m⟨U\+202E⟩desrever"))
    expect(page.get_by_role("link", name="⟨U+202E⟩gnp.txt")).to_be_visible()
    expect(page.get_by_role("link", name=r"\xff\xfe.txt")).to_be_visible()
    assert "attacked" not in page.title()
    assert page.evaluate("({}).polluted") is None


def test_the_page_tells_the_rule_that_the_bucket_lacks_and_that_rule_works(
    page: Page, site: Stack, watch: Watch, kinds: str
) -> None:
    client = site.s3.client()
    others = {"CORSRules": [{"AllowedOrigins": ["https://elsewhere.example.org"], "AllowedMethods": ["GET"]}]}
    client.put_bucket_cors(Bucket=site.bucket, CORSConfiguration=others)
    watch.expect("blocked by CORS policy|net::ERR_FAILED")
    try:
        page.goto(f"/#/jobs/{kinds}?tab=results")
        expect(page.get_by_text("The bucket does not let this page read from it.")).to_be_visible()
        expect(page.get_by_label("The command that sets it")).to_contain_text(f"--bucket {site.bucket}")
        told = json.loads(page.get_by_label("The rule").text_content() or "")
        (documented,) = rule("cors.json")["CORSRules"]
        assert told == {"CORSRules": [documented | {"AllowedOrigins": [site.api_url]}]}
        with page.expect_download() as archive:
            page.get_by_role("link", name="Download all of it").click()
        assert archive.value.suggested_filename == f"{kinds}.tar.gz"
        client.put_bucket_cors(Bucket=site.bucket, CORSConfiguration=told)
        page.goto(f"/#/jobs/{kinds}?tab=results&path=outputs/deep/down/notes.txt")
        page.reload()
        expect(page.get_by_label("Content")).to_contain_text("three")
    finally:
        client.delete_bucket_cors(Bucket=site.bucket)


def test_another_url_is_asked_for_where_one_is_refused(page: Page, kinds: str, watch: Watch) -> None:
    def spoil(route: Route) -> None:
        answer = route.fetch()
        spoiled = answer.text().replace("X-Amz-Signature=", "X-Amz-Signature=0")
        route.fulfill(response=answer, body=answer.text() if "refused=true" in route.request.url else spoiled)

    watch.expect("status of 403")
    page.route("**/results?*", spoil)
    page.goto(f"/#/jobs/{kinds}?tab=results&path=outputs/deep/down/notes.txt")
    expect(page.get_by_label("Content")).to_contain_text("three")


def test_a_result_that_was_replaced_is_told(page: Page, site: Stack, watch: Watch) -> None:
    job = completed(site, "cd outputs; echo first > first; head -c 1500000 /dev/urandom > noise; echo last > zz")
    page.goto(f"/#/jobs/{job}?tab=results&path=outputs/first")
    expect(page.get_by_label("Content")).to_contain_text("first")
    (key,) = [each for each in site.objects() if job in each]
    site.s3.client().put_object(Bucket=site.bucket, Key=key, Body=os.urandom(1_600_000))
    watch.expect("status of 412")
    page.get_by_role("link", name="zz").click()
    expect(page.get_by_role("alert")).to_contain_text("was replaced in the bucket after it had been published")
