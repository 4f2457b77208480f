// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package publish

import "github.com/poolfleet/poolfleet/internal/edge/apikey"

// Keys for Prisma Accelerate's clients, where the gateway serves the pool. The URLs hold
// a key that carries the login: they are worth what the password is.
const (
	// KeyAccelerateURL holds the URL that Prisma 5 and 6 insist on with --no-engine.
	KeyAccelerateURL = "ACCELERATE_URL"
	// KeyPrismaPostgresURL holds the same with the scheme of Prisma's own databases.
	KeyPrismaPostgresURL = "PRISMA_POSTGRES_URL"
	// KeyAccelerateScript is a script that prints ACCELERATE_URL for a user of one's own.
	KeyAccelerateScript = "accelerate-url.mjs"
)

// accelerateURL is where Accelerate's clients reach the gateway; they always use TLS.
func accelerateURL(host string) string { return "prisma://" + host + "/" }

// accelerated returns the data for Accelerate's clients. Where each application has its
// own user there is the script alone, and with a password too long for a key nothing.
func accelerated(in Inputs) map[string]string {
	switch key := apiKey(in); {
	case in.EdgeHost == "":
		return nil
	case in.Login.Username == "":
		return map[string]string{KeyAccelerateScript: render("accelerate-url.mjs", in)}
	case key == "":
		return nil
	default:
		return map[string]string{
			KeyAccelerateURL:     accelerateURL(in.EdgeHost) + "?api_key=" + key,
			KeyPrismaPostgresURL: "prisma+postgres://" + in.EdgeHost + "/?api_key=" + key,
		}
	}
}

func apiKey(in Inputs) string {
	return apikey.Key{
		Namespace: in.Namespace, Pool: in.Pool,
		User: in.Login.Username, Password: in.Login.Password, Database: in.Database,
	}.String()
}
