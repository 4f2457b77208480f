// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// machines is how ELF files and glibc's library folders are marked, per architecture.
var machines = map[string]struct {
	elf     elf.Machine
	triplet string
}{
	"amd64": {elf.EM_X86_64, "x86_64-linux-gnu"},
	"arm64": {elf.EM_AARCH64, "aarch64-linux-gnu"},
}

// object is what the loader would read of one ELF file.
type object struct {
	machine elf.Machine
	loader  string
	needs   []string
	paths   []string
}

// CheckStatic returns an error unless file is a program for Linux on arch that
// needs no loader: an image holds no libraries for it.
func CheckStatic(file, arch string) error {
	if err := CheckArch(arch); err != nil {
		return err
	}
	parsed, err := elf.Open(file)
	if err != nil {
		return fmt.Errorf("reading program %s: %w", file, err)
	}
	defer parsed.Close()
	obj, err := parseObject(parsed)
	if err != nil {
		return fmt.Errorf("reading program %s: %w", file, err)
	}
	if obj.machine != machines[arch].elf {
		return fmt.Errorf("program %s is for %v, not for %s", file, obj.machine, arch)
	}
	if obj.loader != "" || len(obj.needs) > 0 {
		return fmt.Errorf("program %s is not static: build it with CGO_ENABLED=0", file)
	}
	return nil
}

// CheckArch returns an error for an architecture we make nothing for.
func CheckArch(arch string) error {
	if _, ok := machines[arch]; !ok {
		return fmt.Errorf("architecture %q is not one we know: take amd64 or arm64", arch)
	}
	return nil
}

// CheckLibraries reads every ELF file below root as the dynamic loader would
// (ld.so(8): RUNPATH, then the default folders) and returns an error that names each missing
// library and who needs it. It runs nothing, so it works for any architecture.
func CheckLibraries(root *os.Root, arch string) error {
	if err := CheckArch(arch); err != nil {
		return err
	}
	defaults := []string{"usr/lib/" + machines[arch].triplet, "usr/lib"}
	missing := map[string]string{}
	err := fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		obj, err := readObject(root, name)
		if err != nil || obj == nil {
			return err
		}
		if obj.machine != machines[arch].elf {
			return fmt.Errorf("%s is for %v, not for %s", name, obj.machine, arch)
		}
		for _, library := range obj.unresolved(root, path.Dir(name), defaults) {
			missing[library] = name
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("checking shared libraries: %w", err)
	}
	return describe(missing)
}

func describe(missing map[string]string) error {
	if len(missing) == 0 {
		return nil
	}
	var lines []string
	for library, user := range missing {
		lines = append(lines, fmt.Sprintf("%s (needed by /%s)", library, user))
	}
	slices.Sort(lines)
	return fmt.Errorf("no package of the set brings %s: Debian has moved, add what brings it to the set's programs",
		strings.Join(lines, ", "))
}

// readObject returns nil for a file that is not a dynamically linked program or library.
func readObject(root *os.Root, name string) (*object, error) {
	file, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	magic := make([]byte, 4)
	if _, err := io.ReadFull(file, magic); err != nil || string(magic) != elf.ELFMAG {
		return nil, nil
	}
	parsed, err := elf.NewFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if parsed.Type != elf.ET_EXEC && parsed.Type != elf.ET_DYN {
		return nil, nil
	}
	return parseObject(parsed)
}

func parseObject(file *elf.File) (*object, error) {
	obj := &object{machine: file.Machine}
	needs, err := file.ImportedLibraries()
	if err != nil {
		return nil, fmt.Errorf("reading the libraries it needs: %w", err)
	}
	obj.needs = needs
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		values, err := file.DynString(tag)
		if err != nil {
			return nil, fmt.Errorf("reading its library paths: %w", err)
		}
		for _, value := range values {
			obj.paths = append(obj.paths, strings.Split(value, ":")...)
		}
	}
	for _, program := range file.Progs {
		if program.Type != elf.PT_INTERP {
			continue
		}
		loader, err := io.ReadAll(program.Open())
		if err != nil {
			return nil, fmt.Errorf("reading its loader's name: %w", err)
		}
		obj.loader = strings.TrimRight(string(loader), "\x00")
	}
	return obj, nil
}

func (o *object) unresolved(root *os.Root, origin string, defaults []string) []string {
	dirs := slices.Clone(defaults)
	for _, dir := range o.paths {
		dir = strings.NewReplacer("$ORIGIN", "/"+origin, "${ORIGIN}", "/"+origin).Replace(dir)
		dirs = append(dirs, place(dir))
	}
	var missing []string
	if o.loader != "" && !exists(root, place(o.loader)) {
		missing = append(missing, o.loader)
	}
	for _, library := range o.needs {
		if !slices.ContainsFunc(dirs, func(dir string) bool { return exists(root, path.Join(dir, library)) }) {
			missing = append(missing, library)
		}
	}
	return missing
}

// exists follows links as a process with this root would; an absolute link
// leads out of an os.Root, so it is resolved here.
func exists(root *os.Root, name string) bool {
	for range 8 {
		target, err := root.Readlink(name)
		if err != nil {
			_, err := root.Stat(name)
			return !errors.Is(err, fs.ErrNotExist)
		}
		if !path.IsAbs(target) {
			target = path.Join("/", path.Dir(name), target)
		}
		name = place(target)
	}
	return false
}
