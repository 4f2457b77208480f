// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build bench

package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/internal/edge"
)

// gatewayRole, in the environment, makes this program a gateway instead of tests.
const gatewayRole = "POOLFLEET_BENCH_GATEWAY"

func TestMain(m *testing.M) {
	if job := os.Getenv(gatewayRole); job != "" {
		if err := beGateway([]byte(job)); err != nil {
			slog.Error("the gateway ends", "error", err.Error())
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// gatewayJob is what a gateway needs to know.
type gatewayJob struct {
	Domain           string
	Pool             edge.Pool
	Certificate, Key string // Files; without, it speaks plain HTTP.
	// Constant makes it answer what the pool would without asking it, by net/http and
	// nothing else: no gateway in Go can spend less on HTTP.
	Constant bool
}

// gatewayWord is what a gateway says, in a line of JSON: first where it listens, then
// for each line that it is sent how much memory is in use after a collection.
type gatewayWord struct {
	Address     string
	Heap, Stack uint64 // Bytes.
}

// beGateway is what cmd/edge does, for one pool and without Kubernetes, until its
// input ends.
func beGateway(text []byte) error {
	var job gatewayJob
	if err := json.Unmarshal(text, &job); err != nil {
		return err
	}
	edge.TuneMemory(slog.Default())
	server, err := job.server()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var listener net.ListenConfig
	clients, err := listener.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	metrics, err := listener.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	say := json.NewEncoder(os.Stdout)
	if err := say.Encode(gatewayWord{Address: clients.Addr().String()}); err != nil {
		return err
	}
	go func() {
		defer stop()
		for asked := bufio.NewScanner(os.Stdin); asked.Scan(); {
			var m runtime.MemStats
			debug.FreeOSMemory()
			runtime.ReadMemStats(&m)
			_ = say.Encode(gatewayWord{Heap: m.HeapAlloc, Stack: m.StackInuse}) // Who asked fails without an answer.
		}
	}()
	if job.Constant {
		return serveConstant(ctx, clients, job)
	}
	return server.Run(ctx, clients, metrics)
}

// constantAnswer is the gateway's to sqlBody.
const constantAnswer = `{"command":"SELECT","rowCount":1,"rowAsArray":true,"fields":[{"name":"?column?","dataTypeID":23,"tableID":0,` +
	`"columnID":0,"dataTypeSize":4,"dataTypeModifier":-1,"format":"text"}],"rows":[["42"]]}`

func serveConstant(ctx context.Context, clients net.Listener, job gatewayJob) error {
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // Whoever sent half a request fails by the answer.
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, constantAnswer)
	}), ReadHeaderTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ServeTLS(clients, job.Certificate, job.Key); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (j gatewayJob) server() (*edge.Server, error) {
	var certificate *edge.Certificate
	if j.Certificate != "" {
		var err error
		if certificate, err = edge.OpenCertificate(j.Certificate, j.Key); err != nil {
			return nil, err
		}
	}
	directory := &edge.Directory{Domain: j.Domain}
	directory.Replace(map[string]edge.Pool{j.Pool.Label: j.Pool})
	door, limiter := &edge.Door{Timeout: time.Minute}, &edge.Limiter{}
	connections := &edge.Connections{Directory: directory, Door: door, Limits: edge.DefaultKeptLimits}
	sockets := &edge.WebSocket{Directory: directory, Door: door, Limiter: limiter}
	server := &edge.Server{
		SQL:       &edge.HTTP{Directory: directory, Connections: connections, Limiter: limiter, Limits: edge.DefaultHTTPLimits},
		WebSocket: sockets, Metrics: edge.NewMetrics(directory, limiter, sockets.Open), Certificate: certificate,
		Ready: func() error { return nil }, Timeout: time.Second, Shutdown: sockets.Shutdown,
		// As installed: a line for each request, to where nobody reads it here.
		Log: slog.New(slog.NewJSONHandler(io.Discard, nil)), AccessLog: true,
	}
	sockets.Ended = server.EndWebSocket
	server.Accelerate = accelerated(directory, connections, limiter)
	return server, nil
}

// aGateway is one in a process of its own.
type aGateway struct {
	address string
	pid     int
	ask     io.Writer
	words   *json.Decoder
}

func startGateway(t *testing.T, job gatewayJob) *aGateway {
	t.Helper()
	text, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), gatewayRole+"="+string(text))
	cmd.Stderr = os.Stderr
	ask, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	words, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = ask.Close()
		if err := cmd.Wait(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("ending the gateway: %v", err)
		}
	})
	g := &aGateway{pid: cmd.Process.Pid, ask: ask, words: json.NewDecoder(words)}
	g.address = g.hear(t).Address
	return g
}

func (g *aGateway) hear(t *testing.T) gatewayWord {
	t.Helper()
	var word gatewayWord
	if err := g.words.Decode(&word); err != nil {
		t.Fatalf("hearing from the gateway: %v", err)
	}
	return word
}

// memory is what the gateway uses, in bytes, once what it does not need is given back.
type memory struct{ resident, heap, stack float64 }

func (g *aGateway) memory(t *testing.T) memory {
	t.Helper()
	if _, err := io.WriteString(g.ask, "\n"); err != nil {
		t.Fatal(err)
	}
	word := g.hear(t)
	return memory{resident: resident(t, g.pid), heap: float64(word.Heap), stack: float64(word.Stack)}
}

// resident is a process's memory without what the kernel holds for it, in bytes.
// Source: proc(5), /proc/pid/status, VmRSS.
func resident(t *testing.T, pid int) float64 {
	t.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	return find(t, strings.ReplaceAll(string(status), "\t", " "), `VmRSS: +(\d+) kB`) * 1024
}
