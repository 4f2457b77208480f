// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

import { PrismaClient } from "@prisma/client/edge";
import { withAccelerate } from "@prisma/extension-accelerate";

export const clientOf = (env) => new PrismaClient({ datasourceUrl: env.DATABASE_URL }).$extends(withAccelerate());
