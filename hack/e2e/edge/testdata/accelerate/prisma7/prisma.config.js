// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

import "dotenv/config";
import { defineConfig, env } from "prisma/config";

// Migrations go to the database itself.
export default defineConfig({ schema: "prisma/schema.prisma", datasource: { url: env("DIRECT_URL") } });
