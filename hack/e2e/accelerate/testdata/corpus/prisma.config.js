// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

import { defineConfig } from "prisma/config";

export default defineConfig({ schema: "prisma/schema.prisma" });
