"""What people say of tissues: tables of labelled patches."""

import pytest

from wsss_mm.errors import InputError
from wsss_mm.patches import get_vocabulary
from wsss_mm.patches.truth import read_patch_labels

LUNG = get_vocabulary("lung")


class TestLabels:
    @pytest.fixture
    def read(self, tmp_path):
        def from_text(text):
            (tmp_path / "labels.csv").write_text(text)
            return read_patch_labels(tmp_path / "labels.csv", ["S1", "S2"], LUNG)

        return from_text

    @pytest.mark.parametrize(
        "text",
        [
            "slide_id,x,y,labels\nS1,448,0,TE;TAS\n",
            'Slide ID;X;Y;Labels\nS1;448,0;0;"TE;TAS"\n;;;\n',
            'slide_id,x,y,labels\nS1,448.00,0,"te, tumour-associated\u00a0stroma"\n',
            'slide_id,x,y,labels\nS1,448,0,"TE\nTAS"\n',
        ],
    )
    def test_a_table_of_any_spreadsheet(self, read, text):
        frame = read(text)
        assert frame.to_dict("records") == [
            {"slide_id": "S1", "x": 448, "y": 0, "TE": True, "NEC": False, "LYM": False, "TAS": True}
        ]

    def test_rows_keep_their_lines(self, read):
        assert list(read("\nslide_id,x,y,labels\n\nS1,0,0,TE\n\nS2,0,0,TE\n").index) == [4, 6]

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("S1,12.000,0,TE", r"line 3: x '12\.000' is no position"),  # a thousand, or a decimal point
            ('S1,"12,000",0,TE', "line 3: x '12,000' is no position"),
            ("S1,1e3,0,TE", "line 3: x '1e3' is no position"),
            ("S1,0_25,0,TE", "line 3: x '0_25' is no position"),
            ("S1,\u0661,0,TE", "is no position"),
            ("s1,0,0,TE", r"line 3: slide_id 's1' is not in slides\.csv \(S1 is\)"),
            ("S1,0,0,TE,TAS", "line 3: 'TAS' stands in no column, of slide_id, x, y, labels"),
            ("S1,0,0,#N/A", "line 3: '#N/A' is no class"),
        ],
    )
    def test_what_may_mean_two_things_is_refused(self, read, row, message):
        with pytest.raises(InputError, match=message):
            read(f"slide_id,x,y,labels\n\n{row}\n")
