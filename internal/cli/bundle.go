// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// bundleFlags are those of debug-bundle.
type bundleFlags struct {
	file, operator string
	everywhere     bool
}

func newDebugBundleCommand(env *environment) *cobra.Command {
	var flags bundleFlags
	cmd := &cobra.Command{
		Use:   "debug-bundle",
		Short: "Collect what a helper needs, without secrets",
		Long: `Collect what a helper needs into one file: the objects of the pools and of the
operator, their logs, events and metrics, and the chart's values.

Of Secrets it holds names, types, and the names and lengths of their keys. All
text is searched for the values of every Secret that the pools name or publish,
in plain, percent-encoded and base64 form, and for what looks like a password;
so you need the right to read those Secrets.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return env.debugBundle(cmd.Context(), flags) },
	}
	// In place of the root's -o: the answer is a file.
	cmd.Flags().StringVarP(&flags.file, "output", "o", "", "file to write; - is standard output (default poolfleet-debug-TIME.tar.gz)")
	cmd.Flags().StringVar(&flags.operator, "operator-namespace", "poolfleet-system", "namespace that the operator runs in")
	cmd.Flags().BoolVarP(&flags.everywhere, "all-namespaces", "A", false, "the pools of all namespaces")
	return cmd
}

func (e *environment) debugBundle(ctx context.Context, flags bundleFlags) error {
	s, err := e.session()
	if err != nil {
		return err
	}
	b := &bundle{session: s, operator: flags.operator, files: map[string]string{}}
	if err := b.findPools(ctx, flags.everywhere); err != nil {
		return err
	}
	if err := b.learnSecrets(ctx); err != nil {
		return err
	}
	b.collect(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	packed, err := b.pack(time.Now())
	if err != nil {
		return err
	}
	return e.deliver(flags.file, packed, b)
}

// deliver writes the file for its owner alone: it is for them to hand on.
func (e *environment) deliver(file string, packed []byte, b *bundle) error {
	if file == "-" {
		if _, err := e.streams.Out.Write(packed); err != nil {
			return fmt.Errorf("writing the output: %w", err)
		}
		return nil
	}
	file = cmp.Or(file, "poolfleet-debug-"+time.Now().UTC().Format("20060102T150405Z")+".tar.gz")
	if err := os.WriteFile(file, packed, 0o600); err != nil {
		return wrong("writing the bundle: %w", err)
	}
	for _, line := range b.missing {
		e.say("Note: %s", line)
	}
	_, err := fmt.Fprintf(e.streams.Out, "%s: %d files on %d pools\n", file, len(b.files), len(b.pools))
	return err
}

// bundle is what is collected. Nothing goes into files but through add.
type bundle struct {
	session  *session
	operator string
	pools    []poolv1.ConnectionPool
	secrets  []secretOutline
	releases []helmRelease
	scrubber scrubber
	files    map[string]string
	// missing says what could not be had, and why.
	missing []string
}

// add puts a text in, without what is secret in it and in its name. Names that are one
// without it are numbered.
func (b *bundle) add(name, text string) {
	name = b.scrubber.scrub(name)
	for unique, n := name, 2; ; unique, n = fmt.Sprintf("%s.%d", name, n), n+1 {
		if _, taken := b.files[unique]; !taken {
			b.files[unique] = b.scrubber.scrub(text)
			return
		}
	}
}

func (b *bundle) lacks(what string, err error) {
	b.missing = append(b.missing, b.scrubber.scrub(fmt.Sprintf("%s: %v", what, err)))
}

func (b *bundle) findPools(ctx context.Context, everywhere bool) error {
	var options []client.ListOption
	if !everywhere {
		options = append(options, client.InNamespace(b.session.namespace))
	}
	var pools poolv1.ConnectionPoolList
	if err := b.session.client.List(ctx, &pools, options...); err != nil {
		return fmt.Errorf("listing ConnectionPools: %w", err)
	}
	if len(pools.Items) == 0 {
		return wrong("there is no ConnectionPool in namespace %s: name another with -n, or all with -A", b.session.namespace)
	}
	b.pools = pools.Items
	return nil
}

// namespaces are those of the pools.
func (b *bundle) namespaces() []string {
	var all []string
	for _, pool := range b.pools {
		all = append(all, pool.Namespace)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// pack makes the archive. Its files are in a directory of their own.
func (b *bundle) pack(now time.Time) ([]byte, error) {
	b.add("missing.txt", strings.Join(b.missing, "\n"))
	var packed bytes.Buffer
	zipped := gzip.NewWriter(&packed)
	archive := tar.NewWriter(zipped)
	for _, name := range slices.Sorted(maps.Keys(b.files)) {
		header := &tar.Header{Name: "poolfleet-debug/" + name, Mode: 0o600, Size: int64(len(b.files[name])), ModTime: now}
		if err := archive.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("packing %s: %w", name, err)
		}
		if _, err := io.WriteString(archive, b.files[name]); err != nil {
			return nil, fmt.Errorf("packing %s: %w", name, err)
		}
	}
	if err := errors.Join(archive.Close(), zipped.Close()); err != nil {
		return nil, fmt.Errorf("packing the bundle: %w", err)
	}
	return packed.Bytes(), nil
}
