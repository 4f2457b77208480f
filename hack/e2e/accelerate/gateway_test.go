// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package accelerate

import (
	"context"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/edge/accelerate"
	"github.com/poolfleet/poolfleet/internal/edge/apikey"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

const (
	domain         = "edge.test"
	label          = "shop-web"
	clientPassword = "s3cret/of the:client@100%"
	// backends is as few server connections as the cases need that have transactions
	// wait for each other.
	backends = 3
	// patience is for a busy machine; nothing waits for it when all is well.
	patience = time.Minute
)

// A gateway serves one pool, whose poolers speak TLS, in transaction mode.
type gateway struct {
	port string
	// authority is the file with what its certificate comes from.
	authority string
}

// aGateway is the gateway as its command runs it, before a PgBouncer that has the
// databases.
func aGateway(t *testing.T, s *server, databases ...*database) gateway {
	t.Helper()
	pool := edge.Pool{Namespace: "web", Name: "shop", Label: label, MaxConcurrency: 1000, TLS: true}
	pool.Address, pool.Authority = aPgBouncer(t, s, databases)
	directory := &edge.Directory{Domain: domain}
	directory.Replace(map[string]edge.Pool{label: pool})

	authority := testenv.NewAuthority(t)
	g := gateway{authority: filepath.Join(t.TempDir(), "ca.crt")}
	issued := authority.Issue(t, label+"."+domain)
	certificate, key := filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")
	for path, text := range map[string][]byte{g.authority: authority.CA, certificate: issued.Certificate, key: issued.Key} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	opened, err := edge.OpenCertificate(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	g.port = serve(t, directory, opened)
	return g
}

// serve runs the gateway until the test is over, and returns its port.
func serve(t *testing.T, directory *edge.Directory, certificate *edge.Certificate) string {
	t.Helper()
	limits := edge.DefaultHTTPLimits
	limits.RequestBytes = 64 << 20 // Older clients take more than the default for as many parameters as there can be.
	limiter, said := &edge.Limiter{}, &testenv.Buffer{}
	connections := &edge.Connections{Directory: directory, Door: &edge.Door{Timeout: patience}, Limits: edge.DefaultKeptLimits}
	transactions := &accelerate.Transactions{Limits: accelerate.DefaultTransactionLimits}
	sockets := &edge.WebSocket{Directory: directory, Door: connections.Door, Limiter: limiter}
	front := &edge.Server{
		SQL:       &edge.HTTP{Directory: directory, Connections: connections, Limiter: limiter, Limits: limits},
		WebSocket: sockets, Metrics: edge.NewMetrics(directory, limiter, sockets.Open), Certificate: certificate,
		Accelerate: &accelerate.Handler{
			Directory: directory, Connections: connections, Limiter: limiter, Limits: limits, Transactions: transactions,
		},
		Ready: func() error { return nil }, Timeout: patience, Shutdown: sockets.Shutdown,
		Log: slog.New(slog.NewJSONHandler(said, nil)),
	}
	clients, metrics := listening(t), listening(t)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- front.Run(ctx, clients, metrics) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("shutting down: %v", err)
		}
		connections.Close()
		if t.Failed() {
			t.Logf("the gateway said: %s", said)
		}
	})
	_, port, err := net.SplitHostPort(clients.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// aPgBouncer returns where it is, and the authority of its certificate.
func aPgBouncer(t *testing.T, s *server, databases []*database) (address, authority string) {
	t.Helper()
	certificate := testenv.NewCertificate(t, "127.0.0.1")
	rendering := pgbouncer.Rendering{
		Config: pgbouncer.Config{
			Server:               pgbouncer.Server{Host: s.Host, Port: s.Port, User: owner, Password: ownerPassword, TLSMode: "disable"},
			Mode:                 pgbouncer.ModeTransaction,
			Users:                []pgbouncer.User{{Name: "app", Password: clientPassword}},
			ClientTLS:            pgbouncer.ClientTLS{Mode: "require", Certificate: string(certificate.Certificate), Key: string(certificate.Key)},
			MaxClientConnections: 1000,
		},
		Limits: pgbouncer.Limits{},
	}
	for _, d := range databases {
		rendering.Config.Databases = append(rendering.Config.Databases, pgbouncer.Database{Name: d.name, Database: d.name})
		rendering.Limits[d.name] = backends
	}
	running := testenv.PgBouncer(t, rendering)
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(running.Port))), string(certificate.CA)
}

func listening(t *testing.T) net.Listener {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// url is what a client is given for a database.
func (g gateway) url(d *database) string {
	key := apikey.Key{Namespace: "web", Pool: "shop", User: "app", Password: clientPassword, Database: d.name}
	return "prisma://" + net.JoinHostPort(label+"."+domain, g.port) + "/?api_key=" + url.QueryEscape(key.String())
}

// byGateway are the client in Node.js and in workerd.
func (v version) byGateway(t *testing.T, s *server) []way {
	t.Helper()
	node, worker := s.database(t), s.database(t)
	g := aGateway(t, s, node, worker)
	environment := []string{"NODE_EXTRA_CA_CERTS=" + g.authority}
	ofNode := program{
		Directory: v.directory, Script: "dist-node/node.js", Hosts: []string{label + "." + domain},
		Environment: append(environment, "ACCELERATE_URL="+g.url(node)),
	}
	workers, err := filepath.Abs(workersDirectory)
	if err != nil {
		t.Fatal(err)
	}
	ofWorker := program{
		Directory: v.directory, Script: filepath.Join(workers, "runner.js"), Hosts: ofNode.Hosts, Environment: environment,
		Told: map[string]any{"bindings": map[string]string{"ACCELERATE_URL": g.url(worker)}, "hyperdrives": map[string]string{}},
	}
	return []way{
		{inNode, runnerAt(ofNode.start(t)), node},
		{inWorker, runnerAt(ofWorker.start(t)), worker},
	}
}

// workersDirectory is where hack/workers.sh puts what runs Workers.
const workersDirectory = "../../../.cache/workers"
