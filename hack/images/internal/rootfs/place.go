// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func readStamp(dir string) (Stamp, bool) {
	var stamp Stamp
	text, err := os.ReadFile(filepath.Join(dir, stampFile))
	if err != nil || json.Unmarshal(text, &stamp) != nil {
		return Stamp{}, false // A root without a readable stamp is one to be made anew.
	}
	return stamp, true
}

// Key names exactly this root's contents, for files derived from it.
func (s Stamp) Key() string {
	hash := sha256.New()
	fmt.Fprintln(hash, s.Definition)
	for _, pkg := range s.Packages {
		fmt.Fprintln(hash, pkg.Name, pkg.SHA256)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// Skip reports whether a path in a root is our book-keeping rather than contents.
func Skip(name string) bool { return name == stampFile }

func writeStamp(dir string, stamp Stamp) error {
	text, err := json.MarshalIndent(stamp, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the root's stamp: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, stampFile), append(text, '\n'), 0o644)
}

// mayReplace refuses to remove what we did not make, and what has something
// mounted in it: removing through a mount would empty what is mounted.
func mayReplace(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || (err == nil && len(entries) == 0) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking into %s: %w", dir, err)
	}
	if _, ours := readStamp(dir); !ours {
		return fmt.Errorf("%s is not empty and was not made by this program: name another directory or remove it", dir)
	}
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("reading what is mounted: %w", err)
	}
	defer mounts.Close()
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("locating %s: %w", dir, err)
	}
	lines := bufio.NewScanner(mounts)
	for lines.Scan() {
		// proc_pid_mountinfo(5): the fifth field is the mount point.
		if fields := strings.Fields(lines.Text()); len(fields) > 4 && strings.HasPrefix(fields[4]+"/", absolute+"/") {
			return fmt.Errorf("%s is mounted: end what uses this root and unmount it first", fields[4])
		}
	}
	return lines.Err()
}

func swap(fresh, dir string) error {
	old := dir + ".old"
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(fresh, dir); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

// makeDevices makes the device nodes (null(4), random(4)) a chrooted server opens.
func makeDevices(dir string) error {
	for name, minor := range map[string]int{"null": 3, "zero": 5, "random": 8, "urandom": 9} {
		path := filepath.Join(dir, name)
		if err := syscall.Mknod(path, syscall.S_IFCHR|0o666, 1<<8|minor); err != nil {
			return fmt.Errorf("making device %s: %w", path, err)
		}
		if err := os.Chmod(path, 0o666); err != nil {
			return fmt.Errorf("opening device %s to all: %w", path, err)
		}
	}
	return nil
}

// lock keeps a second run away from apt's state and from unfinished roots; it
// ends with the process, so a killed run leaves nothing to clean up.
func lock(ctx context.Context, dir string, say func(string, ...any)) (func(), error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the cache: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the cache's lock: %w", err)
	}
	for waited := false; ; waited = true {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			_ = file.Close()
			return nil, fmt.Errorf("locking the cache: %w", err)
		}
		if !waited {
			say("waiting for another run to finish with %s", dir)
		}
		select {
		case <-ctx.Done():
			_ = file.Close()
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}
