"""Tables as spreadsheets, statistics programs and archives save them."""

import pytest

from data.errors import DataError
from data.files.spreadsheets import read_spreadsheet

PLAIN = "image,dx,age\na,nv,50\nb,mel,60\n"


@pytest.fixture
def read(tmp_path):
    def of(content, needed=("image",), on_fault=None):
        path = tmp_path / "t.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_spreadsheet(path, needed, *([on_fault] if on_fault else []))

    return of


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (PLAIN + "\n\n", [2, 3]),
        (PLAIN.replace("\nb", "\n\n , ,\nb"), [2, 5]),
        (PLAIN + ",,\n,,\n", [2, 3]),
        (PLAIN.replace("\n", ",,\n"), [2, 3]),
        ("sep=;\r\n" + PLAIN.replace(",", ";").replace("\n", "\r\n"), [2, 3]),
        ("SEP=|\n" + PLAIN.replace(",", "|"), [2, 3]),
        (PLAIN.replace(",", "|"), [2, 3]),
        ("# exported, by; me\n#\n" + PLAIN, [4, 5]),
        (PLAIN.replace("\nb", "\n# seen again\nb"), [2, 4]),
        ("Clinic of skin;;\n\n" + PLAIN.replace(",", ";"), [4, 5]),
        ("Legend,0 = no,1 = yes,2 = unknown\n" + PLAIN, [3, 4]),
        ("#" + PLAIN, [2, 3]),
        (PLAIN.replace("\n", "\r"), [2, 3]),
        (PLAIN.encode("utf-16"), [2, 3]),
        (b"\xfe\xff" + PLAIN.encode("utf-16-be"), [2, 3]),
        (PLAIN.replace(",", "\t").encode("utf-16"), [2, 3]),
        ("\ufeff" + PLAIN, [2, 3]),
        ('"image","dx","age"\n"a","nv","50"\n"b","mel","60"\n'.replace(",", "\t"), [2, 3]),
    ],
)
def test_what_is_empty_or_above_the_header_is_skipped_and_rows_keep_their_numbers(read, content, rows):
    table = read(content)
    assert table.to_dict("list") == {"image": ["a", "b"], "dx": ["nv", "mel"], "age": ["50", "60"]}
    assert table.index.tolist() == rows


def test_columns_without_a_name_are_left_out_and_said_where_they_hold_something(read, caplog):
    assert list(read(",image,dx,\n0,a,nv,\n1,b,mel,\n").columns) == ["image", "dx"]
    assert "columns without a name are not read: 1" in caplog.text


def test_rows_above_the_header_and_comments_are_counted(read, caplog):
    read("Table 1\n" + PLAIN.replace("\nb", "\n# seen again\nb"))
    assert "rows above the header, which is row 2, are not read: 1" in caplog.text
    assert "comments are not read: 1, first row 4" in caplog.text


def test_a_torn_row_is_named_by_its_number_among_empty_ones(read):
    faults = []
    table = read("sep=,\nimage,dx\n\na,nv\nb\nc,mel,x\nd,nv,\n", on_fault=faults.append)
    assert table["image"].tolist() == ["a", "d"]
    assert faults[0].examples == ("row 4 has 1 fields, the header 2", "row 5 has 3 fields, the header 2")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PK\x03\x04rest", "it is a workbook.; open it in its program, save the sheet as CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0rest", "it is a workbook"),
        ("image,dx\na,nv\nb,näv\n".encode("cp1252"), "in line 3.; save it as CSV in UTF-8"),
        ('image,dx\na,nv\n"b,mel\n', "cannot be read as a table .*line 3"),
        ("image,dx,dx \na,nv,x\n", "the column 'dx' appears twice, apart from blanks"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line_with_its_fix(read, content, says):
    with pytest.raises(DataError, match=says):
        read(content)


def test_an_empty_file_has_no_columns(read):
    assert read("").empty
    assert read("\n\n", ()).empty
