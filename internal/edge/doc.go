// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package edge is the gateway by which workers reach pools over HTTP and WebSocket, as
// the Neon serverless driver speaks them. It keeps no password, reads no Secret and
// dials nothing but the poolers of pools that ask for it; it knows no Kubernetes: who
// watches ConnectionPools fills its Directory.
package edge
