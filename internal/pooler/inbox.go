// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/poolfleet/poolfleet/internal/contract"
)

// document is a configuration with its name.
type document struct {
	contract.Document
	revision string
	data     []byte
}

func decodeDocument(data []byte) (*document, error) {
	d, err := contract.DecodeDocument(data)
	if err != nil {
		return nil, err
	}
	return &document{Document: d, revision: contract.Revision(data), data: data}, nil
}

// inbox is what the manager has laid down for this pod.
type inbox struct {
	uid   string
	grant contract.Grant
	// doc is nil before the first.
	doc *document
	// problem says what can not be read.
	problem string
}

// readInbox reads the mounted files. The configuration and the grant are volumes of
// their own, so either may be newer than the other.
func readInbox(configDir, podDir string) inbox {
	var in inbox
	uid, err1 := read(podDir, contract.UIDFile)
	grant, err2 := read(podDir, contract.GrantFile)
	config, err3 := read(configDir, contract.ConfigKey)
	in.uid = string(bytes.TrimSpace(uid))
	var err4, err5 error
	in.grant, err4 = contract.DecodeGrant(string(bytes.TrimSpace(grant)))
	if config != nil {
		in.doc, err5 = decodeDocument(config)
	}
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		in.problem = err.Error()
	}
	return in
}

// read returns nil for a file that is not there yet.
func read(dir, name string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what the manager has laid down: %w", err)
	}
	return data, nil
}

// watch sends when something in the directories may have changed, and at each poll
// anyway: the kubelet swaps a link in the directory, which a watch can miss.
func watch(ctx context.Context, log *slog.Logger, poll time.Duration, dirs ...string) <-chan struct{} {
	changed := make(chan struct{}, 1)
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("files are read at intervals only", "error", err)
		watcher = &fsnotify.Watcher{}
	}
	go func() {
		if watcher.Events != nil {
			defer watcher.Close()
		}
		ticker := time.NewTicker(poll)
		defer ticker.Stop()
		for {
			for _, dir := range dirs { // Adding again does nothing; the directory may be new.
				if watcher.Events != nil {
					_ = watcher.Add(dir)
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-watcher.Events:
			case err := <-watcher.Errors:
				log.Warn("a change of files may be seen late", "error", err)
			case <-ticker.C:
			}
			select {
			case changed <- struct{}{}:
			default: // One is waiting to be read already.
			}
		}
	}()
	return changed
}
