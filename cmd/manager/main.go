// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Command manager is the operator: it wires the reconcilers to a cluster and
// decides nothing itself.
package main

import (
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/controllers"
	"github.com/poolfleet/poolfleet/internal/certificates"
	"github.com/poolfleet/poolfleet/internal/kube"
	"github.com/poolfleet/poolfleet/internal/postgres"
)

// version is set by the linker.
var version = "dev"

type options struct {
	leaderElect             bool
	leaderElectionNamespace string
	metricsAddress          string
	probeAddress            string
	poolerImage             string
	poolerPullPolicy        string
	watchNamespaces         string
	allowedUpstreamCIDRs    string
	operatorNamespace       string
	edgeDomain              string
	scraperNamespaces       string
	logLevel                string
}

func main() {
	opts := parse(os.Args[1:])
	if err := run(opts); err != nil {
		fmt.Fprintf(os.Stderr, "manager: %v\n", err)
		os.Exit(1)
	}
}

func parse(args []string) options {
	var o options
	flags := flag.NewFlagSet("manager", flag.ExitOnError)
	flags.BoolVar(&o.leaderElect, "leader-elect", false, "Let one manager of several work at a time.")
	flags.StringVar(&o.leaderElectionNamespace, "leader-election-namespace", "", "Namespace of the lease; the manager's own by default.")
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", ":8080", "Address of the metrics; 0 serves none.")
	flags.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "Address of /healthz and /readyz.")
	flags.StringVar(&o.poolerImage, "pooler-image", "", "Image of the poolers of pools that name none. Required.")
	flags.StringVar(&o.poolerPullPolicy, "pooler-image-pull-policy", "", "Pull policy of pooler images: Always, IfNotPresent or Never.")
	flags.StringVar(&o.watchNamespaces, "watch-namespaces", "", "Namespaces to watch, separated by commas; all by default.")
	flags.StringVar(&o.allowedUpstreamCIDRs, "allowed-upstream-cidrs", "", "Networks, separated by commas, in which the manager may look at servers; all by default.")
	flags.StringVar(&o.operatorNamespace, "operator-namespace", os.Getenv("POD_NAMESPACE"), "Namespace the manager runs in; from POD_NAMESPACE by default.")
	flags.StringVar(&o.edgeDomain, "edge-domain", "", "Domain under which the gateway serves pools, as LABEL.DOMAIN; empty where there is no gateway.")
	flags.StringVar(&o.scraperNamespaces, "scraper-namespaces", "", "Namespaces, separated by commas, whose pods pools' NetworkPolicies let in to read metrics; all by default.")
	flags.StringVar(&o.logLevel, "log-level", "info", "What is logged: info or debug.")
	_ = flags.Parse(args) // ExitOnError: it does not come back with one.
	return o
}

func run(o options) error {
	ctrl.SetLogger(zap.New(encoder(), zap.UseDevMode(false), level(o.logLevel), stackTracesOff()))
	if o.poolerImage == "" {
		return fmt.Errorf("--pooler-image is missing: name the image that poolers run")
	}
	cidrs, err := prefixes(o.allowedUpstreamCIDRs)
	if err != nil {
		return err
	}
	if err := checkDomain(o.edgeDomain); err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the cluster: %w", err)
	}
	mgr, err := ctrl.NewManager(config, managerOptions(o))
	if err != nil {
		return fmt.Errorf("making the manager: %w", err)
	}
	ctx := ctrl.SetupSignalHandler()
	if err := controllers.AddIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	if err := setUp(mgr, o, cidrs); err != nil {
		return err
	}
	ctrl.Log.Info("Starting", "version", version)
	return mgr.Start(ctx)
}

func managerOptions(o options) ctrl.Options {
	return ctrl.Options{
		Scheme:                        scheme(),
		Cache:                         cacheOptions(split(o.watchNamespaces), o.operatorNamespace),
		Metrics:                       metricsserver.Options{BindAddress: o.metricsAddress},
		HealthProbeBindAddress:        o.probeAddress,
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              "poolfleet-manager",
		LeaderElectionNamespace:       o.leaderElectionNamespace,
		LeaderElectionReleaseOnCancel: true,
	}
}

// cacheOptions keep in memory what is ours: of pods, only those of poolers, and
// outside of the namespaces only the Secret of the operator's authority.
func cacheOptions(namespaces []string, operatorNamespace string) cache.Options {
	opts := cache.Options{
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}: {Label: labels.SelectorFromSet(labels.Set{"app.kubernetes.io/managed-by": "poolfleet"})},
		},
	}
	if len(namespaces) > 0 {
		opts.DefaultNamespaces = map[string]cache.Config{}
		for _, ns := range namespaces {
			opts.DefaultNamespaces[ns] = cache.Config{}
		}
		secrets := maps.Clone(opts.DefaultNamespaces)
		if _, watched := secrets[operatorNamespace]; !watched && operatorNamespace != "" {
			secrets[operatorNamespace] = cache.Config{FieldSelector: fields.OneTermEqualSelector("metadata.name", controllers.AuthoritySecret)}
		}
		opts.ByObject[&corev1.Secret{}] = cache.ByObject{Namespaces: secrets}
	}
	return opts
}

func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, poolv1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err) // Two kinds of one name: a mistake in this program.
		}
	}
	return s
}

func setUp(mgr manager.Manager, o options, cidrs []netip.Prefix) error {
	settings := controllers.Settings{
		PoolerImage: o.poolerImage, PullPolicy: corev1.PullPolicy(o.poolerPullPolicy),
		OperatorNamespace: o.operatorNamespace, EdgeDomain: o.edgeDomain, Namespaces: split(o.watchNamespaces),
		ClusterDomain: clusterDomain(o.operatorNamespace), ScraperNamespaces: split(o.scraperNamespaces),
	}
	records, signals, asker := controllers.NewRecords(), controllers.NewSignals(), controllers.NewHTTPAsker()
	observer := postgres.NewObserver(postgres.Options{AllowedCIDRs: cidrs})
	pools := &controllers.ConnectionPoolReconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(),
		Applier:  kube.NewApplier(mgr.GetClient(), mgr.GetAPIReader()),
		Observer: observer, Lookups: observer,
		Asker: asker, Records: records, Signals: signals, Clock: clock.RealClock{},
		Recorder: mgr.GetEventRecorder("poolfleet"), Settings: settings,
	}
	if err := pools.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("setting up the connection pool controller: %w", err)
	}
	budgets := &controllers.BudgetReconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(),
		Asker: asker, Records: records, Signals: signals, Clock: clock.RealClock{},
		Recorder: mgr.GetEventRecorder("poolfleet"), Settings: settings,
	}
	if err := budgets.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("setting up the budget controller: %w", err)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("adding the health check: %w", err)
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("adding the readiness check: %w", err)
	}
	return nil
}

// clusterDomain is empty where this does not run in a pod that resolves names of the cluster.
func clusterDomain(operatorNamespace string) string {
	text, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return ""
	}
	return certificates.ClusterDomain(string(text), operatorNamespace)
}

// checkDomain checks that pools have room for a label before the domain.
func checkDomain(domain string) error {
	const longest = 253 - 64 // A name, less the longest label and its dot.
	if domain != "" && (len(domain) > longest || len(validation.IsDNS1123Subdomain(domain)) > 0) {
		return fmt.Errorf("reading --edge-domain: %q is no domain in small letters, such as edge.example.com, of at most %d", domain, longest)
	}
	return nil
}

func prefixes(list string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range split(list) {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("reading --allowed-upstream-cidrs: %q is no network such as 10.0.0.0/8", text)
		}
		out = append(out, prefix)
	}
	return out, nil
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}
