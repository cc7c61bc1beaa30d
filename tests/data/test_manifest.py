"""The table of images keeps text as text and refuses invalid rows."""

from pathlib import Path

import pandas as pd
import pytest

from data.errors import DataError
from data.manifest import COLUMNS, Manifest, contents_of, identity_of, read_table
from data.store import file_sha256, read_json


def table(*rows: dict[str, str]) -> pd.DataFrame:
    filled = [
        {
            **dict.fromkeys(COLUMNS, ""),
            "image_id": f"i{n}",
            "root": "data",
            "path": f"{n}.jpg",
            "label": "nv",
            "group_id": f"g{n}",
            "source": "real",
            **row,
        }
        for n, row in enumerate(rows)
    ]
    return pd.DataFrame(filled, dtype=str)


def manifest(*rows: dict[str, str], root: Path = Path("images")) -> Manifest:
    return Manifest(table(*rows), {"data": root})


def test_text_survives_the_disk(tmp_path: Path):
    odd = manifest(
        {"label": "NA", "lesion_id": "0012", "lineage": '{"a": "b, c"}'}, {"label": "null", "lesion_id": "1e5"}
    )
    odd.write(tmp_path / "m.csv")
    again = Manifest.read(tmp_path / "m.csv", odd.roots)
    assert again.table.equals(odd.table)
    assert again.digest() == odd.digest()


def test_paths_start_from_their_roots_so_a_folder_can_move():
    here, there = manifest({}), manifest({}, root=Path("other"))
    assert here.paths() == [Path("images/0.jpg")]
    assert here.digest() == there.digest()


def test_counts_and_classes():
    mixed = manifest({"label": "nv"}, {"label": "df"}, {"label": "nv"})
    assert mixed.counts() == {"df": 1, "nv": 2}
    assert list(mixed.of("nv").table["image_id"]) == ["i0", "i2"]
    assert list(mixed.of("nv").first(1).table["image_id"]) == ["i0"]
    assert mixed.first(0).roots == mixed.roots
    assert len(mixed.first(9)) == 3


def test_concatenation_keeps_rows_columns_and_roots(tmp_path: Path):
    synthetic = table({"image_id": "s", "root": "run", "source": "synthetic", "seed": "7"})
    both = Manifest.concat(manifest({}), Manifest(synthetic, {"run": tmp_path}))
    assert list(both.table["seed"]) == ["", "7"]
    assert both.paths() == [Path("images/0.jpg"), tmp_path / "0.jpg"]


def test_one_root_cannot_mean_two_folders():
    with pytest.raises(DataError, match="means both"):
        Manifest.concat(manifest({}), manifest({"image_id": "x"}, root=Path("other")))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"image_id": "i0"}, "appear twice"),
        ({"label": ""}, "has no label"),
        ({"source": "imagined"}, "source is 'imagined'"),
        ({"root": "moon"}, "root 'moon'"),
    ],
)
def test_an_invalid_table_is_refused(row: dict[str, str], words: str):
    with pytest.raises(DataError, match=words):
        manifest({}, row)


def test_a_row_with_a_field_too_many_is_named(tmp_path: Path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n1,2,3\n")
    with pytest.raises(DataError, match=r"t\.csv: row 3 has 3 fields, the header 2"):
        read_table(tmp_path / "t.csv")


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path):
    (tmp_path / "t.csv").write_text("\ufeffa,b\n1,2\n", encoding="utf-8")
    assert list(read_table(tmp_path / "t.csv").columns) == ["a", "b"]


@pytest.mark.parametrize("label", ["/data/mel", "x/1", "..", "C:\\mel"])
def test_a_label_that_would_lead_out_of_a_run_s_folders_is_refused(label: str):
    with pytest.raises(DataError, match=r"cannot name a folder; give it another name in `data\.label_map`"):
        manifest({}, {"label": label})


@pytest.fixture
def images(tmp_path: Path) -> Manifest:
    for n in range(2):
        (tmp_path / f"{n}.jpg").write_bytes(bytes([n]))
    return manifest({}, {}, root=tmp_path)


def test_contents_are_hashed_once_as_long_as_a_file_is_unchanged(
    images: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    known = tmp_path / "cache" / "contents.json"
    contents = contents_of(images, known)
    assert contents == {f"i{n}": file_sha256(tmp_path / f"{n}.jpg") for n in range(2)} == contents_of(images)
    assert sorted(read_json(known).values()) == sorted(contents.values())
    monkeypatch.setattr("data.manifest.sha256_of", lambda path: f"read again: {path.name}")
    assert contents_of(images, known) == contents
    (tmp_path / "1.jpg").write_bytes(b"other")
    assert contents_of(images, known) == {**contents, "i1": "read again: 1.jpg"}


def test_an_image_whose_contents_cannot_be_read_is_named(
    images: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def locked(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("data.manifest.sha256_of", locked)
        with pytest.raises(DataError, match=r"0\.jpg: cannot be read \(Permission denied\); restore it, or its rights"):
            contents_of(images)
    (tmp_path / "0.jpg").unlink()
    with pytest.raises(DataError, match=r"0\.jpg: no such image; restore it or remove its row"):
        contents_of(images)


def test_an_identity_depends_on_table_and_contents_but_not_on_the_folder(images: Manifest):
    contents = contents_of(images)
    moved = Manifest(images.table, {"data": Path("moved")})
    assert identity_of(images, contents) == identity_of(moved, contents)
    assert identity_of(images, contents) != identity_of(images, {**contents, "i1": "other"})
    assert identity_of(images, contents) != identity_of(images.where(images.table["image_id"] == "i0"), contents)


@pytest.mark.parametrize("content", ["[1]", '"x"', '{"a": 1}', '{"a": [1]}', "", "{"])
def test_a_file_of_digests_that_is_damaged_counts_as_none(tmp_path: Path, content: str):
    (tmp_path / "0.jpg").write_bytes(b"x")
    images, known = manifest({}, root=tmp_path), tmp_path / "contents.json"
    known.write_text(content, encoding="utf-8")
    assert contents_of(images, known) == contents_of(images)
    assert list(read_json(known).values()) == [file_sha256(tmp_path / "0.jpg")]
