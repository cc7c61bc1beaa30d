"""Files that lie beside images and are not read are counted and named, never dropped in silence."""

import logging

from PIL import Image

from data.files.unread import unread_in, warn_of_unread


def test_other_endings_are_listed_without_captions_system_and_hidden_files(tmp_path):
    (tmp_path / "nv").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "nv" / "a.jfif", "JPEG")
    for name in ("a.txt", "b.txt", "c.gif", "d", "e.JP2", "Thumbs.db", ".hidden.gif", "f.gif"):
        (tmp_path / "nv" / name).write_bytes(b"")
    found = unread_in(tmp_path)
    assert found.files == ("nv/b.txt", "nv/c.gif", "nv/d", "nv/e.JP2", "nv/f.gif")
    assert found.endings() == ".gif (2), .txt (1), without an ending (1), .jp2 (1)"


def test_what_is_not_read_is_warned_of_once(tmp_path, caplog):
    (tmp_path / "nv").mkdir()
    (tmp_path / "nv" / "c.gif").write_bytes(b"")
    (tmp_path / "t.csv").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        warn_of_unread(tmp_path, unread_in(tmp_path))
        warn_of_unread(tmp_path, unread_in(tmp_path), top=True)
    assert [record.getMessage().removeprefix(f"{tmp_path}: ")[:48] for record in caplog.records] == [
        "1 files are not read as images, .gif (1), first ",
        "2 files are not read as images, .csv (1), .gif (",
    ]
