// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

import { withAccelerate } from "@prisma/extension-accelerate";
import { PrismaClient } from "../generated/prisma/client.ts";

export const clientOf = (env) => new PrismaClient({ accelerateUrl: env.DATABASE_URL }).$extends(withAccelerate());
