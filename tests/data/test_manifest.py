"""The table of images keeps text as text and refuses what no stage could use."""

from pathlib import Path

import pandas as pd
import pytest

from data.errors import DataError
from data.manifest import COLUMNS, Manifest, read_table


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
    here, there = manifest({}), manifest({}, root=Path("elsewhere"))
    assert here.paths() == [Path("images/0.jpg")]
    assert here.digest() == there.digest()


def test_counts_and_classes():
    mixed = manifest({"label": "nv"}, {"label": "df"}, {"label": "nv"})
    assert mixed.counts() == {"df": 1, "nv": 2}
    assert list(mixed.of("nv").table["image_id"]) == ["i0", "i2"]


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
        ({"image_id": "i0"}, "stand twice"),
        ({"label": ""}, "has no label"),
        ({"source": "imagined"}, "source is 'imagined'"),
        ({"root": "moon"}, "root 'moon'"),
    ],
)
def test_a_table_that_no_stage_could_use_is_refused(row: dict[str, str], words: str):
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
    with pytest.raises(DataError, match="cannot be the name of a folder; `rename` it"):
        manifest({}, {"label": label})
