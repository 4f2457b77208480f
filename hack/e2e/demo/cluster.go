// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/reach"
)

// demo is what the steps hand on to each other.
type demo struct {
	options
	out *os.File

	tools   install.Tools
	client  client.Client
	dialer  *reach.Dialer
	images  install.Images
	server  install.Postgres
	results []proof
}

func (d *demo) clusterTitle() string {
	if d.local() {
		return "a node on this machine, without Docker"
	}
	return "the cluster of KUBECONFIG"
}

// startCluster finds the programs, brings the local cluster up if it is to be
// used, and connects.
func (d *demo) startCluster(ctx context.Context) (string, error) {
	if err := d.findTools(); err != nil {
		return "", err
	}
	if d.local() {
		if _, err := d.tools.Run(ctx, "", d.localcluster, "up"); err != nil {
			return "", err
		}
		path, err := d.tools.Run(ctx, "", d.localcluster, "kubeconfig")
		if err != nil {
			return "", err
		}
		d.tools.Kubeconfig = strings.TrimSpace(path)
	}
	return d.connect(ctx)
}

func (d *demo) findTools() error {
	wanted := map[string]*string{"kubectl": &d.kubectl, "helm": &d.helm}
	if d.local() {
		wanted["localcluster"] = &d.localcluster
	}
	var problems []error
	for name, path := range wanted {
		if *path != "" {
			continue
		}
		found, err := install.FindTool(d.bin, name)
		problems = append(problems, err)
		*path = found
	}
	d.tools = install.Tools{Kubectl: d.kubectl, Helm: d.helm, Kubeconfig: d.kubeconfig}
	return errors.Join(problems...)
}

func (d *demo) connect(ctx context.Context) (string, error) {
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: d.tools.Kubeconfig}, nil).ClientConfig()
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", d.tools.Kubeconfig, err)
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), poolv1.AddToScheme(scheme)); err != nil {
		return "", fmt.Errorf("knowing the kinds: %w", err)
	}
	if d.client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return "", fmt.Errorf("connecting to %s: %w", config.Host, err)
	}
	if d.dialer, err = reach.New(ctx, d.client, config); err != nil {
		return "", fmt.Errorf("connecting to %s: %w", config.Host, err)
	}
	return "API server " + config.Host, nil
}

const foreignImages = `The nodes of this cluster must find these images. Either push them with
  .cache/bin/images build --out .cache/images --push REGISTRY/PATH
or load the archives in .cache/images into every node, for instance with
  kind load image-archive FILE     k3s ctr images import FILE     ctr -n k8s.io images import FILE
`

// loadImages loads the images into the local cluster; elsewhere it says which the
// cluster is expected to find.
func (d *demo) loadImages(ctx context.Context) (string, error) {
	var err error
	if d.images, err = install.ReadImages(d.imagesDir, !d.local()); err != nil {
		return "", err
	}
	var note strings.Builder
	if !d.local() {
		note.WriteString(foreignImages)
	}
	for _, image := range []install.Image{d.images.Manager, d.images.Pooler, d.images.Postgres} {
		fmt.Fprintln(&note, image.Reference)
		if !d.local() {
			continue
		}
		if _, err := d.tools.Run(ctx, "", d.localcluster, "load-image", image.Archive); err != nil {
			return "", err
		}
	}
	return note.String(), nil
}

// installOperator installs the chart unless it is installed as it is to be.
func (d *demo) installOperator(ctx context.Context) (string, error) {
	chart := install.Chart{Tools: d.tools, Dir: d.chart, Images: d.images}
	changed, err := chart.Install(ctx)
	if err != nil {
		return "", err
	}
	if !changed {
		return "already installed, nothing to change", nil
	}
	return "helm upgrade --install poolfleet " + d.chart + " --namespace poolfleet-system --create-namespace --wait", nil
}
