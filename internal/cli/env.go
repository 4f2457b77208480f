// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/publish"
)

// formats are the values of env's --format.
var formats = []string{"dotenv", "wrangler", "dev-vars", "prisma", "json", "jdbc"}

// errNoWorkers says that a text for Workers is not published: they do not reach the pool.
var errNoWorkers = errors.New("workers do not reach the pool: set spec.edge.mode to Enabled, or spec.service.externalHostname; inside the cluster use --format dotenv, json or jdbc")

func newEnvCommand(env *environment) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "env POOL",
		Short: "Print what to paste where, passwords included",
		Long: `Print what to paste where, passwords included, from the Secret that the pool publishes.

  dotenv    DATABASE_URL and DIRECT_URL, and what workers use, for .env
  wrangler  wrangler.toml of a Worker, without passwords
  dev-vars  .dev.vars of a Worker
  prisma    schema.prisma, prisma.config.ts and .env of a Worker that uses Prisma
  json      all keys of the Secret
  jdbc      the URL that Java's drivers read

The output is for files that are not in version control.`,
		Example:           "  kubectl poolfleet env shop > .env\n  kubectl poolfleet env shop --format dev-vars > .dev.vars",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: env.completePools,
		RunE: func(cmd *cobra.Command, args []string) error {
			if env.output != "" {
				return usageError("env has --format json in place of -o")
			}
			if !slices.Contains(formats, format) {
				return usageError("--format %s is not known: use %s", format, strings.Join(formats, ", "))
			}
			return env.env(cmd, args[0], format)
		},
	}
	cmd.Flags().StringVar(&format, "format", formats[0], strings.Join(formats, ", "))
	if err := cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // The flag was added above.
	}
	return cmd
}

func (e *environment) env(cmd *cobra.Command, name, format string) error {
	s, err := e.session()
	if err != nil {
		return err
	}
	pool, err := s.pool(cmd.Context(), name)
	if err != nil {
		return err
	}
	secret, err := s.published(cmd.Context(), pool)
	if err != nil {
		return err
	}
	text, err := pasted(secret.Data, format)
	if err != nil {
		return wrong("ConnectionPool %s has nothing for --format %s: %w", name, format, err)
	}
	if ready := readyOf(pool); ready.Status != metav1.ConditionTrue {
		e.say("Note: clients can not connect now: %s", readyWords(pool))
	}
	if pool.Spec.Authentication.Mode == poolv1.AuthenticationQuery {
		e.say("Note: each application has its own user here: put it and its password in")
	}
	if _, err := io.WriteString(e.streams.Out, text); err != nil {
		return fmt.Errorf("writing the output: %w", err)
	}
	return nil
}

// pasted is a published Secret in a format. What is published is not put together anew.
func pasted(data map[string][]byte, format string) (string, error) {
	switch format {
	case "wrangler":
		return texts(data, publish.KeyWranglerTOML)
	case "dev-vars":
		return texts(data, publish.KeyDevVars)
	case "prisma":
		return texts(data, publish.KeyPrismaSchema, publish.KeyPrismaConfig, publish.KeyDotEnv)
	case "json":
		return allKeys(data)
	case "jdbc":
		return line(data, publish.KeyJDBCURI)
	}
	return dotenv(data)
}

// texts are published files, one after another. The first line of each names it.
func texts(data map[string][]byte, keys ...string) (string, error) {
	var all []string
	for _, key := range keys {
		text, ok := data[key]
		if !ok {
			return "", errNoWorkers
		}
		all = append(all, strings.TrimRight(string(text), "\n")+"\n")
	}
	return strings.Join(all, "\n"), nil
}

// dotenv has the pool as it is reached inside the cluster, and what workers use where
// they reach it.
func dotenv(data map[string][]byte) (string, error) {
	var text strings.Builder
	for _, key := range []string{
		publish.KeyDatabaseURL, publish.KeyDirectURL, publish.KeyExternalURL, publish.KeyEdgeURL, publish.KeyAccelerateURL,
	} {
		if url, ok := data[key]; ok {
			text.WriteString(key + `="` + publish.Quotable(string(url)) + "\"\n")
		}
	}
	if text.Len() == 0 {
		return "", missing(publish.KeyDatabaseURL)
	}
	return text.String(), nil
}

func line(data map[string][]byte, key string) (string, error) {
	value, ok := data[key]
	if !ok {
		return "", missing(key)
	}
	return string(value) + "\n", nil
}

func missing(key string) error {
	return fmt.Errorf("its Secret has no key %s: the operator repairs it within seconds if it runs", key)
}

func allKeys(data map[string][]byte) (string, error) {
	words := make(map[string]string, len(data))
	for key, value := range data {
		words[key] = string(value)
	}
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // An & of a URL is to be read as it is.
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(words); err != nil {
		return "", fmt.Errorf("encoding the Secret's keys: %w", err)
	}
	return text.String(), nil
}
