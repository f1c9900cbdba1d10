"""Patches that somebody marked in the viewer come first on the labelling page, until somebody has answered them."""

from tests.web.label.test_server import Reader, begin, project
from wsss_mm.labelling.journal import Journal, journal_path, new_entry, read_journals

__all__ = ["begin", "project"]  # fixtures


def test_a_marked_patch_comes_first_until_it_is_answered(begin, tmp_path):
    session, _, app = begin()
    ann, bob = Reader(app, "ann"), Reader(app, "bob")
    row = ann.get("/api/queue?order=random")["rows"][5]
    place = session.table.place(row["row"])
    ann.post("/api/answer", rows=[row["row"]], classes={"TUM": "absent"})
    assert row["row"] not in [item["row"] for item in ann.get("/api/queue?order=random")["rows"]]
    Journal(journal_path("eve", tmp_path / "labels"), "eve").append(
        [new_entry("mark", **place, drawn="correction"), new_entry("mark", **{**place, "slide": "gone"})]
    )
    for reader, order in ((ann, "random"), (ann, "slide"), (bob, "random")):
        items = reader.get(f"/api/queue?order={order}")["rows"]
        assert (items[0]["row"], items[0]["drawn"]) == (row["row"], "correction")
        assert [item["row"] for item in items].count(row["row"]) == 1
    slides = {item.slide_id for item in session.table.slides} - {place["slide"]}
    assert ann.get(f"/api/queue?order=slide&slide={min(slides)}")["rows"][0]["drawn"] == "slide"
    assert ann.get(f"/api/queue?order=random&skip={row['row']}")["rows"][0]["drawn"] == "random"

    item = bob.get("/api/queue?order=random")["rows"][0]
    bob.post("/api/skip", row=item["row"], ticket=item["ticket"], drawn=item["drawn"])
    assert bob.get("/api/queue?order=random")["rows"][0]["drawn"] == "random"  # passed over, for himself
    item = ann.get("/api/queue?order=random")["rows"][0]
    assert item["drawn"] == "correction"
    ann.post("/api/answer", rows=[item["row"]], classes={"TUM": "present"}, ticket=item["ticket"], drawn=item["drawn"])
    assert ann.get("/api/queue?order=random")["rows"][0]["drawn"] == "random"
    told = {
        (said.place.slide, said.place.x, said.place.y): said
        for said in read_journals(tmp_path / "labels").answers("ann")
    }
    answer = told[place["slide"], place["x"], place["y"]]
    assert (answer.states, answer.drawn) == ({"TUM": "present"}, "correction")
