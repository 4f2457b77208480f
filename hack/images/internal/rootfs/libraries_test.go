// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// anObject is a 64-bit ELF file with nothing in it but what a loader looks for.
func anObject(t *testing.T, machine elf.Machine, runpath string, needs ...string) []byte {
	t.Helper()
	names := "\x00"
	var dynamic []elf.Dyn64
	add := func(tag elf.DynTag, value string) {
		dynamic = append(dynamic, elf.Dyn64{Tag: int64(tag), Val: uint64(len(names))})
		names += value + "\x00"
	}
	for _, need := range needs {
		add(elf.DT_NEEDED, need)
	}
	if runpath != "" {
		add(elf.DT_RUNPATH, runpath)
	}
	dynamic = append(dynamic, elf.Dyn64{Tag: int64(elf.DT_NULL)})

	const headerSize, sectionSize, dynSize = 64, 64, 16
	dynEnd := uint64(headerSize + len(dynamic)*dynSize)
	header := elf.Header64{
		Type: uint16(elf.ET_DYN), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Shoff: dynEnd + uint64(len(names)), Ehsize: headerSize, Shentsize: sectionSize, Shnum: 3, Shstrndx: 2,
	}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS], header.Ident[elf.EI_DATA], header.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	sections := []elf.Section64{
		{},
		{Type: uint32(elf.SHT_DYNAMIC), Off: headerSize, Size: dynEnd - headerSize, Link: 2, Entsize: dynSize},
		{Type: uint32(elf.SHT_STRTAB), Off: dynEnd, Size: uint64(len(names))},
	}
	var file bytes.Buffer
	for _, part := range []any{header, dynamic, []byte(names), sections} {
		if err := binary.Write(&file, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return file.Bytes()
}

func putFile(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLibrariesAreFoundAsTheLoaderFindsThem(t *testing.T) {
	dir, root := openRoot(t)
	lib := "usr/lib/aarch64-linux-gnu/"
	putFile(t, dir, "usr/bin/tool", anObject(t, elf.EM_AARCH64, "$ORIGIN/../lib/own:/lib/other", "libdefault.so.1", "libown.so", "libother.so", "liblink.so"))
	putFile(t, dir, lib+"libdefault.so.1", anObject(t, elf.EM_AARCH64, ""))
	putFile(t, dir, "usr/lib/own/libown.so", anObject(t, elf.EM_AARCH64, ""))
	putFile(t, dir, "usr/lib/other/libother.so", anObject(t, elf.EM_AARCH64, ""))
	if err := os.Symlink("/lib/other/libother.so", filepath.Join(dir, lib, "liblink.so")); err != nil {
		t.Fatal(err)
	}
	putFile(t, dir, "usr/bin/script", []byte("#!/bin/sh\n"))
	if err := CheckLibraries(root, "arm64"); err != nil {
		t.Error(err)
	}
}

func TestAMissingLibraryIsNamedWithWhoNeedsIt(t *testing.T) {
	dir, root := openRoot(t)
	putFile(t, dir, "usr/sbin/pgbouncer", anObject(t, elf.EM_X86_64, "", "libldap.so.2"))
	if err := os.Symlink("libgone.so", filepath.Join(dir, "usr/libldap.so.2")); err != nil {
		t.Fatal(err)
	}
	err := CheckLibraries(root, "amd64")
	if err == nil || !strings.Contains(err.Error(), "libldap.so.2 (needed by /usr/sbin/pgbouncer)") {
		t.Errorf("got %v", err)
	}
}

func TestALinkToNothingIsAMissingLibrary(t *testing.T) {
	dir, root := openRoot(t)
	putFile(t, dir, "usr/lib/x86_64-linux-gnu/liba.so", anObject(t, elf.EM_X86_64, "", "libb.so"))
	if err := os.Symlink("libgone.so", filepath.Join(dir, "usr/lib/x86_64-linux-gnu/libb.so")); err != nil {
		t.Fatal(err)
	}
	if err := CheckLibraries(root, "amd64"); err == nil || !strings.Contains(err.Error(), "libb.so") {
		t.Errorf("got %v", err)
	}
}

func TestAFileForAnotherMachineIsRefused(t *testing.T) {
	dir, root := openRoot(t)
	putFile(t, dir, "usr/bin/tool", anObject(t, elf.EM_AARCH64, ""))
	if err := CheckLibraries(root, "amd64"); err == nil || !strings.Contains(err.Error(), "usr/bin/tool is for EM_AARCH64") {
		t.Errorf("got %v", err)
	}
	if err := CheckStatic(filepath.Join(dir, "usr/bin/tool"), "amd64"); err == nil {
		t.Error("a program for another machine passes for an image")
	}
}

func TestADynamicProgramIsRefusedForAnImage(t *testing.T) {
	dir, _ := openRoot(t)
	putFile(t, dir, "tool", anObject(t, elf.EM_X86_64, "", "libc.so.6"))
	if err := CheckStatic(filepath.Join(dir, "tool"), "amd64"); err == nil || !strings.Contains(err.Error(), "CGO_ENABLED=0") {
		t.Errorf("got %v", err)
	}
}
