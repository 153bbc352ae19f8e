"""What comes back is what went, with its identifiers, in one transaction."""

from __future__ import annotations

ODD = 'Odd "na.me'


def test_rows_come_back_whole_with_their_identifiers_and_parents(visitors):
    went = visitors.one("""select string_agg(o::text, '|' order by id) from before_r1."Odd ""na.me" o""")
    visitors.write(tables=(ODD,))
    assert visitors.one("""select string_agg(o::text, '|' order by id) from public."Odd ""na.me" o""") == went
    assert visitors.one("select name from public.place where id = 201") == "new 1"
    assert visitors.one("select count(*) from public.place") == 201
    assert visitors.one("select username from public.auth_user where id = 21") == "ada"
    assert visitors.plan(tables=(ODD,)).nothing


def test_new_rows_get_numbers_that_nobody_had(visitors):
    visitors.do("select setval('public.place_id_seq', 5)")
    visitors.write(tables=("place",))
    assert visitors.one("insert into public.place(name) values ('later') returning id") == 204
