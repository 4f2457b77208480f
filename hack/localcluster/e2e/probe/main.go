// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Command probe is what the tests run in pods: it serves its host name, and
// looks at the world from inside.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: probe serve|get|resolve|read ARGUMENT")
		os.Exit(2)
	}
	actions := map[string]func(string) (string, error){"serve": serve, "get": get, "resolve": resolve, "read": read}
	answer, err := actions[os.Args[1]](os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Print(answer)
}

func serve(address string) (string, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", err
	}
	fmt.Println("serving", name)
	server := http.Server{Addr: address, ReadTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, name)
	})}
	return "", server.ListenAndServe()
}

func get(url string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}

func resolve(name string) (string, error) {
	addresses, err := (&net.Resolver{PreferGo: true}).LookupHost(context.Background(), name)
	return strings.Join(addresses, " "), err
}

func read(path string) (string, error) {
	content, err := os.ReadFile(path)
	return string(content), err
}
