-- What the plans beside this file run against, as models of Prisma's:
--
--   model Author { id Int @id @default(autoincrement()), email String, name String?, books Book[] }
--   model Book   { id Int @id @default(autoincrement()), title String, price Decimal, published DateTime,
--                  inPrint Boolean, authorId Int, author Author @relation(fields: [authorId], references: [id]) }
CREATE TABLE "Author" ("id" serial PRIMARY KEY, "email" text NOT NULL, "name" text);
CREATE TABLE "Book" (
    "id" serial PRIMARY KEY, "title" text NOT NULL, "price" decimal(65,30) NOT NULL, "published" timestamp(3) NOT NULL,
    "inPrint" boolean NOT NULL, "authorId" integer NOT NULL REFERENCES "Author"
);
CREATE INDEX ON "Book" ("authorId");
INSERT INTO "Author" ("email", "name") SELECT 'author' || i || '@example.com', 'Author ' || i FROM generate_series(1, 200) i;
INSERT INTO "Book" ("title", "price", "published", "inPrint", "authorId")
    SELECT 'Book ' || i, i / 100.0, timestamp '2026-01-01' + i * interval '1 minute', i % 3 > 0, i % 200 + 1 FROM generate_series(1, 1000) i;
