// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/poolfleet/poolfleet/internal/contract"
)

const (
	memoryFile = "memory.json"
	// newFiles are those that have not taken their place yet.
	newFiles = ".new-*"
)

// memory outlives a restart of the container, but not the pod.
type memory struct {
	UID string `json:"uid"`
	// Seen is the newest grant that was obeyed, noted before it was, as it was given.
	Seen contract.Grant `json:"seen"`
	// Applied is the grant in force, Config the configuration.
	Applied contract.Grant `json:"applied"`
	Config  []byte         `json:"config,omitempty"`
	// Released is what a drain gave back, and said so.
	Released release `json:"released,omitzero"`
	// DrainSeconds is the shortest drain timeout of all configurations that were in
	// force; nil without one.
	DrainSeconds *int32 `json:"drainSeconds,omitempty"`

	doc *document
}

// release says that no more than Share of the grant Gen is this pod's any more.
type release struct {
	Gen   int64 `json:"gen"`
	Share int32 `json:"share"`
}

// cap is what is left of a grant.
func (r release) cap(g contract.Grant) contract.Grant {
	if r.Gen == g.Gen && r.Gen > 0 {
		g.Share = min(g.Share, r.Share)
	}
	return g
}

// shorter is the smaller of two that may not be there.
func shorter(a, b *int32) *int32 {
	if a == nil || b != nil && *b < *a {
		return b
	}
	return a
}

// of is the memory of a pod: another pod's is none.
func (m memory) of(uid string) memory {
	if uid == "" || uid == m.UID {
		return m
	}
	return memory{UID: uid}
}

// recall reads the memory; there is none before the first grant. One that can not be
// read must not lock the pod out for good: without it the annotation alone counts.
func recall(runDir string) (memory, error) {
	var m memory
	data, err := os.ReadFile(filepath.Join(runDir, memoryFile))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, fmt.Errorf("reading the memory: %w", err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return memory{}, errors.New("reading the memory: it is not the JSON expected")
	}
	if m.Config == nil {
		return m, nil
	}
	if m.doc, err = decodeDocument(m.Config); err != nil {
		return memory{}, fmt.Errorf("reading the memory: %w", err)
	}
	return m, nil
}

func (m memory) save(runDir string) error {
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("writing the memory: %w", err)
	}
	return writeFile(filepath.Join(runDir, memoryFile), data)
}

// writeFile replaces a file at once, readable for its owner alone: that of the
// directory, when we may choose.
func writeFile(path string, data []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil // PgBouncer can be started again though there is no room.
	}
	file, err := os.CreateTemp(filepath.Dir(path), newFiles)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() { _ = os.Remove(file.Name()) }() // Gone, where all went well.
	_, err = file.Write(data)
	if err = errors.Join(err, ownAs(file.Name(), filepath.Dir(path)), file.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// ownAs gives a file to the owner of a directory. Only root may, and only for root
// it matters: PgBouncer then runs as another user.
func ownAs(file, dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return os.Chown(file, int(owner.Uid), int(owner.Gid))
}
