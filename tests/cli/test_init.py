from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.cli.main import main
from millrace.config.load import load_site
from millrace.config.starter import starter_files

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_new_site_is_whole_and_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two commands from nothing to running; stdout is the folder, stderr says how to go on."""
    folder = tmp_path / "new" / "site"
    assert main(["init", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert out == f"{folder}\n"
    assert "millrace serve" in err
    made = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in made.items()} == {
        name: path.read_bytes() for name, path in starter_files().items()
    }
    assert load_site(folder / "config.toml", {}).places.root == folder


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a file nor what a dangling link points to, and then nothing else is written either."""
    (tmp_path / "config.toml").symlink_to(tmp_path / "nowhere")
    assert main(["init", str(tmp_path)]) == 1
    assert f"{tmp_path / 'config.toml'} is there already: nothing was written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback for a path that leads through a file."""
    (tmp_path / "file").write_text("")
    assert main(["init", str(tmp_path / "file" / "site")]) == 1
    assert capsys.readouterr().err.startswith("millrace: ")
