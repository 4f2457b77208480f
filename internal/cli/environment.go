// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// Streams are where a command reads and writes. Out has the answer, ErrOut words
// about it.
type Streams struct {
	In          io.Reader
	Out, ErrOut io.Writer
}

// environment is what every command is given: where it writes, and how it reaches
// the cluster.
type environment struct {
	streams Streams
	// kubeconfig and overrides are kubectl's own flags.
	kubeconfig string
	overrides  clientcmd.ConfigOverrides
	// output is -o: json, yaml, or empty for people.
	output string
	// begun is true once the command line was understood.
	begun bool
	// connect makes the session; tests have their own.
	connect func() (*session, error)
	// made is the session, once a command asked for it.
	made *session
}

// session is a cluster and the user's place in it.
type session struct {
	client client.Client
	// core reaches what the client does not: logs, and pods through the API server.
	core   corev1client.CoreV1Interface
	config *rest.Config
	// namespace is --namespace, or the context's.
	namespace string
	// now and wait are the clock; tests have their own.
	now  func() time.Time
	wait func(context.Context, time.Duration) error
}

func newEnvironment(streams Streams) *environment {
	e := &environment{streams: streams}
	e.connect = e.dial
	return e
}

// shownFlags are the flags of kubectl that help shows; the others work as well.
var shownFlags = []string{"context", "kubeconfig", "namespace"}

func (e *environment) addFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVar(&e.kubeconfig, "kubeconfig", "", "kubeconfig file to use")
	clientcmd.BindOverrideFlags(&e.overrides, flags, clientcmd.RecommendedConfigOverrideFlags(""))
	flags.VisitAll(func(flag *pflag.Flag) {
		flag.Hidden = !slices.Contains(shownFlags, flag.Name)
	})
	flags.StringVarP(&e.output, "output", "o", "", "json or yaml, for programs")
	for name, complete := range map[string]cobra.CompletionFunc{
		"output":    cobra.FixedCompletions(outputs, cobra.ShellCompDirectiveNoFileComp),
		"namespace": e.completeNamespaces,
	} {
		if err := root.RegisterFlagCompletionFunc(name, complete); err != nil {
			panic(err) // Both flags were added above.
		}
	}
}

// begin is the last look at the command line.
func (e *environment) begin(cmd *cobra.Command, _ []string) error {
	if e.output != "" && !slices.Contains(outputs, e.output) {
		return fmt.Errorf("-o %s is not known: use json or yaml", e.output)
	}
	if err := cmd.ValidateRequiredFlags(); err != nil {
		return err
	}
	if err := cmd.ValidateFlagGroups(); err != nil {
		return err
	}
	e.begun = true
	return nil
}

// session reaches the cluster at the first call.
func (e *environment) session() (*session, error) {
	if e.made != nil {
		return e.made, nil
	}
	made, err := e.connect()
	if err != nil {
		return nil, err
	}
	e.made = made
	return made, nil
}

func (e *environment) dial() (*session, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = e.kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &e.overrides)
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 50, 300 // As kubectl: a person waits, once.
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, err
	}
	return newSession(config, namespace)
}

func newSession(config *rest.Config, namespace string) (*session, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	cluster, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	core, err := corev1client.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	return &session{client: cluster, core: core, config: config, namespace: namespace, now: time.Now, wait: sleep}, nil
}

// sleep ends early, with an error, when the context does.
func sleep(ctx context.Context, span time.Duration) error {
	timer := time.NewTimer(span)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, poolv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("registering kinds: %w", err)
		}
	}
	return scheme, nil
}
