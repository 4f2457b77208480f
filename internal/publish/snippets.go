// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"cmp"
	"embed"
	"encoding/json"
	"strconv"
	"strings"
	"text/template"
)

// Keys of texts that are ready to be pasted into a Worker's project. They are there
// where workers reach the pool, and named after the files that they are for.
const (
	KeyWranglerTOML = "wrangler.toml"
	KeyDevVars      = ".dev.vars"
	KeyDotEnv       = ".env"
	KeyPrismaSchema = "schema.prisma"
	KeyPrismaConfig = "prisma.config.ts"
	// KeyHyperdriveCreate is a shell script. It takes the password from PGPASSWORD.
	KeyHyperdriveCreate = "hyperdrive-create.sh"
)

// hyperdriveLimit is how many connections a Hyperdrive configuration keeps to a pool:
// what Cloudflare's free plan allows, and at least 5. They are clients of the poolers,
// not connections of the server.
const hyperdriveLimit = 20

//go:embed snippets
var files embed.FS

var snippets = template.Must(template.New("").Funcs(template.FuncMap{"escape": escape, "toml": strconv.Quote, "json": quoteJSON}).ParseFS(files, "snippets/*.tmpl"))

// worker is what a Worker's project is told.
type worker struct {
	Name string
	// TCP, Edge, Accelerate and Direct are URLs, with passwords. They stand in double
	// quotes. All but Direct are empty where workers do not reach the pool that way.
	TCP, Edge, Accelerate, Direct string
	// Host is where workers reach the pool, by TCP if they can. Address is its host:port.
	Host, Address, Port, SSLMode string
	// User is empty where each application has its own.
	User, Database string
	// Hyperdrive is whether it can be between: it insists on TLS.
	Hyperdrive bool
	// Private is whether clients need ca.crt to verify the poolers' certificate.
	Private bool
	Limit   int
}

// pasted returns the texts for Workers that reach the pool. A Worker has no certificate
// to show, so it reaches none by TCP that asks for one.
func pasted(in Inputs, pooled Server) map[string]string {
	w := worker{
		Name: in.Pool + "-" + in.Namespace, Direct: Quotable(in.Direct), User: pooled.User, Database: pooled.Database,
		SSLMode: "require", Private: in.CA != "", Limit: hyperdriveLimit,
	}
	mode := cmp.Or(in.TLSMode, "disable")
	at := pooled
	if at.User == "" {
		at.User, at.Password = "USER", "PASSWORD"
		w.Direct = strings.Replace(w.Direct, "://", "://USER:PASSWORD@", 1)
	}
	if in.EdgeHost != "" {
		edge := atGateway(at, in.EdgeHost)
		w.Edge, w.Host = Quotable(edge.url()), in.EdgeHost
		w.Accelerate = accelerated(in)[KeyAccelerateURL]
		if w.User == "" {
			w.Accelerate = accelerateURL(in.EdgeHost) + "?api_key=KEY"
		}
	}
	if in.ExternalHost != "" && !strings.HasPrefix(mode, "verify-") {
		if mode == "disable" {
			w.SSLMode = mode
		}
		at.Host, at.SSLMode = in.ExternalHost, w.SSLMode
		w.TCP, w.Host, w.Address, w.Port = Quotable(at.url()), at.Host, at.address(), strconv.Itoa(int(at.Port))
		w.Hyperdrive = mode != "disable"
	}
	return w.texts()
}

func (w worker) texts() map[string]string {
	if w.Host == "" {
		return nil
	}
	texts := map[string]string{
		KeyWranglerTOML: render("wrangler.toml", w), KeyDevVars: render("dev.vars", w), KeyDotEnv: render("env", w),
		KeyPrismaSchema: render("schema.prisma", w), KeyPrismaConfig: render("prisma.config.ts", w),
	}
	if w.Hyperdrive {
		texts[KeyHyperdriveCreate] = render("hyperdrive-create.sh", w)
	}
	return texts
}

func render(name string, data any) string {
	var text strings.Builder
	if err := snippets.ExecuteTemplate(&text, name+".tmpl", data); err != nil {
		panic(err) // A template that names no field of its data: a mistake in this program.
	}
	return text.String()
}

// quoteJSON is text as a literal of JavaScript's.
func quoteJSON(text string) (string, error) {
	literal, err := json.Marshal(text)
	return string(literal), err
}

// Quotable escapes what the readers of .env and .dev.vars do not all leave alone
// between double quotes. In a URL the escaped form means the same.
func Quotable(url string) string {
	return strings.NewReplacer(`"`, "%22", "$", "%24", "'", "%27", `\`, "%5C", "`", "%60", "#", "%23").Replace(url)
}
