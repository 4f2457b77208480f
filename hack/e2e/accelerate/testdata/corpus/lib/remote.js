// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// remote is what makes a client use an Accelerate URL.
export function remote(url, Prisma) {
  const [major] = Prisma.prismaVersion.client.split(".");
  return Number(major) < 7 ? { datasourceUrl: url } : { accelerateUrl: url };
}
