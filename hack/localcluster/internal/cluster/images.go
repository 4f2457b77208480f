// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Image is a name in an archive or in a node's store and what it points to.
type Image struct {
	Name   string
	Digest string
}

// annotations by which an OCI layout names its images, containerd's own first
// (its images.AnnotationImageName; OCI image-spec, annotations.md).
var annotations = []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"}

// LoadImages loads archives into every node, but not what a node has already.
func LoadImages(ctx context.Context, o Options, archives []string) error {
	r, err := o.read()
	if err != nil {
		return err
	}
	if alive, all := r.count(); alive == 0 || !all {
		return fmt.Errorf("loading images: the cluster in %s does not run", o.State)
	}
	for _, archive := range archives {
		for i, process := range r.Nodes {
			if err := o.loadInto(ctx, process, o.Cluster.Node(i).Name, archive); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o Options) loadInto(ctx context.Context, process running, nodeName, archive string) error {
	wanted, err := archived(archive)
	if err != nil {
		return fmt.Errorf("loading %s: %w", archive, err)
	}
	present, err := stored(ctx, process)
	if err != nil {
		return fmt.Errorf("loading %s into %s: %w", archive, nodeName, err)
	}
	if len(wanted) > 0 && containsAll(present, byDigest(wanted)) {
		return nil
	}
	o.say("loading %s into %s", filepath.Base(archive), nodeName)
	file, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("loading %s: %w", archive, err)
	}
	defer file.Close()
	if _, err := ctr(ctx, process, file, "images", "import", "--all-platforms", "-"); err != nil {
		return fmt.Errorf("loading %s into %s: %w", archive, nodeName, err)
	}
	return nameByDigest(ctx, process, wanted)
}

// nameByDigest gives images the name by which a pod asks for a digest:
// containerd finds only names that it has.
func nameByDigest(ctx context.Context, process running, wanted []Image) error {
	present, err := stored(ctx, process)
	if err != nil {
		return err
	}
	for _, image := range byDigest(wanted) {
		if slices.Contains(present, image) {
			continue
		}
		source := slices.IndexFunc(wanted, func(w Image) bool { return w.Digest == image.Digest })
		if _, err := ctr(ctx, process, nil, "images", "tag", "--force", wanted[source].Name, image.Name); err != nil {
			return fmt.Errorf("naming %s: %w", image.Name, err)
		}
	}
	return nil
}

// byDigest returns the images with NAME@DIGEST beside each NAME:TAG.
func byDigest(images []Image) []Image {
	all := slices.Clone(images)
	for _, image := range images {
		if strings.Contains(image.Name, "@") {
			continue
		}
		repository := image.Name
		if colon := strings.LastIndex(repository, ":"); colon > strings.LastIndex(repository, "/") {
			repository = repository[:colon]
		}
		digest := Image{Name: repository + "@" + image.Digest, Digest: image.Digest}
		if !slices.Contains(all, digest) {
			all = append(all, digest)
		}
	}
	return all
}

func containsAll(have, want []Image) bool {
	return !slices.ContainsFunc(want, func(image Image) bool { return !slices.Contains(have, image) })
}

// archived returns what an OCI layout in a tar file says it holds. Of another
// kind of archive it knows nothing, so that such a one is always loaded.
func archived(path string) ([]Image, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	for archive := tar.NewReader(file); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if filepath.Clean(header.Name) == "index.json" {
			return parseIndex(archive)
		}
	}
}

func parseIndex(r io.Reader) ([]Image, error) {
	var index struct {
		Manifests []struct {
			Digest      string
			Annotations map[string]string
		}
	}
	if err := json.NewDecoder(r).Decode(&index); err != nil {
		return nil, fmt.Errorf("reading index.json: %w", err)
	}
	var images []Image
	for _, m := range index.Manifests {
		for _, key := range annotations {
			if name := m.Annotations[key]; name != "" {
				images = append(images, Image{Name: name, Digest: m.Digest})
				break
			}
		}
	}
	return images, nil
}

// stored returns what a node has: "REF TYPE DIGEST ..." under a line of titles.
func stored(ctx context.Context, process running) ([]Image, error) {
	list, err := ctr(ctx, process, nil, "images", "list")
	if err != nil {
		return nil, fmt.Errorf("listing images: %w", err)
	}
	var images []Image
	for line := range strings.Lines(list) {
		if fields := strings.Fields(line); len(fields) >= 3 && strings.HasPrefix(fields[2], "sha256:") {
			images = append(images, Image{Name: fields[0], Digest: fields[2]})
		}
	}
	return images, nil
}

// ctr runs containerd's client on a node's file system. It only talks to the
// socket there; the work is done by containerd, in the node.
func ctr(ctx context.Context, process running, input io.Reader, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "/usr/bin/ctr", append([]string{"--namespace", "k8s.io"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: inNode(process, "")}
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin"}
	cmd.Stdin = input
	var output, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &problem
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("running ctr %s: %w: %s", args[0], err, strings.TrimSpace(problem.String()))
	}
	return output.String(), nil
}
