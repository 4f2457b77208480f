-- SPDX-FileCopyrightText: The Poolfleet Authors
-- SPDX-License-Identifier: Apache-2.0

-- The tables of prisma/schema.prisma, as `prisma migrate` would make them.
create extension citext;

create type "colour_type" as enum ('RED', 'GREEN', 'dark-blue');
create type "Role" as enum ('USER', 'EDITOR', 'ADMIN');

create table scalars (
	id integer primary key,
	text text, flag boolean, int integer, big bigint, float double precision,
	decimal decimal(65, 30), at timestamp(3), doc jsonb, bytes bytea, colour colour_type
);

create table natives (
	id integer primary key,
	text text, char char(5), varchar varchar(8), bit bit(4), varbit varbit(8),
	uuid uuid, xml xml, inet inet, citext citext,
	smallint smallint, integer integer, oid oid, bigint bigint, real real, double double precision,
	decimal decimal(10, 2),
	timestamp timestamp(6), seconds timestamp(0), timestamptz timestamptz(6), date date, time time(6), timetz timetz(6),
	json json, jsonb jsonb, bytea bytea
);

create table prices (id integer primary key, money money);

create table lists (
	id integer primary key,
	texts text[], flags boolean[], ints integer[], bigs bigint[], floats double precision[], decimals decimal(65, 30)[],
	ats timestamp(3)[], days date[], times time(6)[], docs jsonb[], bytes bytea[], colours colour_type[], uuids uuid[]
);

create table generated (
	id serial primary key,
	uuid4 text not null, uuid7 text not null, cuid1 text not null, cuid2 text not null, ulid text not null,
	nanoid text not null, nano8 text not null,
	server uuid not null default gen_random_uuid(),
	"createdAt" timestamptz(3) not null default current_timestamp,
	"updatedAt" timestamptz(3) not null,
	colour colour_type not null default 'dark-blue',
	count integer not null default 7,
	tags text[] default array['a', 'b']::text[],
	doc jsonb not null default '{"a":1}',
	note text
);

create table users (
	id serial primary key,
	email text not null,
	name text,
	role "Role" not null default 'USER',
	age integer,
	balance decimal(12, 2) not null default 0,
	active boolean not null default true,
	created_at timestamp(3) not null default current_timestamp,
	constraint users_age_check check (age >= 0)
);
create unique index users_email_key on users (email);

create table profiles (
	id serial primary key,
	bio text,
	links jsonb,
	user_id integer not null references users (id) on delete cascade on update cascade
);
create unique index profiles_user_id_key on profiles (user_id);

create table posts (
	id serial primary key,
	title text not null,
	body text,
	views integer not null default 0,
	published boolean not null default false,
	score double precision,
	author_id integer not null,
	reviewer_id integer,
	constraint posts_author_id_fkey foreign key (author_id) references users (id) on delete restrict on update cascade,
	constraint posts_reviewer_id_fkey foreign key (reviewer_id) references users (id) on delete set null on update cascade
);
create index posts_author_id_idx on posts (author_id);

create table comments (
	id serial primary key,
	text text not null,
	post_id integer not null references posts (id) on delete cascade on update cascade,
	author_id integer references users (id) on delete set null on update cascade
);

create table tags (name text primary key);

create table "_PostToTag" (
	"A" integer not null references posts (id) on delete cascade on update cascade,
	"B" text not null references tags (name) on delete cascade on update cascade,
	constraint "_PostToTag_AB_pkey" primary key ("A", "B")
);
create index "_PostToTag_B_index" on "_PostToTag" ("B");

create table categories (id serial primary key, name text not null);
create unique index categories_name_key on categories (name);

create table posts_in_categories (
	post_id integer not null references posts (id) on delete cascade on update cascade,
	category_id integer not null references categories (id) on delete cascade on update cascade,
	rank integer not null default 0,
	primary key (post_id, category_id)
);

create table people (
	id serial primary key,
	name text not null,
	boss_id integer references people (id) on delete no action on update no action,
	spouse_id integer references people (id) on delete no action on update no action
);
create unique index people_name_key on people (name);
create unique index people_spouse_id_key on people (spouse_id);

create table _follows (
	"A" integer not null references people (id) on delete cascade on update cascade,
	"B" integer not null references people (id) on delete cascade on update cascade,
	constraint "_follows_AB_pkey" primary key ("A", "B")
);
create index "_follows_B_index" on _follows ("B");

create table seats (
	"row" text not null,
	number integer not null,
	price decimal(8, 2) not null default 10,
	primary key ("row", number)
);

create table bookings (
	id uuid primary key,
	"row" text not null,
	number integer not null,
	day date not null,
	guest text,
	constraint bookings_row_number_fkey foreign key ("row", number) references seats ("row", number) on delete restrict on update cascade
);
create unique index bookings_row_number_day_key on bookings ("row", number, day);

create table accounts (id text primary key, balance integer not null, version integer not null default 0);

create table documents (id integer primary key, data jsonb not null, meta jsonb);

create table phantoms (id integer primary key);

create table mistyped (id integer primary key, required text, number text);

create table alarms (id integer primary key, state text not null);

create function refuse() returns trigger language plpgsql as $$
begin
	raise exception using errcode = new.state, message = 'refused with ' || new.state, detail = 'Key (state)=(' || new.state || ').',
		hint = 'a hint', column = 'state', constraint = 'alarms_rule', datatype = 'text', table = 'alarms', schema = 'public';
end $$;
create trigger refuse before insert on alarms for each row execute function refuse();

create table events (
	id bigserial primary key,
	kind text not null,
	at timestamptz(6) not null,
	data jsonb not null default '{}'
);
create unique index events_kind_at_key on events (kind, at);
