"""Tables: what a column is taken for, what it becomes, and that nothing changes between train and predict."""

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from experiments.data.class_labels import Classes
from experiments.data.tables import encoding, source
from experiments.data.tables.read import labels_of, read
from experiments.runs import saved_columns
from experiments.terminal import UserError

TEXT = """id,size,when,open,colour,note,kind
a1,1.5,2024-01-02,true,red,"a small, red one",x
a2,,2024-01-03,false,blue,the blue one,y
a3,2.5,2024-02-02,true,,red and blue,x
a4,900,2024-01-05,false,red,,y
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(TEXT)
    return read(path)


def test_every_type_is_read(table, tmp_path):
    columns = table.columns
    np.testing.assert_array_equal(columns["size"], [1.5, np.nan, 2.5, 900])
    assert np.diff(columns["when"]).tolist() == [1, 30, -28]
    assert columns["open"].tolist() == [1, 0, 1, 0]
    assert columns["colour"].tolist() == ["red", "blue", None, "red"]
    assert columns["note"][0] == "a small, red one"
    assert labels_of(table, "kind").tolist() == ["x", "y", "x", "y"]
    (tmp_path / "t.tsv").write_text(TEXT.replace(", red", " red").replace(",", "\t"))
    assert list(read(tmp_path / "t.tsv").columns) == list(columns)
    arrow = pyarrow.table({"n": [1, None, 3], "c": pyarrow.array(["u", "v", "u"]).dictionary_encode()})
    parquet.write_table(arrow, tmp_path / "t.parquet")
    found = read(tmp_path / "t.parquet").columns
    np.testing.assert_array_equal(found["n"], [1, np.nan, 3])
    assert found["c"].tolist() == ["u", "v", "u"]


FORMS = {
    "byte-order mark": ("utf-8-sig", ",", "."),
    "Windows line ends": ("utf-8", ",", "."),
    "Excel's Unicode": ("utf-16", "\t", "."),
    "Excel in Europe": ("utf-8-sig", ";", ","),
}


@pytest.mark.parametrize(("encoding", "separator", "point"), FORMS.values(), ids=FORMS.keys())
def test_what_spreadsheets_write_is_read(table, tmp_path, encoding, separator, point):
    text = TEXT.replace("small, red", "small red").replace(",", separator).replace("1.5", f"1{point}5")
    text = text.replace("2.5", f"2{point}5").replace("blue one", "blué one")
    path = tmp_path / "from_a_spreadsheet.csv"
    path.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    found = read(path)
    assert list(found.columns) == list(table.columns)
    np.testing.assert_array_equal(found.columns["size"], table.columns["size"])
    assert found.columns["note"][1] == "the blué one"


def test_an_encoding_that_cannot_be_known_is_refused(tmp_path):
    path = tmp_path / "old.csv"
    path.write_bytes("size,kind\n1,a\n2,é\n".encode("cp1252"))
    with pytest.raises(UserError, match=r"old.csv: line 3 has the byte 0xE9, which is not UTF-8; save the"):
        read(path)


def test_a_type_is_judged_by_all_rows(tmp_path):
    path = tmp_path / "late.csv"
    path.write_text("code,y\n" + "1,a\n" * 300_000 + "x7,b\n")
    assert read(path).columns["code"][-1] == "x7"


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        ("a,a\n1,2\n", "t.csv", "two columns are called 'a'"),
        ("a,b\n", "t.csv", "has no rows below its heading"),
        ("", "t.csv", "cannot be read as a table"),
        ("a,b\n1,2,3\n", "t.csv", "cannot be read as a table .*Expected 2 columns, got 3"),
        ("a\n1\n", "t.txt", "expected a file whose name ends in .csv, .tsv, .parquet"),
        ("not parquet", "t.parquet", "cannot be read as a table"),
    ],
)
def test_what_is_no_table_is_named(tmp_path, content, name, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=said) as raised:
        read(tmp_path / name)
    assert "\n" not in str(raised.value)


def of_many_rows(tmp_path, rows=300, name="many.csv"):
    rng = np.random.default_rng(rows)
    words = np.array(
        ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    )
    lines = ["number,gaps,code,text,same,label"]
    for _ in range(rows):
        gap = "" if rng.random() < 0.2 else f"{rng.normal(50, 9):.3f}"
        text = " ".join(rng.choice(words, 5))
        # A tail of rare codes, some of them new in another table.
        lines.append(
            f"{rng.normal():.4f},{gap},c{int(rng.exponential(20))},{text},7,{rng.choice(['p', 'q'])}"
        )
    (tmp_path / name).write_text("\n".join(lines) + "\n")
    return read(tmp_path / name)


def test_what_is_applied_is_what_scikit_learn_learnt(tmp_path):
    table, new = of_many_rows(tmp_path), of_many_rows(tmp_path, 80, "new.csv")
    features = ["number", "gaps", "code", "text", "same"]
    learnt = encoding.fit(table, features)
    kinds = [column["kind"] for column in learnt.columns]
    assert kinds == ["number", "number", "category", "text", "constant"]
    found = encoding.encode(learnt, new)

    def columns(names, of):
        return np.stack([of.columns[name] for name in names], axis=1)

    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    numbers.fit(columns(["number", "gaps"], table))
    expected = numbers.transform(columns(["number", "gaps"], new))
    np.testing.assert_allclose(found[:, :3], expected, atol=1e-6)

    one_hot = OneHotEncoder(max_categories=64, handle_unknown="infrequent_if_exist", sparse_output=False)
    trained = one_hot.fit_transform(columns(["code"], table).astype(str))
    expected = one_hot.transform(columns(["code"], new).astype(str)) - trained.mean(axis=0)
    expected /= np.sqrt(trained.var(axis=0).sum())
    np.testing.assert_allclose(found[:, 3 : 3 + expected.shape[1]], expected, atol=1e-6)

    text = make_pipeline(
        HashingVectorizer(n_features=2**15, ngram_range=(1, 2), alternate_sign=False, norm=None),
        TfidfTransformer(sublinear_tf=True),
    )
    weighted = text.fit_transform(table.columns["text"])
    seen = np.flatnonzero(np.asarray(weighted.sum(axis=0))[0])
    reducer = TruncatedSVD(128, random_state=0).fit(weighted[:, seen])
    reduced = reducer.transform(weighted[:, seen])
    # Words that the training did not see are left out before the norm is taken.
    hashed, of_training = (text[0].transform(of.columns["text"])[:, seen] for of in (new, table))
    of_new = reducer.transform(TfidfTransformer(sublinear_tf=True).fit(of_training).transform(hashed))
    scale = np.sqrt(reduced.var(axis=0).sum()) / np.sqrt(3)
    np.testing.assert_allclose(found[:, -128:], (of_new - reduced.mean(axis=0)) / scale, atol=1e-5)


def test_each_column_counts_alike_and_a_text_as_all_others(tmp_path):
    table = of_many_rows(tmp_path)
    encoded = encoding.encode(encoding.fit(table, ["number", "code", "text"]), table)
    variances = encoded.astype(np.float64).var(axis=0)
    sums = variances[0], variances[1:-128].sum(), variances[-128:].sum()
    np.testing.assert_allclose(sums, [1, 1, 2], rtol=1e-4)


def test_what_was_learnt_is_kept_to_the_bit(tmp_path):
    table = of_many_rows(tmp_path)
    learnt = encoding.fit(table, ["number", "gaps", "code", "text", "same"])
    saved_columns.save(tmp_path, learnt)
    again = saved_columns.load(tmp_path)
    assert again.columns == learnt.columns
    np.testing.assert_array_equal(encoding.encode(again, table), encoding.encode(learnt, table))
    (tmp_path / "columns.json").write_text("{")
    with pytest.raises(UserError, match=r"columns.json: is damaged .*; train the run anew"):
        saved_columns.load(tmp_path)
    assert saved_columns.load(tmp_path / "elsewhere") is None


def test_a_table_is_a_data_set(table):
    dataset = source.load(table.path, "kind", None)
    assert dataset.class_names == ("x", "y")
    assert dataset.train_labels.tolist() == [0, 1, 0, 1]
    assert dataset.remarks == (
        "t.csv: 3 numbers (size, when, open); 2 categories (colour, note); 3 missing values are filled in "
        "and marked; 'id' names the rows",
    )
    assert (dataset.train_names, dataset.named_by) == (["a1", "a2", "a3", "a4"], "id")
    rows = source.load_rows(table.path, dataset.columns, "kind", "id", Classes(2, ("x", "y")))
    np.testing.assert_array_equal(rows.images, dataset.train_images)
    assert rows.labels.tolist() == [0, 1, 0, 1]


def test_neither_the_label_nor_what_names_the_rows_is_learnt_from(table):
    dataset = source.load(table.path, "kind", "note")
    assert [column["name"] for column in dataset.columns.columns] == ["id", "size", "when", "open", "colour"]
    assert dataset.named_by == "note"


def test_a_column_names_the_rows_if_it_is_called_so_and_no_value_occurs_twice(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("patient_id,visit id,x,y\n1,a,1,u\n1,b,2,v\n2,c,3,u\n")
    assert encoding.id_column(read(path), None, "y") == "visit id"
    assert encoding.id_column(read(path), None, "visit id") is None
    assert encoding.id_column(read(path), "patient_id", "y") == "patient_id"


def test_a_column_is_found_by_its_name_wherever_it_is(table, tmp_path):
    dataset = source.load(table.path, "kind", None)
    rows = [line.split(",") for line in TEXT.replace('"a small, red one"', "note 1").splitlines()]
    (tmp_path / "turned.csv").write_text("\n".join(",".join(row[::-1]) for row in rows) + "\n")
    turned = encoding.encode(dataset.columns, read(tmp_path / "turned.csv"))
    (tmp_path / "same.csv").write_text("\n".join(",".join(row) for row in rows) + "\n")
    np.testing.assert_array_equal(turned, encoding.encode(dataset.columns, read(tmp_path / "same.csv")))


def test_a_gap_among_numbers_is_no_label(tmp_path):
    (tmp_path / "t.csv").write_text("grade,x\n1,2\n,3\n2,1\n")
    with pytest.raises(UserError, match="column 'grade' has no label in 1 rows, the first of them row 1"):
        labels_of(read(tmp_path / "t.csv"), "grade")


def test_a_time_of_day_is_a_part_of_a_day(tmp_path):
    (tmp_path / "t.csv").write_text("when\n2024-01-02 06:00:00\n2024-01-03 18:00:00\n")
    assert np.diff(read(tmp_path / "t.csv").columns["when"]).tolist() == [1.5]


@pytest.mark.parametrize(
    ("label", "ids", "said"),
    [
        (None, None, "needs --label COLUMN; its columns are id, size, when, open, colour, note, kind"),
        ("sort", None, "has no column 'sort'; its columns are id, size"),
        ("kind", "name", "has no column 'name'"),
        ("colour", None, "column 'colour' has no label in 1 rows, the first of them row 2"),
        ("size", None, "column 'size' holds numbers with fractions; expected a column of classes"),
    ],
)
def test_columns_that_are_not_there_are_named(table, label, ids, said):
    with pytest.raises(UserError, match=said):
        source.load(table.path, label, ids)


def test_rows_of_another_table_are_refused_or_filled(table, tmp_path):
    dataset = source.load(table.path, "kind", None)

    def rows(text):
        (tmp_path / "new.csv").write_text(text)
        return source.load_rows(tmp_path / "new.csv", dataset.columns, "kind", "id", Classes(2, ("x", "y")))

    without_labels = "\n".join(line.rpartition(",")[0] for line in TEXT.splitlines())
    found = rows(without_labels)
    np.testing.assert_array_equal(found.images, dataset.train_images)
    assert (found.labels, found.names) == (None, ["a1", "a2", "a3", "a4"])
    # One row, in which most is missing or new.
    assert np.isfinite(rows("size,when,open,colour,note\n,,,green,\n").images).all()
    with pytest.raises(UserError, match="has no column 'size'"):
        rows(without_labels.replace("size", "length"))
    with pytest.raises(UserError, match="column 'size' holds text, such as 'large'; the run was trained on"):
        rows(without_labels.replace("1.5", "large"))
