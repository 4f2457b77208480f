// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"net"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/clientcmd"
)

// Exit codes. Scripts rely on them.
const (
	exitFine = 0
	// exitWrong is for an answer that is bad news: a pool is not ready, a plan does
	// not fit, what was named does not exist.
	exitWrong = 1
	// exitUsage is for a command line, or a file it names, that can not be understood.
	exitUsage = 2
	// exitUnasked is for a cluster that can not be asked, or does not let us.
	exitUnasked = 3
)

// exitError ends the plugin with a code. Without an err nothing more is said: the
// command's output has said it.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// wrong is bad news that the output has not told yet.
func wrong(format string, args ...any) error {
	return &exitError{code: exitWrong, err: fmt.Errorf(format, args...)}
}

// errTold is bad news that the output has told.
var errTold error = &exitError{code: exitWrong}

// usageError is for input that can not be understood.
func usageError(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// explain adds to what the cluster or client-go said what to do about it.
func explain(err error) error {
	var unreachable *url.Error
	var network net.Error
	switch {
	case clientcmd.IsEmptyConfig(err):
		return errors.New("no cluster is configured: set KUBECONFIG, or name a file with --kubeconfig")
	case meta.IsNoMatchError(err):
		return fmt.Errorf("Poolfleet is not installed in this cluster (%w): is --context the right one?", err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w: ask an administrator of the cluster for the right to do it", err)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%w: log in to the cluster again", err)
	case errors.As(err, &unreachable), errors.As(err, &network):
		return fmt.Errorf("the cluster can not be asked: %w: does `kubectl version` work?", err)
	}
	return err
}
