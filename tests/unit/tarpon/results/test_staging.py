"""What is left of the place in which results are staged."""

from pathlib import Path

from tarpon.results.staging import staging_in


async def test_what_may_not_be_changed_is_removed_and_what_a_link_leads_to_is_not(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("mine")
    async with staging_in(tmp_path) as staging:
        (staging / "link").symlink_to(tmp_path / "kept")
        for name in ("one", "two"):
            folder = staging / name / "same" / "same"
            folder.mkdir(parents=True)
            (folder / "file").write_text("")
            for each in (folder, folder.parent):
                each.chmod(0)
    assert [path.relative_to(tmp_path) for path in sorted(tmp_path.rglob("*"))] == [Path("kept"), Path("kept/file")]
