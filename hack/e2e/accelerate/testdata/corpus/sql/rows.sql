-- SPDX-FileCopyrightText: The Poolfleet Authors
-- SPDX-License-Identifier: Apache-2.0

-- What every case begins with. Nothing in here looks like it was generated or is new:
-- what does is masked where results are compared.
insert into scalars values
	(1, 'plain', true, 42, 9007199254740993, 1.5, 12.345, '2001-02-03 04:05:06.789', '{"a": [1, 2, {"b": null}], "c": "é"}', '\x00ff10', 'RED'),
	(2, '', false, -2147483648, -9223372036854775808, -0.1, -0.000000000000000000000000000001, '1970-01-01 00:00:00', '[]', '\x', 'dark-blue'),
	(3, E'a "quote", a \\ and\n日本語 🎉', true, 2147483647, 9223372036854775807, 1.7976931348623157e308, 99999999999999999999999999999999999.5, '1999-12-31 23:59:59.999', '"text"', '\xdeadbeef', 'GREEN'),
	(4, null, null, null, null, null, null, null, null, null, null),
	(5, 'null json', null, 0, 0, 0, 0, '0001-01-01 00:00:00', 'null', null, null);

insert into natives values
	(1, 'text', 'ab', 'varchar', b'1010', b'101', '00000000-0000-4000-8000-000000000001', '<a>1</a>', '192.168.0.1', 'CiText',
	 12, 34, 56, 78, 1.25, 2.5, 12.30,
	 '2001-02-03 04:05:06.123456', '2001-02-03 04:05:06', '2001-02-03 04:05:06.123456+02', '2001-02-03', '04:05:06.123456', '04:05:06.123456+02',
	 '{"b": 1,  "a": [1.0]}', '{"b": 1, "a": [1.0]}', '\x0102'),
	(2, '', '', '', b'0000', b'', 'ffffffff-ffff-4fff-bfff-ffffffffffff', '', '2001:db8::/32', '',
	 -32768, -2147483648, 0, -9223372036854775808, -3.4e38, 5e-324, -99999999.99,
	 '0001-01-01 00:00:00', '1970-01-01 00:00:00', '1970-01-01 00:00:00+00', '0001-01-01', '00:00:00', '00:00:00+00',
	 'null', 'null', '\x'),
	(3, 'limit', 'abcde', 'abcdefgh', b'1111', b'11111111', null, null, '10.0.0.0/8', null,
	 32767, 2147483647, 2147483647, 9223372036854775807, 3.4e38, 1.7976931348623157e308, 99999999.99,
	 '9999-12-31 23:59:59.999', '9999-12-31 23:59:59', '9999-12-31 23:59:59.999+00', '9999-12-31', '23:59:59.999', '23:59:59.999-12',
	 '[1e3, 12345678901234567890, 0.1]', '[1e3, 12345678901234567890, 0.1]', '\xffffffff');
insert into natives (id) values (4);

insert into prices values (1, 1234.56), (2, -92233720368547758.08), (3, 92233720368547758.07), (4, null), (5, 0.1);

insert into lists values
	(1, '{a,"b,c","d\"e",""}', '{t,f}', '{1,-2,2147483647}', '{9223372036854775807,0}', '{1.5,-0.1}', '{1.10,2.000000000000000000000000000001}',
	 '{2001-02-03 04:05:06.789,1999-12-31 23:59:59}', '{2001-02-03}', '{04:05:06}', array['{"a": 1}', '[1, 2]', '"x"', 'null']::jsonb[],
	 '{"\\x00ff","\\x"}', '{RED,dark-blue}', '{00000000-0000-4000-8000-000000000001}'),
	(2, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'),
	(3, '{日本,"NULL","null"}', '{t}', '{1}', '{1}', '{1}', '{1}', '{2001-02-03 04:05:06}', '{1999-12-31,2001-02-03}', '{00:00:00,23:59:59.999}', array['{}']::jsonb[], '{"\\xdeadbeef"}', '{GREEN}', '{}');

insert into users (id, email, name, role, age, balance, active, created_at) values
	(1, 'ada@example.org', 'Ada', 'ADMIN', 36, 100.50, true, '2001-01-01 00:00:00'),
	(2, 'bob@example.org', 'Bob', 'USER', 25, 20, true, '2001-01-02 00:00:00'),
	(3, 'cy@example.org', 'Cy', 'EDITOR', null, 0, false, '2001-01-03 00:00:00'),
	(4, 'dee@example.org', null, 'USER', 25, -5.25, true, '2001-01-04 00:00:00'),
	(5, 'eve@example.org', 'Eve', 'USER', 61, 20, false, '2001-01-05 00:00:00');

insert into profiles (id, bio, links, user_id) values
	(1, 'Counts', '{"site": "ada.example"}', 1),
	(2, null, null, 2);

insert into posts (id, title, body, views, published, score, author_id, reviewer_id) values
	(1, 'Engines', 'On engines', 10, true, 4.5, 1, 2),
	(2, 'Notes', null, 5, true, null, 1, null),
	(3, 'Draft', 'A draft', 0, false, 1.25, 1, 3),
	(4, 'Pipes', 'On pipes', 7, true, 3, 2, 1),
	(5, 'Pools', 'On pools', 70, true, 4.75, 3, null),
	(6, 'Empty', '', 0, false, null, 2, 1);

insert into comments (id, text, post_id, author_id) values
	(1, 'First', 1, 2), (2, 'Second', 1, 3), (3, 'Third', 1, null), (4, 'Nice', 4, 1), (5, 'Hm', 5, 2);

insert into tags values ('go'), ('sql'), ('maths'), ('unused');
insert into "_PostToTag" values (1, 'maths'), (1, 'go'), (2, 'maths'), (4, 'go'), (5, 'sql'), (5, 'go');

insert into categories (id, name) values (1, 'Old'), (2, 'New'), (3, 'Nobody');
insert into posts_in_categories values (1, 1, 3), (1, 2, 1), (4, 2, 2), (5, 2, 5);

insert into people (id, name, boss_id, spouse_id) values (1, 'Root', null, null);
insert into people (id, name, boss_id, spouse_id) values (2, 'Left', 1, null), (3, 'Right', 1, 2), (4, 'Leaf', 2, null), (5, 'Twig', 4, null);
insert into _follows values (1, 2), (2, 3), (3, 1), (4, 1);

insert into seats values ('A', 1, 10), ('A', 2, 12.5), ('B', 1, 20);
insert into bookings values
	('00000000-0000-4000-8000-00000000000a', 'A', 1, '2001-05-01', 'Ada'),
	('00000000-0000-4000-8000-00000000000b', 'A', 1, '2001-05-02', 'Bob'),
	('00000000-0000-4000-8000-00000000000c', 'B', 1, '2001-05-01', null);

insert into accounts values ('a', 100, 0), ('b', 50, 0), ('c', 0, 0);

insert into documents values
	(1, '{"name": "one", "tags": ["x", "y"], "size": {"w": 10, "h": 2.5}, "on": true, "none": null}', '{"rev": 1}'),
	(2, '{"name": "two", "tags": [], "size": {"w": 3}, "on": false}', 'null'),
	(3, '["x", 1, {"deep": ["er"]}]', null),
	(4, '"just text"', '[]'),
	(5, '17.50', '{"rev": 2, "big": 12345678901234567890}');

insert into phantoms values (1);
insert into mistyped values (1, null, '1'), (2, 'there', 'one'), (3, 'fine', '3');

insert into events (id, kind, at, data) values
	(9007199254740993, 'start', '2001-02-03 04:05:06.123456+00', '{"n": 1}'),
	(9007199254740994, 'stop', '2001-02-03 05:00:00+00', '{}');

select setval('users_id_seq', 100), setval('profiles_id_seq', 100), setval('posts_id_seq', 100), setval('comments_id_seq', 100),
	setval('categories_id_seq', 100), setval('people_id_seq', 100), setval('generated_id_seq', 100), setval('events_id_seq', 9007199254740999);
